"""Audio effects with known weights, and their files: for test_audio_formats and
test_embed_examples."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import audio_files
import cellgate
import numpy as np
from cellgate import reference

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]


@dataclass
class Effect:
    """An LSTM with I inputs, and a linear head with O outputs, in PyTorch's layout, float32."""

    weights: dict[str, Array]  # weight_ih_l0 and so on; of the biases bias_ih alone is not 0
    head_weight: Array  # (O, H)
    head_bias: Array  # (O,)
    h0: Array  # (L, H)
    c0: Array  # (L, H)
    skip: float = 0.0
    input_gain: float = 1.0
    output_gain: float = 1.0

    def play(self, x: Array, *, gains: bool = True) -> NDArray[np.float64]:
        """(T, I) in, (T, O) out, in float64."""
        u = (self.input_gain if gains else 1.0) * x.astype(np.float64)
        h, _, _ = reference.forward(self.weights, u, (self.h0, self.c0))
        v = h @ self.head_weight.T.astype(np.float64) + self.head_bias
        y = v + self.skip * u[:, : len(self.head_bias)]
        return (self.output_gain if gains else 1.0) * y

    def parts(self) -> tuple[cellgate.LSTM, cellgate.Linear]:
        layers, hidden = self.h0.shape
        lstm = cellgate.LSTM(self.weights["weight_ih_l0"].shape[1], hidden, num_layers=layers)
        lstm.load_state_dict(self.weights)
        return lstm, cellgate.Linear(self.head_weight, self.head_bias)

    def rtneural(self) -> str:
        return json.dumps(audio_files.rtneural(*self.parts()))

    def aidax(self, in_gain: float = 0.0, out_gain: float = 0.0, **more: Any) -> str:
        """With gains in dB, and what the network answers, without the gains, to 2048 samples."""
        batch = signal(2048)
        answer = self.play(batch, gains=False)
        content = audio_files.rtneural(
            *self.parts(),
            in_skip=int(self.skip),
            in_gain=in_gain,
            out_gain=out_gain,
            samplerate="48000",
            input_batch=batch[:, 0].tolist(),
            output_batch=answer[:, 0].tolist(),
            **more,
        )
        return json.dumps(content)

    def proteus(self) -> str:
        return json.dumps(audio_files.proteus(*self.parts(), skip=int(self.skip)))

    def nam(self) -> str:
        return json.dumps(audio_files.nam(*self.parts(), (self.h0, self.c0)))


def make_effect(
    hidden: int, layers: int = 1, inputs: int = 1, outputs: int = 1, *, begins: bool = False
) -> Effect:
    random = np.random.default_rng(1000 * hidden + 10 * layers + inputs)
    scale = 1 / np.sqrt(hidden)

    def draw(*shape: int) -> Array:
        return random.uniform(-scale, scale, shape).astype(np.float32)

    weights: dict[str, Array] = {}
    for layer in range(layers):
        width = inputs if layer == 0 else hidden
        weights[f"weight_ih_l{layer}"] = draw(4 * hidden, width)
        weights[f"weight_hh_l{layer}"] = draw(4 * hidden, hidden)
        weights[f"bias_ih_l{layer}"] = draw(4 * hidden)
        weights[f"bias_hh_l{layer}"] = np.zeros(4 * hidden, np.float32)
    state = np.zeros((2, layers, hidden), np.float32)
    if begins:
        state[:] = draw(2, layers, hidden)
    return Effect(weights, draw(outputs, hidden), draw(outputs), state[0], state[1])


def signal(steps: int, inputs: int = 1) -> Array:
    """Notes that fade, then silence, then noise; all of it between -1 and 1."""
    t = np.arange(steps)[:, None] / 48000.0
    noise = np.random.default_rng(5).uniform(-0.5, 0.5, (steps, inputs))
    tone = 0.9 * np.exp(-20 * t) * np.sin(2 * np.pi * 220.0 * (1 + np.arange(inputs)) * t)
    parts = np.arange(steps)[:, None] * 3 // steps
    return np.where(parts == 0, tone, np.where(parts == 1, 0.0, noise)).astype(np.float32)
