"""What the tests of cellgate.torch share. Where torch is not installed, importing this skips."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest
from cases import SIZES
from hypothesis import strategies as st
from tolerances import assert_within

if importlib.util.find_spec("torch") is None:
    if "torch" in os.environ.get("CELLGATE_REQUIRE", ""):
        raise ModuleNotFoundError("CELLGATE_REQUIRE names torch, which is not installed")
    pytest.skip("torch is not installed", allow_module_level=True)

import cellgate.torch
import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

if TYPE_CHECKING:
    from collections.abc import Iterator

torch.set_num_threads(1)  # its own threads would compete with ours for the cores

DTYPES = {"float32": torch.float32, "float64": torch.float64}


class Call(NamedTuple):
    """A module and one call of it; `lengths` (and `sorted_rows`) make a PackedSequence of x."""

    module: cellgate.torch.LSTM
    x: torch.Tensor
    hx: tuple[torch.Tensor, torch.Tensor] | None = None
    lengths: list[int] | None = None
    sorted_rows: bool = False

    def run(self, module: Any = None, **to: Any) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Results [output, h, c], and the leaves [x, h_0, c_0, parameters] that they depend on."""
        module = self.module if module is None else module
        x = self.x.detach().to(**to).requires_grad_()
        hx = None
        if self.hx is not None:
            hx = tuple(state.detach().to(**to).requires_grad_() for state in self.hx)
        given: Any = x
        if self.lengths is not None:
            given = pack_padded_sequence(
                x, self.lengths, module.batch_first, enforce_sorted=self.sorted_rows
            )
        output, (h, c) = module(given, hx)
        if self.lengths is not None:
            assert isinstance(output, PackedSequence)
            for mine, wanted in zip(output[1:], given[1:], strict=True):
                assert mine is wanted or torch.equal(mine, wanted)
            output = output.data
        return [output, h, c], [x, *(hx or ()), *module.parameters()]

    def oracle(self) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """The same from torch.nn.LSTM in float64, with float32 weights widened exactly."""
        return self.run(plain(self.module).double(), dtype=torch.float64)


def plain(module: Any) -> torch.nn.LSTM:
    """A torch.nn.LSTM like a module of ours, with copies of its weights."""
    options = {
        name: getattr(module, name)
        for name in (
            "input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout",
            "bidirectional", "proj_size",
        )
    }  # fmt: skip
    theirs = torch.nn.LSTM(**options, dtype=module.weight_ih_l0.dtype)
    theirs.load_state_dict(module.state_dict())
    return theirs.train(module.training)


def values(seed: int, *shape: int, dtype: torch.dtype) -> torch.Tensor:
    """In [-1, 1), the same on every machine."""
    random = np.random.Generator(np.random.PCG64(seed)).random
    return torch.from_numpy(2 * random(shape) - 1).to(dtype)


def make_module(seed: int, dtype: str, input_size: int, hidden_size: int, **options: Any) -> Any:
    """With weights that are the same on every machine, of the size that torch draws."""
    module = cellgate.torch.LSTM(input_size, hidden_size, **options, dtype=DTYPES[dtype])
    with torch.no_grad():
        for i, weight in enumerate(module.parameters()):
            drawn = values(1000 * seed + i, *weight.shape, dtype=torch.float64)
            weight.copy_(drawn / hidden_size**0.5)
    return module


def make_call(
    module: Any,
    steps: int,
    batch: int | None,
    seed: int,
    *,
    with_state: bool = True,
    lengths: list[int] | None = None,
    sorted_rows: bool = False,
) -> Call:
    dtype = module.weight_ih_l0.dtype
    plane = (steps,) if batch is None else (batch, steps) if module.batch_first else (steps, batch)
    x = values(seed, *plane, module.input_size, dtype=dtype)
    hx = None
    if with_state:
        rows = module.num_layers * (2 if module.bidirectional else 1)
        between = (rows,) if batch is None else (rows, batch)
        output_size = module.proj_size or module.hidden_size
        h = values(seed + 1, *between, output_size, dtype=dtype)
        hx = (h, values(seed + 2, *between, module.hidden_size, dtype=dtype))
    return Call(module, x, hx, lengths, sorted_rows)


@st.composite
def calls(draw: st.DrawFn, dtype: str) -> Call:
    """Any configuration, and any call of it."""
    hidden_size = draw(st.sampled_from(SIZES))
    module = make_module(
        draw(st.integers(0, 999)),
        dtype,
        draw(st.sampled_from(SIZES)),
        hidden_size,
        num_layers=draw(st.integers(1, 3)),
        bias=draw(st.booleans()),
        batch_first=draw(st.booleans()),
        bidirectional=draw(st.booleans()),
        proj_size=draw(st.sampled_from([0, *(n for n in SIZES if n < hidden_size)])),
    )
    steps = draw(st.sampled_from([1, 2, 3, 5, 16, 17]))
    batch = draw(st.sampled_from([None, 1, 2, 3, 4, 7, 17]))
    lengths, sorted_rows = None, False
    if batch is not None and draw(st.booleans()):
        lengths = draw(st.lists(st.integers(1, steps), min_size=batch, max_size=batch))
        if sorted_rows := draw(st.booleans()):
            lengths.sort(reverse=True)
    return make_call(
        module,
        steps,
        batch,
        draw(st.integers(0, 999)),
        with_state=draw(st.booleans()),
        lengths=lengths,
        sorted_rows=sorted_rows,
    )


def gradients(
    results: list[torch.Tensor], leaves: list[torch.Tensor], wanted: Any = (0, 1, 2)
) -> list[torch.Tensor]:
    """Of the leaves, for derivatives by some of the results that are the same on every machine."""
    some = [results[i] for i in wanted]
    d = [values(7 + i, *results[i].shape, dtype=results[i].dtype) for i in wanted]
    return list(torch.autograd.grad(some, leaves, d, materialize_grads=True))


def assert_close(
    name: str, actual: list[torch.Tensor], wanted: list[torch.Tensor], dtype: str
) -> None:
    for mine, theirs in zip(actual, wanted, strict=True):
        assert mine.dtype == DTYPES[dtype]
        assert_within(f"{name} {dtype}", mine.detach().numpy(), theirs.detach().numpy())


def same_bits(actual: Any, wanted: Any) -> bool:
    pairs = list(zip(_tensors(actual), _tensors(wanted), strict=True))
    assert pairs
    return all(a.dtype == b.dtype and torch.equal(_bits(a), _bits(b)) for a, b in pairs)


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    integers = torch.int64 if tensor.element_size() == 8 else torch.int32
    return tensor.detach().contiguous().view(integers)


def _tensors(nested: Any) -> Iterator[torch.Tensor]:
    if isinstance(nested, torch.Tensor):
        yield nested
    elif nested is not None:
        for item in nested:
            yield from _tensors(item)
