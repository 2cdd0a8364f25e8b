"""Tapes: what they hold, how often they can be used, and what a training loop does with them."""

from __future__ import annotations

import copy
import ctypes
import gc
import itertools
import os
import pickle
import sys
import weakref
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import cellgate
import numpy as np
import pytest
from cases import (
    DTYPES,
    Case,
    Training,
    assert_same_bits,
    cases,
    digest,
    flat,
    make_case,
    make_training,
)
from cellgate import _core
from cellgate.tape import readable_size
from hypothesis import given
from hypothesis import strategies as st
from tolerances import assert_within

if TYPE_CHECKING:
    from collections.abc import Callable

both = pytest.mark.parametrize("dtype", DTYPES)


def some_training(dtype: str = "float32", **config: Any) -> Training:
    """A small one of a plain LSTM; every derivative is given."""
    lstm = cellgate.LSTM(5, 9, **config, dtype=dtype, seed=1)
    return make_training(make_case(lstm, 8, 3, seed=2), 3)


class TestForward:
    @both
    @given(st.data())
    def test_has_the_bits_of_a_call(self, dtype: str, data: st.DataObject) -> None:
        case: Case = data.draw(cases(dtype))
        checkpoint = data.draw(st.sampled_from([None, 1, 3, 100]))
        tape = case.lstm.record(
            case.x,
            case.state,
            lengths=case.lengths,
            reset=case.reset,
            return_cells=True,
            checkpoint=checkpoint,
        )
        assert_same_bits((tape.output, tape.state, tape.cells), case.run())

    def test_cells_only_on_demand(self) -> None:
        assert some_training().record(return_cells=False).cells is None

    def test_results_are_arrays_of_their_own(self) -> None:
        training = some_training()
        tape, other = training.record(), training.record()
        arrays = [*flat((tape.output, tape.state, tape.cells))]
        arrays += [*flat((other.output, other.state, other.cells))]
        arrays += [training.case.x, *training.case.state]
        for k, array in enumerate(arrays):
            assert not any(np.shares_memory(array, later) for later in arrays[k + 1 :])

    def test_what_backward_reads_cannot_be_written(self) -> None:
        tape = some_training().record()
        for array in (tape.output, tape.cells):
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0
        for name in ("output", "state", "cells", "seed", "nbytes", "other"):
            with pytest.raises(AttributeError):
                setattr(tape, name, 0)

    def test_buffers_may_be_reused(self) -> None:
        """All arguments are copied, of any type."""
        lstm = cellgate.LSTM(5, 9, 2, bidirectional=True, seed=1)
        case = make_case(lstm, 8, 3, seed=2, with_lengths=True, with_reset=True)
        training = make_training(case, 3)
        wanted = training.gradients()
        for wrap in (np.asarray, memoryview):
            arrays = [a.copy() for a in (case.x, *case.state, case.lengths, case.reset)]
            x, h, c, lengths, reset = map(wrap, arrays)
            state = [h, c]
            tape = lstm.record(x, state, lengths=lengths, reset=reset, return_cells=True)
            for array in arrays:
                array[...] = 0
            state.clear()
            assert_same_bits(training.backward(tape), wanted)
        lengths, reset = case.lengths.tolist(), case.reset.tolist()
        tape = lstm.record(case.x, case.state, lengths=lengths, reset=reset, return_cells=True)
        lengths[:], reset[:] = [0, 0, 0], []
        assert_same_bits(training.backward(tape), wanted)


class TestUse:
    def test_once(self) -> None:
        training = some_training()
        tape = training.record()
        training.backward(tape)
        for keep in (False, True):
            with pytest.raises(RuntimeError, match=r"^tape: it was used before.*keep=True"):
                training.backward(tape, keep=keep)

    def test_as_often_as_it_is_kept(self) -> None:
        training = some_training()
        tape = training.record()
        kept = [training.backward(tape, keep=True) for _ in range(3)]
        kept.append(training.backward(tape))
        for grads in kept[1:]:
            assert_same_bits(grads, kept[0])
            assert not any(
                np.shares_memory(a, b) for a, b in zip(flat(grads), flat(kept[0]), strict=True)
            )
        with pytest.raises(RuntimeError, match=r"^tape: "):
            training.backward(tape)

    def test_not_after_the_weights_were_replaced(self) -> None:
        """Loading weights invalidates the tape, even if they are the same."""
        training = some_training()
        tape = training.record()
        lstm = training.case.lstm
        lstm.load_state_dict(lstm.state_dict())
        for keep in (True, False):
            with pytest.raises(RuntimeError, match=r"^tape: the weights were replaced"):
                training.backward(tape, keep=keep)
        training.backward(training.record())

    def test_a_failed_load_leaves_it_usable(self) -> None:
        training = some_training()
        tape = training.record()
        with pytest.raises(ValueError, match="state_dict"):
            training.case.lstm.load_state_dict({})
        training.backward(tape)

    def test_weights_replaced_in_a_copy_do_not_matter(self) -> None:
        training = some_training()
        tape = training.record()
        other = copy.copy(training.case.lstm)
        other.load_state_dict(cellgate.LSTM(5, 9, seed=5).state_dict())
        assert_same_bits(training.backward(tape), training.gradients())

    def test_keeps_its_lstm(self) -> None:
        training = some_training()
        tape = training.record()
        wanted = training.gradients()
        derivatives = training.d_output, training.d_state
        d_cells = training.d_cells
        del training
        gc.collect()
        assert_same_bits(tape.backward(*derivatives, d_cells=d_cells), wanted)

    def test_nothing_is_kept_alive(self) -> None:
        lstm = cellgate.LSTM(5, 9)
        tape = lstm.record(np.zeros((2, 5), np.float32))
        gone = weakref.ref(tape), weakref.ref(lstm)
        del lstm
        assert gone[1]() is not None
        del tape
        assert [reference() for reference in gone] == [None, None]

    @pytest.mark.parametrize(
        "duplicate", [copy.copy, copy.deepcopy, pickle.dumps], ids=lambda f: f.__name__
    )
    def test_cannot_be_copied(self, duplicate: Callable[[Any], Any]) -> None:
        tape = some_training().record()
        with pytest.raises(TypeError, match=r"^tape: cannot be copied or pickled"):
            duplicate(tape)
        tape.backward(tape.output)

    def test_is_initialised_once(self) -> None:
        tape = some_training().record()
        with pytest.raises(TypeError, match="__init__"):
            tape.__init__(cellgate.LSTM(5, 9), None, None, None, None, True, False, None, None)
        with pytest.raises(TypeError, match=r"^lstm: must be an LSTM"):
            cellgate.Tape(None, None, None, None, None, True, False, None, None)

    def test_a_derivative_that_uses_the_tape_while_it_is_read(self) -> None:
        training = some_training()
        tape = training.record()

        class Greedy:
            def __array__(self, *_: Any, **__: Any) -> Any:
                tape.backward(tape.output)
                return training.d_output

        with pytest.raises(TypeError, match=r"^d_output: must be an array.*used before"):
            tape.backward(Greedy())
        assert_same_bits(training.backward(tape), training.gradients())


class TestMemory:
    def test_is_released_by_the_last_use(self) -> None:
        training = some_training()
        tape = training.record()
        held = tape.nbytes
        training.backward(tape, keep=True)
        assert tape.nbytes == held > training.case.x.nbytes
        training.backward(tape)
        assert tape.nbytes == 0
        assert digest(tape.output) == digest(training.case.run()[0])

    def test_a_checkpoint_keeps_a_fraction(self) -> None:
        """Without, five values for each unit and step; with, the input, which is always kept."""
        lstm = cellgate.LSTM(4, 64, seed=1)
        x = np.random.default_rng(0).standard_normal((10_000, 2, 4), dtype=np.float32)
        whole, sparse = lstm.record(x), lstm.record(x, checkpoint=100)
        steps = x.shape[0] * x.shape[1]
        assert whole.nbytes >= steps * 5 * 64 * 4
        assert sparse.nbytes <= x.nbytes + 0.02 * whole.nbytes
        assert_same_bits(sparse.backward(sparse.output), whole.backward(whole.output))

    def test_is_told_by_repr(self) -> None:
        lstm = cellgate.LSTM(40, 64, 2)
        tape = lstm.record(np.zeros((100, 3, 40), np.float32))
        shape = "output (100, 3, 64)"
        shown = f"<Tape of LSTM(40, 64, num_layers=2): {shape}, {tape.nbytes / 1e3:.0f} kB>"
        assert repr(tape) == shown
        tape.backward(tape.output)
        assert repr(tape) == f"<Tape of LSTM(40, 64, num_layers=2): {shape}, used>"

    @pytest.mark.parametrize(
        ("nbytes", "shown"),
        [
            (72, "0.072 kB"),
            (3490, "3.49 kB"),
            (999_499, "999 kB"),
            (999_500, "1 MB"),
            (12_345_678, "12.3 MB"),
            (5 * 10**10, "50 GB"),
            (2 * 10**12, "2 TB"),
        ],
    )
    def test_is_told_in_a_unit_that_fits(self, nbytes: int, shown: str) -> None:
        assert readable_size(nbytes) == shown


class TestAccumulate:
    @both
    def test_adds_exactly_once(self, dtype: str) -> None:
        training = some_training(dtype, num_layers=2, bidirectional=True, proj_size=4)
        grads = training.gradients()
        start = {name: np.full_like(a, 0.25) for name, a in grads.parameters.items()}
        sums = {name: array.copy() for name, array in start.items()}
        result = training.backward(training.record(), accumulate=sums)
        assert_same_bits((result.input, result.state), (grads.input, grads.state))
        assert [*result.parameters] == [*grads.parameters]
        for name, array in result.parameters.items():
            assert array is sums[name]
            assert_within(f"gradients {dtype}", array, start[name] + grads.parameters[name])
        training.backward(training.record(), accumulate=sums)
        for name, array in sums.items():
            assert_within(f"gradients {dtype}", array, 0.25 + 2 * grads.parameters[name])

    def test_from_zero_gives_the_bits_of_the_gradient(self) -> None:
        training = some_training(num_layers=2)
        wanted = training.gradients().parameters
        sums = {name: np.zeros_like(array) for name, array in wanted.items()}
        training.backward(training.record(), accumulate=sums)
        assert_same_bits(sums, wanted)

    def test_views_of_one_flat_buffer_side_by_side(self) -> None:
        training = some_training(num_layers=2)
        wanted = training.gradients().parameters
        flat = np.zeros(sum(array.size for array in wanted.values()), np.float32)
        ends = np.cumsum([array.size for array in wanted.values()])
        views = np.split(flat, ends[:-1])
        shaped = zip(wanted.items(), views, strict=True)
        sums = {name: view.reshape(array.shape) for (name, array), view in shaped}
        training.backward(training.record(), accumulate=sums)
        assert_same_bits(np.concatenate([a.ravel() for a in wanted.values()]), flat)

    def test_is_the_same_on_any_number_of_threads(self, restore_threads: None) -> None:
        lstm = cellgate.LSTM(64, 96, 2, bidirectional=True, seed=1)
        training = make_training(make_case(lstm, 24, 20, 2, with_lengths=True), 3)
        digests = set()
        for threads in (1, 2, 3, 4):
            cellgate.set_num_threads(threads)
            for split in ("rows", "units", "auto"):
                _core._set_split(split)
                try:
                    sums = lstm.state_dict()
                    training.backward(training.record(), accumulate=sums)
                finally:
                    _core._set_split("auto")
                digests.add(digest(sums))
        assert len(digests) == 1

    def test_takes_any_mapping_and_any_order(self) -> None:
        training = some_training()
        wanted = training.gradients().parameters
        sums = {name: np.zeros_like(wanted[name]) for name in reversed([*wanted])}
        result = training.backward(training.record(), accumulate=MappingProxyType(sums))
        assert [*result.parameters] == [*wanted]
        assert_same_bits(result.parameters, wanted)


class TestTruncation:
    @both
    @pytest.mark.parametrize("config", [{}, {"num_layers": 2, "proj_size": 4}], ids=str)
    def test_chunks_with_the_derivative_handed_back_are_the_whole(
        self, config: dict, dtype: str
    ) -> None:
        lstm = cellgate.LSTM(5, 9, **config, dtype=dtype, seed=1)
        training = make_training(make_case(lstm, 13, 3, seed=2, with_reset=True), 3)
        case, wanted = training.case, training.gradients()
        bounds = [(0, 4), (4, 5), (5, 5), (5, 13)]
        tapes, state = [], case.state
        for begin, end in bounds:
            tape = lstm.record(
                case.x[begin:end], state, reset=case.reset[begin:end], return_cells=True
            )
            tapes.append(tape)
            state = tape.state
        sums = {name: np.zeros_like(a) for name, a in wanted.parameters.items()}
        d_state, d_inputs = training.d_state, []
        for tape, (begin, end) in zip(reversed(tapes), reversed(bounds), strict=True):
            grads = tape.backward(
                training.d_output[begin:end],
                d_state,
                d_cells=training.d_cells[begin:end],
                accumulate=sums,
            )
            d_state = grads.state
            d_inputs.insert(0, grads.input)
        actual = (np.concatenate(d_inputs), d_state, sums)
        for left, right in zip(flat(actual), flat(wanted), strict=True):
            assert_within(f"gradients {dtype}", left, right)

    def test_a_state_passed_on_stops_the_gradient(self) -> None:
        training = some_training("float64")
        case = training.case
        first = case.lstm.record(case.x[:4], case.state)
        second = case.lstm.record(case.x[4:], first.state)
        grads = second.backward(training.d_output[4:])
        only = Training(
            case._replace(x=case.x[4:], state=first.state), training.d_output[4:], None, None
        )
        for left, right in zip(flat(grads), flat(only.reference()), strict=True):
            assert_within("gradients float64", left, right)


@pytest.mark.skipif(sys.platform != "linux", reason="fesetround has the numbers of x86 Linux here")
@pytest.mark.parametrize("threads", [1, 2])
def test_bits_do_not_depend_on_the_rounding_mode_of_the_caller(
    threads: int, restore_threads: None
) -> None:
    lstm = cellgate.LSTM(16, 64, 2, seed=0)
    training = make_training(make_case(lstm, 20, 8, seed=1), 2)
    libm = ctypes.CDLL("libm.so.6")
    wanted = digest(training.gradients())
    upward = 0x400000 if os.uname().machine == "aarch64" else 0x800
    cellgate.set_num_threads(threads)
    _core._set_split("units")
    try:
        assert libm.fesetround(upward) == 0
        grads = training.gradients()
        assert libm.fegetround() == upward
    finally:
        libm.fesetround(0)
        _core._set_split("auto")
    assert digest(grads) == wanted


def test_training_fits_a_series() -> None:
    """Plain gradient descent with the whole batch lowers the loss at every step."""
    lstm = cellgate.LSTM(1, 8, dtype="float64", seed=0)
    t = np.arange(40)
    series = np.sin(t[:, None, None] / np.array([3.0, 4.0, 5.0])[None, :, None])
    readout = np.full((8, 1), 0.5)
    losses = []
    for _ in range(60):
        tape = lstm.record(series[:-1])
        error = tape.output @ readout - series[1:]
        losses.append(float((error**2).mean()))
        grads = tape.backward(2 * error @ readout.T / error.size)
        readout -= 0.1 * np.einsum("tbh,tbo->ho", tape.output, 2 * error / error.size)
        weights = lstm.state_dict()
        lstm.load_state_dict({n: w - 0.1 * grads.parameters[n] for n, w in weights.items()})
    assert all(later < earlier for earlier, later in itertools.pairwise(losses))
    assert losses[-1] < 0.3 * losses[0]
