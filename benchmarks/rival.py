"""What an adapter for a library has to offer. The adapters are listed in rivals.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np

from .rows import Row


class UnavailableError(Exception):
    """This library cannot do this row in this way, here; the message says why."""


class Rival:
    """One library, set up for one row in one of the ways (`variant`) one may call it.

    `call(argument)` is the timed call and nothing else; `argument(x)` makes its argument and
    `array(result)` reads its result, both outside the timing. On streaming rows `call` carries
    the state on and `reset` sets it to zero.
    """

    library: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]  # that have to be installed
    call: Callable[[Any], Any]

    def __init__(self, row: Row, weights: dict[str, np.ndarray], threads: int, variant: str):
        self.row, self.variant = row, variant
        self.build(weights, threads)

    @staticmethod
    def variants(row: Row) -> tuple[str, ...]:
        """The ways to call it; none if it cannot do the row. Those that take seconds to compile
        begin with "compile".
        """
        raise NotImplementedError

    def build(self, weights: dict[str, np.ndarray], threads: int) -> None:
        """Raise UnavailableError if this variant fails in the library itself."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        return f"{self.library} {self.variant}"

    def reset(self) -> None:
        pass

    def argument(self, x: np.ndarray) -> Any:
        return x

    def array(self, result: Any) -> np.ndarray:
        """(B, H) on a streaming row, (T, B, D*H) followed by all gradients on a training row, both
        in one axis, else (T, B, D*H), zero in padding.
        """
        return np.array(result)


def flat(y: np.ndarray, gradients: Iterable[np.ndarray]) -> np.ndarray:
    """What a training row compares: the output and the gradients of the parameters."""
    return np.concatenate([y.ravel(), *(g.ravel() for g in gradients)])


def ends(row: Row, layer: int) -> list[str]:
    """What the names of a layer's parameters end in, one for each direction."""
    return [f"_l{layer}{suffix}" for suffix in ("", "_reverse")[: row.shape.D]]


def gates(values: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """Of (4H, ...) in PyTorch's order i, f, g, o, the blocks in `order`."""
    return np.concatenate([np.split(values, 4)[gate] for gate in order])
