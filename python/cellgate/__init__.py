"""cellgate: the LSTM for CPUs.

Start with `LSTM`; `LSTM.stream` gives a `Stream` for input that comes step by step, `LSTM.record` a
`Tape`, whose `backward` gives `Gradients`. A `Network` is an LSTM with a `Linear` head and what
else products run; its streams are `NetworkStream`s. `load` reads either from a file.
"""

from ._core import __version__
from .files import load
from .linear import Linear
from .lstm import LSTM
from .network import Network
from .network_stream import NetworkStream
from .runtime import active_isa, build_info, get_num_threads, set_num_threads
from .stream import Stream
from .tape import Gradients, Tape

__all__ = [
    "LSTM",
    "Gradients",
    "Linear",
    "Network",
    "NetworkStream",
    "Stream",
    "Tape",
    "__version__",
    "active_isa",
    "build_info",
    "get_num_threads",
    "load",
    "set_num_threads",
]
