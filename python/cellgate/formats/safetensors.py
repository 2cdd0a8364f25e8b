"""safetensors files: the weights as tensors, the configuration as JSON in the metadata.

The metadata has one key, so that equal models give equal files. Only the public safetensors
package touches the format of the tensors; what its header says of our key is read here.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.numpy import load as deserialize
from safetensors.numpy import save as serialize

from ..config import DEFAULTS, Config, checked_config
from ..parameters import checked_parameters

if TYPE_CHECKING:
    from typing import Any

    from ..parameters import Parameters

METADATA_KEY = "cellgate"
FORMAT_VERSION = 1


def write(path: str, config: Config, parameters: Parameters) -> None:
    """Write to a new file beside `path` and move it there, so that no half file is ever seen."""
    text = json.dumps({"format_version": FORMAT_VERSION, **config._asdict()})
    data = serialize(dict(parameters), metadata={METADATA_KEY: text})
    target = os.path.realpath(path)
    temporary = f"{target}.{os.urandom(8).hex()}.tmp"
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):  # a file that is replaced keeps its mode
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):  # it may never have been made; the first error counts
            os.remove(temporary)
        if isinstance(error, OSError) and error.filename == temporary:
            raise OSError(error.errno, error.strerror, path) from None
        raise


def read(path: str) -> tuple[Config, Parameters]:
    """Read and verify everything before anything is built from it."""
    with open(path, "rb") as file:
        data = file.read()
    parameters, metadata = _parse(path, data)
    if METADATA_KEY not in metadata:
        raise ValueError(
            f"{path}: has no metadata {METADATA_KEY!r}, so it was not written by LSTM.save; "
            "read its tensors with the safetensors package and pass them to load_state_dict"
        )
    config = _read_config(path, metadata[METADATA_KEY])
    if config.num_layers > len(parameters):  # before as many names are spelled out
        raise ValueError(
            f"{path}: num_layers is {config.num_layers}, but it holds {len(parameters)} tensors"
        )
    try:
        return config, checked_parameters(config, parameters, path)
    except TypeError as error:
        raise ValueError(str(error)) from None


def _parse(path: str, data: bytes) -> tuple[dict[str, Any], dict[str, str]]:
    """The tensors and the metadata of a safetensors file."""
    try:
        tensors = deserialize(data)
    except KeyError as error:  # a type that the package knows and NumPy does not
        raise ValueError(f"{path}: has tensors of type {error.args[0]}") from None
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path}: is not a whole safetensors file: {error}") from None
    header_bytes = int.from_bytes(data[:8], "little")  # checked by `deserialize` as the rest is
    header = json.loads(data[8 : 8 + header_bytes])
    return tensors, header.get("__metadata__") or {}


def _read_config(path: str, text: str) -> Config:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: its configuration is not JSON: {error}") from None
    if not isinstance(values, dict) or "format_version" not in values:
        raise ValueError(f"{path}: its configuration has no format_version")
    version = values.pop("format_version")
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{path}: has format version {version!r}; this cellgate reads {FORMAT_VERSION}"
        )
    # An option that came later than the file has its default; one that this version does not know
    # would change the results.
    options = {**DEFAULTS, **values}
    faults = [f"lacks {name}" for name in Config._fields if name not in options]
    faults += [
        f"has the unknown option {name!r} (was it written by a newer cellgate?)"
        for name in options
        if name not in Config._fields
    ]
    if faults:
        raise ValueError(f"{path}: its configuration {' and '.join(faults)}")
    try:
        return checked_config(**options)
    except (TypeError, ValueError, MemoryError) as error:
        raise ValueError(f"{path}: its configuration is invalid: {error}") from None
