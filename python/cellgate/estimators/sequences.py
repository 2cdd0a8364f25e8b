"""Checks of X and y, and their conversion to batches. Called by base.py.

X is a list of arrays (T_i, F) or (T_i,), or an array (n, T, F) or (n, T), in which the end of a
shorter sequence is padded with NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    column_or_1d,
    validate_data,
)

from ..config import check_bool, describe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CHUNK_BYTES = 1 << 26  # the most that input and output of one call take in a prediction


class Sequences(NamedTuple):
    """n sequences of F features."""

    items: list[Floats]  # each (T_i, F), finite, T_i at least 1
    padded_steps: int | None  # T of the array they came in; None for a list

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(n,)."""
        return np.array([len(item) for item in self.items], np.int64)

    def take(self, indices: NDArray[np.int64]) -> Sequences:
        """The sequences at these indices."""
        return Sequences([self.items[i] for i in indices], self.padded_steps)


def checked_sequences(estimator: Any, X: Any, reset: bool) -> Sequences:
    """The sequences of X; with `reset` sets `n_features_in_`, and otherwise compares X to it."""
    if isinstance(X, (list, tuple)) and X and np.ndim(X[0]) >= 1 and not _is_table(X):
        result = Sequences([_item(k, x) for k, x in enumerate(X)], None)
        features = _common_features(result.items)
    elif getattr(X, "ndim", None) == 3 or (isinstance(X, (list, tuple)) and np.ndim(X) == 3):
        array = check_array(
            X, allow_nd=True, dtype=np.float64, ensure_all_finite="allow-nan", input_name="X"
        )
        if array.shape[2] == 0:
            raise ValueError(f"X: has no features, its shape is {array.shape}")
        result = Sequences(_unpadded("X", array), array.shape[1])
        features = array.shape[2]
    else:
        table = validate_data(
            estimator, X, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan"
        )
        result = Sequences(_unpadded("X", table[:, :, None]), table.shape[1])
        features = 1
        if not reset and estimator._input_features != 1:
            raise ValueError(
                f"X: the fit saw sequences of {estimator._input_features} features, got an array "
                f"of shape {table.shape}, which is sequences of one feature"
            )
        if reset:
            estimator._input_features = 1
        return result
    if reset:
        estimator.n_features_in_ = estimator._input_features = features
        if hasattr(estimator, "feature_names_in_"):
            del estimator.feature_names_in_
    elif features != estimator._input_features:
        raise ValueError(
            f"X: has {features} features, but {type(estimator).__name__} is expecting "
            f"{estimator._input_features} features as input"
        )
    return result


def checked_step_targets(y: Any, sequences: Sequences, numbers: bool) -> list[NDArray[Any]]:
    """For each sequence its targets (T_i, K), or (T_i,) labels if not `numbers`."""
    if y is None:
        raise ValueError("y: must be given, got None")
    if not hasattr(y, "__len__") or isinstance(y, str):
        raise TypeError(f"y: must have the targets of each sequence, got {describe(y)}")
    if len(y) != len(sequences.items):
        raise ValueError(f"y: has {len(y)} sequences, and X has {len(sequences.items)}")
    result = []
    for k, (target, length) in enumerate(zip(y, sequences.lengths, strict=True)):
        array = np.asarray(target)
        padded = sequences.padded_steps if sequences.padded_steps is not None else length
        if array.ndim < 1 or len(array) not in (length, padded):
            raise ValueError(
                f"y[{k}]: must have {length} steps as X[{k}] has, got shape {array.shape}"
            )
        array = array[:length]
        if numbers:
            try:
                array = np.asarray(array, np.float64).reshape(length, -1)
            except (TypeError, ValueError):
                wanted = f"y[{k}]: must be an array of numbers, got {describe(target)}"
                raise TypeError(wanted) from None
            if not np.isfinite(array).all():
                raise ValueError(f"y[{k}]: has NaN or infinity")
        elif array.ndim != 1:
            raise ValueError(f"y[{k}]: must be one label for each step, got shape {array.shape}")
        result.append(array)
    if numbers and len({array.shape[1] for array in result}) > 1:
        raise ValueError("y: all sequences must have equally many targets at a step")
    return result


def checked_targets(y: Any, sequences: Sequences, numbers: bool) -> list[NDArray[Any]]:
    """For each sequence its targets (1, K), or its label (1,) if not `numbers`."""
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    if numbers:
        array = check_array(
            y, ensure_2d=False, dtype=np.float64, input_name="y", ensure_min_samples=1
        )
        if array.ndim > 2:
            raise ValueError(f"y: must be (n,) or (n, K), got shape {array.shape}")
        array = array.reshape(len(array), -1)
    else:
        array = column_or_1d(y, warn=True)
        assert_all_finite(array, input_name="y")
    check_consistent_length(sequences.items, array)
    return list(array[:, None])


def padded(items: list[NDArray[Any]], dtype: Any) -> NDArray[Any]:
    """(T, B, F) of B arrays (T_i, F), with zeros beyond their ends."""
    result = np.zeros((max(map(len, items)), len(items), items[0].shape[1]), dtype)
    for k, item in enumerate(items):
        result[: len(item), k] = item
    return result


def chunks(sequences: Sequences, width: int) -> Iterator[NDArray[np.int64]]:
    """Indices of sequences to predict in one call: of similar lengths, within CHUNK_BYTES."""
    order = np.argsort(sequences.lengths, kind="stable")
    begin = 0
    for k in range(1, len(order) + 1):
        if k < len(order):
            longest = len(sequences.items[order[k]])
            if longest * (k + 1 - begin) * width * 8 <= CHUNK_BYTES:
                continue
        yield order[begin:k]
        begin = k


def _is_table(X: Any) -> bool:
    """Whether X is a list of lists of numbers, which scikit-learn takes for an array (n, T)."""
    return all(np.ndim(x) == 1 and not isinstance(x, np.ndarray) for x in X)


def _item(k: int, x: Any) -> Floats:
    array = check_array(
        np.asarray(x).reshape(len(x), -1) if np.ndim(x) == 1 else x,
        dtype=np.float64,
        input_name=f"X[{k}]",
        ensure_2d=True,
    )
    return np.asarray(array, np.float64)


def _common_features(items: list[Floats]) -> int:
    features: int = items[0].shape[1]
    for k, item in enumerate(items):
        if item.shape[1] != features:
            raise ValueError(f"X[{k}]: has {item.shape[1]} features, and X[0] has {features}")
    return features


def _unpadded(name: str, array: Floats) -> list[Floats]:
    """The sequences of an array (n, T, F) without the steps of NaN at their ends."""
    absent: Any = np.isnan(array).all(axis=2)  # (n, T)
    steps = array.shape[1]
    lengths = steps - np.argmin(absent[:, ::-1], axis=1)
    lengths[absent.all(axis=1)] = 0
    for k, length in enumerate(lengths):
        if length == 0:
            raise ValueError(f"{name}[{k}]: has no steps, it is NaN throughout")
        if np.isnan(array[k, :length]).any():
            raise ValueError(
                f"{name}[{k}]: contains NaN inside the sequence; it may only pad the end"
            )
    return [item[:length] for item, length in zip(array, lengths, strict=True)]


def checked_readout(estimator: Any) -> Any:
    """The readout of the network that follows from `per_step` and `pooling`."""
    if not isinstance(estimator.pooling, str) or estimator.pooling not in ("last", "mean"):
        raise ValueError(f"pooling: must be 'last' or 'mean', got {describe(estimator.pooling)}")
    return "step" if check_bool("per_step", estimator.per_step) else estimator.pooling
