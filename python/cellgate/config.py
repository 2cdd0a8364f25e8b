"""The configuration of an LSTM: checked options, and the parameters that follow from them.

Used by most of the package. Names and shapes of parameters come from the tables of the core.
"""

from __future__ import annotations

import math
import operator
import os
import reprlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from . import _core

if TYPE_CHECKING:
    from typing import Any, Literal


class Config(NamedTuple):
    """Everything that fixes an LSTM but its weights; build it with `checked_config`."""

    input_size: int
    hidden_size: int
    num_layers: int
    bias: bool
    batch_first: bool
    dropout: float
    bidirectional: bool
    proj_size: int
    dtype: Literal["float32", "float64"]

    @property
    def num_directions(self) -> int:
        """D."""
        return 2 if self.bidirectional else 1

    @property
    def output_size(self) -> int:
        """P if there is a projection, else H: the width of h in one direction."""
        return self.proj_size or self.hidden_size

    @property
    def num_parameters(self) -> int:
        """Scalars in all weights and biases, from the sizes alone."""
        return int(_core.parameter_totals(self.options())[1])

    def options(self) -> dict[str, int | bool]:
        """What the core calls the options of a model: all but how it is called and stored."""
        return {name: getattr(self, name) for name in _CORE_OPTIONS}

    def parameter_shapes(self) -> list[tuple[str, tuple[int, ...]]]:
        """Each parameter's name and shape, in PyTorch's order."""
        return _core.parameter_shapes(self.options())


class Option(NamedTuple):
    """A row of the core's table of options (csrc/model/options.def)."""

    name: str
    kind: type[int | bool]
    default: int | bool | None  # None: it must always be given
    minimum: int | bool


_CORE_OPTIONS = {row[0]: Option(*row) for row in _core.option_table()}

_ALL_DEFAULTS: dict[str, Any] = {
    **{name: option.default for name, option in _CORE_OPTIONS.items()},
    "batch_first": False,
    "dropout": 0.0,
    "dtype": "float32",
}

# Of every option that may be left out, in the order of the fields.
DEFAULTS = {
    name: default for name in Config._fields if (default := _ALL_DEFAULTS[name]) is not None
}


def checked_config(**given: Any) -> Config:
    """The configuration that these options make, or the error that names the one at fault."""
    config = Config(**{name: _checked(name, given[name]) for name in Config._fields})
    if config.proj_size >= config.hidden_size:
        raise ValueError(
            f"proj_size: must be smaller than hidden_size, got {config.proj_size} "
            f"with hidden_size {config.hidden_size}"
        )
    check_memory(
        f"weights for input_size {config.input_size}, hidden_size {config.hidden_size}, "
        f"num_layers {config.num_layers}",
        _bytes_to_build(config),
    )
    return config


def _checked(name: str, value: Any) -> Any:
    if name == "dropout":
        return _check_dropout(value)
    if name == "dtype":
        return _check_dtype(value)
    option = _CORE_OPTIONS.get(name)
    if option is None or option.kind is bool:
        return check_bool(name, value)
    return check_int(name, value, option.minimum)


def _bytes_to_build(config: Config) -> int:
    """Memory while an LSTM is made: weights as arrays and packed, and one in float64 as drawn."""
    # The core's integers end at 2^63 - 1, which no memory holds either.
    options = {name: min(value, 2**63 - 1) for name, value in config.options().items()}
    arrays, elements, padded, largest = map(int, _core.parameter_totals(options))
    itemsize = np.dtype(config.dtype).itemsize
    return itemsize * (elements + padded) + 2 * 8 * largest + 2000 * arrays


def check_int(name: str, value: Any, minimum: int) -> int:
    """`value` as an int of at least `minimum`; anything with `__index__` but bool is one."""
    if isinstance(value, (bool, np.bool_)) or not hasattr(type(value), "__index__"):
        raise TypeError(f"{name}: must be an integer, got {describe(value)}")
    try:
        number = operator.index(value)
    except TypeError:  # an array has __index__, and refuses it unless it holds one integer
        raise TypeError(f"{name}: must be an integer, got {describe(value)}") from None
    if number.bit_length() > 64:  # no size, and Python may refuse to print it
        raise ValueError(f"{name}: must fit in 64 bits, got an integer of {number.bit_length()}")
    if number < minimum:
        raise ValueError(f"{name}: must be at least {minimum}, got {number}")
    return number


def check_memory(what: str, needed: int) -> None:
    """Refuse before allocating the bytes that this machine does not have."""
    if needed > (present := os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")):
        raise MemoryError(f"{what} need {needed} bytes, this machine has {present}")


def check_bool(name: str, value: Any) -> bool:
    """`value` as a bool; no other type counts as one."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: must be True or False, got {describe(value)}")
    return bool(value)


def describe(value: Any) -> str:
    """What an error message says of an argument that is not what was wanted."""
    return f"{type(value).__name__} {reprlib.repr(value)}"


def _check_dropout(value: Any) -> float:
    number_types = (int, float, np.integer, np.floating)
    if not isinstance(value, number_types) or isinstance(value, bool):
        raise TypeError(f"dropout: must be a number, got {describe(value)}")
    if not 0 <= value <= 1 or math.isnan(value):
        raise ValueError(f"dropout: must be a probability in [0, 1], got {value}")
    return float(value)


def _check_dtype(value: Any) -> Literal["float32", "float64"]:
    wanted = "dtype: must be float32 or float64, got"
    if value is None:  # NumPy reads None as float64
        raise TypeError(f"{wanted} None")
    try:
        dtype = np.dtype(value)
    except Exception:  # NumPy raises many kinds, by what it was given
        raise TypeError(f"{wanted} {describe(value)}") from None
    if dtype == np.float32:
        return "float32"
    if dtype == np.float64:
        return "float64"
    raise TypeError(f"{wanted} {dtype}")
