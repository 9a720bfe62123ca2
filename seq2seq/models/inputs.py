"""What an encoder is given: ids, or rows of numbers, and the layer that makes the same of both."""

from __future__ import annotations

from typing import NamedTuple

from minigrad import Tensor, nn


class Inputs(NamedTuple):
    """What a source gives at each position."""

    size: int  # of ids how many there are, else the numbers in a row, F
    ids: bool = True

    def layer(self, size: int) -> nn.Module:
        """What makes E = ``size`` numbers of each position: ids (P,) int64 or rows (P, F) -> (P, E)."""
        return nn.Embedding(self.size, size, sparse=True) if self.ids else RowLayer(self.size, size)


class RowLayer(nn.Linear):
    """A linear layer in place of an embedding; rows, which are float32 in files, are read in the layer's precision."""

    def forward(self, x: Tensor) -> Tensor:
        """(P, F) -> (P, E)."""
        return super().forward(x.to(self.weight.dtype))
