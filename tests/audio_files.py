"""Model files of other programs, written from an LSTM and a head."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import cellgate


def _layers(lstm: cellgate.LSTM) -> list[dict[str, Any]]:
    weights = lstm.state_dict()
    return [
        {name: weights[f"{name}_l{k}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        for k in range(lstm.num_layers)
    ]


def rtneural(lstm: cellgate.LSTM, head: cellgate.Linear | None, **more: Any) -> dict[str, Any]:
    """RTNeural's and AIDA-X's: kernels transposed, one bias; more: in_skip, in_gain, ..."""
    shape = [None, None, lstm.hidden_size]
    layers: list[dict[str, Any]] = [
        {
            "type": "lstm",
            "activation": "",
            "shape": shape,
            "weights": [
                w["weight_ih"].T.tolist(),
                w["weight_hh"].T.tolist(),
                (w["bias_ih"] + w["bias_hh"]).tolist(),
            ],
        }
        for w in _layers(lstm)
    ]
    if head is not None:
        activation = "" if head.activation == "linear" else head.activation
        layers.append(
            {
                "type": "dense",
                "activation": activation,
                "shape": [None, None, len(head.weight)],
                "weights": [head.weight.T.tolist(), head.bias.tolist()],
            }
        )
    return {"in_shape": [None, None, lstm.input_size], "layers": layers, **more}


def proteus(lstm: cellgate.LSTM, head: cellgate.Linear, skip: int = 1) -> dict[str, Any]:
    """GuitarML's: PyTorch's names and layout."""
    state = {f"rec.{name}": array.tolist() for name, array in lstm.state_dict().items()}
    state["lin.weight"], state["lin.bias"] = head.weight.tolist(), head.bias.tolist()
    data = {
        "model": "SimpleRNN",
        "unit_type": "LSTM",
        "input_size": lstm.input_size,
        "hidden_size": lstm.hidden_size,
        "num_layers": lstm.num_layers,
        "output_size": len(head.weight),
        "skip": skip,
        "bias_fl": True,
    }
    return {"model_data": data, "state_dict": state}


def nam(
    lstm: cellgate.LSTM, head: cellgate.Linear, state: tuple[Any, Any], **more: Any
) -> dict[str, Any]:
    """Neural Amp Modeler's: all weights in one list, each layer with where it begins."""
    weights: list[float] = []
    for k, w in enumerate(_layers(lstm)):
        both = np.concatenate([w["weight_ih"], w["weight_hh"]], axis=1)
        for array in (both, w["bias_ih"] + w["bias_hh"], state[0][k], state[1][k]):
            weights += array.ravel().tolist()
    weights += head.weight.ravel().tolist() + head.bias.tolist()
    config = {
        "input_size": lstm.input_size,
        "hidden_size": lstm.hidden_size,
        "num_layers": lstm.num_layers,
    }
    document = {"version": "0.5.4", "architecture": "LSTM", "config": config, "weights": weights}
    return {**document, **more}


def text(document: Any) -> bytes:
    return json.dumps(document).encode()
