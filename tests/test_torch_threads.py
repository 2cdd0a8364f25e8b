"""Calls run on PyTorch's threads, which spin after each operator; test_openmp.cpp has the cases."""

from __future__ import annotations

import json
import subprocess
import sys

import cellgate
import numpy as np
import pytest

pytest.importorskip("torch")
import cellgate.torch
import torch
from cellgate import _core

# In a process of its own, whose threads and their processor time can be told apart.
PROGRAM = """
import json, os, sys
import numpy as np
import torch
import cellgate
from cellgate import _core
if sys.argv[1] == "beside":
    import cellgate.torch

def ticks_of_threads():
    found = {}
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        found[task] = int(fields[11]) + int(fields[12])
    return found

torch.set_num_threads(2)
cellgate.set_num_threads(2)
_core._set_split("units")  # independent of the load of the machine
torch.ones(4_000_000).exp()  # its threads begin
before = ticks_of_threads()
lstm = cellgate.LSTM(256, 256, seed=0)
x = np.random.default_rng(0).standard_normal((300, 16, 256), np.float32)
for _ in range(20):
    y, _ = lstm(x)
after = ticks_of_threads()
new = sum(ticks for task, ticks in after.items() if task not in before)
known = sum(ticks - before[task] for task, ticks in after.items() if task in before)
print(json.dumps({"new": new, "known": known, "sum": float(y.sum())}))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_calls_run_on_the_threads_of_torch():
    found = {
        where: json.loads(
            subprocess.run(
                [sys.executable, "-c", PROGRAM, where], check=True, capture_output=True, text=True
            ).stdout
        )
        for where in ("alone", "beside")
    }
    assert found["alone"]["sum"] == found["beside"]["sum"]
    # Ticks of the processor, of 10 ms: half of all in threads of ours, or none.
    assert found["alone"]["new"] > 10
    assert found["beside"]["known"] > 20
    assert found["beside"]["new"] <= 2


def test_a_library_that_is_not_loaded_is_refused():
    assert not _core.use_openmp_of("/nowhere/libtorch_cpu.so")


@pytest.mark.usefixtures("restore_threads")
def test_the_bits_are_the_same_whoever_has_the_threads():
    lstm = cellgate.LSTM(48, 64, seed=0)
    x = np.random.default_rng(1).standard_normal((40, 24, 48), np.float32)
    before = torch.get_num_threads()
    results = []
    try:
        for torchs, ours in ((1, 1), (1, 3), (3, 3), (4, 2)):
            torch.set_num_threads(torchs)
            cellgate.set_num_threads(ours)
            results.append(lstm(x)[0])
    finally:
        torch.set_num_threads(before)
    assert all(np.array_equal(result, results[0]) for result in results)
