"""Streams: sequences that arrive step by step, each with its own state over shared weights.

`step`, `run`, `state` and `reset` are the core's own; this adds what concerns Python objects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _core
from .config import check_int, check_memory, describe
from .weights import Weights, assemble

if TYPE_CHECKING:
    from typing import Any

    from .lstm import LSTM
    from .weights import State


class Stream(_core.Stream):
    """The running state of B sequences over the weights of an `LSTM`; made by `LSTM.stream`.

    Symbols are those of `LSTM`: T steps, B sequences, I input, H hidden, P projection, L layers.
    Whether a sequence comes whole, in chunks or step by step makes no difference to a single bit
    of the results. Many streams can share one model, and run at the same time in many threads; a
    call of one stream waits until another thread's call of the same stream has ended.

    Parameters
    ----------
    lstm : LSTM
        Not bidirectional. The stream keeps the weights that it has now.
    batch_size : int
        B, at least 1.

    Attributes
    ----------
    lstm : LSTM
        The object that the stream was made from.
    batch_size : int
        B.
    state : (h, c)
        Arrays of shape (L, B, P or H) and (L, B, H). Reading and setting both copy.

    Methods
    -------
    step(x, out=None)
        One step. x is (B, I), or (I,) if B is 1; the result is (B, P or H), or (P or H,).
        With `out`, an array of the model's dtype and the result's shape, the result is written
        there and `out` returned; nothing is allocated then.
    run(x, out=None)
        T steps. x is (T, B, I), or (B, T, I) if the model is `batch_first`, or (T, I) if B is 1;
        the result is laid out like x with P or H for I. `out` may not overlap with x.
    reset(rows=None)
        Zero the state of all sequences, of those where `rows`, (B,) of bool, is True, or of those
        whose indices `rows` lists.

    Raises
    ------
    TypeError, ValueError
        By each method, for an argument of a wrong type, dtype, shape or value; the state is then
        unchanged. By the constructor also for a bidirectional model.

    Examples
    --------
    >>> import numpy as np
    >>> import cellgate
    >>> lstm = cellgate.LSTM(8, 16, seed=0)
    >>> x = np.linspace(-1, 1, 5 * 8, dtype=np.float32).reshape(5, 8)
    >>> stream = lstm.stream()
    >>> steps = [stream.step(x_t) for x_t in x]
    >>> np.array_equal(steps, lstm(x)[0])
    True
    >>> stream.reset()
    >>> np.array_equal(stream.run(x), steps)
    True
    """

    __slots__ = ("_lstm", "_model")

    _lstm: LSTM
    _model: _core.Model

    def __init__(self, lstm: LSTM, batch_size: int = 1) -> None:
        """Start from a state of zero; the class says what each argument is."""
        if hasattr(self, "_lstm"):
            raise TypeError("stream: __init__ was called before, make a new Stream")
        if not isinstance(lstm, Weights):
            raise TypeError(f"lstm: must be an LSTM, got {describe(lstm)}")
        if lstm.bidirectional:
            raise ValueError("stream: a bidirectional LSTM needs whole sequences, use the LSTM")
        batch_size = check_int("batch_size", batch_size, 1)
        config = lstm._config
        scalars = batch_size * config.num_layers * (config.output_size + config.hidden_size)
        check_memory(f"states for batch_size {batch_size}", scalars * lstm.dtype.itemsize)
        model = lstm._model
        super().__init__(model, batch_size, lstm.batch_first)
        self._lstm = lstm
        self._model = model

    @property
    def lstm(self) -> LSTM:
        """The object that the stream was made from; its weights may have been replaced since."""
        return self._lstm

    def copy(self) -> Stream:
        """A stream over the same weights that goes on, by itself, from the same state.

        Examples
        --------
        >>> import numpy as np
        >>> import cellgate
        >>> stream = cellgate.LSTM(8, 16, seed=0).stream()
        >>> other = stream.copy()
        >>> y = stream.step(np.ones(8, np.float32))
        >>> np.array_equal(other.step(np.ones(8, np.float32)), y)
        True
        """
        return _restore(type(self), self._source(), self.batch_size, self.state)

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> Stream:
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self._source(), self.batch_size, self.state)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._lstm!r}, batch_size={self.batch_size})"

    def _source(self) -> LSTM:
        """An LSTM with the weights that run here: `lstm` itself unless they were replaced."""
        lstm = self._lstm
        if lstm._model is self._model:
            return lstm
        return assemble(type(lstm), lstm._config, self._model)


def _restore(kind: type[Stream], lstm: LSTM, batch_size: int, state: State) -> Stream:
    """What copying and unpickling call."""
    stream = kind(lstm, batch_size)
    stream.state = state
    return stream
