"""Instruction sets: the one asked for is the one that runs, and all with FMA give equal bits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cellgate
import numpy as np
import pytest
from cases import DTYPES
from cellgate import _core
from fingerprint import fingerprint
from tolerances import BOUNDS

TESTS = Path(__file__).parent
WITHOUT_FMA = {"baseline"}  # rounds each product, so that its bits may differ


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A new interpreter with CELLGATE_ISA and the like as given, and otherwise as here."""
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **environment},
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


# Prints the version, then what each use of a wrong environment variable raises.
ALL_USES = """
import cellgate
import numpy

print(cellgate.__version__)
for use in (
    cellgate.active_isa if "{0}" == "CELLGATE_ISA" else cellgate.get_num_threads,
    cellgate.build_info,
    lambda: cellgate.LSTM(3, 4)(numpy.zeros((2, 3), "float32")),
    lambda: cellgate.LSTM(3, 4).stream(),
):
    try:
        use()
    except ValueError as error:
        print(error)
"""


def test_the_forced_isa_or_else_the_best_is_active() -> None:
    info = cellgate.build_info()
    forced = os.environ.get("CELLGATE_ISA")
    wanted = forced.lower() if forced else info["isas_supported"][0]
    assert cellgate.active_isa() == info["isa_active"] == wanted
    assert set(info["isas_supported"]) <= set(info["isas_built"])


def test_exactly_the_expected_isas_are_supported() -> None:
    """CI finds out by itself what its machine can run, and names it in CELLGATE_EXPECT_ISAS."""
    expected = os.environ.get("CELLGATE_EXPECT_ISAS")
    if expected is None:
        pytest.skip("CELLGATE_EXPECT_ISAS is not set")
    assert {*expected.split(",")} == {*cellgate.build_info()["isas_supported"]}


@pytest.mark.parametrize("isa", cellgate.build_info()["isas_supported"])
def test_each_supported_isa_can_be_forced_in_any_case(isa: str) -> None:
    code = "import cellgate; print(cellgate.active_isa())"
    for name in (isa, isa.upper(), isa.capitalize()):
        result = python("-c", code, CELLGATE_ISA=name)
        assert (result.stdout.strip(), result.stderr) == (isa, "")


@pytest.mark.parametrize(
    "isa",
    [
        "sse9",
        "AVX2 ",
        "auto",
        *(set(cellgate.build_info()["isas_built"]) - set(cellgate.build_info()["isas_supported"])),
    ],
)
def test_an_isa_that_cannot_run_is_an_error_at_use_not_at_import(isa: str) -> None:
    result = python("-c", ALL_USES.format("CELLGATE_ISA"), CELLGATE_ISA=isa)
    assert (result.returncode, result.stderr) == (0, "")
    version, *messages = result.stdout.splitlines()
    assert version == cellgate.__version__
    assert len(messages) == 4
    for message in messages:
        assert message.startswith("CELLGATE_ISA: must be one of ")
        assert repr(isa) in message
        for supported in cellgate.build_info()["isas_supported"]:
            assert supported in message


def fingerprint_of(isa: str, threads: str) -> dict[str, str]:
    result = python("fingerprint.py", CELLGATE_ISA=isa, CELLGATE_NUM_THREADS=threads)
    assert result.returncode == 0, result.stderr
    hashes: dict[str, str] = json.loads(result.stdout)
    assert hashes.pop("isa") == isa
    return hashes


@pytest.mark.parametrize("isa", cellgate.build_info()["isas_supported"])
def test_all_isas_with_fma_give_the_stored_bits(isa: str) -> None:
    """tests/fingerprint.json holds the hashes as one of them gave them."""
    hashes = fingerprint_of(isa, "1")
    assert fingerprint_of(isa, "4") == hashes
    if isa not in WITHOUT_FMA:
        stored = json.loads((TESTS / "fingerprint.json").read_text())
        assert hashes == {name: stored[name] for name in stored if name != "isa"}


def test_this_process_gives_the_bits_of_another() -> None:
    assert fingerprint() == fingerprint_of(cellgate.active_isa(), "2")


class TestActivations:
    @staticmethod
    def inputs(dtype: str) -> np.ndarray:
        random = np.random.default_rng(1)
        exponents = random.uniform(-20, 8, 200_000)
        values = 2.0**exponents * random.choice([-1, 1], exponents.size)
        return np.concatenate([values, np.linspace(-110, 110, 100_001)]).astype(dtype)

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("name", ["sigmoid", "tanh"])
    def test_error_in_ulp(self, name: str, dtype: str) -> None:
        """From the correctly rounded value, by long double, of 64 bits of mantissa or more."""
        assert np.finfo(np.longdouble).nmant >= 63
        x = self.inputs(dtype)
        wide = x.astype(np.longdouble)
        wanted = (np.tanh(wide) if name == "tanh" else 1 / (1 + np.exp(-wide))).astype(dtype)
        actual = _core._activation(name, x)
        tiny = np.finfo(dtype).tiny
        normal = np.abs(wanted) >= tiny
        assert (np.abs(actual[~normal]) <= tiny).all()  # subnormal results may be flushed to zero
        assert (np.signbit(actual) == np.signbit(wanted))[normal].all()
        integers = [a[normal].view(f"i{a.itemsize}") for a in (actual, wanted)]
        ulps = np.abs(integers[0] - integers[1]).max()
        assert ulps <= BOUNDS[f"activation {dtype} ulp"].value

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_ends_and_middle_are_exact(self, dtype: str) -> None:
        x = np.array([-np.inf, -0.0, 0.0, np.inf, np.nan], dtype)
        np.testing.assert_array_equal(_core._activation("sigmoid", x), [0, 0.5, 0.5, 1, np.nan])
        np.testing.assert_array_equal(_core._activation("tanh", x), [-1, 0, 0, 1, np.nan])

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_the_place_in_a_vector_does_not_matter(self, dtype: str) -> None:
        x = self.inputs(dtype)[:100]
        for name in ("sigmoid", "tanh"):
            whole = _core._activation(name, x)
            alone: list[Any] = [_core._activation(name, x[k : k + 1])[0] for k in range(100)]
            np.testing.assert_array_equal(alone, whole)
