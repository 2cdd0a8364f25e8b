"""The #include lines of csrc: down the list of rooms, without circles between files."""

from __future__ import annotations

import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "csrc"

# Who may include whom: what stands further down.
ROOMS = ("bindings", "capi", "include", "files", "run", "threads", "model", "memory", "kernels")
SUFFIXES = {".hpp", ".cpp", ".h", ".def"}
GENERATED = {"isa_list.inc"}


def includes_of(text: str) -> list[str]:
    return re.findall(r'^\s*#\s*include\s*"([^"]+)"', text, re.MULTILINE)


def read() -> dict[str, list[str]]:
    files = sorted(path for path in ROOT.rglob("*") if path.suffix in SUFFIXES)
    return {
        path.relative_to(ROOT).as_posix(): [
            name for name in includes_of(path.read_text()) if name not in GENERATED
        ]
        for path in files
    }


GRAPH = read()


def upward(graph: dict[str, list[str]]) -> list[str]:
    def rank(name: str) -> int:
        return ROOMS.index(name.split("/")[0])

    return [
        f"{name} includes {other}"
        for name, others in graph.items()
        for other in others
        if rank(name) > rank(other)
    ]


def circle(graph: dict[str, list[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_every_file_is_in_a_room_and_every_include_is_a_path_from_csrc() -> None:
    assert len(GRAPH) > 40
    assert {name.split("/")[0] for name in GRAPH} <= {*ROOMS}
    missing = [(name, other) for name in GRAPH for other in GRAPH[name] if other not in GRAPH]
    assert missing == []


def test_no_include_goes_up() -> None:
    assert upward(GRAPH) == []


def test_there_are_no_circles() -> None:
    assert circle(GRAPH) == []


@pytest.mark.parametrize(
    ("name", "line", "fault"),
    [
        ("memory/scratch.hpp", '#include "threads/pool.hpp"', "threads/pool.hpp"),
        ("kernels/vec.hpp", '  #  include "run/forward.hpp"  // why', "run/forward.hpp"),
    ],
)
def test_an_arrow_upward_is_seen(name: str, line: str, fault: str) -> None:
    graph = {**GRAPH, name: [*GRAPH[name], *includes_of(f"#include <vector>\n{line}\n")]}
    assert upward(graph) == [f"{name} includes {fault}"]


def test_a_circle_is_seen() -> None:
    graph = {**GRAPH, "kernels/vec.hpp": [*GRAPH["kernels/vec.hpp"], "kernels/gemm-inl.hpp"]}
    assert "kernels/vec.hpp" in circle(graph)
