"""A model in a page: its JavaScript, run by Node, finds the engine's words; and in Chromium it makes no request."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seq2seq.decoding.translator import Translator
from seq2seq.run import registry
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.shipping import known_parts, model_file, page, patterns, text_rules
from seq2seq.text.tokenizers import Tokenizer, WordTokenizer, build_tokenizer
from tests.seq2seq.tiny_translators import DECODERS, SENTENCES, SIZES, cases, translator, translator_of

NODE, CHROMIUM = shutil.which("node"), shutil.which("chromium")
needs_node = pytest.mark.skipif(NODE is None, reason="Node is not installed")
BEAMS = 1, 3


def in_node(jobs: list[dict[str, Any]]) -> list[Any]:
    """What page_in_node.js makes of jobs."""
    program = Path(__file__).with_name("page_in_node.js")
    run = subprocess.run([str(NODE), program], input=json.dumps(jobs), capture_output=True, text=True, encoding="utf-8")
    assert run.returncode == 0, run.stderr
    found: list[Any] = json.loads(run.stdout)
    return found


@needs_node
def test_pages_find_the_engines_words(tmp_path: Path) -> None:
    jobs, wanted = list[dict[str, Any]](), {}
    for case in cases():
        ours = translator_of(*case)
        if ours is None:
            continue
        path = tmp_path / f"{'-'.join(case)}.html"
        page.write(path, ours.model, ours.codec, ours.settings)
        jobs.append({"page": str(path), "lines": SENTENCES, "beams": BEAMS})
        wanted[case] = [ours.translate(SENTENCES, beam_size=beam) for beam in BEAMS]
    found = [[[line["text"] for line in lines] for lines in beams] for beams in in_node(jobs)]
    assert dict(zip(wanted, found, strict=True)) == wanted
    assert {name for encoder, decoder, _ in wanted for name in (encoder, decoder)} >= {*DECODERS, "bicho-gru"}


@needs_node
@pytest.mark.parametrize("form", ["f16", "int8"])
def test_fewer_bits_are_those_of_the_file(tmp_path: Path, form: str) -> None:
    ours = translator("bilstm", "bahdanau", **SIZES, num_layers=1, bridge=True)
    file, path = tmp_path / "m.seq2seq", tmp_path / "m.html"
    model_file.write(file, ours.model, ours.codec, ours.settings, form)
    page.write(path, ours.model, ours.codec, ours.settings, form)
    (((*lines,),),) = in_node([{"page": str(path), "lines": SENTENCES, "beams": [3]}])
    shipped = Translator.load(file)
    assert [line["text"] for line in lines] == shipped.translate(SENTENCES, beam_size=3)
    for line, (best, *_) in zip(lines, shipped.search(SENTENCES, beam_size=3, alignment=True), strict=True):
        between = np.array(line["alignments"])[:, 1:-1]  # <sos> and <eos>
        np.testing.assert_allclose(between, best.alignment, atol=1e-5)


@needs_node
def test_a_page_of_a_trained_run_translates_a_thousand_sentences(train: Any, run: Any, tmp_path: Path) -> None:
    trained, path, file = train("run", "--epochs", 25, "--dropout", 0), tmp_path / "p.html", tmp_path / "m"
    for to in (path, file):
        told = run("export", trained, "--to", to, "--weights", "int8", "--compare", "valid")
        assert told.code == 0, told.err
        assert re.search(r"\d bytes, weights int8; .*\nBLEU of valid, greedy: .* in the file", told.out)
    rng = random.Random(5)
    lines = [" ".join(rng.choices("0123456789x", k=rng.randint(0, 6))) for _ in range(1000)]
    (beams,) = in_node([{"page": str(path), "lines": lines, "beams": BEAMS}])
    ours = Translator.load(file)
    assert [[line["text"] for line in found] for found in beams] == [
        ours.translate(lines, beam_size=beam) for beam in BEAMS
    ]
    assert len({line["text"] for line in beams[0]}) > 20
    assert "reads model files" in run("export", trained, "--to", path, "--reader", tmp_path / "r.py").err


# --- tokenizers
BITS = [
    *"abzABäößéñÀ0123459.,,'\"-!?;:()[]{}<>&%$€@#*/|`’„“»…–_=+~^ \u2581",
    *"     ",
    "  ",
    "n't",
    "'s",
    " Mr.",
    " No. 5",
]
BITS += [
    " z.B.",
    " d'",
    "l'",
    " U.S.",
    " don't",
    "http://a.b/c?d=e",
    " www.foo.com",
    "foo@bar.org",
    ":-)",
    "3,000",
    "10km",
]
BITS += [
    "中文",
    "한국",
    "\t",
    "\xa0",
    "\x1c",
    "DOTMULTI",
    "...",
    "..",
    " cannot",
    "\U0001f600",
    "é",
    "İ",
    "ΑΣ",
    "12:30pm",
]
BITS += ["½", "हिन्दी", "</script>", "<!--model-->", " w", "$&"]


def drawn(count: int) -> list[str]:
    """Lines of what tokenizers stumble over."""
    rng = random.Random(3)
    return ["".join(rng.choices(BITS, k=rng.randint(1, 25))) for _ in range(count)]


def tokenizers() -> Iterator[tuple[str, Tokenizer]]:
    lines = drawn(300)
    for name in ("space", "char"):
        for lower in (False, True):
            yield f"{name} {lower}", build_tokenizer(name, "en", [], lower=lower)
    for kind in ("bpe", "unigram"):
        yield kind, build_tokenizer("sentencepiece", "en", lines[:200], vocab_size=230, model_type=kind)
    for language in ("en", "fr", "cs", "ja"):
        yield f"moses {language}", WordTokenizer(language, "moses", lower=language == "fr")


def spacy_tokenizers() -> Iterator[tuple[str, Tokenizer]]:
    pytest.importorskip("spacy")
    for language in ("en", "de"):
        yield f"spacy {language}", WordTokenizer(language, "spacy", lower=language == "de")


@needs_node
@pytest.mark.parametrize("made", [tokenizers, spacy_tokenizers])
def test_pages_split_and_join_as_the_engine_does(made: Any, tmp_path: Path) -> None:
    lines, path, jobs, wanted = drawn(150), tmp_path / "page.html", list[dict[str, Any]](), {}
    path.write_text(page.assembled({}, b""), encoding="utf-8")
    for name, ours in made():
        split = [ours.tokenize(line) for line in lines]
        joins = [*split, ["<unk>", "a"], ["\u2581", "\u2581a", "<unk>"], []]
        wanted[name] = {"split": split, "joined": [ours.detokenize(tokens) for tokens in joins]}
        jobs.append({"page": str(path), "tokenizer": text_rules.table(ours), "lines": lines, "joins": joins})
    for (name, expected), found in zip(wanted.items(), in_node(jobs), strict=True):
        assert (name, found) == (name, expected)


@pytest.mark.parametrize(
    ("pattern", "flags", "message"),
    [
        ("(?i:a)b", 0, "flags in a group"),
        ("(?>a)", 0, "atomic_group"),
        (r"[\W]", 0, "no letter"),
        ("a", re.S, "DOTALL"),
    ],
)
def test_patterns_that_javascript_lacks_are_refused(pattern: str, flags: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        patterns.javascript(re.compile(pattern, flags))


def test_rules_that_are_no_data_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_rules, "_moses", lambda language: text_rules.ordinary(object()))
    with pytest.raises(
        UserError, match=r"cannot have the rules of moses for 'en' .*the program object.*expected another"
    ):
        text_rules.table(WordTokenizer("en", "moses"))


# --- the page
def test_a_page_is_closed(tmp_path: Path) -> None:
    """No address, no way to make markup or code of text; the policy names the very script and style that are there."""
    ours = translator("lstm", "lstm", **SIZES, num_layers=1)
    path = tmp_path / "page.html"
    page.write(path, ours.model, ours.codec, ours.settings)
    html = path.read_text(encoding="utf-8")
    for way in ("https?:", r"\bsrc=", r"\bhref", r"\bon\w+=\"", "innerHTML", "outerHTML", "insertAdjacent",
                r"document\.write", r"\beval\b", r"\bFunction\(", r"\bfetch\b", "XMLHttp", "WebSocket", "importScripts",
                ):  # fmt: skip
        assert not re.search(way, html), way
    (policy,) = re.findall(r'Content-Security-Policy" content="(.*?)"', html)
    parts = dict(part.split(" ", 1) for part in policy.split("; "))
    assert parts.pop("default-src") == parts.pop("base-uri") == parts.pop("form-action") == "'none'"
    assert parts.pop("worker-src") == "blob:"
    for name, tag in (("script-src", "script"), ("style-src", "style")):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        assert parts.pop(name) == f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
    assert parts == {}


def test_what_a_page_cannot_hold_is_refused(tmp_path: Path) -> None:
    rows = translator_of("bilstm", "attention", source="frames")
    assert rows is not None
    path = tmp_path / "page.html"
    with pytest.raises(UserError, match="the run reads frames; expected one that reads text"):
        page.write(path, rows.model, rows.codec, rows.settings)
    other = Config()
    object.__setattr__(other, "decoder", "mine")
    with pytest.raises(UserError, match=r"decoder mine is known to this program alone; expected a file MODEL\.seq2seq"):
        known_parts.check(other, str(path))
    assert not path.exists()


def test_the_known_parts_are_those_that_come_along() -> None:
    for kind, names in known_parts.KNOWN.items():
        assert {*names} <= {*registry.names(kind)}


HOSTILE = ["<img src=x onerror=alert(1)>", "</textarea><script>alert(1)</script>", "&lt;b&gt; w1", "w1 w2 w3"]


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_a_page_translates_in_a_browser_and_makes_no_request(tmp_path: Path) -> None:
    """A thousand sentences, by keyboard alone; text stays text; nothing can be fetched."""
    api = pytest.importorskip("playwright.sync_api")
    rng = random.Random(6)
    lines = [*HOSTILE, *(" ".join(f"w{rng.randint(1, 12)}" for _ in range(rng.randint(1, 7))) for _ in range(996))]
    ours = translator("lstm", "attention", **SIZES, num_layers=1)
    path = tmp_path / "page.html"
    page.write(path, ours.model, ours.codec, ours.settings, "int8")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab, requests, errors = browser.new_page(), list[str](), list[str]()
        tab.on("request", lambda request: requests.append(request.url))
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on("dialog", lambda dialog: errors.append(dialog.message))
        tab.goto(path.as_uri())
        tab.locator("#status", has_text="Ready").wait_for()
        tab.keyboard.press("Tab")
        tab.keyboard.insert_text("\n".join(lines))
        tab.keyboard.press("Control+Enter")
        tab.locator("#status", has_text=re.compile("Done: 1,?000 lines")).wait_for(timeout=120_000)
        shown = tab.locator("#translations p").all_text_contents()
        headings = tab.locator("#maps thead").first.locator("th").all_text_contents()
        assert tab.locator("main img, main script").count() == 0
        assert tab.locator("#maps table").count() == len(lines)
        assert {url.split(":")[0] for url in requests} == {"file", "blob"}
        assert errors == []
        assert "Failed" in tab.evaluate("fetch('https://localhost').then(() => 'went', String)")
        browser.close()
    model_file.write(tmp_path / "m", ours.model, ours.codec, ours.settings, "int8")
    assert shown == Translator.load(tmp_path / "m").translate(lines)
    assert headings == ["(start)", *HOSTILE[0].split(" "), "(end)"]
