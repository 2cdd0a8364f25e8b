"""Check that all agree, then time them in turns. Used by compare.py and the suites."""

from __future__ import annotations

import timeit
from statistics import median

import numpy as np

from .rival import Rival
from .rivals import LIBRARIES
from .rows import Row

# Outputs lie in (-1, 1). The libraries add the same float32 products in different orders and
# approximate sigmoid and tanh differently, which at these sizes was seen to make 1e-6.
AGREEMENT = 1e-5
STEPS = 5  # checked on a streaming row


class DisagreementError(AssertionError):
    """A library computed something else than cellgate."""


def build(row: Row, libraries: list[str], threads: int) -> list[Rival]:
    """Every variant of every library, ready to be timed."""
    weights = row.shape.weights()
    return [
        LIBRARIES[library](row, weights, threads, variant)
        for library in libraries
        for variant in LIBRARIES[library].variants(row)
    ]


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
                f"{rival.row.shape.name}: {rival.library} {rival.variant} differs from "
                f"{rivals[0].library} by {difference:.1e}, at most {AGREEMENT:.0e} allowed"
            )
        largest = max(largest, difference)
    return largest


def interleave(rivals: list[Rival], rounds: int, seconds: float) -> list[list[float]]:
    """Microseconds per call of each rival in each round.

    In a round each rival has its turn, every second round in the opposite order. A turn takes
    the best of three loops of about `seconds` each, which drops what else the machine was doing.
    """
    timers, counts = [], []
    for rival in rivals:
        x = rival.row.shape.input()
        argument = rival.argument(x[0] if rival.row.streaming else x)
        timer = timeit.Timer("call(x)", globals={"call": rival.call, "x": argument})
        once = min(timer.repeat(repeat=3, number=1))
        few = max(1, round(seconds / 5 / once))
        once = timer.timeit(few) / few  # the first calls are slower than the rest
        timers.append(timer)
        counts.append(max(1, round(seconds / once)))
    times: list[list[float]] = [[] for _ in rivals]
    for turn in range(rounds):
        order = range(len(rivals)) if turn % 2 == 0 else reversed(range(len(rivals)))
        for index in order:
            best = min(timers[index].repeat(repeat=3, number=counts[index]))
            times[index].append(best / counts[index] * 1e6)
    return times


def fastest(rivals: list[Rival], times: list[list[float]], library: str) -> int:
    """Index of the variant of `library` with the lowest median."""
    own = [index for index, rival in enumerate(rivals) if rival.library == library]
    return min(own, key=lambda index: median(times[index]))
