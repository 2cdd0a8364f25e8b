"""What the six applications share: options, the final table, times side by side, and the proof
that a saved model needs no torch. Nothing here depends on the model; copy what you use.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, NoReturn

import cellgate


def arguments(doc: str, *extra: tuple[str, dict[str, Any]]) -> argparse.Namespace:
    """`--quick`, `--seeds` and `--output`, and what an application adds as (name, settings)."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small, for a first look and for CI")
    parser.add_argument("--seeds", type=int, help="how many trainings (3; 1 with --quick)")
    parser.add_argument("--output", type=Path, default=Path(), help="folder to write to (here)")
    for name, settings in extra:
        parser.add_argument(name, **settings)
    result = parser.parse_args()
    result.seeds = result.seeds or (1 if result.quick else 3)
    need("matplotlib.figure", "matplotlib")  # now rather than after the training
    result.output.mkdir(parents=True, exist_ok=True)  # fails now rather than after the training
    return result


def missing(what: str, install: str) -> NoReturn:
    """End with one line that says what to install."""
    print(f"{what} is missing: {install}", file=sys.stderr)
    raise SystemExit(2)


def need(module: str, package: str) -> ModuleType:
    """The module, or one line that says which package has it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        missing(module, f"pip install {package} (or all of them: pip install '.[examples]')")


class Clock:
    """Seconds of a `with` block: `with Clock() as c: ...`, then `c.seconds`."""

    def __enter__(self) -> Clock:
        self.begin = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self.begin


class Row(NamedTuple):
    """One method of the final table: one value for each seed, or a single one."""

    method: str
    metrics: dict[str, Sequence[float]]
    training: float | None = None  # seconds, one training
    inference: float | None = None  # seconds, as the table's `inference_of` says
    ours: bool = False
    reference: bool = False  # a stronger method than the usual baselines, which does not decide


def spread(values: Sequence[float]) -> str:
    """The mean and, over several seeds, the lowest and highest value."""
    mean = f"{statistics.fmean(values):.4g}"
    return f"{mean} [{min(values):.4g} .. {max(values):.4g}]" if len(values) > 1 else mean


class Table:
    """The final table of an application; also written as JSON, of which the gallery is made."""

    def __init__(
        self, name: str, task: str, better: dict[str, str], inference_of: str, data: str
    ) -> None:
        """`better` says of each metric whether "lower" or "higher" is; the first one decides."""
        self.name, self.task, self.better = name, task, better
        self.inference_of, self.data = inference_of, data
        self.rows: list[Row] = []
        self.notes: list[str] = []
        self.begin = time.perf_counter()

    def add(
        self,
        method: str,
        metrics: dict[str, Sequence[float]],
        training: float | None = None,
        inference: float | None = None,
        ours: bool = False,
        reference: bool = False,
    ) -> None:
        """A row."""
        unknown = set(metrics) - set(self.better)
        assert not unknown, f"metrics without a direction: {unknown}"
        self.rows.append(Row(method, metrics, training, inference, ours, reference))

    def note(self, text: str) -> None:
        """A line below the table, such as the time of nn.LSTM beside ours."""
        self.notes.append(text)

    def ahead(self, references: bool = True) -> dict[str, bool]:
        """Of each metric, whether the best of our means is ahead of every baseline's."""
        result = {}
        for metric, better in self.better.items():
            sign = 1 if better == "higher" else -1
            means: dict[bool, list[float]] = {True: [], False: []}
            for row in self.rows:
                if metric in row.metrics and (references or not row.reference):
                    means[row.ours].append(sign * statistics.fmean(row.metrics[metric]))
            if means[True] and means[False]:
                result[metric] = max(means[True]) > max(means[False])
        return result

    def finish(self, output: Path, quick: bool) -> int:
        """Print, write NAME.json; the exit status is 1 if ours is not ahead in the first metric.

        Of all baselines but the references, that is.
        """
        print(f"\n{self.task}\nData: {self.data}\n")
        heads = ["method", *self.better, "training s", f"inference of {self.inference_of}, s"]
        lines = [
            [
                ("* " if row.ours else "  ") + row.method,
                *(spread(row.metrics[m]) if m in row.metrics else "" for m in self.better),
                "" if row.training is None else f"{row.training:.3g}",
                "" if row.inference is None else f"{row.inference:.3g}",
            ]
            for row in self.rows
        ]
        widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
        for line in (heads, ["-" * width for width in widths], *lines):
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))
        for text in self.notes:
            print(text)
        ahead, decides = self.ahead(), self.ahead(references=False)
        for metric, yes in ahead.items():
            text = "ahead" if yes else "NOT ahead"
            if not yes and decides[metric]:
                text = "ahead of the usual baselines, NOT of the stronger references"
            print(f"{metric} ({self.better[metric]} is better): {text}")
        seconds = time.perf_counter() - self.begin
        print(f"Everything: {seconds:.0f} s")
        document = {
            "name": self.name,
            "task": self.task,
            "data": self.data,
            "quick": quick,
            "better": self.better,
            "inference_of": self.inference_of,
            "rows": [row._asdict() for row in self.rows],
            "notes": self.notes,
            "ahead": ahead,
            "ahead_without_references": decides,
            "seconds": seconds,
            "machine": {
                "cpu": cpu_name(),
                "cores": os.cpu_count(),
                "threads": cellgate.get_num_threads(),
                "isa": cellgate.active_isa(),
            },
        }
        text = json.dumps(document, indent=1)
        (output / f"{self.name}.json").write_text(text + "\n", encoding="utf-8")
        return 0 if decides[next(iter(self.better))] else 1


def cpu_name() -> str:
    """The CPU's name where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def side_by_side(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int = 7
) -> tuple[float, float, str]:
    """Median seconds of both, timed in turns after one call each, and a sentence with the ratio."""
    times: tuple[list[float], list[float]] = ([], [])
    for k in range(-1, rounds):
        for which in (0, 1) if k % 2 else (1, 0):
            begin = time.perf_counter()
            (ours, theirs)[which]()
            if k >= 0:
                times[which].append(time.perf_counter() - begin)
    ratios = sorted(b / a for a, b in zip(*times, strict=True))
    a, b = statistics.median(times[0]), statistics.median(times[1])
    text = f"{a * 1e3:.3g} ms with cellgate, {b * 1e3:.3g} ms with torch.nn.LSTM: "
    text += f"{statistics.median(ratios):.2f} [{ratios[0]:.2f} .. {ratios[-1]:.2f}] times as fast"
    return a, b, text


# Refuses the import. None in sys.modules would too, but SciPy stumbles over it there.
NO_TORCH = """
import runpy, sys
class Refuse:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("torch is not to be imported here", name="torch")
sys.meta_path.insert(0, Refuse)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def without_torch(script: Path, *arguments: str | Path) -> str:
    """Run a Python program in a process in which `import torch` fails; what it printed."""
    command = [sys.executable, "-c", NO_TORCH, str(script), *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


@contextmanager
def picture(path: Path, width: float, height: float) -> Iterator[Any]:
    """A matplotlib figure that is saved at the end: `with picture(...) as figure:`."""
    Figure = need("matplotlib.figure", "matplotlib").Figure  # noqa: N806
    figure = Figure(figsize=(width, height), layout="constrained")
    yield figure
    figure.savefig(path, dpi=110)
    print(f"Drawn: {path}")
