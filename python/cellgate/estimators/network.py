"""An LSTM with a linear head in training, and the `cellgate.Network` of its weights.

Called by training.py, and by base.py and forecast.py, which define the meaning of the output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..linear import Linear
from ..lstm import LSTM
from ..network import Network as Deployed
from ..optim import clip_grad_norm

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal, TypeAlias

    from numpy.typing import NDArray

    from ..optim import Adam
    from ..weights import Float, State

    Readout: TypeAlias = Literal["step", "last", "mean"]
    # The output of the head -> the loss, and its derivative with respect to it.
    Loss: TypeAlias = Callable[[Float], tuple[float, Float]]


class Batch(NamedTuple):
    """The sequences of one training step."""

    x: Float  # (T, B, I)
    lengths: NDArray[np.int64] | None  # (B,)
    loss: Loss


class Network:
    """LSTM and head. With D directions the head reads D*H values z and gives W z + b.

    z is, by `readout`, the output at every step ("step"), the state after the last valid step
    ("last": in the reverse direction, after the first), or the mean of the valid outputs ("mean").
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        readout: Readout,
        *,
        hidden_size: int,
        num_layers: int,
        bidirectional: bool,
        dropout: float,
        dtype: str,
        seed: int,
    ) -> None:
        """Draw the weights; b_ih of the forget gates starts 1 higher, and the head at zero.

        The forget bias lets a new network remember (Jozefowicz, Zaremba & Sutskever 2015).
        """
        self.readout = readout
        self.lstm = LSTM(
            input_size,
            hidden_size,
            num_layers,
            bidirectional=bidirectional,
            dropout=dropout,
            dtype=dtype,
            seed=seed,
        )
        width = hidden_size * (2 if bidirectional else 1)
        # The arrays that Adam changes in place; names of the LSTM's parameters have no dot.
        self.weights: dict[str, Any] = {
            **self.lstm.state_dict(),
            "head.weight": np.zeros((output_size, width), self.lstm.dtype),
            "head.bias": np.zeros(output_size, self.lstm.dtype),
        }
        for name, array in self.weights.items():
            if name.startswith("bias_ih"):
                array[hidden_size : 2 * hidden_size] += 1
        self._load()

    def __call__(self, x: Float, lengths: NDArray[np.int64] | None = None) -> Float:
        """(T, B, I) -> (T, B, K) with the readout "step", else (B, K)."""
        return self.deployed()(x, lengths=lengths)[0]

    def deployed(
        self, *, scale: Any = 1.0, shift: Any = 0.0, activation: str = "linear", **parts: Any
    ) -> Deployed:
        """What predicts, with the weights as they are now.

        Each output is multiplied by `scale` and raised by `shift` in the weights of the head; other
        arguments are those of `cellgate.Network`.
        """
        dtype, scales = self.lstm.dtype, np.atleast_1d(np.asarray(scale, np.float64))
        head = Linear(
            (self.weights["head.weight"] * scales[:, None]).astype(dtype),
            (self.weights["head.bias"] * scales + shift).astype(dtype),
            activation,
        )
        pooling = None if self.readout == "step" else self.readout
        return Deployed(self.lstm, head, pooling=pooling, **parts)

    def learn(self, batch: Batch, adam: Adam, clip_norm: float, seed: int) -> float:
        """One step of training; the loss before it. Skipped if a gradient is not finite."""
        tape = self.lstm.record(batch.x, lengths=batch.lengths, seed=seed)
        z = self._read(tape.output, tape.state, batch.lengths)
        loss, d_out = batch.loss(z @ self.weights["head.weight"].T + self.weights["head.bias"])
        flat = d_out.reshape(-1, d_out.shape[-1])
        d_output, d_state = self._unread(
            d_out @ self.weights["head.weight"], tape.output.shape[0], batch.lengths
        )
        grads: dict[str, Any] = tape.backward(d_output, d_state, input_gradient=False).parameters
        grads["head.weight"] = flat.T @ z.reshape(len(flat), -1)
        grads["head.bias"] = flat.sum(axis=0)
        if np.isfinite(clip_grad_norm(grads, clip_norm)):
            adam.step(grads)
            self._load()
        return loss

    def snapshot(self) -> dict[str, Any]:
        """A copy of all weights, for `restore`."""
        return {name: array.copy() for name, array in self.weights.items()}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Go back to a snapshot, in place: Adam refers to these arrays."""
        for name, array in self.weights.items():
            array[...] = snapshot[name]
        self._load()

    def _load(self) -> None:
        names = (name for name in self.weights if "." not in name)
        self.lstm.load_state_dict({name: self.weights[name] for name in names})

    def _read(self, y: Float, state: State, lengths: NDArray[np.int64] | None) -> Float:
        if self.readout == "step":
            return y
        z: Any
        if self.readout == "mean":  # y is zero in padding
            z = y.sum(axis=0) / self._counts(y.shape[0], lengths)
        else:
            last = state[0][-2 if self.lstm.bidirectional else -1 :]  # (D, B, H)
            z = last.swapaxes(0, 1).reshape(last.shape[1], -1)
        result: Float = z
        return result

    def _unread(
        self, d_z: Float, steps: int, lengths: NDArray[np.int64] | None
    ) -> tuple[Float | None, Any]:
        """Derivatives with respect to output and state, from those with respect to z."""
        if self.readout == "step":
            return d_z, None
        if self.readout == "mean":
            shape = (steps, *d_z.shape)
            return np.broadcast_to(d_z / self._counts(steps, lengths), shape), None
        directions = 2 if self.lstm.bidirectional else 1
        d_last = d_z.reshape(len(d_z), directions, -1).swapaxes(0, 1)
        shape = (self.lstm.num_layers * directions, *d_last.shape[1:])
        d_h = np.zeros(shape, d_z.dtype)
        d_h[-directions:] = d_last
        return None, (d_h, None)

    def _counts(self, steps: int, lengths: NDArray[np.int64] | None) -> Any:
        if lengths is None:
            return self.lstm.dtype.type(steps)
        return lengths[:, None].astype(self.lstm.dtype)
