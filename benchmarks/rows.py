"""What is measured, as data. Used by compare.py and by the pytest-benchmark suites."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Shape:
    """Sizes of one measurement, in the symbols of the design: T B I H L D."""

    name: str
    T: int
    B: int
    I: int  # noqa: E741
    H: int
    L: int = 1
    D: int = 1
    shortest: int = 0  # of sequences whose lengths are uniform in [shortest, T]; 0: all have T

    @property
    def flops(self) -> int:
        """Floating-point operations of one call: a multiply and an add for each weight used."""
        inputs = self.I + (self.L - 1) * self.D * self.H  # summed over layers
        return 2 * int(self.lengths().sum()) * self.D * 4 * self.H * (inputs + self.L * self.H)

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
            input_size = self.I if layer == 0 else self.D * self.H
            for suffix in ("", "_reverse")[: self.D]:
                for name, shape in (
                    ("weight_ih", (4 * self.H, input_size)),
                    ("weight_hh", (4 * self.H, self.H)),
                    ("bias_ih", (4 * self.H,)),
                    ("bias_hh", (4 * self.H,)),
                ):
                    values = random.uniform(-bound, bound, shape).astype(np.float32)
                    weights[f"{name}_l{layer}{suffix}"] = values
        return weights

    def input(self) -> np.ndarray:
        """(T, B, I)"""
        random = np.random.default_rng(26)
        return random.standard_normal((self.T, self.B, self.I)).astype(np.float32)

    def output_gradient(self) -> np.ndarray:
        """(T, B, D*H), of a size that makes the parameters' gradients about 1; zero in padding."""
        random = np.random.default_rng(27)
        values = (
            random.standard_normal((self.T, self.B, self.D * self.H)) / self.lengths().sum() ** 0.5
        )
        values[np.arange(self.T)[:, None] >= self.lengths()] = 0.0
        return values.astype(np.float32)


@dataclass(frozen=True)
class Row:
    """One line of the table.

    A streaming row times one step that carries its state on (T is 1); a training row one call
    forward and backward, to the gradients of all parameters; another row one call over the whole
    sequence from the zero state. `required` says how many times as fast as the named library
    cellgate has to be.
    """

    shape: Shape
    streaming: bool = False
    training: bool = False
    required: dict[str, float] = field(default_factory=dict)


ROWS = (
    Row(Shape("step-B1-H128", 1, 1, 128, 128), streaming=True, required={"onnxruntime": 3.0}),
    Row(Shape("batch-B16-T25-H512", 25, 16, 512, 512), required={"onnxruntime": 1.0}),
    Row(Shape("batch-B64-T25-H1024", 25, 64, 1024, 1024), required={"onnxruntime": 1.0}),
    Row(Shape("batch-B32-T100-H64", 100, 32, 64, 64), required={"onnxruntime": 1.2}),
    Row(Shape("train-B32-T100-H64", 100, 32, 64, 64), training=True, required={"torch": 1.15}),
    Row(Shape("train-B256-T30-H32", 30, 256, 8, 32), training=True, required={"torch": 1.5}),
    Row(Shape("train-B16-T25-H512", 25, 16, 512, 512), training=True, required={"torch": 1.05}),
    Row(Shape("train-B64-T25-H1024", 25, 64, 1024, 1024), training=True, required={"torch": 1.0}),
    Row(
        Shape("train-ragged-B32-H64", 1000, 32, 64, 64, shortest=10),
        training=True,
        required={"torch": 5.0},
    ),
)
