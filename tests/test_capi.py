"""The C library against Python: the same bits for every configuration, the same errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cellgate
import numpy as np
import pytest
from capi_library import CLibraryError, Model, Stream, library, needs_library
from cases import DTYPES, assert_same_bits, examples, make_case
from hypothesis import given
from hypothesis import strategies as st
from network_cases import make_parts, network_case, network_cases

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = needs_library
BLOCKS = (1, 2, 3, 7, 63, 64, 65, 130)


def run_both(case: Any, model: Model, threads: int = 1) -> None:
    call = case.case
    y, state = case.run()
    got, got_state = model.run(
        call.x,
        call.state,
        lengths=call.lengths,
        reset=call.reset,
        batch_first=case.network.batch_first,
        threads=threads,
    )
    assert_same_bits((got, got_state), (y, state))


def test_it_is_the_library_of_this_version_on_the_same_instruction_set() -> None:
    assert library().cg_version().decode() == cellgate.__version__
    model = Model(cellgate.Network(cellgate.LSTM(1, 20)))
    assert model.info.isa.decode() == cellgate.active_isa()


@pytest.mark.parametrize("dtype", DTYPES)
def test_runs_have_the_bits_of_python(dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "network.safetensors"

    @examples(150)
    @given(network_cases(dtype), st.booleans())
    def check(case: Any, from_file: bool) -> None:
        case.network.save(path)
        run_both(case, Model(path.read_bytes() if from_file else case.network))

    check()


@pytest.mark.parametrize("dtype", DTYPES)
def test_so_have_runs_on_a_pool(dtype: str) -> None:
    for hidden, layers, both in ((96, 1, True), (64, 3, False), (130, 2, False)):
        lstm = cellgate.LSTM(9, hidden, layers, bidirectional=both, dtype=dtype, seed=hidden)
        case = make_case(lstm, 40, 13, seed=1, with_lengths=True, with_reset=True)
        case = network_case(case, 2, 70)
        run_both(case, Model(case.network), threads=4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_frames_split_in_any_way_have_the_bits_of_python(dtype: str) -> None:
    @examples(100)
    @given(
        network_cases(dtype, bidirectional=False),
        st.lists(
            st.tuples(st.sampled_from([1, 2, 3, 7, 63, 64, 65, 130]), st.booleans()), max_size=8
        ),
        st.booleans(),
    )
    def check(case: Any, blocks: list[tuple[int, bool]], placed: bool) -> None:
        network = case.network
        frames = sum(count for count, _ in blocks)
        random = np.random.Generator(np.random.PCG64(frames))
        x = random.standard_normal((frames, network.input_size)).astype(dtype)
        wanted = network.stream().run(x[:, None] if not network.batch_first else x[None])
        wanted = wanted.reshape(frames, network.output_size)
        stream = Stream(Model(network), placed=placed)
        for _ in range(2):
            parts, at = [wanted[:0]], 0
            for count, planar in blocks:
                process = stream.process_planar if planar else stream.process
                parts.append(process(x[at : at + count]))
                at += count
            assert_same_bits(np.concatenate(parts), wanted)
            stream.reset()

    check()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("proj_size", [0, 3])
def test_the_state_is_that_of_python(dtype: str, proj_size: int) -> None:
    lstm = cellgate.LSTM(2, 5, 2, proj_size=proj_size, dtype=dtype, seed=1)
    network = cellgate.Network(lstm, **make_parts(lstm, 2))
    x = np.random.Generator(np.random.PCG64(1)).standard_normal((9, 1, 2)).astype(dtype)
    stream, python = Stream(Model(network)), network.stream()
    first = np.concatenate([part.ravel() for part in python.state])
    assert_same_bits(stream.state, first)
    python.run(x)
    stream.process(x[:, 0])
    state = stream.state
    assert_same_bits(state, np.concatenate([part.ravel() for part in python.state]))
    y = stream.process(x[:, 0])
    stream.state = state
    assert_same_bits(stream.process(x[:, 0]), y)
    stream.reset()
    assert_same_bits(stream.state, first)


def test_what_a_file_says_can_be_asked_for(tmp_path: Path) -> None:
    lstm = cellgate.LSTM(3, 8, 2, proj_size=4, bias=False, seed=1)
    parts = make_parts(lstm, 4, 5, pooling="last", skip=None)
    network = cellgate.Network(lstm, **parts, sample_rate=16000, metadata={"a": "b"})
    network.save(tmp_path / "n.safetensors")
    info = Model((tmp_path / "n.safetensors").read_bytes()).info
    assert (info.input_size, info.output_size, info.hidden_size, info.proj_size) == (3, 5, 8, 4)
    assert (info.num_layers, info.directions, info.bias, info.has_head, info.pooling) == (
        2,
        1,
        0,
        1,
        2,
    )
    assert (info.input_gain, info.output_gain, info.sample_rate) == (0.625, 1.5, 16000)
    assert (info.metadata_count, info.has_initial_state, info.activation) == (1, 1, 4)


def test_a_model_without_network_is_a_network_without_parts(tmp_path: Path) -> None:
    lstm = cellgate.LSTM(3, 8, seed=1)
    lstm.save(tmp_path / "lstm.safetensors")
    x = np.ones((4, 2, 3), np.float32)
    model = Model((tmp_path / "lstm.safetensors").read_bytes())
    assert_same_bits(model.run(x), lstm(x))


class TestErrors:
    """The checks are the core's, so the messages are Python's."""

    @pytest.mark.parametrize(
        "arguments",
        [
            {"lengths": [1, 2, 9, 0]},
            {"lengths": [-1, 2, 3, 0]},
        ],
        ids=str,
    )
    def test_values(self, arguments: dict[str, Any]) -> None:
        network = cellgate.Network(cellgate.LSTM(3, 8, seed=1))
        x = np.ones((5, 4, 3), np.float32)
        with pytest.raises(ValueError, match="lengths") as python:
            network(x, **arguments)
        with pytest.raises(CLibraryError) as c:
            Model(network).run(x, **arguments)
        assert c.value.name == "CG_INVALID_ARGUMENT"
        assert str(c.value) == str(python.value)

    def test_a_truncated_file(self, tmp_path: Path) -> None:
        path = tmp_path / "n.safetensors"
        cellgate.Network(cellgate.LSTM(3, 8, seed=1), skip=0.0).save(path)
        whole = path.read_bytes()
        for length in range(0, len(whole), 37):
            path.write_bytes(whole[:length])
            with pytest.raises(ValueError, match="safetensors") as python:
                cellgate.load(path)
            with pytest.raises(CLibraryError) as c:
                Model(whole[:length], format=1, source=str(path).encode())
            assert c.value.name in ("CG_MALFORMED", "CG_UNSUPPORTED")
            assert str(c.value) == str(python.value)
