"""What the names and shapes of weights in a file mean: each layout knows its own, and becomes parts of this engine."""

from __future__ import annotations

from typing import Any

from seq2seq.conversion.layouts.contract import Arrays, Layout
from seq2seq.conversion.layouts.fairseq import Fairseq
from seq2seq.conversion.layouts.joeynmt import JoeyNMT, JoeyNMTLast, JoeyNMTZero
from seq2seq.conversion.layouts.keras import KerasLSTM
from seq2seq.conversion.layouts.marian import Marian
from seq2seq.conversion.layouts.nematus import Nematus
from seq2seq.conversion.layouts.opennmt import OpenNMT
from seq2seq.conversion.layouts.tutorials import TutorialAttention, TutorialGRU, TutorialLSTM
from seq2seq.run.errors import UserError

KINDS: tuple[type[Layout], ...] = (
    TutorialLSTM,
    TutorialGRU,
    TutorialAttention,
    OpenNMT,
    Fairseq,
    JoeyNMT,
    JoeyNMTLast,
    JoeyNMTZero,
    KerasLSTM,
    Marian,
    Nematus,
)  # fmt: skip
LAYOUTS = {layout.name: layout for layout in KINDS}
SHAPES = IndexError, ValueError  # of arrays of a file that nobody has looked at: sizes that do not go together
FORMER_NAMES = {  # of modules, as versions of the tutorials had them
    "decoder.out": "decoder.fc_out",
    "decoder.attention.attn": "decoder.attention.attn_fc",
    "decoder.attention.v": "decoder.attention.v_fc",
}


def recognised(arrays: Arrays, name: str | None = None) -> tuple[Layout, dict[str, Any]]:
    """The layout of arrays, and the settings of its model; UserError where none fits, or not the one that is named."""
    arrays = {_of_today(name): array for name, array in arrays.items()}
    open_ones = [layout for layout in KINDS if not layout.must_be_named]
    for layout in open_ones if name is None else (LAYOUTS[name],):
        try:
            settings = layout.settings(arrays)
            if settings is not None:
                return layout(arrays), settings
        except SHAPES:
            raise UserError(f"its arrays have names of layout {layout.name}, but not its shapes") from None
    listed = ", ".join(f"{key} {array.shape}" for key, array in sorted(arrays.items())[:6])
    told = f"of layout {name}" if name else f"known ({', '.join(LAYOUTS)})"
    raise UserError(f"its {len(arrays)} arrays are not {told}; it has {listed}{' ...' if len(arrays) > 6 else ''}")


def _of_today(name: str) -> str:
    """A name with that of its module as it is now."""
    module, dot, rest = name.rpartition(".")
    return FORMER_NAMES.get(module, module) + dot + rest
