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
    dropped = x.dtype.type(0)  # a plain 0 would make float64 of all
    words, factors = np.empty((4, BLOCKS), np.uint32), np.empty((BLOCKS, 4), x.dtype)
    factor = factors.reshape(-1)
    for first in range(start, stop, 4 * BLOCKS):
        philox_blocks(words, block + first // 4, site, step, key)
        for b in range(BLOCKS):  # first into the order of the elements, which then meet their factors in vectors
            factors[b, 0] = scale if words[0, b] >= threshold else dropped
            factors[b, 1] = scale if words[1, b] >= threshold else dropped
            factors[b, 2] = scale if words[2, b] >= threshold else dropped
            factors[b, 3] = scale if words[3, b] >= threshold else dropped
        last = min(first + 4 * BLOCKS, stop)
        piece, kept = x[first:last], out[first:last]
        for k in range(piece.shape[0]):
            kept[k] = piece[k] * factor[k]


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
