"""pytest-benchmark suite of the short rows: `pytest benchmarks`. Times one thread."""

from __future__ import annotations

from typing import Any

import pytest

from .measure import argument, build, check
from .rival import Rival
from .rivals import LIBRARIES, able, limit_threads, missing
from .rows import Row
from .suites import SUITES

limit_threads(1)
ROWS = [row for suite in SUITES.values() for row in suite.rows if row.short]
CASES = [
    pytest.param(row, library, variant, id=f"{row.name}-{library}-{variant}")
    for row in ROWS
    for library, rival in LIBRARIES.items()
    for variant in rival.variants(row)
    if not variant.startswith("compile")  # each takes seconds to build
]
_built: dict[str, list[Rival]] = {}


def rivals_of(row: Row) -> list[Rival]:
    """All that are installed, seen to agree; those of one row at a time are kept."""
    if row.name not in _built:
        _built.clear()
        libraries = able([name for name in LIBRARIES if not missing(name)], row)
        rivals, _ = build(row, libraries, threads=1, compiled=False)
        check(rivals)
        _built[row.name] = rivals
    return _built[row.name]


@pytest.mark.parametrize(("row", "library", "variant"), CASES)
def test_row(benchmark: Any, row: Row, library: str, variant: str) -> None:
    if missing(library):
        pytest.skip(f"not installed: {', '.join(missing(library))}")
    (rival,) = (r for r in rivals_of(row) if (r.library, r.variant) == (library, variant))
    own = argument(rival)
    benchmark.group = row.name
    benchmark(rival.call, own)
    if benchmark.stats is not None:  # None with --benchmark-disable
        median = benchmark.stats.stats.median
        benchmark.extra_info["gflops"] = row.shape.flops(row.training) / median / 1e9
