"""What the operators do with tensors that have memory, and what they say of those that have none.

Registered by _operators.py; calls _packing.py and the core. Tensors go in and out as views.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from .. import _core
from ._packing import config_of, packed

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from torch import Tensor

    from ..config import Config

    Three: TypeAlias = tuple[Tensor, Tensor, Tensor]
    Four: TypeAlias = tuple[Tensor, Tensor, Tensor, Tensor]


class Call(NamedTuple):
    """The arguments that all three operators begin with."""

    x: Tensor  # (T, B, I), (B, T, I) if batch_first; with batch_sizes (N, I)
    h0: Tensor | None  # (L*D, B, P or H); as in a PackedSequence the rows are sorted
    c0: Tensor | None  # (L*D, B, H); None if h0 is
    batch_sizes: Tensor | None  # int64 (T,), as in a PackedSequence; h0 must be given then
    seed: Tensor | None  # int64 (): of the dropout, which does not act without
    weights: list[Tensor]  # in PyTorch's order
    bias: bool
    num_layers: int
    bidirectional: bool
    batch_first: bool
    dropout: float

    def config(self) -> Config:
        """The sizes."""
        return config_of(self.weights, self.bias, self.num_layers, self.bidirectional)

    def of_core(self) -> _core.Call:
        """The arrays, as the core takes them."""
        return _core.Call(
            x=array(self.x),
            state=None if self.h0 is None else (array(self.h0), array(self.c0)),
            batch_first=self.batch_first,
            batch_sizes=array(self.batch_sizes),
        )

    def training(self) -> _core.Training:
        """Dropout, if it acts."""
        return (
            _core.Training() if self.seed is None else _core.Training(self.dropout, int(self.seed))
        )

    def plane(self) -> tuple[Any, Any, tuple[Any, ...]]:
        """B, valid rows of all steps, and the shape of x without I; they may be symbolic."""
        if self.batch_sizes is not None:
            assert self.h0 is not None
            return self.h0.size(1), self.x.size(0), (self.x.size(0),)
        first, second = self.x.size(0), self.x.size(1)
        return (first if self.batch_first else second), first * second, (first, second)


def checked(*arguments: Any) -> Call:
    """The arguments, refused if cellgate.torch.LSTM would not have passed them."""
    call = Call(*arguments)
    if (call.h0 is None) != (call.c0 is None):
        raise ValueError("h0, c0: must be given both or neither")
    if call.batch_sizes is not None and call.h0 is None:
        raise ValueError("h0, c0: must be given with batch_sizes")
    return call


def array(tensor: Tensor | None) -> Any:
    """The same memory as an array."""
    if tensor is None:
        return None
    return (tensor.detach() if tensor.requires_grad else tensor).numpy()


def tensors(*arrays: Any) -> Any:
    """The same memory as tensors."""
    return tuple(torch.from_numpy(a) for a in arrays)


# ---- with memory -------------------------------------------------------------------------------


def lstm_cpu(*arguments: Any) -> Three:
    """Forward pass."""
    call = checked(*arguments[:11])
    if call.seed is not None:  # only a recording drops
        return record_cpu(*call, tape_size(call))[:3]
    y, (h, c), *_ = packed(call.weights, call.config()).forward(call.of_core(), return_cells=False)
    result: Three = tensors(y, h, c)
    return result


def record_cpu(*arguments: Any) -> Four:
    """Forward pass that keeps a tape."""
    call, promised = checked(*arguments[:11]), arguments[11]
    y, (h, c), _, tape = packed(call.weights, call.config()).record(
        call.of_core(), call.training(), return_cells=False
    )
    if tape.size != promised:
        raise ValueError(f"tape_size: must be {tape.size}, got {promised}")
    result: Four = tensors(y, h, c, tape)
    return result


def backward_cpu(*arguments: Any) -> list[Tensor]:
    """Gradients of the weights, of h0 and c0 if given, of x if wanted."""
    call = checked(*arguments[:11])
    y, tape, d_y, d_h, d_c, input_gradient = arguments[11:]
    d_x, d_state, d_weights = packed(call.weights, call.config()).backward(
        array(tape),
        call.of_core(),
        call.training(),
        _core.Derivatives(
            output=array(y),
            d_output=array(d_y),
            d_h=array(d_h),
            d_c=array(d_c),
            input_gradient=input_gradient,
        ),
    )
    arrays: list[Any] = [*d_weights.values()]
    if call.h0 is not None:
        arrays += d_state
    if input_gradient:
        arrays.append(d_x)
    return [*tensors(*arrays)]


# ---- without: shapes only ----------------------------------------------------------------------


@functools.cache
def _tape_constants(dtype: Any) -> tuple[int, int]:
    """The size of an empty tape, and the number of lanes, to a multiple of which H is padded."""
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    zeros = [np.zeros((4, 1), dtype)] * 2 + [np.zeros(4, dtype)] * 2
    model = _core.Model(1, 1, 1, True, False, 0, dtype, dict(zip(names, zeros, strict=True)))
    empty = model.tape_size(0, 0, 0, False, 0)
    return empty, (model.tape_size(0, 64, 0, False, 0) - empty) // 64


def tape_size(call: Call) -> Any:
    """What `Model.tape_size` says, but of sizes that may be symbolic; `record_cpu` checks it."""
    config = call.config()
    batch, valid, _ = call.plane()
    empty, lanes = _tape_constants(config.dtype)
    hidden = -(-config.hidden_size // lanes) * lanes
    line = 64 // np.dtype(config.dtype).itemsize  # each part begins on a cache line

    def rounded(count: Any) -> Any:
        return (count + (line - 1)) // line * line

    layer = rounded(valid * (4 * hidden)) + rounded((batch + valid) * hidden)
    between = rounded(valid * (config.num_directions * config.output_size))
    drops = call.seed is not None and call.dropout > 0
    planes = (config.num_layers - 1) * (2 if drops else 1)
    return empty + config.num_layers * config.num_directions * layer + planes * between


def lstm_fake(*arguments: Any) -> Three:
    """Shapes of `lstm_cpu`."""
    call = checked(*arguments[:11])
    config = call.config()
    batch, _, plane = call.plane()
    rows = config.num_layers * config.num_directions
    new = call.weights[0].new_empty
    y = new((*plane, config.num_directions * config.output_size))
    return y, new((rows, batch, config.output_size)), new((rows, batch, config.hidden_size))


def record_fake(*arguments: Any) -> Four:
    """Shapes of `record_cpu`."""
    return *lstm_fake(*arguments), Call(*arguments[:11]).weights[0].new_empty((arguments[11],))


def backward_fake(*arguments: Any) -> list[Tensor]:
    """Shapes of `backward_cpu`."""
    call = Call(*arguments[:11])
    wanted = [*call.weights]
    wanted += [state for state in (call.h0, call.c0) if state is not None]
    if arguments[-1]:
        wanted.append(call.x)
    return [call.weights[0].new_empty(tensor.shape) for tensor in wanted]


# ---- under vmap --------------------------------------------------------------------------------


def one_by_one(operator: Callable[..., Any]) -> Callable[..., Any]:
    """The rule for vmap: the operator on each element in turn."""

    def element(argument: Any, dim: Any, index: int) -> Any:
        if isinstance(argument, (list, tuple)):
            return [element(a, d, index) for a, d in zip(argument, dim, strict=True)]
        return argument if dim is None else argument.select(dim, index)

    def rule(info: Any, in_dims: tuple[Any, ...], *arguments: Any) -> tuple[Any, Any]:
        results = [
            operator(*(element(a, d, i) for a, d in zip(arguments, in_dims, strict=True)))
            for i in range(info.batch_size)
        ]
        kind = type(results[0])
        stacked = kind(torch.stack(parts) for parts in zip(*results, strict=True))
        return stacked, kind(0 for _ in stacked)

    return rule
