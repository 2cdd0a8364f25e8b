"""The operators under torch.func: derivatives, vmap, ensembles, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from torch_cases import assert_close, make_module, plain, same_bits, values

import torch  # isort: skip  (after torch_cases, which skips where it is not installed)
import torch._dynamo


class TestFunc:
    @staticmethod
    def loss(module: Any, weights: Any, x: torch.Tensor) -> torch.Tensor:
        y, (_, c) = torch.func.functional_call(module, weights, (x,))
        return y.sin().sum() + c.square().sum()

    @pytest.fixture
    def module(self) -> Any:
        return make_module(1, "float64", 5, 9, num_layers=2, bidirectional=True, proj_size=4)

    @pytest.fixture
    def weights(self, module: Any) -> dict[str, torch.Tensor]:
        return {name: weight.detach() for name, weight in module.named_parameters()}

    def test_grad(self, module: Any, weights: Any) -> None:
        x = values(2, 4, 3, 5, dtype=torch.float64)
        found, d_x = torch.func.grad(lambda w, x: self.loss(module, w, x), argnums=(0, 1))(
            weights, x
        )
        leaves = dict(module.named_parameters())
        x.requires_grad_()
        wanted = torch.autograd.grad(self.loss(module, leaves, x), [x, *leaves.values()])
        assert same_bits([d_x, *found.values()], wanted)

    def test_vjp_and_jacrev(self, module: Any, weights: Any) -> None:
        x = values(2, 4, 5, dtype=torch.float64)

        def output(x: torch.Tensor) -> torch.Tensor:
            return torch.func.functional_call(module, weights, (x,))[0]

        y, pullback = torch.func.vjp(output, x)
        (d_x,) = pullback(torch.ones_like(y))
        jacobian = torch.func.jacrev(output)(x)
        assert_close("gradients", [d_x], [jacobian.sum((0, 1))], "float64")
        leaf = x.clone().requires_grad_()
        assert same_bits(d_x, torch.autograd.grad(output(leaf).sum(), leaf))

    def test_gradients_of_each_sample(self, module: Any, weights: Any) -> None:
        samples = values(2, 6, 4, 3, 5, dtype=torch.float64)
        grad = torch.func.grad(lambda w, x: self.loss(module, w, x))
        found = torch.vmap(grad, in_dims=(None, 0))(weights, samples)
        for i, sample in enumerate(samples):
            assert same_bits([d[i] for d in found.values()], list(grad(weights, sample).values()))

    def test_an_ensemble(self) -> None:
        modules = [make_module(i, "float32", 5, 9) for i in range(3)]
        weights, _ = torch.func.stack_module_state(modules)
        x = values(2, 4, 3, 5, dtype=torch.float32)

        def run(weights: Any, x: torch.Tensor) -> Any:
            return torch.func.functional_call(modules[0], weights, (x,))

        y, (h, c) = torch.vmap(run, in_dims=(0, None))(weights, x)
        for i, module in enumerate(modules):
            assert same_bits((y[i], h[i], c[i]), module(x))
        (y[1].sum() + c[2].sum()).backward()
        theirs = [plain(module) for module in modules]
        (theirs[1](x)[0].sum() + theirs[2](x)[1][1].sum()).backward()
        found = weights["weight_hh_l0"].grad
        assert not found[0].any()
        wanted = [lstm.weight_hh_l0.grad for lstm in theirs[1:]]
        assert_close("gradients", list(found[1:]), wanted, "float32")

    def test_grad_of_vmap(self, module: Any) -> None:
        x = values(2, 6, 4, 3, 5, dtype=torch.float64)

        def loss(x: torch.Tensor) -> torch.Tensor:
            return torch.vmap(lambda row: module(row)[0])(x).square().sum()

        found = torch.func.grad(loss)(x)
        rows = x.clone().requires_grad_()
        wanted = torch.autograd.grad(sum(module(r)[0].square().sum() for r in rows), rows)
        assert same_bits(found, wanted)

    def test_dropout_under_vmap_is_torchs_to_allow(self) -> None:
        module = make_module(1, "float32", 5, 9, num_layers=2, dropout=0.5)
        x = values(2, 1, 4, 3, 5, dtype=torch.float32).expand(6, 4, 3, 5)
        with pytest.raises(RuntimeError, match="randomness"):
            torch.vmap(lambda row: module(row)[0])(x)
        same = torch.vmap(lambda row: module(row)[0], randomness="same")(x)
        assert same_bits(list(same), [same[0]] * 6)
        different = torch.vmap(lambda row: module(row)[0], randomness="different")(x)
        assert not torch.equal(different[0], different[1])

    @pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
    def test_what_there_is_not(self, module: Any) -> None:
        x = values(2, 4, 3, 5, dtype=torch.float64)
        with pytest.raises(NotImplementedError, match="forward-mode"):
            torch.func.jvp(lambda x: module(x)[0], (x,), (x,))
        with pytest.raises(NotImplementedError, match="forward-mode"):
            torch.func.hessian(lambda x: module(x)[0].sum())(x)
        twice = torch.func.grad(lambda x: torch.func.grad(lambda x: module(x)[0].sum())(x).sum())
        with pytest.raises(RuntimeError, match="differentiated once only"):
            twice(x)
        y, _ = module(x.requires_grad_())
        with pytest.raises(RuntimeError, match="Batching rule not implemented for cellgate"):
            torch.autograd.grad(y, x, torch.stack([y, y]), is_grads_batched=True)

    def test_compiled(self, module: Any, weights: Any) -> None:
        samples = values(2, 6, 4, 3, 5, dtype=torch.float64)
        grad = torch.func.grad(lambda w, x: self.loss(module, w, x))
        each = torch.vmap(grad, in_dims=(None, 0))
        torch._dynamo.reset()
        for function, x in ((grad, samples[0]), (each, samples)):
            compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
            with torch._dynamo.config.patch(allow_rnn=True):
                actual = compiled(weights, x)
            wanted = function(weights, x)
            assert_close("gradients", [*actual.values()], [*wanted.values()], "float64")
        torch._dynamo.reset()
