"""Recognise spoken digits with a model that `speech_recognition.py` saved, without torch.

    python speech_recognition_serving.py MODEL.safetensors STRINGS.npz

reads MFCC, one array (frames, 13) for each name in the file, and prints name and digits of each. A
bidirectional model sees each string as a whole. A unidirectional one is fed frame by frame, as from
a microphone, and names each digit at once: `--frames` prints the frame of each, and the last line
tells how long a frame took. `--json` prints the same for a program, and `--save FILE.npz` keeps the
log-probabilities of the alphabet at each frame.

    python speech_recognition_serving.py MODEL.joblib UTTERANCES.npz

tells isolated digits with the classifiers that it saved. A file of joblib is a pickle: read none
that you do not trust.

Needs: cellgate, which brings numpy and safetensors; for classifiers also joblib and scikit-learn.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import cellgate
import numpy as np
import numpy.typing as npt
from safetensors import safe_open

Floats = npt.NDArray[np.float32]


class Recogniser:
    """The weights. Many strings may be heard at the same time; each has a stream of its own."""

    def __init__(self, path: Path) -> None:
        with safe_open(path, "numpy") as file:
            kept = json.loads(file.metadata()["speech_recognition"])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        self.alphabet: str = kept["alphabet"]
        self.mean, self.std = weights["mean"], weights["std"]
        self.weight, self.bias = weights["linear.weight"], weights["linear.bias"]
        self.end = np.zeros((kept["end"], len(self.mean)), np.float32)
        self.lstm = cellgate.LSTM(len(self.mean), **kept["sizes"])
        prefix = "lstm."
        self.lstm.load_state_dict(
            {name[len(prefix) :]: w for name, w in weights.items() if name.startswith(prefix)}
        )

    def frames(self, mfcc: Floats) -> Floats:
        """The frames as the network expects them, and those that say that nothing follows."""
        return np.concatenate([(mfcc - self.mean) / self.std, self.end])

    def log_probabilities(self, output: Floats) -> Floats:
        """Linear layer and log-softmax, of one frame or many."""
        logits = output @ self.weight.T + self.bias
        logits -= logits.max(-1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def new_digits(alphabet: str, best: npt.NDArray[np.intp]) -> list[tuple[int, str]]:
    """CTC's best path: where it comes to a symbol that is not the blank; frame and digit."""
    begins = np.flatnonzero((np.diff(best, prepend=0) != 0) & (best != 0))
    return [(int(frame), alphabet[best[frame]]) for frame in begins]


def listen(
    model: Recogniser, mfcc: Floats, times: list[float]
) -> tuple[Floats, list[tuple[int, str]]]:
    """Frame by frame: log-probabilities, and each digit as soon as it is heard, with its frame."""
    stream, last = model.lstm.stream(), 0
    rows, heard = [], []
    for number, frame in enumerate(model.frames(mfcc)):
        begin = time.perf_counter()
        row = model.log_probabilities(stream.step(frame))
        best = int(row.argmax())
        if best not in (last, 0):
            heard.append((number, model.alphabet[best]))
        last = best
        times.append(time.perf_counter() - begin)
        rows.append(row)
    return np.stack(rows), heard


def isolated(path: Path, utterances: dict[str, Floats]) -> dict[str, int]:
    """The digit of each utterance: the classifiers vote with their probabilities."""
    import joblib

    models = joblib.load(path)
    votes = sum(model.predict_proba(list(utterances.values())) for model in models)
    digits = models[0].classes_[votes.argmax(1)].tolist()
    return dict(zip(utterances, digits, strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("strings", type=Path, help="an .npz of MFCC")
    parser.add_argument("--frames", action="store_true", help="also tell when each digit was heard")
    parser.add_argument("--json", action="store_true", help="print for a program")
    parser.add_argument("--save", type=Path, help="where to write the log-probabilities")
    options = parser.parse_args()
    if options.model.suffix == ".joblib":
        if options.frames or options.save:
            parser.error("--frames and --save: classifiers (.joblib) hear an utterance as a whole")
        with np.load(options.strings) as file:
            found = isolated(options.model, {name: file[name] for name in file.files})
        print(
            json.dumps(found) if options.json else "\n".join(f"{k}: {d}" for k, d in found.items())
        )
        return 0
    model = Recogniser(options.model)
    saved, answers, times = {}, {}, []
    with np.load(options.strings) as strings:
        for name in strings.files:
            if model.lstm.bidirectional:
                saved[name] = model.log_probabilities(model.lstm(model.frames(strings[name]))[0])
                answers[name] = new_digits(model.alphabet, saved[name].argmax(-1))
            else:
                saved[name], answers[name] = listen(model, strings[name], times)
    if options.save:
        np.savez(options.save, **saved)
    if options.json:
        print(json.dumps({"heard": answers, "seconds": times}))
        return 0
    for name, heard in answers.items():
        digits = "".join(digit for _, digit in heard)
        when = ", at frames " + ", ".join(str(frame) for frame, _ in heard)
        print(f"{name}: {digits}{when if options.frames else ''}")
    if times:
        middle, late = 1e6 * np.percentile(times, (50, 99))
        print(f"{middle:.1f} µs for a frame (median; 99 in 100 took less than {late:.1f} µs)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
