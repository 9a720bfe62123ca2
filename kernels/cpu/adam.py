"""Adam and AdamW in one pass over the four arrays, and the replay of steps without a gradient.

Every loop here rounds each operation on its own, in the order of `kernels.reference.adam`: a row that is brought up to
date later, by another loop, has the same bits as one that was updated at every step.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from kernels.cpu.chunks import CHUNK, rows_per_chunk, run_chunks
from kernels.cpu.gemm import Task
from kernels.cpu.jit import jit_exact
from kernels.scalars import AdamScalars
from kernels.threads import chunks, run_all

COLUMN = {name: column for column, name in enumerate(AdamScalars._fields)}  # of a history
_BETWEEN_LOOKS = 16  # steps of a replay between two looks whether the row has come to rest


class Table(NamedTuple):
    """A parameter (V, E) and its moments, or a row of them (E,)."""

    param: np.ndarray
    m: np.ndarray
    v: np.ndarray


class Missed(NamedTuple):
    """Steps without a gradient."""

    first: np.ndarray  # (R,) the first that each row has missed
    history: np.ndarray  # (S, 9) their scalars
    betas: np.ndarray  # (2, S) two columns of the history
    bounds: np.ndarray  # (S, 2) most and least of `_at_rest`
    constant: bool  # whether all betas of a moment are equal


@jit_exact
def _update(row: Table, grad: np.ndarray, scalars: AdamScalars, scale: float) -> None:
    """One step on arrays (S,); scalars and scale of their dtype, so that the loop stays in it."""
    param, m, v = row
    shrink, l2, beta1, rest1, beta2, rest2, step_size, root_correction, eps = scalars
    for k in range(param.shape[0]):
        g = scale * grad[k]
        if l2 != 0.0:
            g += l2 * param[k]
        m[k] = beta1 * m[k] + rest1 * g
        v[k] = beta2 * v[k] + rest2 * g * g
        param[k] = shrink * param[k] - step_size * m[k] / (np.sqrt(v[k]) * root_correction + eps)


@jit_exact
def _update_chunk(table: Table, grad: np.ndarray, scalars: AdamScalars, scale: float, start: int, stop: int) -> None:
    """`_update` of a piece of arrays (S,)."""
    param, m, v = table
    _update(Table(param[start:stop], m[start:stop], v[start:stop]), grad[start:stop], scalars, scale)


def adam_step_all(
    params: Sequence[np.ndarray],
    grads: Sequence[np.ndarray],
    m: Sequence[np.ndarray],
    v: Sequence[np.ndarray],
    scalars: AdamScalars,
    grad_scale: float = 1.0,
) -> None:
    """See `kernels.adam_step_all`. One round of threads for all arrays."""
    if not params:
        return
    dtype = params[0].dtype
    scalars, scale = scalars.rounded(dtype), dtype.type(grad_scale)
    update: Any = _update_chunk
    tasks: list[Task] = []
    for grad, *arrays in zip(grads, params, m, v, strict=True):
        table = Table(*[array.reshape(-1) for array in arrays])
        parts = chunks(grad.size, CHUNK)
        tasks += [partial(update, table, grad.reshape(-1), scalars, scale, *part) for part in parts]
    run_all(tasks)


@jit_exact
def _update_rows(
    table: Table, rows: np.ndarray, values: np.ndarray, scalars: AdamScalars, scale: float, start: int, stop: int
) -> None:
    for k in range(start, stop):
        row = rows[k]
        _update(Table(table.param[row], table.m[row], table.v[row]), values[k], scalars, scale)


def adam_rows_step(
    param: np.ndarray,
    rows: np.ndarray,
    values: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    scalars: AdamScalars,
    grad_scale: float = 1.0,
) -> None:
    """See `kernels.adam_rows_step`."""
    numbers = scalars.rounded(param.dtype), param.dtype.type(grad_scale)
    run_chunks(_update_rows, len(rows), rows_per_chunk(param.shape[1]), Table(param, m, v), rows, values, *numbers)


@jit_exact
def _step_without_gradient(row: Table, scalars: np.ndarray) -> None:
    """`_update` where scale * grad is 0, with scalars (9,): without an l2, g is 0 and 0 is what it adds."""
    param, m, v = row
    shrink, l2, beta1, rest1, beta2 = scalars[0], scalars[1], scalars[2], scalars[3], scalars[4]
    rest2, step_size, root_correction, eps = scalars[5], scalars[6], scalars[7], scalars[8]
    zero = param.dtype.type(0)
    for k in range(param.shape[0]):
        g = zero
        if l2 != 0.0:
            g += l2 * param[k]
        m[k] = beta1 * m[k] + rest1 * g
        v[k] = beta2 * v[k] + rest2 * g * g
        param[k] = shrink * param[k] - step_size * m[k] / (np.sqrt(v[k]) * root_correction + eps)


@jit_exact
def _at_rest(param: np.ndarray, m: np.ndarray, v: np.ndarray, most: float, least: float) -> bool:
    """Whether no later step can change param, given the largest step size and the smallest eps of those to come.

    |m| never grows without a gradient and the denominator is at least eps, so by the monotony of rounding no later
    change exceeds `bound`; where neither adding nor subtracting it changes param, nothing between does. A 0 in param
    is left to the full loop (its sign may change), and so is a NaN, which fails every comparison.
    """
    if most == np.inf:  # param changes by itself
        return False
    moving = 0
    for k in range(param.shape[0]):
        p = param[k]
        bound = most * np.abs(m[k]) / least
        rests = (p - bound == p) & (p + bound == p) & (p != 0.0) & (v[k] >= 0.0)
        moving += 0 if rests else 1
    return moving == 0


@jit_exact
def _decay(x: np.ndarray, betas: np.ndarray, start: int, constant: bool) -> None:
    """x = beta x + 0 for the betas from `start` on, eight at a time; `constant`: they are all equal."""
    zero = x.dtype.type(0)
    stop = betas.shape[0]
    while start + 8 <= stop:
        b0, b1, b2, b3 = betas[start], betas[start + 1], betas[start + 2], betas[start + 3]
        b4, b5, b6, b7 = betas[start + 4], betas[start + 5], betas[start + 6], betas[start + 7]
        changed = 0
        for k in range(x.shape[0]):
            y = b3 * (b2 * (b1 * (b0 * x[k] + zero) + zero) + zero) + zero
            y = b7 * (b6 * (b5 * (b4 * y + zero) + zero) + zero) + zero
            changed += 1 if y != x[k] else 0
            x[k] = y
        start += 8
        if constant and changed == 0:
            return  # the smallest numbers round to themselves: nothing changes any more
    for t in range(start, stop):
        for k in range(x.shape[0]):
            x[k] = betas[t] * x[k] + zero


@jit_exact
def _replay_rows(table: Table, rows: np.ndarray, missed: Missed, start: int, stop: int) -> None:
    """The missed steps of some rows."""
    first, history, betas, bounds, constant = missed
    for k in range(start, stop):
        p, m, v = table.param[rows[k]], table.m[rows[k]], table.v[rows[k]]
        t = first[k]
        while t < history.shape[0]:
            if (t - first[k]) % _BETWEEN_LOOKS == 0 and _at_rest(p, m, v, bounds[t, 0], bounds[t, 1]):
                break
            _step_without_gradient(Table(p, m, v), history[t])
            t += 1
        _decay(m, betas[0], t, constant)
        _decay(v, betas[1], t, constant)


def adam_replay(
    param: np.ndarray, m: np.ndarray, v: np.ndarray, rows: np.ndarray, first: np.ndarray, history: np.ndarray
) -> None:
    """See `kernels.adam_replay`."""
    history = np.ascontiguousarray(history, param.dtype)
    betas = np.ascontiguousarray(history[:, [COLUMN["beta1"], COLUMN["beta2"]]].T)
    constant = bool((betas == betas[:, :1]).all())
    size = rows_per_chunk(param.shape[1] * max(len(history), 1))
    missed = Missed(first, history, betas, _bounds(history), constant)
    run_chunks(_replay_rows, len(rows), size, Table(param, m, v), rows, missed)


def _bounds(history: np.ndarray) -> np.ndarray:
    """(S, 2): from each step on, the largest step size and the smallest eps; inf where param changes without m."""
    shrink, l2, step_size, eps = (history[:, COLUMN[name]] for name in ("shrink", "l2", "step_size", "eps"))
    tame = (shrink == 1) & (l2 == 0) & (eps > 0) & (step_size >= 0)
    most = np.maximum.accumulate(np.where(tame, step_size, np.inf)[::-1])[::-1]
    return np.ascontiguousarray(np.stack([most, np.minimum.accumulate(eps[::-1])[::-1]], 1), history.dtype)
