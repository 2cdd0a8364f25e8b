"""The object files of the kernels, for test_symbols.py and test_assembly.py."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest

CSRC = Path(__file__).parents[1] / "csrc"


def installed_objects() -> Path | None:
    """Where `pip install .` left its objects, unless a source of the kernels changed afterwards."""
    for folder in (CSRC.parent / "build").glob(f"cp{sys.version_info[0]}{sys.version_info[1]}-*"):
        objects = [*folder.rglob("kernels.cpp.o")]
        sources = [
            *(CSRC / "kernels").iterdir(),
            CSRC / "isa.cmake",
            CSRC.parent / "CMakeLists.txt",
        ]
        newest = max(path.stat().st_mtime for path in sources)
        if objects and min(path.stat().st_mtime for path in objects) > newest:
            return folder
    return None


OBJECTS = os.environ.get("CELLGATE_KERNEL_OBJECTS") or installed_objects()

FLAGS = ["-O3", "-fPIC", "-fvisibility=hidden", "-fno-exceptions", "-fno-rtti", "-ffp-contract=off"]


def isa_rows() -> dict[str, list[str]]:
    """Name -> compiler flags, from the branch of isa.cmake for this machine."""
    processors = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}
    processor = processors.get(platform.machine().lower())
    branches = re.split(r"\n(?:if|elseif|else)\(", (CSRC / "isa.cmake").read_text())[1:]
    branch = next((b for b in branches if processor and processor in b), branches[-1])
    rows = re.findall(r'"(\w+)\|([^|"]*)\|', branch)
    return {name: flags.split() for name, flags in rows}


def symbols(path: Path, kind: str) -> set[str]:
    command = [os.environ.get("NM", "nm"), "--format=posix", kind, str(path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {line.split()[0] for line in output.splitlines() if line}


@cache
def kernel_object(isa: str) -> Path:
    """The one that is linked into the module, or else one that is compiled like it."""
    if OBJECTS is not None:
        table = f"cellgate_kernels_{isa}"
        found = [p for p in Path(OBJECTS).rglob("*.o") if table in symbols(p, "--defined-only")]
        assert len(found) == 1, f"{table} is defined by {found} in {OBJECTS}"
        return found[0]
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        pytest.skip("there is no C++ compiler, and no object that it made")
    target = Path(mkdtemp(prefix="cellgate-"), "kernels.o")
    options = [f"-DCELLGATE_ISA_NAME={isa}", *isa_rows()[isa], f"-I{CSRC}"]
    source = str(CSRC / "kernels" / "kernels.cpp")
    command = [compiler, "-std=c++17", *FLAGS, *options, "-c", source, "-o", str(target)]
    subprocess.run(command, check=True)
    return target
