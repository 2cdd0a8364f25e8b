"""`LSTM` and `LSTMCell`: PyTorch's modules with another `forward`.

They check what comes in, read the parameters as they are at that moment, and call the operator.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import torch
from torch.nn.utils.rnn import PackedSequence

from ._operators import BUILD, lstm, lstm_untraced

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

    from torch import Tensor

DTYPES = (torch.float32, torch.float64)


def _refuse_to_be_scripted(module: torch.nn.Module) -> NoReturn:
    raise TypeError(
        f"cellgate.torch.{type(module).__name__} cannot be scripted: use torch.export or "
        "torch.jit.trace, or script the model before accelerate"
    )


class LSTM(torch.nn.LSTM):
    """`torch.nn.LSTM`, computed by cellgate on the CPU.

    Constructor, parameters, `state_dict`, hooks, arguments and results are those of
    `torch.nn.LSTM`: ``output, (h_n, c_n) = lstm(input, (h_0, c_0))``, where input is (T, B, I),
    (B, T, I) if `batch_first`, (T, I) unbatched, or a `PackedSequence`. It works in float32 and
    float64, and has a first derivative, in backward mode.

    Dropout between the layers, in training mode only, draws its seed from PyTorch's generator:
    `torch.manual_seed` makes it reproducible. Its mask is not the one `torch.nn.LSTM` would draw.

    Parameters may be changed in any way between two calls: their bits are compared at every call,
    and packed anew when one differs.

    `torch.compile` leaves modules derived from `torch.nn.LSTM` out of its graphs unless
    ``torch._dynamo.config.allow_rnn`` is True; with it, ``fullgraph=True`` works.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        Tensors that are not on the CPU, of other types or of wrong shapes, autocast, and a second
        derivative. Nothing is handed to PyTorch's own kernels instead.

    Examples
    --------
    >>> import torch
    >>> import cellgate.torch
    >>> lstm = cellgate.torch.LSTM(8, 16, num_layers=2, batch_first=True)
    >>> output, (h, c) = lstm(torch.zeros(3, 5, 8))
    >>> output.shape, h.shape
    (torch.Size([3, 5, 16]), torch.Size([2, 3, 16]))
    >>> output.sum().backward()
    >>> lstm.weight_hh_l1.grad.shape
    torch.Size([64, 16])
    """

    __prepare_scriptable__ = _refuse_to_be_scripted  # torch.jit.script asks for it first

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Run over whole sequences; `torch.nn.LSTM` says what goes in and what comes out.

        Examples
        --------
        >>> import torch
        >>> import cellgate.torch
        >>> output, (h, c) = cellgate.torch.LSTM(2, 3)(torch.zeros(4, 2))
        >>> torch.equal(output[-1:], h)
        True
        """
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        if input.dim() not in (2, 3):
            raise ValueError(f"LSTM: Expected input to be 2D or 3D, got {input.dim()}D instead")
        if hx is not None and any(state.dim() != input.dim() for state in hx):
            kind = "unbatched" if input.dim() == 2 else "batched"
            raise RuntimeError(
                f"For {kind} {input.dim()}-D input, hx and cx should also be {input.dim()}-D but "
                f"got ({hx[0].dim()}-D, {hx[1].dim()}-D) tensors"
            )
        batch_dim = 0 if self.batch_first else 1
        if input.dim() == 3:
            self._check_state(hx, input.size(batch_dim))
            y, h, c = self._run(input, hx, None)
            return y, (h, c)
        if hx is not None:
            hx = (hx[0].unsqueeze(1), hx[1].unsqueeze(1))
        self._check_state(hx, 1)
        y, h, c = self._run(input.unsqueeze(batch_dim), hx, None)
        return y.squeeze(batch_dim), (h.squeeze(1), c.squeeze(1))

    def _forward_packed(
        self, packed: PackedSequence, hx: tuple[Tensor, Tensor] | None
    ) -> tuple[PackedSequence, tuple[Tensor, Tensor]]:
        data, batch_sizes, sorted_indices, unsorted_indices = packed
        if data.dim() != 2:
            raise RuntimeError(f"input must have 2 dimensions, got {data.dim()}")
        # A compiler knows the shape of a tensor, but not the numbers in it.
        if sorted_indices is not None:
            batch = sorted_indices.size(0)
        elif hx is not None and torch.compiler.is_compiling():
            batch = hx[0].size(1)  # the core compares it with batch_sizes
        else:
            batch = int(batch_sizes[0])
        self._check_state(hx, batch)
        if hx is None:
            h_shape, c_shape = self._state_shapes(batch)
            hx = (data.new_zeros(h_shape), data.new_zeros(c_shape))
        elif sorted_indices is not None:
            hx = self.permute_hidden(hx, sorted_indices)
        y, h, c = self._run(data, hx, batch_sizes)
        if unsorted_indices is not None:
            h, c = self.permute_hidden((h, c), unsorted_indices)
        return PackedSequence(y, batch_sizes, sorted_indices, unsorted_indices), (h, c)

    def _run(
        self, x: Tensor, hx: tuple[Tensor, Tensor] | None, batch_sizes: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        # Attributes, not `_flat_weights`: a parametrization computes them, functional_call swaps
        # them, and neither keeps that list up to date.
        weights = [getattr(self, name) for name in self._flat_weights_names]
        _check_tensors("LSTM", x, weights, hx)
        if x.size(-1) != self.input_size:
            raise RuntimeError(
                "input.size(-1) must be equal to input_size. "
                f"Expected {self.input_size}, got {x.size(-1)}"
            )
        seed = None
        if self.training and self.dropout > 0 and self.num_layers > 1:
            seed = torch.randint(2**63 - 1, (), dtype=torch.int64, device="cpu")
        h0, c0 = (None, None) if hx is None else hx
        layout = (self.bias, self.num_layers, self.bidirectional)
        time_second = self.batch_first and batch_sizes is None
        traced = torch.compiler.is_compiling() or "torch._dynamo" not in sys.modules
        operator = lstm if traced else lstm_untraced
        result: tuple[Tensor, Tensor, Tensor] = operator(
            x, h0, c0, batch_sizes, seed, weights, *layout, time_second, self.dropout, BUILD
        )
        return result

    def _state_shapes(self, batch: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        rows = self.num_layers * (2 if self.bidirectional else 1)
        return (rows, batch, self.proj_size or self.hidden_size), (rows, batch, self.hidden_size)

    def _check_state(self, hx: tuple[Tensor, Tensor] | None, batch: int) -> None:
        if hx is None:
            return
        for i, (state, shape) in enumerate(zip(hx, self._state_shapes(batch), strict=True)):
            if tuple(state.shape) != shape:
                raise RuntimeError(f"Expected hidden[{i}] size {shape}, got {list(state.shape)}")


class LSTMCell(torch.nn.LSTMCell):
    """`torch.nn.LSTMCell`, computed by cellgate on the CPU.

    All that `LSTM` says of types, weights and derivatives holds here too. A loop over time is
    several times slower than one call of an `LSTM`; where the loop needs none of what happens
    between two steps, use that.

    Examples
    --------
    >>> import torch
    >>> import cellgate.torch
    >>> cell = cellgate.torch.LSTMCell(8, 16)
    >>> h, c = cell(torch.zeros(3, 8))
    >>> h, c = cell(torch.ones(3, 8), (h, c))
    >>> h.shape
    torch.Size([3, 16])
    """

    __prepare_scriptable__ = _refuse_to_be_scripted

    def forward(self, input: Any, hx: Any = None) -> Any:
        """One step; `torch.nn.LSTMCell` says what goes in and what comes out.

        Examples
        --------
        >>> import torch
        >>> import cellgate.torch
        >>> h, c = cellgate.torch.LSTMCell(2, 3)(torch.zeros(2))
        >>> h.shape
        torch.Size([3])
        """
        if input.dim() not in (1, 2):
            raise ValueError(f"LSTMCell: Expected input to be 1D or 2D, got {input.dim()}D instead")
        for i, state in enumerate(() if hx is None else hx):
            if state.dim() not in (1, 2):
                raise ValueError(
                    f"LSTMCell: Expected hx[{i}] to be 1D or 2D, got {state.dim()}D instead"
                )
        if input.dim() == 2:
            return self._run(input, hx)
        if hx is not None:
            hx = (hx[0].unsqueeze(0), hx[1].unsqueeze(0))
        h, c = self._run(input.unsqueeze(0), hx)
        return h.squeeze(0), c.squeeze(0)

    def _run(self, x: Tensor, hx: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        weights = [self.weight_ih, self.weight_hh]
        if self.bias:
            weights += [self.bias_ih, self.bias_hh]
        _check_tensors("LSTMCell", x, weights, hx)
        if x.size(1) != self.input_size:
            raise RuntimeError(
                f"input has inconsistent input_size: got {x.size(1)} expected {self.input_size}"
            )
        h0 = c0 = None
        if hx is not None:
            self._check_state(hx, x.size(0))
            h0, c0 = hx[0].unsqueeze(0), hx[1].unsqueeze(0)
        layout = (self.bias, 1, False, False, 0.0, BUILD)
        traced = torch.compiler.is_compiling() or "torch._dynamo" not in sys.modules
        operator = lstm if traced else lstm_untraced
        _, h, c = operator(x.unsqueeze(0), h0, c0, None, None, weights, *layout)
        return h.squeeze(0), c.squeeze(0)

    def _check_state(self, hx: tuple[Tensor, Tensor], batch: int) -> None:
        for i, state in enumerate(hx):
            if state.dim() != 2 or state.size(0) != batch:
                raise RuntimeError(
                    f"Input batch size {batch} doesn't match hidden{i} batch size {state.size(0)}"
                )
            if state.size(1) != self.hidden_size:
                raise RuntimeError(
                    f"hidden{i} has inconsistent hidden_size: got {state.size(1)}, "
                    f"expected {self.hidden_size}"
                )


def _check_tensors(
    name: str, x: Tensor, weights: Sequence[Tensor], hx: tuple[Tensor, Tensor] | None
) -> None:
    """Refuse what the core cannot take, in words that say what it would take."""
    if torch.is_autocast_enabled("cpu"):
        raise RuntimeError(
            f"cellgate.torch.{name}: autocast is not supported, for the kernels compute in float32 "
            'or float64 only: call it inside torch.autocast("cpu", enabled=False), with float input'
        )
    wanted = weights[0].dtype
    if wanted not in DTYPES:
        raise TypeError(
            f"cellgate.torch.{name}: weights must be torch.float32 or torch.float64, got {wanted}: "
            "convert the module with .float() or .double()"
        )
    if x.dtype != wanted:
        raise ValueError(
            f"RNN input dtype ({x.dtype}) does not match weight dtype ({wanted}). "
            f"Convert input: input.to({wanted}), or convert model: model.to({x.dtype})"
        )
    for what, tensors in (("input", (x,)), ("hx", hx or ()), ("weights", weights)):
        for tensor in tensors:
            if tensor.device.type != "cpu":
                raise RuntimeError(
                    f"cellgate.torch.{name}: {what} must be on the CPU, got device {tensor.device}"
                )
            if tensor.dtype != wanted:
                raise ValueError(
                    f"cellgate.torch.{name}: {what} must all be {wanted}, got {tensor.dtype}"
                )
