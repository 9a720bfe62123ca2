"""Philox4x32-10, four words a block. See `kernels.reference.random` for the definition and its source."""

import numpy as np

from kernels.cpu.jit import jit

# Words are the low halves of uint64, where products are exact and the loops still vectorise. What lies in the upper
# halves is cleared before a product alone: a multiplication of low halves clears it for nothing.
MULTIPLIER_0, MULTIPLIER_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
INCREMENT_0, INCREMENT_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
LOW_WORD = np.uint64(0xFFFFFFFF)
WORD_BITS = np.uint64(32)
ROUNDS = 10

Words = tuple[np.uint64, np.uint64]


@jit
def philox(
    c0: np.uint64, c1: np.uint64, c2: np.uint64, c3: np.uint64, k0: np.uint64, k1: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """Counter and key words -> the block's four words."""
    for _ in range(ROUNDS):
        product0, product1 = MULTIPLIER_0 * (c0 & LOW_WORD), MULTIPLIER_1 * (c2 & LOW_WORD)
        c0, c2 = (product1 >> WORD_BITS) ^ c1 ^ k0, (product0 >> WORD_BITS) ^ c3 ^ k1
        c1, c3 = product1, product0
        k0, k1 = k0 + INCREMENT_0, k1 + INCREMENT_1
    return c0 & LOW_WORD, c1 & LOW_WORD, c2 & LOW_WORD, c3 & LOW_WORD


@jit
def philox_blocks(words: np.ndarray, first: int, site: np.uint64, step: Words, key: Words) -> None:
    """words (4, B) uint32 <- the words of blocks first .. first + B - 1, a row for each of a block's four."""
    for block in range(words.shape[1]):
        w0, w1, w2, w3 = philox(np.uint64(first + block), site, step[0], step[1], key[0], key[1])
        words[0, block] = w0
        words[1, block] = w1
        words[2, block] = w2
        words[3, block] = w3


def split_words(value: int) -> Words:
    """The low and the high 32 bits of a 64-bit number."""
    return np.uint64(value & 0xFFFFFFFF), np.uint64(value >> 32)


def random_bits(count: int, seed: int, step: int, site: int) -> np.ndarray:
    """See `kernels.random_bits`."""
    words = np.empty((4, -(-count // 4)), np.uint32)
    philox_blocks(words, 0, np.uint64(site), split_words(step), split_words(seed))
    return np.ascontiguousarray(words.T).reshape(-1)[:count]
