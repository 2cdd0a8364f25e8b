"""PyTorch's LSTM on cellgate's kernels: `LSTM`, `LSTMCell`, and `accelerate` for whole models.

Importing it imports PyTorch, and registers the operator ``cellgate::lstm``, which
`torch.compile`, `torch.export` and `torch.func` see. docs/pytorch.md has the rest.
"""

try:
    import torch as _torch
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ModuleNotFoundError(
        "cellgate.torch needs PyTorch, which is not installed: pip install 'cellgate[torch]'",
        name="torch",
    ) from None

import multiprocessing as _multiprocessing
from pathlib import Path as _Path

from .. import _core
from ._accelerate import Report, accelerate
from ._modules import LSTM, LSTMCell

# PyTorch's threads go on spinning after each of its operators: calls run on them, not beside them.
# A worker that multiprocessing has forked lacks them; where there is no such library (PyTorch for
# Windows or macOS) calls keep their own threads too.
if (
    _multiprocessing.parent_process() is None
    or _multiprocessing.get_start_method(allow_none=True) == "spawn"
):
    _core.use_openmp_of(str(_Path(_torch.__file__).with_name("lib") / "libtorch_cpu.so"))

__all__ = ["LSTM", "LSTMCell", "Report", "accelerate"]
