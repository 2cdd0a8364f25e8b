"""Windows of series to train on. Called by forecaster_fit.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class Prepared(NamedTuple):
    """One series, ready for the network."""

    x: NDArray[np.float32]  # (T, I)
    base: Floats  # (T, h), linear forecasts, scaled
    residual: Floats  # (T, h), scaled targets minus base; NaN where either is not known


def training_places(
    ends: list[int], window: int, horizon: int, first_known: int
) -> list[tuple[int, int]]:
    """(series, step) of every possible start of a window: its last step, at least, has a target."""
    places = []
    for k, end in enumerate(ends):
        last = end - horizon - 1  # the last step whose targets all lie before `end`
        begins = range(max(1, last - window + 2))
        places += [(k, b) for b in begins if b + window - 1 >= first_known and last > b]
    if not places:
        raise ValueError("y: is too short to learn from, beside what is held out")
    return places


def window_arrays(
    places: list[tuple[int, int]], prepared: list[Prepared], ends: list[int], window: int
) -> tuple[NDArray[np.float32], NDArray[np.int64], Floats, Floats]:
    """Windows as x (T, B, I), lengths (B,), residual (T, B, h) and the steps' weights (T, B)."""
    inputs, horizon = prepared[0].x.shape[1], prepared[0].residual.shape[1]
    x = np.zeros((window, len(places), inputs), np.float32)
    residual = np.full((window, len(places), horizon), np.nan)
    lengths = np.empty(len(places), np.int64)
    for b, (k, begin) in enumerate(places):
        stop = min(begin + window, ends[k] - horizon)
        lengths[b] = stop - begin
        x[: stop - begin, b] = prepared[k].x[begin:stop]
        residual[: stop - begin, b] = prepared[k].residual[begin:stop]
        # Elsewhere than at the start of a series the state is wrong at first, and has no loss.
        if begin > 0:
            residual[: window // 4, b] = np.nan
    weights = np.isfinite(residual).all(axis=2).astype(np.float64)
    return x, lengths, np.where(weights[..., None] > 0, residual, 0.0), weights
