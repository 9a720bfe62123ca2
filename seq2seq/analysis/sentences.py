"""Each translation by itself: its scores, and which words are missing, invented, repeated, or unknown to the run."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from seq2seq.metrics.sacre import BLEU, ChrF
from seq2seq.run.writing import replace_file

Words = Callable[[str], list[str]]


@dataclasses.dataclass(frozen=True)
class Judged:
    """A translation.

    Attributes:
        number: of the sentence in its file, from 1.
        source: for people.
        references: the accepted ones.
        bleu, chrf: of this sentence alone, in percent; BLEU of the orders that the sentence has.
        log_prob: of the hypothesis; None where nobody knows it.
        missing: words of the nearest reference that it has not, as often as they lack.
        invented: its words that no reference has, or has less often.
        repeated: words that it says more often than any reference, and more than once.
        unknown: words of the source that the run does not know.
    """

    number: int
    source: str
    references: tuple[str, ...]
    hypothesis: str
    bleu: float
    chrf: float
    log_prob: float | None = None
    missing: tuple[str, ...] = ()
    invented: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def judged(
    sources: Sequence[str], references: Sequence[Sequence[str]], hypotheses: Sequence[str], words: Words,
    language: str = "xx", lowercase: bool = False, log_probs: Sequence[float] | None = None,
    unknown: Sequence[Sequence[str]] | None = None,
) -> list[Judged]:  # fmt: skip
    """Every translation of N, in order.

    Args:
        words: of a target sentence.
        language, lowercase: as of ``BLEU``.
        log_probs: of the hypotheses, natural logarithms.
        unknown: of each source the words that the run does not know.
    """
    from sacrebleu import metrics

    bleu = BLEU.suited(lowercase, language)
    tokenize = bleu.tool.get_signature().info["tok"] if bleu.score(hypotheses, references).signature else None
    alone = metrics.BLEU(lowercase=lowercase, tokenize=tokenize, effective_order=True, force=True)
    chrf = ChrF(lowercase)
    sums = chrf.statistics(hypotheses, references)
    found = []
    for place, (source, refs, hypothesis) in enumerate(zip(sources, references, hypotheses, strict=True)):
        log_prob = None if log_probs is None or math.isnan(log_probs[place]) else float(log_probs[place])
        found.append(Judged(
            place + 1, source, tuple(refs), hypothesis, float(alone.sentence_score(hypothesis, list(refs)).score),
            chrf.value(sums[place]), log_prob, *compared(hypothesis, refs, words, lowercase),
            tuple(unknown[place]) if unknown is not None else (),
        ))  # fmt: skip
    return found


def compared(
    hypothesis: str, references: Sequence[str], words: Words, lowercase: bool = False
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """The words that are missing, invented and repeated; see ``Judged``. Punctuation is no word."""

    def counted(text: str) -> Counter[str]:
        text = text.lower() if lowercase else text
        return Counter(word for word in words(text) if any(character.isalnum() for character in word))

    own, each = counted(hypothesis), [counted(reference) for reference in references]
    nearest = max(each, key=lambda reference: (own & reference).total() - (reference - own).total())
    most: Counter[str] = Counter()
    for reference in each:
        most |= reference
    repeated = tuple(word for word, count in own.items() if count > max(1, most[word]))
    return tuple((nearest - own).elements()), tuple((own - most).elements()), repeated


def write(folder: Path, found: Sequence[Judged]) -> None:
    """The sentences as files of a folder, which is made where there is none: sources.txt, references.txt (several with
    tabs between), hypotheses.txt, sentences.jsonl, and sentences.tsv with a head, tabs and line ends as blanks."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "sources.txt": [each.source for each in found],
        "references.txt": ["\t".join(each.references) for each in found],
        "hypotheses.txt": [each.hypothesis for each in found],
        "sentences.jsonl": [json.dumps(dataclasses.asdict(each), ensure_ascii=False) for each in found],
        "sentences.tsv": ["\t".join(_COLUMNS), *("\t".join(map(_cell, row(each))) for each in found)],
    }
    for name, lines in texts.items():
        replace_file(folder / name, "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass"))


_COLUMNS = tuple(field.name for field in dataclasses.fields(Judged))


def row(each: Judged) -> list[Any]:
    """A sentence in the order of the columns of sentences.tsv."""
    return [getattr(each, name) for name in _COLUMNS]


def _cell(value: Any) -> str:
    if isinstance(value, tuple):
        value = " | ".join(value)
    text = "" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)
    return " ".join(text.split("\t")).replace("\n", " ").replace("\r", " ")
