"""How good a model is on a split: what is shown after each epoch, and what ``seq2seq.evaluate`` builds on."""

from __future__ import annotations

from seq2seq import metrics
from seq2seq.decoding.translator import Translator
from seq2seq.models.model import sequence_losses
from seq2seq.sources import Dataset, EncodedSplit, evaluation_batches
from seq2seq.sources.specs import suffix_language
from seq2seq.text.codec import TextCodec


def split_losses(translator: Translator, encoded: EncodedSplit) -> tuple[float, float, int]:
    """Summed -log p of the targets with the right words given, with the model's own words given, and their number."""
    order = evaluation_batches(encoded.src.lengths, encoded.trg.lengths, translator.settings.batch_size)
    batches = [translator.model.source.batch(encoded, indices) for indices in order]
    forced, num_tokens = sequence_losses(translator.model, batches, teacher_forcing_ratio=1.0)
    free, _ = sequence_losses(translator.model, batches, teacher_forcing_ratio=0.0)
    return forced, free, num_tokens


def evaluate_split(
    translator: Translator, dataset: Dataset, split: str, encoded: EncodedSplit | None = None
) -> dict[str, float]:
    """Figures of a model on one split, translations greedy.

    Args:
        encoded: the split in ids, where it has been encoded already.

    Returns:
        val_loss: mean -log p per target token, the right words given.
        ppl_forced, ppl_free: perplexities with the right words given, and with the model's own; sums over tokens.
        bleu, exact_match: percent, of detokenised text (without case if the model was trained so); bleu is NaN where
            it means nothing. And ``best_metric`` of the run, by which models are chosen, where it is another one.
    """
    pairs = dataset.split(split)
    encoded = encoded or translator.codec.encode_pairs(pairs)
    forced, free, num_tokens = split_losses(translator, encoded)
    sources = translator.codec.source.spoken(encoded.src, [src for src, _ in pairs])
    hypotheses = translator.translate_ids(sources, batch_size=translator.settings.batch_size)
    references = dataset.references(split)
    lowercase, language = is_lowercase(translator.codec), target_language(translator, dataset)
    figures = {
        "val_loss": forced / max(num_tokens, 1),
        "ppl_forced": metrics.perplexity(forced, num_tokens),
        "ppl_free": metrics.perplexity(free, num_tokens),
        "bleu": metrics.bleu(hypotheses, references, lowercase, language=language).value,
        "exact_match": metrics.exact_match(hypotheses, references, lowercase),
    }
    chosen = translator.settings.best_metric
    if chosen not in figures:
        figures[chosen] = metrics.METRICS[chosen].suited(lowercase, language).score(hypotheses, references).value
    return figures


def target_language(translator: Translator, dataset: Dataset) -> str:
    """The code of the language that BLEU is to suit: the data's, or where it says nothing, that of the run's files."""
    return dataset.trg_language if dataset.trg_language != "xx" else suffix_language(translator.settings.data)


def is_lowercase(codec: TextCodec) -> bool:
    """Whether the target side was lower-cased, so that scores must not look at case."""
    return bool(codec.trg_tokenizer.to_config().get("lower"))
