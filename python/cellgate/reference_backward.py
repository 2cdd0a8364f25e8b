"""The oracle of training: the derivative of `reference.forward`, one line for each equation.

Backpropagation through time in float64 NumPy, with no cleverness; trusts its arguments. In names,
`d_v` is the derivative of the loss with respect to v.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .reference import dropout_factors, no_state_before, run, time_first

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

    from .reference import Array, Run


def backward(
    parameters: Mapping[str, ArrayLike],
    x: ArrayLike,
    state: tuple[ArrayLike, ArrayLike] | None = None,
    *,
    d_output: ArrayLike | None = None,
    d_state: tuple[ArrayLike | None, ArrayLike | None] | None = None,
    d_cells: ArrayLike | None = None,
    lengths: ArrayLike | None = None,
    reset: ArrayLike | None = None,
    batch_first: bool = False,
    dropout: float = 0.0,
    seed: int = 0,
) -> tuple[Array, tuple[Array, Array], dict[str, Array]]:
    """The gradients of a loss, given its derivatives with respect to `reference.forward`'s results.

    Parameters
    ----------
    parameters, x, state, lengths, reset, batch_first, dropout, seed
        As for `reference.forward`, which is computed again.
    d_output, d_cells : array_like, shaped like y and cells, optional
        With respect to y and to cells; zero if left out. What they hold in padding is not read.
    d_state : (d_h, d_c), optional
        With respect to the final state; zero if left out, and so is either one if None.

    Returns
    -------
    d_x : float64 array, shaped like x
        Zero in padding.
    (d_h, d_c) : float64 arrays, shaped like `state`
        With respect to the initial state.
    d_parameters : dict of str to float64 array
        With respect to the parameters, under their names.

    Notes
    -----
    Backpropagation through time: Werbos 1990; for the LSTM with all its terms: Graves &
    Schmidhuber 2005.

    Examples
    --------
    >>> import numpy as np
    >>> from cellgate.reference_backward import backward
    >>> weights = {"weight_ih_l0": np.ones((4, 1)), "weight_hh_l0": np.zeros((4, 1))}
    >>> d_x, d_state, d_weights = backward(weights, [[0.0], [1.0]], d_output=[[0.0], [1.0]])
    >>> d_x.round(4)
    array([[0.1989],
           [0.348 ]])
    """
    r = run(parameters, x, state, lengths, reset, batch_first, dropout, seed)
    unbatched = np.ndim(x) == 2
    d_y, d_c_all = (
        np.zeros_like(like) if given is None else time_first(given, unbatched, batch_first)
        for given, like in ((d_output, r.y), (d_cells, r.cells))
    )
    d_h, d_c = (
        np.zeros_like(like) if given is None else np.array(given, np.float64).reshape(like.shape)
        for given, like in zip(d_state or (None, None), (r.h, r.c), strict=True)
    )
    directions = 2 if "_l0_reverse" in r.tags else 1
    d_parameters = {}
    for layer in reversed(range(len(r.tags) // directions)):
        d_x = np.zeros_like(r.traces[layer * directions].x)
        for direction in range(directions):
            row = layer * directions + direction
            d_x_d, d_h[row], d_c[row], gradients = _direction(
                r,
                row,
                direction == 1,
                np.split(d_y, directions, axis=-1)[direction],
                np.split(d_c_all, directions, axis=-1)[direction],
                d_h[row],
                d_c[row],
            )
            d_x += d_x_d
            d_parameters.update({name + r.tags[row]: g for name, g in gradients.items()})
        if layer > 0 and dropout > 0:
            d_x = d_x * dropout_factors(d_x.shape, layer - 1, dropout, seed)
        d_y, d_c_all = d_x, np.zeros_like(d_c_all)

    in_order = {name: d_parameters[name] for name in parameters}
    if unbatched:
        return d_x[:, 0], (d_h[:, 0], d_c[:, 0]), in_order
    return (d_x.swapaxes(0, 1) if batch_first else d_x), (d_h, d_c), in_order


def _direction(
    r: Run, row: int, backward: bool, d_y: Array, d_cells: Array, d_h: Array, d_c: Array
) -> tuple[Array, Array, Array, dict[str, Array]]:
    """One layer in one direction: d_x (T, B, inputs), d_h and d_c before its first step, gradients.

    `d_h` (B, P or H) and `d_c` (B, H) are given after its last step.
    """
    weights, trace = r.weights[row], r.traces[row]
    gradients = {name: np.zeros_like(weight) for name, weight in weights.items()}
    d_x = np.zeros_like(trace.x)
    steps = len(d_x)
    for t in range(steps) if backward else reversed(range(steps)):  # the last step first
        x, h_prev, c_prev, i, f, g, o, c = (array[t] for array in trace)
        d_h_t = np.where(r.valid[t], d_h + d_y[t], 0.0)
        d_c_t = np.where(r.valid[t], d_c + d_cells[t], 0.0)

        if "weight_hr" in weights:  # h = W_hr (o ⊙ tanh(c))
            gradients["weight_hr"] += d_h_t.T @ (o * np.tanh(c))
            d_h_t = d_h_t @ weights["weight_hr"]
        d_c_t = d_c_t + d_h_t * o * (1 - np.tanh(c) ** 2)  # h = o ⊙ tanh(c)
        d_o = d_h_t * np.tanh(c)
        d_i, d_f, d_g = d_c_t * g, d_c_t * c_prev, d_c_t * i  # c = f ⊙ c₋ + i ⊙ g
        d_gates = np.concatenate(  # with respect to what σ and tanh were applied to
            [d_i * i * (1 - i), d_f * f * (1 - f), d_g * (1 - g**2), d_o * o * (1 - o)], axis=-1
        )
        d_gates = np.where(r.valid[t], d_gates, 0.0)

        d_x[t] = d_gates @ weights["weight_ih"]
        gradients["weight_ih"] += d_gates.T @ x
        gradients["weight_hh"] += d_gates.T @ h_prev
        for bias in {"bias_ih", "bias_hh"} & weights.keys():
            gradients[bias] += d_gates.sum(axis=0)

        alone = no_state_before(t, r.valid, r.starts, backward)
        d_h_prev = np.where(alone, 0.0, d_gates @ weights["weight_hh"])
        d_c_prev = np.where(alone, 0.0, d_c_t * f)
        d_h, d_c = np.where(r.valid[t], d_h_prev, d_h), np.where(r.valid[t], d_c_prev, d_c)
    return d_x, d_h, d_c, gradients
