"""Tapes: one forward pass with what its gradients need; the arithmetic is the core's.

`LSTM.record` makes a `Tape`. This file decides what may be done with it and when; shapes and
dtypes are checked by the core before it writes anything.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from ._core import Call, Derivatives, Training
from .config import check_bool, check_int, describe
from .weights import Weights

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import ArrayLike

    from ._core import Model
    from .lstm import LSTM
    from .parameters import Parameters
    from .weights import Float, State


class Gradients(NamedTuple):
    """The derivatives of a loss, as `Tape.backward` returns them.

    Attributes
    ----------
    input : array, shaped like x, or None
        With respect to the input; zero in padding. None if it was not asked for.
    state : (d_h, d_c)
        With respect to the initial state, shaped like it, also if that was left out.
    parameters : dict of str to array
        With respect to the parameters, by name, with the shapes of `LSTM.state_dict`.

    Examples
    --------
    >>> import numpy as np
    >>> import cellgate
    >>> tape = cellgate.LSTM(3, 2, seed=0).record(np.ones((5, 1, 3), np.float32))
    >>> grads = tape.backward(np.ones((5, 1, 2), np.float32))
    >>> grads.input.shape, grads.state[0].shape, grads.parameters["weight_ih_l0"].shape
    ((5, 1, 3), (1, 1, 2), (8, 3))
    """

    input: Float | None
    state: State
    parameters: Parameters


class _Kept(NamedTuple):
    """What backward reads besides the output."""

    tape: Float
    call: Call  # of copies

    @property
    def nbytes(self) -> int:
        h, c = self.call.state or (None, None)
        arrays: tuple[Any, ...] = (self.tape, self.call.x, h, c, self.call.lengths, self.call.reset)
        return sum(array.nbytes for array in arrays if array is not None)


class Tape:
    """A forward pass that can be differentiated; made by `LSTM.record`, which says what goes in.

    It holds copies of its input, so that the caller's arrays may be reused, and can be used once,
    unless `backward` is told to keep it. It may be handed to another thread.

    Attributes
    ----------
    output : array, shape (T, B, D*(P or H)), laid out like x
        y, as a call of the LSTM returns it. Read-only, since `backward` reads it.
    state : (h, c)
        The final state.
    cells : array, shape (T, B, D*H), laid out like x, or None
        c of the last layer at every step, if recorded with `return_cells`. Read-only.
    seed : int
        Of the dropout: the same seed gives the same mask.
    nbytes : int
        Bytes held for `backward`, besides output, state and cells; 0 once used up.

    Examples
    --------
    >>> import numpy as np
    >>> import cellgate
    >>> lstm = cellgate.LSTM(3, 2, seed=0)
    >>> tape = lstm.record(np.ones((5, 1, 3), np.float32))
    >>> grads = tape.backward(2 * tape.output)  # of the loss (y ** 2).sum()
    >>> tape
    <Tape of LSTM(3, 2): output (5, 1, 2), used>
    """

    __slots__ = ("__weakref__", "_kept", "_lstm", "_model", "_results", "_training")

    _lstm: LSTM
    _model: Model
    _results: tuple[Float, State, Float | None]
    _training: Training
    # One item, or none: used up, or in use. A list because taking an item out is atomic.
    _kept: list[_Kept]

    def __init__(
        self,
        lstm: LSTM,
        x: ArrayLike,
        state: tuple[ArrayLike, ArrayLike] | None,
        lengths: ArrayLike | None,
        reset: ArrayLike | None,
        training: bool,
        return_cells: bool,
        seed: int | None,
        checkpoint: int | None,
    ) -> None:
        """Run forward; `LSTM.record` says what each argument is."""
        if hasattr(self, "_lstm"):
            raise TypeError("tape: __init__ was called before, make a new Tape")
        if not isinstance(lstm, Weights):
            raise TypeError(f"lstm: must be an LSTM, got {describe(lstm)}")
        dropout = lstm.dropout if check_bool("training", training) else 0.0
        return_cells = check_bool("return_cells", return_cells)
        self._training = Training(dropout, _seed(seed), _interval(checkpoint))
        model = lstm._model
        call = Call(*model.copied(Call(x, state, lengths, reset, lstm.batch_first)))
        y, last, cells, tape = model.record(call, self._training, return_cells)
        y.flags.writeable = False
        if cells is not None:
            cells.flags.writeable = False
        self._results = y, last, cells
        self._kept = [_Kept(tape, call)]
        self._model = model
        self._lstm = lstm

    @property
    def output(self) -> Float:
        """What a call returns as y; read-only."""
        return self._results[0]

    @property
    def state(self) -> State:
        """The final state (h, c)."""
        return self._results[1]

    @property
    def cells(self) -> Float | None:
        """The cells of the last layer, if recorded with `return_cells`; read-only."""
        return self._results[2]

    @property
    def seed(self) -> int:
        """Of the dropout."""
        return self._training.seed

    @property
    def nbytes(self) -> int:
        """Bytes held for `backward`, besides output, state and cells; 0 once used up."""
        return sum(kept.nbytes for kept in tuple(self._kept))

    def backward(
        self,
        d_output: ArrayLike | None = None,
        d_state: tuple[ArrayLike | None, ArrayLike | None] | None = None,
        *,
        d_cells: ArrayLike | None = None,
        keep: bool = False,
        input_gradient: bool = True,
        accumulate: Mapping[str, Float] | None = None,
    ) -> Gradients:
        """The gradients of a loss, from its derivatives with respect to the results.

        Parameters
        ----------
        d_output : array_like, shaped like `output`, optional
            With respect to the output; None is zero. What it holds in padding is not read.
        d_state : (d_h, d_c), optional
            With respect to the final state, shaped like it; either may be None for zero.
        d_cells : array_like, shaped like `cells`, optional
            With respect to the cells, if recorded with `return_cells`. At least one of the three
            must be given.
        keep : bool
            Whether the tape can be used again. If not, its memory is released.
        input_gradient : bool
            Whether to compute the gradient with respect to the input, which the first layer of a
            network does not need.
        accumulate : mapping of str to array, optional
            Arrays of the model's dtype under all names of `LSTM.state_dict`, to which the
            gradients of the parameters are added. They are then what the result holds.

        Returns
        -------
        Gradients
            `input`, `state` and `parameters`.

        Raises
        ------
        TypeError, ValueError
            An argument of a wrong type, dtype, shape or value; the message names it. Nothing has
            been written then, and the tape can still be used.
        RuntimeError
            The tape was used already, or the weights of its LSTM were replaced since.

        Notes
        -----
        Backpropagation through time (Werbos 1990; Graves & Schmidhuber 2005), without truncation
        within the tape. The gradients are the same bits whatever the number of threads and the
        checkpoint.

        Examples
        --------
        >>> import numpy as np
        >>> import cellgate
        >>> lstm = cellgate.LSTM(3, 2, seed=0)
        >>> x = np.ones((5, 1, 3), np.float32)
        >>> one = lstm.record(x).backward(d_state=(None, np.ones((1, 1, 2), np.float32)))
        >>> sums = {name: np.zeros_like(w) for name, w in lstm.state_dict().items()}
        >>> for tape in (lstm.record(x), lstm.record(x)):
        ...     grads = tape.backward(
        ...         d_state=(None, np.ones((1, 1, 2), np.float32)), accumulate=sums
        ...     )
        >>> np.array_equal(sums["bias_ih_l0"], 2 * one.parameters["bias_ih_l0"])
        True
        """
        keep = check_bool("keep", keep)
        input_gradient = check_bool("input_gradient", input_gradient)
        d_h, d_c = _checked_pair(d_state)
        if all(d is None for d in (d_output, d_h, d_c, d_cells)):
            raise ValueError("backward: one of d_output, d_state and d_cells must be given")
        if d_cells is not None and self.cells is None:
            raise ValueError("d_cells: the tape must have been recorded with return_cells=True")
        if accumulate is not None and not isinstance(accumulate, Mapping):
            raise TypeError(
                f"accumulate: must be a mapping of names to arrays, got {describe(accumulate)}"
            )
        if self._lstm._model is not self._model:
            raise RuntimeError("tape: the weights were replaced after it was recorded")
        try:
            # Taken out, so that of two threads only one can use it up.
            kept = self._kept[0] if keep else self._kept.pop()
        except IndexError:
            raise RuntimeError(
                "tape: it was used before; backward(..., keep=True) allows another use"
            ) from None
        try:
            derivatives = Derivatives(
                output=self.output,
                d_output=d_output,
                d_h=d_h,
                d_c=d_c,
                d_cells=d_cells,
                input_gradient=input_gradient,
                accumulate=None if accumulate is None else dict(accumulate),
            )
            return Gradients(
                *self._model.backward(kept.tape, kept.call, self._training, derivatives)
            )
        except BaseException:  # nothing was written, so the tape is as it was
            if not keep:
                self._kept.append(kept)
            raise

    def __repr__(self) -> str:
        held = readable_size(nbytes) if (nbytes := self.nbytes) else "used"
        return f"<{type(self).__name__} of {self._lstm!r}: output {self.output.shape}, {held}>"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("tape: cannot be copied or pickled, since it can be used only once")


def readable_size(nbytes: float) -> str:
    """Three digits and a unit: 3490 bytes are 3.49 kB."""
    for unit in ("kB", "MB", "GB"):
        nbytes /= 1000
        if nbytes < 999.5:  # more is 1e+03 when rounded to three digits
            return f"{nbytes:.3g} {unit}"
    return f"{nbytes / 1000:.3g} TB"


def _seed(given: Any) -> int:
    """The seed given, or one from the operating system; the core takes 64 bits."""
    if given is None:
        return int.from_bytes(os.urandom(8), "little")
    return check_int("seed", given, 0)


def _interval(checkpoint: Any) -> int:
    """The checkpoint as the core has it: 0 for none; beyond any number of steps all are alike."""
    return 0 if checkpoint is None else min(check_int("checkpoint", checkpoint, 1), 2**62)


def _checked_pair(d_state: Any) -> tuple[Any, Any]:
    if d_state is None:
        return None, None
    if not isinstance(d_state, (tuple, list)):
        raise TypeError(f"d_state: must be a pair (d_h, d_c), got {describe(d_state)}")
    if len(d_state) != 2:
        raise ValueError(f"d_state: must be a pair (d_h, d_c), got {len(d_state)} items")
    return d_state[0], d_state[1]
