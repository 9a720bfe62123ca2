"""Recurrent models of Marian (Junczys-Dowmunt et al., "Marian: fast neural machine translation in C++", 2018): types
amun and nematus, which keep the names of Nematus, and s2s, which has its own for the same arrays.

Beside the arrays a file has ``special:model.yml``, the settings of the model, as text. Biases are matrices of one row.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from seq2seq.conversion.layouts.contract import Arrays
from seq2seq.conversion.layouts.nematus import PARTS, SECOND_PARTS, Nematus
from seq2seq.run.errors import UserError

SETTINGS = "special:model.yml"
HALVES = {"encoder_bi": "encoder", "encoder_bi_r": "encoder_r", "decoder_cell1": "decoder"}
NAMES = {f"{ours}_{part}": f"{theirs}_{part}" for ours, theirs in HALVES.items() for part in PARTS}
NAMES |= {f"decoder_cell2_{part}": f"decoder_{other}" for part, other in zip(PARTS, SECOND_PARTS, strict=True)}
NAMES |= {f"decoder_ff_logit_l1_{kind}{n}": f"ff_logit_{of}_{kind}"
          for n, of in enumerate(("prev", "lstm", "ctx")) for kind in "Wb"}  # fmt: skip
NAMES |= {"encoder_Wemb": "Wemb", "decoder_Wemb": "Wemb_dec", "decoder_ff_logit_l2_b": "ff_logit_b"}
NAMES |= {f"decoder_ff_state_{kind}": f"ff_state_{kind}" for kind in "Wb"} | {"decoder_ff_logit_l2_W": "ff_logit_W"}
TURNED = "decoder_ff_logit_l2_Wt"  # the same since version 1.9, a row for each word
# Settings that have to be so, where a file tells them.
CELLS = "gru", "gru-nematus"
EXPECTED: dict[str, tuple[str, ...]] = {
    "type": ("amun", "nematus", "s2s"), "layer-normalization": ("false",), "skip": ("false",),
    "enc-cell": CELLS, "enc-depth": ("1",), "enc-cell-depth": ("1",),
    "dec-cell": CELLS, "dec-depth": ("1",), "dec-cell-base-depth": ("2",),
}  # fmt: skip


class Marian(Nematus):
    """Its NAME.npz, with tables shared or not."""

    name = "marian"
    about = "special:model.yml, and encoder_Wemb, encoder_bi_W, decoder_cell1_W or the names of Nematus; .npz of Marian"

    @classmethod
    def canonical(cls, arrays: Arrays) -> Arrays:
        found = {NAMES.get(name, name): array for name, array in arrays.items() if name != SETTINGS}
        if TURNED in found:
            found["ff_logit_W"] = found.pop(TURNED).T
        return super().canonical(found)

    @classmethod
    def settings(cls, arrays: Arrays) -> dict[str, Any] | None:
        if SETTINGS not in arrays and "decoder_cell1_W" not in arrays:
            return None
        told = told_by(arrays[SETTINGS]) if SETTINGS in arrays else {}
        for name, expected in EXPECTED.items():
            if name in told and told[name] not in expected:
                raise UserError(f"its {name} is {told[name][:40]!r}; expected {' or '.join(expected)}")
        return cls.checked(cls.canonical(arrays))


def told_by(array: np.ndarray) -> dict[str, str]:
    """The settings, which stand a line each, of their text; those that are lists are left out."""
    lines = array.tobytes().split(b"\0")[0].decode("utf-8", "replace").splitlines()
    pairs = (line.partition(":") for line in lines if line[:1].strip())
    return {name: value.strip().strip("'\"") for name, _, value in pairs if value.strip()}
