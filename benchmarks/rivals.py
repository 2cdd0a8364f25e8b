"""The libraries that are compared: the same LSTM, with the same weights, in each."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from typing import Any

import numpy as np

from .onnx_operator import OnnxRuntime
from .rival import Rival
from .rows import Row


class Cellgate(Rival):
    library = "cellgate"

    @staticmethod
    def variants(row: Row) -> tuple[str, ...]:
        if row.training:
            return ("record, backward",)
        return ("step(x, out=y)", "step(x)") if row.streaming else ("lstm(x)",)

    def build(self, weights: dict[str, np.ndarray], threads: int) -> None:
        import cellgate

        cellgate.set_num_threads(threads)
        shape = self.row.shape
        self.lstm = cellgate.LSTM(shape.I, shape.H, shape.L, bidirectional=shape.D == 2)
        self.lstm.load_state_dict(weights)
        if self.row.training:
            d_y, lengths = shape.output_gradient(), shape.lengths()

            def train(x: np.ndarray) -> Any:
                self.lstm.load_state_dict(weights)  # as after every step of an optimiser
                tape = self.lstm.record(x, lengths=lengths)
                return tape.output, tape.backward(d_y, input_gradient=False).parameters

            self.call = train
            return
        if not self.row.streaming:
            self.call = self.lstm
            return
        self.stream = self.lstm.stream(shape.B)
        step = self.stream.step
        out = np.empty((shape.B, shape.H), np.float32)
        self.call = step if self.variant == "step(x)" else lambda x: step(x, out=out)

    def reset(self) -> None:
        if self.row.streaming:
            self.stream.reset()

    def array(self, result: Any) -> np.ndarray:
        if self.row.training:
            return flat(result[0], result[1].values())
        return np.array(result if self.row.streaming else result[0])


def flat(y: np.ndarray, gradients: Iterable[np.ndarray]) -> np.ndarray:
    """What a training row compares: the output and the gradients of the parameters."""
    return np.concatenate([y.ravel(), *(g.ravel() for g in gradients)])


class Torch(Rival):
    library = "torch"

    @staticmethod
    def variants(row: Row) -> tuple[str, ...]:
        return ("nn.LSTM",)

    def module(self) -> Any:
        shape = self.row.shape
        return self.torch.nn.LSTM(shape.I, shape.H, shape.L, bidirectional=shape.D == 2)

    def build_training(self, lstm: Any) -> None:
        """Forward and backward, as a PackedSequence if the row is ragged."""
        torch, shape = self.torch, self.row.shape
        rnn = torch.nn.utils.rnn
        d_y, lengths = torch.from_numpy(shape.output_gradient()), torch.from_numpy(shape.lengths())
        if shape.shortest:
            d_y = rnn.pack_padded_sequence(d_y, lengths, enforce_sorted=False).data

        def train(x: Any) -> Any:
            for parameter in lstm.parameters():
                parameter.grad = None
            if not shape.shortest:
                y = lstm(x)[0]
                y.backward(d_y)
                return y, lstm
            packed = lstm(rnn.pack_padded_sequence(x, lengths, enforce_sorted=False))[0]
            packed.data.backward(d_y)
            return packed, lstm

        self.call = train

    def build(self, weights: dict[str, np.ndarray], threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.torch = torch
        self.state: Any = None
        lstm = self.module().train(self.row.training)
        lstm.load_state_dict({name: torch.from_numpy(w) for name, w in weights.items()})
        if self.row.training:
            self.build_training(lstm)
            return

        @torch.inference_mode()
        def step(x: Any) -> Any:
            y, self.state = lstm(x, self.state)
            return y

        self.call = step if self.row.streaming else torch.inference_mode()(lambda x: lstm(x)[0])

    def reset(self) -> None:
        self.state = None

    def argument(self, x: np.ndarray) -> Any:
        return self.torch.from_numpy(x[None] if self.row.streaming else x)

    def array(self, result: Any) -> np.ndarray:
        if self.row.training:
            y, lstm = result
            if self.row.shape.shortest:
                pad = self.torch.nn.utils.rnn.pad_packed_sequence
                y = pad(y, total_length=self.row.shape.T)[0]
            return flat(y.detach().numpy(), (p.grad.numpy() for p in lstm.parameters()))
        return np.array(result.numpy()[0] if self.row.streaming else result.numpy())


class CellgateTorch(Torch):
    """The drop-in for torch.nn.LSTM."""

    library = "cellgate.torch"

    @staticmethod
    def variants(row: Row) -> tuple[str, ...]:
        return ("LSTM",) if row.training else ()

    def module(self) -> Any:
        import cellgate
        from cellgate.torch import LSTM

        cellgate.set_num_threads(self.torch.get_num_threads())
        shape = self.row.shape
        return LSTM(shape.I, shape.H, shape.L, bidirectional=shape.D == 2)


LIBRARIES: dict[str, type[Rival]] = {
    rival.library: rival for rival in (Cellgate, CellgateTorch, OnnxRuntime, Torch)
}
NEEDS = {
    "cellgate": ["cellgate"],
    "cellgate.torch": ["torch"],
    "onnxruntime": ["onnxruntime", "onnx"],
    "torch": ["torch"],
}


def missing(library: str) -> list[str]:
    """The packages that `library` needs and that are not installed."""
    return [name for name in NEEDS[library] if importlib.util.find_spec(name) is None]
