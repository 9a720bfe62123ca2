"""The page of ``evaluate --html``: scores, lengths, rare and unknown words, and the worst sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from seq2seq import metrics
from seq2seq.analysis.lengths import Scored, buckets, by_length, names_of
from seq2seq.analysis.sentences import Judged
from seq2seq.analysis.words import Share, commonest
from seq2seq.metrics import shown
from seq2seq.pages import svg
from seq2seq.pages.html import Markup, breakable, joined, page, table, tag
from seq2seq.run.messages import counted

WORST, SHOWN_WHOLE, N_BEST = 30, 5, 5  # sentences, those with attention and n-best lists, and how many of a list


class Detail(NamedTuple):
    """More of one sentence: its n-best list with scores, and its attention, where the model has one."""

    n_best: list[tuple[float, str]]
    attention: tuple[list[str], list[str], Any] | None = None  # source tokens, target tokens, (T, S) weights


def worst(found: Sequence[Judged]) -> list[Judged]:
    """The sentences with the least chrF; equal ones in order."""
    return sorted(found, key=lambda each: each.chrf)[:WORST]


def report(
    result: dict[str, Any], found: Sequence[Judged], scored: Scored, ranks: Sequence[Share], details: dict[int, Detail]
) -> bytes:
    """The page.

    Args:
        result: as of ``seq2seq.evaluate.score``.
        found: every sentence.
        scored: the same for scores by length.
        ranks: of the reference's words.
        details: of some of the worst sentences, by their number.
    """
    title = f"{result['data']} {result['split']}: {counted(result['sentences'], 'sentence')}"
    return page(
        title, scores_of(result), lengths_of({"BLEU": scored}), _words(found, scored, ranks),
        tag("h2", f"The {min(WORST, len(found))} worst sentences, by chrF"), _legend(),
        *(card(each, details.get(each.number)) for each in worst(found)),
    )  # fmt: skip


def scores_of(result: dict[str, Any]) -> Markup:
    """The figures with their signatures."""
    names = [name for name in ("loss", "ppl_forced", "ppl_free", "exact_match") if name in result]
    how = {name: breakable(signature, "|") for name, signature in result["signatures"].items()}
    rows: list[tuple[str, str, str]] = [(name, shown(result[name], 3), "") for name in names if name not in how]
    rows += [(name, shown(result[name], 3), signature) for name, signature in how.items()]
    return joined([tag("h2", "Scores"), table(("figure", "value", "how"), rows, [1])])


def lengths_of(systems: dict[str, Scored]) -> Markup:
    """BLEU by length, of one system or several on the same sources."""
    first = next(iter(systems.values()))
    ranges = buckets(first.lengths)
    scores = {name: by_length(scored, ranges) for name, scored in systems.items()}
    names, counts = names_of(ranges), [count for count, _ in next(iter(scores.values()))]
    bars = svg.bars(names, {name: [bleu for _, bleu in each] for name, each in scores.items()})
    columns = [[shown(bleu, 2) for _, bleu in each] for each in scores.values()]
    rows = zip(names, counts, *columns, strict=True)
    head = ("tokens of the source", "sentences", *scores)
    return joined([tag("h2", "By length"), bars, table(head, rows, range(1, len(head)))])


def _words(found: Sequence[Judged], scored: Scored, ranks: Sequence[Share]) -> Markup:
    parts: list[object] = [tag("h2", "Rare and unknown words")]
    rows = [(share.name, f"{share.total:,}", f"{share.percent:.1f}") for share in ranks]
    parts.append(table(("rank of the reference's word", "words", "translated, %"), rows, [1, 2]))
    parts.append(_with_and_without_unknown(found, scored))
    kinds = {
        "unknown in sources": [each.unknown for each in found], "missing": [each.missing for each in found],
        "invented": [each.invented for each in found], "repeated": [each.repeated for each in found],
    }  # fmt: skip
    for name, words in kinds.items():
        listed = [item for word, count in commonest(words) for item in (word, tag("sub", count), " ")]
        parts.append(tag("p", tag("strong", f"{name}: "), *(listed or ["none"])))
    return joined(parts)


def _with_and_without_unknown(found: Sequence[Judged], scored: Scored) -> Markup:
    """BLEU of the sentences whose sources have unknown words, and of the others."""
    rows = []
    for name, wanted in (("with unknown words", True), ("without", False)):
        chosen = [place for place, each in enumerate(found) if bool(each.unknown) == wanted]
        hypotheses = [scored.hypotheses[place] for place in chosen]
        references = [scored.references[place] for place in chosen]
        bleu = metrics.bleu(hypotheses, references, scored.lowercase, language=scored.language).value
        rows.append((name, len(chosen), shown(bleu, 2)))
    return table(("sources", "sentences", "BLEU"), rows, [1, 2])


def _legend() -> Markup:
    kinds = ("missing", "invented", "repeated", "unknown")
    marks = [item for kind in kinds for item in (tag("mark", kind, class_=kind), " ")]
    return tag("p", *marks, class_="note")


def card(each: Judged, detail: Detail | None = None) -> Markup:
    """A sentence: source, reference, translation, with marked words; and what more there is of it."""
    numbers = f"sentence {each.number}: chrF {each.chrf:.1f}, BLEU {each.bleu:.1f}"
    numbers += "" if each.log_prob is None else f", log p {each.log_prob:.2f}"
    parts: list[object] = [
        tag("p", numbers, class_="note"),
        table(("", ""), [
            ("source", marked(each.source, {"unknown": each.unknown})),
            *(("reference", marked(text, {"missing": each.missing})) for text in each.references),
            ("translation", marked(each.hypothesis, {"repeated": each.repeated, "invented": each.invented})),
        ]),
    ]  # fmt: skip
    if detail is not None:
        rows = [(place + 1, f"{score:.3f}", text) for place, (score, text) in enumerate(detail.n_best)]
        parts.append(table(("", "score", f"the {len(rows)} best"), rows, [0, 1]))
        if detail.attention is not None:
            source, target, weights = detail.attention
            parts.append(svg.heat_map(target, source, weights))
    return tag("div", *parts, class_="card")


def marked(text: str, kinds: Mapping[str, Sequence[str]]) -> Markup:
    """A text in which the words of each kind are marked, as far as blanks part them; the first kind wins."""
    parts: list[object] = []
    of_word = {word: kind for kind, words in reversed([*kinds.items()]) for word in words}
    for word in text.split(" "):
        plain = word if word in of_word else word.strip(".,;:!?\"'()«»„“”")
        kind = of_word.get(plain) or of_word.get(plain.lower())
        parts += [tag("mark", word, class_=kind) if kind else word, " "]
    return joined(parts[:-1])
