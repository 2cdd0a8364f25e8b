"""The package's own imports, from its source: down one list, no circles, rarely in functions."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cellgate
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(cellgate.__file__).parent

# Who may import whom: what stands further down. A folder is one entry; so is the package itself.
ORDER = (
    "__main__", "demo", "estimators", "torch", "cellgate", "files", "network", "network_stream",
    "linear", "lstm", "stream", "tape", "formats", "weights", "parameters", "optim", "runtime",
    "config", "reference_backward", "reference", "_core",
)  # fmt: skip

# Imports inside functions, each with its reason.
ALLOWED = {
    ("cellgate", "linear"): "slow: a tenth of the import, which is not always needed",
    ("cellgate", "network"): "as linear",
    ("cellgate", "network_stream"): "as linear",
    ("files", "network"): "as linear",
    ("demo", "safetensors.numpy"): "only when a checkpoint is kept",
    ("demo", "matplotlib.figure"): "optional: without it there is no chart",
    ("estimators.training", "tqdm"): "optional: only where progress is shown",
}


class Import(NamedTuple):
    importer: str  # "lstm", "formats.safetensors"; "cellgate" is the package itself
    imported: str  # the same of modules of cellgate, or the full name of another package's
    own: bool
    in_function: bool


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "cellgate"


SOURCES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def own(name: str) -> str | None:
    """The module of cellgate's that "stream.Stream" or "stream" lies in."""
    for candidate in (name, name.rpartition(".")[0]):
        if candidate in SOURCES or candidate == "_core":
            return candidate
    return "cellgate" if "." not in name else None


def targets(node: ast.Import | ast.ImportFrom, package: list[str]) -> Iterator[tuple[str, bool]]:
    """What is imported, and whether it is cellgate's own."""
    if isinstance(node, ast.Import):
        yield from ((alias.name, False) for alias in node.names)
    elif node.level == 0:
        yield node.module or "", False
    else:
        base = package[: len(package) - node.level + 1] + (node.module or "").split(".")
        for alias in node.names:
            full = ".".join(part for part in (*base, alias.name) if part)
            found = own(full)
            assert found, f"{full} is not found"
            yield found, True


def imports_of(name: str, source: str, is_package: bool) -> Iterator[Import]:
    parts = [] if name == "cellgate" else name.split(".")
    package = parts if is_package else parts[:-1]

    def walk(node: ast.AST, in_function: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.Import, ast.ImportFrom)):
                for target, is_own in targets(child, package):
                    assert is_own or not target.startswith("cellgate"), "must be relative"
                    yield Import(name, target, is_own, in_function)
            elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue  # never runs
            else:
                function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
                yield from walk(child, in_function or function)

    yield from walk(ast.parse(source), False)


IMPORTS = [
    edge
    for name, path in SOURCES.items()
    for edge in imports_of(name, path.read_text(), path.name == "__init__.py")
]
OWN = [edge for edge in IMPORTS if edge.own]


def circle(edges: list[Import]) -> list[str]:
    graph: dict[str, set[str]] = {}
    for edge in edges:
        graph.setdefault(edge.importer, set()).add(edge.imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def upward(edges: list[Import]) -> list[str]:
    def room(name: str) -> str:
        return name.split(".")[0]

    return [
        f"{edge.importer} imports {edge.imported}"
        for edge in edges
        if room(edge.importer) != room(edge.imported)
        and ORDER.index(room(edge.importer)) >= ORDER.index(room(edge.imported))
    ]


def test_every_module_has_its_place() -> None:
    assert {name.split(".")[0] for name in SOURCES} | {"_core"} == {*ORDER}
    assert len(OWN) > 50  # what is read is the package


def test_there_are_no_circles() -> None:
    assert circle(OWN) == []


def test_no_import_goes_up() -> None:
    assert upward(OWN) == []


def test_imports_inside_functions_are_those_that_have_a_reason() -> None:
    found = {(edge.importer, edge.imported) for edge in IMPORTS if edge.in_function}
    assert found == {*ALLOWED}


@pytest.mark.parametrize(
    ("name", "source", "fault"),
    [
        ("tape", "from .lstm import LSTM", "tape imports lstm"),
        ("tape", "def f():\n    from . import lstm", "tape imports lstm"),
        ("config", "from . import load", "config imports cellgate"),
        ("formats.onnx", "from ..lstm import LSTM", "formats.onnx imports lstm"),
        ("formats.onnx", "try:\n    from .. import lstm\nexcept E: 0", "formats.onnx imports lstm"),
    ],
)  # fmt: skip
def test_an_arrow_upward_is_seen(name: str, source: str, fault: str) -> None:
    edges = [*imports_of(name, source, False)]
    assert upward(edges) == [fault]
    assert circle([*OWN, *edges]) or name == "formats.onnx"


def test_what_is_for_type_checkers_only_does_not_count() -> None:
    assert not [*imports_of("tape", "if TYPE_CHECKING:\n    from .lstm import LSTM", False)]
