// Docstrings of NetworkStream, as NumPy has them; their examples run in tests/test_docstrings.py. Used by
// network_stream.cpp.
#pragma once

namespace cellgate::python {

constexpr const char kNetworkStateDoc[] =
    R"(The state (h, c) of the LSTM: arrays of shape (L, B, P or H) and (L, B, H).

Reading it gives new arrays, setting it copies and leaves what was pooled alone. h and c may be of a
narrower floating type than the network's dtype, which is widened exactly.

Raises
------
TypeError, ValueError
    On setting: no pair of arrays of floats, or of a wrong shape. The state is then unchanged.

Examples
--------
>>> import numpy as np
>>> import cellgate
>>> stream = cellgate.Network(cellgate.LSTM(8, 16, seed=0)).stream()
>>> h, c = stream.state
>>> h.shape, c.shape
((1, 1, 16), (1, 1, 16))
)";

constexpr const char kNetworkStepDoc[] = R"(step($self, /, x, out=None)
--

One step of all sequences; the state moves on.

Parameters
----------
x : array_like, shape (B, I), or (I,) if B is 1
    The input: of the network's dtype, or of a narrower floating type, which is widened exactly.
    Any layout of memory is accepted.
out : array, shape of the result, optional
    Of the network's dtype, writable, with a contiguous last axis: the result is written there and
    nothing is allocated. It may overlap with x.

Returns
-------
y : array, shape (B, O), or (O,) for an x of (I,)
    The network's output: `out`, or a new array. With pooling, of all steps since the reset.

Raises
------
TypeError, ValueError
    An argument of a wrong type, dtype or shape, or an `out` that cannot be written to. The state
    is then unchanged.

Examples
--------
>>> import numpy as np
>>> import cellgate
>>> head = cellgate.Linear(np.ones((2, 16), np.float32))
>>> stream = cellgate.Network(cellgate.LSTM(8, 16, seed=0), head).stream()
>>> stream.step(np.ones(8, np.float32)).shape
(2,)
)";

constexpr const char kNetworkRunDoc[] = R"(run($self, /, x, out=None)
--

T steps of all sequences; the state moves on.

Parameters
----------
x : array_like, shape (T, B, I), or (B, T, I) if the LSTM is `batch_first`, or (T, I) if B is 1
    The input: of the network's dtype, or of a narrower floating type, which is widened exactly.
    Any layout of memory is accepted.
out : array, shape of the result, optional
    Of the network's dtype, writable, with a contiguous last axis: the result is written there. It
    must not share memory with x.

Returns
-------
y : array, laid out like x with O for I
    The network's output at every step: `out`, or a new array. With pooling, at each step of all
    steps since the reset.

Raises
------
TypeError, ValueError
    An argument of a wrong type, dtype or shape, or an `out` that cannot be written to. The state
    is then unchanged.

Examples
--------
>>> import numpy as np
>>> import cellgate
>>> net = cellgate.Network(cellgate.LSTM(8, 16, seed=0), pooling="mean")
>>> x = np.linspace(-1, 1, 5 * 8, dtype=np.float32).reshape(5, 8)
>>> stream = net.stream()
>>> y = np.concatenate([stream.run(x[:3]), stream.run(x[3:])])
>>> np.array_equal(y[-1], net(x)[0]), np.array_equal(y[2], net(x[:3])[0])
(True, True)
)";

constexpr const char kNetworkResetDoc[] = R"(reset($self, /, rows=None)
--

Set the state of some sequences, or of all, to the network's initial one, with nothing pooled.

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
>>> stream = cellgate.Network(cellgate.LSTM(8, 16, seed=0)).stream(batch_size=3)
>>> y = stream.step(np.ones((3, 8), np.float32))
>>> stream.reset([0, 2])
>>> stream.state[0].any(axis=(0, 2)).tolist()
[False, True, False]
)";

}  // namespace cellgate::python
