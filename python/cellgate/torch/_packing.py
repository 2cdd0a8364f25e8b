"""From tensors to a packed `Model`: packed again whenever any bit of the weights has changed.

Called by the kernels in _operators.py.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, NamedTuple

from torch.utils.weak import WeakTensorKeyDictionary

from .._core import Model
from ..config import Config

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from torch import Tensor


class Entry(NamedTuple):
    """A packed model and what it was packed from."""

    config: Config
    copies: list[Tensor]
    model: Model


# Several times as fast as a comparison by PyTorch or NumPy where the weights are few. PyDLL keeps
# the GIL: no other thread can give a tensor other memory while it is read.
_memcmp = ctypes.PyDLL(None).memcmp
_memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]

# Under the first weight of each model, so that an entry goes when the weights go. Whether it still
# holds is told by the values alone: version counters miss writes through `.data`, and an address
# may be given to other values.
_entries: Any = WeakTensorKeyDictionary()


def config_of(
    weights: Sequence[Tensor], bias: bool, num_layers: int, bidirectional: bool
) -> Config:
    """The sizes that these weights, in PyTorch's order, have."""
    each = 4 if bias else 2
    groups = num_layers * (2 if bidirectional else 1)
    if len(weights) not in (groups * each, groups * (each + 1)):
        raise ValueError(
            f"weights: must be {groups * each} tensors, or {groups * (each + 1)} with a "
            f"projection, got {len(weights)}"
        )
    return Config(
        input_size=weights[0].size(1),
        hidden_size=weights[0].size(0) // 4,
        num_layers=num_layers,
        bias=bias,
        batch_first=False,
        dropout=0.0,
        bidirectional=bidirectional,
        proj_size=weights[each].size(0) if len(weights) > groups * each else 0,
        dtype="float64" if weights[0].element_size() == 8 else "float32",
    )


def packed(weights: Sequence[Tensor], config: Config) -> Model:
    """The model with exactly these weights: the one packed before, or a new one."""
    key = weights[0]  # as it is: a contiguous copy would take its entry with it
    weights = [weight if weight.is_contiguous() else weight.contiguous() for weight in weights]
    entry: Entry | None = _entries.get(key)
    if entry is not None and entry.config == config and _same_bits(weights, entry.copies):
        return entry.model
    # From the copies, not from the weights: should another thread write to those meanwhile, the
    # model is still what the next call compares with.
    copies = [weight.detach().clone() for weight in weights]
    names = [name for name, _ in config.parameter_shapes()]
    model = Model(
        config.input_size,
        config.hidden_size,
        config.num_layers,
        config.bias,
        config.bidirectional,
        config.proj_size,
        config.dtype,
        {name: copy.numpy() for name, copy in zip(names, copies, strict=True)},
    )
    _entries[key] = Entry(config, copies, model)
    return model


def _same_bits(weights: Sequence[Tensor], copies: Sequence[Tensor]) -> bool:
    """Whether the bytes of contiguous tensors are those of their copies.

    Backwards, since a step of an optimiser changes everything and the biases, which tell it with
    the least reading, come last.
    """
    return all(
        weight.shape == copy.shape
        and weight.dtype == copy.dtype
        and weight.is_cpu
        and _memcmp(weight.data_ptr(), copy.data_ptr(), copy.nbytes) == 0
        for weight, copy in zip(reversed(weights), reversed(copies), strict=True)
    )
