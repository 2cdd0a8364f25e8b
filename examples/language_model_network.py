"""The language model of language_model.py and its training; not a program."""

from __future__ import annotations

import copy
import math
from typing import NamedTuple

import numpy as np
from report import need

torch = need("torch", "torch")
tqdm = need("tqdm", "tqdm").tqdm
from torch import nn  # noqa: E402
from torch.nn.functional import cross_entropy, dropout  # noqa: E402
from torch.nn.utils import parametrize  # noqa: E402


class Sizes(NamedTuple):
    """A model and its training."""

    subwords: int  # in the vocabulary; 0 for characters
    orders: int  # of n-grams, at most
    width: int  # of the embedding and of each layer
    layers: int
    dropout: float  # of the values between layers
    weight_drop: float  # of the recurrent weights
    rows: int  # places of the text that are read side by side
    steps: int  # between two updates
    learning_rate: float
    tokens: int  # to read in all: what decides on the number of epochs


class WeightDrop(nn.Module):
    """A parametrization: at each update other recurrent weights are zero (Merity et al. 2017)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return dropout(weight, self.p, self.training)


class LockedDropout(nn.Module):
    """One mask for all time steps of a row (Gal and Ghahramani 2016)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (T, B, width)
        return x * dropout(torch.ones_like(x[:1]), self.p, self.training)


State = list[tuple[torch.Tensor, torch.Tensor]]


class LanguageModel(nn.Module):
    """Predicts each token from those before it."""

    def __init__(self, vocabulary: int, sizes: Sizes, lstm: type[nn.LSTM]) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, sizes.width)
        self.layers = nn.ModuleList(lstm(sizes.width, sizes.width) for _ in range(sizes.layers))
        self.dropout = LockedDropout(sizes.dropout)
        self.output = nn.Linear(sizes.width, vocabulary)
        self.output.weight = self.embedding.weight  # tied
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        nn.init.zeros_(self.output.bias)
        for layer in self.layers if sizes.weight_drop else ():
            drop = WeightDrop(sizes.weight_drop)
            parametrize.register_parametrization(layer, "weight_hh_l0", drop)

    def forward(self, text: torch.Tensor, state: State | None = None) -> tuple[torch.Tensor, State]:
        x, new = self.dropout(self.embedding(text)), []
        for k, layer in enumerate(self.layers):
            with parametrize.cached():  # nn.LSTM reads its weights twice: both times the same mask
                y, final = layer(x, None if state is None else state[k])
            x = self.dropout(x + y if k else y)  # with the sum, two layers learn as early as one
            new.append(final)
        return self.output(x), new

    @torch.no_grad()
    def bits(self, text: np.ndarray, before: int, chunk: int = 4096) -> np.ndarray:
        """-log2 of the probability of each token, after the token `before`, in one stream."""
        self.eval()
        numbers, state, parts = torch.from_numpy(np.concatenate([[before], text])), None, []
        for i in range(0, len(text), chunk):
            piece = numbers[i : i + chunk + 1, None]
            logits, state = self(piece[:-1], state)
            parts.append(cross_entropy(logits[:, 0], piece[1:, 0], reduction="none"))
        return torch.cat(parts).double().numpy() / math.log(2)


def train(
    name: str, model: LanguageModel, sizes: Sizes, text: np.ndarray, valid: np.ndarray, scale: float
) -> list[tuple[float, float]]:
    """Train, and end with the weights that were best on the validation part.

    Returns (tokens read, validation bits per character); `scale` is tokens to a character.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, lr=sizes.learning_rate, betas=(0.9, 0.99), weight_decay=0.01
    )
    length = len(text) // sizes.rows  # of a row
    chunks = max(1, (length - 1) // sizes.steps)
    updates = max(chunks, sizes.tokens // (sizes.rows * sizes.steps))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, sizes.learning_rate, updates, pct_start=0.05, cycle_momentum=False
    )
    every = max(1, updates // 12)
    best, curve, state = math.inf, [], None
    kept: dict[str, torch.Tensor] = {}
    numbers = torch.from_numpy(text)
    with tqdm(total=updates, desc=name, disable=None) as bar:
        for update in range(updates):
            chunk = update % chunks
            if chunk == 0:  # rows that begin at other places in each epoch
                start = int(torch.randint(len(text) - chunks * sizes.steps, ()))
                table = numbers.roll(-start)[: length * sizes.rows].view(sizes.rows, length).T
                state = None
            piece = table[chunk * sizes.steps :][: sizes.steps + 1]
            model.train()
            logits, state = model(piece[:-1], state)
            state = [(h.detach(), c.detach()) for h, c in state]
            loss = cross_entropy(logits.flatten(0, 1), piece[1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            bar.update()
            if (update + 1) % every == 0 or update + 1 == updates:
                value = model.bits(valid, int(text[-1])).mean() * scale
                tokens = (update + 1) * sizes.rows * sizes.steps
                curve.append((tokens, value))
                bar.set_postfix_str(f"{value:.3f} bits per character")
                if bar.disable:
                    print(f"{name}: {tokens:,} tokens, validation {value:.3f} bits per character")
                if value < best:
                    best, kept = value, copy.deepcopy(model.state_dict())
    model.load_state_dict(kept)
    return curve


def plain_weights(model: LanguageModel) -> dict[str, torch.Tensor]:
    """The weights without what drops some of them."""
    model.eval()
    weights = {"embedding.weight": model.embedding.weight, "output.bias": model.output.bias}
    for k, layer in enumerate(model.layers):
        for name in layer._flat_weights_names:
            weights[f"layers.{k}.{name}"] = getattr(layer, name)
    return {name: weight.detach() for name, weight in weights.items()}


def same_step(ours: LanguageModel, theirs: LanguageModel, piece: torch.Tensor) -> None:
    """Check that both give the same loss and gradients under the same masks."""
    losses = []
    for model in (ours, theirs):
        torch.manual_seed(1)
        logits, _ = model.train()(piece[:-1])
        losses.append(cross_entropy(logits.flatten(0, 1), piece[1:].flatten()))
        model.zero_grad()
        losses[-1].backward()
    torch.testing.assert_close(*losses)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-6)
