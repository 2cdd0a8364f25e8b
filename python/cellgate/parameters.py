"""Dictionaries of weights: PyTorch's initialisation, and the check of those that come in.

Used by lstm.py and weights.py. Values go on to the core, which packs its own copy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from .config import check_int, describe

if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from numpy.typing import NDArray

    from .config import Config

    Parameters: TypeAlias = dict[str, NDArray[np.float32] | NDArray[np.float64]]


def initial_parameters(config: Config, seed: Any) -> Parameters:
    """Every parameter uniform in ±1/sqrt(H), drawn in PyTorch's order from one PCG64 stream.

    `Generator.random` is exact, 53 random bits divided by 2^53, and doubling and subtracting 1
    are exact too, so that only the product and the conversion to float32 round: the values are
    the same on every machine. Those of `Generator.uniform` differ where a compiler fuses its
    product with its sum.
    """
    if seed is not None:
        seed = check_int("seed", seed, 0)
    random = np.random.Generator(np.random.PCG64(seed)).random
    bound = 1.0 / math.sqrt(config.hidden_size)
    return {
        name: _scaled(random(shape), bound).astype(config.dtype)
        for name, shape in config.parameter_shapes()
    }


def _scaled(numbers: NDArray[np.float64], bound: float) -> NDArray[np.float64]:
    """From [0, 1) to [-bound, bound), in place."""
    numbers *= 2.0
    numbers -= 1.0
    numbers *= bound
    return numbers


def checked_parameters(config: Config, given: Any, where: str) -> Parameters:
    """`given` as arrays of the configuration's dtype, in PyTorch's order.

    One error, opened by `where`, names every entry that is missing, unexpected, misshapen or of
    a wrong type: `TypeError` if types are all that is wrong, `ValueError` otherwise.
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"{where}: must be a mapping of names to arrays, got {describe(given)}")
    parameters: Parameters = {}
    faults: list[str] = []
    type_faults: list[str] = []
    expected = dict(config.parameter_shapes())
    for name, shape in expected.items():
        if name not in given:
            faults.append(f"{name} is missing (wanted shape {shape})")
            continue
        try:
            if hasattr(given[name], "mask"):
                raise TypeError("it has a mask")
            array = np.asarray(given[name])
        except MemoryError:
            raise
        except Exception as error:  # whatever an array-like's own conversion raises
            type_faults.append(f"{name} cannot be read as an array ({error})")
            continue
        if array.shape != shape:
            faults.append(f"{name} must have shape {shape}, got {array.shape}")
        if array.dtype.kind != "f" or not np.can_cast(array.dtype, config.dtype):
            type_faults.append(f"{name} must be {_accepted(config)}, got {array.dtype}")
        parameters[name] = array
    faults += [
        f"{name if isinstance(name, str) else describe(name)} is unexpected"
        for name in given
        if not (isinstance(name, str) and name in expected)
    ]
    if faults or type_faults:
        kind = ValueError if faults else TypeError
        raise kind(f"{where}: " + "; ".join(faults + type_faults))
    return {name: np.array(a, config.dtype, order="C") for name, a in parameters.items()}


def _accepted(config: Config) -> str:
    narrower = "float16 or float32" if config.dtype == "float32" else "float16, float32 or float64"
    return f"{narrower} (a {config.dtype} model converts nothing down)"
