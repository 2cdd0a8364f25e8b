"""Model files on disk. The core (csrc/files) converts their bytes from and to models.

Called by lstm.py, network.py and files.py.
"""

from __future__ import annotations

import contextlib
import os
import stat

from . import _core
from .config import Config

OWN = ".safetensors"
READ = (OWN, ".json", ".aidax", ".nam")


def read(path: str | os.PathLike[str]) -> tuple[Config, _core.Model, _core.Network | None]:
    """Configuration and weights of the LSTM in a file, and the network if it is one."""
    name = os.fsdecode(path)
    suffix = _suffix(name, READ)
    with open(name, "rb") as file:
        data = file.read()
    options, model, network = _core.read_network(data, _shown(name), suffix == OWN)
    return Config(**options), model, network


def write(path: str | os.PathLike[str], model: _core.Model | _core.Network, config: Config) -> None:
    """Write to a new file beside `path` and move it there, so that no half file is ever seen."""
    name = os.fsdecode(path)
    _suffix(name, (OWN,))
    data = _core.write_network(model, config.batch_first, config.dropout)
    target = os.path.realpath(name)
    temporary = f"{target}.{os.urandom(8).hex()}.tmp"
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):  # a file that is replaced keeps its mode
            os.chmod(temporary, stat.S_IMODE(os.stat(target).st_mode))
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):  # it may never have been made; the first error counts
            os.remove(temporary)
        if isinstance(error, OSError) and error.filename == temporary:
            raise OSError(error.errno, error.strerror, name) from None
        raise


def _suffix(name: str, known: tuple[str, ...]) -> str:
    suffix = os.path.splitext(name)[1].lower()
    if suffix not in known:
        wanted = ", ".join(known[:-1]) + " or " + known[-1] if len(known) > 1 else known[0]
        raise ValueError(f"path: must end in {wanted}, the formats supported, got {name!r}")
    return suffix


def _shown(name: str) -> str:
    """A path for messages: one that is not UTF-8 cannot go through the core as it is."""
    return name.encode("utf-8", "backslashreplace").decode()
