"""Networks and calls of them that several tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import cellgate
import numpy as np
from cases import SIZES, Case, cases
from cellgate import reference
from cellgate.linear import ACTIVATIONS
from hypothesis import strategies as st

if TYPE_CHECKING:
    from numpy.typing import NDArray


def outputs_of(lstm: cellgate.LSTM) -> int:
    return (lstm.proj_size or lstm.hidden_size) * (2 if lstm.bidirectional else 1)


def initial_state_of(lstm: cellgate.LSTM, random: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    rows = lstm.num_layers * (2 if lstm.bidirectional else 1)
    widths = lstm.proj_size or lstm.hidden_size, lstm.hidden_size
    h, c = ((2 * random((rows, width)) - 1).astype(lstm.dtype) for width in widths)
    return h, c


def make_parts(lstm: cellgate.LSTM, seed: int, outputs: int = 3, **fixed: Any) -> dict[str, Any]:
    """Every part there is, the same on every machine; what is fixed as None is left out."""
    random = np.random.Generator(np.random.PCG64(seed)).random

    def values(low: float, high: float, *shape: int) -> NDArray[Any]:
        return (low + (high - low) * random(shape)).astype(lstm.dtype)

    features, inputs = outputs_of(lstm), lstm.input_size
    parts = {
        "head": cellgate.Linear(
            values(-1, 1, outputs, features) / lstm.dtype.type(features) ** 0.5,
            values(-1, 1, outputs),
            ACTIVATIONS[seed % len(ACTIVATIONS)],
        ),
        "input_mean": values(-1, 1, inputs),
        "input_scale": values(1, 2, inputs),
        "skip": 0.75,
        "input_gain": 0.625,
        "output_gain": 1.5,
        "initial_state": initial_state_of(lstm, random),
        **fixed,
    }
    if parts.get("pooling") or (outputs if parts["head"] else features) > inputs:
        parts.pop("skip")
    return {name: value for name, value in parts.items() if value is not None}


class NetworkCase(NamedTuple):
    """A network and one call of it."""

    network: cellgate.Network
    case: Case  # of its LSTM
    parts: dict[str, Any]

    def run(self, network: cellgate.Network | None = None) -> tuple[Any, Any]:
        case = self.case
        made = network or self.network
        return made(case.x, case.state, lengths=case.lengths, reset=case.reset)

    def reference(self) -> tuple[Any, Any]:
        case, parts = self.case, dict(self.parts)
        if head := parts.pop("head", None):
            parts["head"] = head.weight, head.bias, head.activation
        return reference.network(
            case.lstm.state_dict(),
            case.x,
            case.state,
            lengths=case.lengths,
            reset=case.reset,
            batch_first=case.lstm.batch_first,
            **parts,
        )


def network_case(case: Case, seed: int, outputs: int = 3, **fixed: Any) -> NetworkCase:
    parts = make_parts(case.lstm, seed, outputs, **fixed)
    if parts.get("pooling"):
        case = case._replace(reset=None)
    return NetworkCase(cellgate.Network(case.lstm, **parts), case, parts)


@st.composite
def network_cases(
    draw: st.DrawFn, dtype: str, *, ragged: bool = False, pooled: bool | None = None, **fixed: Any
) -> NetworkCase:
    """Any configuration, with any of the parts, and any call of it; `fixed` is of the LSTM."""
    case = draw(cases(dtype, ragged=ragged, **fixed))
    names = ("head", "input_mean", "input_scale", "skip", "input_gain", "output_gain")
    absent = draw(st.sets(st.sampled_from([*names, "initial_state"])))
    poolings = [None] if pooled is False else ["mean", "last"] + [None] * (pooled is None)
    return network_case(
        case,
        draw(st.integers(0, 999)),
        draw(st.sampled_from(SIZES)),
        pooling=draw(st.sampled_from(poolings)),
        **dict.fromkeys(absent),
    )
