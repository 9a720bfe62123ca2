"""Every page opens in Chromium without a request or an error, whatever its text holds, and is photographed."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pictures
import pytest

from seq2seq import train
from tests.seq2seq.serving.test_page import XSS

pytest.importorskip("playwright")
pytestmark = pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with pictures.chromium() as found:
        yield found


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of a corpus whose words are markup, as the name of one of them."""
    root = tmp_path_factory.mktemp("pictures")
    words = [text.replace(" ", "") for text in XSS]
    lines = [f"{first} {second}\t{second} {first}" for first in words for second in words]
    for name, part in (("train", lines[:300]), ("valid", lines[300:340]), ("test", lines[340:])):
        (root / f"{name}.tsv").write_text("\n".join(part) + "\n", encoding="utf-8")
    (root / "few.txt").write_text("\n".join(f"{word} <b>" for word in words[:8]) + "\n", encoding="utf-8")
    options = ["--data", root / "train.tsv", "--valid", root / "valid.tsv", "--test", root / "test.tsv",
               "--embedding-size", 16, "--hidden-size", 32, "--num-layers", 1, "--batch-size", 16, "--lr", 0.01,
               "--epochs", 6, "--src-tokenizer", "space", "--trg-tokenizer", "space"]  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        for name, parts in (("one", ["bilstm", "bahdanau"]), ("<b>two", ["lstm", "lstm"])):
            chosen = ["--run-dir", root / name, "--encoder", parts[0], "--decoder", parts[1]]
            assert train.main([str(word) for word in (*options, *chosen)]) == 0
    return root


def test_every_page_is_quiet_and_photographed(runs: Path, tmp_path: Path) -> None:
    for module in ("fastapi", "uvicorn", "matplotlib"):
        pytest.importorskip(module)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        few = str(runs / "few.txt")
        pictures.main([str(runs / "one"), str(runs / "<b>two"), "--lines", few, "--output", str(tmp_path)])
    found = {path.stem: path.read_bytes() for path in tmp_path.iterdir()}
    assert {*found} == {
        "errors", "both", "explained", "corpus", "model", "curves", "maps", "lengths", "plane",
        "serving", "serving-phone",
    }  # fmt: skip
    assert all(picture.startswith(b"\x89PNG") and len(picture) > 5_000 for picture in found.values())


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("<img src=x>", "a request to "),
        ("<script>missing()</script>", "missing is not defined"),
        ("<script>alert(1)</script>", "a dialog: 1"),
        ("<script>console.log('told')</script>", "told"),
    ],
)
def test_a_page_that_is_not_quiet_is_told(browser: Any, tmp_path: Path, body: str, fault: str) -> None:
    page = tmp_path / "page.html"
    page.write_text(f"<title>t</title>{body}", encoding="utf-8")
    with pytest.raises(RuntimeError, match=fault), pictures.opened(browser, page.as_uri()) as tab:
        tab.wait_for_load_state()
