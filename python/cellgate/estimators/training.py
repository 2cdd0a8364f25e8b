"""The training loop of all estimators: epochs, learning rate, early stopping, progress.

Called by base.py and forecaster_fit.py, which make the batches and their losses.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from ..config import check_bool, check_int, describe
from ..optim import Adam

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from ..lstm import LSTM
    from ..network import Network as Deployed
    from .network import Batch, Network

SCHEDULES = ("constant", "linear", "cosine", "plateau")


class Settings(NamedTuple):
    """The parameters that all estimators have in common, checked."""

    learning_rate: float
    schedule: str
    batch_size: int
    max_epochs: int
    patience: int
    early_stopping: bool
    validation_fraction: float
    clip_norm: float
    weight_decay: float


class History(NamedTuple):
    """The results of a training."""

    loss: list[float]  # of each epoch, the mean over its sequences, each before its update
    validation_loss: list[float]  # of each epoch; empty without validation
    best_epoch: int  # from 1; the last without validation


def checked_settings(estimator: Any) -> Settings:
    """The settings of an estimator, or the error that names the one at fault."""
    schedule = estimator.schedule
    if not isinstance(schedule, str) or schedule not in SCHEDULES:
        names = ", ".join(map(repr, SCHEDULES))
        raise ValueError(f"schedule: must be one of {names}, got {describe(schedule)}")
    return Settings(
        learning_rate=check_real("learning_rate", estimator.learning_rate, above=0),
        schedule=schedule,
        batch_size=check_int("batch_size", estimator.batch_size, 1),
        max_epochs=check_int("max_epochs", estimator.max_epochs, 1),
        patience=check_int("patience", estimator.patience, 1),
        early_stopping=check_bool("early_stopping", estimator.early_stopping),
        validation_fraction=check_real(
            "validation_fraction", estimator.validation_fraction, above=0, below=1
        ),
        clip_norm=check_real("clip_norm", estimator.clip_norm, above=0, infinite=True),
        weight_decay=check_real("weight_decay", estimator.weight_decay),
    )


def check_real(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    below: float = math.inf,
    infinite: bool = False,
) -> float:
    """`value` as a float of at least 0, or more than `above`, and less than `below`."""
    if not isinstance(value, (int, float, np.integer, np.floating)) or isinstance(value, bool):
        raise TypeError(f"{name}: must be a number, got {describe(value)}")
    number = float(value)
    low_enough = number < below or (infinite and number == math.inf)
    if not ((number >= 0 if above is None else number > above) and low_enough):
        wanted = "at least 0" if above is None else f"above {above}"
        wanted += f" and below {below}" if below < math.inf else "" if infinite else " and finite"
        raise ValueError(f"{name}: must be {wanted}, got {value}")
    return number


def random_generator(random_state: Any) -> np.random.Generator:
    """A generator that `random_state` seeds, in any form that scikit-learn allows."""
    state = check_random_state(random_state)
    return np.random.default_rng(int(state.randint(np.iinfo(np.int32).max)))


@contextmanager
def all_or_nothing(estimator: Any) -> Iterator[None]:
    """Restore the attributes of an estimator if the block raises, or is interrupted."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def new_adam(network: Network, settings: Settings) -> Adam:
    """An optimiser for a network's weights."""
    return Adam(network.weights, settings.learning_rate, weight_decay=settings.weight_decay)


def learn_epoch(
    network: Network,
    adam: Adam,
    batches: Iterable[Batch],
    clip_norm: float,
    random: np.random.Generator,
    before: Callable[[int], None] = lambda k: None,
) -> float:
    """Train on each batch, after calling `before(k)`; the mean loss over their sequences."""
    losses, counts = [], []
    for k, batch in enumerate(batches):
        before(k)
        losses.append(network.learn(batch, adam, clip_norm, int(random.integers(2**63))))
        counts.append(batch.x.shape[1])
    return float(np.average(losses, weights=counts))


def learn_more(
    network: Network,
    moments: dict[str, Any] | None,
    batches: Iterable[Batch],
    settings: Settings,
    random: np.random.Generator,
) -> tuple[float, dict[str, Any]]:
    """An epoch that starts from Adam's moments, if given; its loss, and the new moments.

    The moments are kept instead of the optimiser, which, once pickled and unpickled, would no
    longer refer to the network's weights. After an error nothing is changed.
    """
    adam = new_adam(network, settings)
    if moments is not None:
        adam.load_state_dict(moments)
    weights, state = network.snapshot(), random.bit_generator.state
    try:
        loss = learn_epoch(network, adam, batches, settings.clip_norm, random)
    except BaseException:
        network.restore(weights)
        random.bit_generator.state = state
        raise
    return loss, adam.state_dict()


def train(
    network: Network,
    batches: Callable[[], Iterable[Batch]],
    batches_per_epoch: int,
    validation_loss: Callable[[], float] | None,
    settings: Settings,
    random: np.random.Generator,
    verbose: bool,
) -> History:
    """Train until `max_epochs`, or until the validation loss has not fallen for `patience` epochs.

    With `validation_loss` the network is left with the weights of its best epoch.
    """
    from tqdm import tqdm

    adam = new_adam(network, settings)
    rate = settings.learning_rate
    history = History([], [], 0)
    best_loss, best_epoch, best = math.inf, 0, network.snapshot()
    since = 0  # epochs without a smaller loss since the last change of the learning rate
    total = settings.max_epochs * batches_per_epoch
    with tqdm(total=total, disable=not verbose, unit="batch", desc="epoch 1") as bar:
        for epoch in range(1, settings.max_epochs + 1):
            begun = (epoch - 1) * batches_per_epoch

            def before(k: int, begun: int = begun, rate: float = rate) -> None:
                adam.lr = rate * _fraction(settings.schedule, min((begun + k) / total, 1.0))
                bar.update()

            history.loss.append(
                learn_epoch(network, adam, batches(), settings.clip_norm, random, before)
            )
            if not math.isfinite(history.loss[-1]):
                raise ValueError(
                    f"the loss became {history.loss[-1]} in epoch {epoch}: lower learning_rate "
                    f"({settings.learning_rate}), or look for extreme values in the targets"
                )
            bar.set_description(f"epoch {epoch + 1}", refresh=False)
            if validation_loss is None:
                bar.set_postfix(loss=f"{history.loss[-1]:.4g}")
                continue
            loss = validation_loss()
            history.validation_loss.append(loss)
            bar.set_postfix(loss=f"{history.loss[-1]:.4g}", validation=f"{loss:.4g}")
            if loss < best_loss:
                best_loss, best_epoch, best, since = loss, epoch, network.snapshot(), 0
                continue
            since += 1
            if epoch - best_epoch >= settings.patience:
                break
            if settings.schedule == "plateau" and since >= max(1, settings.patience // 3):
                rate, since = rate / 2, 0
    if validation_loss is None:
        return history._replace(best_epoch=len(history.loss))
    network.restore(best)
    return history._replace(best_epoch=best_epoch)


def _fraction(schedule: str, done: float) -> float:
    """The learning rate, relative to its start, when the share `done` of the training is over."""
    if schedule == "linear":
        return 1 - done
    if schedule == "cosine":
        return (1 + math.cos(math.pi * done)) / 2
    return 1.0


class TrainedEstimator(BaseEstimator):  # type: ignore[misc]
    """The attributes that a training leaves on every estimator, and the methods that set them."""

    lstm_: LSTM
    verbose: bool
    _random: np.random.Generator
    _moments: dict[str, Any] | None  # Adam's, of partial_fit

    @property
    def network_(self) -> Deployed:
        """The `cellgate.Network` of the trained weights."""
        raise NotImplementedError

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `network_` to a safetensors file, which `cellgate.load` and the C library read.

        Both predict the same bits as `network_`. To keep all of the estimator, pickle it.

        Raises
        ------
        ValueError, OSError
            As `cellgate.Network.save`.
        """
        self.network_.save(path)

    def _train(
        self,
        network: Network,
        batches: Callable[[], Iterable[Batch]],
        batches_per_epoch: int,
        validation_loss: Callable[[], float] | None,
        settings: Settings,
    ) -> None:
        history = train(
            network, batches, batches_per_epoch, validation_loss,
            settings, self._random, bool(self.verbose),
        )  # fmt: skip
        self.loss_curve_, self.validation_curve_, self.best_epoch_ = history
        self.n_iter_ = len(history.loss)

    def _train_more(self, network: Network, batches: Iterable[Batch], settings: Settings) -> None:
        """One epoch more; the curves start with the first."""
        if not hasattr(self, "loss_curve_"):
            self.loss_curve_, self.validation_curve_, self.n_iter_ = [], [], 0
        loss, self._moments = learn_more(network, self._moments, batches, settings, self._random)
        self.loss_curve_.append(loss)
        self.n_iter_ += 1
        self.best_epoch_ = self.n_iter_
