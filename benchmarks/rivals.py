"""The libraries that are compared: the same LSTM, with the same weights, in each."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from .onnx_operator import OnnxRuntime
from .rival import Rival
from .rows import Row


class Cellgate(Rival):
    library = "cellgate"

    @staticmethod
    def variants(row: Row) -> tuple[str, ...]:
        return ("step(x, out=y)", "step(x)") if row.streaming else ("lstm(x)",)

    def build(self, weights: dict[str, np.ndarray], threads: int) -> None:
        import cellgate

        cellgate.set_num_threads(threads)
        shape = self.row.shape
        self.lstm = cellgate.LSTM(shape.I, shape.H, shape.L, bidirectional=shape.D == 2)
        self.lstm.load_state_dict(weights)
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
        return np.array(result if self.row.streaming else result[0])


class Torch(Rival):
    library = "torch"

    @staticmethod
    def variants(row: Row) -> tuple[str, ...]:
        return ("nn.LSTM",)

    def build(self, weights: dict[str, np.ndarray], threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        shape = self.row.shape
        lstm = torch.nn.LSTM(shape.I, shape.H, shape.L, bidirectional=shape.D == 2).eval()
        lstm.load_state_dict({name: torch.from_numpy(w) for name, w in weights.items()})
        self.torch = torch
        self.state: Any = None

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
        return np.array(result.numpy()[0] if self.row.streaming else result.numpy())


LIBRARIES: dict[str, type[Rival]] = {
    rival.library: rival for rival in (Cellgate, OnnxRuntime, Torch)
}
NEEDS = {"cellgate": ["cellgate"], "onnxruntime": ["onnxruntime", "onnx"], "torch": ["torch"]}


def missing(library: str) -> list[str]:
    """The packages that `library` needs and that are not installed."""
    return [name for name in NEEDS[library] if importlib.util.find_spec(name) is None]
