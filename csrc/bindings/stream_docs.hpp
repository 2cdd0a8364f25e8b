// Docstrings of Stream, as NumPy has them; their examples run in tests/test_docstrings.py. Used by
// stream.cpp.
#pragma once

namespace cellgate::python {

constexpr const char kStateDoc[] = R"(The state (h, c): arrays of shape (L, B, P or H) and (L, B, H).

Reading it gives new arrays, setting it copies. h and c may be of a narrower floating type than the
model's dtype, which is widened exactly.

Raises
------
TypeError, ValueError
    On setting: no pair of arrays of floats, or of a wrong shape. The state is then unchanged.

Examples
--------
>>> import numpy as np
>>> import cellgate
>>> stream = cellgate.LSTM(8, 16, seed=0).stream()
>>> h, c = stream.state
>>> h.shape, c.shape
((1, 1, 16), (1, 1, 16))
>>> stream.state = np.ones_like(h), np.zeros_like(c)
>>> float(stream.state[0].sum())
16.0
)";

constexpr const char kStepDoc[] = R"(step($self, /, x, out=None)
--

One step of all sequences; the state moves on.

Parameters
----------
x : array_like, shape (B, I), or (I,) if B is 1
    The input: of the model's dtype, or of a narrower floating type, which is widened exactly.
    Any layout of memory is accepted.
out : array, shape of the result, optional
    Of the model's dtype, writable, with a contiguous last axis: the result is written there and
    nothing is allocated. It may overlap with x.

Returns
-------
y : array, shape (B, P or H), or (P or H,) for an x of (I,)
    The output of the last layer: `out`, or a new array.

Raises
------
TypeError, ValueError
    An argument of a wrong type, dtype or shape, or an `out` that cannot be written to. The state
    is then unchanged.

Examples
--------
>>> import numpy as np
>>> import cellgate
>>> lstm = cellgate.LSTM(8, 16, seed=0)
>>> stream = lstm.stream()
>>> out = np.empty(16, np.float32)
>>> stream.step(np.ones(8, np.float32), out) is out
True
>>> bool((out == lstm(np.ones((1, 8), np.float32))[0][0]).all())
True
)";

constexpr const char kRunDoc[] = R"(run($self, /, x, out=None)
--

T steps of all sequences; the state moves on.

Parameters
----------
x : array_like, shape (T, B, I), or (B, T, I) if the model is `batch_first`, or (T, I) if B is 1
    The input: of the model's dtype, or of a narrower floating type, which is widened exactly.
    Any layout of memory is accepted.
out : array, shape of the result, optional
    Of the model's dtype, writable, with a contiguous last axis: the result is written there. It
    must not share memory with x.

Returns
-------
y : array, laid out like x with P or H for I
    The output of the last layer at every step: `out`, or a new array.

Raises
------
TypeError, ValueError
    An argument of a wrong type, dtype or shape, or an `out` that cannot be written to. The state
    is then unchanged.

Examples
--------
>>> import numpy as np
>>> import cellgate
>>> lstm = cellgate.LSTM(8, 16, seed=0)
>>> x = np.linspace(-1, 1, 5 * 8, dtype=np.float32).reshape(5, 8)
>>> stream = lstm.stream()
>>> y = np.concatenate([stream.run(x[:3]), stream.run(x[3:])])
>>> np.array_equal(y, lstm(x)[0])
True
)";

constexpr const char kResetDoc[] = R"(reset($self, /, rows=None)
--

Set the state of some sequences, or of all, to zero.

Parameters
----------
rows : array_like of bool, shape (B,), or of int, shape () or (n,), optional
    True for the sequences to reset, or their indices, from 0 to B - 1. All if left out.

Raises
------
TypeError, ValueError
    Rows of a wrong type, shape or value. The state is then unchanged.

Examples
--------
>>> import numpy as np
>>> import cellgate
>>> stream = cellgate.LSTM(8, 16, seed=0).stream(batch_size=3)
>>> y = stream.step(np.ones((3, 8), np.float32))
>>> stream.reset([0, 2])
>>> stream.state[0].any(axis=(0, 2)).tolist()
[False, True, False]
)";

}  // namespace cellgate::python
