"""Losses of a head's output, each with its derivative: means weighted by sequence or step.

Called by regressor.py, classifier.py and forecast.py. All take `out` (..., K) and `weights`
(...), and return (loss, d_out), where loss = Σ weights * loss of each / Σ weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    Array = NDArray[Any]


def squared_error(out: Array, target: Array, weights: Array) -> tuple[float, Array]:
    """The mean over K of (out - target)²."""
    share = _shares(out, weights) / out.shape[-1]
    error = out - target
    return float((share * error**2).sum(dtype=np.float64)), 2 * share * error


def absolute_error(out: Array, target: Array, weights: Array) -> tuple[float, Array]:
    """The mean over K of |out - target|."""
    share = _shares(out, weights) / out.shape[-1]
    error = out - target
    return float((share * np.abs(error)).sum(dtype=np.float64)), share * np.sign(error)


def huber(out: Array, target: Array, weights: Array) -> tuple[float, Array]:
    """The mean over K of e²/2 where |e| < 1, and |e| - 1/2 beyond (Huber 1964)."""
    share = _shares(out, weights) / out.shape[-1]
    error = out - target
    near = np.clip(error, -1, 1)
    return float((share * near * (error - near / 2)).sum(dtype=np.float64)), share * near


LOSSES = {"squared_error": squared_error, "absolute_error": absolute_error, "huber": huber}


def cross_entropy(out: Array, labels: Array, weights: Array) -> tuple[float, Array]:
    """-log softmax(out)[label]; `labels` (...) are indices into K."""
    share = _shares(out, weights)
    probability = softmax(out)
    picked = np.take_along_axis(probability, labels[..., None], axis=-1)
    tiny = np.finfo(out.dtype).tiny
    loss = float((share * -np.log(np.maximum(picked, tiny))).sum(dtype=np.float64))
    np.put_along_axis(probability, labels[..., None], picked - 1, axis=-1)
    return loss, share * probability


def pinball(out: Array, target: Array, weights: Array, quantiles: Array) -> tuple[float, Array]:
    """The quantile loss (Koenker & Bassett 1978).

    `out` is (..., h * Q), for each of h steps ahead the Q quantiles; `target` is (..., h). The mean
    over h and Q of max(q e, (q - 1) e), with e = target - out.
    """
    levels = quantiles.astype(out.dtype)
    share = _shares(out, weights) / out.shape[-1]
    error = target[..., None] - out.reshape(*target.shape, len(levels))
    slope = np.where(error > 0, levels, levels - 1)
    loss = float((share[..., None] * slope * error).sum(dtype=np.float64))
    return loss, (-share[..., None] * slope).reshape(out.shape)


def softmax(out: Array) -> Array:
    """Of the last axis; new memory."""
    result: Array = np.exp(out - out.max(axis=-1, keepdims=True))
    result /= result.sum(axis=-1, keepdims=True)
    return result


def _shares(out: Array, weights: Array) -> Array:
    """The weights divided by their sum, (..., 1), in out's dtype; all zero if all weights are."""
    total = weights.sum(dtype=np.float64)
    return (weights / (total if total else 1.0)).astype(out.dtype)[..., None]
