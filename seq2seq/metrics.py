"""Scores of translations: perplexity, BLEU and chrF with their sacreBLEU signatures, exact match."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """A figure and the signature that says how it was computed."""

    value: float
    signature: str


def perplexity(total_loss: float, num_tokens: int) -> float:
    """exp of the mean -log p per token; inf where that overflows, NaN of no tokens or of a NaN."""
    if num_tokens == 0:
        return math.nan
    mean = total_loss / num_tokens
    return math.inf if mean >= 700 else math.exp(mean)


def bleu(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], lowercase: bool, tokenize: str = "13a"
) -> Score:
    """Corpus BLEU in percent (Papineni et al., 2002) by sacreBLEU.

    Args:
        hypotheses: N detokenised sentences; with tokenize="none", tokens joined by blanks.
        references: per sentence its accepted references.
        lowercase: compare without case, as fits a model trained on lower-cased text.
        tokenize: sacreBLEU's tokenizer.
    """
    from sacrebleu.metrics import BLEU

    # `force` only silences the advice to detokenise, which is meant for tokenize="13a".
    metric = BLEU(lowercase=lowercase, tokenize=tokenize, force=True)
    return _corpus_score(metric, hypotheses, references)


def chrf(hypotheses: Sequence[str], references: Sequence[Sequence[str]], lowercase: bool) -> Score:
    """Corpus chrF2 in percent (Popović, 2015) by sacreBLEU; arguments as ``bleu``."""
    from sacrebleu.metrics import CHRF

    return _corpus_score(CHRF(lowercase=lowercase), hypotheses, references)


def _corpus_score(metric: object, hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Score:
    if not hypotheses:
        return Score(math.nan, "no sentences")
    most = max(map(len, references))
    streams = [[refs[i] if i < len(refs) else None for refs in references] for i in range(most)]
    score = metric.corpus_score(list(hypotheses), streams)  # type: ignore[attr-defined]
    return Score(score.score, str(metric.get_signature()))  # type: ignore[attr-defined]


def exact_match(hypotheses: Sequence[str], references: Sequence[Sequence[str]], lowercase: bool) -> float:
    """The share, in percent, of sentences equal to one of their references up to blanks (and case)."""

    def normal(sentence: str) -> str:
        sentence = " ".join(sentence.split())
        return sentence.lower() if lowercase else sentence

    hits = sum(normal(h) in map(normal, refs) for h, refs in zip(hypotheses, references, strict=True))
    return 100 * hits / len(hypotheses) if hypotheses else math.nan
