"""Estimators predict through a `cellgate.Network`, which they save for C and C++ to run."""

from __future__ import annotations

import json

import cellgate
import numpy as np
import pytest
from cases import assert_same_bits
from cellgate.estimators import LSTMClassifier, LSTMForecaster, LSTMRegressor
from sklearn.exceptions import NotFittedError
from tolerances import assert_within

SMALL = {"hidden_size": 8, "max_epochs": 4, "random_state": 0}
SETTINGS = [
    {},
    {"pooling": "mean"},
    {"bidirectional": True, "num_layers": 2},
    {"per_step": True},
    {"per_step": True, "bidirectional": True, "scale": False},
    {"dtype": "float64"},
]


@pytest.fixture
def random():
    return np.random.default_rng(7)


def ragged(random, n=40):
    return [3 + 2 * random.standard_normal((random.integers(2, 9), 2)) for _ in range(n)]


def saved(model, tmp_path):
    model.save(tmp_path / "model.safetensors")
    network = cellgate.load(tmp_path / "model.safetensors")
    assert type(network) is cellgate.Network
    assert repr(network) == repr(model.network_)
    return network


def outputs(network, X):
    """Sequence after sequence, as another program would."""
    made = [network(x.astype(network.dtype))[0] for x in X]
    return made if network.pooling is None else np.stack(made)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
class TestSaved:
    def test_regressors(self, random, settings, tmp_path):
        X = ragged(random)
        y = [1000 + 50 * x[:, 0].cumsum() for x in X]
        if not settings.get("per_step"):
            y = [target[-1] for target in y]
        model = LSTMRegressor(**SMALL, **settings).fit(X, y)
        network = saved(model, tmp_path)
        made = model.predict(X)
        for ours, theirs in zip(made, outputs(network, X), strict=True):
            assert_same_bits(np.asarray(ours), theirs[..., 0].astype(np.float64))
        assert 500 < np.mean(np.concatenate([np.ravel(p) for p in made])) < 2000

    def test_classifiers(self, random, settings, tmp_path):
        X = ragged(random)
        y = [np.where(x[:, 0].cumsum() > 9, "über", "below") for x in X]
        if not settings.get("per_step"):
            y = [target[-1] for target in y]
        model = LSTMClassifier(**SMALL, **settings).fit(X, y)
        network = saved(model, tmp_path)
        assert json.loads(network.metadata["classes"]) == model.classes_.tolist()
        probabilities, predicted = model.predict_proba(X), model.predict(X)
        rows = zip(probabilities, predicted, outputs(network, X), strict=True)
        for probability, label, theirs in rows:
            assert_same_bits(probability, theirs)
            assert np.array_equal(label, model.classes_[theirs.argmax(axis=-1)])

    def test_a_prediction_is_what_the_training_saw(self, random, settings, tmp_path):
        """By hand, in float64: scaling, LSTM, head, and back in the units of y."""
        X = ragged(random, 60)
        y = [-7 + 20 * x for x in X]
        if not settings.get("per_step"):
            y = [target.mean(axis=0) for target in y]
        model = LSTMRegressor(**SMALL, **settings).fit(X, y)
        trained = model._network
        head = [trained.weights[f"head.{name}"].astype(np.float64) for name in ("weight", "bias")]
        for x, made in zip(X, model.predict(X), strict=True):
            z = (x - model._mean) / model._std
            out, _ = cellgate.reference.network(
                trained.lstm.state_dict(),
                z,
                head=(*head, "linear"),
                pooling=None if trained.readout == "step" else trained.readout,
            )
            wanted = out * model._target_std + model._target_mean
            assert_within(f"network {model.dtype}", made, wanted)


def test_labels_of_other_kinds_are_named_too(random, tmp_path):
    X = ragged(random)
    model = LSTMClassifier(**SMALL).fit(X, np.arange(40) % 3 + 10)
    assert json.loads(saved(model, tmp_path).metadata["classes"]) == [10, 11, 12]


def test_a_stream_gives_the_predictions_of_each_step(random):
    X = ragged(random)
    model = LSTMRegressor(**SMALL, per_step=True).fit(X, [x.sum(axis=1) for x in X])
    stream = model.network_.stream()
    for x, wanted in zip(X, model.predict(X), strict=True):
        stream.reset()
        assert np.array_equal(stream.run(x.astype(np.float32))[:, 0], wanted)


def test_a_forecaster_saves_the_network_of_its_corrections(random, tmp_path):
    time = np.arange(300)
    y = np.sin(2 * np.pi * time / 12) + random.normal(0, 0.1, 300)
    model = LSTMForecaster(
        4, season_length=12, hidden_size=8, max_epochs=3, steps_per_epoch=4, random_state=0
    ).fit(y)
    network = saved(model, tmp_path)
    assert network.output_size == 4 * len(model.quantiles_)
    prepared = model._model.prepare(model._model.transformed(model._history), 0)[0]
    out, _ = network(prepared.x)
    at = np.array([40, 7, 299])
    wanted = np.sort(out[at].reshape(3, 4, -1), axis=2).astype(np.float64)
    assert np.array_equal(model._model._raw(prepared, at), wanted)


@pytest.mark.parametrize("kind", [LSTMRegressor, LSTMClassifier, LSTMForecaster])
def test_what_is_not_fitted_has_no_network(kind, tmp_path):
    with pytest.raises(NotFittedError):
        _ = kind().network_
    with pytest.raises(NotFittedError):
        kind().save(tmp_path / "model.safetensors")
    assert not [*tmp_path.iterdir()]


def test_the_network_is_that_of_the_last_fit(random):
    X = ragged(random)
    model = LSTMRegressor(**SMALL).partial_fit(X, np.arange(40.0))
    before = model.network_
    first = model.predict(X)
    model.partial_fit(X, np.arange(40.0))
    assert not np.array_equal(model.predict(X), first)
    assert np.array_equal(np.concatenate(outputs(before, X)), first)


def test_a_feature_too_small_for_float32_counts_as_constant(random):
    X = random.standard_normal((40, 5, 2)) * [1, 1e-60]
    model = LSTMRegressor(**SMALL).fit(X, X[:, -1, 0])
    assert model.network_.input_scale[1] == 1
    assert np.isfinite(model.predict(X)).all()
