"""Models, inputs, derivatives and comparisons of bits that several tests share."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import cellgate
import numpy as np
import pytest
from cellgate import reference, reference_backward
from hypothesis import settings
from hypothesis import strategies as st
from tolerances import assert_within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

SIZES = (1, 7, 8, 9, 15, 16, 17, 33)  # they straddle the lanes of every instruction set
DTYPES = ("float32", "float64")

# For tests of options in all combinations: dropout without effect is a warning.
ignore_dropout_of_one_layer = pytest.mark.filterwarnings(
    "ignore:dropout. acts between layers:UserWarning"
)


def examples(count: int) -> settings:
    """`count` examples in the profile `suite`, in others in proportion to theirs."""
    default, suite = settings.default, settings.get_profile("suite")
    assert default is not None
    return settings(max_examples=max(1, count * default.max_examples // suite.max_examples))


class Case(NamedTuple):
    """A model and one call of it."""

    lstm: cellgate.LSTM
    x: NDArray[Any]
    state: tuple[NDArray[Any], NDArray[Any]] | None = None
    lengths: NDArray[Any] | None = None
    reset: NDArray[Any] | None = None

    def run(self, lstm: cellgate.LSTM | None = None) -> tuple[Any, Any, Any]:
        return (lstm or self.lstm)(
            self.x, self.state, lengths=self.lengths, reset=self.reset, return_cells=True
        )

    def reference(self) -> tuple[Any, Any, Any]:
        with np.errstate(invalid="ignore"):  # infinity less infinity is NaN, as it should be
            return reference.forward(
                self.lstm.state_dict(),
                self.x,
                self.state,
                lengths=self.lengths,
                reset=self.reset,
                batch_first=self.lstm.batch_first,
            )


def make_case(
    lstm: cellgate.LSTM,
    steps: int,
    batch: int | None,
    seed: int,
    *,
    with_state: bool = True,
    with_lengths: bool = False,
    with_reset: bool = False,
) -> Case:
    """Values in [-2, 2) that are the same on every machine; `batch` None gives unbatched input."""
    random = np.random.Generator(np.random.PCG64(seed)).random

    def values(*shape: int | None) -> NDArray[Any]:
        size = tuple(n for n in shape if n is not None)
        return (4 * random(size) - 2).astype(lstm.dtype)

    rows = lstm.num_layers * (2 if lstm.bidirectional else 1)
    swapped = lstm.batch_first and batch is not None
    plane = (batch, steps) if swapped else (steps, batch)
    h = values(rows, batch, lstm.proj_size or lstm.hidden_size)
    c = values(rows, batch, lstm.hidden_size)
    x = values(*plane, lstm.input_size)
    lengths = np.floor(random(1 if batch is None else batch) * (steps + 1)).astype(np.int64)
    reset = random(tuple(n for n in plane if n is not None)) < 0.25
    return Case(
        lstm,
        x,
        (h, c) if with_state else None,
        lengths if with_lengths and batch is not None else None,
        reset if with_reset else None,
    )


@st.composite
def cases(draw: st.DrawFn, dtype: str, *, ragged: bool = False, **fixed: Any) -> Case:
    """Any configuration and any call of it; `fixed` pins arguments of LSTM.

    `ragged` pins that there is a batch and that it has lengths.
    """
    hidden_size = draw(st.sampled_from(SIZES))
    config = {
        "input_size": draw(st.sampled_from(SIZES)),
        "hidden_size": hidden_size,
        "num_layers": draw(st.integers(1, 3)),
        "bias": draw(st.booleans()),
        "batch_first": draw(st.booleans()),
        "bidirectional": draw(st.booleans()),
        "proj_size": draw(st.sampled_from([0, *(n for n in SIZES if n < hidden_size)])),
        "seed": draw(st.integers(0, 999)),
        **fixed,
    }
    return make_case(
        cellgate.LSTM(**config, dtype=dtype),
        draw(st.sampled_from([0, 1, 2, 3, 5, 16, 17, 40])),
        draw(st.sampled_from([None, 0, 1, 2, 3, 4, 6, 7, 17][ragged:])),
        draw(st.integers(0, 999)),
        with_state=draw(st.booleans()),
        with_lengths=ragged or draw(st.booleans()),
        with_reset=draw(st.booleans()),
    )


class Training(NamedTuple):
    """A case and the derivatives of some loss by its results: the sum of all products with them."""

    case: Case
    d_output: NDArray[Any] | None
    d_state: tuple[NDArray[Any] | None, NDArray[Any] | None] | None
    d_cells: NDArray[Any] | None
    seed: int = 0  # of the dropout

    def record(self, lstm: cellgate.LSTM | None = None, **options: Any) -> cellgate.Tape:
        case = self.case
        return (lstm or case.lstm).record(
            case.x,
            case.state,
            lengths=case.lengths,
            reset=case.reset,
            **{"return_cells": self.d_cells is not None, "seed": self.seed, **options},
        )

    def backward(self, tape: cellgate.Tape, **options: Any) -> cellgate.Gradients:
        return tape.backward(self.d_output, self.d_state, d_cells=self.d_cells, **options)

    def gradients(self, **options: Any) -> cellgate.Gradients:
        return self.backward(self.record(**options))

    def reference(self) -> tuple[Any, Any, Any]:
        case = self.case
        with np.errstate(invalid="ignore", over="ignore"):
            return reference_backward.backward(
                case.lstm.state_dict(),
                case.x,
                case.state,
                d_output=self.d_output,
                d_state=self.d_state,
                d_cells=self.d_cells,
                lengths=case.lengths,
                reset=case.reset,
                batch_first=case.lstm.batch_first,
                dropout=case.lstm.dropout,
                seed=self.seed,
            )

    def loss(self, y: Any, state: Any, cells: Any) -> float:
        d_h, d_c = self.d_state or (None, None)
        pairs = ((self.d_output, y), (d_h, state[0]), (d_c, state[1]), (self.d_cells, cells))
        return float(sum(np.vdot(d, value) for d, value in pairs if d is not None))


DERIVATIVES = ("output", "h", "c", "cells")


def make_training(case: Case, seed: int, given: Any = DERIVATIVES) -> Training:
    """Derivatives in [-1, 1), the same on every machine; those not in `given` are None."""
    random = np.random.Generator(np.random.PCG64(seed)).random
    lstm = case.lstm
    directions = 2 if lstm.bidirectional else 1
    batch = () if case.x.ndim == 2 else (case.x.shape[0 if lstm.batch_first else 1],)
    plane, rows = case.x.shape[:-1], (lstm.num_layers * directions, *batch)
    output, hidden = lstm.proj_size or lstm.hidden_size, lstm.hidden_size
    shapes = {
        "output": (*plane, directions * output),
        "h": (*rows, output),
        "c": (*rows, hidden),
        "cells": (*plane, directions * hidden),
    }
    values = {name: (2 * random(shape) - 1).astype(lstm.dtype) for name, shape in shapes.items()}
    d = {name: values[name] if name in given else None for name in DERIVATIVES}
    d_state = (d["h"], d["c"]) if {"h", "c"} & {*given} else None
    return Training(case, d["output"], d_state, d["cells"], seed)


@st.composite
def trainings(draw: st.DrawFn, dtype: str, **fixed: Any) -> Training:
    """Any case as in `cases`, with or without dropout, and some or all of the derivatives."""
    dropout = draw(st.sampled_from([0.0, 0.0, 0.4, 1.0]))
    case = draw(cases(dtype, **{"dropout": dropout, **fixed}))
    given = draw(st.sets(st.sampled_from(DERIVATIVES), min_size=1))
    return make_training(case, draw(st.integers(0, 999)), given)


def difference(function: Callable[[Any], float], at: Any, along: Any) -> float:
    """The derivative of `function` at `at` along `along`, from differences of the fourth order."""

    def central(step: float) -> float:
        return (function(at + step * along) - function(at - step * along)) / (2 * step)

    return (4 * central(1e-3) - central(2e-3)) / 3


def flat(result: Any) -> Iterator[NDArray[Any]]:
    """The arrays in nested tuples, lists and dictionaries, in order."""
    if isinstance(result, Mapping):
        result = list(result.values())
    if isinstance(result, (tuple, list)):
        for item in result:
            yield from flat(item)
    else:
        yield result


def bits(array: NDArray[Any]) -> NDArray[Any]:
    """The array as unsigned integers; every NaN is the same one."""
    array = np.array(array, order="C", ndmin=1)
    array[np.isnan(array)] = np.nan
    return array.view(f"u{array.itemsize}")


def digest(result: Any) -> str:
    """A hash of shapes, dtypes and bits."""
    sha = hashlib.sha256()
    for array in flat(result):
        sha.update(f"{array.dtype.str}{array.shape}".encode())
        sha.update(bits(array).tobytes())
    return sha.hexdigest()


def assert_same_bits(actual: Any, wanted: Any) -> None:
    for left, right in zip(flat(actual), flat(wanted), strict=True):
        assert left.dtype == right.dtype
        assert left.shape == right.shape
        np.testing.assert_array_equal(bits(left), bits(right))


def big_training(dtype: str = "float32", **config: Any) -> Training:
    """Everything at once, and large enough to be given to several threads."""
    options = {"num_layers": 2, "bidirectional": True, "dropout": 0.3, **config}
    lstm = cellgate.LSTM(64, 96, **options, dtype=dtype, seed=1)
    case = make_case(lstm, 24, 20, seed=2, with_lengths=True, with_reset=True)
    return make_training(case, 3)


def assert_gradients_within(name: str, actual: Any, wanted: Any) -> None:
    for left, right in zip(flat(actual), flat(wanted), strict=True):
        assert_within(name, left, right)
