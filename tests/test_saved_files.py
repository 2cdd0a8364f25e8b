"""Files of earlier versions load with the same bits; those of later ones are refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cellgate
import numpy as np
import pytest
from cases import digest
from cellgate.config import DEFAULTS
from test_formats import rewrite
from test_isa import WITHOUT_FMA

FOLDER = Path(__file__).with_name("data") / "saved"
SAVED: dict[str, dict[str, str]] = json.loads((FOLDER / "digests.json").read_text())


def test_every_stored_file_is_held_to_its_digests() -> None:
    assert SAVED.keys() == {path.name for path in FOLDER.glob("*.safetensors")}
    assert len(SAVED) >= 4


@pytest.mark.parametrize("name", SAVED)
def test_a_file_of_an_earlier_version_gives_the_same_bits(name: str) -> None:
    lstm = cellgate.load(FOLDER / name)
    assert repr(lstm) == SAVED[name]["repr"]
    assert digest(lstm.state_dict()) == SAVED[name]["weights"]
    x = np.linspace(-1, 1, 5 * 3 * lstm.input_size).reshape(3, 5, -1).astype(lstm.dtype)
    y = lstm(x if lstm.batch_first else x.swapaxes(0, 1), lengths=[5, 0, 3])
    if cellgate.active_isa() not in WITHOUT_FMA:
        assert digest(y) == SAVED[name]["outputs"]


@pytest.mark.parametrize("name", DEFAULTS)
def test_an_option_that_the_file_lacks_has_its_default(name: str, tmp_path: Path) -> None:
    path, lstm = tmp_path / "model.safetensors", cellgate.LSTM(3, 5, seed=0)
    lstm.save(path)
    rewrite(path, **{name: ...})
    other = cellgate.load(path)
    assert repr(other) == repr(lstm)
    assert digest(other.state_dict()) == digest(lstm.state_dict())


def test_defaults_may_all_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    cellgate.LSTM(3, 5).save(path)
    rewrite(path, **dict.fromkeys(DEFAULTS, ...))
    assert repr(cellgate.load(path)) == "LSTM(3, 5)"


@pytest.mark.parametrize("value", [True, False, 0, None, "no"], ids=repr)
def test_an_unknown_option_is_refused_whatever_its_value(value: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    cellgate.LSTM(3, 5).save(path)
    rewrite(path, peephole=value)
    with pytest.raises(ValueError, match=r"model\.safetensors: .*unknown option 'peephole'.*newer"):
        cellgate.load(path)


def test_all_faults_of_a_configuration_are_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    cellgate.LSTM(3, 5).save(path)
    rewrite(path, peephole=True, clip=1.0, hidden_size=..., input_size=...)
    with pytest.raises(ValueError, match=r"lacks input_size .*lacks hidden_size") as caught:
        cellgate.load(path)
    assert "unknown option 'peephole'" in str(caught.value)
    assert "unknown option 'clip'" in str(caught.value)
