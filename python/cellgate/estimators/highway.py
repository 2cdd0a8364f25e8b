"""The linear part of a forecast: the mean of past seasons, and ridge regressions of the rest.

Called by forecast.py. A network added to a good linear forecast only has to learn what is not
linear (the autoregressive highway of Lai et al. 2018, LSTNet).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .series import lagged, trailing_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Chosen by backtests on two half-hourly series of electricity demand, mostly on weeks before the
# test of examples/forecasting.py; numbers next to these were about as good.
PENALTIES = (1e-3, 1e-2, 0.1, 0.3, 1.0, 3.0, 10.0)  # of a step and a feature of unit size
HUBER = 1.0  # standard deviations; beyond them the loss of an error is linear
ROUNDS = 3  # of reweighted least squares, which minimise that loss
BLOCKS = 5  # of the training part, each left out once to choose the penalty
AVERAGED = 7  # past seasons in a seasonal mean, or fewer near the start of a series
SEASONS_BACK = 2  # past seasons that are features, of the longest season
SHORT_SEASONS_BACK = 3  # and of the others
MOMENTA = (1, 2, 4, 8, 16, 32)  # steps, below the shortest season


class Seasonal:
    """The seasonal parts of a series: means over past seasons, the longest season first.

    The mean of a shorter season is taken of what the longer ones leave; it follows recent changes.
    """

    def __init__(self, values: Floats, seasons: tuple[int, ...]) -> None:
        """Decompose a series (T,) by its seasons, which are in rising order."""
        # The values averaged, from which step on, the season, and its mean at each step.
        self.means: list[tuple[Floats, int, int, Floats]] = []
        start = 0
        for season in reversed(seasons):
            now = seasonal_mean(values, start, season, 0)
            self.means.append((values, start, season, now))
            values = values - now
            start += season
        self.rest = values

    def change(self, ahead: int) -> Floats:
        """The change of the seasonal parts from each step to `ahead` steps later: (T,)."""
        result = np.zeros(len(self.rest))
        for values, start, season, now in self.means:
            result += seasonal_mean(values, start, season, ahead) - now
        return result


class Fit(NamedTuple):
    """The regression for one step ahead."""

    size: Floats  # (F,), root mean square of each feature
    weights: Floats  # (F,)


class Parts(NamedTuple):
    """The data of one series that are the same for all steps ahead."""

    values: Floats
    seasonal: Seasonal
    fixed: list[Floats]  # features
    bent: list[Floats]  # the exogenous columns, each followed by its hinges


class Highway:
    """For each step ahead the mean change over past seasons, and a ridge regression of the rest.

    Features are differences, so that the level of a series does not matter. The penalty, one for
    all steps ahead, is chosen on left-out blocks: on a short series the forecast is little more
    than the seasonal mean. The loss is Huber's, so that a few holidays have little influence.
    """

    def __init__(self, horizon: int, seasons: tuple[int, ...]) -> None:
        """For series with these seasons, in rising order."""
        self.horizon = horizon
        self.seasons = seasons
        self.penalty = PENALTIES[0]
        self.knots: list[Floats] = []
        self._fits: list[Fit] = []

    @property
    def needed(self) -> int:
        """The number of steps that must be known for a forecast."""
        if not self.seasons:
            return 1 + max(self._momenta)
        longest = self.seasons[-1]
        return longest * (-(-self.horizon // longest) + 1) + 1

    @property
    def _momenta(self) -> tuple[int, ...]:
        limit = self.seasons[0] if self.seasons else 9
        return tuple(lag for lag in MOMENTA if lag < limit)

    def fit(self, values: list[Floats], exogenous: list[Floats] | None, ends: list[int]) -> None:
        """Fit to the first `ends` steps of each series, which contain the targets too."""
        if exogenous is not None:
            every = np.concatenate([x[:end] for x, end in zip(exogenous, ends, strict=True)])
            # Hinges at the terciles make the effect of a continuous value piecewise linear.
            self.knots = [
                np.quantile(column, [1 / 3, 2 / 3]) if len(np.unique(column)) > 8 else np.array([])
                for column in every.T
            ]
        parts = [self._parts(v, exogenous[k] if exogenous else None) for k, v in enumerate(values)]
        sums = []
        for ahead in range(1, self.horizon + 1):
            z, rest, _, blocks = self._learned(parts, ends, ahead)
            sums.append([_sums(z[blocks == b], rest[blocks == b]) for b in range(BLOCKS)])
        self.penalty = _best_penalty(sums)
        self._fits = []
        for ahead, parted in enumerate(sums, 1):
            z, rest, size, _ = self._learned(parts, ends, ahead)
            weights = _weights(np.sum(parted, axis=0), self.penalty)
            for _ in range(ROUNDS):
                miss = np.abs(rest - z @ weights)
                limit = HUBER * 1.4826 * np.median(miss)  # 1.4826: for a normal distribution
                share = np.sqrt(np.minimum(1, limit / np.maximum(miss, 1e-300)))
                share /= max(np.sqrt((share**2).mean()), 1e-300)
                weights = _weights(_sums(z * share[:, None], rest * share), self.penalty)
            self._fits.append(Fit(size, weights))

    def _learned(
        self, parts: list[Parts], ends: list[int], ahead: int
    ) -> tuple[Floats, Floats, Floats, NDArray[np.int64]]:
        """The data of a fit: features divided by their size, targets, size, and blocks."""
        rows, rests, blocks = [], [], []
        for part, end in zip(parts, ends, strict=True):
            features, base = self._features(part, ahead)
            known = slice(self.needed - 1, end - ahead)  # the targets of later ones are held out
            rows.append(features[known])
            rests.append((part.values[ahead:] - part.values[:-ahead])[known] - base[known])
            blocks.append(np.arange(len(rests[-1])) * BLOCKS // max(1, len(rests[-1])))
        x = np.concatenate(rows)
        size = np.sqrt((x**2).mean(axis=0))
        size = np.where(size > 1e-9, size, np.inf)
        return x / size, np.concatenate(rests), size, np.concatenate(blocks)

    def __call__(self, values: Floats, exogenous: Floats | None) -> Floats:
        """The forecasts 1 .. h steps ahead of every step: (T, h); NaN where too little is known."""
        result = np.empty((len(values), self.horizon))
        parts = self._parts(values, exogenous)
        for ahead, (size, weights) in enumerate(self._fits, 1):
            features, base = self._features(parts, ahead)
            result[:, ahead - 1] = values + base + (features / size) @ weights
        result[: self.needed - 1] = np.nan
        return result

    def _parts(self, values: Floats, exogenous: Floats | None) -> Parts:
        seasonal = Seasonal(values, self.seasons)
        rest = seasonal.rest
        fixed = [np.ones(len(values)), *(rest - lagged(rest, lag) for lag in self._momenta)]
        if self.seasons:
            fixed += [rest, *(rest - trailing_mean(rest, season) for season in self.seasons)]
        bent = []
        for column, knots in zip(() if exogenous is None else exogenous.T, self.knots, strict=True):
            bent += [column, *(np.maximum(column - knot, 0) for knot in knots)]
        return Parts(values, seasonal, fixed, bent)

    def _features(self, parts: Parts, ahead: int) -> tuple[Floats, Floats]:
        """(T, F), for the change from each step to the one `ahead` of it, and the seasons' (T,)."""
        base, columns, steps = parts.seasonal.change(ahead), list(parts.fixed), len(parts.values)
        for season in self.seasons:
            for then in self._seasons_before(season, ahead, SHORT_SEASONS_BACK):
                # The change over the same steps then; before the start of the series, the mean.
                change = lagged(parts.values, then - ahead) - lagged(parts.values, then) - base
                change[:then] = 0
                columns.append(change)
        for column in parts.bent:
            future = column[np.minimum(np.arange(steps) + ahead, len(column) - 1)]
            columns.append(future - column[:steps])
            for season in self.seasons:
                for then in self._seasons_before(season, ahead, 1):
                    change = future - lagged(column[:steps], then - ahead)
                    change[: then - ahead] = 0
                    columns.append(change)
        return np.stack([*columns, base], axis=1), base

    def _seasons_before(self, season: int, ahead: int, short: int) -> list[int]:
        """The smallest whole numbers of seasons, in steps, that are not below `ahead`."""
        first = -(-ahead // season)
        count = SEASONS_BACK if season == self.seasons[-1] else short
        return [season * (first + k) for k in range(count)]


def seasonal_mean(values: Floats, start: int, season: int, ahead: int) -> Floats:
    """The mean of past values at the place in the season `ahead` steps after each step: (T,).

    For `ahead` 0 these are the values one season before the step, two seasons before, and so on.
    Only values from `start` on are used; the mean of none is 0.0.
    """
    steps = len(values)
    total, count = np.zeros(steps), np.zeros(steps)
    first = max(1, -(-ahead // season))
    for k in range(first, first + AVERAGED):
        lag = season * k - ahead
        total[start + lag :] += values[start : max(start, steps - lag)]
        count[start + lag :] += 1
    mean: Floats = total / np.maximum(count, 1)
    return mean


def _sums(z: Floats, y: Floats) -> Floats:
    """The sums of a least-squares fit, in one array (F + 1, F + 2): z'z, z'y, y'y, and n."""
    both = np.column_stack([z, y])
    result = np.zeros((both.shape[1], both.shape[1] + 1))
    result[:, :-1] = both.T @ both
    result[-1, -1] = len(y)
    return result


def _weights(sums: Floats, penalty: float) -> Floats:
    gram = sums[:-1, :-2]
    ridge = penalty * max(1.0, sums[-1, -1]) * np.eye(len(gram))
    weights: Floats = np.linalg.solve(gram + ridge, sums[:-1, -2])
    return weights


def _best_penalty(sums: list[list[Floats]]) -> float:
    """The largest whose error is within one standard error of the least (Breiman et al. 1984).

    Neighbouring blocks are correlated, so that the penalty with the least error is too small.
    """
    errors = np.array(
        [np.sum([_errors_left_out(blocks, p) for blocks in sums], axis=0) for p in PENALTIES]
    )
    excess = errors - errors[errors.mean(axis=1).argmin()]
    allowed = excess.std(axis=1, ddof=1) / np.sqrt(BLOCKS)
    return max(p for p, e, a in zip(PENALTIES, excess.mean(axis=1), allowed, strict=True) if e <= a)


def _errors_left_out(blocks: list[Floats], penalty: float) -> Floats:
    """The squared error on each block of a fit to the others, by the variance: (BLOCKS,)."""
    total = np.sum(blocks, axis=0)
    errors = np.zeros(len(blocks))
    for k, block in enumerate(blocks):
        weights = _weights(total - block, penalty)
        miss = weights @ block[:-1, :-2] @ weights - 2 * weights @ block[:-1, -2] + block[-1, -2]
        errors[k] = miss / max(total[-1, -2], 1e-300)
    return errors
