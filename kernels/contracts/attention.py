"""Attention of packed queries over a memory for each sequence."""

from typing import Annotated, Any

from kernels.contracts.checks import Check
from kernels.contracts.entry import Array, Fields, entry
from kernels.contracts.plan import integers, on_host
from kernels.contracts.recurrent import TokenPacking
from kernels.contracts.shapes import Sizes


def lengths_within(letter: str, origin: str) -> Check:
    """Every length is in 0..size of the letter, which `origin` has. Raises ValueError."""

    def check(function: str, name: str, lengths: Any, sizes: Sizes) -> None:
        if lengths.size and (lengths.min() < 0 or lengths.max() > sizes[letter]):
            worst = int(lengths.min() if lengths.min() < 0 else lengths.max())
            limit = f"0..{letter} = 0..{sizes[letter]}"
            raise ValueError(f"{function}: {name} holds {worst}; expected values in {limit} from {origin}")

    return check


def coverage_complete(
    function: str, query: Any, keys: Any, values: Any, lengths: Any, packing: Any, v: Any, coverage: Any,
    coverage_weight: Any, *others: Any,
) -> None:  # fmt: skip
    """Coverage comes with its weight, and with the additive score. Raises ValueError."""
    if (coverage is None) != (coverage_weight is None):
        missing, given = ("coverage", "coverage_weight")[:: 1 if coverage is None else -1]
        raise ValueError(f"{function}: {missing} is None but {given} is not; expected both arrays or both None")
    if coverage is not None and v is None:
        raise ValueError(f"{function}: v is None but coverage is not; expected v, since coverage enters that score")


@entry(coverage_complete, by_reference=True)
def attention_forward(
    query: Annotated[Array, "P A"],
    keys: Annotated[Array, "S N A"],
    values: Annotated[Array, "S N D"],
    lengths: Annotated[Array, "N", integers, on_host, lengths_within("S", "keys")],
    packing: TokenPacking,
    v: Annotated[Array | None, "A"] = None,
    coverage: Annotated[Array | None, "N S"] = None,
    coverage_weight: Annotated[Array | None, "A"] = None,
    scale: float = 1.0,
    bf16: bool = False,
) -> tuple[Annotated[Array, "P D"], Annotated[Array, "P S"], Any]:
    """What each query reads of its sequence's memory. Equations: `kernels.reference.attention`.

    The score of a key is its product with the query times `scale`, or with `v` the additive one,
    v . tanh(query + key), to which coverage, the sum of the alignments before, may be added inside.

    Args:
        query: (P, A) float32 or float64, in the order of the packing.
        keys: (S, N, A) of N sequences, dtype of query; what lies past a length is never used.
        values: (S, N, D), likewise.
        lengths: (N,) integers in 0..S on the host, the positions of each memory.
        packing: of the queries, on the host.
        v: (A,), dtype of query, for the additive score; None for products.
        coverage: (N, S), likewise, what was attended to before the first query, or None for no coverage; with v alone.
        coverage_weight: (A,), likewise, what coverage is multiplied with; given together with it.
        scale: of products.
        bf16: products of query and keys, and of alignment and values, of bfloat16-rounded operands, summed in float32,
            here and in the backward; the additive score stays as it is, and float64 too.

    Returns:
        context: (P, D) sum of the values, each with its weight; zeros where a memory is empty.
        alignment: (P, S) these weights, which add up to 1; exactly 0 past a length. Context and alignment of a query
            have the same bits however far the memory is padded, and whatever sequences and threads are beside it. A
            NaN or an infinity among the scores makes all weights of its query NaN.
        cache: for `attention_backward`; it refers to the arrays of the call, which must stay unchanged until then.

    Raises:
        TypeError, ValueError: a dtype or shape, a length out of 0..S, or coverage without its weight or without v.
    """


@entry(by_reference=True)
def attention_backward(
    dcontext: Annotated[Array | None, "P D"],
    dalignment: Annotated[Array | None, "P S"],
    cache: Annotated[Any, Fields(query="P A", keys="S N A", values="S N D")],
) -> tuple[Array, Array, Array, Array | None, Array | None, Array | None]:
    """Gradients of `attention_forward`.

    Args:
        dcontext: (P, D) gradient with respect to context, or None for zero.
        dalignment: (P, S) gradient with respect to alignment, or None for zero.
        cache: of the forward call.

    Returns:
        Gradients with respect to query (P, A); keys (S, N, A) and values (S, N, D), 0 past a length; v (A,), coverage
        (N, S) and coverage_weight (A,), None for what the forward had not.

    Raises:
        TypeError, ValueError: a dtype or shape.
    """
