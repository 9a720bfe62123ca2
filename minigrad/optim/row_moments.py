"""Adam on a table of which each step uses some rows: the same bits as on all of it, at the cost of those rows.

Without a gradient an Adam step still shrinks a row's moments and moves its parameters. Such updates are postponed: the
scalars of every step are kept, and a row makes up for its missed steps (``kernels.adam_replay``, one row at a time in
the first cache) before it is read or updated again. The table and its two moments are ``LazyParameter`` tensors, so
nobody sees a row that is behind. A row whose moments are all zero moves only by weight decay; without one it costs
nothing, ever.

Which step each row has made is known to the host, also where the table lies on a GPU: there the host waits to learn
which rows are used.

Contract: parameters and moments are at every moment anybody reads them those of ``kernels.adam_step_all`` with zeros
for the missing gradients, to the bit, for any learning rates and options of the steps.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np

import kernels
from kernels import ProcessLock
from minigrad.lazy import LazyParameter
from minigrad.rows import RowGradient
from minigrad.tensor import Tensor

HISTORY = 1024  # steps that may be postponed; then everything is flushed
_flushing = ProcessLock()  # threads that only read the tables flush them too


def _one_at_a_time(method: Callable[..., Any]) -> Callable[..., Any]:
    """``method``, which one thread may run at a time."""

    @functools.wraps(method)
    def wrapped(*args: Any) -> Any:
        with _flushing.held:
            return method(*args)

    return wrapped


class RowMoments:
    """A table and its moments, some rows of which may have updates pending.

    Args:
        param: the table (V,E), in C order.
        m, v: its moments, same shape and dtype, in C order.
        fresh: whether the moments are zeros that nobody has written to.
    """

    def __init__(self, param: LazyParameter, m: LazyParameter, v: LazyParameter, fresh: bool = False) -> None:
        self.param, self.m, self.v = param, m, v
        for tensor in (m, v):
            if tensor.pending is not None:
                tensor.pending.flush_for(tensor)
        num_rows = param.shape[0]
        self._history = np.zeros((HISTORY, len(kernels.AdamScalars._fields)), param.dtype)
        self._count = 0  # steps in the history
        self._done = np.zeros(num_rows, np.int64)  # how many of them each row has made
        self._idle = True  # whether they leave a row alone whose moments are zero
        self._moving = np.zeros(num_rows, bool) if fresh else None  # rows whose moments may not be zero; None: unknown
        m.pending = v.pending = self

    def belongs_to(self, param: Tensor, m: Any, v: Any) -> bool:
        """Whether it was made for these tensors, and they still have one shape and dtype."""
        same = self.param is param and self.m is m and self.v is v
        return same and m.shape == v.shape == param.shape == (*self._done.shape, *m.shape[1:]) and (
            m.dtype == v.dtype == param.dtype == self._history.dtype
        )  # fmt: skip

    @_one_at_a_time
    def step(self, grad: RowGradient, scalars: kernels.AdamScalars, grad_scale: Any) -> None:
        """Update the rows that have a gradient, by ``kernels.adam_scalars`` of this step; postpone the others."""
        if self.param.pending not in (None, self):
            self.param.pending.flush_for(self.param)  # another optimiser's steps came first
        if self._moving is None:
            self._moving = self._nonzero_rows()
        rows = kernels.to_host(grad.rows)
        self._catch_up(rows)
        param, m, v = (tensor.raw_array() for tensor in (self.param, self.m, self.v))
        kernels.adam_rows_step(param, grad.rows, grad.values, m, v, scalars, grad_scale)
        del param, m, v  # for is_shared
        self._record(scalars)
        self._done[rows] = self._count
        self._moving[rows] = True
        self.param.pending = self
        exposed = self.m.is_shared() or self.v.is_shared()  # and may be written to
        if exposed or self.param.is_shared() or self._count == HISTORY:
            self.flush()
        if exposed:
            self._moving = None

    def _record(self, scalars: kernels.AdamScalars) -> None:
        entry = self._history[self._count]
        entry[:] = scalars
        rounded = scalars.rounded(entry.dtype)
        still = rounded.shrink == 1 and rounded.l2 == 0 and rounded.eps > 0 and np.isfinite(rounded.step_size)
        self._idle = bool(self._idle and still)
        self._count += 1

    def _nonzero_rows(self) -> np.ndarray:
        """(V,) bool; by the bits, since -0.0 is not where a step without a gradient stays."""
        bits = [tensor.raw_array().view(f"u{tensor.element_size()}") for tensor in (self.m, self.v)]
        return kernels.to_host(np.logical_or(bits[0].any(axis=1), bits[1].any(axis=1)))

    def _behind(self, rows: np.ndarray) -> np.ndarray:
        """Those of ``rows`` that a missed step would change."""
        assert self._moving is not None  # known since the first step of the history
        behind = self._done[rows] < self._count
        return rows[behind & self._moving[rows]] if self._idle else rows[behind]

    def _catch_up(self, rows: np.ndarray) -> None:
        """Bring ``rows`` (ascending, distinct) to the last step."""
        rows = self._behind(rows) if self._count else rows[:0]
        if len(rows):
            param, m, v = (tensor.raw_array() for tensor in (self.param, self.m, self.v))
            which, first = (kernels.like(indices, param) for indices in (rows, self._done[rows]))
            kernels.adam_replay(param, m, v, which, first, self._history[: self._count])
            self._done[rows] = self._count
            if self._moving is not None and not self._idle:  # an L2 term moves rows that have no gradient yet
                self._moving[rows] = True

    @_one_at_a_time
    def flush(self) -> None:
        """Bring every row to the last step, and begin a new history."""
        if self._count:
            self._catch_up(np.arange(len(self._done)))
            self._done[:] = 0
            self._count, self._idle = 0, True
        if self.param.pending is self:
            self.param.pending = None

    @_one_at_a_time
    def flush_for(self, tensor: Tensor) -> None:
        """``flush``; who reads a moment may write to it, so which rows are zero is then found out anew."""
        self.flush()
        if tensor is not self.param:
            self._moving = None

    @_one_at_a_time
    def flush_rows(self, ids: np.ndarray) -> None:
        """Bring the rows ``ids`` (integers of any shape) to the last step."""
        ids = kernels.to_host(ids)
        if ids.dtype.kind not in "iu" or (ids.size and (ids.min() < 0 or ids.max() >= len(self._done))):
            return  # the reader will refuse them
        if self._count:
            self._catch_up(np.unique(self._behind(ids.reshape(-1))))

    def __deepcopy__(self, memo: dict[int, Any]) -> RowMoments:
        self.flush()
        param, m, v = (deepcopy(tensor, memo) for tensor in (self.param, self.m, self.v))
        copied = RowMoments(param, m, v)
        memo[id(self)] = copied
        return copied
