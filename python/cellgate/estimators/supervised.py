"""LSTMRegressor and LSTMClassifier: scikit-learn's conventions around Network and train.

sequences.py checks what comes in; losses.py has the losses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import train_test_split
from sklearn.utils import assert_all_finite, check_array, check_random_state
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
)

from ..config import check_bool, describe
from .losses import LOSSES, cross_entropy, softmax
from .network import Batch, Network
from .sequences import (
    Sequences,
    checked_readout,
    checked_sequences,
    checked_step_targets,
    chunks,
    padded,
)
from .training import checked_settings, new_adam, train

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from numpy.typing import NDArray
    from typing_extensions import Self

    from ..lstm import LSTM

# One array (T_i, K) for each sequence with per_step, else one row (1, K): of float64 in the
# regressor, of indices into classes_ in the classifier.
Targets = list  # of arrays


class _LSTMEstimator(BaseEstimator):  # type: ignore[misc]
    """What both have in common."""

    lstm_: LSTM

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
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.per_step = per_step
        self.pooling = pooling
        self.scale = scale
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.clip_norm = clip_norm
        self.weight_decay = weight_decay
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose

    # What differs between the two.

    def _begin_targets(self, y: Any, sequences: Sequences, classes: Any = None) -> Targets:
        """Learn what targets look like, and give them as numbers."""
        raise NotImplementedError

    def _later_targets(self, y: Any, sequences: Sequences) -> Targets:
        """Targets as numbers, in the form that was learned."""
        raise NotImplementedError

    def _output_size(self) -> int:
        raise NotImplementedError

    def _batch_loss(self, targets: NDArray[Any], weights: NDArray[Any]) -> Any:
        raise NotImplementedError

    def _stratify(self, targets: Targets) -> Any:
        return None

    # Fitting.

    def _fit(self, X: Any, y: Any, sample_weight: Any, validation_data: Any) -> Self:
        settings = checked_settings(self)
        verbose = check_bool("verbose", bool(self.verbose))
        sequences = checked_sequences(self, X, reset=True)
        targets = self._begin_targets(y, sequences)
        weight = _check_sample_weight(sample_weight, np.zeros((len(targets), 1)), dtype=np.float64)
        random = self._begin(sequences, targets)
        held_out: tuple[Sequences, Targets, NDArray[Any]] | None = None
        if validation_data is not None:
            if not isinstance(validation_data, (tuple, list)) or len(validation_data) != 2:
                raise TypeError(f"validation_data: must be (X, y), got {describe(validation_data)}")
            later = checked_sequences(self, validation_data[0], reset=False)
            later_targets = self._later_targets(validation_data[1], later)
            held_out = later, later_targets, np.ones(len(later_targets))
        elif settings.early_stopping:
            learned, kept = self._split(targets, settings.validation_fraction, random)
            held_out = sequences.take(kept), [targets[k] for k in kept], weight[kept]
            sequences, targets = sequences.take(learned), [targets[k] for k in learned]
            weight = weight[learned]
        self._learn_scales(sequences, targets)

        def batches() -> Iterator[Batch]:
            order = random.permutation(len(targets))
            for begin in range(0, len(order), settings.batch_size):
                yield self._batch(sequences, targets, weight, order[begin:][: settings.batch_size])

        def validation_loss() -> float:
            assert held_out is not None
            return self._loss(*held_out)

        count = -(-len(targets) // settings.batch_size)
        history = train(
            self._network, batches, count, validation_loss if held_out else None,
            settings, random, verbose,
        )  # fmt: skip
        self.loss_curve_, self.validation_curve_, self.best_epoch_ = history
        self.n_iter_ = len(history.loss)
        self._adam = None
        return self

    def _partial_fit(self, X: Any, y: Any, classes: Any, sample_weight: Any) -> Self:
        settings = checked_settings(self)
        first = not hasattr(self, "_network")
        sequences = checked_sequences(self, X, reset=first)
        if first:
            targets = self._begin_targets(y, sequences, classes)
            self._random = self._begin(sequences, targets)
            self._learn_scales(sequences, targets)
            self.loss_curve_, self.validation_curve_ = [], []
            self.best_epoch_ = self.n_iter_ = 0
            self._adam = None
        else:
            targets = self._later_targets(y, sequences)
        weight = _check_sample_weight(sample_weight, np.zeros((len(targets), 1)), dtype=np.float64)
        if self._adam is None:
            self._adam = new_adam(self._network, settings)
        if not hasattr(self, "_random"):
            self._random = self._generator()
        losses = []
        order = self._random.permutation(len(targets))
        for begin in range(0, len(order), settings.batch_size):
            chosen = order[begin : begin + settings.batch_size]
            batch = self._batch(sequences, targets, weight, chosen)
            seed = int(self._random.integers(2**63))
            losses.append(self._network.learn(batch, self._adam, settings.clip_norm, seed))
        self.loss_curve_.append(float(np.mean(losses)))
        self.n_iter_ += 1
        self.best_epoch_ = self.n_iter_
        return self

    def _generator(self) -> np.random.Generator:
        state = check_random_state(self.random_state)
        return np.random.default_rng(int(state.randint(np.iinfo(np.int32).max)))

    def _begin(self, sequences: Sequences, targets: Targets) -> np.random.Generator:
        """A new network; the generator of all that is random."""
        random = self._generator()
        self._network = Network(
            sequences.items[0].shape[1],
            self._output_size(),
            checked_readout(self),
            hidden_size=self.hidden_size,
            num_layers=self.num_layers,
            bidirectional=self.bidirectional,
            dropout=self.dropout,
            dtype=self.dtype,
            seed=int(random.integers(2**63)),
        )
        self.lstm_ = self._network.lstm
        return random

    def _split(
        self, targets: Targets, fraction: float, random: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which sequences are learned, and which decide when to stop."""
        if len(targets) < 2:
            raise ValueError(
                f"X: early stopping needs at least 2 sequences, got n_samples = {len(targets)}; "
                "pass early_stopping=False or validation_data"
            )
        groups = self._stratify(targets)
        held = int(np.ceil(fraction * len(targets)))
        if groups is not None:
            counts = np.unique(groups, return_counts=True)[1]
            # scikit-learn splits only if each side can have one of every class.
            if counts.min() < 2 or min(held, len(targets) - held) < len(counts):
                groups = None
        seed = int(random.integers(2**31))
        learned, kept = train_test_split(
            np.arange(len(targets)), test_size=held, stratify=groups, random_state=seed
        )
        return np.asarray(learned), np.asarray(kept)

    def _learn_scales(self, sequences: Sequences, targets: Targets) -> None:
        """Mean and standard deviation of each feature, over all valid steps."""
        features = sequences.items[0].shape[1]
        self._mean, self._std = np.zeros(features), np.ones(features)
        if check_bool("scale", self.scale):
            steps = np.concatenate(sequences.items)
            self._mean, std = steps.mean(axis=0), steps.std(axis=0)
            self._std = np.where(std > 0, std, 1.0)

    def _input(self, sequences: Sequences) -> tuple[Any, NDArray[np.int64] | None]:
        """(T, B, F) scaled, and the lengths unless all are equal."""
        lengths = sequences.lengths
        dtype = self._network.lstm.dtype
        scaled = [((item - self._mean) / self._std).astype(dtype) for item in sequences.items]
        return padded(scaled, dtype), None if (lengths == lengths[0]).all() else lengths

    def _batch(
        self,
        sequences: Sequences,
        targets: Targets,
        weight: NDArray[Any],
        chosen: NDArray[np.int64],
    ) -> Batch:
        x, lengths = self._input(sequences.take(chosen))
        wanted = [targets[k] for k in chosen]
        weights = weight[chosen]
        if self._network.readout == "step":
            valid = np.arange(len(x))[:, None] < sequences.lengths[chosen]
            weights = np.where(valid, weights, 0.0)  # (T, B)
            stacked = padded(wanted, wanted[0].dtype)
        else:
            stacked = np.concatenate(wanted)
        return Batch(x, lengths, self._batch_loss(stacked, weights))

    def _loss(self, sequences: Sequences, targets: Targets, weight: NDArray[Any]) -> float:
        """The mean loss of sequences that are not learned."""
        total = mass = 0.0
        for chosen in chunks(sequences, self._width()):
            batch = self._batch(sequences, targets, weight, chosen)
            loss, _ = batch.loss(self._network(batch.x, batch.lengths))
            steps = sequences.lengths[chosen] if self._network.readout == "step" else 1
            part = float((weight[chosen] * steps).sum())
            total, mass = total + loss * part, mass + part
        return total / mass if mass else 0.0

    def _width(self) -> int:
        return self._network.lstm.input_size + self._network.weights["head.weight"].shape[1]

    def _outputs(self, X: Any) -> tuple[Sequences, list[NDArray[Any]]]:
        """For each sequence what the head puts out: (T_i, K), or (1, K)."""
        check_is_fitted(self)
        sequences = checked_sequences(self, X, reset=False)
        result: list[Any] = [None] * len(sequences.items)
        for chosen in chunks(sequences, self._width()):
            part = sequences.take(chosen)
            out = self._network(*self._input(part)).astype(np.float64)
            for b, (k, item) in enumerate(zip(chosen, part.items, strict=True)):
                result[k] = out[: len(item), b] if out.ndim == 3 else out[None, b]
        return sequences, result

    def _shaped(self, sequences: Sequences, values: list[NDArray[Any]], fill: Any = np.nan) -> Any:
        """Per step: a list for a list, else an array with `fill` in padding. Else one array."""
        if self._network.readout != "step":
            return np.concatenate(values)
        if sequences.padded_steps is None:
            return values
        shape = (len(values), sequences.padded_steps, *values[0].shape[1:])
        result = np.full(shape, fill, values[0].dtype)
        for k, value in enumerate(values):
            result[k, : len(value)] = value
        return result

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_network")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


class LSTMRegressor(RegressorMixin, _LSTMEstimator):  # type: ignore[misc]
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
    converted to `dtype`. Batches are never sorted by length: padding costs cellgate nothing.

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
        predicted, sequences = self.predict(X), checked_sequences(self, X, reset=False)
        targets = checked_step_targets(y, sequences, numbers=True)
        made = [np.reshape(p[: len(t)], t.shape) for p, t in zip(predicted, targets, strict=True)]
        weights = None
        if sample_weight is not None:
            weights = np.repeat(np.asarray(sample_weight, np.float64), sequences.lengths)
        return float(r2_score(np.concatenate(targets), np.concatenate(made), sample_weight=weights))

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
        self._targets = every.shape[1]
        self._target_mean, std = every.mean(axis=0), every.std(axis=0)
        self._target_std = np.where(std > 0, std, 1.0)
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


class LSTMClassifier(ClassifierMixin, _LSTMEstimator):  # type: ignore[misc]
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
    converted to `dtype`. Batches are never sorted by length: padding costs cellgate nothing.

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
        predicted, sequences = self.predict(X), checked_sequences(self, X, reset=False)
        targets = checked_step_targets(y, sequences, numbers=False)
        made = [p[: len(t)] for p, t in zip(predicted, targets, strict=True)]
        weights = None
        if sample_weight is not None:
            weights = np.repeat(np.asarray(sample_weight, np.float64), sequences.lengths)
        return float(
            accuracy_score(np.concatenate(targets), np.concatenate(made), sample_weight=weights)
        )

    def _begin_targets(self, y: Any, sequences: Sequences, classes: Any = None) -> Targets:
        labels = self._labels(y, sequences)
        every = np.concatenate(labels)
        check_classification_targets(every)
        self.classes_ = np.unique(every if classes is None else column_or_1d(classes))
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
