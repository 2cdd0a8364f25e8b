"""Each kernel object exports one symbol, so that nothing built for a newer CPU can be linked
into a path that runs on an older one."""

from __future__ import annotations

import cellgate
import pytest
from kernel_objects import isa_rows, kernel_object, symbols

# What the compiler itself may call or refer to; none of it is compiled here.
ALLOWED_UNDEFINED = {"memcpy", "memset", "memmove", "_GLOBAL_OFFSET_TABLE_", "__stack_chk_fail"}


def test_the_rows_are_those_that_were_built() -> None:
    assert list(isa_rows()) == cellgate.build_info()["isas_built"]


@pytest.mark.parametrize("isa", isa_rows())
def test_an_object_exports_its_table_alone(isa: str) -> None:
    path = kernel_object(isa)
    undefined = symbols(path, "--undefined-only")
    assert symbols(path, "--extern-only") - undefined == {f"cellgate_kernels_{isa}"}
    assert undefined <= ALLOWED_UNDEFINED, undefined - ALLOWED_UNDEFINED
