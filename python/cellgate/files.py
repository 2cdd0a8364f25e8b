"""`load`: from a file to the object that it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import formats
from .lstm import LSTM
from .weights import assemble

if TYPE_CHECKING:
    import os

    from .network import Network

__all__ = ["load"]


def load(path: str | os.PathLike[str]) -> LSTM | Network:
    """The LSTM or the network in a file.

    Parameters
    ----------
    path : str or path-like
        ``.safetensors``: what `LSTM.save` or `Network.save` wrote. ``.json`` and ``.aidax``:
        RTNeural, AIDA-X or Proteus. ``.nam``: Neural Amp Modeler.

    Returns
    -------
    LSTM or Network
        What was saved; of the formats of other programs a `Network`.

    Raises
    ------
    ValueError
        The suffix is not one of those supported, or the file does not hold what it should, or no
        LSTM: the message names the file and what is wrong with it.
    OSError
        The file cannot be read; `FileNotFoundError` if it does not exist.
    NotImplementedError
        This cellgate was built without the code that reads files.

    Notes
    -----
    Nothing in a file is run as code, and sizes are checked before anything is allocated. Weights
    that are not finite are accepted from safetensors files only.

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
    config, model, network = formats.read(path)
    if network is None:
        return assemble(LSTM, config, model)
    from .network import Network, restore

    return restore(Network, config, network)
