"""Philox4x32-10: random words as a pure function of (seed, step, site, element index).

Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011), section 3.3.
Key = (seed low, seed high 32 bits); counter = (index // 4, site, step low, step high 32 bits); word = index % 4.
"""

import numpy as np

MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
KEY_INCREMENTS = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))
LOW_WORD = np.uint64(0xFFFFFFFF)
WORD_BITS = np.uint64(32)
ROUNDS = 10


def split_words(value: int) -> tuple[np.uint64, np.uint64]:
    """The low and the high 32 bits of a 64-bit number."""
    return np.uint64(value & 0xFFFFFFFF), np.uint64(value >> 32)


def philox(counter: np.ndarray, key: tuple[np.uint64, np.uint64]) -> np.ndarray:
    """Counters (4, B) and a key of two words, all 32-bit values in uint64 -> (4, B) words, likewise."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        product0, product1 = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c2 = (product1 >> WORD_BITS) ^ c1 ^ k0, (product0 >> WORD_BITS) ^ c3 ^ k1
        c1, c3 = product1 & LOW_WORD, product0 & LOW_WORD
        k0, k1 = (k0 + KEY_INCREMENTS[0]) & LOW_WORD, (k1 + KEY_INCREMENTS[1]) & LOW_WORD
    return np.stack([c0, c1, c2, c3])


def random_bits(count: int, seed: int, step: int, site: int) -> np.ndarray:
    """See `kernels.random_bits`."""
    blocks = np.arange((count + 3) // 4, dtype=np.uint64)
    counter = np.stack([blocks, *(np.full_like(blocks, word) for word in (np.uint64(site), *split_words(step)))])
    return philox(counter, split_words(seed)).T.reshape(-1)[:count].astype(np.uint32)
