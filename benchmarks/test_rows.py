"""pytest-benchmark suite of all rows: `pytest benchmarks`. Times one thread."""

from __future__ import annotations

from typing import Any

import pytest

from .measure import build, check
from .rival import Rival
from .rivals import LIBRARIES, missing
from .rows import ROWS, Row

CASES = [
    pytest.param(row, library, variant, id=f"{row.shape.name}-{library}-{variant}")
    for row in ROWS
    for library, rival in LIBRARIES.items()
    for variant in rival.variants(row)
]
_built: dict[str, list[Rival]] = {}


def rivals_of(row: Row) -> list[Rival]:
    """All that are installed, seen to agree; those of one row at a time are kept."""
    if row.shape.name not in _built:
        _built.clear()
        libraries = [
            name for name in LIBRARIES if not missing(name) and LIBRARIES[name].variants(row)
        ]
        rivals = build(row, libraries, threads=1)
        check(rivals)
        _built[row.shape.name] = rivals
    return _built[row.shape.name]


@pytest.mark.parametrize(("row", "library", "variant"), CASES)
def test_row(benchmark: Any, row: Row, library: str, variant: str) -> None:
    if missing(library):
        pytest.skip(f"not installed: {', '.join(missing(library))}")
    (rival,) = (r for r in rivals_of(row) if (r.library, r.variant) == (library, variant))
    x = row.shape.input()
    argument = rival.argument(x[0] if row.streaming else x)
    benchmark.group = row.shape.name
    benchmark(rival.call, argument)
    if benchmark.stats is not None:  # None with --benchmark-disable
        benchmark.extra_info["gflops"] = row.shape.flops / benchmark.stats.stats.median / 1e9
