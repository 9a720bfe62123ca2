"""Pickles of weights, read without running what they hold.

A pickle is a program: it may name any function of any module and have it called, as the documentation of Python's
``pickle`` warns. Those of weights need few: dictionaries, numbers, texts, arrays. So every name stands for something
that this package has, and any other is refused, by name. Places in the reader's memory are looked at before it is let
loose: it would make room for the highest one at once.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from seq2seq.run.errors import UserError

NUMBERS = "biuf"  # kinds of numpy.dtype


class Fields(dict[Any, Any]):
    """In place of an object of which the fields alone are wanted, such as ``argparse.Namespace``."""

    def __init__(self, *_: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError("the fields of an object are no dictionary")
        self.update(state)


class _Ordered(dict[Any, Any]):
    """In place of ``collections.OrderedDict``; what else the object had is left."""

    def __setstate__(self, state: Any) -> None: ...


class Record(Fields):
    """In place of any object or function of another toolkit, of which what was stored is wanted and nothing is done:
    called, it makes another record; what is put into it stays data."""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.update(state)

    def __call__(self, *_: Any) -> Record:
        return Record()


class _Kind:
    """In place of ``numpy.dtype``: of numbers alone."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.dtype = np.dtype(code) if isinstance(code, str) else np.dtype("O")
        if self.dtype.kind not in NUMBERS:
            raise pickle.UnpicklingError(f"an array of {code!r}, which are no numbers")

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """In place of ``numpy.ndarray``, until its numbers come."""

    def __init__(self, *_: Any) -> None:
        self.array = np.empty(0)

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, by_columns, numbers = state
        if not isinstance(kind, _Kind) or not isinstance(numbers, bytes):
            raise pickle.UnpicklingError("an array without numbers")
        self.array = np.frombuffer(numbers, kind.dtype).reshape(shape, order="F" if by_columns else "C")


def _frombuffer(numbers: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    """How NumPy writes arrays since protocol 5."""
    return np.frombuffer(numbers, kind.dtype).reshape(shape, order="F" if order == "F" else "C")


def _new(kind: Any, *_: Any) -> Any:
    """How protocols 0 and 1 begin an object."""
    return kind()


def _scalar(kind: Any, number: Any) -> Any:
    return np.frombuffer(number, kind.dtype)[0].item()


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    """``_codecs.encode``, by which old pickles hold bytes."""
    return str(text).encode("latin1" if encoding in ("latin1", "latin-1") else "utf-8")


KNOWN: dict[str, Any] = {
    "collections.OrderedDict": _Ordered,
    "argparse.Namespace": Fields,
    "_codecs.encode": _encoded,
    "numpy.dtype": _Kind,
    "numpy.ndarray": _Array,
}
for _room in ("numpy.core", "numpy._core"):
    KNOWN |= {f"{_room}.multiarray._reconstruct": _Array, f"{_room}.multiarray.scalar": _scalar}
    KNOWN |= {f"{_room}.numeric._frombuffer": _frombuffer}
for _room, _object in (("copy_reg", "__builtin__.object"), ("copyreg", "builtins.object")):
    KNOWN |= {f"{_room}._reconstructor": _new, _object: Fields}


class _Names:
    """Names lead to what is known, those of other toolkits to records, and nothing to what the names are of."""

    def __init__(
        self, file: io.BytesIO, known: Mapping[str, Any], storage: Callable[[Any], Any], encoding: str = "ASCII"
    ) -> None:
        super().__init__(file, encoding=encoding)  # type: ignore[call-arg]
        self._known, self._storage = known, storage

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full.startswith(tuple(room for room in self._known if room.endswith("."))):
            return Record
        if full not in self._known:
            raise UserError(f"names {full}, which weights do not need; nothing of it was run")
        return self._known[full]

    def persistent_load(self, pid: Any) -> Any:
        return self._storage(pid)


class _Reader(_Names, pickle.Unpickler):
    """Python's own, in C."""


class _PatientReader(_Names, pickle._Unpickler):
    """The same in Python, whose memory is a dictionary: it makes no room for places that are named."""


def read(file: io.BytesIO, known: Mapping[str, Any] = KNOWN, storage: Callable[[Any], Any] | None = None) -> Any:
    """What the next pickle of a file holds: dictionaries, lists, numbers, texts and arrays.

    Args:
        known: what the names in it stand for; one that ends with a dot: all that begin with it stand for records.
        storage: what is made of references to something beside the pickle; without it they are refused.

    Raises:
        UserError: it names something else, or is no pickle.
    """
    start = file.tell()
    try:
        for count, (code, argument, _) in enumerate(pickletools.genops(file)):
            if code.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > count:
                raise UserError(f"asks for place {argument:,} of its memory; expected as many as it has things")
        file.seek(start)
        value = _Reader(file, known, _no_storage if storage is None else storage).load()
        return resolved(value, lambda leaf: leaf.array if isinstance(leaf, _Array) else leaf)
    except UserError:
        raise
    except Exception as error:  # whatever a broken program leads to, here it is one thing: no pickle of weights
        said = " ".join(str(error).split())[:200]
        raise UserError(f"no pickle of weights ({type(error).__name__}: {said})") from None


def read_dictionary(data: bytes) -> dict[Any, Any]:
    """A pickled dictionary, by Python 2 too, whose texts are bytes of UTF-8; UserError as of ``read``."""
    try:
        found = _PatientReader(io.BytesIO(data), KNOWN, _no_storage, "utf-8").load()
    except UserError:
        raise
    except Exception as error:  # as in ``read``
        raise UserError(f"no pickle of words ({type(error).__name__}: {' '.join(str(error).split())[:200]})") from None
    if not isinstance(found, dict):
        raise UserError("holds no dictionary of words to their ids")
    return found


def _no_storage(pid: Any) -> Any:
    raise pickle.UnpicklingError("refers to something beside it")


def resolved(value: Any, make: Callable[[Any], Any], known: dict[int, Any] | None = None) -> Any:
    """A value with what ``make`` makes of each leaf, tuples as lists; what is there twice stays one object, or a small
    pickle could become a large one.

    Raises:
        UserError: it holds itself.
    """
    known = {} if known is None else known
    if not isinstance(value, (dict, list, tuple)):
        return make(value)
    if id(value) not in known:
        known[id(value)] = None
        if isinstance(value, dict):
            known[id(value)] = {key: resolved(item, make, known) for key, item in value.items()}
        else:
            known[id(value)] = [resolved(item, make, known) for item in value]
    if known[id(value)] is None:
        raise UserError("holds itself")
    return known[id(value)]
