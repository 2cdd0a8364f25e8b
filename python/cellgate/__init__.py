"""cellgate: the LSTM for CPUs.

Start with `LSTM`; `LSTM.stream` gives a `Stream` for input that comes step by step, `LSTM.record` a
`Tape`, whose `backward` gives `Gradients`, and `load` reads a model from a file.
"""

from ._core import __version__
from .files import load
from .lstm import LSTM
from .runtime import active_isa, build_info, get_num_threads, set_num_threads
from .stream import Stream
from .tape import Gradients, Tape

__all__ = [
    "LSTM",
    "Gradients",
    "Stream",
    "Tape",
    "__version__",
    "active_isa",
    "build_info",
    "get_num_threads",
    "load",
    "set_num_threads",
]
