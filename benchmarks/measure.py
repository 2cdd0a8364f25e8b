"""Check that all agree, then time them in turns. Used by compare.py, curves.py and test_rows.py."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from time import perf_counter_ns, sleep
from typing import Any

import numpy as np

from .rival import Rival, UnavailableError
from .rivals import LIBRARIES
from .rows import Row

# Outputs lie in (-1, 1), gradients are about 1. The libraries add the same float32 products in
# different orders and approximate sigmoid and tanh differently, which was seen to make 4e-6.
AGREEMENT = 1e-5
STEPS = 5  # checked on a streaming row
MOST = 5000  # calls of a turn, however short
SETTLE = 0.01  # seconds before a turn for the spinning threads of the one before to go to sleep


class DisagreementError(AssertionError):
    """A library computed something else than cellgate."""


@dataclass
class Times:
    """Of single calls of one rival, in µs."""

    rounds: list[float] = field(default_factory=list)  # the median of each round
    calls: list[np.ndarray] = field(default_factory=list)

    def add(self, calls: np.ndarray) -> None:
        self.rounds.append(float(np.median(calls)))
        self.calls.append(calls)

    @property
    def median(self) -> float:
        return median(self.rounds)

    @property
    def count(self) -> int:
        return sum(len(calls) for calls in self.calls)

    @property
    def p99(self) -> float | None:
        """None if there are too few calls to tell."""
        if self.count < 100:
            return None
        return float(np.percentile(np.concatenate(self.calls), 99))


def build(
    row: Row, libraries: list[str], threads: int, compiled: bool = True
) -> tuple[list[Rival], dict[str, str]]:
    """Every variant of every library, ready to be timed; and why others could not be had."""
    weights = row.shape.weights()
    rivals, failures = [], {}
    for library in libraries:
        for variant in LIBRARIES[library].variants(row):
            if variant.startswith("compile") and not compiled:
                continue
            try:
                rivals.append(LIBRARIES[library](row, weights, threads, variant))
            except UnavailableError as error:
                failures[f"{library} {variant}"] = str(error)
    return rivals, failures


def argument(rival: Rival) -> Any:
    """What a timed call gets."""
    x = rival.row.shape.input()
    return rival.argument(x[0] if rival.row.streaming else x)


def output(rival: Rival) -> np.ndarray:
    """What `rival` computes from the zero state: all of y, or the first STEPS steps."""
    x = rival.row.shape.input()
    if not rival.row.streaming:
        return rival.array(rival.call(rival.argument(x)))
    steps = [np.roll(x[0], shift, axis=-1).copy() for shift in range(STEPS)]
    rival.reset()
    return np.stack([rival.array(rival.call(rival.argument(step))) for step in steps])


def check(rivals: list[Rival]) -> float:
    """Raise DisagreementError unless all compute the same; return the largest difference."""
    wanted, largest = output(rivals[0]), 0.0
    for rival in rivals[1:]:
        got = output(rival)
        difference = float(abs(got - wanted).max()) if got.shape == wanted.shape else np.inf
        if not difference <= AGREEMENT:  # NaN is not
            raise DisagreementError(
                f"{rival.row.name}: {rival.name} differs from {rivals[0].library} by "
                f"{difference:.1e}, at most {AGREEMENT:.0e} allowed"
            )
        largest = max(largest, difference)
    return largest


def single_calls(call: Callable[[Any], Any], argument: Any, count: int) -> np.ndarray:
    """(count,) nanoseconds of each call."""
    clock, times = perf_counter_ns, [0] * count
    for i in range(count):
        begin = clock()
        call(argument)
        times[i] = clock() - begin
    return np.array(times)


def clock_cost() -> float:
    """Nanoseconds that two readings of the clock are apart when nothing lies between."""
    clock = perf_counter_ns
    return median(-(clock() - clock()) for _ in range(1001))


CLOCK = clock_cost()


def interleave(
    rivals: list[Rival],
    rounds: int,
    seconds: float,
    threads: int,
    beside: Callable[[], None] | None = None,
) -> list[Times]:
    """Times of each rival. `beside` is called in each round before the turn of the first of them.

    In a round each rival has its turn, every second round in the opposite order. A turn is a fifth
    of `seconds` to warm up, then single calls for `seconds`, but at least one and at most MOST;
    a call that takes longer than `seconds` is not warmed up.
    """
    arguments = [argument(rival) for rival in rivals]
    once = [seconds_of_a_call(r, a) for r, a in zip(rivals, arguments, strict=True)]
    times = [Times() for _ in rivals]
    for turn in range(rounds):
        order = range(len(rivals)) if turn % 2 == 0 else reversed(range(len(rivals)))
        for index in order:
            if threads > 1:
                sleep(SETTLE)
            if index == 0 and beside:
                beside()
            rival, own = rivals[index], arguments[index]
            gc.collect()
            gc.disable()
            warm = max(int(once[index] < seconds), int(seconds / 5 / once[index]))
            single_calls(rival.call, own, min(MOST, warm))
            count = max(1, min(MOST, round(seconds / once[index])))
            times[index].add((single_calls(rival.call, own, count) - CLOCK) / 1000)
            gc.enable()
    return times


def seconds_of_a_call(rival: Rival, argument: Any) -> float:
    """Roughly: the best of a few, unless one takes long."""
    first = single_calls(rival.call, argument, 1)[0]
    more = single_calls(rival.call, argument, 20) if first < 5e7 else [first]
    return max(1.0, float(min(more))) * 1e-9


def fastest(rivals: list[Rival], times: list[Times], library: str) -> int:
    """Index of the variant of `library` with the lowest median."""
    own = [index for index, rival in enumerate(rivals) if rival.library == library]
    return min(own, key=lambda index: times[index].median)
