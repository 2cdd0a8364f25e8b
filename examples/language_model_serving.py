"""Let the model that language_model.py saved write text, or compute its bits for a text.

Needs NumPy, safetensors and cellgate, and no torch. Text is written token by token through streams,
which keep the state: `python examples/language_model_serving.py language_model.safetensors --prompt
"And it came to pass"` writes 500 tokens. `--score FILE` prints the bits per character of a text
instead, which are few for text like that of the training.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from itertools import pairwise
from pathlib import Path

import cellgate
import numpy as np
from safetensors import safe_open


class Writer:
    """The saved model: embedding, LSTM layers of which all but the first add to their input."""

    def __init__(self, path: Path) -> None:
        with safe_open(path, framework="np") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            sizes = {name: json.loads(text) for name, text in file.metadata().items()}
        self.units: list[str] = sizes["units"]
        self.number = {unit: i for i, unit in enumerate(self.units)}
        self.ranks = {tuple(pair): rank for rank, pair in enumerate(sizes["merges"])}
        self.pieces, self.unknown = re.compile(sizes["pieces"]), sizes["unknown"]
        self.embedding, self.bias = weights["embedding.weight"], weights["output.bias"]
        self.layers = []
        for k in range(sizes["layers"]):
            prefix = f"layers.{k}."
            lstm = cellgate.LSTM(sizes["width"], sizes["width"])
            lstm.load_state_dict(
                {n.removeprefix(prefix): w for n, w in weights.items() if n.startswith(prefix)}
            )
            self.layers.append(lstm)
        self.streams = [lstm.stream() for lstm in self.layers]

    def encode(self, text: str) -> list[int]:
        """The numbers of its units: of all neighbours, the pair learned first is merged first."""
        numbers = []
        for piece in self.pieces.findall(text):
            parts = [c if c in self.number else self.unknown for c in piece]
            while len(parts) > 1:
                ranks = [self.ranks.get(pair, len(self.ranks)) for pair in pairwise(parts)]
                best = int(np.argmin(ranks))
                if ranks[best] == len(self.ranks):
                    break
                parts[best : best + 2] = ["".join(parts[best : best + 2])]
            numbers += [self.number[part] for part in parts]
        return numbers

    def logits(self, x: np.ndarray) -> np.ndarray:
        """Of what follows each of the tokens x, (T,), or a single one, after those before it."""
        x = self.embedding[x]
        for k, stream in enumerate(self.streams):
            y = stream.step(x) if x.ndim == 1 else stream.run(x)
            x = x + y if k else y
        return x @ self.embedding.T + self.bias

    def write(self, prompt: str, tokens: int, temperature: float, seed: int) -> str:
        """Continue the prompt; each token is drawn with the probability that the model gives it."""
        rng, written = np.random.default_rng(seed), []
        logits = self.logits(np.array(self.encode(prompt)))[-1]
        for _ in range(tokens):
            sums = np.exp((logits - logits.max()) / temperature).cumsum()
            written.append(int(np.searchsorted(sums, rng.random() * sums[-1])))
            logits = self.logits(written[-1])
        return "".join(self.units[i] for i in written)

    def bits(self, text: str, chunk: int = 4096) -> np.ndarray:
        """-log2 of the probability of each token after the first."""
        numbers, result = np.array(self.encode(text)), []
        for i in range(0, len(numbers) - 1, chunk):
            after = numbers[i + 1 : i + chunk + 1]
            logits = self.logits(numbers[i : i + len(after)]).astype(np.float64)
            logits -= logits.max(axis=1, keepdims=True)
            sums = np.log(np.exp(logits).sum(axis=1))
            result.append((sums - logits[np.arange(len(after)), after]) / np.log(2))
        return np.concatenate(result)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="language_model.safetensors")
    parser.add_argument("--prompt", default="And ", help="what to continue")
    parser.add_argument("--tokens", type=int, default=500, help="to write")
    parser.add_argument("--temperature", type=float, default=0.7, help="1: as the model says")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    parser.add_argument("--score", type=Path, help="print the bits per character of this text")
    parser.add_argument(
        "--bits", type=Path, help="with --score: .npy file for the bits of each token"
    )
    options = parser.parse_args()
    for path in filter(None, (options.model, options.score)):
        if not path.is_file():
            parser.error(f"there is no file {path}")
    if options.bits and not options.score:
        parser.error("--bits: is of the text that --score names")
    if not options.prompt:
        parser.error("--prompt: must have at least one character")
    writer = Writer(options.model)
    if options.score:
        text = options.score.read_text(encoding="utf-8")
        bits = writer.bits(text)
        print(f"{bits.sum() / len(text):.4f} bits per character of {len(text):,}")
        if options.bits:
            np.save(options.bits, bits)
        return 0
    begin = time.perf_counter()
    text = writer.write(options.prompt, options.tokens, options.temperature, options.seed)
    rate = options.tokens / (time.perf_counter() - begin)
    print(options.prompt + text)
    print(f"{rate:.0f} tokens per second")
    return 0


if __name__ == "__main__":
    sys.exit(main())
