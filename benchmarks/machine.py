"""What the machine can do at most: `python -m benchmarks.machine`. Used by limits.py.

Measured by probe.cpp, which the system's C++ compiler compiles into a temporary folder.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

ISAS = ("avx512", "avx2", "baseline", "neon")
TRIALS, SECONDS = 10, 0.01
SHORTLY = 0.004  # seconds, of a measurement beside a timing
# How to read: in how many places at once, and how many bytes ahead (0: left to the hardware).
WAYS = ((1, 0), (4, 0), (1, 1024), (4, 1024))


class ProbeError(RuntimeError):
    """The machine cannot be measured here; the message says why."""


@cache
def probe() -> Any:
    """The functions of probe.cpp."""
    asked = shlex.split(os.environ.get("CXX", ""))
    names = asked[:1] or ["c++", "g++", "clang++"]
    compiler = next((path for name in names if (path := shutil.which(name))), None)
    if compiler is None:
        raise ProbeError(f"no C++ compiler to build probe.cpp ({', '.join(names)}); set CXX")
    source = Path(__file__).with_name("probe.cpp")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "probe.so")
        flags = ["-O3", "-std=c++17", "-shared", "-fPIC", "-pthread"]
        command = [compiler, *asked[1:], *flags, str(source), "-o", str(library)]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            raise ProbeError(f"{compiler} does not compile probe.cpp:\n{result.stderr}")
        functions = ctypes.CDLL(str(library))  # stays loaded without its file
    functions.probe_fma.restype = functions.probe_read.restype = ctypes.c_double
    common = [ctypes.c_char_p, ctypes.c_int, ctypes.c_int, ctypes.c_double]
    functions.probe_supported.argtypes = common[:1]
    functions.probe_fma.argtypes = common
    functions.probe_read.argtypes = [*common, ctypes.c_size_t, ctypes.c_int, ctypes.c_size_t]
    return functions


def supported() -> list[str]:
    """The instruction sets of this CPU, best first."""
    return [isa for isa in ISAS if probe().probe_supported(isa.encode())]


@cache
def fma_peak(isa: str, threads: int) -> float:
    """Float operations per second, from registers."""
    return float(probe().probe_fma(isa.encode(), threads, TRIALS, SECONDS))


@cache
def read_rate(isa: str, threads: int, size: int) -> tuple[float, tuple[int, int]]:
    """Bytes per second when `threads` read their shares of `size` bytes over and over, and how."""
    return max(
        (probe().probe_read(isa.encode(), threads, TRIALS, SECONDS, size, *way), way)
        for way in WAYS
    )


@dataclass(frozen=True)
class Level:
    """A data cache. `size` bytes, shared by `cpus` of the CPUs that this process may use."""

    name: str
    size: int
    cpus: int

    def room(self, threads: int) -> int:
        """Bytes that fit if `threads` divide them among themselves."""
        return self.size * -(-threads // self.cpus)


def cpu_list(text: str) -> set[int]:
    """Of "0-3,8"."""
    cpus: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return cpus


@cache
def levels() -> tuple[Level, ...]:
    """From the nearest on; none where the system does not tell."""
    usable = os.sched_getaffinity(0)
    folder = Path(f"/sys/devices/system/cpu/cpu{min(usable)}/cache")
    found = []
    for index in sorted(folder.glob("index*")):
        fields = ("level", "type", "size", "shared_cpu_list")
        level, kind, size, shared = ((index / name).read_text().strip() for name in fields)
        if kind != "Instruction":
            cpus = len(cpu_list(shared) & usable)
            found.append(Level(f"L{level}", int(size.removesuffix("K")) * 1024, max(1, cpus)))
    return tuple(found)


def level_of(size: int, threads: int) -> str:
    """Where `size` bytes stay when `threads` divide them among themselves."""
    return next((level.name for level in levels() if size <= level.room(threads)), "memory")


def typical_sizes(threads: int) -> dict[str, int]:
    """Bytes that fill half of each level, and four times the last one for memory."""
    sizes = {level.name: level.room(threads) // 2 for level in levels()}
    last = levels()[-1].room(threads) if levels() else 64 << 20
    return sizes | {"memory": min(4 * last, 1 << 30)}


@dataclass(frozen=True)
class Machine:
    """The machine as seen by `threads` threads of one instruction set."""

    isa: str
    threads: int

    @cached_property
    def peak(self) -> float:
        """Float operations per second."""
        return fma_peak(self.isa, self.threads)

    def read(self, size: int) -> float:
        """Bytes per second of reading `size` bytes over and over.

        Measured at this very size, for between two levels neither's bandwidth holds.
        """
        return read_rate(self.isa, self.threads, size)[0]

    def level(self, size: int) -> str:
        return level_of(size, self.threads)

    def now(self) -> Moment:
        """What can be done at this moment."""
        return Moment(self)

    def report(self) -> dict[str, Any]:
        """For the JSON: GFLOP/s and GB/s."""
        sizes = typical_sizes(self.threads)
        return {
            "isa": self.isa,
            "threads": self.threads,
            "fma_gflops": {isa: fma_peak(isa, self.threads) / 1e9 for isa in supported()},
            "read_gbytes": {name: self.read(size) / 1e9 for name, size in sizes.items()},
            "read_sizes": sizes,
        }


@dataclass(frozen=True)
class Moment:
    """The machine at one moment: each figure is measured once, shortly, when it is asked for.

    A shared machine changes its speed within seconds. A time is compared with a limit that was
    measured right before it.
    """

    machine: Machine

    @cached_property
    def peak(self) -> float:
        """Float operations per second."""
        isa, threads = self.machine.isa.encode(), self.machine.threads
        return float(probe().probe_fma(isa, threads, 1, SHORTLY))

    def read(self, size: int) -> float:
        """Bytes per second, in the way that was the fastest for this size."""
        isa, threads = self.machine.isa, self.machine.threads
        _, way = read_rate(isa, threads, size)
        return float(probe().probe_read(isa.encode(), threads, 1, SHORTLY, size, *way))

    def level(self, size: int) -> str:
        return self.machine.level(size)


def describe(report: dict[str, Any]) -> str:
    """One line of a report."""
    reads = ", ".join(f"{name} {rate:.0f}" for name, rate in report["read_gbytes"].items())
    return f"FMA {report['fma_gflops'][report['isa']]:.0f} GFLOP/s; GB/s read from {reads}"


def processor() -> str:
    """The CPU's name."""
    if Path("/proc/cpuinfo").is_file():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def main(arguments: list[str] | None = None) -> int:
    argparse.ArgumentParser(prog="python -m benchmarks.machine", description=__doc__).parse_args(
        arguments
    )
    caches = ", ".join(f"{level.name} {level.size >> 10} KiB" for level in levels())
    cores = len(os.sched_getaffinity(0))
    print(f"{processor()}, {cores} CPUs, {caches or 'caches unknown'}")
    try:
        isas = supported()
    except ProbeError as error:
        print(error, file=sys.stderr)
        return 2
    for threads in sorted({1, cores}):
        for isa in isas:
            print(f"{threads} thread(s), {isa}: {describe(Machine(isa, threads).report())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
