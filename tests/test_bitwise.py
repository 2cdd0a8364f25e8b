"""The contract of bits: whatever the batch, the threads and the chunks, the results are equal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cellgate
import numpy as np
import pytest
from cases import DTYPES, SIZES, Case, assert_same_bits, cases, digest, make_case
from cellgate import _core
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Iterator

both = pytest.mark.parametrize("dtype", DTYPES)


def sequence_alone(case: Case, k: int) -> Case:
    """Sequence `k` of a batch as a batch of one; time is the first axis."""
    return case._replace(
        x=case.x[:, k : k + 1],
        state=None if case.state is None else tuple(s[:, k : k + 1] for s in case.state),
        lengths=None if case.lengths is None else case.lengths[k : k + 1],
        reset=None if case.reset is None else case.reset[:, k : k + 1],
    )


def take(case: Case, order: np.ndarray) -> Case:
    """The sequences `order` of a batch, in that order."""
    return case._replace(
        x=case.x[:, order],
        state=None if case.state is None else tuple(s[:, order] for s in case.state),
        lengths=None if case.lengths is None else case.lengths[order],
        reset=None if case.reset is None else case.reset[:, order],
    )


def assert_batch_does_not_matter(case: Case, order: np.ndarray) -> None:
    y, (h, c), cells = case.run()
    y_2, (h_2, c_2), cells_2 = take(case, order).run()
    assert_same_bits(
        (y_2, h_2, c_2, cells_2), (y[:, order], h[:, order], c[:, order], cells[:, order])
    )
    for k in range(min(case.x.shape[1], 5)):
        y_1, (h_1, c_1), cells_1 = sequence_alone(case, k).run()
        here = slice(k, k + 1)
        assert_same_bits(
            (y_1, h_1, c_1, cells_1), (y[:, here], h[:, here], c[:, here], cells[:, here])
        )


class TestBatch:
    @given(cases("float32", ragged=True, batch_first=False), st.integers(0, 99))
    def test_any_case(self, case: Case, seed: int) -> None:
        batch = case.x.shape[1]
        order = np.random.default_rng(seed).integers(0, max(batch, 1), 9 if batch else 0)
        assert_batch_does_not_matter(case, order)

    @both
    @pytest.mark.parametrize("with_lengths", [False, True])
    @pytest.mark.parametrize("hidden_size", [*SIZES, 130])
    def test_every_width(self, hidden_size: int, with_lengths: bool, dtype: str) -> None:
        lstm = cellgate.LSTM(9, hidden_size, 2, bidirectional=True, dtype=dtype, seed=1)
        case = make_case(lstm, 6, 23, seed=2, with_lengths=with_lengths, with_reset=True)
        assert_batch_does_not_matter(case, np.random.default_rng(3).permutation(23))

    @both
    def test_sorted_and_unsorted_lengths(self, dtype: str) -> None:
        lstm = cellgate.LSTM(9, 33, 2, bidirectional=True, proj_size=8, dtype=dtype, seed=1)
        case = make_case(lstm, 25, 40, seed=2, with_lengths=True)
        assert_batch_does_not_matter(case, np.argsort(case.lengths))
        assert_batch_does_not_matter(case, np.argsort(-case.lengths))

    @both
    def test_batch_first_and_unbatched_are_the_same_numbers(self, dtype: str) -> None:
        first, second = (
            cellgate.LSTM(9, 17, 2, bidirectional=True, batch_first=b, dtype=dtype, seed=1)
            for b in (False, True)
        )
        case = make_case(first, 12, 5, seed=2, with_lengths=True, with_reset=True)
        y, state, cells = case.run()
        swapped = case._replace(
            lstm=second, x=case.x.swapaxes(0, 1), reset=case.reset.swapaxes(0, 1)
        )
        assert_same_bits(swapped.run(), (y.swapaxes(0, 1), state, cells.swapaxes(0, 1)))
        whole = case._replace(lengths=None)
        y, (h, c), cells = whole.run()
        one = Case(first, case.x[:, 1], tuple(s[:, 1] for s in case.state), None, case.reset[:, 1])
        assert_same_bits(one.run(), (y[:, 1], (h[:, 1], c[:, 1]), cells[:, 1]))


class TestThreads:
    @pytest.fixture(params=["auto", "rows", "units"])
    def split(self, request: pytest.FixtureRequest, restore_threads: None) -> Iterator[None]:
        """How the work is split: as the cost model says, or over all threads in either way."""
        _core._set_split(request.param)
        yield
        _core._set_split("auto")

    @both
    @pytest.mark.parametrize(
        ("sizes", "steps", "batch"),
        [
            ((64, 128), 30, 1),
            ((64, 256), 30, 3),
            ((9, 17), 12, 16),
            ((64, 256), 9, 64),
            ((300, 513), 5, 9),
            ((512, 512), 20, 1),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("config", [{}, {"bidirectional": True}, {"proj_size": 16}], ids=str)
    def test_the_number_does_not_matter(
        self,
        sizes: tuple[int, int],
        steps: int,
        batch: int,
        config: dict,
        dtype: str,
        split: None,
    ) -> None:
        lstm = cellgate.LSTM(*sizes, 2, **config, dtype=dtype, seed=1)
        case = make_case(lstm, steps, batch, seed=2, with_lengths=batch > 3, with_reset=True)
        digests = {}
        for threads in (1, 2, 4):
            cellgate.set_num_threads(threads)
            assert cellgate.get_num_threads() == threads
            digests[threads] = digest(case.run())
        assert len(set(digests.values())) == 1, digests

    @given(cases("float32"), st.sampled_from(["rows", "units"]), st.sampled_from([2, 3, 4]))
    def test_any_case_on_any_number(self, case: Case, how: str, threads: int) -> None:
        before = cellgate.get_num_threads()
        try:
            cellgate.set_num_threads(1)
            wanted = case.run()
            cellgate.set_num_threads(threads)
            _core._set_split(how)
            assert_same_bits(case.run(), wanted)
        finally:
            cellgate.set_num_threads(before)
            _core._set_split("auto")


class TestChunks:
    @both
    @pytest.mark.parametrize("batch", [1, 3, 17])
    @pytest.mark.parametrize("hidden_size", [1, 8, 17, 33, 130])
    @pytest.mark.parametrize("config", [{}, {"num_layers": 3, "bias": False}, {"proj_size": 5}])
    def test_whole_chunks_and_steps(
        self, config: dict, hidden_size: int, batch: int, dtype: str
    ) -> None:
        if config.get("proj_size", 0) >= hidden_size:
            config = {}
        lstm = cellgate.LSTM(9, hidden_size, **config, dtype=dtype, seed=1)
        case = make_case(lstm, 40, batch, seed=2)
        y, state = lstm(case.x, case.state)

        by_step, by_run = lstm.stream(batch), lstm.stream(batch)
        by_step.state = by_run.state = by_call = case.state
        steps = np.stack([by_step.step(x_t) for x_t in case.x])
        runs, calls = [], []
        for chunk in np.split(case.x, [1, 1, 3, 20]):
            runs.append(by_run.run(chunk))
            part, by_call = lstm(chunk, by_call)
            calls.append(part)
        assert_same_bits(
            (steps, np.concatenate(runs), np.concatenate(calls)), (y, y.copy(), y.copy())
        )
        assert_same_bits((by_step.state, by_run.state, by_call), (state, state, state))

    @given(cases("float32", batch_first=False, bidirectional=False), st.data())
    def test_any_case_cut_anywhere(self, case: Case, data: st.DataObject) -> None:
        case = case._replace(lengths=None)
        y, state, cells = case.run()
        cut = data.draw(st.integers(0, len(case.x)))
        first = case._replace(
            x=case.x[:cut], reset=None if case.reset is None else case.reset[:cut]
        ).run()
        second = case._replace(
            x=case.x[cut:],
            state=first[1],
            reset=None if case.reset is None else case.reset[cut:],
        ).run()
        assert_same_bits((np.concatenate([first[0], second[0]]), second[1]), (y, state))
        assert_same_bits(np.concatenate([first[2], second[2]]), cells)

    @both
    def test_a_reset_in_the_mask_is_a_reset_of_the_stream(self, dtype: str) -> None:
        lstm = cellgate.LSTM(9, 17, 2, dtype=dtype, seed=1)
        case = make_case(lstm, 30, 5, seed=2, with_reset=True)
        y, state, _ = case.run()
        stream = lstm.stream(5)
        stream.state = case.state
        steps = []
        for x_t, rows in zip(case.x, case.reset, strict=True):
            stream.reset(rows)
            steps.append(stream.step(x_t))
        assert_same_bits((np.stack(steps), stream.state), (y, state))


@both
def test_a_second_run_gives_the_same_bits(dtype: str) -> None:
    lstm = cellgate.LSTM(70, 130, 2, bidirectional=True, dtype=dtype, seed=1)
    case = make_case(lstm, 30, 20, seed=2, with_lengths=True)
    assert len({digest(case.run()) for _ in range(5)}) == 1
