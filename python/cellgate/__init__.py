"""cellgate: the LSTM for CPUs.

Start with `LSTM`; `LSTM.stream` gives a `Stream` for input that comes step by step, `LSTM.record` a
`Tape`, whose `backward` gives `Gradients`. A `Network` is an LSTM with scaling, pooling and a
`Linear` head; its streams are `NetworkStream`s. `load` reads either from a file.
"""

from typing import TYPE_CHECKING

from ._core import __version__
from .files import load
from .lstm import LSTM
from .runtime import active_isa, build_info, get_num_threads, set_num_threads
from .stream import Stream
from .tape import Gradients, Tape

if TYPE_CHECKING:
    from .linear import Linear
    from .network import Network
    from .network_stream import NetworkStream

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


def __getattr__(name: str) -> object:
    """Networks are imported when they are first asked for: that saves a tenth of the import."""
    if name not in ("Linear", "Network", "NetworkStream"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import linear, network, network_stream

    globals().update(
        Linear=linear.Linear,
        Network=network.Network,
        NetworkStream=network_stream.NetworkStream,
    )
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
