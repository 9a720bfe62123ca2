"""Greedy and beam search on the device, all sentences at once. See `kernels.reference.decoding` for the searches.

A sentence has a slot of K rows (greedy: one), its hypotheses going on. A step is: the words' embeddings and the states
that they continue (`decoder.cu`), per layer one product with [x; h] and one launch for its cells, the output layer by
chunks of rows with the K best words of each row (`ranking.cu`), and what the search does with them (`search.cu`).
Nothing comes back to the host but, every few steps, how many sentences go on. They then move to the front, and the
rows behind them are left out once they are half of all. The steps in between are replayed
(`kernels.cuda.runtime.graphs`): what differs between two of them lies on the device.

Products are cuBLAS'. The order of its sums may depend on how many rows it is given, so the bits of log p, and words
where two are that close, may depend on the sentences beside one, unlike on the CPU.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from kernels.cuda.runtime import geometry, graphs
from kernels.cuda.runtime.arrays import bf16 as to_bf16
from kernels.cuda.runtime.cublas import gemm
from kernels.cuda.runtime.launcher import error_word, module
from kernels.forms import rounded

LOGITS_BYTES = 256 << 20  # of a chunk of rows
STEPS_BETWEEN = 4  # steps until the host asks how many sentences go on


class DecoderWeights(NamedTuple):
    """A decoder as the products take it; matrices float32, or bfloat16 in uint16."""

    embedding: Any  # (V, E) float32
    matrices: Sequence[Any]  # (4H, I + H) of each layer, [weight_ih, weight_hh]
    bias: Any  # (L, 4H)
    output_weight: Any  # (V, H)
    output_bias: Any  # (V,)


class _Rows(NamedTuple):
    """Work space for S slots of K rows, R in all; what each array holds stands in decoder.cu and search.cu."""

    inputs: Any  # (L + 1, R, W)
    c: Any  # (L, R, H)
    c_prev: Any  # (L, R, H)
    gates: Any  # (R, 4H), the products
    logits: Any  # (rows of a chunk, V padded)
    ranked_bias: Any  # (V,)
    log_probs: Any  # (R, K)
    candidates: Any  # (R, K) int32
    words: Any  # (R,) int32
    parents: Any  # (R,) int32
    owner: Any  # (S,) int32
    going: Any  # (S,) int32
    totals: Any  # (R,) float64
    step: Any  # (1,) int32
    alive: Any  # (1,) int32


class _Selection(NamedTuple):
    """What is done with the best words of each row: a kernel of search.cu, without the number of slots."""

    kernel: Any
    launch: Any  # number of slots -> its launch
    arrays: tuple[Any, ...]
    numbers: tuple[int, ...]

    def __call__(self, slots: int) -> None:
        self.kernel(self.launch(slots), (*self.arrays, np.int32(slots), *map(np.int32, self.numbers)))


def prepack_decoder(
    embedding: Any,
    weights_ih: Sequence[Any],
    weights_hh: Sequence[Any],
    biases: Sequence[Any],
    output_weight: Any,
    output_bias: Any,
    form: str = "full",
) -> Any:
    """See `kernels.prepack_decoder`. What is narrow is rounded, and kept in float32."""
    ih, hh = ([rounded(weight, form) for weight in weights] for weights in (weights_ih, weights_hh))
    stacked = [np.concatenate(pair, axis=1) for pair in zip(ih, hh, strict=True)]
    if form == "bf16":
        stacked, output = [to_bf16(matrix) for matrix in stacked], to_bf16(output_weight)
    else:
        output = rounded(output_weight.copy(), form)
    return DecoderWeights(embedding.copy(), tuple(stacked), np.stack(biases), output, output_bias.copy())


def greedy_decode(
    decoder: Any, h0: Any, c0: Any, start: int, end: int, excluded: np.ndarray, max_length: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """See `kernels.greedy_decode`. The results lie on the host."""
    import cupy

    N = h0.shape[1]
    results = cupy.full((N, max_length), -1, np.int64), cupy.zeros(N, np.int64), cupy.zeros(N, np.float64)
    if N == 0:
        return tuple(array.get() for array in results)
    rows = _make_rows(decoder, h0, 1, excluded)

    states = rows.log_probs, rows.candidates, rows.owner, rows.going, rows.words, rows.parents, rows.step
    kernel, numbers = module("search/search").greedy_select, (max_length, end)
    _start(rows, h0, c0, start, 1)
    _search(decoder, rows, _Selection(kernel, geometry.greedy_select, (*states, *results), numbers), 1, max_length)
    return tuple(array.get() for array in results)


def beam_decode(
    decoder: Any,
    h0: Any,
    c0: Any,
    start: int,
    end: int,
    excluded: np.ndarray,
    max_length: int,
    beam_size: int,
    length_penalty: float = 1.0,
    n_best: int = 1,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """See `kernels.beam_decode`. The results lie on the host."""
    import cupy

    N, K, T, B = h0.shape[1], beam_size, max_length, n_best
    words, lengths = cupy.empty((N, B, T), np.int64), cupy.empty((N, B), np.int64)
    scores, log_p, counts = cupy.zeros((N, B)), cupy.zeros((N, B)), cupy.zeros(N, np.int32)
    if N == 0:
        return words.get(), lengths.get(), log_p.get(), scores.get(), counts.get().astype(np.int64)
    history, found = cupy.empty((T, N, K, 2), np.int32), cupy.empty((N, B, 3), np.int32)
    divisors = cupy.asarray(np.array([1.0, *(length**length_penalty for length in range(1, T + 1))]))
    longest = T if length_penalty > 0 else 1
    rows = _make_rows(decoder, h0, K, excluded)

    states = rows.log_probs, rows.candidates, rows.owner, rows.going, rows.totals, rows.words, rows.parents
    kept = rows.step, history, scores, log_p, found, counts, divisors
    kernel, numbers = module("search/search").beam_select, (K, N, T, B, end, longest)
    _start(rows, h0, c0, start, K)
    launch = partial(geometry.beam_select, K=K)
    _search(decoder, rows, _Selection(kernel, launch, (*states, *kept), numbers), K, T)
    results = history, found, counts, scores, log_p, words, lengths
    sizes = (np.int32(number) for number in (N, K, T, B, end))
    module("search/search").beam_collect(geometry.beam_collect(N, B), (*results, *sizes))
    return words.get(), lengths.get(), log_p.get(), scores.get(), counts.get().astype(np.int64)


def _make_rows(decoder: DecoderWeights, h0: Any, K: int, excluded: np.ndarray) -> _Rows:
    """Work space for K rows to each sentence."""
    import cupy

    (L, N, H), (V, E) = h0.shape, decoder.embedding.shape
    R, dtype = N * K, decoder.output_weight.dtype
    stride = -(-V // 4) * 4  # so that rows of logits begin at multiples of 16 bytes
    chunk = max(1, min(R, LOGITS_BYTES // (4 * stride)))
    ranked = decoder.output_bias.copy()
    if len(excluded):
        arguments = ranked, cupy.asarray(excluded), np.int32(len(excluded)), np.int32(V), error_word()
        module("search/ranking").exclude_words(geometry.exclude_words(len(excluded)), arguments)

    def integers(*shape: int) -> Any:
        return cupy.empty(shape, np.int32)

    def floats(*shape: int) -> Any:
        return cupy.empty(shape, np.float32)

    inputs = cupy.zeros((L + 1, R, max(E, H) + H), dtype)  # rows that nobody has started yet are computed, too
    return _Rows(
        inputs, cupy.zeros((L, R, H), np.float32), floats(L, R, H), floats(R, 4 * H), floats(chunk, stride), ranked,
        floats(R, K), integers(R, K), integers(R), integers(R), integers(N), integers(N), cupy.zeros(R), integers(1),
        integers(1),
    )  # fmt: skip


def _kernel(name: str, inputs: Any) -> Any:
    """A kernel of decoder.cu for the dtype of the operands."""
    return getattr(module("search/decoder"), f"{name}_{'f32' if inputs.dtype == np.float32 else 'bf16'}")


def _start(rows: _Rows, h0: Any, c0: Any, start: int, K: int) -> None:
    """The states of all sentences, before the first step."""
    (L, N, H), (_, R, W) = h0.shape, rows.inputs.shape
    arrays = h0, c0, rows.inputs, rows.c, rows.words, rows.parents, rows.owner, rows.going, rows.step
    numbers = (np.int32(number) for number in (R, K, H, W, start))
    _kernel("decoder_start", rows.inputs)(geometry.decoder_start(N, L), (*arrays, *numbers))


def _advance(decoder: DecoderWeights, rows: _Rows, count: int, K: int) -> None:
    """One step of the first `count` rows, up to the best words of each."""
    inputs, gates = rows.inputs, rows.gates[:count]
    (L, R, H), W, (V, E) = rows.c.shape, inputs.shape[2], decoder.embedding.shape
    going_in = decoder.embedding, inputs, rows.c, rows.c_prev, rows.words, rows.parents, rows.step
    sizes = (np.int32(number) for number in (R, E, H, W))
    _kernel("decoder_gather", inputs)(geometry.decoder_gather(count, L), (*going_in, *sizes))
    for layer, matrix in enumerate(decoder.matrices):
        gemm(inputs[layer, :count, W - matrix.shape[1] :], matrix, gates, transpose_b=True)
        states = gates, decoder.bias[layer], rows.c_prev, rows.c, inputs
        sizes = (np.int32(number) for number in (layer, count, R, H, W))
        _kernel("decoder_cell", inputs)(geometry.gates(count, H), (*states, *sizes))
    stride = rows.logits.shape[1]
    for first in range(0, count, len(rows.logits)):
        stop = min(first + len(rows.logits), count)
        gemm(inputs[L, first:stop, W - 2 * H : W - H], decoder.output_weight, rows.logits[: stop - first, :V],
             transpose_b=True)  # fmt: skip
        arrays = rows.logits, decoder.output_bias, rows.ranked_bias, rows.going, rows.log_probs, rows.candidates
        sizes = (np.int32(number) for number in (first, V, stride, K))
        module("search/ranking").rank_words(geometry.rank_words(stop - first), (*arrays, *sizes))


def _search(decoder: DecoderWeights, rows: _Rows, select: _Selection, K: int, max_length: int) -> None:
    """Steps until no sentence goes on."""
    slots, depends_on = len(rows.owner), _key(decoder, rows, select)

    def work() -> None:
        _advance(decoder, rows, slots * K, K)
        select(slots)

    for step in range(max_length):
        graphs.run(work, max_length, "search", slots, K, *depends_on)
        if (step + 1) % STEPS_BETWEEN or step + 1 == max_length:
            continue
        alive = _count_alive(rows, slots, K)
        if alive == 0:
            break
        if 2 * alive <= slots:
            slots = alive


def _key(decoder: DecoderWeights, rows: _Rows, select: _Selection) -> tuple[Any, ...]:
    """All that the launches of a step depend on, beside the number of rows."""
    weights = decoder.embedding, *decoder.matrices, decoder.bias, decoder.output_weight, decoder.output_bias
    arrays = *weights, *rows, *select.arrays
    return *((array.data.ptr, array.shape) for array in arrays), decoder.output_weight.dtype.str, *select.numbers


def _count_alive(rows: _Rows, slots: int, K: int) -> int:
    """Moves the sentences that go on to the front; waits for the device."""
    arrays = rows.owner, rows.going, rows.totals, rows.words, rows.parents
    numbers = np.int32(slots), np.int32(K), rows.alive
    module("search/search").compact_slots(geometry.compact_slots(), (*arrays, *numbers))
    return int(rows.alive.get()[0])
