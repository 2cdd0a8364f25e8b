"""Bad input to record and backward: a clear error that names the argument, and nothing changed:
the tape can still be used and no accumulator was touched."""

from __future__ import annotations

import copy
from typing import Any

import cellgate
import numpy as np
import pytest
from cases import Training, assert_same_bits, digest, make_case, make_training
from cellgate._core import Call, Derivatives
from cellgate._core import Training as Settings
from test_bad_input import NOT_FLOATS, RAGGED, B, H, I, T, zeros

not_floats = pytest.mark.parametrize("wrong", NOT_FLOATS.values(), ids=NOT_FLOATS)
SHAPES = [
    (),
    (T,),
    (T, B),
    (B, T, 2 * H),
    (T, B, H),
    (T, B, 2 * H, 1),
    (T, B + 1, 2 * H),
    (0, 0, 0),
]
shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)


def some_training(**config: Any) -> Training:
    lstm = cellgate.LSTM(I, H, 2, bidirectional=True, **config, seed=1)
    return make_training(make_case(lstm, T, B, seed=2), 3)


@pytest.fixture
def lstm() -> cellgate.LSTM:
    return cellgate.LSTM(I, H, 2, bidirectional=True, dropout=0.5, seed=1)


@pytest.fixture
def sums() -> Any:
    """Accumulators that no test here may touch."""
    sums = cellgate.LSTM(I, H, 2, bidirectional=True, seed=1).state_dict()
    before = digest(sums)
    yield sums
    assert digest(sums) == before


@pytest.fixture
def tape() -> Any:
    """A tape that no test here may use up, nor change."""
    training = some_training()
    tape = training.record()
    yield tape
    assert_same_bits(training.backward(tape), training.gradients())


class TestRecord:
    @not_floats
    def test_x_of_a_wrong_type(self, lstm: cellgate.LSTM, wrong: Any) -> None:
        with pytest.raises(
            (TypeError, ValueError) if wrong is RAGGED else TypeError, match=r"^x: "
        ):
            lstm.record(wrong)

    @pytest.mark.parametrize(
        "wrong", [None, np.ma.zeros((T, B, I), np.float32)], ids=["None", "mask"]
    )
    def test_x_that_is_no_plain_array(self, lstm: cellgate.LSTM, wrong: Any) -> None:
        with pytest.raises(TypeError, match=r"^x: "):
            lstm.record(wrong)

    @pytest.mark.parametrize("shape", [(), (I,), (T, B, I, 1), (T, B, I + 1), (T, B, 0), (0, 0, 0)])
    def test_x_of_a_wrong_shape(self, lstm: cellgate.LSTM, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"^x: ") as caught:
            lstm.record(zeros(*shape))
        assert str(shape) in str(caught.value)

    @pytest.mark.parametrize(
        "wrong",
        [
            0,
            "hc",
            zeros(4, B, H),
            (zeros(4, B, H),),
            (zeros(4, B, H), None),
            (zeros(4, B, H), zeros(4, B, H + 1)),
            (zeros(2, B, H), zeros(4, B, H)),
            (zeros(4, B, H), np.zeros((4, B, H))),
            (zeros(4, B, H), RAGGED),
        ],
        ids=lambda w: type(w).__name__,
    )
    def test_state(self, lstm: cellgate.LSTM, wrong: Any) -> None:
        with pytest.raises((TypeError, ValueError), match=r"^state"):
            lstm.record(zeros(T, B, I), wrong)

    @pytest.mark.parametrize(
        "wrong",
        [
            [-1, 2, 3],
            [1, 2, T + 1],
            [5],
            [1.0, 2.0, 3.0],
            [True] * B,
            RAGGED,
            [2**70, 0, 0],
            "123",
            [],
        ],
        ids=str,
    )
    def test_lengths(self, lstm: cellgate.LSTM, wrong: Any) -> None:
        with pytest.raises((TypeError, ValueError), match=r"^lengths: "):
            lstm.record(zeros(T, B, I), lengths=wrong)

    @pytest.mark.parametrize(
        "wrong",
        [np.zeros((B, T), bool), np.zeros((T, B), int), zeros(T, B), RAGGED, "reset"],
        ids=repr,
    )
    def test_reset(self, lstm: cellgate.LSTM, wrong: Any) -> None:
        with pytest.raises((TypeError, ValueError), match=r"^reset: "):
            lstm.record(zeros(T, B, I), reset=wrong)

    @pytest.mark.parametrize("name", ["training", "return_cells"])
    @pytest.mark.parametrize("wrong", [None, 1, "yes", zeros(2)], ids=repr)
    def test_switches(self, lstm: cellgate.LSTM, wrong: Any, name: str) -> None:
        with pytest.raises(TypeError, match=rf"^{name}: must be True or False"):
            lstm.record(zeros(T, B, I), **{name: wrong})

    @pytest.mark.parametrize(
        ("name", "wrong", "error"),
        [
            ("seed", -1, ValueError),
            ("seed", 2**64, ValueError),
            ("seed", 2**100, ValueError),
            ("seed", 1.0, TypeError),
            ("seed", True, TypeError),
            ("seed", "1", TypeError),
            ("seed", np.array([1]), TypeError),
            ("checkpoint", 0, ValueError),
            ("checkpoint", -1, ValueError),
            ("checkpoint", 2**64, ValueError),
            ("checkpoint", 2.0, TypeError),
            ("checkpoint", True, TypeError),
            ("checkpoint", "2", TypeError),
        ],
    )
    def test_numbers(self, lstm: cellgate.LSTM, name: str, wrong: Any, error: Any) -> None:
        with pytest.raises(error, match=rf"^{name}: must "):
            lstm.record(zeros(T, B, I), **{name: wrong})

    def test_options_have_no_positions(self, lstm: cellgate.LSTM) -> None:
        with pytest.raises(TypeError, match="positional"):
            lstm.record(zeros(T, B, I), None, [1, 2, 3])

    @pytest.mark.parametrize("checkpoint", [None, 1000])
    @pytest.mark.parametrize("shape", [(2**50, 1, I), (0, 2**50, I), (2**30, 2**20, I), (2**50, I)])
    def test_tapes_too_large_for_any_machine(
        self, lstm: cellgate.LSTM, shape: tuple[int, ...], checkpoint: int | None
    ) -> None:
        x = np.broadcast_to(np.float32(0), shape) if 0 not in shape else np.empty(shape, np.float32)
        with pytest.raises((ValueError, MemoryError)):
            lstm.record(x, checkpoint=checkpoint)


class TestDerivatives:
    @not_floats
    @pytest.mark.parametrize("name", ["d_output", "d_cells"])
    def test_of_a_wrong_type(self, tape: cellgate.Tape, sums: Any, name: str, wrong: Any) -> None:
        if isinstance(wrong, np.ndarray):
            wrong = np.zeros((T, B, 2 * H), wrong.dtype)
        expected = (TypeError, ValueError) if wrong is RAGGED else TypeError
        with pytest.raises(expected, match=rf"^{name}: "):
            tape.backward(**{name: wrong}, accumulate=sums)

    @shapes
    @pytest.mark.parametrize("name", ["d_output", "d_cells"])
    def test_of_a_wrong_shape(
        self, tape: cellgate.Tape, sums: Any, name: str, shape: tuple[int, ...]
    ) -> None:
        with pytest.raises(ValueError, match=rf"^{name}: .*\(6, 3, 14\)") as caught:
            tape.backward(**{name: zeros(*shape)}, accumulate=sums)
        assert str(shape) in str(caught.value)

    @not_floats
    @pytest.mark.parametrize("which", [0, 1])
    def test_by_the_state_of_a_wrong_type(
        self, tape: cellgate.Tape, sums: Any, which: int, wrong: Any
    ) -> None:
        pair: list[Any] = [None, None]
        pair[which] = wrong
        expected = (TypeError, ValueError) if wrong is RAGGED else TypeError
        with pytest.raises(expected, match=f"^d_state: {'hc'[which]}: "):
            tape.backward(tape.output, pair, accumulate=sums)

    @pytest.mark.parametrize(
        "shape", [(), (4, H), (2, B, H), (4, B, H + 1), (B, 4, H), (4, B, H, 1)]
    )
    @pytest.mark.parametrize("which", [0, 1])
    def test_by_the_state_of_a_wrong_shape(
        self, tape: cellgate.Tape, sums: Any, which: int, shape: tuple[int, ...]
    ) -> None:
        pair: list[Any] = [zeros(4, B, H), zeros(4, B, H)]
        pair[which] = zeros(*shape)
        with pytest.raises(ValueError, match=rf"^d_state: {'hc'[which]}: .*\(4, 3, 7\)") as caught:
            tape.backward(d_state=pair, accumulate=sums)
        assert str(shape) in str(caught.value)

    @pytest.mark.parametrize(
        "wrong",
        [0, "hc", zeros(2, 4, B, H), {}, (), (zeros(4, B, H),), (None,) * 3, object()],
        ids=lambda w: type(w).__name__,
    )
    def test_by_the_state_that_is_no_pair(self, tape: cellgate.Tape, sums: Any, wrong: Any) -> None:
        with pytest.raises((TypeError, ValueError), match=r"^d_state: must be a pair"):
            tape.backward(tape.output, wrong, accumulate=sums)

    @pytest.mark.parametrize("nothing", [None, (None, None), [None, None]], ids=repr)
    def test_that_are_all_missing(self, tape: cellgate.Tape, sums: Any, nothing: Any) -> None:
        with pytest.raises(ValueError, match=r"^backward: one of d_output, d_state and d_cells"):
            tape.backward(None, nothing, accumulate=sums)

    def test_by_cells_that_were_not_returned(self, sums: Any) -> None:
        tape = some_training().record(return_cells=False)
        with pytest.raises(ValueError, match=r"^d_cells: .*return_cells=True"):
            tape.backward(tape.output, d_cells=zeros(T, B, 2 * H), accumulate=sums)
        tape.backward(tape.output)

    def test_with_a_batch_for_a_tape_without_one(self, lstm: cellgate.LSTM) -> None:
        tape = lstm.record(zeros(T, I))
        with pytest.raises(ValueError, match=r"^d_output: .*\(6, 14\)"):
            tape.backward(zeros(T, 1, 2 * H))
        with pytest.raises(ValueError, match=r"^d_state: h: .*\(4, 7\)"):
            tape.backward(d_state=(zeros(4, 1, H), None))
        tape.backward(tape.output)

    @pytest.mark.parametrize("name", ["keep", "input_gradient"])
    @pytest.mark.parametrize("wrong", [None, 1, "yes", zeros(2)], ids=repr)
    def test_with_switches_that_are_none(
        self, tape: cellgate.Tape, sums: Any, wrong: Any, name: str
    ) -> None:
        with pytest.raises(TypeError, match=rf"^{name}: must be True or False"):
            tape.backward(tape.output, **{name: wrong}, accumulate=sums)

    def test_options_have_no_positions(self, tape: cellgate.Tape) -> None:
        with pytest.raises(TypeError, match="positional"):
            tape.backward(tape.output, None, None)


class TestAccumulators:
    @pytest.mark.parametrize("wrong", [0, "sums", [], [("a", 1)], zeros(3), object()], ids=repr)
    def test_that_are_no_mapping(self, tape: cellgate.Tape, wrong: Any) -> None:
        with pytest.raises(TypeError, match=r"^accumulate: must be a mapping"):
            tape.backward(tape.output, accumulate=wrong)

    def test_that_are_missing(self, tape: cellgate.Tape, sums: Any) -> None:
        for name in sums:
            others = {other: array for other, array in sums.items() if other != name}
            with pytest.raises(ValueError, match=f"^accumulate: .*{name}"):
                tape.backward(tape.output, accumulate=others)
        with pytest.raises(ValueError, match=r"^accumulate: "):
            tape.backward(tape.output, accumulate={})

    @pytest.mark.parametrize("name", ["weight_ih_l2", "", 7, None, ("a",)], ids=repr)
    def test_that_are_unexpected(self, tape: cellgate.Tape, sums: Any, name: Any) -> None:
        with pytest.raises(ValueError, match=r"^accumulate: "):
            tape.backward(tape.output, accumulate={**sums, name: zeros(3)})

    @pytest.mark.parametrize("name", ["weight_ih_l0", "weight_hh_l1_reverse", "bias_hh_l1"])
    def test_that_cannot_be_added_to(self, tape: cellgate.Tape, sums: Any, name: str) -> None:
        good = sums[name]
        read_only = good.copy()
        read_only.flags.writeable = False
        shape = good.shape
        for given in (
            None,
            0.0,
            good.tolist(),
            good.astype(np.float64),
            good.astype(np.float16),
            good.astype(">f4"),
            good.astype(np.int32),
            good.astype(object),
            zeros(*shape, 1),
            zeros(*shape[:-1], shape[-1] + 1),
            zeros(shape[0] - 1, *shape[1:]),
            read_only,
            memoryview(good),
            zeros(2 * shape[0], *shape[1:])[::2],
            np.broadcast_to(np.float32(0), shape),
            np.lib.stride_tricks.as_strided(zeros(*shape), shape, [0] * len(shape)),
        ):
            before = copy.deepcopy(np.asarray(given))
            with pytest.raises((TypeError, ValueError), match=f"^accumulate: {name}"):
                tape.backward(tape.output, accumulate={**sums, name: given})
            np.testing.assert_array_equal(given, before)

    def test_that_share_memory(self, tape: cellgate.Tape, sums: Any) -> None:
        with pytest.raises(ValueError, match=r"^accumulate: .*share memory.*bias_.h_l0"):
            tape.backward(tape.output, accumulate={**sums, "bias_hh_l0": sums["bias_ih_l0"]})
        whole = zeros(2 * 28 - 1)
        pair = {"bias_ih_l0": whole[:28], "bias_hh_l0": whole[27:]}
        with pytest.raises(ValueError, match=r"^accumulate: .*share memory.*bias_.h_l0"):
            tape.backward(tape.output, accumulate={**sums, **pair})
        assert not whole.any()

    @pytest.mark.parametrize("argument", ["d_output", "d_cells", "d_state"])
    def test_that_share_memory_with_what_is_read(self, argument: str) -> None:
        lstm = cellgate.LSTM(4, 4, bias=False, seed=1)
        sums = {name: np.zeros_like(w) for name, w in lstm.state_dict().items()}
        tape = lstm.record(np.zeros((4, 4, 4), np.float32), return_cells=True)
        shared: Any = sums["weight_hh_l0"].reshape(4, 4, 4)
        if argument == "d_state":
            shared = (None, shared[:1])
        with pytest.raises(ValueError, match=rf"^accumulate: weight_hh_l0: .*{argument}"):
            tape.backward(**{argument: shared}, accumulate=sums)
        assert not any(array.any() for array in sums.values())

    def test_sizes_that_no_memory_holds(self) -> None:
        """Arrays that repeat one value may have any shape."""
        model, x = cellgate.LSTM(1, 1)._model, np.broadcast_to(np.float32(0), (2**30, 2**30, 1))
        with pytest.raises(MemoryError, match=r"^tape: .* bytes"):
            model.backward(zeros(1), Call(x), Settings(checkpoint=1), Derivatives(output=x))
