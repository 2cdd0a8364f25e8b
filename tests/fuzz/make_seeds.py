"""What the fuzzers start from: small files of every format that csrc/files reads, whole and cut
short, and bytes of which fuzz_run makes calls.

usage: python tests/fuzz/make_seeds.py FOLDER    (writes FOLDER/<format>/...)
"""

from __future__ import annotations

import itertools
import json
import struct
import sys
from pathlib import Path
from typing import Any


def matrix(rows: int, columns: int, start: float) -> list[list[float]]:
    return [[start + 0.25 * (i * columns + k) for k in range(columns)] for i in range(rows)]


def rtneural(inputs: int, hidden: int, layers: int, **more: Any) -> bytes:
    sizes = [inputs] + [hidden] * layers
    stack = [
        {
            "type": "lstm",
            "activation": "",
            "shape": [None, None, hidden],
            "weights": [
                matrix(sizes[k], 4 * hidden, 0.5),
                matrix(hidden, 4 * hidden, -1),
                matrix(1, 4 * hidden, 0)[0],
            ],
        }
        for k in range(layers)
    ]
    dense = {
        "type": "dense",
        "activation": "tanh",
        "shape": [None, None, 1],
        "weights": [matrix(hidden, 1, 0), [1]],
    }
    return json.dumps(
        {"in_shape": [None, None, inputs], "layers": [*stack, dense], **more}
    ).encode()


def proteus(inputs: int, hidden: int, layers: int, skip: int) -> bytes:
    state: dict[str, Any] = {"lin.weight": matrix(1, hidden, 0), "lin.bias": [0.5]}
    for k in range(layers):
        state[f"rec.weight_ih_l{k}"] = matrix(4 * hidden, hidden if k else inputs, 0.5)
        state[f"rec.weight_hh_l{k}"] = matrix(4 * hidden, hidden, -1)
        state[f"rec.bias_ih_l{k}"] = matrix(1, 4 * hidden, 0)[0]
        state[f"rec.bias_hh_l{k}"] = matrix(1, 4 * hidden, 1)[0]
    data = {
        "model": "SimpleRNN",
        "input_size": inputs,
        "skip": skip,
        "output_size": 1,
        "unit_type": "LSTM",
        "num_layers": layers,
        "hidden_size": hidden,
        "bias_fl": True,
    }
    return json.dumps({"model_data": data, "state_dict": state}).encode()


def nam(inputs: int, hidden: int, layers: int, **more: Any) -> bytes:
    count = hidden + 1
    for k in range(layers):
        count += 4 * hidden * ((hidden if k else inputs) + hidden) + 6 * hidden
    config = {"input_size": inputs, "hidden_size": hidden, "num_layers": layers}
    return json.dumps(
        {
            "version": "0.5.4",
            "architecture": "LSTM",
            "config": config,
            "weights": matrix(1, count, -2)[0],
            **more,
        }
    ).encode()


def safetensors(config: dict[str, Any], shapes: dict[str, list[int]], dtype: str = "F32") -> bytes:
    header: dict[str, Any] = {
        "__metadata__": {"cellgate": json.dumps({"format_version": 1, **config})}
    }
    size = {"F16": 2, "F32": 4, "F64": 8}[dtype]
    begin = 0
    for name, shape in sorted(shapes.items()):
        count = 1
        for axis in shape:
            count *= axis
        header[name] = {
            "dtype": dtype,
            "shape": shape,
            "data_offsets": [begin, begin + size * count],
        }
        begin += size * count
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(k % 50 for k in range(begin))


def seeds() -> dict[str, list[bytes]]:
    lstm = {
        "weight_ih_l0": [4, 1],
        "weight_hh_l0": [4, 1],
        "bias_ih_l0": [4],
        "bias_hh_l0": [4],
    }
    parts = {
        "head.weight": [1, 1],
        "head.bias": [1],
        "input_mean": [1],
        "input_scale": [1],
        "initial_h": [1, 1],
        "initial_c": [1, 1],
        "selftest_input": [2, 1],
        "selftest_output": [2, 1],
    }
    sizes = {"input_size": 1, "hidden_size": 1}
    network = {
        "activation": "sigmoid",
        "pooling": "none",
        "skip": 0.5,
        "input_gain": 2,
        "output_gain": 0.5,
        "sample_rate": 48000,
        "selftest_gains": False,
        "metadata": {"name": "x"},
    }
    wide = {"weight_ih_l0": [8, 1], "weight_hh_l0": [8, 1], "weight_hr_l0": [1, 2]}
    wide |= {f"{name}_reverse": shape for name, shape in wide.items()}
    aida = {
        "in_skip": 1,
        "in_gain": -3,
        "out_gain": 2,
        "metadata": {"samplerate": "44100", "name": "x"},
        "input_batch": [0.5, -0.5],
        "output_batch": [0.25, 1e-3],
    }
    return {
        "safetensors": [
            safetensors(sizes, lstm),
            safetensors({**sizes, "dtype": "float64"}, lstm, "F64"),
            safetensors({**sizes, "network": network}, {**lstm, **parts}),
            safetensors({**sizes, "network": {"pooling": "last"}}, lstm, "F16"),
            safetensors(
                {
                    "input_size": 1,
                    "hidden_size": 2,
                    "proj_size": 1,
                    "bias": False,
                    "bidirectional": True,
                },
                wide,
            ),
        ],
        "rtneural": [rtneural(1, 1, 1), rtneural(2, 2, 2), rtneural(1, 1, 1, **aida)],
        "proteus": [proteus(1, 1, 1, 1), proteus(2, 2, 2, 0)],
        "nam": [nam(1, 1, 1), nam(2, 2, 2, sample_rate=44100, metadata={"loudness": -20.5})],
    }


def truncations(content: bytes) -> list[bytes]:
    """Its first eighth, quarter, half, and all but the last byte."""
    return [content[: len(content) // part] for part in (8, 4, 2)] + [content[:-1]]


def calls() -> list[bytes]:
    """Of fuzz_run: each byte is an argument; the values run through all small ones."""
    return [
        bytes((start + step * k) % 251 for k in range(96))
        for start in range(8)
        for step in (1, 3, 7)
    ]


def main() -> None:
    folder = Path(sys.argv[1])
    files = seeds()
    files["auto"] = [*itertools.chain.from_iterable(files.values())]
    files = {
        name: [*contents, *itertools.chain.from_iterable(map(truncations, contents))]
        for name, contents in files.items()
    }
    files["run"] = calls()
    for name, contents in files.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for k, content in enumerate(contents):
            (folder / name / str(k)).write_bytes(content)


if __name__ == "__main__":
    main()
