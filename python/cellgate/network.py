"""`Network`: an LSTM with what is computed before and after it. The core computes all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import _core, formats
from .config import describe
from .linear import Linear
from .lstm import LSTM
from .network_stream import NetworkStream
from .weights import Weights, assemble

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from typing import Any

    from numpy.typing import ArrayLike

    from .config import Config
    from .weights import Float, State

_DEFAULTS = {"pooling": None, "skip": 0.0, "input_gain": 1.0, "output_gain": 1.0}


class Network:
    """An LSTM with what is computed before it (scaling) and after it (pooling, head, skip, gain).

    Symbols are those of `LSTM`; O is the number of outputs, D*(P or H) without a head.

    Parameters
    ----------
    lstm : LSTM
        Its packed weights are shared. Later `load_state_dict` calls of it change nothing here.
    head : Linear, optional
        v = activation(W h + b). Without it v is h.
    pooling : {"mean", "last"}, optional
        Give one answer for each sequence: of the mean of h over its valid steps, or of the last h
        of each direction.
    input_mean, input_scale : array_like of float, shape (I,), optional
        Subtracted from each input feature, and what the difference is divided by.
    skip : float
        The factor of the input that is added to the output; 0 with pooling, and where O > I.
    input_gain, output_gain : float
        Factors, of the input before all else and of the output after all else.
    initial_state : (h, c), optional
        Arrays of shape (L*D, P or H) and (L*D, H): where every sequence begins without a `state`,
        every segment that `reset` starts, and every stream. Zero if left out.
    sample_rate : float, optional
        Of the signals it is for, in Hz; kept, and without effect.
    metadata : mapping of str to str, optional
        Kept, and without effect.

    Attributes
    ----------
    lstm : LSTM
        A copy over the same weights.
    head : Linear or None
    pooling, input_mean, input_scale, skip, input_gain, output_gain, initial_state, sample_rate
    metadata
        As given; arrays and the dict are copies, arrays of the network's dtype.
    input_size, output_size : int
        I and O.
    batch_first : bool
        Of the LSTM.
    dtype : numpy.dtype
        Of the LSTM.

    Raises
    ------
    TypeError, ValueError
        An argument of a wrong type, dtype, shape or value. Floats wider than the LSTM's are
        refused, narrower ones widened.

    Notes
    -----
    ::

        u = input_gain * x        z = (u - input_mean) / input_scale       h = LSTM(z)
        v = activation(W h + b)   y = output_gain * (v + skip * u)

    with the first O features of u, and with h pooled over the valid steps if asked for. Each
    output of the head is one chain of fused multiply-adds that begins with its bias, over k in
    index order, so that results are the same bits whatever the batch, the number of threads and
    the splitting of a sequence. `save` writes a file that the C library reads. An object cannot be
    changed, and may be called from many threads at once.

    Examples
    --------
    >>> import numpy as np
    >>> import cellgate
    >>> lstm = cellgate.LSTM(40, 64, seed=0)
    >>> head = cellgate.Linear(np.zeros((3, 64), np.float32), activation="softmax")
    >>> net = cellgate.Network(lstm, head, pooling="mean")
    >>> net
    Network(LSTM(40, 64), Linear(64, 3, bias=None, activation='softmax'), pooling='mean')
    >>> y, (h, c) = net(np.zeros((7, 2, 40), np.float32), lengths=[7, 4])
    >>> y.shape, h.shape
    ((2, 3), (1, 2, 64))
    """

    __slots__ = ("__weakref__", "_config", "_network")

    _config: Config  # of the LSTM
    _network: _core.Network

    def __init__(
        self,
        lstm: LSTM,
        head: Linear | None = None,
        *,
        pooling: str | None = None,
        input_mean: ArrayLike | None = None,
        input_scale: ArrayLike | None = None,
        skip: float = 0.0,
        input_gain: float = 1.0,
        output_gain: float = 1.0,
        initial_state: tuple[ArrayLike, ArrayLike] | None = None,
        sample_rate: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Pack the head, and share the LSTM; the class says what each argument is."""
        if not isinstance(lstm, Weights):
            raise TypeError(f"lstm: must be an LSTM, got {describe(lstm)}")
        if head is not None and not isinstance(head, Linear):
            raise TypeError(f"head: must be a Linear or None, got {describe(head)}")
        parts = {
            "head": head and (head.weight, head.bias, head.activation),
            "pooling": pooling,
            "input_mean": input_mean,
            "input_scale": input_scale,
            "skip": skip,
            "input_gain": input_gain,
            "output_gain": output_gain,
            "initial_state": initial_state,
            "sample_rate": sample_rate,
            "metadata": metadata and _checked_metadata(metadata),
        }
        self._config = lstm._config
        self._network = _core.Network(lstm._model, parts)

    def __call__(
        self,
        x: ArrayLike,
        state: tuple[ArrayLike, ArrayLike] | None = None,
        *,
        lengths: ArrayLike | None = None,
        reset: ArrayLike | None = None,
    ) -> tuple[Float, State]:
        """Run over whole sequences.

        Parameters
        ----------
        x, state, lengths, reset
            As for a call of an `LSTM`, but without a `state` each sequence begins with the
            network's `initial_state`, and with a reset each segment. With pooling there is no
            `reset`.

        Returns
        -------
        y : array, shape (T, B, O), laid out like x; with pooling (B, O), or (O,) without a batch
            The output at every step, zero beyond a sequence's length.
        (h, c) : arrays, shaped like `state`
            The state of the LSTM after each sequence's last valid step.

        All are new arrays of the network's dtype. A mean over no steps is zero.

        Raises
        ------
        TypeError, ValueError
            An argument of a wrong type or dtype, or of a wrong shape or value.

        Examples
        --------
        >>> import numpy as np
        >>> import cellgate
        >>> net = cellgate.Network(cellgate.LSTM(8, 16, seed=0), output_gain=0.5)
        >>> x = np.linspace(-1, 1, 5 * 2 * 8, dtype=np.float32).reshape(5, 2, 8)
        >>> y, state = net(x)
        >>> first, between = net(x[:3])
        >>> second, _ = net(x[3:], between)
        >>> np.array_equal(np.concatenate([first, second]), y)
        True
        """
        return self._network.forward((x, state, lengths, reset, self._config.batch_first, None))

    def stream(self, batch_size: int = 1) -> NetworkStream:
        """A `NetworkStream`, which begins with the network's initial state.

        Parameters
        ----------
        batch_size : int
            B, the number of sequences that advance together; at least 1.

        Raises
        ------
        ValueError
            The LSTM is bidirectional: its output at one step needs all later ones.

        Examples
        --------
        >>> import numpy as np
        >>> import cellgate
        >>> stream = cellgate.Network(cellgate.LSTM(8, 16, seed=0)).stream()
        >>> stream.step(np.zeros(8, np.float32)).shape
        (16,)
        """
        return NetworkStream(self, batch_size)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all of it to one safetensors file, which `cellgate.load` and the C library read.

        The file appears whole or not at all: an error leaves what was there before.

        Parameters
        ----------
        path : str or path-like
            Must end in ``.safetensors``. An existing file is replaced.

        Raises
        ------
        ValueError
            The path has another ending.
        OSError
            The file cannot be written.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> import cellgate
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "model.safetensors")
        ...     cellgate.Network(cellgate.LSTM(3, 2), output_gain=0.5).save(path)
        ...     cellgate.load(path)
        Network(LSTM(3, 2), output_gain=0.5)
        """
        formats.write(path, self._network, self._config)

    @property
    def lstm(self) -> LSTM:
        """The LSTM: a copy over the same weights."""
        return assemble(LSTM, self._config, self._network.lstm())

    @property
    def head(self) -> Linear | None:
        """The head, with arrays of the network's dtype."""
        head = self._parts()["head"]
        return head and Linear(*head)

    @property
    def pooling(self) -> str | None:
        """Either "mean" or "last", or None."""
        pooling: str = self._parts()["pooling"]
        return None if pooling == "none" else pooling

    @property
    def input_mean(self) -> Float | None:
        """Subtracted from each feature, (I,)."""
        mean: Float | None = self._parts()["input_mean"]
        return mean

    @property
    def input_scale(self) -> Float | None:
        """What each feature is divided by, (I,)."""
        scale: Float | None = self._parts()["input_scale"]
        return scale

    @property
    def skip(self) -> float:
        """The factor of the input in the output."""
        skip: float = self._parts()["skip"]
        return skip

    @property
    def input_gain(self) -> float:
        """The factor of the input."""
        gain: float = self._parts()["input_gain"]
        return gain

    @property
    def output_gain(self) -> float:
        """The factor of the output."""
        gain: float = self._parts()["output_gain"]
        return gain

    @property
    def initial_state(self) -> State | None:
        """Where sequences begin: (h, c) of shapes (L*D, P or H) and (L*D, H), or None for zero."""
        state: State | None = self._parts()["initial_state"]
        return state

    @property
    def sample_rate(self) -> float | None:
        """In Hz, if known."""
        rate: float | None = self._parts()["sample_rate"]
        return rate

    @property
    def metadata(self) -> dict[str, str]:
        """A copy."""
        metadata: dict[str, str] = self._parts()["metadata"]
        return metadata

    @property
    def input_size(self) -> int:
        """I."""
        return self._config.input_size

    @property
    def output_size(self) -> int:
        """O."""
        head = self._parts()["head"]
        return len(head[0]) if head else self._config.num_directions * self._config.output_size

    @property
    def batch_first(self) -> bool:
        """Whether input and output are (B, T, ...)."""
        return self._config.batch_first

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of weights, states and results: float32 or float64."""
        return np.dtype(self._config.dtype)

    def _parts(self) -> dict[str, Any]:
        return self._network.parts()

    def __repr__(self) -> str:
        parts = self._parts()
        shown = [repr(self.lstm)] + ([repr(self.head)] if parts["head"] else [])
        shown += [
            f"{name}={v!r}" for name, d in _DEFAULTS.items() if (v := getattr(self, name)) != d
        ]
        arrays = ("input_mean", "input_scale", "initial_state")
        shown += [f"{name}=..." for name in arrays if parts[name] is not None]
        if parts["sample_rate"] is not None:
            shown.append(f"sample_rate={parts['sample_rate']!r}")
        if parts["metadata"]:
            shown.append("metadata=...")
        return f"{type(self).__name__}({', '.join(shown)})"

    def __copy__(self) -> Network:
        return restore(type(self), self._config, self._network)

    def __deepcopy__(self, memo: dict[int, Any]) -> Network:
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (type(self), self.lstm, self._parts())


def restore(kind: type[Network], config: Config, network: _core.Network) -> Network:
    """An object over a network of the core."""
    made = kind.__new__(kind)
    made._config = config
    made._network = network
    return made


def _unpickle(kind: type[Network], lstm: LSTM, parts: dict[str, Any]) -> Network:
    return restore(kind, lstm._config, _core.Network(lstm._model, parts))


def _checked_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    try:
        checked = dict(metadata)
    except (TypeError, ValueError):
        raise TypeError(f"metadata: must be a mapping, got {describe(metadata)}") from None
    for name, value in checked.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(
                f"metadata: must map strings to strings, got {describe(name)}: {describe(value)}"
            )
    return checked
