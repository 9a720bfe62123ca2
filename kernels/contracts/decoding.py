"""Search for the likeliest outputs of an LSTM decoder."""

import math
from collections.abc import Sequence
from typing import Annotated, Any

from kernels.contracts.checks import between, check_range, check_shape, ids_below
from kernels.contracts.entry import Array, Fields, entry
from kernels.contracts.plan import int64, on_host
from kernels.forms import FORMS

Arrays = Sequence[Array]
Decoder = Annotated[Any, Fields(embedding="V E", bias="L 4H")]
Token = Annotated[int, ids_below("V")]
Excluded = Annotated[Array, "X", int64, on_host, ids_below("V")]


def nothing_is_empty(function: str, name: str, embedding: Array, sizes: dict[str, int]) -> None:
    """No size is 0. Raises ValueError."""
    for letter in "VEH":
        check_range(function, letter, sizes[letter], 1)


def known_form(function: str, name: str, form: str, sizes: dict[str, int]) -> None:
    """One of FORMS. Raises ValueError."""
    if form not in FORMS:
        raise ValueError(f"{function}: {name} is {form!r}; expected {', '.join(FORMS[:-1])} or {FORMS[-1]}")


Form = Annotated[str, known_form]


def same_counts(function: str, weights_ih: Arrays, weights_hh: Arrays, biases: Arrays) -> None:
    """As many weights of each kind, one at least. Raises ValueError."""
    counts = [len(weights_ih), len(weights_hh), len(biases)]
    if min(counts) < 1 or min(counts) != max(counts):
        texts = f"weights_ih, weights_hh, biases hold {counts} layers"
        raise ValueError(f"{function}: {texts}; expected as many each, 1 or more")


def layers_fit(
    function: str,
    embedding: Array,
    weights_ih: Arrays,
    weights_hh: Arrays,
    biases: Arrays,
    output_weight: Array,
    *others: Any,
) -> None:
    """As many weights of each kind, each in the shape that its layer gives it. Raises ValueError."""  # fmt: skip
    same_counts(function, weights_ih, weights_hh, biases)
    origins = {"embedding": embedding.shape, "output_weight": output_weight.shape}
    size = output_weight.shape[1]
    for layer, (weight_ih, weight_hh, bias) in enumerate(zip(weights_ih, weights_hh, biases, strict=True)):
        for kind, array, formula, shape in (
            ("weights_ih", weight_ih, "(4H, I)", (4 * size, size if layer else embedding.shape[1])),
            ("weights_hh", weight_hh, "(4H, H)", (4 * size, size)),
            ("biases", bias, "(4H,)", (4 * size,)),
        ):
            check_shape(function, f"{kind}[{layer}]", array, shape, formula, **origins)


def best_of_beam(function: str, *values: Any) -> None:
    """n_best is 1 to beam_size, and the length penalty finite. Raises ValueError."""
    beam_size, length_penalty, n_best = values[-3:]
    if not 1 <= n_best <= beam_size:
        raise ValueError(f"{function}: n_best is {n_best}; expected 1 to beam_size = {beam_size}")
    if not math.isfinite(length_penalty):
        raise ValueError(f"{function}: length_penalty is {length_penalty}; expected a finite number")


@entry(layers_fit)
def prepack_decoder(
    embedding: Annotated[Array, "V E", nothing_is_empty],
    weights_ih: Annotated[Arrays, "*"],
    weights_hh: Annotated[Arrays, "*"],
    biases: Annotated[Arrays, "*"],
    output_weight: Annotated[Array, "V H"],
    output_bias: Annotated[Array, "V"],
    form: Form = "full",
) -> Any:
    """A decoder's weights in the order in which the searches read them; a copy, made once for many searches.

    Args:
        embedding: (V, E) float32 or float64.
        weights_ih: of each of L >= 1 layers (4H, I), with I = E in the first and H in the others; gates i, f, g, o.
        weights_hh: of each layer (4H, H).
        biases: of each layer (4H,).
        output_weight: (V, H).
        output_bias: (V,).
        form: of the matrices, one of `kernels.forms.FORMS`: of bf16 what they are multiplied with is rounded too; sums,
            states and the embedding stay in float32. float64 ignores it.

    Returns:
        a named tuple that belongs to the backend, with `embedding` (V, E), `bias` (L, 4H), `output_bias` (V,).

    Raises:
        TypeError, ValueError: a dtype, a shape, or lists of unequal lengths.
    """


@entry()
def greedy_decode(
    decoder: Decoder,
    h0: Annotated[Array, "L N H"],
    c0: Annotated[Array, "L N H"],
    start: Token,
    end: Token,
    excluded: Excluded,
    max_length: Annotated[int, between(1)],
) -> tuple[Array, Array, Array]:
    """The likeliest next word, again and again. The search: `kernels.reference.decoding`.

    Args:
        decoder: of `prepack_decoder`.
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


@entry(best_of_beam)
def beam_decode(
    decoder: Decoder,
    h0: Annotated[Array, "L N H"],
    c0: Annotated[Array, "L N H"],
    start: Token,
    end: Token,
    excluded: Excluded,
    max_length: Annotated[int, between(1)],
    beam_size: Annotated[int, between(1)],
    length_penalty: float = 1.0,
    n_best: int = 1,
) -> tuple[Array, Array, Array, Array, Array]:
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


@entry(by_reference=True)
def best_extensions(
    log_probs: Annotated[Array, "R V"],
    totals: Annotated[Array, "R", on_host],
    count: Annotated[int, between(1)],
) -> tuple[Array, Array]:
    """Which words behind which rows make the likeliest hypotheses: the largest of totals[r] + log_probs[r, word].

    Args:
        log_probs: (R, V) log p of each word behind each row.
        totals: (R,) float64, on the host, log p of the rows.
        count: how many are wanted, at least 1.

    Returns:
        rows, words: (K,) int64 each, on the host: the ``count`` best, or fewer where there are no more, the best first,
            equal ones by row and word. Sums are in float64; one that is NaN or -inf is none.

    Raises:
        TypeError, ValueError: a dtype, a shape, or a count below 1.
    """
