"""cellgate.torch.LSTM as a module: weights that change in any way, copies, hooks, modes."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from torch_cases import (
    assert_close,
    gradients,
    make_call,
    make_module,
    plain,
    same_bits,
    values,
)

import torch  # isort: skip  (after torch_cases, which skips where it is not installed)
from cellgate.torch import LSTM, _packing
from torch.nn.utils.prune import l1_unstructured

CONFIGS: list[dict[str, Any]] = [
    {},
    {"num_layers": 3, "batch_first": True},
    {"num_layers": 2, "bidirectional": True, "bias": False},
    {"num_layers": 2, "bidirectional": True, "proj_size": 9, "dropout": 0.5},
]


def parametrized(module: Any) -> None:
    torch.nn.utils.parametrizations.weight_norm(module, "weight_hh_l0")
    with torch.no_grad():
        module.parametrizations.weight_hh_l0.original0.mul_(1.5)


def spectral(module: Any) -> None:
    torch.nn.utils.parametrizations.spectral_norm(module.eval(), "weight_ih_l0")


def step(module: Any) -> None:
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    torch.optim.Adam(module.parameters(), lr=0.01).step()


def to_a_vector_and_back(module: Any) -> None:
    vector = torch.nn.utils.parameters_to_vector(module.parameters())
    torch.nn.utils.vector_to_parameters(0.9 * vector, module.parameters())


def prune(module: Any) -> None:
    l1_unstructured(module, "weight_hh_l0", 0.5)


def replace(module: Any) -> None:
    module.weight_hh_l0 = torch.nn.Parameter(0.5 * module.weight_hh_l0.detach())


CHANGES: dict[str, Callable[[Any], Any]] = {
    "data": lambda m: m.weight_hh_l0.data.mul_(2),
    "one number of data": lambda m: m.weight_ih_l1.data.view(-1)[-1].add_(1),
    "an array": lambda m: np.multiply(m.bias_hh_l0.detach().numpy(), 2, m.bias_hh_l0.data.numpy()),
    "another tensor in data": lambda m: setattr(m.weight_hh_l0, "data", m.weight_hh_l0.data * 2),
    "a step of an optimiser": step,
    "load_state_dict": lambda m: m.load_state_dict({k: v * 2 for k, v in m.state_dict().items()}),
    "vector_to_parameters": to_a_vector_and_back,
    "another parameter": replace,
    "half and back": lambda m: m.half().float(),
    "double": lambda m: m.double(),
    "reset_parameters": lambda m: m.reset_parameters(),
    "a parametrization": parametrized,
    "spectral norm": spectral,
    "pruning": prune,
    "shared": lambda m: setattr(m, "weight_hh_l0", m.weight_hh_l1),
}


class TestWeights:
    @pytest.mark.parametrize("grad", [False, True])
    @pytest.mark.parametrize("name", CHANGES)
    def test_a_change_is_noticed(self, name: str, grad: bool) -> None:
        module = make_module(1, "float32", 7, 17, num_layers=2)
        x = values(2, 5, 3, 7, dtype=torch.float32)
        with torch.set_grad_enabled(grad):
            module(x)
            CHANGES[name](module)
            x = x.to(module.weight_ih_l0.dtype)
            fresh = LSTM(7, 17, 2, dtype=x.dtype)  # has packed nothing yet
            weights = {name: getattr(module, name) for name in fresh.state_dict()}
            fresh.load_state_dict(weights)
            actual, wanted = module(x), fresh(x)
        assert same_bits(actual, wanted)
        if grad:
            found = torch.autograd.grad(actual[0].sum(), [*module.parameters()])
            assert all(gradient.any() for gradient in found)

    def test_a_parametrization_gets_its_gradient(self) -> None:
        module = make_module(1, "float64", 7, 17)
        theirs = plain(module)
        call = make_call(module, 5, 3, seed=2)
        found = []
        for lstm in (module, theirs):
            torch.nn.utils.parametrizations.weight_norm(lstm, "weight_hh_l0")
            results, leaves = call.run(lstm)
            found.append(gradients(results, leaves))
        assert_close("gradients", *found, "float64")

    def test_shared_weights_get_the_sum_of_both_gradients(self) -> None:
        module = make_module(1, "float64", 17, 17, num_layers=2)
        theirs = plain(module)
        x = values(2, 5, 3, 17, dtype=torch.float64)
        found = []
        for lstm in (module, theirs):
            lstm.weight_hh_l1 = lstm.weight_hh_l0
            lstm.weight_ih_l1 = lstm.weight_ih_l0
            assert len([*lstm.parameters()]) == 6
            lstm(x)[0].square().sum().backward()
            found.append([p.grad for p in lstm.parameters()])
        assert_close("gradients", *found, "float64")

    def test_two_modules_share_their_weights(self) -> None:
        first, second = make_module(1, "float32", 7, 17), LSTM(7, 17, batch_first=True)
        for name in first.state_dict():
            setattr(second, name, getattr(first, name))
        x = values(2, 5, 3, 7, dtype=torch.float32)
        for _ in range(2):
            assert same_bits(first(x)[0], second(x.transpose(0, 1))[0].transpose(0, 1))
            first.weight_hh_l0.data.mul_(0.5)

    def test_functional_call_leaves_no_trace(self) -> None:
        module = make_module(1, "float32", 7, 17)
        x = values(2, 5, 3, 7, dtype=torch.float32)
        with torch.no_grad():
            before = module(x)
            other = {name: 2 * weight for name, weight in module.state_dict().items()}
            doubled = torch.func.functional_call(module, other, (x,))
            fresh = LSTM(7, 17)
            fresh.load_state_dict(other)
            assert same_bits(doubled, fresh(x))
            assert not torch.equal(doubled[0], before[0])
            assert same_bits(module(x), before)

    def test_unchanged_weights_are_packed_once_and_changed_ones_once_more(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = []
        real = _packing.pack
        monkeypatch.setattr(_packing, "pack", lambda *a: made.append(a) or real(*a))
        module = make_module(1, "float32", 7, 17)
        x = values(2, 5, 3, 7, dtype=torch.float32)
        with torch.no_grad():
            module(x), module(x)
        assert len(made) == 1
        module(x)[0].sum().backward()
        assert len(made) == 1
        module.weight_hh_l0.data[0, 0] += 1
        module(x)[0].sum().backward()
        assert len(made) == 2
        for value in (0.0, -0.0, torch.nan):  # it is bits that count
            module.bias_hh_l0.data[0] = value
            before = len(made)
            module(x), module(x)
            assert len(made) == before + 1

    def test_the_packed_weights_go_with_the_module(self) -> None:
        gc.collect()
        before = len(_packing._entries)
        module = make_module(1, "float32", 7, 17)
        module(values(2, 5, 3, 7, dtype=torch.float32))
        assert len(_packing._entries) == before + 1
        del module
        gc.collect()
        assert len(_packing._entries) == before

    def test_many_threads_may_call_one_module(self) -> None:
        module = make_module(1, "float32", 33, 65, num_layers=2).requires_grad_(False)
        inputs = [values(i, 20, 4, 33, dtype=torch.float32) for i in range(4)]
        wanted = [module(x) for x in inputs]
        fresh = copy.deepcopy(module)
        found: list[list[Any]] = [[] for _ in inputs]

        def work(i: int) -> None:
            found[i].extend(fresh(inputs[i]) for _ in range(20))

        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(inputs))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for results, result in zip(found, wanted, strict=True):
            assert len(results) == 20
            assert all(same_bits(one, result) for one in results)


class TestModule:
    @pytest.mark.parametrize("config", CONFIGS, ids=str)
    def test_it_is_a_torch_lstm(self, config: dict) -> None:
        module, theirs = LSTM(7, 17, **config), torch.nn.LSTM(7, 17, **config)
        assert isinstance(module, torch.nn.LSTM)
        assert repr(module) == repr(theirs)
        assert [*module.state_dict()] == [*theirs.state_dict()]
        assert [len(group) for group in module.all_weights] == [
            len(group) for group in theirs.all_weights
        ]
        module.load_state_dict(theirs.state_dict(), strict=True)
        theirs.load_state_dict(module.state_dict(), strict=True)
        module.flatten_parameters()
        assert module.__constants__ == theirs.__constants__

    def test_the_same_seed_gives_the_same_weights(self) -> None:
        torch.manual_seed(1)
        module = LSTM(7, 17, 2)
        torch.manual_seed(1)
        assert same_bits([*module.parameters()], [*torch.nn.LSTM(7, 17, 2).parameters()])

    @pytest.mark.parametrize(
        "copied",
        [
            copy.deepcopy,
            lambda m: pickle.loads(pickle.dumps(m)),
            lambda m: torch.load(saved(m), weights_only=False),
        ],
        ids=["deepcopy", "pickle", "torch.save"],
    )
    def test_copies(self, copied: Callable[[Any], Any]) -> None:
        module = make_module(1, "float32", 7, 17, num_layers=2, bidirectional=True)
        x = values(2, 5, 3, 7, dtype=torch.float32)
        wanted = module(x)
        other = copied(module)
        assert type(other) is LSTM
        assert same_bits(other(x), wanted)
        other.weight_hh_l0.data.zero_()
        assert same_bits(module(x), wanted)
        assert not torch.equal(other(x)[0], wanted[0])

    def test_a_pickle_holds_no_packed_weights(self) -> None:
        module = make_module(1, "float32", 64, 64)
        before = len(pickle.dumps(module))
        module(torch.zeros(3, 2, 64))
        assert len(pickle.dumps(module)) == before

    def test_hooks(self) -> None:
        module = make_module(1, "float32", 7, 17)
        seen = []
        module.register_forward_pre_hook(lambda m, a: seen.append("pre") or (2 * a[0],))
        module.register_forward_hook(lambda m, a, r: seen.append("post") or (3 * r[0], r[1]))
        module.weight_hh_l0.register_hook(lambda g: seen.append("gradient") or 5 * g)
        x = values(2, 5, 3, 7, dtype=torch.float32)
        y, _ = module(x)
        y.sum().backward()
        assert seen == ["pre", "post", "gradient"]
        bare = make_module(1, "float32", 7, 17)
        y_bare = 3 * bare(2 * x)[0]
        y_bare.sum().backward()
        assert same_bits(y, y_bare)
        assert same_bits(module.weight_hh_l0.grad, 5 * bare.weight_hh_l0.grad)

    def test_a_subclass_may_call_forward(self) -> None:
        class Residual(LSTM):
            def forward(self, input: Any, hx: Any = None) -> Any:
                y, state = super().forward(input, hx)
                return y + input, state

        x = torch.ones(3, 2, 5)
        module = Residual(5, 5)
        (module(x)[0].sum() + module(input=x, hx=None)[0].sum()).backward()
        assert module.bias_hh_l0.grad.abs().max() > 0

    def test_inference_mode(self) -> None:
        module = make_module(1, "float32", 7, 17)
        x = values(2, 5, 3, 7, dtype=torch.float32)
        with torch.inference_mode():
            y, _ = module(x)
        assert same_bits(y, module(x)[0])

    def test_a_default_device_or_dtype_changes_nothing(self) -> None:
        module = make_module(1, "float32", 7, 17, num_layers=2, dropout=0.5)
        x = values(2, 5, 3, 7, dtype=torch.float32)
        torch.manual_seed(1)
        wanted = module(x)
        with torch.device("meta"):
            torch.manual_seed(1)
            assert same_bits(module(x), wanted)


def saved(module: Any) -> io.BytesIO:
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return file


def test_what_autograd_keeps_is_memory_of_pytorchs(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy's needs Python to be released, which a thread of autograd may outlive."""
    module = make_module(1, "float32", 7, 17, num_layers=2)
    x = values(2, 5, 3, 7, dtype=torch.float32).requires_grad_()
    wrapped = []
    real = torch.from_numpy
    monkeypatch.setattr(torch, "from_numpy", lambda a: wrapped.append(a) or real(a))
    y, (h, c) = module(x)
    (y.sum() + h.sum() + c.sum()).backward()
    assert not wrapped
    with torch.no_grad():
        module(x)
    assert len(wrapped) == 3  # results that no graph refers to: this is how one would see it
