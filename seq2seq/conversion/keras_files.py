"""Files of Keras as dictionaries of arrays: ``.h5`` of whole models and of weights, and ``.keras`` archives.

An array's name is that of its layer and what it is there: ``lstm_1/recurrent_kernel``. HDF5 can name other files, ask
for plug-ins that undo a compression, and tell of more numbers than there are bytes; Keras does none of this, and so
what does is refused before it is read.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from seq2seq.run.errors import UserError

Arrays = dict[str, np.ndarray]
SIGNATURE = b"\x89HDF\r\n\x1a\n"
WEIGHTS, SETTINGS = "model.weights.h5", "config.json"  # members of an archive
INSTALL_H5PY = "pip install 'h5py>=3.10'"  # works in any folder; pyproject.toml says the same
# What variables without a name are, in their order (Keras 3).
ROLES = {
    "embedding": ("embeddings",),
    "lstm": ("kernel", "recurrent_kernel", "bias"),
    "dense": ("kernel", "bias"),
}
# What a layer must be for its equations to be those of the engine; files without settings have these, which are Keras'.
EXPECTED: dict[str, dict[str, Any]] = {
    "LSTM": {"activation": "tanh", "recurrent_activation": "sigmoid", "go_backwards": False},
    "Dense": {"activation": "softmax"},
}


def is_keras(data: bytes) -> bool:
    """Whether a file is of one of the kinds."""
    return data.startswith(SIGNATURE) or (data.startswith(b"PK") and WEIGHTS.encode() in data)


def read(data: bytes) -> Arrays:
    """The weights; UserError where they are none, or are of layers that compute something else."""
    try:
        return _read(data)
    except (OSError, KeyError, RuntimeError, TypeError, AttributeError, zipfile.BadZipFile) as error:  # from h5py
        raise UserError(f"cannot be read as a file of Keras ({str(error).splitlines()[0][:100]})") from None


def _read(data: bytes) -> Arrays:
    if data.startswith(SIGNATURE):
        arrays, settings = _weights(data)
    else:
        archive = zipfile.ZipFile(io.BytesIO(data))
        largest = max(archive.getinfo(name).file_size for name in (WEIGHTS, SETTINGS))
        if largest > 100 * len(data):  # weights hardly shrink; what shrinks that much would fill the memory
            raise UserError("holds a member that is a hundred times as large as the file")
        arrays, _ = _weights(archive.read(WEIGHTS))
        settings = archive.read(SETTINGS).decode()
    if settings:
        _check(json.loads(settings))
    return arrays


def _weights(data: bytes) -> tuple[Arrays, str]:
    """All arrays of numbers but the optimizer's, and the settings as JSON, which may be empty."""
    try:
        import h5py
    except ImportError:
        raise UserError(f"files of Keras are read with h5py, which is not installed; {INSTALL_H5PY}") from None
    with h5py.File(io.BytesIO(data), "r") as file:
        named = dict(_arrays(h5py, file, "", len(data)))
        settings = file.attrs.get("model_config", "")
    return named, settings.decode() if isinstance(settings, bytes) else str(settings)


def _arrays(h5py: Any, group: Any, path: str, most: int) -> Iterator[tuple[str, np.ndarray]]:
    """Those below a group, by layer and role; none may have more than ``most`` bytes."""
    for name in group:
        here = f"{path}/{name}"
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise UserError(f"{here} is a link to another place")
        item = group[name]
        if isinstance(item, h5py.Group):
            if not here.startswith("/optimizer"):
                yield from _arrays(h5py, item, here, most)
        elif item.dtype.kind == "f":
            if item.external or item.is_virtual or item.id.get_create_plist().get_nfilters():
                raise UserError(f"{here} lies in another file, or is compressed")
            if item.nbytes > most:
                raise UserError(f"{here} has {item.nbytes:,} bytes, the file {most:,}")
            yield _name(here), item[()]


def _name(path: str) -> str:
    """A path such as /model_weights/lstm_1/lstm_1/kernel:0 or /layers/lstm/cell/vars/0 -> layer and role."""
    parts = [part for part in path.split("/") if part not in ("", "model_weights", "layers")]
    layer, role = parts[0], parts[-1].removesuffix(":0")
    if "vars" in parts and role.isdigit():
        roles = ROLES.get(re.sub(r"_\d+$", "", layer), ())
        role = roles[int(role)] if int(role) < len(roles) else f"vars_{role}"
    return f"{layer}/{role}"


def _check(settings: Any) -> None:
    """UserError where a layer is told to compute something else."""
    for layer in _layers(settings):
        own = layer.get("config", {})
        for name, expected in EXPECTED.get(str(layer.get("class_name")), {}).items():
            if own.get(name, expected) != expected:
                raise UserError(
                    f"layer {own.get('name')} has {name} {own[name]!r}; its equations are known with {expected!r}"
                )


def _layers(settings: Any) -> Iterator[dict[str, Any]]:
    """Of a model's settings."""
    own = settings.get("config", {}) if isinstance(settings, dict) else {}
    layers = own.get("layers", []) if isinstance(own, dict) else []
    for layer in layers if isinstance(layers, list) else []:
        if isinstance(layer, dict) and isinstance(layer.get("config", {}), dict):
            yield layer
