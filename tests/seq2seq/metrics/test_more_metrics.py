"""Error rates, ROUGE, TER and the paired bootstrap against other tools' figures and direct definitions."""

from __future__ import annotations

import importlib.util
import math
import random
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
import sacrebleu.metrics
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.significance import PairedTest

from seq2seq import metrics
from seq2seq.metrics.edits import distance

WORDS = (
    "the", "a", "cat", "dog", "house", "sees", "runs", "red", "green", "big", "small", "and", "of", "in", "Paris,",
    "well-known", "it's",
)  # fmt: skip
# What jiwer 4.0.0 (error rates, first reference) and rouge-score 0.1.2 (mean F1, no stemmer) find for `made()`.
FIGURES = {"wer": 32.25806451612903, "cer": 30.492529053680133}
ROUGE = {
    "rouge1": (77.91608878015192, 77.91608878015192), "rouge2": (49.75275545747682, 50.1273684605728),
    "rougeL": (76.81004726616518, 76.81004726616518),
}  # fmt: skip
tokens = st.lists(st.sampled_from("abcd"), max_size=7)


@cache
def made() -> tuple[list[str], list[str], list[tuple[str, str]]]:
    """Sixty sentences of two systems, and two references of each; the second reference is another sentence."""
    rng = np.random.default_rng(7)

    def sentence(least: int) -> list[str]:
        return [str(word) for word in rng.choice(WORDS, int(rng.integers(least, 12)))]

    def near(reference: list[str]) -> str:
        kept = [word for word in reference if rng.random() > 0.2]
        return " ".join(word if rng.random() > 0.2 else str(rng.choice(WORDS)) for word in kept)

    first, second, references = [], [], []
    for _ in range(60):
        reference = sentence(1)
        first.append(near(reference))
        references.append((" ".join(reference), " ".join(sentence(1))))
        second.append(near(reference))
    return first, second, references


def of_first() -> list[tuple[str]]:
    return [refs[:1] for refs in made()[2]]


@pytest.mark.parametrize("name", FIGURES)
def test_error_rates_are_those_of_jiwer(name) -> None:
    assert metrics.METRICS[name]().score(made()[0], of_first()).value == pytest.approx(FIGURES[name], rel=1e-12)


@pytest.mark.parametrize("name", ROUGE)
def test_rouge_is_that_of_rouge_score(name) -> None:
    rouge = metrics.METRICS[name]()
    assert rouge.score(made()[0], of_first()).value == pytest.approx(ROUGE[name][0], rel=1e-12)
    assert rouge.score(made()[0], made()[2]).value == pytest.approx(ROUGE[name][1], rel=1e-12)


@pytest.mark.skipif(importlib.util.find_spec("jiwer") is None, reason="jiwer is not installed")
def test_the_kept_error_rates_are_what_jiwer_finds() -> None:
    import jiwer

    first = [reference for (reference,) in of_first()]
    assert 100 * jiwer.wer(first, made()[0]) == pytest.approx(FIGURES["wer"])
    assert 100 * jiwer.cer(first, made()[0]) == pytest.approx(FIGURES["cer"])


@pytest.mark.parametrize("lowercase", [False, True])
def test_ter_is_that_of_sacrebleu(lowercase) -> None:
    first, _, references = made()
    tool = sacrebleu.metrics.TER(case_sensitive=not lowercase)
    expected = tool.corpus_score(first, [list(stream) for stream in zip(*references, strict=True)])
    found = metrics.TER(lowercase).score(first, references)
    assert found.value == pytest.approx(expected.score)
    assert found.signature == str(tool.get_signature())


def plain_distance(first: Sequence[str], second: Sequence[str]) -> int:
    """By its recursion, without a table."""
    if not first or not second:
        return len(first) + len(second)
    kept = plain_distance(first[:-1], second[:-1]) + (first[-1] != second[-1])
    return min(kept, plain_distance(first[:-1], second) + 1, plain_distance(first, second[:-1]) + 1)


@given(tokens, tokens)
def test_the_distance_is_that_of_its_recursion(first, second) -> None:
    assert distance(first, second) == plain_distance(first, second)


@given(st.lists(st.tuples(tokens, st.lists(tokens, min_size=1, max_size=3)), min_size=1, max_size=4))
def test_the_nearest_reference_counts_and_the_longest_of_the_nearest(sentences) -> None:
    edits = size = 0
    for hypothesis, references in sentences:
        least = min(plain_distance(hypothesis, reference) for reference in references)
        edits += least
        size += max(len(ref) for ref in references if plain_distance(hypothesis, ref) == least)
    found = metrics.WordErrorRate().score(
        [" ".join(hypothesis) for hypothesis, _ in sentences],
        [[" ".join(reference) for reference in references] for _, references in sentences],
    )
    assert found.value == pytest.approx(100 * edits / size) if size else math.isnan(found.value)


def test_error_rates_count_their_tokens() -> None:
    hypotheses, references = ["K AE1 T"], [("K  AA1 T S",)]
    assert metrics.WordErrorRate().score(hypotheses, references).value == pytest.approx(50)
    assert metrics.TokenErrorRate().score(hypotheses, references).value == pytest.approx(50)
    assert metrics.CharacterErrorRate().score(hypotheses, references).value == pytest.approx(300 / 9)
    assert metrics.TokenErrorRate(tokenize=list).score(["ab"], [("abcd",)]).value == pytest.approx(50)
    assert metrics.WordErrorRate(True).score(["Ab"], [("aB",)]).value == 0
    assert metrics.WordErrorRate().score(["a b c"], [("x",)]).value == pytest.approx(300)


def plain_f1(hypothesis: list[str], reference: list[str], order: int) -> float:
    """Each n-gram of the reference may be matched once."""
    ours = [tuple(hypothesis[i : i + order]) for i in range(len(hypothesis) - order + 1)]
    left = [tuple(reference[i : i + order]) for i in range(len(reference) - order + 1)]
    size, common = len(ours) + len(left), 0
    for ngram in ours:
        if ngram in left:
            left.remove(ngram)
            common += 1
    return 200 * common / size if common else 0.0


def is_subsequence(some: Sequence[str], of: Sequence[str]) -> bool:
    rest = iter(of)
    return all(word in rest for word in some)


@given(tokens, tokens)
def test_rouge_by_its_definition(hypothesis, reference) -> None:
    text = [" ".join(hypothesis)], [(" ".join(reference),)]
    for rouge in (metrics.Rouge1(), metrics.Rouge2()):
        assert rouge.score(*text).value == pytest.approx(plain_f1(hypothesis, reference, rouge.order))
    subsets = ([w for k, w in enumerate(hypothesis) if code >> k & 1] for code in range(1 << len(hypothesis)))
    longest = max(len(some) for some in subsets if is_subsequence(some, reference))
    expected = 200 * longest / (len(hypothesis) + len(reference)) if longest else 0
    assert metrics.RougeL().score(*text).value == pytest.approx(expected)


def test_rouge_reads_any_script() -> None:
    assert metrics.Rouge1().score(["Der Fluß, über"], [("fluß über",)]).value == pytest.approx(80)


@pytest.mark.parametrize("name", metrics.METRICS)
def test_a_figure_is_a_function_of_sums(name) -> None:
    """The mean of what is summed need not be the figure, so figures of two halves do not give that of the whole."""
    first, _, references = made()
    metric = metrics.METRICS[name]()
    whole = metric.score(first, references)
    halves = [metric.statistics(first[part], references[part]).sum(axis=0) for part in (slice(25), slice(25, None))]
    assert metric.value(halves[0] + halves[1]) == pytest.approx(whole.value, nan_ok=True)
    assert "case:" in whole.signature or name == "ter"


@pytest.mark.parametrize("name", metrics.METRICS)
def test_what_is_no_list_of_sentences_is_told(name) -> None:
    metric = metrics.METRICS[name]()
    with pytest.raises(ValueError, match=rf"^{name}: 1 hypothesis, 2 lists of references; expected equal$"):
        metric.score(["a"], [("a",), ("b",)])
    with pytest.raises(TypeError, match=rf"^{name}: hypotheses\[0\] is None; expected a string$"):
        metric.score([None], [("a",)])
    assert math.isnan(metric.score([], []).value)


@pytest.mark.parametrize("name", ["bleu", "chrf", "ter"])
def test_the_paired_bootstrap_is_that_of_sacrebleu(name) -> None:
    first, second, references = made()
    tools = {
        "bleu": sacrebleu.metrics.BLEU(force=True),
        "chrf": sacrebleu.metrics.CHRF(),
        "ter": sacrebleu.metrics.TER(),
    }
    streams = [list(stream) for stream in zip(*references, strict=True)]
    tests = PairedTest([("one", first), ("two", second)], {name: tools[name]}, streams, "bs", n_samples=200)
    _, scores = tests()
    values = next(values for key, values in scores.items() if key != "System")
    found = metrics.paired_bootstrap(metrics.METRICS[name](), first, second, references, resamples=200)
    assert [found.first, found.second] == pytest.approx([result.score for result in values])
    assert found.p == pytest.approx(values[1].p_value)


@pytest.mark.parametrize("name", ["exact_match", "wer", "rouge2"])
def test_the_paired_bootstrap_tells_systems_apart(name) -> None:
    _, second, references = made()
    metric = metrics.METRICS[name]()
    perfect = [refs[0] for refs in references]
    found = metrics.paired_bootstrap(metric, second, perfect, references, resamples=300)
    assert found.p == pytest.approx(1 / 301)
    better = found.low if metric.higher_is_better else -found.high
    assert better > 0
    assert found.low <= found.second - found.first <= found.high
    same = metrics.paired_bootstrap(metric, second, second, references, resamples=300)
    assert (same.low, same.high, same.p) == (0, 0, 1)


def test_luck_is_called_luck() -> None:
    """Two systems whose sentences are right by the toss of a coin: p is spread evenly, 5 % of them below 0.05."""
    coin = random.Random(3)
    references, metric = [("a",)] * 50, metrics.ExactMatch()
    small = 0
    for _ in range(200):
        first, second = ([coin.choice("ab") for _ in references] for _ in range(2))
        small += metrics.paired_bootstrap(metric, first, second, references, 100).p < 0.05
    assert 2 <= small <= 24  # 10 expected; a binomial is outside with probability 2e-4


@pytest.mark.parametrize(("sentences", "resamples", "told"), [(0, 10, "no sentences"), (1, 0, "resamples = 0")])
def test_nothing_to_resample_is_told(sentences, resamples, told) -> None:
    lines = ["a"] * sentences
    with pytest.raises(ValueError, match=f"paired_bootstrap: got {told}; expected at least one"):
        metrics.paired_bootstrap(metrics.ExactMatch(), lines, lines, [("a",)] * sentences, resamples)
