"""cellgate.torch.LSTM computes what torch.nn.LSTM does: results, gradients, memory, dropout."""

from __future__ import annotations

import itertools
from typing import Any

import cellgate
import pytest
from cases import examples
from hypothesis import given
from hypothesis import strategies as st
from torch_cases import (
    DTYPES,
    Call,
    assert_close,
    calls,
    gradients,
    make_call,
    make_module,
    plain,
    same_bits,
    values,
)

import torch  # isort: skip  (after torch_cases, which skips where it is not installed)
from cellgate.torch import LSTMCell, _kernels, _packing
from torch.nn.utils.rnn import pack_sequence

pytestmark = pytest.mark.filterwarnings(
    "ignore:LSTM with projections is not supported with oneDNN:UserWarning"
)

CONFIGS = [
    dict(zip(("num_layers", "bidirectional", "bias", "proj_size", "batch_first"), v, strict=True))
    for v in itertools.product((1, 3), (False, True), (False, True), (0, 9), (False, True))
]


def check(call: Call, dtype: str, wanted: Any = (0, 1, 2)) -> None:
    results, leaves = call.run()
    oracle_results, oracle_leaves = call.oracle()
    assert_close("reference", results, oracle_results, dtype)
    assert_close(
        "gradients",
        gradients(results, leaves, wanted),
        gradients(oracle_results, oracle_leaves, wanted),
        dtype,
    )
    with torch.no_grad():
        assert same_bits(call.run()[0], results)


class TestAgainstTorch:
    @pytest.mark.parametrize("dtype", DTYPES)
    @pytest.mark.parametrize("config", CONFIGS, ids=lambda c: " ".join(map(str, c.values())))
    def test_every_option(self, config: dict, dtype: str) -> None:
        module = make_module(1, dtype, 7, 17, **config)
        check(make_call(module, 12, 5, seed=2), dtype)
        check(make_call(module, 12, 5, seed=2, with_state=False), dtype)
        check(make_call(module, 12, None, seed=3), dtype)
        lengths = [3, 12, 1, 12, 7]
        check(make_call(module, 12, 5, seed=4, lengths=lengths), dtype)
        check(make_call(module, 12, 5, seed=4, lengths=lengths, with_state=False), dtype)
        lengths = [12, 12, 7, 3, 1]
        check(make_call(module, 12, 5, seed=5, lengths=lengths, sorted_rows=True), dtype)

    @given(call=calls("float64"), wanted=st.sets(st.integers(0, 2), min_size=1))
    def test_anything_in_float64(self, call: Call, wanted: set[int]) -> None:
        check(call, "float64", sorted(wanted))

    @examples(30)
    @given(call=calls("float32"), wanted=st.sets(st.integers(0, 2), min_size=1))
    def test_anything_in_float32(self, call: Call, wanted: set[int]) -> None:
        check(call, "float32", sorted(wanted))

    @pytest.mark.parametrize("batch", [0, 4])
    def test_no_rows_and_no_steps(self, batch: int) -> None:
        module = make_module(1, "float64", 3, 5)
        x = torch.zeros(0, batch, 3, dtype=torch.float64, requires_grad=True)
        y, (h, c) = module(x)
        assert y.shape == (0, batch, 5)
        assert h.shape == c.shape == (1, batch, 5)
        (y.sum() + h.sum()).backward()
        assert x.grad.shape == x.shape
        assert not any(p.grad.any() for p in module.parameters())

    def test_gradcheck(self) -> None:
        module = make_module(1, "float64", 3, 5, num_layers=2, bidirectional=True, proj_size=2)
        call = make_call(module, 3, 2, seed=2)
        names = [name for name, _ in module.named_parameters()]

        def function(x: torch.Tensor, h: torch.Tensor, c: torch.Tensor, *weights: Any) -> Any:
            named = dict(zip(names, weights, strict=True))
            y, state = torch.func.functional_call(module, named, (x, (h, c)))
            return (y, *state)

        leaves = [call.x, *call.hx, *(p.detach() for p in module.parameters())]
        assert torch.autograd.gradcheck(function, [leaf.requires_grad_() for leaf in leaves])

    def test_gradients_are_the_same_bits_on_any_number_of_threads(
        self, restore_threads: None
    ) -> None:
        call = make_call(
            make_module(1, "float32", 64, 96, num_layers=2, bidirectional=True), 9, 33, seed=2
        )
        cellgate.set_num_threads(1)
        wanted = gradients(*call.run())
        for threads in (2, 3):
            cellgate.set_num_threads(threads)
            assert same_bits(gradients(*call.run()), wanted)

    def test_packed_rows_have_the_bits_of_each_sequence_alone(self) -> None:
        module = make_module(1, "float32", 7, 17, num_layers=2, bidirectional=True)
        rows = [values(i, n, 7, dtype=torch.float32) for i, n in enumerate((3, 9, 1, 9, 4))]
        y, (h, c) = module(pack_sequence(rows, enforce_sorted=False))
        padded, _ = torch.nn.utils.rnn.pad_packed_sequence(y)
        for i, row in enumerate(rows):
            y_alone, (h_alone, c_alone) = module(row)
            assert same_bits(padded[: len(row), i], y_alone)
            assert same_bits((h[:, i], c[:, i]), (h_alone, c_alone))


class TestMemory:
    """Tensors go in as they lie, and what comes out is the core's own memory."""

    @pytest.fixture
    def seen(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
        """Arguments and results of every call of the core."""
        seen: list[tuple[Any, Any]] = []

        class Spy:
            def __init__(self, model: Any) -> None:
                self.model = model

            def __getattr__(self, name: str) -> Any:
                def call(*arguments: Any, **options: Any) -> Any:
                    seen.append((arguments, getattr(self.model, name)(*arguments, **options)))
                    return seen[-1][1]

                return call

        packed = _packing.packed
        monkeypatch.setattr(_kernels, "packed", lambda *given: Spy(packed(*given)))
        return seen

    @pytest.mark.parametrize("grad", [False, True])
    def test_nothing_is_copied(self, seen: list[tuple[Any, Any]], grad: bool) -> None:
        module = make_module(1, "float32", 7, 17)
        x = values(2, 5, 9, 3, 14, dtype=torch.float32)[:, 2:7:2, 1, 3:10]  # (5, 3, 7), strides
        with torch.set_grad_enabled(grad):
            y, (h, c) = module(x)
        arguments, (y_core, (h_core, c_core), *_) = seen[0]
        assert arguments[0].x.ctypes.data == x.data_ptr()
        assert arguments[0].x.strides == tuple(4 * stride for stride in x.stride())
        for tensor, array in ((y, y_core), (h, h_core), (c, c_core)):
            assert tensor.data_ptr() == array.ctypes.data
        assert same_bits((y, h, c), module(x.contiguous()))
        if grad:
            (y * y).sum().backward()
            arguments, (_, _, d_weights) = seen[-1]
            assert arguments[1].x.ctypes.data == x.data_ptr()
            assert arguments[0].ctypes.data == seen[0][1][3].ctypes.data  # the tape
            assert module.weight_hh_l0.grad.data_ptr() == d_weights["weight_hh_l0"].ctypes.data

    def test_any_strides(self) -> None:
        module = make_module(1, "float64", 7, 17, batch_first=True)
        rows = values(2, 5, 4, 7, dtype=torch.float64)
        d_y = values(3, 5, 4, 17, dtype=torch.float64)
        wanted = gradients(*Call(module, rows).run())
        strange = [
            rows.transpose(0, 1).contiguous().transpose(0, 1),
            rows.permute(2, 0, 1).contiguous().permute(1, 2, 0),  # last axis not contiguous
            rows.flip(0).flip(0),
            torch.stack([rows, rows], dim=-1)[..., 0],
        ]
        for x in strange:
            leaf = x.detach().requires_grad_()
            y, _ = module(leaf)
            (d_x,) = torch.autograd.grad(y, leaf, d_y.transpose(0, 1).contiguous().transpose(0, 1))
            assert same_bits(d_x, torch.autograd.grad(module(rows.requires_grad_())[0], rows, d_y))
            assert same_bits(gradients(*Call(module, x).run()), wanted)
        expanded = rows[:1].expand(5, 4, 7)
        assert same_bits(module(expanded), module(expanded.contiguous()))

    def test_results_do_not_share_memory_with_anything(self) -> None:
        module = make_module(1, "float32", 7, 17)
        call = make_call(module, 5, 3, seed=2)
        with torch.no_grad():
            y, (h, c) = module(call.x, call.hx)
            kept = [t.clone() for t in (y, h, c)]
            module(call.x.mul_(2), call.hx)
            for tensor in (call.x, *call.hx, *module.parameters()):
                tensor.zero_()
        assert same_bits((y, h, c), kept)


class TestAutograd:
    def test_a_sum_of_the_output(self) -> None:
        """Its derivative is a single one, expanded."""
        module = make_module(1, "float64", 7, 17)
        call = make_call(module, 5, 3, seed=2)
        module(call.x, call.hx)[0].sum().backward()
        theirs = plain(module)
        theirs(call.x, call.hx)[0].sum().backward()
        for mine, wanted in zip(module.parameters(), theirs.parameters(), strict=True):
            assert_close("gradients", [mine.grad], [wanted.grad], "float64")

    def test_a_kept_graph_gives_the_same_again_and_others_do_not(self) -> None:
        results, leaves = make_call(
            make_module(1, "float32", 7, 17, num_layers=2), 5, 3, seed=2
        ).run()
        d = [torch.ones_like(result) for result in results]
        first = torch.autograd.grad(results, leaves, d, retain_graph=True)
        assert same_bits(torch.autograd.grad(results, leaves, d), first)
        with pytest.raises(RuntimeError, match="second time"):
            torch.autograd.grad(results, leaves, d)

    def test_only_what_requires_a_gradient_gets_one(self) -> None:
        module = make_module(1, "float64", 7, 17).requires_grad_(False)
        module.weight_hh_l0.requires_grad_()
        call = make_call(module, 5, 3, seed=2)
        h, c = call.hx
        y, _ = module(call.x, (h.requires_grad_(), c))
        y.sum().backward()
        assert call.x.grad is c.grad is module.bias_ih_l0.grad is None
        theirs = plain(module)
        theirs(call.x, (h0 := h.detach().requires_grad_(), c))[0].sum().backward()
        assert_close("gradients", [h.grad], [h0.grad], "float64")
        wanted = theirs.weight_hh_l0.grad
        assert_close("gradients", [module.weight_hh_l0.grad], [wanted], "float64")

    def test_frozen_weights_pass_the_gradient_on(self) -> None:
        module = make_module(1, "float64", 7, 17).requires_grad_(False)
        x = values(2, 5, 3, 7, dtype=torch.float64)
        assert not module(x)[0].requires_grad
        module(x.requires_grad_())[0].sum().backward()
        assert x.grad.abs().max() > 0

    def test_truncated_backpropagation(self) -> None:
        module = make_module(1, "float64", 7, 17)
        call = make_call(module, 8, 3, seed=2)
        losses = []
        for lstm in (module, plain(module)):
            state = call.hx
            for chunk in call.x.split(3):
                y, state = lstm(chunk, tuple(s.detach() for s in state))
                y.square().sum().backward()
            losses.append([p.grad for p in lstm.parameters()])
        assert_close("gradients", *losses, "float64")

    def test_a_graph_through_two_calls(self) -> None:
        module = make_module(1, "float64", 7, 17)
        call = make_call(module, 8, 3, seed=2)
        whole = gradients(*call.run())
        x = call.x.detach().requires_grad_()
        hx = tuple(state.detach().requires_grad_() for state in call.hx)
        first, between = module(x[:3], hx)
        second, (h, c) = module(x[3:], between)
        parts = gradients([torch.cat([first, second]), h, c], [x, *hx, *module.parameters()])
        assert_close("gradients", parts, whole, "float64")

    @pytest.mark.parametrize("reentrant", [False, True])
    def test_activation_checkpointing_replays_the_dropout(self, reentrant: bool) -> None:
        module = make_module(1, "float32", 7, 17, num_layers=2, dropout=0.5)
        x = values(2, 5, 3, 7, dtype=torch.float32).requires_grad_()
        found = []
        for checkpointed in (False, True):
            torch.manual_seed(3)
            if checkpointed:
                y, _ = torch.utils.checkpoint.checkpoint(module, x, use_reentrant=reentrant)
            else:
                y, _ = module(x)
            y.square().sum().backward()
            found.append([x.grad, *(p.grad for p in module.parameters())])
            x.grad = None
            module.zero_grad()
        assert same_bits(*found)

    def test_weights_written_between_forward_and_backward_are_an_error_of_torch(self) -> None:
        module = make_module(1, "float32", 7, 17)
        y, _ = module(torch.zeros(3, 2, 7))
        with torch.no_grad():
            module.weight_hh_l0.mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()

    def test_a_second_derivative_is_refused_when_it_is_asked_for(self) -> None:
        x = torch.zeros(3, 2, 7, requires_grad=True)
        y, _ = make_module(1, "float32", 7, 17)(x)
        (d_x,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        assert d_x.abs().max() > 0
        with pytest.raises(RuntimeError, match="differentiated once only"):
            d_x.sum().backward()

    @pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
    def test_forward_mode_is_refused(self) -> None:
        module = make_module(1, "float32", 7, 17).requires_grad_(False)
        with torch.autograd.forward_ad.dual_level():
            x = torch.autograd.forward_ad.make_dual(torch.zeros(3, 2, 7), torch.ones(3, 2, 7))
            with pytest.raises(NotImplementedError, match="forward-mode"):
                module(x)
            module(torch.zeros(3, 2, 7))  # has no tangent


class TestCell:
    @pytest.mark.parametrize("bias", [False, True])
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_a_loop_over_time(self, dtype: str, bias: bool) -> None:
        ours = LSTMCell(7, 17, bias=bias, dtype=DTYPES[dtype])
        theirs = torch.nn.LSTMCell(7, 17, bias=bias, dtype=torch.float64)
        theirs.load_state_dict(ours.state_dict())
        x = values(2, 6, 3, 7, dtype=DTYPES[dtype])
        h, c = values(3, 2, 3, 17, dtype=DTYPES[dtype])
        found = []
        for cell in (ours, theirs):
            leaves = [t.to(cell.weight_ih.dtype).requires_grad_() for t in (x.clone(), h, c)]
            state, results = (leaves[1], leaves[2]), []
            for x_t in leaves[0]:
                state = cell(x_t, state)
                results.extend(state)
            found.append((results, gradients(results, [*leaves, *cell.parameters()], range(12))))
        (results, d), (wanted_results, wanted_d) = found
        assert_close("reference", results, wanted_results, dtype)
        assert_close("gradients", d, wanted_d, dtype)

    def test_it_has_the_bits_of_the_layer(self) -> None:
        lstm = make_module(1, "float32", 7, 17)
        cell = LSTMCell(7, 17)
        for mine, wanted in zip(cell.parameters(), lstm.parameters(), strict=True):
            mine.data = wanted.data
        x = values(2, 6, 3, 7, dtype=torch.float32)
        y, (h, c) = lstm(x)
        state = None
        for x_t, y_t in zip(x, y, strict=True):
            state = cell(x_t, state)
            assert same_bits(state[0], y_t)
        assert same_bits(state, (h[0], c[0]))
        assert same_bits(cell(x[0, 0]), [part[0] for part in cell(x[0])])
        lstm.weight_hh_l0.data.mul_(2)  # the cell's too
        assert same_bits(cell(x[0], state)[0], lstm(x[:1], (h, c))[0][0])
