"""The LSTM object: configuration, initialisation, weights in and out, copies."""

from __future__ import annotations

import copy
import pickle
import weakref
from typing import TYPE_CHECKING

import cellgate
import numpy as np
import pytest
from cases import DTYPES, assert_same_bits, digest, make_case

if TYPE_CHECKING:
    from pathlib import Path

# PCG64's first three draws from seed 0 as 2 u - 1; the bound 1 / sqrt(H) is 1.
FIRST_VALUES_OF_SEED_0 = ["0x1.187f5e7ece140p-2", "-0x1.d77a103be9318p-2", "-0x1.d60b095ac4c86p-1"]

CONFIGS = [
    {},
    {"num_layers": 2, "bidirectional": True},
    {"bias": False, "proj_size": 3},
    {"num_layers": 3, "bidirectional": True, "proj_size": 2, "batch_first": True, "dropout": 0.5},
]


def test_configuration_can_be_read_and_not_written() -> None:
    given = {
        "input_size": 5,
        "hidden_size": 7,
        "num_layers": 2,
        "bias": False,
        "batch_first": True,
        "dropout": 0.25,
        "bidirectional": True,
        "proj_size": 3,
        "dtype": np.dtype("float64"),
    }
    lstm = cellgate.LSTM(**given)
    assert {name: getattr(lstm, name) for name in given} == given
    for name in given:
        with pytest.raises(AttributeError):
            setattr(lstm, name, given[name])
    with pytest.raises(AttributeError):
        lstm.batch_frist = False


def test_numpy_scalars_are_kept_as_plain_values() -> None:
    lstm = cellgate.LSTM(
        np.int8(5), np.uint64(7), np.int64(2), bias=np.True_, dropout=np.float32(0.5)
    )
    values = (lstm.input_size, lstm.hidden_size, lstm.num_layers, lstm.bias, lstm.dropout)
    assert values == (5, 7, 2, True, 0.5)
    assert [type(value) for value in values] == [int, int, int, bool, float]


def test_dropout_with_one_layer_is_a_warning_at_construction_only(tmp_path: Path) -> None:
    """As in PyTorch. Copying an object, or reading it from a file, does not warn again."""
    with pytest.warns(
        UserWarning, match=r"^dropout: acts between layers, and there is one"
    ) as seen:
        lstm = cellgate.LSTM(2, 3, dropout=0.25)
    assert len(seen) == 1
    assert seen[0].filename == __file__
    assert "got dropout 0.25 with num_layers 1" in str(seen[0].message)
    lstm.save(tmp_path / "model.safetensors")  # from here on a warning would be an error
    for same in (
        cellgate.load(tmp_path / "model.safetensors"),
        pickle.loads(pickle.dumps(lstm)),
        copy.copy(lstm),
        lstm.stream().copy().lstm,
    ):
        assert same.dropout == 0.25
    lstm.record(np.zeros((4, 2), np.float32))


@pytest.mark.parametrize("dtype", ["float32", np.float32, np.dtype("f4"), "<f4", np.zeros(1, "f")])
def test_float32_by_all_its_names(dtype: object) -> None:
    dtype = dtype.dtype if isinstance(dtype, np.ndarray) else dtype
    assert cellgate.LSTM(2, 3, dtype=dtype).dtype == np.float32


@pytest.mark.parametrize(
    "shown",
    [
        "LSTM(64, 128)",
        "LSTM(64, 128, num_layers=2, bidirectional=True)",
        "LSTM(1, 9, bias=False, batch_first=True, proj_size=4, dtype='float64')",
        "LSTM(1, 9, num_layers=2, dropout=0.5)",
    ],
)
def test_repr_is_what_was_written(shown: str) -> None:
    assert repr(eval(shown, {"LSTM": cellgate.LSTM})) == shown


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("config", CONFIGS)
def test_parameters_have_pytorchs_names_shapes_and_order(config: dict, dtype: str) -> None:
    lstm = cellgate.LSTM(5, 7, **config, dtype=dtype)
    output = lstm.proj_size or 7
    directions = ["", "_reverse"] if lstm.bidirectional else [""]
    wanted = []
    for layer in range(lstm.num_layers):
        for suffix in directions:
            width = 5 if layer == 0 else output * len(directions)
            wanted += [(f"weight_ih_l{layer}{suffix}", (28, width))]
            wanted += [(f"weight_hh_l{layer}{suffix}", (28, output))]
            if lstm.bias:
                wanted += [(f"bias_{k}_l{layer}{suffix}", (28,)) for k in ("ih", "hh")]
            if lstm.proj_size:
                wanted += [(f"weight_hr_l{layer}{suffix}", (output, 7))]
    weights = lstm.state_dict()
    assert [(name, array.shape) for name, array in weights.items()] == wanted
    assert {array.dtype for array in weights.values()} == {np.dtype(dtype)}
    assert lstm.num_parameters == sum(array.size for array in weights.values())


class TestInitialisation:
    def test_fills_the_interval_and_nothing_else(self) -> None:
        lstm = cellgate.LSTM(50, 64, num_layers=2, seed=3)
        values = np.concatenate([array.ravel() for array in lstm.state_dict().values()])
        assert -0.125 <= values.min() < -0.1249
        assert 0.1249 < values.max() <= 0.125
        # 62 976 draws: mean within five standard errors, 0.125 / sqrt(3 * 62976), of 0.
        assert abs(values.mean()) < 5 * 0.125 / np.sqrt(3 * values.size)

    def test_depends_on_the_seed_alone(self) -> None:
        first, again, other = (cellgate.LSTM(5, 7, seed=seed) for seed in (1, 1, 2))
        assert digest([*first.state_dict().values()]) == digest([*again.state_dict().values()])
        assert digest([*first.state_dict().values()]) != digest([*other.state_dict().values()])

    def test_without_a_seed_differs_each_time(self) -> None:
        first, second = cellgate.LSTM(5, 7), cellgate.LSTM(5, 7)
        assert digest([*first.state_dict().values()]) != digest([*second.state_dict().values()])

    def test_gives_the_same_values_on_every_machine(self) -> None:
        weights = cellgate.LSTM(1, 1, dtype="float64", seed=0).state_dict()
        values = np.concatenate([array.ravel() for array in weights.values()])
        assert [value.hex() for value in values[:3]] == FIRST_VALUES_OF_SEED_0

    def test_float32_is_float64_rounded(self) -> None:
        narrow, wide = (cellgate.LSTM(5, 7, dtype=d, seed=4).state_dict() for d in DTYPES)
        for name, array in narrow.items():
            assert_same_bits(array, wide[name].astype(np.float32))


class TestStateDict:
    def test_is_a_copy(self) -> None:
        lstm = cellgate.LSTM(5, 7, seed=0)
        case = make_case(lstm, 4, 3, seed=1)
        before = digest(case.run())
        first, second = lstm.state_dict(), lstm.state_dict()
        for name, array in first.items():
            assert not np.shares_memory(array, second[name])
            array[...] = 9
        assert digest(case.run()) == before

    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("config", CONFIGS)
    def test_goes_round_in_bits(self, config: dict, dtype: str) -> None:
        source, target = (cellgate.LSTM(9, 17, **config, dtype=dtype, seed=s) for s in (0, 1))
        weights = source.state_dict()
        special = next(iter(weights.values())).reshape(-1)
        special[:6] = [np.nan, np.inf, -np.inf, -0.0, np.finfo(dtype).tiny / 4, 0.0]
        target.load_state_dict(weights)
        for name, array in target.state_dict().items():
            assert_same_bits(array, weights[name])

    def test_loaded_arrays_are_not_kept(self) -> None:
        lstm = cellgate.LSTM(5, 7, seed=0)
        weights = lstm.state_dict()
        lstm.load_state_dict(weights)
        before = digest([*lstm.state_dict().values()])
        for array in weights.values():
            array[...] = 9
        assert digest([*lstm.state_dict().values()]) == before

    def test_any_layout_and_narrower_type_is_read(self) -> None:
        source = cellgate.LSTM(5, 7, seed=0).state_dict()
        half = {name: array.astype(np.float16) for name, array in source.items()}
        layouts = {
            "weight_ih_l0": np.asfortranarray(half["weight_ih_l0"]),
            "weight_hh_l0": half["weight_hh_l0"][::-1, ::-1].copy()[::-1, ::-1],
            "bias_ih_l0": half["bias_ih_l0"].astype(">f4"),
            "bias_hh_l0": np.repeat(half["bias_hh_l0"], 2)[::2],
        }
        for array in layouts.values():
            array.flags.writeable = False
        for dtype in DTYPES:
            lstm = cellgate.LSTM(5, 7, dtype=dtype)
            lstm.load_state_dict(layouts)
            for name, array in lstm.state_dict().items():
                assert_same_bits(array, half[name].astype(dtype))

    def test_one_error_names_every_fault_and_nothing_changes(self) -> None:
        lstm = cellgate.LSTM(5, 7, seed=0)
        before = digest([*lstm.state_dict().values()])
        weights: dict = lstm.state_dict()
        del weights["bias_hh_l0"]
        weights["weight_ih_l1"] = np.zeros(3, np.float32)
        weights[7] = None
        weights["weight_hh_l0"] = np.zeros((7, 28), np.float32)
        weights["bias_ih_l0"] = np.zeros(28, np.float64)
        with pytest.raises(ValueError, match=r"^state_dict: ") as caught:
            lstm.load_state_dict(weights)
        for fault in (
            "bias_hh_l0 is missing (wanted shape (28,))",
            "weight_ih_l1 is unexpected",
            "int 7 is unexpected",
            "weight_hh_l0 must have shape (28, 7), got (7, 28)",
            "bias_ih_l0 must be float16 or float32",
            "got float64",
        ):
            assert fault in str(caught.value)
        assert "weight_ih_l0" not in str(caught.value)
        assert digest([*lstm.state_dict().values()]) == before

    @pytest.mark.parametrize(
        "wrong",
        [
            np.zeros(28, np.float64),
            np.zeros(28, np.longdouble),
            np.zeros(28, np.int8),
            np.zeros(28, bool),
            np.zeros(28, np.complex64),
            np.zeros(28, "datetime64[s]"),
            np.zeros(28, [("a", "f4")]),
            np.zeros(28, object),
            ["0.0"] * 28,
            [0.0] * 28,
        ],
        ids=lambda wrong: str(np.asarray(wrong).dtype),
    )
    def test_types_that_would_lose_something_are_refused(self, wrong: object) -> None:
        lstm = cellgate.LSTM(5, 7, seed=0)
        with pytest.raises(TypeError, match="bias_ih_l0 must be float16 or float32"):
            lstm.load_state_dict({**lstm.state_dict(), "bias_ih_l0": wrong})

    def test_what_is_no_array_is_named(self) -> None:
        lstm = cellgate.LSTM(5, 7, seed=0)
        with pytest.raises(TypeError, match="bias_ih_l0 cannot be read as an array"):
            lstm.load_state_dict({**lstm.state_dict(), "bias_ih_l0": [[1.0], [1.0, 2.0]]})


class TestCopies:
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("config", CONFIGS)
    def test_pickle_keeps_everything(self, config: dict, dtype: str) -> None:
        lstm = cellgate.LSTM(5, 7, **config, dtype=dtype)
        case = make_case(lstm, 4, 3, seed=1)
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            other = pickle.loads(pickle.dumps(lstm, protocol))
            assert repr(other) == repr(lstm)
            assert_same_bits(case.run(other), case.run())

    @pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
    def test_a_copy_has_a_life_of_its_own(self, duplicate) -> None:
        lstm = cellgate.LSTM(5, 7, proj_size=2, seed=0)
        case = make_case(lstm, 4, 3, seed=1)
        before = digest(case.run())
        other = duplicate(lstm)
        assert repr(other) == repr(lstm)
        assert digest(case.run(other)) == before
        other.load_state_dict(cellgate.LSTM(5, 7, proj_size=2, seed=1).state_dict())
        assert digest(case.run(other)) != before
        assert digest(case.run()) == before

    def test_subclasses_stay_what_they_are(self) -> None:
        lstm = Subclass(5, 7)
        for other in (copy.copy(lstm), copy.deepcopy(lstm), pickle.loads(pickle.dumps(lstm))):
            assert type(other) is Subclass

    def test_nothing_is_kept_alive(self) -> None:
        lstm = cellgate.LSTM(5, 7)
        stream = lstm.stream()
        gone = weakref.ref(lstm)
        del lstm, stream
        assert gone() is None


class Subclass(cellgate.LSTM):
    pass


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"input_size": 0}, ValueError, "input_size: must be at least 1, got 0"),
        ({"input_size": -3}, ValueError, "input_size: must be at least 1, got -3"),
        ({"hidden_size": 0}, ValueError, "hidden_size: must be at least 1"),
        ({"num_layers": 0}, ValueError, "num_layers: must be at least 1"),
        ({"proj_size": -1}, ValueError, "proj_size: must be at least 0"),
        ({"proj_size": 7}, ValueError, "proj_size: must be smaller than hidden_size, got 7"),
        ({"dropout": 1.5}, ValueError, "dropout: must be a probability"),
        ({"dropout": float("nan")}, ValueError, "dropout: must be a probability"),
        ({"seed": -1}, ValueError, "seed: must be at least 0"),
        ({"input_size": 5.0}, TypeError, "input_size: must be an integer, got float 5.0"),
        ({"input_size": True}, TypeError, "input_size: must be an integer"),
        ({"hidden_size": "7"}, TypeError, "hidden_size: must be an integer, got str '7'"),
        ({"hidden_size": np.array([7])}, TypeError, "hidden_size: must be an integer"),
        ({"num_layers": None}, TypeError, "num_layers: must be an integer"),
        ({"dropout": "0.5"}, TypeError, "dropout: must be a number"),
        ({"dropout": True}, TypeError, "dropout: must be a number"),
        ({"bias": 1}, TypeError, "bias: must be True or False, got int 1"),
        ({"batch_first": None}, TypeError, "batch_first: must be True or False"),
        ({"bidirectional": "yes"}, TypeError, "bidirectional: must be True or False"),
        ({"seed": 1.5}, TypeError, "seed: must be an integer"),
        ({"dtype": None}, TypeError, "dtype: must be float32 or float64, got None"),
        ({"dtype": "float16"}, TypeError, "dtype: must be float32 or float64, got float16"),
        ({"dtype": ">f4"}, TypeError, "dtype: must be float32 or float64"),
        ({"dtype": "nonsense"}, TypeError, "dtype: must be float32 or float64"),
        ({"dtype": int}, TypeError, "dtype: must be float32 or float64"),
        ({"dtype": 7}, TypeError, "dtype: must be float32 or float64"),
        ({"hidden_size": 2**62}, MemoryError, "hidden_size 4611686018427387904"),
        ({"input_size": 2**31, "hidden_size": 2**31}, MemoryError, "weights for input_size"),
        ({"input_size": 2**62}, MemoryError, "weights for input_size"),
        ({"num_layers": 2**62}, MemoryError, "num_layers 4611686018427387904"),
    ],
    ids=str,
)
def test_bad_configuration_is_refused_by_name(
    arguments: dict, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        cellgate.LSTM(**{"input_size": 5, "hidden_size": 7, **arguments})
    assert message in str(caught.value)
