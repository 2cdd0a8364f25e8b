"""`load` and `Network.save`: round trips, the formats of other programs, and malformed files."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import audio_files
import cellgate
import numpy as np
import pytest
from cases import DTYPES, assert_same_bits, digest, make_case
from network_cases import initial_state_of, make_parts
from safetensors import safe_open
from test_isa import WITHOUT_FMA
from tolerances import assert_within

FOLDER = Path(__file__).with_name("data") / "networks"
SAVED: dict[str, dict[str, str]] = json.loads((FOLDER / "digests.json").read_text())

# Of audio models, not only multiples of a vector.
HIDDEN_SIZES = (3, 8, 12, 16, 20, 24, 32, 40, 64, 80)


def audio_model(hidden_size: int = 12, layers: int = 1) -> tuple[cellgate.LSTM, cellgate.Linear]:
    """One input, one output, and one bias, for the formats that keep the sum of both."""
    lstm = cellgate.LSTM(1, hidden_size, layers, seed=1)
    weights = lstm.state_dict()
    for k in range(layers):
        weights[f"bias_hh_l{k}"][:] = 0
    lstm.load_state_dict(weights)
    random = np.random.default_rng(2)
    weight = random.uniform(-1, 1, (1, hidden_size)).astype(np.float32)
    return lstm, cellgate.Linear(weight, np.array([0.125], np.float32))


def signal(steps: int = 200) -> np.ndarray:
    return np.sin(np.arange(steps, dtype=np.float32) / 3)[:, None]


def loaded(path: Path, document: Any) -> cellgate.Network:
    path.write_bytes(audio_files.text(document))
    network = cellgate.load(path)
    assert type(network) is cellgate.Network
    return network


def run_saved(network: cellgate.Network) -> Any:
    """The results that digests of stored files are of."""
    lstm = network.lstm
    x = np.linspace(-1, 1, 5 * 3 * lstm.input_size).reshape(3, 5, -1).astype(lstm.dtype)
    return network(x if lstm.batch_first else x.swapaxes(0, 1), lengths=[5, 0, 3])


def test_every_stored_file_is_held_to_its_digests() -> None:
    assert SAVED.keys() == {path.name for path in FOLDER.glob("*.safetensors")}
    assert len(SAVED) >= 4


@pytest.mark.parametrize("name", SAVED)
def test_a_file_of_an_earlier_version_gives_the_same_bits(name: str) -> None:
    network = cellgate.load(FOLDER / name)
    assert repr(network) == SAVED[name]["repr"]
    assert digest(network.lstm.state_dict()) == SAVED[name]["weights"]
    if cellgate.active_isa() not in WITHOUT_FMA:
        assert digest(run_saved(network)) == SAVED[name]["outputs"]


class TestRoundTrips:
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("pooling", [None, "mean", "last"])
    @pytest.mark.parametrize(
        "config",
        [
            {},
            {"num_layers": 2, "bidirectional": True, "batch_first": True},
            {"bias": False, "proj_size": 3, "num_layers": 2, "dropout": 0.25},
        ],
        ids=str,
    )
    def test_networks(self, config: dict, pooling: Any, dtype: str, tmp_path: Path) -> None:
        lstm = cellgate.LSTM(5, 7, **config, dtype=dtype, seed=1)
        more = {"sample_rate": 22050.5, "metadata": {"né": '"', "": "{}"}}
        network = cellgate.Network(lstm, **make_parts(lstm, 2, pooling=pooling, **more))
        network.save(tmp_path / "a.safetensors")
        other = cellgate.load(tmp_path / "a.safetensors")
        assert type(other) is cellgate.Network
        assert repr(other) == repr(network)
        assert repr(other.lstm) == repr(lstm)
        assert (other.sample_rate, other.metadata) == (22050.5, more["metadata"])
        case = make_case(lstm, 6, 3, seed=2, with_lengths=True)
        assert_same_bits(other(case.x, lengths=case.lengths), network(case.x, lengths=case.lengths))
        other.save(tmp_path / "b.safetensors")
        assert (tmp_path / "a.safetensors").read_bytes() == (
            tmp_path / "b.safetensors"
        ).read_bytes()

    def test_a_network_of_an_lstm_alone_stays_one(self, tmp_path: Path) -> None:
        path, lstm = tmp_path / "a.safetensors", cellgate.LSTM(2, 3)
        cellgate.Network(lstm).save(path)
        assert repr(cellgate.load(path)) == "Network(LSTM(2, 3))"
        lstm.save(path)
        assert repr(cellgate.load(path)) == "LSTM(2, 3)"

    def test_other_programs_can_read_the_file(self, tmp_path: Path) -> None:
        path, lstm = tmp_path / "a.safetensors", cellgate.LSTM(5, 7, seed=1)
        network = cellgate.Network(lstm, **make_parts(lstm, 3, metadata={"name": "x"}))
        network.save(path)
        with safe_open(path, "np") as file:
            assert {*file.keys()} == {
                *lstm.state_dict(), "head.weight", "head.bias", "input_mean", "input_scale",
                "initial_h", "initial_c",
            }  # fmt: skip
            assert_same_bits(file.get_tensor("head.weight"), network.head.weight)
            assert json.loads(file.metadata()["cellgate"])["network"] == {
                "activation": "tanh",
                "pooling": "none",
                "skip": 0.75,
                "input_gain": 0.625,
                "output_gain": 1.5,
                "metadata": {"name": "x"},
            }

    def test_metadata_that_no_file_can_hold(self, tmp_path: Path) -> None:
        with pytest.raises((TypeError, UnicodeEncodeError)):
            cellgate.Network(cellgate.LSTM(2, 3), metadata={"a": "\udc80"})

    def test_only_safetensors_are_written(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"^path: must end in \.safetensors, .*\.nam'"):
            cellgate.Network(cellgate.LSTM(2, 3)).save(tmp_path / "a.nam")
        assert not [*tmp_path.iterdir()]


class TestOtherFormats:
    @pytest.mark.parametrize("hidden_size", HIDDEN_SIZES)
    @pytest.mark.parametrize("suffix", [".json", ".aidax"])
    def test_rtneural(self, suffix: str, hidden_size: int, tmp_path: Path) -> None:
        lstm, head = audio_model(hidden_size)
        network = loaded(tmp_path / f"a{suffix}", audio_files.rtneural(lstm, head))
        assert (network.sample_rate, network.skip) == (48000, 0)
        x = signal()
        assert_same_bits(network(x), cellgate.Network(lstm, head)(x))

    @pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid", "softmax"])
    def test_rtneural_of_several_layers_and_outputs(self, activation: str, tmp_path: Path) -> None:
        lstm, head = audio_model(8, layers=2)
        weight = np.concatenate([head.weight, -head.weight])
        head = cellgate.Linear(weight, np.array([1, 2], np.float32), activation)
        network = loaded(tmp_path / "a.json", audio_files.rtneural(lstm, head))
        assert_same_bits(network(signal()), cellgate.Network(lstm, head)(signal()))

    @pytest.mark.parametrize(
        ("more", "rate"),
        [
            ({"samplerate": "44100"}, 44100),
            ({"samplerate": 96000}, 96000),
            ({"metadata": {"samplerate": 22050, "name": "amp"}}, 22050),
        ],
        ids=str,
    )
    def test_aidax_gains_skip_and_rate(self, more: dict, rate: float, tmp_path: Path) -> None:
        """x *= in_gain; y = model(x) + skip x; y *= out_gain: in float64, by hand."""
        lstm, head = audio_model()
        document = audio_files.rtneural(lstm, head, in_skip=1, in_gain=-6, out_gain=3.5, **more)
        network = loaded(tmp_path / "a.aidax", document)
        assert network.sample_rate == rate
        assert (network.metadata.get("name") == "amp") is ("metadata" in more)
        u = signal().astype(np.float64) * 10 ** (-6 / 20)
        weights = {name: a.astype(np.float64) for name, a in lstm.state_dict().items()}
        y = cellgate.reference.forward(weights, u)[0] @ head.weight.T.astype(float) + head.bias
        assert_within("network float32", network(signal())[0], (y + u) * 10 ** (3.5 / 20))

    def test_a_self_test_survives(self, tmp_path: Path) -> None:
        lstm, head = audio_model()
        x = signal(50)
        y = cellgate.Network(lstm, head, skip=1.0)(x)[0]
        batches = {"input_batch": x[:, 0].tolist(), "output_batch": y[:, 0].tolist()}
        document = audio_files.rtneural(lstm, head, in_skip=1, out_gain=6.0, **batches)
        network = loaded(tmp_path / "a.aidax", document)
        network.save(tmp_path / "b.safetensors")
        for held in (network, cellgate.load(tmp_path / "b.safetensors")):
            test_input, test_output, with_gains = held._network.parts()["self_test"]
            assert_same_bits([test_input, test_output], [x, y])
            assert with_gains is False

    @pytest.mark.parametrize("layers", [1, 2])
    @pytest.mark.parametrize("skip", [0, 1])
    def test_proteus(self, skip: int, layers: int, tmp_path: Path) -> None:
        lstm, head = audio_model(20, layers)
        network = loaded(tmp_path / "a.json", audio_files.proteus(lstm, head, skip))
        assert network.sample_rate == 44100
        wanted = cellgate.Network(lstm, head, skip=skip)
        assert_same_bits(network(signal()), wanted(signal()))

    @pytest.mark.parametrize(("hidden_size", "layers"), [(16, 1), (8, 2), (24, 1), (3, 1)])
    def test_nam_begins_with_its_state(self, hidden_size: int, layers: int, tmp_path: Path) -> None:
        lstm, head = audio_model(hidden_size, layers)
        state = initial_state_of(lstm, np.random.default_rng(3).random)
        more = {"sample_rate": 44100, "metadata": {"loudness": -18.5, "date": {"year": 2024}}}
        network = loaded(tmp_path / "a.nam", audio_files.nam(lstm, head, state, **more))
        assert network.sample_rate == 44100
        assert network.metadata == {"loudness": "-18.5", "date": '{"year":2024}'}
        x = signal()
        y = cellgate.Network(lstm, head)(x, state)[0]
        assert_same_bits(network(x)[0], y)
        stream = network.stream()
        assert_same_bits(stream.run(x), y)
        stream.reset()
        assert_same_bits(stream.run(x), y)

    def test_what_was_loaded_goes_into_a_file_of_ours(self, tmp_path: Path) -> None:
        lstm, head = audio_model()
        state = initial_state_of(lstm, np.random.default_rng(3).random)
        network = loaded(tmp_path / "a.nam", audio_files.nam(lstm, head, state))
        network.save(tmp_path / "b.safetensors")
        other = cellgate.load(tmp_path / "b.safetensors")
        assert repr(other) == repr(network)
        assert_same_bits(other(signal()), network(signal()))


def rtneural_with(change: Any) -> dict[str, Any]:
    document = audio_files.rtneural(*audio_model(2))
    change(document)
    return document


class TestRefused:
    @pytest.mark.parametrize(
        ("name", "document", "message"),
        [
            (
                "a.json",
                rtneural_with(lambda d: d["layers"][0].update(type="gru")),
                "layers: must be 'lstm' once or more, .* got 'gru'",
            ),
            (
                "a.aidax",
                rtneural_with(lambda d: d["layers"].insert(0, {"type": "conv1d"})),
                "got 'conv1d', 'lstm', 'dense'",
            ),
            (
                "a.nam",
                {"version": "0.5.4", "architecture": "WaveNet", "config": {}, "weights": []},
                "architecture: must be 'LSTM', got 'WaveNet'",
            ),
            (
                "a.json",
                {"model_data": {"unit_type": "GRU"}, "state_dict": {}},
                "model_data.unit_type: must be 'LSTM', got 'GRU'",
            ),
            ("a.json", {"weights": [1]}, "is JSON, but of no known format.* got 'weights'"),
            ("a.json", [1, 2], "begins with"),
            (
                "a.json",
                rtneural_with(lambda d: d["layers"][0]["weights"][2].__setitem__(3, 1e39)),
                r"must be finite in float32, got 1e\+39",
            ),
            (
                "a.json",
                rtneural_with(lambda d: d["layers"][0]["weights"][2].pop()),
                "must have 8 elements, got 7",
            ),
            (
                "a.nam",
                {
                    "version": "0.5.4",
                    "architecture": "LSTM",
                    "config": {"input_size": 1, "hidden_size": 10**9, "num_layers": 10**6},
                    "weights": [1.0] * 10,
                },
                "weights: must have .* elements for this configuration, got 10",
            ),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_what_is_no_lstm_or_does_not_fit(
        self, name: str, document: Any, message: str, tmp_path: Path
    ) -> None:
        path = tmp_path / name
        path.write_bytes(audio_files.text(document))
        with pytest.raises(ValueError, match=message) as caught:
            cellgate.load(path)
        assert str(caught.value).startswith(f"{path}: ")

    @pytest.mark.parametrize(
        "content", [b"", b"{", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"\xff" * 40, b"[" * 10**6]
    )
    @pytest.mark.parametrize("suffix", [".json", ".aidax", ".nam", ".safetensors"])
    def test_what_is_no_file_of_the_kind(self, suffix: str, content: bytes, tmp_path: Path) -> None:
        path = tmp_path / f"a{suffix}"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.\w+: ") as caught:
            cellgate.load(path)
        assert str(caught.value).startswith(f"{path}: ")

    @pytest.mark.parametrize("kind", ["own", "rtneural", "nam"])
    def test_a_file_cut_or_changed_anywhere_never_crashes(self, kind: str, tmp_path: Path) -> None:
        lstm, head = audio_model(1)
        if kind == "own":
            path = tmp_path / "a.safetensors"
            parts = make_parts(lstm, 3, outputs=1, metadata={"a": "b"})
            cellgate.Network(lstm, **parts).save(path)
            content = path.read_bytes()
        else:
            state = initial_state_of(lstm, np.random.default_rng(3).random)
            documents = {
                "rtneural": audio_files.rtneural(lstm, head, in_skip=1, samplerate="44100"),
                "nam": audio_files.nam(lstm, head, state),
            }
            path, content = tmp_path / "a.json", audio_files.text(documents[kind])
        for end in range(len(content)):
            path.write_bytes(content[:end])
            with pytest.raises(ValueError, match=r"a\.\w+: "):
                cellgate.load(path)
        random = np.random.default_rng(4)
        for _ in range(400):
            changed = bytearray(content)
            for at in random.integers(len(content), size=random.integers(1, 4)):
                changed[at] = random.integers(256)
            path.write_bytes(bytes(changed))
            with contextlib.suppress(ValueError):  # nothing else
                held = cellgate.load(path)
                held(np.zeros((3, held.input_size), held.dtype))

    def test_a_path_that_is_not_text(self, tmp_path: Path) -> None:
        path = str(tmp_path).encode() + b"/\xff.json"
        with open(path, "wb") as file:
            file.write(b"{}")
        with pytest.raises(ValueError, match=r"\\udcff\.json: is JSON, but of no known format"):
            cellgate.load(path)

    def test_what_only_our_own_files_may_hold(self, tmp_path: Path) -> None:
        lstm, _ = audio_model(2)
        weights = lstm.state_dict()
        weights["weight_ih_l0"][0] = np.inf
        lstm.load_state_dict(weights)
        cellgate.Network(lstm).save(tmp_path / "a.safetensors")
        other = cellgate.load(tmp_path / "a.safetensors")
        assert_same_bits(other.lstm.state_dict()["weight_ih_l0"], weights["weight_ih_l0"])
