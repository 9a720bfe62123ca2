"""What the names and shapes of weights in a file mean: each layout knows its own, and becomes parts of this engine."""

from __future__ import annotations

from typing import Any

from seq2seq.conversion.layouts.contract import Arrays, Layout
from seq2seq.conversion.layouts.tutorials import TutorialAttention, TutorialGRU, TutorialLSTM
from seq2seq.run.errors import UserError

KINDS: tuple[type[Layout], ...] = (
    TutorialLSTM,
    TutorialGRU,
    TutorialAttention,
)  # fmt: skip
LAYOUTS = {layout.name: layout for layout in KINDS}
FORMER_NAMES = {"decoder.out.weight": "decoder.fc_out.weight", "decoder.out.bias": "decoder.fc_out.bias"}


def recognised(arrays: Arrays, name: str | None = None) -> tuple[Layout, dict[str, Any]]:
    """The layout of arrays, and the settings of its model; UserError where none fits, or not the one that is named."""
    arrays = {FORMER_NAMES.get(key, key): array for key, array in arrays.items()}
    for layout in LAYOUTS.values() if name is None else (LAYOUTS[name],):
        settings = layout.settings(arrays)
        if settings is not None:
            return layout(arrays), settings
    listed = ", ".join(f"{key} {array.shape}" for key, array in sorted(arrays.items())[:6])
    told = f"of layout {name}" if name else f"known ({', '.join(LAYOUTS)})"
    raise UserError(f"its {len(arrays)} arrays are not {told}; it has {listed}{' ...' if len(arrays) > 6 else ''}")
