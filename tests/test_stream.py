"""Streams: the object; that chunks and steps give the bits of the whole is in test_bitwise.py."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import cellgate
import numpy as np
import pytest
from cases import DTYPES, SIZES, assert_same_bits, digest, flat, make_case
from hypothesis import given
from hypothesis import strategies as st


def make_stream(batch_size: int = 3, **config: Any) -> tuple[cellgate.Stream, np.ndarray]:
    """A stream that has run four steps, and six more steps of input."""
    lstm = cellgate.LSTM(5, 7, **{"num_layers": 2, "seed": 1, **config})
    stream = lstm.stream(batch_size)
    random = np.random.default_rng(2)
    x = random.standard_normal((10, batch_size, 5)).astype(lstm.dtype)
    for x_t in x[:4]:
        stream.step(x_t)
    return stream, x[4:]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("proj_size", [0, 3])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_shapes_and_types(batch_size: int, proj_size: int, dtype: str) -> None:
    lstm = cellgate.LSTM(5, 7, 2, proj_size=proj_size, dtype=dtype)
    stream = lstm.stream(batch_size)
    output = proj_size or 7
    h, c = stream.state
    assert h.shape == (2, batch_size, output)
    assert c.shape == (2, batch_size, 7)
    assert h.dtype == c.dtype == dtype
    assert not h.any()
    assert not c.any()
    assert stream.lstm is lstm
    assert stream.batch_size == batch_size
    assert repr(stream) == f"Stream({lstm!r}, batch_size={batch_size})"
    assert stream.step(np.zeros((batch_size, 5), dtype)).shape == (batch_size, output)
    for steps in (0, 1, 6):
        y = stream.run(np.zeros((steps, batch_size, 5), dtype))
        assert y.shape == (steps, batch_size, output)
        assert y.dtype == dtype


def test_one_sequence_needs_no_batch_axis() -> None:
    stream, x = make_stream(1)
    other = stream.copy()
    steps = [stream.step(x_t[0]) for x_t in x]
    assert steps[0].shape == (7,)
    run = other.run(x[:, 0])
    assert run.shape == (6, 7)
    assert_same_bits(np.stack(steps), run)


def test_batch_first_concerns_run_alone() -> None:
    weights = cellgate.LSTM(5, 7, 2, seed=1)
    stream, x = make_stream(batch_first=True)
    other = stream.copy()
    assert stream.lstm.state_dict().keys() == weights.state_dict().keys()
    by_step = np.stack([stream.step(x_t) for x_t in x])
    assert_same_bits(other.run(np.ascontiguousarray(x.swapaxes(0, 1))), by_step.swapaxes(0, 1))
    assert other.state[0].shape == (2, 3, 7)


@pytest.mark.parametrize("method", ["step", "run"])
def test_out_is_written_and_returned(method: str) -> None:
    stream, x = make_stream()
    other = stream.copy()
    x = x[0] if method == "step" else x
    wanted = getattr(other, method)(x)
    out = np.full(wanted.shape, 9, np.float32)
    assert getattr(stream, method)(x, out) is out
    assert_same_bits(out, wanted)
    assert_same_bits(stream.state, other.state)
    assert getattr(stream, method)(x, out=out) is out


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("batch_size", [1, 2, 17])
def test_a_step_may_write_over_its_input(batch_size: int, num_layers: int) -> None:
    lstm = cellgate.LSTM(70, 70, num_layers, seed=1)
    first, second = lstm.stream(batch_size), lstm.stream(batch_size)
    x = np.linspace(-1, 1, batch_size * 70, dtype=np.float32).reshape(batch_size, 70)
    shifted = np.concatenate([x.ravel(), np.zeros(35, np.float32)])
    out = shifted[35:].reshape(batch_size, 70)  # overlaps with the input, half a row on
    for _ in range(3):
        wanted = first.step(x.copy())
        shifted[: x.size] = x.ravel()
        assert_same_bits(second.step(shifted[: x.size].reshape(x.shape), out), wanted)
        assert_same_bits(second.state, first.state)
        x = wanted
    wanted = first.step(x.copy())
    assert_same_bits(second.step(x, x), wanted)


def test_a_run_may_not_write_over_its_input() -> None:
    stream = cellgate.LSTM(7, 7, seed=1).stream(3)
    x = np.linspace(-1, 1, 126, dtype=np.float32).reshape(6, 3, 7)
    for out in (x, x[:, ::-1]):
        with pytest.raises(ValueError, match=r"^out: must not share memory with x"):
            stream.run(x, out)
    assert not any(s.any() for s in stream.state)


def test_steps_do_not_share_memory() -> None:
    stream, x = make_stream()
    results = [stream.step(x[0]), stream.step(x[1]), *stream.state, *stream.state]
    for k, array in enumerate(results):
        assert not any(np.shares_memory(array, other) for other in [x, *results[:k]])
    before = digest(list(stream.state))
    for array in results:
        array[...] = 9
    assert digest(list(stream.state)) == before


class TestState:
    def test_goes_back_in_time(self) -> None:
        stream, x = make_stream()
        state = stream.state
        first = stream.run(x)
        stream.state = state
        assert_same_bits(stream.state, state)
        assert_same_bits(stream.run(x), first)

    def test_set_arrays_are_copied(self) -> None:
        stream, x = make_stream()
        other = stream.copy()
        state = stream.state
        stream.state = state
        for array in state:
            array[...] = 9
        assert_same_bits(stream.run(x), other.run(x))

    def test_moves_between_streams_and_calls(self) -> None:
        stream, x = make_stream()
        lstm = stream.lstm
        y, state = lstm(x, stream.state)
        assert_same_bits(stream.run(x), y)
        assert_same_bits(stream.state, state)

    def test_is_widened_like_any_input(self) -> None:
        lstm = cellgate.LSTM(5, 7, dtype="float64", seed=1)
        stream = lstm.stream()
        state = (np.full((1, 1, 7), 0.5, np.float32), np.full((1, 1, 7), -0.5, np.float16))
        stream.state = state
        assert_same_bits(stream.state, tuple(s.astype(np.float64) for s in state))


class TestReset:
    @given(st.lists(st.booleans(), min_size=4, max_size=4))
    def test_of_rows_leaves_the_others(self, mask: list[bool]) -> None:
        stream, x = make_stream(4)
        by_index, untouched, zero = stream.copy(), stream.copy(), stream.copy()
        stream.reset(np.array(mask))
        by_index.reset(np.flatnonzero(mask))
        assert_same_bits(stream.state, by_index.state)
        zero.reset()
        assert not any(s.any() for s in zero.state)
        y, kept, cleared = stream.run(x), untouched.run(x), zero.run(x)
        for k, is_reset in enumerate(mask):
            assert_same_bits(y[:, k], (cleared if is_reset else kept)[:, k])

    @pytest.mark.parametrize(
        "rows", [[2, 0], (2, 0), np.array([0, 2], np.uint8), [True, False] * 2]
    )
    def test_rows_of_any_integer_or_bool_sequence(self, rows: Any) -> None:
        stream, _ = make_stream(4)
        wanted = [s.copy() for s in stream.state]
        for s in wanted:
            s[:, [0, 2]] = 0
        stream.reset(rows)
        assert_same_bits(stream.state, tuple(wanted))


class TestCopies:
    duplicates = (
        cellgate.Stream.copy,
        copy.copy,
        copy.deepcopy,
        lambda stream: pickle.loads(pickle.dumps(stream)),
    )

    @pytest.mark.parametrize("duplicate", duplicates)
    @pytest.mark.parametrize("config", [{}, {"proj_size": 3, "batch_first": True, "bias": False}])
    def test_go_on_from_the_same_state_alone(self, config: dict, duplicate: Any) -> None:
        stream, x = make_stream(**config)
        other = duplicate(stream)
        assert type(other) is cellgate.Stream
        assert repr(other) == repr(stream)
        assert_same_bits(other.state, stream.state)
        before = digest(list(stream.state))
        results = [other.step(x_t) for x_t in x]
        assert digest(list(stream.state)) == before
        assert_same_bits([stream.step(x_t) for x_t in x], results)

    @pytest.mark.parametrize("duplicate", duplicates)
    def test_keep_the_weights_that_run_though_the_model_has_new_ones(self, duplicate: Any) -> None:
        stream, x = make_stream()
        wanted = [*flat(stream.copy().run(x))]
        stream.lstm.load_state_dict(cellgate.LSTM(5, 7, 2, seed=9).state_dict())
        assert_same_bits([*flat(duplicate(stream).run(x))], wanted)
        assert_same_bits([*flat(stream.run(x))], wanted)

    def test_streams_of_one_model_pickle_it_once(self) -> None:
        lstm = cellgate.LSTM(50, 70, seed=1)
        one = len(pickle.dumps(lstm.stream()))
        streams = [lstm.stream() for _ in range(8)]
        assert len(pickle.dumps(streams)) < 1.5 * one
        restored = pickle.loads(pickle.dumps(streams))
        assert len({id(stream.lstm) for stream in restored}) == 1


def test_bidirectional_models_do_not_stream() -> None:
    with pytest.raises(ValueError, match="bidirectional"):
        cellgate.LSTM(5, 7, bidirectional=True).stream()


@pytest.mark.parametrize("batch_size", SIZES)
def test_a_step_of_every_batch_size(batch_size: int) -> None:
    lstm = cellgate.LSTM(9, 17, 2, proj_size=8, seed=1)
    case = make_case(lstm, 1, batch_size, seed=2)
    stream = lstm.stream(batch_size)
    stream.state = case.state
    y, state, _ = case.run()
    assert_same_bits(stream.step(case.x[0]), y[0])
    assert_same_bits(stream.state, state)
