"""Scores against counts made by hand and sacreBLEU called directly; perplexities against plain sums."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter

import pytest
from sacrebleu.metrics import BLEU, CHRF

from seq2seq import metrics
from seq2seq.config import Config
from seq2seq.data import Dataset
from seq2seq.evaluate import score
from seq2seq.evaluation import evaluate_split, split_losses
from seq2seq.model import build_model
from seq2seq.text import TextCodec
from seq2seq.translator import Translator

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
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        metrics.exact_match(hypotheses, references[:2], lowercase=False)


def test_no_sentences_have_no_score() -> None:
    assert math.isnan(metrics.bleu([], [], lowercase=False).value)
    assert math.isnan(metrics.chrf([], [], lowercase=False).value)
    assert math.isnan(metrics.exact_match([], [], lowercase=False))


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
    model = build_model(len(codec.src_vocabulary), len(codec.trg_vocabulary), config)
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
