"""Train a character-level language model twice: with torch.nn.LSTM, and with cellgate in its place.

Both models start from the same weights and see the same text in the same order, one step of each
in turn. If the drop-in computes what torch.nn.LSTM does, their losses differ by rounding only; this
program prints by how much, and how long an epoch of each took. In the end it prints some text that
the model wrote. It prints

- the loss of both as they train, and on text that neither has seen, in bits per character;
- the largest difference between the two curves (at most 0.0001 of the loss, else the exit status
  is 1). A mistake in a gradient would part the curves within a few updates. (So would, after a
  few hundred, a learning rate at the edge of what is stable: there every update multiplies the
  differences of rounding, between two kernels of PyTorch's own just as well.)
- seconds per epoch of each.

Run it with `python examples/char_lm.py`; `--quick` takes less than a minute. It reads Python's own
language reference, which comes with Python, or any text with `--text FILE`. With `--picture
FILE.png` (and matplotlib) it draws the curves. Needs: `pip install torch`.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import sys
import time
from pathlib import Path
from typing import NamedTuple

import cellgate

try:
    import torch
except ImportError:
    print("PyTorch is missing: pip install torch", file=sys.stderr)
    raise SystemExit(2) from None
import cellgate.torch

TOLERANCE = 1e-4  # of the loss; a few 1e-6 were measured
NATS_PER_BIT = 0.6931471805599453


class Sizes(NamedTuple):
    """What `--quick` makes smaller."""

    hidden: int
    layers: int
    rows: int  # pieces of the text that are read side by side
    steps: int  # characters between two updates of the weights
    updates: int  # in an epoch, at most


FULL = Sizes(hidden=256, layers=2, rows=32, steps=64, updates=10_000)
QUICK = Sizes(hidden=128, layers=1, rows=24, steps=48, updates=400)

State = tuple[torch.Tensor, torch.Tensor] | None


class Model(torch.nn.Module):
    """Predicts each character from those before it."""

    def __init__(self, characters: int, sizes: Sizes) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(characters, 64)
        self.lstm = torch.nn.LSTM(64, sizes.hidden, sizes.layers, batch_first=True)
        self.output = torch.nn.Linear(sizes.hidden, characters)

    def forward(self, text: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        y, state = self.lstm(self.embedding(text), state)
        return self.output(y), state


class Learner:
    """A model in training: its optimiser, its losses and its time."""

    def __init__(self, name: str, model: Model) -> None:
        self.name, self.model = name, model
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
        self.losses: list[float] = []
        self.seconds = 0.0

    def learn(self, text: torch.Tensor) -> None:
        begin = time.perf_counter()
        logits, _ = self.model(text[:, :-1], None)
        loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), text[:, 1:])
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 0.25)
        self.optimizer.step()
        self.seconds += time.perf_counter() - begin
        self.losses.append(loss.item())

    @torch.no_grad()
    def bits_per_character(self, text: torch.Tensor) -> float:
        logits, _ = self.model(text[None, :-1], None)
        return torch.nn.functional.cross_entropy(logits[0], text[1:]).item() / NATS_PER_BIT

    @torch.no_grad()
    def write(self, start: torch.Tensor, length: int) -> list[int]:
        """Continue a text, each character drawn with the probability that the model gives it."""
        logits, state = self.model(start[None], None)
        written = []
        for _ in range(length):
            drawn = torch.multinomial((1.4 * logits[0, -1]).softmax(0), 1)
            written.append(int(drawn))
            logits, state = self.model(drawn[None], state)
        return written


def read_text(path: Path | None) -> str:
    if path is not None:
        return path.read_text(encoding="utf-8")
    from pydoc_data.topics import topics

    return "\n\n".join(topics[name] for name in sorted(topics))


def pieces(text: torch.Tensor, sizes: Sizes) -> list[torch.Tensor]:
    """Batches (rows, steps + 1); each is as far on in `rows` places of the text."""
    length = len(text) // sizes.rows
    table = text[: length * sizes.rows].reshape(sizes.rows, length)
    starts = range(0, length - sizes.steps, sizes.steps)
    return [table[:, i : i + sizes.steps + 1] for i in starts][: sizes.updates]


def difference(learners: list[Learner]) -> float:
    """The largest between the two curves, as a part of the loss."""
    pairs = zip(*(learner.losses for learner in learners), strict=True)
    return max(abs(a - b) / a for a, b in pairs)


def draw(path: Path, learners: list[Learner]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, sharex=True, height_ratios=(2, 1))
    for learner, style in zip(learners, ("-", "--"), strict=True):
        above.plot([loss / NATS_PER_BIT for loss in learner.losses], style, label=learner.name)
    above.set_ylabel("bits per character")
    above.legend()
    pairs = list(zip(*(learner.losses for learner in learners), strict=True))
    below.semilogy([max(abs(a - b) / a, 1e-9) for a, b in pairs])
    below.set(xlabel="update", ylabel="difference / loss")
    figure.savefig(path, dpi=150)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train one language model with both LSTMs.")
    parser.add_argument("--quick", action="store_true", help="a small model, one epoch")
    parser.add_argument("--epochs", type=int, help="default: 1 with --quick, else 2")
    parser.add_argument("--text", type=Path, help="a file in UTF-8 to learn from")
    parser.add_argument("--picture", type=Path, help="where to draw the curves")
    parser.add_argument("--threads", type=int, default=cellgate.get_num_threads(), help="of both")
    return parser.parse_args()


def main() -> int:
    arguments = options()
    if arguments.picture and not importlib.util.find_spec("matplotlib"):
        print("--picture needs matplotlib: pip install matplotlib", file=sys.stderr)
        return 2
    try:
        text = read_text(arguments.text)
    except (OSError, ValueError) as error:
        print(f"{arguments.text}: {error}", file=sys.stderr)
        return 2
    cellgate.set_num_threads(arguments.threads)
    torch.set_num_threads(arguments.threads)
    sizes = QUICK if arguments.quick else FULL
    epochs = arguments.epochs or (1 if arguments.quick else 2)

    alphabet = sorted(set(text))
    number = {character: i for i, character in enumerate(alphabet)}
    numbers = torch.tensor([number[character] for character in text])
    held_out = numbers[-len(numbers) // 50 :][:20_000]
    batches = pieces(numbers[: len(numbers) - len(held_out)], sizes)
    if not batches or len(held_out) < 100:
        print(f"the text is too short: {len(text)} characters", file=sys.stderr)
        return 2
    print(
        f"{len(text)} characters, {len(alphabet)} different ones; {len(batches)} updates an epoch"
    )

    torch.manual_seed(0)
    theirs = Model(len(alphabet), sizes)
    ours = copy.deepcopy(theirs)
    print(cellgate.torch.accelerate(ours))
    learners = [Learner("torch.nn.LSTM", theirs), Learner("cellgate", ours)]
    for epoch in range(epochs):
        for i, batch in enumerate(batches):
            for learner in learners:
                learner.learn(batch)
            if (i + 1) % 100 == 0 or i + 1 == len(batches):
                losses = [f"{learner.losses[-1] / NATS_PER_BIT:.6f}" for learner in learners]
                print(f"epoch {epoch + 1}, update {i + 1}: {', '.join(losses)} bits per character")
    for learner in learners:
        bits = learner.bits_per_character(held_out)
        print(f"bits per character of new text, {learner.name}: {bits:.4f}")
    for learner in learners:
        print(f"seconds per epoch, {learner.name}: {learner.seconds / epochs:.2f}")
    print(
        f"the model writes: {''.join(alphabet[i] for i in learners[1].write(held_out[:50], 300))}"
    )
    if arguments.picture:
        draw(arguments.picture, learners)
    worst = difference(learners)
    count, verdict = len(learners[0].losses), "ok" if worst <= TOLERANCE else "TOO LARGE"
    print(f"largest difference of the losses in {count} updates: {worst:.1e} ({verdict})")
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
