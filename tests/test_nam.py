"""Models of the package neural-amp-modeler: its own network is the reference for its files.

It needs the packages neural-amp-modeler and torch, and is skipped without; with
CELLGATE_REQUIRE=nam that is a failure.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import cellgate
import numpy as np
import pytest
from tolerances import assert_within

try:
    import torch
    from nam.models.recurrent import LSTM
except ImportError as error:
    if "nam" in os.environ.get("CELLGATE_REQUIRE", "").split(","):
        raise
    pytest.skip(f"neural-amp-modeler: {error}", allow_module_level=True)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("layers", "hidden_size"), [(1, 16), (2, 8), (1, 24)])
def test_a_model_that_it_exports(layers: int, hidden_size: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = LSTM(hidden_size=hidden_size, num_layers=layers, sample_rate=44100.0).eval()
    model.export(tmp_path)
    network = cellgate.load(tmp_path / "model.nam")
    assert network.sample_rate == 44100
    assert (network.input_size, network.output_size) == (1, 1)
    x = (np.sin(np.arange(4000) / 7) * np.linspace(1, 0, 4000)).astype(np.float32)
    with torch.no_grad():
        state = model._get_initial_state()  # after one second of silence; it is what is exported
        wanted = model._forward(torch.from_numpy(x)[None], initial_state=state)[0].numpy()
    assert_within("nam float32", network(x[:, None])[0][:, 0], wanted)
    assert_within("nam float32", network.stream().run(x[:, None])[:, 0], wanted)
