"""The LSTM object: configuration and weights in Python, arithmetic in the core.

Checks what the core does not see (names and types of parameters, options), then forwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

import numpy as np

from ._core import Model
from .config import check_bool, checked_config, describe
from .parameters import checked_parameters, initial_parameters

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from typing import Any, Literal, TypeAlias

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from .config import Config
    from .parameters import Parameters
    from .stream import Stream
    from .tape import Tape

    Float: TypeAlias = NDArray[np.float32] | NDArray[np.float64]
    State: TypeAlias = tuple[Float, Float]


class LSTM:
    """A long short-term memory network, shaped like `torch.nn.LSTM`.

    Symbols: T time steps, B batch, I input size, H hidden size, P projection size, L layers,
    D directions (1 or 2). Gates are in the order i, f, g, o.

    Parameters
    ----------
    input_size, hidden_size : int
        I and H, at least 1.
    num_layers : int
        L, at least 1; each layer reads the output of the one before.
    bias : bool
        Whether the gates have the biases b_ih and b_hh.
    batch_first : bool
        Whether input and output are (B, T, ...) instead of (T, B, ...). The state is not affected.
    dropout : float
        Probability in [0, 1] of dropping a layer's output on its way to the next. It acts in
        `record` only: kept in the configuration and in files, without effect on a call.
    bidirectional : bool
        Whether each layer also runs from the end; D is 2 then.
    proj_size : int
        P: if positive, h is projected to P values by a matrix without a bias; less than H.
    dtype : {"float32", "float64"} or the NumPy type
        Of weights, states and arithmetic.
    seed : int, optional
        At least 0. The weights are drawn as PyTorch draws them, uniform in ±1/sqrt(H), and equal
        seeds give equal weights on every machine. Without a seed they differ each time.

    Raises
    ------
    TypeError, ValueError
        An argument of a wrong type, or out of its range; the message names it.
    MemoryError
        The weights would be larger than the memory of this machine.

    Notes
    -----
    With σ the logistic function, ⊙ the product of elements and h₋, c₋ the step before::

        i = σ(W_i x + R_i h₋ + b_i)    f = σ(W_f x + R_f h₋ + b_f)
        g = tanh(W_g x + R_g h₋ + b_g) o = σ(W_o x + R_o h₋ + b_o)
        c = f ⊙ c₋ + i ⊙ g             h = o ⊙ tanh(c)

    Sources: Hochreiter & Schmidhuber 1997; Gers, Schmidhuber & Cummins 2000 (forget gate);
    Sak, Senior & Beaufays 2014 (projection).

    Results are the same bits whatever the batch a sequence sits in, the number of threads and
    the splitting of a sequence into chunks, and on every instruction set that has a fused
    multiply-add. An object may be called from many threads at once.

    Examples
    --------
    >>> import numpy as np
    >>> import cellgate
    >>> lstm = cellgate.LSTM(40, 64, num_layers=2, bidirectional=True, seed=0)
    >>> lstm
    LSTM(40, 64, num_layers=2, bidirectional=True)
    >>> y, (h, c) = lstm(np.zeros((7, 3, 40), np.float32), lengths=[7, 2, 5])
    >>> y.shape, h.shape, c.shape
    ((7, 3, 128), (4, 3, 64), (4, 3, 64))
    >>> bool(y[2:, 1].any())
    False
    """

    __slots__ = ("__weakref__", "_config", "_model")

    _config: Config
    _model: Model

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        dtype: DTypeLike = "float32",
        seed: int | None = None,
    ) -> None:
        """Check the arguments and draw the weights; the class says what each argument is."""
        self._config = checked_config(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            dtype,
        )
        self._model = _pack(self._config, initial_parameters(self._config, seed))

    @overload
    def __call__(
        self,
        x: ArrayLike,
        state: tuple[ArrayLike, ArrayLike] | None = None,
        *,
        lengths: ArrayLike | None = None,
        reset: ArrayLike | None = None,
        padding: Literal["zero"] = "zero",
        return_cells: Literal[False] = False,
    ) -> tuple[Float, State]: ...

    @overload
    def __call__(
        self,
        x: ArrayLike,
        state: tuple[ArrayLike, ArrayLike] | None = None,
        *,
        lengths: ArrayLike | None = None,
        reset: ArrayLike | None = None,
        padding: Literal["zero"] = "zero",
        return_cells: Literal[True],
    ) -> tuple[Float, State, Float]: ...

    @overload
    def __call__(
        self,
        x: ArrayLike,
        state: tuple[ArrayLike, ArrayLike] | None = None,
        *,
        lengths: ArrayLike | None = None,
        reset: ArrayLike | None = None,
        padding: Literal["zero"] = "zero",
        return_cells: bool,
    ) -> tuple[Float, State] | tuple[Float, State, Float]: ...

    def __call__(
        self,
        x: ArrayLike,
        state: tuple[ArrayLike, ArrayLike] | None = None,
        *,
        lengths: ArrayLike | None = None,
        reset: ArrayLike | None = None,
        padding: Literal["zero"] = "zero",
        return_cells: bool = False,
    ) -> tuple[Float, State] | tuple[Float, State, Float]:
        """Run over whole sequences.

        Parameters
        ----------
        x : array_like, shape (T, B, I), or (B, T, I) if `batch_first`, or (T, I)
            The input: of the model's dtype, or of a narrower floating type, which is widened
            exactly. A wider type or integers are refused. Any layout of memory is accepted.
        state : (h, c), optional
            The state to start from: h of shape (L*D, B, P or H) and c of shape (L*D, B, H), for
            an x of (T, I) without B. Zero if left out.
        lengths : array_like of int, shape (B,), optional
            Valid steps of each sequence, from 0 to T in any order; T if left out. What lies
            beyond is never read, and the reverse direction starts at each sequence's own end.
        reset : array_like of bool, shape (T, B), laid out like x, optional
            True at the first step of a new segment: the state is zero before it, and in the
            reverse direction too neither segment sees the other. Without effect in padding.
        padding : "zero"
            What y and the cells hold beyond a sequence's length.
        return_cells : bool
            Whether to return the cell states too.

        Returns
        -------
        y : array, shape (T, B, D*(P or H)), laid out like x
            The output of the last layer at every step, forward direction first.
        (h, c) : arrays, shaped like `state`
            The state after each sequence's last valid step (in the reverse direction, its first):
            layer by layer, forward direction first. For a length of 0, the initial state.
        cells : array, shape (T, B, D*H), laid out like x
            Only with `return_cells`: c of the last layer at every step.

        All are new arrays of the model's dtype.

        Raises
        ------
        TypeError, ValueError
            An argument of a wrong type or dtype, or of a wrong shape or value.

        Examples
        --------
        >>> import numpy as np
        >>> import cellgate
        >>> lstm = cellgate.LSTM(8, 16, seed=0)
        >>> x = np.linspace(-1, 1, 5 * 2 * 8, dtype=np.float32).reshape(5, 2, 8)
        >>> y, state = lstm(x)
        >>> first, between = lstm(x[:3])
        >>> second, _ = lstm(x[3:], between)
        >>> np.array_equal(np.concatenate([first, second]), y)
        True
        """
        if not isinstance(padding, str):
            raise TypeError(f'padding: must be "zero", got {describe(padding)}')
        if padding != "zero":
            raise ValueError(f'padding: must be "zero", got {padding!r}')
        if return_cells is not False:
            return_cells = check_bool("return_cells", return_cells)
        # A plain tuple in the order of _core.Call, which would take longer to make.
        call = (x, state, lengths, reset, self._config.batch_first, None)
        return self._model.forward(call, return_cells)

    def record(
        self,
        x: ArrayLike,
        state: tuple[ArrayLike, ArrayLike] | None = None,
        *,
        lengths: ArrayLike | None = None,
        reset: ArrayLike | None = None,
        training: bool = True,
        return_cells: bool = False,
        seed: int | None = None,
        checkpoint: int | None = None,
    ) -> Tape:
        """Run over whole sequences and keep what the gradients need.

        Parameters
        ----------
        x, state, lengths, reset
            As for a call. The tape keeps copies.
        training : bool
            Whether `dropout` acts. Without it the results are those of a call, bit for bit.
        return_cells : bool
            Whether the tape has `cells`, and `backward` takes derivatives by them.
        seed : int, optional
            Of the dropout, from 0 to 2^64 - 1; `tape.seed` tells the one drawn if it is left out.
        checkpoint : int, optional
            k, at least 1: keep c at every k-th step only and compute the gates again, k steps at a
            time, in `backward`. The same bits from less memory in more time, for long sequences.

        Returns
        -------
        Tape
            With `output`, `state` and `cells`; `tape.backward` gives the gradients.

        Raises
        ------
        TypeError, ValueError
            An argument of a wrong type or dtype, or of a wrong shape or value.

        Examples
        --------
        >>> import numpy as np
        >>> import cellgate
        >>> tape = cellgate.LSTM(8, 16, seed=0).record(np.ones((5, 2, 8), np.float32))
        >>> grads = tape.backward(2 * tape.output)  # of the loss (y ** 2).sum()
        >>> grads.input.shape, grads.parameters["bias_ih_l0"].shape
        ((5, 2, 8), (64,))
        """
        from .tape import Tape

        return Tape(self, x, state, lengths, reset, training, return_cells, seed, checkpoint)

    def stream(self, batch_size: int = 1) -> Stream:
        """A `Stream` over this model's weights, with a state of its own, which is zero.

        Parameters
        ----------
        batch_size : int
            B, the number of sequences that advance together; at least 1.

        Raises
        ------
        ValueError
            The model is bidirectional: its output at one step needs all later ones.

        Examples
        --------
        >>> import numpy as np
        >>> import cellgate
        >>> stream = cellgate.LSTM(8, 16, seed=0).stream()
        >>> stream.step(np.zeros(8, np.float32)).shape
        (16,)
        """
        from .stream import Stream

        return Stream(self, batch_size)

    def state_dict(self) -> Parameters:
        """New arrays of all parameters, under PyTorch's names and in its order.

        Returns
        -------
        dict of str to array
            For each layer k, and again with the suffix ``_reverse`` if bidirectional:
            ``weight_ih_lk`` (4H, I or D*(P or H)), ``weight_hh_lk`` (4H, P or H),
            ``bias_ih_lk`` and ``bias_hh_lk`` (4H,) with biases, ``weight_hr_lk`` (P, H) with a
            projection.

        Examples
        --------
        >>> import cellgate
        >>> weights = cellgate.LSTM(3, 2, bias=False).state_dict()
        >>> {name: array.shape for name, array in weights.items()}
        {'weight_ih_l0': (8, 3), 'weight_hh_l0': (8, 2)}
        """
        return self._model.parameters()

    def load_state_dict(self, state_dict: Mapping[str, ArrayLike]) -> None:
        """Replace all parameters by copies of those given.

        Streams made before go on with the weights that they were made with.

        Parameters
        ----------
        state_dict : mapping of str to array_like
            As `state_dict` returns it; a `torch.nn.LSTM`'s works too. Narrower floating types
            are widened; wider ones and integers are refused.

        Raises
        ------
        ValueError, TypeError
            One error names every missing, unexpected, misshapen or wrongly typed entry
            (`TypeError` if types are all that is wrong). The object is then unchanged.

        Examples
        --------
        >>> import cellgate
        >>> a, b = cellgate.LSTM(3, 2, seed=0), cellgate.LSTM(3, 2, seed=1)
        >>> b.load_state_dict(a.state_dict())
        >>> b.load_state_dict({"weight": [0.0]})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: state_dict: weight_ih_l0 is missing (wanted shape (8, 3)); ...
        """
        parameters = checked_parameters(self._config, state_dict, "state_dict")
        self._model = _pack(self._config, parameters)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write weights and configuration to one safetensors file, which `cellgate.load` reads.

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
        ...     cellgate.LSTM(3, 2).save(path)
        ...     cellgate.load(path)
        LSTM(3, 2)
        """
        from .formats.safetensors import save

        save(path, self._config, self._model.parameters())

    @property
    def input_size(self) -> int:
        """I."""
        return self._config.input_size

    @property
    def hidden_size(self) -> int:
        """H."""
        return self._config.hidden_size

    @property
    def num_layers(self) -> int:
        """L."""
        return self._config.num_layers

    @property
    def bias(self) -> bool:
        """Whether the gates have biases."""
        return self._config.bias

    @property
    def batch_first(self) -> bool:
        """Whether input and output are (B, T, ...)."""
        return self._config.batch_first

    @property
    def dropout(self) -> float:
        """Dropout between layers, in training only."""
        return self._config.dropout

    @property
    def bidirectional(self) -> bool:
        """Whether D is 2."""
        return self._config.bidirectional

    @property
    def proj_size(self) -> int:
        """P, or 0 without a projection."""
        return self._config.proj_size

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of weights, states and results: float32 or float64."""
        return np.dtype(self._config.dtype)

    @property
    def num_parameters(self) -> int:
        """Scalars in all weights and biases."""
        return self._config.num_parameters

    def __repr__(self) -> str:
        config = self._config
        shown = [str(config.input_size), str(config.hidden_size)]
        for name, default in _OPTIONS.items():
            if (value := getattr(config, name)) != default:
                shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def __copy__(self) -> LSTM:
        """A second object over the same packed weights, which are never written to."""
        return _assemble(type(self), self._config, self._model)

    def __deepcopy__(self, memo: dict[int, Any]) -> LSTM:
        return self.__copy__()

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self._config._asdict(), self._model.parameters())


_OPTIONS: dict[str, Any] = {
    "num_layers": 1,
    "bias": True,
    "batch_first": False,
    "dropout": 0.0,
    "bidirectional": False,
    "proj_size": 0,
    "dtype": "float32",
}


def from_parameters(config: Config, parameters: Parameters) -> LSTM:
    """An LSTM with these weights, already checked; draws no random numbers."""
    return _assemble(LSTM, config, _pack(config, parameters))


def with_model(lstm: LSTM, model: Model) -> LSTM:
    """An LSTM configured like `lstm` over weights that are packed already."""
    return _assemble(type(lstm), lstm._config, model)


def _assemble(kind: type[LSTM], config: Config, model: Model) -> LSTM:
    lstm = kind.__new__(kind)
    lstm._config = config
    lstm._model = model
    return lstm


def _restore(kind: type[LSTM], config: dict[str, Any], parameters: Parameters) -> LSTM:
    """What unpickling calls."""
    checked = checked_config(**config)
    return _assemble(kind, checked, _pack(checked, parameters))


def _pack(config: Config, parameters: Parameters) -> Model:
    c = config
    sizes = c.input_size, c.hidden_size, c.num_layers
    return Model(*sizes, c.bias, c.bidirectional, c.proj_size, c.dtype, parameters)
