"""One command per job: `nox -s lint|types|tests|cpp|asan|tsan|neon|wheel|examples|bench|docs`.

Each session installs what it needs into an environment of its own. Run with `nox --no-venv`, the
sessions use the current environment, which must have `pip install -e '.[test,dev]'` and more; that
is how `.ci/run` calls them.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests", "cpp"]
CPP = ["csrc", "tests/cpp"]


def install(session: nox.Session, *what: str) -> None:
    """Install, but not into the environment of whoever said `--no-venv`."""
    if session.virtualenv.is_sandboxed:
        session.install(*what)


def cpp_files() -> list[str]:
    """Every C++ file of ours."""
    return sorted(str(p) for d in CPP for p in Path(d).rglob("*") if p.suffix in {".cpp", ".hpp"})


def cpp_tests(session: nox.Session, folder: str, *options: str, env: dict[str, str] | None = None):
    """Configure, build and run the C++ tests in build/<folder>."""
    build = f"build/{folder}"
    session.run(
        "cmake", "-S", ".", "-B", build, "-DCELLGATE_PYTHON=OFF", "-DCELLGATE_TESTS=ON",
        "-DCELLGATE_WERROR=ON", *options, external=True,
    )  # fmt: skip
    session.run("cmake", "--build", build, "-j", str(os.cpu_count()), external=True)
    session.run(
        "ctest", "--test-dir", build, "--output-on-failure", "-j", str(os.cpu_count()),
        env=env, external=True,
    )  # fmt: skip


@nox.session
def lint(session: nox.Session) -> None:
    """Style and spelling of everything."""
    install(session, ".[dev]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("clang-format", "--dry-run", "-Werror", *cpp_files())
    session.run("codespell")


@nox.session
def types(session: nox.Session) -> None:
    """Strict mypy, and the stub against the built module."""
    install(session, ".[test,dev,torch,sklearn]")
    session.run("mypy")
    # pybind11 gives its classes a metaclass that no stub can name.
    allowed = "tests/stubtest_allowlist.txt"
    session.run("stubtest", "cellgate._core", "--allowlist", allowed)


@nox.session
def tests(session: nox.Session) -> None:
    """The Python tests on every instruction set of this CPU."""
    install(session, ".[test]")
    code = "import cellgate, json; print(json.dumps(cellgate.build_info()))"
    info = json.loads(subprocess.check_output([sys.executable, "-c", code], text=True))
    for isa in info["isas_supported"]:
        session.run("pytest", "-q", *session.posargs, env={"CELLGATE_ISA": isa})
    absent = sorted(set(info["isas_built"]) - set(info["isas_supported"]))
    session.log("ran on %s; this CPU has no %s", info["isas_supported"], absent or "other")


@nox.session
def cpp(session: nox.Session) -> None:
    """The C++ tests, optimised, by the default compiler and by Clang where there is one."""
    cpp_tests(session, "cpp")
    if session.run("clang++", "--version", external=True, success_codes=[0, 1, 127], silent=True):
        cpp_tests(session, "cpp-clang", "-DCMAKE_CXX_COMPILER=clang++")


@nox.session
def asan(session: nox.Session) -> None:
    """The C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer."""
    cpp_tests(session, "asan", "-DCELLGATE_SANITIZE=address,undefined")


@nox.session
def fuzz(session: nox.Session) -> None:
    """Each reader of files under libFuzzer and sanitizers: 30 s, or as many as are given."""
    seconds = session.posargs[0] if session.posargs else "30"
    build = Path("build/fuzz")
    session.run(
        "cmake", "-S", ".", "-B", str(build), "-DCMAKE_CXX_COMPILER=clang++", "-DCELLGATE_FUZZ=ON",
        "-DCELLGATE_PYTHON=OFF", "-DCELLGATE_WERROR=ON", external=True,
    )  # fmt: skip
    session.run("cmake", "--build", str(build), "--target", "fuzzers", external=True)
    session.run("python", "tests/fuzz/make_seeds.py", str(build / "seeds"))
    for seeds in sorted((build / "seeds").iterdir()):
        corpus = build / "corpus" / seeds.name
        corpus.mkdir(parents=True, exist_ok=True)
        session.run(
            str(build / "tests" / "fuzz" / f"fuzz_{seeds.name}"), str(corpus), str(seeds),
            f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-max_len=16384",
            "-print_final_stats=1", f"-artifact_prefix={build}/", external=True,
        )  # fmt: skip


@nox.session
def tsan(session: nox.Session) -> None:
    """The C++ tests under ThreadSanitizer."""
    cpp_tests(session, "tsan", "-DCELLGATE_SANITIZE=thread")


@nox.session
def neon(session: nox.Session) -> None:
    """The C++ tests for aarch64 under emulation, against results stored from AVX2."""
    if platform.machine() == "aarch64":
        session.error("this is aarch64: the session cpp runs the same natively")
    cpp_tests(
        session, "neon", "-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
        "-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++", "-DCMAKE_EXE_LINKER_FLAGS=-static",
        "-DCMAKE_CROSSCOMPILING_EMULATOR=qemu-aarch64",
    )  # fmt: skip


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the wheel, and hold its size and the time its import takes to what is promised."""
    install(session, "build", "numpy")
    with tempfile.TemporaryDirectory() as folder:
        session.run("python", "-m", "build", "--wheel", "--outdir", folder, ".")
        (path,) = Path(folder).glob("*.whl")
        session.log("wheel: %.2f MB", path.stat().st_size / 1e6)
        if path.stat().st_size > 3e6:
            session.error("the wheel is larger than 3 MB")
    session.run("python", "tools/import_time.py")


@nox.session
def examples(session: nox.Session) -> None:
    """The examples, quickly."""
    install(session, ".[test,examples]")
    if session.virtualenv.is_sandboxed:
        session.install("--no-deps", "silero-vad")
    required = {"CELLGATE_REQUIRE": "silero,torch,examples"}
    session.run("pytest", "-q", "tests/test_examples.py", env=required)
    with tempfile.TemporaryDirectory() as folder:
        session.run("python", "-m", "cellgate", "demo", "--output", folder)


@nox.session
def bench(session: nox.Session) -> None:
    """Side by side with other libraries; see benchmarks/README.md."""
    install(session, ".[benchmarks]")
    session.run("python", "-m", "benchmarks.compare", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Run the Python examples in the README and in docs/."""
    install(session, ".[test,torch,sklearn]")
    session.run("pytest", "-q", "--doctest-glob=*.md", "README.md", "docs")
