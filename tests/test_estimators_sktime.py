"""SktimeForecaster: sktime's own checks, and that it forecasts as the LSTMForecaster does."""

from __future__ import annotations

import subprocess
import sys
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
from cellgate.estimators import LSTMForecaster
from cellgate.estimators.sktime import SktimeForecaster
from sktime.utils.estimator_checks import check_estimator

SETTINGS = {"season_length": 12, "hidden_size": 8, "max_epochs": 2, "random_state": 0}


@pytest.fixture
def random():
    return np.random.default_rng(3)


def monthly(random, steps=200):
    values = 10 + np.sin(np.arange(steps) * np.pi / 6) + random.normal(0, 0.1, steps)
    return pd.Series(values, pd.period_range("2001-01", periods=steps, freq="M"), name="sales")


@pytest.mark.filterwarnings("ignore")  # sktime's own
def test_all_checks_of_sktime_pass():
    results = check_estimator(SktimeForecaster, verbose=False)
    failed = {name: result for name, result in results.items() if result != "PASSED"}
    assert len(results) > 100
    assert not failed


def test_it_says_what_the_forecaster_says(random):
    y = monthly(random)
    x = pd.DataFrame({"a": random.standard_normal(200)}, y.index)
    model = SktimeForecaster(LSTMForecaster(**SETTINGS)).fit(y[:180], x[:180], fh=[1, 4])
    plain = LSTMForecaster(4, **SETTINGS).fit(y[:180].to_numpy(), x[:180].to_numpy())
    made = model.predict(X=x[180:184])
    assert list(made.index) == [y.index[180], y.index[183]]
    assert made.name == "sales"
    known = x[:184].to_numpy().copy()
    assert np.array_equal(made, plain.predict(y[:180].to_numpy(), known)[[0, 3]])
    interval = model.predict_interval(coverage=0.8, X=x[180:184])
    lower, upper = plain.predict_interval(0.8, y[:180].to_numpy(), known)
    assert np.allclose(interval.to_numpy(), np.stack([lower, upper], 1)[[0, 3]])
    # Steps that are not given are as the last before them.
    known[180:184] = x.to_numpy()[[180, 180, 180, 183]]
    only_horizon = model.predict(X=x.iloc[[180, 183]])
    assert np.array_equal(only_horizon, plain.predict(y[:180].to_numpy(), known)[[0, 3]])
    # Other columns of X have no effect.
    assert model.predict(X=x).equals(made)
    # After an update it continues what has come since, without training if so wished.
    model.update(y[180:190], x[180:190], update_params=False)
    later = model.predict(X=x[190:194])
    assert later.index[0] == y.index[190]
    expected = plain.predict(y[:190].to_numpy(), x[:194].to_numpy())[[0, 3]]
    assert np.array_equal(later, expected)
    model.update(y[190:192], x[190:192])
    assert len(model.forecaster_.loss_curve_) == len(plain.loss_curve_) + 1


def test_rows_of_x_belong_to_those_of_y(random):
    """X may begin earlier than y and end later, in `fit` and in `update`."""
    x = pd.DataFrame({"a": random.standard_normal(200)}, monthly(random).index)
    y = 3 * x["a"] + random.normal(0, 0.05, 200)
    models = [
        SktimeForecaster(LSTMForecaster(**SETTINGS)).fit(y[20:170], given, fh=[1, 2, 3])
        for given in (x, x[20:170])
    ]
    for _ in range(2):
        made = [model.predict(X=x) for model in models]
        assert made[0].equals(made[1])
        models[0].update(y[170:190], x)
        models[1].update(y[170:190], x[170:190])
    assert np.abs(made[0] - y[made[0].index]).max() < 1
    with pytest.raises(ValueError, match=r"X: must have the columns \['a'\], got None"):
        models[0].predict()


def test_the_template_is_checked_and_left_alone(random):
    with pytest.raises(TypeError, match="forecaster: must be an LSTMForecaster, got"):
        SktimeForecaster("LSTM").fit(monthly(random), fh=[1])
    template = LSTMForecaster(**SETTINGS)
    model = SktimeForecaster(template).fit(monthly(random), fh=[1, 5])
    assert template.horizon == 1
    assert model.forecaster_.horizon == 5
    assert not hasattr(template, "lstm_")


def test_quantiles_that_were_not_learned_lie_on_a_normal_distribution(random):
    model = SktimeForecaster(LSTMForecaster(**SETTINGS)).fit(monthly(random), fh=[1])
    z = np.array([NormalDist().inv_cdf(q) for q in model.forecaster_.quantiles_])
    model._quantiles = lambda fh, X: 5 + 2 * z[None]
    made = model.predict_quantiles(alpha=[0.01, 0.3, 0.5, 0.999]).to_numpy()[0]
    assert np.allclose(made, [NormalDist(5, 2).inv_cdf(a) for a in (0.01, 0.3, 0.5, 0.999)])


def test_the_past_cannot_be_forecast(random):
    with pytest.raises(NotImplementedError):
        SktimeForecaster(LSTMForecaster(**SETTINGS)).fit(monthly(random), fh=[-1, 1])


def test_says_what_to_install():
    code = "import sys; sys.modules['sktime'] = None; import cellgate.estimators.sktime"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stderr.splitlines()[-1].endswith("pip install 'cellgate[sktime]'")
