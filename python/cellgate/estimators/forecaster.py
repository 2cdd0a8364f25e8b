"""LSTMForecaster: direct forecasts of all steps of a horizon, with prediction intervals.

forecaster_fit.py trains it, forecast.py holds the trained model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..config import check_int, describe
from .forecast import Rolling
from .forecaster_fit import FittedForecaster

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from .series import Series

    Floats = NDArray[np.float64]


class LSTMForecaster(FittedForecaster):
    """Forecasts the next `horizon` steps of one or many series, with prediction intervals.

    A ridge regression for each of the next h steps makes a linear forecast from the mean of the
    last seasons, recent differences from that mean, and the exogenous values. At every step an LSTM
    reads differences, the place within each season and the exogenous values, and predicts quantiles
    of the error of the linear forecast. One model is trained on all series, each scaled by its own
    mean and standard deviation. The held-out end of the series chooses the factor of the LSTM's
    correction and calibrates the intervals to cover what they should; then the regressions are
    fitted again, to that end too.

    Parameters
    ----------
    horizon : int
        h, the number of steps in each forecast.
    season_length : int, sequence of int, or None
        Steps in each season, such as (48, 336) for half-hourly values with a daily and a weekly
        season.
    log : bool
        Whether to forecast the logarithm, for series above 0 whose variation grows with their
        level.
    hidden_size, num_layers, dropout
        Of the `cellgate.LSTM`.
    levels : sequence of float
        Of the prediction intervals, each above 0 and below 1.
    window : int, optional
        Steps in one training sequence: by default the longest season, 4 h or 32, whichever is
        largest. The first quarter warms up the state, and has no loss.
    batch_size : int
        Windows in one update.
    steps_per_epoch : int
        Updates in one epoch, on windows that start at random steps.
    validation_fraction : float
        The end of each series that decides when to stop and calibrates the intervals.
    learning_rate, schedule, max_epochs, early_stopping, patience, clip_norm, weight_decay
        As in `LSTMRegressor`.
    random_state : int, RandomState or None
        Equal integers give equal results, to the bit on one machine.
    verbose : bool
        Whether to show progress (tqdm).

    Attributes
    ----------
    network_ : cellgate.Network
        The LSTM with its head: from features, prepared as they are in Python, to quantiles of the
        error of the linear forecast, (h * Q,) at each step. `save` writes this; the linear
        forecast and the calibration stay in Python.
    lstm_ : cellgate.LSTM
        The trained LSTM alone.
    quantiles_ : array, (Q,)
        The quantiles that are predicted, rising; the middle one is 0.5.
    loss_curve_, validation_curve_ : list of float
        Pinball loss of each epoch: during the training, and of the held-out ends.
    n_iter_, best_epoch_ : int
        Epochs done, and the one whose weights were kept.
    network_share_ : float
        The factor of the LSTM's correction of the linear forecast, from 0 to 1.

    Notes
    -----
    y is an array (T,) for one series, (T, S) for S series of one length, or a list of (T_i,). X is
    (T, E), (T, S, E), or a list of (T_i, E): values known in advance, such as a calendar or a
    weather forecast; for a prediction it must cover the horizon too.

    Sources: Wen et al. 2017, "A multi-horizon quantile recurrent forecaster"; Koenker & Bassett
    1978 (quantile loss); Romano, Patterson & Candès 2019 (conformalized quantile regression).

    Examples
    --------
    >>> import numpy as np
    >>> from cellgate.estimators import LSTMForecaster
    >>> time = np.arange(600)
    >>> y = np.sin(2 * np.pi * time / 24) * (1 + time / 300)
    >>> y += np.random.default_rng(0).normal(0, 0.05, 600)
    >>> model = LSTMForecaster(12, season_length=24, hidden_size=16, max_epochs=10, random_state=0)
    >>> model.fit(y[:560]).predict().shape
    (12,)
    >>> lower, upper = model.predict_interval(0.8)
    >>> bool(np.mean((lower <= y[560:572]) & (y[560:572] <= upper)) > 0.5)
    True
    """

    def predict(self, y: Any = None, X: Any = None, *, phase: int = 0) -> Any:
        """The median forecast of the `horizon` steps after y, without training.

        Parameters
        ----------
        y : like in `fit`, optional
            The known past of all series, in the order of `fit`; by default the y of `fit`.
        X : like in `fit`, optional
            Must cover y and the horizon; required if `fit` was given X.
        phase : int
            Steps from the first of the training series to the first of y, for the seasons.

        Returns
        -------
        array (h,), or (h, S) for series as columns, or a list of (h,)
            float64.

        Raises
        ------
        TypeError, ValueError
            An argument of a wrong type, shape or value.
        """
        series, quantiles = self._last(y, X, phase)
        middle = len(self.quantiles_) // 2
        return series.shaped([q[:, middle] for q in quantiles])

    def predict_quantiles(self, y: Any = None, X: Any = None, *, phase: int = 0) -> Any:
        """All `quantiles_` of the forecast, as a last axis: (h, Q), (h, S, Q), or a list."""
        series, quantiles = self._last(y, X, phase)
        return series.shaped(quantiles)

    def predict_interval(
        self,
        level: float = 0.95,
        y: Any = None,
        X: Any = None,
        *,
        phase: int = 0,
    ) -> tuple[Any, Any]:
        """Lower and upper end of the interval that holds a value with probability `level`.

        `level` must be one of `levels`; other arguments and shapes as in `predict`.
        """
        check_is_fitted(self)
        if level not in self._model.levels:
            raise ValueError(f"level: must be one of {self._model.levels}, got {describe(level)}")
        low = self._model.levels[::-1].index(level)  # the widest interval comes first
        series, quantiles = self._last(y, X, phase)
        lower, upper = [q[:, low] for q in quantiles], [q[:, -1 - low] for q in quantiles]
        return series.shaped(lower), series.shaped(upper)

    def predict_rolling(
        self,
        y: Any,
        X: Any = None,
        *,
        start: int,
        step: int = 1,
        phase: int = 0,
    ) -> Rolling:
        """Forecasts from many origins in one pass over y, equal to each `predict(y[:origin])`.

        Parameters
        ----------
        y, X, phase
            As in `predict`; X need not reach beyond y.
        start, step : int
            The first origin, and the steps from one to the next. The last is h before the end.

        Returns
        -------
        Rolling
        """
        series = self._later(y, X)
        start, step = check_int("start", start, 1), check_int("step", step, 1)
        phase = check_int("phase", phase, 0)
        shortest = min(map(len, series.values))
        origins = np.arange(start, shortest - self._model.horizon + 1, step)
        if not len(origins):
            raise ValueError(
                f"start: must leave {self._model.horizon} steps of y's {shortest}, got {start}"
            )
        return self._model.rolling(series, origins, phase)

    def score(self, y: Any, X: Any = None) -> float:
        """The skill on the last quarter of y: 1 - MAE / MAE of the seasonal naive forecast.

        Forecasts are made from every step of the last quarter of each series that h steps follow. 0
        is as good as seasonal naive, 1 is without error; higher is better.
        """
        return self._model.skill(self._later(y, X))

    def _last(self, y: Any, X: Any, phase: int) -> tuple[Series, list[Floats]]:
        """The forecasts after the last step of each series: (h, Q) each."""
        check_is_fitted(self)
        phase, model = check_int("phase", phase, 0), self._model
        if y is None:
            y = self._history.shaped(self._history.values)
        series = self._later(y, X, model.horizon)
        results = []
        prepared = model.prepare(series, phase)
        for values, p, pair in zip(series.values, prepared, model.pairs, strict=True):
            model.refuse_no_base(p, len(values))
            results.append(model.forecasts(p, np.array([len(values) - 1]), pair)[0])
        return series, results

    @property
    def network_share_(self) -> float:
        """The factor of the network's median correction, from 0 to 1."""
        check_is_fitted(self)
        return self._model.share
