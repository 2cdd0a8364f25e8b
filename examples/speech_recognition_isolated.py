"""Isolated digits for `speech_recognition.py`: LSTMs that hear a whole utterance, without torch.

Some `cellgate.estimators.LSTMClassifier`, each trained from another start on other altered copies
of the utterances; the mean of their probabilities decides.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from cellgate.estimators import LSTMClassifier
from report import need, without_torch
from speech_recognition_data import Corpus, Floats, Ints, augment

joblib = need("joblib", "joblib")
tqdm = need("tqdm", "tqdm").tqdm

COPIES = 12  # of each utterance, each altered in another way
PASSES = 2  # over all copies
SERVING = Path(__file__).with_name("speech_recognition_serving.py")


class IsolatedDigits:
    """Several classifiers that vote."""

    def __init__(self, corpus: Corpus, networks: int, seed: int) -> None:
        std = corpus.string(corpus.train).std(0)
        digits = np.tile(corpus.digit[corpus.train], COPIES)
        self.models = []
        for k in tqdm(range(networks), f"seed {seed}, isolated", disable=None, leave=False):
            rng = np.random.default_rng((seed, k))
            copies = [
                augment(corpus.mfcc[i], std, rng) for _ in range(COPIES) for i in corpus.train
            ]
            model = LSTMClassifier(
                96, 2, bidirectional=True, dropout=0.3, pooling="mean", learning_rate=5e-3,
                max_epochs=PASSES, early_stopping=False, random_state=k,
            )  # fmt: skip
            self.models.append(model.fit(copies, digits))

    def isolated(self, mfcc: list[Floats]) -> Ints:
        return np.mean([model.predict_proba(mfcc) for model in self.models], axis=0).argmax(1)

    def serve(self, path: Path, mfcc: list[Floats]) -> None:
        """Save the classifiers; read without torch, they must find the same."""
        joblib.dump(self.models, path)
        spoken = path.with_suffix(".utterances.npz")
        np.savez(spoken, **{f"{k:04}": x for k, x in enumerate(mfcc)})
        answer = json.loads(without_torch(SERVING, path, spoken, "--json"))
        if list(answer.values()) != self.isolated(mfcc).tolist():
            raise AssertionError(f"{path}: without torch other digits were heard")
        spoken.unlink()
