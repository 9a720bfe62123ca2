"""Before a run it is told which rules split the words, what no tokenizer finds, and what a score cannot mean."""

from __future__ import annotations

import dataclasses
import importlib.util
import random
from typing import Any

import pytest

from seq2seq import metrics
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.sources import Dataset, Pair, drop_long
from seq2seq.text.codec import TextCodec
from seq2seq.training.advice import advice

CHINESE_WORDS = [
    "我们",
    "他",
    "明天",
    "北京",
    "上海",
    "去",
    "看",
    "长城",
    "喜欢",
    "学校",
    "老师",
    "今天",
    "朋友",
    "吃",
    "饭",
    "书",
]
THAI_WORDS = ["ฉัน", "เขา", "พรุ่งนี้", "ไป", "ตลาด", "กิน", "ข้าว", "โรงเรียน", "ครู", "วันนี้", "เพื่อน", "หนังสือ", "ชอบ"]
ENGLISH_WORDS = ["we", "he", "goes", "sees", "wall", "likes", "school", "teacher", "today", "friend", "eats", "book"]


def sentences(words: list[str], joint: str, end: str = "", count: int = 300) -> list[str]:
    rng = random.Random(1)
    return [joint.join(rng.choices(words, k=rng.randint(7, 12))) + end for _ in range(count)]


def notes(src: list[str], trg: list[str], language: str = "xx", **settings: Any) -> list[str]:
    pairs: list[Pair] = list(zip(src, trg, strict=True))
    dataset = Dataset("toy", "en", language, {"train": pairs[20:], "valid": pairs[:20]})
    config = dataclasses.replace(Config(), **{"src_tokenizer": "space", "trg_tokenizer": "space", **settings})
    codec, encoded = TextCodec.build_encoded(dataset, config)
    if config.max_length is not None:
        encoded["train"], _ = drop_long(encoded["train"], config.max_length)
    return advice(dataset, codec, encoded)


@pytest.fixture
def english() -> list[str]:
    return sentences(ENGLISH_WORDS, " ", " .")


@pytest.fixture(autouse=True)
def _no_mecab(monkeypatch: pytest.MonkeyPatch) -> None:
    missing(monkeypatch, "MeCab", "mecab_ko")


def missing(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """As if these were not installed."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in names else find(name))


def test_text_that_fits_gives_no_note(english: list[str]) -> None:
    assert notes(english, english) == []
    assert notes(english, english, src_tokenizer="char", trg_tokenizer="sentencepiece", max_vocab_size=60) == []


def test_the_rules_that_split_words_are_told(monkeypatch: pytest.MonkeyPatch, english: list[str]) -> None:
    pytest.importorskip("spacy")
    words = {"src_tokenizer": "word", "trg_tokenizer": "word"}
    assert notes(english, english, "en", **words) == ["words are split by spaCy's rules"]
    missing(monkeypatch, "spacy")
    for settings in (words, {"trg_tokenizer": "word"}):
        (note,) = notes(english, english, "en", **settings)
        assert note.startswith("words are split by the Moses rules, since spaCy is not installed; ")
        assert note.endswith("pip install 'spacy>=3.8'")


@pytest.mark.parametrize("tokenizer", ["word", "space"])
@pytest.mark.parametrize(
    ("words", "language", "end"),
    [(CHINESE_WORDS, "zh", "。"), (CHINESE_WORDS, "xx", "."), (THAI_WORDS, "th", ""), (THAI_WORDS, "en", " .")],
)
def test_words_that_no_blank_parts(
    monkeypatch: pytest.MonkeyPatch, english: list[str], words: list[str], language: str, end: str, tokenizer: str
) -> None:
    missing(monkeypatch, "spacy")  # its rules for Chinese are characters
    text = sentences(words, "", end)
    start = f"text is written without blanks between words, so {tokenizer} does not find them ("
    (note,) = [n for n in notes(english, text, language, trg_tokenizer=tokenizer, min_freq=1) if n.startswith("trg ")]
    assert note.startswith(f"trg {start}")
    assert "% of the trg tokens of valid are <unk>); --trg-tokenizer char fits, or sentencepiece" in note
    for others in (text, [*text[:20], *text[:20]]):  # known though they may be
        (note,) = [n for n in notes(others, english[: len(others)], src_tokenizer=tokenizer, min_freq=1) if "src" in n]
        assert note.startswith(f"src {start}")


def test_spacys_rules_for_chinese_are_trusted(english: list[str]) -> None:
    pytest.importorskip("spacy")
    text = sentences(CHINESE_WORDS, "", "。")
    words = {"src_tokenizer": "word", "trg_tokenizer": "word"}
    assert notes(english, text, "zh", **words) == ["words are split by spaCy's rules"]
    assert any(
        "without blanks between words, so word" in note for note in notes(english, text, "xx", **words, min_freq=1)
    )


def test_sentences_that_are_one_token_each_name_what_fits(english: list[str]) -> None:
    with pytest.raises(UserError, match=r"trg vocabulary: empty, .* or --trg-tokenizer char or sentencepiece$"):
        notes(english, sentences(THAI_WORDS, ""), "th")


@pytest.mark.parametrize("tokenizer", ["char", "sentencepiece"])
@pytest.mark.parametrize(("words", "language"), [(CHINESE_WORDS, "zh"), (THAI_WORDS, "th")])
def test_tokens_that_fit_a_script_without_blanks(
    english: list[str], words: list[str], language: str, tokenizer: str
) -> None:
    assert notes(english, sentences(words, ""), language, trg_tokenizer=tokenizer, max_vocab_size=90) == []


@pytest.mark.parametrize(("words", "language"), [(CHINESE_WORDS, "zh"), (THAI_WORDS, "th")])
def test_words_that_were_parted_beforehand(english: list[str], words: list[str], language: str) -> None:
    assert notes(english, sentences(words, " "), language) == []


def test_too_many_unknown_words(english: list[str]) -> None:
    odd = [f"{sentence} w{number} x{number} y{number} z{number}" for number, sentence in enumerate(english)]
    (note,) = notes(english, odd)
    assert 20 < int(note.split("%")[0]) < 40
    assert "% of the trg tokens of valid are <unk>; --trg-tokenizer char or sentencepiece, or a smaller --min" in note
    foreign = ["\u0434" * 30 + sentence if number < 20 else sentence for number, sentence in enumerate(english)]
    (note,) = notes(foreign, english, src_tokenizer="char")
    assert note.endswith("of the src tokens of valid are <unk>; expected text of the kind of the training text")


def test_a_pair_that_decides_what_all_cost(english: list[str]) -> None:
    long = [*english, " ".join(["far"] * 2000)]
    (note,) = notes(long, [*english, "x"])
    assert note.startswith(
        "1 of 281 training pairs has more than 110 tokens on one side, up to 2,000, where half have at most 11;"
    )
    assert note.endswith("--max-length 110 leaves them out")
    assert notes(long, [*english, "x"], max_length=110) == []
    assert notes([*english, " ".join(["far"] * 99)], [*english, "x"]) == []


def test_what_bleu_cannot_say(english: list[str]) -> None:
    (note,) = notes(english, [sentence.split()[0] for sentence in english])
    assert note == "BLEU of valid: no reference has 4 tokens, so BLEU, of n-grams up to 4, means nothing"
    (note,) = notes(english, sentences(THAI_WORDS, " "), "xx")
    assert note == (
        "BLEU of valid takes tok:char: the target language is 'xx', the references are written without blanks"
    )
    (note,) = notes(english, ["나는 어제 학교에 갔다 ."] * 300, "ko")
    assert note.endswith("since MeCab is not installed (pip install 'sacrebleu[ko]')")


def test_a_training_tells_it(run, corpus, options, tmp_path) -> None:
    corpus.write_text("".join(f"{i} {i + 1}\tone\n" for i in range(40)))
    result = run("train", *options(corpus, tmp_path / "run"), "--epochs", 1)
    lines = result.out.splitlines()
    assert "note: BLEU of valid: no reference has 4 tokens, so BLEU, of n-grams up to 4, means nothing" in lines
    epoch = next(line for line in lines if line.startswith("epoch 1 "))
    assert "  bleu n/a  exact " in epoch
    assert lines.index(epoch) > max(number for number, line in enumerate(lines) if line.startswith("note: "))
    assert metrics.shown(None, 2) == "n/a"
