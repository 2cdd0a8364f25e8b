"""Checks of time series, and the features that an LSTM reads of them.

Called by forecaster.py and forecast.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..config import check_int, describe

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class Series(NamedTuple):
    """S series, each with its exogenous values, and the layout in which they were given."""

    values: list[Floats]  # each (T_i,)
    exogenous: list[Floats] | None  # each (T_i or more, E)
    layout: str  # "one" (T,), "columns" (T, S) or "list"

    def shaped(self, results: list[Floats]) -> Any:
        """One result for each series, in the layout of the series."""
        if self.layout == "one":
            return results[0]
        # Of (h,) or (h, Q); the axis of the series follows that of the steps, as in (T, S).
        return results if self.layout == "list" else np.stack(results, axis=1)


class Scales(NamedTuple):
    """Means and standard deviations of the training series and of their features."""

    mean: list[float]  # of each series
    deviation: list[float]  # of each series
    feature_mean: Floats  # (I,), of what `features` gives
    feature_deviation: Floats  # (I,)
    residual: Floats  # (h,), of the scaled residuals at 1 .. h steps


def checked_series(y: Any, exogenous: Any, ahead: int = 0) -> Series:
    """Series of y; the exogenous values must cover them and `ahead` steps more."""
    values: list[Any]
    if isinstance(y, (list, tuple)) and len(y) and np.ndim(y[0]) > 0:
        layout, values = "list", [_array(f"y[{k}]", item) for k, item in enumerate(y)]
        for k, item in enumerate(values):
            if item.ndim != 1:
                raise ValueError(f"y[{k}]: must be (T,), got shape {item.shape}")
    else:
        array = _array("y", y)
        if array.ndim not in (1, 2) or 0 in array.shape[1:]:
            raise ValueError(f"y: must be (T,) or (T, S), got shape {array.shape}")
        layout = "one" if array.ndim == 1 else "columns"
        values = [array] if array.ndim == 1 else list(array.T)
    if exogenous is None:
        return Series(values, None, layout)
    if layout == "list":
        if not isinstance(exogenous, (list, tuple)) or len(exogenous) != len(values):
            raise ValueError(f"X: must be a list of {len(values)} arrays, as y is")
        parts = [_array(f"X[{k}]", item) for k, item in enumerate(exogenous)]
    else:
        array = _array("X", exogenous)
        # (T, S, E), or (T, E), the same for all series
        parts = list(array.swapaxes(0, 1)) if array.ndim == 3 else [array] * len(values)
    if len(parts) != len(values):
        raise ValueError(f"X: has {len(parts)} series, and y has {len(values)}")
    parts = [part[:, None] if part.ndim == 1 else part for part in parts]
    for k, (part, value) in enumerate(zip(parts, values, strict=True)):
        name = f"X[{k}]" if layout == "list" else "X"
        if part.ndim != 2 or part.shape[1] != parts[0].shape[1]:
            raise ValueError(f"{name}: must be (T, {parts[0].shape[1]}), got shape {part.shape}")
        if len(part) < len(value) + ahead:
            wanted = f"the {len(value)} steps of y" + (f" and {ahead} more" if ahead else "")
            raise ValueError(f"{name}: must cover {wanted}, got {len(part)} steps")
    return Series(values, parts, layout)


def checked_seasons(value: Any) -> tuple[int, ...]:
    """Season lengths in rising order; () for None."""
    if value is None:
        return ()
    several = value if isinstance(value, (tuple, list, np.ndarray)) else (value,)
    seasons = tuple(sorted({check_int("season_length", s, 1) for s in several}))
    if not seasons:
        raise ValueError("season_length: is empty; for no season pass None")
    return seasons


def seasonal_naive(values: Floats, season: int, horizon: int) -> Floats:
    """The forecasts (T, h) that repeat the last season; NaN where there is no season before.

    The forecast k steps ahead of step t is y at t + k - m ⌈k / m⌉; for m = 1 that is y at t.
    """
    ahead = np.arange(1, horizon + 1)
    index = np.arange(len(values))[:, None] + ahead - season * -(-ahead // season)
    return np.where(index >= 0, values[np.maximum(index, 0)], np.nan)


def targets(values: Floats, horizon: int) -> Floats:
    """The values 1 .. h steps after each step: (T, h); NaN beyond the end of the series."""
    padded = np.concatenate([values, np.full(horizon, np.nan)])
    windows = np.lib.stride_tricks.sliding_window_view(padded[1:], horizon)
    return np.asarray(windows)


def features(
    scaled: Floats,
    exogenous: Floats | None,
    seasons: tuple[int, ...],
    horizon: int,
    phase: int,
) -> Floats:
    """The features of a scaled series at each step, not scaled themselves yet: (T, I).

    None of them contains the level of the series, which may move out of the range of the training
    data. They are the differences to the step before, to the mean of the last season, and to the
    value a season before; the last season minus the season before it, at each step of the horizon;
    sine and cosine of the place within each season; the exogenous values now and at each step of
    the horizon, and the differences of the latter to the values a season before.
    """
    steps = len(scaled)
    columns = [scaled - lagged(scaled, 1)]
    columns += [scaled - trailing_mean(scaled, span) for span in seasons or (4 * horizon,)]
    columns += [scaled - lagged(scaled, lag) for lag in seasons[:-1]]
    if seasons:
        season = seasons[-1]
        change = scaled - lagged(scaled, season)
        level = trailing_mean(change, seasons[0])
        columns += [change - level, level - lagged(level, seasons[0])]
        # The last season minus the season before it, both without their levels.
        for ahead in range(1, horizon + 1):
            columns.append(lagged(change - level, season * -(-ahead // season) - ahead))
    time = np.arange(steps) + phase
    for season in seasons:
        if season > 2:
            for harmonic in (1, 2):
                angle = 2 * np.pi * harmonic / season * time
                columns += [np.sin(angle), np.cos(angle)]
    if exogenous is not None:
        known = exogenous
        lack = steps + horizon - len(known)  # the last known value is repeated
        if lack > 0:
            known = np.concatenate([known, np.repeat(known[-1:], lack, axis=0)])
        columns += list(known[:steps].T)
        season = seasons[-1] if seasons else 1
        for ahead in range(1, horizon + 1):
            future = known[ahead : ahead + steps]
            before = ahead - season * -(-ahead // season)  # at most 0
            columns += list(future.T)
            columns += list((future - lagged(known[:steps], -before)).T)
    return np.stack(columns, axis=1)


def trailing_mean(array: Floats, steps: int) -> Floats:
    """The mean of the last `steps` values, itself included, or of as many as there are."""
    sums = np.concatenate([[0.0], array.cumsum()])
    stop = np.arange(1, len(array) + 1)
    begin = np.maximum(stop - steps, 0)
    result: Floats = (sums[stop] - sums[begin]) / (stop - begin)
    return result


def lagged(array: Floats, lag: int) -> Floats:
    """The array `lag` steps before; its first row where there is none."""
    if lag == 0:
        return array
    first = np.repeat(array[:1], min(lag, len(array)), axis=0)
    return np.concatenate([first, array[:-lag]])


def _array(name: str, value: Any) -> Floats:
    array = np.asarray(value)
    if array.dtype.kind not in "fiu" or array.ndim == 0:
        raise TypeError(f"{name}: must be an array of numbers, got {describe(value)}")
    if not len(array):
        raise ValueError(f"{name}: must have at least one step, got shape {array.shape}")
    result = array.astype(np.float64)
    if not np.isfinite(result).all():
        raise ValueError(f"{name}: has NaN or infinity; fill the gaps of a series first")
    return result
