"""What `recommender.py` compares with: popularity, item-kNN, and what follows what."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from recommender_data import Data, Movies, Scores, ndcg, places
from report import Clock, need

scipy_sparse = need("scipy.sparse", "scipy")
tqdm = need("tqdm", "tqdm").tqdm

# The baselines. Each is a matrix S of movies by movies: a history's score of movie j is the sum of
# S[i, j] over its movies i, with weights that fade. Popularity settles ties.


def neighbours(train: list[Movies], movies: int, shrink: float, k: int) -> Any:
    """Cosines of the columns of the user-item matrix, the k largest of each movie."""
    rows = np.repeat(np.arange(len(train)), [len(t) for t in train])
    ones = np.ones(len(rows))
    x = scipy_sparse.csr_matrix((ones, (rows, np.concatenate(train))), (len(train), movies))
    count = np.asarray(x.sum(0)).ravel()
    both = (x.T @ x).tocoo()
    cosine = both.data / (np.sqrt(count[both.row] * count[both.col]) + shrink)
    cosine[both.row == both.col] = 0
    result = scipy_sparse.csr_matrix((cosine, (both.row, both.col)), both.shape)
    for begin, end in itertools.pairwise(result.indptr):
        if end - begin > k:
            of_one = result.data[begin:end]
            of_one[of_one < np.partition(of_one, -k)[-k]] = 0
    result.eliminate_zeros()
    return result


def rules(train: list[Movies], movies: int, reach: int) -> Any:
    """How often j came g steps after i, divided by g and summed over g up to `reach`."""
    result = scipy_sparse.csr_matrix((movies, movies))
    for g in range(1, reach + 1):
        before = np.concatenate([t[:-g] for t in train])
        after = np.concatenate([t[g:] for t in train])
        pairs = (np.full(len(before), 1 / g), (before, after))
        result = result + scipy_sparse.csr_matrix(pairs, (movies, movies))
    return result


def faded(matrix: Any, histories: list[Movies], fade: float, popularity: Scores) -> Scores:
    ages = np.concatenate([np.arange(len(h))[::-1] for h in histories])
    rows = np.repeat(np.arange(len(histories)), [len(h) for h in histories])
    weights = np.power(fade, ages)
    kept = weights > 1e-6
    entries = (weights[kept], (rows[kept], np.concatenate(histories)[kept]))
    weighted = scipy_sparse.csr_matrix(entries, (len(histories), matrix.shape[0]))
    scores: Scores = (weighted @ matrix).toarray() + 1e-9 * popularity
    return scores


class Baseline(NamedTuple):
    name: str
    place: npt.NDArray[np.int64]  # of the users' test movies
    training: float
    inference: float


def baselines(data: Data, quick: bool) -> Iterator[Baseline]:
    """All of them, with settings that have the best NDCG@10 on the validation movies."""
    train, validation = data.part(2)
    histories, test = data.part(1)
    movies = len(data.titles)
    with Clock() as fit:
        popularity = np.bincount(np.concatenate(train), minlength=movies).astype(float)
    with Clock() as run:
        place = places(np.tile(popularity, (len(test), 1)), histories, test)
    yield Baseline("most popular", place, fit.seconds, run.seconds)

    near = list(itertools.product((0, 10, 50), (20, 100, 500, movies)))
    far = [(1,), (3,), (10,)] if quick else [(1,), (2,), (3,), (5,), (10,), (20,)]
    fades = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
    families: list[tuple[str, Callable[..., Any], Sequence[tuple[int, ...]], str]] = [
        ("item-kNN", neighbours, near, "shrinkage {}, k {}"),
        ("sequential rules", rules, far, "reach {}"),
    ]
    for family, build, grid, words in families:
        best: dict[str, tuple[float, tuple[int, ...], float]] = {}
        for setting in tqdm(grid, family, disable=None, leave=False):
            matrix = build(train, movies, *setting)
            for fade in (*fades, 1.0):
                name = f"sequential {family}" if family == "item-kNN" and fade < 1 else family
                scores = faded(matrix, train, fade, popularity)
                value = ndcg(places(scores, train, validation))
                best[name] = max(best.get(name, (-1.0, (), 0.0)), (value, setting, fade))
        for name, (_, setting, fade) in sorted(best.items()):
            with Clock() as fit:
                matrix = build(train, movies, *setting)
            with Clock() as run:
                place = places(faded(matrix, histories, fade, popularity), histories, test)
            print(f"{name}: {words.format(*setting)}, fade {fade} (from the validation movies)")
            yield Baseline(name, place, fit.seconds, run.seconds)
