"""Thousands of arbitrary arguments: each call works, or raises TypeError or ValueError and
leaves the object as it was. Anything else fails; a crash ends the run."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import cellgate
import numpy as np
from cases import digest, examples, ignore_dropout_of_one_layer
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

if TYPE_CHECKING:
    import pytest

many = examples(1000)

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


@st.composite
def near(draw: st.DrawFn, good: np.ndarray) -> Any:
    """Like `good` but for some of: its dtype, its shape, its values, its layout, being an array."""
    array = good
    if draw(st.booleans()):
        array = array.astype(
            draw(st.sampled_from(["f4", "f2", ">f4", "f8", "i1", "i8", "?", "O", "c8"]))
        )
    if draw(st.booleans()):
        sizes = [draw(st.sampled_from([n, n, n + 1, 1, 0])) for n in array.shape]
        array = np.resize(
            array, draw(st.sampled_from([sizes, sizes[1:], sizes[::-1], [*sizes, 1]]))
        )
    if draw(st.booleans()) and array.size and array.dtype.kind in "fiu":
        special = [np.nan, np.inf, 1e300] if array.dtype.kind == "f" else [7, 2**62, -1]
        with np.errstate(over="ignore"):
            value = np.array(draw(st.sampled_from(special))).astype(array.dtype)
        array = array.copy()
        array.flat[draw(st.integers(0, array.size - 1))] = value
    forms = [
        array,
        np.flip(array) if array.ndim else array,
        np.asfortranarray(array),
        array.tolist(),
    ]
    return draw(st.sampled_from(forms))


@st.composite
def wrong(draw: st.DrawFn, good: Any) -> Any:
    """Anything, and more often `good` itself or what differs from it in one way."""
    if draw(st.sampled_from([False, False, False, True])):
        return draw(anything)
    return tuple(draw(near(p)) for p in good) if isinstance(good, tuple) else draw(near(good))


lstm = cellgate.LSTM(5, 7, 2, seed=1)
both_ways = cellgate.LSTM(5, 7, bidirectional=True, seed=1)
projected = cellgate.LSTM(5, 7, 2, proj_size=3, batch_first=True, seed=1)
double = cellgate.LSTM(5, 7, dtype="float64", seed=1)


def weights(model: cellgate.LSTM) -> str:
    return digest([*model.state_dict().values()])


def good_state(model: cellgate.LSTM, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    rows = model.num_layers * (2 if model.bidirectional else 1)
    widths = (model.proj_size or model.hidden_size, model.hidden_size)
    return tuple(np.ones((rows, batch_size, width), np.float32) for width in widths)


@many
@given(st.sampled_from([lstm, both_ways, projected, double]), st.data())
def test_call(model: cellgate.LSTM, data: st.DataObject) -> None:
    plane = (3, 2) if model.batch_first else (2, 3)
    arguments: dict[str, Any] = {
        "x": np.ones((*plane, 5), np.float32),
        "state": good_state(model, 3),
        "lengths": np.array([2, 0, 1]),
        "reset": np.ones(plane, bool),
    }
    for name in data.draw(st.sets(st.sampled_from([*arguments]), min_size=1, max_size=2)):
        arguments[name] = data.draw(wrong(arguments[name]), name)
    before = weights(model)
    with contextlib.suppress(TypeError, ValueError):
        model(**arguments)
    assert weights(model) == before


@many
@given(st.sampled_from([lstm, projected, double]), st.sampled_from([1, 3]), st.data())
def test_stream(model: cellgate.LSTM, batch_size: int, data: st.DataObject) -> None:
    stream = model.stream(batch_size)
    stream.step(np.ones((batch_size, 5), np.float32))
    before = digest(list(stream.state))
    method = data.draw(st.sampled_from(["step", "run", "state", "reset"]))
    plane = [2, batch_size] if method == "run" else [batch_size]
    x = np.ones((*(plane[::-1] if model.batch_first else plane), 5), np.float32)
    out = np.ones((*x.shape[:-1], model.proj_size or 7), model.dtype)
    try:
        if method == "state":
            stream.state = data.draw(wrong(good_state(model, batch_size)))
        elif method == "reset":
            rows = data.draw(st.sampled_from([np.arange(batch_size), np.ones(batch_size, bool)]))
            stream.reset(data.draw(wrong(rows)))
        else:
            getattr(stream, method)(
                data.draw(st.just(x) | wrong(x)), data.draw(st.none() | st.just(out) | wrong(out))
            )
    except (TypeError, ValueError):
        assert digest(list(stream.state)) == before
    stream.step(np.ones((batch_size, 5), np.float32))  # still works


names = st.one_of(
    st.sampled_from([*double.state_dict()]),
    st.none() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
)


@many
@given(st.dictionaries(names, anything, max_size=1), st.data())
def test_load_state_dict(others: dict[Any, Any], data: st.DataObject) -> None:
    model = cellgate.LSTM(5, 7, dtype="float64", seed=1)
    before = weights(model)
    entries: Any = {**model.state_dict(), **others}
    for name in data.draw(st.sets(st.sampled_from([*model.state_dict()]), max_size=2)):
        entries[name] = data.draw(wrong(model.state_dict()[name]), name)
    if data.draw(st.integers(0, 4)) == 0:
        entries = data.draw(anything)
    try:
        model.load_state_dict(entries)
    except (TypeError, ValueError):
        assert weights(model) == before


option_names = ["num_layers", "bias", "batch_first", "dropout", "bidirectional", "proj_size"]
not_numbers = anything.filter(lambda value: not hasattr(value, "__index__"))


@ignore_dropout_of_one_layer
@examples(300)
@given(
    st.dictionaries(st.sampled_from([*option_names, "dtype", "seed"]), not_numbers, max_size=3),
    st.lists(st.integers(-3, 9) | st.integers(2**40, 2**80) | not_numbers, min_size=2, max_size=3),
)
def test_constructor(options: dict[str, Any], sizes: list[Any]) -> None:
    with contextlib.suppress(TypeError, ValueError, MemoryError):
        cellgate.LSTM(*sizes, **options)


@examples(300)
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
