"""The counter-based generator, and dropout drawn from it."""

import math

import numpy as np

from kernels.checks import check_dtypes, check_range, check_stream
from kernels.dispatch.backend import backend_for, contiguous


def dropout(x: np.ndarray, p: float, seed: int, step: int, site: int, start: int = 0) -> np.ndarray:
    """Inverted dropout, x * mask / (1 - p). Linear in x: the backward is the same call on dy.

    Args:
        x: floating array of any shape, up to 2**34 elements.
        p: probability in [0, 1] that an element is dropped; 1 drops all.
        seed: the run's seed, 0..2**64-1.
        step: the optimiser step, 0..2**64-1.
        site: the place in the model, 0..2**32-1. Equal (seed, step, site) give equal masks, on every backend.
        start: where x is a part of something larger, the number of elements before it there; at least 0.

    Returns:
        Array of the shape and dtype of x. Element k is kept iff word start + k of `random_bits` is >= floor(p * 2**32).

    Raises:
        TypeError, ValueError: a dtype, or a number out of its range.
    """
    name = "dropout"
    backend = backend_for(x=x)
    check_dtypes(name, x=x)
    check_range(name, "p", p, 0.0, 1.0)
    check_range(name, "start", start, 0, math.inf)
    check_stream(name, start + x.size, seed, step, site)
    return backend.dropout(contiguous(x), p, seed, step, site, start)


def random_bits(count: int, seed: int, step: int, site: int) -> np.ndarray:
    """Words of the Philox4x32-10 stream named (seed, step, site). Definition: `kernels.reference.random`.

    Args:
        count: number of words, 0..2**34.
        seed: 0..2**64-1.
        step: 0..2**64-1.
        site: 0..2**32-1.

    Returns:
        (count,) uint32, uniform.

    Raises:
        ValueError: a number out of its range.
    """
    check_stream("random_bits", count, seed, step, site)
    return backend_for().random_bits(count, seed, step, site)
