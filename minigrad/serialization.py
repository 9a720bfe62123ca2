"""``save`` and ``load``: nested dicts and lists of Tensors, arrays and plain values, as one safetensors file.

Tensors on a GPU are stored like those of the host; who loads them says where they are to lie.

Nothing in such a file can run code. Tensors of a flat dict keep their names, so other programs can read a state_dict;
the structure around them is JSON in a metadata entry, and a second entry holds a digest of the whole file: a file that
changed since it was written is refused. Writing is atomic: a crash or a full disk leaves the former file as it was.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import kernels
from minigrad.device import CPU, device, moved, resolve
from minigrad.naming import described
from minigrad.tensor import Tensor

_METADATA = "__metadata__"
_STRUCTURE = "minigrad"
# The file begins with eight bytes of length, these, and the digest: its 64 hex digits count as zeros in the digest.
_BEFORE_DIGEST = b'{"__metadata__":{"sha256":"'
_DIGEST = slice(8 + len(_BEFORE_DIGEST), 8 + len(_BEFORE_DIGEST) + 64)
_TENSOR = "__tensor__"
_UNREADABLE = "not a readable safetensors file ({}); pickles are never loaded"
_DTYPES = {
    "<f8": "F64", "<f4": "F32", "<i8": "I64", "<i4": "I32", "<i2": "I16", "|i1": "I8", "<u8": "U64",
    "<u4": "U32", "<u2": "U16", "|u1": "U8", "|b1": "BOOL",
}  # fmt: skip
_WITH_HALVES = {**_DTYPES, "<f2": "F16"}  # of arrays alone: there are no Tensors of 16 bits


def save(obj: Any, path: str | os.PathLike) -> None:
    """Write ``obj`` to ``path``. TypeError names what cannot be stored, such as a dict whose keys are tuples; OSError
    leaves the former file whole."""
    _check_path("save", path)
    write_atomically(path, to_chunks(obj))


def load(path: str | os.PathLike, map_location: Any = None, weights_only: bool = True) -> Any:
    """Read what ``save`` wrote, or any safetensors file as a dict of Tensors.

    Args:
        path: of the file; it does not say where its tensors lay.
        map_location: device of the tensors, by default the host.
        weights_only: accepted; nothing else can be in such a file.

    Raises:
        ValueError: any other file. RuntimeError: there is no such device.
    """
    _check_path("load", path)
    where = resolve(map_location)
    try:
        return from_bytes(Path(path).read_bytes(), where)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _check_path(user: str, path: Any) -> None:
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{user}: path is {described(path)}; expected the name of a file")


def to_bytes(obj: Any) -> bytes:
    """``obj`` as the bytes of a safetensors file; equal objects give equal bytes."""
    return b"".join(to_chunks(obj))


def to_chunks(obj: Any, halves: bool = False) -> Iterator[Any]:
    """``to_bytes`` chunk by chunk: the header, then the memory of each tensor, none of which is copied first.

    The format is eight bytes of length, a JSON header padded to a multiple of eight, and the tensors without gaps. With
    ``halves`` arrays may be float16, for ``arrays_from_bytes``.
    """
    arrays: dict[str, np.ndarray] = {}
    structure = json.dumps(_flatten(obj, "", arrays), sort_keys=False)
    header, names = _header(structure, arrays, _WITH_HALVES if halves else _DTYPES)
    digest = hashlib.sha256(header)
    for name in names:
        digest.update(_memory(arrays[name]))
    yield header[: _DIGEST.start] + digest.hexdigest().encode() + header[_DIGEST.stop :]
    for name in names:
        yield _memory(arrays[name])


def _header(structure: str, arrays: dict[str, np.ndarray], dtypes: dict[str, str]) -> tuple[bytes, list[str]]:
    """The length and the JSON header, zeros for the digest; and the names in the order of their memory."""
    header: dict[str, Any] = {_METADATA: {"sha256": "0" * 64, _STRUCTURE: structure}}
    names = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))  # each begins at a multiple of its size
    end = 0
    for name in names:
        array, start = arrays[name], end
        if (kind := dtypes.get(array.dtype.newbyteorder("<").str)) is None:
            raise TypeError(
                f"save: {name} has dtype {array.dtype}; expected bool, integers or floating numbers of 32 or 64 bits"
            )
        end += array.nbytes
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, names


def _memory(array: np.ndarray) -> memoryview:
    """The bytes of an array, little-endian; no copy where it lies so already."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data


def has_digest(data: bytes) -> bool:
    """Whether the bytes of a file say what their digest is, as all that ``save`` writes do."""
    return data[8 : _DIGEST.start] == _BEFORE_DIGEST


def _check_digest(data: bytes) -> None:
    """ValueError where the bytes are not those that were written; other programs' files say nothing about that."""
    if not has_digest(data):
        return
    view = memoryview(data)
    digest = hashlib.sha256(view[: _DIGEST.start])
    digest.update(b"0" * 64)
    digest.update(view[_DIGEST.stop :])
    if digest.hexdigest().encode() != data[_DIGEST]:
        raise ValueError(_UNREADABLE.format("changed since it was written: its sha256 is another"))


def from_bytes(data: bytes, where: device = CPU) -> Any:
    """The inverse of ``to_bytes``, on a device; ValueError for anything that is not a whole safetensors file, or that
    changed since ``save`` wrote it."""
    return _read(data, _DTYPES, lambda array: _tensor(array, where))


def arrays_from_bytes(data: bytes) -> Any:
    """As ``from_bytes``, with arrays in place of tensors, which may be float16 too."""
    return _read(data, _WITH_HALVES, np.copy)


def _read(data: bytes, dtypes: dict[str, str], make: Callable[[np.ndarray], Any]) -> Any:
    from safetensors import SafetensorError
    from safetensors.numpy import load as deserialize

    _check_digest(data)
    _refuse_other_dtypes(data, dtypes)
    try:
        tensors = deserialize(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        metadata = header.get(_METADATA, {})
        structure = metadata.get(_STRUCTURE)
        if structure is not None and len(metadata) > 1 and not has_digest(data):  # 0.1 wrote nothing else
            raise ValueError(_UNREADABLE.format("changed since it was written: it does not say its sha256"))
        if structure is None:
            return {name: make(array) for name, array in tensors.items()}
        return _unflatten(json.loads(structure), tensors, make)
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(_UNREADABLE.format(error)) from None


def _refuse_other_dtypes(data: bytes, dtypes: dict[str, str]) -> None:
    """ValueError for a tensor of another dtype, such as one of 16 bits; a header that cannot be read is left to the
    reader proper."""
    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        kinds = {name: entry["dtype"] for name, entry in header.items() if name != _METADATA}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return
    for name, kind in kinds.items():
        if kind not in dtypes.values():
            raise ValueError(f"{name} has dtype {kind}, which is not supported; convert it to F32 before")


def _flatten(value: Any, name: str, tensors: dict[str, np.ndarray]) -> Any:
    """``value`` as JSON with every array moved into ``tensors`` under its path."""
    if isinstance(value, Tensor | np.ndarray | np.generic):
        name = (name or "value").encode("utf-8", "backslashreplace").decode()  # of half a surrogate pair
        while name in tensors or name == _METADATA:  # {"a.b": x, "a": {"b": y}} gives two tensors one path
            name += "'"
        tensors[name] = kernels.to_host(value.array) if isinstance(value, Tensor) else np.asarray(value)
        return {_TENSOR: name}
    if isinstance(value, dict):
        keys = [_key(key, name) for key in value]
        items = zip(keys, value.values(), strict=True)
        pairs = [[key, _flatten(item, f"{name}.{key}" if name else str(key), tensors)] for key, item in items]
        if all(isinstance(key, str) for key in keys) and _TENSOR not in value and "__pairs__" not in value:
            return dict(pairs)
        return {"__pairs__": pairs}
    if isinstance(value, list | tuple):
        return [_flatten(item, f"{name}.{i}" if name else str(i), tensors) for i, item in enumerate(value)]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(
        f"save: {name or 'the object'} is a {type(value).__name__}; expected tensors, numbers, strings, dicts, lists"
    )


def _key(key: Any, name: str) -> str | int | float | bool | None:
    """A key of a dict as JSON; what another one became could not be a key again."""
    key = key.item() if isinstance(key, np.generic) else key
    if key is None or isinstance(key, str | int | float | bool):
        return key
    where = f" in {name}" if name else ""
    raise TypeError(f"save: the key {key!r}{where} is {described(key)}; expected strings, numbers, truths or None")


def _tensor(array: np.ndarray, where: device) -> Tensor:
    """A tensor with memory of its own."""
    return Tensor(array.copy() if where is CPU else moved(array, where))


def _unflatten(value: Any, tensors: dict[str, np.ndarray], make: Callable[[np.ndarray], Any]) -> Any:
    if isinstance(value, dict):
        if _TENSOR in value:
            return make(tensors[value[_TENSOR]])
        if "__pairs__" in value:
            return {key: _unflatten(item, tensors, make) for key, item in value["__pairs__"]}
        return {key: _unflatten(item, tensors, make) for key, item in value.items()}
    return [_unflatten(item, tensors, make) for item in value] if isinstance(value, list) else value


def write_atomically(
    path: str | os.PathLike, data: bytes | Iterable[Any], temporary: str | os.PathLike | None = None
) -> None:
    """Put ``data``, bytes or chunks of them, at ``path`` so that the old file or the new one is there at any moment,
    also after a power cut.

    A temporary file in the same folder is written and synced, renamed over ``path``, and the folder is synced. A
    symbolic link stays one: the file it leads to is replaced. The new file has the mode of the old one.

    Args:
        temporary: name of the temporary file in that folder, where only one process can be writing; by default one
            that nothing else has.

    Raises:
        OSError: a full disk, no permission, something else at the temporary name. The old file stays, and no temporary
            one.
    """
    path = Path(os.path.realpath(path))
    unfinished = path.parent / (temporary or f".minigrad-{secrets.token_hex(8)}.tmp")
    handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            chunks: Iterable[Any] = [data] if isinstance(data, bytes) else data
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            os.chmod(unfinished, stat.S_IMODE(path.stat().st_mode))
        os.replace(unfinished, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(unfinished)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; folders cannot be opened on every system, and there it is not needed."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
