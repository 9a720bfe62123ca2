"""The records of an attentive layer, which all backends share: its weights and its states.

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
