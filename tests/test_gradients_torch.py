"""Gradients against torch.nn.LSTM and autograd, which the oracle is compared with too."""

from __future__ import annotations

from typing import Any

import cellgate
import numpy as np
import pytest
from cases import Training, examples, flat, make_case, make_training, trainings
from hypothesis import assume, given
from hypothesis import strategies as st
from test_torch_parity import CONFIGS, DTYPES, pair, torch  # skips all this if it is not there
from tolerances import assert_within

pytestmark = pytest.mark.filterwarnings(
    "ignore:LSTM with projections is not supported with oneDNN:UserWarning"
)


def torch_gradients(module: torch.nn.LSTM, training: Training) -> tuple[Any, Any, Any]:
    """As `Training.gradients` gives them; lengths go through a PackedSequence.

    torch has cells of the last step only, so that `d_cells` needs a plain, unidirectional case,
    which then goes step by step.
    """
    case = training.case
    x, state = leaf(case.x), case.state
    if state is None:
        state = [np.zeros_like(d) for d in make_training(case, 0).d_state]
    h, c = leaf(state[0]), leaf(state[1])
    if training.d_cells is not None:
        y, last, cells = by_steps(module, x, (h, c))
    elif case.lengths is None:
        (y, last), cells = module(x, (h, c)), None
    else:
        rows = torch.nn.utils.rnn.pack_padded_sequence(
            x, torch.from_numpy(case.lengths), module.batch_first, enforce_sorted=False
        )
        rows, last = module(rows, (h, c))
        steps = case.x.shape[1 if module.batch_first else 0]
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(rows, module.batch_first, total_length=steps)
        cells = None
    results, d_state = (y, *last, cells), training.d_state or (None, None)
    products = [
        (torch.from_numpy(d) * result).sum()
        for d, result in zip((training.d_output, *d_state, training.d_cells), results, strict=True)
        if d is not None
    ]
    module.zero_grad()
    sum(products).backward()
    parameters = {name: zero_for_none(p.grad, p) for name, p in module.named_parameters()}
    return zero_for_none(x.grad, x), [zero_for_none(s.grad, s) for s in (h, c)], parameters


def by_steps(module: torch.nn.LSTM, x: Any, state: Any) -> tuple[Any, Any, Any]:
    """Output, final state and the last layer's cells of all steps."""
    outputs, cells = [], []
    for x_t in x.unbind():
        y_t, state = module(x_t[None], state)
        outputs.append(y_t)
        cells.append(state[1][-1:])
    return torch.cat(outputs), state, torch.cat(cells)


def leaf(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.copy()).requires_grad_()


def zero_for_none(gradient: Any, like: torch.Tensor) -> np.ndarray:
    """As an array; torch has no gradient at all where the loss does not depend on a value."""
    return np.zeros_like(like.detach().numpy()) if gradient is None else gradient.numpy()


def assert_equals_torch(training: Training, module: torch.nn.LSTM, checkpoint: Any = None) -> None:
    dtype = str(training.case.lstm.dtype)
    wanted = torch_gradients(module, training)
    grads = training.gradients(checkpoint=checkpoint)
    assert [*grads.parameters] == [*wanted[2]]
    for actual, array in zip(flat(grads), flat(wanted), strict=True):
        assert_within(f"torch gradients {dtype}", actual, array)
    if dtype == "float64":
        for actual, array in zip(flat(training.reference()), flat(wanted), strict=True):
            assert_within("torch gradients float64", actual, array)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: " ".join(str(int(v)) for v in c.values()))
def test_every_option(config: dict, dtype: str) -> None:
    lstm, module = pair(7, 17, dtype, **config)
    whole = make_case(lstm, 12, 5, seed=2)
    for case in (
        whole,
        whole._replace(state=None),
        whole._replace(lengths=np.array([3, 12, 1, 12, 7])),  # torch has no length of 0
        make_case(lstm, 12, None, seed=3),
    ):
        assert_equals_torch(make_training(case, 4, ["output", "h", "c"]), module)


@pytest.mark.parametrize("dtype", DTYPES)
@examples(200)
@given(st.data())
def test_any_case(dtype: str, data: st.DataObject) -> None:
    """But for what torch does not have: no steps or sequences at all, resets, its own dropout."""
    training = data.draw(trainings(dtype, dropout=0.0))
    case = training.case
    assume(case.x.size > 0)
    lstm, module = pair(
        case.lstm.input_size,
        case.lstm.hidden_size,
        dtype,
        num_layers=case.lstm.num_layers,
        bias=case.lstm.bias,
        batch_first=case.lstm.batch_first,
        bidirectional=case.lstm.bidirectional,
        proj_size=case.lstm.proj_size,
    )
    lengths = None if case.lengths is None else np.maximum(case.lengths, 1)
    case = case._replace(lstm=lstm, reset=None, lengths=lengths)
    training = training._replace(case=case)
    plain = lengths is None and not lstm.bidirectional and not lstm.batch_first
    if training.d_cells is not None and not plain:
        training = make_training(case, training.seed, ["output", "h"])
    assert_equals_torch(training, module, data.draw(st.sampled_from([None, 1, 3])))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("given", [["output"], ["h"], ["c"], ["cells"], ["c", "cells"]], ids=str)
@pytest.mark.parametrize("config", [{}, {"num_layers": 2, "proj_size": 4}], ids=str)
def test_some_of_the_derivatives(config: dict, given: list[str], dtype: str) -> None:
    lstm, module = pair(5, 9, dtype, **config)
    assert_equals_torch(make_training(make_case(lstm, 8, 3, seed=2), 3, given), module)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("input_size", "hidden_size", "steps", "batch"),
    [(1, 1, 5, 1), (33, 8, 3, 16), (128, 128, 1, 1), (64, 64, 100, 32), (300, 200, 20, 4)],
)
def test_sizes(input_size: int, hidden_size: int, steps: int, batch: int, dtype: str) -> None:
    lstm, module = pair(input_size, hidden_size, dtype)
    training = make_training(make_case(lstm, steps, batch, seed=2), 3, ["output", "h", "c"])
    assert_equals_torch(training, module)


def test_tensors_are_taken_as_derivatives() -> None:
    lstm, _ = pair(7, 17, "float32")
    training = make_training(make_case(lstm, 5, 3, seed=2), 3)
    wanted = training.gradients()
    tensors = Training(
        training.case,
        torch.from_numpy(training.d_output),
        tuple(map(torch.from_numpy, training.d_state)),
        torch.from_numpy(training.d_cells),
    )
    for actual, array in zip(flat(tensors.gradients()), flat(wanted), strict=True):
        np.testing.assert_array_equal(actual, array)


def test_a_tensor_given_as_input_may_be_reused() -> None:
    lstm = cellgate.LSTM(7, 17, seed=1)
    training = make_training(make_case(lstm, 5, 3, seed=2), 3)
    x, h, c = (torch.from_numpy(a.copy()) for a in (training.case.x, *training.case.state))
    tape = lstm.record(x, (h, c), return_cells=True)
    for tensor in (x, h, c):
        tensor.zero_()
    for actual, array in zip(
        flat(training.backward(tape)), flat(training.gradients()), strict=True
    ):
        np.testing.assert_array_equal(actual, array)
