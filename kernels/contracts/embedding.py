"""Rows of an embedding table."""

from typing import Annotated

from kernels.contracts.checks import ids_below
from kernels.contracts.entry import Array, entry
from kernels.contracts.plan import gradient, int64, integers


@entry()
def embedding_forward(
    weight: Annotated[Array, "V E"],
    ids: Annotated[Array, "*S", integers, ids_below("V")],
) -> Annotated[Array, "*S E"]:
    """Rows of a table.

    Args:
        weight: (V, E) float32 or float64.
        ids: integers of any shape, each in 0..V-1.

    Returns:
        (*ids.shape, E), weight[ids].

    Raises:
        TypeError: a dtype; ValueError: weight is not (V, E); IndexError: an id out of 0..V-1, which it names.
    """


@entry()
def embedding_backward(
    dy: Annotated[Array, "*S E", gradient],
    ids: Annotated[Array, "*S", integers],
    padding_idx: int | None = None,
) -> tuple[Annotated[Array, "R", int64], Annotated[Array, "R E"]]:
    """Row-wise gradient of `embedding_forward` with respect to weight; all other rows are zero.

    Args:
        dy: (*ids.shape, E) gradient with respect to the output.
        ids: integers, the ids of the forward.
        padding_idx: a row that gets no gradient, or None.

    Returns:
        rows: (R,) int64, the distinct ids in ascending order, without padding_idx.
        values: (R, E) the gradient of each of these rows, summed in the order of ids.

    Raises:
        TypeError, ValueError: a dtype or shape.
    """


@entry()
def embedding_backward_dense(
    dy: Annotated[Array, "*S E", gradient],
    ids: Annotated[Array, "*S", integers],
    num_rows: int,
    padding_idx: int | None = None,
) -> Annotated[Array, "V E"]:
    """Gradient of `embedding_forward` with respect to all of weight; on a GPU the host does not wait for it.

    Args:
        num_rows: V, rows of weight; more than any id.
        others: as in `embedding_backward`.

    Returns:
        (V, E), the values of `embedding_backward` in their rows, to the bit, zeros in the others.

    Raises:
        TypeError, ValueError: a dtype or shape.
    """
