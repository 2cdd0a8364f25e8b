"""The examples in docstrings run, in the package as it is installed."""

import doctest
import importlib
import pkgutil

import cellgate
import pytest

MODULES = ["cellgate"] + [
    module.name
    for module in pkgutil.walk_packages(cellgate.__path__, "cellgate.")
    if module.name not in {"cellgate._core", "cellgate.__main__"}
]


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
        "cellgate.lstm.LSTM",
        "cellgate.lstm.LSTM.__call__",
        "cellgate.lstm.LSTM.save",
        "cellgate.stream.Stream",
        "cellgate.formats.load",
    }
    assert wanted <= with_examples
