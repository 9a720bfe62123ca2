"""What is shipped is compared and timed for every pair that can be; another word ends it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import shipping

from seq2seq.shipping import known_parts

PAIR = "lstm", "dot-attention"
needs_all = pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")


def test_every_part_that_reads_sentences_is_there() -> None:
    encoders, decoders = map(set, zip(*shipping.PAIRS, strict=True))
    assert decoders == {*known_parts.KNOWN["decoder"]}
    assert encoders == {*known_parts.KNOWN["encoder"]} - {"vector"}


@needs_all
def test_all_forms_agree_and_are_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    monkeypatch.setitem(shipping.SETTINGS, "epochs", 1)
    found = shipping.measured(tmp_path, PAIR, {}, 12)
    assert found["bytes"]["int8 file"] < found["bytes"]["model file"]
    assert {*found["ms"]} - {"Chromium, beam 1"} == {
        *(f"{form}, beam {beam}" for form in ("engine", "decode.py", "page") for beam in (1, shipping.BEAM)),
        "ONNX, beam 1",
    }
    assert min(found["ms"].values()) > 0


def test_another_word_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def right(*_: Any) -> list[str]:
        return ["a b"] * 4

    def wrong(*_: Any) -> list[str]:
        return ["a b", "a b", "b a", "a b"]

    for name in ("by_engine", "by_reader", "by_page"):
        monkeypatch.setattr(shipping, name, right)
    monkeypatch.setattr(shipping.pictures, "translated", right)
    monkeypatch.setattr(shipping, "by_onnx", wrong)
    monkeypatch.setattr(shipping, "trained", lambda *_: None)
    with pytest.raises(SystemExit, match="ONNX, beam 1 finds other words than the engine for 1 sentence: "):
        shipping.compared(PAIR, shipping.forms(None, shipping.Files(tmp_path), ["x"] * 4), ["x"] * 4)  # type: ignore[arg-type]
