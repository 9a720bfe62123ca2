"""The page of ``compare --html``: two systems side by side, their scores with the paired bootstrap, by length, and the
sentences of which one makes far more than the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from seq2seq.analysis.lengths import Scored
from seq2seq.analysis.report import lengths_of, marked
from seq2seq.analysis.sentences import Judged, judged
from seq2seq.metrics import shown
from seq2seq.pages.html import Markup, breakable, joined, page, table, tag
from seq2seq.run.messages import counted

SHOWN = 20  # sentences for each system


def side_by_side(
    result: dict[str, Any], sources: Sequence[str] | None, references: Sequence[Sequence[str]],
    texts: Sequence[Sequence[str]], language: str, lowercase: bool,
) -> bytes:  # fmt: skip
    """The page.

    Args:
        result: as ``seq2seq.compare`` writes it to --json.
        sources: for people; None where nobody knows them: then lengths are those of the references.
        references: the accepted ones of each sentence.
        texts: of both systems the translations.
    """
    names = _names(result["systems"])
    given = [refs[0] for refs in references] if sources is None else sources
    lengths = np.array([len(text.split()) for text in given])
    both = [judged(given, references, each, str.split, language, lowercase) for each in texts]
    systems = {
        name: Scored(lengths, each, references, language, lowercase) for name, each in zip(names, texts, strict=True)
    }
    gains = [second.chrf - first.chrf for first, second in zip(*both, strict=True)]
    order = np.argsort(gains, kind="stable").tolist()
    parts: list[object] = [_scores(result, names), lengths_of(systems)]
    for name, chosen in ((names[1], order[::-1]), (names[0], order)):
        better = [place for place in chosen[:SHOWN] if gains[place] * (1 if name == names[1] else -1) > 0]
        parts.append(tag("h2", f"Where {name} is better, by chrF"))
        parts += [_card(both[0][place], both[1][place], names, sources is not None) for place in better]
    data = " ".join(filter(None, (result["data"], result["split"])))
    return page(f"{names[0]} and {names[1]} on {data}", *parts)


def _names(systems: Sequence[str]) -> tuple[str, str]:
    """Two names, which differ."""
    first, second = systems
    return (first, second) if first != second else (first, f"{second} (again)")


def _scores(result: dict[str, Any], names: Sequence[str]) -> Markup:
    rows = [
        (
            metric, shown(row["first"], 3), shown(row["second"], 3), shown(row["difference"], 3),
            f"{shown(row['low'], 3)} to {shown(row['high'], 3)}", shown(row["p"], 4),
            breakable(row["signature"], "|"),
        )
        for metric, row in result["metrics"].items()
    ]  # fmt: skip
    head = ("figure", *names, "difference", "95 % of differences", "p", "how")
    sentences = counted(result["sentences"], "sentence")
    note = tag(
        "p",
        f"Paired bootstrap of {counted(result['resamples'], 'set')} of {sentences}.",
        class_="note",
    )
    return joined([tag("h2", "Scores"), table(head, rows, [1, 2, 3, 4, 5]), note])


def _card(first: Judged, second: Judged, names: Sequence[str], has_source: bool) -> Markup:
    rows: list[tuple[object, object]] = [("source", first.source)] if has_source else []
    rows += [("reference", reference) for reference in first.references]
    for name, each in zip(names, (first, second), strict=True):
        kinds = {"repeated": each.repeated, "invented": each.invented}
        rows.append((f"{name} ({each.chrf:.1f})", marked(each.hypothesis, kinds)))
    return tag("div", tag("p", f"sentence {first.number}", class_="note"), table(("", ""), rows), class_="card")
