"""Not alone on the machine: `python -m benchmarks.crowded [--json FILE]`. See README.md."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from threading import Barrier, Event
from time import perf_counter, process_time, sleep
from typing import Any

import cellgate
import numpy as np

from . import neighbours
from .compare import QUIET, about
from .rivals import all_cores

MODEL = cellgate.LSTM(256, 256, seed=0)
CALL, STEPS, BATCH = "T25 B16 I=H=256", "steps, B1 I=H=256", "steps, B16 I=H=256"
X = np.random.default_rng(0).standard_normal((25, 16, 256), dtype=np.float32)
ROUNDS, SECONDS = 5, 0.2  # of a turn
SETTLE = 0.2  # seconds for spinning threads to go to sleep and a quota to be given anew


def served(kind: str, threads: int, at_once: int = 1, seconds: float = SECONDS, every: float = 0):
    """Calls per second of `at_once` Python threads, each with a state of its own over MODEL; the
    CPU seconds of a call if it is one; outputs. A call begins every so many seconds, or at once."""
    cellgate.set_num_threads(threads)
    sleep(SETTLE if threads > 1 else 0)
    start = Barrier(at_once)

    def serve(_: int) -> tuple[float, float, np.ndarray]:
        x = {CALL: X, STEPS: X[0, 0], BATCH: X[0]}[kind]
        stream, out = MODEL.stream(x.size // 256 if kind != CALL else 1), np.empty_like(x)
        call = (lambda: MODEL(x)[0]) if kind == CALL else (lambda: stream.step(x, out=out))
        fifth = [call().copy() for _ in range(5)][-1]
        start.wait()
        begin, cpu, count = perf_counter(), process_time(), 0
        while perf_counter() < begin + seconds:
            call()
            count += 1
            if every:
                sleep(max(0.0, begin + count * every - perf_counter()))
        return count / (perf_counter() - begin), (process_time() - cpu) / count, fifth

    with ThreadPoolExecutor(at_once) as pool:
        rates, cpu, outputs = zip(*pool.map(serve, range(at_once)), strict=True)
    return sum(rates), cpu[0], outputs


def check(*served: Any) -> None:
    outputs = [output for _, _, outputs in served for output in outputs]
    if not all(np.array_equal(output, outputs[0]) for output in outputs):
        raise AssertionError("the output depends on threads or on what else runs")


def interleave(cases: list[Any], turn: Callable[..., Any], rounds: int = ROUNDS) -> dict[Any, Any]:
    """What each case gives in each round, every second round in the opposite order."""
    given: dict[Any, list[Any]] = {case: [] for case in cases}
    for k in range(rounds):
        for case in list(given)[:: 1 if k % 2 == 0 else -1]:
            given[case].append(turn(*case))
    return given


def show(name: str, above: Any, below: Any = 1, after: str = "") -> Any:
    values = np.divide(above, below).tolist()
    middle, low, high = (f"{v:.2f}" for v in (median(values), min(values), max(values)))
    print(f"  {name:<60}{middle:>7} [{low} .. {high}]  {after}".rstrip(), flush=True)
    return {"name": name, "rounds": values}


def two_at_once(cores: int) -> Iterator[Any]:
    print("1. two Python threads serve at once: calls per second, over those of one alone")
    # All threads at either end, so that cellgate, which leaves its threads aside for a while when
    # it was crowded, has time to come back to them. So too below.
    cases = [(cores, 1), (1, 1), (1, 2), (cores, 2)]
    for kind in (CALL, STEPS):
        check(*(served(kind, *case, seconds=0.01) for case in cases))
        given = interleave(cases, lambda *case, kind=kind: served(kind, *case)[0])
        for n in dict.fromkeys((1, cores)):
            ideal = f"ideal {min(2, cores)}" if n == 1 else "ideal 1 to 2"
            yield show(f"{kind}, num_threads {n}", given[n, 2], given[n, 1], ideal)


def beside_torch(cores: int) -> Iterator[Any]:
    import torch

    print(f"2. torch busy with all its threads in the same process, {CALL}: calls per second")
    torch.set_num_threads(cores)
    matrix, x, lstm = torch.rand(768, 768), torch.tensor(X), torch.nn.LSTM(256, 256)
    loads = {"matmul": lambda: torch.matmul(matrix, matrix), "nn.LSTM": lambda: lstm(x)}

    def turn(load: str, threads: int, seconds: float = 0.25) -> Any:
        stop = Event()

        def keep_busy() -> None:
            with torch.inference_mode():
                while load in loads and not stop.is_set():
                    loads[load]()

        with ThreadPoolExecutor(1) as pool:
            busy = pool.submit(keep_busy)
            sleep(0.05)
            result = served(CALL, threads, 1, seconds)
            stop.set()
        busy.result()
        return result

    cases = [("quiet", cores), ("quiet", 1), *((load, n) for n in (1, cores) for load in loads)]
    check(*(turn(*case, 0.01) for case in cases))
    given = interleave(cases, lambda *case: turn(*case)[0])
    for load in ("quiet", *loads):
        own = given[load, cores]
        wanted = "" if load == "quiet" else "wanted: 0.8 at least"
        yield show(f"{load}: all threads, over one thread", own, given[load, 1], wanted)
        if load in loads:
            yield show(f"{load}: all threads, over those in quiet", own, given["quiet", cores])


@contextmanager
def one_cpu() -> Iterator[list[str] | None]:
    """The start of a command under a quota of one CPU, in a cgroup below this process's own; None
    where none can be made."""
    root, kind, file = Path("/sys/fs/cgroup"), "", "cpu.max"
    if not (root / "cgroup.controllers").exists():  # cgroup v1
        root, kind, file = root / "cpu", "cpu", "cpu.cfs_quota_us"
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    own = next((path for _, names, path in lines if kind in names.split(",")), "/")
    group = root / own.strip("/") / f"cellgate-crowded-{os.getpid()}"
    enter = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(group / "cgroup.procs")]
    try:
        try:
            group.mkdir()
            (group / file).write_text("100000")  # of 100,000 µs, the period unless told otherwise
            subprocess.run([*enter, "true"], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"3. no cgroup with a quota can be made here ({error}): measured without")
            enter = None
        yield enter
    finally:
        if group.exists():
            group.rmdir()


def quota(_: int) -> Iterator[Any]:
    with one_cpu() as enter:

        def child(threads: int | None) -> dict[str, Any]:
            environment = {k: v for k, v in os.environ.items() if k != "CELLGATE_NUM_THREADS"}
            environment |= {"CELLGATE_NUM_THREADS": str(threads)} if threads else {}
            command = [*(enter or []), sys.executable, "-m", "benchmarks.crowded", "--one"]
            output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
            return json.loads(output.stdout)

        chosen = child(None)["threads"]
        if enter:
            print(f"3. under a quota of one CPU cellgate chooses {chosen} thread(s); forced to 2")
        given = interleave([(1,), (2,)], child, rounds=3)
    for kind in (CALL, STEPS):
        (rate1, cpu1), (rate2, cpu2) = (np.transpose([c[kind] for c in given[n,]]) for n in (1, 2))
        yield show(f"{kind}, one thread: CPU seconds per second", rate1 * cpu1)
        yield show(f"{kind}, 2 threads: CPU seconds per second", rate2 * cpu2)
        yield show(f"{kind}, 2 threads over one: CPU seconds of a call", cpu2, cpu1)
        yield show(f"{kind}, 2 threads over one: calls per second", rate2, rate1)


def one() -> dict[str, Any]:
    """What a child of `quota` measures and prints."""
    found: dict[str, Any] = {"threads": cellgate.get_num_threads()}
    for kind in (CALL, STEPS):
        check(*(served(kind, n, seconds=0.01) for n in {1, found["threads"]}))
        sleep(SETTLE)
        found[kind] = served(kind, found["threads"], seconds=0.3)[:2]
    return found


def idle_pool(cores: int) -> Iterator[Any]:
    print(f"4. an idle pool, {BATCH}: CPU µs of a call, and beyond those back to back")
    cases = [(n, every) for n in dict.fromkeys((1, cores)) for every in (0, 0.001, 0.01)]
    check(*(served(BATCH, n, seconds=0.01) for n, _ in cases))
    given = interleave(cases, lambda n, every: 1e6 * served(BATCH, n, every=every)[1])
    for (n, every), cpu in given.items():
        name = f"every {1000 * every:.0f} ms: beyond" if every else "back to back"
        base = given[n, 0] if every else 0
        yield show(f"num_threads {n}, {name}", np.subtract(cpu, base))


def after_others(_: int) -> Iterator[Any]:
    print(f"5. after {neighbours.CALLS} calls of another library on all its threads:")
    print(f"   {neighbours.NAME}, median of a call over that alone in the process")
    for name, values, wanted in neighbours.after_rivals():
        yield show(name, values, 1, wanted)


def taken_core(_: int) -> Iterator[Any]:
    print(f"6. one core taken by a busy process for good, {neighbours.NAME}: mean time of a call")
    for name, values, wanted in neighbours.beside_a_busy_process():
        yield show(name, values, 1, wanted)


PARTS = (two_at_once, beside_torch, quota, idle_pool, after_others, taken_core)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crowded", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument(
        "--part",
        action="append",
        type=int,
        choices=range(1, len(PARTS) + 1),
        help="may be repeated",
    )
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(one()))
        return 0
    options.threads, options.rounds, options.seconds = all_cores(), ROUNDS, SECONDS
    info = about(["cellgate", "torch"], options)
    print(f"{info['processor']}, {info['cores']} cores, load average {info['load']:.2f}")
    if info["load"] > QUIET:
        print("  something else is running: the ratios below are not to be trusted")
    for part in PARTS if not options.part else [PARTS[k - 1] for k in options.part]:
        info[part.__name__] = list(part(info["cores"]))
    if options.json:
        options.json.write_text(json.dumps(info, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
