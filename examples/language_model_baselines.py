"""What `language_model.py` compares with: n-grams, and xz."""

from __future__ import annotations

import lzma
from typing import Any

import numpy as np


class KneserNey:
    """Interpolated modified Kneser-Ney n-grams (Chen and Goodman 1999) of all orders up to one."""

    def __init__(self, text: np.ndarray, vocabulary: int, orders: int) -> None:
        self.vocabulary = vocabulary
        self.levels: list[dict[str, Any]] = []
        context, last = np.zeros(len(text), np.int64), None
        for n in range(orders + 1):
            # A gram's key is the number of its context, which is a gram of one less, and its last.
            keys, first, number, counts = np.unique(
                context * vocabulary + text[n:],
                return_index=True,
                return_inverse=True,
                return_counts=True,
            )
            if last is not None:  # lower orders count in how many contexts a gram occurs
                continued = np.bincount(last[1:][first], minlength=len(self.levels[-1]["keys"]))
                self.levels[-1]["lower"] = self.statistics(self.levels[-1]["keys"], continued)
            self.levels.append({"keys": keys, "highest": self.statistics(keys, counts)})
            context, last = number[:-1], number

    def statistics(self, keys: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, ...]:
        """Of each gram the discounted count, of each context the total and what was discounted."""
        ones, twos, threes, fours = (max(1, np.count_nonzero(counts == k)) for k in (1, 2, 3, 4))
        y = ones / (ones + 2 * twos)
        some = [1 - 2 * y * twos / ones, 2 - 3 * y * threes / twos, 3 - 4 * y * fours / threes]
        discount = np.clip([0, *some], 0, [0, 1, 2, 3])[np.minimum(counts, 3)]
        contexts = keys // self.vocabulary
        total = np.bincount(contexts, counts)
        return np.maximum(counts - discount, 0), total, np.bincount(contexts, discount)

    def bits(self, text: np.ndarray) -> list[np.ndarray]:
        """-log2 of the probability of each token: one array for each order, from 1."""
        result = []
        lower = np.full(len(text), 1 / self.vocabulary)
        context = np.zeros(len(text), np.int64)  # -1 where training has not seen it
        for level in self.levels:
            keys = context * self.vocabulary + text
            number = np.minimum(np.searchsorted(level["keys"], keys), len(level["keys"]) - 1)
            seen = (level["keys"][number] == keys) & (context >= 0)

            def probability(statistics: tuple[np.ndarray, ...]) -> np.ndarray:
                discounted, total, rest = statistics
                # No token follows a context at the end of the training text.
                inside = (context >= 0) & (context < len(total))  # noqa: B023
                at = np.where(inside, context, 0)  # noqa: B023
                inside &= total[at] > 0
                mass = np.where(seen, discounted[number], 0) + rest[at] * lower  # noqa: B023
                return np.where(inside, mass / np.maximum(total[at], 1), lower)  # noqa: B023

            result.append(-np.log2(probability(level["highest"])))
            if "lower" in level:
                lower = probability(level["lower"])
            number = np.where(seen, number, -1)
            context = np.concatenate([[-1], number[:-1]])
        return result[:-1]


def xz_size(text: str) -> int:
    return len(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))
