"""What an adapter for a library has to offer. Implemented in rivals.py and onnx_operator.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from .rows import Row


class Rival:
    """One library, set up for one row in one of the ways (`variant`) one may call it.

    `call(argument)` is the timed call and nothing else; `argument(x)` makes its argument and
    `array(result)` reads its result, both outside the timing. On streaming rows `call` carries
    the state on and `reset` sets it to zero.
    """

    library: ClassVar[str]
    call: Callable[[Any], Any]

    def __init__(self, row: Row, weights: dict[str, np.ndarray], threads: int, variant: str):
        self.row, self.variant = row, variant
        self.build(weights, threads)

    @staticmethod
    def variants(row: Row) -> tuple[str, ...]:
        """The ways to call it; none if it cannot do the row."""
        raise NotImplementedError

    def build(self, weights: dict[str, np.ndarray], threads: int) -> None:
        raise NotImplementedError

    def reset(self) -> None:
        pass

    def argument(self, x: np.ndarray) -> Any:
        return x

    def array(self, result: Any) -> np.ndarray:
        """(B, H) on a streaming row, (T, B, D*H) followed by all gradients on a training row, both
        in one axis, else (T, B, D*H).
        """
        return np.array(result)
