"""All steps of an LSTM layer in one launch: the recurrent matrix stays in registers (recurrent.cuh).

The kernels exist for some widths: H is padded to the next, with weights of zero, whose units stay at zero. They
multiply in bfloat16 and keep h and the gates in it, sums and c in float32. All blocks of a launch have to be on the
device at once; where they are not, or where no width serves, `plan` says None and the layer takes a step at a time.

What differs from the CPU's bf16, which rounds operands only: y and the gates that the backward reads are rounded to
bfloat16, each by up to 2^-9 of itself.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from kernels.cuda import geometry, pack, places
from kernels.cuda.arrays import bf16, column_sums, gather, rows_of
from kernels.cuda.cublas import gemm
from kernels.cuda.geometry import Launch
from kernels.cuda.launcher import Kernel, current_device, error_word, module
from kernels.packing import Packing

enabled = True  # False: every layer takes a step at a time
marked = False  # True: blocks poll the data itself, where there is a kernel that does (lstm_forward.cu)

WIDTHS = (64, 128, 256, 512)
NOT_YET = 0xFFFF


class Plan(NamedTuple):
    """How a layer is launched."""

    width: int  # H padded
    forward: Kernel
    forward_launch: Launch
    backward: Kernel
    backward_launch: Launch


class Cache(NamedTuple):
    """What the backward needs; sequences packed, H padded."""

    x: Any  # (P, I) bfloat16
    activated: Any  # (P, 4H) bfloat16
    y: Any  # (N + P, H) bfloat16, state buffer
    c: Any  # (N + P, H) float32, state buffer
    packing: Packing
    weight_ih: Any  # (4H, I) bfloat16
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


def plan(packing: Packing, H: int) -> Plan | None:
    """The launches of a layer of H units, or None where it has to take a step at a time."""
    width = next((width for width in WIDTHS if width >= H), None)
    if not enabled or width is None or not packing.num_tokens or not H:
        return None
    forward, backward = module("lstm_forward"), module("lstm_backward")
    name = "lstm_forward_marked" if marked else "lstm_forward"
    found = Plan(
        width,
        getattr(forward, f"{name}_bf16_{width}"),
        geometry.lstm_forward(packing.batch_size, width),
        getattr(backward, f"lstm_backward_bf16_{width}"),
        geometry.lstm_backward(packing.batch_size, width),
    )
    fits = found.forward.fits(found.forward_launch) and found.backward.fits(found.backward_launch)
    return found if fits else None


def forward(
    tokens: Any, h0: Any, c0: Any, weight_ih: Any, weight_hh: Any, bias: Any, packing: Packing, how: Plan
) -> tuple[Any, Any, Any, Cache]:
    """y, h_n, c_n and the cache; tokens (P, I) packed, the others as in `kernels.lstm_forward`."""
    (N, H), width, P = h0.shape, how.width, packing.num_tokens
    x, weight_ih = bf16(tokens), _padded_rows(weight_ih, H, width)
    input_part = _input_part(x, weight_ih, bias, H, width)
    y, c = (np.empty((N + P, width), dtype, like=h0) for dtype in (np.uint16, np.float32))
    if marked:
        y[N:].fill(NOT_YET)
    y[:N] = _padded_columns(bf16(places.sort(packing, h0)), width)
    c[:N] = _padded_columns(places.sort(packing, c0), width)
    gates = np.empty((P, 4 * width), np.uint16, like=h0)
    weights = _packed(weight_hh, "forward", H, width)
    flags, where = _flags(how.forward_launch), places.lengths_and_first(packing)
    arguments = weights, input_part, *where, y, gates, c, flags, error_word(), np.int32(N)
    how.forward(how.forward_launch, arguments)
    saved = Cache(x, gates, y, c, packing, weight_ih, weight_hh, bias is not None, how)
    h_n, c_n = (_cut(places.last_states(packing, states), H) for states in (y, c))
    return _cut(places.unpack(packing, y[N:]), H), h_n, c_n, saved


def backward(dy: Any, dh: Any, dc: Any, cache: Cache) -> tuple[Any, Any, Any, Any, Any, Any]:
    """The gradients of `kernels.lstm_backward`; dy (P, H) packed or None, dh and dc (N, H) in sorted order."""
    packing, width = cache.packing, cache.plan.width
    (N, H), launch, P = dh.shape, cache.plan.backward_launch, packing.num_tokens
    dy = None if dy is None else _padded_columns(dy, width)
    dh, dc = (_padded_columns(gradient, width) for gradient in (dh, dc))
    dgates = np.empty((P, 4 * width), np.uint16, like=dh)
    dh0, dc0 = np.empty(dh.shape, np.float32, like=dh), np.empty(dh.shape, np.float32, like=dh)
    weights = _packed(cache.weight_hh, "backward", H, width)
    flags, where = _flags(launch), places.lengths_and_first(packing)
    arguments = weights, *where, cache.activated, cache.c, dy, dh, dc, dgates, dh0, dc0, flags, error_word()
    cache.plan.backward(launch, (*arguments, np.int32(N)))
    I = cache.x.shape[1]  # noqa: E741
    dx, dweight_ih = np.empty((P, I), np.float32, like=dh), np.empty((4 * width, I), np.float32, like=dh)
    dweight_hh = np.empty((4 * width, width), np.float32, like=dh)
    gemm(dgates, cache.weight_ih, dx)
    gemm(dgates, cache.x, dweight_ih, transpose_a=True)
    gemm(dgates, places.previous_states(packing, cache.y), dweight_hh, transpose_a=True)
    dbias = _cut_rows(column_sums(dgates), H) if cache.has_bias else None
    states = (places.unsort(packing, _cut(gradient, H)) for gradient in (dh0, dc0))
    dweight_hh = _cut_rows(_cut(dweight_hh, H), H)
    return places.unpack(packing, dx), *states, _cut_rows(dweight_ih, H), dweight_hh, dbias


def _input_part(x: Any, weight_ih: Any, bias: Any, H: int, width: int) -> Any:
    """(P, 4 width) float32: x W_ih^T + bias."""
    if bias is None:
        part = np.empty((len(x), 4 * width), np.float32, like=x)
    else:
        padded = bias if width == H else gather(bias.reshape(-1, 1), _row_order(H, width)).reshape(-1)
        part = rows_of(padded, len(x))
    gemm(x, weight_ih, part, transpose_b=True, accumulate=bias is not None)
    return part


def _flags(launch: Launch) -> Any:
    """A counter for each group, zero."""
    return current_device().cupy.zeros(launch.grid[1], np.uint32)


# Padding of H to the width of a kernel ------------------------------------------------------------------------------


@cache
def _order(device: Any, direction: str, H: int, width: int) -> Any:
    """Where the kernel of a direction wants each weight, on the device; it stays there."""
    order = getattr(pack, f"{direction}_order")(width)
    return device.cupy.asarray(pack.within(order, width, H) if width > H else order)


def _packed(weight_hh: Any, direction: str, H: int, width: int) -> Any:
    """weight_hh (4H, H) float32 in the order of the registers, rounded."""
    words = 2 * width * width
    packed = np.empty(words, np.uint32, like=weight_hh)
    order = _order(current_device(), direction, H, width)
    arguments = weight_hh, order, packed, np.int32(words)
    module("pack_weights").pack_weights_bf16(geometry.pack_weights(words), arguments)
    return packed


@cache
def _rows_on(device: Any, H: int, width: int) -> Any:
    gate, unit = np.divmod(np.arange(4 * width), width)
    return device.cupy.asarray(np.where(unit < H, gate * H + unit, -1))


def _row_order(H: int, width: int) -> Any:
    """(4 width,) int64: the row of a (4H, .) matrix that each row of the padded one has, or -1."""
    return _rows_on(current_device(), H, width)


def _padded_rows(matrix: Any, H: int, width: int) -> Any:
    """(4H, I) float32 -> (4 width, I) bfloat16."""
    return bf16(matrix) if width == H else gather(matrix, _row_order(H, width), np.uint16)


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
