"""The configuration of an LSTM: checked sizes, and the parameters that follow from them.

Used by lstm.py, parameters.py and formats/; knows nothing of weights or of the core.
"""

from __future__ import annotations

import math
import operator
import os
import reprlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
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
        gates, output, directions = 4 * self.hidden_size, self.output_size, self.num_directions
        inputs = self.input_size + (self.num_layers - 1) * directions * output
        others = gates * (output + 2 * self.bias) + self.proj_size * self.hidden_size
        return directions * (gates * inputs + self.num_layers * others)

    def parameter_shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Each parameter's name and shape, in PyTorch's order."""
        gates, output = 4 * self.hidden_size, self.output_size
        for layer in range(self.num_layers):
            inputs = self.input_size if layer == 0 else self.num_directions * output
            for suffix in (f"l{layer}", f"l{layer}_reverse")[: self.num_directions]:
                yield f"weight_ih_{suffix}", (gates, inputs)
                yield f"weight_hh_{suffix}", (gates, output)
                if self.bias:
                    yield f"bias_ih_{suffix}", (gates,)
                    yield f"bias_hh_{suffix}", (gates,)
                if self.proj_size:
                    yield f"weight_hr_{suffix}", (self.proj_size, self.hidden_size)


def checked_config(
    input_size: Any,
    hidden_size: Any,
    num_layers: Any,
    bias: Any,
    batch_first: Any,
    dropout: Any,
    bidirectional: Any,
    proj_size: Any,
    dtype: Any,
) -> Config:
    """The configuration these arguments name, or the error that names the one at fault."""
    config = Config(
        check_int("input_size", input_size, 1),
        check_int("hidden_size", hidden_size, 1),
        check_int("num_layers", num_layers, 1),
        check_bool("bias", bias),
        check_bool("batch_first", batch_first),
        _check_dropout(dropout),
        check_bool("bidirectional", bidirectional),
        check_int("proj_size", proj_size, 0),
        _check_dtype(dtype),
    )
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


def _bytes_to_build(config: Config) -> int:
    """Memory while an LSTM is made: weights as arrays and packed, and one in float64 as drawn."""
    padded = config._replace(hidden_size=-(-config.hidden_size // 16) * 16)
    itemsize = np.dtype(config.dtype).itemsize
    widest = max(config.input_size, config.num_directions * config.output_size)
    objects = 2000 * config.num_layers * config.num_directions * 5  # arrays, names, buffers
    return (
        itemsize * (config.num_parameters + padded.num_parameters)
        + 2 * 8 * 4 * config.hidden_size * widest
        + objects
    )


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
