"""Model files: everything goes round, nothing half written, nothing wrong accepted."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any

import cellgate
import numpy as np
import pytest
from cases import DTYPES, assert_same_bits, digest, make_case
from safetensors import safe_open
from safetensors.numpy import load as parse
from safetensors.numpy import save as serialize

if TYPE_CHECKING:
    from pathlib import Path

CONFIGS = [
    {},
    {"num_layers": 2, "bidirectional": True, "batch_first": True},
    {"bias": False, "proj_size": 3, "num_layers": 2, "dropout": 0.25},
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


@pytest.fixture
def lstm() -> cellgate.LSTM:
    return cellgate.LSTM(5, 7, 2, seed=1)


def rewrite(path: Path, change_tensors: Any = None, **change_config: Any) -> None:
    """The file anew with other tensors, or with entries of the configuration set, or dropped
    where they are set to `...`."""
    tensors = parse(path.read_bytes())
    with safe_open(path, "np") as file:
        config = json.loads(file.metadata()["cellgate"])
    if change_tensors:
        change_tensors(tensors)
    config = {k: v for k, v in {**config, **change_config}.items() if v is not ...}
    path.write_bytes(serialize(tensors, {"cellgate": json.dumps(config)}))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("config", CONFIGS)
def test_goes_round(config: dict, dtype: str, path: Path) -> None:
    lstm = cellgate.LSTM(5, 7, **config, dtype=dtype)
    lstm.save(path)
    other = cellgate.load(path)
    assert type(other) is cellgate.LSTM
    assert repr(other) == repr(lstm)
    assert other.state_dict().keys() == lstm.state_dict().keys()
    assert_same_bits([*other.state_dict().values()], [*lstm.state_dict().values()])
    case = make_case(lstm, 6, 3, seed=2)
    assert_same_bits(case.run(other), case.run())


def test_special_values_go_round(lstm: cellgate.LSTM, path: Path) -> None:
    weights = lstm.state_dict()
    weights["bias_ih_l0"][:5] = [np.nan, np.inf, -np.inf, -0.0, 1e-45]
    lstm.load_state_dict(weights)
    lstm.save(path)
    assert_same_bits(cellgate.load(path).state_dict()["bias_ih_l0"], weights["bias_ih_l0"])


def test_equal_models_give_equal_files(tmp_path: Path) -> None:
    paths = [tmp_path / f"{k}.safetensors" for k in range(2)]
    for path in paths:
        cellgate.LSTM(5, 7, 2, seed=3).save(path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_other_programs_can_read_the_file(lstm: cellgate.LSTM, path: Path) -> None:
    lstm.save(path)
    with safe_open(path, "np") as file:
        assert set(file.keys()) == set(lstm.state_dict())
        assert json.loads(file.metadata()["cellgate"]) == {
            "format_version": 1,
            "input_size": 5,
            "hidden_size": 7,
            "num_layers": 2,
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
            "bidirectional": False,
            "proj_size": 0,
            "dtype": "float32",
        }


@pytest.mark.parametrize("kind", [str, os.fsencode, lambda path: path])
def test_paths_of_every_kind(kind: Any, lstm: cellgate.LSTM, path: Path) -> None:
    lstm.save(kind(path))
    assert repr(cellgate.load(kind(path))) == repr(lstm)


@pytest.mark.parametrize("name", ["model.pt", "model", "safetensors", "model.safetensors.bak", ""])
def test_other_suffixes_are_refused_with_what_is_supported(
    name: str, lstm: cellgate.LSTM, tmp_path: Path
) -> None:
    for use in (cellgate.load, lstm.save):
        with pytest.raises(ValueError, match=r"^path: must end in \.safetensors") as caught:
            use(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


class TestSave:
    def test_replaces_a_file_and_leaves_no_other(self, lstm: cellgate.LSTM, path: Path) -> None:
        cellgate.LSTM(2, 3).save(path)
        lstm.save(path)
        assert repr(cellgate.load(path)) == repr(lstm)
        assert [*path.parent.iterdir()] == [path]

    @pytest.mark.parametrize("failing", ["fsync", "replace"])
    def test_an_error_leaves_what_was_there(
        self, failing: str, lstm: cellgate.LSTM, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cellgate.LSTM(2, 3, seed=0).save(path)
        before = path.read_bytes()

        def fail(*_: Any) -> None:
            raise OSError("no space left")

        with monkeypatch.context() as patch:
            patch.setattr(os, failing, fail)
            with pytest.raises(OSError, match="no space left"):
                lstm.save(path)
        assert path.read_bytes() == before
        assert [*path.parent.iterdir()] == [path]

    def test_into_a_folder_that_is_not_there(self, lstm: cellgate.LSTM, tmp_path: Path) -> None:
        target = tmp_path / "none" / "model.safetensors"
        with pytest.raises(FileNotFoundError) as caught:
            lstm.save(target)
        assert caught.value.filename == str(target)
        assert ".tmp" not in str(caught.value)
        assert not [*tmp_path.iterdir()]

    def test_onto_a_folder(self, lstm: cellgate.LSTM, path: Path) -> None:
        path.mkdir()
        with pytest.raises(IsADirectoryError, match=r"model\.safetensors'$") as caught:
            lstm.save(path)
        assert ".tmp" not in str(caught.value)
        assert [*path.parent.iterdir()] == [path]

    def test_through_a_link_keeps_the_link(self, lstm: cellgate.LSTM, tmp_path: Path) -> None:
        target, link = tmp_path / "target.safetensors", tmp_path / "link.safetensors"
        cellgate.LSTM(2, 3).save(target)
        link.symlink_to(target)
        lstm.save(link)
        assert link.is_symlink()
        assert repr(cellgate.load(target)) == repr(lstm)

    def test_permissions_are_those_of_any_new_file(self, lstm: cellgate.LSTM, path: Path) -> None:
        lstm.save(path)
        other = path.with_name("other")
        other.write_bytes(b"")
        assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)

    def test_changes_nothing_in_the_model(self, lstm: cellgate.LSTM, path: Path) -> None:
        before = digest([*lstm.state_dict().values()])
        lstm.save(path)
        assert digest([*lstm.state_dict().values()]) == before


class TestLoad:
    def fails(self, path: Path, *parts: str) -> None:
        with pytest.raises(ValueError, match=r"model\.safetensors: ") as caught:
            cellgate.load(path)
        assert str(caught.value).startswith(f"{path}: ")
        for part in parts:
            assert part in str(caught.value)

    def test_a_missing_file(self, path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
            cellgate.load(path)

    def test_a_folder(self, path: Path) -> None:
        path.mkdir()
        with pytest.raises(IsADirectoryError):
            cellgate.load(path)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"abc",
            b"\0" * 100,
            b"\xff" * 100,
            b"PK\x03\x04 a zip file",
            b"{}",
            b"\2" + b"\0" * 7,
        ],
        ids=repr,
    )
    def test_what_is_no_safetensors_file(self, content: bytes, path: Path) -> None:
        path.write_bytes(content)
        self.fails(path, "is not a whole safetensors file")

    def test_a_file_cut_anywhere(self, path: Path) -> None:
        cellgate.LSTM(1, 1, seed=0).save(path)
        content = path.read_bytes()
        for end in range(len(content)):
            path.write_bytes(content[:end])
            self.fails(path, "is not a whole safetensors file")
        path.write_bytes(content + b"\0")
        self.fails(path)

    @pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}])
    def test_a_file_of_another_program(
        self, metadata: Any, lstm: cellgate.LSTM, path: Path
    ) -> None:
        path.write_bytes(serialize(lstm.state_dict(), metadata))
        self.fails(path, "has no metadata 'cellgate'", "load_state_dict")

    @pytest.mark.parametrize("text", ["", "{", "nonsense", "[" * 100_000, '{"a": NaN'])
    def test_a_configuration_that_is_not_json(
        self, text: str, lstm: cellgate.LSTM, path: Path
    ) -> None:
        path.write_bytes(serialize(lstm.state_dict(), {"cellgate": text}))
        self.fails(path, "its configuration is not JSON")

    @pytest.mark.parametrize("text", ["[]", "1", "null", '"text"', "{}", '{"input_size": 5}'])
    def test_a_configuration_without_a_version(
        self, text: str, lstm: cellgate.LSTM, path: Path
    ) -> None:
        path.write_bytes(serialize(lstm.state_dict(), {"cellgate": text}))
        self.fails(path, "has no format_version")

    @pytest.mark.parametrize("version", [2, 0, "1", None, [1]])
    def test_an_unknown_version(self, version: Any, lstm: cellgate.LSTM, path: Path) -> None:
        lstm.save(path)
        rewrite(path, format_version=version)
        self.fails(path, f"has format version {json.dumps(version)}; this cellgate reads 1")

    @pytest.mark.parametrize(
        ("changes", "parts"),
        [
            ({"hidden_size": ...}, ["hidden_size"]),
            ({"hidden_size": ..., "peephole": True}, ["hidden_size", "peephole"]),
            ({"hidden_size": "7"}, ["configuration is invalid: hidden_size: must be an integer"]),
            ({"hidden_size": 0}, ["hidden_size: must be at least 1"]),
            ({"hidden_size": 2**62}, ["configuration is invalid: weights for", "bytes"]),
            ({"bias": 1}, ["bias: must be true or false"]),
            ({"dropout": 1.5}, ["dropout: must be a probability"]),
            ({"dropout": float("nan")}, ["its configuration is not JSON"]),
            ({"dtype": "int8"}, ["dtype: must be float32 or float64"]),
            ({"dtype": None}, ["dtype: must be float32 or float64"]),
            ({"input_size": [5]}, ["input_size: must be an integer"]),
            ({"hidden_size": 8}, ["weight_ih_l0 must have shape (32, 5), got (28, 5)"]),
            ({"num_layers": 1}, ["weight_ih_l1 is unexpected", "bias_hh_l1 is unexpected"]),
            ({"num_layers": 3}, ["weight_ih_l2 is missing", "bias_hh_l2 is missing"]),
            ({"num_layers": 10**4, "hidden_size": 1, "input_size": 1}, ["num_layers is 10000"]),
            ({"bias": False}, ["bias_ih_l0 is unexpected"]),
            ({"bidirectional": True}, ["weight_hh_l1_reverse is missing"]),
            ({"proj_size": 2}, ["weight_hr_l0 is missing"]),
        ],
        ids=str,
    )
    def test_a_configuration_that_does_not_fit(
        self, changes: dict, parts: list[str], lstm: cellgate.LSTM, path: Path
    ) -> None:
        lstm.save(path)
        rewrite(path, **changes)
        self.fails(path, *parts)

    @pytest.mark.parametrize(
        ("dtype", "shown"), [("i4", "int32"), ("f8", "float64"), ("?", "bool"), ("u1", "uint8")]
    )
    def test_tensors_of_a_wrong_type(
        self, dtype: str, shown: str, lstm: cellgate.LSTM, path: Path
    ) -> None:
        lstm.save(path)
        rewrite(path, lambda tensors: tensors.update(bias_ih_l1=np.zeros(28, dtype)))
        self.fails(path, "bias_ih_l1 must be float16 or float32", f"got {shown}")

    def test_tensors_of_types_that_numpy_lacks(self, lstm: cellgate.LSTM, path: Path) -> None:
        lstm.save(path)
        content = path.read_bytes()
        header = int.from_bytes(content[:8], "little")
        text = json.loads(content[8 : 8 + header])
        text["bias_ih_l1"]["dtype"] = "BF16"
        begin, end = text["bias_ih_l1"]["data_offsets"]
        text["bias_ih_l1"]["shape"] = [(end - begin) // 2]
        encoded = json.dumps(text).encode()
        path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + content[8 + header :])
        self.fails(path, "BF16")
