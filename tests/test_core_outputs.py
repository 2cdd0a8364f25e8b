"""Arrays that the caller has for the core's results, which `cellgate.torch` hands in."""

from __future__ import annotations

from typing import Any

import cellgate
import numpy as np
import pytest
from cases import DTYPES, assert_same_bits, make_case
from cellgate._core import Call, Derivatives, Training

SETTINGS = Training(0.5, 3)


class Recording:
    """A recorded call at the level of the core, and its backward pass."""

    def __init__(self, dtype: str = "float32") -> None:
        lstm = cellgate.LSTM(3, 5, 2, bidirectional=True, proj_size=2, dtype=dtype, seed=1)
        case = make_case(lstm, 4, 3, seed=2, with_state=True, with_lengths=True)
        self.model, self.call = lstm._model, Call(case.x, case.state, case.lengths)
        self.y, state, _, self.tape = self.model.record(self.call, SETTINGS, False)
        self.recorded = (self.y, *state, self.tape)
        self.derivatives = Derivatives(self.y, 2 * self.y)
        self.gradients = self.backward()

    def record(self, out: Any = None) -> Any:
        return self.model.record(self.call, SETTINGS, False, out)

    def backward(self, out: Any = None) -> Any:
        return self.model.backward(self.tape, self.call, SETTINGS, self.derivatives, out)

    def places(self) -> tuple[Any, ...]:
        """Arrays of the right shapes for all gradients, with arbitrary values in them."""
        d_x, (d_h, d_c), parameters = self.gradients
        new = [np.full_like(array, np.nan) for array in (d_x, d_h, d_c, *parameters.values())]
        return *new[:3], tuple(new[3:])


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_recording_is_written_where_the_caller_wants_it(dtype: str) -> None:
    wanted = Recording(dtype)
    out = tuple(np.full_like(array, np.nan) for array in wanted.recorded)
    y, (h, c), _, tape = wanted.record(out)
    assert all(one is other for one, other in zip((y, h, c, tape), out, strict=True))
    assert_same_bits(out, wanted.recorded)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_are_written_where_the_caller_wants_them(dtype: str) -> None:
    wanted = Recording(dtype)
    out = wanted.places()
    d_x, d_state, parameters = wanted.backward(out)
    given = (out[0], out[1], out[2], *out[3])
    found = (d_x, *d_state, *parameters.values())
    assert all(one is other for one, other in zip(found, given, strict=True))
    assert_same_bits((d_x, d_state, parameters), wanted.gradients)


def test_some_may_be_left_to_the_core() -> None:
    wanted = Recording()
    out = (None, wanted.places()[1], None, None)
    found = wanted.backward(out)
    assert found[1][0] is out[1]
    assert_same_bits(found, wanted.gradients)
    assert_same_bits(wanted.record((None,) * 4)[:2], (wanted.y, wanted.recorded[1:3]))


def read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "spoil",
    [
        lambda a: a[..., :-1].copy(),
        lambda a: a.astype(np.float64),
        lambda a: np.empty((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)[..., ::2],
        lambda a: read_only(a.copy()),
        lambda a: a.tolist(),
        lambda a: "array",
    ],
)
def test_what_cannot_be_written_into_is_refused_by_name(spoil: Any) -> None:
    recording = Recording()
    for k, name in enumerate(("y", "h", "c", "tape")):
        out = [array.copy() for array in recording.recorded]
        out[k] = spoil(out[k])
        with pytest.raises((TypeError, ValueError), match=f"^out: {name}: "):
            recording.record(tuple(out))
    for k, name in enumerate(("d_x", "d_h", "d_c")):
        gradients: list[Any] = [*recording.places()]
        gradients[k] = spoil(gradients[k])
        with pytest.raises((TypeError, ValueError), match=f"^out: {name}: "):
            recording.backward(tuple(gradients))
    *rest, parameters = recording.places()
    with pytest.raises((TypeError, ValueError), match=r"^out: weight_ih_l0: "):
        recording.backward((*rest, (spoil(parameters[0]), *parameters[1:])))


@pytest.mark.parametrize("wrong", [(), (None,) * 3, (None,) * 5, [None] * 4, "out!", 4], ids=repr)
def test_other_numbers_of_arrays_are_refused(wrong: Any) -> None:
    recording = Recording()
    with pytest.raises(TypeError, match=r"^out: must be a tuple"):
        recording.record(wrong)
    with pytest.raises(TypeError, match=r"^out: must be a tuple"):
        recording.backward(wrong)
    with pytest.raises(TypeError, match=r"^out: parameters: must be a tuple"):
        recording.backward((None, None, None, wrong))
