"""Files of ``torch.save`` as dictionaries of arrays, in both forms: an archive with a pickle and a member for each
storage, and, before PyTorch 1.6, pickles with the storages behind them.

A tensor is a view of a storage: where it starts, its sizes and strides, in elements.
"""

from __future__ import annotations

import io
import math
import zipfile
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from seq2seq.conversion import pickles
from seq2seq.run.errors import UserError
from seq2seq.run.messages import counted

MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of an old file
_DTYPES = {
    "Float": "<f4", "Double": "<f8", "Half": "<f2", "BFloat16": "bfloat16", "Long": "<i8", "Int": "<i4",
    "Short": "<i2", "Char": "i1", "Byte": "u1", "Bool": "?",
}  # fmt: skip


class _Storage:
    """One whose numbers may come later than the tensors that view it."""

    def __init__(self, kind: str, numbers: int) -> None:
        self.kind, self.numbers = kind, numbers
        self.array: np.ndarray | None = None

    @property
    def nbytes(self) -> int:
        return self.numbers * (2 if self.kind == "bfloat16" else np.dtype(self.kind).itemsize)

    def fill(self, data: bytes) -> None:
        """UserError where these are not its bytes."""
        if len(data) != self.nbytes:
            raise UserError(f"a storage has {counted(len(data), 'byte')}; expected {self.nbytes:,}")
        if self.kind == "bfloat16":
            self.array = (np.frombuffer(data, "<u2").astype(np.uint32) << np.uint32(16)).view(np.float32)
        else:
            self.array = np.frombuffer(data, self.kind)


class _Tensor:
    """A view of a storage."""

    def __init__(self, storage: Any, offset: Any, sizes: Any, strides: Any, *_: Any) -> None:
        whole = (offset, *sizes, *strides)
        if not isinstance(storage, _Storage) or len(sizes) != len(strides) or any(type(n) is not int for n in whole):
            raise UserError("holds a tensor that views no storage")
        last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
        if min(whole) < 0 or (math.prod(sizes) and last >= storage.numbers):
            raise UserError("holds a tensor that reaches beyond its storage")
        if math.prod(sizes) > storage.numbers:  # by strides of 0: a few bytes could ask for any amount of memory
            raise UserError("holds a tensor that is larger than its storage")
        self._view = storage, offset, tuple(sizes), tuple(strides)

    def array(self) -> np.ndarray:
        storage, offset, sizes, strides = self._view
        if storage.array is None:
            raise UserError("holds a tensor whose numbers are missing")
        flat = storage.array[offset:]
        return as_strided(flat, sizes, [stride * flat.itemsize for stride in strides]).copy()


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


KNOWN: dict[str, Any] = pickles.KNOWN | {
    "torch._utils._rebuild_tensor_v2": _Tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.Size": tuple,
    "torch.device": str,
    # Of OpenNMT-py before version 3, whose checkpoints hold its fields with their vocabularies.
    **dict.fromkeys(("torchtext.", "onmt.", "functools.partial"), pickles.Record),
    **dict.fromkeys(("collections.Counter", "collections.defaultdict"), pickles.Record),
    **{
        f"{room}.{name}": pickles.Record
        for room in ("builtins", "__builtin__")
        for name in ("getattr", "int", "str", "unicode")
    },
    **{f"torch.{name}Storage": kind for name, kind in _DTYPES.items()},
}


class _Storages(dict[str, _Storage]):
    """Those that a pickle refers to, by key."""

    def __call__(self, pid: Any) -> _Storage:
        match pid:
            case ("storage", str(kind), str(key), _, int(numbers), *_) if kind in _DTYPES.values() and numbers >= 0:
                return self.setdefault(key, _Storage(kind, numbers))
        raise UserError("refers to something that is no storage")


def read_archive(data: bytes) -> Any:
    """Of the form of today; UserError where it is none."""
    storages = _Storages()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise UserError("holds compressed members; expected them stored, as torch.save does")
            found = pickles.read(io.BytesIO(archive.read(name)), KNOWN, storages)
            folder = name.removesuffix("data.pkl")
            if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") != b"little":
                raise UserError("holds numbers whose high bytes come first; expected little-endian ones")
            for key, storage in storages.items():
                storage.fill(archive.read(f"{folder}data/{key}"))
    except (zipfile.BadZipFile, KeyError, ValueError, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise UserError(f"no archive of torch.save ({' '.join(str(error).split())[:200]})") from None
    return _with_arrays(found)


def read_legacy(data: bytes) -> Any:
    """Of the form before PyTorch 1.6; UserError where it is none."""
    file, storages = io.BytesIO(data), _Storages()
    if pickles.read(file) != MAGIC:
        raise UserError("no file of torch.save: its first pickle is not PyTorch's mark")
    for _ in ("protocol", "system"):
        pickles.read(file)
    found = pickles.read(file, KNOWN, storages)
    for key in pickles.read(file):
        if key not in storages:
            raise UserError("lists a storage that no tensor has")
        numbers = int.from_bytes(file.read(8), "little")
        if numbers != storages[key].numbers:
            raise UserError(f"a storage has {counted(numbers, 'number')}; expected {storages[key].numbers:,}")
        storages[key].fill(file.read(storages[key].nbytes))
    return _with_arrays(found)


def _with_arrays(value: Any) -> Any:
    """A value with arrays in place of tensors."""
    return pickles.resolved(value, lambda leaf: leaf.array() if isinstance(leaf, _Tensor) else leaf)
