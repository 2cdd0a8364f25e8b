"""Streams of a `Network`: sequences that arrive step by step, each with its own state.

`step`, `run`, `state` and `reset` are the core's own; this adds what concerns Python objects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _core
from .config import check_int, describe

if TYPE_CHECKING:
    from typing import Any

    from .network import Network
    from .weights import State


class NetworkStream(_core.NetworkStream):
    """The running state of B sequences over a `Network`; made by `Network.stream`.

    Whether a sequence comes whole, in chunks or step by step makes no difference to a single bit
    of the results. With pooling each step's output is that of all steps of its sequence since the
    last reset, so that the last one is what a call gives for the whole. Many streams can share one
    network, and run at the same time in many threads; a call of one stream waits until another
    thread's call of the same stream has ended.

    Parameters
    ----------
    network : Network
        Its LSTM is not bidirectional.
    batch_size : int
        B, at least 1.

    Attributes
    ----------
    network : Network
    batch_size : int
        B.
    state : (h, c)
        Of the LSTM: arrays of shape (L, B, P or H) and (L, B, H). Reading and setting both copy;
        what was pooled is no part of it.

    Methods
    -------
    step(x, out=None)
        One step. x is (B, I), or (I,) if B is 1; the result is (B, O), or (O,). With `out`, the
        result is written there and nothing is allocated.
    run(x, out=None)
        T steps. x is (T, B, I), or (B, T, I) if the LSTM is `batch_first`, or (T, I) if B is 1;
        the result is laid out like x with O for I. `out` may not overlap with x.
    reset(rows=None)
        Set the state of all sequences, of those where `rows`, (B,) of bool, is True, or of those
        whose indices `rows` lists, to the network's initial state, with nothing pooled.

    Raises
    ------
    TypeError, ValueError
        By each method, for an argument of a wrong type, dtype, shape or value; the state is then
        unchanged. By the constructor also for a bidirectional LSTM.

    Examples
    --------
    >>> import numpy as np
    >>> import cellgate
    >>> net = cellgate.Network(cellgate.LSTM(8, 16, seed=0), output_gain=2.0)
    >>> x = np.linspace(-1, 1, 5 * 8, dtype=np.float32).reshape(5, 8)
    >>> stream = net.stream()
    >>> np.array_equal([stream.step(x_t) for x_t in x], net(x)[0])
    True
    """

    __slots__ = ("_network",)

    _network: Network

    def __init__(self, network: Network, batch_size: int = 1) -> None:
        """Start from the network's initial state; the class says what each argument is."""
        if hasattr(self, "_network"):
            raise TypeError("stream: __init__ was called before, make a new NetworkStream")
        held = getattr(network, "_network", None)
        if not isinstance(held, _core.Network):
            raise TypeError(f"network: must be a Network, got {describe(network)}")
        if network._config.bidirectional:
            raise ValueError("stream: a bidirectional LSTM needs whole sequences, use the Network")
        batch_size = check_int("batch_size", batch_size, 1)
        super().__init__(held, min(batch_size, 2**63 - 1), network.batch_first)
        self._network = network

    @property
    def network(self) -> Network:
        """The network that runs here."""
        return self._network

    def copy(self) -> NetworkStream:
        """A stream of the same network that goes on, by itself, from the same state.

        Examples
        --------
        >>> import numpy as np
        >>> import cellgate
        >>> stream = cellgate.Network(cellgate.LSTM(8, 16, seed=0), pooling="mean").stream()
        >>> y = stream.step(np.ones(8, np.float32))
        >>> other = stream.copy()
        >>> y = stream.step(np.ones(8, np.float32))
        >>> np.array_equal(other.step(np.ones(8, np.float32)), y)
        True
        """
        return _restore(type(self), self._network, self.batch_size, self.state, self._pooled)

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> NetworkStream:
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self._network, self.batch_size, self.state, self._pooled)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._network!r}, batch_size={self.batch_size})"


def _restore(
    kind: type[NetworkStream], network: Network, batch_size: int, state: State, pooled: Any
) -> NetworkStream:
    """What copying and unpickling call."""
    stream = kind(network, batch_size)
    stream.state = state
    if pooled is not None:
        stream._pooled = pooled
    return stream
