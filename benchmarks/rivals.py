"""The libraries that are compared: the same LSTM, with the same weights, in each."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import numpy as np

from .jax_scan import Jax
from .keras_layer import Keras
from .onnx_operator import OnnxRuntime
from .openvino_graph import OpenVino
from .rival import Rival, flat
from .rows import Row
from .torch_module import CellgateTorch, Torch


class Cellgate(Rival):
    library = "cellgate"
    packages = ("cellgate",)

    @staticmethod
    def variants(row: Row) -> tuple[str, ...]:
        if row.training:
            return ("record, backward",)
        return ("step(x, out=y)", "step(x)") if row.streaming else ("lstm(x)",)

    def build(self, weights: dict[str, np.ndarray], threads: int) -> None:
        import cellgate

        cellgate.set_num_threads(threads)
        shape = self.row.shape
        self.lstm = cellgate.LSTM(shape.I, shape.H, shape.L, bidirectional=shape.D == 2, seed=0)
        self.lstm.load_state_dict(weights)
        if self.row.training:
            self.call = self._training(weights)
        elif self.row.streaming:
            self.stream = self.lstm.stream(shape.B)
            step = self.stream.step
            out = np.empty((shape.B, shape.H), np.float32)
            self.call = step if self.variant == "step(x)" else lambda x: step(x, out=out)
        elif shape.shortest:
            lstm, lengths = self.lstm, shape.lengths()
            self.call = lambda x: lstm(x, lengths=lengths)
        else:
            self.call = self.lstm

    def _training(self, weights: dict[str, np.ndarray]) -> Any:
        shape = self.row.shape
        d_y, lengths = shape.output_gradient(), shape.lengths() if shape.shortest else None

        def train(x: np.ndarray) -> Any:
            self.lstm.load_state_dict(weights)  # as after every step of an optimiser
            tape = self.lstm.record(x, lengths=lengths)
            return tape.output, tape.backward(d_y, input_gradient=False).parameters

        return train

    def reset(self) -> None:
        if self.row.streaming:
            self.stream.reset()

    def array(self, result: Any) -> np.ndarray:
        if self.row.training:
            return flat(result[0], result[1].values())
        return np.array(result if self.row.streaming else result[0])


LIBRARIES: dict[str, type[Rival]] = {
    rival.library: rival
    for rival in (Cellgate, CellgateTorch, OnnxRuntime, OpenVino, Torch, Jax, Keras)
}
OURS = ("cellgate.torch", "cellgate")


def missing(library: str) -> list[str]:
    """The packages that `library` needs and that are not installed."""
    packages = LIBRARIES[library].packages
    return [name for name in packages if importlib.util.find_spec(name) is None]


def able(libraries: list[str], row: Row) -> list[str]:
    """Those of `libraries` that can do the row."""
    return [name for name in libraries if LIBRARIES[name].variants(row)]


def all_cores() -> int:
    """CPUs that this process may run on."""
    return len(os.sched_getaffinity(0))


def limit_threads(threads: int) -> None:
    """To be called before any rival is imported: some read these only then."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC"):
        os.environ[name] = str(threads)  # NPROC: XLA's threads
    if threads == 1:
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
