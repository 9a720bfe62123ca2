"""spaCy's rules in a child process: the tokens of this process, one line for every fault, nothing left behind."""

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seq2seq.run.errors import UserError
from seq2seq.text import spacy_rules
from seq2seq.text.spacy_rules import MANY, TORN_EXAMPLES, SpacyRules
from seq2seq.text.tokenizers import WordTokenizer

pytest.importorskip("spacy")

ODD = [
    "", " ", "  two  blanks ", "a line\nand another\r\nand\u2028one more\x85", "tab\tand\u00a0no-break blank",
    '"[1, 2]"\\', "z. B. Häuser, 3.50 € am 5. Mai -- d.h. „Straße“!", "l'homme qu'aujourd'hui j'ai vu",
    "I'm sure they don't say \u4e2d\u6587 \U0001f600 :-) a\u0301", "\x00\x7f\ufeff\ufffe",
    "state-of-the-art (well-known)",
]  # fmt: skip


@pytest.fixture
def popen(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[subprocess.Popen[bytes]]]:
    """popen(command): children run that instead, or what they should; the list of those started."""
    original = subprocess.Popen

    def replace(command: list[str] | None = None) -> list[subprocess.Popen[bytes]]:
        started: list[subprocess.Popen[bytes]] = []

        def start(usual: list[str], **options: Any) -> subprocess.Popen[bytes]:
            started.append(original(command or usual, **options))
            return started[-1]

        monkeypatch.setattr(subprocess, "Popen", start)
        return started

    return replace


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


@pytest.mark.parametrize("language", ["de", "fr"])
def test_a_child_finds_the_tokens_of_this_process(language: str) -> None:
    rules = SpacyRules(language)
    found = list(rules.split_in_child(ODD))
    assert found == [rules.split(sentence) for sentence in ODD]
    assert found[0] == []
    assert any("\n" in token for token in found[3])
    assert any(len(tokens) > 5 for tokens in found)


def test_any_text_comes_through() -> None:
    sentences = []

    @settings(max_examples=400)
    @given(st.text(st.characters(exclude_categories=["Cs"])))
    def draw(sentence: str) -> None:
        sentences.append(sentence)

    draw()
    rules = SpacyRules("xx")
    assert list(rules.split_in_child(sentences)) == [rules.split(sentence) for sentence in sentences]


def test_long_lists_go_to_a_child_and_short_ones_do_not(monkeypatch: pytest.MonkeyPatch, popen) -> None:
    monkeypatch.setattr(spacy_rules, "_loaded", {})
    started = popen()
    tokenizer = WordTokenizer("en", "spacy", lower=True)
    assert list(tokenizer.tokenize_all(["A dog."] * MANY)) == [["a", "dog", "."]] * MANY
    assert [child.returncode for child in started] == [0]
    assert spacy_rules._loaded == {}
    assert list(tokenizer.tokenize_all(["A dog."] * (MANY - 1))) == [["a", "dog", "."]] * (MANY - 1)
    assert set(spacy_rules._loaded) == {"en"}  # and now that they are here, a child would save nothing
    assert list(tokenizer.tokenize_all(["A dog."] * MANY)) == [["a", "dog", "."]] * MANY
    assert len(started) == 1


@pytest.mark.parametrize(("language", "torn"), [("en", [True, True]), ("de", [False, False])])
def test_the_child_answers_for_the_examples(
    monkeypatch: pytest.MonkeyPatch, language: str, torn: list[bool]
) -> None:  # fmt: skip
    monkeypatch.setattr(spacy_rules, "_torn", {})
    rules = SpacyRules(language)
    assert [len(rules.split(example)) > 1 for example in TORN_EXAMPLES] == torn
    assert rules.torn_examples() == torn
    spacy_rules._torn.clear()
    assert list(rules.split_in_child(["x"])) == [["x"]]
    assert spacy_rules._torn == {language: torn}
    monkeypatch.setattr(SpacyRules, "split", None)  # not asked again
    assert rules.torn_examples() == torn


def test_two_children_with_more_than_pipes_hold() -> None:
    """Read one after the other while the second one's answer waits: neither blocks the other for ever."""
    sentences = [f"Das ist Satz {number}, nicht wahr?" for number in range(3000)]
    first, second = (SpacyRules(language).split_in_child(sentences) for language in ("de", "en"))
    assert len(list(first)) == len(list(second)) == 3000


FAULTS: dict[str, tuple[str, str]] = {
    "killed": ("import os; os.kill(os.getpid(), 9)", r"ended with exit code -9 \(no reason given\)"),
    "raises": (
        "import sys; sys.stdin.read(9); 1 / 0",
        r"ended with exit code 1 \(ZeroDivisionError: division by zero\)",
    ),
    "refuses": ("import sys; print('error: tokenizer word: no', file=sys.stderr); sys.exit(2)", "^tokenizer word: no$"),
    "silent": ("import sys; sys.stdin.read()", r"ended with exit code 0 \(no reason given\)"),
    "talkative": ("print('[]\\n' * 200)", "ended with exit code 0"),
    "full of complaints": ("import sys; print('no' * 10**6, file=sys.stderr); sys.stdin.read()", "exit code 0"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_child_at_fault_is_one_line(popen, case: str) -> None:
    program, message = FAULTS[case]
    started = popen(python(program))
    with pytest.raises(UserError, match=message) as caught:
        list(SpacyRules("de").split_in_child(["ein langer Satz " * 1000] * 100))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("tokenizer word: ")
    assert all(child.returncode is not None for child in started)


def test_a_refusal_of_the_child_reads_as_that_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError) as here:
        SpacyRules("qq")
    rules = SpacyRules("de")
    rules.language = "qq"
    with pytest.raises(UserError) as there:
        list(rules.split_in_child(["x"]))
    assert str(here.value) == str(there.value)
    assert "spaCy has no rules for language 'qq'" in str(here.value)


@pytest.mark.parametrize("language", ["qq", "../de", "char_classes.py", "", "__pycache__", "punctuation"])
def test_unknown_languages(language: str) -> None:
    with pytest.raises(UserError, match=f"spaCy has no rules for language '{language}'"):
        SpacyRules(language)


def test_long_codes_of_known_languages() -> None:
    assert SpacyRules("deu").split("Das geht.") == ["Das", "geht", "."]


def test_a_child_that_nobody_waits_for_is_ended(popen) -> None:
    started = popen(python("import time; time.sleep(600)"))
    tokens = SpacyRules("de").split_in_child(["x"])
    assert started[0].poll() is None
    del tokens
    gc.collect()
    assert started[0].poll() == -9


def test_an_interrupt_leaves_no_child(popen, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    started = popen(python("import time; time.sleep(600)"))
    tokens = SpacyRules("de").split_in_child(["x"])
    monkeypatch.setattr(started[0], "communicate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(tokens)
    assert started[0].poll() == -9
    monkeypatch.setattr(json, "dumps", interrupted)
    with pytest.raises(KeyboardInterrupt):
        SpacyRules("de").split_in_child(["x"])
    assert started[1].poll() == -9


def in_own_process(program: str, folder: Path, *arguments: object) -> str:
    root = str(Path(spacy_rules.__file__).parents[2])
    result = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], cwd=folder, capture_output=True, text=True, timeout=200,
        env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()[-1]


def test_the_word_tokenizer_imports_nothing_by_itself(tmp_path: Path) -> None:
    program = (
        "import sys; from seq2seq.text.tokenizers import WordTokenizer; WordTokenizer('de', 'spacy'); "
        "print([name for name in ('spacy', 'sacremoses') if name in sys.modules])"
    )
    assert in_own_process(program, tmp_path) == "[]"


def test_a_training_run_never_imports_spacy(tmp_path: Path) -> None:
    """Nor is it misled by what lies in the folder that it is started in."""
    (tmp_path / "json.py").write_text("raise RuntimeError('not this one')\n")
    lines = [f"the dog number {i} doesn't run .\tder Hund Nummer {i} läuft nicht .\n" for i in range(MANY + 100)]
    (tmp_path / "corpus.tsv").write_text("".join(lines), encoding="utf-8")
    program = (
        "import sys; sys.path.remove(''); from seq2seq import train; "
        "code = train.main(['--data', 'corpus.tsv', '--run-dir', sys.argv[1], '--src-language', 'en', "
        "'--trg-language', 'de', *'--embedding-size 4 --hidden-size 4 --max-steps 2 --max-output-length 3'.split()]); "
        "print(code, [name for name in ('spacy', 'torch') if name in sys.modules])"
    )
    assert in_own_process(program, tmp_path, tmp_path / "run") == "0 []"
    text = json.loads((tmp_path / "run" / "text.json").read_text(encoding="utf-8"))
    assert text["src_tokenizer"]["backend"] == "spacy"
    assert {"n't", "dog", "does"} <= set(text["src_vocabulary"]["tokens"])


def test_ctrl_c_while_the_text_is_split(tmp_path: Path) -> None:
    """The whole process group gets it at a terminal; here the parent alone, which must end its children itself."""
    lines = [f"a {'very ' * 60}long sentence {i} .\tein {'sehr ' * 60}langer Satz {i} .\n" for i in range(20_000)]
    (tmp_path / "corpus.tsv").write_text("".join(lines))
    program = (
        "import os, signal, subprocess, sys, threading; from seq2seq import train\n"
        "start, seen = subprocess.Popen, []\n"
        "def popen(*arguments, **options):\n"
        "    seen.append(start(*arguments, **options))\n"
        "    if len(seen) == 2: threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "    return seen[-1]\n"
        "subprocess.Popen = popen\n"
        "code = train.main(['--data', 'corpus.tsv', '--run-dir', sys.argv[1], '--src-language', 'en'])\n"
        "print(code, len(seen), [child.returncode for child in seen])"
    )
    begin = time.monotonic()
    assert in_own_process(program, tmp_path, tmp_path / "run") == "130 2 [-9, -9]"
    assert time.monotonic() - begin < 100
    assert not (tmp_path / "run").exists()
