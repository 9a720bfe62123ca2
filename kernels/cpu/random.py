"""Philox4x32-10, four words a block. See `kernels.reference.random` for the definition and its source."""

import numpy as np

from kernels.cpu.jit import jit

# Words are 32-bit values in uint64, where products and sums are exact and the loops still vectorise.
MULTIPLIER_0, MULTIPLIER_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
INCREMENT_0, INCREMENT_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
LOW_WORD = np.uint64(0xFFFFFFFF)
WORD_BITS = np.uint64(32)
ROUNDS = 10


@jit
def philox(
    c0: np.uint64, c1: np.uint64, c2: np.uint64, c3: np.uint64, k0: np.uint64, k1: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """Counter and key words -> the block's four words."""
    for _ in range(ROUNDS):
        product0, product1 = MULTIPLIER_0 * c0, MULTIPLIER_1 * c2
        c0, c2 = (product1 >> WORD_BITS) ^ c1 ^ k0, (product0 >> WORD_BITS) ^ c3 ^ k1
        c1, c3 = product1 & LOW_WORD, product0 & LOW_WORD
        k0, k1 = (k0 + INCREMENT_0) & LOW_WORD, (k1 + INCREMENT_1) & LOW_WORD
    return c0, c1, c2, c3


@jit
def _fill(words: np.ndarray, site: np.uint64, step: tuple[np.uint64, ...], key: tuple[np.uint64, ...]) -> None:
    """words (4 * B,) uint32 <- blocks 0 .. B-1 of the stream."""
    for block in range(words.shape[0] // 4):
        w0, w1, w2, w3 = philox(np.uint64(block), site, step[0], step[1], key[0], key[1])
        words[4 * block] = w0
        words[4 * block + 1] = w1
        words[4 * block + 2] = w2
        words[4 * block + 3] = w3


def split_words(value: int) -> tuple[np.uint64, np.uint64]:
    """The low and the high 32 bits of a 64-bit number."""
    return np.uint64(value & 0xFFFFFFFF), np.uint64(value >> 32)


def random_bits(count: int, seed: int, step: int, site: int) -> np.ndarray:
    """See `kernels.random_bits`."""
    words = np.empty(-(-count // 4) * 4, np.uint32)
    _fill(words, np.uint64(site), split_words(step), split_words(seed))
    return words[:count]
