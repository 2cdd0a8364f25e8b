"""Tapes and models that several threads, or processes, train with at once."""

from __future__ import annotations

import sys
import threading
from typing import Any

import cellgate
import numpy as np
import pytest
from cases import Training, assert_same_bits, digest, make_case, make_training
from test_tape import some_training
from test_threads import TIMEOUT, forks, in_child, together


class TestThreads:
    @pytest.mark.parametrize("threads", [1, 2])
    def test_of_many_that_use_one_tape_one_gets_the_gradients(
        self, threads: int, restore_threads: None
    ) -> None:
        cellgate.set_num_threads(threads)
        lstm = cellgate.LSTM(32, 64, seed=1)
        training = make_training(make_case(lstm, 30, 8, seed=2), 3)
        wanted = digest(training.gradients())
        for _ in range(20):
            tape = training.record()

            def work(_: int, tape: cellgate.Tape = tape) -> str:
                try:
                    return digest(training.backward(tape))
                except RuntimeError as error:
                    return str(error)

            results = sorted(together(4, work), key=lambda r: r.startswith("tape: "))
            assert results[0] == wanted
            assert all(r.startswith("tape: it was used before") for r in results[1:])

    def test_a_kept_tape_is_shared(self) -> None:
        lstm = cellgate.LSTM(32, 64, seed=1)
        training = make_training(make_case(lstm, 30, 8, seed=2), 3)
        tape = training.record()
        wanted = digest(training.gradients())
        results = together(4, lambda _: digest(training.backward(tape, keep=True)))
        assert results == [wanted] * 4

    @pytest.mark.parametrize("threads", [1, 2, 4])
    def test_many_record_and_go_back_on_one_model(
        self, threads: int, restore_threads: None
    ) -> None:
        cellgate.set_num_threads(threads)
        lstm = cellgate.LSTM(64, 96, 2, bidirectional=True, dropout=0.2, seed=1)
        inputs = [
            make_training(make_case(lstm, 12, 16, seed, with_lengths=True), seed)
            for seed in range(4)
        ]
        alone = [digest(training.gradients()) for training in inputs]

        def work(k: int) -> list[str]:
            return [
                digest(inputs[(k + n) % 4].gradients(checkpoint=[None, 3][n % 2])) for n in range(6)
            ]

        for k, results in enumerate(together(6, work)):
            assert results == [alone[(k + n) % 4] for n in range(6)]

    def test_a_tape_goes_from_thread_to_thread(self) -> None:
        training = some_training()
        tapes = together(2, lambda _: training.record())
        assert_same_bits(*(training.backward(tape) for tape in tapes))

    def test_weights_replaced_meanwhile_give_an_error_or_the_old_gradient(self) -> None:
        lstm = cellgate.LSTM(16, 33, seed=1)
        training = make_training(make_case(lstm, 12, 5, seed=3), 4)
        weights = [lstm.state_dict(), cellgate.LSTM(16, 33, seed=2).state_dict()]
        allowed = {"tape: the weights were replaced after it was recorded"}
        for w in reversed(weights):
            lstm.load_state_dict(w)
            allowed.add(digest(training.gradients()))

        def work(k: int) -> set[str]:
            if k == 0:
                for n in range(200):
                    lstm.load_state_dict(weights[n % 2])
                return set()
            seen = set()
            for _ in range(100):
                try:
                    seen.add(digest(training.gradients()))
                except RuntimeError as error:
                    seen.add(str(error))
            return seen

        assert set().union(*together(4, work)) <= allowed

    def test_the_gil_is_released(self, restore_threads: None) -> None:
        """While one thread goes back through a long tape, another one counts."""
        cellgate.set_num_threads(1)
        lstm = cellgate.LSTM(64, 256, seed=1)
        tape = lstm.record(np.zeros((300, 16, 64), np.float32))
        running, done = threading.Event(), threading.Event()

        def call() -> None:
            running.set()
            tape.backward(tape.output)
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

    @forks
    def test_a_fork_goes_on_with_a_tape_of_its_parent(self, restore_threads: None) -> None:
        cellgate.set_num_threads(4)
        lstm = cellgate.LSTM(64, 160, 2, bidirectional=True, seed=1)
        training = make_training(make_case(lstm, 20, 24, seed=2, with_lengths=True), 3)
        wanted = digest(training.gradients())
        tape = training.record()
        child = in_child(Back(training, tape), repeats=3)
        assert digest(training.backward(tape)) == wanted
        assert child() == {wanted}


class Back:
    """What a forked process runs."""

    def __init__(self, training: Training, tape: cellgate.Tape) -> None:
        self.training, self.tape = training, tape

    def run(self) -> Any:
        return self.training.backward(self.tape, keep=True)
