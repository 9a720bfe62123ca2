"""A model in a page, PAGE.html: it translates in a browser, without a server and without a request.

The page holds a model file, the rules of both tokenizers, and the programs of ``page/``, which do what decode.py does.
A worker runs them, so that the page stays alive. A policy in its head (Content-Security-Policy) forbids every request,
and every script but its own.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from seq2seq.models.model import Seq2Seq
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.run.writing import replace_file
from seq2seq.shipping import known_parts, model_file, text_rules
from seq2seq.text.codec import TextCodec
from seq2seq.text.side import TextSide

_PARTS = Path(__file__).with_name("page")
_WORKER = "arithmetic.js", "model.js", "text.js", "worker.js"
_POLICY = "default-src 'none'; script-src '{}'; style-src '{}'; worker-src blob:; base-uri 'none'; form-action 'none'"


def write(path: Path, model: Seq2Seq, codec: TextCodec, config: Config, form: str = "full") -> None:
    """Put a page that translates at ``path`` in one step.

    Args:
        form: of the matrices, one of ``quantise.FORMS``.

    Raises:
        UserError: the model reads no text, a tokenizer has rules that a page cannot have, or the weights do not fit the
            form. OSError: the file cannot be written; what was there stays.
    """
    if not isinstance(codec.source, TextSide):
        raise UserError(
            f"to {path}: the run reads {config.source}; expected one that reads text, which a page can ask for"
        )
    known_parts.check(config, str(path))
    rules = {"source": text_rules.table(codec.source.tokenizer), "target": text_rules.table(codec.trg_tokenizer)}
    weights = b"".join(model_file.chunks(model, codec, config, form))
    replace_file(path, assembled(rules, weights).encode())


def assembled(rules: dict[str, Any], model: bytes) -> str:
    """The page with the rules of its tokenizers and the bytes of a model file."""
    style, app = (_part(name) for name in ("style.css", "app.js"))
    filled = {
        "policy": _POLICY.format(_digest(app), _digest(style)),
        "style": style,
        "rules": json.dumps(rules, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
        "model": base64.b64encode(model).decode("ascii"),
        "worker": "\n".join(map(_part, _WORKER)),
        "app": app,
    }
    return re.sub(r"<!--(\w+)-->", lambda place: filled[place[1]], _part("page.html"))


def _part(name: str) -> str:
    return (_PARTS / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """That of a script or a style, as a policy names it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"
