"""Products with a matrix B that no other product needs.

Where few rows meet it each task packs its own columns of B, so nobody waits in between, and a small product is one call
of compiled code. The sums and their order are those of `kernels.cpu.gemm`, and so are the bits.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from kernels.cpu.gemm import (
    SERIAL_WORK,
    TASK_WORK,
    Task,
    column_parts,
    multiply,
    multiplying,
    pack_b,
    panels_size,
    prepack,
    prepack_all,
)
from kernels.cpu.jit import jit
from kernels.cpu.panels import panel_columns
from kernels.cpu.product import ROW_BLOCK, multiply_rows, prepare, workspace
from kernels.threads import run_all

_EMPTY_PAIRS = np.empty(0, np.uint32)  # tells a kernel the dtype of its panels


def multiply_once(
    matrix: np.ndarray, transposed: bool, b: np.ndarray, b_transposed: bool, out: np.ndarray, bf16: bool = False
) -> np.ndarray:
    """`multiply` by a B that is given as `prepack` takes it, to the bit; no panels of it stay."""
    rows, columns = out.shape
    work = matrix.size * columns
    if not work or (rows > ROW_BLOCK and work >= 2 * SERIAL_WORK):  # its panels are read by many tasks
        return multiply(matrix, transposed, prepack(b, b_transposed, bf16), out)
    like = _EMPTY_PAIRS if bf16 and b.dtype == np.float32 else np.empty(0, b.dtype)
    prepare(like.dtype)
    arguments = (as_writeable(matrix), transposed, as_writeable(b), b_transposed, like, out)
    if work < 2 * SERIAL_WORK:
        _multiply_columns(*arguments, 0, columns)
        return out
    parts = column_parts(columns, min(max(2, work // TASK_WORK), 8), panel_columns(like))
    run_all([partial(_multiply_columns, *arguments, *part) for part in parts])
    return out


@jit
def _multiply_columns(
    matrix: Any, transposed: bool, b: Any, b_transposed: bool, like: Any, out: Any, first_column: int, stop_column: int
) -> None:
    """Some columns of `multiply_once`, from a multiple of a panel's columns on; panels are of the dtype of `like`."""
    a, source, c = matrix.reshape(-1), b.reshape(-1), out.reshape(-1)
    rows, columns, depth = out.shape[0], out.shape[1], matrix.shape[0 if transposed else 1]
    count, at = stop_column - first_column, first_column * (b.shape[1] if b_transposed else 1)
    panels = np.empty(panels_size(like, depth, count), like.dtype)
    work = np.empty(workspace(rows, depth), like.dtype)
    pack_b(source, b_transposed, at, b.shape[1], panels, depth, count, 0, count)
    multiply_rows(
        a, transposed, 0, matrix.shape[1], rows, work, panels, depth, count, 0, count, c, first_column, columns, False
    )  # fmt: skip


class Product(NamedTuple):
    """out = A B, in the words of `multiply_once`."""

    matrix: np.ndarray
    transposed: bool
    b: np.ndarray
    b_transposed: bool
    out: np.ndarray


def multiply_all(products: Sequence[Product], bf16: bool, *beside: Sequence[Task]) -> None:
    """Products that need not wait for each other, and lists of tasks: in their order if all are small, else at once."""
    if all(product.matrix.size * product.out.shape[1] < 2 * SERIAL_WORK for product in products):
        for product in products:
            multiply_once(*product, bf16)
        run_all(*beside)
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
