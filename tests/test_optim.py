"""Adam and clipping: against values computed by hand, the papers' formulas, and torch."""

from __future__ import annotations

import importlib.util
import math
import os
from typing import Any

import cellgate
import numpy as np
import pytest
from cases import DTYPES, assert_same_bits
from cellgate.optim import Adam, clip_grad_norm
from tolerances import assert_within

if importlib.util.find_spec("torch") is None and "torch" in os.environ.get("CELLGATE_REQUIRE", ""):
    raise ModuleNotFoundError("CELLGATE_REQUIRE names torch, which is not installed")
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="torch is not installed"
)
SHAPES = {"weight": (5, 3), "bias": (7,), "scalar": (), "empty": (0, 4)}


def draw(seed: int, dtype: str = "float64", scale: float = 1.0) -> dict[str, np.ndarray]:
    normal = np.random.default_rng(seed).standard_normal
    return {name: np.array(scale * normal(shape), dtype) for name, shape in SHAPES.items()}


def copies(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in arrays.items()}


def raw(arrays: dict[str, np.ndarray]) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in arrays.items()}


def adam_by_formula(theta: float, grads: list[float], **options: Any) -> float:
    """One number, as algorithm 1 of Kingma & Ba and algorithm 2 of Loshchilov & Hutter have it."""
    alpha, eps = options["lr"], options["eps"]
    (beta1, beta2), decay = options["betas"], options["weight_decay"]
    m = v = 0.0
    for t, gradient in enumerate(grads, 1):
        m = beta1 * m + (1 - beta1) * gradient
        v = beta2 * v + (1 - beta2) * gradient**2
        step = m / (1 - beta1**t) / (math.sqrt(v / (1 - beta2**t)) + eps)
        theta = theta - alpha * decay * theta - alpha * step
    return theta


def test_adam_by_hand() -> None:
    # m = 0.5*0 + 0.5*4 = 2, corrected 2/0.5 = 4; v = 0.75*0 + 0.25*16 = 4, corrected 4/0.25 = 16;
    # step 0.5 * 4 / (4 + 1) = 0.4. Then m = 0.5*2 + 0.5*(-1) = 0.5, corrected 0.5/0.75 = 2/3;
    # v = 0.75*4 + 0.25*1 = 3.25, corrected 3.25/0.4375 = 52/7.
    parameters = {"x": np.array([1.0])}
    adam = Adam(parameters, lr=0.5, betas=(0.5, 0.75), eps=1.0)
    adam.step({"x": np.array([4.0])})
    assert_within("reference float64", parameters["x"], [0.6])
    adam.step({"x": np.array([-1.0])})
    wanted = 0.6 - 0.5 * (2 / 3) / (math.sqrt(52 / 7) + 1)
    assert_within("reference float64", parameters["x"], [wanted])


def test_weight_decay_by_hand() -> None:
    # The first step of Adam is lr * sign (ε aside); the decay takes lr * λ = 5 % of 2.0 before it.
    parameters = {"x": np.array([2.0])}
    adam = Adam(parameters, lr=0.1, eps=1e-300, weight_decay=0.5)
    adam.step({"x": np.array([-123.0])})
    assert_within("reference float64", parameters["x"], [2.0 - 0.1 + 0.1])
    adam.step({"x": np.array([-123.0])})
    assert_within("reference float64", parameters["x"], [2.0 * 0.95 + 0.1])


@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_adam_follows_the_formula_in_every_element(decay: float) -> None:
    options = {"lr": 0.03, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": decay}
    start = draw(0)
    parameters, grads = copies(start), [draw(seed) for seed in range(1, 21)]
    adam = Adam(parameters, **options)
    for gradient in grads:
        adam.step(gradient)
    for name, array in parameters.items():
        for index in np.ndindex(array.shape):
            wanted = adam_by_formula(
                float(start[name][index]), [float(g[name][index]) for g in grads], **options
            )
            assert_within("reference float64", array[index], wanted)


@needs_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_adam_is_torchs(dtype: str, decay: float) -> None:
    import torch

    options = {"lr": 0.03, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": decay}
    parameters = draw(0, dtype)
    theirs = {name: torch.tensor(array, requires_grad=True) for name, array in parameters.items()}
    adam = Adam(parameters, **options)
    kinds = [torch.optim.AdamW] if decay else [torch.optim.Adam, torch.optim.AdamW]
    for kind in kinds:
        optimiser = kind(theirs.values(), **options)
        for seed in range(1, 31):
            grads = draw(seed, dtype, scale=10.0 ** (seed % 7 - 3))
            for name, tensor in theirs.items():
                tensor.grad = torch.tensor(grads[name])
            adam.step(grads)
            optimiser.step()
            for name, tensor in theirs.items():
                assert_within(f"torch {dtype}", parameters[name], tensor.detach().numpy())
        adam = Adam(parameters, **options)  # the next optimiser of torch starts anew too


@needs_torch
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_clipping_is_torchs(dtype: str, scale: float) -> None:
    import torch

    grads = draw(3, dtype, scale)
    tensors = [torch.zeros(array.shape, dtype=getattr(torch, dtype)) for array in grads.values()]
    for tensor, array in zip(tensors, grads.values(), strict=True):
        tensor.grad = torch.tensor(array)
    wanted = torch.nn.utils.clip_grad_norm_(tensors, 0.25)
    norm = clip_grad_norm(grads, 0.25)
    assert_within(f"torch {dtype}", norm / scale, wanted.item() / scale)
    for tensor, array in zip(tensors, grads.values(), strict=True):
        # torch divides by norm + 1e-6, which is not the largest that the bound allows.
        theirs = tensor.grad.numpy() * (1 + 1e-6 / norm if norm > 0.25 else 1)
        assert_within(f"torch {dtype}", array, theirs)


@pytest.mark.parametrize("dtype", DTYPES)
def test_clipping_by_hand(dtype: str) -> None:
    grads = {"a": np.array([[2.0, -4.0]], dtype), "b": np.array(4.0, dtype)}
    before = raw(grads)
    assert clip_grad_norm(grads, 6.5) == 6.0
    assert clip_grad_norm(grads, 6.0) == 6.0
    assert clip_grad_norm(grads, math.inf) == 6.0
    assert raw(grads) == before  # not above the limit: untouched
    assert clip_grad_norm(grads, 1.5) == 6.0
    wanted = [np.array([[0.5, -1.0]], dtype), np.array(1.0, dtype)]
    assert_same_bits([*grads.values()], wanted)


def test_the_norm_is_summed_in_float64() -> None:
    one, many = np.full(1, 2**12, np.float32), np.full(2**20, 2**-12, np.float32)
    norm = clip_grad_norm({"one": one, "many": many}, math.inf)
    assert norm == math.sqrt(2**24 + 2**-4) > 2**12  # the sum of squares is beyond float32's digits
    large = np.full(2, 2.0**100, np.float32)  # whose square is beyond float32
    assert clip_grad_norm({"x": large}, 2.0**0.5) == 2.0**100.5
    assert_within("reference float32", large, [1, 1])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e200])
def test_gradients_with_a_norm_that_is_not_finite_are_left(value: float) -> None:
    grads = {"a": np.array([1.0, value]), "b": np.array([2.0])}
    before = raw(grads)
    norm = clip_grad_norm(grads, 1.0)
    assert math.isnan(norm) if math.isnan(value) else norm == math.inf
    assert raw(grads) == before


def test_arrays_are_changed_in_place_whatever_their_layout() -> None:
    plane = np.zeros((6, 8), np.float32)
    views = {"strided": plane[::2, ::-2], "transposed": plane[1::2].T}
    dense = copies(views)
    grads = {
        name: np.random.default_rng(1).random(v.shape, np.float32) for name, v in views.items()
    }
    strided_grads = {name: np.asfortranarray(g) for name, g in grads.items()}
    ours, theirs = Adam(views), Adam(dense)
    for _ in range(3):
        ours.step(strided_grads)
        theirs.step(grads)
    assert_same_bits([*views.values()], [*dense.values()])
    assert np.count_nonzero(plane) == 3 * 4 + 3 * 8
    assert plane[0, 0] == 0  # between the strided ones
    assert_same_bits([*grads.values()], [*strided_grads.values()])  # only read


def test_the_step_size_can_be_scheduled() -> None:
    parameters = {"x": np.array([1.0])}
    adam = Adam(parameters, lr=0.1, eps=1e-300)
    adam.lr = np.float64(0.0)
    adam.step({"x": np.array([1.0])})
    assert parameters["x"] == 1.0
    adam.lr = 0.25
    adam.step({"x": np.array([1.0])})
    assert_within("reference float64", parameters["x"], [0.75])
    with pytest.raises(ValueError, match=r"^lr: must be at least 0"):
        adam.lr = -1.0
    assert adam.lr == 0.25


@pytest.mark.parametrize("dtype", DTYPES)
def test_going_on_from_a_saved_state_is_the_same_to_the_bit(dtype: str) -> None:
    whole, parts = draw(0, dtype), draw(0, dtype)
    adam = Adam(whole, weight_decay=0.1)
    for seed in range(6):
        adam.step(draw(seed, dtype))

    first, second = Adam(parts, weight_decay=0.1), Adam(parts, weight_decay=0.1)
    for seed in range(3):
        first.step(draw(seed, dtype))
    saved = first.state_dict()
    second.load_state_dict(saved)
    before = raw(saved)
    for seed in range(3, 6):
        second.step(draw(seed, dtype))
    assert raw(parts) == raw(whole)
    assert raw(second.state_dict()) == raw(adam.state_dict())
    assert raw(saved) == raw(first.state_dict()) == before  # neither object shares it
    assert saved["step"] == 3


def test_a_small_network_learns() -> None:
    """The loop of the README: the parts fit together, and the loss falls."""
    x = np.random.default_rng(0).standard_normal((20, 8, 2), dtype=np.float32)
    wanted = np.float32(0.5) * np.tanh(np.cumsum(x[..., :1], axis=0))
    lstm = cellgate.LSTM(2, 16, proj_size=1, seed=0)
    parameters = lstm.state_dict()
    adam = Adam(parameters, lr=0.02)
    losses = []
    for _ in range(400):
        tape = lstm.record(x)
        error = tape.output - wanted
        losses.append(float(np.square(error).mean()))
        grads = tape.backward(2 * error / error.size).parameters
        clip_grad_norm(grads, 1.0)
        adam.step(grads)
        lstm.load_state_dict(parameters)
    assert losses[-1] < 0.02 * losses[0]


GOOD = {"x": np.zeros(2), "y": np.zeros((1, 2), np.float32)}
BAD_PARAMETERS = [
    (None, TypeError, "parameters: must map names to arrays, got NoneType None"),
    ([np.zeros(1)], TypeError, "parameters: must map names to arrays, got list"),
    ({}, ValueError, "parameters: is empty"),
    ({1: np.zeros(1)}, TypeError, "parameters: names must be str, got int 1"),
    ({"x": [1.0]}, TypeError, "parameters: x: must be a NumPy array, got list"),
    ({"x": np.float64(1)}, TypeError, "parameters: x: must be a NumPy array"),
    ({"x": np.zeros(1, int)}, TypeError, "parameters: x: must be float32 or float64, got int64"),
    ({"x": np.zeros(1, ">f4")}, TypeError, "parameters: x: must be float32 or float64, got >f4"),
    ({"x": np.zeros(1, "f2")}, TypeError, "parameters: x: must be float32 or float64, got float16"),
    ({"x": np.broadcast_to(0.0, 3)}, ValueError, "parameters: x: is read-only"),
]


@pytest.mark.parametrize(("parameters", "kind", "message"), BAD_PARAMETERS)
def test_bad_parameters(parameters: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=f"^{message}"):
        Adam(parameters)
    with pytest.raises(kind, match=f"^{message.replace('parameters', 'grads')}"):
        clip_grad_norm(parameters, 1.0)


def test_parameters_that_overlap_are_refused() -> None:
    x = np.zeros(8)
    with pytest.raises(ValueError, match=r"^parameters: a and c overlap in memory$"):
        Adam({"a": x, "b": np.zeros(8), "c": x})
    with pytest.raises(ValueError, match=r"^parameters: a and b overlap in memory$"):
        Adam({"a": x[:5], "b": x[4:]})
    Adam({"a": x[:4], "b": x[4:]})
    Adam({"a": x[::2], "b": x[1::2]})


def test_an_eps_that_float32_rounds_to_zero() -> None:
    Adam({"w": np.zeros(3)}, eps=1e-50)
    with pytest.raises(ValueError, match=r"^eps: "):
        Adam({"w": np.zeros(3, np.float32)}, eps=1e-50)


@pytest.mark.parametrize("name", ["lr", "betas", "eps", "weight_decay", "max_norm"])
@pytest.mark.parametrize("value", [None, "1", True, 1j, np.zeros(2), [0.1, 0.2, 0.3]])
def test_what_is_no_number(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"^{name}: must be "):
        call_with(name, value)
    if name == "betas":
        with pytest.raises(TypeError, match=r"^betas: must be a number"):
            call_with(name, (0.9, value))


@pytest.mark.parametrize(
    ("name", "values"),
    {
        "lr": [-1e-9, math.nan, math.inf, 10**400],
        "eps": [0, 0.0, -1e-8, math.nan, math.inf],
        "weight_decay": [-0.1, math.nan, math.inf],
        "betas": [(1.0, 0.9), (0.9, 1), (-0.1, 0.9), (0.9, math.nan)],
        "max_norm": [0, 0.0, -1.0, math.nan, -math.inf, -(10**400)],
    }.items(),
)
def test_numbers_out_of_range(name: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(ValueError, match=f"^{name}: must be "):
            call_with(name, value)


def call_with(name: str, value: Any) -> None:
    if name == "max_norm":
        clip_grad_norm(copies(GOOD), value)
    else:
        Adam(copies(GOOD), **{name: value})


BAD_GRADIENTS = [
    (None, TypeError, "must map names to arrays"),
    ({}, ValueError, "is empty"),
    ({"x": np.ones(2)}, ValueError, "missing: y$"),
    ({**GOOD, "z": np.ones(1), "w": np.ones(1)}, ValueError, "unexpected: z, w$"),
    ({**GOOD, "y": np.ones(2, "f4")}, ValueError, r"y: wanted shape \(1, 2\), got \(2,\)$"),
    ({**GOOD, "y": np.ones((1, 2))}, TypeError, "y: wanted float32, got float64$"),
    ({**GOOD, "x": np.ones(2, "f4")}, TypeError, "x: wanted float64, got float32$"),
    ({**GOOD, "x": [1.0, 1.0]}, TypeError, "x: must be a NumPy array, got list"),
]


@pytest.mark.parametrize(("grads", "kind", "message"), BAD_GRADIENTS)
def test_bad_gradients_change_nothing(grads: Any, kind: type[Exception], message: str) -> None:
    parameters = {name: np.ones_like(array) for name, array in GOOD.items()}
    adam = Adam(parameters)
    adam.step({name: np.ones_like(array) for name, array in GOOD.items()})
    before, state = raw(parameters), raw(adam.state_dict())
    with pytest.raises(kind, match=f"^grads: {message}"):
        adam.step(grads)
    assert raw(parameters) == before
    assert raw(adam.state_dict()) == state


def test_bad_states_change_nothing() -> None:
    adam = Adam(copies(GOOD))
    adam.step({name: np.ones_like(array) for name, array in GOOD.items()})
    before = raw(adam.state_dict())
    for change, kind, message in [
        ({"step": np.array(-1)}, ValueError, "step: must be at least 0, got -1"),
        ({"step": np.array([1])}, ValueError, "step: wanted shape"),
        ({"step": np.array(1.0)}, TypeError, "step: wanted int64, got float64"),
        ({"first.x": np.zeros(3)}, ValueError, "first.x: wanted shape"),
        ({"second.z": np.zeros(3)}, ValueError, "unexpected: second.z"),
    ]:
        with pytest.raises(kind, match=f"^state_dict: {message}"):
            adam.load_state_dict({**Adam(copies(GOOD)).state_dict(), **change})
        assert raw(adam.state_dict()) == before
    with pytest.raises(ValueError, match=r"^state_dict: missing: first\.x, "):
        adam.load_state_dict({"step": np.array(1)})


def test_repr() -> None:
    wanted = "Adam(2 arrays, lr=0.01, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.0)"
    assert repr(Adam(copies(GOOD), lr=0.01)) == wanted
