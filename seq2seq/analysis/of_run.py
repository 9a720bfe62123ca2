"""What a run got wrong on a split: the files and the page that ``seq2seq.evaluate`` writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seq2seq.analysis import report, sentences, words
from seq2seq.analysis.lengths import Scored
from seq2seq.decoding.contract import Hypothesis
from seq2seq.decoding.translator import Translator
from seq2seq.run.errors import UserError
from seq2seq.run.streams import write_bytes
from seq2seq.sources import Dataset, EncodedSplit
from seq2seq.text.side import TextSide
from seq2seq.training.validation import is_lowercase, target_language


def write(
    translator: Translator, dataset: Dataset, split: str, encoded: EncodedSplit, result: dict[str, Any],
    found: tuple[list[Hypothesis], list[str]], folder: str | None, html: str | None,
) -> None:  # fmt: skip
    """Write the sentences to a folder, and the page to a file, where they are asked for.

    Args:
        encoded: the split as items and ids.
        result, found: as of ``seq2seq.evaluate.scored``.
    """
    best, texts = found
    codec, references = translator.codec, dataset.references(split)
    language, lowercase = target_language(translator, dataset), is_lowercase(codec)
    raw, label = [src for src, _ in dataset.split(split)], translator.model.source.label
    judged = sentences.judged(
        [label(src) for src in raw], references, texts, codec.target_tokens, language, lowercase,
        [each.log_prob for each in best], _unknown(translator, raw),
    )  # fmt: skip
    if folder is not None:
        sentences.write(Path(folder), judged)
    if html is not None:
        scored = Scored(encoded.src.lengths, texts, references, language, lowercase)
        tokens = [codec.target_tokens(refs[0]) for refs in references]
        ranks = words.by_rank(tokens, [codec.target_tokens(text) for text in texts], codec.trg_vocabulary)
        details = {each.number: _detail(translator, raw[each.number - 1]) for each in _looked_at(judged)}
        write_bytes(html, [report.report(result, judged, scored, ranks, details)])


def _looked_at(judged: Sequence[sentences.Judged]) -> list[sentences.Judged]:
    return report.worst(judged)[: report.SHOWN_WHOLE]


def _unknown(translator: Translator, raw: Sequence[Any]) -> list[list[str]] | None:
    """Of each source the words that the run does not know; None of numbers."""
    side = translator.codec.source
    if not isinstance(side, TextSide):
        return None
    return [[token for token in side.tokens(each) if token not in side.vocabulary] for each in raw]


def _detail(translator: Translator, raw: Any) -> report.Detail:
    """The n-best list of a source by beam search, and the attention of the best one."""
    (found,) = translator.search([raw], report.N_BEST, n_best=report.N_BEST)
    n_best = [(each.score, translator.text_of(each)) for each in found]
    try:
        ((best,),) = translator.search([raw], report.N_BEST, alignment=True)
    except UserError:  # it does not attend
        return report.Detail(n_best)
    if best.alignment is None or not best.ids:
        return report.Detail(n_best)
    source = translator.codec.source.positions(raw, best.alignment.shape[1])
    target = translator.codec.trg_vocabulary.decode(best.ids)
    return report.Detail(n_best, (source, target, best.alignment))
