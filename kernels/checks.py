"""Argument checks of the public entries, and their error texts.

Every message names the function, the argument, what was got and what was expected. The checks that look at values
(lengths, ids, targets) read an array once; the others look at shapes and dtypes only, since a decoding step pays for
them. Values on a GPU are not looked at, since the host would wait for them: there the kernels do it, and what they find
is raised when numbers are next fetched (`kernels.to_host`).
"""

import math
from typing import Any

import numpy as np

UINT32_LIMIT, UINT64_LIMIT = 2**32 - 1, 2**64 - 1
FLOATING = (np.dtype(np.float32), np.dtype(np.float64))


def check_dtypes(function: str, **arrays: Any) -> None:
    """All given arrays (None is skipped) are float32, or all are float64.

    Raises:
        TypeError: an array of another dtype, or two dtypes in one call.
    """
    first_name, first = "", None
    for name, array in arrays.items():
        if array is None:
            continue
        if array.dtype not in FLOATING:
            raise TypeError(f"{function}: {name} has dtype {array.dtype}; expected float32 or float64")
        if first is None:
            first_name, first = name, array.dtype
        elif array.dtype != first:
            raise TypeError(f"{function}: {name} has dtype {array.dtype}; expected {first} as {first_name}")


def check_integer(function: str, name: str, array: Any) -> None:
    """The array holds integers. Raises TypeError."""
    if array.dtype.kind not in "iu":
        raise TypeError(f"{function}: {name} has dtype {array.dtype}; expected an integer dtype")


def check_rank(function: str, name: str, array: Any, rank: int, formula: str) -> None:
    """The array has `rank` dimensions, written as `formula`. Raises ValueError."""
    if array.ndim != rank:
        raise ValueError(f"{function}: {name} has shape {array.shape}; expected {rank} dimensions {formula}")


def check_shape(
    function: str, name: str, array: Any, expected: tuple[int, ...], formula: str, **origins: tuple[int, ...]
) -> None:
    """The array has the expected shape, which follows by `formula` from the shapes of `origins`. Raises ValueError."""
    if array.shape != expected:
        source = " and ".join(f"{origin} {shape}" for origin, shape in origins.items())
        raise ValueError(f"{function}: {name} has shape {array.shape}; expected {formula} = {expected} from {source}")


def check_lengths(function: str, lengths: Any, num_steps: float, batch_size: int) -> None:
    """lengths is an integer array (N,) with values 0..T. Raises TypeError or ValueError."""
    if not isinstance(lengths, np.ndarray):
        raise TypeError(f"{function}: lengths is a {type(lengths).__name__}; expected a NumPy array, on the host")
    check_integer(function, "lengths", lengths)
    if lengths.shape != (batch_size,):
        raise ValueError(f"{function}: lengths has shape {lengths.shape}; expected (N,) = ({batch_size},) from x")
    if batch_size and (lengths.min() < 0 or lengths.max() > num_steps):
        worst = int(lengths.min() if lengths.min() < 0 else lengths.max())
        raise ValueError(f"{function}: lengths holds {worst}; expected values in 0..T = 0..{num_steps} from x")


def check_ids(function: str, name: str, ids: Any, limit: int, limit_name: str) -> None:
    """Every id on the host is in 0..limit-1. Raises IndexError naming the first id that is not."""
    if isinstance(ids, np.ndarray) and ids.size and (ids.min() < 0 or ids.max() >= limit):
        worst = int(ids[(ids < 0) | (ids >= limit)][0])
        raise IndexError(f"{function}: {name} holds {worst}; expected 0..{limit_name}-1 = 0..{limit - 1}")


def check_rows(function: str, rows: Any, limit: int) -> None:
    """rows (R,) is int64, ascending without repetition, in 0..limit-1. Raises TypeError, ValueError, IndexError."""
    if rows.dtype != np.int64:
        raise TypeError(f"{function}: rows has dtype {rows.dtype}; expected int64")
    check_rank(function, "rows", rows, 1, "(R,)")
    if isinstance(rows, np.ndarray) and rows.size and not (rows[1:] > rows[:-1]).all():
        raise ValueError(f"{function}: rows holds {rows.tolist()[:8]}; expected distinct rows in ascending order")
    check_ids(function, "rows", rows, limit, "V")


def check_range(function: str, name: str, value: float, low: float, high: float) -> None:
    """low <= value <= high; a NaN fails. Raises ValueError."""
    if not low <= value <= high:
        bound = f"a value >= {low}" if math.isinf(high) else f"a value in [{low}, {high}]"
        raise ValueError(f"{function}: {name} is {value}; expected {bound}")


def check_recurrent(
    name: str,
    num_gates: int,
    x: np.ndarray,
    h0: np.ndarray,
    weight_ih: np.ndarray,
    weight_hh: np.ndarray,
    biases: dict[str, np.ndarray | None],
    lengths: np.ndarray | None,
) -> None:
    """The shapes that LSTM and GRU have in common."""
    check_rank(name, "h0", h0, 2, "(N, H)")
    batch_size, hidden_size = h0.shape
    if x.ndim == 2:
        check_packed(name, x, batch_size, lengths)
    else:
        check_rank(name, "x", x, 3, "(T, N, I)")
        check_shape(name, "h0", h0, (x.shape[1], hidden_size), "(N, hidden_size)", x=x.shape)
        if lengths is not None:
            check_lengths(name, lengths, len(x), batch_size)
    rows, text, input_size = num_gates * hidden_size, f"{num_gates}*hidden_size", x.shape[-1]
    check_shape(name, "weight_ih", weight_ih, (rows, input_size), f"({text}, I)", x=x.shape, h0=h0.shape)
    check_shape(name, "weight_hh", weight_hh, (rows, hidden_size), f"({text}, hidden_size)", h0=h0.shape)
    for bias_name, bias in biases.items():
        if bias is not None:
            check_shape(name, bias_name, bias, (rows,), f"({text},)", h0=h0.shape)


def check_packed(name: str, x: np.ndarray, batch_size: int, lengths: np.ndarray | None) -> None:
    """x (P, I) has as many tokens as lengths (N,) says. Raises TypeError or ValueError."""
    if lengths is None:
        raise ValueError(f"{name}: lengths is None; expected (N,) integers, since x is packed, {x.shape}")
    check_lengths(name, lengths, math.inf, batch_size)
    check_shape(name, "x", x, (int(lengths.sum()), x.shape[1]), "(P, I)", lengths=lengths.shape)


def check_output_gradients(name: str, cache: Any, dy: np.ndarray | None, dstates: dict[str, np.ndarray | None]) -> None:
    """Incoming gradients have the shapes of y and of the final states."""
    shape = cache.output_shape
    if dy is not None:
        check_shape(name, "dy", dy, shape, "(T, N, H)" if len(shape) == 3 else "(P, H)", y=shape)
    for dstate_name, dstate in dstates.items():
        if dstate is not None:
            check_shape(name, dstate_name, dstate, (cache.batch_size, shape[-1]), "(N, H)", y=shape)


def check_stream(name: str, count: int, seed: int, step: int, site: int) -> None:
    """The numbers fit into the key and the counter."""
    check_range(name, "count", count, 0, 4 * (UINT32_LIMIT + 1))
    check_range(name, "seed", seed, 0, UINT64_LIMIT)
    check_range(name, "step", step, 0, UINT64_LIMIT)
    check_range(name, "site", site, 0, UINT32_LIMIT)
