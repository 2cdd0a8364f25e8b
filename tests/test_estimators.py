"""LSTMRegressor and LSTMClassifier: scikit-learn's own checks, and what those cannot know."""

from __future__ import annotations

import pickle
import subprocess
import sys

import joblib
import numpy as np
import pytest
from cellgate.estimators import LSTMClassifier, LSTMForecaster, LSTMRegressor
from cellgate.estimators.losses import LOSSES, cross_entropy, pinball
from cellgate.estimators.network import Batch, Network
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

SMALL = {"hidden_size": 8, "max_epochs": 4, "random_state": 0}


def expected_failures(estimator):
    """Checks that do not apply, with the reason; all others have to pass."""
    reason = "batches are drawn at random, so that a weight of 2 is not the same as two copies"
    return {"check_sample_weight_equivalence_on_dense_data": reason}


# The checks feed arrays (n, T), which are sequences of one feature.
@parametrize_with_checks(
    [LSTMRegressor(), LSTMClassifier()], expected_failed_checks=expected_failures
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.fixture
def random():
    return np.random.default_rng(7)


def ragged(random, n=40, features=2):
    return [random.standard_normal((random.integers(2, 9), features)) for _ in range(n)]


def as_padded(X):
    result = np.full((len(X), max(map(len, X)) + 1, X[0].shape[1]), np.nan)
    for k, x in enumerate(X):
        result[k, : len(x)] = x
    return result


@pytest.mark.parametrize("settings", [{}, {"pooling": "mean"}, {"bidirectional": True}])
def test_lists_and_padded_arrays_are_the_same(random, settings):
    X = ragged(random)
    y = np.array([x.sum() for x in X])
    a = LSTMRegressor(**SMALL, **settings).fit(X, y)
    b = LSTMRegressor(**SMALL, **settings).fit(as_padded(X), y)
    assert np.array_equal(a.predict(X), b.predict(X))
    assert np.array_equal(a.predict(X), b.predict(as_padded(X)))
    assert a.n_features_in_ == b.n_features_in_ == 2


def test_learns_what_needs_memory(random):
    X = random.standard_normal((400, 12, 1))
    y = X[:, 0, 0] - X[:, -1, 0]  # depends on the order of the values
    model = LSTMRegressor(24, max_epochs=60, random_state=0).fit(X[:300], y[:300])
    assert model.score(X[300:], y[300:]) > 0.9
    assert model.best_epoch_ <= model.n_iter_ == len(model.validation_curve_)


def test_per_step_classes_follow_the_sequence(random):
    X = ragged(random, 200, 1)
    y = [np.where(x[:, 0].cumsum() > 0, "up", "down") for x in X]  # needs all earlier steps
    model = LSTMClassifier(16, per_step=True, max_epochs=60, random_state=0).fit(X[:150], y[:150])
    assert model.score(X[150:], y[150:]) > 0.9
    made = model.predict(X[150:])
    assert [len(m) for m in made] == [len(x) for x in X[150:]]
    padded = model.predict_proba(as_padded(X[150:]))
    for k, x in enumerate(X[150:]):
        assert np.allclose(padded[k, : len(x)].sum(axis=-1), 1)
        assert np.isnan(padded[k, len(x) :]).all()
    assert set(np.unique(model.predict(as_padded(X)))) <= {"up", "down"}


def test_per_step_numbers_of_several_targets(random):
    X = ragged(random, 80)
    y = [np.stack([x[:, 0], x.sum(axis=1)], axis=1) for x in X]
    model = LSTMRegressor(16, per_step=True, max_epochs=40, random_state=0).fit(X, y)
    assert model.score(X, y) > 0.8
    assert model.predict(X)[0].shape == y[0].shape
    assert model.predict(as_padded(X)).shape == (*as_padded(X).shape[:2], 2)


def test_a_prediction_does_not_depend_on_its_company(random):
    X = ragged(random)
    model = LSTMClassifier(**SMALL).fit(X, [len(x) % 2 for x in X])
    alone = np.concatenate([model.predict_proba([x]) for x in X])
    assert np.array_equal(alone, model.predict_proba(X))


@pytest.mark.parametrize("kind", [LSTMRegressor, LSTMClassifier])
def test_clone_and_pickle(random, kind):
    X, y = ragged(random), np.arange(40) % 3
    model = kind(**SMALL).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(model.predict(X), again.predict(X))
    assert again.lstm_ is again._network.lstm
    fresh = clone(model)
    with pytest.raises(NotFittedError):
        fresh.predict(X)
    assert np.array_equal(fresh.fit(X, y).predict(X), model.predict(X))
    again.partial_fit(X, y)
    assert not np.array_equal(model.predict(X), again.predict(X))


def test_pipeline_and_grid_search(random):
    X, y = random.standard_normal((60, 6)), np.arange(60) % 2
    grid = GridSearchCV(
        make_pipeline(StandardScaler(), LSTMClassifier(**SMALL)),
        {"lstmclassifier__hidden_size": [4, 8], "lstmclassifier__pooling": ["last", "mean"]},
        cv=2,
    ).fit(X, y)
    assert grid.predict(X).shape == (60,)
    ragged_x = ragged(random)
    doubled = make_pipeline(
        FunctionTransformer(lambda X: [2 * x for x in X]), LSTMRegressor(**SMALL)
    )
    scores = cross_val_score(doubled, ragged_x, [x.sum() for x in ragged_x], cv=2)
    assert np.isfinite(scores).all()


def test_early_stopping_keeps_the_best_epoch(random):
    X, y = ragged(random, 60), random.standard_normal(60)  # noise: it can only overfit
    model = LSTMRegressor(32, max_epochs=200, patience=3, random_state=0).fit(X[:40], y[:40])
    assert model.n_iter_ == model.best_epoch_ + 3 < 200
    assert model.best_epoch_ == 1 + int(np.argmin(model.validation_curve_))
    given = LSTMRegressor(**SMALL).fit(X[:40], y[:40], validation_data=(X[40:], y[40:]))
    assert len(given.validation_curve_) == given.n_iter_
    scaled = (y[40:] - given._target_mean) / given._target_std
    made = (given.predict(X[40:]) - given._target_mean) / given._target_std
    assert np.mean((scaled - made) ** 2) == pytest.approx(min(given.validation_curve_), rel=1e-5)
    none = LSTMRegressor(**SMALL, early_stopping=False).fit(X, y)
    assert none.validation_curve_ == []
    assert none.n_iter_ == none.best_epoch_ == 4


def test_schedules_train_and_differ(random):
    X = ragged(random, 200)
    y = [x[-1, 0] for x in X]
    curves = []
    for schedule in ("constant", "linear", "cosine"):
        model = LSTMRegressor(8, max_epochs=15, schedule=schedule, random_state=0).fit(X, y)
        assert model.loss_curve_[-1] < model.loss_curve_[0]
        curves.append(model.loss_curve_)
    assert curves[0] != curves[1] != curves[2] != curves[0]


def test_plateau_halves_the_rate_when_nothing_gets_better(random):
    X, y = ragged(random, 60), random.standard_normal(60)  # noise: validation soon gets worse
    settings = {"hidden_size": 16, "max_epochs": 20, "patience": 15, "random_state": 0}
    constant = LSTMRegressor(**settings, schedule="constant").fit(X, y)
    plateau = LSTMRegressor(**settings, schedule="plateau").fit(X, y)
    assert plateau.best_epoch_ + 5 < plateau.n_iter_
    same = plateau.best_epoch_ + 5  # epochs until a third of the patience is over
    assert plateau.loss_curve_[:same] == constant.loss_curve_[:same]
    assert plateau.loss_curve_[same] != constant.loss_curve_[same]


def test_partial_fit_goes_on(random):
    X = ragged(random)
    y = ["late" if x[-1, 0] > 0 else "early" for x in X]
    model = LSTMClassifier(16, random_state=0)
    model.partial_fit(X[:1], y[:1], classes=["early", "late"])
    for _ in range(60):
        model.partial_fit(X, y)
    assert model.score(X, y) > 0.9
    assert model.n_iter_ == 61
    with pytest.raises(ValueError, match=r"classes that the first fit did not see: \['other'\]"):
        model.partial_fit(X, ["other"] * 40)


def test_weights_count(random):
    X = ragged(random, 400)
    y = np.arange(400) % 5 == 0  # rare, and independent of X
    rare = LSTMClassifier(**SMALL).fit(X, y).predict_proba(X)[:, 1].mean()
    balanced = LSTMClassifier(**SMALL, class_weight="balanced").fit(X, y)
    weighted = LSTMClassifier(**SMALL).fit(X, y, sample_weight=np.where(y, 4.0, 1.0))
    assert rare < 0.45 < balanced.predict_proba(X)[:, 1].mean()
    assert weighted.predict_proba(X)[:, 1].mean() > 0.45


def test_progress_goes_to_stderr_when_asked(random, capsys):
    X = ragged(random)
    LSTMRegressor(**SMALL, verbose=True).fit(X, [len(x) for x in X])
    shown = capsys.readouterr()
    assert "validation=" in shown.err
    assert shown.out == ""
    LSTMRegressor(**SMALL).fit(X, [len(x) for x in X])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"hidden_size": 0}, ValueError, "hidden_size: must be at least 1, got 0"),
        ({"learning_rate": 0}, ValueError, "learning_rate: must be above 0 and finite, got 0"),
        ({"learning_rate": "1"}, TypeError, "learning_rate: must be a number"),
        ({"schedule": "steps"}, ValueError, "schedule: must be one of 'constant'"),
        ({"pooling": "max"}, ValueError, "pooling: must be 'last' or 'mean'"),
        ({"loss": "l2"}, ValueError, "loss: must be one of 'squared_error'"),
        ({"validation_fraction": 1.0}, ValueError, "validation_fraction: must be above 0"),
        ({"batch_size": 2.5}, TypeError, "batch_size: must be an integer"),
        ({"per_step": 1}, TypeError, "per_step: must be True or False"),
    ],
)
def test_bad_parameters_are_named(random, settings, error, message):
    X = ragged(random)
    with pytest.raises(error, match=message):
        LSTMRegressor(**{**SMALL, **settings}).fit(X, [1.0] * 40)


def test_bad_sequences_are_named(random):
    X = ragged(random)
    y = np.zeros(40)
    bad = [*X[:39], np.zeros((4, 3))]
    with pytest.raises(ValueError, match=r"X\[39\]: has 3 features, and X\[0\] has 2"):
        LSTMRegressor(**SMALL).fit(bad, y)
    gap = as_padded(X)
    gap[3, 0] = np.nan
    with pytest.raises(ValueError, match=r"X\[3\]: contains NaN inside the sequence"):
        LSTMRegressor(**SMALL).fit(gap, y)
    gap[3] = np.nan
    with pytest.raises(ValueError, match=r"X\[3\]: has no steps"):
        LSTMRegressor(**SMALL).fit(gap, y)
    model = LSTMRegressor(**SMALL).fit(X, y)
    with pytest.raises(ValueError, match="expecting 2 features"):
        model.predict(random.standard_normal((3, 4, 1)))
    with pytest.raises(ValueError, match=r"y\[0\]: must have"):
        LSTMRegressor(**SMALL, per_step=True).fit(X, [np.zeros(99)] * 40)


@pytest.mark.parametrize("readout", ["step", "last", "mean"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_gradients_of_the_network(random, readout, bidirectional):
    """Against differences in float64: of the head, and of the LSTM through each readout."""
    network = Network(
        2, 3, readout, hidden_size=4, num_layers=2, bidirectional=bidirectional, dropout=0.0,
        dtype="float64", seed=1,
    )  # fmt: skip
    network.weights["head.weight"][...] = random.standard_normal((3, 8 if bidirectional else 4))
    x, lengths = random.standard_normal((5, 3, 2)), np.array([5, 2, 4])
    target = random.standard_normal((5, 3, 3) if readout == "step" else (3, 3))
    valid = (np.arange(5)[:, None] < lengths) * 1.0 if readout == "step" else np.ones(3)
    batch = Batch(x, lengths, lambda out: LOSSES["huber"](out, target, valid))
    seen = {}

    class Spy:
        def step(self, grads):
            seen.update({name: g.copy() for name, g in grads.items()})

    network.learn(batch, Spy(), np.inf, 0)
    for name, array in network.weights.items():
        for at in [np.unravel_index(k, array.shape) for k in random.integers(array.size, size=4)]:
            before, ends = array[at], []
            for sign in (1, -1):
                array[at] = before + sign * 1e-6
                network._load()
                ends.append(batch.loss(network(x, lengths))[0])
            array[at] = before
            assert seen[name][at] == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-7), name


@pytest.mark.parametrize("name", [*LOSSES, "cross_entropy", "pinball"])
def test_derivatives_of_the_losses(random, name):
    out, weights = random.standard_normal((4, 2, 6)), random.random((4, 2))
    if name == "cross_entropy":
        labels = random.integers(6, size=(4, 2))
        loss = lambda out: cross_entropy(out, labels, weights)  # noqa: E731
    elif name == "pinball":
        target, quantiles = random.standard_normal((4, 2, 2)), np.array([0.1, 0.5, 0.9])
        loss = lambda out: pinball(out, target, weights, quantiles)  # noqa: E731
    else:
        target = random.standard_normal(out.shape)
        loss = lambda out: LOSSES[name](out, target, weights)  # noqa: E731
    _, derivative = loss(out)
    for at in np.ndindex(out.shape):
        ends = []
        for sign in (1, -1):
            moved = out.copy()
            moved[at] += sign * 1e-6
            ends.append(loss(moved)[0])
        assert derivative[at] == pytest.approx((ends[0] - ends[1]) / 2e-6, abs=1e-6)


def test_does_not_import_torch():
    code = (
        "import sys; import numpy as np; "
        "from cellgate.estimators import LSTMRegressor; "
        "X = np.ones((8, 5, 2)); print(LSTMRegressor(4, max_epochs=2).fit(X, X[:, 0, 0]).n_iter_, "
        "'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "2 False\n"


def test_says_what_to_install():
    code = "import sys; sys.modules['sklearn'] = None; import cellgate.estimators"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'cellgate[sklearn]'" in done.stderr.splitlines()[-1]


def test_all_have_a_repr_that_says_what_is_not_the_default():
    assert repr(LSTMRegressor(8)) == "LSTMRegressor(hidden_size=8)"
    assert repr(LSTMForecaster(24)) == "LSTMForecaster(horizon=24)"


@pytest.mark.parametrize("kind", [LSTMClassifier, LSTMRegressor])
def test_what_is_refused_leaves_an_estimator_as_it_was(random, kind):
    X, y = random.standard_normal((30, 5, 2)), np.arange(30) % 2
    model = kind(**SMALL)
    with pytest.raises(ValueError, match="sample_weight"):
        model.partial_fit(X, y, sample_weight=np.ones(7))
    with pytest.raises(NotFittedError):
        model.predict(X)
    before = model.fit(X, y).predict(X)
    with pytest.raises(TypeError, match=r"validation_data: must be \(X, y\), got int"):
        model.fit(X, y, validation_data=3)
    with pytest.raises(ValueError, match="requires y"):
        model.fit(random.standard_normal((30, 5, 4)), None)
    assert np.array_equal(model.predict(X), before)
    assert model.n_features_in_ == 2


@pytest.mark.parametrize("kind", [LSTMClassifier, LSTMRegressor])
def test_joblib_keeps_what_partial_fit_goes_on_from(random, kind, tmp_path):
    """It writes an array twice that two objects share: neither may depend on it."""
    X, y = random.standard_normal((40, 5, 2)), np.arange(40) % 2
    model = kind(**SMALL).partial_fit(X, y)
    joblib.dump(model, tmp_path / "model.joblib")
    again = joblib.load(tmp_path / "model.joblib")
    before = again._outputs(X)[1]
    ours, theirs = model.partial_fit(X, y)._outputs(X)[1], again.partial_fit(X, y)._outputs(X)[1]
    assert np.array_equal(ours, theirs)
    assert not np.array_equal(theirs, before)


def test_a_constant_feature_stays_as_it_is(random):
    """The deviation of 0.1, 0.1, ... is rounding noise; divided by it, 1e-6 would be thousands."""
    X = np.stack([random.standard_normal((60, 5)), np.full((60, 5), 0.1)], axis=2)
    model = LSTMRegressor(**SMALL).fit(X, X[:, -1, 0])
    moved = X + np.array([0.0, 1e-6])
    assert np.allclose(model.predict(X), model.predict(moved), atol=1e-4)
    assert model._std[1] == 1.0


def test_steps_must_have_targets(random):
    X = random.standard_normal((4, 5, 2))
    with pytest.raises(TypeError, match="y: must have the targets of each sequence, got int"):
        LSTMRegressor(per_step=True, **SMALL).fit(X, 3)
    with pytest.raises(TypeError, match=r"y\[0\]: must be an array of numbers"):
        LSTMRegressor(per_step=True, **SMALL).fit(X, [["a"] * 5] * 4)
    model = LSTMRegressor(per_step=True, early_stopping=False, **SMALL).fit(X, X[..., 0])
    with pytest.raises(ValueError, match="sample_weight"):
        model.score(X, X[..., 0], np.ones(3))


def test_balanced_weights_need_every_class_at_first(random):
    X = random.standard_normal((6, 5, 2))
    model = LSTMClassifier(class_weight="balanced", **SMALL)
    with pytest.raises(ValueError, match=r"class_weight: 'balanced' needs .* lacks \[2\]"):
        model.partial_fit(X, np.arange(6) % 2, classes=[0, 1, 2])


def test_an_epoch_that_is_interrupted_leaves_nothing_changed(random, monkeypatch):
    X, y = random.standard_normal((40, 5, 2)), np.arange(40) % 2
    model = LSTMClassifier(batch_size=8, **SMALL).partial_fit(X, y)
    before, losses = model.predict_proba(X), list(model.loss_curve_)
    calls, learn = [], Network.learn

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return learn(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Network, "learn", interrupted)
        with pytest.raises(KeyboardInterrupt):
            model.partial_fit(X, y)
        calls.clear()
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, y)
    assert np.array_equal(model.predict_proba(X), before)
    assert model.loss_curve_ == losses
    twin = LSTMClassifier(batch_size=8, **SMALL).partial_fit(X, y).partial_fit(X, y)
    assert np.array_equal(model.partial_fit(X, y).predict_proba(X), twin.predict_proba(X))
