"""What `speech_recognition.py` compares with: hidden Markov models, and dynamic time warping."""

from __future__ import annotations

from typing import Any

import cellgate
import numpy as np
import numpy.typing as npt
from report import need
from speech_recognition_data import Corpus, Floats, Ints, error_rate, strings, word_error_rate

hmm = need("hmmlearn.hmm", "hmmlearn")
dtw_ndim = need("dtaidistance.dtw_ndim", "dtaidistance")
GaussianMixture = need("sklearn.mixture", "scikit-learn").GaussianMixture
tqdm = need("tqdm", "tqdm").tqdm

Doubles = npt.NDArray[np.float64]

STATES = 5  # of each digit: of 5, 6 and 8 those with the fewest errors in the validation part
# To begin another digit. So small since the Gaussians take neighbouring frames as independent,
# which exaggerates all differences; the validation part chooses.
LOOP_PROBABILITIES = (1e-5, 1e-10, 1e-20, 1e-40)
NEIGHBOURS = (1, 3, 5)  # the validation part chooses


def with_deltas(mfcc: Floats) -> Doubles:
    """The usual 39 features of an HMM: MFCC, and their first and second regression over time."""

    def delta(x: Doubles) -> Doubles:
        p = np.pad(x, ((2, 2), (0, 0)), mode="edge")
        return (p[3:-1] - p[1:-3] + 2 * (p[4:] - p[:-4])) / 10

    first = delta(mfcc.astype(np.float64))
    return np.hstack([mfcc, first, delta(first)])


class DigitHMMs:
    """For each digit a chain of states with Gaussian mixtures; joined, a loop of any digits."""

    def __init__(self, corpus: Corpus, mixtures: int, seed: int) -> None:
        self.mixtures = mixtures
        frames = np.concatenate([with_deltas(corpus.mfcc[i]) for i in corpus.train])
        self.mean, self.std = frames.mean(0), frames.std(0)
        self.models = []
        for digit in tqdm(range(10), f"fold {seed}, HMM", disable=None, leave=False):
            numbers = corpus.train[corpus.digit[corpus.train] == digit]
            self.models.append(self.fit([self.features(corpus.mfcc[i]) for i in numbers], seed))
        held_out = strings(corpus.validation, 2, np.random.default_rng(0))
        mfcc, labels = [corpus.string(s) for s in held_out], list(map(corpus.label, held_out))
        loops = [self.loop(probability) for probability in LOOP_PROBABILITIES]
        rates = [word_error_rate(labels, self.decode(mfcc, loop)) for loop in loops]
        self.best = loops[int(np.argmin(rates))]

    def features(self, mfcc: Floats) -> Doubles:
        return (with_deltas(mfcc) - self.mean) / self.std

    def empty(self, states: int, iterations: int, seed: int) -> Any:
        return hmm.GMMHMM(
            states, self.mixtures, covariance_type="diag", min_covar=0.01, init_params="",
            params="tmcw", n_iter=iterations, random_state=seed,
        )  # fmt: skip

    def fit(self, utterances: list[Doubles], seed: int) -> Any:
        """From states of equal length, by some iterations of Baum and Welch."""
        model = self.empty(STATES, 4, seed)
        pieces = zip(*(np.array_split(x, STATES) for x in utterances), strict=True)
        mixtures = [
            GaussianMixture(
                self.mixtures, covariance_type="diag", reg_covar=0.01, random_state=seed
            ).fit(np.concatenate(piece))
            for piece in pieces
        ]
        model.means_ = np.array([m.means_ for m in mixtures])
        model.covars_ = np.array([m.covariances_ for m in mixtures])
        model.weights_ = np.array([m.weights_ for m in mixtures])
        model.startprob_ = np.eye(STATES)[0]
        model.transmat_ = 0.7 * np.eye(STATES) + 0.3 * np.eye(STATES, k=1)
        model.transmat_[-1, -1] = 1
        return model.fit(np.concatenate(utterances), [len(x) for x in utterances])

    def loop(self, probability: float) -> Any:
        """All digits in one model: from the last state of each one may go on to any first one."""
        model = self.empty(10 * STATES, 0, 0)
        for name in ("means_", "covars_", "weights_"):
            setattr(model, name, np.concatenate([getattr(m, name) for m in self.models]))
        firsts = np.tile(np.eye(STATES)[0], 10) / 10
        transitions = np.kron(np.eye(10), np.ones((STATES, STATES)))
        transitions *= np.tile(np.concatenate([m.transmat_ for m in self.models]), 10)
        lasts = np.arange(1, 11) * STATES - 1
        transitions[lasts] = (1 - probability) * transitions[lasts] + probability * firsts
        model.startprob_, model.transmat_ = firsts, transitions
        return model

    def decode(self, mfcc: list[Floats], loop: Any) -> list[str]:
        """A digit for each time that the best path comes to a first state."""
        result = []
        for x in mfcc:
            _, path = loop.decode(self.features(x))
            moved = np.diff(path, prepend=-1) != 0
            result.append("".join(map(str, path[moved & (path % STATES == 0)] // STATES)))
        return result

    def isolated(self, mfcc: list[Floats]) -> Ints:
        features = map(self.features, mfcc)
        return np.array([np.argmax([m.score(x) for m in self.models]) for x in features])


class NearestNeighbours:
    """Dynamic time warping to every utterance of the training part, and a weighted vote."""

    def __init__(self, corpus: Corpus) -> None:
        frames = corpus.string(corpus.train)
        self.mean, self.std = frames.mean(0), frames.std(0)
        self.templates = [self.normalised(corpus.mfcc[i]) for i in corpus.train]
        self.digit = corpus.digit[corpus.train]
        distance = self.distance([corpus.mfcc[i] for i in corpus.validation])
        rates = [error_rate(corpus, corpus.validation, self.vote(distance, k)) for k in NEIGHBOURS]
        self.k = NEIGHBOURS[int(np.argmin(rates))]

    def normalised(self, mfcc: Floats) -> Doubles:
        return ((mfcc - self.mean) / self.std).astype(np.float64)

    def distance(self, mfcc: list[Floats]) -> Doubles:
        """(utterances, templates)."""
        together = [*map(self.normalised, mfcc), *self.templates]
        block = ((0, len(mfcc)), (len(mfcc), len(together)), False)
        parallel = cellgate.get_num_threads() > 1
        flat = dtw_ndim.distance_matrix_fast(together, block=block, compact=True, parallel=parallel)
        return np.asarray(flat).reshape(len(mfcc), -1)

    def vote(self, distance: Doubles, k: int) -> Ints:
        near = np.argsort(distance, axis=1)[:, :k]
        weight = 1 / np.maximum(np.take_along_axis(distance, near, 1), 1e-9)
        votes = np.eye(10)[self.digit[near]] * weight[..., None]
        return votes.sum(1).argmax(1)

    def isolated(self, mfcc: list[Floats]) -> Ints:
        return self.vote(self.distance(mfcc), self.k)
