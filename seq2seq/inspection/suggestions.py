"""Settings that suit a corpus, each with its reason: small functions of its figures, registered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from seq2seq.inspection.contract import Corpus, Finding
from seq2seq.inspection.figures import SIDES
from seq2seq.inspection.languages import side_language
from seq2seq.run.messages import counted
from seq2seq.text.languages import script_without_blanks


class Suggestion(NamedTuple):
    """Options of ``seq2seq.train``, as they are typed, and why."""

    options: str
    reason: str


Suggest = Callable[[Corpus, dict[str, Any], Sequence[Finding]], Iterator[Suggestion]]
_suggesting: list[Suggest] = []


def _suggests(function: Suggest) -> Suggest:
    _suggesting.append(function)
    return function


def suggestions(corpus: Corpus, figures: dict[str, Any], findings: Sequence[Finding]) -> list[Suggestion]:
    """All that there are for a corpus with these figures and findings."""
    return [one for suggest in _suggesting for one in suggest(corpus, figures, findings)]


@_suggests
def _tokenizers(corpus: Corpus, figures: dict[str, Any], findings: Sequence[Finding]) -> Iterator[Suggestion]:
    for number, (side, name) in enumerate(zip(("src", "trg"), SIDES, strict=True)):
        script = script_without_blanks(corpus.side(number)[:1000]) if corpus.items else None
        vocabulary, total = figures[name]["vocabulary"], figures[name]["words"]["number"]
        single = figures[name]["words"]["median"] <= 1 and figures[name]["characters"]["median"] > 1
        if script is not None:
            yield Suggestion(
                f"--{side}-tokenizer char", f"the {name} is written without blanks between words ({script})"
            )
        elif single:
            yield Suggestion(f"--{side}-tokenizer char", f"most lines of the {name} are a single word")
        elif total and vocabulary["once"] > 0.02 * total and vocabulary["distinct"] > 5000:
            seldom = f"{vocabulary['once']:,} of {vocabulary['distinct']:,} distinct words of the {name} occur once"
            yield Suggestion(f"--{side}-tokenizer sentencepiece", f"{seldom}; subwords know the parts of new ones too")


@_suggests
def _languages(corpus: Corpus, figures: dict[str, Any], findings: Sequence[Finding]) -> Iterator[Suggestion]:
    for number, (side, given) in enumerate(zip(("src", "trg"), figures["languages"], strict=True)):
        found = side_language(corpus.side(number)) if given == "xx" else None
        if found is not None:
            yield Suggestion(f"--{side}-language {found}", f"the {SIDES[number]} looks like it; rules for words differ")


@_suggests
def _lengths(corpus: Corpus, figures: dict[str, Any], findings: Sequence[Finding]) -> Iterator[Suggestion]:
    most = max(figures[name]["words"]["longest"] for name in SIDES)
    usual = max(figures[name]["words"]["q99"] for name in SIDES)
    if most > 2 * usual and most > 50:
        limit = -(-(usual + usual // 4 + 1) // 10) * 10
        reason = (
            f"99 % of the lines have at most {counted(usual, 'word')}, the longest {most:,}: a few cost time and memory"
        )
        yield Suggestion(f"--max-length {limit}", reason)


@_suggests
def _size(corpus: Corpus, figures: dict[str, Any], findings: Sequence[Finding]) -> Iterator[Suggestion]:
    count = figures["pairs"].get("train", 0)
    if count < 20_000:
        reason = f"{counted(count, 'training pair', 'are few')}; a small model learns them sooner and repeats them less"
        yield Suggestion("--hidden-size 256 --num-layers 1 --min-freq 1", reason)
    elif count > 1_000_000:
        reason = f"{count:,} training pairs; batches of like numbers of words use the processor best"
        yield Suggestion("--batch-tokens 8192 --warmup-steps 4000 --lr-schedule inverse-sqrt", reason)


@_suggests
def _from_findings(corpus: Corpus, figures: dict[str, Any], findings: Sequence[Finding]) -> Iterator[Suggestion]:
    options = {
        "html-entities": "--unescape-html", "csv-quotes": "--data-format csv", "headers": "--header present",
        "all-capitals": "--lower true",
    }  # fmt: skip
    for finding in findings:
        if finding.name in options:
            yield Suggestion(options[finding.name], f"{counted(finding.count, 'pair', finding.message)}")
