"""All steps of an LSTM layer in one launch: the recurrent matrix stays in registers (recurrent.cuh).

In bfloat16, and in float32 where `kernels.allow_tf32` lets its operands be rounded. The kernels exist for some widths:
H is padded to the next one with weights of zero, whose units stay at zero. All blocks of a launch have to be on the
device at once. A batch of more rows than that takes several launches, each for some groups of its sorted rows; where
not even one group fits, or no width serves, `plan` says None, and the layer takes a step at a time.

What differs from the CPU's bf16, which rounds operands only: y and the gates that the backward reads are kept in
bfloat16, each off by up to 2^-9 of itself.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from kernels.cuda.recurrent import pack, places
from kernels.cuda.recurrent.lstm_stepwise import LSTMWeights
from kernels.cuda.runtime import geometry
from kernels.cuda.runtime.arrays import bf16, column_sums, float32
from kernels.cuda.runtime.capture import refuse, scratch
from kernels.cuda.runtime.cublas import gemm
from kernels.cuda.runtime.geometry import Launch
from kernels.cuda.runtime.launcher import Kernel, current_device, error_word, module
from kernels.cuda.runtime.switches import switches
from kernels.packing import Packing
from kernels.switches import tf32_allowed

DTYPES = {"bf16": np.uint16, "tf32": np.float32}  # of y, gates and dgates, and of the operands of products


class Direction(NamedTuple):
    """How one direction of a layer is launched."""

    name: str  # of the kernel, without type and width
    kernel: Kernel
    launch: Launch  # of as many groups as fit
    rows: int  # of a group
    polls: bool = False  # y has to be marked


class Plan(NamedTuple):
    """How a layer is launched."""

    kind: str
    width: int  # H padded
    forward: Direction
    backward: Direction


def plan(packing: Packing, H: int, in_bf16: bool) -> Plan | None:
    """The launches of a layer of H units, or None where it has to take a step at a time."""
    kind = "bf16" if in_bf16 else "tf32"
    if not switches.persistent or not (in_bf16 or tf32_allowed()):
        return None
    if not packing.num_tokens or not 0 < H <= geometry.WIDE[kind][-1]:
        return None
    width = geometry.lstm_width(H, kind)
    forward = _direction("lstm_forward", packing.batch_size, width, kind)
    backward = _direction("lstm_backward", packing.batch_size, width, kind)
    return None if forward is None or backward is None else Plan(kind, width, forward, backward)


def _direction(name: str, N: int, width: int, kind: str) -> Direction | None:
    """One direction's launch, None where not even one group fits."""
    narrow = width in geometry.NARROW[kind]
    name = name if narrow else f"{name}_wide"
    polls = switches.marked and narrow and name == "lstm_forward" and kind != "tf32"
    variant = f"{name}_marked" if polls else name
    kernel: Kernel = getattr(module(f"recurrent/{name}"), f"{variant}_{kind}_{width}")
    launch: Launch = getattr(geometry, name)(N, width, kind)
    blocks, groups = launch.grid
    rows = {
        "lstm_forward": geometry.FORWARD_ROWS,
        "lstm_forward_wide": geometry.wide_rows(kind),
        "lstm_backward": geometry.BACKWARD_ROWS,
        "lstm_backward_wide": geometry.backward_wide_rows(width),
    }
    fitting = (launch._replace(grid=(blocks, count)) for count in range(groups, 0, -1))
    found = next((some for some in fitting if kernel.fits(some)), None)
    return None if found is None else Direction(name, kernel, found, rows[name], polls)


class Part(NamedTuple):
    """Some groups of a batch, and how a kernel finds its rows: the addresses that it gets lie as if these `rows` rows,
    from `first_row` on, were all there are. Its row of token (t, n) is first[t] + n, the state's `rows` more, and first
    is `shift` larger than that of the batch."""

    launch: Launch
    first_row: int
    rows: int
    shift: int
    before: int = 0  # the row of the state buffer at which the states before the first step begin
    token: int = 0  # the row of an array of tokens that first counts from

    def states(self, array: Any) -> Any:
        """A state buffer, or an array with a row for each row of the batch."""
        return self._from(array, self.before + self.first_row)

    def tokens(self, array: Any) -> Any:
        """An array with a row for each token."""
        return self._from(array, self.token + self.first_row - self.shift)

    def of_rows(self, array: Any) -> Any:
        """An array with an element for each row of the batch."""
        return array[self.first_row :] if self.first_row else array

    def _from(self, array: Any, row: int) -> Any:
        if array is None or row == 0:
            return array
        return np.uint64(array.data.ptr + row * array.strides[0])


def _parts(direction: Direction, N: int) -> Iterator[Part]:
    """The launches of a batch of N sorted rows."""
    blocks, groups = direction.launch.grid
    size = groups * direction.rows
    for first_row in range(0, N, size):
        rows = min(size, N - first_row)
        launch = direction.launch._replace(grid=(blocks, geometry.blocks_of(rows, direction.rows)))
        yield Part(launch, first_row, rows, N - rows)


class Cache(NamedTuple):
    """What the backward needs; sequences packed, H padded. S: see DTYPES."""

    x: Any  # (P, I) S
    activated: Any  # (P, 4H) S
    y: Any  # (N + P, H) S, state buffer
    c: Any  # (N + P, H) float32, state buffer
    packing: Packing
    weight_ih: Any  # (4H, I) S
    packed: Any  # weight_hh in the order of the backward's registers
    weight_hh: Any  # (4H, H) float32, as it was given
    has_bias: bool
    plan: Plan

    def backward(self, dy: Any, dh_n: Any, dc_n: Any, consume: bool) -> tuple[Any, Any, Any, Any, Any, Any]:
        """See `kernels.lstm_backward`; there is nothing to consume."""
        packing, width, H, empty = self.packing, self.plan.width, self.weight_hh.shape[1], current_device().cupy.empty
        dy = None if dy is None else _padded_columns(dy, width)
        dgates, dh0, dc0 = _recurrence_backward(dy, dh_n, dc_n, self)
        P, I = self.x.shape  # noqa: E741
        shapes = (P, I), (4 * width, I), (4 * width, width)
        dx, dweight_ih, dweight_hh = (empty(shape, np.float32) for shape in shapes)
        gemm(dgates, self.weight_ih, dx)
        gemm(dgates, self.x, dweight_ih, transpose_a=True)
        gemm(dgates, places.previous_states(packing, self.y), dweight_hh, transpose_a=True)
        dbias = _cut_rows(column_sums(dgates), H) if self.has_bias else None
        dweight_hh = _cut_rows(_cut(dweight_hh, H), H)
        states = places.unsorted(packing, dh0, dc0, H)
        return dx, *states, _cut_rows(dweight_ih, H), dweight_hh, dbias


class Run(NamedTuple):
    """A layer on its way through the steps."""

    cache: Cache  # is filled
    input_part: Any  # (P, 4H) float32; the bias, and the products of the tokens that have come
    weights: Any  # the recurrent matrix in the order of the forward's registers
    flags: Any  # a counter of zero for each group of rows

    def advance(self) -> None:
        """All steps, of a run whose tokens are there."""
        cache, packing = self.cache, self.cache.packing
        gemm(cache.x, cache.weight_ih, self.input_part, transpose_b=True, accumulate=cache.has_bias)
        for part in _parts(cache.plan.forward, packing.batch_size):
            self._launch(part, *places.lengths_and_first(packing, part.shift), self.flags)

    def extend(self, x: Any, start: int) -> Any:
        """See `kernels.incremental_lstm_step`."""
        cache, packing = self.cache, self.cache.packing
        refuse("a layer whose input comes some steps at a time")
        N, stop = packing.batch_size, packing.stop(start, len(x))
        piece = slice(packing.tokens_before(start), packing.tokens_before(stop))
        if len(x):
            cache.x[piece] = bf16(x) if cache.x.dtype == np.uint16 else x
            gemm(cache.x[piece], cache.weight_ih, self.input_part[piece], transpose_b=True, accumulate=cache.has_bias)
            before, _, alive = packing.steps[start].tolist()
            for part in _parts(cache.plan.forward, alive):
                placed = part._replace(before=before, token=before + alive - N)
                flags = current_device().cupy.zeros(part.launch.grid[1], np.uint32)
                self._launch(placed, *places.piece(packing, start, stop, part.shift), flags)
        return _cut(_in_float32(cache.y[N:][piece]), cache.weight_hh.shape[1])

    def finish(self) -> tuple[Any, Any, Any, Cache]:
        """See `kernels.incremental_lstm_finish`."""
        cache, packing = self.cache, self.cache.packing
        y, H = cache.y[packing.batch_size :], cache.weight_hh.shape[1]
        return _cut(_in_float32(y), H), *places.end_states(packing, cache.y, cache.c, H), cache

    def _launch(self, part: Part, lengths: Any, first: Any, flags: Any) -> None:
        """The steps of a part of the rows."""
        cache = self.cache
        flag = flags[part.first_row // cache.plan.forward.rows :] if part.first_row else flags
        arguments = self.weights, part.tokens(self.input_part), part.of_rows(lengths), first, part.states(cache.y)
        rest = part.tokens(cache.activated), part.states(cache.c), flag, error_word(), np.int32(part.rows)
        cache.plan.forward.kernel(part.launch, (*arguments, *rest))


def start(
    tokens: Any, h0: Any, c0: Any, layer: LSTMWeights, packing: Packing, how: Plan, need_gradients: bool
) -> Run:  # fmt: skip
    """What the steps need, in one launch; tokens (P, I) packed, or None where they will come some steps at a time."""
    weight_ih, weight_hh, bias, *_ = layer
    (N, H), P, width, empty = h0.shape, packing.num_tokens, how.width, current_device().cupy.empty
    dtype, I = DTYPES[how.kind], weight_ih.shape[1]  # noqa: E741
    y, c = scratch((N + P, width), dtype, h0), empty((N + P, width), np.float32)
    gates, input_part = empty((P, 4 * width), dtype), empty((P, 4 * width), np.float32)
    flags = empty(geometry.blocks_of(N, how.forward.rows), np.uint32)
    x = empty((P, I), dtype) if tokens is None or how.kind == "bf16" else tokens
    converted = None if tokens is None or x is tokens else x
    matrix = None if how.kind == "tf32" and width == H else empty((4 * width, I), dtype)
    orders = [_order(current_device(), direction.name, how.kind, H, width) for direction in (how.forward, how.backward)]
    words = orders[0].size // orders[0].shape[-1]
    weights, back = empty(words, np.uint32), empty(words, np.uint32) if need_gradients else None
    rows = None if packing.order is None else places.places_of(packing).order
    made = (0 if array is None else array.size for array in (converted, matrix, weights, back))
    launch = geometry.lstm_prepare(*made, N * width, 0 if bias is None else input_part.size)
    size = np.uint64(0 if converted is None else converted.size)
    prepared = tokens, converted, size, weight_ih, matrix, np.int32(I), weight_hh, orders[0], weights
    states = orders[1], back, np.int32(words), h0, c0, rows, y, c, flags, np.int32(flags.size), np.int32(N)
    biases = bias, input_part, np.int32(P), np.int32(H), np.int32(width)
    getattr(module("recurrent/lstm_prepare"), f"lstm_prepare_{how.kind}")(launch, (*prepared, *states, *biases))
    if how.forward.polls:
        _, first = places.lengths_and_first(packing)
        numbers = map(np.int32, (packing.num_steps, N, width))
        module("recurrent/lstm_prepare").lstm_mark(geometry.lstm_mark(P * width), (y, first, *numbers))
    matrix = weight_ih if matrix is None else matrix
    cache = Cache(x, gates, y, c, packing, matrix, back, weight_hh, bias is not None, how)
    return Run(cache, input_part, weights, flags)


def _recurrence_backward(dy: Any, dh_n: Any, dc_n: Any, cache: Cache) -> tuple[Any, Any, Any]:
    """dgates (P, 4H), and the gradients of the initial states (N, H) in sorted order."""
    packing, (kind, width, _, direction), empty = cache.packing, cache.plan, current_device().cupy.empty
    N = packing.batch_size
    dgates = scratch(cache.activated.shape, DTYPES[kind], cache.c)
    dh, dc, dh0, dc0 = (empty((N, width), np.float32) for _ in range(4))
    groups, each = geometry.blocks_of(N, direction.rows), 1
    sums: tuple[Any, ...] = ()
    if direction.name == "lstm_backward_wide":
        num_sums, num_flags = geometry.backward_wide_buffers(N, width, kind)
        sums, each = (empty(num_sums, np.float32),), num_flags // groups
    flags = empty(groups * each, np.uint32)
    places.start_states(packing, dh_n, dc_n, cache.weight_hh.shape[1], h=dh, c=dc, flags=flags)
    for part in _parts(direction, N):
        lengths, first = places.lengths_and_first(packing, part.shift)
        flag = flags[part.first_row // direction.rows * each :] if part.first_row else flags
        given = part.tokens(cache.activated), part.states(cache.c), part.tokens(dy), part.states(dh), part.states(dc)
        found = part.tokens(dgates), part.states(dh0), part.states(dc0)
        arguments = cache.packed, part.of_rows(lengths), first, *given, *found, *sums, flag, error_word()
        direction.kernel(part.launch, (*arguments, np.int32(part.rows)))
    return dgates, dh0, dc0


def _in_float32(x: Any) -> Any:
    """x itself, or what its bfloat16 numbers are."""
    return x if x.dtype == np.float32 else float32(x)


# Padding of H to the width of a kernel ------------------------------------------------------------------------------


@cache
def _order(device: Any, name: str, kind: str, H: int, width: int) -> Any:
    """Where a kernel wants each weight, on the device; it stays there."""
    order = getattr(pack, f"{name.removeprefix('lstm_')}_order")(width, kind)
    return device.cupy.asarray(pack.within(order, width, H) if width > H else order)


def _padded_columns(matrix: Any, width: int) -> Any:
    """(M, H) -> (M, width), zeros in the padding; the array itself where there is none."""
    if matrix.shape[1] == width:
        return matrix
    padded = np.zeros((len(matrix), width), matrix.dtype, like=matrix)
    padded[:, : matrix.shape[1]] = matrix
    return padded


def _cut(matrix: Any, H: int) -> Any:
    """(..., width) -> (..., H)."""
    return matrix if matrix.shape[-1] == H else matrix[..., :H].copy()


def _cut_rows(matrix: Any, H: int) -> Any:
    """(4 width, ...) -> (4H, ...)."""
    width = len(matrix) // 4
    if width == H:
        return matrix
    rest = matrix.shape[1:]
    return matrix.reshape(4, width, *rest)[:, :H].reshape(4 * H, *rest)
