"""Bad input to a stream: a clear TypeError or ValueError, and a state that is unchanged."""

from __future__ import annotations

from typing import Any

import cellgate
import numpy as np
import pytest
from cases import digest
from test_bad_input import RAGGED, B, H, I, T, not_floats, zeros


@pytest.fixture
def stream() -> Any:
    """A stream that has run, whose state no test here may change."""
    stream = cellgate.LSTM(I, H, 2, seed=1).stream(B)
    stream.step(np.linspace(-1, 1, B * I, dtype=np.float32).reshape(B, I))
    before = digest(list(stream.state))
    yield stream
    assert digest(list(stream.state)) == before


class TestStream:
    @not_floats
    @pytest.mark.parametrize("method", ["step", "run"])
    def test_x_of_a_wrong_type(self, stream: cellgate.Stream, method: str, wrong: Any) -> None:
        if isinstance(wrong, np.ndarray) and method == "step":
            wrong = wrong[0]
        expected = (TypeError, ValueError) if wrong is RAGGED else TypeError
        with pytest.raises(expected, match=r"^x: "):
            getattr(stream, method)(wrong)

    @pytest.mark.parametrize(
        ("method", "shape"),
        [
            *(("step", s) for s in [(), (I,), (B, I + 1), (B + 1, I), (1, B, I), (I, B), (0, I)]),
            *(("run", s) for s in [(), (I,), (B, I), (T, B, I + 1), (T, B + 1, I), (T, 1, I)]),
        ],
    )
    def test_x_of_a_wrong_shape(
        self, stream: cellgate.Stream, method: str, shape: tuple[int, ...]
    ) -> None:
        with pytest.raises(ValueError, match=r"^x: ") as caught:
            getattr(stream, method)(zeros(*shape))
        assert str(shape) in str(caught.value)

    @pytest.mark.parametrize("method", ["step", "run"])
    @pytest.mark.parametrize(
        "wrong",
        [
            "out",
            7,
            [[0.0] * H] * B,
            np.zeros((B, H)),
            np.zeros((B, H), np.int32),
            np.zeros((B, H), object),
            zeros(H),
            zeros(B, H + 1),
            zeros(H, B),
            zeros(1, B, H, 1),
            np.broadcast_to(np.float32(0), (B, H)),
        ],
        ids=lambda w: f"{type(w).__name__} {getattr(w, 'dtype', '')}{getattr(w, 'shape', '')}",
    )
    def test_out_that_cannot_be_written(
        self, stream: cellgate.Stream, method: str, wrong: Any
    ) -> None:
        x = zeros(B, I) if method == "step" else zeros(1, B, I)
        if method == "run" and getattr(wrong, "shape", None) == (B, H):
            wrong = wrong[None]
        with pytest.raises((TypeError, ValueError), match=r"^out: "):
            getattr(stream, method)(x, wrong)

    @pytest.mark.parametrize(
        "wrong",
        [
            None,
            0,
            "hc",
            (),
            (zeros(2, B, H),),
            (zeros(2, B, H), None),
            (zeros(2, B, H), np.zeros((2, B, H))),
            (np.zeros((2, B, H), int), zeros(2, B, H)),
            (zeros(2, B, H), zeros(2, B + 1, H)),
            (zeros(1, B, H), zeros(2, B, H)),
            (zeros(2, B, H),) * 3,
        ],
        ids=lambda w: type(w).__name__,
    )
    def test_state(self, stream: cellgate.Stream, wrong: Any) -> None:
        with pytest.raises((TypeError, ValueError), match=r"state|^h|^c"):
            stream.state = wrong

    @pytest.mark.parametrize(
        "wrong",
        [
            [True],
            [True] * (B + 1),
            np.ones((B, 1), bool),
            [B],
            [-1],
            [0, 2**62],
            [2**70],
            [[0]],
            [0.0],
            [np.nan],
            ["0"],
            [None],
            "0",
            object(),
            np.zeros(B, object),
        ],
        ids=repr,
    )
    def test_rows_to_reset(self, stream: cellgate.Stream, wrong: Any) -> None:
        with pytest.raises((TypeError, ValueError), match=r"^rows: "):
            stream.reset(wrong)

    @pytest.mark.parametrize(
        ("wrong", "error"),
        [
            (0, ValueError),
            (-1, ValueError),
            (2**62, (ValueError, MemoryError)),
            (2**70, (ValueError, TypeError, MemoryError)),
            (1.0, TypeError),
            (True, TypeError),
            ("1", TypeError),
            (None, TypeError),
        ],
    )
    def test_batch_size(self, wrong: Any, error: Any) -> None:
        with pytest.raises(error, match="batch_size"):
            cellgate.LSTM(I, H).stream(wrong)

    def test_a_stream_of_no_lstm(self) -> None:
        for wrong in (None, object(), cellgate.LSTM):
            with pytest.raises(TypeError, match=r"^lstm: must be an LSTM"):
                cellgate.Stream(wrong)
