"""The table. Called by compare.py with the results that go into the JSON."""

from __future__ import annotations

from typing import Any

COLUMNS = (
    f"{'cellgate µs':>12} {'p99':>9}  {'rival':<32} {'µs':>10} {'p99':>10}"
    f"  {'times as fast':<24} {'required':<11} of limit"
)


def print_header() -> None:
    print(f"\n{'row':<44}{COLUMNS}", flush=True)


def number(value: float | None, width: int) -> str:
    if value is None:
        return " " * (width - 1) + "-"
    return f"{value:>{width}.2f}" if value < 1e4 else f"{value:>{width}.0f}"


def verdict(text: str, required: str | None, ok: bool) -> str:
    return text if required is None else f"{text}{required} {'ok' if ok else 'NO'}"


def print_row(result: dict[str, Any]) -> None:
    """One line for each rival, the best first; ours and the limit on the first."""
    ours = result["times"][result["ours"]]
    left = f"{result['name']:<44}{number(ours['median_us'], 12)} {number(ours['p99_us'], 9)}"
    right = limit_text(result["limit"])
    lines = sorted(result["against"], key=lambda rival: (not rival["counts"], rival["ratio"]))
    for index, rival in enumerate(lines):
        theirs = result["times"][rival["name"]]
        ratio = f"{rival['ratio']:.2f} [{rival['ratio_min']:.2f} .. {rival['ratio_max']:.2f}]"
        required = ""
        if rival["name"] == result["best"] and result["required"] is not None:
            required = verdict("", f"{result['required']:.2f}", result["ok"])
        line = (
            f"{left if index == 0 else '':<66}  {rival['name']:<32} "
            f"{number(theirs['median_us'], 10)} {number(theirs['p99_us'], 10)}"
            f"  {ratio:<24} {required:<11} {right if index == 0 else ''}"
        )
        print(line.rstrip(), flush=True)
    if not lines:
        print(f"{left}  {'':<92} {right}".rstrip(), flush=True)
    for name, why in result["left_out"].items():
        print(f"{'':<44}left out: {name}: {why}", flush=True)


def limit_text(limit: dict[str, Any] | None) -> str:
    if limit is None:
        return ""
    required = None if limit["required"] is None else f", required {limit['required']:.0%}"
    return verdict(f"{limit['fraction']:.0%} of {limit['by']}", required, limit["ok"])


def print_mean(name: str, mean: dict[str, Any] | None) -> None:
    if mean is None:
        return
    required = None if mean["required"] is None else f", required {mean['required']:.2f}"
    text = f"{name}: geometric mean against the best rivals {mean['ratio']:.2f}"
    print(verdict(text, required, mean["ok"]), flush=True)
