"""Thousands of arbitrary arguments: each call works, or raises TypeError or ValueError and
leaves the object as it was. Anything else fails; a crash ends the run."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import cellgate
import numpy as np
from cases import digest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

if TYPE_CHECKING:
    import pytest

many = settings(max_examples=1000)

dtypes = st.one_of(
    st.sampled_from(["f4", "f8", "f2", ">f4", "g"]).map(np.dtype),
    npst.scalar_dtypes(),
    npst.array_dtypes(max_size=2),
    st.just(np.dtype(object)),
)
shapes = st.one_of(
    st.sampled_from(
        [(2, 3, 5), (3, 5), (2, 5), (5,), (3,), (2, 3), (1, 3, 7), (3, 7), (1, 7), (0, 3, 5)]
    ),
    npst.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=6),
)


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray:
    """Of any dtype and shape, of any bytes, and in any layout."""
    dtype, shape = draw(dtypes), draw(shapes)
    array = np.zeros(shape, dtype)
    if not dtype.hasobject and array.nbytes:
        pattern = draw(st.binary(min_size=1, max_size=16))
        array = np.resize(np.frombuffer(pattern, np.uint8), array.nbytes).view(dtype).reshape(shape)
    array.flags.writeable = draw(st.booleans())
    layouts = [array, array.T]
    if array.ndim:
        layouts += [np.flip(array), array[::2], array[1:], np.broadcast_to(array[:1], shape)]
    return draw(st.sampled_from(layouts))


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.builds(object),
    st.sampled_from([int, len, Ellipsis, NotImplemented, np.float32(1), np.array(1), slice(3)]),
    st.sampled_from([2**31, 2**32, 2**62, 2**63, 2**64, -(2**63)]),
)
anything = st.one_of(
    scalars,
    arrays(),
    st.recursive(
        scalars,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.lists(inner, max_size=4).map(tuple),
            st.dictionaries(st.text(max_size=3), inner, max_size=3),
        ),
        max_leaves=8,
    ),
    st.tuples(arrays(), arrays()),
    st.builds(memoryview, st.binary(max_size=8)),
    arrays().map(lambda a: a.tolist()),
)


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def mostly(good: Any) -> st.SearchStrategy[Any]:
    """`good` half of the time, so that the other arguments of the call are looked at too."""
    return st.one_of(st.just(good), anything)


refused = contextlib.suppress(TypeError, ValueError)

lstm = cellgate.LSTM(5, 7, 2, seed=1)
both_ways = cellgate.LSTM(5, 7, bidirectional=True, seed=1)
projected = cellgate.LSTM(5, 7, 2, proj_size=3, batch_first=True, seed=1)
double = cellgate.LSTM(5, 7, dtype="float64", seed=1)


def weights(model: cellgate.LSTM) -> str:
    return digest([*model.state_dict().values()])


@many
@given(
    st.sampled_from([lstm, both_ways, projected, double]),
    mostly(zeros(2, 3, 5)),
    mostly(None),
    mostly(None),
    mostly(None),
    st.one_of(st.just("zero"), scalars),
    st.one_of(st.booleans(), scalars),
)
def test_call(
    model: cellgate.LSTM, x: Any, state: Any, lengths: Any, reset: Any, padding: Any, cells: Any
) -> None:
    before = weights(model)
    with refused:
        model(x, state, lengths=lengths, reset=reset, padding=padding, return_cells=cells)
    assert weights(model) == before


@many
@given(
    st.sampled_from([lstm, projected, double]),
    st.sampled_from([1, 3]),
    st.sampled_from(["step", "run", "state", "reset"]),
    anything,
    mostly(None),
)
def test_stream(
    model: cellgate.LSTM, batch_size: int, method: str, argument: Any, out: Any
) -> None:
    stream = model.stream(batch_size)
    stream.step(np.ones((batch_size, 5), np.float32))
    before = digest(list(stream.state))
    try:
        if method == "state":
            stream.state = argument
        elif method == "reset":
            stream.reset(argument)
        else:
            getattr(stream, method)(argument, out)
    except (TypeError, ValueError):
        assert digest(list(stream.state)) == before
    stream.step(np.ones((batch_size, 5), np.float32))  # still works


names = st.one_of(
    st.sampled_from([*double.state_dict()]),
    st.none() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
)


@many
@given(st.dictionaries(names, anything) | anything, st.booleans())
def test_load_state_dict(entries: Any, complete: bool) -> None:
    model = cellgate.LSTM(5, 7, dtype="float64", seed=1)
    before = weights(model)
    if complete and isinstance(entries, dict):
        entries = {**model.state_dict(), **entries}
    try:
        model.load_state_dict(entries)
    except (TypeError, ValueError):
        assert weights(model) == before


option_names = ["num_layers", "bias", "batch_first", "dropout", "bidirectional", "proj_size"]
not_numbers = anything.filter(lambda value: not hasattr(value, "__index__"))


@many
@given(
    st.dictionaries(st.sampled_from([*option_names, "dtype", "seed"]), not_numbers, max_size=3),
    st.lists(st.integers(-3, 9) | st.integers(2**40, 2**80) | not_numbers, min_size=2, max_size=3),
)
def test_constructor(options: dict[str, Any], sizes: list[Any]) -> None:
    with contextlib.suppress(TypeError, ValueError, MemoryError):
        cellgate.LSTM(*sizes, **options)


@many
@given(data=st.data())
def test_damaged_files(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.safetensors"
    cellgate.LSTM(2, 3, seed=1).save(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        where = data.draw(st.integers(0, len(content)))
        change = data.draw(st.sampled_from(["replace", "cut", "insert", "drop"]))
        if change == "cut":
            del content[where:]
        else:
            kept = where if change == "insert" else where + data.draw(st.integers(1, 9))
            content[where:kept] = b"" if change == "drop" else data.draw(st.binary(max_size=9))
    path.write_bytes(content)
    try:
        model = cellgate.load(path)
    except ValueError as error:
        message = str(error)
    else:
        model(np.zeros((2, model.input_size), model.dtype))
        return
    assert str(path) in message


@given(anything | st.text().map(lambda name: f"{name}.safetensors"))
def test_paths_to_load(path: Any) -> None:
    with contextlib.suppress(TypeError, ValueError, OSError):
        cellgate.load(path)
