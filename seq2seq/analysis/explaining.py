"""The page of ``translate --explain``: of each sentence the beam's lattice, the attention, and gates over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seq2seq.analysis.gates import Gates, gates_of
from seq2seq.analysis.tracing import Trace, TracingTranslator, path_of
from seq2seq.decoding.contract import Hypothesis
from seq2seq.decoding.translator import Translator
from seq2seq.pages import svg
from seq2seq.pages.html import Markup, page, table, tag
from seq2seq.run.errors import UserError
from seq2seq.text.side import TextSide
from seq2seq.text.vocabulary import EOS_ID

MOST = 20  # sentences of a page
_COLUMN, _ROW, _DARK = 92, 30, "#0b6e4f"  # pixels of a node of the lattice, and the colour of the best path


def explained(translator: Translator, sentences: Sequence[Any], **asked: Any) -> bytes:
    """The page.

    Args:
        asked: as of ``Translator.search``.

    Raises:
        UserError: too many sentences.
    """
    if len(sentences) > MOST:
        raise UserError(f"explain: there are {len(sentences)} sentences; expected {MOST} at most on a page")
    tracing = TracingTranslator(translator)
    if asked.get("strategy", "beam") == "beam":  # all that the beam ends with
        asked |= {"n_best": max(asked.get("n_best", 1), asked.get("beam_size", 1))}
    return page(
        f"{len(sentences)} translations, explained",
        *(_section(tracing, number, raw, asked) for number, raw in enumerate(sentences, start=1)),
    )


def _section(translator: TracingTranslator, number: int, raw: Any, asked: dict[str, Any]) -> Markup:
    """Everything of one sentence."""
    title = tag("h2", f"{number}. {translator.model.source.label(raw)}")
    item = translator.codec.encode_sources([raw])[0]
    if not len(item):
        return tag("div", title, tag("p", "An empty sentence is translated by nothing.", class_="note"))
    (found,) = translator.search([raw], **asked)
    trace, best = translator.trace, found[0]
    parts: list[object] = [title, _hypotheses(translator, found)]
    parts += [*_lattice(translator, trace, best), *_choices(translator, trace, best)]
    parts += _attention(translator, raw, asked)
    tokens = _tokens(translator, raw, item)
    encoder, decoder = gates_of(translator.model, item, best.ids) if len(translator.models) == 1 else ([], [])
    given = ["<sos>", *translator.codec.trg_vocabulary.decode(best.ids)]
    parts += [*_gates(encoder, tokens), *_gates(decoder, given)]
    if not encoder and not decoder:
        parts.append(tag("p", "No gates: the model has no plain LSTM or GRU in one direction.", class_="note"))
    return tag("div", *parts)


def _hypotheses(translator: Translator, found: Sequence[Hypothesis]) -> Markup:
    rows = [
        (place, f"{each.score:.4f}", f"{each.log_prob:.4f}", translator.text_of(each))
        for place, each in enumerate(found, start=1)
    ]
    return table(("", "score", "log p", "translation"), rows, [0, 1, 2])


def _lattice(translator: Translator, trace: Trace, best: Hypothesis) -> list[Markup]:
    """The hypotheses that were kept at each step, with p of each token; those of the best one are dark."""
    if max(map(len, trace.steps), default=0) < 2:  # greedy: there is one path
        return []
    on_path = set(path_of(trace, best.ids))
    edges: list[object] = []
    labels: list[object] = []
    for step, nodes in enumerate(trace.steps):
        for node in nodes:
            (x, y), chosen = _place(step, node.row), (step, node.row) in on_path
            if step:
                from_x, from_y = _place(step - 1, node.parent)
                stroke, width = (_DARK, 2.5) if chosen else ("#bbb", 1)
                edges.append(tag("line", x1=from_x, y1=from_y, x2=x, y2=y, stroke=stroke, stroke_width=width))
            shade = tag("title", f"p {node.probability:.4f}")
            labels.append(tag("circle", shade, cx=x, cy=y, r=4, fill=_DARK if chosen else "#999"))
            labels.append(svg.text(x + 6, y - 6, f"{_spelled(translator, node.token)} {node.probability:.2f}"))
    width, height = _place(len(trace.steps) + 1, max(map(len, trace.steps)))
    note = "The beam: a column a step, a row a hypothesis that was kept, with the probability of its token."
    return [tag("p", note, class_="note"), svg.drawing(width, height, *edges, *labels)]


def _place(step: int, row: int) -> tuple[int, int]:
    """Where a node of the lattice stands."""
    return 20 + step * _COLUMN, 24 + row * _ROW


def _choices(translator: Translator, trace: Trace, best: Hypothesis) -> list[Markup]:
    """At each step of the best hypothesis the likeliest tokens."""
    spelled = [*(_spelled(translator, token) for token in best.ids), "<eos>"]
    rows = []
    for step, row in path_of(trace, best.ids):
        likely = ", ".join(f"{_spelled(translator, token)} {p:.2f}" for token, p in trace.likely[step, row])
        rows.append((step + 1, spelled[step], likely))
    return [tag("p", "What was likeliest at each step:", class_="note"), table(("", "chosen", "likeliest"), rows, [0])]


def _spelled(translator: Translator, token: int) -> str:
    vocabulary = translator.codec.trg_vocabulary
    if token == EOS_ID or token < len(vocabulary):
        return vocabulary.token(token)
    return f"copied {token - len(vocabulary) + 1}"


def _attention(translator: Translator, raw: Any, asked: dict[str, Any]) -> list[Markup]:
    """The map of the best hypothesis, where the model attends."""
    try:
        ((best, *_),) = translator.search([raw], **asked, alignment=True)
    except UserError:
        return [tag("p", "No attention: this model does not attend to the source.", class_="note")]
    if best.alignment is None or not best.ids:
        return []
    source = translator.codec.source.positions(raw, best.alignment.shape[1])
    target = translator.codec.trg_vocabulary.decode(best.ids)
    return [
        tag("p", "Attention: what each token looked at:", class_="note"),
        svg.heat_map(target, source, best.alignment),
    ]


def _tokens(translator: Translator, raw: Any, item: Any) -> list[str]:
    """What stands at each position that the encoder reads."""
    inputs, _ = translator.model.source.collate([item])
    side = translator.codec.source
    if not isinstance(side, TextSide):
        return [str(place + 1) for place in range(len(inputs))]
    return [side.vocabulary.token(int(index)) if index < len(side.vocabulary) else "<unk>" for index in inputs[:, 0]]


def _gates(layers: Sequence[Gates], tokens: Sequence[str]) -> list[Markup]:
    return [
        part
        for each in layers
        for part in (
            tag("p", f"Gates of the {each.layer}, means over its units:", class_="note"),
            svg.lines(tokens, each.series),
        )
    ]
