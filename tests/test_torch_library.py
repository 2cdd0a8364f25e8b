"""The operators as PyTorch's compiler, exporter and functional transforms see them."""

from __future__ import annotations

import io
import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cellgate
import pytest
from torch_cases import (
    DTYPES,
    assert_close,
    gradients,
    make_call,
    make_module,
    same_bits,
    values,
)

import torch  # isort: skip  (after torch_cases, which skips where it is not installed)
import torch._dynamo
from cellgate.torch import LSTM, LSTMCell, _kernels
from cellgate.torch._operators import BUILD
from torch._subclasses import FakeTensorMode
from torch.library import opcheck
from torch.nn.utils.rnn import pack_padded_sequence

ops = torch.ops.cellgate

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:LSTM with projections is not supported with oneDNN:UserWarning"
    ),
    # What parts of the compiler say of each other.
    pytest.mark.filterwarnings("ignore:.*LeafSpec.* is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
]

CALLS: dict[str, dict[str, Any]] = {
    "plain": {},
    "with a state": {"with_state": True},
    "batch first, both directions": {"batch_first": True, "bidirectional": True},
    "three layers, projected": {"num_layers": 3, "proj_size": 3, "with_state": True},
    "dropout": {"num_layers": 2, "dropout": 0.4, "bidirectional": True},
    "packed": {"num_layers": 2, "bidirectional": True, "packed": True},
    "packed, dropout": {"num_layers": 2, "dropout": 0.4, "packed": True, "proj_size": 5},
    "without biases": {"bias": False, "with_state": True},
    "float64": {"dtype": "float64", "num_layers": 2},
}


def record(call: tuple[Any, ...]) -> Any:
    """Calls the operator `lstm_record`."""
    return ops.lstm_record(*call, _kernels.tape_size(_kernels.Call(*call)))


def arguments(name: str, *, grad: bool) -> tuple[Any, ...]:
    """Of the operator `lstm`, but the last, which is BUILD."""
    options = dict(CALLS[name])
    packed, with_state = options.pop("packed", False), options.pop("with_state", False)
    dtype = options.pop("dtype", "float32")
    module = make_module(1, dtype, 7, 16, **options)
    call = make_call(module, 4, 3, seed=2)
    x, batch_sizes = call.x, None
    if packed:
        x, batch_sizes, _, _ = pack_padded_sequence(x, [4, 3, 1], module.batch_first)
        x = x.detach()
    state = call.hx if with_state or packed else (None, None)
    for tensor in (x, *state):
        if tensor is not None:
            tensor.requires_grad_(grad)
    seed = torch.tensor(12345) if module.dropout else None
    weights = [weight.detach().requires_grad_(grad) for weight in module.parameters()]
    layout = (module.bias, module.num_layers, module.bidirectional)
    first = module.batch_first and not packed
    return (x, *state, batch_sizes, seed, weights, *layout, first, module.dropout)


class TestOperators:
    """`opcheck` with all it has: schema, autograd registration, fakes, compilation."""

    @pytest.mark.parametrize("grad", [False, True])
    @pytest.mark.parametrize("name", CALLS)
    def test_lstm(self, name: str, grad: bool) -> None:
        opcheck(ops.lstm.default, (*arguments(name, grad=grad), BUILD))

    @pytest.mark.parametrize("grad", [False, True])
    @pytest.mark.parametrize("name", CALLS)
    def test_record(self, name: str, grad: bool) -> None:
        call = arguments(name, grad=grad)
        size = _kernels.tape_size(_kernels.Call(*call))
        opcheck(ops.lstm_record.default, (*call, size))
        with pytest.raises(ValueError, match=f"tape_size: must be {size}, got {size - 1}"):
            ops.lstm_record(*call, size - 1)

    @pytest.mark.parametrize("name", CALLS)
    @pytest.mark.parametrize("wants_input", [False, True])
    def test_backward(self, name: str, wants_input: bool) -> None:
        call = arguments(name, grad=False)
        y, h, c, tape = record(call)
        for d in ((y, h, c), (y, None, None), (None, h, None), (None, None, c)):
            opcheck(ops.lstm_backward.default, (*call, y, tape, *d, wants_input))

    def test_backward_where_a_second_derivative_is_asked_for(self) -> None:
        call = arguments("with a state", grad=True)
        y, h, c, tape = (t.detach() for t in record(call))
        rest = (*call, y, tape, torch.ones_like(y), h, c, True)
        opcheck(
            ops.lstm_backward.default,
            rest,
            test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
        )
        with pytest.raises(RuntimeError, match="differentiated once only"):
            ops.lstm_backward(*rest)[-1].sum().backward()

    def test_the_recording_has_the_same_derivative(self) -> None:
        call = arguments("three layers, projected", grad=True)
        leaves = [*call[:3], *call[5]]
        wanted = gradients(list(ops.lstm(*call, BUILD)), leaves)
        y, h, c, tape = record(call)
        assert not tape.requires_grad
        assert same_bits(gradients([y, h, c], leaves), wanted)

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_the_size_of_a_tape(self, dtype: str) -> None:
        sizes = itertools.product((1, 7, 8, 9, 16, 33), (1, 2, 3), (False, True), (0, 5), (0, 0.5))
        for hidden_size, layers, both, proj_size, dropout in sizes:
            if proj_size >= hidden_size:
                continue
            module = make_module(
                1, dtype, 3, hidden_size,
                num_layers=layers, bidirectional=both, proj_size=proj_size,
            )  # fmt: skip
            weights = [weight.detach() for weight in module.parameters()]
            seed = torch.tensor(1) if dropout else None
            for steps, batch in itertools.product((0, 1, 5), (0, 1, 3, 17)):
                x = torch.zeros(steps, batch, 3, dtype=weights[0].dtype)
                call = _kernels.Call(
                    x, None, None, None, seed, weights, True, layers, both, False, dropout
                )
                model = _kernels.packed(weights, call.config())
                drops = seed is not None and layers > 1
                wanted = model.tape_size(steps, batch, steps * batch, drops, 0)
                assert _kernels.tape_size(call) == wanted

    def test_fakes_have_the_layout_of_what_they_stand_for(self) -> None:
        for name in CALLS:
            call = arguments(name, grad=False)
            real = record(call)
            with FakeTensorMode() as mode:
                fake_call = [
                    mode.from_tensor(a)
                    if isinstance(a, torch.Tensor)
                    else [mode.from_tensor(w) for w in a]
                    if isinstance(a, list)
                    else a
                    for a in call
                ]
                fake = record(tuple(fake_call))
            for one, other in zip(real, fake, strict=True):
                assert one.shape == other.shape
                assert one.stride() == other.stride()
                assert one.dtype == other.dtype


@pytest.fixture
def fresh_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture
def allow_rnn(fresh_compiler: None) -> Any:
    with torch._dynamo.config.patch(allow_rnn=True):
        yield


class Tagger(torch.nn.Module):
    """A model around an LSTM and a cell."""

    def __init__(self, lstm: Any, cell: Any) -> None:
        super().__init__()
        self.lstm, self.cell = lstm, cell
        self.linear = torch.nn.Linear(17, 5)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y, (h, _) = self.lstm(2 * x)
        first, _ = self.cell(y[:, 0].tanh())
        return self.linear(y).relu(), first + h[-1]


def tagger() -> Tagger:
    torch.manual_seed(1)
    return Tagger(LSTM(7, 17, 2, batch_first=True), LSTMCell(17, 17))


def trained(model: Any, x: torch.Tensor, of: Any = None) -> list[torch.Tensor]:
    """Results, and the gradients of input and parameters, of a loss that uses all results."""
    leaves = [x.detach().requires_grad_(), *(of or model).parameters()]
    results = list(model(leaves[0]))
    loss = sum(result.sin().sum() for result in results)
    return results + list(torch.autograd.grad(loss, leaves))


class TestCompile:
    @pytest.mark.parametrize("dynamic", [None, True])
    @pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
    def test_one_graph(self, allow_rnn: None, backend: str, dynamic: bool | None) -> None:
        model = tagger()
        compiled = torch.compile(model, fullgraph=True, backend=backend, dynamic=dynamic)
        for batch, steps in ((3, 4), (2, 6), (5, 9)):
            x = values(batch, batch, steps, 7, dtype=torch.float32)
            actual, wanted = trained(compiled, x, model), trained(model, x)
            assert_close("gradients", actual, wanted, "float32")
            with torch.no_grad():
                assert_close("reference", list(compiled(x)), list(model(x)), "float32")

    def test_the_graph_holds_one_operator(self, allow_rnn: None) -> None:
        graphs = []

        def backend(graph: torch.fx.GraphModule, _: Any) -> Any:
            graphs.append(graph)
            return graph.forward

        module = make_module(1, "float32", 7, 17, num_layers=2, bidirectional=True)
        call = make_call(module, 4, 3, seed=2)
        compiled = torch.compile(module, fullgraph=True, backend=backend)
        assert same_bits(compiled(call.x, call.hx), module(call.x, call.hx))
        (graph,) = graphs
        targets = [node.target for node in graph.graph.nodes if node.op == "call_function"]
        assert targets.count(ops.lstm.default) == 1

    @pytest.mark.parametrize("sorted_rows", [False, True])
    def test_packed_sequences(self, allow_rnn: None, sorted_rows: bool) -> None:
        module = make_module(1, "float32", 7, 17, num_layers=2, bidirectional=True)
        lengths = [5, 4, 1] if sorted_rows else [4, 1, 5]
        call = make_call(module, 5, 3, seed=2, lengths=lengths, sorted_rows=sorted_rows)
        wanted = gradients(*call.run())
        compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
        assert same_bits(gradients(*call.run(compiled)), wanted)
        call = call._replace(hx=None)
        assert same_bits(gradients(*call.run(compiled)), gradients(*call.run()))

    def test_weights_may_change_afterwards(self, allow_rnn: None) -> None:
        model = tagger()
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        x = values(2, 3, 4, 7, dtype=torch.float32)
        optimizer = torch.optim.Adam(model.parameters(), 0.01)
        for _ in range(3):
            sum(result.square().sum() for result in compiled(x)).backward()
            optimizer.step()
            model.lstm.weight_hh_l1.data.mul_(1.1)
            assert_close("reference", trained(compiled, x, model), trained(model, x), "float32")
            with torch.no_grad():
                assert same_bits(compiled(x), model(x))

    def test_dropout_differs_from_call_to_call_and_repeats_by_seed(self, allow_rnn: None) -> None:
        module = make_module(1, "float32", 7, 17, num_layers=2, dropout=0.5)
        compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
        x = values(2, 5, 3, 7, dtype=torch.float32)
        torch.manual_seed(1)
        wanted = module(x)[0], module(x)[0]
        torch.manual_seed(1)
        assert same_bits((compiled(x)[0], compiled(x)[0]), wanted)
        assert not torch.equal(*wanted)

    def test_what_is_kept_on_disk_is_for_one_instruction_set(self, tmp_path: Path) -> None:
        """The size of a tape depends on it, and is compiled into the graph."""
        program = (
            "import torch, torch._dynamo, cellgate.torch\n"
            "torch._dynamo.config.allow_rnn = True\n"
            "lstm = cellgate.torch.LSTM(3, 5)\n"
            "torch.compile(lstm, fullgraph=True)(torch.ones(4, 2, 3))[0].sum().backward()\n"
            "print(cellgate.active_isa(), torch._dynamo.utils.counters['inductor'])\n"
        )
        for isa in cellgate.build_info()["isas_supported"]:
            environment = {"CELLGATE_ISA": isa, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
            result = subprocess.run(
                [sys.executable, "-c", program],
                env={**os.environ, **environment},
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            assert result.returncode == 0, result.stderr
            assert result.stdout.startswith(isa)

    def test_without_the_flag_dynamo_says_how_to_set_it(self, fresh_compiler: None) -> None:
        compiled = torch.compile(tagger(), fullgraph=True, backend="eager")
        with pytest.raises(torch._dynamo.exc.Unsupported, match="allow_rnn=True"):
            compiled(torch.zeros(3, 4, 7))

    @pytest.mark.filterwarnings("ignore:Dynamo does not support RNN, GRU, or LSTM:UserWarning")
    def test_without_the_flag_the_lstm_runs_between_two_graphs(self, fresh_compiler: None) -> None:
        model = tagger()
        compiled = torch.compile(model, backend="aot_eager")
        for steps in (4, 6, 9):
            x = values(steps, 3, steps, 7, dtype=torch.float32)
            actual, wanted = trained(compiled, x, model), trained(model, x)
            assert_close("gradients", actual, wanted, "float32")
            with torch.no_grad():
                assert_close("reference", list(compiled(x)), list(model(x)), "float32")

    def test_a_cell_needs_no_flag(self, fresh_compiler: None) -> None:
        cell = LSTMCell(7, 17)

        def run(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            state = None
            for x_t in x.unbind():
                state = cell(x_t, state)
            return state

        compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
        x = values(2, 4, 3, 7, dtype=torch.float32)
        assert same_bits(trained(compiled, x, cell), trained(run, x, cell))


class TestExport:
    @pytest.mark.parametrize("strict", [False, True])
    def test_one_operator_of_any_size(self, strict: bool) -> None:
        model = tagger().eval()
        sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("steps")}
        with torch._dynamo.config.patch(allow_rnn=True):
            program = torch.export.export(
                model, (torch.zeros(3, 4, 7),), dynamic_shapes=(sizes,), strict=strict
            )
        targets = [node.target for node in program.graph.nodes if node.op == "call_function"]
        assert targets.count(ops.lstm.default) == 2  # the LSTM and the cell
        module = program.module()
        for shape in ((3, 4, 7), (5, 9, 7)):
            x = values(2, *shape, dtype=torch.float32)
            assert same_bits(module(x), model(x))

    def test_a_saved_program_is_loaded_and_trained(self) -> None:
        model = tagger()
        program = torch.export.export(model, (torch.zeros(3, 4, 7),))
        file = io.BytesIO()
        torch.export.save(program, file)
        file.seek(0)
        loaded = torch.export.load(file).module()
        x = values(2, 3, 4, 7, dtype=torch.float32)
        wanted = dict(model.named_parameters())
        names = [name for name, _ in loaded.named_parameters()]
        assert sorted(names) == sorted(wanted)
        loss = sum(result.square().sum() for result in loaded(x))
        found = torch.autograd.grad(loss, [*loaded.parameters()])
        loss = sum(result.square().sum() for result in model(x))
        assert same_bits(found, torch.autograd.grad(loss, [wanted[name] for name in names]))

    def test_decompositions_keep_the_operator(self) -> None:
        with torch.no_grad():
            program = torch.export.export(tagger().eval(), (torch.zeros(3, 4, 7),))
        targets = [node.target for node in program.run_decompositions().graph.nodes]
        assert targets.count(ops.lstm.default) == 2

    @pytest.mark.filterwarnings("ignore:.*torch.jit.trace.* is deprecated")
    @pytest.mark.filterwarnings("ignore:.*:torch.jit.TracerWarning")
    def test_tracing(self) -> None:
        model = tagger().eval()
        traced = torch.jit.trace(model, (torch.zeros(3, 4, 7),))
        x = values(2, 5, 9, 7, dtype=torch.float32)
        assert same_bits(traced(x), model(x))
        model.lstm.weight_hh_l0.data.mul_(2)
        assert same_bits(traced(x), model(x))
