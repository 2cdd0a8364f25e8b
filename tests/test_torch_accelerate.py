"""accelerate(model): what it swaps, what stays shared, what it leaves and says why."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from torch_cases import assert_close, same_bits, values

import torch  # isort: skip  (after torch_cases, which skips where it is not installed)
from cellgate.torch import LSTM, LSTMCell, Report, accelerate
from torch.nn.utils import parametrizations, parametrize


class Translator(torch.nn.Module):
    """Sequences into one vector, and that into sequences, step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(11, 7)
        self.encoder = torch.nn.LSTM(7, 9, num_layers=2, bidirectional=True, batch_first=True)
        self.decoders = torch.nn.ModuleList([torch.nn.LSTMCell(18, 9), torch.nn.LSTMCell(9, 9)])
        self.again = self.encoder
        self.linear = torch.nn.Linear(9, 11)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        y, (h, c) = self.encoder(self.embedding(words))
        x, states, results = y[:, -1], [(h[0], c[0]), (h[1], c[1])], []
        for _ in range(3):
            first = self.decoders[0](x, states[0])
            second = self.decoders[1](first[0], states[1])
            states = [first, second]
            results.append(self.linear(second[0]))
        return torch.stack(results)


def translator() -> Translator:
    torch.manual_seed(1)
    return Translator().double()


WORDS = torch.arange(20).reshape(4, 5) % 11


def train(model: torch.nn.Module, optimizer: Any, steps: int) -> list[torch.Tensor]:
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model(WORDS).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return losses


class TestSwap:
    def test_every_lstm_and_cell(self) -> None:
        model = translator()
        wanted = model(WORDS)
        encoder, first = model.encoder, model.decoders[0]
        weights = list(model.parameters())
        report = accelerate(model)
        assert report.swapped == ["encoder", "decoders.0", "decoders.1"]
        assert report.left == {}
        assert model.encoder is model.again is encoder
        assert model.decoders[0] is first
        assert type(encoder) is LSTM
        assert type(first) is LSTMCell
        assert all(a is b for a, b in zip(model.parameters(), weights, strict=True))
        assert_close("reference", [model(WORDS)], [wanted], "float64")
        assert repr(model) == repr(translator())

    def test_an_optimiser_made_before_trains_it(self) -> None:
        model, theirs = translator(), translator()
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        accelerate(model)
        losses = train(model, optimizer, 30)
        wanted = train(theirs, torch.optim.Adam(theirs.parameters(), 0.01), 30)
        assert_close("gradients", losses, wanted, "float64")
        assert losses[-1] < losses[0] / 2

    def test_in_the_middle_of_training_and_back(self) -> None:
        model, theirs = translator(), translator()
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        losses = train(model, optimizer, 5)
        accelerate(model)
        losses += train(model, optimizer, 5)
        model.encoder.__class__ = torch.nn.LSTM
        losses += train(model, optimizer, 5)
        wanted = train(theirs, torch.optim.Adam(theirs.parameters(), 0.01), 15)
        assert_close("gradients", losses, wanted, "float64")

    @pytest.mark.parametrize("cls", [torch.nn.LSTM, torch.nn.LSTMCell])
    def test_the_model_itself(self, cls: Any) -> None:
        module = cls(7, 9)
        report = accelerate(module)
        assert report.swapped == [""]
        assert isinstance(module, (LSTM, LSTMCell))
        assert "the model itself" in repr(report)
        assert accelerate(module) == report

    def test_mode_hooks_and_state_stay(self) -> None:
        model = translator().eval()
        seen = []
        model.encoder.register_forward_hook(lambda *_: seen.append("forward"))
        model.encoder.weight_hh_l0.register_hook(lambda g: seen.append("gradient"))
        model.encoder.weight_hh_l1.requires_grad_(False)
        model.encoder.remark = "kept"
        accelerate(model)
        model(WORDS).sum().backward()
        assert seen == ["forward", "gradient"]
        assert not model.encoder.training
        assert model.encoder.remark == "kept"
        assert model.encoder.weight_hh_l1.grad is None
        assert [*translator().state_dict()] == [*model.state_dict()]

    def test_a_copy_of_an_accelerated_model_is_accelerated(self) -> None:
        model = translator()
        accelerate(model)
        other = copy.deepcopy(model)
        assert type(other.encoder) is LSTM
        assert same_bits(other(WORDS), model(WORDS))

    def test_parametrized_modules(self) -> None:
        module = torch.nn.LSTM(7, 9, dtype=torch.float64)
        parametrizations.weight_norm(module, "weight_hh_l0")
        other = copy.deepcopy(module)
        accelerate(module)
        assert isinstance(module, LSTM)
        assert not isinstance(other, LSTM)
        x = values(2, 4, 3, 7, dtype=torch.float64)
        results, gradients = [], []
        for lstm in (module, other):
            lstm(x)[0].square().sum().backward()
            results.append(lstm(x)[0])
            gradients.append([p.grad for p in lstm.parameters()])
        assert_close("reference", results[:1], results[1:], "float64")
        assert_close("gradients", *gradients, "float64")
        parametrize.remove_parametrizations(module, "weight_hh_l0")
        assert type(module) is LSTM
        assert_close("reference", [module(x)[0]], results[1:], "float64")

    @pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
    def test_weights_that_a_hook_computes(self) -> None:
        module = torch.nn.LSTM(7, 9, dtype=torch.float64)
        torch.nn.utils.weight_norm(module, "weight_hh_l0")
        x = values(2, 4, 3, 7, dtype=torch.float64)
        wanted = module(x)[0]
        assert accelerate(module).swapped == [""]
        assert_close("reference", [module(x)[0]], [wanted], "float64")
        module.weight_hh_l0_g.data.mul_(2)
        actual = module(x)[0]
        module.__class__ = torch.nn.LSTM
        assert_close("reference", [actual], [module(x)[0]], "float64")
        assert (actual - wanted).abs().max() > 1e-3

    def test_a_model_without_lstms(self) -> None:
        report = accelerate(torch.nn.Linear(2, 3))
        assert report == Report()
        assert repr(report) == "cellgate computes 0 of 0 LSTMs"

    def test_something_that_is_no_module(self) -> None:
        with pytest.raises(TypeError, match=r"model: must be a torch.nn.Module, got list"):
            accelerate([torch.nn.LSTM(2, 3)])  # type: ignore[arg-type]


class Louder(torch.nn.LSTM):
    """A subclass with a forward of its own."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        return super().forward(2 * input, hx)


def replaced() -> Any:
    module = torch.nn.LSTM(7, 9)
    module.forward = lambda x: x
    return module


def moved(cls: Any) -> Any:
    """Half the weights elsewhere."""
    module = cls(7, 9)
    for name in ("weight_hh_l0", "weight_hh"):
        if hasattr(module, name):
            setattr(module, name, torch.nn.Parameter(getattr(module, name).to("meta")))
    return module


class TestLeft:
    @pytest.mark.parametrize(
        ("make", "reason"),
        [
            (lambda: torch.nn.LSTM(7, 9, device="meta"), "weight_ih_l0 is on meta, not on the CPU"),
            (lambda: moved(torch.nn.LSTM), "weight_hh_l0 is on meta, not on the CPU"),
            (lambda: moved(torch.nn.LSTMCell), "weight_hh is on meta, not on the CPU"),
            (lambda: torch.nn.LSTM(7, 9, dtype=torch.bfloat16), "weight_ih_l0 is torch.bfloat16"),
            (lambda: torch.nn.LSTMCell(7, 9).half(), "weight_ih is torch.float16"),
            (lambda: Louder(7, 9), "Louder is a subclass of torch.nn.LSTM: derive it from cell"),
            (replaced, "its own forward would not be called"),
        ],
        ids=["meta", "partly", "cell", "bfloat16", "half", "subclass", "replaced"],
    )
    def test_what_cannot_be_swapped_stays_and_is_reported(self, make: Any, reason: str) -> None:
        model = torch.nn.ModuleDict({"good": torch.nn.LSTM(7, 9), "bad": make()})
        before = type(model["bad"])
        report = accelerate(model)
        assert report.swapped == ["good"]
        assert [*report.left] == ["bad"]
        assert reason in report.left["bad"]
        assert type(model["bad"]) is before
        assert repr(report).splitlines() == [
            "cellgate computes 1 of 2 LSTMs",
            "  good",
            "and these are as they were",
            f"  bad: {report.left['bad']}",
        ]

    @pytest.mark.filterwarnings("ignore:.*torch.ao.quantization is deprecated:DeprecationWarning")
    @pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor.* are deprecated:UserWarning")
    def test_quantized(self) -> None:
        model = torch.nn.Sequential(torch.nn.LSTM(7, 9), torch.nn.LSTMCell(7, 9))
        kinds = {torch.nn.LSTM, torch.nn.LSTMCell}
        quantized = torch.ao.quantization.quantize_dynamic(model, kinds)
        report = accelerate(quantized)
        assert report.swapped == []
        assert report.left == {
            "0": "it is a torch.ao.nn.quantized.dynamic.modules.rnn.LSTM",
            "1": "it is a torch.ao.nn.quantized.dynamic.modules.rnn.LSTMCell",
        }

    @pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
    def test_scripted(self) -> None:
        report = accelerate(torch.jit.script(torch.nn.Sequential(torch.nn.LSTM(7, 9))))
        assert report.left == {"0": "it is scripted"}

    def test_a_cell_without_units(self) -> None:
        assert accelerate(torch.nn.LSTMCell(7, 0)).left == {"": "input_size or hidden_size is 0"}
