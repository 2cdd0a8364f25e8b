"""What `cmake --install` gives: symbols, ABI, sizes, and programs that find the library.

Each test builds on what CELLGATE_C_LIBRARY names: a build with CELLGATE_LIBRARY_TESTS, installed
into its folder `prefix`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import capi_abi
import cellgate
import pytest
from capi_library import FOLDER, needs_library
from kernel_objects import symbols

pytestmark = needs_library
ROOT = Path(__file__).parents[1]
HEADER = ROOT / "csrc" / "include" / "cellgate" / "cellgate.h"
BUILD = Path(FOLDER or ".")
CONSUMER = ROOT / "tests" / "capi" / "consumer"
ENOUGH = {"static_bytes": 1.5e6, "static_bytes_without_readers": 1e6}


def run(*command: object, cwd: Path | None = None, **env: str) -> str:
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def declared() -> set[str]:
    return set(re.findall(r"^CG_API [^(]*?\b(cg_\w+)\(", HEADER.read_text(), re.MULTILINE))


def library_folder() -> Path:
    (folder,) = {path.parent for path in (BUILD / "prefix").rglob("libcellgate.a")}
    return folder


class TestSymbols:
    def test_the_shared_library_exports_what_the_header_declares(self) -> None:
        output = run("nm", "-D", "--defined-only", BUILD / "libcellgate.so")
        exported = {line.split()[-1].partition("@")[0] for line in output.splitlines()}
        assert len(declared()) > 25
        assert exported - {"CELLGATE_0"} == declared()

    def test_the_static_library_shows_nothing_else_of_ours(self) -> None:
        visible = symbols(BUILD / "libcellgate.a", "--extern-only") - symbols(
            BUILD / "libcellgate.a", "--undefined-only"
        )
        assert visible == declared()

    @pytest.mark.skipif(shutil.which("abidiff") is None, reason="needs Debian's abigail-tools")
    def test_the_interface_is_that_of_the_committed_file(self, tmp_path: Path) -> None:
        built = tmp_path / "built.abi"
        capi_abi.write(BUILD, built)
        run("abidiff", "--harmless", capi_abi.COMMITTED, built)
        text = built.read_text()
        for change, other in (
            ("name='struct_size'", "name='struct_bytes'"),
            ("layout-offset-in-bits='128'", "layout-offset-in-bits='192'"),
        ):
            assert change in text
            changed = tmp_path / "changed.abi"
            changed.write_text(text.replace(change, other))
            command = ["abidiff", "--harmless", str(capi_abi.COMMITTED), str(changed)]
            assert subprocess.run(command, capture_output=True).returncode, f"{change} is not seen"

    def test_the_soname_does_not_change_with_every_version(self) -> None:
        output = run("readelf", "-d", BUILD / "libcellgate.so")
        assert re.search(r"SONAME.*\[libcellgate\.so\.0\]", output)
        assert "BIND_NOW" in output


def test_the_versions_agree() -> None:
    numbers = re.findall(r"#define CG_VERSION_\w+ (\d+)", HEADER.read_text())
    assert ".".join(numbers) == cellgate.__version__


class TestSizes:
    def stripped(self, path: Path, folder: Path) -> int:
        copy = folder / "stripped"
        shutil.copy(path, copy)
        run("strip", "--strip-unneeded", copy)
        return copy.stat().st_size

    def test_of_the_static_library(self, tmp_path: Path) -> None:
        size = self.stripped(BUILD / "libcellgate.a", tmp_path)
        print(f"static library: {size / 1e6:.3f} MB")
        assert size < ENOUGH["static_bytes"]

    def test_without_readers(self, tmp_path: Path) -> None:
        """Of the same objects, those of the readers left out."""
        objects = sorted(
            path
            for path in BUILD.glob("CMakeFiles/cellgate_*.dir/**/*.o")
            if "files" not in path.parts
        )
        assert len(objects) > 20
        joined, script = tmp_path / "joined.o", ROOT / "csrc" / "capi" / "static.ld"
        run("ld", "-r", "--force-group-allocation", "-T", script, "-o", joined, *objects)
        run("objcopy", "--wildcard", "--keep-global-symbol=cg_*", joined)
        size = self.stripped(joined, tmp_path)
        print(f"without readers: {size / 1e6:.3f} MB")
        assert size < ENOUGH["static_bytes_without_readers"]


class TestConsumers:
    """A program in C and one in C++ against the installed library, and with it in their build."""

    def build(self, folder: Path, *options: object) -> None:
        run("cmake", "-S", CONSUMER, "-B", folder, *options)
        run("cmake", "--build", folder, "-j", os.cpu_count())
        for name in ("consumer_c", "consumer_cpp"):
            assert "cellgate" in run(folder / name)

    @pytest.mark.parametrize("component", ["static", "shared"])
    def test_find_package(self, component: str, tmp_path: Path) -> None:
        prefix = BUILD.resolve() / "prefix"
        self.build(tmp_path, f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCOMPONENT={component}")

    @pytest.mark.parametrize("static", [False, True])
    def test_pkg_config(self, static: bool, tmp_path: Path) -> None:
        if shutil.which("pkg-config") is None:
            pytest.skip("pkg-config is not installed")
        libraries = library_folder()
        env = {"PKG_CONFIG_PATH": str(libraries / "pkgconfig")}
        assert run("pkg-config", "--modversion", "cellgate", **env).strip() == cellgate.__version__
        flags = run("pkg-config", "--cflags", "cellgate", **env).split()
        links = run("pkg-config", "--libs", *["--static"] * static, "cellgate", **env).split()
        if static:  # by its name, for the shared one lies beside it
            links = [str(libraries / "libcellgate.a") if s == "-lcellgate" else s for s in links]
        program = tmp_path / "program"
        source = CONSUMER / "consumer.c"
        run("cc", "-std=c99", *flags, source, "-o", program, *links)
        assert "cellgate" in run(program, LD_LIBRARY_PATH=str(libraries))

    def test_add_subdirectory_without_threads_and_readers(self, tmp_path: Path) -> None:
        """The bare library, as a device has it; one instruction set, for it is compiled anew."""
        isas = "neon" if os.uname().machine == "aarch64" else "baseline"
        bare = ["-DCELLGATE_THREADS=OFF", "-DCELLGATE_FILES=OFF", f"-DCELLGATE_ISAS={isas}"]
        self.build(tmp_path, f"-DSOURCE={ROOT}", *bare)
        (library,) = tmp_path.rglob("libcellgate.a")
        undefined = symbols(library, "--undefined-only")
        assert not {name for name in undefined if "pthread" in name or "sem_" in name}
        assert not list(tmp_path.rglob("prefix"))
