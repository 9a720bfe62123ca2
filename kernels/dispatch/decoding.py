"""Search for the likeliest outputs of an LSTM decoder."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kernels.checks import check_dtypes, check_ids, check_integer, check_range, check_rank, check_shape
from kernels.dispatch.backend import backend_for, contiguous


def pack_decoder(
    embedding: np.ndarray,
    weights_ih: Sequence[np.ndarray],
    weights_hh: Sequence[np.ndarray],
    biases: Sequence[np.ndarray],
    output_weight: np.ndarray,
    output_bias: np.ndarray,
    bf16: bool = False,
) -> Any:
    """A decoder's weights in the order in which the searches read them; a copy, made once for many searches.

    Args:
        embedding: (V, E) float32 or float64.
        weights_ih: of each of L >= 1 layers (4H, I), with I = E in the first and H in the others; gates i, f, g, o.
        weights_hh: of each layer (4H, H).
        biases: of each layer (4H,).
        output_weight: (V, H).
        output_bias: (V,).
        bf16: keep the matrices in bfloat16 and round what they are multiplied with; sums, states and the embedding
            stay in float32. float64 ignores it.

    Returns:
        a named tuple that belongs to the backend, with `embedding` (V, E), `bias` (L, 4H), `output_bias` (V,).

    Raises:
        TypeError, ValueError: a dtype, a shape, or lists of unequal lengths.
    """
    name = "pack_decoder"
    lists = {"weights_ih": weights_ih, "weights_hh": weights_hh, "biases": biases}
    layers = {f"{kind}[{layer}]": array for kind, group in lists.items() for layer, array in enumerate(group)}
    arrays = {"embedding": embedding, **layers, "output_weight": output_weight, "output_bias": output_bias}
    backend = backend_for(**arrays)
    check_dtypes(name, **arrays)
    counts = [len(group) for group in lists.values()]
    if min(counts) < 1 or min(counts) != max(counts):
        raise ValueError(f"{name}: {', '.join(lists)} hold {counts} layers; expected as many each, 1 or more")
    _check_weights(name, counts[0], arrays)
    groups = ([contiguous(array) for array in group] for group in lists.values())
    return backend.pack_decoder(
        contiguous(embedding), *groups, contiguous(output_weight), contiguous(output_bias), bool(bf16)
    )


def _check_weights(name: str, num_layers: int, arrays: dict[str, np.ndarray]) -> None:
    """The shapes of a decoder's weights fit each other, and no size is 0."""
    embedding, output_weight = arrays["embedding"], arrays["output_weight"]
    check_rank(name, "embedding", embedding, 2, "(V, E)")
    check_rank(name, "output_weight", output_weight, 2, "(V, H)")
    (vocab_size, input_size), size = embedding.shape, output_weight.shape[1]
    for letter, number in {"V": vocab_size, "E": input_size, "H": size}.items():
        check_range(name, letter, number, 1, math.inf)
    check_shape(name, "output_weight", output_weight, (vocab_size, size), "(V, H)", embedding=embedding.shape)
    check_shape(name, "output_bias", arrays["output_bias"], (vocab_size,), "(V,)", embedding=embedding.shape)
    origins = {"embedding": embedding.shape, "output_weight": output_weight.shape}
    for layer in range(num_layers):
        for kind, formula, shape in (
            ("weights_ih", "(4H, I)", (4 * size, size if layer else input_size)),
            ("weights_hh", "(4H, H)", (4 * size, size)),
            ("biases", "(4H,)", (4 * size,)),
        ):
            check_shape(name, f"{kind}[{layer}]", arrays[f"{kind}[{layer}]"], shape, formula, **origins)


def greedy_decode(
    decoder: Any, h0: np.ndarray, c0: np.ndarray, start: int, end: int, excluded: np.ndarray, max_length: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The likeliest next word, again and again. The search: `kernels.reference.decoding`.

    Args:
        decoder: of `pack_decoder`.
        h0, c0: (L, N, H) initial states of N sentences, dtype of the decoder.
        start: the word before the first, in 0..V-1.
        end: the word that ends an output, in 0..V-1.
        excluded: (X,) int64, on the host, words in 0..V-1 that are never produced.
        max_length: most words of an output, the end word counted; at least 1.

    Returns:
        words: (N, max_length) int64, the outputs without the end word, -1 behind them. Equal scores: the lower word.
        lengths: (N,) int64, words of each.
        log_probs: (N,) float64, natural logarithm of each output's probability, with the end word where it has one;
            NaN where a NaN or an infinity among the logits, or no word left, ended it.

    On a GPU the results may lie on the host or there. A sentence's have the same bits whatever sentences are beside it
    and whatever the number of threads.

    Raises:
        TypeError, ValueError, IndexError: a dtype, a shape, a number or word out of range, which it names.
    """
    name = "greedy_decode"
    backend = _check(name, decoder, h0, c0, start, end, excluded, max_length)
    return backend.greedy_decode(decoder, contiguous(h0), contiguous(c0), start, end, contiguous(excluded), max_length)


def beam_decode(
    decoder: Any,
    h0: np.ndarray,
    c0: np.ndarray,
    start: int,
    end: int,
    excluded: np.ndarray,
    max_length: int,
    beam_size: int,
    length_penalty: float = 1.0,
    n_best: int = 1,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The best-scored outputs that a beam finds. The search: `kernels.reference.decoding`.

    Args:
        decoder, h0, c0, start, end, excluded, max_length: as for `greedy_decode`.
        beam_size: hypotheses kept at each step, at least 1.
        length_penalty: scores are total log p / length**length_penalty, the end word counted in the length.
        n_best: outputs wanted of each sentence, 1..beam_size.

    Returns:
        words: (N, n_best, max_length) int64, best first, without the end word, -1 behind them.
        lengths: (N, n_best) int64, words of each.
        log_probs, scores: (N, n_best) float64.
        counts: (N,) int64, how many were found; fewer than n_best where there are no more, 0 where a NaN or an
            infinity among the logits left none.

    On a GPU the results may lie on the host or there. A sentence's have the same bits whatever sentences are beside it
    and whatever the number of threads.

    Raises:
        TypeError, ValueError, IndexError: a dtype, a shape, a number or word out of range, which it names.
    """
    name = "beam_decode"
    backend = _check(name, decoder, h0, c0, start, end, excluded, max_length)
    check_range(name, "beam_size", beam_size, 1, math.inf)
    if not 1 <= n_best <= beam_size:
        raise ValueError(f"{name}: n_best is {n_best}; expected 1 to beam_size = {beam_size}")
    if not math.isfinite(length_penalty):
        raise ValueError(f"{name}: length_penalty is {length_penalty}; expected a finite number")
    return backend.beam_decode(
        decoder, contiguous(h0), contiguous(c0), start, end, contiguous(excluded), max_length, beam_size,
        float(length_penalty), n_best,
    )  # fmt: skip


def _check(
    name: str, decoder: Any, h0: np.ndarray, c0: np.ndarray, start: int, end: int, excluded: np.ndarray, max_length: int
) -> Any:
    """What both searches ask of their arguments; returns the backend."""
    backend = backend_for(embedding=decoder.embedding, h0=h0, c0=c0)
    check_dtypes(name, decoder=decoder.embedding, h0=h0, c0=c0)
    check_rank(name, "h0", h0, 3, "(L, N, H)")
    layers, size = decoder.bias.shape[0], decoder.bias.shape[1] // 4
    check_shape(name, "h0", h0, (layers, h0.shape[1], size), "(L, N, H)", decoder_bias=decoder.bias.shape)
    check_shape(name, "c0", c0, h0.shape, "(L, N, H)", h0=h0.shape)
    check_integer(name, "excluded", excluded)
    check_rank(name, "excluded", excluded, 1, "(X,)")
    if excluded.dtype != np.int64:
        raise TypeError(f"{name}: excluded has dtype {excluded.dtype}; expected int64")
    vocab_size = len(decoder.embedding)
    for word_name, words in (("start", np.array([start])), ("end", np.array([end])), ("excluded", excluded)):
        check_ids(name, word_name, words, vocab_size, "V")
    check_range(name, "max_length", max_length, 1, math.inf)
    return backend
