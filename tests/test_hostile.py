"""Arguments made to mislead, and states that a process should not be in. Each was a defect once."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading

import cellgate
import numpy as np
import pytest


@pytest.mark.parametrize(("steps", "longest"), [(2, 1), (3, 1), (2, 2)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_wide_ragged_batch_whose_sequences_have_one_step(steps, longest, dtype):
    lstm = cellgate.LSTM(64, 520, seed=0, dtype=dtype)
    x = np.random.default_rng(0).standard_normal((steps, 60, 64)).astype(dtype)
    y, (h, _) = lstm(x, lengths=np.full(60, longest))
    alone, (h_alone, _) = lstm(x[:longest, 7:8])
    np.testing.assert_array_equal(y[:longest, 7:8], alone)
    np.testing.assert_array_equal(h[:, 7:8], h_alone)
    assert not y[longest:].any()


class Liar(np.ndarray):
    """Answers every conversion with something else."""

    def astype(self, *args, **kwargs):
        return np.zeros(1, np.int8)

    def reshape(self, *args, **kwargs):
        return np.zeros(1, np.int8)

    def nonzero(self):
        return (np.zeros(1, np.int64) + 10**9,)

    def item(self, *args):
        raise RuntimeError


def test_methods_that_a_subclass_overrides_are_not_called():
    lstm = cellgate.LSTM(4, 8, num_layers=2, seed=0)
    x = np.random.default_rng(0).standard_normal((3, 5, 4)).astype(np.float16)
    h = np.zeros((5, 2, 8), np.float32).swapaxes(0, 1)
    lengths = np.array([3, 1, 2, 0, 3], np.int32)
    wanted, _ = lstm(x, (h, h), lengths=lengths)
    got, _ = lstm(x.view(Liar), (h.view(Liar), h.view(Liar)), lengths=lengths.view(Liar))
    np.testing.assert_array_equal(got, wanted)
    stream = lstm.stream(batch_size=2)
    stream.step(np.ones((2, 4), np.float32))
    stream.reset(np.array([False, True]).view(Liar))
    assert stream.state[0][:, 0].any()
    assert not stream.state[0][:, 1].any()


def test_out_that_overlaps_itself_is_refused():
    stream = cellgate.LSTM(4, 8, seed=0).stream(batch_size=2)
    out = np.lib.stride_tricks.as_strided(np.empty(64, np.float32), (30, 2, 8), (0, 0, 4))
    with pytest.raises(ValueError, match="out: must not overlap itself"):
        stream.run(np.zeros((30, 2, 4), np.float32), out=out)
    apart = np.empty((2, 30, 16), np.float32)[::-1, :, :8].swapaxes(0, 1)  # and this does not
    x = np.random.default_rng(0).standard_normal((30, 2, 4), dtype=np.float32)
    np.testing.assert_array_equal(stream.run(x, out=apart), cellgate.LSTM(4, 8, seed=0)(x)[0])


@pytest.mark.skipif(sys.platform != "linux", reason="fesetround has the numbers of x86 Linux here")
@pytest.mark.parametrize("threads", [1, 2])
def test_bits_do_not_depend_on_the_rounding_mode_of_the_caller(threads):
    lstm = cellgate.LSTM(16, 64, seed=0)
    x = np.random.default_rng(0).standard_normal((20, 8, 16), dtype=np.float32)
    libm, before = ctypes.CDLL("libm.so.6"), cellgate.get_num_threads()
    wanted, _ = lstm(x)
    upward = 0x400000 if os.uname().machine == "aarch64" else 0x800
    cellgate.set_num_threads(threads)
    cellgate._core._set_split("units")
    try:
        assert libm.fesetround(upward) == 0
        got, _ = lstm(x)
        assert libm.fegetround() == upward
    finally:
        libm.fesetround(0)
        cellgate._core._set_split("auto")
        cellgate.set_num_threads(before)
    np.testing.assert_array_equal(got, wanted)


def test_a_child_is_told_that_its_stream_was_in_use():
    stream = cellgate.LSTM(64, 64, seed=0).stream()
    x, stop = np.zeros((20000, 64), np.float32), threading.Event()

    def work():
        while not stop.is_set():
            stream.run(x)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                try:
                    stream.step(x[0])
                    os._exit(0)  # the fork came between two calls
                except RuntimeError as error:
                    os._exit(0 if "forked" in str(error) else 1)
                except BaseException:
                    os._exit(2)
            for _ in range(1000):
                pid, status = os.waitpid(child, os.WNOHANG)
                if pid:
                    break
                stop.wait(0.01)
            else:
                os.kill(child, 9)
                os.waitpid(child, 0)
                pytest.fail("the child hangs")
            assert os.waitstatus_to_exitcode(status) == 0
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("name", ["CELLGATE_ISA", "CELLGATE_NUM_THREADS"])
def test_an_environment_that_is_not_text(name):
    environment = {**os.environb, name.encode(): b"\xff"}
    result = subprocess.run(
        [sys.executable, "-c", "import cellgate; cellgate.build_info()"],
        env=environment,
        capture_output=True,
        check=False,
    )
    assert b"ValueError: " + name.encode() in result.stderr
    assert b"\\xff" in result.stderr


def test_sizes_beyond_all_bounds_are_named():
    with pytest.raises(ValueError, match="hidden_size"):
        cellgate.LSTM(4, 10**5000)
    with pytest.raises(MemoryError, match="num_layers"):
        cellgate.LSTM(1, 1, num_layers=10**7)


def test_a_stream_is_initialised_once():
    lstm = cellgate.LSTM(4, 8, seed=0)
    stream = lstm.stream()
    with pytest.raises(TypeError, match="__init__"):
        stream.__init__(cellgate.LSTM(4, 8, seed=1), 3)
    assert stream.lstm is lstm


def test_save_keeps_the_mode_of_the_file_it_replaces(tmp_path):
    path = tmp_path / "model.safetensors"
    cellgate.LSTM(2, 3).save(path)
    path.chmod(0o600)
    cellgate.LSTM(2, 3).save(path)
    assert path.stat().st_mode & 0o777 == 0o600
