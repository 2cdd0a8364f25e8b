"""The LSTM object: what one can do with a configuration and its weights.

Checks what the core does not see, then forwards. START HERE to read the Python package.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, overload

from . import formats
from .config import check_bool, checked_config, describe
from .parameters import initial_parameters
from .stream import Stream
from .tape import Tape
from .weights import Weights, pack
from .weights import _restore as _restore  # where pickles of cellgate 0.1 look for it

if TYPE_CHECKING:
    import os
    from typing import Literal

    from numpy.typing import ArrayLike, DTypeLike

    from .weights import Float, State


class LSTM(Weights):
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
        `record` only: kept in the configuration and in files, without effect on a call. With one
        layer it has no effect, which is a `UserWarning`.
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

    __slots__ = ()

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
            input_size=input_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            proj_size=proj_size,
            dtype=dtype,
        )
        if self._config.dropout and self._config.num_layers == 1:
            warnings.warn(
                "dropout: acts between layers, and there is one; got dropout "
                f"{self._config.dropout} with num_layers 1",
                stacklevel=2,
            )
        self._model = pack(self._config, initial_parameters(self._config, seed))

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
            Whether the tape has `cells`, and `backward` takes derivatives with respect to them.
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
        return Stream(self, batch_size)

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
        formats.write(path, self._model, self._config)
