"""LSTMRegressor: numbers from sequences. base.py does most of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score

from ..config import describe
from .base import SequenceEstimator, Targets
from .losses import LOSSES
from .scaling import deviations
from .sequences import Sequences, checked_readout

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray
    from typing_extensions import Self


@dataclass(eq=False, repr=False)
class LSTMRegressor(RegressorMixin, SequenceEstimator):  # type: ignore[misc]
    """Predicts numbers from sequences: an LSTM with a linear head.

    Parameters
    ----------
    hidden_size, num_layers, bidirectional, dropout
        Of the `cellgate.LSTM`; dropout acts between layers, in `fit` only.
    per_step : bool
        Whether every step has a target, instead of the whole sequence.
    pooling : {"last", "mean"}
        What the head reads of a sequence: the state after its last step, or the mean of its
        outputs. Without effect with `per_step`.
    scale : bool
        Whether to bring each feature to mean 0 and standard deviation 1, as measured in `fit` on
        the sequences that are trained on.
    learning_rate : float
        Of AdamW, at the start.
    schedule : {"cosine", "linear", "constant", "plateau"}
        How the learning rate falls until `max_epochs`: to zero along a cosine or a line, not at
        all, or by half whenever the validation loss has not fallen for a third of `patience`
        epochs.
    batch_size : int
        Sequences in one update.
    max_epochs : int
        The largest number of passes over all sequences.
    early_stopping : bool
        Whether to hold out `validation_fraction` of the sequences, to stop after `patience` epochs
        without a smaller loss on them, and to keep the weights of the best epoch.
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
    loss : {"squared_error", "absolute_error", "huber"}
        What is minimised; the targets are brought to standard deviation 1 first.

    Attributes
    ----------
    network_ : cellgate.Network
        What `predict` runs: scaling, the LSTM and the head, back in the units of y.
    lstm_ : cellgate.LSTM
        The trained LSTM alone; it reads scaled features.
    n_features_in_ : int
        F; of an array (n, T) the number of its columns, T.
    loss_curve_, validation_curve_ : list of float
        The loss of each epoch: during the training, and of the held-out sequences.
    n_iter_, best_epoch_ : int
        Epochs done, and the one whose weights were kept.

    Notes
    -----
    X is a list of n arrays (T_i, F), or an array (n, T, F), in which the end of a shorter sequence
    is padded with NaN; an array (n, T), or arrays (T_i,), are sequences of one feature. Values are
    converted to `dtype`, and scaled then: features that vary by less than a millionth of their mean
    need float64, or their mean subtracted before. Nothing is computed for padding, so batches need
    no sorting by length.

    Trained with `LSTM.record`, without PyTorch. Objects work with `clone`, pickle, `GridSearchCV`
    and at the end of a `Pipeline`.

    Sources: Hochreiter & Schmidhuber 1997; Loshchilov & Hutter 2019 (AdamW).

    Examples
    --------
    >>> import numpy as np
    >>> from cellgate.estimators import LSTMRegressor
    >>> random = np.random.default_rng(0)
    >>> X = [random.standard_normal((random.integers(3, 9), 2)) for _ in range(200)]
    >>> y = [x[-1, 0] - x[-2, 1] for x in X]
    >>> model = LSTMRegressor(16, learning_rate=0.02, max_epochs=40, random_state=0).fit(X, y)
    >>> bool(model.score(X, y) > 0.8)
    True
    >>> model.predict(X[:3]).shape
    (3,)
    """

    loss: str = "squared_error"

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one more pass over X, with the weights of the last call.

        The first call measures the scales of features and targets. The learning rate is constant,
        and nothing is held out. Parameters and errors as in `fit`.
        """
        return self._partial_fit(X, y, None, sample_weight)

    def predict(self, X: Any) -> Any:
        """Predicted targets, laid out like y in `fit`: float64, NaN in padding.

        With `per_step` a list for a list, and an array for an array. The prediction for a sequence
        does not depend on the others in X, to the bit.
        """
        sequences, outputs = self._outputs(X)
        values = [out.astype(np.float64) for out in outputs]
        if self._flat:
            values = [value[:, 0] for value in values]
        return self._shaped(sequences, values)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R² of the predictions; with `per_step` of all valid steps of all sequences together."""
        if not self.per_step:
            return float(super().score(X, y, sample_weight))
        return self._step_score(X, y, sample_weight, r2_score, numbers=True)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _begin_targets(self, y: Any, sequences: Sequences, classes: Any = None) -> Targets:
        if not isinstance(self.loss, str) or self.loss not in LOSSES:
            names = ", ".join(map(repr, LOSSES))
            raise ValueError(f"loss: must be one of {names}, got {describe(self.loss)}")
        targets = self._checked_targets(y, sequences, numbers=True)
        every = np.concatenate(targets)
        self._targets: int = every.shape[1]
        self._target_mean, self._target_std = every.mean(axis=0), deviations(every)
        first = y[0] if checked_readout(self) == "step" else y
        self._flat = np.asarray(first).ndim == 1
        return self._scaled(targets)

    def _later_targets(self, y: Any, sequences: Sequences) -> Targets:
        targets = self._checked_targets(y, sequences, numbers=True)
        if targets[0].shape[1] != self._targets:
            raise ValueError(f"y: must have {self._targets} targets, got {targets[0].shape[1]}")
        return self._scaled(targets)

    def _scaled(self, targets: Targets) -> Targets:
        return [(target - self._target_mean) / self._target_std for target in targets]

    def _output_size(self) -> int:
        return self._targets

    def _output_parts(self) -> dict[str, Any]:
        return {"scale": self._target_std, "shift": self._target_mean}

    def _batch_loss(self, targets: NDArray[Any], weights: NDArray[Any]) -> Any:
        function = LOSSES[self.loss]
        typed = targets.astype(self._network.lstm.dtype)
        return lambda out: function(out, typed, weights)
