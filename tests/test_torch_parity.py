"""Against torch.nn.LSTM: the same weights, the same results, and weights in both directions."""

from __future__ import annotations

import importlib.util
import itertools
import os
import pickle
from typing import Any

import cellgate
import numpy as np
import pytest
from cases import Case, assert_same_bits, make_case
from tolerances import assert_within

if importlib.util.find_spec("torch") is None:
    if "torch" in os.environ.get("CELLGATE_REQUIRE", ""):
        raise ModuleNotFoundError("CELLGATE_REQUIRE names torch, which is not installed")
    pytest.skip("torch is not installed", allow_module_level=True)

import torch

torch.set_num_threads(1)  # its own threads would compete with ours for the cores

pytestmark = pytest.mark.filterwarnings(
    "ignore:LSTM with projections is not supported with oneDNN:UserWarning"
)

DTYPES = {"float32": torch.float32, "float64": torch.float64}
CONFIGS = [
    {
        "num_layers": layers,
        "bidirectional": both,
        "bias": bias,
        "proj_size": proj,
        "batch_first": bf,
    }
    for layers, both, bias, proj, bf in itertools.product(
        (1, 3), (False, True), (False, True), (0, 9), (False, True)
    )
]


def pair(input_size: int, hidden_size: int, dtype: str, **config: Any) -> tuple[Any, Any]:
    """A cellgate.LSTM and a torch.nn.LSTM with its weights."""
    lstm = cellgate.LSTM(input_size, hidden_size, **config, dtype=dtype, seed=1)
    module = torch.nn.LSTM(input_size, hidden_size, **config, dtype=DTYPES[dtype])
    weights = {name: torch.from_numpy(array) for name, array in lstm.state_dict().items()}
    module.load_state_dict(weights, strict=True)
    return lstm, module


def torch_result(module: Any, case: Case) -> tuple[Any, Any]:
    state = None if case.state is None else tuple(map(torch.from_numpy, case.state))
    x = torch.from_numpy(case.x)
    with torch.no_grad():
        if case.lengths is None:
            return module(x, state)
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            x, torch.from_numpy(case.lengths), module.batch_first, enforce_sorted=False
        )
        y, state = module(packed, state)
        steps = case.x.shape[1 if module.batch_first else 0]
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, module.batch_first, total_length=steps)
        return y, state


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: " ".join(str(int(v)) for v in c.values()))
def test_every_option(config: dict, dtype: str) -> None:
    lstm, module = pair(7, 17, dtype, **config)
    whole = make_case(lstm, 12, 5, seed=2)
    cases = [
        whole,
        whole._replace(state=None),
        whole._replace(lengths=np.array([3, 12, 1, 12, 7])),  # torch has no length of 0
        make_case(lstm, 12, None, seed=3),
    ]
    for case in cases:
        y, (h, c), _ = case.run()
        y_t, (h_t, c_t) = torch_result(module, case)
        for actual, wanted in ((y, y_t), (h, h_t), (c, c_t)):
            assert_within(f"torch {dtype}", actual, wanted.numpy())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("input_size", "hidden_size", "steps", "batch"),
    [(1, 1, 5, 1), (33, 8, 3, 16), (128, 128, 1, 1), (64, 64, 100, 32), (300, 200, 20, 4)],
)
def test_sizes(input_size: int, hidden_size: int, steps: int, batch: int, dtype: str) -> None:
    lstm, module = pair(input_size, hidden_size, dtype)
    case = make_case(lstm, steps, batch, seed=2)
    y, (h, c), _ = case.run()
    y_t, (h_t, c_t) = torch_result(module, case)
    for actual, wanted in ((y, y_t), (h, h_t), (c, c_t)):
        assert_within(f"torch {dtype}", actual, wanted.numpy())


class TestWeights:
    @pytest.mark.parametrize("config", CONFIGS[::3], ids=str)
    def test_names_shapes_and_order_are_torchs(self, config: dict) -> None:
        weights = cellgate.LSTM(7, 17, **config).state_dict()
        module = torch.nn.LSTM(7, 17, **config)
        assert [(name, array.shape) for name, array in weights.items()] == [
            (name, tuple(tensor.shape)) for name, tensor in module.state_dict().items()
        ]

    def test_a_state_dict_of_tensors_is_loaded(self) -> None:
        module = torch.nn.LSTM(7, 17, 2, proj_size=3)
        lstm = cellgate.LSTM(7, 17, 2, proj_size=3)
        lstm.load_state_dict(module.state_dict())
        before = [*lstm.state_dict().values()]
        assert_same_bits(before, [t.numpy().copy() for t in module.state_dict().values()])
        for parameter in module.parameters():
            parameter.data.zero_()
        assert_same_bits([*lstm.state_dict().values()], before)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int32])
    def test_tensors_of_other_types_are_refused(self, dtype: torch.dtype) -> None:
        lstm = cellgate.LSTM(7, 17)
        weights: dict[str, Any] = {**lstm.state_dict(), "bias_ih_l0": torch.zeros(68, dtype=dtype)}
        with pytest.raises(TypeError, match="bias_ih_l0 "):
            lstm.load_state_dict(weights)

    def test_parameters_that_record_gradients_are_refused_with_torchs_hint(self) -> None:
        lstm = cellgate.LSTM(7, 17)
        with pytest.raises(TypeError, match=r"weight_ih_l0 cannot be read as an array.*detach"):
            lstm.load_state_dict(dict(torch.nn.LSTM(7, 17).named_parameters()))

    def test_both_initialise_alike(self) -> None:
        """Both uniform in ±1/sqrt(H): 90% of 20 000 draws lie below the same bound."""
        sizes = {"input_size": 30, "hidden_size": 50}
        ours = np.concatenate(
            [a.ravel() for a in cellgate.LSTM(**sizes, seed=1).state_dict().values()]
        )
        theirs = torch.cat(
            [p.detach().ravel() for p in torch.nn.LSTM(**sizes).parameters()]
        ).numpy()
        for values in (ours, theirs):
            assert np.abs(values).max() <= 50**-0.5
            assert abs((np.abs(values) < 0.9 * 50**-0.5).mean() - 0.9) < 0.02


def test_tensors_are_taken_as_input() -> None:
    lstm, _ = pair(7, 17, "float32")
    case = make_case(lstm, 5, 3, seed=2)
    tensors = [torch.from_numpy(a) for a in (case.x, *case.state)]
    assert_same_bits(lstm(tensors[0], tuple(tensors[1:])), lstm(case.x, case.state))


def test_a_caller_that_flushes_subnormals_goes_on_doing_so() -> None:
    lstm = cellgate.LSTM(7, 17)
    if not torch.set_flush_denormal(True):
        pytest.fail("this CPU cannot flush subnormals, which every x86-64 and AArch64 CPU can")
    try:
        lstm(np.zeros((3, 7), np.float32))
        assert (torch.tensor([1e-40]) * 0.5).item() == 0.0
    finally:
        torch.set_flush_denormal(False)
    lstm(np.zeros((3, 7), np.float32))
    assert (torch.tensor([1e-40]) * 0.5).item() != 0.0


def test_pickles_hold_no_torch() -> None:
    lstm = cellgate.LSTM(7, 17)
    lstm.load_state_dict(torch.nn.LSTM(7, 17).state_dict())
    assert b"torch" not in pickle.dumps(lstm)
