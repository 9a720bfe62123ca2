"""Scores against counts made by hand and sacreBLEU called directly; perplexities against plain sums."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF

from seq2seq import metrics
from seq2seq.decoding.translator import Translator
from seq2seq.evaluate import _bleu, _table, score
from seq2seq.models.model import build_model
from seq2seq.run.config import Config
from seq2seq.sources import Dataset
from seq2seq.text.codec import TextCodec
from seq2seq.training.validation import evaluate_split, split_losses

HYPOTHESES = ["The cat sat on the mat.", "A dog ran over a hill today", "hello there friend of mine"]
REFERENCES = [("The cat sat on a mat.",), ("a dog ran over the hill today",), ("hello there my friend of mine",)]
SEVERAL = [
    ("A cat sat.", "The cat sat on the mat."),
    ("a dog ran over the hill today",),
    ("hi", "hello", "hello there"),
]


def ngrams(words: list[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(words[i:] for i in range(n)), strict=False))


def plain_bleu(hypotheses: list[str], references: list[str]) -> float:
    """Papineni et al. (2002), equations 1 to 3, for one reference and no zero counts."""
    pairs = [(h.split(), r.split()) for h, r in zip(hypotheses, references, strict=True)]
    logs = []
    for n in range(1, 5):
        matches = sum((ngrams(h, n) & ngrams(r, n)).total() for h, r in pairs)
        logs.append(math.log(matches / sum(ngrams(h, n).total() for h, _ in pairs)))
    hyp_length, ref_length = sum(len(h) for h, _ in pairs), sum(len(r) for _, r in pairs)
    return 100 * min(1.0, math.exp(1 - ref_length / hyp_length)) * math.exp(sum(logs) / 4)


def test_bleu_by_hand() -> None:
    hypotheses, references = ["the cat sat on the mat", "a b c d e"], ["the cat sat on a mat", "a b c d e f g"]
    found = metrics.bleu(hypotheses, [(r,) for r in references], lowercase=False)
    # n-grams that match: 10 of 11, 7 of 9, 5 of 7, 3 of 5; 11 words for 13.
    expected = 100 * math.exp(1 - 13 / 11) * (10 / 11 * 7 / 9 * 5 / 7 * 3 / 5) ** 0.25
    assert found.value == pytest.approx(expected)
    assert plain_bleu(hypotheses, references) == pytest.approx(expected)


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("tokenize", ["13a", "none"])
def test_bleu_is_that_of_sacrebleu(lowercase, tokenize) -> None:
    found = metrics.bleu(HYPOTHESES, REFERENCES, lowercase, tokenize)
    direct = BLEU(lowercase=lowercase, tokenize=tokenize)
    expected = direct.corpus_score(HYPOTHESES, [[refs[0] for refs in REFERENCES]])
    assert found.value == pytest.approx(expected.score)
    assert found.signature == str(direct.get_signature())


def test_signatures_say_how() -> None:
    bleu = metrics.bleu(HYPOTHESES, REFERENCES, lowercase=True).signature
    assert bleu.startswith("nrefs:1|case:lc|eff:no|tok:13a|smooth:exp|version:")
    assert "case:mixed" in metrics.bleu(HYPOTHESES, REFERENCES, lowercase=False).signature
    assert "tok:none" in metrics.bleu(HYPOTHESES, REFERENCES, lowercase=False, tokenize="none").signature
    chrf = metrics.chrf(HYPOTHESES, REFERENCES, lowercase=False).signature
    assert chrf.startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:")
    assert "nrefs:var" in metrics.bleu(HYPOTHESES, SEVERAL, lowercase=False).signature


@pytest.mark.parametrize("lowercase", [False, True])
def test_chrf_is_that_of_sacrebleu(lowercase) -> None:
    expected = CHRF(lowercase=lowercase).corpus_score(HYPOTHESES, [[refs[0] for refs in REFERENCES]])
    assert metrics.chrf(HYPOTHESES, REFERENCES, lowercase).value == pytest.approx(expected.score)


def test_any_of_several_references_counts() -> None:
    streams = [
        ["A cat sat.", REFERENCES[1][0], "hi"],
        ["The cat sat on the mat.", None, "hello"],
        [None, None, "hello there"],
    ]
    assert metrics.bleu(HYPOTHESES, SEVERAL, False).value == pytest.approx(
        BLEU().corpus_score(HYPOTHESES, streams).score
    )
    assert metrics.chrf(HYPOTHESES, SEVERAL, False).value == pytest.approx(
        CHRF().corpus_score(HYPOTHESES, streams).score
    )
    assert metrics.exact_match(HYPOTHESES, SEVERAL, lowercase=False) == pytest.approx(100 / 3)


def test_exact_match_looks_past_blanks_and_case_only_where_told() -> None:
    references = [("one two",), ("Three",), ("four",)]
    hypotheses = ["  one \t two ", "three", "4"]
    assert metrics.exact_match(hypotheses, references, lowercase=False) == pytest.approx(100 / 3)
    assert metrics.exact_match(hypotheses, references, lowercase=True) == pytest.approx(200 / 3)


def test_no_sentences_have_no_score() -> None:
    assert math.isnan(metrics.bleu([], [], lowercase=False).value)
    assert math.isnan(metrics.chrf([], [], lowercase=False).value)
    assert math.isnan(metrics.exact_match([], [], lowercase=False))


CHINESE = [f"我们第{i}次去北京看长城，天气很好。" for i in range(200)]
THAI = [f"ฉันอยากกินข้าวผัดที่ตลาด{i}" for i in range(50)]


@pytest.mark.parametrize(
    ("language", "sentences", "token"),
    [
        ("zh", CHINESE, "zh"), ("zh-CN", CHINESE, "zh"), ("ZHO", CHINESE, "zh"), ("xx", CHINESE, "zh"),
        ("en", CHINESE, "zh"), ("th", THAI, "char"), ("xx", THAI, "char"), ("lo", THAI, "char"),
        ("en", [refs[0] for refs in REFERENCES], "13a"), ("xx", [refs[0] for refs in REFERENCES], "13a"),
        ("zh-Latn", ["wo men ming tian qu Beijing"], "13a"), ("ko", ["나는 어제 학교에 갔다"], "char"),
        ("ja_JP", ["私は東京で本を買いました。"], "char"), ("xx", ["私は東京で本を買いました。"], "char"),
    ],
)  # fmt: skip
def test_bleu_follows_the_target_language(monkeypatch, language, sentences, token) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)  # no MeCab
    found = metrics.bleu(sentences, [(sentence,) for sentence in sentences], False, language=language)
    assert found.value == pytest.approx(100)
    assert f"|tok:{token}|" in found.signature
    assert ("without blanks" in found.note) == (token != "13a" and language in ("xx", "en"))
    assert ("MeCab is not installed (pip install 'sacrebleu[" in found.note) == (
        "本" in sentences[0] or "나" in sentences[0]
    )


def test_chinese_lines_against_themselves_get_100_without_a_word_on_the_language() -> None:
    assert metrics.bleu(CHINESE, [(sentence,) for sentence in CHINESE], False).value == pytest.approx(100)


def test_mecab_is_used_where_it_is_installed(monkeypatch) -> None:
    japanese, korean = [("私は東京で本を買いました。",)], [("나는 어제 학교에 갔다",)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert metrics.bleu_tokenizer("jpn", japanese) == ("ja-mecab", "")
    assert metrics.bleu_tokenizer("ko", korean) == ("ko-mecab", "")
    assert metrics.bleu_tokenizer("xx", korean) == ("13a", "")  # written with blanks
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ipadic" else name)
    assert metrics.bleu_tokenizer("ja", japanese)[0] == "char"


def test_bleu_of_text_without_blanks_is_that_of_sacrebleu() -> None:
    hypotheses = [sentence.replace("北京", "上海") for sentence in CHINESE]
    expected = BLEU(tokenize="zh").corpus_score(hypotheses, [CHINESE]).score
    assert 20 < expected < 90
    found = metrics.bleu(hypotheses, [(sentence,) for sentence in CHINESE], False, language="zh_TW")
    assert found.value == pytest.approx(expected)


@pytest.mark.parametrize("longest", ["", "one", "one two", "one two three"])
def test_bleu_without_a_reference_of_four_tokens_means_nothing(longest) -> None:
    sentences = ["word", "of", longest]
    found = metrics.bleu(sentences, [(sentence,) for sentence in sentences], False, language="en")
    assert math.isnan(found.value)
    assert found.note == "no reference has 4 tokens, so BLEU, of n-grams up to 4, means nothing"
    assert found.note == metrics.bleu_caveat([(sentence,) for sentence in sentences], "13a")
    assert metrics.exact_match(sentences, [(sentence,) for sentence in sentences], False) == 100


@given(st.lists(st.text("ab .", max_size=9), min_size=1, max_size=6), st.sampled_from(["13a", "none", "char", "zh"]))
def test_where_bleu_means_something_a_perfect_system_gets_100(sentences, tokenize) -> None:
    value = metrics.bleu(sentences, [(sentence,) for sentence in sentences], False, tokenize).value
    assert math.isnan(value) or value == pytest.approx(100)


def test_a_silent_system_gets_0_where_bleu_means_something() -> None:
    found = metrics.bleu(["", "a"], [("one two three four",), ("x",)], False)
    assert (found.value, found.note) == (0, "")


def test_few_long_references_are_counted() -> None:
    sentences = ["word"] * 1999 + ["a b c d"]
    found = metrics.bleu(sentences, [(sentence,) for sentence in sentences], False)
    assert found.value == pytest.approx(100)
    assert found.note == "only 1 of 2,000 references have the 4 tokens that BLEU needs"


def test_chrf_of_empty_references_means_nothing() -> None:
    found = metrics.chrf(["", "a"], [("",), (" ",)], False)
    assert math.isnan(found.value)
    assert found.note == "the references are empty"
    assert metrics.chrf(["ab"], [("ab",)], False).value == pytest.approx(100)


WRONG = {
    "lengths": (["a", "b"], [("a",)], ValueError, "2 hypotheses, 1 list of references; expected equal"),
    "no hypotheses": ([], [("a",)], ValueError, "0 hypotheses, 1 list"),
    "none": (["a", None], [("a",), ("b",)], TypeError, r"hypotheses\[1\] is None; expected a string"),
    "bytes": ([b"a"], [("a",)], TypeError, r"hypotheses\[0\] is b'a'"),
    "no reference": (["a"], [()], ValueError, r"references\[0\] is empty; expected at least one"),
    "a none among references": (["a"], [("a", None)], TypeError, r"references\[0\] holds None; expected strings"),
    "flat references": (["a"], ["a"], TypeError, r"references\[0\] is 'a'; expected a list of strings"),
    "none for references": (["a"], [None], TypeError, r"references\[0\] is None; expected a list"),
    "one string": ("a", [("a",)], TypeError, "got one string; expected a list of hypotheses"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("score", [metrics.bleu, metrics.chrf, metrics.exact_match])
def test_what_is_no_list_of_sentences_is_told(score, case) -> None:
    hypotheses, references, error, message = WRONG[case]
    with pytest.raises(error, match=f"^{score.__name__}: .*{message}"):
        score(hypotheses, references, False)


def test_perplexity() -> None:
    assert metrics.perplexity(3 * math.log(7), 3) == pytest.approx(7)
    assert metrics.perplexity(0.0, 5) == 1
    assert metrics.perplexity(1e6, 10) == math.inf
    assert math.isnan(metrics.perplexity(math.nan, 10))
    assert math.isnan(metrics.perplexity(0.0, 0))


@pytest.fixture
def toy(reversed_digits) -> tuple[Translator, Dataset]:
    """An untrained translator and a split with sentences of unequal lengths."""
    pairs = [*reversed_digits(20), ("1", "1 2 3 4 5 6 7 8 9"), ("2 3", "0")]
    defaults = {"src_tokenizer": "space", "trg_tokenizer": "space", "min_freq": 1}
    dataset = Dataset("toy", "xx", "xx", {"train": pairs, "valid": pairs}, defaults=defaults)
    config = dataclasses.replace(Config(), hidden_size=8, embedding_size=6, init_range=0.7, batch_size=5)
    codec = TextCodec.build(dataset, config)
    model = build_model(codec.source.num_inputs, len(codec.trg_vocabulary), config)
    return Translator(model, codec, config), dataset


def with_batches_of(translator: Translator, batch_size: int) -> Translator:
    return Translator(
        translator.model, translator.codec, dataclasses.replace(translator.settings, batch_size=batch_size)
    )


def test_perplexities_sum_over_tokens_whatever_the_batches(toy) -> None:
    translator, dataset = toy
    pairs = dataset.split("valid")
    alone = [split_losses(translator, translator.codec.encode_pairs([pair])) for pair in pairs]
    forced, free, num_tokens = (sum(column) for column in zip(*alone, strict=True))
    assert num_tokens == sum(len(trg.split()) + 1 for _, trg in pairs)
    mean_of_means = math.exp(sum(one[0] / one[2] for one in alone) / len(alone))
    for batch_size in (1, 5, 50):
        figures = evaluate_split(with_batches_of(translator, batch_size), dataset, "valid")
        assert figures["val_loss"] == pytest.approx(forced / num_tokens, rel=1e-5)
        assert figures["ppl_forced"] == pytest.approx(math.exp(forced / num_tokens), rel=1e-5)
        assert figures["ppl_free"] == pytest.approx(math.exp(free / num_tokens), rel=1e-5)
        assert figures["ppl_forced"] != pytest.approx(mean_of_means, rel=1e-3)
        assert figures["ppl_free"] != pytest.approx(figures["ppl_forced"], rel=1e-3)


def test_scores_of_a_split_are_those_of_its_translations(toy) -> None:
    translator, dataset = toy
    sources, references = [src for src, _ in dataset.split("valid")], dataset.references("valid")
    for beam_size in (1, 3):
        found = score(translator, dataset, "valid", beam_size, 1.0, 4)
        translations = translator.translate(sources, beam_size)
        assert found["bleu"] == pytest.approx(metrics.bleu(translations, references, False).value)
        assert found["chrf"] == pytest.approx(metrics.chrf(translations, references, False).value)
        assert found["chrf"] > 0
        assert found["exact_match"] == metrics.exact_match(translations, references, False)
        assert (found["sentences"], found["beam_size"]) == (22, beam_size)
        assert set(found["signatures"]) == {"bleu", "chrf", "bleu_tokens"}
        assert found["notes"] == {}


def test_the_target_language_of_a_split_counts(toy) -> None:
    translator, dataset = toy
    found = score(translator, dataclasses.replace(dataset, trg_language="th_TH"), "valid", 1, 1.0, 4)
    assert "tok:char" in found["signatures"]["bleu"]
    assert "tok:13a" in score(translator, dataset, "valid", 1, 1.0, 4)["signatures"]["bleu"]


def test_other_files_are_scored_in_the_language_of_the_run(toy) -> None:
    translator, dataset = toy
    trained = Translator(
        translator.model, translator.codec, dataclasses.replace(translator.settings, data="a.en,b.ko.gz")
    )
    assert "tok:char" in score(trained, dataset, "valid", 1, 1.0, 4)["signatures"]["bleu"]
    german = dataclasses.replace(dataset, trg_language="de")
    assert "tok:13a" in score(trained, german, "valid", 1, 1.0, 4)["signatures"]["bleu"]


def test_one_word_targets_have_no_bleu(toy) -> None:
    """In the epoch's figures NaN; in the file of scores null with a note; in the table n/a with the note."""
    translator, dataset = toy
    words = {name: [(src, trg[0]) for src, trg in pairs] for name, pairs in dataset.splits.items()}
    dataset = dataclasses.replace(dataset, splits=words)
    assert math.isnan(evaluate_split(translator, dataset, "valid")["bleu"])
    found = score(translator, dataset, "valid", 1, 1.0, 4)
    assert found["bleu"] is None
    assert found["bleu_tokens"] is None
    assert json.loads(json.dumps(found, allow_nan=False))["notes"].keys() == {"bleu", "bleu_tokens"}
    lines = _table(found)
    place = next(number for number, line in enumerate(lines) if line.startswith("  bleu "))
    assert lines[place].split()[:2] == ["bleu", "n/a"]
    assert "no reference has 4 tokens" in lines[place + 1]
    assert _bleu(translator, dataset, "valid", translator.codec.encode_pairs(dataset.split("valid"))) is None
