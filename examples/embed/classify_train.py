"""Train the classifier that `classify` serves: `python classify_train.py FOLDER`.

Handwritten digits of 8 x 8 pixels (scikit-learn's), read as sequences of rows from the top down to
the last row with ink. Writes to FOLDER

- `digits.safetensors`, the classifier,
- `sequences.txt`, digits it has not seen, as `classify` reads them,
- `probabilities.txt`, what Python says of these.

Needs: `pip install 'cellgate[sklearn]'`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from cellgate.estimators import LSTMClassifier
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: classify_train.py FOLDER", file=sys.stderr)
        return 2
    folder = Path(sys.argv[1])
    images, labels = load_digits(return_X_y=True)
    sequences = []
    for image in images.reshape(-1, 8, 8):
        inked = np.flatnonzero(image.any(axis=1))
        sequences.append(image[: inked[-1] + 1].astype(np.float32))
    seen, unseen, digits, answers = train_test_split(
        sequences, labels, test_size=200, random_state=0
    )
    model = LSTMClassifier(32, learning_rate=0.01, max_epochs=15, random_state=0)
    model.fit(seen, digits)
    print(f"accuracy on {len(unseen)} digits not seen: {model.score(unseen, answers):.3f}")

    model.save(folder / "digits.safetensors")
    np.savetxt(folder / "probabilities.txt", model.predict_proba(unseen), fmt="%.9g")
    with open(folder / "sequences.txt", "w", encoding="utf-8") as file:
        for sequence in unseen:
            print(len(sequence), *sequence.ravel(), file=file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
