"""Search for the likeliest outputs of a recurrent decoder that attends to a memory."""

from collections.abc import Sequence
from typing import Annotated, Any

from kernels.attentive import DecoderReading, SearchState
from kernels.contracts.attention import lengths_within
from kernels.contracts.checks import between, check_shape
from kernels.contracts.decoding import Excluded, Form, Token, best_of_beam, nothing_is_empty, same_counts
from kernels.contracts.entry import Array, Counts, Fields, entry
from kernels.contracts.plan import integers, on_host

Reading = Annotated[DecoderReading, Fields(combine="*", bias="*", query="*?", v="*?")]
Attending = Annotated[Any, Fields(embedding="V E", bias="L 4H"), Counts(A="key_size", D="context_size")]
SearchStart = Annotated[SearchState, Fields(h="L N H", keys="S N A", values="S N D", c="L N H?", context="N D?")]
Lengths = Annotated[Array, "N", integers, on_host, lengths_within("S", "state.keys")]


def layers_and_reading_fit(
    function: str,
    embedding: Array,
    weights_ih: Sequence[Array],
    weights_hh: Sequence[Array],
    biases: Sequence[Array],
    output_weight: Array,
    output_bias: Array,
    reading: DecoderReading,
    *others: Any,
) -> None:
    """As many weights of each kind, in the shapes that a cell, its layer and the reading give them. Raises
    ValueError."""
    same_counts(function, weights_ih, weights_hh, biases)
    size = output_weight.shape[1]
    gates = 3 if len(weights_hh[0]) == 3 * size else 4
    reading_fits(function, reading, size)
    read = reading.combine.shape[1] - size if reading.feeds else 0
    origins = {"embedding": embedding.shape, "output_weight": output_weight.shape}
    origins |= {"reading.combine": reading.combine.shape} if reading.feeds else {}
    for layer, (weight_ih, weight_hh, bias) in enumerate(zip(weights_ih, weights_hh, biases, strict=True)):
        width = (size if layer else embedding.shape[1]) + (read if layer < 2 else 0)
        for kind, array, formula, shape in (
            ("weights_ih", weight_ih, f"({gates}H, I)", (gates * size, width)),
            ("weights_hh", weight_hh, f"({gates}H, H)", (gates * size, size)),
            ("biases", bias, "(4H,)", (4 * size,)),
        ):
            check_shape(function, f"{kind}[{layer}]", array, shape, formula, **origins)


def reading_fits(function: str, reading: DecoderReading, size: int) -> None:
    """Its parts are those of states (., H). Raises ValueError."""
    combine, bias, query, v, _, feeds, before = reading
    if combine.ndim != 2 or len(combine) != size or combine.shape[1] <= size:
        raise ValueError(f"{function}: reading.combine has shape {combine.shape}; expected (H, D + H) with H = {size}")
    if query is not None and (query.ndim != 2 or query.shape[1] != size):
        raise ValueError(f"{function}: reading.query has shape {query.shape}; expected (A, H) with H = {size}")
    key_size = size if query is None else len(query)
    for name, part, letter, length in (("bias", bias, "H", size), ("v", v, "A", key_size)):
        if part is not None and part.shape != (length,):
            raise ValueError(f"{function}: reading.{name} has shape {part.shape}; expected ({letter},) = ({length},)")
    if before and not feeds:
        raise ValueError(f"{function}: reading.before is True without reading.feeds; expected both, or neither")


def state_is_whole(function: str, decoder: Any, state: SearchState, *others: Any) -> None:
    """c and context are there where the decoder has them, and there alone. Raises ValueError."""
    for name, needed in (("c", decoder.has_cells), ("context", decoder.feeds)):
        if (getattr(state, name) is not None) != needed:
            found, kind = ("None", "an array") if needed else ("an array", "None")
            raise ValueError(f"{function}: state.{name} is {found}; expected {kind} with this decoder")


@entry(layers_and_reading_fit, by_reference=True)
def prepack_attentive_decoder(
    embedding: Annotated[Array, "V E", nothing_is_empty],
    weights_ih: Annotated[Sequence[Array], "*"],
    weights_hh: Annotated[Sequence[Array], "*"],
    biases: Annotated[Sequence[Array], "*"],
    output_weight: Annotated[Array, "V H"],
    output_bias: Annotated[Array, "V"],
    reading: Reading,
    form: Form = "full",
) -> Any:
    """A decoder's weights in the order in which the searches with attention read them; a copy, made once for many.

    At a step the first layer reads the token's embedding, each other one the h below it, and with `reading.feeds` the
    first two behind that a context. What is attended to with the state h of the last layer, or with `feeds` of the
    first, goes with the last layer's h through `reading.combine` into the output layer. Equations:
    `kernels.reference.decoding`.

    Args:
        embedding: (V, E) float32 or float64.
        weights_ih: of each of L >= 1 layers (4H, I), gates i, f, g, o of an LSTM, or (3H, I), gates r, z, n of a GRU in
            PyTorch's form; I is E in the first and H in the others, with `feeds` D more in the first two.
        weights_hh: of each layer (4H, H) or (3H, H).
        biases: of each layer (4H,); of a GRU those of r and z, of the input part of n, and of its recurrent part.
        output_weight: (V, H).
        output_bias: (V,).
        reading: combine (H, D + H), bias (H,), query (A, H), v (A,), dtype of the embedding; see its class.
        form: of the matrices, one of `kernels.forms.FORMS`: of bf16 what they are multiplied with is rounded too, and
            as in `attention_forward` the memory; sums, states and the embedding stay in float32. float64 ignores it.

    Returns:
        a named tuple that belongs to the backend, with `embedding` (V, E), `bias` (L, 4H), the sizes `key_size` A and
        `context_size` D, and whether it `has_cells` c and `feeds` contexts.

    Raises:
        TypeError, ValueError: a dtype, a shape, lists of unequal lengths, or `before` without `feeds`.
    """


@entry(state_is_whole, by_reference=True)
def attentive_greedy_decode(
    decoder: Attending,
    state: SearchStart,
    lengths: Lengths,
    start: Token,
    end: Token,
    excluded: Excluded,
    max_length: Annotated[int, between(1)],
) -> tuple[Array, Array, Array]:
    """`greedy_decode` of a decoder that attends.

    Args:
        decoder: of `prepack_attentive_decoder`.
        state: of N sentences: h and of an LSTM c (L, N, H), where contexts are fed the one (N, D) that the first step
            reads, and the memory: keys (S, N, A), values (S, N, D). Dtype of the decoder.
        lengths: (N,) integers in 0..S on the host, the positions of each memory.
        start, end, excluded, max_length: as for `greedy_decode`.

    Returns:
        words, lengths, log_probs: as of `greedy_decode`, with the same promises.

    Raises:
        TypeError, ValueError, IndexError: a dtype, a shape, a number or word out of range, or a part of the state that
            this decoder has not, or lacks.
    """


def whole_and_best_of_beam(function: str, decoder: Any, state: SearchState, *others: Any) -> None:
    """Both checks of a beam with attention. Raises ValueError."""
    state_is_whole(function, decoder, state)
    best_of_beam(function, *others)


@entry(whole_and_best_of_beam, by_reference=True)
def attentive_beam_decode(
    decoder: Attending,
    state: SearchStart,
    lengths: Lengths,
    start: Token,
    end: Token,
    excluded: Excluded,
    max_length: Annotated[int, between(1)],
    beam_size: Annotated[int, between(1)],
    length_penalty: float = 1.0,
    n_best: int = 1,
) -> tuple[Array, Array, Array, Array, Array]:
    """`beam_decode` of a decoder that attends.

    Args:
        decoder, state, lengths: as for `attentive_greedy_decode`.
        start, end, excluded, max_length, beam_size, length_penalty, n_best: as for `beam_decode`.

    Returns:
        words, lengths, log_probs, scores, counts: as of `beam_decode`, with the same promises.

    Raises:
        TypeError, ValueError, IndexError: as of `attentive_greedy_decode` and `beam_decode`.
    """
