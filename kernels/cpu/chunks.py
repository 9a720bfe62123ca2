"""Long arrays and tables cut into fixed pieces that the threads share.

The cuts depend on the sizes alone, so who computes a piece, and on how many threads, changes no bit.
"""

from collections.abc import Callable
from typing import Any

from kernels.threads import run

CHUNK = 65_536  # elements; four float32 arrays of them fit into a core's second cache
SERIAL_COPY = 1 << 18  # below so many numbers, copied or added, waking a thread costs more than it saves


def run_chunks(kernel: Callable[..., None], count: int, size: int, *arguments: Any) -> None:
    """kernel(*arguments, start, stop) for each piece [start, stop) of 0..count, `size` long but the last.

    A kernel slices its arrays and counts from 0: an index from `start` on might be negative for all that the compiler
    knows, and such a loop does not vectorise.
    """
    run(lambda piece: kernel(*arguments, piece * size, min((piece + 1) * size, count)), -(-count // size))


def rows_per_chunk(row_size: int) -> int:
    """How many rows of a table make up a piece of about CHUNK elements."""
    return max(1, CHUNK // max(row_size, 1))
