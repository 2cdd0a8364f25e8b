"""LSTMClassifier: classes from sequences. base.py does most of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from .base import SequenceEstimator, Targets
from .losses import cross_entropy

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray
    from typing_extensions import Self

    from .sequences import Sequences


@dataclass(eq=False, repr=False)
class LSTMClassifier(ClassifierMixin, SequenceEstimator):  # type: ignore[misc]
    """Predicts classes from sequences: an LSTM with a softmax on a linear head.

    Parameters
    ----------
    class_weight : dict, "balanced" or None
        The weight of each class; "balanced": the same sum of weights for every class.
    hidden_size, num_layers, bidirectional, dropout, per_step, pooling, scale, dtype
        As in `LSTMRegressor`, like all that follow.
    learning_rate, schedule, batch_size, max_epochs, early_stopping, validation_fraction, patience
    clip_norm, weight_decay, random_state, verbose
        Of the training, which minimises the cross entropy.

    Attributes
    ----------
    classes_ : array
        The labels, sorted.
    network_ : cellgate.Network
        What `predict_proba` runs: scaling, the LSTM and the head with its softmax. Its metadata has
        the "classes", as JSON.
    lstm_, n_features_in_, loss_curve_, validation_curve_, n_iter_, best_epoch_
        As in `LSTMRegressor`.

    Notes
    -----
    X is as in `LSTMRegressor`: a list of arrays (T_i, F), or an array (n, T, F) padded with NaN.

    Sources: Hochreiter & Schmidhuber 1997; Loshchilov & Hutter 2019 (AdamW).

    Examples
    --------
    >>> import numpy as np
    >>> from cellgate.estimators import LSTMClassifier
    >>> random = np.random.default_rng(0)
    >>> X = random.standard_normal((200, 12, 1)).cumsum(axis=1)
    >>> y = np.where(X[:, -1, 0] > X[:, 0, 0], "up", "down")
    >>> model = LSTMClassifier(16, learning_rate=0.01, max_epochs=40, random_state=0).fit(X, y)
    >>> model.classes_.tolist(), model.predict_proba(X[:3]).shape
    (['down', 'up'], (3, 2))
    >>> bool(model.score(X, y) > 0.9)
    True
    """

    class_weight: Any = None

    def partial_fit(
        self,
        X: Any,
        y: Any,
        classes: Any = None,
        sample_weight: Any = None,
    ) -> Self:
        """Train for one more pass over X, with the weights of the last call.

        The first call measures the scales of the features and learns the classes; `classes` must
        list them all if some occur in later calls only. The learning rate is constant, and nothing
        is held out. Other parameters and errors as in `fit`.
        """
        return self._partial_fit(X, y, classes, sample_weight)

    def predict_proba(self, X: Any) -> Any:
        """The probability of each class, in the order of `classes_`: of the `dtype`.

        (n, K); with `per_step` a list of (T_i, K) for a list, and an array (n, T, K) for an array,
        with NaN in padding.
        """
        sequences, outputs = self._outputs(X)
        return self._shaped(sequences, outputs)

    def predict(self, X: Any) -> Any:
        """The most probable class: (n,), or with `per_step` a list of (T_i,) or an array (n, T).

        In padding an array holds the first class, without meaning.
        """
        sequences, outputs = self._outputs(X)
        labels = [self.classes_[out.argmax(axis=-1)] for out in outputs]
        return self._shaped(sequences, labels, self.classes_[0])

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of right predictions; with `per_step` of all valid steps together."""
        if not self.per_step:
            return float(super().score(X, y, sample_weight))
        return self._step_score(X, y, sample_weight, accuracy_score, numbers=False)

    def _begin_targets(self, y: Any, sequences: Sequences, classes: Any = None) -> Targets:
        labels = self._checked_targets(y, sequences, numbers=False)
        every = np.concatenate(labels)
        check_classification_targets(every)
        self.classes_ = np.unique(every if classes is None else column_or_1d(classes))
        unseen = np.setdiff1d(self.classes_, every)
        if isinstance(self.class_weight, str) and len(unseen):
            raise ValueError(
                f"class_weight: {self.class_weight!r} needs every class in the first y, which "
                f"lacks {unseen}; pass a dict"
            )
        self._class_weights = compute_class_weight(
            self.class_weight, classes=self.classes_, y=every
        )
        return self._indices(labels)

    def _later_targets(self, y: Any, sequences: Sequences) -> Targets:
        return self._indices(self._checked_targets(y, sequences, numbers=False))

    def _indices(self, labels: Targets) -> Targets:
        every = np.concatenate(labels)
        unknown = np.setdiff1d(every, self.classes_)
        if len(unknown):
            raise ValueError(f"y: has classes that the first fit did not see: {unknown}")
        return [np.searchsorted(self.classes_, label)[:, None] for label in labels]

    def _output_size(self) -> int:
        return len(self.classes_)

    def _output_parts(self) -> dict[str, Any]:
        labels = json.dumps(self.classes_.tolist(), default=str, ensure_ascii=False)
        return {"activation": "softmax", "metadata": {"classes": labels}}

    def _stratify(self, targets: Targets) -> Any:
        return np.array([t[0, 0] for t in targets]) if self._network.readout != "step" else None

    def _batch_loss(self, targets: NDArray[Any], weights: NDArray[Any]) -> Any:
        labels = targets[..., 0]
        counted = weights * self._class_weights[labels]
        return lambda out: cross_entropy(out, labels, counted)
