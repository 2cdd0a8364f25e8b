"""The text of `language_model.py`: where it is from, its parts, and how it becomes numbers."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from report import missing, need

tokenizers = need("tokenizers", "tokenizers")

# Words with the space before them, other marks, spaces, ends of line: no subword crosses these.
# ASCII classes only: they mean the same here and in Python's `re`, which the serving program uses.
PIECES = r" ?[A-Za-z]+| ?[^A-Za-z \n]+| +|\n"
UNKNOWN = "\ufffd"  # instead of characters that the training part does not have, for all methods


def read_text(path: Path | None) -> tuple[str, str]:
    """The text, and where it is from."""
    if path is not None:
        try:
            return path.read_text(encoding="utf-8"), path.name
        except (OSError, ValueError) as error:
            missing(str(path), f"cannot be read as UTF-8 ({error})")
    if program := shutil.which("bible"):
        command = [program, "-f", "mat1:1-rev22:21"]
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        verses = [line.partition(" ")[2] for line in result.stdout.splitlines()]
        if len(verses) > 7_000:  # else the package with the text is not there
            source = "New Testament, King James (Debian's bible-kjv-text; public domain)"
            return "\n".join(verses), source
    try:
        from pydoc_data.topics import topics
    except ImportError:
        missing("a text", "apt install bible-kjv bible-kjv-text, or give one with --text FILE")
    # Topics quote each other, with other indents: what was seen word for word would make the
    # held-out part easy. Each paragraph becomes one line, and counts once.
    paragraphs = [p for name in sorted(topics) for p in topics[name].split("\n\n")]
    lines = dict.fromkeys(" ".join(paragraph.split()) for paragraph in paragraphs)
    return "\n".join(lines), "topics of Python's help() (pydoc_data; PSF licence)"


class Parts(NamedTuple):
    train: str
    validation: str
    test: str


def split(text: str) -> Parts:
    held_out = min(len(text) // 20, 100_000)
    first, second = len(text) - 2 * held_out, len(text) - held_out
    known = set(text[:first])
    rest = "".join(c if c in known else UNKNOWN for c in text[first:])
    return Parts(text[:first], rest[: second - first], rest[second - first :])


class Vocabulary(NamedTuple):
    """How text becomes numbers: characters, and the pairs to merge, in their order."""

    units: list[str]
    merges: list[tuple[str, str]]
    tokenizer: Any

    @classmethod
    def learn(cls, text: str, subwords: int) -> Vocabulary:
        alphabet = sorted({*text, UNKNOWN})
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split(
            tokenizers.Regex(PIECES), "isolated"
        )
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=max(subwords, len(alphabet)),
            initial_alphabet=alphabet,
            show_progress=False,
        )
        tokenizer.train_from_iterator([text], trainer)
        model = json.loads(tokenizer.to_str())["model"]
        units = sorted(model["vocab"], key=model["vocab"].__getitem__)
        return cls(units, [tuple(pair) for pair in model["merges"]], tokenizer)

    def encode(self, text: str) -> np.ndarray:
        numbers = np.array(self.tokenizer.encode(text).ids)
        assert "".join(self.units[i] for i in numbers) == text
        return numbers
