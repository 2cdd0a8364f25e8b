"""Gradients at the edges: nothing to run, padding, layouts, values that are not finite."""

from __future__ import annotations

import cellgate
import numpy as np
import pytest
from cases import (
    DTYPES,
    Training,
    assert_gradients_within,
    assert_same_bits,
    big_training,
    flat,
    make_case,
    make_training,
)
from tolerances import assert_within

both = pytest.mark.parametrize("dtype", DTYPES)


class TestEdges:
    @both
    @pytest.mark.parametrize("checkpoint", [None, 1, 3])
    @pytest.mark.parametrize(("steps", "batch"), [(0, 3), (4, 0), (0, 0), (0, None)])
    def test_nothing_to_run(
        self, steps: int, batch: int | None, checkpoint: int | None, dtype: str
    ) -> None:
        lstm = cellgate.LSTM(5, 7, 2, bidirectional=True, proj_size=3, dtype=dtype, seed=1)
        training = make_training(make_case(lstm, steps, batch, 2), 3)
        grads = training.gradients(checkpoint=checkpoint)
        assert_same_bits(grads.state, training.d_state)
        assert grads.input.shape == training.case.x.shape
        assert not any(array.any() for array in grads.parameters.values())

    @both
    def test_lengths_of_zero(self, dtype: str) -> None:
        lstm = cellgate.LSTM(5, 7, 2, bidirectional=True, dtype=dtype, seed=1)
        case = make_case(lstm, 4, 3, seed=2)
        some = make_training(case._replace(lengths=np.array([0, 3, 0])), 3)
        grads = some.gradients()
        assert_gradients_within(f"gradients {dtype}", grads, some.reference())
        assert not grads.input[:, [0, 2]].any()
        assert_same_bits([d[:, [0, 2]] for d in grads.state], [d[:, [0, 2]] for d in some.d_state])
        none = make_training(case._replace(lengths=np.zeros(3, int)), 3).gradients()
        assert not none.input.any()
        assert not any(array.any() for array in none.parameters.values())

    def test_padding_is_neither_read_nor_given_a_gradient(self) -> None:
        training = big_training()
        case = training.case
        wanted = training.gradients()
        x, d_output, d_cells = (a.copy() for a in (case.x, training.d_output, training.d_cells))
        padding = np.arange(len(x))[:, None] >= case.lengths
        for array in (x, d_output, d_cells):
            array[padding] = np.nan
        poisoned = Training(case._replace(x=x), d_output, training.d_state, d_cells, training.seed)
        for checkpoint in (None, 5):
            assert_same_bits(poisoned.gradients(checkpoint=checkpoint), wanted)
        assert not wanted.input[padding].any()

    @both
    def test_any_layout_and_narrower_type(self, dtype: str) -> None:
        lstm = cellgate.LSTM(5, 8, 2, dtype=dtype, seed=1)
        training = make_training(make_case(lstm, 6, 4, seed=2), 3)
        half = [
            a.astype(np.float16)
            for a in (training.case.x, training.d_output, *training.d_state, training.d_cells)
        ]
        for layout in (
            lambda a: a,
            np.asfortranarray,
            lambda a: a[..., ::-1].copy()[..., ::-1],
            lambda a: np.repeat(a, 2, axis=1)[:, ::2],
            lambda a: a.astype(">f4"),
            lambda a: a.astype(np.float32),
        ):
            x, d_output, d_h, d_c, d_cells = (layout(a) for a in half)
            case = training.case._replace(x=x)
            grads = Training(case, d_output, (d_h, d_c), d_cells).gradients()
            x, d_output, d_h, d_c, d_cells = (a.astype(dtype) for a in half)
            case = training.case._replace(x=x)
            assert_same_bits(grads, Training(case, d_output, (d_h, d_c), d_cells).gradients())


class TestNotFinite:
    @both
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize(
        "where", ["x", "h", "c", "d_output", "d_h", "d_c", "d_cells", "weight"]
    )
    @pytest.mark.parametrize(
        "config", [{}, {"num_layers": 2, "bidirectional": True, "proj_size": 3}]
    )
    def test_values_propagate_as_in_the_oracle(
        self, config: dict, where: str, value: float, dtype: str
    ) -> None:
        lstm = cellgate.LSTM(5, 17, **config, dtype=dtype, seed=1)
        case = make_case(lstm, 6, 4, seed=2, with_reset=True)._replace(
            lengths=np.array([6, 0, 3, 5])
        )
        training = make_training(case, 3)
        arrays = {
            "x": case.x,
            "h": case.state[0],
            "c": case.state[1],
            "d_output": training.d_output,
            "d_h": training.d_state[0],
            "d_c": training.d_state[1],
            "d_cells": training.d_cells,
        }
        if where == "weight":
            weights = lstm.state_dict()
            weights["weight_hh_l0"][3, 1] = value
            lstm.load_state_dict(weights)
        else:
            arrays[where][..., 2, 1] = value  # only the third sequence
        wanted = [*flat(training.reference())]
        assert not all(np.isfinite(array).all() for array in wanted)
        for checkpoint in (None, 1, 4):
            actual = [*flat(training.gradients(checkpoint=checkpoint))]
            for left, right in zip(actual, wanted, strict=True):
                np.testing.assert_array_equal(np.isnan(left), np.isnan(right))
                assert_within(f"gradients {dtype}", left, right)
