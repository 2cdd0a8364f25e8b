"""One line of a table: what is computed, on which numbers. The lines themselves: suites.py."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Shape:
    """Sizes of one measurement, in the symbols of the design: T B I H L D."""

    T: int
    B: int
    I: int  # noqa: E741
    H: int
    L: int = 1
    D: int = 1
    shortest: int = 0  # of sequences whose lengths are uniform in [shortest, T]; 0: all have T

    @property
    def name(self) -> str:
        name = f"T{self.T}-B{self.B}-I{self.I}-H{self.H}"
        return name + f"-L{self.L}" * (self.L > 1) + f"-D{self.D}" * (self.D > 1)

    def inputs(self, layer: int) -> int:
        """Values that `layer` reads at each step."""
        return self.I if layer == 0 else self.D * self.H

    def flops(self, training: bool = False) -> int:
        """Floating-point operations of one call: a multiply and an add for each weight used.

        Going back, weights are used again: R for the gradient of h, W and R for their own, W for
        the gradient of the input, which the first layer leaves out.
        """
        weights = 0
        for layer in range(self.L):
            w, r = 4 * self.H * self.inputs(layer), 4 * self.H * self.H
            weights += (w + r + r + (w + r) + (w if layer else 0)) if training else (w + r)
        return 2 * int(self.lengths().sum()) * self.D * weights

    def lengths(self) -> np.ndarray:
        """(B,), in no order."""
        if not self.shortest:
            return np.full(self.B, self.T)
        return np.random.default_rng(7).integers(self.shortest, self.T + 1, self.B)

    def weights(self) -> dict[str, np.ndarray]:
        """PyTorch's names, shapes and distribution; the same numbers every time."""
        random = np.random.default_rng(20)
        bound = self.H**-0.5
        weights = {}
        for layer in range(self.L):
            for suffix in ("", "_reverse")[: self.D]:
                for name, shape in (
                    ("weight_ih", (4 * self.H, self.inputs(layer))),
                    ("weight_hh", (4 * self.H, self.H)),
                    ("bias_ih", (4 * self.H,)),
                    ("bias_hh", (4 * self.H,)),
                ):
                    values = 2 * bound * random.random(shape, np.float32) - np.float32(bound)
                    weights[f"{name}_l{layer}{suffix}"] = values.astype(np.float32)
        return weights

    def input(self) -> np.ndarray:
        """(T, B, I); zero in padding."""
        random = np.random.default_rng(26)
        values = random.standard_normal((self.T, self.B, self.I), np.float32)
        values[self.padding()] = 0.0
        return values

    def output_gradient(self) -> np.ndarray:
        """(T, B, D*H), of a size that makes the parameters' gradients about 1; zero in padding."""
        random = np.random.default_rng(27)
        values = random.standard_normal((self.T, self.B, self.D * self.H), np.float32)
        values /= np.float32(self.lengths().sum() ** 0.5)
        values[self.padding()] = 0.0
        return values

    def padding(self) -> np.ndarray:
        """(T, B) of bool."""
        return np.arange(self.T)[:, None] >= self.lengths()


@dataclass(frozen=True)
class Row:
    """One line of the table, and what it has to show.

    A streaming row times one step that carries its state on (T is 1); a training row one call
    forward and backward, to the gradients of all parameters; another row one call over whole
    sequences from the zero state.
    """

    suite: str
    shape: Shape
    streaming: bool = False
    training: bool = False
    # The rival's time over ours, with one thread and on all cores; None: nothing is required.
    required: tuple[float | None, float | None] = (None, None)
    # The machine's limit over our time, likewise.
    of_limit: tuple[float | None, float | None] = (None, None)

    @property
    def name(self) -> str:
        if self.streaming:
            return f"{self.suite}/H{self.shape.H}"
        if self.shape.shortest:
            return f"{self.suite}/{'train' if self.training else 'forward'}-{self.shape.name}"
        return f"{self.suite}/{self.shape.name}"

    @property
    def short(self) -> bool:
        """Whether it takes so little that `pytest benchmarks` has it."""
        return self.shape.H <= 1024 and self.shape.flops(self.training) < 5e9
