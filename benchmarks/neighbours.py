"""Parts 5 and 6 of crowded.py: after calls of another library, and beside a busy process.

`python -m benchmarks.neighbours LIBRARY`, run by crowded.py, prints the figures of one library:
each gets a process of its own, so that only its threads are there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import mean, median
from time import perf_counter, process_time, sleep
from typing import Any

import cellgate
import numpy as np

from .measure import single_calls
from .rivals import LIBRARIES, all_cores
from .rows import Row, Shape

ROW = Row("crowded", Shape(T=25, B=1, I=512, H=512))
NAME = "T25 B1 I=H=512"
PAUSES = (0, 0.002, 0.01, 0.05)  # seconds between a rival's last call and our first
CALLS = 20  # of a turn, the rival's and ours
RIVALS = {"onnxruntime": "run", "torch": "nn.LSTM", "openvino": "batch first"}
ROUNDS = 15
REST = 0.1  # seconds after which no thread of anyone spins
TURN = 0.5  # seconds


def ours() -> tuple[Any, np.ndarray]:
    lstm = cellgate.LSTM(ROW.shape.I, ROW.shape.H, seed=0)
    lstm.load_state_dict(ROW.shape.weights())
    return lstm, ROW.shape.input()


def turns(library: str) -> dict[str, Any]:
    """Microseconds of each of our calls, (rounds, CALLS): alone, and after each pause. Under
    "spins", what each round of the rival burns after its last call.

    The rival has as many threads as cores and spins as long as it likes, its defaults.
    """
    lstm, x = ours()
    rival = LIBRARIES[library](ROW, ROW.shape.weights(), all_cores(), RIVALS[library])
    argument = rival.argument(x)
    difference = abs(rival.array(rival.call(argument)) - lstm(x)[0]).max()
    if not difference <= 1e-5:
        raise AssertionError(f"{library} differs by {difference}")
    found: dict[str, list[list[float]]] = {"alone": [], **{str(pause): [] for pause in PAUSES}}
    spins = []
    for k in range(ROUNDS):
        for name in list(found)[:: 1 if k % 2 == 0 else -1]:
            sleep(REST)
            if name == "alone":
                single_calls(lstm, x, 5)  # ours, as the rival's are below
            else:
                single_calls(rival.call, argument, CALLS)
                sleep(float(name))
            found[name].append((single_calls(lstm, x, CALLS) / 1000).tolist())
        single_calls(rival.call, argument, CALLS)
        before = process_time()
        sleep(3 * REST)
        spins.append(1e6 * (process_time() - before) / max(1, all_cores() - 1))
    return {**found, "spins": [spins]}


def after_rivals() -> Iterator[tuple[str, list[float], str]]:
    """Name, the ratio in each round, and what is wanted."""
    for library in RIVALS:
        command = [sys.executable, "-m", "benchmarks.neighbours", library]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        found = json.loads(output.splitlines()[-1])
        alone = [median(calls) for calls in found.pop("alone")]
        spins = found.pop("spins")[0]
        for pause, rounds in found.items():
            # The machine's speed drifts, so a round is held against its own; the first call apart.
            ratios = [median(calls) / one for calls, one in zip(rounds, alone, strict=True)]
            wanted = f"at most {1.15 if float(pause) >= 0.002 else 1.3}"
            yield f"{library}, pause {1000 * float(pause):.0f} ms", ratios, wanted
        slow = [slow_for(calls, one) for calls, one in zip(found["0"], alone, strict=True)]
        yield f"{library}: its threads spin on, ms each", [spin / 1000 for spin in spins], ""
        yield f"{library}, pause 0 ms: ours are slow, ms", slow, "as long as it spins, and a call"
        yield f"{library}: our calls alone, ms", [one / 1000 for one in alone], ""


def slow_for(calls: list[float], alone: float) -> float:
    """Milliseconds before the first of three calls in a row that take at most 1.3 of `alone`."""
    fast = [call <= 1.3 * alone for call in calls]
    first = next((k for k in range(len(calls) - 2) if all(fast[k : k + 3])), len(calls))
    return sum(calls[:first]) / 1000


@contextmanager
def taken_core() -> Iterator[int]:
    """One core kept busy by another process, the last that this one may use."""
    core = max(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile True: pass"
    busy = subprocess.Popen([sys.executable, "-c", code])
    try:
        sleep(0.3)
        yield core
    finally:
        busy.kill()
        busy.wait()


def calls_for(seconds: float, threads: int) -> list[float]:
    """Microseconds of each call during this many seconds."""
    lstm, x = ours()
    cellgate.set_num_threads(threads)
    lstm(x)
    times, begin = [], perf_counter()
    while perf_counter() < begin + seconds:
        times.append(float(single_calls(lstm, x, 1)[0]) / 1000)
    return times


def beside_a_busy_process() -> Iterator[tuple[str, list[float], str]]:
    """As after_rivals."""
    cores = all_cores()
    given: dict[int, list[float]] = {cores: [], 1: []}
    with taken_core() as core:
        for k in range(ROUNDS):
            for threads in list(given)[:: 1 if k % 2 == 0 else -1]:
                given[threads].append(mean(calls_for(TURN, threads)))
    ratios = [many / one for many, one in zip(given[cores], given[1], strict=True)]
    yield f"core {core} taken: all threads, over one thread", ratios, "at most 1.1"
    yield "one thread beside it: mean of a call, ms", [one / 1000 for one in given[1]], ""


if __name__ == "__main__":
    print(json.dumps(turns(sys.argv[1])))
