"""`LSTMForecaster` as a forecaster of sktime. Needs the extra `sktime`."""

from __future__ import annotations

import warnings
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import clone

from ..config import describe
from . import LSTMForecaster

try:
    import pandas as pd
    from sktime.forecasting.base import BaseForecaster, ForecastingHorizon
except ModuleNotFoundError as error:
    package = str(error.name).partition(".")[0]
    if package not in ("sktime", "pandas"):
        raise
    raise ModuleNotFoundError(
        f"cellgate.estimators.sktime needs {package}, which is not installed: "
        "pip install 'cellgate[sktime]'",
        name=package,
    ) from None

if TYPE_CHECKING:
    from typing import Any


class SktimeForecaster(BaseForecaster):  # type: ignore[misc]
    """An `LSTMForecaster` with the interface of sktime's forecasters.

    Parameters
    ----------
    forecaster : LSTMForecaster, optional
        The parameters; it is cloned before it is fitted. Its `horizon` is not used: h is the last
        step of the forecasting horizon of `fit`. By default one without seasons.

    Attributes
    ----------
    forecaster_ : LSTMForecaster
        The fitted one.

    Notes
    -----
    For one series; steps are taken to be equally long. The horizon may leave out steps, but all
    must follow the last known one. `update` calls `LSTMForecaster.partial_fit`. Quantiles other
    than those of `levels` are interpolated and extrapolated along those of a normal distribution.
    A step ahead without exogenous values gets those of the step before.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from cellgate.estimators import LSTMForecaster
    >>> from cellgate.estimators.sktime import SktimeForecaster
    >>> index = pd.period_range("2020-01", periods=120, freq="M")
    >>> y = pd.Series(10 + np.sin(np.arange(120) * np.pi / 6), index)
    >>> settings = LSTMForecaster(season_length=12, hidden_size=8, max_epochs=3, random_state=0)
    >>> model = SktimeForecaster(settings).fit(y, fh=[1, 2, 3])
    >>> model.predict().index[0], model.predict_interval(coverage=0.9).shape
    (Period('2030-01', 'M'), (3, 2))
    """

    _tags = {  # noqa: RUF012  (read by sktime as it is)
        "authors": "cellgate",
        "python_dependencies": "cellgate",
        "y_inner_mtype": "pd.Series",
        "X_inner_mtype": "pd.DataFrame",
        "scitype:y": "univariate",
        "capability:exogenous": True,
        "requires-fh-in-fit": True,
        "capability:missing_values": False,
        "capability:insample": False,
        "capability:pred_int": True,
        "capability:pred_int:insample": False,
        "capability:update": True,
    }
    _config = {"remember_data": True}  # noqa: RUF012  (a forecast needs `_y` and `_X`)

    def __init__(self, forecaster: LSTMForecaster | None = None) -> None:
        """Keep the template; `fit` checks it."""
        self.forecaster = forecaster
        with warnings.catch_warnings():
            # sktime 1.2 warns that 1.3 changes the default of remember_data, which is set above.
            warnings.filterwarnings("ignore", "The default of config", FutureWarning)
            super().__init__()

    def _fit(self, y: Any, X: Any, fh: Any) -> SktimeForecaster:
        template = LSTMForecaster() if self.forecaster is None else self.forecaster
        if not isinstance(template, LSTMForecaster):
            raise TypeError(f"forecaster: must be an LSTMForecaster, got {describe(template)}")
        steps = self._steps(fh)
        if min(steps) < 1:
            raise NotImplementedError(f"fh: must lie after the last step of y, got {min(steps)}")
        self.forecaster_ = clone(template).set_params(horizon=int(max(steps)))
        self.forecaster_.fit(*_arrays(y, _rows(X, y.index)))
        return self

    def _update(self, y: Any, X: Any = None, update_params: bool = True) -> SktimeForecaster:
        if update_params:
            self.forecaster_.partial_fit(*_arrays(self._y, _rows(self._X, self._y.index)))
        return self

    def _predict(self, fh: Any, X: Any) -> Any:
        quantiles = self._quantiles(fh, X)
        middle = quantiles[:, len(self.forecaster_.quantiles_) // 2]
        return pd.Series(middle, fh.to_absolute_index(self.cutoff), name=self._y.name)

    def _predict_quantiles(self, fh: Any, X: Any, alpha: list[float]) -> Any:
        learned = self._quantiles(fh, X)
        normal, name = NormalDist(), self._y.name
        places = [normal.inv_cdf(q) for q in self.forecaster_.quantiles_]
        columns = {
            (0 if name is None else name, a): _along(normal.inv_cdf(a), np.array(places), learned)
            for a in alpha
        }
        result = pd.DataFrame(columns, fh.to_absolute_index(self.cutoff))
        result.columns = pd.MultiIndex.from_tuples(columns)
        return result

    def _quantiles(self, fh: Any, X: Any) -> Any:
        """The quantiles at the steps of the horizon, after all of y known now: (len(fh), Q)."""
        known = None
        if self._X is not None:
            every = ForecastingHorizon(np.arange(1, self.forecaster_.horizon + 1), is_relative=True)
            if X is None or list(X.columns) != list(self._X.columns):
                got = None if X is None else list(X.columns)
                raise ValueError(f"X: must have the columns {list(self._X.columns)}, got {got}")
            past = _rows(self._X, self._y.index)
            rows = pd.concat([past.iloc[-1:], X[X.index > self._y.index[-1]]])
            future = rows.reindex(every.to_absolute_index(self.cutoff), method="ffill")
            known = pd.concat([past, future])
        return self.forecaster_.predict_quantiles(*_arrays(self._y, known))[self._steps(fh) - 1]

    def _steps(self, fh: Any) -> Any:
        return fh.to_relative(self.cutoff).to_numpy().astype(int)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Small settings, for sktime's own checks."""
        small: dict[str, Any] = {"max_epochs": 1, "early_stopping": False, "random_state": 0}
        return [
            {"forecaster": LSTMForecaster(season_length=2, hidden_size=4, **small)},
            {"forecaster": LSTMForecaster(hidden_size=2, steps_per_epoch=1, window=8, **small)},
        ]


def _rows(X: Any, index: Any) -> Any:
    """The rows of X at the times of y; sktime has checked that they exist."""
    return None if X is None else X.loc[index]


def _arrays(y: Any, X: Any) -> tuple[Any, Any]:
    return y.to_numpy(np.float64), None if X is None else X.to_numpy(np.float64)


def _along(place: float, places: Any, learned: Any) -> Any:
    """The quantile at `place`, linear between and beyond `learned` (n, Q) at rising `places`."""
    k = int(np.clip(np.searchsorted(places, place) - 1, 0, len(places) - 2))
    share = (place - places[k]) / (places[k + 1] - places[k])
    return learned[:, k] * (1 - share) + learned[:, k + 1] * share
