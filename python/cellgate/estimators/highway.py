"""The linear part of a forecast: ridge regressions that the network corrects.

Called by forecaster.py. A network that starts from a good linear forecast has only to learn what is
not linear (the autoregressive highway of Lai et al. 2018, LSTNet).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .series import lagged, trailing_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RIDGE = 1e-3  # of a step and a standardised feature
SEASONS_BACK = 2  # of the longest, as far as the training series reach
MOMENTA = (1, 2, 4, 8)  # steps


class Highway:
    """For each step ahead a ridge regression of the change from now, on differences.

    Differences only, so that it does not matter to where the level of a series has wandered.
    """

    def __init__(self, horizon: int, seasons: tuple[int, ...], shortest: int) -> None:
        """For series of at least `shortest` steps in training."""
        self.horizon = horizon
        self.seasons = seasons
        longest = seasons[-1] if seasons else 1
        spare = (shortest - 2 * horizon) // longest - 1 - -(-horizon // longest)
        self.seasons_back = max(1, min(SEASONS_BACK, spare))
        self.knots: list[Floats] = []
        self._fits: list[tuple[Floats, Floats, Floats, float]] = []

    @property
    def needed(self) -> int:
        """Steps before and with the one that a forecast is made after."""
        if not self.seasons:
            return 1 + max(MOMENTA)
        longest = self.seasons[-1]
        return longest * (-(-self.horizon // longest) + self.seasons_back) + 1

    def fit(self, values: list[Floats], exogenous: list[Floats] | None, ends: list[int]) -> None:
        """Learn from the first `ends` steps of each series; targets lie in them too."""
        if exogenous is not None:
            every = np.concatenate([x[:end] for x, end in zip(exogenous, ends, strict=True)])
            # Hinges at the terciles let the effect of a continuous value bend.
            self.knots = [
                np.quantile(column, [1 / 3, 2 / 3]) if len(np.unique(column)) > 8 else np.array([])
                for column in every.T
            ]
        fixed = [self._fixed(series) for series in values]
        bent = [self._bent(exogenous[k] if exogenous else None) for k in range(len(values))]
        for ahead in range(1, self.horizon + 1):
            rows, changes = [], []
            for k, (series, end) in enumerate(zip(values, ends, strict=True)):
                read = self._features(series, fixed[k], bent[k], ahead)
                last = end - ahead  # the first step whose target is held out
                rows.append(read[self.needed - 1 : last])
                changes.append((series[ahead:] - series[:-ahead])[self.needed - 1 : last])
            x, change = np.concatenate(rows), np.concatenate(changes)
            mean, offset = x.mean(axis=0), float(change.mean())
            deviation = np.where(x.std(axis=0) > 1e-9, x.std(axis=0), np.inf)
            z = (x - mean) / deviation
            gram = z.T @ z + RIDGE * len(z) * np.eye(z.shape[1])
            weights = np.linalg.solve(gram, z.T @ (change - offset))
            self._fits.append((mean, deviation, weights, offset))

    def __call__(self, values: Floats, exogenous: Floats | None) -> Floats:
        """The forecasts 1 .. h steps ahead of every step: (T, h); NaN where too little is known."""
        result = np.empty((len(values), self.horizon))
        fixed, bent = self._fixed(values), self._bent(exogenous)
        for ahead, (mean, deviation, weights, offset) in enumerate(self._fits, 1):
            z = (self._features(values, fixed, bent, ahead) - mean) / deviation
            result[:, ahead - 1] = values + z @ weights + offset
        result[: self.needed - 1] = np.nan
        return result

    def _fixed(self, values: Floats) -> list[Floats]:
        """The columns that are the same for all steps ahead."""
        columns = [values - lagged(values, lag) for lag in MOMENTA]
        for season in self.seasons:
            change = values - lagged(values, season)
            level = trailing_mean(change, self.seasons[0])
            columns += [change - level, level - lagged(level, self.seasons[0])]
            columns.append(values - trailing_mean(values, season))
        return columns

    def _bent(self, exogenous: Floats | None) -> list[Floats]:
        """The exogenous columns, each followed by its hinges; () without any."""
        result = []
        for column, knots in zip(() if exogenous is None else exogenous.T, self.knots, strict=True):
            result += [column, *(np.maximum(column - knot, 0) for knot in knots)]
        return result

    def _features(
        self, values: Floats, fixed: list[Floats], bent: list[Floats], ahead: int
    ) -> Floats:
        """(T, F), for the change from each step to the one `ahead` of it."""
        columns, steps = list(fixed), len(values)
        for season in self.seasons:
            for k in range(self.seasons_back if season == self.seasons[-1] else 2):
                # What the same stretch brought, k seasons before the last.
                then = season * (-(-ahead // season) + k)
                columns.append(lagged(values, then - ahead) - lagged(values, then))
        for column in bent:
            future = column[np.minimum(np.arange(steps) + ahead, len(column) - 1)]
            columns.append(future - column[:steps])
            for season in self.seasons:
                for k in range(self.seasons_back if season == self.seasons[-1] else 1):
                    then = season * (-(-ahead // season) + k)
                    columns.append(future - lagged(column[:steps], then - ahead))
        return np.stack(columns, axis=1)
