"""THE table of bounds: every comparison in these tests that is not of bits is held to one here.

An error is |actual - wanted|, divided by the largest |wanted| of the array where that exceeds 1.
The unit roundoff u is 2^-24 = 6.0e-8 in float32 and 2^-53 = 1.1e-16 in float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class Bound(NamedTuple):
    value: float
    reason: str


BOUNDS = {
    "reference float64": Bound(
        1e-12,
        "What the project promises: 9000 u. Chains of up to 70 products of size 1 round by some "
        "10 u, and the recurrence of the shapes tested here can raise that a hundredfold.",
    ),
    "reference float32": Bound(
        4e-6,
        "67 u. A pre-activation is a chain of some 70 products (up to 1000 small ones in a few "
        "cases) with partial sums under 4, so it rounds by about sqrt(70) * 2 u = 17 u; sigmoid "
        "and tanh, of slope 1/4 and 1, pass that on and add 2 ulp; the rest, four times that, is "
        "for what steps and layers add up.",
    ),
    "network float64": Bound(1e-12, "As for the reference; a head is one chain more."),
    "network float32": Bound(
        1e-5,
        "The LSTM's 4e-6 in h, times a head whose rows have an absolute sum of up to sqrt(70) / 2 "
        "with errors of random signs, so about as much again, its own chain of some 70 products, "
        "17 u, and an output gain of 1.5.",
    ),
    "nam float32": Bound(
        1e-6, "What the project promises: 17 u, of two chains of some 30 products in other orders."
    ),
    "torch float64": Bound(1e-12, "As for the reference, which torch equals to 1e-15."),
    "torch float32": Bound(8e-6, "Both sides are within 4e-6 of the exact result."),
    "gradients float64": Bound(
        1e-11,
        "What the project promises: 90 000 u. As in float32 below, some 100 u are to be expected; "
        "a mistake, such as one step or one sequence left out, is larger than 1e-3.",
    ),
    "gradients float32": Bound(
        8e-6,
        "134 u. The gradient of a weight is one sum over all steps of all sequences, up to 7680 "
        "here, with partial sums about as large as the result, so it rounds by some sqrt(7680) u "
        "= 88 u; its terms carry the errors of the forward pass, some 30 u, with random signs.",
    ),
    "torch gradients float64": Bound(1e-11, "As for the reference, which torch equals to 1e-14."),
    "torch gradients float32": Bound(
        8e-6, "Both sides round by some 56 u in the sums here, of up to 3200 steps."
    ),
    "differences float64": Bound(
        1e-9,
        "Of the fourth order with a step of 1e-3: 4e-12 times a fifth derivative that is under "
        "100, and losses under 1000, which round to 1e-13, divided by the step.",
    ),
    "activation float32 ulp": Bound(
        2.0, "What the project promises of sigmoid and tanh, from the correctly rounded value."
    ),
    "activation float64 ulp": Bound(
        4.0, "What activations-inl.hpp promises: a quotient of two sums, each rounded a few times."
    ),
}


def assert_within(name: str, actual: ArrayLike, wanted: ArrayLike) -> None:
    """NaN and infinity must be where they are wanted; the rest within the bound `name`."""
    actual, wanted = np.asarray(actual, np.float64), np.asarray(wanted, np.float64)
    assert actual.shape == wanted.shape
    finite = np.isfinite(wanted)
    np.testing.assert_array_equal(actual[~finite], wanted[~finite])
    if not finite.any():
        return
    scale = max(1.0, np.abs(wanted[finite]).max())
    error = np.abs(actual[finite] - wanted[finite]).max() / scale
    assert error <= BOUNDS[name].value, f"{name}: error {error:.3g}, {BOUNDS[name]}"
