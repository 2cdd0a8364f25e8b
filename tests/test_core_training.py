"""The core's own record and backward, which `cellgate.torch` calls: tapes are plain arrays, which
must be checked, and batches may be packed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cellgate
import numpy as np
import pytest
from cases import make_case, make_training
from cellgate._core import Call, Derivatives
from cellgate._core import Training as Settings
from test_bad_input import B, H, I, T, zeros
from test_bad_training_input import some_training

if TYPE_CHECKING:
    from cases import Training


class TestTapesOfOthers:
    """At the level of the core, where a tape is an array, and must be checked."""

    def arguments(self, training: Training, **changed: Any) -> tuple[Any, ...]:
        case = training.case
        call = Call(case.x, case.state)
        y, _, _, tape = case.lstm._model.record(call, Settings(), return_cells=False)
        tape = changed.pop("tape", tape)
        parts: list[Any] = [call, Settings(), Derivatives(output=y, d_output=training.d_output)]
        for k, part in enumerate(parts):
            own = {name: changed.pop(name) for name in part._fields if name in changed}
            parts[k] = part._replace(**own)
        assert not changed
        return tape, *parts

    def test_the_arguments_are_right_as_they_are(self) -> None:
        training = some_training()
        training.case.lstm._model.backward(*self.arguments(training))

    @pytest.mark.parametrize(
        "changed",
        [
            {"tape": zeros(0)},
            {"tape": zeros(7)},
            {"tape": zeros(3, 3)},
            {"tape": np.zeros(7)},
            {"tape": None},
            {"tape": [0.0]},
            {"tape": "tape"},
            {"checkpoint": 2},
            {"lengths": [1, 2, 3]},
            {"dropout": 0.5},
        ],
        ids=str,
    )
    def test_a_tape_that_does_not_fit(self, changed: dict[str, Any]) -> None:
        training = some_training()
        with pytest.raises((TypeError, ValueError), match=r"^tape: "):
            training.case.lstm._model.backward(*self.arguments(training, **changed))

    @pytest.mark.parametrize(
        "other",
        [
            cellgate.LSTM(I, H + 8, 2, bidirectional=True),
            cellgate.LSTM(I, H, 1, bidirectional=True),
            cellgate.LSTM(I, H, 2),
            cellgate.LSTM(I, H, 3, bidirectional=True),
        ],
        ids=repr,
    )
    def test_a_tape_of_another_model(self, other: cellgate.LSTM) -> None:
        training = some_training()
        fitting = make_training(make_case(other, T, B, seed=2), 3)
        tape = self.arguments(training)[0]
        with pytest.raises(ValueError, match=r"^tape: "):
            other._model.backward(*self.arguments(fitting, tape=tape))

    @pytest.mark.parametrize(
        "wrong", [None, zeros(T, B, H), np.zeros((T, B, 2 * H)), "y"], ids=repr
    )
    def test_another_output(self, wrong: Any) -> None:
        training = some_training()
        with pytest.raises((TypeError, ValueError), match=r"^y: "):
            training.case.lstm._model.backward(*self.arguments(training, output=wrong))

    @pytest.mark.parametrize(
        ("changed", "name"),
        [
            ({"dropout": -0.1}, "dropout"),
            ({"dropout": 1.1}, "dropout"),
            ({"dropout": np.nan}, "dropout"),
            ({"checkpoint": -1}, "checkpoint"),
        ],
        ids=str,
    )
    def test_numbers_out_of_range(self, changed: dict[str, Any], name: str) -> None:
        training = some_training()
        with pytest.raises(ValueError, match=f"^{name}: "):
            training.case.lstm._model.backward(*self.arguments(training, **changed))


class TestBatchSizes:
    @pytest.mark.parametrize(
        "wrong",
        [
            [3, 2, 2],
            [3, 2, 1, 1],
            [2, 3, 1],
            [3, 3, 0],
            [3, 2, 2, -1],
            [7],
            [],
            [2**62, 2**62, 2**62, 2**62, 6],
            [[3, 2, 1]],
            3,
            [3.0, 2.0, 1.0],
            [True] * 6,
            ["3", "2", "1"],
            "321",
            [None],
            object(),
            np.array([3, 2, 2**64 - 1], "u8"),
        ],
        ids=repr,
    )
    def test_of_a_wrong_kind(self, wrong: Any) -> None:
        model = cellgate.LSTM(I, H, seed=1)._model
        for call in (
            lambda: model.forward(Call(zeros(6, I), batch_sizes=wrong), False),
            lambda: model.record(Call(zeros(6, I), batch_sizes=wrong), Settings(), False),
        ):
            with pytest.raises((TypeError, ValueError), match=r"^batch_sizes: "):
                call()

    def test_only_with_rows_and_nothing_else_that_is_ragged(self) -> None:
        model, sizes = cellgate.LSTM(I, H, seed=1)._model, [3, 2, 1]
        for x, lengths, reset, name in (
            (zeros(6, 1, I), None, None, "x"),
            (zeros(6, I + 1), None, None, "x"),
            (zeros(6, I), [3, 2, 1], None, "lengths"),
            (zeros(6, I), None, np.zeros(6, bool), "reset"),
        ):
            with pytest.raises(ValueError, match=f"^{name}: "):
                model.forward(Call(x, None, lengths, reset, False, sizes), False)
        model.forward(Call(zeros(6, I), batch_sizes=sizes), False)

    def test_with_a_state_of_another_batch(self) -> None:
        model = cellgate.LSTM(I, H, seed=1)._model
        for batch in (1, 2, 6):
            state = (zeros(1, batch, H), zeros(1, batch, H))
            with pytest.raises(ValueError, match=r"^state: h: .*\(1, 3, 7\)"):
                model.forward(Call(zeros(6, I), state, batch_sizes=[3, 2, 1]), False)


def test_tape_sizes_out_of_range() -> None:
    model = cellgate.LSTM(I, H, seed=1)._model
    for steps, batch, positions in ((-1, 3, 3), (3, -1, 3), (3, 3, -1)):
        with pytest.raises(ValueError, match=r"^(steps|batch|positions): "):
            model.tape_size(steps, batch, positions, False, 0)
    for huge in (2**40, 2**62, 2**63 - 1):
        with pytest.raises((ValueError, MemoryError)):
            model.tape_size(huge, huge, huge, False, 0)


def test_nonsense_is_refused() -> None:
    """The core's own class is what `cellgate.torch` calls."""
    model = cellgate.LSTM(I, H, seed=1)._model
    call, settings = Call(zeros(T, B, I)), Settings()
    tape = model.record(call, settings, False)[3]
    for nonsense in (None, "x", object(), 1.5, zeros(3), (), (1, 2), [None] * 6, (object(),) * 6):
        for arguments in ((nonsense, settings, False), (call, nonsense, False)):
            with pytest.raises((TypeError, ValueError)):
                model.record(*arguments)
        for arguments in (
            (nonsense, call, settings, Derivatives()),
            (tape, nonsense, settings, Derivatives()),
            (tape, call, nonsense, Derivatives()),
            (tape, call, settings, nonsense),
        ):
            with pytest.raises((TypeError, ValueError)):
                model.backward(*arguments)


@pytest.mark.parametrize(
    ("part", "name", "wrong"),
    [
        (Settings, "dropout", "0.5"),
        (Settings, "dropout", None),
        (Settings, "seed", -1),
        (Settings, "seed", 2**64),
        (Settings, "seed", 0.5),
        (Settings, "checkpoint", 1.5),
        (Settings, "checkpoint", None),
        (Call, "batch_first", 1),
        (Call, "batch_first", None),
    ],
)
def test_an_item_of_a_wrong_type_is_named(part: Any, name: str, wrong: Any) -> None:
    model = cellgate.LSTM(I, H, seed=1)._model
    call, settings = Call(zeros(T, B, I)), Settings()
    if part is Call:
        call = call._replace(**{name: wrong})
    else:
        settings = settings._replace(**{name: wrong})
    with pytest.raises(TypeError, match=rf"^{name}: must be "):
        model.record(call, settings, False)
