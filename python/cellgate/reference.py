"""The oracle: the LSTM's equations in float64 NumPy, one line each, with no cleverness.

Everything else in the package is judged by this file; it is written to be read, not to be fast,
and trusts its arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeAlias

    from numpy.typing import ArrayLike, NDArray

    Array: TypeAlias = NDArray[np.float64]

_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")


def forward(
    parameters: Mapping[str, ArrayLike],
    x: ArrayLike,
    state: tuple[ArrayLike, ArrayLike] | None = None,
    *,
    lengths: ArrayLike | None = None,
    reset: ArrayLike | None = None,
    batch_first: bool = False,
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
        True where a new segment begins. None of a segment's steps sees another segment, in
        either direction; the initial state belongs to the segment of the step it comes before.
    batch_first : bool
        Whether x, reset, y and cells have B before T.

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
    w = {name: np.asarray(value, np.float64) for name, value in parameters.items()}
    num_layers = sum(name.startswith("weight_ih") and name[-1].isdigit() for name in w)
    suffixes = ("", "_reverse") if "weight_ih_l0_reverse" in w else ("",)
    hidden_size, output_size = w["weight_hh_l0"].shape[0] // 4, w["weight_hh_l0"].shape[1]

    y = np.asarray(x, np.float64)
    unbatched = y.ndim == 2
    if unbatched:
        y = y[:, None]
    elif batch_first:
        y = y.swapaxes(0, 1)
    steps, batch = y.shape[:2]
    valid, starts = _masks(steps, batch, lengths, reset, batch_first, unbatched)

    rows = num_layers * len(suffixes)
    if state is None:
        h, c = np.zeros((rows, batch, output_size)), np.zeros((rows, batch, hidden_size))
    else:
        h = np.array(state[0], np.float64).reshape(rows, batch, output_size)
        c = np.array(state[1], np.float64).reshape(rows, batch, hidden_size)

    for layer in range(num_layers):
        outputs, cells = [], []
        for direction, suffix in enumerate(suffixes):
            row = layer * len(suffixes) + direction
            tag = f"_l{layer}{suffix}"
            weights = {name: w[name + tag] for name in _NAMES if name + tag in w}
            y_d, cells_d, h[row], c[row] = _direction(
                y, h[row], c[row], valid, starts, backward=direction == 1, **weights
            )
            outputs.append(y_d)
            cells.append(cells_d)
        y = np.concatenate(outputs, axis=-1)

    all_cells = np.concatenate(cells, axis=-1)
    if unbatched:
        return y[:, 0], (h[:, 0], c[:, 0]), all_cells[:, 0]
    if batch_first:
        return y.swapaxes(0, 1), (h, c), all_cells.swapaxes(0, 1)
    return y, (h, c), all_cells


def _direction(
    x: Array,
    h: Array,
    c: Array,
    valid: NDArray[np.bool_],
    starts: NDArray[np.bool_],
    *,
    backward: bool,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array | float = 0.0,
    bias_hh: Array | float = 0.0,
    weight_hr: Array | None = None,
) -> tuple[Array, Array, Array, Array]:
    """One layer in one direction: y (T, B, P or H), cells (T, B, H) and the last h and c."""
    hidden_size = weight_hh.shape[0] // 4
    W_i, W_f, W_g, W_o = np.split(weight_ih, 4)  # noqa: N806
    R_i, R_f, R_g, R_o = np.split(weight_hh, 4)  # noqa: N806
    b_i, b_f, b_g, b_o = np.split(np.zeros(4 * hidden_size) + bias_ih + bias_hh, 4)
    steps = len(x)
    y, cells = np.zeros((steps, *h.shape)), np.zeros((steps, *c.shape))
    # Backward, step t comes from t + 1: the state is zero if a segment starts there.
    fresh = np.concatenate([starts[1:], np.zeros_like(starts[:1])]) if backward else starts
    for t in reversed(range(steps)) if backward else range(steps):
        h_prev, c_prev = np.where(fresh[t], 0.0, h), np.where(fresh[t], 0.0, c)

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
    return y, cells, h, c


def sigmoid(v: Array) -> Array:
    """1 / (1 + exp(-v)); exp overflows to infinity where the result is 0, as it should."""
    with np.errstate(over="ignore"):
        result: Array = 1.0 / (1.0 + np.exp(-v))
    return result


def _masks(
    steps: int, batch: int, lengths: Any, reset: Any, batch_first: bool, unbatched: bool
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where steps are valid and where segments start, both (T, B, 1); padding starts none."""
    lengths = np.full(batch, steps) if lengths is None else np.asarray(lengths).reshape(batch)
    valid = np.arange(steps)[:, None, None] < lengths[:, None]
    if reset is None:
        return valid, np.zeros_like(valid)
    reset = np.asarray(reset, bool)
    if batch_first and not unbatched:
        reset = reset.swapaxes(0, 1)
    return valid, valid & reset.reshape(steps, batch, 1)
