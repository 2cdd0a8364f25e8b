"""LSTMRegressor: numbers from sequences. base.py does most of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import check_array
from sklearn.utils.validation import (
    check_consistent_length,
)

from ..config import describe
from .base import SequenceEstimator, Targets
from .losses import LOSSES
from .scaling import deviations
from .sequences import (
    Sequences,
    checked_readout,
    checked_step_targets,
)

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray
    from typing_extensions import Self


class LSTMRegressor(RegressorMixin, SequenceEstimator):  # type: ignore[misc]
    """Predicts numbers from sequences: an LSTM with a linear head.

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
    loss : {"squared_error", "absolute_error", "huber"}
        What is minimised, of targets brought to standard deviation 1.
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
        loss: str = "squared_error",
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
        self.loss = loss

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
        y : array (n,) or (n, K); with `per_step` a list of (T_i,) or (T_i, K), or (n, T[, K])
            The targets. What lies in padding is not read.
        sample_weight : array (n,), optional
            What each sequence counts.
        validation_data : (X, y), optional
            To stop by, instead of a part of X.

        Raises
        ------
        TypeError, ValueError
            A parameter or an argument of a wrong type, shape or value; the message names it.
        """
        return self._fit(X, y, sample_weight, validation_data)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train on for one pass over X, from where the last call ended.

        The first call learns the scales of features and targets. The learning rate stays at its
        start, and nothing is held out. Parameters and errors as in `fit`.
        """
        return self._partial_fit(X, y, None, sample_weight)

    def predict(self, X: Any) -> Any:
        """Predicted targets, laid out like y in `fit`: float64, NaN in padding.

        With `per_step` a list for a list, and an array for an array. A sequence's prediction does
        not depend on what else is predicted with it, up to the rounding of the head.
        """
        sequences, outputs = self._outputs(X)
        values = [out * self._target_std + self._target_mean for out in outputs]
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
        targets = self._numbers(y, sequences)
        every = np.concatenate(targets)
        self._targets: int = every.shape[1]
        self._target_mean, self._target_std = every.mean(axis=0), deviations(every)
        first = y[0] if checked_readout(self) == "step" else y
        self._flat = np.asarray(first).ndim == 1
        return self._scaled(targets)

    def _later_targets(self, y: Any, sequences: Sequences) -> Targets:
        targets = self._numbers(y, sequences)
        if targets[0].shape[1] != self._targets:
            raise ValueError(f"y: must have {self._targets} targets, got {targets[0].shape[1]}")
        return self._scaled(targets)

    def _numbers(self, y: Any, sequences: Sequences) -> Targets:
        if checked_readout(self) == "step":
            return checked_step_targets(y, sequences, numbers=True)
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        array = check_array(
            y, ensure_2d=False, dtype=np.float64, input_name="y", ensure_min_samples=1
        )
        if array.ndim > 2:
            raise ValueError(f"y: must be (n,) or (n, K), got shape {array.shape}")
        check_consistent_length(sequences.items, array)
        return list(array.reshape(len(array), 1, -1))

    def _scaled(self, targets: Targets) -> Targets:
        return [(target - self._target_mean) / self._target_std for target in targets]

    def _output_size(self) -> int:
        return self._targets

    def _batch_loss(self, targets: NDArray[Any], weights: NDArray[Any]) -> Any:
        function = LOSSES[self.loss]
        typed = targets.astype(self._network.lstm.dtype)
        return lambda out: function(out, typed, weights)
