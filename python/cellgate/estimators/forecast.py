"""The model of a forecaster: from series to quantiles of their next steps.

Called by forecaster.py. It uses series.py for features, highway.py for the linear forecast,
network.py for the correction of it, and calibration.py for the factor of that correction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .calibration import best_share, calibrated, rising, shared
from .highway import Highway
from .losses import pinball
from .network import Network
from .scaling import deviations
from .series import Scales, Series, checked_series, features, seasonal_naive, targets
from .training import check_real
from .windows import Prepared

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LIMIT = 5.0  # standard deviations, to which features are clipped: beyond it training had no data


class Rolling(NamedTuple):
    """Forecasts from many origins, as `LSTMForecaster.predict_rolling` makes them.

    Attributes
    ----------
    origins : array of int, (n,)
        The number of steps known to each forecast, which is of y[origin : origin + h].
    median : array, (n, h), or (n, h, S) of an array (T, S), or a list of (n, h)
    quantiles : array, (n, h, Q), or (n, h, S, Q), or a list of (n, h, Q)
        In the order of `LSTMForecaster.quantiles_`.
    linear : like `median`
        The forecast of the regressions alone; the network's correction is the difference.
    """

    origins: NDArray[np.int64]
    median: Any
    quantiles: Any
    linear: Any


def checked_levels(levels: Any) -> tuple[float, ...]:
    """The levels of prediction intervals, one or several, in rising order."""
    several = levels if isinstance(levels, (tuple, list, np.ndarray)) else (levels,)
    checked = {check_real("levels", level, above=0, below=1) for level in several}
    if not checked:
        raise ValueError("levels: must have at least one, such as 0.95, got none")
    return tuple(sorted(checked))


class ForecastModel:
    """Scales, linear part, network and calibration of one fit."""

    network: Network

    def __init__(
        self, horizon: int, seasons: tuple[int, ...], log: bool, levels: tuple[float, ...]
    ) -> None:
        """Set the parameters; seasons and levels are in rising order."""
        self.horizon = horizon
        self.seasons = seasons
        self.log = log
        self.levels = levels
        tails = [(1 - level) / 2 for level in levels[::-1]]
        self.quantiles = np.array([*tails, 0.5, *(1 - tail for tail in tails[::-1])])
        self.highway = Highway(horizon, seasons)
        self.exogenous = 0  # columns of X
        self.share = 1.0  # the factor of the network's median
        # In scaled residuals, added to each quantile; 0 for the median.
        self.shift = np.zeros((horizon, len(self.quantiles)))

    def begin(self, series: Series, ends: list[int]) -> list[Prepared]:
        """Fit the scales, and the linear part to the first `ends` steps of each series."""
        self.exogenous = series.exogenous[0].shape[1] if series.exogenous else 0
        self.scales = Scales(
            [float(values.mean()) for values in series.values],
            [float(deviations(values)) for values in series.values],
            np.zeros(1),
            np.ones(1),
            np.ones(self.horizon),
        )
        self.learn_highway(series, ends)
        raw = self._raw_parts(series, 0)
        read = np.concatenate([x for x, _, _ in raw])
        residual = np.nanstd(np.concatenate([r for _, _, r in raw]), axis=0)
        deviation = read.std(axis=0)
        self.scales = self.scales._replace(
            feature_mean=read.mean(axis=0),
            # A column that hardly changes, such as a holiday that occurs once, is not scaled up.
            feature_deviation=np.where(deviation > 1e-6, deviation, 1.0),
            residual=np.where(residual > 0, residual, 1.0),
        )
        return [self._scaled(*parts) for parts in raw]

    def learn_highway(self, series: Series, ends: list[int]) -> None:
        """Fit the linear part to the first `ends` steps of each series, with the scales as set."""
        scaled = [(v - m) / d for v, (m, d) in zip(series.values, self.pairs, strict=True)]
        highway = Highway(self.horizon, self.seasons)
        highway.fit(scaled, series.exogenous, ends)
        self.highway = highway

    def calibrate(self, prepared: list[Prepared], held_out: list[NDArray[np.int64]]) -> None:
        """Fit the factor of the correction and the ends of the intervals to the held-out steps."""
        residual = np.concatenate(
            [p.residual[at] for p, at in zip(prepared, held_out, strict=True)]
        )
        made = np.concatenate([self._raw(p, at) for p, at in zip(prepared, held_out, strict=True)])
        self.share = best_share(made, residual * self.scales.residual, self.scales.residual)
        self.shift = calibrated(shared(made, self.share), residual, self.levels)

    def mean_loss(self, prepared: list[Prepared], at: list[NDArray[np.int64]]) -> float:
        """The mean pinball loss of forecasts made after some steps of each series."""
        total = count = 0.0
        for p, steps in zip(prepared, at, strict=True):
            out = self.network(p.x[:, None])[steps, 0]
            loss, _ = self.loss(out, p.residual[steps], np.ones(len(steps)))
            total, count = total + loss * len(steps), count + len(steps)
        return total / count

    def loss(self, out: Any, residual: Floats, weights: Floats) -> tuple[float, Any]:
        """The pinball loss of the network's output (n, h Q) or (T, B, h Q), and its gradient."""
        return pinball(out, residual.astype(np.float32), weights, self.quantiles)

    @property
    def pairs(self) -> list[tuple[float, float]]:
        """Mean and standard deviation of each series."""
        return list(zip(self.scales.mean, self.scales.deviation, strict=True))

    def checked(self, y: Any, X: Any, ahead: int) -> Series:
        """Series of the form that was fitted, transformed; X covers `ahead` steps more than y."""
        if X is None and self.exogenous:
            raise ValueError(f"X: the fit had {self.exogenous} exogenous values, got None")
        if X is not None and not self.exogenous:
            raise ValueError("X: the fit had none")
        series = self.transformed(checked_series(y, X, ahead))
        if len(series.values) != len(self.pairs):
            raise ValueError(f"y: the fit had {len(self.pairs)} series, got {len(series.values)}")
        if series.exogenous and (width := series.exogenous[0].shape[1]) != self.exogenous:
            raise ValueError(f"X: the fit had {self.exogenous} exogenous values, got {width}")
        return series

    def transformed(self, series: Series) -> Series:
        """The logarithms of the series with `log`, else the series."""
        if not self.log:
            return series
        for k, values in enumerate(series.values):
            if values.min() <= 0:
                name = f"y[{k}]" if series.layout == "list" else "y"
                raise ValueError(f"{name}: must be above 0 with log=True, got {values.min()}")
        return series._replace(values=[np.log(values) for values in series.values])

    def undo(self, values: Floats) -> Floats:
        """The inverse of `transformed`."""
        return np.exp(values) if self.log else values

    def prepare(self, series: Series, phase: int) -> list[Prepared]:
        """Features, linear forecasts and their residuals of transformed series."""
        return [self._scaled(*parts) for parts in self._raw_parts(series, phase)]

    def linear(self, p: Prepared, at: NDArray[np.int64], pair: tuple[float, float]) -> Floats:
        """The linear part of forecasts made after some steps: (n, h)."""
        return self.undo(p.base[at] * pair[1] + pair[0])

    def forecasts(self, p: Prepared, at: NDArray[np.int64], pair: tuple[float, float]) -> Floats:
        """Quantiles of forecasts made after some steps: (n, h, Q)."""
        residual = rising(shared(self._raw(p, at), self.share) + self.shift)
        scaled = residual * self.scales.residual[:, None] + p.base[at][..., None]
        return self.undo(scaled * pair[1] + pair[0])

    def rolling(self, series: Series, origins: NDArray[np.int64], phase: int) -> Rolling:
        """Forecasts of transformed series, each made when `origin` steps were known."""
        forecasts, linear = [], []
        for p, pair in zip(self.prepare(series, phase), self.pairs, strict=True):
            self.refuse_no_base(p, origins[0])
            forecasts.append(self.forecasts(p, origins - 1, pair))
            linear.append(self.linear(p, origins - 1, pair))
        middle = len(self.quantiles) // 2
        parts = [[f[..., middle] for f in forecasts], forecasts, linear]
        if series.layout == "columns":
            return Rolling(origins, *(np.stack(part, axis=2) for part in parts))
        return Rolling(origins, *(p[0] if series.layout == "one" else p for p in parts))

    def skill(self, series: Series) -> float:
        """1 - MAE / MAE of the seasonal naive forecast, on the last quarter of each series."""
        season = self.seasons[-1] if self.seasons else 1
        middle = len(self.quantiles) // 2
        ours = naive = 0.0
        prepared = self.prepare(series, 0)
        for values, p, pair in zip(series.values, prepared, self.pairs, strict=True):
            at = np.arange(3 * len(values) // 4, len(values) - self.horizon)
            if not len(at):
                raise ValueError(f"y: a quarter of it must be longer than {self.horizon} steps")
            self.refuse_no_base(p, at[0] + 1)
            truth = self.undo(targets(values, self.horizon)[at])
            repeated = self.undo(seasonal_naive(values, season, self.horizon)[at])
            ours += np.abs(self.forecasts(p, at, pair)[..., middle] - truth).sum()
            naive += np.abs(repeated - truth).sum()
        return float(1 - ours / naive) if naive else float(ours == 0)

    def refuse_short(self, series: Series, ends: list[int], held: float) -> None:
        """Raise if the first `ends` steps are too few to fit the linear part to."""
        needed = self.highway.needed + 2 * self.horizon
        if min(ends) < needed:
            least = int(np.ceil(needed / (1 - held)))
            raise ValueError(
                f"y: must have at least {least} steps for this horizon and season_length, "
                f"got {min(map(len, series.values))}"
            )

    def refuse_no_base(self, p: Prepared, known: int) -> None:
        """Raise if the first `known` steps are too few to forecast from."""
        if np.isnan(p.base[known - 1]).any():
            raise ValueError(
                f"y: must have at least {self.highway.needed} steps before a forecast, got {known}"
            )

    def _raw_parts(self, series: Series, phase: int) -> list[tuple[Floats, Floats, Floats]]:
        """Features, linear forecasts and residuals of each series, not scaled yet."""
        result = []
        for k, (values, (mean, deviation)) in enumerate(
            zip(series.values, self.pairs, strict=True)
        ):
            exogenous = series.exogenous[k] if series.exogenous else None
            scaled = (values - mean) / deviation
            read = features(scaled, exogenous, self.seasons, self.horizon, phase)
            base = self.highway(scaled, exogenous)
            result.append((read, base, targets(scaled, self.horizon) - base))
        return result

    def _scaled(self, read: Floats, base: Floats, residual: Floats) -> Prepared:
        x = (read - self.scales.feature_mean) / self.scales.feature_deviation
        residual = residual / self.scales.residual
        return Prepared(x.clip(-LIMIT, LIMIT).astype(np.float32), base, residual)

    def _raw(self, p: Prepared, at: NDArray[np.int64]) -> Floats:
        """Quantiles of the scaled residuals after some steps, rising: (n, h, Q)."""
        first = int(at.min(initial=len(p.x)))
        _, state = self.network.lstm(p.x[:first])  # without the head, whose outputs are not read
        out = self.network.deployed()(p.x[first:], state)[0][at - first].astype(np.float64)
        return np.sort(out.reshape(len(at), self.horizon, len(self.quantiles)), axis=2)
