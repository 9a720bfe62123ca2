"""The output layer and its loss by chunks of rows. See `kernels.reference.output_layer` for the equations.

The logits of a chunk are made, turned into their own gradient, and multiplied into the gradients of x, weight and bias
before the next chunk overwrites them: (M, V) numbers are never stored, and rows that are ignored are left out from the
start. So the forward already does the work of the backward, which is left with the multiplication by dloss.

Two rounds of tasks make a chunk. Blocks of rows: logits, softmax and dx, while they are in cache. Rows of weight: its
gradient and that of the bias, added up chunk by chunk. How rows are cut into chunks depends on shapes alone and no sum
is shared between tasks, so results have the same bits for any number of threads.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from kernels.cpu.activations import exp
from kernels.cpu.chunks import CHUNK, run_chunks
from kernels.cpu.cross_entropy import add_up
from kernels.cpu.gemm import Prepacked, Task, multiplying, prepack, prepack_all, prepacking
from kernels.cpu.jit import jit
from kernels.cpu.product import ROW_BLOCK, multiply_rows, workspace
from kernels.cpu.sums import summing
from kernels.cpu.tiles import ROWS
from kernels.threads import chunks, get_num_threads, run, run_all

Gradients = tuple[np.ndarray, np.ndarray, np.ndarray | None]

# The gradient of weight, V x H, is read and written once a chunk: more rows mean less of that, and more logits. With
# bfloat16, whose panels of weight take half the memory, it may be twice as many rows.
MOST_ROWS, FEWEST_ROWS, LOGITS_BYTES = 512, 256, 16 << 20
ARGMAX_ROWS = 512  # rows of x that `linear_argmax` compares at a time


@dataclass
class LinearCrossEntropyCache:
    """The arguments of the forward, and the gradients until a backward takes them."""

    x: np.ndarray  # (M, H)
    weight: np.ndarray  # (V, H)
    bias: np.ndarray | None  # (V,)
    targets: np.ndarray  # (M,) int64
    ignore_index: int
    label_smoothing: float
    reduction: str
    bf16: bool
    gradients: Gradients | None = None


@jit
def _largest(row: Any, folded: Any) -> Any:
    """The largest of row (V,), a NaN aside; folded (V,) is work space. Halves are compared: that vectorises."""
    count = row.shape[0]
    for j in range(count):
        folded[j] = row[j]
    while count > 1:
        half = (count + 1) // 2
        low, high = folded[:half], folded[half:count]
        for j in range(high.shape[0]):
            low[j] = high[j] if high[j] > low[j] else low[j]
        count = half
    return folded[0]


@jit
def _row_loss(row: Any, bias: Any, target: int, smoothing: Any, scale: Any, gradient: bool, folded: Any) -> Any:
    """The loss of one row of products (V,), which becomes scale times its gradient if `gradient` is set.

    A NaN or an infinity makes the sum of the exponentials NaN. smoothing and scale have the dtype of row.
    """
    one, num_classes = row.dtype.type(1), row.dtype.type(row.shape[0])
    for j in range(row.shape[0]):
        row[j] += bias[j]
    largest = _largest(row, folded)
    for j in range(row.shape[0]):
        row[j] -= largest
    shifted_target, mean = row[target], add_up(row) / num_classes if smoothing > 0 else smoothing
    for j in range(row.shape[0]):
        row[j] = exp(row[j])
    row_sum = add_up(row)
    log_sum = np.log(row_sum)
    loss = (one - smoothing) * (log_sum - shifted_target)
    if smoothing > 0:
        loss += smoothing * (log_sum - mean)
    if gradient:
        factor, share = scale / row_sum, scale * smoothing / num_classes
        for j in range(row.shape[0]):
            row[j] = factor * row[j] - share  # log_sum, and the mean over all classes
        row[target] -= scale * (one - smoothing)  # shifted_target
    return loss


class Layer(NamedTuple):
    """An output layer, the rows that it is given, and what they are to be."""

    x: np.ndarray  # (M, H)
    by_word: np.ndarray  # panels of weight^T
    by_unit: np.ndarray  # panels of weight
    bias: np.ndarray  # (V,)
    targets: np.ndarray  # (M,)
    smoothing: Any  # of the dtype of x, as is scale
    scale: Any
    gradient: bool  # whether dx is wanted


class Found(NamedTuple):
    """What is computed."""

    logits: np.ndarray  # (chunk, V) of a chunk of the rows, left as the gradient
    losses: np.ndarray  # (M,)
    dx: np.ndarray  # (M, H)


@jit
def _block(layer: Layer, start: int, stop: int, first_row: int, found: Found) -> None:
    """Rows start .. stop - 1 of x: their losses, and if it is wanted their dx; first_row is that of the chunk."""
    x, by_word, by_unit, bias, targets, smoothing, scale, gradient = layer
    logits, losses, dx = found
    vocab_size, size, rows = bias.shape[0], x.shape[1], stop - start
    at = (start - first_row) * vocab_size
    flat = logits.reshape(-1)
    a = np.empty(max(workspace(rows, size), workspace(rows, vocab_size)), by_word.dtype)
    if size == 0:
        flat[at : at + rows * vocab_size] = 0
    multiply_rows(
        x.reshape(-1), False, start * size, size, rows, a, by_word, size, vocab_size, 0, vocab_size, flat, at,
        vocab_size, False,
    )  # fmt: skip
    folded = np.empty(vocab_size, x.dtype)
    for m in range(start, stop):
        losses[m] = _row_loss(logits[m - first_row], bias, targets[m], smoothing, scale, gradient, folded)
    if gradient and size:
        multiply_rows(
            flat, False, at, vocab_size, rows, a, by_unit, vocab_size, size, 0, size, dx.reshape(-1), start * size,
            size, False,
        )  # fmt: skip


def _even_part(rows: int, parts: int) -> int:
    """Rows of each of `parts` parts, in whole tiles."""
    return max(1, -(-rows // (parts * ROWS))) * ROWS


def _chunk_rows(rows: int, row_bytes: int, bf16: bool) -> int:
    """Rows of a chunk, such that all chunks are about equal."""
    most = min(MOST_ROWS, max(FEWEST_ROWS, LOGITS_BYTES // max(row_bytes, 1))) * (2 if bf16 else 1)
    return _even_part(rows, max(1, -(-rows // most)))


def _block_rows(rows: int) -> int:
    """Rows of a task of a chunk: few enough for the cache, and the same number of tasks for every thread."""
    threads = get_num_threads()
    return _even_part(rows, -(-rows // (ROW_BLOCK * threads)) * threads)


def _chunk(layer: Layer, start: int, stop: int, found: Found) -> list[Task]:
    """`_block` for rows start .. stop - 1, by blocks, as tasks."""
    blocks = chunks(stop - start, _block_rows(stop - start))
    return [partial(_block, layer, start + first, start + last, start, found) for first, last in blocks]


def _live_rows(
    x: np.ndarray, targets: np.ndarray, scale: float, cache: LinearCrossEntropyCache, gradient: bool
) -> tuple[np.ndarray, Gradients | None]:
    """The losses (M,) of rows of which none is ignored, and the gradients of scale times their sum."""
    weight, bf16, dtype = cache.weight, cache.bf16, x.dtype
    bias = np.zeros(len(weight), dtype) if cache.bias is None else cache.bias
    smoothing, factor = dtype.type(cache.label_smoothing), dtype.type(scale)
    by_word, *others = prepack_all((weight, True), *([(weight, False)] if gradient else []), bf16=bf16)
    by_unit = others[0] if others else by_word
    losses, dx = np.empty(len(x), dtype), np.empty_like(x)
    # Of no rows the gradients are zero; else the first chunk writes them, the others add to them.
    dweight = (np.empty_like if len(x) else np.zeros_like)(weight)
    dbias, chunk_dbias = np.zeros_like(bias), np.empty_like(bias)
    most = _chunk_rows(len(x), len(weight) * dtype.itemsize, bf16)
    logits = np.empty((min(most, len(x)), len(weight)), dtype)
    layer = Layer(x, by_word.panels, by_unit.panels, bias, targets, smoothing, factor, gradient)
    found = Found(logits, losses, dx)
    for start, stop in chunks(len(x), most):
        if not gradient:
            run_all(_chunk(layer, start, stop, found))
            continue
        inputs, prepacking_tasks = prepacking(x[start:stop], False, bf16)
        run_all(_chunk(layer, start, stop, found), prepacking_tasks)
        dlogits = logits[: stop - start]
        run_all(multiplying(dlogits, True, inputs, dweight, more=start > 0), summing(dlogits, chunk_dbias))
        dbias += chunk_dbias
    return losses, (dx, dweight, None if cache.bias is None else dbias) if gradient else None


def _compute(cache: LinearCrossEntropyCache, gradient: bool) -> tuple[np.ndarray, Gradients | None]:
    """The loss, a 0-d array, and if asked for its gradients with respect to x, weight and bias."""
    live = np.flatnonzero(cache.targets != cache.ignore_index)
    scale = 1.0 if cache.reduction == "sum" else 1 / (len(live) or math.nan)
    x, targets = cache.x, cache.targets
    if len(live) < len(x):
        x, targets = x[live], targets[live]
    losses, found = _live_rows(x, targets, scale, cache, gradient)
    loss = np.asarray(scale * losses.sum(dtype=np.float64), x.dtype)
    if found is None or x is cache.x:
        return loss, found
    dx = np.zeros_like(cache.x)
    dx[live] = found[0]
    return loss, (dx, *found[1:])


def linear_cross_entropy_forward(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    targets: np.ndarray,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "sum",
    bf16: bool = False,
    need_gradients: bool = True,
) -> tuple[np.ndarray, LinearCrossEntropyCache]:
    """See `kernels.linear_cross_entropy_forward`."""
    targets = targets.astype(np.int64, copy=False)
    cache = LinearCrossEntropyCache(x, weight, bias, targets, ignore_index, label_smoothing, reduction, bf16)
    loss, cache.gradients = _compute(cache, need_gradients)
    return loss, cache


def linear_cross_entropy_backward(dloss: np.ndarray, cache: LinearCrossEntropyCache) -> Gradients:
    """See `kernels.linear_cross_entropy_backward`. The first call gives the arrays away, another computes anew."""
    gradients, cache.gradients = cache.gradients, None
    if gradients is None:
        _, gradients = _compute(cache, True)
    assert gradients is not None
    if dloss != 1:
        for gradient in gradients:
            if gradient is not None:
                run_chunks(_scale, gradient.size, CHUNK, gradient.reshape(-1), dloss[()])
    return gradients


@jit
def _scale(values: Any, factor: Any, start: int, stop: int) -> None:
    chunk = values[start:stop]
    for k in range(chunk.shape[0]):
        chunk[k] *= factor


def linear_argmax(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, bf16: bool = False) -> np.ndarray:
    """See `kernels.linear_argmax`.

    Here weight is the left operand. Each task takes some of its rows and keeps the best of them for every row of x;
    the logits have the bits that they have in the loss.
    """
    words = np.empty(len(x), np.int64)
    for start, stop in chunks(len(x), ARGMAX_ROWS):
        words[start:stop] = _best_words(prepack(x[start:stop], True, bf16), weight, bias)
    return words


def _best_words(by_row: Prepacked, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """(M,) the best word of each column of by_row, x^T (H, M) in panels."""
    offsets = np.zeros(len(weight), weight.dtype) if bias is None else bias
    parts = list(chunks(len(weight), 2 * ROW_BLOCK))
    best, found = (np.empty((len(parts), by_row.columns), dtype) for dtype in (weight.dtype, np.int32))
    run(lambda p: _best_of_part(weight, by_row.panels, offsets, *parts[p], best[p], found[p]), len(parts))
    return found[best.argmax(axis=0), np.arange(by_row.columns)]


@jit
def _best_of_part(weight: Any, by_row: Any, bias: Any, start: int, stop: int, best: Any, found: Any) -> None:
    """best, found (M,) <- the largest logit of words start .. stop - 1 for every row of x, and its first word.

    by_row: panels of x^T. A NaN is larger than anything, as for np.argmax.
    """
    size, rows = weight.shape[1], best.shape[0]
    a, logits = np.empty(workspace(ROW_BLOCK, size), by_row.dtype), np.zeros((ROW_BLOCK, rows), best.dtype)
    best[:], found[:] = -np.inf, start
    for first in range(start, stop, ROW_BLOCK):
        count = min(ROW_BLOCK, stop - first)
        multiply_rows(
            weight.reshape(-1), False, first * size, size, count, a, by_row, size, rows, 0, rows, logits.reshape(-1), 0,
            rows, False,
        )  # fmt: skip
        for word in range(count):
            row, offset, name = logits[word], bias[first + word], np.int32(first + word)
            for m in range(rows):
                value = row[m] + offset
                better = (value > best[m]) | ((value != value) & (best[m] == best[m]))
                best[m] = value if better else best[m]
                found[m] = name if better else found[m]
