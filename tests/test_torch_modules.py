"""PyTorch's own module tests, from `torch.testing._internal.common_modules`, on our classes.

PyTorch ships the entries (constructors, inputs, reference functions, errors) but not the tests
that use them; the ones here do with an entry what its test/test_modules.py does, named alike.
"""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any, NamedTuple

import pytest
from torch_cases import same_bits

import torch  # isort: skip  (after torch_cases, which skips where it is not installed)
import cellgate.torch
from torch.testing import assert_close
from torch.testing._internal.common_modules import ModuleErrorEnum, module_db
from torch.testing._internal.common_utils import freeze_rng_state, gradcheck

pytestmark = pytest.mark.filterwarnings(
    "ignore:LSTM with projections is not supported with oneDNN:UserWarning"
)

OURS = {torch.nn.LSTM: cellgate.torch.LSTM, torch.nn.LSTMCell: cellgate.torch.LSTMCell}
INFOS = {info.module_cls: info for info in module_db if info.module_cls in OURS}
DTYPES = (torch.float32, torch.float64)


class Sample(NamedTuple):
    """One input of an entry, and the classes that it is for."""

    ours: type[torch.nn.Module]
    theirs: type[torch.nn.Module]
    dtype: torch.dtype
    training: bool
    given: Any

    def build(self, cls: Any = None, **factory: Any) -> Any:
        constructor = self.given.constructor_input
        module = (cls or self.ours)(*constructor.args, **constructor.kwargs, **factory)
        return module.to(self.dtype).train(self.training)

    def call(self, module: Any) -> Any:
        given = self.given.forward_input
        with freeze_rng_state():
            return module(*given.args, **given.kwargs)


def entries(function: str, **options: Any) -> list[Any]:
    """Every sample of both entries, for both dtypes and modes, as a parameter of a test."""
    found = []
    for theirs, info in INFOS.items():
        for dtype in DTYPES:
            for training in (False, True):
                make = getattr(info, function)
                samples = make(info, device="cpu", dtype=dtype, training=training, **options)
                for i, given in enumerate(samples):
                    mode = "train" if training else "eval"
                    name = f"{theirs.__name__}-{dtype}-{mode}-{i}".replace("torch.", "")
                    sample = Sample(OURS[theirs], theirs, dtype, training, given)
                    found.append(pytest.param(sample, id=name))
    return found


PLAIN = entries("module_inputs_func", requires_grad=False)
GRAD = entries("module_inputs_func", requires_grad=True)


def test_there_are_entries() -> None:
    assert set(INFOS) == set(OURS)
    assert len(PLAIN) == len(GRAD) == 4 * (32 + 2)


@pytest.mark.parametrize("sample", PLAIN)
def test_forward(sample: Sample) -> None:
    module = sample.build()
    result = sample.call(module)
    given = sample.given.forward_input
    assert_close(result, sample.given.reference_fn(module, *given.args, **given.kwargs))
    theirs = sample.build(sample.theirs)
    theirs.load_state_dict(module.state_dict())
    assert_close(result, sample.call(theirs))


@pytest.mark.parametrize("sample", PLAIN)
def test_factory_kwargs(sample: Sample) -> None:
    constructor = sample.given.constructor_input
    module = sample.ours(*constructor.args, **constructor.kwargs, device="cpu", dtype=sample.dtype)
    assert {parameter.dtype for parameter in module.parameters()} == {sample.dtype}
    with torch.device("meta"):
        module = sample.ours(*constructor.args, **constructor.kwargs)
    assert {parameter.device.type for parameter in module.parameters()} == {"meta"}
    assert {p.device.type for p in module.to_empty(device="cpu").parameters()} == {"cpu"}


@pytest.mark.parametrize("sample", PLAIN)
def test_pickle_copy_and_save(sample: Sample) -> None:
    module = sample.build()
    result = sample.call(module)
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    for other in (
        pickle.loads(pickle.dumps(module)),
        copy.deepcopy(module),
        torch.load(file, weights_only=False),
    ):
        assert type(other) is sample.ours
        assert same_bits(sample.call(other), result)


@pytest.mark.parametrize("sample", PLAIN)
def test_repr(sample: Sample) -> None:
    assert repr(sample.build()) == str(sample.build(sample.theirs))


@pytest.mark.parametrize("sample", PLAIN)
def test_state_dict_and_to(sample: Sample) -> None:
    module, theirs = sample.build(), sample.build(sample.theirs)
    module.load_state_dict(theirs.state_dict(), strict=True)
    theirs.load_state_dict(module.state_dict(), strict=True)
    result = sample.call(module)
    assert same_bits(sample.call(module.half().to(sample.dtype)), sample.call(module))
    module.load_state_dict(theirs.state_dict())
    assert same_bits(sample.call(module.double().to(sample.dtype)), result)


def noncontiguous(nested: Any) -> Any:
    if isinstance(nested, torch.Tensor):
        other = torch.stack([nested.detach(), nested.detach()], dim=-1)[..., 0]
        assert nested.numel() < 2 or not other.is_contiguous()
        return other.requires_grad_(nested.requires_grad)
    return tuple(noncontiguous(item) for item in nested)


def leaves_of(nested: Any) -> list[torch.Tensor]:
    if isinstance(nested, torch.Tensor):
        return [nested]
    return [leaf for item in nested for leaf in leaves_of(item)]


@pytest.mark.parametrize("sample", GRAD)
def test_non_contiguous_tensors(sample: Sample) -> None:
    module = sample.build()
    args = sample.given.forward_input.args
    strange = noncontiguous(args)
    results = [leaves_of(module(*a)) for a in (args, strange)]
    assert same_bits(*results)
    gradients = [
        torch.autograd.grad([r.sin().sum() for r in result], [*leaves_of(a), *module.parameters()])
        for result, a in zip(results, (args, strange), strict=True)
    ]
    assert same_bits(*gradients)


@pytest.mark.parametrize("sample", [p for p in GRAD if p.values[0].dtype == torch.float64])
def test_grad(sample: Sample) -> None:
    module = sample.build()
    args = sample.given.forward_input.args
    names, weights = zip(*module.named_parameters(), strict=True)
    spec = torch.utils._pytree.tree_structure(args)

    def function(*flat: torch.Tensor) -> Any:
        inputs = torch.utils._pytree.tree_unflatten(flat[: -len(names)], spec)
        named = dict(zip(names, flat[-len(names) :], strict=True))
        return tuple(leaves_of(torch.func.functional_call(module, named, inputs)))

    # Batched gradients are those of autograd.grad(is_grads_batched=True), an older vmap for which
    # an operator cannot register a rule; torch.func.vmap is tested in test_torch_func.py.
    assert gradcheck(function, (*leaves_of(args), *weights), check_batched_grad=False)


@pytest.mark.parametrize("sample", GRAD)
def test_gradgrad(sample: Sample) -> None:
    """Where PyTorch's has a second derivative, ours says that it has none."""
    x = sample.given.forward_input.args[0]
    result = leaves_of(sample.call(sample.build()))[0]
    (gradient,) = torch.autograd.grad(result.sin().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiated once only"):
        gradient.sum().backward()


@pytest.mark.parametrize("sample", entries("module_error_inputs_func", requires_grad=False))
def test_errors(sample: Sample) -> None:
    error = sample.given
    constructor = error.module_error_input.constructor_input
    if error.error_on == ModuleErrorEnum.CONSTRUCTION_ERROR:
        with pytest.raises(error.error_type, match=error.error_regex):
            sample.ours(*constructor.args, **constructor.kwargs)
        return
    module = sample.ours(*constructor.args, **constructor.kwargs)
    given = error.module_error_input.forward_input
    if sample.ours is cellgate.torch.LSTMCell:
        module.to(sample.dtype)
    with pytest.raises(error.error_type, match=error.error_regex):
        module(*given.args, **given.kwargs)
