"""The adapters for PyTorch and for our drop-in inside it. Listed in rivals.py."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from .rival import Rival, UnavailableError, flat
from .rows import Row


class Torch(Rival):
    """torch.nn.LSTM, eager and compiled; LSTMCell too where a step is all there is to do.

    Dynamo does not trace an nn.LSTM: `compile` compiles what lies around it. `compile fullgraph`
    sets the switch that makes Dynamo trace it (allow_rnn). A PackedSequence is made within the
    timed call and, as another variant, before it; a third variant computes the padding too and
    ignores it, which gives the same gradients of the parameters where there is one direction.
    """

    library = "torch"
    packages = ("torch",)

    @staticmethod
    def variants(row: Row) -> tuple[str, ...]:
        if row.shape.shortest:
            packed = ("PackedSequence", "packed before")
            return (*packed, "padded") if row.shape.D == 1 else packed
        plain = ("nn.LSTM", "compile nn.LSTM", "compile fullgraph")
        if row.streaming and row.shape.L == row.shape.D == 1:
            return (*plain, "nn.LSTMCell", "compile nn.LSTMCell")
        return plain

    def module(self) -> Any:
        shape, nn = self.row.shape, self.torch.nn
        if self.variant.endswith("Cell"):
            return nn.LSTMCell(shape.I, shape.H)
        return nn.LSTM(shape.I, shape.H, shape.L, bidirectional=shape.D == 2)

    def build(self, weights: dict[str, np.ndarray], threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.torch = torch
        self.cell = self.variant.endswith("Cell")
        self.lstm = self.module().train(self.row.training)
        own = {name: torch.from_numpy(values) for name, values in weights.items()}
        if self.cell:
            own = {name.removesuffix("_l0"): values for name, values in own.items()}
        self.lstm.load_state_dict(own)
        run = self._compiled() if self.variant.startswith("compile") else self.lstm
        if self.row.training:
            self.call = self._training(run)
        elif self.row.streaming:
            self.reset()
            self.call = self._step(run)
        elif self._packs:
            self.call = torch.inference_mode()(lambda x: run(self._pack(x))[0])
        else:
            self.call = torch.inference_mode()(lambda x: run(x)[0])
        if self.variant.startswith("compile"):
            self._compile_now()

    def _compiled(self) -> Any:
        torch = self.torch
        if self.variant == self.variants(self.row)[1]:
            torch._dynamo.reset()  # else the variants of earlier rows count as recompilations
        if self.variant == "compile nn.LSTM":
            return torch.compile(self.lstm, dynamic=False)
        lstm = self.lstm

        # A frame of its own: Dynamo remembers that it could not trace that of the module.
        def run(*arguments: Any) -> Any:
            return lstm(*arguments)

        return torch.compile(run, fullgraph=True, dynamic=False)

    def _compile_now(self) -> None:
        x = self.row.shape.input()
        argument = self.argument(x[0] if self.row.streaming else x)
        allowed = self.variant == "compile fullgraph"
        try:
            with warnings.catch_warnings(), self.torch._dynamo.config.patch(allow_rnn=allowed):
                warnings.simplefilter("ignore")
                for _ in range(3):
                    self.call(argument)
        except Exception as error:  # compilers raise many types
            line = (str(error).strip().splitlines() or [""])[0]
            raise UnavailableError(f"{type(error).__name__}: {line[:120]}") from error

    @property
    def _packs(self) -> bool:
        return self.row.shape.shortest > 0 and self.variant != "padded"

    def _pack(self, x: Any) -> Any:
        rnn, lengths = self.torch.nn.utils.rnn, self.torch.from_numpy(self.row.shape.lengths())
        if not isinstance(x, self.torch.Tensor):
            return x
        return rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)

    def _step(self, run: Any) -> Callable[[Any], Any]:
        @self.torch.inference_mode()
        def of_cell(x: Any) -> Any:
            self.state = run(x, self.state)
            return self.state[0]

        @self.torch.inference_mode()
        def of_module(x: Any) -> Any:
            y, self.state = run(x, self.state)
            return y

        return of_cell if self.cell else of_module

    def _training(self, run: Any) -> Callable[[Any], Any]:
        """Forward and backward, as a PackedSequence if the row is ragged.

        One bias goes up or down by one bit before each call, as after every step of an optimiser:
        a library that keeps weights packed has to pack them again.
        """
        parameters = list(self.lstm.parameters())
        bias = parameters[-1].detach()[-1:]  # the same memory
        before, after = bias.nextafter(bias + 1), bias.clone()
        d_y = self.torch.from_numpy(self.row.shape.output_gradient())
        ragged = self._packs
        if ragged:
            d_y = self._pack(d_y).data

        def train(x: Any) -> Any:
            nonlocal before, after
            bias.copy_(before)
            before, after = after, before
            for parameter in parameters:
                parameter.grad = None
            y = run(self._pack(x) if ragged else x)[0]
            (y.data if ragged else y).backward(d_y)
            return y

        return train

    def reset(self) -> None:
        if self.row.streaming:
            shape = self.row.shape
            sizes = (shape.B, shape.H) if self.cell else (shape.L * shape.D, shape.B, shape.H)
            self.state = (self.torch.zeros(sizes), self.torch.zeros(sizes))

    def argument(self, x: np.ndarray) -> Any:
        tensor = self.torch.from_numpy(x[None] if self.row.streaming and not self.cell else x)
        return self._pack(tensor) if self.variant == "packed before" else tensor

    def array(self, result: Any) -> np.ndarray:
        if self._packs:
            pad = self.torch.nn.utils.rnn.pad_packed_sequence
            result = pad(result, total_length=self.row.shape.T)[0]
        elif self.row.shape.shortest:
            result = result.detach().clone()
            result[self.torch.from_numpy(self.row.shape.padding())] = 0
        if self.row.training:
            gradients = (p.grad.numpy() for p in self.lstm.parameters())
            return flat(result.detach().numpy(), gradients)
        y = result.numpy()
        return np.array(y[0] if self.row.streaming and not self.cell else y)


class CellgateTorch(Torch):
    """The drop-in for torch.nn.LSTM, called as torch.nn.LSTM is."""

    library = "cellgate.torch"
    packages = ("torch", "cellgate")

    @staticmethod
    def variants(row: Row) -> tuple[str, ...]:
        if row.shape.shortest:
            return ("PackedSequence", "packed before")
        return ("LSTM",) if row.training else ()

    def module(self) -> Any:
        import cellgate
        from cellgate.torch import LSTM

        cellgate.set_num_threads(self.torch.get_num_threads())
        shape = self.row.shape
        return LSTM(shape.I, shape.H, shape.L, bidirectional=shape.D == 2)
