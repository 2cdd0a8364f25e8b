"""The oracles themselves: by hand, by what lengths and resets mean in terms of plain runs, and
the derivative by differences of the forward pass."""

from __future__ import annotations

import math
from typing import Any

import cellgate
import numpy as np
import pytest
from cases import (
    Case,
    Training,
    assert_same_bits,
    cases,
    difference,
    examples,
    ignore_dropout_of_one_layer,
    make_case,
    make_training,
    trainings,
)
from cellgate import reference
from hypothesis import given
from hypothesis import strategies as st
from tolerances import assert_within


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


class TestBackward:
    @ignore_dropout_of_one_layer
    @examples(30)
    @given(trainings("float64"), st.integers(0, 99))
    def test_derivatives_along_any_direction_are_differences(
        self, training: Training, seed: int
    ) -> None:
        """One random direction of length 1 through each of the input, h, c and all weights."""
        case = training.case
        if case.state is None:
            zero = tuple(np.zeros_like(d) for d in make_training(case, 0).d_state)
            case = case._replace(state=zero)
            training = training._replace(case=case)
        random = np.random.default_rng(seed)
        d_x, (d_h, d_c), d_weights = training.reference()
        weights = case.lstm.state_dict()
        vector = np.concatenate([array.ravel() for array in weights.values()])
        d_vector = np.concatenate([array.ravel() for array in d_weights.values()])
        functions = [
            (case.x, d_x, lambda x: loss(training, weights, x, *case.state)),
            (case.state[0], d_h, lambda h: loss(training, weights, case.x, h, case.state[1])),
            (case.state[1], d_c, lambda c: loss(training, weights, case.x, case.state[0], c)),
            (vector, d_vector, lambda v: loss(training, split(v, weights), case.x, *case.state)),
        ]
        for at, gradient, function in functions:
            assert gradient.shape == at.shape
            along = random.standard_normal(at.shape)
            along /= max(np.linalg.norm(along), 1e-9)
            wanted = difference(function, at, along)
            assert_within("differences float64", np.vdot(gradient, along), wanted)

    @pytest.mark.parametrize(
        "config",
        [
            {},
            {"num_layers": 2, "bidirectional": True, "dropout": 0.5},
            {"proj_size": 1, "bidirectional": True},
            {"num_layers": 2, "proj_size": 1, "bias": False, "batch_first": True},
        ],
        ids=str,
    )
    def test_every_element_is_a_difference(self, config: dict) -> None:
        lstm = cellgate.LSTM(2, 2, **config, dtype="float64", seed=1)
        case = make_case(lstm, 4, 3, seed=2, with_reset=True)._replace(lengths=np.array([2, 0, 4]))
        training = make_training(case, 3)
        d_x, (d_h, d_c), d_weights = training.reference()
        weights = lstm.state_dict()
        functions = [
            (case.x, d_x, lambda x: loss(training, weights, x, *case.state)),
            (case.state[0], d_h, lambda h: loss(training, weights, case.x, h, case.state[1])),
            (case.state[1], d_c, lambda c: loss(training, weights, case.x, case.state[0], c)),
        ]
        for name, weight in weights.items():

            def function(value: Any, name: str = name) -> float:
                return loss(training, {**weights, name: value}, case.x, *case.state)

            functions.append((weight, d_weights[name], function))
        for at, gradient, function in functions:
            wanted = [difference(function, at, unit) for unit in units(at.shape)]
            assert_within("differences float64", gradient.ravel(), wanted)

    def test_padding_is_not_read(self) -> None:
        lstm = cellgate.LSTM(5, 7, num_layers=2, bidirectional=True, dtype="float64", seed=1)
        case = make_case(lstm, 6, 3, seed=2, with_reset=True)._replace(lengths=np.array([2, 6, 0]))
        training = make_training(case, 3)
        wanted = training.reference()
        x, d_output, d_cells = (a.copy() for a in (case.x, training.d_output, training.d_cells))
        for array in (x, d_output, d_cells):
            array[2:, 0] = array[:, 2] = np.nan
        poisoned = Training(case._replace(x=x), d_output, training.d_state, d_cells, training.seed)
        assert_same_bits(poisoned.reference(), wanted)
        assert not wanted[0][2:, 0].any()

    def test_the_mask_of_dropout_is_the_documented_hash(self) -> None:
        """SplitMix64 from 0 gives 0xE220A8397B1DCDAF first; the rest in Python's integers."""

        def kept(seed: int, layer: int, index: int) -> bool:
            z = seed + 0x9E3779B97F4A7C15 * (layer + 1) + index * 0xD1342543DE82EF95
            z %= 2**64
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
            z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
            z ^= z >> 31
            if (seed, layer, index) == (0, 0, 0):
                assert z == 0xE220A8397B1DCDAF
            return (z >> 11) / 2**53 >= 0.3

        for seed, layer in [(0, 0), (2**64 - 1, 2), (12345, 1)]:
            factors = reference.dropout_factors((3, 2, 5), layer, 0.3, seed)
            wanted = [kept(seed, layer, index) / 0.7 for index in range(30)]
            np.testing.assert_allclose(factors.ravel(), wanted, rtol=1e-15)

    @pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
    def test_dropout_drops_its_share(self, probability: float) -> None:
        """Of 10^6 values, within five standard deviations; neighbours are independent."""
        dropped = reference.dropout_factors((1000, 10, 100), 0, probability, 7) == 0
        deviation = np.sqrt(probability * (1 - probability) / dropped.size)
        assert abs(dropped.mean() - probability) < 5 * deviation
        for axis in range(3):
            first, second = (
                np.take(dropped, range(k, dropped.shape[axis] - 1 + k), axis) for k in (0, 1)
            )
            both = (first & second).mean()
            assert abs(both - probability**2) < 5 * np.sqrt(probability**2 / first.size)

    def test_dropout_of_everything(self) -> None:
        assert not reference.dropout_factors((5, 3, 2), 0, 1.0, 1).any()


def loss(training: Training, weights: Any, x: Any, h: Any, c: Any) -> float:
    """Of a forward pass of the oracle, with its dropout."""
    case = training.case
    results = reference.forward(
        weights,
        x,
        (h, c),
        lengths=case.lengths,
        reset=case.reset,
        batch_first=case.lstm.batch_first,
        dropout=case.lstm.dropout,
        seed=training.seed,
    )
    return training.loss(*results)


def split(vector: np.ndarray, like: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights from one vector of all of them."""
    ends = np.cumsum([array.size for array in like.values()])
    parts = np.split(vector, ends[:-1])
    return {name: p.reshape(like[name].shape) for name, p in zip(like, parts, strict=True)}


def units(shape: tuple[int, ...]) -> np.ndarray:
    """All arrays of this shape that hold one 1 and zeros."""
    size = int(np.prod(shape))
    return np.eye(size).reshape(size, *shape)
