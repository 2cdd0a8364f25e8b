"""Part 1 of anomaly_detection.py, which runs it: a series with one anomaly, and surgery for more.

From the data to the scores of the four detectors; each is a function of a series (T,) to scores of
its points (T,), the higher the less normal. `judge` computes the two metrics from them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cellgate
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from report import Clock, need

torch: Any = need("torch", "torch")
ensemble: Any = need("sklearn.ensemble", "scikit-learn")
metrics: Any = need("sklearn.metrics", "scikit-learn")
tqdm: Any = need("tqdm", "tqdm").tqdm
import cellgate.torch  # noqa: E402  (needs torch)

HIDDEN, PIECE, PIECES = 48, 240, 16  # units; points of a piece, pieces of a batch in training
HORIZONS = (1, 8, 24)  # points ahead
WARM = 60  # points until the LSTM's state has settled; they get no score
WINDOWS = (32, 64, 96, 128)  # a beat has some 180 points
WIDTHS = (16, 32, 48)  # of the moving average over the forecast errors
AUTOENCODER_WINDOW, STRIDE = 64, 4
Array = np.ndarray
Score = Callable[[Array], Array]


class Case(NamedTuple):
    """A series with one anomaly."""

    kind: str
    values: Array  # (T,)
    abnormal: Array  # (T,), bool


def noise(old: Array, r: np.random.Generator, other: Array) -> Array:
    return old[:12] + r.normal(0, 1, 12)


def reverse(old: Array, r: np.random.Generator, other: Array) -> Array:
    return old[: r.integers(16, 40)][::-1]


def warp(old: Array, r: np.random.Generator, other: Array) -> Array:
    n = r.integers(40, 100)
    places = np.linspace(0, 1, n) ** r.choice([0.75, 1.33])
    return np.interp(places * (n - 1), np.arange(n), old[:n])


def flat(old: Array, r: np.random.Generator, other: Array) -> Array:
    return np.full(r.integers(8, 20), old[0])


def transplant(old: Array, r: np.random.Generator, other: Array) -> Array:
    """A piece from elsewhere, tilted so that both ends fit."""
    n = r.integers(16, 50)
    piece = other[r.integers(len(other) - n) :][:n]
    return piece + np.linspace(old[0] - piece[0], old[n - 1] - piece[-1], n)


def rescale(old: Array, r: np.random.Generator, other: Array) -> Array:
    n = r.integers(40, 120)
    return old[:n] * (1 + r.choice([-0.08, 0.08]) * np.hanning(n))


SURGERY = (noise, reverse, warp, flat, transplant, rescale)


def operate(normal: Array, count: int, seed: int) -> list[Case]:
    """`count` cases of each kind of surgery on copies of a normal series."""
    random, cases = np.random.default_rng(seed), []
    for surgery in SURGERY:
        for _ in range(count):
            values, abnormal = normal.copy(), np.zeros(len(normal), bool)
            start = random.integers(200, len(normal) - 320)
            piece = surgery(normal[start : start + 120], random, normal)
            values[start : start + len(piece)] = piece
            abnormal[start : start + len(piece)] = True
            cases.append(Case(surgery.__name__, values, abnormal))
    return cases


class Series(NamedTuple):
    """The archive's series, cut in three."""

    train: Array
    validation: Array  # normal
    archive: Case
    test: list[Case]
    validation_cases: list[Case]


def load_series(paths: list[Path], validation_cases: int, test_cases: int) -> Series:
    train, everything = (np.loadtxt(path, delimiter=",", skiprows=1) for path in paths)
    values, abnormal = everything[:, 1], everything[:, 2].astype(bool)
    begin, end = np.flatnonzero(abnormal)[[0, -1]]
    archive = Case("archive", values[begin - 600 :], abnormal[begin - 600 :])
    validation = values[len(train) : begin - 600]  # the TEST file begins with the training part
    test = operate(values[end + 50 :], test_cases, seed=2)
    cases = operate(validation, validation_cases, seed=1)
    return Series(train[:, 1], validation, archive, [archive, *test], cases)


class Forecaster(torch.nn.Module):
    """Mean and log variance of how far the series moves until each horizon."""

    def __init__(self, train: Array, hidden: int, lstm: Any = cellgate.torch.LSTM) -> None:
        super().__init__()
        self.lstm = lstm(2, hidden)
        self.dropout = torch.nn.Dropout(0.1)
        self.linear = torch.nn.Linear(hidden, 2 * len(HORIZONS))
        moves = [float(np.std(train[h:] - train[:-h])) for h in HORIZONS]
        self.scales = (float(train.mean()), float(train.std()), moves)

    def forward(self, x: Any) -> list[tuple[Any, Any]]:
        """x: (T, B) -> for each horizon h squared errors in deviations, log variances: (T-h, B)."""
        mean, deviation, moves = self.scales
        step = torch.zeros_like(x)
        step[1:] = (x[1:] - x[:-1]) / moves[0]
        y, _ = self.lstm(torch.stack([(x - mean) / deviation, step], -1))
        outputs, result = self.linear(self.dropout(y)), []
        for j, (h, move) in enumerate(zip(HORIZONS, moves, strict=True)):
            log_variance = outputs[:-h, :, 2 * j + 1].clamp(-8, 6)
            error = (x[h:] - x[:-h]) / move - outputs[:-h, :, 2 * j]
            result.append((error.square() * (-log_variance).exp(), log_variance))
        return result

    def loss(self, x: Any) -> Any:
        return sum((a + b)[WARM:].mean() for a, b in self(x)) / (2 * len(HORIZONS))


def score_points(model: Forecaster, series: list[Array]) -> Array:
    """Squared error of each point, the mean over those forecasts of it that there are: (B, T)."""
    total, scores = None, []
    for part in range(0, len(series), 32):
        x = torch.from_numpy(np.stack(series[part : part + 32], 1).astype(np.float32))
        total, count = np.zeros(tuple(x.shape)), np.zeros((len(x), 1))
        with torch.no_grad():
            for h, (squares, _) in zip(HORIZONS, model(x), strict=True):
                total[h:] += squares.numpy()
                count[h:] += 1
        scores.append((total / np.maximum(count, 1)).T)
    return np.concatenate(scores)


def fit(model: Any, updates: int, rate: float, batch: Callable[[], Any], valid: Any) -> Any:
    """Adam with a cosine; keeps the weights with the smallest validation loss."""
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    best, kept = float("inf"), model.state_dict()
    for update in tqdm(range(updates), disable=None, leave=False, desc=type(model).__name__):
        model.train()
        optimizer.zero_grad()
        model.loss(batch()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if (update + 1) % 25 == 0:
            model.eval()
            with torch.no_grad():
                loss = float(model.loss(valid))
            if loss < best:
                best, kept = loss, copy.deepcopy(model.state_dict())
    model.load_state_dict(kept)
    return model.eval()


def crops(train: Array, length: int, count: int, seed: int) -> Callable[[], Any]:
    """Pieces of the series (length, count), a little stretched and noisy: 1200 points are few."""
    random, mean = np.random.default_rng(seed), train.mean()
    windows = sliding_window_view(train, length)

    def draw() -> Any:
        x = windows[random.integers(len(windows), size=count)].T
        x = mean + (x - mean) * (1 + 0.1 * random.standard_normal(count))
        return torch.from_numpy((x + 0.05 * random.standard_normal(x.shape)).astype(np.float32))

    return draw


def train_forecaster(train: Array, valid: Array, updates: int, seed: int) -> Forecaster:
    torch.manual_seed(seed)
    model = Forecaster(train, HIDDEN)
    held_out = torch.from_numpy(valid.astype(np.float32))[:, None]
    return fit(model, updates, 0.01, crops(train, PIECE, PIECES, seed), held_out)


class Autoencoder(torch.nn.Module):
    """A window, through four numbers, to itself."""

    def __init__(self, train: Array, hidden: int = 48) -> None:
        super().__init__()
        self.encoder = cellgate.torch.LSTM(1, hidden)
        self.narrow = torch.nn.Linear(hidden, 4)
        self.decoder = cellgate.torch.LSTM(4, hidden)
        self.linear = torch.nn.Linear(hidden, 1)
        self.scales = float(train.mean()), float(train.std())

    def forward(self, x: Any) -> Any:
        """x: (m, B) -> squared errors of the same shape."""
        x = (x - self.scales[0]) / self.scales[1]
        _, (h, _) = self.encoder(x[..., None])
        y, _ = self.decoder(self.narrow(h).expand(len(x), -1, -1))
        return (self.linear(y)[..., 0] - x).square()

    def loss(self, x: Any) -> Any:
        return self(x).mean()

    @torch.no_grad()
    def score(self, series: Array) -> Array:
        windows = sliding_window_view(series, AUTOENCODER_WINDOW)[::STRIDE]
        errors = self(torch.from_numpy(windows.T.astype(np.float32))).numpy().T
        total, count = np.zeros(len(series)), np.full(len(series), 1e-9)
        for start, error in zip(range(0, len(series), STRIDE), errors, strict=False):
            total[start : start + AUTOENCODER_WINDOW] += error
            count[start : start + AUTOENCODER_WINDOW] += 1
        return total / count


def smooth(scores: Array, width: int) -> Array:
    """A centred moving average along the last axis."""
    sums = np.cumsum(np.pad(scores, [(0, 0)] * (scores.ndim - 1) + [(1, 0)]), axis=-1)
    at = np.arange(scores.shape[-1])
    low, high = np.maximum(at - width // 2, 0), np.minimum(at + width - width // 2, len(at))
    return (sums[..., high] - sums[..., low]) / (high - low)


def spread_windows(scores: Array, m: int) -> Array:
    """Scores of windows to scores of points: the mean over the windows that hold the point."""
    sums, at = np.cumsum(np.pad(scores, (1, 0))), np.arange(len(scores) + m - 1)
    low, high = np.maximum(at - m + 1, 0), np.minimum(at + 1, len(scores))
    return (sums[high] - sums[low]) / (high - low)


def nearest_windows(train: Array, m: int, normalise: bool) -> Score:
    """The matrix profile of a series against the training part, exactly, by one matrix product.

    With `normalise` it is that of `stumpy.stump(series, m, train, ignore_trivial=False)`, which
    needs less memory but half a minute to compile.
    """

    def windows(series: Array) -> Array:
        w = sliding_window_view(series, m)
        centred = w - w.mean(1, keepdims=True)
        deviation = np.maximum(centred.std(1, keepdims=True), 1e-9)
        return centred / deviation if normalise else w

    known = windows(train)

    def score(series: Array) -> Array:
        new = windows(series)
        squares = (new**2).sum(1)[:, None] + (known**2).sum(1) - 2 * new @ known.T
        return spread_windows(np.sqrt(np.maximum(squares.min(1), 0)), m)

    return score


def forest(train: Array, m: int, seed: int) -> Score:
    model = ensemble.IsolationForest(random_state=seed).fit(sliding_window_view(train, m))
    return lambda s: spread_windows(-model.score_samples(sliding_window_view(s, m)), m)


def judge(cases: list[Case], scores: list[Array]) -> tuple[float, float]:
    """The mean AUC and the UCR score, without the ends, where no forecast has settled."""
    areas, hits = [], []
    for case, score in zip(cases, scores, strict=True):
        inner, truth = score[WARM:-WARM], case.abnormal[WARM:-WARM]
        areas.append(metrics.roc_auc_score(truth, inner))
        begin, end = np.flatnonzero(truth)[[0, -1]]
        hits.append(begin - 100 <= int(np.argmax(inner)) <= end + 100)
    return float(np.mean(areas)), float(np.mean(hits))


def choose(candidates: dict[int, list[Array]], cases: list[Case]) -> int:
    """The candidate (a window length or a width) with the best AUC on the validation cases."""
    return max(candidates, key=lambda m: judge(cases, candidates[m])[0])


class Found(NamedTuple):
    """What a detector scored in the test cases."""

    auc: float
    hits: float
    scores: list[Array]
    training: float
    inference: float  # of one case


def series_baseline(series: Series, make: Callable[[int, int], Score], seed: int) -> Found:
    values = [case.values for case in series.validation_cases]
    m = choose({m: list(map(make(m, seed), values)) for m in WINDOWS}, series.validation_cases)
    with Clock() as training:
        score = make(m, seed)
    with Clock() as inference:
        scores = [score(case.values) for case in series.test]
    auc, hits = judge(series.test, scores)
    print(f"  a window of {m} points: AUC {auc:.4f}, UCR score {hits:.3f}")
    return Found(auc, hits, scores, training.seconds, inference.seconds / len(series.test))


def both_directions(models: list[Forecaster], series: list[Array], width: int) -> Array:
    ahead = smooth(score_points(models[0], series), width)
    behind = smooth(score_points(models[1], [s[::-1] for s in series]), width)[:, ::-1]
    return np.minimum(ahead, behind)


def forecast_errors(series: Series, updates: int, seed: int) -> tuple[Found, Forecaster, int]:
    """Ours: trained in both directions; also the one that looks ahead, for the stream."""
    with Clock() as training:
        models = [
            train_forecaster(series.train[::d], series.validation[::d], updates, seed)
            for d in (1, -1)
        ]
    values = [case.values for case in series.validation_cases]
    width = choose(
        {w: list(both_directions(models, values, w)) for w in WIDTHS}, series.validation_cases
    )
    with Clock() as inference:  # the archive's case has a length of its own
        scores = [both_directions(models, [series.archive.values], width)[0]]
        scores += list(both_directions(models, [c.values for c in series.test[1:]], width))
    auc, hits = judge(series.test, scores)
    print(f"seed {seed}: forecasts, mean over {width} points: AUC {auc:.4f}, UCR {hits:.3f}")
    seconds = inference.seconds / len(series.test)
    return Found(auc, hits, scores, training.seconds, seconds), models[0], width


def reconstruction_errors(series: Series, updates: int, seed: int) -> Found:
    torch.manual_seed(seed)
    windows = sliding_window_view(series.validation, AUTOENCODER_WINDOW)[::7].T
    held_out = torch.from_numpy(windows.astype(np.float32))
    batch = crops(series.train, AUTOENCODER_WINDOW, 32, seed)
    with Clock() as training:
        model = Autoencoder(series.train)
        fit(model, updates, 0.01, batch, held_out)
    with Clock() as inference:
        scores = [model.score(case.values) for case in series.test]
    auc, hits = judge(series.test, scores)
    print(f"seed {seed}: autoencoder: AUC {auc:.4f}, UCR score {hits:.3f}")
    return Found(auc, hits, scores, training.seconds, inference.seconds / len(series.test))
