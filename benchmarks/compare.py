"""Side by side: `python -m benchmarks.compare [--threads N] [--json FILE]`. See README.md."""

from __future__ import annotations

import argparse
import datetime
import fnmatch
import importlib
import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from .measure import build, check, fastest, interleave
from .rivals import LIBRARIES, missing
from .rows import ROWS, Row

HEADER = (
    f"{'row':<22}{'cellgate µs':>12}  {'rival':<14}{'rival µs':>12}"
    f"  {'times as fast':<24}{'required':>8}  ok"
)


def measure_row(row: Row, libraries: list[str], options: argparse.Namespace) -> dict[str, Any]:
    libraries = [name for name in libraries if LIBRARIES[name].variants(row)]
    rivals = build(row, libraries, options.threads)
    difference = check(rivals)
    times = interleave(rivals, options.rounds, options.seconds)
    # In training the drop-in is what does torch's work in torch's place.
    own = "cellgate.torch" if "cellgate.torch" in libraries else "cellgate"
    ours = fastest(rivals, times, own)
    against = []
    for library in libraries:
        if library == own:
            continue
        theirs = fastest(rivals, times, library)
        ratios = [b / a for a, b in zip(times[ours], times[theirs], strict=True)]
        required = row.required.get(library) if options.threads == 1 else None
        against.append(
            {
                "library": library,
                "variant": rivals[theirs].variant,
                "ratio": median(ratios),
                "ratio_min": min(ratios),
                "ratio_max": max(ratios),
                "required": required,
                "ok": required is None or median(ratios) >= required,
            }
        )
    return {
        **asdict(row.shape),
        "streaming": row.streaming,
        "training": row.training,
        "flops": row.shape.flops,
        "largest_difference": difference,
        "ours": f"{own} {rivals[ours].variant}",
        "microseconds": {
            f"{rival.library} {rival.variant}": values
            for rival, values in zip(rivals, times, strict=True)
        },
        "against": against,
    }


def print_row(result: dict[str, Any]) -> None:
    ours = median(result["microseconds"][result["ours"]])
    for rival in result["against"]:
        theirs = median(result["microseconds"][f"{rival['library']} {rival['variant']}"])
        ratio = f"{rival['ratio']:.2f} [{rival['ratio_min']:.2f} .. {rival['ratio_max']:.2f}]"
        required = "" if rival["required"] is None else f"{rival['required']:.2f}"
        verdict = "" if rival["required"] is None else ("ok" if rival["ok"] else "NO")
        print(
            f"{result['name']:<22}{ours:>12.2f}  {rival['library']:<14}{theirs:>12.2f}"
            f"  {ratio:<24}{required:>8}  {verdict}",
            flush=True,
        )


def machine(libraries: list[str], threads: int) -> dict[str, Any]:
    import cellgate

    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        processor = names[0] if names else processor
    return {
        "when": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "processor": processor,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": {
            name: importlib.import_module(name).__version__
            for name in libraries
            if name != "cellgate.torch"
        },
        "isa": cellgate.active_isa(),
        "threads": threads,
    }


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("--threads", type=int, default=1, help="for every library (1)")
    parser.add_argument("--rounds", type=int, default=9, help="turns each library has (9)")
    parser.add_argument("--seconds", type=float, default=0.02, help="of one timed loop (0.02)")
    parser.add_argument("--rows", default="*", metavar="PATTERN", help="such as 'batch-*'")
    parser.add_argument(
        "--rivals", nargs="+", choices=list(LIBRARIES)[1:], help="(all that are installed)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    # Read by OpenMP and MKL inside rivals, when they are first imported.
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(options.threads)
    libraries = ["cellgate"]
    for library in options.rivals or list(LIBRARIES)[1:]:
        if missing(library):
            print(f"{library}: left out, not installed: {', '.join(missing(library))}")
        else:
            libraries.append(library)
    rows = [row for row in ROWS if fnmatch.fnmatch(row.shape.name, options.rows)]
    if not rows or len(libraries) == 1:
        print("nothing to compare", file=sys.stderr)
        return 2

    about = machine(libraries, options.threads)
    print(f"{about['processor']}, {about['isa']}, {options.threads} thread(s), {about['versions']}")
    print(HEADER)
    results = []
    for row in rows:
        results.append(measure_row(row, libraries, options))
        print_row(results[-1])
    if options.json:
        options.json.write_text(json.dumps({**about, "rows": results}, indent=1) + "\n")
    return 0 if all(rival["ok"] for result in results for rival in result["against"]) else 1


if __name__ == "__main__":
    sys.exit(main())
