"""Which rows of a table a batch of ids uses, and where: what the gradient of an embedding is summed by."""

from typing import Any, NamedTuple

import numpy as np

from kernels.cuda.runtime import geometry
from kernels.cuda.runtime.launcher import error_word, module

NO_PADDING = -1


class SortedTokens(NamedTuple):
    """Arrays on the device; what `embedding_sum` reads."""

    rows: Any  # (n,) int64, the ids that occur, ascending; undefined from count on
    starts: Any  # (n + 1,) int32, starts[k] .. starts[k + 1] are the positions of rows[k]
    positions: Any  # (n,) int32, of the tokens, grouped by row, ascending within a row
    count: Any  # (1,) int32, how many rows


def sort_tokens(
    ids: Any, padding_idx: int | None, vocab_size: int, run: int = geometry.MAX_SORTED, threads: int = 1024
) -> SortedTokens:
    """Sort tokens by id, and those of one id by position, in one launch, or in several if there are more than `run`.

    Args:
        ids: (n,) int64 on the device. One out of 0..V-1 sets the error word and is left out.
        padding_idx: an id that is left out, or None.
        vocab_size: V.
        run: how many a block sorts, a power of two, at least `threads`; other values are for tests.
        threads: of a block.
    """
    import cupy

    n, kernels = ids.size, module("layers/embedding")
    found = SortedTokens(
        cupy.empty(n, np.int64), cupy.empty(n + 1, np.int32), cupy.empty(n, np.int32), cupy.empty(1, np.int32)
    )
    padding = np.int64(NO_PADDING if padding_idx is None else padding_idx)
    if n <= run:
        sizes = np.int32(n), np.int32(geometry.sorted_size(n, threads)), padding, np.int32(vocab_size)
        kernels.embedding_sort(geometry.embedding_sort(n, threads), (ids, *sizes, *found, error_word()))
        return found
    launch = geometry.embedding_sort_runs(n, run, threads)
    pieces = launch.grid[0]
    keys, other = cupy.empty(pieces * run, np.uint64), cupy.empty(pieces * run, np.uint64)
    sizes = np.int32(n), np.int32(run), padding, np.int32(vocab_size)
    kernels.embedding_sort_runs(launch, (ids, *sizes, keys, error_word()))
    width = run
    while width < keys.size:
        numbers = np.int32(keys.size), np.int32(width)
        kernels.embedding_merge(geometry.embedding_merge(keys.size), (keys, other, *numbers))
        keys, other, width = other, keys, 2 * width
    heads = cupy.empty(pieces, np.uint32)
    kernels.embedding_count_rows(geometry.embedding_count_rows(pieces, threads), (keys, np.int32(run), heads))
    arguments = keys, heads, np.int32(run), *found
    kernels.embedding_write_rows(geometry.embedding_write_rows(pieces, threads), arguments)
    return found
