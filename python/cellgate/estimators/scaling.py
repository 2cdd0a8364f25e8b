"""Standard deviations to divide by. Called by base.py, regressor.py and forecast.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def deviations(values: Floats) -> Floats:
    """That of each column, over axis 0; 1.0 of a constant, whose own is 0 or rounding noise."""
    noise = len(values) * np.finfo(np.float64).eps * np.abs(values).max(axis=0)
    deviation = values.std(axis=0)
    result: Floats = np.where(deviation > noise, deviation, 1.0)
    return result
