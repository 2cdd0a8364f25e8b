"""The adapter for Keras, on JAX or PyTorch. Listed in rivals.py."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import numpy as np

from .rival import Rival, ends
from .rows import Row


def backend() -> str:
    """The one asked for by KERAS_BACKEND, else the faster of those that are installed."""
    installed = [name for name in ("jax", "torch") if importlib.util.find_spec(name)]
    return os.environ.get("KERAS_BACKEND") or (installed or ["none"])[0]


class Keras(Rival):
    """keras.layers.LSTM in a functional model; a step is a sequence of one, with its state.

    `predict_on_batch` is what Keras offers; on JAX `stateless_call, jit` jits the model itself,
    on PyTorch `model(x)` leaves predict's work out.
    """

    library = "keras"
    packages = ("keras",)

    @staticmethod
    def variants(row: Row) -> tuple[str, ...]:
        if row.training or row.shape.shortest or backend() not in ("jax", "torch"):
            return ()
        own = "stateless_call, jit" if backend() == "jax" else "model(x)"
        return ("predict_on_batch", own)

    def build(self, weights: dict[str, np.ndarray], threads: int) -> None:
        os.environ["KERAS_BACKEND"] = backend()  # read when it is first imported
        import keras

        self.model = model = self._model(keras, weights)
        if self.variant == "predict_on_batch":
            run = model.predict_on_batch
        elif backend() == "torch":
            run = self._eager()
        else:
            run = self._jitted()
        self.call = run
        if self.row.streaming:
            self.reset()

            def step(x: np.ndarray) -> Any:
                y, *self.state = run([x, *self.state])
                return y

            self.call = step

    def _model(self, keras: Any, weights: dict[str, np.ndarray]) -> Any:
        shape, streaming = self.row.shape, self.row.streaming
        x = first = keras.Input((shape.T, shape.I), batch_size=shape.B)
        states = [keras.Input((shape.H,), batch_size=shape.B) for _ in "hc"] if streaming else []
        for layer in range(shape.L):
            lstm = keras.layers.LSTM(shape.H, return_sequences=True, return_state=streaming)
            if shape.D == 2:
                lstm = keras.layers.Bidirectional(lstm)
            x = lstm(x, initial_state=states) if streaming else lstm(x)
            lstm.set_weights(
                [
                    values
                    for end in ends(self.row, layer)
                    for values in (
                        weights["weight_ih" + end].T,
                        weights["weight_hh" + end].T,
                        weights["bias_ih" + end] + weights["bias_hh" + end],
                    )
                ]
            )
        return keras.Model([first, *states] if streaming else first, x)

    def _eager(self) -> Any:
        import torch

        model = self.model

        @torch.inference_mode()
        def run(x: Any) -> Any:
            return model(torch.from_numpy(x), training=False)

        @torch.inference_mode()
        def run_step(x: list[Any]) -> Any:
            return model([torch.as_tensor(values) for values in x], training=False)

        return run_step if self.row.streaming else run

    def _jitted(self) -> Any:
        import jax

        model = self.model
        trainable = [variable.value for variable in model.trainable_variables]
        others = [variable.value for variable in model.non_trainable_variables]
        jitted = jax.jit(lambda t, n, x: model.stateless_call(t, n, x, training=False)[0])
        return lambda x: jax.block_until_ready(jitted(trainable, others, x))

    def reset(self) -> None:
        if self.row.streaming:
            zero = np.zeros((self.row.shape.B, self.row.shape.H), np.float32)
            self.state = [zero, zero]

    def argument(self, x: np.ndarray) -> Any:
        return x[:, None] if self.row.streaming else np.ascontiguousarray(x.swapaxes(0, 1))

    def array(self, result: Any) -> np.ndarray:
        if hasattr(result, "detach"):
            result = result.detach().cpu().numpy()
        y = np.array(result)
        return y[:, 0] if self.row.streaming else y.swapaxes(0, 1)
