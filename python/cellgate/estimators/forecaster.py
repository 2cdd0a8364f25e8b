"""LSTMForecaster: direct forecasts of all steps of a horizon, with prediction intervals.

series.py checks series, forecast.py is what is learned, training.py learns it.
"""

from __future__ import annotations

from copy import copy
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from ..config import check_bool, check_int, describe
from .forecast import ForecastModel, Rolling
from .network import Batch, Network
from .series import Series, checked_seasons, checked_series, seasonal_naive, targets
from .training import (
    all_or_nothing,
    check_real,
    checked_settings,
    learn_more,
    random_generator,
    train,
)
from .windows import Prepared, training_places, window_arrays

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from numpy.typing import NDArray
    from typing_extensions import Self

    from ..lstm import LSTM

    Floats = NDArray[np.float64]


class LSTMForecaster(BaseEstimator):  # type: ignore[misc]
    """Forecasts the next `horizon` steps of one or many series, with prediction intervals.

    A ridge regression for each of the next h steps makes a linear forecast from the mean of the
    last seasons, what differed from it lately, and the exogenous values. At every step an LSTM
    reads differences, the place within each season and the exogenous values, and gives quantiles of
    how far the linear forecast will be off. One model is trained on all series; each is brought to
    its own mean and standard deviation. On the held-out end of the series it is decided how far to
    follow the LSTM, and the intervals are widened or narrowed to cover what they should; then the
    regressions learn from that end too.

    Parameters
    ----------
    horizon : int
        h, the steps that each forecast has.
    season_length : int, sequence of int, or None
        Steps in each season, such as (48, 336) for half-hourly values with a daily and a weekly
        one.
    log : bool
        Whether to forecast the logarithm, for series above 0 whose swings grow with their level.
    hidden_size, num_layers, dropout
        Of the `cellgate.LSTM`.
    levels : sequence of float
        Of the prediction intervals that are learned, each above 0 and below 1.
    window : int, optional
        Steps that are read in one training sequence: by default the longest season, or 4 h, or 32,
        whichever is most. The first quarter only brings the state up, and is not learned from.
    batch_size : int
        Windows learned from in one update.
    steps_per_epoch : int
        Updates in one epoch, on windows that start anywhere.
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
    lstm_ : cellgate.LSTM
        The trained network.
    quantiles_ : array, (Q,)
        The quantiles that are predicted, rising; the middle one is 0.5.
    loss_curve_, validation_curve_ : list of float
        Pinball loss of each epoch, while it was learned and on what was held out.
    n_iter_, best_epoch_ : int
        Epochs done, and the one whose weights were kept.
    network_share_ : float
        How far the LSTM's correction of the linear forecast is followed, from 0 to 1.

    Notes
    -----
    y is an array (T,) for one series, (T, S) for S series of one length, or a list of (T_i,). X is
    (T, E), (T, S, E), or a list of (T_i, E): what is known beforehand, such as a calendar or a
    weather forecast; to predict, it must cover the horizon too.

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

    lstm_: LSTM
    _model: ForecastModel
    _random: np.random.Generator
    _moments: dict[str, Any] | None  # Adam's, of partial_fit

    def __init__(
        self,
        horizon: int = 1,
        *,
        season_length: Any = None,
        log: bool = False,
        hidden_size: int = 64,
        num_layers: int = 1,
        dropout: float = 0.0,
        levels: Any = (0.8, 0.95),
        window: int | None = None,
        learning_rate: float = 5e-3,
        schedule: str = "cosine",
        batch_size: int = 16,
        steps_per_epoch: int = 20,
        max_epochs: int = 50,
        early_stopping: bool = True,
        validation_fraction: float = 0.15,
        patience: int = 15,
        clip_norm: float = 1.0,
        weight_decay: float = 0.01,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        """Keep the parameters; `fit` checks them."""
        self.horizon = horizon
        self.season_length = season_length
        self.log = log
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.dropout = dropout
        self.levels = levels
        self.window = window
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.batch_size = batch_size
        self.steps_per_epoch = steps_per_epoch
        self.max_epochs = max_epochs
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.clip_norm = clip_norm
        self.weight_decay = weight_decay
        self.random_state = random_state
        self.verbose = verbose

    # Fitting.

    def fit(self, y: Any, X: Any = None) -> Self:
        """Train from the start.

        Parameters
        ----------
        y : array (T,) or (T, S), or list of arrays (T_i,)
            The series, without gaps.
        X : array (T, E) or (T, S, E), or list of arrays (T_i, E), optional
            Exogenous values; what reaches beyond y is not read.

        Raises
        ------
        TypeError, ValueError
            A parameter or an argument of a wrong type, shape or value; the message names it.
        """
        with all_or_nothing(self):
            return self._fit(y, X)

    def _fit(self, y: Any, X: Any) -> Self:
        settings = checked_settings(self)
        held = settings.validation_fraction if settings.early_stopping else 0.0
        prepared, ends = self._begin(y, X, held)

        def batches() -> Iterator[Batch]:
            # Only what lies before the held-out end may be a target of training.
            return self._batches(prepared, ends, settings.batch_size)

        held_out = [
            np.arange(end, len(p.x) - self._model.horizon)
            for p, end in zip(prepared, ends, strict=True)
        ]
        if settings.early_stopping and not any(map(len, held_out)):
            raise ValueError(
                f"y: validation_fraction {self.validation_fraction} of it holds no forecast of "
                f"{self._model.horizon} steps; pass longer series, a larger fraction or "
                "early_stopping=False"
            )

        def validation_loss() -> float:
            total = count = 0.0
            for p, origins in zip(prepared, held_out, strict=True):
                out = self._model.network(p.x[:, None])[origins, 0]
                loss, _ = self._model.loss(out, p.residual[origins], np.ones(len(origins)))
                total, count = total + loss * len(origins), count + len(origins)
            return total / count

        history = train(
            self._model.network,
            batches,
            check_int("steps_per_epoch", self.steps_per_epoch, 1),
            validation_loss if settings.early_stopping else None,
            settings,
            self._random,
            bool(self.verbose),
        )
        self.loss_curve_, self.validation_curve_, self.best_epoch_ = history
        self.n_iter_ = len(history.loss)
        if settings.early_stopping:
            self._model.calibrate(prepared, held_out)
            # What was held out is the newest of all: the regressions learn from it at last.
            series = self._model.transformed(self._history)
            self._model.learn_highway(series, [len(values) for values in series.values])
        return self

    def partial_fit(self, y: Any, X: Any = None) -> Self:
        """Learn the regressions anew and train on for one epoch, both on all of y.

        Scales, how far the network is followed, and what widens the intervals stay as they are.

        y and X as in `fit`; y starts where the series of the first fit started, or a whole number
        of seasons from there, and has as many series. On a new object this is the first fit.
        """
        with all_or_nothing(self):
            return self._partial_fit(y, X)

    def _partial_fit(self, y: Any, X: Any) -> Self:
        settings = checked_settings(self)
        if hasattr(self, "_model"):
            series = self._later(y, X)
            ends = [len(values) for values in series.values]
            self._model.refuse_short(series, ends, 0.0)
            self._model = copy(self._model)
            self._model.learn_highway(series, ends)
            prepared = self._model.prepare(series, 0)
            self._history = checked_series(y, X)
        else:
            prepared, ends = self._begin(y, X, 0.0)
            self.loss_curve_, self.validation_curve_ = [], []
            self.n_iter_ = self.best_epoch_ = 0
        batches = self._batches(prepared, ends, settings.batch_size)
        loss, self._moments = learn_more(
            self._model.network, self._moments, batches, settings, self._random
        )
        self.loss_curve_.append(loss)
        self.n_iter_ += 1
        self.best_epoch_ = self.n_iter_
        return self

    # Predicting.

    def predict(self, y: Any = None, X: Any = None, *, phase: int = 0) -> Any:
        """The median forecast of the `horizon` steps after y, without training.

        Parameters
        ----------
        y : like in `fit`, optional
            What is known; by default what was trained on. Of many series all, in the same order.
        X : like in `fit`, optional
            Must cover y and the horizon, if the fit had it.
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
        """Forecasts from many origins in one pass over y: what each `predict(y[:origin])` gives.

        Parameters
        ----------
        y, X, phase
            As in `predict`; X need not reach beyond y.
        start, step : int
            The first origin, and the steps from one to the next. The last lies h before the end.

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
        forecasts, linear = [], []
        for p, pair in zip(self._model.prepare(series, phase), self._model.pairs, strict=True):
            self._model.refuse_no_base(p, origins[0])
            forecasts.append(self._model.forecasts(p, origins - 1, pair))
            linear.append(self._model.linear(p, origins - 1, pair))
        middle = len(self.quantiles_) // 2
        parts = [[f[..., middle] for f in forecasts], forecasts, linear]
        if series.layout == "columns":
            return Rolling(origins, *(np.stack(part, axis=2) for part in parts))
        return Rolling(origins, *(p[0] if series.layout == "one" else p for p in parts))

    def score(self, y: Any, X: Any = None) -> float:
        """The skill on y: 1 - MAE / MAE of the seasonal naive forecast, of its last quarter.

        Forecasts from every step of the last quarter of each series that leaves h steps. 0 is as
        good as seasonal naive, 1 is without error; higher is better.
        """
        series = self._later(y, X)
        season = self._model.seasons[-1] if self._model.seasons else 1
        middle = len(self.quantiles_) // 2
        ours = naive = 0.0
        prepared = self._model.prepare(series, 0)
        for values, p, pair in zip(series.values, prepared, self._model.pairs, strict=True):
            at = np.arange(3 * len(values) // 4, len(values) - self._model.horizon)
            if not len(at):
                raise ValueError(
                    f"y: a quarter of it must be longer than {self._model.horizon} steps"
                )
            self._model.refuse_no_base(p, at[0] + 1)
            truth = self._model.undo(targets(values, self._model.horizon)[at])
            repeated = self._model.undo(seasonal_naive(values, season, self._model.horizon)[at])
            ours += np.abs(self._model.forecasts(p, at, pair)[..., middle] - truth).sum()
            naive += np.abs(repeated - truth).sum()
        return float(1 - ours / naive) if naive else float(ours == 0)

    # Inside.

    def _begin(self, y: Any, X: Any, held: float) -> tuple[list[Prepared], list[int]]:
        """Check the parameters, learn the scales and the linear part; a new network.

        Returns the series, and how much of each is learned from when the share `held` is not.
        """
        several = isinstance(self.levels, (tuple, list, np.ndarray))
        levels = self.levels if several else (self.levels,)
        checked = [check_real("levels", level, above=0, below=1) for level in levels]
        if not checked:
            raise ValueError("levels: must have at least one, such as 0.95, got none")
        model = ForecastModel(
            check_int("horizon", self.horizon, 1),
            checked_seasons(self.season_length),
            check_bool("log", self.log),
            tuple(sorted(set(checked))),
        )
        history = checked_series(y, X)
        series = model.transformed(history)
        ends = [int(np.ceil(len(values) * (1 - held))) for values in series.values]
        model.refuse_short(series, ends, held)
        prepared = model.begin(series, ends)
        self._random = random_generator(self.random_state)
        model.network = Network(
            prepared[0].x.shape[1],
            model.horizon * len(model.quantiles),
            "step",
            hidden_size=self.hidden_size,
            num_layers=self.num_layers,
            bidirectional=False,
            dropout=self.dropout,
            dtype="float32",
            seed=int(self._random.integers(2**63)),
        )
        self._model, self._history, self._moments = model, history, None
        self.quantiles_, self.lstm_ = model.quantiles, model.network.lstm
        return prepared, ends

    def _later(self, y: Any, X: Any, ahead: int = 0) -> Series:
        """Series of the form that was fitted."""
        check_is_fitted(self)
        width = self._model.exogenous
        if X is None and width:
            raise ValueError(f"X: the fit had {width} exogenous values, got None")
        if X is not None and not width:
            raise ValueError("X: the fit had none")
        series = self._model.transformed(checked_series(y, X, ahead))
        if len(series.values) != len(self._model.pairs):
            raise ValueError(
                f"y: the fit had {len(self._model.pairs)} series, got {len(series.values)}"
            )
        if series.exogenous and series.exogenous[0].shape[1] != width:
            raise ValueError(
                f"X: the fit had {width} exogenous values, got {series.exogenous[0].shape[1]}"
            )
        return series

    def _window(self) -> int:
        if self.window is not None:
            return check_int("window", self.window, 4)
        seasons = self._model.seasons
        return max(seasons[-1] if seasons else 0, 4 * self._model.horizon, 32)

    def _batches(
        self, prepared: list[Prepared], ends: list[int], batch_size: int
    ) -> Iterator[Batch]:
        """An epoch of windows that start anywhere."""
        window, model = self._window(), self._model
        places = training_places(ends, window, model.horizon, model.highway.needed - 1)
        for _ in range(check_int("steps_per_epoch", self.steps_per_epoch, 1)):
            chosen = [places[k] for k in self._random.integers(len(places), size=batch_size)]
            x, lengths, residual, weights = window_arrays(chosen, prepared, ends, window)
            yield Batch(x, lengths, partial(model.loss, residual=residual, weights=weights))

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
        """How far the network's median is followed; the class says more."""
        check_is_fitted(self)
        return self._model.share

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_model")
