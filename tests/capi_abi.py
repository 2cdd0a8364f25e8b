"""The binary interface of the C library as libabigail reads it, without what is behind handles.

usage: python tests/capi_abi.py BUILD    (writes tests/capi/cellgate.abi, which tests compare with)
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMITTED = ROOT / "tests" / "capi" / "cellgate.abi"
OPTIONS = [
    "--exported-interfaces-only", "--headers-dir", str(ROOT / "csrc" / "include"),
    "--drop-private-types", "--no-comp-dir-path", "--no-show-locs", "--no-corpus-path",
    "--drop-undefined-syms", "--no-elf-needed", "--no-architecture",
]  # fmt: skip


def write(build: Path, target: Path) -> None:
    """Needs a library with debugging information: a build with CELLGATE_LIBRARY_TESTS."""
    library = str(build / "libcellgate.so.0")
    subprocess.run(["abidw", *OPTIONS, "--out-file", str(target), library], check=True)


if __name__ == "__main__":
    write(Path(sys.argv[1]), COMMITTED)
