"""Products with a matrix B that no other product needs.

Each part of a product packs its own rows of A and columns of B, so nobody waits in between, and a product is one call
of compiled code, which threads that stand by share (`kernels.cpu.standby`). The sums and their order are those of
`kernels.cpu.gemm`, and so are the bits.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from kernels.cpu.board import MOST_MEMBERS
from kernels.cpu.gemm import Task, multiply, multiplying, pack_b, panels_size, prepack, prepack_all
from kernels.cpu.jit import config, jit
from kernels.cpu.panels import panel_columns
from kernels.cpu.product import multiply_rows, prepare, workspace
from kernels.cpu.standby import MOST_ARGUMENTS, array_at, meet, share
from kernels.cpu.tiles import ROWS
from kernels.threads import run_all, spare

# Multiply-adds: of a part of a product, of one that is worth sharing, and of one whose panels should be packed once.
PART_WORK, SHARED_WORK, LARGE_WORK = 1 << 19, 1 << 20, 1 << 27
_EMPTY_PAIRS = np.empty(0, np.uint32)  # tells a kernel the dtype of its panels


def multiply_once(
    matrix: np.ndarray,
    transposed: bool,
    b: np.ndarray,
    b_transposed: bool,
    out: np.ndarray,
    bf16: bool = False,
    more: bool = False,
) -> np.ndarray:
    """`multiply` by a B that is given as `prepack` takes it, to the bit; no panels of it stay."""
    rows, columns = out.shape
    work = matrix.size * columns
    if not work or work >= LARGE_WORK:
        return multiply(matrix, transposed, prepack(b, b_transposed, bf16), out, more)
    like = _EMPTY_PAIRS if bf16 and b.dtype == np.float32 else np.empty(0, b.dtype)
    prepare(like.dtype)
    arguments = (as_writeable(matrix), transposed, as_writeable(b), b_transposed, like, out)
    threads = min(spare() + 1, MOST_MEMBERS)
    if work < SHARED_WORK or threads == 1 or config.DISABLE_JIT:
        _multiply_part(*arguments, (0, rows, 0, columns), more)
        return out
    by_rows = rows > columns
    size, step = (rows, ROWS) if by_rows else (columns, panel_columns(like))
    each = -(-size // (min(threads, work // PART_WORK) * step)) * step
    parts = -(-size // each)
    _share(meet(_TASKS[b.dtype, like.dtype], parts), *arguments, (by_rows, each, parts, more))
    return out


@jit
def _share(met: Any, matrix: Any, transposed: bool, b: Any, b_transposed: bool, like: Any, out: Any, cut: Any) -> None:
    """`multiply_once` by the threads of a `Meeting`; cut: whether by rows, how many of these or of columns,
    how many parts; whether to add to out.
    """
    words = np.zeros(MOST_ARGUMENTS, np.int64)
    words[0], words[1], words[2], words[3] = matrix.ctypes.data, matrix.shape[0], matrix.shape[1], transposed
    words[4], words[5], words[6], words[7] = b.ctypes.data, b.shape[0], b.shape[1], b_transposed
    words[8], words[9], words[10] = out.ctypes.data, out.shape[0], out.shape[1]
    words[11], words[12], words[13] = cut[0], cut[1], cut[3]
    share(met, words, cut[2])


@jit
def _multiply_part(
    matrix: Any, transposed: bool, b: Any, b_transposed: bool, like: Any, out: Any, part: Any, more: bool
) -> None:
    """Some rows and columns of `multiply_once`; panels are of the dtype of `like`.

    Args:
        part: first row, row to stop at, and so of the columns; from a multiple of a panel's rows and columns on.
    """
    a, source, c = matrix.reshape(-1), b.reshape(-1), out.reshape(-1)
    ldc, stride, depth = out.shape[1], matrix.shape[1], matrix.shape[0 if transposed else 1]
    row, height, column, width = part[0], part[1] - part[0], part[2], part[3] - part[2]
    panels = np.empty(panels_size(like, depth, width), like.dtype)
    work = np.empty(workspace(height, depth), like.dtype)
    at = column * (b.shape[1] if b_transposed else 1)
    pack_b(source, b_transposed, at, b.shape[1], panels, depth, width, 0, width)
    at = row * (1 if transposed else stride)
    multiply_rows(
        a, transposed, at, stride, height, work, panels, depth, width, 0, width, c, row * ldc + column, ldc, more
    )


def _task(number: type, panels: type) -> Any:
    """The task of `_share` for matrices and panels of these types: `_multiply_part` of what its words say."""

    @jit
    def multiply_part(words: Any, part: Any) -> None:
        like: Any = np.empty(0, number)
        matrix = array_at(words[0], (words[1], words[2]), like)
        b = array_at(words[4], (words[5], words[6]), like)
        out = array_at(words[8], (words[9], words[10]), like)
        rows, columns = out.shape
        first, stop = part * words[12], (part + 1) * words[12]
        place = (first, min(stop, rows), 0, columns) if words[11] else (0, rows, first, min(stop, columns))
        like_panels: Any = np.empty(0, panels)
        _multiply_part(matrix, words[3] != 0, b, words[7] != 0, like_panels, out, place, words[13] != 0)

    return multiply_part


_TASKS = {
    (np.dtype(number), np.dtype(panels)): _task(number, panels)
    for number, panels in ((np.float32, np.float32), (np.float64, np.float64), (np.float32, np.uint32))
}


class Product(NamedTuple):
    """out = A B, in the words of `multiply_once`."""

    matrix: np.ndarray
    transposed: bool
    b: np.ndarray
    b_transposed: bool
    out: np.ndarray


def multiply_all(products: Sequence[Product], bf16: bool, *beside: Sequence[Task]) -> None:
    """Products that need not wait for each other, and lists of tasks: in their order if none is large, else at once."""
    if all(product.matrix.size * product.out.shape[1] < LARGE_WORK for product in products):
        for product in products:
            multiply_once(*product, bf16)
        for task in chain(*beside):
            task()
        return
    packed = prepack_all(*((product.b, product.b_transposed) for product in products), bf16=bf16)
    tasks = [
        multiplying(product.matrix, product.transposed, b, product.out)
        for product, b in zip(products, packed, strict=True)
    ]
    run_all(*tasks, *beside)


def as_writeable(array: np.ndarray) -> np.ndarray:
    """The array, as if it might be written, for a kernel that does not: Numba compiles one anew for what may not be."""
    return array if array.flags.writeable else np.asarray(Memory(array, array.shape, array.strides))


class Memory:
    """What NumPy takes for an array that may be written, at the place of another one."""

    def __init__(self, array: np.ndarray, shape: tuple[int, ...], strides: tuple[int, ...] | None = None) -> None:
        told = array.__array_interface__
        self.array = array  # which has to stay as long as this does
        self.__array_interface__ = {**told, "data": (told["data"][0], False), "shape": shape, "strides": strides}
