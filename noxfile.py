"""One command per job; `nox --list` has them all.

`.ci/run` runs lint, types, isa_tests, asan, tsan, cpp_oldest, neon, fuzz_files, capi, wheel and
docs, some in part (`-- slice`). What takes longer than a gate may is run before a release: tests,
cpp, sanitizers, emulation, all_floats, fuzz, fuzz_files, galleries, torch_range, bench.

Each session installs what it needs into an environment of its own. Run with `nox --no-venv`, the
sessions use the current environment, which must have `pip install -e '.[test,dev]'` and more; that
is how `.ci/run` calls them.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
from pathlib import Path
from typing import Any

import nox

nox.options.sessions = ["lint", "types", "tests", "cpp"]
CPP = ["csrc", "tests/cpp", "tests/capi", "tests/fuzz", "examples/embed", "benchmarks/embed"]
CPP_SUFFIXES = {".c", ".h", ".cpp", ".hpp"}
OLDEST_COMPILERS = ["g++-11", "clang++-14"]  # as README.md and CMakeLists.txt promise
AARCH64 = [
    "-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64",
    "-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++", "-DCMAKE_EXE_LINKER_FLAGS=-static",
    "-DCMAKE_CROSSCOMPILING_EMULATOR=qemu-aarch64",
]  # fmt: skip

# The Python tests whose results depend on the instruction set. The others test Python, the
# bindings, or the drop-in, which are the same code whatever the kernels are.
ISA_TESTS = [
    f"tests/test_{name}.py"
    for name in (
        "isa", "forward", "bitwise", "stream", "wavefront", "tape", "tape_threads", "core_training",
        "gradients", "gradients_edges", "saved_files", "fuzz", "fuzz_training", "torch_parity",
        "network", "network_stream", "files_load", "capi",
    )
]  # fmt: skip
FUZZ_TESTS = [
    f"tests/test_{name}.py"
    for name in (
        "fuzz",
        "fuzz_training",
        "gradients",
        "reference",
        "forward",
        "stream",
        "tape",
        "network",
        "network_stream",
    )
]
TORCH_TESTS = [
    *sorted(map(str, Path("tests").glob("test_torch_*.py"))),
    "tests/test_gradients_torch.py",
]
APPLICATIONS = [
    "language_model", "speech_recognition", "forecasting", "anomaly_detection", "recommender",
    "video_analysis",
]  # fmt: skip
# What its network of an LSTM imports beyond what the extras bring; all that the package names would
# be hundreds of MB more.
NEURAL_AMP_MODELER = [
    "neural-amp-modeler", "librosa", "lazy_loader", "wavio", "pytorch_lightning",
    "lightning_utilities", "torchmetrics",
]  # fmt: skip
# The ends of what pyproject.toml admits. The oldest has no build for CPUs alone on PyPI.
TORCH_RANGE = ["torch==2.5.*", "torch"]


def install(session: nox.Session, *what: str) -> None:
    """Install, but not into the caller's environment (`--no-venv`)."""
    if session.virtualenv.is_sandboxed:
        session.install(*what)


def cpp_files() -> list[str]:
    """Every C and C++ file of ours."""
    return sorted(str(p) for d in CPP for p in Path(d).rglob("*") if p.suffix in CPP_SUFFIXES)


def cpp_tests(
    session: nox.Session, folder: str, *options: str,
    env: dict[str, str] | None = None, only: str = ".",
):  # fmt: skip
    """Configure, build and run the C++ tests in build/<folder>, those whose names match `only`."""
    build = f"build/{folder}"
    session.run(
        "cmake", "-S", ".", "-B", build, "-DCELLGATE_PYTHON=OFF", "-DCELLGATE_TESTS=ON",
        "-DCELLGATE_WERROR=ON", *options, external=True,
    )  # fmt: skip
    session.run("cmake", "--build", build, "-j", str(os.cpu_count()), external=True)
    session.run(
        "ctest", "--test-dir", build, "--output-on-failure", "-j", str(os.cpu_count()),
        "-R", only, env=env, external=True,
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


def build_info(session: nox.Session) -> dict[str, Any]:
    """Of the cellgate that is installed in the session's environment."""
    code = "import cellgate, json; print(json.dumps(cellgate.build_info()))"
    return json.loads(session.run("python", "-c", code, silent=True))


@nox.session
def tests(session: nox.Session) -> None:
    """The Python tests on every instruction set of this CPU."""
    install(session, ".[test]")
    info = build_info(session)
    for isa in info["isas_supported"]:
        session.run("pytest", "-q", *session.posargs, env={"CELLGATE_ISA": isa})
    absent = sorted(set(info["isas_built"]) - set(info["isas_supported"]))
    session.log("ran on %s; this CPU has no %s", info["isas_supported"], absent or "other")


@nox.session
def isa_tests(session: nox.Session) -> None:
    """The tests whose results depend on the instruction set: on CELLGATE_ISA, or on all."""
    install(session, ".[test]")
    chosen = os.environ.get("CELLGATE_ISA")
    for isa in [chosen] if chosen else build_info(session)["isas_supported"]:
        env = {"CELLGATE_ISA": isa, "HYPOTHESIS_PROFILE": "slice"}
        session.run("pytest", "-q", *ISA_TESTS, *session.posargs, env=env)


@nox.session
def fuzz(session: nox.Session) -> None:
    """New examples of hypothesis, 33 times as many, on every instruction set of this CPU."""
    install(session, ".[test]")
    for isa in build_info(session)["isas_supported"]:
        env = {"CELLGATE_ISA": isa, "HYPOTHESIS_PROFILE": "explore"}
        session.run("pytest", "-q", *FUZZ_TESTS, *session.posargs, env=env)


@nox.session
@nox.parametrize("torch", TORCH_RANGE)
def torch_range(session: nox.Session, torch: str) -> None:
    """The tests of the drop-in on the oldest and on the newest torch that is admitted."""
    if not session.virtualenv.is_sandboxed:
        session.error("installs torch: not with --no-venv")
    session.install(".[test]", torch)
    env = {"CELLGATE_REQUIRE": "torch"}
    session.run("pytest", "-q", *TORCH_TESTS, *session.posargs, env=env)


@nox.session
def cpp(session: nox.Session) -> None:
    """The C++ tests, optimised, by the default compiler and by Clang where there is one."""
    cpp_tests(session, "cpp")
    if session.run("clang++", "--version", external=True, success_codes=[0, 1, 127], silent=True):
        cpp_tests(session, "cpp-clang", "-DCMAKE_CXX_COMPILER=clang++")


@nox.session
def cpp_oldest(session: nox.Session) -> None:
    """The C++ tests, optimised, by the oldest compilers that are promised; `-- slice`: in part."""
    slice_only = [f"-DCELLGATE_ISAS={middle_isa()}", "-DCELLGATE_ONE_IN=31"]
    for compiler in OLDEST_COMPILERS:
        options = slice_only if "slice" in session.posargs else []
        cpp_tests(session, f"cpp-{compiler}", f"-DCMAKE_CXX_COMPILER={compiler}", *options)


def best_isa() -> str:
    """The best instruction set of this CPU by its flags; nothing of ours is built yet."""
    if platform.machine() == "aarch64":
        return "neon"
    flags = set(Path("/proc/cpuinfo").read_text().partition("\nflags")[2].split("\n")[0].split())
    if {"avx512f", "avx512dq", "avx512bw", "avx512vl"} <= flags:
        return "avx512"
    return "avx2" if {"avx2", "fma"} <= flags else "baseline"


def middle_isa() -> str:
    """What the gate takes where one will do: AVX-512 takes twice as long to compile as AVX2."""
    return "avx2" if best_isa() == "avx512" else best_isa()


@nox.session
def asan(session: nox.Session) -> None:
    """The C++ tests under AddressSanitizer and UBSan: the best instruction set.

    `-- slice`: one that is compiled faster.
    """
    isa = middle_isa() if "slice" in session.posargs else best_isa()
    cpp_tests(
        session, "asan", "-DCELLGATE_SANITIZE=address,undefined", "-DCELLGATE_ONE_IN=17",
        f"-DCELLGATE_ISAS={isa}",
    )  # fmt: skip


@nox.session
def fuzz_files(session: nox.Session) -> None:
    """Each reader of files, and cg_run, under libFuzzer and sanitizers: 30 s, or as given."""
    seconds = next((given for given in session.posargs if given.isdecimal()), "30")
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
def capi(session: nox.Session) -> None:
    """The C library: build, install, its tests, and the same bits as Python on every ISA.

    `-- slice`: without the tests in Python, which `pytest` runs on one instruction set.
    `-- write-abi` writes tests/capi/cellgate.abi again, which a change of the interface needs.
    """
    install(session, ".[test]")
    build = Path("build/capi")
    session.run(
        "cmake", "-S", ".", "-B", str(build), "-DCELLGATE_LIBRARY=ON",
        "-DCELLGATE_LIBRARY_TESTS=ON", "-DCELLGATE_WERROR=ON",
        f"-DCMAKE_INSTALL_PREFIX={build.resolve() / 'prefix'}", external=True,
    )  # fmt: skip
    session.run("cmake", "--build", str(build), "-j", str(os.cpu_count()), external=True)
    session.run("cmake", "--install", str(build), external=True, silent=True)
    if "write-abi" in session.posargs:
        session.run("python", "tests/capi_abi.py", str(build))
        return
    session.run("ctest", "--test-dir", str(build), "--output-on-failure", external=True)
    for compiler, standard, source in (
        ("clang", "c99", "header.c"),
        ("clang++", "c++17", "header.cpp"),
    ):
        session.run(
            compiler, f"-std={standard}", "-pedantic-errors", "-Wall", "-Wextra", "-Werror",
            "-fsyntax-only", "-Icsrc/include", f"tests/capi/{source}", external=True,
        )  # fmt: skip
    if "slice" in session.posargs:
        return
    env = {"CELLGATE_C_LIBRARY": str(build.resolve())}
    for isa in build_info(session)["isas_supported"]:
        session.run("pytest", "-q", "tests/test_capi.py", env={**env, "CELLGATE_ISA": isa})
    products = ["tests/test_capi_products.py", "tests/test_embed_examples.py"]
    session.run("pytest", "-q", *products, env=env)


@nox.session
def capi_asan(session: nox.Session) -> None:
    """The C and C++ tests of the C library under the sanitizers: one instruction set."""
    build = "build/capi-asan"
    session.run(
        "cmake", "-S", ".", "-B", build, "-DCELLGATE_LIBRARY=ON", "-DCELLGATE_LIBRARY_TESTS=ON",
        "-DCELLGATE_SANITIZE=address,undefined", f"-DCELLGATE_ISAS={best_isa()}", external=True,
    )  # fmt: skip
    session.run("cmake", "--build", build, "-j", str(os.cpu_count()), external=True)
    session.run("ctest", "--test-dir", build, "--output-on-failure", external=True)


@nox.session
def tsan(session: nox.Session) -> None:
    """The C++ tests under ThreadSanitizer: the instruction set that is compiled fastest."""
    isa = "neon" if platform.machine() == "aarch64" else "baseline"
    cpp_tests(
        session, "tsan", "-DCELLGATE_SANITIZE=thread", "-DCELLGATE_ONE_IN=17",
        f"-DCELLGATE_ISAS={isa}",
    )  # fmt: skip


@nox.session
def sanitizers(session: nox.Session) -> None:
    """The C++ tests under the sanitizers, on every instruction set and with more ways to split."""
    for name in ("address,undefined", "thread"):
        folder = f"sanitizers-{name.partition(',')[0]}"
        cpp_tests(session, folder, f"-DCELLGATE_SANITIZE={name}", "-DCELLGATE_ONE_IN=7")


@nox.session
def neon(session: nox.Session) -> None:
    """The C++ tests for aarch64 under emulation: a few of the ways to split the work.

    `-- slice`: without the slowest tests.
    """
    if platform.machine() == "aarch64":
        session.error("this is aarch64: the session cpp runs the same natively")
    quick = "^(activations|check|kernels|network|panels|sequence)$"
    only = quick if "slice" in session.posargs else "."
    cpp_tests(session, "neon", *AARCH64, "-DCELLGATE_ONE_IN=31", only=only)


@nox.session
def emulation(session: nox.Session) -> None:
    """The C++ tests for aarch64 under emulation, with many ways to split the work."""
    cpp_tests(session, "emulation", *AARCH64, "-DCELLGATE_ONE_IN=7")


@nox.session
def all_floats(session: nox.Session) -> None:
    """Sigmoid and tanh over all 2^32 floats, some minutes for each instruction set."""
    cpp_tests(session, "cpp")
    session.run("build/cpp/tests/cpp/test_activations", "1", external=True)


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
        session.install("--no-deps", "silero-vad", *NEURAL_AMP_MODELER)
    required = {"CELLGATE_REQUIRE": "silero,torch,examples,embed,nam"}
    programs = ["tests/test_examples.py", "tests/test_embed_examples.py"]
    session.run("pytest", "-q", *programs, "tests/test_nam.py", env=required)
    with tempfile.TemporaryDirectory() as folder:
        session.run("python", "-m", "cellgate", "demo", "--output", folder)


@nox.session
def galleries(session: nox.Session) -> None:
    """All six applications, quickly; with `-- full`, the runs of docs/gallery.md (an hour)."""
    install(session, ".[test,examples]")
    if "full" not in session.posargs:
        env = {"CELLGATE_REQUIRE": "torch,examples"}
        session.run("pytest", "-q", "tests/test_examples.py", "-k", "application", env=env)
        return
    output = Path("build/gallery")
    for name in APPLICATIONS:
        program = f"examples/{name}.py"
        session.run("python", program, "--output", str(output / name))
    session.log("python tools/gallery.py %s makes docs/gallery.md of it", output)


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
