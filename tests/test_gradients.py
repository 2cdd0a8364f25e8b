"""Gradients: against the oracle and differences, and equal in bits however the work is split."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import cellgate
import numpy as np
import pytest
from cases import (
    DERIVATIVES,
    DTYPES,
    SIZES,
    Training,
    assert_gradients_within,
    assert_same_bits,
    big_training,
    difference,
    digest,
    examples,
    flat,
    ignore_dropout_of_one_layer,
    make_case,
    make_training,
    trainings,
)
from cellgate import _core, reference
from cellgate._core import Call, Derivatives
from cellgate._core import Training as Settings
from hypothesis import given
from hypothesis import strategies as st
from test_isa import WITHOUT_FMA, python
from tolerances import assert_within

if TYPE_CHECKING:
    from collections.abc import Iterator

both = pytest.mark.parametrize("dtype", DTYPES)

pytestmark = ignore_dropout_of_one_layer

OPTIONS = [
    {"num_layers": layers, "bidirectional": two, "proj_size": proj, "bias": bias}
    for layers, two, proj, bias in itertools.product((1, 3), (False, True), (0, 5), (True, False))
]


class TestOracle:
    @both
    @examples(400)
    @given(st.data())
    def test_any_case(self, dtype: str, data: st.DataObject) -> None:
        training = data.draw(trainings(dtype))
        checkpoint = data.draw(st.sampled_from([None, 1, 2, 7, 1000]))
        grads = training.gradients(checkpoint=checkpoint)
        wanted = training.reference()
        assert_gradients_within(f"gradients {dtype}", grads, wanted)
        assert [*grads.parameters] == [*training.case.lstm.state_dict()]
        assert {array.dtype for array in flat(grads)} == {np.dtype(dtype)}

    @both
    @pytest.mark.parametrize(
        "config", OPTIONS, ids=lambda c: " ".join(str(int(v)) for v in c.values())
    )
    def test_every_option(self, config: dict, dtype: str) -> None:
        for dropout, batch_first in ((0.0, True), (0.5, False)):
            lstm = cellgate.LSTM(
                7, 17, **config, dropout=dropout, batch_first=batch_first, dtype=dtype, seed=1
            )
            for ragged in (False, True):
                case = make_case(lstm, 12, 5, 2, with_lengths=ragged, with_reset=ragged)
                training = make_training(case, 3)
                assert_gradients_within(
                    f"gradients {dtype}", training.gradients(), training.reference()
                )
            training = make_training(make_case(lstm, 12, None, 2, with_reset=True), 3)
            assert_gradients_within(
                f"gradients {dtype}", training.gradients(), training.reference()
            )

    @both
    @pytest.mark.parametrize("hidden_size", [*SIZES, 64, 130])
    def test_every_width(self, hidden_size: int, dtype: str) -> None:
        for proj_size in {0, hidden_size // 2}:
            lstm = cellgate.LSTM(9, hidden_size, 2, proj_size=proj_size, dtype=dtype, seed=1)
            training = make_training(make_case(lstm, 6, 23, 2, with_lengths=True), 3)
            assert_gradients_within(
                f"gradients {dtype}", training.gradients(), training.reference()
            )

    @both
    @pytest.mark.parametrize(
        ("sizes", "steps", "batch", "config"),
        [
            ((64, 64), 100, 32, {}),
            ((8, 32), 30, 256, {}),
            ((300, 200), 25, 4, {}),
            ((40, 256), 300, 2, {}),
            ((3, 31), 3, 700, {"bidirectional": True}),
            ((5, 40), 1100, 3, {"proj_size": 9, "num_layers": 2}),
        ],
        ids=str,
    )
    def test_larger_shapes(
        self, sizes: tuple[int, int], steps: int, batch: int, config: dict, dtype: str
    ) -> None:
        """They are cut into chunks of time, and into blocks of every sum."""
        lstm = cellgate.LSTM(*sizes, **config, dtype=dtype, seed=1)
        case = make_case(lstm, steps, batch, 2, with_lengths=bool(config))
        training = make_training(case, 3)
        assert_gradients_within(f"gradients {dtype}", training.gradients(), training.reference())

    @pytest.mark.parametrize("given", [{d} for d in DERIVATIVES], ids=str)
    def test_any_derivative_left_out_is_zero(self, given: set[str]) -> None:
        lstm = cellgate.LSTM(7, 9, 2, bidirectional=True, dtype="float64", seed=1)
        case = make_case(lstm, 6, 3, seed=2, with_lengths=True)
        training = make_training(case, 3, given)
        full = make_training(case, 3)
        zeros = map(np.zeros_like, (full.d_output, *full.d_state, full.d_cells))
        some = [training.d_output, *(training.d_state or (None, None)), training.d_cells]
        d_output, d_h, d_c, d_cells = (
            z if d is None else d for d, z in zip(some, zeros, strict=True)
        )
        explicit = Training(case, d_output, (d_h, d_c), d_cells, training.seed)
        assert_same_bits(training.gradients(), explicit.gradients())

    def test_without_an_input_gradient_the_rest_is_the_same(self) -> None:
        training = big_training()
        grads = training.backward(training.record(), input_gradient=False)
        wanted = training.gradients()
        assert grads.input is None
        assert_same_bits((grads.state, grads.parameters), (wanted.state, wanted.parameters))


@pytest.mark.parametrize("config", OPTIONS[::3], ids=str)
def test_differences_of_the_core_itself(config: dict) -> None:
    """No oracle: the forward pass with dropout, moved along one direction of all weights, of the
    input and of the state."""
    lstm = cellgate.LSTM(5, 7, **config, dropout=0.4, dtype="float64", seed=1)
    case = make_case(lstm, 6, 4, seed=2, with_lengths=True, with_reset=True)
    training = make_training(case, 3)
    grads = training.gradients()
    weights = lstm.state_dict()

    def loss(moved: dict[str, Any]) -> float:
        model = cellgate.LSTM(5, 7, **config, dropout=0.4, dtype="float64", seed=1)
        model.load_state_dict({name: moved[name] for name in weights})
        tape = training._replace(
            case=case._replace(x=moved["x"], state=(moved["h"], moved["c"]))
        ).record(model)
        return training.loss(tape.output, tape.state, tape.cells)

    at = {**weights, "x": case.x, "h": case.state[0], "c": case.state[1]}
    d_h, d_c = grads.state
    gradients = {**grads.parameters, "x": grads.input, "h": d_h, "c": d_c}
    random = np.random.default_rng(4)
    for name, value in at.items():
        along = random.standard_normal(value.shape)
        along /= np.linalg.norm(along)

        def function(moved: Any, name: str = name) -> float:
            return loss({**at, name: moved})

        wanted = difference(function, value, along)
        assert_within("differences float64", np.vdot(gradients[name], along), wanted)


class TestBits:
    @pytest.fixture(params=["auto", "rows", "units"])
    def split(self, request: pytest.FixtureRequest, restore_threads: None) -> Iterator[None]:
        """How the work is split: as the cost model says, or over all threads in either way."""
        _core._set_split(request.param)
        yield
        _core._set_split("auto")

    @both
    @pytest.mark.parametrize(
        ("sizes", "steps", "batch"),
        [
            ((64, 96), 24, 20),
            ((9, 17), 12, 16),
            ((7, 33), 30, 1),
            ((64, 130), 9, 67),
            ((1, 7), 3, 9),
        ],
        ids=str,
    )
    @pytest.mark.parametrize(
        "config",
        [{}, {"bidirectional": True, "num_layers": 2, "dropout": 0.3}, {"proj_size": 5}],
        ids=str,
    )
    def test_threads_and_splits(
        self,
        sizes: tuple[int, int],
        steps: int,
        batch: int,
        config: dict,
        dtype: str,
        split: None,
    ) -> None:
        lstm = cellgate.LSTM(*sizes, **config, dtype=dtype, seed=1)
        case = make_case(lstm, steps, batch, 2, with_lengths=batch > 9, with_reset=True)
        training = make_training(case, 3)
        cellgate.set_num_threads(1)
        wanted = digest(training.gradients())
        for threads, checkpoint in itertools.product((2, 3, 4, 7), (None, 5)):
            cellgate.set_num_threads(threads)
            assert digest(training.gradients(checkpoint=checkpoint)) == wanted

    @given(
        trainings("float32"),
        st.sampled_from(["rows", "units"]),
        st.sampled_from([2, 3, 4, 7]),
        st.sampled_from([None, 1, 3, 1000]),
    )
    def test_any_case_on_any_number(
        self, training: Training, how: str, threads: int, checkpoint: int | None
    ) -> None:
        before = cellgate.get_num_threads()
        try:
            cellgate.set_num_threads(1)
            wanted = training.gradients()
            cellgate.set_num_threads(threads)
            _core._set_split(how)
            assert_same_bits(training.gradients(checkpoint=checkpoint), wanted)
        finally:
            cellgate.set_num_threads(before)
            _core._set_split("auto")

    @both
    @pytest.mark.parametrize("config", [{}, {"proj_size": 7}, {"bias": False, "dropout": 0.0}])
    def test_checkpoints(self, config: dict, dtype: str) -> None:
        training = big_training(dtype, **config)
        wanted = training.record()
        grads = digest(training.backward(wanted))
        for checkpoint in (1, 2, 3, 5, 23, 24, 25, 1000, 2**40, 2**63):
            tape = training.record(checkpoint=checkpoint)
            assert_same_bits((tape.output, tape.state), (wanted.output, wanted.state))
            assert_same_bits(tape.cells, wanted.cells)
            assert digest(training.backward(tape)) == grads

    def test_a_kept_tape_gives_the_same_again(self) -> None:
        for checkpoint in (None, 5):
            training = big_training()
            tape = training.record(checkpoint=checkpoint)
            digests = {digest(training.backward(tape, keep=True)) for _ in range(3)}
            assert digests | {digest(training.backward(tape))} == digests
            assert len(digests) == 1


def digest_without_signs_of_zeros() -> str:
    """Of everything at once; what a new process prints."""
    trainings = [big_training(dtype, **c) for dtype in DTYPES for c in ({}, {"proj_size": 9})]
    return digest([array + 0.0 for t in trainings for array in flat(t.gradients())])


def test_instruction_sets_with_fma_give_equal_bits() -> None:
    names = {*cellgate.build_info()["isas_supported"]} - WITHOUT_FMA
    code = "import conftest, test_gradients as t; print(t.digest_without_signs_of_zeros())"
    results = {name: python("-c", code, CELLGATE_ISA=name).stdout.strip() for name in names}
    if cellgate.active_isa() not in WITHOUT_FMA:
        results["here"] = digest_without_signs_of_zeros()
    assert all(len(result) == 64 for result in results.values()), results
    assert len({*results.values()}) <= 1, results


class TestDropout:
    def test_is_reproducible_by_its_seed(self) -> None:
        training = big_training()
        first, again, other = (training._replace(seed=seed) for seed in (5, 5, 6))
        assert digest(first.record().output) == digest(again.record().output)
        assert digest(first.gradients()) == digest(again.gradients())
        assert digest(first.record().output) != digest(other.record().output)
        assert digest(first.gradients()) != digest(other.gradients())

    def test_without_a_seed_differs_each_time_and_tells_it(self) -> None:
        training = big_training()
        first, second = training.record(seed=None), training.record(seed=None)
        assert first.seed != second.seed
        assert digest(first.output) != digest(second.output)
        assert_same_bits(training.record(seed=first.seed).output, first.output)

    @both
    @pytest.mark.parametrize("probability", [1e-9, 0.2, 0.9, 1.0])
    @pytest.mark.parametrize("seed", [0, 1, 2**63, 2**64 - 1])
    def test_has_the_mask_of_the_oracle(self, seed: int, probability: float, dtype: str) -> None:
        lstm = cellgate.LSTM(5, 9, 3, dropout=probability, bidirectional=True, dtype=dtype, seed=1)
        training = make_training(make_case(lstm, 7, 6, 2, with_lengths=True), 3)
        training = training._replace(seed=seed)
        case = training.case
        tape = training.record()
        y, state, cells = reference.forward(
            lstm.state_dict(),
            case.x,
            case.state,
            lengths=case.lengths,
            dropout=probability,
            seed=seed,
        )
        for actual, wanted in zip(
            flat((tape.output, tape.state, tape.cells)), flat((y, state, cells)), strict=True
        ):
            assert_within(f"reference {dtype}", actual, wanted)

    @both
    def test_does_not_act_without_training_or_without_a_second_layer(self, dtype: str) -> None:
        training = big_training(dtype)
        tape = training.record(training=False)
        y, state, cells = training.case.run()
        assert_same_bits((tape.output, tape.state, tape.cells), (y, state, cells))
        plain = big_training(dtype, dropout=0.0)
        assert_same_bits(training.backward(tape), plain.gradients())
        one = big_training(dtype, num_layers=1)
        assert_same_bits(one.record().output, one.case.run()[0])

    def test_of_everything_leaves_the_first_layer_without_a_gradient(self) -> None:
        training = big_training(dropout=1.0)._replace(d_state=None)
        grads = training.gradients()
        for name, gradient in grads.parameters.items():
            assert gradient.any() == ("_l1" in name and "weight_ih" not in name), name
        assert not grads.input.any()


class TestPacked:
    """As torch's PackedSequence has it, at the level of the core."""

    @both
    @pytest.mark.parametrize("checkpoint", [0, 4])
    @pytest.mark.parametrize("dropout", [0.0, 0.4])
    @pytest.mark.parametrize(
        "config", [{}, {"num_layers": 3, "bidirectional": True, "proj_size": 5}], ids=str
    )
    def test_has_the_bits_of_padded(
        self, config: dict, dropout: float, checkpoint: int, dtype: str
    ) -> None:
        lstm = cellgate.LSTM(7, 17, **config, dropout=dropout, dtype=dtype, seed=1)
        case = make_case(lstm, 12, 9, seed=2)._replace(
            lengths=np.array([12, 12, 9, 7, 7, 7, 2, 1, 1])
        )
        training = make_training(case, 3)
        tape = training.record()
        grads = training.backward(tape)
        valid = np.arange(len(case.x))[:, None] < case.lengths
        sizes = valid.sum(axis=1)
        model, x = lstm._model, case.x[valid]
        call = Call(x, case.state, batch_sizes=sizes)
        settings = Settings(dropout, training.seed, checkpoint)
        y, state, cells, kept = model.record(call, settings, True)
        assert_same_bits((y, state, cells), (tape.output[valid], tape.state, tape.cells[valid]))
        d_x, d_state, parameters = model.backward(
            kept,
            call,
            settings,
            Derivatives(y, training.d_output[valid], *training.d_state, training.d_cells[valid]),
        )
        assert_same_bits(d_x, grads.input[valid])
        assert_same_bits((d_state, parameters), (grads.state, grads.parameters))
        if not dropout:
            y_2, state_2, cells_2 = model.forward(call, True)
            assert_same_bits((y_2, state_2, cells_2), (y, state, cells))

    def test_a_padded_batch_in_another_order_gives_the_same_parameter_gradients(self) -> None:
        """Rows are summed in the order of their lengths, however they come; equal ones as they
        come, so that lengths here differ."""
        lstm = cellgate.LSTM(7, 17, 2, bidirectional=True, seed=1)
        case = make_case(lstm, 9, 6, seed=2)._replace(lengths=np.array([9, 8, 6, 4, 2, 1]))
        training = make_training(case, 3)
        wanted = training.gradients()
        order = np.array([3, 0, 5, 1, 4, 2])
        shuffled = Training(
            case._replace(
                x=case.x[:, order],
                state=tuple(s[:, order] for s in case.state),
                lengths=case.lengths[order],
            ),
            training.d_output[:, order],
            tuple(d[:, order] for d in training.d_state),
            training.d_cells[:, order],
        ).gradients()
        assert_same_bits(shuffled.parameters, wanted.parameters)
        assert_same_bits(shuffled.input, wanted.input[:, order])
