"""The operators of namespace `cellgate`: what PyTorch's dispatcher, compiler and autograd see.

`lstm` is the one to call. Where a gradient may be asked for, its autograd kernel calls
`lstm_record` instead, whose tape `lstm_backward` reads; a compiler that traces through autograd
finds these two in its graphs. Called by _modules.py; the work is in _kernels.py.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch
from torch._compile import _disable_dynamo
from torch.autograd import forward_ad

from .. import __version__, active_isa
from . import _kernels

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from torch import Tensor

    from ._kernels import Four, Three

_CALL = (  # _kernels.Call
    "Tensor x, Tensor? h0, Tensor? c0, Tensor? batch_sizes, Tensor? seed, Tensor[] weights, "
    "bool bias, int num_layers, bool bidirectional, bool batch_first, float dropout"
)
# Compilers store what they compiled on disk, under a key made of the graph, and expect that shapes
# follow from the graph. The shape of a tape depends on the instruction set and on the version of
# the core too: hence `tape_size`, and `build`, which no code reads.
_SCHEMAS = (
    f"lstm({_CALL}, str build) -> (Tensor y, Tensor h, Tensor c)",
    f"lstm_record({_CALL}, SymInt tape_size) -> (Tensor y, Tensor h, Tensor c, Tensor tape)",
    # Gradients of all weights, of h0 and c0 if there, of x if wanted, in this order.
    f"lstm_backward({_CALL}, Tensor y, Tensor tape, Tensor? d_y, Tensor? d_h, Tensor? d_c, "
    "bool input_gradient) -> Tensor[]",
)

BUILD = f"{__version__} {active_isa()}"

_library: Any = torch.library.Library("cellgate", "DEF")  # type: ignore[no-untyped-call]
for _schema in _SCHEMAS:
    _library.define(_schema, tags=torch.Tag.pt2_compliant_tag)

lstm = torch.ops.cellgate.lstm.default
_record = torch.ops.cellgate.lstm_record.default
_backward = torch.ops.cellgate.lstm_backward.default

# For calls from code that torch.compile has given up on: it would go on to trace the kernels.
lstm_untraced = _disable_dynamo(lstm)


def _one_derivative(ctx: Any, *_: Any) -> Any:
    raise RuntimeError(
        "cellgate: the LSTM can be differentiated once only (double backward is not implemented); "
        "use torch.nn.LSTM where second derivatives are needed"
    )


def _no_forward_mode(ctx: Any, *_: Any) -> Any:
    raise NotImplementedError(
        "cellgate: the LSTM has no forward-mode derivative (jvp), only backward (grad, vjp); "
        "use torch.nn.LSTM where forward mode is needed"
    )


class _Lstm(torch.autograd.Function):
    """`lstm_record` with its derivative; the weights are the last arguments, one by one."""

    jvp = staticmethod(_no_forward_mode)

    @staticmethod
    def forward(ctx: Any, *flat: Any) -> Four:
        result = _LstmInFunc.forward(*flat)
        _LstmInFunc.setup_context(ctx, flat, result)
        return result

    @staticmethod
    @_disable_dynamo
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        d_y, d_h, d_c, _ = gradients
        x, h0, c0, batch_sizes, seed, y, tape, *weights = ctx.saved_tensors
        wants_input = ctx.needs_input_grad[0]
        call = (x, h0, c0, batch_sizes, seed, weights, *ctx.layout)
        found = iter(_backward(*call, y, tape, d_y, d_h, d_c, wants_input))
        d_weights = [next(found) for _ in weights]
        d_h0, d_c0 = (None, None) if h0 is None else (next(found), next(found))
        d_x = next(found) if wants_input else None
        return d_x, d_h0, d_c0, *[None] * 8, *d_weights


class _LstmInFunc(torch.autograd.Function):
    """The same for `torch.func`, which wants `setup_context`; that costs time in every call.

    What `torch.library.register_autograd` makes would not work there.
    """

    generate_vmap_rule = True
    jvp = staticmethod(_no_forward_mode)
    backward = staticmethod(_Lstm.backward)

    @staticmethod
    def forward(*flat: Any) -> Four:
        with torch._C._AutoDispatchBelowAutograd():
            result: Four = _record(*flat[:5], list(flat[11:]), *flat[5:11])
        return result

    @staticmethod
    def setup_context(ctx: Any, inputs: Sequence[Any], output: Four) -> None:
        y, _, _, tape = output
        ctx.layout = inputs[5:10]
        ctx.save_for_backward(*inputs[:5], y, tape, *inputs[11:])
        ctx.mark_non_differentiable(tape)
        ctx.set_materialize_grads(False)


class _LstmBackward(torch.autograd.Function):
    """`lstm_backward` with a derivative that says that there is none; the weights come last."""

    generate_vmap_rule = True
    jvp = staticmethod(_no_forward_mode)
    backward = staticmethod(_one_derivative)

    @staticmethod
    def forward(*flat: Any) -> tuple[Tensor, ...]:
        with torch._C._AutoDispatchBelowAutograd():
            return tuple(_backward(*flat[:5], list(flat[16:]), *flat[5:16]))

    @staticmethod
    def setup_context(ctx: Any, inputs: Sequence[Any], output: Any) -> None:
        """Keep nothing."""


_apply_lstm: Any = _Lstm.apply
_apply_lstm_in_func: Any = _LstmInFunc.apply
_apply_backward: Any = _LstmBackward.apply


def _tracked(*tensors: Tensor | None) -> bool:
    """Whether a derivative, of whatever kind, may be asked for."""
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return True
    if not torch.is_grad_enabled():
        return False
    return any(tensor is not None and tensor.requires_grad for tensor in tensors)


def _functorch_in_front() -> AbstractContextManager[Any]:
    """Let a Function be applied from inside an autograd kernel under `torch.func`.

    functorch has already handed this call to autograd and disabled its own dispatch key; but
    Function.apply goes through it, to unwrap one level of transforms after the other.
    """
    front = torch._C.DispatchKeySet(torch._C.DispatchKey.FuncTorchDynamicLayerFrontMode)
    included = torch._C._dispatch_tls_local_include_set() | front
    excluded = torch._C._dispatch_tls_local_exclude_set() - front
    guard: AbstractContextManager[Any] = torch._C._ForceDispatchKeyGuard(included, excluded)
    return guard


def _record_autograd(*arguments: Any) -> Four:
    flat = (*arguments[:5], *arguments[6:], *arguments[5])
    if not torch._C._are_functorch_transforms_active():
        result: Four = _apply_lstm(*flat)
        return result
    with _functorch_in_front():
        result = _apply_lstm_in_func(*flat)
    return result


def _lstm_autograd(*arguments: Any) -> Three:
    if _tracked(*arguments[:3], *arguments[5]):
        call = _kernels.Call(*arguments[:11])
        return _record_autograd(*call, _kernels.tape_size(call))[:3]
    with torch._C._AutoDispatchBelowAutograd():
        result: Three = lstm(*arguments)
    return result


def _backward_autograd(*arguments: Any) -> list[Tensor]:
    if _tracked(*arguments[:3], *arguments[5], *arguments[11:16]):
        flat = (*arguments[:5], *arguments[6:], *arguments[5])
        functorch = torch._C._are_functorch_transforms_active()
        with _functorch_in_front() if functorch else contextlib.nullcontext():
            return list(_apply_backward(*flat))
    with torch._C._AutoDispatchBelowAutograd():
        result: list[Tensor] = _backward(*arguments)
    return result


for _operator, _cpu, _autograd, _fake in (
    (lstm, _kernels.lstm_cpu, _lstm_autograd, _kernels.lstm_fake),
    (_record, _kernels.record_cpu, _record_autograd, _kernels.record_fake),
    (_backward, _kernels.backward_cpu, _backward_autograd, _kernels.backward_fake),
):
    _library.impl(_operator, _cpu, "CPU")
    _library.impl(_operator, _autograd, "Autograd")
    torch.library.register_fake(_operator, _fake, lib=_library)
    torch.library.register_vmap(_operator, _kernels.one_by_one(_operator), lib=_library)
