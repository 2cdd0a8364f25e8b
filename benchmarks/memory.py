"""Peak memory of one training step: `python -m benchmarks.memory`. See README.md.

Every figure comes from a process of its own: the step is taken once at a small size, so that
libraries are loaded, then the highest resident memory during a step at the full size is read,
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
MOST = 0.7  # of torch's memory


def resident(field: str) -> float:
    """VmRSS or VmHWM of this process in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/self/status has no {field}")


def peak_of(step: Any) -> float:
    """MB that `step()` has resident at its peak beyond those before it."""
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    step()
    return resident("VmHWM") - before


def native_step(sizes: tuple[int, ...], checkpoint: int | None) -> Any:
    import cellgate

    steps, batch, inputs, hidden = sizes
    lstm = cellgate.LSTM(inputs, hidden, seed=0)
    random = np.random.default_rng(0)
    x = random.standard_normal((steps, batch, inputs), dtype=np.float32)
    d_y = random.standard_normal((steps, batch, hidden), dtype=np.float32)
    return lambda: lstm.record(x, checkpoint=checkpoint).backward(d_y)


def torch_step(sizes: tuple[int, ...], drop_in: bool) -> Any:
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


def step_of(library: str, sizes: tuple[int, ...], checkpoint: int | None) -> Any:
    if library == "cellgate":
        return native_step(sizes, checkpoint)
    return torch_step(sizes, library == "cellgate.torch")


def measure(library: str, sizes: tuple[int, ...], checkpoint: int | None = None) -> float:
    """MB, from a process of its own."""
    words = [library, *map(str, sizes), *([f"--checkpoint={checkpoint}"] if checkpoint else [])]
    command = [sys.executable, "-m", "benchmarks.memory", "--one", *words]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def one(words: list[str], checkpoint: int | None) -> None:
    library, *sizes = words
    step_of(library, (3, 2, 5, 7), checkpoint)()
    step = step_of(library, tuple(map(int, sizes)), checkpoint)
    print(peak_of(step))


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
    used = {library: measure(library, sizes) for library in LIBRARIES}
    for library, own in used.items():
        print(f"  {library:<16}{own:>9.1f} MB  {own / used['torch']:>6.2f} of torch's")
    good = all(used[library] <= MOST * used["torch"] for library in LIBRARIES[1:])
    print(f"  {'ok' if good else 'NO'}: at most {MOST} of torch's required")
    print("a long sequence, B1 T10000 64/256, cellgate")
    sizes = (10_000, 1, 64, 256)
    whole = measure("cellgate", sizes)
    for checkpoint in (None, 1000, 100):
        own = measure("cellgate", sizes, checkpoint)
        name = f"checkpoint={checkpoint}"
        print(f"  {name:<16}{own:>9.1f} MB  {own / whole:>6.2f} of the whole tape's")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
