"""LSTMClassifier: classes from sequences. base.py does most of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import assert_all_finite
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_consistent_length,
    column_or_1d,
)

from .base import SequenceEstimator, Targets
from .losses import cross_entropy, softmax
from .sequences import (
    Sequences,
    checked_readout,
    checked_step_targets,
)

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray
    from typing_extensions import Self


class LSTMClassifier(ClassifierMixin, SequenceEstimator):  # type: ignore[misc]
    """Predicts classes from sequences: an LSTM with a softmax on a linear head.

    Parameters
    ----------
    hidden_size, num_layers, bidirectional, dropout
        Of the `cellgate.LSTM`; dropout acts between layers, in `fit` only.
    per_step : bool
        Whether every step has a target of its own, instead of the whole sequence.
    pooling : {"last", "mean"}
        What stands for a sequence: the state after its last step, or the mean of all outputs.
        Without effect with `per_step`.
    scale : bool
        Whether to bring each feature to mean 0 and standard deviation 1, as measured in `fit` on
        the sequences that are learned.
    class_weight : dict, "balanced" or None
        What each class counts; "balanced": all classes the same in sum.
    learning_rate : float
        Of AdamW, at the start.
    schedule : {"cosine", "linear", "constant", "plateau"}
        How it falls until `max_epochs`: to zero along a cosine or a line, not at all, or by half
        whenever the validation loss has not fallen for a third of `patience` epochs.
    batch_size : int
        Sequences learned from in one update.
    max_epochs : int
        Passes over all sequences, at most.
    early_stopping : bool
        Whether to hold out `validation_fraction` of the sequences, to stop after `patience` epochs
        without a smaller loss there, and to keep the weights of the best epoch.
    validation_fraction : float
    patience : int
    clip_norm : float
        Largest norm of the gradient; infinity does not clip.
    weight_decay : float
        Decoupled, as in AdamW.
    dtype : {"float32", "float64"}
        Of weights and arithmetic.
    random_state : int, RandomState or None
        Equal integers give equal results, to the bit on one machine.
    verbose : bool
        Whether to show progress (tqdm).

    Attributes
    ----------
    lstm_ : cellgate.LSTM
        The trained network, to stream from or to save; it reads scaled features.
    classes_ : array
        The labels.
    n_features_in_ : int
        F; of an array (n, T) the number of its columns, T.
    loss_curve_, validation_curve_ : list of float
        The loss of each epoch, while it was learned and on what was held out.
    n_iter_, best_epoch_ : int
        Epochs done, and the one whose weights were kept.

    Notes
    -----
    X is a list of n arrays (T_i, F), or an array (n, T, F), in which the end of a shorter sequence
    is padded with NaN; an array (n, T), or arrays (T_i,), are sequences of one feature. Values are
    converted to `dtype`. Batches are not sorted by length: what is padded is not computed.

    Trained on `LSTM.record`, without PyTorch. Objects can be cloned, pickled, searched
    (`GridSearchCV`) and put at the end of a `Pipeline`.

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

    def __init__(
        self,
        hidden_size: int = 64,
        num_layers: int = 1,
        *,
        bidirectional: bool = False,
        dropout: float = 0.0,
        per_step: bool = False,
        pooling: str = "last",
        scale: bool = True,
        class_weight: Any = None,
        learning_rate: float = 1e-2,
        schedule: str = "cosine",
        batch_size: int = 32,
        max_epochs: int = 100,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        patience: int = 20,
        clip_norm: float = 1.0,
        weight_decay: float = 0.0,
        dtype: str = "float32",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        """Keep the parameters; `fit` checks them."""
        super().__init__(
            hidden_size, num_layers, bidirectional=bidirectional, dropout=dropout,
            per_step=per_step, pooling=pooling, scale=scale, learning_rate=learning_rate,
            schedule=schedule, batch_size=batch_size, max_epochs=max_epochs,
            early_stopping=early_stopping, validation_fraction=validation_fraction,
            patience=patience, clip_norm=clip_norm, weight_decay=weight_decay, dtype=dtype,
            random_state=random_state, verbose=verbose,
        )  # fmt: skip
        self.class_weight = class_weight

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        validation_data: Any = None,
    ) -> Self:
        """Train from the start.

        Parameters
        ----------
        X : list of arrays (T_i, F), or array (n, T, F) or (n, T)
            The sequences; the class says how shorter ones are padded.
        y : array (n,); with `per_step` a list of (T_i,), or an array (n, T)
            The labels. What lies in padding is not read.
        sample_weight : array (n,), optional
            What each sequence counts, times the weight of its class.
        validation_data : (X, y), optional
            To stop by, instead of a part of X.

        Raises
        ------
        TypeError, ValueError
            A parameter or an argument of a wrong type, shape or value; the message names it.
        """
        return self._fit(X, y, sample_weight, validation_data)

    def partial_fit(
        self,
        X: Any,
        y: Any,
        classes: Any = None,
        sample_weight: Any = None,
    ) -> Self:
        """Train on for one pass over X, from where the last call ended.

        The first call learns the scales of the features, and the classes: `classes` names those
        that only later calls will show. The learning rate stays at its start, and nothing is held
        out. Other parameters and errors as in `fit`.
        """
        return self._partial_fit(X, y, classes, sample_weight)

    def predict_proba(self, X: Any) -> Any:
        """The probability of each class, in the order of `classes_`: float64.

        (n, K); with `per_step` a list of (T_i, K) for a list, and an array (n, T, K) for an array,
        with NaN in padding.
        """
        sequences, outputs = self._outputs(X)
        return self._shaped(sequences, [softmax(out) for out in outputs])

    def predict(self, X: Any) -> Any:
        """The most probable class: (n,), or with `per_step` a list of (T_i,) or an array (n, T).

        Padding in an array gets the first class, and means nothing.
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
        labels = self._labels(y, sequences)
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
        return self._indices(self._labels(y, sequences))

    def _labels(self, y: Any, sequences: Sequences) -> Targets:
        if checked_readout(self) == "step":
            return checked_step_targets(y, sequences, numbers=False)
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        array = column_or_1d(y, warn=True)
        check_consistent_length(sequences.items, array)
        assert_all_finite(array, input_name="y")
        return list(array.reshape(-1, 1))

    def _indices(self, labels: Targets) -> Targets:
        every = np.concatenate(labels)
        unknown = np.setdiff1d(every, self.classes_)
        if len(unknown):
            raise ValueError(f"y: has classes that the first fit did not see: {unknown}")
        return [np.searchsorted(self.classes_, label)[:, None] for label in labels]

    def _output_size(self) -> int:
        return len(self.classes_)

    def _stratify(self, targets: Targets) -> Any:
        return np.array([t[0, 0] for t in targets]) if self._network.readout != "step" else None

    def _batch_loss(self, targets: NDArray[Any], weights: NDArray[Any]) -> Any:
        labels = targets[..., 0]
        counted = weights * self._class_weights[labels]
        return lambda out: cross_entropy(out, labels, counted)
