"""What a forecaster has learned: from checked series to quantiles of what follows.

Called by forecaster.py. Below it: series.py makes features, highway.py the linear forecast,
network.py what is added to it, calibration.py how far that is followed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .calibration import best_share, calibrated, rising, shared
from .highway import Highway
from .losses import pinball
from .network import Network
from .scaling import deviations
from .series import Scales, Series, features, targets
from .windows import Prepared

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LIMIT = 5.0  # standard deviations, of what the network reads: beyond them nothing was learned


class Rolling(NamedTuple):
    """Forecasts from many origins, as `LSTMForecaster.predict_rolling` makes them.

    Attributes
    ----------
    origins : array of int, (n,)
        Steps that were known to each forecast: it is of y[origin : origin + h].
    median : array, (n, h), or (n, h, S) of an array (T, S), or a list of (n, h)
    quantiles : array, (n, h, Q), or (n, h, S, Q), or a list of (n, h, Q)
        In the order of `LSTMForecaster.quantiles_`.
    linear : like `median`
        What the mean of past seasons and the regressions forecast: the network adds the difference.
    """

    origins: NDArray[np.int64]
    median: Any
    quantiles: Any
    linear: Any


class ForecastModel:
    """Scales, linear part, network and calibration of one fit."""

    network: Network

    def __init__(
        self, horizon: int, seasons: tuple[int, ...], log: bool, levels: tuple[float, ...]
    ) -> None:
        """Nothing is learned yet; seasons and levels rise."""
        self.horizon = horizon
        self.seasons = seasons
        self.log = log
        self.levels = levels
        tails = [(1 - level) / 2 for level in levels[::-1]]
        self.quantiles = np.array([*tails, 0.5, *(1 - tail for tail in tails[::-1])])
        self.highway = Highway(horizon, seasons)
        self.exogenous = 0  # columns of X
        self.share = 1.0  # of the network's median that is believed
        # Of the scaled residuals, added to each quantile; 0 for the median.
        self.shift = np.zeros((horizon, len(self.quantiles)))

    def begin(self, series: Series, ends: list[int]) -> list[Prepared]:
        """Learn the scales, and the linear part from the first `ends` steps of each series."""
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
            # A column that hardly changes, such as a holiday that comes once, stays as it is.
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
        """Fit to what was held out: how far to follow the network, and the ends of intervals."""
        residual = np.concatenate(
            [p.residual[at] for p, at in zip(prepared, held_out, strict=True)]
        )
        made = np.concatenate([self._raw(p, at) for p, at in zip(prepared, held_out, strict=True)])
        self.share = best_share(made, residual * self.scales.residual, self.scales.residual)
        self.shift = calibrated(shared(made, self.share), residual, self.levels)

    def loss(self, out: Any, residual: Floats, weights: Floats) -> tuple[float, Any]:
        """The pinball loss of the network's output (n, h Q) or (T, B, h Q), and its gradient."""
        return pinball(out, residual.astype(np.float32), weights, self.quantiles)

    @property
    def pairs(self) -> list[tuple[float, float]]:
        """Mean and standard deviation of each series."""
        return list(zip(self.scales.mean, self.scales.deviation, strict=True))

    def transformed(self, series: Series) -> Series:
        """The logarithms, where those are forecast."""
        if not self.log:
            return series
        for k, values in enumerate(series.values):
            if values.min() <= 0:
                name = f"y[{k}]" if series.layout == "list" else "y"
                raise ValueError(f"{name}: must be above 0 with log=True, got {values.min()}")
        return series._replace(values=[np.log(values) for values in series.values])

    def undo(self, values: Floats) -> Floats:
        """What `transformed` made, back in the units of the series."""
        return np.exp(values) if self.log else values

    def prepare(self, series: Series, phase: int) -> list[Prepared]:
        """Of each transformed series what the network reads, the linear part and its residual."""
        return [self._scaled(*parts) for parts in self._raw_parts(series, phase)]

    def linear(self, p: Prepared, at: NDArray[np.int64], pair: tuple[float, float]) -> Floats:
        """The linear part of forecasts made after some steps: (n, h)."""
        return self.undo(p.base[at] * pair[1] + pair[0])

    def forecasts(self, p: Prepared, at: NDArray[np.int64], pair: tuple[float, float]) -> Floats:
        """Quantiles of forecasts made after some steps: (n, h, Q)."""
        residual = rising(shared(self._raw(p, at), self.share) + self.shift)
        scaled = residual * self.scales.residual[:, None] + p.base[at][..., None]
        return self.undo(scaled * pair[1] + pair[0])

    def refuse_short(self, series: Series, ends: list[int], held: float) -> None:
        """Raise where the linear part cannot be learned from the first `ends` steps."""
        needed = self.highway.needed + 2 * self.horizon
        if min(ends) < needed:
            least = int(np.ceil(needed / (1 - held)))
            raise ValueError(
                f"y: must have at least {least} steps for this horizon and season_length, "
                f"got {min(map(len, series.values))}"
            )

    def refuse_no_base(self, p: Prepared, known: int) -> None:
        """Raise where too little is known to forecast from."""
        if np.isnan(p.base[known - 1]).any():
            raise ValueError(
                f"y: must have at least {self.highway.needed} steps before a forecast, got {known}"
            )

    def _raw_parts(self, series: Series, phase: int) -> list[tuple[Floats, Floats, Floats]]:
        """Of each series what the network reads, base and residual, before they are scaled."""
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
        y, _ = self.network.lstm(p.x[:, None])
        out = self.network.head(y[at, 0]).astype(np.float64)
        return np.sort(out.reshape(len(at), self.horizon, len(self.quantiles)), axis=2)
