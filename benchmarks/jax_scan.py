"""The adapter for JAX: a jitted lax.scan over the equations. Listed in rivals.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from .rival import Rival, ends
from .rows import Row


class Jax(Rival):
    """JAX has no LSTM of its own: W x of all steps as one product, then the scan.

    Threads: limit_threads in rivals.py, before JAX is imported.
    """

    library = "jax"
    packages = ("jax",)

    @staticmethod
    def variants(row: Row) -> tuple[str, ...]:
        return () if row.training or row.shape.shortest else ("jit",)

    def build(self, weights: dict[str, np.ndarray], threads: int) -> None:
        import jax

        self.jax, row = jax, self.row
        layers = [
            [
                tuple(
                    jax.numpy.asarray(values)
                    for values in (
                        np.ascontiguousarray(weights["weight_ih" + end].T),
                        np.ascontiguousarray(weights["weight_hh" + end].T),
                        weights["bias_ih" + end] + weights["bias_hh" + end],
                    )
                )
                for end in ends(row, layer)
            ]
            for layer in range(row.shape.L)
        ]
        if row.streaming:
            ((parameters,),) = layers
            step = jax.jit(self._step)
            self.reset()

            def call(x: Any) -> Any:
                self.state, y = step(parameters, self.state, x)
                return y.block_until_ready()

            self.call = call
        else:
            whole = jax.jit(self._layers)
            self.call = lambda x: whole(layers, x).block_until_ready()

    def _step(self, parameters: Any, state: Any, x: Any) -> Any:
        w, r, b = parameters
        return self._cell(r, state, x @ w + b)

    def _cell(self, r: Any, state: Any, of_x: Any) -> Any:
        """The state after a step, and its output; `of_x` is W x + b."""
        numpy, sigmoid = self.jax.numpy, self.jax.nn.sigmoid
        h, c = state
        i, f, g, o = numpy.split(of_x + h @ r, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * numpy.tanh(g)
        h = sigmoid(o) * numpy.tanh(c)
        return (h, c), h

    def _layers(self, layers: Any, x: Any) -> Any:
        jax, shape = self.jax, self.row.shape
        zero = jax.numpy.zeros((shape.B, shape.H), jax.numpy.float32)
        for directions in layers:
            ys = []
            for backward, (w, r, b) in enumerate(directions):

                def step(state: Any, of_x: Any, r: Any = r) -> Any:
                    return self._cell(r, state, of_x)

                ys.append(jax.lax.scan(step, (zero, zero), x @ w + b, reverse=backward == 1)[1])
            x = jax.numpy.concatenate(ys, axis=-1)
        return x

    def reset(self) -> None:
        if self.row.streaming:
            zero = self.jax.numpy.zeros((self.row.shape.B, self.row.shape.H), "float32")
            self.state = (zero, zero)

    def argument(self, x: np.ndarray) -> Any:
        # A step's input arrives as an array; JAX takes it in within the call.
        return x if self.row.streaming else self.jax.numpy.asarray(x)
