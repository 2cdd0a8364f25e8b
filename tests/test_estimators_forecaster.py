"""LSTMForecaster: features and targets by hand, forecasts that must come out, scaling out."""

from __future__ import annotations

import pickle

import joblib
import numpy as np
import pytest
from cellgate.estimators import LSTMForecaster
from cellgate.estimators.calibration import rising
from cellgate.estimators.highway import PENALTIES, Highway, Seasonal, seasonal_mean
from cellgate.estimators.series import checked_series, seasonal_naive, targets
from dask.distributed import Client, LocalCluster
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

SMALL = {"hidden_size": 12, "max_epochs": 4, "steps_per_epoch": 8, "random_state": 0}


@pytest.fixture
def random():
    return np.random.default_rng(11)


def seasonal(random, steps=500, noise=0.1):
    time = np.arange(steps)
    return 10 + np.sin(2 * np.pi * time / 12) * 3 + random.normal(0, noise, steps)


def test_targets_and_seasonal_naive_by_hand():
    values = np.array([10.0, 11, 12, 13, 14, 15])
    nan = np.nan
    assert np.array_equal(
        targets(values, 2),
        [[11, 12], [12, 13], [13, 14], [14, 15], [15, nan], [nan, nan]],
        equal_nan=True,
    )
    # 1, 2, 3 steps ahead with a season of 2: of y[t - 1], y[t], y[t - 1].
    base = seasonal_naive(values, 2, 3)
    assert np.array_equal(base[0], [nan, 10, nan], equal_nan=True)
    assert np.array_equal(base[4], [13, 14, 13])
    assert np.array_equal(seasonal_naive(values, 1, 2)[3], [13, 13])


def test_beats_the_seasonal_naive_forecast(random):
    y = seasonal(random, 1200, noise=0)
    drift = 0.0
    for k, step in enumerate(random.normal(0, 0.3, 1200)):  # a level that comes back to its mean
        drift = 0.9 * drift + step
        y[k] += drift
    model = LSTMForecaster(12, season_length=12, hidden_size=24, max_epochs=30, random_state=0)
    model.fit(y[:900])
    assert model.score(y) > 0.15
    rolling = model.predict_rolling(y, start=900, step=5)
    truth = np.stack([y[origin : origin + 12] for origin in rolling.origins])
    low, high = rolling.quantiles[..., 1], rolling.quantiles[..., -2]
    assert model.quantiles_[[1, -2]] == pytest.approx([0.1, 0.9])
    assert 0.65 < np.mean((low <= truth) & (truth <= high)) < 0.93
    assert (np.diff(rolling.quantiles, axis=-1) >= 0).all()


def test_exogenous_values_of_the_future_are_used(random):
    x = random.standard_normal((900, 1))
    y = 5 * x[:, 0] + random.normal(0, 0.1, 900)  # depends on x alone
    model = LSTMForecaster(3, hidden_size=32, max_epochs=40, learning_rate=0.01, random_state=0)
    model.fit(y[:700], x)
    blind = LSTMForecaster(3, **SMALL).fit(y[:700])
    made = model.predict_rolling(y, x, start=700)
    truth = np.stack([y[origin : origin + 3] for origin in made.origins])
    without = blind.predict_rolling(y, start=700).median
    assert np.abs(made.median - truth).mean() < 0.4 * np.abs(without - truth).mean()
    future = x.copy()
    future[702] += 1
    changed = model.predict(y[:700], future) - model.predict(y[:700], x)
    assert abs(changed[2]) > 1
    with pytest.raises(ValueError, match="X: must cover the 700 steps of y and 3 more, got 702"):
        model.predict(y[:700], x[:702])


def test_the_linear_part_is_a_fit_of_the_past_only(random):
    """A series that a season of weights describes exactly; and the future is not read."""
    y = np.tile(random.standard_normal(12), 40) + 0.01 * np.arange(480)
    highway = Highway(5, (12,))
    highway.fit([y], None, [400])
    made = highway(y, None)
    assert np.isnan(made[: highway.needed - 1]).all()
    assert np.abs(made[400:-5] - targets(y, 5)[400:-5]).max() < 0.01
    later = y.copy()
    later[420:] = 99
    assert np.array_equal(highway(later, None)[highway.needed : 420], made[highway.needed : 420])
    other = Highway(5, (12,))
    other.fit([later], None, [400])
    assert np.array_equal(other(y, None)[400:], made[400:])


def test_the_mean_of_past_seasons_by_hand():
    values = np.arange(10.0) ** 2
    # Season 3, 2 steps ahead: of t - 1, t - 4, t - 7 as far as they are there.
    by_hand = [np.mean([values[t - k] for k in (1, 4, 7) if t >= k] or [0]) for t in range(10)]
    assert np.allclose(seasonal_mean(values, 0, 3, 2), by_hand)
    assert np.allclose(seasonal_mean(values, 0, 3, 0)[8], np.mean(values[[5, 2]]))
    assert np.allclose(seasonal_mean(values, 3, 3, 0)[8], values[5])
    assert np.array_equal(seasonal_mean(values, 3, 3, 0)[:6], np.zeros(6))
    # 4 steps ahead is beyond the season: the newest known one is at t - 2.
    assert np.allclose(seasonal_mean(values, 0, 3, 4)[9], np.mean(values[[7, 4, 1]]))


def test_seasons_that_repeat_are_told_exactly(random):
    day, week = random.standard_normal(4), random.standard_normal(12)
    y = np.tile(day, 30) + np.tile(week, 10)
    seasonal = Seasonal(y, (4, 12))
    assert np.abs(seasonal.rest[16:]).max() < 1e-12
    assert np.allclose(seasonal.change(5)[16:-5], y[21:] - y[16:-5])


def test_the_penalty_follows_from_what_there_is_to_learn(random):
    """A random walk cannot be predicted; noise around a level can, by its return to the level."""
    noise = random.standard_normal(600)
    chosen = []
    for rest in (noise.cumsum(), noise):
        highway = Highway(6, (12,))
        highway.fit([np.tile(random.standard_normal(12), 50) + rest], None, [600])
        chosen.append(highway.penalty)
    assert set(chosen) < set(PENALTIES)
    assert chosen[0] > chosen[1]


def test_a_few_holidays_do_not_decide(random):
    y = seasonal(random, 600)
    holidays = y.copy()
    holidays[100:600:97] += 40
    errors = []
    for learned in (y, holidays):
        highway = Highway(6, (12,))
        highway.fit([learned], None, [600])
        errors.append(np.nanmean(np.abs(highway(y, None) - targets(y, 6))))
    assert errors[1] < 1.25 * errors[0]


def test_a_network_that_has_nothing_to_add_is_not_followed(random):
    """Independent noise on a season: the median is that of the linear part, on every step."""
    y = seasonal(random, 700, noise=1.0)
    model = LSTMForecaster(6, season_length=12, **SMALL).fit(y[:600])
    rolling = model.predict_rolling(y, start=600)
    far = np.abs(rolling.median - rolling.linear).mean()
    model._model.share = 1.0
    assert far < 0.5 * np.abs(model.predict_rolling(y, start=600).median - rolling.linear).mean()


def test_a_series_that_holds_nothing_out_still_counts(random):
    """15 % of 40 steps is no forecast of 6; the other series decides when to stop."""
    model = LSTMForecaster(6, **SMALL).fit([seasonal(random, 400), seasonal(random, 40)])
    assert [made.shape for made in model.predict()] == [(6,), (6,)]


def test_what_partial_fit_refuses_leaves_the_model_as_it_is(random):
    y = seasonal(random)
    model = LSTMForecaster(6, season_length=12, **SMALL).fit(y)
    before = model.predict()
    with pytest.raises(ValueError, match="y: must have at least 37 steps for this horizon"):
        model.partial_fit(y[:30])
    with pytest.raises(ValueError, match="window: must be at least 4, got 3"):
        model.set_params(window=3).partial_fit(y[:-3])
    with pytest.raises(ValueError, match="steps_per_epoch: must be at least 1, got 0"):
        model.set_params(window=None, steps_per_epoch=0).fit(y[:-3])
    assert np.array_equal(model.predict(), before)
    new = LSTMForecaster(6, season_length=12, **{**SMALL, "steps_per_epoch": 0})
    with pytest.raises(ValueError, match="steps_per_epoch"):
        new.fit(y)
    with pytest.raises(NotFittedError):
        new.predict()
    with pytest.raises(ValueError, match=r"y: must have at least one step, got shape \(0,\)"):
        model.predict(y[:0])


def test_joblib_keeps_what_partial_fit_goes_on_from(random, tmp_path):
    y = seasonal(random)
    model = LSTMForecaster(6, season_length=12, **SMALL).partial_fit(y)
    joblib.dump(model, tmp_path / "model.joblib")
    again = joblib.load(tmp_path / "model.joblib")
    before = again.lstm_.state_dict()["weight_hh_l0"].copy()
    assert np.array_equal(model.partial_fit(y).predict(), again.partial_fit(y).predict())
    assert not np.array_equal(again.lstm_.state_dict()["weight_hh_l0"], before)


def test_narrowed_intervals_leave_the_median_alone():
    made = rising(np.array([-0.2 + 0.5, -0.1 + 0.3, 0, 1 - 0.3, 2 - 0.5]))
    assert np.allclose(made, [0, 0, 0, 0.7, 1.5])
    assert np.allclose(rising(np.array([-1.0, -2, 0, 5, 3])), [-2, -1, 0, 3, 5])


def test_log_is_for_series_above_zero(random):
    level = np.exp(np.cumsum(random.normal(0.004, 0.01, 500)))
    y = level * (2 + np.sin(2 * np.pi * np.arange(500) / 12))
    model = LSTMForecaster(6, season_length=12, log=True, **SMALL).fit(y[:400])
    made = model.predict_rolling(y, start=400)
    truth = np.stack([y[o : o + 6] for o in made.origins])
    assert np.abs(made.median / truth - 1).mean() < 0.05
    assert (made.quantiles > 0).all()
    ahead = model.partial_fit(y[:400]).predict()  # of the y that was given last, which is not log y
    assert np.array_equal(ahead, model.predict(y[:400]))
    assert 0.5 < ahead.mean() / y[400:406].mean() < 2
    with pytest.raises(ValueError, match="y: must be above 0 with log=True, got 0"):
        model.fit(np.where(np.arange(500) == 9, 0.0, y))


def test_the_scale_of_an_exogenous_value_does_not_matter(random):
    """It is scaled by its own mean and deviation, so that its unit has no effect."""
    y, x = seasonal(random), random.standard_normal((500, 1))
    model = LSTMForecaster(3, season_length=12, **SMALL)
    prepared = [
        model.fit(y, values)._model.prepare(checked_series(y, values), 0)[0].x
        for values in (x, 1000 + 50 * x)
    ]
    assert np.allclose(*prepared, atol=1e-4)
    assert (prepared[1].std(axis=0) > 0.5).all()


@pytest.mark.parametrize("layout", ["one", "columns", "list"])
def test_layouts(random, layout):
    several = [seasonal(random, 300 + 40 * k) + k for k in range(3)]
    y = {"one": several[0], "columns": np.stack([s[:300] for s in several], 1), "list": several}
    model = LSTMForecaster(6, season_length=12, **SMALL).fit(y[layout])
    made, (low, high) = model.predict(), model.predict_interval(0.8)
    quantiles = model.predict_quantiles()
    if layout == "list":
        assert [m.shape for m in made] == [(6,)] * 3
        assert [q.shape for q in quantiles] == [(6, 5)] * 3
        assert all((a <= b).all() for a, b in zip(low, high, strict=True))
    else:
        shape = (6,) if layout == "one" else (6, 3)
        assert made.shape == low.shape == high.shape == shape
        assert quantiles.shape == (*shape, 5)
        assert (low <= made).all()
        assert (made <= high).all()


def test_rolling_is_what_single_forecasts_give(random):
    y = seasonal(random)
    model = LSTMForecaster(6, season_length=(4, 12), **SMALL).fit(y[:400])
    model._model.share = 0.7  # so that both parts have an effect, independent of what fit chose
    rolling = model.predict_rolling(y, start=410, step=7)
    for origin, quantiles in zip(rolling.origins, rolling.quantiles, strict=True):
        assert np.allclose(model.predict_quantiles(y[:origin]), quantiles, rtol=0, atol=1e-5)
    assert rolling.linear.shape == rolling.median.shape
    assert 0 < np.abs(rolling.linear - rolling.median).mean() < y.std()
    later = model.predict(y[48:460], phase=48)  # 48 steps no longer affect the state
    assert np.allclose(later, model.predict(y[:460]), atol=0.05)


def test_pickle_clone_and_partial_fit(random):
    y = seasonal(random)
    model = LSTMForecaster(6, season_length=12, **SMALL).fit(y[:400])
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.predict(), model.predict())
    fresh = clone(model)
    with pytest.raises(NotFittedError):
        fresh.predict()
    assert np.array_equal(fresh.fit(y[:400]).predict(), model.predict())
    again.partial_fit(y)
    assert len(again.loss_curve_) == len(model.loss_curve_) + 1
    assert not np.array_equal(again.predict(y[:400]), model.predict())
    first = LSTMForecaster(6, season_length=12, **SMALL).partial_fit(y)
    assert first.n_iter_ == 1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"horizon": 0}, ValueError, "horizon: must be at least 1"),
        ({"season_length": 2.5}, TypeError, "season_length: must be an integer"),
        ({"season_length": ()}, ValueError, "season_length: is empty"),
        ({"levels": (0.5, 1.0)}, ValueError, "levels: must be above 0 and below 1"),
        ({"levels": ()}, ValueError, "levels: must have at least one"),
        ({"window": 3}, ValueError, "window: must be at least 4"),
        ({"validation_fraction": 0.001}, ValueError, "holds no forecast of 6 steps"),
    ],
)
def test_bad_parameters_are_named(random, change, error, message):
    settings = {"season_length": 12, **SMALL, "horizon": 6, **change}
    with pytest.raises(error, match=message):
        LSTMForecaster(**settings).fit(seasonal(random))


def test_bad_series_are_named(random):
    y = seasonal(random)
    model = LSTMForecaster(6, season_length=12, **SMALL)
    for bad, error, message in [
        (np.where(np.arange(500) == 3, np.nan, y), ValueError, "y: has NaN or infinity"),
        (y[:20], ValueError, "y: must have at least 44 steps .*, got 20"),
        ("text", TypeError, "y: must be an array of numbers"),
        (np.zeros((3, 3, 3)), ValueError, r"y: must be \(T,\) or \(T, S\)"),
    ]:
        with pytest.raises(error, match=message):
            model.fit(bad)
    model.fit(y)
    with pytest.raises(ValueError, match=r"level: must be one of \(0.8, 0.95\), got float 0.9"):
        model.predict_interval(0.9)
    with pytest.raises(ValueError, match="X: the fit had none"):
        model.predict(y, np.zeros((506, 1)))
    with pytest.raises(TypeError, match="phase: must be an integer"):
        model.predict_rolling(y, start=400, phase=0.5)
    with pytest.raises(
        ValueError, match=r"y: must have at least \d+ steps before a forecast, got 7"
    ):
        model.predict(y[:7])
    with pytest.raises(ValueError, match="start: must leave 6 steps"):
        model.predict_rolling(y, start=496)
    with pytest.raises(ValueError, match="y: the fit had 1 series, got 2"):
        model.predict(np.stack([y, y], axis=1))
    with pytest.raises(ValueError, match=r"X: has 2 series, and y has 1"):
        checked_series(y, np.zeros((500, 2, 1)))


def test_many_series_scale_out_on_dask(random, tmp_path):
    """The recipe of docs/estimators.md: joblib fits, Dask scores, the model travels by pickle."""
    several = [seasonal(random, 200) * (k + 1) for k in range(3)]
    settings = {**SMALL, "max_epochs": 2}

    def fit(y):
        return LSTMForecaster(6, season_length=12, **settings).fit(y)

    here = [fit(y).predict() for y in several]
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=tmp_path
        ) as cluster,
        Client(cluster) as client,
    ):
        with joblib.parallel_config("dask"):
            models = joblib.Parallel()(joblib.delayed(fit)(y) for y in several)
        assert all(np.array_equal(m.predict(), h) for m, h in zip(models, here, strict=True))
        model = client.scatter(models[0], broadcast=True)
        parts = [several[0][:150], several[0][:170], several[0]]
        scored = client.gather(client.map(lambda y, m: m.predict(y), parts, m=model))
    assert all(np.array_equal(s, models[0].predict(p)) for s, p in zip(scored, parts, strict=True))
