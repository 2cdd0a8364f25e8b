"""The oracle itself: by hand, and by what lengths and resets mean in terms of plain runs."""

from __future__ import annotations

import math

import cellgate
import numpy as np
import pytest
from cases import Case, cases, make_case
from cellgate import reference
from hypothesis import given


def test_one_step_by_hand() -> None:
    weights = {
        "weight_ih_l0": [[0.5], [-1.0], [2.0], [0.25]],
        "weight_hh_l0": [[1.0], [0.5], [-0.5], [3.0]],
        "bias_ih_l0": [0.1, 0.2, 0.3, 0.4],
        "bias_hh_l0": [1.0, 2.0, 3.0, 4.0],
    }
    x, h, c = 1.5, 0.3, -0.7
    i, f, o = (
        1 / (1 + math.exp(-a))
        for a in (0.5 * x + h + 1.1, -x + 0.5 * h + 2.2, 0.25 * x + 3 * h + 4.4)
    )
    cell = f * c + i * math.tanh(2 * x - 0.5 * h + 3.3)
    y, (h_n, c_n), cells = reference.forward(weights, [[x]], ([[h]], [[c]]))
    np.testing.assert_allclose(c_n, [[cell]], rtol=1e-15)
    np.testing.assert_allclose(h_n, [[o * math.tanh(cell)]], rtol=1e-15)
    np.testing.assert_array_equal(y, h_n)
    np.testing.assert_array_equal(cells, c_n)


def test_sigmoid_reaches_both_ends_silently() -> None:
    values = np.array([-np.inf, -1e4, 0.0, 1e4, np.inf, np.nan])
    with np.errstate(over="raise", invalid="raise"):
        result = reference.sigmoid(values)
    np.testing.assert_array_equal(result, [0.0, 0.0, 0.5, 1.0, 1.0, np.nan])


@given(cases("float64", ragged=True, batch_first=False))
def test_lengths_are_what_each_sequence_alone_gives(case: Case) -> None:
    case = case._replace(reset=None)
    y, (h, c), cells = case.reference()
    for k, length in enumerate(case.lengths):
        state = None if case.state is None else tuple(s[:, k] for s in case.state)
        alone = case._replace(x=case.x[:length, k], state=state, lengths=None).reference()
        np.testing.assert_allclose(y[:length, k], alone[0], rtol=0, atol=1e-14)
        np.testing.assert_allclose(h[:, k], alone[1][0], rtol=0, atol=1e-14)
        np.testing.assert_allclose(c[:, k], alone[1][1], rtol=0, atol=1e-14)
        np.testing.assert_allclose(cells[:length, k], alone[2], rtol=0, atol=1e-14)
        assert not y[length:, k].any()
        assert not cells[length:, k].any()


@pytest.mark.parametrize("reset_at_0", [False, True])
@pytest.mark.parametrize("proj_size", [0, 3])
def test_resets_are_what_each_segment_alone_gives(reset_at_0: bool, proj_size: int) -> None:
    """One layer in both directions; segments 0-3, 4-4, 5-8, and a reset in padding at 10."""
    lstm = cellgate.LSTM(5, 7, bidirectional=True, proj_size=proj_size, dtype="float64", seed=1)
    case = make_case(lstm, 12, None, seed=2)
    case = case._replace(reset=np.isin(np.arange(12), [4, 5, 10, *([0] if reset_at_0 else [])]))
    y, (h, c), cells = case._replace(lengths=np.array([9])).reference()

    h_0, c_0 = (s.copy() for s in case.state)
    zero_h, zero_c = np.zeros_like(h_0), np.zeros_like(c_0)
    # Forward the initial state belongs to the first segment, unless that starts with a reset;
    # backward to the last.
    first = (zero_h, zero_c) if reset_at_0 else (h_0, c_0)
    states = [
        (np.stack([first[0][0], zero_h[1]]), np.stack([first[1][0], zero_c[1]])),
        (zero_h, zero_c),
        (np.stack([zero_h[0], h_0[1]]), np.stack([zero_c[0], c_0[1]])),
    ]
    plain = case._replace(reset=None)
    parts = [
        plain._replace(x=case.x[begin:end], state=state).reference()
        for begin, end, state in zip([0, 4, 5], [4, 5, 9], states, strict=True)
    ]
    np.testing.assert_allclose(y[:9], np.concatenate([p[0] for p in parts]), rtol=0, atol=1e-14)
    np.testing.assert_allclose(cells[:9], np.concatenate([p[2] for p in parts]), rtol=0, atol=1e-14)
    for whole, index in ((h, 0), (c, 1)):  # forward ends in the last segment, backward in the first
        np.testing.assert_allclose(whole[0], parts[2][1][index][0], rtol=0, atol=1e-14)
        np.testing.assert_allclose(whole[1], parts[0][1][index][1], rtol=0, atol=1e-14)
    assert not y[9:].any()


def test_padding_is_not_read() -> None:
    lstm = cellgate.LSTM(5, 7, num_layers=2, bidirectional=True, dtype="float64", seed=1)
    case = make_case(lstm, 6, 3, seed=2, with_reset=True)._replace(lengths=np.array([2, 6, 0]))
    poisoned = case.x.copy()
    poisoned[2:, 0] = poisoned[:, 2] = np.nan
    for left, right in zip(
        case.reference()[1], case._replace(x=poisoned).reference()[1], strict=True
    ):
        np.testing.assert_array_equal(left, right)
