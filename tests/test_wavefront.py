"""Layers as a wavefront: the same bits as one layer after the other, for everything that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cellgate
import numpy as np
import pytest
from cellgate import _core
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def _layers(restore_threads: None) -> Iterator[None]:
    yield
    _core._set_split("auto")


def arrays(result: tuple[Any, ...]) -> list[np.ndarray]:
    y, (h, c), *cells = result
    return [y, h, c, *cells]


def run(lstm: cellgate.LSTM, threads: int, split: str, *args: Any, **more: Any) -> list[np.ndarray]:
    cellgate.set_num_threads(threads)
    _core._set_split(split)
    return arrays(lstm(*args, **more))


def assert_same_bits(lstm: cellgate.LSTM, *args: Any, **more: Any) -> None:
    wanted = run(lstm, 1, "units", *args, **more)
    for threads in (2, 3, 4, 7):
        got = run(lstm, threads, "layers", *args, **more)
        for a, b in zip(wanted, got, strict=True):
            np.testing.assert_array_equal(a.view(np.uint8), b.view(np.uint8))


@pytest.mark.usefixtures("_layers")
@pytest.mark.parametrize("layers", [2, 3, 5])
@pytest.mark.parametrize("steps", [1, 2, 7, 70, 500])
@pytest.mark.parametrize("batch", [1, 5])
def test_same_bits_as_in_turn(layers: int, steps: int, batch: int) -> None:
    lstm = cellgate.LSTM(3, 9, num_layers=layers, seed=0)
    x = np.random.default_rng(1).standard_normal((steps, batch, 3), dtype=np.float32)
    assert_same_bits(lstm, x)


@pytest.mark.usefixtures("_layers")
@given(data=st.data())
def test_same_bits_with_everything(data: st.DataObject) -> None:
    hidden = data.draw(st.sampled_from([1, 7, 8, 17, 40]), "hidden")
    layers = data.draw(st.integers(2, 5), "layers")
    steps, batch = data.draw(st.integers(0, 60), "steps"), data.draw(st.integers(1, 6), "batch")
    dtype = data.draw(st.sampled_from(["float32", "float64"]), "dtype")
    proj = (
        data.draw(st.integers(1, hidden - 1), "proj")
        if hidden > 1 and data.draw(st.booleans())
        else 0
    )
    lstm = cellgate.LSTM(4, hidden, num_layers=layers, proj_size=proj, dtype=dtype, seed=0)
    rng = np.random.default_rng(2)
    x = rng.standard_normal((steps, batch, 4)).astype(dtype)
    more: dict[str, Any] = {"return_cells": data.draw(st.booleans(), "cells")}
    if data.draw(st.booleans(), "with lengths"):
        more["lengths"] = rng.integers(0, steps + 1, batch)
    if data.draw(st.booleans(), "with resets"):
        more["reset"] = rng.random((steps, batch)) < 0.2
    state = None
    if data.draw(st.booleans(), "with state"):
        state = (
            rng.standard_normal((layers, batch, proj or hidden)).astype(dtype),
            rng.standard_normal((layers, batch, hidden)).astype(dtype),
        )
    assert_same_bits(lstm, x, state, **more)


@pytest.mark.usefixtures("_layers")
def test_chunks_go_on_where_the_last_ended() -> None:
    lstm = cellgate.LSTM(3, 16, num_layers=3, seed=0)
    x = np.random.default_rng(1).standard_normal((90, 1, 3), dtype=np.float32)
    wanted = run(lstm, 1, "units", x)[0]
    cellgate.set_num_threads(3)
    _core._set_split("layers")
    stream = lstm.stream()
    parts = [stream.run(part) for part in np.split(x, [1, 2, 40])]
    np.testing.assert_array_equal(np.concatenate(parts), wanted)
