"""Model English text with LSTMs, by characters and by subwords, and let one of them write.

Two language models learn the same text: one reads characters, the other subwords (byte-pair
encoding, learned from the training part), and both are regularised like the AWD-LSTM of Merity,
Keskar and Socher (2017): weight drop on the recurrent weights, the same dropout mask at every step
between embedding, LSTM layers and output, tied embeddings. Baselines are xz and modified Kneser-Ney
n-grams over the same characters and subwords, of the order that is best on the validation part. All
are given in bits per character of the same held-out text, so that they compare. "LSTM + n-gram"
mixes the probabilities of the two, with one weight, chosen on the validation part.

The text is the first of these that is there:

- `--text FILE`, in UTF-8;
- the New Testament of the King James Bible, 0.9 million characters, from Debian's and Ubuntu's
  packages (`apt install bible-kjv-text bible-kjv`; the text is in the public domain, the program
  that unpacks it is under the GPL, version 2 or later);
- the topics of Python's `help()`, 0.35 million characters without the paragraphs that are there
  more than once; they come with Python (PSF licence).

The last 5 % (at most 100,000 characters) is the test part, as much before it the validation part.
The program prints the losses as the models train, the final table, the time of nn.LSTM beside ours,
and a text that the saved model wrote in a process without torch (language_model_serving.py). It
draws the losses, and a held-out passage with the surprise at each token. `--quick` takes about half
a minute; so short a training leaves the LSTMs behind the n-grams, and only the mixture is ahead.
Needs: `pip install torch tokenizers matplotlib tqdm`.
"""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cellgate
import numpy as np
from language_model_baselines import KneserNey, xz_size
from language_model_text import PIECES, UNKNOWN, Parts, Vocabulary, read_text, split
from report import Clock, Table, arguments, missing, need, picture, side_by_side, without_torch

torch = need("torch", "torch")
import cellgate.torch  # noqa: E402
from language_model_network import (  # noqa: E402
    LanguageModel,
    Sizes,
    plain_weights,
    same_step,
    train,
)
from safetensors.torch import save_file  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.functional import cross_entropy  # noqa: E402

METRIC = "bits per character"
SERVING = Path(__file__).with_name("language_model_serving.py")
SHARES = np.linspace(0, 1, 51)  # of the LSTM in a mixture
MINIMUM = 50_000  # characters


FULL = {
    "characters": Sizes(0, 10, 256, 1, 0.05, 0.05, 16, 80, 4e-3, 2_000_000),
    "subwords": Sizes(1000, 6, 256, 1, 0.25, 0.25, 16, 40, 4e-3, 2_300_000),
}
QUICK = {
    "characters": Sizes(0, 10, 160, 1, 0.0, 0.05, 16, 64, 6e-3, 200_000),
    "subwords": Sizes(500, 6, 160, 1, 0.15, 0.15, 8, 40, 6e-3, 450_000),
}
QUICK_CHARACTERS = 200_000


def mixed(weight: float, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Bits of the mixture of two models, from theirs."""
    return -np.log2(weight * 2.0**-a + (1 - weight) * 2.0**-b)


def times_beside_torch(model: LanguageModel, sizes: Sizes, text: np.ndarray, table: Table) -> None:
    """nn.LSTM in the same model: a training step, and text read and written in one stream."""
    kinds = len(model.embedding.weight)
    ours, theirs = (LanguageModel(kinds, sizes, lstm) for lstm in (cellgate.torch.LSTM, nn.LSTM))
    for each in (ours, theirs):
        each.load_state_dict(model.state_dict())
    piece = torch.from_numpy(text[: sizes.rows * (sizes.steps + 1)]).view(sizes.rows, -1).T
    same_step(ours, theirs, piece)

    def step(model: LanguageModel, optimizer: torch.optim.Optimizer) -> None:
        logits, _ = model(piece[:-1])
        optimizer.zero_grad()
        cross_entropy(logits.flatten(0, 1), piece[1:].flatten()).backward()
        optimizer.step()

    steps = [partial(step, m.train(), torch.optim.AdamW(m.parameters())) for m in (ours, theirs)]
    table.note("Training step: " + side_by_side(*steps)[2])

    weights = plain_weights(model)
    weights["output.weight"] = weights["embedding.weight"]
    plain = []  # without weight drop, which acts in training only
    for lstm in (cellgate.torch.LSTM, nn.LSTM):
        plain.append(LanguageModel(kinds, sizes._replace(weight_drop=0.0), lstm).eval())
        plain[-1].load_state_dict(weights)
    reads = [partial(m.bits, text[1:4096], int(text[0])) for m in plain]
    np.testing.assert_allclose(reads[0](), reads[1](), rtol=1e-3, atol=1e-4)
    table.note("Reading 4095 tokens in one stream: " + side_by_side(*reads)[2])

    def write(model: LanguageModel) -> None:
        token, state = torch.zeros((1, 1), dtype=torch.int64), None
        for _ in range(300):
            logits, state = model(token, state)
            token = torch.multinomial(logits[0].softmax(1), 1)

    with torch.inference_mode():
        a, b, _ = side_by_side(*[partial(write, m) for m in plain], rounds=3)
    table.note(
        f"Writing text, step by step: {300 / a:.0f} tokens per second with cellgate.torch.LSTM, "
        f"{300 / b:.0f} with torch.nn.LSTM"
    )


class Best(NamedTuple):
    """The model with the best validation part so far, and what it needs."""

    validation: float
    unit: str
    model: LanguageModel
    sizes: Sizes
    vocabulary: Vocabulary
    tokens: list[np.ndarray]  # of the three parts
    bits: np.ndarray  # of the tokens of the test part


def study(
    unit: str, sizes: Sizes, parts: Parts, seeds: int, table: Table, curves: dict[str, Any]
) -> Best:
    """Baseline and LSTMs over one kind of unit; the rows of the table."""
    vocabulary = Vocabulary.learn(parts.train, sizes.subwords)
    tokens = [vocabulary.encode(part) for part in parts]
    scales = [len(t) / len(part) for t, part in zip(tokens, parts, strict=True)]
    kinds = len(vocabulary.units)
    print(f"{unit}: {kinds} different ones, {1 / scales[0]:.2f} characters each")

    with Clock() as fitting:
        ngrams = KneserNey(tokens[0], kinds, sizes.orders)
    validation = ngrams.bits(tokens[1])
    order = min(range(sizes.orders), key=lambda n: validation[n].mean())
    with Clock() as reading:
        ngram_test = ngrams.bits(tokens[2])[order]
    ngram_validation = validation[order]
    value = ngram_validation.mean() * scales[1]
    print(f"Kneser-Ney {order + 1}-grams of {unit}: validation {value:.3f} bits per character")
    table.add(
        f"Kneser-Ney {order + 1}-gram, {unit}",
        {METRIC: [ngram_test.mean() * scales[2]]},
        fitting.seconds,
        reading.seconds,
    )

    best, training, inference = None, [], []
    alone, together, weights = [], [], []
    curves[unit] = {"n-gram": value, "ours": []}
    for seed in range(seeds):
        torch.manual_seed(seed)
        model = LanguageModel(kinds, sizes, cellgate.torch.LSTM)
        with Clock() as clock:
            curve = train(f"{unit}, seed {seed}", model, sizes, tokens[0], tokens[1], scales[1])
        training.append(clock.seconds)
        curves[unit]["ours"].append([(t / scales[0], bits) for t, bits in curve])
        a = model.bits(tokens[1], int(tokens[0][-1]))
        means = [mixed(w, a, ngram_validation).mean() for w in SHARES]
        weights.append(SHARES[int(np.argmin(means))])
        with Clock() as clock:
            bits = model.bits(tokens[2], int(tokens[1][-1]))
        inference.append(clock.seconds)
        alone.append(bits.mean() * scales[2])
        together.append(mixed(weights[-1], bits, ngram_test).mean() * scales[2])
        if best is None or a.mean() * scales[1] < best.validation:
            validated = float(a.mean() * scales[1])
            best = Best(validated, unit, model, sizes, vocabulary, tokens, bits)
    assert best is not None
    seconds, reads = float(np.mean(training)), float(np.mean(inference))
    table.add(f"LSTM, {unit}", {METRIC: alone}, seconds, reads, ours=True)
    table.add(
        f"LSTM + n-gram, {unit}",
        {METRIC: together},
        seconds + fitting.seconds,
        reads + reading.seconds,
        ours=True,
    )
    print(f"weight of the LSTM beside the n-grams, {unit}: {np.mean(weights):.2f}")
    return best


def draw(path: Path, curves: dict[str, Any], best: Best) -> None:
    """The losses as the models train, and the surprise at each token of a held-out passage."""
    with picture(path, 11, 8) as figure:
        above, below = figure.subplots(2)
        for (unit, lines), color in zip(curves.items(), ("tab:blue", "tab:orange"), strict=True):
            for k, line in enumerate(lines["ours"]):
                label = f"LSTM, {unit}" if k == 0 else None
                x, y = zip(*line, strict=True)
                above.plot(np.array(x) / 1e6, y, ".-", color=color, label=label)
            above.axhline(lines["n-gram"], color=color, ls="--", label=f"Kneser-Ney, {unit}")
        above.set(
            xlabel="million characters read in training",
            ylabel="bits per character",
            title="Validation part",
        )
        above.set_ylim(top=min(above.get_ylim()[1], 2.2 * min(y)))
        above.legend()
        columns, rows = 96, 14
        units = [best.vocabulary.units[i] for i in best.tokens[2][: columns * rows]]
        cells = [
            (c, bits)
            for unit, bits in zip(units, best.bits, strict=False)
            for c in unit.replace("\n", "¶")
        ][: columns * rows]
        surprise = np.zeros(columns * rows)
        surprise[: len(cells)] = [bits for _, bits in cells]
        image = below.imshow(
            surprise.reshape(rows, columns), cmap="Reds", vmin=0, vmax=10, aspect="auto", alpha=0.8
        )
        for i, (c, _) in enumerate(cells):
            below.text(i % columns, i // columns, c, family="monospace", ha="center", va="center")
        below.set_axis_off()
        below.set_title(f"Held-out text, by the surprise at each token (LSTM, {best.unit})")
        figure.colorbar(image, ax=below, label="bits", shrink=0.8)


def save(path: Path, best: Best) -> None:
    """The weights and all that the serving program needs to read and write text."""
    weights = plain_weights(best.model)
    metadata = {
        "units": best.vocabulary.units,
        "merges": best.vocabulary.merges,
        "pieces": PIECES,
        "unknown": UNKNOWN,
        "width": best.sizes.width,
        "layers": best.sizes.layers,
    }
    save_file(weights, path, metadata={name: json.dumps(value) for name, value in metadata.items()})


def serve(output: Path, best: Best, parts: Parts, table: Table) -> None:
    """Reload the model without torch: the bits for the test part must agree, and it writes text."""
    path = output / "language_model.safetensors"
    save(path, best)
    with tempfile.TemporaryDirectory() as folder:
        text, result = Path(folder, "test.txt"), Path(folder, "bits.npy")
        text.write_text(parts.test, encoding="utf-8")
        without_torch(SERVING, path, "--score", text, "--bits", result)
        first, *rest = best.tokens[2]
        if not np.allclose(np.load(result), best.model.bits(np.array(rest), first), atol=1e-3):
            raise AssertionError("the model that was reloaded without torch differs")
    written = without_torch(SERVING, path, "--prompt", parts.test[:60], "--tokens", "500")
    text, _, rate = written.rstrip().rpartition("\n")
    print(f"\nThe model goes on from the first 60 characters of the test part:\n\n{text}\n")
    table.note(f"... and {rate} without torch, through cellgate's streams")


def main() -> int:
    options = arguments(
        __doc__, ("--text", {"type": Path, "help": "a file in UTF-8 to learn from"})
    )
    torch.set_num_threads(cellgate.get_num_threads())
    text, source = read_text(options.text)
    if options.quick:
        text = text[-QUICK_CHARACTERS:]
    if len(text) < MINIMUM:
        missing("text", f"at least {MINIMUM:,} characters are needed, there are {len(text):,}")
    parts = split(text)
    sizes = [f"{len(part):,}" for part in parts]
    print(f"{source}: {', '.join(sizes)} characters to train, validate and test on")
    table = Table(
        "language_model",
        "Language models of English text: bits per character of text never seen",
        {METRIC: "lower"},
        "the test part",
        f"{source}, {sizes[0]} characters to train, {sizes[2]} to test on",
    )
    xz = "xz -9e, after the training part"
    with Clock() as clock:
        compressed = xz_size(parts.train + parts.test) - xz_size(parts.train)
    table.add(xz, {METRIC: [8 * compressed / len(parts.test)]}, None, clock.seconds)
    curves: dict[str, Any] = {}
    configurations = QUICK if options.quick else FULL
    results = [
        study(unit, sizes, parts, options.seeds, table, curves)
        for unit, sizes in configurations.items()
    ]
    best = min(results, key=lambda result: result.validation)
    times_beside_torch(best.model, best.sizes, best.tokens[0], table)
    serve(options.output, best, parts, table)
    draw(options.output / "language_model.png", curves, best)
    return table.finish(options.output, options.quick)


if __name__ == "__main__":
    raise SystemExit(main())
