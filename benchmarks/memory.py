"""Peak memory of a call: `python -m benchmarks.memory`. See README.md.

Every figure comes from a process of its own: the call is made once at a small size, so that
libraries are loaded, then the highest resident memory during a call at the full size is read,
less what was resident before it. Linux only: it is the kernel that keeps the high-water mark.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

LIBRARIES = ("torch", "cellgate.torch", "cellgate")
SMALL = (3, 2, 5, 7)
SIZES = tuple[int, ...]  # T, B, I and H


def resident(field: str) -> float:
    """VmRSS or VmHWM of this process in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/self/status has no {field}")


def peak_of(call: Any) -> float:
    """MB that `call()` has resident at its peak beyond those before it."""
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    kept = call()
    peak = resident("VmHWM") - before
    del kept
    return peak


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def forward(sizes: SIZES) -> Any:
    """A call over whole sequences."""
    import cellgate

    steps, batch, inputs, hidden = sizes
    lstm = cellgate.LSTM(inputs, hidden, seed=0)
    x = numbers(steps, batch, inputs)
    return lambda: lstm(x)


def model(sizes: SIZES) -> Any:
    """Making the model itself."""
    import cellgate

    return lambda: cellgate.LSTM(sizes[2], sizes[3], seed=0)


def training(sizes: SIZES, checkpoint: int | None) -> Any:
    import cellgate

    steps, batch, inputs, hidden = sizes
    lstm = cellgate.LSTM(inputs, hidden, seed=0)
    x, d_y = numbers(steps, batch, inputs), numbers(steps, batch, hidden)
    return lambda: lstm.record(x, checkpoint=checkpoint).backward(d_y)


def torch_training(sizes: SIZES, drop_in: bool) -> Any:
    import torch
    from cellgate.torch import LSTM

    steps, batch, inputs, hidden = sizes
    lstm = (LSTM if drop_in else torch.nn.LSTM)(inputs, hidden)
    x, d_y = (
        torch.randn(steps, batch, inputs, requires_grad=True),
        torch.randn(steps, batch, hidden),
    )

    def step() -> None:
        lstm.zero_grad()
        x.grad = None
        lstm(x)[0].backward(d_y)

    return step


def call_of(what: str, sizes: SIZES, checkpoint: int | None) -> Any:
    if what in ("torch", "cellgate.torch"):
        return torch_training(sizes, what == "cellgate.torch")
    if what == "cellgate":
        return training(sizes, checkpoint)
    return {"forward": forward, "model": model}[what](sizes)


def measure(what: str, sizes: SIZES, checkpoint: int | None = None) -> float:
    """MB, from a process of its own. `what` is "forward", "model", or the library that trains."""
    words = [what, *map(str, sizes), *([f"--checkpoint={checkpoint}"] if checkpoint else [])]
    command = [sys.executable, "-m", "benchmarks.memory", "--one", *words]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def one(words: list[str], checkpoint: int | None) -> None:
    what, *sizes = words
    call_of(what, SMALL, checkpoint)()
    call = call_of(what, tuple(map(int, sizes)), checkpoint)
    print(peak_of(call))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--one", nargs=5, metavar="WORD", help=argparse.SUPPRESS)
    parser.add_argument("--checkpoint", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        one(options.one, options.checkpoint)
        return 0
    print("peak extra memory of a training step, B64 T100 512/512, with the input's gradient")
    sizes = (100, 64, 512, 512)
    torch = measure("torch", sizes)
    for library in LIBRARIES:
        own = measure(library, sizes)
        print(f"  {library:<16}{own:>9.1f} MB  {own / torch:>6.2f} of torch's")
    print("a long sequence, B1 T10000 64/256, cellgate")
    sizes = (10_000, 1, 64, 256)
    whole = measure("cellgate", sizes)
    for checkpoint in (None, 1000, 100):
        own = measure("cellgate", sizes, checkpoint)
        name = f"checkpoint={checkpoint}"
        print(f"  {name:<16}{own:>9.1f} MB  {own / whole:>6.2f} of the whole tape's")
    return 0


if __name__ == "__main__":
    sys.exit(main())
