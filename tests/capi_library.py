"""The C library through ctypes: its structs, and models and calls as NumPy has them."""

from __future__ import annotations

import ctypes
import os
from ctypes import c_char_p, c_double, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cellgate
import numpy as np
import pytest

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDER = os.environ.get("CELLGATE_C_LIBRARY")
needs_library = pytest.mark.skipif(
    FOLDER is None and "c_library" not in os.environ.get("CELLGATE_REQUIRE", ""),
    reason="CELLGATE_C_LIBRARY names no build of the C library",
)
POINTER = {"float32": ctypes.POINTER(ctypes.c_float), "float64": ctypes.POINTER(c_double)}


def fields(text: str) -> list[tuple[str, Any]]:
    kinds = {
        "size": c_size_t,
        "i64": c_int64,
        "i32": c_int32,
        "u32": c_uint32,
        "u64": c_uint64,
        "f64": c_double,
        "text": c_char_p,
        "at": c_void_p,
    }
    pairs = (item.split() for item in text.split(","))
    return [(name, kinds[kind]) for kind, name in pairs]


class CError(ctypes.Structure):
    _fields_ = [
        ("code", c_int32),
        ("reserved", c_int32),
        ("position", c_int64),
        ("message", ctypes.c_char * 1000),
    ]


class Options(ctypes.Structure):
    _fields_ = fields(
        "size struct_size, at allocator, text isa, text source, u64 byte_limit, i32 format,"
        "u32 flags"
    )


class LayerWeights(ctypes.Structure):
    _fields_ = fields("at weight_ih, at weight_hh, at bias_ih, at bias_hh, at weight_hr")


class Description(ctypes.Structure):
    _fields_ = fields(
        "size struct_size, i64 input_size, i64 hidden_size, i64 num_layers, i64 proj_size,"
        "i32 dtype, i32 bias, i32 bidirectional, i32 pooling, size layer_struct_size, at layers,"
        "i64 head_outputs, at head_weight, at head_bias, i32 head_activation, i32 reserved,"
        "at input_mean, at input_scale, f64 skip, f64 input_gain, f64 output_gain, at initial_h,"
        "at initial_c, f64 sample_rate, at metadata, size metadata_count"
    )


class Info(ctypes.Structure):
    _fields_ = fields(
        "size struct_size, i64 input_size, i64 output_size, i64 hidden_size, i64 num_layers,"
        "i64 proj_size, i64 directions, i32 dtype, i32 bias, i32 has_head, i32 activation,"
        "i32 pooling, i32 has_initial_state, f64 skip, f64 input_gain, f64 output_gain,"
        "f64 sample_rate, i64 selftest_steps, size metadata_count, text isa"
    )


class RunArguments(ctypes.Structure):
    _fields_ = fields(
        "size struct_size, i64 steps, i64 batch, at x, i64 x_step, i64 x_row, at y, i64 y_step,"
        "i64 y_row, at lengths, at reset, i64 reset_step, i64 reset_row, at h0, at c0, at h_n,"
        "at c_n, at pool"
    )


class CLibraryError(Exception):
    def __init__(self, name: str, error: CError) -> None:
        super().__init__(error.message.decode())
        self.name, self.position = name, error.position


@cache
def library() -> ctypes.CDLL:
    assert FOLDER is not None, "CELLGATE_C_LIBRARY names no build of the C library"
    loaded = ctypes.CDLL(str(Path(FOLDER, "libcellgate.so")))
    for name in ("cg_version", "cg_status_name"):
        getattr(loaded, name).restype = c_char_p
    for name in ("cg_model_release", "cg_stream_destroy", "cg_pool_destroy"):
        getattr(loaded, name).argtypes = [c_void_p]
        getattr(loaded, name).restype = None
    return loaded


def call(name: str, *arguments: Any) -> None:
    """Call a function that returns a status; CLibraryError unless that is CG_OK."""
    error = CError()
    status = getattr(library(), name)(*arguments, ctypes.byref(error))
    if status:
        assert status == error.code
        raise CLibraryError(library().cg_status_name(status).decode(), error)


def address(array: NDArray[Any] | None) -> int | None:
    return None if array is None else array.ctypes.data


class Model:
    """A cg_model of a file's bytes, or of the arrays of a network."""

    def __init__(self, of: bytes | cellgate.Network, **options: Any) -> None:
        self.handle = c_void_p()
        given = Options(struct_size=ctypes.sizeof(Options), **options)
        out = ctypes.byref(self.handle)
        if isinstance(of, bytes):
            size = c_size_t(len(of))
            call("cg_model_load_memory", of, size, ctypes.byref(given), out)
        else:
            kept = Described(of)
            call("cg_model_create", ctypes.byref(kept.description), ctypes.byref(given), out)
        self.info = Info(struct_size=ctypes.sizeof(Info))
        call("cg_model_get_info", self.handle, ctypes.byref(self.info))
        self.dtype = np.dtype(["float32", "float64"][self.info.dtype])
        self.suffix = ["", "_f64"][self.info.dtype]

    def __del__(self) -> None:
        library().cg_model_release(self.handle)

    def run(
        self,
        x: NDArray[Any],
        state: tuple[Any, Any] | None = None,
        *,
        lengths: Any = None,
        reset: Any = None,
        batch_first: bool = False,
        threads: int = 1,
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], NDArray[Any]]]:
        """As Network's call: x is [T, B, I], [B, T, I] or [T, I]."""
        unbatched = x.ndim == 2
        batch_first = batch_first and not unbatched
        time = 1 if batch_first else 0
        x = np.ascontiguousarray(x, self.dtype)
        steps, batch = x.shape[time], 1 if unbatched else x.shape[1 - time]
        outputs = self.info.output_size
        if self.info.pooling:
            y = np.full((batch, outputs), np.nan, self.dtype)
        else:
            y = np.full((*x.shape[:-1], outputs), np.nan, self.dtype)
        rows = self.info.num_layers * self.info.directions
        width = self.info.proj_size or self.info.hidden_size
        h = np.empty((rows, batch, width), self.dtype)
        c = np.empty((rows, batch, self.info.hidden_size), self.dtype)
        h0, c0 = (
            (None, None) if state is None else [np.array(s, self.dtype, order="C") for s in state]
        )
        given = RunArguments(
            struct_size=ctypes.sizeof(RunArguments), steps=steps, batch=batch,
            x=address(x), y=address(y), h0=address(h0), c0=address(c0),
            h_n=address(h), c_n=address(c),
        )  # fmt: skip
        if lengths is not None:
            lengths = np.array(lengths, np.int64).reshape(-1)
            given.lengths = address(lengths)
        if reset is not None:
            reset = np.array(reset, np.uint8, order="C")
            given.reset = address(reset)
        if batch_first:
            given.x_step, given.x_row = self.info.input_size, steps * self.info.input_size
            given.reset_step, given.reset_row = 1, steps
            if not self.info.pooling:
                given.y_step, given.y_row = outputs, steps * outputs
        pool = c_void_p()
        if threads > 1:
            call("cg_pool_create", c_int32(threads), ctypes.byref(pool))
            given.pool = pool.value
        try:
            call("cg_run" + self.suffix, self.handle, ctypes.byref(given))
        finally:
            library().cg_pool_destroy(pool)
        if unbatched:
            return (y[0] if self.info.pooling else y), (h[:, 0], c[:, 0])
        return y, (h, c)


class Described:
    """A cg_model_description of a network, and the arrays that it points to."""

    def __init__(self, network: cellgate.Network) -> None:
        lstm = network.lstm
        self.kept: list[Any] = []
        self.description = d = Description()
        library().cg_model_description_init(ctypes.byref(d), c_size_t(ctypes.sizeof(d)))
        d.input_size, d.hidden_size = lstm.input_size, lstm.hidden_size
        d.num_layers, d.proj_size = lstm.num_layers, lstm.proj_size
        d.dtype = ["float32", "float64"].index(str(lstm.dtype))
        d.bias, d.bidirectional = lstm.bias, lstm.bidirectional
        d.layers = self.layers(lstm.state_dict(), lstm)
        if network.head is not None:
            weight = network.head.weight
            d.head_outputs, d.head_weight = len(weight), self.keep(weight)
            if network.head.bias is not None:
                d.head_bias = self.keep(network.head.bias)
            names = ("linear", "sigmoid", "softmax", "tanh", "relu")
            d.head_activation = names.index(network.head.activation)
        d.pooling = [None, "mean", "last"].index(network.pooling)
        for name in ("input_mean", "input_scale"):
            if getattr(network, name) is not None:
                setattr(d, name, self.keep(getattr(network, name)))
        d.skip, d.input_gain, d.output_gain = network.skip, network.input_gain, network.output_gain
        if network.initial_state is not None:
            d.initial_h, d.initial_c = map(self.keep, network.initial_state)

    def keep(self, array: Any) -> int:
        array = np.ascontiguousarray(array)
        self.kept.append(array)
        return array.ctypes.data

    def layers(self, weights: dict[str, Any], lstm: cellgate.LSTM) -> int:
        suffixes = [
            f"_l{layer}{reverse}"
            for layer in range(lstm.num_layers)
            for reverse in ([""] + ["_reverse"] * lstm.bidirectional)
        ]
        made = (LayerWeights * len(suffixes))()
        for layer, suffix in zip(made, suffixes, strict=True):
            for name, _ in LayerWeights._fields_:
                if name + suffix in weights:
                    setattr(layer, name, self.keep(weights[name + suffix]))
        self.kept.append(made)
        return ctypes.addressof(made)


class Stream:
    """A cg_stream; in memory of the caller's if `placed`."""

    def __init__(self, model: Model, *, placed: bool = False) -> None:
        self.model, self.handle = model, c_void_p()
        if placed:
            size = c_size_t()
            call("cg_stream_size", model.handle, ctypes.byref(size))
            self.memory = np.full(size.value + 64, 0xCD, np.uint8)
            at = self.memory.ctypes.data + -self.memory.ctypes.data % 64
            call("cg_stream_init", model.handle, c_void_p(at), size, ctypes.byref(self.handle))
        else:
            call("cg_stream_create", model.handle, ctypes.byref(self.handle))

    def __del__(self) -> None:
        library().cg_stream_destroy(self.handle)

    def process(self, x: NDArray[Any]) -> NDArray[Any]:
        x = np.ascontiguousarray(x, self.model.dtype)
        y = np.full((len(x), self.model.info.output_size), np.nan, x.dtype)
        name = "cg_stream_process" + self.model.suffix
        call(name, self.handle, c_void_p(address(x)), c_void_p(address(y)), c_size_t(len(x)))
        return y

    def process_planar(self, x: NDArray[Any]) -> NDArray[Any]:
        planes = np.array(x.T, self.model.dtype, order="C")
        out = np.full((self.model.info.output_size, len(x)), np.nan, planes.dtype)

        def pointers(arrays: NDArray[Any]) -> Any:
            return (c_void_p * len(arrays))(*(row.ctypes.data for row in arrays))

        name = "cg_stream_process_planar" + self.model.suffix
        call(name, self.handle, pointers(planes), pointers(out), c_size_t(len(x)))
        return out.T

    def reset(self) -> None:
        call("cg_stream_reset", self.handle)

    @property
    def state(self) -> NDArray[Any]:
        count = c_size_t()
        call("cg_stream_state_count", self.handle, ctypes.byref(count))
        state = np.empty(count.value, self.model.dtype)
        name = "cg_stream_get_state" + self.model.suffix
        call(name, self.handle, c_void_p(address(state)), count)
        return state

    @state.setter
    def state(self, state: NDArray[Any]) -> None:
        name = "cg_stream_set_state" + self.model.suffix
        call(name, self.handle, c_void_p(address(state)), c_size_t(state.size))
