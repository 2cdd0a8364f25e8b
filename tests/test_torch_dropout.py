"""Dropout between layers of cellgate.torch.LSTM: its mask, its seed, its effect on gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from torch_cases import assert_close, gradients, make_module, plain, same_bits, values

import torch  # isort: skip  (after torch_cases, which skips where it is not installed)
from cellgate.torch import LSTM


def dropped(module: Any, seed: int, y: torch.Tensor) -> torch.Tensor:
    """`y`, the output of a first layer, (T, B, H), as the second gets it: csrc/run/dropout.hpp."""
    index = np.arange(y.numel(), dtype=np.uint64)
    with np.errstate(over="ignore"):
        z = np.uint64((seed + 0x9E3779B97F4A7C15) % 2**64) + index * np.uint64(0xD1342543DE82EF95)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
        z ^= z >> np.uint64(31)
    dropped = (z >> np.uint64(11)).astype(np.float64) < module.dropout * 2**53
    factor = np.where(dropped, 0, 1 / (1 - module.dropout)).reshape(y.shape)
    return y * torch.from_numpy(factor).to(y.dtype)


class TestDropout:
    def test_it_is_what_the_seed_says(self) -> None:
        module = make_module(1, "float64", 7, 17, num_layers=2, dropout=0.4)
        x = values(2, 5, 3, 7, dtype=torch.float64)
        torch.manual_seed(5)
        seed = int(torch.randint(2**63 - 1, ()))
        weights = [*module.parameters()]
        layers = [LSTM(7, 17, dtype=x.dtype), LSTM(17, 17, dtype=x.dtype)]
        for layer, own in zip(layers, (weights[:4], weights[4:]), strict=True):
            layer.load_state_dict(dict(zip(layer.state_dict(), own, strict=True)))
        between = dropped(module, seed, layers[0](x)[0])
        assert 0.2 < (between == 0).double().mean() < 0.6
        wanted = layers[1](between)[0]
        torch.manual_seed(5)
        y, _ = module(x)
        assert same_bits(y, wanted)
        torch.manual_seed(5)
        with torch.no_grad():
            assert same_bits(module(x)[0], wanted)
        leaves = [p for layer in layers for p in layer.parameters()]
        assert_close(
            "gradients", gradients([y], weights, [0]), gradients([wanted], leaves, [0]), "float64"
        )

    def test_the_seed_comes_from_torchs_generator(self) -> None:
        module = make_module(1, "float32", 7, 17, num_layers=3, dropout=0.5, bidirectional=True)
        x = values(2, 5, 3, 7, dtype=torch.float32)
        torch.manual_seed(1)
        first, second = module(x)[0], module(x)[0]
        assert not torch.equal(first, second)
        torch.manual_seed(1)
        assert same_bits((module(x)[0], module(x)[0]), (first, second))

    @pytest.mark.parametrize(
        "options",
        [{"num_layers": 2}, {"num_layers": 2, "dropout": 0.0}, {"num_layers": 1, "dropout": 0.5}],
        ids=["evaluation", "no dropout", "one layer"],
    )
    def test_otherwise_the_generator_is_left_alone(self, options: dict[str, Any]) -> None:
        if options["num_layers"] == 1:
            with pytest.warns(UserWarning, match="num_layers greater than 1"):
                module = LSTM(7, 17, **options)
        else:
            module = LSTM(7, 17, **{"dropout": 0.5, **options})
        if options == {"num_layers": 2}:
            module.eval()
        x = values(2, 5, 3, 7, dtype=torch.float32)
        state = torch.get_rng_state()
        assert same_bits(module(x), module(x))
        assert torch.equal(torch.get_rng_state(), state)

    def test_everything_dropped(self) -> None:
        module = make_module(1, "float64", 7, 17, num_layers=2, dropout=1.0)
        x = values(2, 5, 3, 7, dtype=torch.float64).requires_grad_()
        y, _ = module(x)
        y.sum().backward()
        theirs = plain(module)
        wanted = theirs(x.detach())[0]
        assert_close("reference", [y], [wanted], "float64")
        assert not x.grad.any()
        assert not module.weight_ih_l1.grad.any()
        assert module.weight_hh_l1.grad.any()
