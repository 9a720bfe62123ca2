"""The records of what attends to a memory, which all backends share: weights and states of a layer and of a search.

G is 4H for an LSTM, 3H for a GRU.
"""

from typing import Any, NamedTuple

import numpy as np

GATES = {"lstm": 4, "gru": 3, "cho-gru": 3}  # blocks of each kind of cell


class AttentiveWeights(NamedTuple):
    """Of the cell and of the score; in a backward their gradients."""

    input: np.ndarray  # (G, I)
    context: np.ndarray  # (G, D)
    hidden: np.ndarray  # (G, H)
    bias_ih: np.ndarray | None = None  # (G,)
    bias_hh: np.ndarray | None = None  # (G,)
    query: np.ndarray | None = None  # (A, H); None: the state itself is the query, and A is H
    v: np.ndarray | None = None  # (A,) of the additive score; None: products
    coverage: np.ndarray | None = None  # (A,)


class AttentiveState(NamedTuple):
    """What goes from a step to the next, arrays; in a backward its gradient, where None is zero."""

    h: Any  # (N, H)
    context: Any  # (N, D), read after the step with h
    c: Any = None  # (N, H) of an LSTM
    coverage: Any = None  # (N, S), the sum of the alignments so far


class DecoderReading(NamedTuple):
    """How a decoder that is searched with attends: weights, a score, and who reads what was found."""

    combine: Any  # (H, D + H) of what the output layer reads, tanh(combine @ [context; h] + bias)
    bias: Any  # (H,)
    query: Any = None  # (A, H); None: the state itself is the query, and A is H
    v: Any = None  # (A,) of the additive score; None: products
    scale: float = 1.0  # of products
    feeds: bool = False  # the first layer attends with its state; it and the second read contexts beside their input
    before: bool = False  # what a step reads is what the state before it attended to; with `feeds` alone


class SearchState(NamedTuple):
    """What a search with attention starts from, arrays."""

    h: Any  # (L, N, H)
    keys: Any  # (S, N, A)
    values: Any  # (S, N, D)
    c: Any = None  # (L, N, H) of an LSTM
    context: Any = None  # (N, D) that the first step reads, where it reads one
