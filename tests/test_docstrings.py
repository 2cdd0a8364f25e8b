"""The examples in docstrings run, in the package as it is installed."""

import doctest
import importlib
import importlib.util
import os
import pkgutil

import cellgate
import pytest

LEFT = {"cellgate.__main__"}
if importlib.util.find_spec("torch") is None:  # cellgate.torch cannot be imported without it
    if "torch" in os.environ.get("CELLGATE_REQUIRE", ""):
        raise ModuleNotFoundError("CELLGATE_REQUIRE names torch, which is not installed")
    LEFT.add("cellgate.torch")


def modules(path=cellgate.__path__, prefix="cellgate."):
    """Like pkgutil.walk_packages, which imports every package, those in LEFT too."""
    for module in pkgutil.iter_modules(path, prefix):
        if module.name in LEFT:
            continue
        yield module.name
        if module.ispkg:
            yield from modules(importlib.import_module(module.name).__path__, module.name + ".")


MODULES = ["cellgate", *modules()]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


def test_what_users_call_has_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    with_examples = {
        test.name
        for name in MODULES
        for test in finder.find(importlib.import_module(name))
        if test.examples
    }
    wanted = {
        "cellgate._core.NetworkStream.reset",
        "cellgate._core.NetworkStream.run",
        "cellgate._core.NetworkStream.state",
        "cellgate._core.NetworkStream.step",
        "cellgate._core.Stream.reset",
        "cellgate._core.Stream.run",
        "cellgate._core.Stream.state",
        "cellgate._core.Stream.step",
        "cellgate.linear.Linear",
        "cellgate.lstm.LSTM",
        "cellgate.lstm.LSTM.__call__",
        "cellgate.lstm.LSTM.record",
        "cellgate.lstm.LSTM.save",
        "cellgate.network.Network",
        "cellgate.network.Network.__call__",
        "cellgate.network.Network.save",
        "cellgate.network.Network.stream",
        "cellgate.network_stream.NetworkStream",
        "cellgate.network_stream.NetworkStream.copy",
        "cellgate.optim.Adam",
        "cellgate.optim.clip_grad_norm",
        "cellgate.stream.Stream",
        "cellgate.estimators.classifier.LSTMClassifier",
        "cellgate.estimators.forecaster.LSTMForecaster",
        "cellgate.estimators.regressor.LSTMRegressor",
        "cellgate.estimators.sktime.SktimeForecaster",
        "cellgate.files.load",
        "cellgate.tape.Tape",
        "cellgate.tape.Tape.backward",
    }
    assert wanted <= with_examples
