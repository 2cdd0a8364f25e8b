"""The oracle: the LSTM's equations in float64 NumPy, one line each, with no cleverness.

Everything else in the package is judged by this file and by `reference_backward`, which has the
derivative; they are written to be read, not to be fast, and trust their arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeAlias

    from numpy.typing import ArrayLike, NDArray

    Array: TypeAlias = NDArray[np.float64]
    Flags: TypeAlias = NDArray[np.bool_]

_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")


def forward(
    parameters: Mapping[str, ArrayLike],
    x: ArrayLike,
    state: tuple[ArrayLike, ArrayLike] | None = None,
    *,
    lengths: ArrayLike | None = None,
    reset: ArrayLike | None = None,
    batch_first: bool = False,
    dropout: float = 0.0,
    seed: int = 0,
) -> tuple[Array, tuple[Array, Array], Array]:
    """Run an LSTM over whole sequences.

    Parameters
    ----------
    parameters : mapping of str to array_like
        Weights under PyTorch's names; the names and shapes fix the configuration.
    x : array_like, shape (T, B, I), or (B, T, I) if `batch_first`, or (T, I)
        The input.
    state : (h, c), optional
        h of shape (L*D, B, P or H) and c of shape (L*D, B, H), without B if x has none.
        Zero if left out.
    lengths : array_like of int, shape (B,), optional
        Valid steps of each sequence; T if left out.
    reset : array_like of bool, shape (T, B), laid out like x, optional
        True where a new segment begins. No step depends on another segment, in either
        direction; the initial state belongs to the segment of the step that follows it.
    batch_first : bool
        Whether x, reset, y and cells have B before T.
    dropout : float
        Probability of dropping each value that a layer hands to the next.
    seed : int
        Of the dropout, see `dropout_factors`.

    Returns
    -------
    y : float64 array, shape (T, B, D*(P or H)), laid out like x
        h of the last layer; zero beyond a sequence's length.
    (h, c) : float64 arrays, shaped like `state`
        The state of every layer and direction after the last step it took.
    cells : float64 array, shape (T, B, D*H), laid out like x
        c of the last layer; zero beyond a sequence's length.

    Notes
    -----
    The order of gates is i, f, g, o. Sources: Hochreiter & Schmidhuber 1997; Gers, Schmidhuber &
    Cummins 2000 (forget gate); Sak, Senior & Beaufays 2014 (projection).

    Examples
    --------
    >>> import numpy as np
    >>> from cellgate import reference
    >>> weights = {"weight_ih_l0": np.ones((4, 1)), "weight_hh_l0": np.zeros((4, 1))}
    >>> y, (h, c), cells = reference.forward(weights, [[0.0], [1.0]])
    >>> y.round(4)
    array([[0.    ],
           [0.3696]])
    """
    r = run(parameters, x, state, lengths, reset, batch_first, dropout, seed)
    if np.ndim(x) == 2:
        return r.y[:, 0], (r.h[:, 0], r.c[:, 0]), r.cells[:, 0]
    if batch_first:
        return r.y.swapaxes(0, 1), (r.h, r.c), r.cells.swapaxes(0, 1)
    return r.y, (r.h, r.c), r.cells


class Trace(NamedTuple):
    """What one layer read and computed in one direction at every step, with the batch inside."""

    x: Array  # (T, B, inputs)
    h_prev: Array  # (T, B, P or H)
    c_prev: Array  # (T, B, H), and so the rest
    i: Array
    f: Array
    g: Array
    o: Array
    c: Array


class Run(NamedTuple):
    """A forward pass with all that its derivative needs; time is always the first axis."""

    y: Array  # (T, B, D*(P or H))
    h: Array  # (L*D, B, P or H)
    c: Array  # (L*D, B, H)
    cells: Array  # (T, B, D*H)
    valid: Flags  # (T, B, 1): where steps are
    starts: Flags  # (T, B, 1): where segments start
    tags: list[str]  # of the L*D layers and directions: "_l0", "_l0_reverse", ...
    weights: list[dict[str, Array]]  # of each, the keys without the tag
    traces: list[Trace]  # of each


def run(
    parameters: Mapping[str, ArrayLike],
    x: ArrayLike,
    state: tuple[ArrayLike, ArrayLike] | None,
    lengths: ArrayLike | None,
    reset: ArrayLike | None,
    batch_first: bool,
    dropout: float,
    seed: int,
    initial_state: tuple[ArrayLike, ArrayLike] | None = None,
) -> Run:
    """The forward pass with everything it computed; arguments as in `forward`.

    `initial_state` is where segments begin, (L*D, P or H) and (L*D, H); zero if left out.
    """
    w = {name: np.asarray(value, np.float64) for name, value in parameters.items()}
    num_layers = sum(name.startswith("weight_ih") and name[-1].isdigit() for name in w)
    suffixes = ("", "_reverse") if "weight_ih_l0_reverse" in w else ("",)
    hidden_size, output_size = w["weight_hh_l0"].shape[0] // 4, w["weight_hh_l0"].shape[1]
    tags = [f"_l{layer}{suffix}" for layer in range(num_layers) for suffix in suffixes]
    weights = [{name: w[name + tag] for name in _NAMES if name + tag in w} for tag in tags]

    unbatched = np.ndim(x) == 2
    y = time_first(x, unbatched, batch_first)
    steps, batch = y.shape[:2]
    valid, starts = _masks(steps, batch, lengths, reset, batch_first, unbatched)
    y = np.where(valid, y, 0.0)  # padding is never read, whatever it holds

    first_h, first_c = np.zeros((len(tags), 1, output_size)), np.zeros((len(tags), 1, hidden_size))
    if initial_state is not None:
        first_h[:, 0], first_c[:, 0] = initial_state
    h, c = first_h.repeat(batch, axis=1), first_c.repeat(batch, axis=1)
    if state is not None:
        h[...] = np.asarray(state[0], np.float64).reshape(h.shape)
        c[...] = np.asarray(state[1], np.float64).reshape(c.shape)

    traces = []
    for layer in range(num_layers):
        if layer > 0 and dropout > 0:
            y = y * dropout_factors(y.shape, layer - 1, dropout, seed)
        outputs, cells = [], []
        for direction in range(len(suffixes)):
            row = layer * len(suffixes) + direction
            y_d, cells_d, h[row], c[row], trace = _direction(
                y, h[row], c[row], first_h[row], first_c[row], valid, starts,
                backward=direction == 1, **weights[row],
            )  # fmt: skip
            outputs.append(y_d)
            cells.append(cells_d)
            traces.append(trace)
        y = np.concatenate(outputs, axis=-1)
    return Run(y, h, c, np.concatenate(cells, axis=-1), valid, starts, tags, weights, traces)


def _direction(
    x: Array,
    h: Array,
    c: Array,
    first_h: Array,
    first_c: Array,
    valid: Flags,
    starts: Flags,
    *,
    backward: bool,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array | float = 0.0,
    bias_hh: Array | float = 0.0,
    weight_hr: Array | None = None,
) -> tuple[Array, Array, Array, Array, Trace]:
    """One layer in one direction: y (T, B, P or H), cells (T, B, H) and the last h and c."""
    hidden_size = weight_hh.shape[0] // 4
    W_i, W_f, W_g, W_o = np.split(weight_ih, 4)  # noqa: N806
    R_i, R_f, R_g, R_o = np.split(weight_hh, 4)  # noqa: N806
    b_i, b_f, b_g, b_o = np.split(np.zeros(4 * hidden_size) + bias_ih + bias_hh, 4)
    steps = len(x)
    y, cells = np.zeros((steps, *h.shape)), np.zeros((steps, *c.shape))
    trace = Trace(x, np.zeros_like(y), *(np.zeros_like(cells) for _ in range(6)))
    for t in reversed(range(steps)) if backward else range(steps):
        alone = no_state_before(t, valid, starts, backward)
        h_prev, c_prev = np.where(alone, first_h, h), np.where(alone, first_c, c)

        i = sigmoid(x[t] @ W_i.T + h_prev @ R_i.T + b_i)
        f = sigmoid(x[t] @ W_f.T + h_prev @ R_f.T + b_f)
        g = np.tanh(x[t] @ W_g.T + h_prev @ R_g.T + b_g)
        o = sigmoid(x[t] @ W_o.T + h_prev @ R_o.T + b_o)
        c_next = f * c_prev + i * g
        h_next = o * np.tanh(c_next)
        if weight_hr is not None:
            h_next = h_next @ weight_hr.T

        h, c = np.where(valid[t], h_next, h), np.where(valid[t], c_next, c)
        y[t], cells[t] = np.where(valid[t], h_next, 0.0), np.where(valid[t], c_next, 0.0)
        for kept, value in zip(trace[1:], (h_prev, c_prev, i, f, g, o, c_next), strict=True):
            kept[t] = value
    return y, cells, h, c, trace


def no_state_before(t: int, valid: Flags, starts: Flags, backward: bool) -> Flags:
    """Where step t has no state before it, (B, 1): in a new segment, and in padding.

    Backward, step t comes from t + 1: the state is zero if a segment starts there.
    """
    fresh = starts[t] if not backward else starts[t + 1] if t + 1 < len(starts) else False
    result: Flags = fresh | ~valid[t]
    return result


def network(
    parameters: Mapping[str, ArrayLike],
    x: ArrayLike,
    state: tuple[ArrayLike, ArrayLike] | None = None,
    *,
    head: tuple[ArrayLike, ArrayLike | None, str] | None = None,
    pooling: str | None = None,
    input_mean: ArrayLike = 0.0,
    input_scale: ArrayLike = 1.0,
    skip: float = 0.0,
    input_gain: float = 1.0,
    output_gain: float = 1.0,
    initial_state: tuple[ArrayLike, ArrayLike] | None = None,
    lengths: ArrayLike | None = None,
    reset: ArrayLike | None = None,
    batch_first: bool = False,
) -> tuple[Array, tuple[Array, Array]]:
    """Run an LSTM with a head, as `cellgate.Network` says; the rest as in `forward`.

    Examples
    --------
    >>> import numpy as np
    >>> from cellgate import reference
    >>> weights = {"weight_ih_l0": np.ones((4, 1)), "weight_hh_l0": np.zeros((4, 1))}
    >>> y, _ = reference.network(weights, [[0.0], [1.0]], skip=1.0, output_gain=2.0)
    >>> y.round(4)
    array([[0.    ],
           [2.7392]])
    """
    u = input_gain * np.asarray(x, np.float64)
    z = (u - np.asarray(input_mean, np.float64)) / np.asarray(input_scale, np.float64)
    r = run(parameters, z, state, lengths, reset, batch_first, 0.0, 0, initial_state)
    directions = len(r.tags) // sum(tag[-1].isdigit() for tag in r.tags)
    h = r.y
    if pooling == "mean":
        h = r.y.sum(axis=0) / np.maximum(r.valid.sum(axis=0), 1)
    if pooling == "last":
        h = np.concatenate(list(r.h[-directions:]), axis=-1)
    v = h
    if head is not None:
        W, b, activation = head  # noqa: N806
        v = h @ np.asarray(W, np.float64).T + (0.0 if b is None else np.asarray(b, np.float64))
        v = ACTIVATIONS[activation](v)
    if pooling is None:
        v = (
            v + skip * time_first(u, np.ndim(x) == 2, batch_first)[..., : v.shape[-1]]
            if skip
            else v
        )
        v = np.where(r.valid, v, 0.0)
    y = output_gain * v
    if np.ndim(x) == 2:
        return y[0] if pooling else y[:, 0], (r.h[:, 0], r.c[:, 0])
    return y.swapaxes(0, 1) if batch_first and not pooling else y, (r.h, r.c)


def softmax(v: Array) -> Array:
    """exp(v) / sum of exp(v), over the last axis."""
    e = np.exp(v - v.max(axis=-1, keepdims=True))
    result: Array = e / e.sum(axis=-1, keepdims=True)
    return result


def sigmoid(v: Array) -> Array:
    """1 / (1 + exp(-v)); exp overflows to infinity where the result is 0, as it should."""
    with np.errstate(over="ignore"):
        result: Array = 1.0 / (1.0 + np.exp(-v))
    return result


ACTIVATIONS: dict[str, Any] = {
    "linear": lambda v: v,
    "sigmoid": sigmoid,
    "softmax": softmax,
    "tanh": np.tanh,
    "relu": lambda v: np.maximum(v, 0.0),
}


def dropout_factors(shape: tuple[int, ...], layer: int, probability: float, seed: int) -> Array:
    """What dropout multiplies the output of `layer`, of this shape (T, B, width), by.

    Each factor is 0 with the given probability and otherwise 1 / (1 - probability). It is a hash
    of the seed, the layer and the place: SplitMix64 (Steele, Lea & Flood 2014) of
    seed + 0x9E3779B97F4A7C15 * (layer + 1) + index * 0xD1342543DE82EF95, modulo 2^64; its upper
    53 bits are compared with probability * 2^53. The multiplier of the index is one that Steele
    & Vigna 2021 give for congruential generators.
    """
    start = (seed + 0x9E3779B97F4A7C15 * (layer + 1)) % 2**64
    index = np.arange(np.prod(shape, dtype=np.int64), dtype=np.uint64).reshape(shape)
    z = np.uint64(start) + index * np.uint64(0xD1342543DE82EF95)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    dropped = (z >> np.uint64(11)).astype(np.float64) < probability * 2.0**53
    return np.where(dropped, 0.0, 1.0 / (1.0 - probability) if probability < 1 else 0.0)


def time_first(array: ArrayLike, unbatched: bool, batch_first: bool) -> Array:
    """A float64 view or copy laid out (T, B, ...)."""
    array = np.asarray(array, np.float64)
    if unbatched:
        return array[:, None]
    return array.swapaxes(0, 1) if batch_first else array


def _masks(
    steps: int, batch: int, lengths: Any, reset: Any, batch_first: bool, unbatched: bool
) -> tuple[Flags, Flags]:
    """Where steps are valid and where segments start, both (T, B, 1); padding starts none."""
    lengths = np.full(batch, steps) if lengths is None else np.asarray(lengths).reshape(batch)
    valid = np.arange(steps)[:, None, None] < lengths[:, None]
    if reset is None:
        return valid, np.zeros_like(valid)
    reset = np.asarray(reset, bool)
    if batch_first and not unbatched:
        reset = reset.swapaxes(0, 1)
    return valid, valid & reset.reshape(steps, batch, 1)
