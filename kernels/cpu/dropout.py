"""Inverted dropout with a counter-based mask, drawn and applied piece by piece. See `kernels.reference.dropout`."""

from typing import NamedTuple

import numpy as np

from kernels.cpu.chunks import CHUNK, run_chunks
from kernels.cpu.jit import jit
from kernels.cpu.random import Words, philox_blocks, split_words

BLOCKS = 256  # Philox blocks whose words stay in the first cache between drawing and use


class Stream(NamedTuple):
    """Random words, from a block of Philox on."""

    site: np.uint64
    step: Words
    key: Words
    block: int


@jit
def _drop(
    x: np.ndarray, out: np.ndarray, threshold: np.uint32, scale: float, stream: Stream, start: int, stop: int
) -> None:
    """out = x * scale where the element's word is >= threshold, else x * 0; start is a multiple of 4.

    x[0] has the first word of the stream.
    """
    site, step, key, block = stream
    dropped = scale * 0
    words = np.empty((4, BLOCKS), np.uint32)
    for first in range(start, stop, 4 * BLOCKS):
        philox_blocks(words, block + first // 4, site, step, key)
        last = min(first + 4 * BLOCKS, stop)
        piece, kept = x[first:last], out[first:last]
        w0, w1, w2, w3 = words[0], words[1], words[2], words[3]
        whole = piece.shape[0] // 4
        for b in range(whole):
            kept[4 * b] = piece[4 * b] * (scale if w0[b] >= threshold else dropped)
            kept[4 * b + 1] = piece[4 * b + 1] * (scale if w1[b] >= threshold else dropped)
            kept[4 * b + 2] = piece[4 * b + 2] * (scale if w2[b] >= threshold else dropped)
            kept[4 * b + 3] = piece[4 * b + 3] * (scale if w3[b] >= threshold else dropped)
        for k in range(4 * whole, piece.shape[0]):
            kept[k] = piece[k] * (scale if words[k % 4, whole] >= threshold else dropped)


def dropout(x: np.ndarray, p: float, seed: int, step: int, site: int, start: int = 0) -> np.ndarray:
    """See `kernels.dropout`."""
    if p == 1:
        return x * x.dtype.type(0)
    if start % 4:  # inside a block: begin with the whole of it
        before = np.zeros(start % 4, x.dtype)
        whole = dropout(np.concatenate([before, x.reshape(-1)]), p, seed, step, site, start - len(before))
        return whole[len(before) :].reshape(x.shape)
    out = np.empty_like(x)
    stream = Stream(np.uint64(site), split_words(step), split_words(seed), start // 4)
    numbers = np.uint32(p * 2**32), x.dtype.type(1 / (1 - p))
    run_chunks(_drop, x.size, CHUNK, x.reshape(-1), out.reshape(-1), *numbers, stream)
    return out
