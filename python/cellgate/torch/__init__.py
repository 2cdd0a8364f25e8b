"""PyTorch's LSTM on cellgate's kernels: `LSTM`, `LSTMCell`, and `accelerate` for whole models.

Importing it imports PyTorch, and registers the operator ``cellgate::lstm``, which
`torch.compile`, `torch.export` and `torch.func` see. docs/pytorch.md tells the rest.
"""

try:
    import torch as _torch  # noqa: F401  (the one below would name this package in its error)
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ModuleNotFoundError(
        "cellgate.torch needs PyTorch, which is not installed: pip install 'cellgate[torch]'",
        name="torch",
    ) from None

from ._accelerate import Report, accelerate
from ._modules import LSTM, LSTMCell

__all__ = ["LSTM", "LSTMCell", "Report", "accelerate"]
