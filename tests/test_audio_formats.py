"""Files of audio effects, read by `cellgate.load`, against the equations in float64. What PyPI's
neural-amp-modeler exports is in test_nam.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cellgate
import effects
import numpy as np
import pytest
from tolerances import assert_within

if TYPE_CHECKING:
    from pathlib import Path

    from effects import Array, Effect

SIZES = (3, 8, 12, 16, 20, 24, 32, 40, 64, 80)
STEPS = 600


def load(folder: Path, name: str, text: str) -> cellgate.Network:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    network = cellgate.load(path)
    assert isinstance(network, cellgate.Network)
    return network


def check(network: cellgate.Network, effect: Effect, x: Array) -> None:
    """Whole, and in blocks of any size, which gives the same bits."""
    y, _ = network(x)
    assert_within("reference float32", y, effect.play(x))
    stream = network.stream()
    for block in (1, 64, 37):
        stream.reset()
        parts = [stream.run(x[at : at + block]) for at in range(0, len(x), block)]
        assert np.array_equal(np.concatenate(parts), y)


@pytest.mark.parametrize("hidden", SIZES)
def test_rtneural(tmp_path: Path, hidden: int) -> None:
    effect = effects.make_effect(hidden)
    network = load(tmp_path, "effect.json", effect.rtneural())
    assert (network.lstm.hidden_size, network.sample_rate) == (hidden, 48000.0)
    check(network, effect, effects.signal(STEPS))


def test_rtneural_of_two_layers_three_inputs_and_two_outputs(tmp_path: Path) -> None:
    effect = effects.make_effect(20, layers=2, inputs=3, outputs=2)
    network = load(tmp_path, "effect.json", effect.rtneural())
    check(network, effect, effects.signal(STEPS, 3))


@pytest.mark.parametrize("hidden", SIZES)
def test_aidax(tmp_path: Path, hidden: int) -> None:
    effect = effects.make_effect(hidden)
    effect.skip, effect.input_gain, effect.output_gain = 1.0, 10 ** (-6 / 20), 10 ** (3.5 / 20)
    text = effect.aidax(-6, 3.5, metadata={"name": "of our own"})
    network = load(tmp_path, "effect.aidax", text)
    assert (network.skip, network.sample_rate) == (1.0, 48000.0)
    assert network.metadata["name"] == "of our own"
    check(network, effect, effects.signal(STEPS))


@pytest.mark.parametrize("hidden", SIZES)
def test_proteus(tmp_path: Path, hidden: int) -> None:
    effect = effects.make_effect(hidden)
    effect.skip = 1.0
    network = load(tmp_path, "effect.json", effect.proteus())
    assert network.sample_rate == 44100.0
    check(network, effect, effects.signal(STEPS))


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("hidden", SIZES)
def test_nam(tmp_path: Path, hidden: int, layers: int) -> None:
    effect = effects.make_effect(hidden, layers, begins=True)
    network = load(tmp_path, "effect.nam", effect.nam())
    check(network, effect, effects.signal(STEPS))
