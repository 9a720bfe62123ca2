"""The encoders and decoders that are written down outside the engine: in decode.py, in a page, and as ONNX graphs."""

from __future__ import annotations

from seq2seq.run.config import Config
from seq2seq.run.errors import UserError

KNOWN = {
    "encoder": ("bicho-gru", "bigru", "bilstm", "cho-gru", "gru", "lstm", "transformer", "vector"),
    "decoder": (
        "attention", "bahdanau", "conditional-gru", "dot-attention", "gru-context", "lstm", "luong",
        "pointer-generator", "transformer",
    ),
}  # fmt: skip


def check(config: Config, path: str) -> None:
    """UserError where a part of the run is another one, which only a file for this toolkit can hold."""
    for kind, names in KNOWN.items():
        name = getattr(config, kind)
        if name not in names:
            raise UserError(f"to {path}: {kind} {name} is known to this program alone; expected a file MODEL.seq2seq")
