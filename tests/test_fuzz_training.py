"""Thousands of arbitrary arguments to record and backward: each call works, or raises TypeError or
ValueError and leaves tape and accumulators as they were. A crash ends the run."""

from __future__ import annotations

import contextlib
from typing import Any

import cellgate
import numpy as np
from cases import digest, examples, make_case, make_training
from hypothesis import given
from hypothesis import strategies as st
from test_fuzz import anything, wrong

many = examples(1000)

lstm = cellgate.LSTM(5, 7, 2, dropout=0.3, seed=1)
training = make_training(make_case(lstm, 2, 3, seed=2), 3)
weights = lstm.state_dict()


@many
@given(st.data())
def test_anything_to_backward(data: st.DataObject) -> None:
    tape = training.record()
    sums = {name: array.copy() for name, array in weights.items()}
    before = digest(sums)
    arguments: dict[str, Any] = {
        "d_output": training.d_output,
        "d_state": training.d_state,
        "d_cells": training.d_cells,
        "accumulate": sums,
    }
    for name in data.draw(st.sets(st.sampled_from([*arguments]), min_size=1, max_size=2)):
        if name == "accumulate":
            entry = data.draw(st.sampled_from([*sums]))
            given = data.draw(wrong(weights[entry].copy()))
            arguments[name] = data.draw(st.sampled_from([{**sums, entry: given}, given]))
        else:
            arguments[name] = data.draw(wrong(arguments[name]), name)
    try:
        tape.backward(**arguments)
    except (TypeError, ValueError):
        assert digest(sums) == before
        training.backward(tape)


@many
@given(st.data())
def test_anything_to_record(data: st.DataObject) -> None:
    case = training.case
    arguments: dict[str, Any] = {
        "x": case.x,
        "state": case.state,
        "lengths": np.array([2, 0, 1]),
        "reset": np.ones((2, 3), bool),
    }
    for name in data.draw(st.sets(st.sampled_from([*arguments]), min_size=1, max_size=2)):
        arguments[name] = data.draw(wrong(arguments[name]), name)
    for name in data.draw(st.sets(st.sampled_from(["seed", "checkpoint"]))):
        arguments[name] = data.draw(anything)
    with contextlib.suppress(TypeError, ValueError):
        tape = lstm.record(**arguments)
        tape.backward(np.ones_like(tape.output))
