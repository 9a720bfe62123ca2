"""Files of ``numpy.savez``, NAME.npz: an archive with a member for each array, a header and its numbers.

NumPy's own reader may run what an array of objects holds, and makes room for all that a header asks before it looks for
the numbers. Here an array is of numbers, and there are as many as its shape says.
"""

from __future__ import annotations

import io
import math
import tokenize
import warnings
import zipfile

import numpy as np

from seq2seq.run.errors import UserError

NUMBERS = "biuf"  # kinds of numpy.dtype
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
# What the headers of other files, or of broken ones, may raise.
BROKEN = (
    zipfile.BadZipFile, ValueError, TypeError, KeyError, NotImplementedError, RuntimeError, EOFError, OSError,
    SyntaxError, tokenize.TokenError,
)  # fmt: skip


def is_one(data: bytes) -> bool:
    """Whether an archive has a member such as NumPy writes."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return any(name.endswith(".npy") for name in archive.namelist())
    except BROKEN:
        return False


def read(data: bytes) -> dict[str, np.ndarray]:
    """The arrays of numbers by name; UserError where one is none, or is compressed."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise UserError("holds compressed members; expected them stored, as numpy.savez does")
            if sum(member.file_size for member in members) > len(data):
                raise UserError("holds members that are larger than the file together")
            return {each.filename.removesuffix(".npy"): _array(each.filename, archive.read(each)) for each in members}
    except BROKEN as error:
        raise UserError(f"no archive of numpy.savez ({' '.join(str(error).split())[:200]})") from None


def _array(name: str, data: bytes) -> np.ndarray:
    file = io.BytesIO(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that Python 2 wrote it
        shape, by_columns, dtype = HEADERS[np.lib.format.read_magic(file)](file)
    if dtype.kind not in NUMBERS:
        raise UserError(f"holds {name} of {dtype}, which are no numbers; nothing of it was run")
    start, size = file.tell(), math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or start + size > len(data):
        raise UserError(f"holds {name} of shape {shape}, and fewer numbers")
    return np.ndarray(shape, dtype, data, start, order="F" if by_columns else "C")
