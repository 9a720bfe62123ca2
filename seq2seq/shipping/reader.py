"""decode.py for a model file: one program in plain NumPy, of 200 to 250 lines, that holds what this model needs.

It is made of ``decode`` and ``decode_model``, which read every model: joined, and folded with what the file's settings,
text and weights decide. It refuses the files of other settings by their digest.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from seq2seq.shipping import decode_model
from seq2seq.shipping.folding import folded


def for_model(model_file: bytes) -> str:
    """The program for a file that ``model_file.write`` wrote."""
    header = json.loads(model_file[8 : 8 + int.from_bytes(model_file[:8], "little")])
    known = header.pop("__metadata__")["minigrad"]
    about = json.loads(known)
    names = {name.removesuffix(":scale") for name in header}
    facts: dict[str, Any] = {"MADE_FOR": hashlib.sha256(known.encode()).hexdigest(), "known['form']": about["form"]}
    facts |= dict.fromkeys(("config", "self.c"), about["config"]) | dict.fromkeys(("w", "self.w"), names)
    facts |= {"text": about["text"], "rules": _common(about["text"])}
    made_for = f'MADE_FOR = "{facts["MADE_FOR"]}"  # settings and text by their digest'
    return folded(re.sub("MADE_FOR = .*", made_for, joined(), count=1), facts)


def joined() -> str:
    """Both modules as one that imports nothing of this project."""
    _, more, model = _parts("decode_model")
    told, imports, program = _parts("decode")
    standard = {line for line in imports + more if "numpy" not in line and "seq2seq" not in line}
    head = [told, *sorted(standard, key=lambda line: (line.startswith("from"), line)), "\nimport numpy as np\n"]
    return "\n".join(head) + "\n" + model + "\n\n" + program


def _parts(name: str) -> tuple[str, list[str], str]:
    """Of a module what it says of itself, its imports, one a line, and what follows."""
    source = Path(decode_model.__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
    lines, body = source.splitlines(keepends=True), ast.parse(source).body
    after = next(node for node in body[1:] if not isinstance(node, ast.Import | ast.ImportFrom))
    imports = [ast.unparse(node) for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
    return "".join(lines[: body[0].end_lineno]), imports, "".join(lines[after.lineno - 1 :])


def _common(text: dict[str, Any]) -> dict[str, Any]:
    """What the rules of both sides agree on."""
    source, target = text.get("src_tokenizer", text["trg_tokenizer"]), text["trg_tokenizer"]
    return {key: value for key, value in target.items() if source.get(key) == value}
