"""A recurrent layer that attends to a memory at every step, and reads at the next step what it found."""

from typing import Annotated, Any

from kernels.attentive import GATES, AttentiveState, AttentiveWeights
from kernels.contracts.attention import lengths_within
from kernels.contracts.entry import Array, Counts, Fields, entry
from kernels.contracts.plan import integers, on_host
from kernels.contracts.recurrent import TokenPacking

Weights = Annotated[
    AttentiveWeights,
    Fields(
        input="G I", context="G D", hidden="G H", bias_ih="G?", bias_hh="G?", query="A H?", v="A?", coverage="A?"
    ),
]  # fmt: skip
State = Annotated[AttentiveState, Fields(h="N H", context="N D", c="N H?", coverage="N S?")]
StateGradient = Annotated[AttentiveState, Fields(h="N H?", context="N D?", c="N H?", coverage="N S?")]
WeightsAlone = Annotated[
    AttentiveWeights,
    Fields(
        input="G I", context="G D", hidden="G H", bias_ih="G?", bias_hh="G?", query="*?", v="*?", coverage="*?"
    ),
]  # fmt: skip
Prepacked = Annotated[
    Any, Fields(bias="G"), Counts(I="input_size", H="hidden_size", D="context_size", A="key_size")
]  # fmt: skip
Cache = Annotated[Any, Fields(x="P I", keys="S N A", values="S N D", hidden="G H")]


def parts_fit(
    function: str, x: Any, state: Any, weights: Any, keys: Any, values: Any, lengths: Any, packing: Any, cell: Any,
    *others: Any,
) -> None:  # fmt: skip
    """The arrays are those of such a cell and such a score. Raises ValueError."""
    if cell not in GATES:
        raise ValueError(f"{function}: cell is {cell!r}; expected {', '.join(GATES)}")
    rows, size = weights.hidden.shape
    if rows != GATES[cell] * size:
        raise ValueError(
            f"{function}: weights.hidden has shape {(rows, size)}; expected ({GATES[cell]}H, H) for a cell {cell}"
        )
    if weights.query is None and keys.shape[2] != size:
        raise ValueError(f"{function}: keys has shape {keys.shape}; expected A = H = {size} without weights.query")
    given = {f"state.{name}": part is not None for name, part in state._asdict().items()}
    given |= {f"weights.{name}": part is not None for name, part in weights._asdict().items()}
    _require_alike(function, given, "weights.bias_ih", "weights.bias_hh")
    _require_alike(function, given, "state.coverage", "weights.coverage")
    if given["state.c"] != (cell == "lstm"):
        raise ValueError(f"{function}: state.c is {'' if given['state.c'] else 'not '}given; a cell {cell} "
                         f"{'has' if cell == 'lstm' else 'has not'} one")  # fmt: skip
    if given["weights.coverage"] and not given["weights.v"]:
        raise ValueError(f"{function}: weights.v is None but weights.coverage is not; expected v, since coverage "
                         "enters that score")  # fmt: skip


def weights_fit(function: str, weights: Any, cell: Any, *others: Any) -> None:
    """The weights are those of such a cell, and of a score with one size of keys. Raises ValueError."""
    rows, size = weights.hidden.shape
    if cell not in GATES or rows != GATES[cell] * size:
        raise ValueError(
            f"{function}: cell is {cell!r}, weights.hidden has shape {(rows, size)}; expected a cell of "
            f"{', '.join(f'{name} ({gates}H, H)' for name, gates in GATES.items())}"
        )
    key_size = size if weights.query is None else len(weights.query)
    wanted = {"query": (key_size, size), "v": (key_size,), "coverage": (key_size,)}
    for name, shape in wanted.items():
        part = getattr(weights, name)
        if part is not None and part.shape != shape:
            raise ValueError(f"{function}: weights.{name} has shape {part.shape}; expected {shape}")


def _require_alike(function: str, given: dict[str, bool], one: str, other: str) -> None:
    if given[one] != given[other]:
        missing, present = (other, one) if given[one] else (one, other)
        raise ValueError(f"{function}: {missing} is None but {present} is not; expected both arrays or both None")


@entry(parts_fit, by_reference=True)
def attentive_forward(
    x: Annotated[Array, "P I"],
    state: State,
    weights: Weights,
    keys: Annotated[Array, "S N A"],
    values: Annotated[Array, "S N D"],
    lengths: Annotated[Array, "N", integers, on_host, lengths_within("S", "keys")],
    packing: TokenPacking,
    cell: str,
    scale: float = 1.0,
    bf16: bool = False,
) -> tuple[Annotated[Array, "P H"], Annotated[Array, "P D"], Annotated[Array, "P S"], AttentiveState, Any]:
    """One recurrent layer whose cell reads, beside its input, what the step before attended to.

    At each step the cell gets x, the context of the step before and the state; then the new state, or its product with
    `weights.query`, asks for a new context. Equations: `kernels.reference.attentive`.

    Args:
        x: (P, I) float32 or float64, the tokens in the order of the packing.
        state: before the first step, in the order of the batch, dtype of x; c for an LSTM, coverage with its weight.
        weights: dtype of x. Blocks i, f, g, o of an LSTM, r, z, n of a GRU, to which two biases are added or none.
        keys: (S, N, A), dtype of x; what lies past a length is never used.
        values: (S, N, D), likewise.
        lengths: (N,) integers in 0..S on the host, the positions of each memory.
        packing: of the sequences' tokens, on the host.
        cell: "lstm"; "gru", with the reset gate behind the recurrent product; or "cho-gru", with it before.
        scale: of the products of queries and keys.
        bf16: products of bfloat16-rounded operands, summed in float32, here and in the backward; float64 ignores it.

    Returns:
        y: (P, H) hidden states. May share memory with the cache.
        context: (P, D) what was read after each token.
        alignment: (P, S) the weights with which, see `attention_forward`.
        state: after the last token; where there is none, that before the first.
        cache: for `attentive_backward`.

    Raises:
        TypeError, ValueError: an argument of another dtype or shape, or one that does not go with the cell.
    """


@entry(weights_fit, by_reference=True)
def prepack_attentive(weights: WeightsAlone, cell: str, bf16: bool = False) -> Any:
    """A layer's weights in the order in which `attentive_states` reads them; a copy, made once for many calls.

    Args:
        weights: as in `attentive_forward`; they fit the cell.
        cell: likewise.
        bf16: keep the matrices in bfloat16 and round what they are multiplied with; float64 ignores it.

    Returns:
        a named tuple that belongs to the backend, with `bias` (G,) and the sizes I, H, D and A by name.

    Raises:
        TypeError, ValueError: a dtype or a shape.
    """


@entry(by_reference=True)
def attentive_states(
    x: Annotated[Array, "P I"],
    state: State,
    weights: Prepacked,
    keys: Annotated[Array, "S N A"],
    values: Annotated[Array, "S N D"],
    lengths: Annotated[Array, "N", integers, on_host, lengths_within("S", "keys")],
    packing: TokenPacking,
    scale: float = 1.0,
) -> tuple[Annotated[Array, "P H"], Annotated[Array, "P D"], Annotated[Array, "P S"], AttentiveState]:
    """`attentive_forward` with prepacked weights and without a backward: the same to the bit.

    Args:
        weights: of `prepack_attentive`.
        others: as in `attentive_forward`, dtype of the weights.

    Raises:
        TypeError, ValueError: an argument of another dtype or shape.
    """


@entry(by_reference=True)
def attentive_backward(
    dy: Annotated[Array | None, "P H"],
    dcontext: Annotated[Array | None, "P D"],
    dalignment: Annotated[Array | None, "P S"],
    dstate: StateGradient,
    cache: Cache,
) -> tuple[Array, AttentiveState, AttentiveWeights, Array, Array]:
    """Gradients of `attentive_forward`.

    Args:
        dy: (P, H) gradient of the loss with respect to y, or None for zero.
        dcontext: (P, D) gradient with respect to context, or None for zero.
        dalignment: (P, S) gradient with respect to alignment, or None for zero.
        dstate: gradients with respect to the last state, None for zero.
        cache: of the forward call.

    Returns:
        Gradients with respect to x (P, I); the first state; the weights; keys (S, N, A) and values (S, N, D). None in
        the place of what the forward had not.

    Raises:
        TypeError, ValueError: a gradient of another dtype or shape than its output.
    """
