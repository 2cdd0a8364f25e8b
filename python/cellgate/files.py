"""`load`: from a file to the object that it holds. The formats themselves are read in formats/."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import formats
from .lstm import LSTM
from .weights import assemble, pack

if TYPE_CHECKING:
    import os

__all__ = ["load"]


def load(path: str | os.PathLike[str]) -> LSTM:
    """The LSTM in a file, with the configuration it was saved with.

    Parameters
    ----------
    path : str or path-like
        A ``.safetensors`` file that `LSTM.save` wrote.

    Returns
    -------
    LSTM

    Raises
    ------
    ValueError
        The suffix is not one of those supported, or the file does not hold what it should:
        the message names the file and what is wrong with it.
    OSError
        The file cannot be read; `FileNotFoundError` if it does not exist.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> import cellgate
    >>> lstm = cellgate.LSTM(3, 2, seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.safetensors")
    ...     lstm.save(path)
    ...     same = cellgate.load(path)
    >>> x = np.ones((4, 3), np.float32)
    >>> np.array_equal(lstm(x)[0], same(x)[0])
    True
    """
    config, parameters = formats.read(path)
    return assemble(LSTM, config, pack(config, parameters))
