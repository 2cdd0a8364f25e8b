"""The factor of the network's correction and the calibration of intervals. Called by forecast.py.

Both are fitted to the held-out end of the series. Quantiles are of scaled residuals, (n, h, Q),
rising, the median in the middle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SHARES = tuple(k / 10 for k in range(11))  # the factors of the correction to choose from


def shared(made: Floats, share: float) -> Floats:
    """Quantiles shifted so that their median becomes `share` times what it was."""
    middle = made.shape[-1] // 2
    return made - (1 - share) * made[..., middle : middle + 1]


def rising(made: Floats) -> Floats:
    """Quantiles sorted again, with the median unchanged."""
    middle = made.shape[-1] // 2
    median = made[..., middle : middle + 1]
    below = np.sort(np.minimum(made[..., :middle], median), axis=-1)
    above = np.sort(np.maximum(made[..., middle + 1 :], median), axis=-1)
    return np.concatenate([below, median, above], axis=-1)


def best_share(made: Floats, residual: Floats, scale: Floats) -> float:
    """The share with the least absolute error; residual and scale are in units of the series."""
    median = made[..., made.shape[-1] // 2] * scale
    errors = [float(np.abs(residual - share * median).mean()) for share in SHARES]
    return SHARES[int(np.argmin(errors))]


def calibrated(made: Floats, residual: Floats, levels: tuple[float, ...]) -> Floats:
    """What to add to each quantile, (h, Q), for each interval to cover its level of the residuals.

    Conformalized quantile regression (Romano, Patterson & Candès 2019), for each step ahead.
    """
    shift = np.zeros(made.shape[1:])
    for k, level in enumerate(levels[::-1]):  # the widest interval has the outermost quantiles
        # How far a value lies outside of its interval, negative inside: (n, h).
        outside = np.maximum(made[..., k] - residual, residual - made[..., -1 - k])
        rank = min(1.0, level * (1 + 1 / len(residual)))
        ends = np.quantile(outside, rank, axis=0, method="higher")
        shift[:, k], shift[:, -1 - k] = -ends, ends
    return shift
