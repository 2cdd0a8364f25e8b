"""Model files: picks the module that knows a format by the file's suffix.

`read` gives a configuration and parameters, both checked, `write` takes them. Called by lstm.py
and files.py.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

    from ..config import Config
    from ..parameters import Parameters


def read(path: str | os.PathLike[str]) -> tuple[Config, Parameters]:
    """What a file holds."""
    name = os.fsdecode(path)
    content: tuple[Config, Parameters] = _module(name).read(name)
    return content


def write(path: str | os.PathLike[str], config: Config, parameters: Parameters) -> None:
    """Write a file, which appears whole or not at all."""
    name = os.fsdecode(path)
    _module(name).write(name, config, parameters)


def _module(name: str) -> ModuleType:
    """The module for a file's format."""
    suffix = os.path.splitext(name)[1]
    if suffix.lower() != ".safetensors":
        raise ValueError(f"path: must end in .safetensors, the format supported, got {name!r}")
    from . import safetensors  # slow: it brings the package of that name, and json

    return safetensors
