"""The training of an LSTMForecaster. Called by forecaster.py, which documents its parameters.

series.py checks series, forecast.py holds the trained model, training.py has the training loop.
"""

from __future__ import annotations

from copy import copy
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ..config import check_bool, check_int
from .forecast import ForecastModel, checked_levels
from .network import Batch, Network
from .series import checked_seasons, checked_series
from .training import TrainedEstimator, all_or_nothing, checked_settings, random_generator
from .windows import Prepared, training_places, window_arrays

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from typing_extensions import Self

    from ..network import Network as Deployed
    from .series import Series


@dataclass(eq=False, repr=False)
class FittedForecaster(TrainedEstimator):
    """The parameters, `fit` and `partial_fit` of `LSTMForecaster`."""

    _model: ForecastModel = field(init=False)
    _history: Series = field(init=False)

    horizon: int = 1
    _: KW_ONLY
    season_length: Any = None
    log: bool = False
    hidden_size: int = 64
    num_layers: int = 1
    dropout: float = 0.0
    levels: Any = (0.8, 0.95)
    window: int | None = None
    learning_rate: float = 5e-3
    schedule: str = "cosine"
    batch_size: int = 16
    steps_per_epoch: int = 20
    max_epochs: int = 50
    early_stopping: bool = True
    validation_fraction: float = 0.15
    patience: int = 15
    clip_norm: float = 1.0
    weight_decay: float = 0.01
    random_state: Any = None
    verbose: bool = False

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
            # Targets of the training lie before the held-out end.
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

        evaluate = partial(self._model.mean_loss, prepared, held_out)
        self._train(
            self._model.network,
            batches,
            check_int("steps_per_epoch", self.steps_per_epoch, 1),
            evaluate if settings.early_stopping else None,
            settings,
        )
        if settings.early_stopping:
            self._model.calibrate(prepared, held_out)
            # The regressions are fitted again, now to the held-out end too: it is the latest data.
            series = self._model.transformed(self._history)
            self._model.learn_highway(series, [len(values) for values in series.values])
        return self

    def partial_fit(self, y: Any, X: Any = None) -> Self:
        """Fit the regressions again and train the network for one more epoch, both on all of y.

        The scales, `network_share_` and the calibration of the intervals stay as they are.

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
        batches = self._batches(prepared, ends, settings.batch_size)
        self._train_more(self._model.network, batches, settings)
        return self

    def _begin(self, y: Any, X: Any, held: float) -> tuple[list[Prepared], list[int]]:
        """Check the parameters, fit the scales and the linear part, and make a new network.

        Returns the series, and of each the number of steps before the held-out share `held`.
        """
        model = ForecastModel(
            check_int("horizon", self.horizon, 1),
            checked_seasons(self.season_length),
            check_bool("log", self.log),
            checked_levels(self.levels),
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
        """Series of the form that was fitted; X covers `ahead` steps more than y."""
        check_is_fitted(self)
        return self._model.checked(y, X, ahead)

    def _window(self) -> int:
        if self.window is not None:
            return check_int("window", self.window, 4)
        seasons = self._model.seasons
        return max(seasons[-1] if seasons else 0, 4 * self._model.horizon, 32)

    def _batches(
        self, prepared: list[Prepared], ends: list[int], batch_size: int
    ) -> Iterator[Batch]:
        """The batches of an epoch: windows that start at random steps."""
        window, model = self._window(), self._model
        places = training_places(ends, window, model.horizon, model.highway.needed - 1)
        for _ in range(check_int("steps_per_epoch", self.steps_per_epoch, 1)):
            chosen = [places[k] for k in self._random.integers(len(places), size=batch_size)]
            x, lengths, residual, weights = window_arrays(chosen, prepared, ends, window)
            yield Batch(x, lengths, partial(model.loss, residual=residual, weights=weights))

    @property
    def network_(self) -> Deployed:
        """From prepared features to the corrections of the linear forecast."""
        check_is_fitted(self)
        return self._model.network.deployed()

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_model")
