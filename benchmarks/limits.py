"""The least time that the machine needs for a row. Called by compare.py, asks machine.py.

The arithmetic runs at most at the FMA peak. Weights have to be read: R at every step, from the
level of cache in which one layer's R stays; W once, for a whole sequence can share it, from where
all weights stay. Time is at least the longer of the two. Activations are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .machine import Machine, Moment
from .rows import Row


@dataclass(frozen=True)
class Limit:
    """`by` is "FMA" or the level of cache, or memory, that most of the reading is from."""

    microseconds: float
    by: str


def reads(row: Row) -> list[tuple[int, float]]:
    """Pairs: bytes that are read over and over, and how many bytes a call reads of them."""
    shape = row.shape
    row_bytes = 4 * shape.H * np.dtype(np.float32).itemsize  # all gates' weights of one value
    layers = [(row_bytes * shape.inputs(layer), row_bytes * shape.H) for layer in range(shape.L)]
    whole = shape.D * sum(w + r for w, r in layers)
    if row.streaming:
        return [(whole, whole)]
    passes = 2 if row.training else 1  # forward; and backward with the transposed
    read = []
    for w, r in layers:
        read.append((r, passes * shape.D * shape.T * r))
        read.append((whole, passes * shape.D * w))
    return read


def limit(row: Row, machine: Machine | Moment) -> Limit:
    arithmetic = row.shape.flops(row.training) / machine.peak
    seconds = {size: 0.0 for size, _ in reads(row)}
    for size, total in reads(row):
        seconds[size] += total / machine.read(size)
    reading = sum(seconds.values())
    if arithmetic >= reading:
        return Limit(arithmetic * 1e6, "FMA")
    return Limit(reading * 1e6, machine.level(max(seconds, key=lambda size: seconds[size])))
