"""The counter-based generator, and dropout drawn from it."""

from typing import Annotated

from kernels.contracts.checks import UINT32_LIMIT, UINT64_LIMIT, between, check_range
from kernels.contracts.entry import Array, entry

MOST_WORDS = 4 * (UINT32_LIMIT + 1)
Seed = Annotated[int, between(0, UINT64_LIMIT)]
Step = Annotated[int, between(0, UINT64_LIMIT)]
Site = Annotated[int, between(0, UINT32_LIMIT)]


def enough_words(function: str, x: Array, p: float, seed: int, step: int, site: int, start: int) -> None:
    """The stream has a word for each element. Raises ValueError."""
    check_range(function, "count", start + x.size, 0, MOST_WORDS)


@entry(enough_words)
def dropout(
    x: Annotated[Array, "*S"],
    p: Annotated[float, between(0.0, 1.0)],
    seed: Seed,
    step: Step,
    site: Site,
    start: Annotated[int, between(0)] = 0,
) -> Annotated[Array, "*S"]:
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


@entry()
def random_bits(
    count: Annotated[int, between(0, MOST_WORDS)],
    seed: Seed,
    step: Step,
    site: Site,
) -> Array:
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
