"""Model files: picks the reader by the file's suffix; each reader is imported on first use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..lstm import LSTM

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
    name = checked_path(path)
    from .safetensors import load as load_safetensors

    return load_safetensors(name)


def checked_path(path: str | os.PathLike[str]) -> str:
    """`path` as a str, if its suffix is that of a supported format."""
    name = os.fsdecode(path)
    suffix = os.path.splitext(name)[1]
    if suffix.lower() != ".safetensors":
        raise ValueError(f"path: must end in .safetensors, the format supported, got {name!r}")
    return name
