"""What LSTMRegressor and LSTMClassifier share: scikit-learn's conventions around Network and train.

sequences.py checks X and y.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from ..config import check_bool, describe
from .network import Batch, Network
from .scaling import deviations
from .sequences import (
    Sequences,
    checked_readout,
    checked_sequences,
    checked_step_targets,
    checked_targets,
    chunks,
    padded,
)
from .training import TrainedEstimator, all_or_nothing, checked_settings, random_generator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from numpy.typing import NDArray
    from typing_extensions import Self

    from ..network import Network as Deployed

# One array (T_i, K) for each sequence with per_step, else one row (1, K): of float64 in the
# regressor, of indices into classes_ in the classifier.
Targets: TypeAlias = "list[NDArray[Any]]"


# A dataclass, so that the signatures of both classes, which scikit-learn reads, have these too.
@dataclass(eq=False, repr=False)
class SequenceEstimator(TrainedEstimator):
    """The parameters and methods of both classes; `LSTMRegressor` says what each parameter is."""

    _network: Network = field(init=False)

    hidden_size: int = 64
    num_layers: int = 1
    _: KW_ONLY
    bidirectional: bool = False
    dropout: float = 0.0
    per_step: bool = False
    pooling: str = "last"
    scale: bool = True
    learning_rate: float = 1e-2
    schedule: str = "cosine"
    batch_size: int = 32
    max_epochs: int = 100
    early_stopping: bool = True
    validation_fraction: float = 0.1
    patience: int = 20
    clip_norm: float = 1.0
    weight_decay: float = 0.0
    dtype: str = "float32"
    random_state: Any = None
    verbose: bool = False

    # What the two classes define.

    def _begin_targets(self, y: Any, sequences: Sequences, classes: Any = None) -> Targets:
        """Learn the form of the targets, and return them as numbers."""
        raise NotImplementedError

    def _later_targets(self, y: Any, sequences: Sequences) -> Targets:
        """Targets, in the form that was learned, as numbers."""
        raise NotImplementedError

    def _output_size(self) -> int:
        raise NotImplementedError

    def _output_parts(self) -> dict[str, Any]:
        """Arguments of `Network.deployed` that turn the head's output into predictions."""
        raise NotImplementedError

    def predict(self, X: Any) -> Any:
        """A prediction for each sequence, or for each of its steps."""
        raise NotImplementedError

    def _batch_loss(self, targets: NDArray[Any], weights: NDArray[Any]) -> Any:
        raise NotImplementedError

    def _stratify(self, targets: Targets) -> Any:
        return None

    # Fitting.

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
            The sequences; the notes of `LSTMRegressor` say how shorter ones are padded.
        y : array (n,) of labels or numbers, or (n, K) of numbers
            The targets. With `per_step` a list of arrays (T_i,) or (T_i, K), or an array (n, T) or
            (n, T, K), whose values in padding are not read.
        sample_weight : array (n,), optional
            The weight of each sequence; a classifier multiplies it by that of the class.
        validation_data : (X, y), optional
            What early stopping measures the loss on, instead of a part of X.

        Raises
        ------
        TypeError, ValueError
            A parameter or an argument of a wrong type, shape or value; the message names it.
        """
        with all_or_nothing(self):
            return self._fit_all(X, y, sample_weight, validation_data)

    def _partial_fit(self, X: Any, y: Any, classes: Any, sample_weight: Any) -> Self:
        with all_or_nothing(self):
            return self._fit_more(X, y, classes, sample_weight)

    def _fit_all(self, X: Any, y: Any, sample_weight: Any, validation_data: Any) -> Self:
        settings = checked_settings(self)
        sequences = checked_sequences(self, X, reset=True)
        targets = self._begin_targets(y, sequences)
        weight = _check_sample_weight(sample_weight, np.zeros((len(targets), 1)), dtype=np.float64)
        self._begin(sequences)
        held_out: tuple[Sequences, Targets, NDArray[Any]] | None = None
        if validation_data is not None:
            if not isinstance(validation_data, (tuple, list)) or len(validation_data) != 2:
                raise TypeError(f"validation_data: must be (X, y), got {describe(validation_data)}")
            later = checked_sequences(self, validation_data[0], reset=False)
            later_targets = self._later_targets(validation_data[1], later)
            held_out = later, later_targets, np.ones(len(later_targets))
        elif settings.early_stopping:
            learned, kept = self._split(targets, settings.validation_fraction)
            held_out = sequences.take(kept), [targets[k] for k in kept], weight[kept]
            sequences, targets = sequences.take(learned), [targets[k] for k in learned]
            weight = weight[learned]
        self._learn_scales(sequences)

        def batches() -> Iterator[Batch]:
            return self._batches(sequences, targets, weight, settings.batch_size)

        def validation_loss() -> float:
            assert held_out is not None
            return self._loss(*held_out)

        count = -(-len(targets) // settings.batch_size)
        evaluate = validation_loss if held_out else None
        self._train(self._network, batches, count, evaluate, settings)
        return self

    def _fit_more(self, X: Any, y: Any, classes: Any, sample_weight: Any) -> Self:
        settings = checked_settings(self)
        first = not hasattr(self, "_network")
        sequences = checked_sequences(self, X, reset=first)
        if first:
            targets = self._begin_targets(y, sequences, classes)
            self._begin(sequences)
            self._learn_scales(sequences)
        else:
            targets = self._later_targets(y, sequences)
        weight = _check_sample_weight(sample_weight, np.zeros((len(targets), 1)), dtype=np.float64)
        batches = self._batches(sequences, targets, weight, settings.batch_size)
        self._train_more(self._network, batches, settings)
        return self

    def _begin(self, sequences: Sequences) -> None:
        """Make a new network, and a new random generator."""
        self._random = random_generator(self.random_state)
        self._network = Network(
            sequences.items[0].shape[1],
            self._output_size(),
            checked_readout(self),
            hidden_size=self.hidden_size,
            num_layers=self.num_layers,
            bidirectional=self.bidirectional,
            dropout=self.dropout,
            dtype=self.dtype,
            seed=int(self._random.integers(2**63)),
        )
        self.lstm_ = self._network.lstm
        self._moments = None

    def _split(
        self, targets: Targets, fraction: float
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Indices of the sequences to train on, and of those for validation."""
        if len(targets) < 2:
            raise ValueError(
                f"X: early stopping needs at least 2 sequences, got n_samples = {len(targets)}; "
                "pass early_stopping=False or validation_data"
            )
        groups = self._stratify(targets)
        held = int(np.ceil(fraction * len(targets)))
        if groups is not None:
            counts = np.unique(groups, return_counts=True)[1]
            # scikit-learn stratifies only if both parts can have a sequence of every class.
            if counts.min() < 2 or min(held, len(targets) - held) < len(counts):
                groups = None
        seed = int(self._random.integers(2**31))
        learned, kept = train_test_split(
            np.arange(len(targets)), test_size=held, stratify=groups, random_state=seed
        )
        return np.asarray(learned), np.asarray(kept)

    def _learn_scales(self, sequences: Sequences) -> None:
        """Mean and standard deviation of each feature, over all valid steps."""
        features = sequences.items[0].shape[1]
        self._mean, self._std = np.zeros(features), np.ones(features)
        if check_bool("scale", self.scale):
            steps = np.concatenate(sequences.items)
            self._mean, self._std = steps.mean(axis=0), deviations(steps)

    def _scales(self) -> tuple[Any, Any]:
        """Mean and standard deviation of each feature in the network's dtype."""
        dtype = self._network.lstm.dtype
        deviation = self._std.astype(dtype)  # of what float32 cannot tell apart it may be 0
        return self._mean.astype(dtype), np.where(deviation > 0, deviation, dtype.type(1))

    def _input(self, sequences: Sequences) -> tuple[Any, NDArray[np.int64] | None]:
        """(T, B, F), and the lengths, or None if all are equal."""
        lengths, dtype = sequences.lengths, self._network.lstm.dtype
        items = [item.astype(dtype) for item in sequences.items]
        return padded(items, dtype), None if (lengths == lengths[0]).all() else lengths

    @property
    def network_(self) -> Deployed:
        """What `predict` runs: a `cellgate.Network` of the trained weights, to run elsewhere."""
        check_is_fitted(self)
        mean, deviation = self._scales()
        return self._network.deployed(
            input_mean=mean, input_scale=deviation, **self._output_parts()
        )

    def _batches(
        self, sequences: Sequences, targets: Targets, weight: NDArray[Any], batch_size: int
    ) -> Iterator[Batch]:
        """All sequences once, in a new random order."""
        order = self._random.permutation(len(targets))
        for begin in range(0, len(order), batch_size):
            yield self._batch(sequences, targets, weight, order[begin : begin + batch_size])

    def _batch(
        self,
        sequences: Sequences,
        targets: Targets,
        weight: NDArray[Any],
        chosen: NDArray[np.int64],
    ) -> Batch:
        x, lengths = self._input(sequences.take(chosen))
        mean, deviation = self._scales()
        x = (x - mean) / deviation  # as the network of the core does, which predicts
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
        """The mean loss of sequences, without training on them."""
        total = mass = 0.0
        for chosen in chunks(sequences, self._width()):
            batch = self._batch(sequences, targets, weight, chosen)
            loss, _ = batch.loss(self._network(batch.x, batch.lengths))
            steps = sequences.lengths[chosen] if self._network.readout == "step" else 1
            part = float((weight[chosen] * steps).sum())
            total, mass = total + loss * part, mass + part
        return total / mass if mass else 0.0

    def _checked_targets(self, y: Any, sequences: Sequences, numbers: bool) -> Targets:
        """For each sequence (T_i, K) or (1, K) of numbers, or (T_i,) or (1,) of labels."""
        if checked_readout(self) == "step":
            return checked_step_targets(y, sequences, numbers)
        return checked_targets(y, sequences, numbers)

    def _width(self) -> int:
        width: int = self._network.weights["head.weight"].shape[1]
        return self._network.lstm.input_size + width

    def _outputs(self, X: Any) -> tuple[Sequences, list[NDArray[Any]]]:
        """The output of the network for each sequence: (T_i, K), or (1, K)."""
        check_is_fitted(self)
        sequences = checked_sequences(self, X, reset=False)
        result: list[Any] = [None] * len(sequences.items)
        network = self.network_
        for chosen in chunks(sequences, self._width()):
            part = sequences.take(chosen)
            x, lengths = self._input(part)
            out, _ = network(x, lengths=lengths)
            for b, (k, item) in enumerate(zip(chosen, part.items, strict=True)):
                result[k] = out[: len(item), b] if out.ndim == 3 else out[None, b]
        return sequences, result

    def _shaped(self, sequences: Sequences, values: list[NDArray[Any]], fill: Any = np.nan) -> Any:
        """Without `per_step` an array; with it a list for a list, else a padded array."""
        if self._network.readout != "step":
            return np.concatenate(values)
        if sequences.padded_steps is None:
            return values
        shape = (len(values), sequences.padded_steps, *values[0].shape[1:])
        result = np.full(shape, fill, values[0].dtype)
        for k, value in enumerate(values):
            result[k, : len(value)] = value
        return result

    def _step_score(
        self, X: Any, y: Any, sample_weight: Any, metric: Callable[..., float], numbers: bool
    ) -> float:
        """A metric of the predictions of all valid steps of all sequences together."""
        predicted, sequences = self.predict(X), checked_sequences(self, X, reset=False)
        targets = checked_step_targets(y, sequences, numbers)
        made = [np.reshape(p[: len(t)], t.shape) for p, t in zip(predicted, targets, strict=True)]
        if sample_weight is not None:
            shape = np.zeros((len(targets), 1))
            weight = _check_sample_weight(sample_weight, shape, dtype=np.float64)
            sample_weight = np.repeat(weight, sequences.lengths)
        every = np.concatenate(targets), np.concatenate(made)
        return float(metric(*every, sample_weight=sample_weight))

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_network")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags
