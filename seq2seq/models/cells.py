"""The cells that a recurrent decoder may be made of, and the option that chooses one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from minigrad import nn
from seq2seq.models.options import RecurrentDecoderOptions
from seq2seq.run.errors import UserError
from seq2seq.run.messages import shown
from seq2seq.run.registry import option

CELLS: dict[str, Any] = {"lstm": nn.LSTM, "gru": nn.GRU, "cho-gru": nn.ChoGRU}


@dataclass(frozen=True)
class CellOptions(RecurrentDecoderOptions):
    """Those of a decoder with a choice of cells. The default is each decoder's own: parts that share an option share
    its default too."""

    cell: str = option(
        "auto",
        "of the decoder: lstm, gru, or cho-gru, whose reset gate acts before the product; "
        "auto is lstm with attention, else gru",
    )


def cell_of(options: CellOptions, known: Collection[str]) -> str:
    """The cell, of CELLS, that the options choose among those that a decoder knows; auto is the first one.

    Raises:
        UserError: the decoder does not know it.
    """
    if options.cell == "auto":
        return next(iter(known))
    if options.cell not in known:
        raise UserError(f"cell is {shown(options.cell)}; expected {', '.join(known)}")
    return options.cell
