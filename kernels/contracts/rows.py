"""Rows moved from one order to another, where their columns may be taken apart or put together."""

from collections.abc import Sequence
from typing import Annotated, Any

from kernels.contracts.checks import between
from kernels.contracts.entry import Array, entry
from kernels.contracts.plan import any_dtype, int64, on_host
from kernels.contracts.shapes import Sizes


def rows_below(letter: str) -> Any:
    """Rows (P,), if given, end below the number the letter stands for. Raises ValueError or IndexError."""

    def check(function: str, name: str, rows: Array | None, sizes: Sizes) -> None:
        if rows is None:
            return
        if rows.ndim != 1:
            raise ValueError(f"{function}: {name} has shape {rows.shape}; expected 1 dimension")
        if rows.size and rows.max() >= sizes[letter]:
            raise IndexError(f"{function}: {name} holds {rows.max()}; expected below {letter} = {sizes[letter]}")

    return check


def parts_of_one_width(function: str, x: Array, rows: Array | None, num_parts: int, fill: float) -> None:
    """The columns of x make that many parts. Raises ValueError."""
    if x.shape[1] % num_parts:
        raise ValueError(
            f"{function}: x has shape {x.shape}; expected columns for num_parts = {num_parts} of one width"
        )


def not_empty(function: str, name: str, parts: Sequence[Array], sizes: Sizes) -> None:
    """Raises ValueError for a list without arrays."""
    if not parts:
        raise ValueError(f"{function}: {name} is empty; expected one array or more")


Order = Annotated[Array | None, "*", int64, on_host, rows_below("R")]


@entry(parts_of_one_width, by_reference=True)
def split_rows(
    x: Annotated[Array, "R C", any_dtype], rows: Order, num_parts: Annotated[int, between(1)] = 1, fill: float = 0.0
) -> tuple[Array, ...]:
    """The parts of the columns of x, each with its rows in another order: y[i] = part[rows[i]].

    Args:
        x: (R, n F), of any dtype.
        rows: (P,) int64 on the host, below R; negative where there is no such row. None for all of them in order.
        num_parts: n.
        fill: what stands in y where rows is negative.

    Returns:
        n arrays (P, F), dtype of x.

    Raises:
        TypeError, ValueError: a dtype, a shape, or parts of unequal widths; IndexError: a row that x has not.
    """


@entry(by_reference=True)
def join_rows(parts: Annotated[Sequence[Array], "R F", any_dtype, not_empty], rows: Order) -> Array:
    """Arrays side by side, with their rows in another order: y[i] = all parts' row rows[i], or 0 where it is negative.

    The gradient of `split_rows` with respect to x, if no row of that was read twice, and rows say where each was put.

    Args:
        parts: n arrays (R, F), all of one dtype, whichever it is.
        rows: (P,) int64 on the host, below R; negative where there is no such row. None for all of them in order.

    Returns:
        (P, n F), dtype of the parts.

    Raises:
        TypeError, ValueError: a dtype or a shape; IndexError: a row that the parts have not.
    """
