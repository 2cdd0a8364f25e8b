"""Each kernel object exports one symbol, so that nothing built for a newer CPU can be linked
into a path that runs on an older one."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

import cellgate
import pytest

CSRC = Path(__file__).parents[1] / "csrc"
OBJECTS = os.environ.get("CELLGATE_KERNEL_OBJECTS")  # where CI's build keeps its objects

FLAGS = ["-O3", "-fPIC", "-fvisibility=hidden", "-fno-exceptions", "-fno-rtti", "-ffp-contract=off"]

# What the compiler itself may call or refer to; none of it is compiled here.
ALLOWED_UNDEFINED = {"memcpy", "memset", "memmove", "_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}


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


def assert_one_symbol(path: Path, isa: str) -> None:
    defined = [
        s for s in symbols(path, "--extern-only") if s not in symbols(path, "--undefined-only")
    ]
    assert defined == [f"cellgate_kernels_{isa}"]
    undefined = symbols(path, "--undefined-only")
    assert undefined <= ALLOWED_UNDEFINED, undefined - ALLOWED_UNDEFINED


def test_the_rows_are_those_that_were_built() -> None:
    assert list(isa_rows()) == cellgate.build_info()["isas_built"]


@pytest.mark.parametrize("isa", isa_rows())
def test_an_object_exports_its_table_alone(isa: str, tmp_path: Path) -> None:
    if OBJECTS is not None:
        tables = f"cellgate_kernels_{isa}"
        found = [p for p in Path(OBJECTS).rglob("*.o") if tables in symbols(p, "--defined-only")]
        assert len(found) == 1, f"{tables} is defined by {found} in {OBJECTS}"
        assert_one_symbol(found[0], isa)
        return
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        pytest.skip("there is no C++ compiler, and CELLGATE_KERNEL_OBJECTS is not set")
    target = tmp_path / "kernels.o"
    subprocess.run(
        [
            compiler,
            "-std=c++17",
            *FLAGS,
            f"-DCELLGATE_ISA_NAME={isa}",
            *isa_rows()[isa],
            f"-I{CSRC / 'kernels'}",
            "-c",
            str(CSRC / "kernels" / "kernels.cpp"),
            "-o",
            str(target),
        ],
        check=True,
    )
    assert_one_symbol(target, isa)
