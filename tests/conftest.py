"""Settings of the whole suite: hypothesis, the header that proves the ISA, thread counts.

Environment variables that the tests read:

CELLGATE_ISA            the instruction set to test; a test proves that it is the one in use
CELLGATE_EXPECT_ISAS    names, with commas, of exactly those that this machine must support
CELLGATE_APPLICATIONS   names, with commas, of the programs in examples/ to run; all if not set
CELLGATE_REQUIRE        names of packages (torch, silero, nam, embed: those of examples/embed) whose
                        tests must not be skipped
CELLGATE_C_LIBRARY      folder of a build of the C library, installed into its folder `prefix`: for
                        test_capi*.py, and for test_embed_examples.py, which else builds one
CELLGATE_EMBED_BUILD    folder in which test_embed_examples.py builds; else a temporary one
CELLGATE_KERNEL_OBJECTS folder of a build, whose objects test_symbols.py and test_assembly.py read;
                        else what `pip install .` left in build/, else they compile the kernels
CELLGATE_C_LIBRARY      folder of a build of the C library, installed into its folder prefix, which
                        test_capi*.py test; they are skipped if not set, unless CELLGATE_REQUIRE has
                        c_library
HYPOTHESIS_PROFILE      suite (few examples, always the same), slice (a third of them) or explore
                        (many, new each time)
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import cellgate
import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

# Examples are drawn from a fixed seed, so that a failure in CI is a failure everywhere;
# HYPOTHESIS_PROFILE=explore draws new ones, and more.
settings.register_profile(
    "suite",
    derandomize=True,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile("slice", settings.get_profile("suite"), max_examples=20)
settings.register_profile(
    "explore", settings.get_profile("suite"), derandomize=False, max_examples=2000
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


def pytest_report_header() -> str:
    info = cellgate.build_info()
    return (
        f"cellgate {info['version']}: {info['isa_active']} active, "
        f"{', '.join(info['isas_supported'])} supported, {info['threads']} threads"
    )


@pytest.fixture
def restore_threads() -> Iterator[None]:
    """For tests that call set_num_threads."""
    before = cellgate.get_num_threads()
    yield
    cellgate.set_num_threads(before)
