from typing import Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

_Float: TypeAlias = NDArray[np.float32] | NDArray[np.float64]
_State: TypeAlias = tuple[_Float, _Float]

version: str

def build_info() -> dict[str, Any]: ...
def active_isa() -> str: ...
def use_openmp_of(path: str) -> bool: ...
def get_num_threads() -> int: ...
def set_num_threads(num_threads: int) -> None: ...
def _activation(name: str, x: _Float) -> _Float: ...
def _set_split(split: str) -> None: ...

class Model:
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        bidirectional: bool,
        proj_size: int,
        dtype: Literal["float32", "float64"],
        parameters: dict[str, _Float],
    ) -> None: ...
    def parameters(self) -> dict[str, _Float]: ...
    @overload
    def forward(
        self,
        x: ArrayLike,
        state: tuple[ArrayLike, ArrayLike] | None,
        lengths: ArrayLike | None,
        reset: ArrayLike | None,
        batch_first: bool,
        return_cells: Literal[False],
        batch_sizes: ArrayLike | None = None,
    ) -> tuple[_Float, _State]: ...
    @overload
    def forward(
        self,
        x: ArrayLike,
        state: tuple[ArrayLike, ArrayLike] | None,
        lengths: ArrayLike | None,
        reset: ArrayLike | None,
        batch_first: bool,
        return_cells: bool,
        batch_sizes: ArrayLike | None = None,
    ) -> tuple[_Float, _State] | tuple[_Float, _State, _Float]: ...
    def tape_size(
        self, steps: int, batch: int, positions: int, dropout: bool, checkpoint: int
    ) -> int: ...
    def record(
        self,
        x: ArrayLike,
        state: tuple[ArrayLike, ArrayLike] | None,
        lengths: ArrayLike | None,
        reset: ArrayLike | None,
        batch_first: bool,
        return_cells: bool,
        batch_sizes: ArrayLike | None,
        dropout: float,
        seed: int,
        checkpoint: int,
    ) -> tuple[_Float, _State, _Float | None, _Float]: ...
    def backward(
        self,
        tape: NDArray[Any],
        x: ArrayLike,
        state: tuple[ArrayLike, ArrayLike] | None,
        lengths: ArrayLike | None,
        reset: ArrayLike | None,
        batch_first: bool,
        batch_sizes: ArrayLike | None,
        dropout: float,
        seed: int,
        checkpoint: int,
        y: NDArray[Any],
        d_y: ArrayLike | None,
        d_h: ArrayLike | None,
        d_c: ArrayLike | None,
        d_cells: ArrayLike | None,
        input_gradient: bool,
        accumulate: dict[str, Any] | None,
    ) -> tuple[_Float | None, _State, dict[str, _Float]]: ...

class Stream:
    def __init__(self, model: Model, batch_size: int, batch_first: bool) -> None: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def state(self) -> _State: ...
    @state.setter
    def state(self, value: tuple[ArrayLike, ArrayLike]) -> None: ...
    def step(self, x: ArrayLike, out: _Float | None = None) -> _Float: ...
    def run(self, x: ArrayLike, out: _Float | None = None) -> _Float: ...
    def reset(self, rows: ArrayLike | None = None) -> None: ...
