"""Side by side: `python -m benchmarks.compare [--suite NAME] [--threads N|all]`. See README.md."""

from __future__ import annotations

import argparse
import datetime
import fnmatch
import importlib.util
import json
import os
import platform
import sys
from dataclasses import asdict
from importlib.metadata import version
from math import prod
from pathlib import Path
from statistics import median
from typing import Any

from . import report
from .limits import Limit, limit
from .machine import Machine, ProbeError, describe, processor
from .measure import Times, build, check, fastest, interleave
from .rival import Rival
from .rivals import LIBRARIES, OURS, able, all_cores, limit_threads, missing
from .rows import Row
from .suites import SHORT, SUITES, Suite

QUIET = 0.5  # load average above which a warning is given
RIVALS = [name for name in LIBRARIES if name not in OURS]


def measure_row(
    row: Row, libraries: list[str], machine: Machine | None, options: Any
) -> dict[str, Any]:
    libraries = able(libraries, row)
    rivals, failures = build(row, libraries, options.threads, not options.no_compile)
    difference = check(rivals)
    limits: list[Limit] = []
    beside = (lambda: limits.append(limit(row, machine.now()))) if machine else None
    times = interleave(rivals, options.rounds, options.seconds, options.threads, beside)
    own = counted(row, libraries)
    ours = fastest(rivals, times, own)
    required = at(row.required, options.threads)
    result = {
        "name": row.name,
        **asdict(row.shape),
        "streaming": row.streaming,
        "training": row.training,
        "flops": row.shape.flops(row.training),
        "largest_difference": difference,
        "ours": rivals[ours].name,
        "times": {
            rival.name: {
                "median_us": own_times.median,
                "p99_us": own_times.p99,
                "calls": own_times.count,
                "rounds_us": own_times.rounds,
            }
            for rival, own_times in zip(rivals, times, strict=True)
        },
        "left_out": failures,
        "against": against(libraries, own, rivals, times),
    }
    counting = [rival for rival in result["against"] if rival["counts"]]
    best = min(counting, key=lambda rival: rival["ratio"], default=None)
    ratio = best["ratio"] if best else None
    met = required is None or ratio is None or ratio >= required
    result |= {"best": best["name"] if best else None, "ratio": ratio}
    result |= {"required": required, "ok": met}
    result["limit"] = of_limit(row, limits, times[ours].rounds, options.threads)
    return result


def counted(row: Row, libraries: list[str]) -> str:
    """Which of ours is compared: in training, which of the rivals torch alone does, the drop-in."""
    return "cellgate.torch" if row.training and "cellgate.torch" in libraries else "cellgate"


def against(
    libraries: list[str], own: str, rivals: list[Rival], times: list[Times]
) -> list[dict[str, Any]]:
    """Each library's fastest variant against ours: their time over ours in the same round."""
    ours, results = fastest(rivals, times, own), []
    for library in libraries:
        if library == own or library not in {rival.library for rival in rivals}:
            continue
        theirs = fastest(rivals, times, library)
        pairs = zip(times[ours].rounds, times[theirs].rounds, strict=True)
        ratios = [b / a for a, b in pairs]
        results.append(
            {
                "library": library,
                "name": rivals[theirs].name,
                "ratio": median(ratios),
                "ratio_min": min(ratios),
                "ratio_max": max(ratios),
                "counts": library not in OURS,
            }
        )
    return results


def of_limit(
    row: Row, limits: list[Limit], rounds: list[float], threads: int
) -> dict[str, Any] | None:
    """How close our time comes to the machine's limit, in the median of the rounds."""
    if not limits:
        return None
    required = at(row.of_limit, threads)
    fractions = [least.microseconds / own for least, own in zip(limits, rounds, strict=True)]
    fraction = median(fractions)
    typical = sorted(limits, key=lambda least: least.microseconds)[len(limits) // 2]
    spread = {"fraction_min": min(fractions), "fraction_max": max(fractions)}
    met = required is None or fraction >= required
    return {**asdict(typical), "fraction": fraction, **spread, "required": required, "ok": met}


def at(pair: tuple[float | None, float | None], threads: int) -> float | None:
    """What of a pair (one thread, all cores) holds for `threads`."""
    if threads == 1:
        return pair[0]
    return pair[1] if threads == all_cores() else None


def mean_of(suite: Suite, results: list[dict[str, Any]], threads: int) -> dict[str, Any] | None:
    """Geometric mean of the ratios to the best rivals; required of whole suites only."""
    ratios = [result["ratio"] for result in results if result["ratio"] is not None]
    if not ratios:
        return None
    mean = prod(ratio ** (1 / len(ratios)) for ratio in ratios)
    required = at(suite.mean, threads) if len(ratios) == len(suite.rows) else None
    return {"ratio": mean, "required": required, "ok": required is None or mean >= required}


def about(libraries: list[str], options: Any) -> dict[str, Any]:
    import cellgate

    return {
        "when": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "processor": processor(),
        "cores": all_cores(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": {name: version(name) for name in libraries if "." not in name},
        "isa": cellgate.active_isa(),
        "threads": options.threads,
        "rounds": options.rounds,
        "seconds": options.seconds,
    }


def thread_count(text: str) -> int:
    count = all_cores() if text == "all" else int(text)
    if count < 1:
        raise argparse.ArgumentTypeError("must be at least 1, or all")
    return count


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument(
        "--suite", action="append", choices=[*SUITES, "all"], metavar="NAME",
        help=f"may be repeated: {', '.join(SUITES)}, all ({', '.join(SHORT)})",
    )  # fmt: skip
    parser.add_argument("--rows", default="*", metavar="PATTERN", help="such as '*/*-B1-*'")
    parser.add_argument(
        "--threads", type=thread_count, default=1, metavar="N", help="of every library, or all (1)"
    )
    parser.add_argument(
        "--rivals", nargs="+", choices=RIVALS, metavar="NAME",
        help=f"of {', '.join(RIVALS)} (all that are installed)",
    )  # fmt: skip
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--rounds", type=int, default=9, help="turns each library has (9)")
    parser.add_argument("--seconds", type=float, default=0.05, help="of one turn (0.05)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw it there (matplotlib)")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds must be at least 1, --seconds positive")
    if options.chart and not importlib.util.find_spec("matplotlib"):
        parser.error("--chart needs matplotlib, which is not installed")
    return options


def installed(asked: list[str]) -> list[str]:
    """Ours and those of `asked` that are there; says which are not."""
    libraries = [name for name in OURS if not missing(name)]
    if "torch" not in asked:
        libraries = [name for name in libraries if name != "cellgate.torch"]
    for library in asked:
        if missing(library):
            print(f"{library}: left out, not installed: {', '.join(missing(library))}")
        else:
            libraries.append(library)
    return libraries


def measured_machine(info: dict[str, Any]) -> Machine | None:
    try:
        machine = Machine(info["isa"], info["threads"])
        info["machine"] = machine.report()
    except ProbeError as error:
        print(f"machine not measured, nothing is said of limits: {error}", file=sys.stderr)
        info["machine"] = None
        return None
    print(f"machine: {describe(info['machine'])}")
    return machine


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    limit_threads(options.threads)
    load = os.getloadavg()[0]
    quiet = "" if load <= QUIET else f", NOT QUIET: above {QUIET}, trust nothing but large ratios"
    print(f"load average {load:.2f}{quiet}")
    names = options.suite or list(SHORT)
    suites = [suite for suite in SUITES.values() if suite.name in names or "all" in names]
    chosen = {
        suite.name: [row for row in suite.rows if fnmatch.fnmatch(row.name, options.rows)]
        for suite in suites
    }
    libraries = installed(options.rivals or RIVALS)
    if not any(chosen.values()):
        print("no row matches", file=sys.stderr)
        return 2
    info = about(libraries, options)
    print(f"{info['processor']}, {info['isa']}, {options.threads} thread(s), {info['versions']}")
    if not options.suite:
        print(f"suites: {', '.join(SHORT)}; --suite all runs every one, which takes long")
    machine = measured_machine(info)

    info["suites"], met = [], True
    for suite in suites:
        if not chosen[suite.name]:
            continue
        report.print_header()
        results = []
        for row in chosen[suite.name]:
            results.append(measure_row(row, libraries, machine, options))
            report.print_row(results[-1])
        mean = mean_of(suite, results, options.threads)
        report.print_mean(suite.name, mean)
        info["suites"].append({"name": suite.name, "mean": mean, "rows": results})
        met &= all(result["ok"] and (result["limit"] or {"ok": True})["ok"] for result in results)
        met &= mean is None or mean["ok"]
        if options.json:  # after each suite: a long run that is stopped leaves what it has
            options.json.write_text(json.dumps(info, indent=1) + "\n")
    if options.chart:
        from . import chart

        chart.draw(info, options.chart)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
