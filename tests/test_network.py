"""Networks: against the oracle, the bitwise contract, the object, and what is refused."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import cellgate
import numpy as np
import pytest
from cases import DTYPES, SIZES, assert_same_bits, examples, make_case
from cellgate import _core
from cellgate.linear import ACTIVATIONS
from hypothesis import given
from network_cases import make_parts, network_case, network_cases, outputs_of
from tolerances import assert_within

POOLINGS = (None, "mean", "last")
CONFIGS = [
    {},
    {"num_layers": 2, "bidirectional": True},
    {"num_layers": 2, "proj_size": 5, "bias": False, "batch_first": True},
]


class TestReference:
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_any_network_any_call(self, dtype: str) -> None:
        @examples(120)
        @given(network_cases(dtype))
        def check(case: Any) -> None:
            y, state = case.run()
            wanted, wanted_state = case.reference()
            assert_within(f"network {dtype}", y, wanted)
            for left, right in zip(state, wanted_state, strict=True):
                assert_within(f"network {dtype}", left, right)

        check()

    @pytest.mark.parametrize("activation", range(len(ACTIVATIONS)), ids=ACTIVATIONS)
    @pytest.mark.parametrize("pooling", POOLINGS)
    @pytest.mark.parametrize("config", CONFIGS, ids=str)
    def test_every_activation_and_pooling(
        self, config: dict, pooling: Any, activation: int
    ) -> None:
        lstm = cellgate.LSTM(5, 9, **config, dtype="float64", seed=1)
        case = make_case(lstm, 7, 4, seed=2, with_lengths=True, with_reset=True)
        case = network_case(case, activation, pooling=pooling)
        assert case.network.head.activation == ACTIVATIONS[activation]
        assert_within("network float64", case.run()[0], case.reference()[0])

    def test_the_initial_state_is_where_calls_and_segments_begin(self) -> None:
        lstm = cellgate.LSTM(4, 6, 2, bidirectional=True, seed=1)
        case = network_case(make_case(lstm, 6, 2, seed=2, with_state=False), 3)
        h, c = (np.repeat(s[:, None], 2, axis=1) for s in case.network.initial_state)
        x = case.case.x
        assert_same_bits(case.run(), case.network(x, (h, c)))
        reset = np.zeros((6, 2), bool)
        reset[3] = True
        halves = [case.network(x[:3])[0], case.network(x[3:])[0]]
        assert_same_bits(case.network(x, reset=reset)[0], np.concatenate(halves))


class TestBits:
    def test_nothing_around_it_is_the_lstm(self) -> None:
        lstm = cellgate.LSTM(5, 9, 2, bidirectional=True, seed=1)
        case = make_case(lstm, 6, 3, seed=2, with_lengths=True, with_reset=True)
        made = cellgate.Network(lstm)(case.x, case.state, lengths=case.lengths, reset=case.reset)
        assert_same_bits(made, case.run()[:2])

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_a_sequence_alone_or_in_any_batch(self, dtype: str) -> None:
        @examples(60)
        @given(network_cases(dtype, ragged=True))
        def check(case: Any) -> None:
            lstm, call = case.case.lstm, case.case
            y, state = case.run()
            axis = 0 if lstm.batch_first or case.network.pooling else 1
            for b in range(len(call.lengths)):
                plane = (b,) if lstm.batch_first else (slice(None), b)
                own = call.x[plane][: call.lengths[b]]
                reset = None if call.reset is None else call.reset[plane][: call.lengths[b]]
                start = call.state and tuple(s[:, b] for s in call.state)
                alone, last = case.network(own, start, reset=reset)
                inside = y.take(b, axis=axis)
                if not case.network.pooling:
                    assert not inside[len(own) :].any()
                    inside = inside[: len(own)]
                assert_same_bits([alone, *last], [inside, *(s[:, b] for s in state)])

        check()

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_in_any_chunks(self, dtype: str) -> None:
        @examples(40)
        @given(network_cases(dtype, pooled=False, bidirectional=False, batch_first=False))
        def check(case: Any) -> None:
            call = case.case._replace(lengths=None)
            steps = len(call.x)
            y, state = case._replace(case=call).run()
            state_before, parts = call.state, []
            for begin in range(0, steps, 3):
                chunk = slice(begin, begin + 3)
                reset = None if call.reset is None else call.reset[chunk]
                part, state_before = case.network(call.x[chunk], state_before, reset=reset)
                parts.append(part)
            if parts:
                assert_same_bits([np.concatenate(parts), *state_before], [y, *state])

        check()

    @pytest.mark.parametrize("split", ["auto", "rows", "units", "layers"])
    @pytest.mark.parametrize("pooling", POOLINGS)
    @pytest.mark.parametrize("outputs", [1, 7, 200])
    @pytest.mark.usefixtures("restore_threads")
    def test_any_number_of_threads(self, outputs: int, pooling: Any, split: str) -> None:
        lstm = cellgate.LSTM(33, 65, 2, bidirectional=split != "layers", seed=1)
        case = make_case(lstm, 20, 9, seed=2, with_lengths=True)
        case = network_case(case, 1, outputs, pooling=pooling)
        cellgate.set_num_threads(1)
        wanted = case.run()
        _core._set_split(split)
        try:
            for threads in (2, 3, 5):
                cellgate.set_num_threads(threads)
                assert_same_bits(case.run(), wanted)
        finally:
            _core._set_split("auto")

    @pytest.mark.parametrize("outputs", SIZES)
    def test_an_output_is_the_same_beside_any_others(self, outputs: int) -> None:
        lstm = cellgate.LSTM(5, 17, seed=1)
        x = make_case(lstm, 6, 3, seed=2).x
        case = network_case(make_case(lstm, 6, 3, seed=2), 0, outputs, skip=None)
        head = case.network.head
        assert head.activation == "linear"
        for k in range(outputs):
            one = cellgate.Linear(head.weight[k : k + 1], head.bias[k : k + 1])
            parts = {**case.parts, "head": one}
            assert_same_bits(
                cellgate.Network(lstm, **parts)(x)[0][..., 0], case.network(x)[0][..., k]
            )

    def test_padding_is_never_read_and_zero(self) -> None:
        lstm = cellgate.LSTM(5, 9, seed=1)
        case = network_case(make_case(lstm, 6, 3, seed=2), 1)
        x, lengths = case.case.x.copy(), np.array([6, 0, 2])
        wanted = case.network(x, lengths=lengths)
        for b, length in enumerate(lengths):
            x[length:, b] = np.nan
        made = case.network(x, lengths=lengths)
        assert_same_bits(made, wanted)
        assert not made[0][2:, 2].any()
        assert not made[0][:, 1].any()


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("shape", [(0, 3, 5), (4, 0, 5), (0, 5)])
def test_no_steps_or_no_sequences(shape: tuple, pooling: Any) -> None:
    lstm = cellgate.LSTM(5, 9, seed=1)
    network = cellgate.Network(lstm, **make_parts(lstm, 2, pooling=pooling))
    y, state = network(np.zeros(shape, np.float32))
    wanted = shape[1:-1] if pooling else shape[:-1]
    assert y.shape == (*wanted, 3)
    assert state[0].shape == (1, *shape[1:-1], 9)


class TestObject:
    @pytest.fixture
    def network(self) -> cellgate.Network:
        lstm = cellgate.LSTM(5, 9, 2, seed=1)
        parts = make_parts(lstm, 3, sample_rate=44100.0, metadata={"name": "é", "gear": "amp"})
        return cellgate.Network(lstm, **parts)

    def same(self, other: cellgate.Network, network: cellgate.Network) -> None:
        assert type(other) is cellgate.Network
        assert repr(other) == repr(network)
        assert other.metadata == network.metadata
        assert other.sample_rate == network.sample_rate
        x = make_case(network.lstm, 6, 3, seed=2).x
        assert_same_bits(other(x), network(x))

    def test_attributes_are_those_given(self, network: cellgate.Network) -> None:
        parts = make_parts(network.lstm, 3)
        assert repr(network.lstm) == "LSTM(5, 9, num_layers=2)"
        assert (network.input_size, network.output_size) == (5, 3)
        assert network.dtype == np.float32
        assert network.batch_first is False
        assert network.pooling is None
        assert network.sample_rate == 44100.0
        for name in ("skip", "input_gain", "output_gain"):
            assert getattr(network, name) == parts[name]
        for name in ("input_mean", "input_scale", "initial_state"):
            assert_same_bits(getattr(network, name), parts[name])
        assert_same_bits(
            [network.head.weight, network.head.bias], [parts["head"].weight, parts["head"].bias]
        )
        assert network.head.activation == parts["head"].activation

    def test_attributes_of_what_was_not_given(self) -> None:
        network = cellgate.Network(cellgate.LSTM(2, 3, bidirectional=True))
        assert network.output_size == 6
        for name in (
            "head",
            "pooling",
            "input_mean",
            "input_scale",
            "initial_state",
            "sample_rate",
        ):
            assert getattr(network, name) is None
        assert (network.skip, network.input_gain, network.output_gain) == (0, 1, 1)
        assert network.metadata == {}
        assert repr(network) == "Network(LSTM(2, 3, bidirectional=True))"

    def test_cannot_be_changed_from_outside(self, network: cellgate.Network) -> None:
        x = make_case(network.lstm, 6, 3, seed=2).x
        wanted = network(x)
        network.lstm.load_state_dict(cellgate.LSTM(5, 9, 2, seed=5).state_dict())
        network.input_mean[:] = 7
        network.initial_state[0][:] = 7
        network.metadata.clear()
        assert_same_bits(network(x), wanted)
        assert len(network.metadata) == 2
        with pytest.raises(ValueError, match="read-only"):
            network.head.weight[:] = 7
        with pytest.raises(AttributeError):
            network.skip = 3.0

    def test_the_weights_are_those_of_the_moment_it_was_made(self) -> None:
        lstm = cellgate.LSTM(5, 9, seed=1)
        x, network = make_case(lstm, 6, 3, seed=2).x, cellgate.Network(lstm)
        wanted = lstm(x)
        lstm.load_state_dict(cellgate.LSTM(5, 9, seed=5).state_dict())
        assert_same_bits(network(x), wanted)
        assert_same_bits(network.lstm(x), wanted)

    @pytest.mark.parametrize(
        "duplicate", [copy.copy, copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))]
    )
    def test_copies(self, duplicate: Any, network: cellgate.Network) -> None:
        self.same(duplicate(network), network)
        head = duplicate(network.head)
        assert repr(head) == repr(network.head)
        assert_same_bits([head.weight, head.bias], [network.head.weight, network.head.bias])

    def test_narrower_floats_are_widened(self) -> None:
        lstm = cellgate.LSTM(5, 9, dtype="float64", seed=1)
        weight = np.linspace(-1, 1, 18).reshape(2, 9).astype(np.float16)
        network = cellgate.Network(lstm, cellgate.Linear(weight), input_mean=np.ones(5, np.float32))
        assert network.head.weight.dtype == network.input_mean.dtype == np.float64
        x = make_case(lstm, 6, 3, seed=2).x
        wide = cellgate.Linear(weight.astype(np.float64))
        other = cellgate.Network(lstm, wide, input_mean=np.ones(5))
        assert_same_bits(network(x), other(x))

    @pytest.mark.parametrize("pooling", POOLINGS)
    def test_arrays_of_any_layout(self, pooling: Any) -> None:
        lstm = cellgate.LSTM(4, 9, seed=1)
        parts = make_parts(lstm, 3, pooling=pooling)
        network = cellgate.Network(lstm, **parts)
        x = make_case(lstm, 6, 3, seed=2).x
        wide = np.zeros((6, 3, 8), np.float32)
        wide[..., ::2] = x
        assert_same_bits(network(wide[..., ::2]), network(x))
        assert_same_bits(network(np.asfortranarray(x)), network(x))
        head = parts["head"]
        transposed = cellgate.Linear(np.asfortranarray(head.weight), head.bias, head.activation)
        other = cellgate.Network(lstm, **{**parts, "head": transposed})
        assert_same_bits(other(x), network(x))


LSTM_5_9 = cellgate.LSTM(5, 9, seed=1)
WIDE = cellgate.LSTM(1, 9, seed=1)


class TestRefused:
    @pytest.mark.parametrize(
        ("parts", "error", "message"),
        [
            ({"head": 3}, TypeError, "head: must be a Linear or None, got int 3"),
            ({"pooling": "max"}, ValueError, "pooling: must be none, mean or last, got max"),
            ({"pooling": 1}, TypeError, "pooling: must be a string or None"),
            ({"input_mean": np.ones(4, "f4")}, ValueError, r"input_mean: must have shape \(5,\)"),
            ({"input_mean": np.ones(5)}, TypeError, "input_mean: dtype must be float32"),
            ({"input_mean": np.full(5, np.nan, "f4")}, ValueError, "input_mean: must be finite"),
            ({"input_scale": np.zeros(5, "f4")}, ValueError, "input_scale: must not be zero"),
            ({"input_scale": [1, 1, 1, 1, 1]}, TypeError, "input_scale: dtype must be float32"),
            ({"skip": "1"}, TypeError, "skip: must be a number, got str"),
            ({"skip": np.nan}, ValueError, "skip: must be finite"),
            ({"skip": 1.0}, ValueError, r"skip: must be 0 where the output is wider \(9\)"),
            ({"input_gain": np.inf}, ValueError, "input_gain: must be finite"),
            ({"output_gain": None, "input_gain": []}, TypeError, "input_gain: must be a number"),
            ({"initial_state": np.ones(5)}, TypeError, r"initial_state: must be a pair"),
            (
                {"initial_state": (np.ones((1, 9), "f4"), np.ones((1, 8), "f4"))},
                ValueError,
                r"initial_state: c: must have shape \(1, 9\), got shape \(1, 8\)",
            ),
            ({"sample_rate": 0}, ValueError, "sample_rate: must be positive"),
            ({"metadata": {"a": 1}}, TypeError, "metadata: must map strings to strings, got str"),
            ({"metadata": 3}, TypeError, "metadata: must be a mapping, got int 3"),
            (
                {"head": cellgate.Linear(np.ones((2, 8), "f4"))},
                ValueError,
                r"head: weight: must have shape \(O, 9\) with O of at least 1, got shape \(2, 8\)",
            ),
            (
                {"head": cellgate.Linear(np.ones((2, 9)))},
                TypeError,
                "head: weight: dtype must be float32",
            ),
        ],
        ids=str,
    )  # fmt: skip
    def test_parts(self, parts: dict, error: type, message: str) -> None:
        with pytest.raises(error, match=f"^{message}"):
            cellgate.Network(LSTM_5_9, **parts)

    def test_a_skip_with_pooling(self) -> None:
        head = cellgate.Linear(np.ones((1, 9), np.float32))
        with pytest.raises(ValueError, match="skip: must be 0 with pooling"):
            cellgate.Network(LSTM_5_9, head, skip=1.0, pooling="mean")

    def test_no_lstm(self) -> None:
        with pytest.raises(TypeError, match="lstm: must be an LSTM, got NoneType None"):
            cellgate.Network(None)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ((np.ones(3, "f4"),), ValueError, r"weight: must have shape \(O, D\*\(P or H\)\)"),
            ((np.ones((0, 3), "f4"),), ValueError, "weight: must have shape"),
            ((np.ones((2, 3), "i4"),), TypeError, "weight: must be float16, float32 or float64"),
            (("weights",), TypeError, "weight: must be float16"),
            ((np.ones((2, 3), "f4"), np.ones(3, "f4")), ValueError, r"bias: must have shape"),
            ((np.ones((2, 3), "f4"), None, "gelu"), ValueError, "activation: must be one of"),
            ((np.ones((2, 3), "f4"), None, 3), TypeError, "activation: must be a string"),
        ],
        ids=str,
    )  # fmt: skip
    def test_heads(self, arguments: tuple, error: type, message: str) -> None:
        with pytest.raises(error, match=message):
            cellgate.Linear(*arguments)

    @pytest.mark.parametrize(
        ("x", "more", "error", "message"),
        [
            (np.ones((3, 2, 4), "f4"), {}, ValueError, "x: last axis must be 5"),
            (np.ones((3, 2, 5)), {}, TypeError, "x: dtype must be float32"),
            (np.ones((3, 2, 5), "i4"), {}, TypeError, "x: dtype must be"),
            (np.ones((3, 2, 5), "f4"), {"lengths": [4, 1]}, ValueError, "lengths: must be from 0"),
            (np.ones((3, 2, 5), "f4"), {"reset": np.ones((2, 3), bool)}, ValueError, "reset: must"),
            (np.ones((3, 2, 5), "f4"), {"state": 3}, TypeError, "state: must be a pair"),
        ],
        ids=str,
    )
    def test_calls(self, x: Any, more: dict, error: type, message: str) -> None:
        with pytest.raises(error, match=f"^{message}"):
            cellgate.Network(LSTM_5_9)(x, **more)

    @pytest.mark.parametrize("pooling", ["mean", "last"])
    def test_a_reset_with_pooling(self, pooling: str) -> None:
        network = cellgate.Network(LSTM_5_9, pooling=pooling)
        with pytest.raises(
            ValueError, match=r"^reset: must be None with pooling, .* shape \(3, 2\)"
        ):
            network(np.ones((3, 2, 5), np.float32), reset=np.zeros((3, 2), bool))

    def test_sizes_that_no_machine_has(self) -> None:
        x = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), (2**40, 2**19, 1), (0, 0, 0))
        with pytest.raises(MemoryError, match="x: the results for shape"):
            cellgate.Network(WIDE, cellgate.Linear(np.ones((64, 9), np.float32)))(x)

    def test_batch_sizes_are_not_taken(self) -> None:
        held = cellgate.Network(LSTM_5_9)._network
        call = (np.ones((3, 5), np.float32), None, None, None, False, np.array([2, 1]))
        with pytest.raises(ValueError, match="batch_sizes: must be None for a network"):
            held.forward(call)


def test_outputs_of_counts_directions() -> None:
    assert outputs_of(cellgate.LSTM(2, 5, proj_size=3, bidirectional=True)) == 6
