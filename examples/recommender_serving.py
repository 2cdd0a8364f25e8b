"""Recommend movies with a model that `recommender.py` saved. No torch: NumPy and cellgate only.

    python recommender_serving.py recommender.safetensors --history "Toy Story (1995)" "Heat (1995)"

prints ten movies for a user who watched these, in this order. Without `--history` it reads
titles from standard input, one a line, and recommends anew after each: the state of the LSTM is all
that is kept of a user, and a movie more costs one step. A title may be given in part.
`--histories FILE` is for many users at once: a JSON list of lists of full titles; the answer is a
JSON list with ten pairs (title, logit) for each.

Needs: cellgate, which brings numpy and safetensors.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import cellgate
import numpy as np
from safetensors import safe_open


class Recommender:
    """The model; the state of a user is in a `User`."""

    def __init__(self, path: Path) -> None:
        with safe_open(path, "numpy") as file:
            kept = json.loads(file.metadata()["recommender"])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        self.titles: list[str] = kept["titles"]
        self.number = {title: i for i, title in enumerate(self.titles)}
        self.embedding, self.bias = weights["embedding.weight"], weights["bias"]
        self.weight, self.offset = weights["linear.weight"], weights["linear.bias"]
        self.lstm = cellgate.LSTM(kept["sizes"]["embedding"], kept["sizes"]["hidden"])
        prefix = "lstm."
        self.lstm.load_state_dict(
            {name[len(prefix) :]: w for name, w in weights.items() if name.startswith(prefix)}
        )

    def find(self, text: str) -> int | None:
        """The movie with this title, or the first one that contains the text."""
        if text in self.number:
            return self.number[text]
        found = (i for i, title in enumerate(self.titles) if text.lower() in title.lower())
        return next(found, None)


class User:
    """One user's state."""

    def __init__(self, model: Recommender) -> None:
        self.model, self.stream = model, model.lstm.stream()
        self.last: np.ndarray | None = None  # the LSTM's output and the movie's embedding
        self.seen: set[int] = set()

    def watch(self, movie: int | None) -> None:
        """One step of the LSTM. None is a movie that was too rare in training to be known."""
        x = self.model.embedding[-1 if movie is None else movie]
        self.last = np.concatenate([self.stream.step(x), x])
        if movie is not None:
            self.seen.add(movie)

    def recommend(self, count: int = 10) -> list[tuple[str, float]]:
        """Titles and logits, the best first."""
        model = self.model
        if self.last is None:
            logits = model.bias[:-1].copy()  # began as the movies' popularity
        else:
            query = model.weight @ self.last + model.offset
            logits = (model.embedding @ query + model.bias)[:-1]  # the last symbol is no movie
        logits[list(self.seen)] = -np.inf
        best = np.argsort(-logits, kind="stable")[:count]
        return [(model.titles[i], float(logits[i])) for i in best]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--history", nargs="+", metavar="TITLE", help="in the order watched")
    given.add_argument("--histories", type=Path, metavar="FILE", help="many users, in JSON")
    options = parser.parse_args()
    model = Recommender(options.model)
    if options.histories:
        answers = []
        for history in json.loads(options.histories.read_text(encoding="utf-8")):
            user = User(model)
            for title in history:
                user.watch(model.number.get(title))
            answers.append(user.recommend())
        print(json.dumps(answers))
        return 0
    user = User(model)
    for text in options.history or map(str.strip, sys.stdin):
        movie = model.find(text)
        if movie is None:
            print(f"not among the {len(model.titles)} movies known: {text}", file=sys.stderr)
            continue
        user.watch(movie)
        print(f"watched: {model.titles[movie]}")
        if not options.history:
            print(*(f"  {title}" for title, _ in user.recommend()), sep="\n", flush=True)
    if options.history:
        print(*(title for title, _ in user.recommend()), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
