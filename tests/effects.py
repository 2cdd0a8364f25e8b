"""Networks with known weights, and their files in the formats of audio effects, written without
cellgate: what test_audio_formats and test_embed_examples read.

Sources of the formats are in csrc/files/{rtneural,proteus,nam}.cpp.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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
    layers: int = field(init=False)

    def __post_init__(self) -> None:
        self.layers = len(self.h0)

    @property
    def input_size(self) -> int:
        return self.weights["weight_ih_l0"].shape[1]

    @property
    def hidden_size(self) -> int:
        return self.weights["weight_hh_l0"].shape[1]

    def play(self, x: Array) -> NDArray[np.float64]:
        """(T, I) in, (T, O) out, in float64."""
        u = self.input_gain * x.astype(np.float64)
        h, _, _ = reference.forward(self.weights, u, (self.h0, self.c0))
        v = h @ self.head_weight.T.astype(np.float64) + self.head_bias
        return self.output_gain * (v + self.skip * u[:, : len(self.head_bias)])


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


def rtneural(effect: Effect, **more: Any) -> str:
    """Keras' transposition: kernels [I][4H] and [H][4H], the head [H][O]."""
    layers: list[dict[str, Any]] = []
    for layer in range(effect.layers):
        arrays = [
            effect.weights[f"weight_ih_l{layer}"].T.tolist(),
            effect.weights[f"weight_hh_l{layer}"].T.tolist(),
            effect.weights[f"bias_ih_l{layer}"].tolist(),
        ]
        shape = [None, None, effect.hidden_size]
        layers.append({"type": "lstm", "activation": "", "shape": shape, "weights": arrays})
    arrays = [effect.head_weight.T.tolist(), effect.head_bias.tolist()]
    shape = [None, None, len(effect.head_bias)]
    layers.append({"type": "dense", "activation": "", "shape": shape, "weights": arrays})
    content = {"in_shape": [None, None, effect.input_size], "layers": layers, **more}
    return json.dumps(content)


def aidax(effect: Effect, in_gain: float = 0.0, out_gain: float = 0.0, **more: Any) -> str:
    """With gains in dB, and the answer of the network to 2048 samples, without the gains."""
    batch = signal(2048)
    plain = Effect(
        effect.weights, effect.head_weight, effect.head_bias, effect.h0, effect.c0, effect.skip
    )
    return rtneural(
        effect,
        in_skip=int(effect.skip),
        in_gain=in_gain,
        out_gain=out_gain,
        samplerate="48000",
        input_batch=batch[:, 0].tolist(),
        output_batch=plain.play(batch)[:, 0].tolist(),
        **more,
    )


def proteus(effect: Effect) -> str:
    """PyTorch's own state, under the names that CoreAudioML gives its modules."""
    state = {f"rec.{name}": array.tolist() for name, array in effect.weights.items()}
    state |= {"lin.weight": effect.head_weight.tolist(), "lin.bias": effect.head_bias.tolist()}
    data = {
        "model": "SimpleRNN",
        "input_size": effect.input_size,
        "skip": int(effect.skip),
        "output_size": len(effect.head_bias),
        "unit_type": "LSTM",
        "num_layers": effect.layers,
        "hidden_size": effect.hidden_size,
        "bias_fl": True,
    }
    return json.dumps({"model_data": data, "state_dict": state})


def nam(effect: Effect, **more: Any) -> str:
    """One flat list: per layer [W R], the bias, h and c before the first step; then the head."""
    flat: list[Array] = []
    for layer in range(effect.layers):
        both = (effect.weights[f"weight_ih_l{layer}"], effect.weights[f"weight_hh_l{layer}"])
        flat += [np.concatenate(both, axis=1), effect.weights[f"bias_ih_l{layer}"]]
        flat += [effect.h0[layer], effect.c0[layer]]
    flat += [effect.head_weight, effect.head_bias]
    config = {
        "input_size": effect.input_size,
        "hidden_size": effect.hidden_size,
        "num_layers": effect.layers,
    }
    weights = np.concatenate([array.ravel() for array in flat]).tolist()
    content = {"version": "0.5.4", "architecture": "LSTM", "config": config, "weights": weights}
    return json.dumps({**content, **more})
