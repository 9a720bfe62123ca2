"""Recurrent layers with something between them: residual connections, normalisation, a pyramid.

Sources: Wu et al., "Google's neural machine translation system" (2016), section 3.1: residual connections; Chan et al.,
"Listen, attend and spell" (2016), section 3.1: a pyramid, whose layers read the states below in pairs; Ba, Kiros and
Hinton, "Layer normalization" (2016).
P packed rows, F features, N batch, H units, L layers, D directions.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np

from minigrad import Tensor, cat, nn
from minigrad.nn.utils.rnn import PackedSequence, lengths_of
from minigrad.ops.packed import PlaceRows


class Stack(nn.Module):
    """Recurrent layers; called as ``nn.LSTM`` and ``nn.GRU`` are, time-major, with packed sequences or a tensor.

    Args:
        cell: ``nn.LSTM``, ``nn.GRU`` or ``nn.ChoGRU``.
        input_size, hidden_size, num_layers, dropout, bidirectional: as theirs.
        residual: whether a layer's outputs have its inputs added to them, where both have one size.
        layer_norm: whether a layer's outputs are normalised, before that.
        pyramid: so many upper layers read pairs of neighbouring outputs, so that each halves the time.
    """

    def __init__(
        self,
        cell: Any,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        dropout: float = 0.0,
        bidirectional: bool = False,
        residual: bool = False,
        layer_norm: bool = False,
        pyramid: int = 0,
    ) -> None:
        super().__init__()
        self.num_layers, self.hidden_size, self.residual, self.pyramid = num_layers, hidden_size, residual, pyramid
        self.num_directions = 2 if bidirectional else 1
        width = 2 * hidden_size if bidirectional else hidden_size
        inputs = [input_size, *[width] * (num_layers - 1)]
        sizes = [2 * size if self._reads_pairs(number) else size for number, size in enumerate(inputs)]
        self.layers = nn.ModuleList([cell(size, hidden_size, bidirectional=bidirectional) for size in sizes])
        self.norms = nn.ModuleList([nn.LayerNorm(width) if layer_norm else nn.Identity() for _ in sizes])
        self.dropout = nn.Dropout(dropout)

    def _reads_pairs(self, number: int) -> bool:
        return number >= self.num_layers - self.pyramid

    def _dropped(self, x: PackedSequence) -> PackedSequence:
        repacked = nn.variational_dropout.repacked(x) if self.pyramid else nullcontext()  # it has fewer steps above
        with repacked:
            return x._replace(data=self.dropout(x.data))

    def forward(self, x: Any, hx: Any = None) -> tuple[Any, Any]:
        """Packed rows (P, F), or a tensor (T, N, F) -> the last layer's outputs (., D*H) likewise, the final states.

        ``hx`` and the final states are (L*D, N, H), of an LSTM a pair of these; without ``hx`` all start from zero.
        """
        if isinstance(x, Tensor):
            steps, count, size = x.shape
            rows = PackedSequence(x.reshape(steps * count, size), Tensor(np.full(steps, count)))
            y, last = self(rows, hx)
            return y.data.reshape(-1, count, y.data.shape[1]), last
        finals = []
        for number, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            x = self._dropped(x) if number else x
            x = pairs_of(x) if self._reads_pairs(number) else x
            y, states = layer(x, self._of_layer(number, hx))
            rows = norm(y.data)
            x = y._replace(data=rows + x.data if self.residual and rows.shape == x.data.shape else rows)
            finals.append(states if isinstance(states, tuple) else (states,))
        last = tuple(cat(list(layers)) for layers in zip(*finals, strict=True))
        return x, last if len(last) > 1 else last[0]

    def _of_layer(self, number: int, hx: Any) -> Any:
        """The states of one layer, of those of all."""
        if hx is None:
            return None
        rows = slice(number * self.num_directions, (number + 1) * self.num_directions)
        return tuple(state[rows] for state in hx) if isinstance(hx, tuple) else hx[rows]


def layers_of(
    cell: Any, input_size: int, hidden_size: int, num_layers: int, dropout: float, bidirectional: bool = False,
    **between: Any,
) -> Any:  # fmt: skip
    """A cell's own layers, or a ``Stack`` where something is to be ``between`` them; with dropout between them."""
    sizes, dropout = (input_size, hidden_size, num_layers), dropout if num_layers > 1 else 0.0
    if any(between.values()):
        return Stack(cell, *sizes, dropout=dropout, bidirectional=bidirectional, **between)
    return cell(*sizes, dropout=dropout, bidirectional=bidirectional)


def pairs_of(x: PackedSequence) -> PackedSequence:
    """Positions 2t and 2t + 1 side by side, (P, F) -> (., 2F): half as many, and the odd one out beside zeros."""
    lengths, sizes = lengths_of(x), x.batch_sizes.array
    place = np.arange(len(lengths)) if x.unsorted_indices is None else x.unsorted_indices.array
    halves = (lengths + 1) // 2
    order = np.argsort(-halves, kind="stable")
    going_on = np.arange(halves.max(initial=0))[:, None] < halves[order]
    steps, columns = np.nonzero(going_on)
    sequences, both = order[columns][:, None], 2 * steps[:, None] + np.arange(2)
    first = np.concatenate([np.cumsum(sizes) - sizes, [0]])  # the last is that of no step
    rows = np.where(both < lengths[sequences], first[both] + place[sequences], -1)
    data = PlaceRows.apply(x.data, rows, 0.0).reshape(len(rows), 2 * x.data.shape[1])
    return PackedSequence(data, Tensor(going_on.sum(1)), Tensor(order), Tensor(np.argsort(order)))
