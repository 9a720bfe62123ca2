"""Error rates: edits (Levenshtein, 1966) that turn a hypothesis into a reference, for each token of the reference.

With several references the nearest one counts, of equally near ones the longest. All sentences' edits are divided by
all their references' tokens, so a rate can exceed 100 %.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np

from seq2seq.metrics.contract import Array, Metric, References, Sentences

Split = Callable[[str], Sequence[Hashable]]


class ErrorRate(Metric):
    """Substitutions, deletions and insertions per reference token, in percent; NaN without reference tokens."""

    higher_is_better = False
    unit: str

    def split(self, sentence: str) -> Sequence[Hashable]:
        """The tokens that are compared."""
        raise NotImplementedError

    def statistics(self, hypotheses: Sentences, references: References) -> Array:
        return np.array([self._nearest(h, refs) for h, refs in zip(hypotheses, references, strict=True)], np.float64)

    def _nearest(self, hypothesis: str, references: Sequence[str]) -> tuple[int, int]:
        """Edits to the nearest reference, and its tokens."""
        tokens = self.split(self.cased(hypothesis))
        split = [self.split(self.cased(reference)) for reference in references]
        return min(((distance(tokens, ref), len(ref)) for ref in split), key=lambda found: (found[0], -found[1]))

    def signature(self, references: References) -> str:
        return self.signed(references, unit=self.unit, ref="nearest")


class WordErrorRate(ErrorRate):
    """WER: tokens are what blanks separate."""

    name, unit = "wer", "word"

    def split(self, sentence: str) -> list[str]:
        return sentence.split()


class CharacterErrorRate(ErrorRate):
    """CER: tokens are characters; a run of blanks is one, at the ends it is none."""

    name, unit = "cer", "character"

    def split(self, sentence: str) -> str:
        return " ".join(sentence.split())


class TokenErrorRate(ErrorRate):
    """The rate over a tokenizer's tokens: of pronunciations the phoneme error rate (PER).

    Args:
        lowercase: as of ``Metric``.
        tokenize: sentence -> tokens, as the model sees them; by default what blanks separate.
    """

    name, unit = "per", "token"

    def __init__(self, lowercase: bool = False, tokenize: Split = str.split) -> None:
        super().__init__(lowercase)
        self._tokenize = tokenize

    def split(self, sentence: str) -> Sequence[Hashable]:
        return self._tokenize(sentence)


def distance(hypothesis: Sequence[Hashable], reference: Sequence[Hashable]) -> int:
    """The fewest substitutions, deletions and insertions between two sequences (Wagner and Fischer, 1974).

    A row of the table for each token of the hypothesis. Insertions run along a row, so each of its numbers waits for
    the one before; less its column, a row is the running minimum of what substitutions and deletions give.
    """
    numbers: dict[Hashable, int] = {}
    first = np.array([numbers.setdefault(token, len(numbers)) for token in hypothesis], np.int64)
    second = np.array([numbers.setdefault(token, len(numbers)) for token in reference], np.int64)
    columns = np.arange(len(second) + 1)
    row = columns
    for number, token in enumerate(first, start=1):
        kept = row[:-1] + (second != token)
        left_out = row[1:] + 1
        best = np.concatenate([[number], np.minimum(kept, left_out)])
        row = np.minimum.accumulate(best - columns) + columns
    return int(row[-1])
