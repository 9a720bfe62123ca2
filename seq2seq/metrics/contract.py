"""What a metric promises: a figure that is a function of sums over sentences, so that it can be resampled.

Contract: a figure that cannot mean anything is NaN, and its note says why.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from seq2seq.run.messages import counted

Array = np.ndarray
Sentences = Sequence[str]
References = Sequence[Sequence[str]]  # of each sentence the accepted ones


@dataclass(frozen=True)
class Score:
    """A figure, the signature that says how it was computed, and a note where there is something to know about it."""

    value: float
    signature: str
    note: str = ""


class Metric:
    """A figure of N sentences against their references.

    Args:
        lowercase: compare without case, as fits a model trained on lower-cased text.

    Attributes:
        name: as in evaluate's table and ``--metrics``.
        higher_is_better: whether a better system has the higher figure.
    """

    name: ClassVar[str]
    higher_is_better: ClassVar[bool] = True

    def __init__(self, lowercase: bool = False) -> None:
        self.lowercase = lowercase

    @classmethod
    def suited(cls, lowercase: bool, language: str) -> Metric:
        """The metric as it suits a target side: without case where that is lower-cased, and its language's code."""
        return cls(lowercase)

    def statistics(self, hypotheses: Sentences, references: References) -> Array:
        """(N, K) float64: what is added up over the sentences."""
        raise NotImplementedError

    def value(self, sums: Array) -> float:
        """The figure of sums (K,) over any sentences, by default the first one in percent of the second; NaN where it
        means nothing."""
        return float(100 * sums[0] / sums[1]) if sums[1] else math.nan

    def signature(self, references: References) -> str:
        """How the figure is computed, in the form of sacreBLEU's signatures."""
        raise NotImplementedError

    def score(self, hypotheses: Sentences, references: References) -> Score:
        """The figure of all sentences.

        Raises:
            TypeError: a hypothesis or reference is no string.
            ValueError: the lists differ in length, or a sentence has no reference.
        """
        check(self.name, hypotheses, references)
        if not hypotheses:
            return Score(math.nan, "no sentences")
        value = self.value(self.statistics(hypotheses, references).sum(axis=0))
        return Score(value, self.signature(references))

    def cased(self, sentence: str) -> str:
        """A sentence as it is compared."""
        return sentence.lower() if self.lowercase else sentence

    def signed(self, references: References, **how: str) -> str:
        """A signature: the number of references, the case, and what else there is to say."""
        counts = {len(refs) for refs in references}
        parts = {"nrefs": str(counts.pop()) if len(counts) == 1 else "var", "case": "lc" if self.lowercase else "mixed"}
        return "|".join(f"{key}:{value}" for key, value in (parts | how).items())


def perplexity(total_loss: float, num_tokens: int) -> float:
    """exp of the mean -log p per token; inf where that overflows, NaN of no tokens or of a NaN."""
    if num_tokens == 0:
        return math.nan
    mean = total_loss / num_tokens
    return math.inf if mean >= 700 else math.exp(mean)


def shown(value: float | None, decimals: int) -> str:
    """A figure for people: "n/a" where it means nothing."""
    return "n/a" if value is None or math.isnan(value) else f"{value:.{decimals}f}"


def check(name: str, hypotheses: Sentences, references: References) -> None:
    """An error in words for what is no list of sentences with the references of each."""
    if isinstance(hypotheses, str) or isinstance(references, str):
        raise TypeError(f"{name}: got one string; expected a list of hypotheses and, for each, a list of references")
    if len(hypotheses) != len(references):
        found = f"{counted(len(hypotheses), 'hypothesis')}, {counted(len(references), 'list')} of references"
        raise ValueError(f"{name}: {found}; expected equal")
    for number, (hypothesis, refs) in enumerate(zip(hypotheses, references, strict=True)):
        if not isinstance(hypothesis, str):
            raise TypeError(f"{name}: hypotheses[{number}] is {hypothesis!r}; expected a string")
        if isinstance(refs, str) or not isinstance(refs, Sequence):
            raise TypeError(f"{name}: references[{number}] is {refs!r}; expected a list of strings")
        if not refs:
            raise ValueError(f"{name}: references[{number}] is empty; expected at least one reference")
        if odd := [ref for ref in refs if not isinstance(ref, str)]:
            raise TypeError(f"{name}: references[{number}] holds {odd[0]!r}; expected strings")
