"""The adapter for onnxruntime: a graph around its LSTM operator. Listed in rivals.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from .rival import Rival, ends, gates
from .rows import Row


class OnnxRuntime(Rival):
    """The LSTM operator; layers chained by Transpose and Reshape."""

    library = "onnxruntime"
    packages = ("onnxruntime", "onnx")

    @staticmethod
    def variants(row: Row) -> tuple[str, ...]:
        if row.training:
            return ()
        return ("run", "IOBinding") if row.streaming and row.shape.L == 1 else ("run",)

    def build(self, weights: dict[str, np.ndarray], threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(threads > 1)))
        self.session = onnxruntime.InferenceSession(
            self._model(weights), options, providers=["CPUExecutionProvider"]
        )
        if self.variant == "IOBinding":
            self._bind()
        elif self.row.streaming:
            self.call = self._step
        else:
            run = self.session.run
            self.call = lambda x: run(None, {"x": x})
        self.reset()

    def _model(self, weights: dict[str, np.ndarray]) -> bytes:
        from onnx import TensorProto, helper, numpy_helper

        shape = self.row.shape
        states = [f"{kind}{layer}" for layer in range(shape.L) for kind in "hc"]
        nodes, values, x = [], {}, "x"
        lengths = "lengths" if shape.shortest else ""
        if lengths:
            values[lengths] = shape.lengths().astype(np.int32)
        for layer in range(shape.L):
            values |= operator_weights(weights, self.row, layer)
            before = [f"h{layer}", f"c{layer}"] if self.row.streaming else []
            nodes.append(
                helper.make_node(
                    "LSTM",
                    [x, f"W{layer}", f"R{layer}", f"B{layer}", lengths, *before],
                    [f"y{layer}", f"h{layer}_after", f"c{layer}_after"],
                    hidden_size=shape.H,
                    direction="bidirectional" if shape.D == 2 else "forward",
                )
            )
            if layer + 1 < shape.L:
                transposed, x = f"t{layer}", f"x{layer + 1}"
                values["order"] = np.array([0, 0, -1])
                nodes.append(
                    helper.make_node("Transpose", [f"y{layer}"], [transposed], perm=[0, 2, 1, 3])
                )
                nodes.append(helper.make_node("Reshape", [transposed, "order"], [x]))

        def value(name: str, *sizes: int) -> Any:
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes)

        state = (shape.D, shape.B, shape.H)
        graph = helper.make_graph(
            nodes,
            "lstm",
            [value("x", shape.T, shape.B, shape.I)]
            + [value(name, *state) for name in states if self.row.streaming],
            [value(f"y{shape.L - 1}", shape.T, shape.D, shape.B, shape.H)]
            + [value(f"{name}_after", *state) for name in states],
            [numpy_helper.from_array(array, name) for name, array in values.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)])
        model.ir_version = 8
        return model.SerializeToString()

    def reset(self) -> None:
        if self.variant == "IOBinding":
            for buffer in self.buffers:
                buffer.fill(0)
        elif self.row.streaming:
            zero = np.zeros((self.row.shape.D, self.row.shape.B, self.row.shape.H), np.float32)
            names = [value.name for value in self.session.get_inputs()]
            self.names, self.feeds = names, dict.fromkeys(names, zero)

    def _step(self, x: np.ndarray) -> Any:
        self.feeds["x"] = x
        results = self.session.run(None, self.feeds)
        self.feeds = dict(zip(self.names[1:], results[1:], strict=True))
        return results

    def _bind(self) -> None:
        """Two bindings, alternately: each reads the state that the other wrote; x is copied in."""
        shape = self.row.shape
        state = (1, shape.B, shape.H)
        x = np.empty((1, shape.B, shape.I), np.float32)
        y = np.empty((1, *state), np.float32)
        self.buffers = [np.zeros(state, np.float32) for _ in "hchc"]
        bindings = []
        for before, after in ((0, 2), (2, 0)):
            binding = self.session.io_binding()
            for name, array in (
                ("x", x),
                ("h0", self.buffers[before]),
                ("c0", self.buffers[before + 1]),
            ):
                binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
            for name, array in (
                ("y0", y),
                ("h0_after", self.buffers[after]),
                ("c0_after", self.buffers[after + 1]),
            ):
                binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
            bindings.append(binding)
        run, current = self.session.run_with_iobinding, bindings

        def call(argument: np.ndarray) -> list[np.ndarray]:
            np.copyto(x, argument)
            run(current[0])
            current.reverse()
            return [y]

        self.call = call

    def argument(self, x: np.ndarray) -> np.ndarray:
        return x[None] if self.row.streaming else x

    def array(self, result: Any) -> np.ndarray:
        y = result[0]  # (T, D, B, H)
        if self.row.streaming:
            return np.array(y[0, 0])
        return y.transpose(0, 2, 1, 3).reshape(y.shape[0], y.shape[2], -1)


def operator_weights(weights: dict[str, np.ndarray], row: Row, layer: int) -> dict[str, np.ndarray]:
    """W, R and B of the ONNX operator, whose gates are in the order i, o, f, g."""

    def stacked(*names: str) -> np.ndarray:
        """(D, ...)"""
        return np.stack(
            [
                np.concatenate([gates(weights[name + end], (0, 3, 1, 2)) for name in names])
                for end in ends(row, layer)
            ]
        )

    return {
        f"W{layer}": stacked("weight_ih"),
        f"R{layer}": stacked("weight_hh"),
        f"B{layer}": stacked("bias_ih", "bias_hh"),
    }
