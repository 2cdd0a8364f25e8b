"""What cellgate.torch.LSTM refuses, in words of what it would take; nothing else computes it."""

from __future__ import annotations

from typing import Any

import pytest
from torch_cases import make_module, plain, values

import torch  # isort: skip  (after torch_cases, which skips where it is not installed)
from cellgate.torch import LSTM, LSTMCell, _kernels
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_other_types(dtype: torch.dtype) -> None:
    module = LSTM(7, 17).to(dtype)
    with pytest.raises(TypeError, match=r"must be torch.float32 or torch.float64, got torch"):
        module(torch.zeros(3, 2, 7, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, torch.int64])
def test_input_of_another_type_than_the_weights(dtype: torch.dtype) -> None:
    with pytest.raises(ValueError, match=r"input dtype .* does not match weight dtype"):
        LSTM(7, 17)(torch.zeros(3, 2, 7, dtype=dtype))


def test_a_state_or_a_weight_of_another_type() -> None:
    module = LSTM(7, 17)
    state = torch.zeros(1, 2, 17)
    with pytest.raises(ValueError, match=r"hx must all be torch.float32, got torch.float64"):
        module(torch.zeros(3, 2, 7), (state, state.double()))
    module.bias_hh_l0.data = module.bias_hh_l0.data.double()
    with pytest.raises(ValueError, match=r"weights must all be torch.float32, got"):
        module(torch.zeros(3, 2, 7))


def test_other_devices() -> None:
    x = torch.zeros(3, 2, 7)
    with pytest.raises(RuntimeError, match="weights must be on the CPU, got device meta"):
        LSTM(7, 17, device="meta")(x)
    with pytest.raises(RuntimeError, match="input must be on the CPU, got device meta"):
        LSTM(7, 17)(x.to("meta"))
    state = torch.zeros(1, 2, 17)
    with pytest.raises(RuntimeError, match="hx must be on the CPU, got device meta"):
        LSTM(7, 17)(x, (state, state.to("meta")))


def test_autocast() -> None:
    module, x = LSTM(7, 17), torch.zeros(3, 2, 7)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with pytest.raises(RuntimeError, match="autocast is not supported"):
            module(x)
        with torch.autocast("cpu", enabled=False):
            module(x)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_torchscript() -> None:
    with pytest.raises(TypeError, match="cannot be scripted"):
        torch.jit.script(torch.nn.Sequential(LSTM(7, 17)))


@pytest.mark.parametrize(
    ("shape", "states"),
    [
        ((7,), None),
        ((2, 3, 4, 7), None),
        ((3, 2, 8), None),
        ((3, 8), None),
        ((3, 2, 7), ((2, 3, 17), (2, 2, 17))),
        ((3, 2, 7), ((2, 2, 17), (2, 2, 16))),
        ((3, 2, 7), ((2, 2, 17), (1, 2, 17))),
        ((3, 2, 7), ((2, 17), (2, 17))),
        ((3, 7), ((2, 2, 17), (2, 2, 17))),
        ((3, 7), ((3, 17), (2, 17))),
        ((3, 2, 7), ((2, 2, 17), (2, 2))),
    ],
)
def test_shapes_are_refused_as_torch_refuses_them(shape: Any, states: Any) -> None:
    module = make_module(1, "float32", 7, 17, num_layers=2)
    x = torch.zeros(shape)
    hx = None if states is None else tuple(torch.zeros(s) for s in states)
    with pytest.raises((RuntimeError, ValueError)) as theirs:
        plain(module)(x, hx)
    with pytest.raises(theirs.type) as ours:
        module(x, hx)
    assert str(ours.value)


@pytest.mark.parametrize("sorted_rows", [False, True])
def test_states_of_packed_input(sorted_rows: bool) -> None:
    module = make_module(1, "float32", 7, 17)
    packed = pack_padded_sequence(torch.zeros(4, 3, 7), [4, 2, 1], enforce_sorted=sorted_rows)
    for shape in ((1, 2, 17), (1, 4, 17), (2, 3, 17), (1, 3, 16)):
        with pytest.raises(RuntimeError, match=r"Expected hidden\[1\] size"):
            module(packed, (torch.zeros(1, 3, 17), torch.zeros(shape)))


@pytest.mark.parametrize(
    "sizes", [[], [0], [3, 4], [3, -1], [4, 4], [3, 3], [3, 2**62], [2**62, 2**62]]
)
def test_packed_sequences_made_by_hand(sizes: list[int]) -> None:
    data = torch.zeros(7, 7)
    packed = PackedSequence(data, torch.tensor(sizes, dtype=torch.int64))
    with pytest.raises((ValueError, RuntimeError, IndexError)):
        make_module(1, "float32", 7, 17)(packed)


def test_wrong_derivatives_cannot_reach_the_core() -> None:
    """The operator checks for those who call it directly."""
    module = make_module(1, "float32", 7, 17)
    weights = [weight.detach() for weight in module.parameters()]
    call = (torch.zeros(3, 2, 7), None, None, None, None, weights, True, 1, False, False, 0.0)
    ops = torch.ops.cellgate
    size = _kernels.tape_size(_kernels.Call(*call))
    y, h, c, tape = ops.lstm_record(*call, size)
    with pytest.raises(ValueError, match=f"tape_size: must be {size}, got {size + 1}"):
        ops.lstm_record(*call, size + 1)
    ops.lstm_backward(*call, y, tape, y, h, c, True)
    for wrong in (
        (y[1:], tape, y, h, c),
        (y, tape[1:], y, h, c),
        (y, tape, y[:, 1:], h, c),
        (y, tape, y, h[:, 1:], c),
        (y, tape, y, h, c[..., 1:]),
    ):
        with pytest.raises(ValueError, match="must have shape"):
            ops.lstm_backward(*call, *wrong, True)
    with pytest.raises(TypeError, match="dtype must be float32"):
        ops.lstm_backward(*call, y, tape, y.double(), h, c, True)
    with pytest.raises(ValueError, match="weights: must be 4 tensors, or 5"):
        ops.lstm(*call[:5], weights[:3], *call[6:], "")
    with pytest.raises(ValueError, match="parameters: weight_hh_l0"):
        ops.lstm(*call[:5], [weights[0], weights[1][1:], *weights[2:]], *call[6:], "")
    with pytest.raises(ValueError, match="must be given with batch_sizes"):
        ops.lstm(torch.zeros(3, 7), None, None, torch.tensor([2, 1]), *call[4:], "")
    with pytest.raises(ValueError, match="must be given both or neither"):
        ops.lstm(call[0], h, None, *call[3:], "")


def test_nan_and_infinity_pass_through() -> None:
    module = make_module(1, "float32", 7, 16)
    x = values(2, 5, 3, 7, dtype=torch.float32)
    x[1, 0, 0], x[2, 1, 0] = torch.nan, torch.inf
    y, _ = module(x.requires_grad_())
    assert torch.equal(y.isnan(), plain(module)(x)[0].isnan())
    y.sum().backward()
    assert x.grad[:, 0].isnan().any()
    assert not x.grad[:, 2].isnan().any()


def test_a_cell_refuses_the_same() -> None:
    x = torch.zeros(3, 7)
    with pytest.raises(RuntimeError, match="LSTMCell: weights must be on the CPU, got device meta"):
        LSTMCell(7, 17, device="meta")(x)
    with pytest.raises(
        TypeError, match=r"LSTMCell: weights must be torch.float32 or torch.float64"
    ):
        LSTMCell(7, 17).half()(x.half())
    with torch.autocast("cpu"), pytest.raises(RuntimeError, match="autocast is not supported"):
        LSTMCell(7, 17)(x)
    with pytest.raises(ValueError, match=r"hx must all be torch.float32"):
        LSTMCell(7, 17)(x, (torch.zeros(3, 17).double(), torch.zeros(3, 17)))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda w: w[:1], ValueError),
        (lambda w: w[:, :1], ValueError),
        (lambda w: w.t(), ValueError),
        (lambda w: w.double(), TypeError),
        (lambda w: w.view(torch.int32), TypeError),
    ],
    ids=["rows", "columns", "transposed", "double", "integers"],
)
def test_a_weight_that_does_not_fit_is_not_compared_with_the_one_packed_before(
    change: Any, error: Any
) -> None:
    """Nor is anything read beyond its end."""
    weights = [weight.detach() for weight in make_module(1, "float32", 7, 17).parameters()]
    call = (torch.zeros(3, 2, 7), None, None, None, None)
    layout = (True, 1, False, False, 0.0, "")
    torch.ops.cellgate.lstm(*call, weights, *layout)
    weights[1] = change(weights[1])
    with pytest.raises(error, match="weight_hh_l0"):
        torch.ops.cellgate.lstm(*call, weights, *layout)
