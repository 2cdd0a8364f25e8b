"""Many Python threads, forks in the middle, and the setting of the number of threads."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import cellgate
import numpy as np
import pytest
from cases import Case, digest, make_case
from test_isa import ALL_USES, python

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

TIMEOUT = 120  # seconds, of calls that could hang


def big_case(seed: int = 2) -> Case:
    """Large enough that a call is given to several threads."""
    lstm = cellgate.LSTM(64, 160, 2, bidirectional=True, seed=1)
    return make_case(lstm, 20, 24, seed=seed, with_lengths=True)


def together(count: int, work: Callable[[int], Any]) -> list[Any]:
    """The results of `work(k)` from `count` threads that start at the same moment."""
    barrier = threading.Barrier(count)

    def start(k: int) -> Any:
        barrier.wait(TIMEOUT)
        return work(k)

    with ThreadPoolExecutor(count) as pool:
        return [future.result(TIMEOUT) for future in [pool.submit(start, k) for k in range(count)]]


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_many_threads_on_one_model(threads: int, restore_threads: None) -> None:
    cellgate.set_num_threads(threads)
    inputs = [big_case(seed) for seed in range(4)]
    alone = [digest(case.run()) for case in inputs]

    def work(k: int) -> list[str]:
        return [digest(inputs[(k + n) % 4].run()) for n in range(8)]

    for k, results in enumerate(together(8, work)):
        assert results == [alone[(k + n) % 4] for n in range(8)]


def test_a_stream_per_thread() -> None:
    lstm = cellgate.LSTM(40, 64, 2, seed=1)
    inputs = [make_case(lstm, 300, None, seed=seed).x for seed in range(8)]
    alone = [digest(lstm(x)) for x in inputs]

    def work(k: int) -> str:
        stream = lstm.stream()
        y = np.stack([stream.step(x_t) for x_t in inputs[k]])
        h, c = stream.state
        return digest((y, (h[:, 0], c[:, 0])))

    assert together(8, work) == alone


@pytest.mark.parametrize("hidden_size", [7, 300])
def test_threads_that_share_a_stream_take_turns(hidden_size: int) -> None:
    """All give the same input, so that the order of their steps makes no difference."""
    stream = cellgate.LSTM(5, hidden_size, seed=1).stream(2)
    alone = stream.copy()
    x = np.linspace(-1, 1, 10, dtype=np.float32).reshape(2, 5)
    outputs = [digest(alone.step(x)) for _ in range(4 * 50)]

    def work(_: int) -> list[str]:
        return [digest(stream.step(x)) for _ in range(50)]

    results = together(4, work)
    assert sorted(output for part in results for output in part) == sorted(outputs)
    assert digest(list(stream.state)) == digest(list(alone.state))


def test_many_threads_on_one_network() -> None:
    lstm = cellgate.LSTM(9, 33, 2, seed=1)
    head = cellgate.Linear(np.linspace(-1, 1, 5 * 33, dtype=np.float32).reshape(5, 33))
    network = cellgate.Network(lstm, head, input_gain=0.5)
    inputs = [np.full((12, 3, 9), k / 8, np.float32) for k in range(8)]
    alone = [digest(network(x)) for x in inputs]
    assert together(8, lambda k: digest(network(inputs[k]))) == alone


@pytest.mark.parametrize("pooling", [None, "mean"])
@pytest.mark.parametrize("batch_size", [1, 2])
def test_threads_that_share_a_stream_of_a_network_take_turns(
    batch_size: int, pooling: str | None
) -> None:
    network = cellgate.Network(cellgate.LSTM(5, 33, seed=1), pooling=pooling)
    stream, alone = network.stream(batch_size), network.stream(batch_size)
    x = np.linspace(-1, 1, 5 * batch_size, dtype=np.float32).reshape(batch_size, 5)
    outputs = [digest(alone.step(x)) for _ in range(4 * 50)]

    def work(_: int) -> list[str]:
        return [digest(stream.step(x)) for _ in range(50)]

    results = together(4, work)
    assert sorted(output for part in results for output in part) == sorted(outputs)
    assert digest(list(stream.state)) == digest(list(alone.state))


def test_calls_while_weights_are_replaced_see_the_old_or_the_new() -> None:
    lstm, other = cellgate.LSTM(16, 33, seed=1), cellgate.LSTM(16, 33, seed=2)
    case = make_case(lstm, 12, 5, seed=3)
    weights = [lstm.state_dict(), other.state_dict()]
    allowed = {digest(case.run()), digest(case.run(other))}

    def work(k: int) -> set[str]:
        if k == 0:
            for n in range(200):
                lstm.load_state_dict(weights[n % 2])
            return set()
        return {digest(case.run()) for _ in range(100)}

    assert set().union(*together(4, work)) <= allowed


def test_the_number_may_change_while_calls_run(restore_threads: None) -> None:
    case = big_case()
    wanted = digest(case.run())

    def work(k: int) -> set[str]:
        if k == 0:
            for n in range(200):
                cellgate.set_num_threads(1 + n % 4)
            return {wanted}
        return {digest(case.run()) for _ in range(10)}

    assert set().union(*together(4, work)) == {wanted}


def test_the_gil_is_released(restore_threads: None) -> None:
    """While one thread is in a long call, another one counts."""
    cellgate.set_num_threads(1)
    lstm = cellgate.LSTM(64, 256, seed=1)
    x = np.zeros((400, 16, 64), np.float32)
    running = threading.Event()
    done = threading.Event()

    def call() -> None:
        running.set()
        lstm(x)
        done.set()

    before = sys.getswitchinterval()
    sys.setswitchinterval(10)  # a call that kept the lock would hold the count up at 1
    thread = threading.Thread(target=call)
    try:
        thread.start()
        running.wait(TIMEOUT)
        count = 0
        while not done.is_set():
            count += 1
            done.wait(0.0005)
    finally:
        sys.setswitchinterval(before)
        thread.join(TIMEOUT)
    assert count > 3


# Forks. A child that hangs is ended and fails the test.

fork = multiprocessing.get_context("fork")
forks = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")


def child_digest(connection: Connection, case: Case, repeats: int) -> None:
    connection.send({digest(case.run()) for _ in range(repeats)})


def in_child(case: Case, repeats: int = 1) -> Callable[[], set[str]]:
    """Forks now; calling the result waits for the child's digests."""
    receiver, sender = fork.Pipe(duplex=False)
    process = fork.Process(target=child_digest, args=(sender, case, repeats))
    process.start()
    sender.close()

    def result() -> set[str]:
        try:
            assert receiver.poll(TIMEOUT), "the child hangs"
            return receiver.recv()
        finally:
            process.join(10)
            process.kill()
            process.join()

    return result


@forks
def test_a_fork_works_on_both_sides(restore_threads: None) -> None:
    cellgate.set_num_threads(4)
    case = big_case()
    wanted = digest(case.run())  # the pool exists
    children = [in_child(case, repeats=3) for _ in range(3)]
    assert digest(case.run()) == wanted
    assert [child() for child in children] == [{wanted}] * 3
    assert digest(case.run()) == wanted


@forks
def test_a_fork_in_the_middle_of_another_threads_call(restore_threads: None) -> None:
    cellgate.set_num_threads(4)
    case = big_case()
    wanted = digest(case.run())
    stop = threading.Event()
    seen: set[str] = set()

    def keep_calling() -> None:
        while not stop.is_set():
            seen.add(digest(case.run()))

    thread = threading.Thread(target=keep_calling)
    thread.start()
    try:
        for _ in range(5):
            assert in_child(case)() == {wanted}
    finally:
        stop.set()
        thread.join(TIMEOUT)
    assert seen == {wanted}
    assert not thread.is_alive()


@forks
def test_a_multiprocessing_pool_within_a_fork(restore_threads: None) -> None:
    cellgate.set_num_threads(2)
    case = big_case()
    wanted = digest(case.run())
    with fork.Pool(2) as pool:
        digests = pool.map_async(digest_of, [case] * 6).get(TIMEOUT)
    assert digests == [wanted] * 6


def digest_of(case: Case) -> str:
    """Runs in a process of a pool; the case comes pickled."""
    return digest(case.run())


class TestNumber:
    @pytest.mark.parametrize("threads", [1, 2, 3, 64, np.int32(2), np.uint8(2)])
    def test_can_be_set_and_read(self, threads: Any, restore_threads: None) -> None:
        cellgate.set_num_threads(threads)
        assert cellgate.get_num_threads() == cellgate.build_info()["threads"] == int(threads)

    @pytest.mark.parametrize("wrong", [0, -1, 2**31, 2**63, -(2**70)])
    def test_out_of_range(self, wrong: int) -> None:
        before = cellgate.get_num_threads()
        with pytest.raises(ValueError, match=r"^num_threads: "):
            cellgate.set_num_threads(wrong)
        assert cellgate.get_num_threads() == before

    @pytest.mark.parametrize("wrong", [None, "2", 2.0, [2], np.array([2]), True])
    def test_of_a_wrong_type(self, wrong: Any) -> None:
        with pytest.raises(TypeError, match=r"^num_threads: "):
            cellgate.set_num_threads(wrong)

    def test_starts_from_the_environment(self) -> None:
        code = "import cellgate; print(cellgate.get_num_threads())"
        assert python("-c", code, CELLGATE_NUM_THREADS="3").stdout == "3\n"
        # The quota of a container may make it fewer than the CPUs in the affinity mask.
        cpus = len(os.sched_getaffinity(0))
        assert 1 <= int(python("-c", code, CELLGATE_NUM_THREADS="").stdout) <= cpus

    @pytest.mark.parametrize("wrong", ["0", "-2", "two", "2x", "99999999999999999999"])
    def test_a_wrong_environment_is_an_error_at_use_not_at_import(self, wrong: str) -> None:
        code = ALL_USES.format("CELLGATE_NUM_THREADS")
        result = python("-c", code, CELLGATE_NUM_THREADS=wrong)
        assert (result.returncode, result.stderr) == (0, "")
        version, *messages = result.stdout.splitlines()
        assert version == cellgate.__version__
        wanted = f"CELLGATE_NUM_THREADS: must be a number from 1 to 1024, got '{wrong}'"
        assert messages == [wanted] * 4
