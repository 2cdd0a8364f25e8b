"""What is measured and what it has to show, as data. Used by compare.py and by test_rows.py.

Pairs are what holds with one thread and on all cores. Rival's time over ours: higher is better.
"""

from __future__ import annotations

from dataclasses import dataclass

from .rows import Row, Shape

Pair = tuple[float | None, float | None]

# The least part of what the machine allows (limits.py): of its FMA peak where batches are large,
# and of the bandwidth at which weights come where there is one sequence.
BATCHED_LIMIT: Pair = (0.90, None)
TRAINING_LIMIT: Pair = (0.87, None)
STREAMED_LIMIT: Pair = (0.85, 0.85)
NONE: Pair = (None, None)


@dataclass(frozen=True)
class Suite:
    """Rows of one kind.

    Of every row the best of all rivals counts that can do it; `mean` is what the geometric mean
    over the rows has to reach.
    """

    name: str
    rows: tuple[Row, ...]
    mean: Pair = NONE


def streaming(hidden: int) -> Row:
    """One step of one sequence, I = H."""
    return Row(
        "streaming",
        Shape(1, 1, hidden, hidden),
        streaming=True,
        required=(4.0, 4.0) if hidden <= 128 else (1.2, 1.8),
        of_limit=STREAMED_LIMIT if hidden >= 256 else NONE,
    )


def forward(suite: str, required: Pair, *sizes: int, L: int = 1, D: int = 1) -> Row:  # noqa: N803
    """`sizes` are T, B, I and H."""
    shape = Shape(*sizes, L=L, D=D)
    limit = NONE
    if shape.H >= 256 and shape.B == 1:
        limit = STREAMED_LIMIT
    elif shape.H >= 512 and suite == "batched":
        limit = BATCHED_LIMIT
    return Row(suite, shape, required=required, of_limit=limit)


def train(suite: str, required: Pair, *sizes: int, shortest: int = 0) -> Row:
    """`sizes` are T, B, I and H."""
    shape = Shape(*sizes, shortest=shortest)
    limit = TRAINING_LIMIT if shape.H >= 512 and shape.B >= 16 else NONE
    return Row(suite, shape, training=True, required=required, of_limit=limit)


# DeepBench's LSTMs (github.com/baidu-research/DeepBench), I = H: H, all B, T.
SERVER = [(h, (1, 2, 4), 25) for h in (512, 1024, 2048)] + [(1536, (1, 2, 4), 50)]
SERVER += [(256, (1, 2, 4), 150)]
TRAIN = [(h, (16, 32, 64, 128), 25) for h in (512, 1024, 2048)] + [(1536, (8, 16, 32), 50)]
TRAIN += [(256, (16, 32, 64), 150)]

SEQUENCE: Pair = (1.05, 1.2)
BATCHED: Pair = (1.02, 1.1)

SUITES = {
    suite.name: suite
    for suite in (
        Suite("streaming", tuple(streaming(h) for h in (8, 16, 32, 64, 128, 256, 512))),
        Suite(
            "sequence",
            (
                forward("sequence", SEQUENCE, 100, 1, 40, 256),
                forward("sequence", SEQUENCE, 25, 1, 512, 512),
                forward("sequence", SEQUENCE, 25, 1, 1024, 1024),
                forward("sequence", SEQUENCE, 150, 1, 256, 256),
                forward("sequence", SEQUENCE, 63, 1, 24, 32, D=2),
            ),
            mean=(1.25, 1.6),
        ),
        Suite(
            "deepbench-server",
            tuple(
                forward("deepbench-server", SEQUENCE, t, b, h, h) for h, bs, t in SERVER for b in bs
            ),
            mean=(1.25, 1.6),
        ),
        Suite(
            "batched",
            (
                forward("batched", BATCHED, 25, 16, 512, 512),
                forward("batched", BATCHED, 25, 64, 1024, 1024),
                forward("batched", BATCHED, 100, 32, 64, 64),
                forward("batched", BATCHED, 30, 256, 8, 32),
                forward("batched", BATCHED, 300, 20, 800, 800),
                forward("batched", BATCHED, 500, 1, 60, 128, L=4, D=2),
            ),
            mean=(1.2, 1.25),
        ),
        Suite(
            "deepbench-train",
            tuple(train("deepbench-train", BATCHED, t, b, h, h) for h, bs, t in TRAIN for b in bs),
            mean=(1.1, 1.25),
        ),
        Suite(
            "train-small",
            (
                train("train-small", (1.25, 1.25), 100, 32, 64, 64),
                train("train-small", (1.7, 1.7), 30, 256, 8, 32),
            ),
        ),
        Suite(
            "ragged",
            (
                Row("ragged", Shape(1000, 32, 64, 64, shortest=10), required=(2.5, 2.5)),
                train("ragged", (2.5, 2.5), 1000, 32, 64, 64, shortest=10),
            ),
        ),
    )
}

# Minutes instead of an hour; `--suite all` has the rest.
SHORT = ("streaming", "sequence", "train-small", "ragged")
