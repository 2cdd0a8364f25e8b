"""Fits and prints the constants of csrc/kernels/activations-inl.hpp; reads and writes no file.

Needs mpmath and numpy, takes some seconds: python tools/fit_activations.py
The rational approximations come from Remez' exchange in 50 digits. For float32 the scale and then
the neighbours of each rounded coefficient are tried in emulated float32 arithmetic, with the
multiply-add rounded once (FMA) and twice (x86-64 baseline), and the smallest worst error wins.
The last word on accuracy is tests/cpp/test_activations.cpp, which runs the kernels themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import mpmath as mp
import numpy as np
from mpmath import mpf

mp.mp.dps = 50
LN2 = mp.log(2)
Coefficients = dict[int, "mpf | None"]  # by power; None is to be fitted
# Half a step of the argument reduction, wider by what rounding can add to it.
HALF_STEP = LN2 / 2 * mpf("1.0002")
# Steps of tanh32, 0.9 % fewer than the natural 2 log2(e): n = 0, where the quotient is exact,
# reaches a little further, and n = 1, where it loses most, begins a little later. Anything between
# 0.984 and 0.996 of 2 log2(e) keeps the worst error of the whole range where it is.
TANH_STEPS = mpf("2.859375")


@dataclass
class Rational:
    """N(x) / D(x), both with constant coefficients by power of x."""

    numerator: dict[int, mpf]
    denominator: dict[int, mpf]

    def __call__(self, x: mpf) -> mpf:
        return polynomial(self.numerator, x) / polynomial(self.denominator, x)


def polynomial(coefficients: dict[int, mpf], x: mpf) -> mpf:
    return mp.fsum(c * x**power for power, c in coefficients.items())


def remez(
    f: Callable[[mpf], mpf],
    low: mpf,
    high: mpf,
    numerator: Coefficients,
    denominator: Coefficients,
) -> tuple[Rational, mpf]:
    """Minimax of the relative error; coefficients given as None are free, the others kept.

    The kept coefficients must make N - f D vanish at 0 as fast as the first free power: the error
    is divided by that power, so that a zero at 0, even inside the interval, does not upset the
    alternation of signs.
    """
    free_n = [power for power, c in numerator.items() if c is None]
    free_d = [power for power, c in denominator.items() if c is None]
    first = min(free_n + free_d)
    unknowns = len(free_n) + len(free_d)
    fit = Rational(
        {p: c or mpf(0) for p, c in numerator.items()},
        {p: c or mpf(0) for p, c in denominator.items()},
    )
    kept = Rational(dict(fit.numerator), dict(fit.denominator))

    def chebyshev(count: int) -> list[mpf]:
        return [
            (low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * (2 * i + 1) / (2 * count))
            for i in range(count)
        ]

    grid = chebyshev(700)  # even, so that 0 is not among them
    values = [f(x) for x in grid]
    reference = chebyshev(unknowns + 1)
    for _ in range(12):
        for _ in range(5):  # the denominator in the weight is that of the round before
            rows, right = [], []
            for i, x in enumerate(reference):
                fx = f(x)
                scale = 1 / (fx * polynomial(fit.denominator, x))
                row = [scale * x**p for p in free_n] + [-scale * fx * x**p for p in free_d]
                sign = (-1) ** i * (1 if x > 0 else (-1) ** first)
                rows.append([*row, mpf(sign)])
                right.append(
                    scale * (fx * polynomial(kept.denominator, x) - polynomial(kept.numerator, x))
                )
            solution = list(mp.lu_solve(mp.matrix(rows), mp.matrix(right)))
            fit.numerator.update(zip(free_n, solution, strict=False))
            fit.denominator.update(zip(free_d, solution[len(free_n) :], strict=False))
        errors = [fit(x) / fx - 1 for x, fx in zip(grid, values, strict=True)]
        divided = [e / x**first for e, x in zip(errors, grid, strict=True)]
        extrema = [0]
        for i in range(1, len(grid)):
            if divided[i] * divided[extrema[-1]] < 0:
                extrema.append(i)
            elif abs(errors[i]) > abs(errors[extrema[-1]]):
                extrema[-1] = i
        while len(extrema) > unknowns + 1:
            extrema.pop(0 if abs(errors[extrema[0]]) < abs(errors[extrema[-1]]) else -1)
        assert len(extrema) == unknowns + 1, "the error does not alternate"
        worst = max(abs(e) for e in errors)
        if worst < abs(solution[-1]) * mpf("1.001"):
            return fit, worst
        reference = [grid[i] for i in extrema]
    raise ArithmeticError("Remez' exchange did not converge")


# --- float32 arithmetic, emulated -----------------------------------------------------------

F = np.float32
Array = np.ndarray
MultiplyAdd = Callable[..., Array]


def fused(a: Array, b: Array, c: Array) -> Array:
    # The product of two float32 is exact in float64; the rare double rounding does not matter here.
    return (np.asarray(a, np.float64) * b + c).astype(F)


def rounded_twice(a: Array, b: Array, c: Array) -> Array:
    return a * b + c


SIGMOID_SHIFT = 60  # 2^-60 scales both terms of the quotient, see activations-inl.hpp
LOG2E, LN2_F32 = F(mp.log(mp.e, 2)), F(LN2)
LN2_HIGH = F(mp.floor(LN2 * 2**16) / 2**16)  # 16 bits: n * LN2_HIGH is exact for 8 bits of n
LN2_LOW = F(LN2 - mpf(float(LN2_HIGH)))


def sigmoid32(x: Array, c: Sequence[np.float32], fma: MultiplyAdd) -> Array:
    scale, n1, n2, n3, d1, d2 = c
    n = np.rint(fma(x, -LOG2E, F(0)))
    r = fma(n, LN2_LOW, fma(n, LN2_HIGH, x))
    numerator = fma(r, fma(r, fma(r, n3, n2), n1), scale)
    denominator = fma(r, fma(r, d2, d1), scale) * F(2.0**-SIGMOID_SHIFT)
    power = np.exp2(n - F(SIGMOID_SHIFT)).astype(F)
    return denominator / fma(power, numerator, denominator)


def tanh32(x: Array, c: Sequence[np.float32], fma: MultiplyAdd) -> Array:
    n = np.rint(fma(x, F(TANH_STEPS), F(0)))
    r = fma(n, -LN2_F32 / F(2), x)
    t = r * r
    u = fma(r * t, fma(t, c[1], c[0]), r)
    power = np.exp2(n).astype(F)
    less, more = power - F(1), power + F(1)
    return fma(more, u, less) / fma(less, u, more)


def worst_ulp(
    kernel: Callable[..., Array],
    exact: Callable[[Array], Array],
    samples: Array,
    c: Sequence[np.float32],
) -> float:
    """Largest error of a kernel over the samples, in units in the last place of the exact value."""
    true = exact(samples.astype(np.float64))
    unit = np.spacing(np.abs(true).astype(F)).astype(np.float64)
    return max(
        float(np.max(np.abs(kernel(samples, c, fma).astype(np.float64) - true) / unit))
        for fma in (fused, rounded_twice)
    )


def refine(
    error: Callable[[Sequence[np.float32]], float], c: Sequence[np.float32], first: int
) -> list[np.float32]:
    """Coordinate descent over neighbouring floats of c[first:]."""
    best, found = list(c), error(c)
    improved = True
    while improved:
        improved = False
        for i in range(first, len(best)):
            for steps in (-8, -2, -1, 1, 2, 8):
                trial = list(best)
                trial[i] = best[i] + F(steps) * np.spacing(best[i])
                if (e := error(trial)) < found:
                    best, found, improved = trial, e, True
    return best


def in_units(error: mpf, bits: int) -> str:
    return f"{mp.nstr(error * 2**bits, 2)} * 2^-{bits} before rounding"


def show(title: str, **constants: Any) -> None:
    print(f"\n// {title}")
    for name, value in constants.items():
        print(f"//   {name:<10} {float(value).hex():>24}  {float(value):.17g}")


def argument_reduction() -> None:
    high = mp.floor(LN2 * 2**42) / 2**42  # 42 bits: exact times 11 bits of n
    show(
        "argument reduction, float32", log2e=LOG2E, ln2=LN2_F32, ln2_high=LN2_HIGH, ln2_low=LN2_LOW
    )
    show(
        "argument reduction, float64",
        log2e=mp.log(mp.e, 2),
        ln2=LN2,
        ln2_high=high,
        ln2_low=LN2 - high,
    )


def float32_sigmoid(random: np.random.Generator) -> None:
    numerator: Coefficients = {0: mpf(1), 1: None, 2: None, 3: None}
    denominator: Coefficients = {0: mpf(1), 1: None, 2: None}
    fit, error = remez(lambda r: mp.exp(-r), -HALF_STEP, HALF_STEP, numerator, denominator)
    plain = [*fit.numerator.values(), fit.denominator[1], fit.denominator[2]]
    tail = random.uniform(-87, -30, 50_000)
    samples = np.concatenate([random.uniform(-30, 2, 400_000), tail]).astype(F)

    def worst(c: Sequence[np.float32]) -> float:
        return worst_ulp(sigmoid32, lambda x: 1 / (1 + np.exp(-x)), samples, c)

    scale = min(
        (k / 20 for k in range(20, 40)), key=lambda k: worst([F(mpf(k) * c) for c in plain])
    )
    c = refine(worst, [F(mpf(scale) * v) for v in plain], 1)
    d0, d1, d2 = (mpf(float(v)) / 2**SIGMOID_SHIFT for v in (c[0], c[4], c[5]))
    show(
        f"float32: exp(-r) = N(r) / D(r) on |r| <= ln2/2, relative error {in_units(error, 24)};\n"
        f"// scale {scale} and neighbours chosen for sigmoid: worst {worst(c):.3f} ulp sampled;\n"
        f"// D times 2^-{SIGMOID_SHIFT}",
        **{"n0": c[0], "n1": c[1], "n2": c[2], "n3": c[3], "d0": d0, "d1": d1, "d2": d2},
    )


def float32_tanh(random: np.random.Generator) -> None:
    widest = mpf("1.0002") / (2 * TANH_STEPS)
    fit, error = remez(mp.tanh, mpf("1e-6"), widest, {1: mpf(1), 3: None, 5: None}, {0: mpf(1)})
    samples = np.exp(random.uniform(-4, 2.2, 400_000)).astype(F)

    def worst(c: Sequence[np.float32]) -> float:
        return worst_ulp(tanh32, np.tanh, samples, c)

    c = refine(worst, [F(fit.numerator[3]), F(fit.numerator[5])], 0)
    show(
        f"float32: tanh(r) = r + r^3 (c1 + c2 r^2) on |r| <= {mp.nstr(widest, 4)}, relative error "
        f"{in_units(error, 24)};\n// neighbours chosen for tanh: worst {worst(c):.3f} ulp sampled",
        **{"steps": TANH_STEPS, "c1": c[0], "c2": c[1]},
    )


def float64_tanh() -> None:
    numerator: Coefficients = {1: mpf(1), 3: None, 5: None}
    denominator: Coefficients = {0: mpf(1), 2: None, 4: None}
    fit, error = remez(mp.tanh, mpf("1e-6"), HALF_STEP / 2, numerator, denominator)
    n, d = fit.numerator, fit.denominator
    show(
        "float64: tanh(r) = r B(r^2) / A(r^2) on |r| <= ln2/4, relative error "
        + in_units(error, 53),
        **{"a1": d[2], "a2": d[4], "b1": n[3], "b2": n[5]},
    )


if __name__ == "__main__":
    generator = np.random.default_rng(2)
    argument_reduction()
    float32_sigmoid(generator)
    float32_tanh(generator)
    float64_tanh()
