"""Part 2 of anomaly_detection.py, which runs it: one-class detection among spoken digits.

A detector sees recordings of one digit only, and has to tell new ones of it from the nine others.
Ours is the likelihood of each frame after those before it, from an LSTM with a mixture density
head, in both directions of time. The recordings differ in length and are packed, so that nothing
is spent on padding. The baselines see summary statistics of a recording; which ones, and their
settings, is decided by the AUC on the validation part.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import cellgate
import numpy as np
from report import Clock, need, without_torch

torch: Any = need("torch", "torch")
ensemble: Any = need("sklearn.ensemble", "scikit-learn")
metrics: Any = need("sklearn.metrics", "scikit-learn")
neighbors: Any = need("sklearn.neighbors", "scikit-learn")
svm: Any = need("sklearn.svm", "scikit-learn")
safetensors: Any = need("safetensors.torch", "safetensors")
import cellgate.torch  # noqa: E402  (needs torch)

Array = np.ndarray


class Digits(NamedTuple):
    """All recordings, and which part each belongs to: 0 train, 1 validation, 2 test."""

    frames: list[Array]  # each (T, 13)
    labels: Array
    parts: Array

    def of(self, part: int, digit: int | None = None) -> Array:
        """Numbers of the recordings of a part, of one digit or all."""
        return np.flatnonzero((self.parts == part) & ((digit is None) | (self.labels == digit)))

    def abnormal(self, digit: int, part: int) -> Array:
        return self.labels[self.of(part)] != digit


def load_digits(path: Path) -> Digits:
    with np.load(path) as file:
        frames, labels, lengths = file["X"], file["y"], file["lengths"]
    random, parts = np.random.default_rng(3), np.empty(len(labels), int)
    for digit in range(10):
        mixed = random.permutation(np.flatnonzero(labels == digit))
        parts[mixed] = np.digitize(np.arange(len(mixed)) / len(mixed), (0.6, 0.8))
    return Digits(np.split(frames, np.cumsum(lengths)[:-1]), labels, parts)


class Batch(NamedTuple):
    """Recordings of any lengths, packed: first frames first, without padding."""

    before: Any  # PackedSequence of (I,): zeros, then each frame but the last
    frames: Any  # (frames, I), in the same order
    owner: Any  # (frames,), which recording each belongs to
    count: int


def pack(recordings: list[Array]) -> Batch:
    def packed(parts: list[Any]) -> Any:
        return torch.nn.utils.rnn.pack_sequence(parts, enforce_sorted=False)

    frames = [torch.tensor(np.ascontiguousarray(r, np.float32)) for r in recordings]
    before = packed([torch.cat([torch.zeros_like(f[:1]), f[:-1]]) for f in frames])
    owner = packed([torch.full((len(f),), i) for i, f in enumerate(frames)])
    return Batch(before, packed(frames).data, owner.data, len(frames))


class Density(torch.nn.Module):
    """A mixture of four Gaussians for each frame, given those before it."""

    def __init__(self, inputs: int, hidden: int, mixture: int = 4) -> None:
        super().__init__()
        self.lstm = cellgate.torch.LSTM(inputs, hidden)
        self.dropout = torch.nn.Dropout(0.5)
        self.linear = torch.nn.Linear(hidden, mixture * (2 * inputs + 1))
        self.sizes = (inputs, inputs, 1)

    def score(self, batch: Batch) -> Any:
        """Minus the log-likelihood of each recording per frame, up to a constant: (B,)."""
        before = batch.before
        if self.training:  # else it would learn to copy the frame before
            before = before._replace(data=before.data + torch.randn_like(before.data))
        y = self.lstm(before)[0].data
        heads = self.linear(self.dropout(y)).unflatten(-1, (-1, sum(self.sizes)))
        mean, log_variance, weight = heads.split(self.sizes, -1)
        log_variance = log_variance.clamp(-6, 4)
        squares = (batch.frames[:, None] - mean).square() * (-log_variance).exp()
        logs = weight[..., 0].log_softmax(-1) - 0.5 * (squares + log_variance).sum(-1)
        surprise = torch.zeros(batch.count).index_add(0, batch.owner, -logs.logsumexp(-1))
        return surprise / batch.owner.bincount(minlength=batch.count)

    def loss(self, batch: Batch) -> Any:
        return self.score(batch).mean()


class Detector(NamedTuple):
    """Ours for one digit, and how it did."""

    auc: float
    training: float  # seconds
    inference: float  # seconds, of the test part
    models: list[Density]  # forward, backward
    mean: Array  # (I,), of what they read
    deviation: Array
    scores: Array  # of the test part


def density(
    digits: Digits, digit: int, hidden: int, epochs: int, seed: int, fit: Callable[..., Any]
) -> Detector:
    """Ours, with one digit as the normal class."""
    torch.manual_seed(100 * seed + digit)
    random = np.random.default_rng(100 * seed + digit)
    train, valid, test = digits.of(0, digit), digits.of(1, digit), digits.of(2)
    known = np.concatenate([digits.frames[i] for i in train])
    mean, deviation = known.mean(0), known.std(0)
    score, training, inference, models = np.zeros(len(test)), 0.0, 0.0, []
    for direction in (1, -1):
        frames = [((f - mean) / deviation)[::direction] for f in digits.frames]

        def batch(frames: list[Array] = frames) -> Batch:
            return pack([frames[i] for i in random.choice(train, 32, replace=False)])

        with Clock() as clock:
            model = Density(len(mean), hidden)
            fit(model, epochs * len(train) // 32, 0.01, batch, pack([frames[i] for i in valid]))
        training += clock.seconds
        with Clock() as clock, torch.no_grad():
            score += model.score(pack([frames[i] for i in test])).numpy()
        inference += clock.seconds
        models.append(model)
    auc = metrics.roc_auc_score(digits.abnormal(digit, 2), score)
    return Detector(auc, training, inference, models, mean, deviation, score)


def save_and_serve(digits: Digits, detector: Detector, output: Path) -> str:
    """Write a detector, and let a process without torch score the test part; the same scores?"""
    path = output / "anomaly_detection_digits.safetensors"
    weights = {
        f"{name}.{key}": weight
        for name, model in zip(("forward", "backward"), detector.models, strict=True)
        for key, weight in model.state_dict().items()
    }
    scales = {"mean": detector.mean, "deviation": detector.deviation}
    scales = {name: torch.tensor(values, dtype=torch.float32) for name, values in scales.items()}
    safetensors.save_file({**weights, **scales}, path)
    numbers = digits.of(2)
    serving = Path(__file__).with_name("anomaly_detection_digits_serving.py")
    with TemporaryDirectory() as folder:
        recordings = Path(folder) / "recordings.npz"
        np.savez(recordings, **{str(i): digits.frames[i] for i in numbers})
        said = json.loads(without_torch(serving, path, recordings, "--json"))
    theirs = np.array([said[str(i)] for i in numbers])
    if not np.allclose(theirs, detector.scores, rtol=1e-3, atol=1e-3):
        raise RuntimeError("the saved detector scores otherwise when it is loaded again")
    return f"Written: {path}; without torch, it gives {len(numbers)} recordings the same scores"


FEATURES: dict[str, Callable[[Array], Array]] = {
    "mean, deviation": lambda f: np.concatenate([f.mean(0), f.std(0)]),
    "means of thirds, deviation": lambda f: np.concatenate(
        [*(third.mean(0) for third in np.array_split(f, 3)), f.std(0)]
    ),
}


class NearestNeighbours:
    """The mean distance to the k nearest, with the methods of scikit-learn's detectors."""

    def __init__(self, k: int) -> None:
        self.model = neighbors.NearestNeighbors(n_neighbors=k)

    def fit(self, x: Array) -> NearestNeighbours:
        self.model.fit(x)
        return self

    def score_samples(self, x: Array) -> Array:
        return -self.model.kneighbors(x)[0].mean(1)


CLASSICAL: dict[str, list[Callable[[int], Any]]] = {  # seed -> detector
    "isolation forest": [lambda s: ensemble.IsolationForest(random_state=s)],
    "one-class SVM": [
        lambda s, g=gamma: svm.OneClassSVM(nu=0.02, gamma=g) for gamma in (0.01, 0.03, 0.1, 0.3)
    ],
    "k nearest neighbours": [lambda s, k=k: NearestNeighbours(k) for k in (1, 2, 3)],
}


def classical(
    digits: Digits, count: int, name: str, seeds: int
) -> tuple[str, list[float], float, float]:
    """A baseline at its best: features, mean AUC for each seed, seconds to train and to score."""

    def trial(
        features: Array, digit: int, part: int, make: Callable[[int], Any], seed: int
    ) -> tuple[float, float, float]:
        known = features[digits.of(0, digit)]
        mean, deviation = known.mean(0), known.std(0)
        with Clock() as training:
            model = make(seed).fit((known - mean) / deviation)
        with Clock() as inference:
            scores = -model.score_samples((features[digits.of(part)] - mean) / deviation)
        auc = metrics.roc_auc_score(digits.abnormal(digit, part), scores)
        return auc, training.seconds, inference.seconds

    candidates = []
    for text, function in FEATURES.items():
        features = np.stack([function(f) for f in digits.frames])
        for make in CLASSICAL[name]:
            aucs = [trial(features, digit, 1, make, 0)[0] for digit in range(count)]
            candidates.append((np.mean(aucs), text, features, make))
    _, text, features, make = max(candidates, key=lambda candidate: candidate[0])
    trials = seeds if name == "isolation forest" else 1  # the others draw nothing
    results = np.array(
        [[trial(features, d, 2, make, seed) for d in range(count)] for seed in range(trials)]
    )
    training, inference = results[..., 1:].mean((0, 1))
    return f"{name} on {text}", results[..., 0].mean(1).tolist(), float(training), float(inference)
