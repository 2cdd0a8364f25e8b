"""From tensors to a packed `Model`: packed again whenever any bit of the weights has changed.

Called by the kernels in _operators.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from torch.utils.weak import WeakTensorKeyDictionary

from .._core import same_bytes
from ..config import DEFAULTS, Config
from ..weights import pack

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from torch import Tensor

    from .._core import Model


class Entry(NamedTuple):
    """A packed model and what it was packed from."""

    config: Config
    copies: list[Tensor]
    places: list[tuple[int, int]]  # address and bytes of each copy, the last first
    kinds: list[Any]  # what `_kinds` says of the copies
    model: Model


# Under the first weight of each model, so that an entry goes when the weights go. Whether it still
# holds is told by the values alone: version counters miss writes through `.data`, and an address
# may be given to other values.
_entries: Any = WeakTensorKeyDictionary()


# Options that tensors and the arguments of `config_of` do not show.
_SHOWN = {"num_layers", "bias", "bidirectional", "proj_size", "dtype"}
_OTHERS = {name: default for name, default in DEFAULTS.items() if name not in _SHOWN}


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
        bidirectional=bidirectional,
        proj_size=weights[each].size(0) if len(weights) > groups * each else 0,
        dtype="float64" if weights[0].element_size() == 8 else "float32",
        **_OTHERS,
    )


def packed(weights: Sequence[Tensor], config: Config) -> Model:
    """The model with exactly these weights: the one packed before, or a new one."""
    key = weights[0]  # not a contiguous copy of it, with which the entry would be dropped
    weights = [weight if weight.is_contiguous() else weight.contiguous() for weight in weights]
    entry: Entry | None = _entries.get(key)
    if entry is not None and entry.config == config and _same_bits(weights, entry):
        return entry.model
    # From the copies, not from the weights: should another thread write to those meanwhile, the
    # model is still what the next call compares with.
    copies = [weight.detach().clone() for weight in weights]
    names = [name for name, _ in config.parameter_shapes()]
    arrays = {name: copy.numpy() for name, copy in zip(names, copies, strict=True)}
    model = pack(config, arrays)
    places = [(copy.data_ptr(), copy.nbytes) for copy in reversed(copies)]
    _entries[key] = Entry(config, copies, places, _kinds(copies), model)
    return model


def _kinds(tensors: Sequence[Tensor]) -> list[Any]:
    return [(tensor.shape, tensor.dtype, tensor.is_cpu) for tensor in tensors]


def _same_bits(weights: Sequence[Tensor], entry: Entry) -> bool:
    """Whether contiguous tensors are as those that the entry was made from.

    Backwards, since a step of an optimiser changes everything and the biases, which tell it with
    the least reading, come last.
    """
    return _kinds(weights) == entry.kinds and same_bytes(
        [weight.data_ptr() for weight in reversed(weights)], entry.places
    )
