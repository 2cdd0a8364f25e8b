"""The operators on tensors with memory, and the shapes of their results for tensors without.

Registered by _operators.py; calls _packing.py and the core. Tensors go in and out as views.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

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


# ---- with memory -------------------------------------------------------------------------------


def lstm_cpu(*arguments: Any) -> Three:
    """Forward pass."""
    call = checked(*arguments[:11])
    if call.seed is not None:  # dropout acts in recordings only
        return record_cpu(*call, tape_size(call))[:3]
    y, (h, c), *_ = packed(call.weights, call.config()).forward(call.of_core(), return_cells=False)
    return torch.from_numpy(y), torch.from_numpy(h), torch.from_numpy(c)


# What autograd keeps is memory of PyTorch's, into which the core writes. NumPy's cannot be released
# without Python, and autograd's threads may hold it until the interpreter has ended.


def record_cpu(*arguments: Any) -> Four:
    """Forward pass that keeps a tape."""
    call, promised = checked(*arguments[:11]), arguments[11]
    config = call.config()
    results = (*_results(call, config), torch.empty(promised, dtype=call.weights[0].dtype))
    out = tuple(map(array, results))
    model = packed(call.weights, config)
    try:
        model.record(call.of_core(), call.training(), return_cells=False, out=out)
    except ValueError:
        if promised != (size := tape_size(call)):
            raise ValueError(f"tape_size: must be {size}, got {promised}") from None
        raise
    return results


def backward_cpu(*arguments: Any) -> list[Tensor]:
    """Gradients of the weights, of h0 and c0 if given, of x if wanted."""
    call = checked(*arguments[:11])
    y, tape, d_y, d_h, d_c, input_gradient = arguments[11:]
    results = backward_fake(*arguments)
    rest = iter([*map(array, results)])
    d_weights = tuple(next(rest) for _ in call.weights)
    d_h0, d_c0 = (None, None) if call.h0 is None else (next(rest), next(rest))
    packed(call.weights, call.config()).backward(
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
        out=(next(rest, None), d_h0, d_c0, d_weights),
    )
    return results


# ---- without: shapes only ----------------------------------------------------------------------


@functools.cache
def _tape_layout(config: Config, drops: bool) -> tuple[int, int, tuple[tuple[int, int, int], ...]]:
    """Spare scalars, scalars in a cache line, and what each part has: see csrc/run/tape.hpp."""
    return _core.tape_layout(config.options(), config.dtype, drops)


def tape_size(call: Call) -> Any:
    """The size of the tape of a call, whose rows may be symbolic; `record_cpu` checks it."""
    config = call.config()
    batch, valid, _ = call.plane()
    drops = call.seed is not None and call.dropout > 0
    fixed = config._replace(  # the weights of one model have one shape, also for a compiler
        input_size=int(config.input_size),
        hidden_size=int(config.hidden_size),
        proj_size=int(config.proj_size),
    )
    spare, line, parts = _tape_layout(fixed, drops)

    def rounded(count: Any) -> Any:
        return (count + (line - 1)) // line * line

    return spare + sum(
        count * rounded(valid * per_valid + batch * per_batch)
        for count, per_valid, per_batch in parts
    )


def _results(call: Call, config: Config) -> Three:
    """y, h and c, their values not yet set."""
    batch, _, plane = call.plane()
    rows, dtype = config.num_layers * config.num_directions, call.weights[0].dtype
    y = torch.empty((*plane, config.num_directions * config.output_size), dtype=dtype)
    h = torch.empty((rows, batch, config.output_size), dtype=dtype)
    return y, h, torch.empty((rows, batch, config.hidden_size), dtype=dtype)


def lstm_fake(*arguments: Any) -> Three:
    """Shapes of `lstm_cpu`."""
    call = checked(*arguments[:11])
    return _results(call, call.config())


def record_fake(*arguments: Any) -> Four:
    """Shapes of `record_cpu`."""
    dtype = Call(*arguments[:11]).weights[0].dtype
    return *lstm_fake(*arguments), torch.empty(arguments[11], dtype=dtype)


def backward_fake(*arguments: Any) -> list[Tensor]:
    """Shapes of `backward_cpu`."""
    call = Call(*arguments[:11])
    wanted = [*call.weights]
    wanted += [state for state in (call.h0, call.c0) if state is not None]
    if arguments[-1]:
        wanted.append(call.x)
    return [torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in wanted]


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
