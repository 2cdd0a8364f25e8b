from typing import Any, Literal, NamedTuple, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

_Float: TypeAlias = NDArray[np.float32] | NDArray[np.float64]
_State: TypeAlias = tuple[_Float, _Float]
_Out: TypeAlias = NDArray[Any] | None  # to write into; None: a new array

__version__: str

def build_info() -> dict[str, Any]: ...
def active_isa() -> str: ...
def option_table() -> tuple[tuple[str, type[int | bool], int | bool | None, int | bool], ...]: ...
def parameter_shapes(options: dict[str, int | bool]) -> list[tuple[str, tuple[int, ...]]]: ...
def parameter_totals(options: dict[str, int | bool]) -> tuple[float, float, float, float]: ...
def tape_layout(
    options: dict[str, int | bool], dtype: str, dropout: bool
) -> tuple[int, int, tuple[tuple[int, int, int], ...]]: ...
def same_bytes(addresses: list[int], copies: list[tuple[int, int]]) -> bool: ...
def use_openmp_of(path: str) -> bool: ...
def get_num_threads() -> int: ...
def set_num_threads(num_threads: int) -> None: ...
def _activation(name: str, x: _Float) -> _Float: ...
def _set_split(split: str) -> None: ...

class Call(NamedTuple):
    x: ArrayLike | None
    state: tuple[ArrayLike, ArrayLike] | None = None
    lengths: ArrayLike | None = None
    reset: ArrayLike | None = None
    batch_first: bool = False
    batch_sizes: ArrayLike | None = None

class Training(NamedTuple):
    dropout: float = 0.0
    seed: int = 0
    checkpoint: int = 0

class Derivatives(NamedTuple):
    output: ArrayLike | None = None
    d_output: ArrayLike | None = None
    d_h: ArrayLike | None = None
    d_c: ArrayLike | None = None
    d_cells: ArrayLike | None = None
    input_gradient: bool = True
    accumulate: dict[str, Any] | None = None

# What Call holds, without its names
_Call: TypeAlias = tuple[
    ArrayLike | None,
    tuple[ArrayLike, ArrayLike] | None,
    ArrayLike | None,
    ArrayLike | None,
    bool,
    ArrayLike | None,
]

class Model:
    def __init__(
        self,
        options: dict[str, int | bool],
        dtype: Literal["float32", "float64"],
        parameters: dict[str, _Float],
    ) -> None: ...
    def parameters(self) -> dict[str, _Float]: ...
    @overload
    def forward(self, call: _Call, return_cells: Literal[False]) -> tuple[_Float, _State]: ...
    @overload
    def forward(
        self, call: _Call, return_cells: bool
    ) -> tuple[_Float, _State] | tuple[_Float, _State, _Float]: ...
    def copied(self, call: _Call) -> _Call: ...
    def tape_size(
        self, steps: int, batch: int, positions: int, dropout: bool, checkpoint: int
    ) -> int: ...
    def record(
        self,
        call: _Call,
        training: Training,
        return_cells: bool,
        out: tuple[_Out, _Out, _Out, _Out] | None = None,
    ) -> tuple[_Float, _State, _Float | None, _Float]: ...
    def backward(
        self,
        tape: NDArray[Any],
        call: _Call,
        training: Training,
        derivatives: Derivatives,
        out: tuple[_Out, _Out, _Out, tuple[_Out, ...] | None] | None = None,
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
