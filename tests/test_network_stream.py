"""Streams of networks: the bits of whole calls in any chunks and any batch, and the object."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import cellgate
import numpy as np
import pytest
from cases import DTYPES, SIZES, assert_same_bits, examples, make_case
from hypothesis import given
from hypothesis import strategies as st
from network_cases import make_parts, network_cases

POOLINGS = (None, "mean", "last")


def made(batch: int = 3, steps: int = 7, **more: Any) -> tuple[cellgate.Network, np.ndarray]:
    """A network with every part, and input."""
    config = {"num_layers": 2, **more.pop("config", {})}
    lstm = cellgate.LSTM(5, 9, **config, seed=1)
    network = cellgate.Network(lstm, **make_parts(lstm, 2, **more))
    return network, make_case(lstm, steps, batch, seed=3).x


def so_far(network: cellgate.Network, x: np.ndarray) -> np.ndarray:
    """What a stream puts out at every step: with pooling, of the steps up to each."""
    if not network.pooling:
        return network(x)[0]
    time = 1 if network.batch_first and x.ndim == 3 else 0
    upto = [network(x.take(range(n + 1), axis=time))[0] for n in range(x.shape[time])]
    return np.stack(upto, axis=time)


class TestBits:
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_any_network_in_any_chunks(self, dtype: str) -> None:
        @examples(100)
        @given(network_cases(dtype, bidirectional=False), st.data())
        def check(case: Any, data: Any) -> None:
            x, network = case.case.x, case.network
            steps_axis = 1 if network.batch_first and x.ndim == 3 else 0
            batch = 1 if x.ndim == 2 else x.shape[1 - steps_axis]
            steps = x.shape[steps_axis]
            if batch == 0 or steps == 0:
                return
            stream, outputs, at = network.stream(batch), [], 0
            while at < steps:
                n = data.draw(st.integers(1, steps - at), "chunk")
                part = x.take(range(at, at + n), axis=steps_axis)
                if n == 1 and data.draw(st.booleans(), "step"):
                    row = stream.step(part.reshape(batch, -1))
                    outputs.append(np.expand_dims(row if x.ndim == 3 else row[0], steps_axis))
                else:
                    outputs.append(stream.run(part))
                at += n
            y, state = network(x)
            outputs = np.concatenate(outputs, axis=steps_axis)
            final = tuple(s[:, None] if x.ndim == 2 else s for s in state)
            assert_same_bits(stream.state, final)
            if network.pooling:
                assert_same_bits(outputs.take(steps - 1, axis=steps_axis), y)
            else:
                assert_same_bits(outputs, y)

        check()

    @pytest.mark.parametrize("pooling", POOLINGS)
    @pytest.mark.parametrize("config", [{}, {"proj_size": 4}, {"batch_first": True}], ids=str)
    @pytest.mark.parametrize("batch", [1, 2, 9])
    def test_every_step_is_that_of_all_before(self, batch: int, config: dict, pooling: Any) -> None:
        network, x = made(batch, pooling=pooling, config=config)
        if network.batch_first:
            x = np.ascontiguousarray(x.reshape(batch, 7, 5))
        assert_same_bits(network.stream(batch).run(x), so_far(network, x))

    @pytest.mark.parametrize("pooling", POOLINGS)
    @pytest.mark.parametrize("hidden_size", SIZES)
    def test_a_row_of_a_batch_is_that_of_a_stream_alone(
        self, hidden_size: int, pooling: Any
    ) -> None:
        lstm = cellgate.LSTM(5, hidden_size, seed=1)
        network = cellgate.Network(lstm, **make_parts(lstm, 2, pooling=pooling))
        x = make_case(lstm, 70, 3, seed=3).x
        together = network.stream(3).run(x)
        for b in range(3):
            assert_same_bits(network.stream().run(x[:, b]), together[:, b])

    @pytest.mark.parametrize("pooling", POOLINGS)
    def test_more_rows_than_go_through_the_head_together(self, pooling: Any) -> None:
        network, x = made(batch=150, steps=5, pooling=pooling)
        assert_same_bits(network.stream(150).run(x), so_far(network, x))

    @pytest.mark.parametrize("pooling", [None, "mean"])
    @pytest.mark.usefixtures("restore_threads")
    def test_a_model_that_needs_threads(self, pooling: Any) -> None:
        """So large that one sequence is not run by one thread."""
        cellgate.set_num_threads(2)
        lstm = cellgate.LSTM(8, 1200, seed=1)
        network = cellgate.Network(lstm, **make_parts(lstm, 2, pooling=pooling))
        x = make_case(lstm, 4, 1, seed=3).x[:, 0]
        y = so_far(network, x)
        assert_same_bits(network.stream().run(x), y)
        cellgate.set_num_threads(1)
        assert_same_bits(network.stream().run(x), y)

    def test_negative_and_zero_strides(self) -> None:
        network, x = made(batch=1)
        x = x[:, 0]
        backward = network.stream().run(x[::-1])
        assert_same_bits(backward, network(np.ascontiguousarray(x[::-1]))[0])
        still = np.broadcast_to(x[0], x.shape)
        assert_same_bits(network.stream().run(still), network(np.ascontiguousarray(still))[0])


class TestState:
    @pytest.mark.parametrize("batch", [1, 3])
    def test_begins_with_the_initial_state(self, batch: int) -> None:
        network, _ = made(batch)
        for state, initial in zip(network.stream(batch).state, network.initial_state, strict=True):
            assert_same_bits(state, np.repeat(initial[:, None], batch, axis=1))

    @pytest.mark.parametrize("pooling", POOLINGS)
    @pytest.mark.parametrize("batch", [1, 3])
    def test_reset_of_all_begins_anew(self, batch: int, pooling: Any) -> None:
        network, x = made(batch, pooling=pooling)
        stream = network.stream(batch)
        wanted = stream.run(x)
        stream.reset()
        assert_same_bits(stream.run(x), wanted)

    @pytest.mark.parametrize("rows", [[2, 0], np.array([True, False, True])], ids=str)
    @pytest.mark.parametrize("pooling", POOLINGS)
    def test_reset_of_some_leaves_the_others(self, pooling: Any, rows: Any) -> None:
        network, x = made(3, pooling=pooling)
        stream, other = network.stream(3), network.stream(3)
        stream.run(x)
        other.run(x)
        stream.reset(rows)
        fresh, kept, after = network.stream(3).run(x), other.run(x), stream.run(x)
        assert_same_bits(after[:, [0, 2]], fresh[:, [0, 2]])
        assert_same_bits(after[:, 1], kept[:, 1])

    @pytest.mark.parametrize("rows", [0, [0], [True]])
    def test_reset_of_the_only_row(self, rows: Any) -> None:
        network, x = made(1)
        stream = network.stream()
        wanted = stream.run(x)
        stream.reset([False] if rows == [True] else [])
        assert not np.array_equal(stream.run(x), wanted)
        stream.reset(rows)
        assert_same_bits(stream.run(x), wanted)

    @pytest.mark.parametrize("batch", [1, 3])
    def test_a_state_that_is_set_is_that_of_a_call(self, batch: int) -> None:
        network, x = made(batch)
        case = make_case(network.lstm, 7, batch, seed=5)
        stream = network.stream(batch)
        stream.run(x)
        stream.state = case.state
        assert_same_bits(stream.state, case.state)
        y, state = network(x, case.state)
        assert_same_bits(stream.run(x), y)
        assert_same_bits(stream.state, state)

    def test_setting_the_state_leaves_what_was_pooled(self) -> None:
        network, x = made(1, pooling="mean")
        stream, other = network.stream(), network.stream()
        stream.run(x)
        other.run(x)
        stream.state = stream.state
        assert_same_bits(stream.run(x), other.run(x))


@pytest.mark.parametrize("batch", [1, 3])
def test_results_go_into_what_is_given(batch: int) -> None:
    network, x = made(batch)
    wanted = network(x)[0]
    stream, out = network.stream(batch), np.empty((7, batch, 3), np.float32)
    assert stream.run(x, out) is out
    assert_same_bits(out, wanted)
    stream.reset()
    rows = np.zeros((batch, 5), np.float32)
    for x_t, y_t in zip(x, wanted, strict=True):
        rows[:] = x_t
        assert stream.step(rows, rows[:, :3]).base is rows
        assert_same_bits(np.ascontiguousarray(rows[:, :3]), y_t)
    with pytest.raises(ValueError, match="out: must not share memory with x"):
        stream.run(x, x[..., :3])


class TestCopies:
    duplicates = (
        cellgate.NetworkStream.copy,
        copy.copy,
        copy.deepcopy,
        lambda stream: pickle.loads(pickle.dumps(stream)),
    )

    @pytest.mark.parametrize("duplicate", duplicates)
    @pytest.mark.parametrize("pooling", POOLINGS)
    @pytest.mark.parametrize("batch", [1, 3])
    def test_go_on_alone(self, batch: int, pooling: Any, duplicate: Any) -> None:
        network, x = made(batch, pooling=pooling)
        stream = network.stream(batch)
        stream.run(x)
        other = duplicate(stream)
        assert type(other) is cellgate.NetworkStream
        assert repr(other) == repr(stream)
        results = other.run(x)
        assert_same_bits(stream.run(x), results)

    def test_a_copy_has_the_same_network(self) -> None:
        stream = made()[0].stream()
        assert stream.copy().network is stream.network


class TestRefused:
    def test_bidirectional_networks(self) -> None:
        network = cellgate.Network(cellgate.LSTM(2, 3, bidirectional=True))
        with pytest.raises(ValueError, match="stream: a bidirectional LSTM needs whole sequences"):
            network.stream()

    @pytest.mark.parametrize(
        ("batch", "error"),
        [(0, ValueError), (1.5, TypeError), (2**62, MemoryError), (True, TypeError)],
    )
    def test_batch_sizes(self, batch: Any, error: type) -> None:
        with pytest.raises(error, match="batch_size"):
            made()[0].stream(batch)

    @pytest.mark.parametrize("network", [None, 3, cellgate.LSTM(2, 3)])
    def test_what_is_no_network(self, network: Any) -> None:
        with pytest.raises(TypeError, match="network: must be a Network, got"):
            cellgate.NetworkStream(network)

    def test_a_stream_is_made_once(self) -> None:
        stream = made()[0].stream()
        with pytest.raises(TypeError, match="__init__ was called before"):
            stream.__init__(stream.network)  # type: ignore[misc]
        with pytest.raises(TypeError, match="never initialised"):
            cellgate.NetworkStream.__new__(cellgate.NetworkStream).step([1.0])

    @pytest.mark.parametrize(
        ("x", "error", "message"),
        [
            (np.ones((3, 4), "f4"), ValueError, r"x: must have shape \(3, 5\)"),
            (np.ones((2, 5), "f4"), ValueError, "x: must have shape"),
            (np.ones(5, "f4"), ValueError, "x: must have shape"),
            (np.ones((3, 5)), TypeError, "x: dtype must be float32"),
            ("x", TypeError, "x: dtype must be"),
        ],
        ids=str,
    )
    def test_steps(self, x: Any, error: type, message: str) -> None:
        network, more = made(3)
        stream = network.stream(3)
        with pytest.raises(error, match=f"^{message}"):
            stream.step(x)
        assert_same_bits(stream.run(more), network(more)[0])

    @pytest.mark.parametrize(
        "pooled",
        [
            3,
            (np.zeros(3, np.int64),),
            (np.zeros(2, np.int64), np.zeros((3, 9), "f4")),
            (np.full(3, -1), np.zeros((3, 9), "f4")),
            (np.full(3, 2**63 - 1), np.zeros((3, 9), "f4")),
            (np.zeros(3, "f4"), np.zeros((3, 9), "f4")),
            (np.zeros(3, np.int64), np.zeros((3, 8), "f4")),
        ],
        ids=str,
    )
    def test_what_a_pickle_may_say_was_pooled(self, pooled: Any) -> None:
        stream = made(3, pooling="mean")[0].stream(3)
        with pytest.raises((TypeError, ValueError), match=r"^pooled"):
            stream._pooled = pooled

    def test_nothing_is_pooled_without_pooling(self) -> None:
        stream = made()[0].stream()
        assert stream._pooled is None
        with pytest.raises(ValueError, match="pooled: must be None without pooling"):
            stream._pooled = (np.zeros(1, np.int64), np.zeros((1, 9), np.float32))
