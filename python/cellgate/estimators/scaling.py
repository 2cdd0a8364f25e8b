"""Standard deviations to divide by. Called by base.py, regressor.py and forecast.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def deviations(values: Floats) -> Floats:
    """The standard deviation of each column, over axis 0; 1.0 for a constant one."""
    # That of a constant is computed as 0, or as rounding noise.
    noise = len(values) * np.finfo(np.float64).eps * np.abs(values).max(axis=0)
    deviation = values.std(axis=0)
    result: Floats = np.where(deviation > noise, deviation, 1.0)
    return result
