"""The core's tables of options and parameters, and everything that is held to them."""

from __future__ import annotations

import inspect
import itertools
import time
from typing import Any

import cellgate
import numpy as np
import pytest
from cases import make_case
from cellgate import _core, reference
from cellgate.config import DEFAULTS, Config, checked_config

TABLE = {name: rest for name, *rest in _core.option_table()}
SIZES = {"input_size": 3, "hidden_size": 5}


def config_of(**options: Any) -> Config:
    return checked_config(**{**DEFAULTS, **SIZES, **options})


def every_configuration() -> list[Config]:
    products = itertools.product((1, 2, 3), (False, True), (False, True), (0, 2))
    return [
        config_of(num_layers=layers, bias=bias, bidirectional=both, proj_size=proj)
        for layers, bias, both, proj in products
    ]


class TestOptions:
    def test_the_configuration_has_them_all(self) -> None:
        assert [name for name in Config._fields if name in TABLE] == [*TABLE]
        assert config_of().options().keys() == TABLE.keys()

    def test_the_constructor_has_their_defaults(self) -> None:
        parameters = inspect.signature(cellgate.LSTM).parameters
        assert [*parameters] == [*Config._fields, "seed"]
        written = {
            name: parameter.default
            for name, parameter in parameters.items()
            if name != "seed" and parameter.default is not inspect.Parameter.empty
        }
        assert written == DEFAULTS
        for name, (kind, default, _) in TABLE.items():
            assert default is None or type(default) is kind
            assert DEFAULTS.get(name) == default

    @pytest.mark.parametrize("name", TABLE)
    def test_the_least_value_is_the_least_that_is_taken(self, name: str) -> None:
        kind, _, least = TABLE[name]
        given = {**SIZES, name: least}
        cellgate.LSTM(**given)
        if kind is int:
            with pytest.raises(ValueError, match=f"^{name}: must be at least {least}, got"):
                cellgate.LSTM(**{**given, name: least - 1})
        else:
            with pytest.raises(TypeError, match=f"^{name}: must be True or False"):
                cellgate.LSTM(**{**given, name: 0})

    def test_the_core_fills_in_what_is_left_out(self) -> None:
        assert _core.parameter_shapes({**SIZES}) == config_of().parameter_shapes()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"input_size": 3}, "options: hidden_size is missing"),
            ({**SIZES, "peephole": True}, "options: there are unknown ones"),
            ({**SIZES, "num_layers": 0}, "num_layers: must be at least 1, got 0"),
            ({**SIZES, "proj_size": 5}, "proj_size: must be smaller than hidden_size 5, got 5"),
        ],
        ids=str,
    )
    def test_the_core_checks_too(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=f"^{message}$"):
            _core.parameter_shapes(options)

    @pytest.mark.parametrize(
        "options",
        [{"num_layers": 2**63}, {"num_layers": "2"}, {"bias": 2}, {"bias": None}],
        ids=str,
    )
    def test_types_of_the_core(self, options: dict[str, Any]) -> None:
        (name,) = options
        with pytest.raises(TypeError, match=f"^options: {name}: must be "):
            _core.parameter_shapes({**SIZES, **options})


class TestParameters:
    @pytest.mark.parametrize("config", every_configuration(), ids=str)
    def test_counts_are_those_of_the_shapes(self, config: Config) -> None:
        sizes = [int(np.prod(shape)) for _, shape in config.parameter_shapes()]
        arrays, elements, padded, largest = _core.parameter_totals(config.options())
        assert (arrays, elements, largest) == (len(sizes), sum(sizes), max(sizes))
        assert config.num_parameters == sum(sizes)
        wide = config._replace(hidden_size=16)
        assert padded == sum(int(np.prod(shape)) for _, shape in wide.parameter_shapes())

    @pytest.mark.parametrize("config", every_configuration(), ids=str)
    def test_the_model_has_them(self, config: Config) -> None:
        lstm = cellgate.LSTM(**config._asdict())
        found = {name: array.shape for name, array in lstm.state_dict().items()}
        assert found == dict(config.parameter_shapes())
        assert [*found] == [name for name, _ in config.parameter_shapes()]

    def test_the_oracle_knows_the_same_names(self) -> None:
        """It keeps its own list: an oracle that asked the core would repeat its mistakes."""
        shapes = config_of(proj_size=2, bidirectional=True).parameter_shapes()
        names = [name.removesuffix("_l0") for name, _ in shapes if name.endswith("_l0")]
        assert tuple(names) == reference._NAMES
        assert len(shapes) == 2 * len(names)

    @pytest.mark.parametrize("config", every_configuration(), ids=str)
    def test_the_oracle_reads_each_of_them(self, config: Config) -> None:
        lstm = cellgate.LSTM(**config._asdict(), seed=1)
        case = make_case(lstm, 4, 2, seed=3)
        wanted = case.reference()[0]
        for name, array in lstm.state_dict().items():
            weights = {**lstm.state_dict(), name: array + np.float32(0.5)}
            assert not np.array_equal(reference.forward(weights, case.x)[0], wanted), name


@pytest.mark.parametrize("name", ["input_size", "hidden_size", "num_layers"])
@pytest.mark.parametrize("value", [2**31, 2**62, 2**63 - 1, 2**63, 2**64 - 1])
def test_sizes_that_no_memory_holds_are_counted_at_once(name: str, value: int) -> None:
    begin = time.perf_counter()
    with pytest.raises(MemoryError, match=rf"{name} {value}\b.* need \d+ bytes") as caught:
        config_of(**{name: value})
    assert int(str(caught.value).split(" need ")[1].split()[0]) > 2**31
    with pytest.raises((MemoryError, TypeError)):
        _core.parameter_shapes({**SIZES, name: value})
    assert time.perf_counter() - begin < 5


def test_all_sizes_at_once() -> None:
    with pytest.raises(MemoryError):
        config_of(**dict.fromkeys(("input_size", "hidden_size", "num_layers"), 2**64 - 1))
