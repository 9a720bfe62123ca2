"""Tokenizers: exact tokens, round trips, and configurations that rebuild them or are refused."""

import base64
import importlib.util
import json
import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor

from seq2seq.run.errors import UserError
from seq2seq.text.tokenizers import (
    CharTokenizer,
    SentencePieceTokenizer,
    SpaceTokenizer,
    Tokenizer,
    WordTokenizer,
    build_tokenizer,
    tokenizer_from_config,
)

SENTENCES = [f"the {noun} sees {count} small {noun}s ." for noun in ("cat", "dog", "owl") for count in range(20)]
LINES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"))


def rebuilt(tokenizer: Tokenizer) -> Tokenizer:
    return tokenizer_from_config(json.loads(json.dumps(tokenizer.to_config())))


def test_space_splits_at_blanks_only() -> None:
    tokenizer = rebuilt(SpaceTokenizer())
    assert tokenizer.tokenize("  I_RUN  I_Jump\tb\u00a0c ") == ["I_RUN", "I_Jump\tb\u00a0c"]
    assert tokenizer.detokenize(["a", "b"]) == "a b"
    assert rebuilt(SpaceTokenizer(lower=True)).tokenize("A ÄB") == ["a", "äb"]


def test_char_shows_blanks() -> None:
    assert CharTokenizer().tokenize("a b\u2581") == ["a", "\u2581", "b", "\u2581\u2581"]
    assert rebuilt(CharTokenizer(lower=True)).tokenize("Aß") == ["a", "ß"]


@pytest.fixture(scope="module")
def pieces() -> SentencePieceTokenizer:
    return SentencePieceTokenizer.train(SENTENCES, vocab_size=40)


def single_blanks(sentence: str) -> str:
    return " ".join(filter(None, sentence.split(" ")))


@given(LINES.filter(lambda sentence: "\u2581" not in sentence))
@example("  a \u00a0 b\t ")
@example("a\u3000\u2028\rb\ufeff")
@example("a <unk> b")
def test_what_comes_back_of_odd_blanks(pieces: SentencePieceTokenizer, sentence: str) -> None:
    """As the documents say: space and sentencepiece lose runs of blanks, and nothing else."""
    assert SpaceTokenizer().detokenize(SpaceTokenizer().tokenize(sentence)) == single_blanks(sentence)
    found = pieces.detokenize(pieces.tokenize(sentence))
    assert found == single_blanks(sentence).replace("<unk>", " \u2047 ")
    assert pieces.detokenize(pieces.tokenize("a\u2581b")) == "a b"


@given(LINES)
@example("  a \u00a0 b\t \u2581\u2581")
def test_char_comes_back_exactly(sentence: str) -> None:
    assert CharTokenizer().detokenize(CharTokenizer().tokenize(sentence)) == sentence


def test_moses_words() -> None:
    tokenizer = rebuilt(WordTokenizer("de", "moses", lower=True))
    tokens = ["ein", "mann", "(", "mit", "hut", ")", "geht", "&", "ruft", ":", "„", "hallo", "!", "“"]
    assert tokenizer.tokenize("Ein Mann (mit Hut) geht & ruft: „Hallo!“") == tokens
    assert tokenizer.detokenize(["ein", "mann", ",", "der", "geht", "."]) == "ein mann, der geht."


def test_spacy_words() -> None:
    pytest.importorskip("spacy")
    tokenizer = rebuilt(WordTokenizer("en", "spacy", lower=True))
    sentence = "a well-known man doesn't see the dog's ball, ok?"
    words = ["a", "well", "-", "known", "man", "does", "n't", "see", "the", "dog", "'s", "ball", ",", "ok", "?"]
    assert tokenizer.tokenize(sentence.upper()) == words
    assert tokenizer.detokenize(words) == sentence


def test_dashes_that_were_not_torn_stay_apart() -> None:
    assert WordTokenizer("de", "moses").detokenize(["links", "-", "rechts"]) == "links - rechts"


def test_word_backend_follows_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = "spacy" if importlib.util.find_spec("spacy") else "moses"
    assert build_tokenizer("word", "de", []).to_config()["backend"] == expected
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert build_tokenizer("word", "de", []).to_config()["backend"] == "moses"


def test_missing_spacy_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)
    with pytest.raises(UserError, match=r"not installed; pip install 'spacy>=3\.8'$"):
        tokenizer_from_config({"name": "word", "language": "de", "backend": "spacy", "lower": True})


def test_unknown_spacy_language() -> None:
    pytest.importorskip("spacy")
    for language in ("qq", "x" * 5000, "a\0", "\ud800"):
        with pytest.raises(UserError, match=r"spaCy has no rules for language .*; the tokenizers char and ") as caught:
            WordTokenizer(language, "spacy")
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("model_type", ["bpe", "unigram"])
def test_sentencepiece_round_trip_and_determinism(model_type: str) -> None:
    options: dict[str, Any] = {"vocab_size": 32, "model_type": model_type}
    tokenizer = build_tokenizer("sentencepiece", "en", SENTENCES, **options)
    assert tokenizer.to_config() == build_tokenizer("sentencepiece", "en", iter(SENTENCES), **options).to_config()
    again = rebuilt(tokenizer)
    for sentence in [*SENTENCES, "a totally new \u4e2d line"]:
        assert again.tokenize(sentence) == tokenizer.tokenize(sentence)
        assert again.detokenize(again.tokenize(sentence)) == sentence
    assert "".join(tokenizer.tokenize(SENTENCES[0])) == "\u2581" + SENTENCES[0].replace(" ", "\u2581")
    assert len({piece for sentence in SENTENCES for piece in tokenizer.tokenize(sentence)}) <= 32


def test_sentencepiece_learns_words_and_lower_cases() -> None:
    tokenizer = rebuilt(SentencePieceTokenizer.train([s.upper() for s in SENTENCES], vocab_size=60, lower=True))
    assert tokenizer.tokenize("THE CAT sees")[:2] == ["\u2581the", "\u2581cat"]


def test_sentencepiece_refuses_impossible_sizes() -> None:
    for size, message in (
        (3, r"3; expected at least --max-vocab-size (\d+)"),
        (5000, r"5000; expected at most \S+ (\d+)"),
    ):
        with pytest.raises(UserError, match=f"max_vocab_size is {message}") as refusal:
            SentencePieceTokenizer.train(SENTENCES, vocab_size=size)
        possible = int(re.search(message, str(refusal.value))[1])
        assert num_pieces(SentencePieceTokenizer.train(SENTENCES, vocab_size=possible)) == possible
    with pytest.raises(UserError, match="model_type is 'word'; expected 'bpe' or 'unigram'"):
        SentencePieceTokenizer.train(SENTENCES, model_type="word")


@pytest.mark.parametrize("size", [0, -1, 1.5, "8", True])
def test_sentencepiece_takes_a_number_of_pieces(size: Any) -> None:
    with pytest.raises(UserError, match=f"^max_vocab_size is {size!r}; expected (an integer of )?at least 1$"):
        SentencePieceTokenizer.train(SENTENCES, vocab_size=size)


@pytest.mark.parametrize("size", [2**31, 2**63, 10**20])
def test_no_text_yields_that_many_pieces(size: int) -> None:
    with pytest.raises(UserError, match=f"^max_vocab_size is {size}; expected at most --max-vocab-size "):
        SentencePieceTokenizer.train(SENTENCES, vocab_size=size)


@pytest.mark.parametrize(
    ("given", "plain"), [("de", "de"), ("de-AT", "de"), ("EN_us", "en"), ("zh-TW", "zh"), ("cmn", "zh"), ("xx", "xx")]
)
def test_the_form_of_a_language_code_does_not_matter(given: str, plain: str) -> None:
    assert build_tokenizer("word", given, []).to_config()["language"] == plain


def test_sentencepiece_takes_what_the_sentences_yield() -> None:
    with pytest.raises(UserError, match="expected at most --max-vocab-size") as refusal:
        SentencePieceTokenizer.train(SENTENCES, vocab_size=8000)
    assert f" {num_pieces(SentencePieceTokenizer.train(SENTENCES))}:" in str(refusal.value)
    with pytest.raises(UserError, match="sentencepiece: the training text is empty; expected sentences"):
        SentencePieceTokenizer.train(["", "  "])


def num_pieces(tokenizer: SentencePieceTokenizer) -> int:
    return SentencePieceProcessor(model_proto=base64.b64decode(tokenizer.to_config()["model"])).get_piece_size()


def test_unknown_name() -> None:
    with pytest.raises(UserError, match="tokenizer is 'wrod'; expected one of word, space, char, sentencepiece"):
        build_tokenizer("wrod", "de", [])


FOREIGN: dict[str, tuple[Any, str]] = {
    "a list": ([], "name is None; expected one of word, space, char, sentencepiece"),
    "no name": ({"lower": True}, "name is None"),
    "unhashable name": ({"name": []}, r"name is \[\]"),
    "missing key": ({"name": "char"}, r"tokenizer char: keys are \[\]; expected {'lower': 'bool'}"),
    "another key": ({"name": "char", "lower": True, "x": 1}, r"keys are \['lower', 'x'\]"),
    "wrong type": ({"name": "space", "lower": 1}, "tokenizer space: keys"),
    "backend": ({"name": "word", "language": "de", "backend": "nltk", "lower": True}, "expected 'spacy' or 'moses'"),
    "base64": ({"name": "sentencepiece", "lower": True, "model": "%%"}, "tokenizer model: not base64"),
    "non-ASCII": ({"name": "sentencepiece", "lower": True, "model": "ä"}, "tokenizer model: not base64"),
    "no model": ({"name": "sentencepiece", "lower": True, "model": "QUJD"}, "no SentencePiece model of 3 bytes"),
    "empty model": ({"name": "sentencepiece", "lower": True, "model": ""}, "no SentencePiece model of 0 bytes"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_foreign_configurations_are_refused(case: str) -> None:
    config, message = FOREIGN[case]
    with pytest.raises(UserError, match=message) as caught:
        tokenizer_from_config(config)
    assert "\n" not in str(caught.value)


def test_spacy_imports_no_tensor_library() -> None:
    """spaCy would import PyTorch wherever it is installed, for 250 MB and nothing."""
    pytest.importorskip("spacy")
    code = (
        "import sys; from seq2seq.text.tokenizers import WordTokenizer; "
        "print(WordTokenizer('en', 'spacy').tokenize(\"don't\"), 'torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "['do', \"n't\"] False\n"
