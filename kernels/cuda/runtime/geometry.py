"""Grid, block and shared memory of every launch: the host's side of the contracts at the heads of the .cu files.

A function here is named as the kernel, or the kernels, without a type suffix or width, takes the sizes that matter, and
raises ValueError where they do not fit.
"""

from typing import NamedTuple

FORWARD_ROWS, BACKWARD_ROWS = 16, 16  # batch rows of a block
FORWARD_UNITS, WIDE_UNITS, BACKWARD_UNITS = 32, 16, 32  # hidden units of a block
ELEMENT = {"bf16": 2, "tf32": 4}  # bytes of an element of y, gates and dgates of a persistent kernel
# The H of the persistent kernels: lstm_forward and lstm_backward, lstm_forward_wide and lstm_backward_wide.
NARROW = {"bf16": (64, 128, 256, 512), "tf32": (64, 128, 256)}
WIDE = {"bf16": (768, 1024), "tf32": (512,)}
CHUNK = 8192  # elements of a tensor that one block works on, see tensors.cuh
MAX_SORTED = 8192  # ids that embedding_sort can hold in shared memory
FLOAT, DOUBLE, BF16 = 4, 8, 2  # bytes
SUMMARY, KEY, BEST = 12, 8, 8  # of softmax_cross_entropy.cu, embedding.cu, ranking.cu


class Launch(NamedTuple):
    """What a launch is made with beside its arguments."""

    grid: tuple[int, ...]
    block: tuple[int, ...]
    shared_bytes: int = 0
    cooperative: bool = False  # all blocks have to run at once


def blocks_of(count: int, size: int) -> int:
    """How many blocks of `size` cover `count` elements; at least one, since a grid cannot be empty."""
    return max(1, -(-count // size))


def lstm_width(H: int, kind: str = "bf16") -> int:
    """The smallest H of a persistent kernel that holds H units."""
    width = min((width for width in (*NARROW[kind], *WIDE[kind]) if width >= H), default=0)
    if not width:
        raise ValueError(f"lstm_width: H = {H}; expected at most {WIDE[kind][-1]} units in {kind}")
    return width


def _check(name: str, N: int, H: int, units: int = 64) -> None:
    if N < 1 or H % units:
        raise ValueError(
            f"{name}: N = {N}, H = {H}; expected N >= 1 and a multiple of {units} (pad the weights with zeros)"
        )


def lstm_forward(N: int, H: int, kind: str = "bf16") -> Launch:
    """N rows, H units of NARROW; also for the marked variant. `flag` has grid[1] elements."""
    _check("lstm_forward", N, H)
    tile = FORWARD_ROWS * (H * ELEMENT[kind] + 16)
    part, staged = 8 * 2 * 4 * 32 * FLOAT, FORWARD_ROWS * FORWARD_UNITS * ELEMENT[kind]
    return Launch((H // FORWARD_UNITS, blocks_of(N, FORWARD_ROWS)), (256,), tile + part + staged, True)


lstm_forward_marked = lstm_forward


def wide_rows(kind: str) -> int:
    """Batch rows of a block of lstm_forward_wide."""
    return 128 // ELEMENT[kind]


def lstm_forward_wide(N: int, H: int, kind: str = "bf16") -> Launch:
    """N rows, H units of WIDE. `flag` has grid[1] elements."""
    _check("lstm_forward_wide", N, H, 128)
    rows = wide_rows(kind)
    tile, part = rows * (H * ELEMENT[kind] + 16), 8 * 2 * rows // 8 * 4 * 32 * FLOAT
    staged, inputs, state = rows * WIDE_UNITS * ELEMENT[kind], rows * 68 * FLOAT, rows * WIDE_UNITS * FLOAT
    return Launch((H // WIDE_UNITS, blocks_of(N, rows)), (256,), tile + part + staged + inputs + state, True)


def lstm_backward(N: int, H: int, kind: str = "bf16") -> Launch:
    """N rows, H units of NARROW. `flag` has grid[1] elements."""
    _check("lstm_backward", N, H)
    tile = BACKWARD_ROWS * (4 * H * ELEMENT[kind] + 16)
    part, staged = 8 * BACKWARD_ROWS * 36 * FLOAT, BACKWARD_ROWS * 4 * BACKWARD_UNITS * ELEMENT[kind]
    return Launch((H // BACKWARD_UNITS, blocks_of(N, BACKWARD_ROWS)), (256,), tile + part + staged, True)


def backward_wide_rows(H: int) -> int:
    """Batch rows of a group of lstm_backward_wide."""
    return H // 16


def lstm_backward_wide(N: int, H: int, kind: str = "bf16") -> Launch:
    """N rows, H units of WIDE. `flag` and `sums` are as large as `backward_wide_buffers` says."""
    _check("lstm_backward_wide", N, H, 128)
    rows = backward_wide_rows(H)
    blocks = H // 128 * (H * ELEMENT[kind] // 256)
    return Launch((blocks, blocks_of(N, rows)), (256,), rows * (1024 + 16) + rows * 512, True)


def backward_wide_buffers(N: int, H: int, kind: str = "bf16") -> tuple[int, int]:
    """The numbers of elements of `sums` and of `flag` of lstm_backward_wide."""
    blocks, groups = lstm_backward_wide(N, H, kind).grid
    return 2 * groups * blocks * backward_wide_rows(H) * 128, groups * 2 * H // 128


def lstm_prepare(*elements: int) -> Launch:
    """The numbers of elements of x_out, weight_out, packed, packed_back, y and input_part; 0 for null."""
    return Launch((max(1, sum(-(-count // 1024) for count in elements)),), (256,))


def lstm_mark(size: int) -> Launch:
    """The number of elements of y behind the initial states, of 16 bits each."""
    return Launch((blocks_of(size, 2048),), (256,))


def gates(N: int, H: int) -> Launch:
    """One step of N rows, H units: LSTM and GRU, forward and backward."""
    return Launch((blocks_of(N * H, 256),), (256,))


def states(N: int, width: int) -> Launch:
    """start_states of N rows of `width` units, end_states of N rows of H."""
    return Launch((blocks_of(N * width, 256),), (256,))


def elements(size: int) -> Launch:
    """`size` elements, four per thread: sgd_step, rmsprop_step, random_bits, those of convert.cu and gelu.cu."""
    return Launch((blocks_of(size, 1024),), (256,))


random_bits = convert = elements


def row_blocks(R: int, C: int) -> Launch:
    """R rows of C elements: gather_rows, fill_rows."""
    return Launch((max(1, R), blocks_of(C, 1024)), (256,))


def rows(R: int) -> Launch:
    """R rows of a table, at least one: adam_rows_step, adam_replay, sgd_rows_step."""
    return Launch((R,), (128,))


def softmax_cross_entropy(M: int, threads: int = 256) -> Launch:
    """M rows of logits."""
    return Launch((M,), (threads,), threads // 32 * SUMMARY)


def cross_entropy_gradient(M: int) -> Launch:
    """M rows of logits, at least one."""
    return Launch((M,), (256,))


def one_block() -> Launch:
    """clip_coefficient, count_targets, sum_losses."""
    return Launch((1,), (256,), 8 * DOUBLE)


clip_coefficient = one_block


def sum_of_squares(num_chunks: int) -> Launch:
    """One block per entry of the table of chunks, or per chunk of one array."""
    return Launch((num_chunks,), (256,), 8 * DOUBLE)


def adam_step_all(num_chunks: int) -> Launch:
    """One block per entry of the table of chunks."""
    return Launch((num_chunks,), (256,))


def dropout(size: int) -> Launch:
    """`size` elements; one block more for a start inside a group of four."""
    return Launch((blocks_of(size, 1024) + 1,), (256,))


def embedding_forward(size: int) -> Launch:
    """`size` = tokens x E elements."""
    return Launch((blocks_of(size, 1024),), (256,))


def sorted_size(num_tokens: int, threads: int = 1024) -> int:
    """The number of keys that embedding_sort sorts: a power of two, at least the number of threads."""
    size = threads
    while size < num_tokens:
        size *= 2
    if size > MAX_SORTED:
        raise ValueError(f"embedding_sort: {num_tokens} tokens; expected at most {MAX_SORTED}")
    return size


def embedding_sort(num_tokens: int, threads: int = 1024) -> Launch:
    """One block for all tokens."""
    return Launch((1,), (threads,), KEY * sorted_size(num_tokens, threads) + 128)


def embedding_sort_runs(num_tokens: int, run: int = MAX_SORTED, threads: int = 1024) -> Launch:
    """One block per piece of `run` tokens."""
    return Launch((blocks_of(num_tokens, run),), (threads,), KEY * run)


def embedding_merge(total: int) -> Launch:
    """`total` keys."""
    return Launch((blocks_of(total, 256),), (256,))


def embedding_count_rows(num_pieces: int, threads: int = 1024) -> Launch:
    """One block per piece."""
    return Launch((num_pieces,), (threads,), 128)


def embedding_write_rows(num_pieces: int, threads: int = 1024) -> Launch:
    """One block per piece."""
    return Launch((num_pieces,), (threads,), 3 * 128)


def embedding_sum(R: int) -> Launch:
    """At least as many blocks as rows occur; the number of tokens is always enough."""
    return Launch((R,), (256,))


def column_slices(M: int, C: int) -> int:
    """Into how many slices column_sums cuts M rows of C columns: enough blocks for a GPU, 64 rows or more each."""
    return max(1, min(M // 64, 1024 // blocks_of(C, 32)))


def column_sums(C: int, slices: int = 1) -> Launch:
    """C columns, rows in slices."""
    return Launch((blocks_of(C, 32), slices), (256,), 8 * 32 * FLOAT)


def column_sums_join(C: int) -> Launch:
    """C columns."""
    return Launch((blocks_of(C, 256),), (256,))


def decoder_start(N: int, L: int) -> Launch:
    """N sentences, L layers."""
    return Launch((N, L), (128,))


def decoder_gather(rows: int, L: int) -> Launch:
    """Rows in use, L layers and the embedding."""
    return Launch((rows, L + 1), (128,))


def rank_words(m: int) -> Launch:
    """m rows of logits: the best of 256 segments, and the sums of 8 warps."""
    return Launch((m,), (256,), 256 * BEST + 8 * BEST)


def argmax_rows(m: int) -> Launch:
    """m rows of logits, at least one."""
    return Launch((m,), (256,), 8 * BEST)


def exclude_words(X: int) -> Launch:
    """X words."""
    return Launch((blocks_of(X, 256),), (256,))


def greedy_select(S: int) -> Launch:
    """S slots."""
    return Launch((blocks_of(S, 256),), (256,))


def beam_select(S: int, K: int) -> Launch:
    """S slots of K rows: a total and a count for each row of the four slots of a block."""
    return Launch((blocks_of(S, 4),), (128,), 4 * K * (DOUBLE + FLOAT))


def compact_slots(threads: int = 1024) -> Launch:
    """One block."""
    return Launch((1,), (threads,), 128)


def beam_collect(N: int, B: int) -> Launch:
    """B results of N sentences."""
    return Launch((blocks_of(N * B, 128),), (128,))
