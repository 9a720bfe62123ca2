"""What decoders that attend are made of: a score, and a recurrent layer that reads what it attended to.

Sources: Bahdanau et al., "Neural machine translation by jointly learning to align and translate" (2015): additive;
Luong et al., "Effective approaches to attention-based neural machine translation" (2015): dot, general; Vaswani et al.,
"Attention is all you need" (2017): scaled; Tu et al., "Modeling coverage for neural machine translation" (2016).
S source positions, T steps, N sources, P packed rows, H state size, D size of an encoder's outputs.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from minigrad import Tensor, empty, nn, ops
from minigrad.decoding import AttentiveState, PackedAttentive
from seq2seq.models.cells import CELLS
from seq2seq.run.errors import UserError
from seq2seq.run.messages import shown

Array = np.ndarray
SCORES = ("dot", "scaled", "general", "additive")


class Attended(NamedTuple):
    """A memory, ready to be attended to."""

    keys: Tensor  # (S, N, A)
    values: Tensor  # (S, N, D)
    lengths: Array  # (N,) int64


class Attention(nn.Module):
    """How a state is compared with a position.

    Args:
        score: of SCORES.
        query_size: H.
        memory_size: D.
        coverage: whether what was attended to before enters the score.
        key_size: of the keys that the additive score makes; by default H.

    Raises:
        UserError: an unknown score, one that does not fit the sizes, or coverage with another than additive.
    """

    def __init__(
        self, score: str, query_size: int, memory_size: int, coverage: bool, key_size: int | None = None
    ) -> None:
        super().__init__()
        if score not in SCORES:
            raise UserError(f"attention is {shown(score)}; expected {', '.join(SCORES)}")
        if coverage and score != "additive":
            raise UserError(f"coverage is true, attention {score}; expected attention additive, whose score it enters")
        if score in ("dot", "scaled") and memory_size != query_size:
            raise UserError(
                f"attention {score} multiplies outputs of hidden_size = {query_size}; the encoder leaves outputs of "
                f"{memory_size}; expected a pair that fits, or attention general"
            )
        self.scale = 1 / math.sqrt(query_size) if score == "scaled" else 1.0
        size = key_size or query_size if score == "additive" else memory_size
        self.query = nn.Linear(query_size, size, bias=False) if score in ("general", "additive") else None
        self.key = nn.Linear(memory_size, size) if score == "additive" else None
        self.v = nn.Parameter(empty(size)) if score == "additive" else None
        self.coverage = nn.Parameter(empty(size)) if coverage else None

    def keys(self, values: Tensor) -> Tensor:
        """What states are compared with, of outputs (S, N, D); the same for all steps."""
        return values if self.key is None else _project(values, self.key)

    def forward(
        self, states: Tensor, attended: Attended, coverage: Tensor | None, lengths: Array
    ) -> tuple[Tensor, Tensor]:
        """Packed states (P, H) of sequences of these lengths (N,) -> contexts (P, D), alignments (P, S); coverage
        (N, S) is that before the first step."""
        keys, values, counts = attended
        query = states if self.query is None else _project(states, self.query)
        return ops.attention(
            query, keys, values, counts, self.v, coverage, self.coverage, scale=self.scale, lengths=lengths
        )


def _project(x: Tensor, layer: nn.Linear) -> Tensor:
    """``layer(x)``, but that the order of sums is the same for any number of rows: a source alone may have few."""
    y = ops.matmul(x, layer.weight.T)
    return y if layer.bias is None else y + layer.bias


class AttentiveRNN(nn.Module):
    """A recurrent layer that attends with its state at every step, and reads at the next what it found.

    Args:
        cell: of CELLS; the parameters are those of such a cell over [input; context].
        input_size: I.
        context_size: D.
        hidden_size: H.
    """

    def __init__(self, cell: str, input_size: int, context_size: int, hidden_size: int) -> None:
        super().__init__()
        gates = CELLS[cell].gates * hidden_size
        self.cell, self.context_size = cell, context_size
        self.weight_ih = nn.Parameter(empty(gates, input_size + context_size))
        self.weight_hh = nn.Parameter(empty(gates, hidden_size))
        self.bias_ih, self.bias_hh = (nn.Parameter(empty(gates)) for _ in range(2))

    def forward(
        self, x: Tensor, state: dict[str, Tensor], attention: Attention, attended: Attended, lengths: Array
    ) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """Packed rows x (P, I) of sequences of these lengths (N,).

        Args:
            state: h (N, H), context (N, D), of an LSTM c, with coverage that too (N, S); no other part is read.

        Returns:
            y (P, H), contexts (P, D) and alignments (P, S) after each step, and these parts of the last state.
        """
        given = {"c": "c0", "coverage": "coverage0"}
        y, context, alignment, *last = ops.attentive_layer(
            x, state["h"], state["context"], *attended, *self.weights(attention), cell=self.cell, scale=attention.scale,
            lengths=lengths, **{given[name]: part for name, part in state.items() if name in given},
        )  # fmt: skip
        return y, context, alignment, dict(zip(_parts(state), last, strict=True))

    def weights(self, attention: Attention) -> tuple[Any, ...]:
        """Those of the cell and of the score, in the order of ``ops.attentive_layer``."""
        query = None if attention.query is None else attention.query.weight
        own = self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh
        return *own, query, attention.v, attention.coverage


def _parts(state: dict[str, Tensor]) -> list[str]:
    """Those that go through the layer, in its order."""
    return [name for name in ("h", "context", "c", "coverage") if name in state]


class PrepackedAttentiveRNN:
    """An ``AttentiveRNN`` with its weights packed, for one step without a backward.

    Args:
        rnn, attention: whose weights they are.
        bf16: products in bfloat16.
    """

    def __init__(self, rnn: AttentiveRNN, attention: Attention, bf16: bool) -> None:
        size = rnn.weight_ih.shape[1] - rnn.context_size
        self._step = PackedAttentive(
            (rnn, attention), lambda: rnn.weights(attention), rnn.cell, attention.scale, size, bf16
        )

    def __call__(
        self, x: Tensor, state: dict[str, Tensor], attention: Attention, attended: Attended, lengths: Array
    ) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """As ``AttentiveRNN.forward``, of one step: every length is 1."""
        given = AttentiveState(*(state.get(name) for name in AttentiveState._fields))
        y, context, alignment, last = self._step(x, given, *attended)
        return y, context, alignment, dict(zip(_parts(state), last, strict=True))
