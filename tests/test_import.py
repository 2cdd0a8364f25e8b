"""What `import cellgate` brings: the public names, quickly, and nothing that is not needed."""

from __future__ import annotations

import importlib.metadata

import cellgate
from test_isa import python


def test_public_names() -> None:
    assert len(set(cellgate.__all__)) == len(cellgate.__all__)
    assert all(getattr(cellgate, name) for name in cellgate.__all__)
    assert all(getattr(cellgate, name).__doc__ for name in cellgate.__all__)


def test_networks_are_imported_when_they_are_asked_for() -> None:
    code = (
        "import sys, cellgate;"
        "print('cellgate.network' in sys.modules, 'Network' in dir(cellgate));"
        "from cellgate import *; print(Network is cellgate.Network, Linear, NetworkStream);"
        "cellgate.nothing"
    )
    result = python("-c", code)
    assert result.stdout.startswith("False True\nTrue <class 'cellgate.linear.Linear'>")
    assert "module 'cellgate' has no attribute 'nothing'" in result.stderr


def test_build_info() -> None:
    info = cellgate.build_info()
    keys = {"version", "compiler", "isas_built", "isas_supported", "isa_active", "threads"}
    assert info.keys() == keys
    assert info["version"] == cellgate.__version__ == importlib.metadata.version("cellgate")
    assert info["compiler"]
    info["isas_built"].clear()  # a fresh dict each time
    assert cellgate.build_info()["isas_built"]


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, numpy; before = {*sys.modules}; import cellgate;"
        "print(*{*sys.modules} - before)"
    )
    result = python("-c", code)
    assert result.returncode == 0, result.stderr
    loaded = result.stdout.split()
    assert not {"safetensors", "json", "torch", "tempfile", "numpy.random"} & {*loaded}
    foreign = [name for name in loaded if not name.startswith("cellgate")]
    assert len(foreign) < 10, foreign


def test_takes_at_most_30_ms_on_top_of_numpy() -> None:
    code = (
        "import time, numpy; begin = time.perf_counter(); import cellgate;"
        "print(time.perf_counter() - begin)"
    )
    assert min(float(python("-c", code).stdout) for _ in range(5)) <= 0.030
