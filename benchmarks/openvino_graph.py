"""The adapter for OpenVINO: a graph around LSTMSequence or LSTMCell. Listed in rivals.py."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from .rival import Rival, ends, gates
from .rows import Row

# `import openvino` reports itself to Google Analytics if this package is there. Benchmarks use
# no network: with None here Python says that it is not installed, and openvino does without.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


class OpenVino(Rival):
    """One infer request, used again, on shared memory in and out.

    LSTMSequence has the batch first. `time first` transposes in the graph what the others get and
    give, which its CPU plugin can leave out; `batch first` gets x transposed beforehand. A step is
    a sequence of one or a cell, with the state in variables inside (`stateful`) or in arrays that
    two requests read and write alternately (`explicit`).
    """

    library = "openvino"
    packages = ("openvino",)

    @staticmethod
    def variants(row: Row) -> tuple[str, ...]:
        if row.training:
            return ()
        if row.streaming:
            return tuple(f"{op} {way}" for op in STEPS for way in ("stateful", "explicit"))
        return ("time first", "batch first") if row.shape.B > 1 else ("batch first",)

    def build(self, weights: dict[str, np.ndarray], threads: int) -> None:
        import openvino

        self.openvino = openvino
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",
        }
        model = self._step(weights) if self.row.streaming else self._sequence(weights)
        compiled = openvino.Core().compile_model(model, "CPU", options)
        if not self.row.streaming:
            self.request = compiled.create_infer_request()
            infer = self.request.infer
            self.call = lambda _: infer(share_outputs=True)
            return
        self.x = np.zeros((self.row.shape.B, self.row.shape.I), np.float32)
        explicit = self.variant.endswith("explicit")
        self.requests = [compiled.create_infer_request() for _ in range(1 + explicit)]
        for request in self.requests:
            shaped = self.x.reshape(request.input_tensors[0].shape)  # the same memory
            request.set_input_tensor(0, self._tensor(shaped))
        self.call = self._in_turn() if explicit else self._alone()
        self.reset()

    def _tensor(self, array: np.ndarray) -> Any:
        return self.openvino.Tensor(array, shared_memory=True)

    def _alone(self) -> Any:
        x, infer = self.x, self.requests[0].infer

        def call(argument: np.ndarray) -> Any:
            np.copyto(x, argument)
            return infer(share_outputs=True)

        return call

    def _in_turn(self) -> Any:
        """Each request reads the state that the other wrote."""
        shapes = [tensor.shape for tensor in self.requests[0].input_tensors[1:]]
        self.states = [[np.zeros(shape, np.float32) for shape in shapes] for _ in range(2)]
        for turn, request in enumerate(self.requests):
            for i, (before, after) in enumerate(zip(*self.states[:: 1 - 2 * turn], strict=True)):
                request.set_input_tensor(1 + i, self._tensor(before))
                request.set_output_tensor(1 + i, self._tensor(after))
        x, (now, other) = self.x, [request.infer for request in self.requests]

        def call(argument: np.ndarray) -> Any:
            nonlocal now, other
            np.copyto(x, argument)
            result = now(share_outputs=True)
            now, other = other, now
            return result

        return call

    def _sequence(self, weights: dict[str, np.ndarray]) -> Any:
        """All layers, over whole sequences."""
        import openvino.opset13 as op

        shape, time_first = self.row.shape, self.variant == "time first"
        sizes = (shape.T, shape.B) if time_first else (shape.B, shape.T)
        x = first = op.parameter([*sizes, shape.I], np.float32, name="x")
        zero = np.zeros((shape.B, shape.D, shape.H), np.float32)
        lengths = shape.lengths()
        direction = "BIDIRECTIONAL" if shape.D == 2 else "FORWARD"
        if time_first:
            x = op.transpose(x, np.array([1, 0, 2]))
        for layer in range(shape.L):
            w, r, b = operator_weights(weights, self.row, layer)
            node = op.lstm_sequence(x, zero, zero, lengths, w, r, b, shape.H, direction)
            # (B, D, T, H)
            if layer + 1 < shape.L:
                y = op.transpose(node.output(0), np.array([0, 2, 1, 3]))
                x = op.reshape(y, np.array([0, 0, -1]), special_zero=True)
        y = node.output(0)
        if time_first:
            y = op.transpose(y, np.array([2, 1, 0, 3]))
        return self.openvino.Model([op.result(y)], [first], "lstm")

    def _step(self, weights: dict[str, np.ndarray]) -> Any:
        """One step with its state, as inputs and outputs or as variables."""
        import openvino.opset13 as op
        from openvino._offline_transformations import apply_make_stateful_transformation

        shape, cell = self.row.shape, self.variant.startswith("LSTMCell")
        one = [] if cell else [1]
        inputs = [
            op.parameter([shape.B, *one, size], np.float32, name=name)
            for name, size in (("x", shape.I), ("h", shape.H), ("c", shape.H))
        ]
        w, r, b = operator_weights(weights, self.row, 0)
        if cell:
            node = op.lstm_cell(*inputs, w[0], r[0], b[0], shape.H)
            y, h, c = node.output(0), node.output(0), node.output(1)
        else:
            length = np.ones(shape.B, np.int64)
            node = op.lstm_sequence(*inputs, length, w, r, b, shape.H, "FORWARD")
            y, h, c = (node.output(i) for i in range(3))
        for parameter in inputs:
            parameter.output(0).set_names({parameter.friendly_name})
        h.set_names({"h_after"})
        c.set_names({"c_after"})
        model = self.openvino.Model([op.result(o) for o in (y, h, c)], inputs, "step")
        if self.variant.endswith("stateful"):
            apply_make_stateful_transformation(model, {"h": "h_after", "c": "c_after"})
        return model

    def reset(self) -> None:
        if self.variant.endswith("stateful"):
            self.requests[0].reset_state()
        elif self.variant.endswith("explicit"):
            for state in (*self.states[0], *self.states[1]):
                state.fill(0)

    def argument(self, x: np.ndarray) -> Any:
        if not self.row.streaming:
            self.x = x if self.variant == "time first" else np.ascontiguousarray(x.swapaxes(0, 1))
            self.request.set_input_tensor(0, self._tensor(self.x))
        return x

    def array(self, result: Any) -> np.ndarray:
        y, shape = np.array(result[0]), self.row.shape
        if self.row.streaming:
            return y.reshape(shape.B, shape.H)
        order = (0, 1, 2, 3) if self.variant == "time first" else (2, 0, 1, 3)
        return y.transpose(order).reshape(shape.T, shape.B, -1)


STEPS = ("LSTMCell", "LSTMSequence")


def operator_weights(weights: dict[str, np.ndarray], row: Row, layer: int) -> list[np.ndarray]:
    """W, R and B, with an axis of D in front; gates are in the order f, i, g, o."""

    def stacked(values: list[np.ndarray]) -> np.ndarray:
        return np.stack([gates(value, (1, 0, 2, 3)) for value in values])

    w, r, b_ih, b_hh = (
        [weights[name + end] for end in ends(row, layer)]
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    return [stacked(w), stacked(r), stacked([i + h for i, h in zip(b_ih, b_hh, strict=True)])]
