"""A call of an LSTM: against the reference, and what the call promises about its arguments."""

from __future__ import annotations

import threading
from typing import Any

import cellgate
import numpy as np
import pytest
from cases import DTYPES, SIZES, Case, assert_same_bits, bits, cases, digest, flat, make_case
from hypothesis import given
from tolerances import assert_within


def assert_parity(case: Case) -> None:
    name = f"reference {case.lstm.dtype}"
    for actual, wanted in zip(flat(case.run()), flat(case.reference()), strict=True):
        assert actual.dtype == case.lstm.dtype
        assert_within(name, actual, wanted)


@pytest.mark.parametrize("dtype", DTYPES)
class TestParity:
    @pytest.mark.parametrize("hidden_size", SIZES)
    @pytest.mark.parametrize("input_size", SIZES)
    def test_every_pair_of_sizes(self, input_size: int, hidden_size: int, dtype: str) -> None:
        lstm = cellgate.LSTM(input_size, hidden_size, 2, bidirectional=True, dtype=dtype, seed=1)
        assert_parity(make_case(lstm, 5, 3, seed=2))

    @pytest.mark.parametrize("proj_size", [1, 7, 8, 9, 16, 17, 31])
    def test_every_projection(self, proj_size: int, dtype: str) -> None:
        lstm = cellgate.LSTM(9, 33, 2, bidirectional=True, proj_size=proj_size, dtype=dtype, seed=1)
        assert_parity(make_case(lstm, 6, 5, seed=2, with_lengths=True, with_reset=True))

    @pytest.mark.parametrize("batch", [1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 64])
    def test_every_tile_of_rows(self, batch: int, dtype: str) -> None:
        lstm = cellgate.LSTM(17, 33, dtype=dtype, seed=1)
        assert_parity(make_case(lstm, 7, batch, seed=2))

    @pytest.mark.parametrize("steps", [0, 1, 63, 64, 65, 257])
    def test_every_chunk_of_time(self, steps: int, dtype: str) -> None:
        lstm = cellgate.LSTM(9, 17, 2, bidirectional=True, dtype=dtype, seed=1)
        assert_parity(make_case(lstm, steps, 3, seed=2, with_lengths=True))

    @pytest.mark.parametrize(("input_size", "hidden_size"), [(700, 33), (9, 260), (300, 520)])
    def test_sizes_beyond_a_block_of_cache(
        self, input_size: int, hidden_size: int, dtype: str
    ) -> None:
        lstm = cellgate.LSTM(input_size, hidden_size, dtype=dtype, seed=1)
        assert_parity(make_case(lstm, 3, 5, seed=2))


@given(cases("float64"))
def test_parity_of_any_float64_call(case: Case) -> None:
    assert_parity(case)


@given(cases("float32"))
def test_parity_of_any_float32_call(case: Case) -> None:
    assert_parity(case)


@given(cases("float32", ragged=True))
def test_padding_is_zero_and_never_read(case: Case) -> None:
    wanted = case.run()
    x = case.x.copy()
    time_axis = 1 if case.lstm.batch_first else 0
    by_sequence = np.moveaxis(x, 1 - time_axis, 0)
    y = np.moveaxis(wanted[0], 1 - time_axis, 0)
    cells = np.moveaxis(wanted[2], 1 - time_axis, 0)
    for k, length in enumerate(case.lengths):
        by_sequence[k, length:] = np.nan
        assert not y[k, length:].any()
        assert not cells[k, length:].any()
    assert_same_bits(case._replace(x=x).run(), wanted)


@pytest.mark.parametrize(
    "lengths_type", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", ">i4", list, tuple]
)
def test_lengths_of_every_integer_type(lengths_type: Any) -> None:
    lstm = cellgate.LSTM(5, 7, bidirectional=True, seed=1)
    case = make_case(lstm, 6, 4, seed=2)._replace(lengths=np.array([3, 0, 6, 1]))
    if isinstance(lengths_type, str):
        lengths: Any = case.lengths.astype(lengths_type)
    else:
        lengths = lengths_type([3, 0, 6, 1])
    assert_same_bits(case._replace(lengths=lengths).run(), case.run())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("proj_size", [0, 3])
def test_no_steps_give_the_initial_state(proj_size: int, dtype: str) -> None:
    lstm = cellgate.LSTM(5, 7, 2, bidirectional=True, proj_size=proj_size, dtype=dtype)
    case = make_case(lstm, 0, 3, seed=1)
    y, (h, c), cells = case.run()
    assert y.shape == (0, 3, 2 * (proj_size or 7))
    assert cells.shape == (0, 3, 14)
    assert_same_bits((h, c), case.state)
    assert not any(s.any() for s in case._replace(state=None).run()[1])


@pytest.mark.parametrize("batch_first", [False, True])
def test_no_sequences_give_empty_arrays(batch_first: bool) -> None:
    lstm = cellgate.LSTM(5, 7, 2, batch_first=batch_first, bidirectional=True)
    case = make_case(lstm, 4, 0, seed=1, with_lengths=True, with_reset=True)
    y, (h, c), cells = case.run()
    assert y.shape == cells.shape == ((0, 4, 14) if batch_first else (4, 0, 14))
    assert h.shape == c.shape == (4, 0, 7)


@pytest.mark.parametrize("dtype", DTYPES)
def test_layouts_of_every_kind_equal_a_contiguous_one(dtype: str) -> None:
    lstm = cellgate.LSTM(9, 7, 2, dtype=dtype, seed=1)
    case = make_case(lstm, 6, 4, seed=2)
    case = case._replace(lengths=np.array([6, 2, 0, 5]), reset=np.arange(24).reshape(6, 4) % 5 == 0)
    wanted = case.run()

    def everywhere(change: Any) -> Case:
        x, state, lengths, reset = (case.x, case.state, case.lengths, case.reset)
        return Case(lstm, change(x), tuple(map(change, state)), change(lengths), change(reset))

    def read_only(a: np.ndarray) -> np.ndarray:
        a = a.copy()
        a.flags.writeable = False
        return a

    def misaligned(a: np.ndarray) -> np.ndarray:
        buffer = np.zeros(a.nbytes + 1, np.uint8)
        view = buffer[1:].view(a.dtype).reshape(a.shape)
        view[...] = a
        return view

    changes = {
        "read-only": read_only,
        "Fortran order": np.asfortranarray,
        "every second": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
        "negative strides": lambda a: np.flip(np.flip(a).copy()),
        "axes swapped": lambda a: a.T.copy().T,
        "other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
        "misaligned": misaligned,
        "nested lists of NumPy scalars": lambda a: [list(row) for row in a] if a.ndim == 2 else a,
    }
    for name, change in changes.items():
        try:
            assert_same_bits(everywhere(change).run(), wanted)
        except Exception as error:
            raise AssertionError(f"layout: {name}") from error


def test_broadcast_input_of_stride_zero_is_read() -> None:
    lstm = cellgate.LSTM(5, 7, seed=1)
    row = np.linspace(-1, 1, 5, dtype=np.float32)
    broadcast = np.broadcast_to(row, (6, 4, 5))
    assert_same_bits(lstm(broadcast), lstm(broadcast.copy()))


@pytest.mark.parametrize(
    ("dtype", "narrow"), [("float32", "f2"), ("float64", "f2"), ("float64", "f4")]
)
def test_narrower_input_is_widened_exactly(dtype: str, narrow: str) -> None:
    lstm = cellgate.LSTM(5, 7, dtype=dtype, seed=1)
    case = make_case(lstm, 6, 4, seed=2)
    x, state = case.x.astype(narrow), tuple(s.astype(narrow) for s in case.state)
    wide = Case(lstm, x.astype(dtype), tuple(s.astype(dtype) for s in state))
    assert_same_bits(Case(lstm, x, state).run(), wide.run())


@given(cases("float32"))
def test_arguments_are_neither_changed_nor_returned(case: Case) -> None:
    given_arrays = [a for a in flat(list(case[1:])) if a is not None]
    before = [a.tobytes() for a in given_arrays]
    first, second = [*flat(case.run())], [*flat(case.run())]
    assert [a.tobytes() for a in given_arrays] == before
    for k, array in enumerate(first):
        others = [*given_arrays, *second, *first[:k]]
        assert not any(np.shares_memory(array, other) for other in others)
        assert array.flags.c_contiguous
        assert array.flags.writeable
        assert array.flags.owndata or array.base is not None
    wanted = digest(second)
    for array in first:
        array[...] = 9  # results share no memory with anything
    assert digest(case.run()) == wanted


def test_cells_are_returned_on_request_only() -> None:
    lstm = cellgate.LSTM(5, 7, seed=1)
    case = make_case(lstm, 6, 4, seed=2)
    assert len(lstm(case.x)) == 2
    y, state, cells = lstm(case.x, return_cells=True)
    assert_same_bits(lstm(case.x), (y, state))
    assert_same_bits(cells[-1], state[1][0])


class TestSpecialValues:
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_in_x_reach_what_they_must_and_no_other_sequence(
        self, value: float, dtype: str
    ) -> None:
        lstm = cellgate.LSTM(9, 17, dtype=dtype, seed=1)
        case = make_case(lstm, 6, 5, seed=2)
        clean = case.run()
        case.x[3, 2, 4] = value
        assert_parity(case)
        result = case.run()
        others = [0, 1, 3, 4]
        for actual, wanted in zip(flat(result), flat(clean), strict=True):
            assert_same_bits(actual[:, others], wanted[:, others])
        assert_same_bits(result[0][:3], clean[0][:3])
        assert not np.array_equal(bits(result[0][3, 2]), bits(clean[0][3, 2]))

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("which", [0, 1])
    def test_in_the_state(self, which: int, value: float, dtype: str) -> None:
        lstm = cellgate.LSTM(9, 17, dtype=dtype, seed=1)
        case = make_case(lstm, 3, 5, seed=2)
        case.state[which][0, 2, 4] = value
        assert_parity(case)

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("name", ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "weight_hr_l0"])
    def test_in_the_weights(self, name: str, dtype: str) -> None:
        lstm = cellgate.LSTM(9, 17, proj_size=8, dtype=dtype, seed=1)
        for value in (np.nan, np.inf, -np.inf):
            weights = lstm.state_dict()
            weights[name].reshape(-1)[3] = value
            lstm.load_state_dict(weights)
            assert_parity(make_case(lstm, 3, 5, seed=2))

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("scale", [1e2, 1e4, 1e30])
    def test_gates_saturated_by_their_biases(self, scale: float, dtype: str) -> None:
        lstm = cellgate.LSTM(9, 17, dtype=dtype, seed=1)
        weights = lstm.state_dict()
        weights["bias_ih_l0"] = np.resize([scale, -scale, scale], 68).astype(dtype)
        lstm.load_state_dict(weights)
        assert_parity(make_case(lstm, 6, 5, seed=2))


@pytest.mark.parametrize("dtype", DTYPES)
def test_subnormals_are_flushed_within_a_call_and_the_callers_mode_is_restored(dtype: str) -> None:
    """All weights zero: i = f = o = 1/2 and g = 0, so that each step halves c."""
    lstm = cellgate.LSTM(3, 5, dtype=dtype)
    lstm.load_state_dict({name: 0 * array for name, array in lstm.state_dict().items()})
    tiny = np.finfo(dtype).tiny
    state = (np.zeros((1, 2, 5), dtype), np.full((1, 2, 5), 1.5 * tiny, dtype))
    seen = []

    def call() -> None:
        _, (_, c) = lstm(np.zeros((1, 2, 3), dtype), state)
        stream = lstm.stream(2)
        stream.state = state
        stream.step(np.zeros((2, 3), dtype))
        seen.append((c.any(), stream.state[1].any(), (state[1] * np.asarray(0.5, dtype)).all()))

    call()
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert seen == [(False, False, True)] * 2
