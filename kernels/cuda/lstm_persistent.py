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

from kernels.cuda import geometry, pack, places
from kernels.cuda.arrays import bf16, column_sums, gather, rows_of
from kernels.cuda.capture import scratch
from kernels.cuda.cublas import gemm
from kernels.cuda.geometry import Launch
from kernels.cuda.launcher import Kernel, current_device, error_word, module
from kernels.packing import Packing
from kernels.switches import tf32_allowed

enabled = True  # False: every layer takes a step at a time
marked = False  # True: blocks poll the data itself, where there is a kernel that does (lstm_forward.cu)

DTYPES = {"bf16": np.uint16, "tf32": np.float32}  # of y, gates and dgates, and of the operands of products
NOT_YET = 0xFFFF


class Way(NamedTuple):
    """How one direction of a layer is launched."""

    name: str  # of the kernel, without type and width
    kernel: Kernel
    launch: Launch  # of as many groups as fit
    rows: int  # of a group


class Plan(NamedTuple):
    """How a layer is launched."""

    kind: str
    width: int  # H padded
    forward: Way
    backward: Way


class Cache(NamedTuple):
    """What the backward needs; sequences packed, H padded. S: see DTYPES."""

    x: Any  # (P, I) S
    activated: Any  # (P, 4H) S
    y: Any  # (N + P, H) S, state buffer
    c: Any  # (N + P, H) float32, state buffer
    packing: Packing
    weight_ih: Any  # (4H, I) S
    weight_hh: Any  # (4H, H) float32, without padding
    has_bias: bool
    plan: Plan

    @property
    def gates(self) -> Any:
        """An array of the layer's dtype."""
        return self.c

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Of y: (T, N, H), or (P, H) for a packed x."""
        return self.packing.shape(self.weight_hh.shape[1])

    @property
    def batch_size(self) -> int:
        """N."""
        return self.packing.batch_size


def plan(packing: Packing, H: int, in_bf16: bool) -> Plan | None:
    """The launches of a layer of H units, or None where it has to take a step at a time."""
    kind = "bf16" if in_bf16 else "tf32"
    if not enabled or not (in_bf16 or tf32_allowed()) or not packing.num_tokens or not 0 < H <= geometry.WIDE[kind][-1]:
        return None
    width = geometry.lstm_width(H, kind)
    forward = _way("lstm_forward", packing.batch_size, width, kind)
    backward = _way("lstm_backward", packing.batch_size, width, kind)
    return None if forward is None or backward is None else Plan(kind, width, forward, backward)


def _way(name: str, N: int, width: int, kind: str) -> Way | None:
    """One direction's launch, None where not even one group fits."""
    narrow = width in geometry.NARROW[kind]
    name = name if narrow else f"{name}_wide"
    polls = marked and narrow and name == "lstm_forward" and kind != "tf32"
    kernel: Kernel = getattr(module(name), f"{name}_marked_{kind}_{width}" if polls else f"{name}_{kind}_{width}")
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
    return None if found is None else Way(name, kernel, found, rows[name])


class Part(NamedTuple):
    """Some groups of a batch, and how a kernel finds its rows: the addresses that it gets lie as if these `rows` rows,
    from `first_row` on, were all there are. Its row of token (t, n) is first[t] + n, the state's `rows` more, and first
    is `shift` larger than that of the batch."""

    launch: Launch
    first_row: int
    rows: int
    shift: int

    def states(self, array: Any) -> Any:
        """A state buffer, or an array with a row for each row of the batch."""
        return self._from(array, self.first_row)

    def tokens(self, array: Any) -> Any:
        """An array with a row for each token."""
        return self._from(array, self.first_row - self.shift)

    def _from(self, array: Any, row: int) -> Any:
        if array is None or row == 0:
            return array
        return np.uint64(array.data.ptr + row * array.strides[0])


def _parts(way: Way, N: int) -> Iterator[Part]:
    """The launches of a batch of N sorted rows."""
    blocks, groups = way.launch.grid
    size = groups * way.rows
    for first_row in range(0, N, size):
        rows = min(size, N - first_row)
        launch = way.launch._replace(grid=(blocks, geometry.blocks_of(rows, way.rows)))
        yield Part(launch, first_row, rows, N - rows)


def forward(
    tokens: Any, h0: Any, c0: Any, weight_ih: Any, weight_hh: Any, bias: Any, packing: Packing, how: Plan
) -> tuple[Any, Any, Any, Cache]:
    """y, h_n, c_n and the cache; tokens (P, I) packed, the others as in `kernels.lstm_forward`."""
    (N, H), width, P, dtype = h0.shape, how.width, packing.num_tokens, DTYPES[how.kind]
    x = bf16(tokens) if how.kind == "bf16" else tokens
    weight_ih = _padded_rows(weight_ih, H, width, dtype)
    input_part = _input_part(x, weight_ih, bias, H, width)
    y, c = scratch((N + P, width), dtype, h0), np.empty((N + P, width), np.float32, like=h0)
    if marked:
        y.view(np.uint16)[N:].fill(NOT_YET)
    flags = np.empty(geometry.blocks_of(N, how.forward.rows), np.uint32, like=h0)
    places.start_states(packing, h0, c0, H, **{"h_bf16" if how.kind == "bf16" else "h": y}, c=c, flags=flags)
    gates = np.empty((P, 4 * width), dtype, like=h0)
    weights = _packed(weight_hh, how.forward.name, how.kind, width)
    for part in _parts(how.forward, N):
        lengths, first = places.lengths_and_first(packing, part.shift)
        flag = flags[part.first_row // how.forward.rows :]
        arguments = weights, part.tokens(input_part), lengths[part.first_row :], first, part.states(y)
        rest = part.tokens(gates), part.states(c), flag, error_word(), np.int32(part.rows)
        how.forward.kernel(part.launch, (*arguments, *rest))
    saved = Cache(x, gates, y, c, packing, weight_ih, weight_hh, bias is not None, how)
    return _cut(places.unpack(packing, y[N:]), H), *places.end_states(packing, y, c, H), saved


def backward(dy: Any, dh_n: Any, dc_n: Any, cache: Cache) -> tuple[Any, Any, Any, Any, Any, Any]:
    """The gradients of `kernels.lstm_backward`; dy (P, H) packed or None."""
    packing, width = cache.packing, cache.plan.width
    P, H = packing.num_tokens, cache.weight_hh.shape[1]
    dy = None if dy is None else _padded_columns(dy, width)
    dgates, dh0, dc0 = _recurrence_backward(dy, dh_n, dc_n, cache)
    I = cache.x.shape[1]  # noqa: E741
    shapes = (P, I), (4 * width, I), (4 * width, width)
    dx, dweight_ih, dweight_hh = (np.empty(shape, np.float32, like=dh0) for shape in shapes)
    gemm(dgates, cache.weight_ih, dx)
    gemm(dgates, cache.x, dweight_ih, transpose_a=True)
    gemm(dgates, places.previous_states(packing, cache.y), dweight_hh, transpose_a=True)
    dbias = _cut_rows(column_sums(dgates), H) if cache.has_bias else None
    dweight_hh = _cut_rows(_cut(dweight_hh, H), H)
    states = places.unsorted(packing, dh0, dc0, H)
    return places.unpack(packing, dx), *states, _cut_rows(dweight_ih, H), dweight_hh, dbias


def _recurrence_backward(dy: Any, dh_n: Any, dc_n: Any, cache: Cache) -> tuple[Any, Any, Any]:
    """dgates (P, 4H), and the gradients of the initial states (N, H) in sorted order."""
    packing, (kind, width, _, way), H = cache.packing, cache.plan, cache.weight_hh.shape[1]
    N = packing.batch_size
    dgates = scratch(cache.activated.shape, DTYPES[kind], cache.c)
    dh, dc, dh0, dc0 = (np.empty((N, width), np.float32, like=dgates) for _ in range(4))
    groups = geometry.blocks_of(N, way.rows)
    wide, each = way.name == "lstm_backward_wide", 1
    sums: tuple[Any, ...] = ()
    if wide:
        num_sums, num_flags = geometry.backward_wide_buffers(N, width, kind)
        sums, each = (np.empty(num_sums, np.float32, like=dgates),), num_flags // groups
    flags = np.empty(groups * each, np.uint32, like=dgates)
    places.start_states(packing, dh_n, dc_n, H, h=dh, c=dc, flags=flags)
    weights = _packed(cache.weight_hh, way.name, kind, width)
    for part in _parts(way, N):
        lengths, first = places.lengths_and_first(packing, part.shift)
        flag = flags[part.first_row // way.rows * each :]
        given = part.tokens(cache.activated), part.states(cache.c), part.tokens(dy), part.states(dh), part.states(dc)
        found = part.tokens(dgates), part.states(dh0), part.states(dc0)
        arguments = weights, lengths[part.first_row :], first, *given, *found, *sums, flag, error_word()
        way.kernel(part.launch, (*arguments, np.int32(part.rows)))
    return dgates, dh0, dc0


def _input_part(x: Any, weight_ih: Any, bias: Any, H: int, width: int) -> Any:
    """(P, 4 width) float32: x W_ih^T + bias."""
    if bias is None:
        part = np.empty((len(x), 4 * width), np.float32, like=x)
    else:
        padded = bias if width == H else gather(bias.reshape(-1, 1), _row_order(H, width)).reshape(-1)
        part = rows_of(padded, len(x))
    gemm(x, weight_ih, part, transpose_b=True, accumulate=bias is not None)
    return part


# Padding of H to the width of a kernel ------------------------------------------------------------------------------


@cache
def _order(device: Any, name: str, kind: str, H: int, width: int) -> Any:
    """Where a kernel wants each weight, on the device; it stays there."""
    order = getattr(pack, f"{name.removeprefix('lstm_')}_order")(width, kind)
    return device.cupy.asarray(pack.within(order, width, H) if width > H else order)


def _packed(weight_hh: Any, name: str, kind: str, width: int) -> Any:
    """weight_hh (4H, H) float32 in the order of a kernel's registers, rounded."""
    order = _order(current_device(), name, kind, weight_hh.shape[1], width)
    packed = np.empty(order.size // order.shape[-1], np.uint32, like=weight_hh)
    arguments = weight_hh, order, packed, np.int32(packed.size)
    getattr(module("pack_weights"), f"pack_weights_{kind}")(geometry.pack_weights(packed.size), arguments)
    return packed


@cache
def _rows_on(device: Any, H: int, width: int) -> Any:
    gate, unit = np.divmod(np.arange(4 * width), width)
    return device.cupy.asarray(np.where(unit < H, gate * H + unit, -1))


def _row_order(H: int, width: int) -> Any:
    """(4 width,) int64: the row of a (4H, .) matrix that each row of the padded one has, or -1."""
    return _rows_on(current_device(), H, width)


def _padded_rows(matrix: Any, H: int, width: int, dtype: Any) -> Any:
    """(4H, I) float32 -> (4 width, I) as a product takes it."""
    if width > H:
        return gather(matrix, _row_order(H, width), dtype)
    return matrix if dtype == np.float32 else bf16(matrix)


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
