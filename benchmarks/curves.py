"""Cost as work grows: `python -m benchmarks.curves [--chart FILE] [--json FILE]`. See README.md."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from dataclasses import dataclass, replace
from math import log2
from pathlib import Path
from typing import Any

import numpy as np

from . import memory
from .compare import about, thread_count
from .measure import build, interleave
from .rivals import all_cores, limit_threads
from .rows import Row, Shape

DOUBLINGS = tuple(2**k for k in range(20))


@dataclass(frozen=True)
class Sweep:
    """One size that grows from `first` to `last` while the others stay."""

    symbol: str  # T, B, H (I with it), L or threads
    base: Shape
    first: int
    last: int
    # The slope: time grows as the size to this power, at most. What little work costs beyond its
    # arithmetic makes slopes smaller; the twentieth is for noise.
    at_most: float

    def values(self) -> list[int]:
        last = all_cores() if self.symbol == "threads" else self.last
        values = [self.first * k for k in DOUBLINGS if self.first * k <= last]
        return values if values[-1] == last else [*values, last]

    def others(self) -> str:
        """The sizes that stay."""
        sizes = {name: size for name, size in vars(self.base).items() if name != self.symbol}
        ones = [name for name in "LD" if sizes.get(name) == 1]
        return " ".join(f"{k}{v}" for k, v in sizes.items() if v and k not in ones)

    def shape(self, value: int) -> Shape:
        if self.symbol == "threads":
            return self.base
        changed = {"H": value, "I": value} if self.symbol == "H" else {self.symbol: value}
        return replace(self.base, **changed)


SWEEPS = (
    Sweep("T", Shape(0, 1, 128, 128), 25, 3200, 1.05),
    Sweep("B", Shape(25, 0, 256, 256), 1, 256, 1.05),
    Sweep("H", Shape(25, 16, 0, 0), 32, 1024, 2.05),
    Sweep("L", Shape(50, 8, 128, 128), 1, 8, 1.05),
    Sweep("threads", Shape(25, 64, 512, 512), 1, 0, 0.05),
    Sweep("threads", Shape(100, 32, 64, 64), 1, 0, 0.05),
)


def measured(sweep: Sweep, training: bool, options: argparse.Namespace) -> dict[str, Any]:
    """Median µs at each value; the values of one sweep are timed alternately."""
    values = sweep.values()
    rows = [Row("curves", sweep.shape(value), training=training) for value in values]
    if sweep.symbol == "threads":
        times = [timed([row], value, options)[0] for row, value in zip(rows, values, strict=True)]
    else:
        times = timed(rows, options.threads, options)
    return {
        "symbol": sweep.symbol,
        "base": sweep.others(),
        "training": training,
        "values": values,
        "microseconds": times,
        "slope": slope(values, times),
        "at_most": sweep.at_most,
    }


def timed(rows: list[Row], threads: int, options: argparse.Namespace) -> list[float]:
    rivals = [build(row, ["cellgate"], threads)[0][0] for row in rows]
    return [t.median for t in interleave(rivals, options.rounds, options.seconds, threads)]


def slope(values: list[int], times: list[float]) -> float | None:
    """Of the line through the logarithms: 1 if time doubles with the size. None for one point."""
    if len(values) < 2:
        return None
    return float(np.polyfit(np.log2(values), np.log2(times), 1)[0])


def met(curve: dict[str, Any]) -> bool:
    return curve["slope"] is None or curve["slope"] <= curve["at_most"]


def print_curve(curve: dict[str, Any], threads: int) -> None:
    at = "" if curve["symbol"] == "threads" else f", {threads} thread(s)"
    kind = "forward and backward" if curve["training"] else "forward"
    print(f"\n{curve['symbol']} grows: {curve['base']}, {kind}{at}")
    before = None
    for value, time in zip(curve["values"], curve["microseconds"], strict=True):
        step = ""
        if before is not None:
            own = log2(time / before[1]) / log2(value / before[0])
            step = f"x {2**own:.2f} per doubling"
        print(f"{value:>10} {time:>14.2f} µs  {step}".rstrip())
        before = (value, time)
    if curve["slope"] is not None:
        verdict = "ok" if met(curve) else "NO"
        print(
            f"  in all x {2 ** curve['slope']:.2f} per doubling: time ~ {curve['symbol']}^"
            f"{curve['slope']:.2f}, at most {curve['at_most']:.2f} {verdict}",
            flush=True,
        )


def bounded_memory() -> list[dict[str, Any]]:
    """What long sequences and large layers need beyond what the caller gets back, in MB."""
    long, large = Shape(100_000, 1, 64, 256), Shape(25, 16, 4096, 4096)
    weights = megabytes(4 * large.H * (large.I + large.H))
    d_input = megabytes(long.T * long.I)
    return [
        memory_line("T=100,000 64/256, a call", "forward", long, output(long), at_most=16),
        memory_line(
            "the same, trained with checkpoint=300", "cellgate", long, output(long) + d_input,
            at_most=64, checkpoint=300,
        ),
        memory_line("H=4096, the model", "model", large, weights, at_most=1.1 * weights),
        memory_line("H=4096 T25 B16, a call", "forward", large, output(large), at_most=128),
    ]  # fmt: skip


def megabytes(floats: int) -> float:
    return floats * 4 / 2**20


def output(shape: Shape) -> float:
    return megabytes(shape.T * shape.B * shape.H)


def memory_line(
    name: str,
    what: str,
    shape: Shape,
    result: float,
    at_most: float,
    checkpoint: int | None = None,
) -> dict[str, Any]:
    peak = memory.measure(what, (shape.T, shape.B, shape.I, shape.H), checkpoint)
    return {
        "name": name,
        "peak_mb": peak,
        "result_mb": result,
        "at_most_mb": at_most,
        "ok": peak - result <= at_most,
    }


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.curves", description=__doc__)
    parser.add_argument(
        "--threads", type=thread_count, default=1, metavar="N",
        help="of all curves but those over threads, or all (1)",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=5, help="turns each size has (5)")
    parser.add_argument("--seconds", type=float, default=0.05, help="of one turn (0.05)")
    parser.add_argument("--no-memory", action="store_true", help="leave peaks of memory out")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw it there (matplotlib)")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds must be at least 1, --seconds positive")
    if options.chart and not importlib.util.find_spec("matplotlib"):
        parser.error("--chart needs matplotlib, which is not installed")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    limit_threads(options.threads)
    info = about(["cellgate"], options)
    print(f"{info['processor']}, {info['isa']}, load average {info['load']:.2f}")
    info["curves"] = []
    for sweep in SWEEPS:
        for training in (False, True):
            info["curves"].append(measured(sweep, training, options))
            print_curve(info["curves"][-1], options.threads)
    info["memory"] = []
    if not options.no_memory:
        info["memory"] = bounded_memory()
        print("\npeak memory beyond what is returned")
        for line in info["memory"]:
            beyond = f"{line['peak_mb'] - line['result_mb']:.1f} MB"
            returned = f"beyond {line['result_mb']:.1f} MB"
            verdict = f"at most {line['at_most_mb']:.0f} {'ok' if line['ok'] else 'NO'}"
            print(f"  {line['name']}: {beyond} {returned}, {verdict}")
    if options.json:
        options.json.write_text(json.dumps(info, indent=1) + "\n")
    if options.chart:
        from . import chart

        chart.draw_curves(info, options.chart)
    good = all(map(met, info["curves"])) and all(line["ok"] for line in info["memory"])
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
