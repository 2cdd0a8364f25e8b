"""The inner loops of the full register tiles keep everything in registers.

A sum or a weight that the compiler puts on the stack would cost a good part of the speed, and no
test of results would see it.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from kernel_objects import isa_rows, kernel_object

# Multiply-adds in one turn of a loop over k, four k each: 12 sums with 16 registers, 24 with 32.
FULL_TILE = {"avx2": 12 * 4, "avx512": 24 * 4}


@dataclass(frozen=True)
class Instruction:
    address: int
    name: str
    operands: str

    @property
    def target(self) -> int | None:
        """Where a jump leads."""
        found = re.match(r"([0-9a-f]+)\b", self.operands)
        return int(found[1], 16) if self.name.startswith("j") and found else None


def functions(path: Path) -> dict[str, list[Instruction]]:
    command = ["objdump", "--disassemble", "--no-show-raw-insn", "--demangle", str(path)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[str, list[Instruction]] = {}
    for line in output.splitlines():
        if label := re.match(r"[0-9a-f]+ <(.*)>:$", line):
            own = found.setdefault(label[1], [])
        elif code := re.match(r"\s*([0-9a-f]+):\s+(\S+)\s*(.*)", line):
            own.append(Instruction(int(code[1], 16), code[2], code[3]))
    return found


def inner_loops(code: list[Instruction]) -> list[list[Instruction]]:
    """From the target of a jump back to the jump, with no other such loop inside."""
    places = {instruction.address: index for index, instruction in enumerate(code)}
    jumps = [
        (places[jump.target], end)
        for end, jump in enumerate(code)
        if jump.target in places and places[jump.target] < end
    ]
    return [
        code[begin:end]
        for begin, end in jumps
        if not any(begin <= b and e < end for b, e in jumps if (b, e) != (begin, end))
    ]


@pytest.mark.parametrize("isa", sorted(set(FULL_TILE) & set(isa_rows())))
def test_full_tiles_stay_in_registers(isa: str) -> None:
    if shutil.which("objdump") is None:
        pytest.skip("there is no objdump")
    full, spilled = 0, []
    for name, code in functions(kernel_object(isa)).items():
        for loop in inner_loops(code):
            sums = sum("fmadd" in i.name for i in loop)
            if any("div" in i.name for i in loop):
                continue  # goes over tiles and includes the cell's tail
            # Narrow tiles (the last columns of a product) have up to six row pointers.
            if sums < FULL_TILE[isa] or re.search(r"gemm_panels<\w+, \w+, [12]>", name):
                continue
            full += 1
            spilled += [(name, i) for i in loop if "mm" in i.operands and "(%rsp" in i.operands]
    assert full >= 8, "the loops that this test is about were not found"
    assert not spilled, spilled


def test_x86_has_its_rows() -> None:
    """What the test above picks its instruction sets from."""
    if platform.machine() == "x86_64":
        assert set(FULL_TILE) <= set(isa_rows())
