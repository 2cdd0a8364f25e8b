"""A hash of the bits of a fixed family of cases; as a script, prints it with the active ISA.

Weights and inputs are the same on every machine, so every instruction set with a fused
multiply-add must print the same hashes, in any process, with any number of threads. After a
change that is meant to change results, write them anew:

    python tests/fingerprint.py > tests/fingerprint.json
"""

from __future__ import annotations

import json

import cellgate
import numpy as np
from cases import DTYPES, SIZES, digest, make_case
from cellgate import _core


def fingerprint() -> dict[str, str]:
    return {
        f"{name} {dtype}": digest([part(dtype)])
        for dtype in DTYPES
        for name, part in (("activations", activations), ("sizes", sizes), ("options", options))
    }


def activations(dtype: str) -> list[object]:
    limits = np.finfo(dtype)
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, limits.max, limits.min, limits.tiny, limits.eps]
    dense = np.arange(-(2**17), 2**17) / 1024.0  # exact: [-128, 128) by 1/1024
    near_zero = 2.0 ** -np.arange(0, 100)
    x = np.concatenate([dense, near_zero, -near_zero, special]).astype(dtype)
    return [_core._activation(name, x) for name in ("sigmoid", "tanh")]


def sizes(dtype: str) -> list[object]:
    results = []
    for k, (input_size, hidden_size) in enumerate(
        [*((i, h) for i in SIZES for h in SIZES), (300, 129), (70, 400)]
    ):
        lstm = cellgate.LSTM(input_size, hidden_size, dtype=dtype, seed=k)
        results.append(make_case(lstm, 9, 1 + k % 8, seed=k).run())
    return results


def options(dtype: str) -> list[object]:
    results = []
    for k in range(16):
        lstm = cellgate.LSTM(
            9,
            33,
            1 + k % 3,
            bias=bool(k & 1),
            bidirectional=bool(k & 2),
            batch_first=bool(k & 4),
            proj_size=17 if k & 8 else 0,
            dtype=dtype,
            seed=k,
        )
        case = make_case(
            lstm, 40, 11, seed=k, with_lengths=bool(k % 3), with_reset=bool(k % 5), with_state=k > 2
        )
        results.append(case.run())
    return results


if __name__ == "__main__":
    print(json.dumps({"isa": cellgate.active_isa(), **fingerprint()}, indent=2))
