"""Bad input: a clear TypeError or ValueError that names the argument, and nothing changed."""

from __future__ import annotations

from typing import Any

import cellgate
import numpy as np
import pytest
from cases import digest

T, B, I, H = 6, 3, 5, 7  # noqa: E741
RAGGED = [[1.0, 2.0], [3.0]]

# Not convertible to an array of floats, for every argument.
NOT_FLOATS = {
    "None in a list": [None],
    "str": "abc",
    "bytes": b"abc",
    "dict": {"a": 1.0},
    "set": {1.0},
    "object": object(),
    "class": np.ndarray,
    "generator": (k for k in range(3)),
    "ragged list": RAGGED,
    "int": np.zeros((T, B, I), np.int32),
    "bool": np.zeros((T, B, I), bool),
    "complex": np.zeros((T, B, I), np.complex64),
    "datetime": np.zeros((T, B, I), "datetime64[s]"),
    "timedelta": np.zeros((T, B, I), "timedelta64[s]"),
    "strings": np.zeros((T, B, I), "U4"),
    "structured": np.zeros((T, B, I), [("a", "f4")]),
    "objects": np.full((T, B, I), 1.0, object),
    "float64 for a float32 model": np.zeros((T, B, I)),
    "long double": np.zeros((T, B, I), np.longdouble),
    "list of Python floats": np.zeros((T, B, I)).tolist(),
}
not_floats = pytest.mark.parametrize("wrong", NOT_FLOATS.values(), ids=NOT_FLOATS)


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


@pytest.fixture
def lstm() -> cellgate.LSTM:
    return cellgate.LSTM(I, H, 2, bidirectional=True, seed=1)


@pytest.fixture
def stream() -> Any:
    """A stream that has run, whose state no test here may change."""
    stream = cellgate.LSTM(I, H, 2, seed=1).stream(B)
    stream.step(np.linspace(-1, 1, B * I, dtype=np.float32).reshape(B, I))
    before = digest(list(stream.state))
    yield stream
    assert digest(list(stream.state)) == before


class TestX:
    @not_floats
    def test_of_a_wrong_type(self, lstm: cellgate.LSTM, wrong: Any) -> None:
        with pytest.raises(
            (TypeError, ValueError) if wrong is RAGGED else TypeError, match=r"^x: "
        ):
            lstm(wrong)

    def test_none(self, lstm: cellgate.LSTM) -> None:
        with pytest.raises(TypeError, match=r"^x: "):
            lstm(None)

    @pytest.mark.parametrize(
        "shape",
        [(), (I,), (T, B, I, 1), (T, B, I + 1), (T, B, 0), (T, I - 1), (0, 0, 0), (1,) * 32],
    )
    def test_of_a_wrong_shape(self, lstm: cellgate.LSTM, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"^x: ") as caught:
            lstm(zeros(*shape))
        assert str(shape) in str(caught.value)

    def test_the_message_has_the_form_of_the_house(self, lstm: cellgate.LSTM) -> None:
        with pytest.raises(ValueError, match=r"^x: last axis must be 5, got shape \(7, 3, 4\)$"):
            lstm(zeros(7, 3, 4))

    @pytest.mark.parametrize("shape", [(2**50, 1, I), (0, 2**50, I), (2**30, 2**20, I), (2**50, I)])
    def test_results_too_large_for_any_machine(
        self, lstm: cellgate.LSTM, shape: tuple[int, ...]
    ) -> None:
        x = np.broadcast_to(np.float32(0), shape) if 0 not in shape else np.empty(shape, np.float32)
        with pytest.raises((ValueError, MemoryError)):
            lstm(x)


class TestState:
    good = (zeros(4, B, H), zeros(4, B, H))

    @pytest.mark.parametrize(
        "wrong",
        [0, 1.0, "hc", object(), zeros(4, B, H), [], (zeros(4, B, H),), (*good, good[0]), {}],
        ids=lambda w: type(w).__name__,
    )
    def test_that_is_no_pair(self, lstm: cellgate.LSTM, wrong: Any) -> None:
        with pytest.raises((TypeError, ValueError), match="state"):
            lstm(zeros(T, B, I), wrong)

    @not_floats
    @pytest.mark.parametrize("which", [0, 1])
    def test_of_a_wrong_type(self, lstm: cellgate.LSTM, which: int, wrong: Any) -> None:
        state: list[Any] = [*self.good]
        state[which] = wrong
        expected = (TypeError, ValueError) if wrong is RAGGED else TypeError
        with pytest.raises(expected, match=r"^state|^h_0|^c_0|^h|^c"):
            lstm(zeros(T, B, I), tuple(state))

    def test_with_none(self, lstm: cellgate.LSTM) -> None:
        with pytest.raises(TypeError):
            lstm(zeros(T, B, I), (None, self.good[1]))

    @pytest.mark.parametrize(
        "shape",
        [(4, B + 1, H), (4, 1, H), (2, B, H), (4, B, H + 1), (4, H), (B, 4, H), (4, B, H, 1), ()],
    )
    @pytest.mark.parametrize("which", [0, 1])
    def test_of_a_wrong_shape(
        self, lstm: cellgate.LSTM, which: int, shape: tuple[int, ...]
    ) -> None:
        state = [*self.good]
        state[which] = zeros(*shape)
        with pytest.raises(ValueError, match=r"\(4, 3, 7\)") as caught:
            lstm(zeros(T, B, I), tuple(state))
        assert str(shape) in str(caught.value)

    def test_h_and_c_exchanged_where_they_differ(self) -> None:
        lstm = cellgate.LSTM(I, H, proj_size=2)
        with pytest.raises(ValueError, match=r"\(1, 3, 2\)"):
            lstm(zeros(T, B, I), (zeros(1, B, H), zeros(1, B, 2)))

    def test_with_a_batch_for_an_input_without_one(self, lstm: cellgate.LSTM) -> None:
        with pytest.raises(ValueError, match=r"\(4, 7\)"):
            lstm(zeros(T, I), (zeros(4, 1, H), zeros(4, 1, H)))


class TestLengths:
    @pytest.mark.parametrize(
        "wrong",
        [
            [-1, 2, 3],
            [1, 2, T + 1],
            [0, 0, 2**62],
            [-(2**63), 0, 0],
            np.array([2**64 - 1, 0, 0], "u8"),
        ],
        ids=str,
    )
    def test_out_of_range(self, lstm: cellgate.LSTM, wrong: Any) -> None:
        with pytest.raises(ValueError, match=r"^lengths: "):
            lstm(zeros(T, B, I), lengths=wrong)

    @pytest.mark.parametrize(
        "wrong",
        [5, [5], [1, 2], [1, 2, 3, 4], [[1, 2, 3]], np.zeros((B, 1), int), np.zeros((0,), int)],
        ids=repr,
    )
    def test_of_a_wrong_shape(self, lstm: cellgate.LSTM, wrong: Any) -> None:
        with pytest.raises(ValueError, match=r"^lengths: "):
            lstm(zeros(T, B, I), lengths=wrong)

    @pytest.mark.parametrize(
        "wrong",
        [
            [np.nan, 1, 2],
            [1.0, 2.0, 3.0],
            np.ones(B, np.float32),
            [True, False, True],
            ["1", "2", "3"],
            [None] * B,
            [1 + 0j] * B,
            np.zeros(B, "timedelta64[s]"),
            np.ones(B, object),
            np.zeros(B, [("a", "i4")]),
            [2**70, 0, 0],
            "123",
            object(),
            {1, 2, 3},
        ],
        ids=repr,
    )
    def test_of_a_wrong_type(self, lstm: cellgate.LSTM, wrong: Any) -> None:
        with pytest.raises((TypeError, ValueError), match=r"^lengths: "):
            lstm(zeros(T, B, I), lengths=wrong)


class TestReset:
    @pytest.mark.parametrize(
        "shape", [(), (T,), (B, T), (T, 1), (1, B), (T, B, 1), (T, B + 1), (0, B)]
    )
    def test_of_a_wrong_shape(self, lstm: cellgate.LSTM, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"^reset: "):
            lstm(zeros(T, B, I), reset=np.zeros(shape, bool))

    @pytest.mark.parametrize(
        "wrong",
        [
            np.zeros((T, B), np.int64),
            np.zeros((T, B), np.uint8),
            zeros(T, B),
            np.zeros((T, B), object),
            np.zeros((T, B), "U1"),
            "reset",
            object(),
            RAGGED,
        ],
        ids=lambda w: str(getattr(w, "dtype", type(w).__name__)),
    )
    def test_of_a_wrong_type(self, lstm: cellgate.LSTM, wrong: Any) -> None:
        with pytest.raises((TypeError, ValueError), match=r"^reset: "):
            lstm(zeros(T, B, I), reset=wrong)

    def test_is_laid_out_like_x(self) -> None:
        lstm = cellgate.LSTM(I, H, batch_first=True)
        lstm(zeros(B, T, I), reset=np.zeros((B, T), bool))
        with pytest.raises(ValueError, match=r"^reset: "):
            lstm(zeros(B, T, I), reset=np.zeros((T, B), bool))


class TestOptions:
    @pytest.mark.parametrize("wrong", ["same", "", "ZERO"])
    def test_padding_of_another_kind(self, lstm: cellgate.LSTM, wrong: str) -> None:
        with pytest.raises(ValueError, match=r'^padding: must be "zero"'):
            lstm(zeros(T, B, I), padding=wrong)

    @pytest.mark.parametrize("wrong", [None, 0, zeros(3), ["zero"]], ids=repr)
    def test_padding_of_a_wrong_type(self, lstm: cellgate.LSTM, wrong: Any) -> None:
        with pytest.raises(TypeError, match=r'^padding: must be "zero"'):
            lstm(zeros(T, B, I), padding=wrong)

    @pytest.mark.parametrize("wrong", [None, 1, "yes", zeros(2)], ids=repr)
    def test_return_cells_that_is_no_bool(self, lstm: cellgate.LSTM, wrong: Any) -> None:
        with pytest.raises(TypeError, match=r"^return_cells: must be True or False"):
            lstm(zeros(T, B, I), return_cells=wrong)

    def test_options_have_no_positions(self, lstm: cellgate.LSTM) -> None:
        with pytest.raises(TypeError, match="positional"):
            lstm(zeros(T, B, I), None, [1, 2, 3])


def huge(*shape: int) -> np.ndarray:
    """An array that repeats one value: 12 TiB or more, should anything copy it."""
    return np.broadcast_to(np.float16(0), (2**20, 2**20, *shape))


def test_a_huge_head_of_a_wrong_shape() -> None:
    with pytest.raises(ValueError, match=r"^weight: must have shape"):
        cellgate.Linear(huge(3))
    with pytest.raises(ValueError, match=r"^bias: must have shape"):
        cellgate.Linear(np.ones((2, 3), np.float32), huge())


class TestShapesAreRefusedBeforeAnythingIsCopied:
    """A copy would raise a MemoryError that does not name the shape."""

    def test_x(self, lstm: cellgate.LSTM) -> None:
        for call in (lstm, lstm.record, cellgate.LSTM(I, H).stream(B).run):
            with pytest.raises(ValueError, match=r"^x: .*\(1048576, 1048576, 6\)"):
                call(huge(I + 1))

    def test_state(self, lstm: cellgate.LSTM) -> None:
        x, good = zeros(T, B, I), zeros(4, B, H)
        for call in (lstm, lstm.record):
            for pair in ((huge(H), good), (good, huge(H))):
                with pytest.raises(ValueError, match=r"^state: [hc]: .*\(4, 3, 7\)"):
                    call(x, pair)
            # x has a good shape, which would be too large to widen
            with pytest.raises(ValueError, match=r"^state: h: .*\(4, 3, 7\)"):
                call(huge(I), (zeros(4, B, H), good))

    def test_state_of_a_stream(self, stream: cellgate.Stream) -> None:
        with pytest.raises(ValueError, match=r"^state: h: .*\(2, 3, 7\)"):
            stream.state = huge(H), zeros(2, B, H)

    def test_lengths_and_reset(self, lstm: cellgate.LSTM) -> None:
        for call in (lstm, lstm.record):
            with pytest.raises(ValueError, match=r"^lengths: .*\(3,\)"):
                call(zeros(T, B, I), lengths=np.broadcast_to(np.int32(0), 2**45))
            with pytest.raises(ValueError, match=r"^reset: .*\(6, 3\)"):
                call(zeros(T, B, I), reset=np.broadcast_to(np.False_, (2**45, B)))

    def test_derivatives(self, lstm: cellgate.LSTM) -> None:
        tape = lstm.record(zeros(T, B, I), return_cells=True)
        for name, wrong in (
            ("d_output", huge(2 * H)),
            ("d_cells", huge(2 * H)),
            ("d_state", (huge(H), None)),
            ("d_state", (None, huge(H))),
        ):
            with pytest.raises(ValueError, match=rf"^{name}: .*\(1048576, 1048576, "):
                tape.backward(**{name: wrong})

    def test_results_that_no_machine_holds(self, lstm: cellgate.LSTM) -> None:
        x = np.broadcast_to(np.float32(0), (2**29, 2**29, I))
        for call in (lstm, lstm.record):
            with pytest.raises(MemoryError, match=r"^x: the results for shape .* bytes"):
                call(x)


class TestWords:
    def test_none_is_called_none(self, lstm: cellgate.LSTM, stream: cellgate.Stream) -> None:
        for call in (
            lambda: lstm(None),
            lambda: lstm.record(None),
            lambda: stream.step(None),
            lambda: stream.run(None),
            lambda: lstm(zeros(T, B, I), (None, zeros(4, B, H))),
        ):
            with pytest.raises(
                TypeError, match=r"dtype must be float32 or a narrower float, got None$"
            ):
                call()

    def test_objects_are_called_by_their_type(self, lstm: cellgate.LSTM) -> None:
        with pytest.raises(TypeError, match=r"got set \(dtype object\)$"):
            lstm({1.0})
        with pytest.raises(TypeError, match=r"got object$"):
            lstm(np.full((T, B, I), 1.0, object))
        with pytest.raises(
            TypeError, match=r"^state: must be a pair \(h, c\) of arrays, got dict$"
        ):
            lstm(zeros(T, B, I), {})

    def test_a_range_of_one_row(self) -> None:
        with pytest.raises(ValueError, match=r"^rows: must be 0, got 3$"):
            cellgate.LSTM(I, H).stream().reset(3)
        with pytest.raises(ValueError, match=r"^rows: must be from 0 to 2, got 3$"):
            cellgate.LSTM(I, H).stream(B).reset([0, 3])


class TestArgumentsOfMethods:
    def test_by_position_and_by_name(self) -> None:
        stream = cellgate.LSTM(I, H, seed=1).stream(B)
        x, out = zeros(B, I), zeros(B, H)
        assert stream.step(x=x, out=out) is out
        assert stream.step(x, out=out) is out
        assert stream.step(out=out, x=x) is out
        assert stream.reset(rows=[0]) is None
        assert stream.reset() is None

    @pytest.mark.parametrize("method", ["step", "run"])
    @pytest.mark.parametrize(
        ("positions", "names", "message"),
        [
            (0, (), r"missing required argument 'x'"),
            (0, ("out",), r"missing required argument 'x'"),
            (1, ("x",), r"multiple values for argument 'x'"),
            (1, ("y",), r"unexpected keyword argument 'y'"),
            (1, ("\0",), r"unexpected keyword argument"),
            (3, (), r"at most 2 arguments, got 3"),
        ],
    )
    def test_that_are_wrong(
        self,
        stream: cellgate.Stream,
        method: str,
        positions: int,
        names: tuple[str, ...],
        message: str,
    ) -> None:
        x = zeros(B, I) if method == "step" else zeros(1, B, I)
        with pytest.raises(TypeError, match=rf"^{method}\(\) .*{message}"):
            getattr(stream, method)(*[x] * positions, **dict.fromkeys(names, x))

    def test_of_an_object_of_another_class(self, stream: cellgate.Stream) -> None:
        with pytest.raises(TypeError):
            cellgate.Stream.step(cellgate.LSTM(I, H), zeros(B, I))
        with pytest.raises(TypeError, match="never initialised"):
            cellgate.Stream.__new__(cellgate.Stream).step(zeros(B, I))


class TestLoadStateDict:
    @pytest.mark.parametrize("wrong", [None, 7, "weights", [], [("a", 1)], object()], ids=repr)
    def test_of_no_mapping(self, lstm: cellgate.LSTM, wrong: Any) -> None:
        before = digest([*lstm.state_dict().values()])
        with pytest.raises(TypeError, match=r"^state_dict: must be a mapping"):
            lstm.load_state_dict(wrong)
        assert digest([*lstm.state_dict().values()]) == before

    def test_of_nothing_names_everything(self, lstm: cellgate.LSTM) -> None:
        with pytest.raises(ValueError, match=r"^state_dict: ") as caught:
            lstm.load_state_dict({})
        for name in lstm.state_dict():
            assert f"{name} is missing" in str(caught.value)
