"""How good a model is on a split: what is shown after each epoch, and what ``seq2seq.evaluate`` builds on."""

from __future__ import annotations

from collections.abc import Sequence

from seq2seq import metrics
from seq2seq.data import Dataset, Pair, evaluation_batches, make_batch
from seq2seq.model import sequence_losses
from seq2seq.text import TextCodec
from seq2seq.translator import Translator


def split_losses(translator: Translator, pairs: Sequence[Pair]) -> tuple[float, float, int]:
    """Summed -log p of the targets with the right words given, with the model's own words given, and their number."""
    settings = translator.settings
    encoded = translator.codec.encode_pairs(pairs)
    order = evaluation_batches(encoded.src.lengths, encoded.trg.lengths, settings.batch_size)
    batches = [make_batch(encoded, indices, settings.reverse_source) for indices in order]
    forced, num_tokens = sequence_losses(translator.model, batches, teacher_forcing_ratio=1.0)
    free, _ = sequence_losses(translator.model, batches, teacher_forcing_ratio=0.0)
    return forced, free, num_tokens


def evaluate_split(translator: Translator, dataset: Dataset, split: str) -> dict[str, float]:
    """Figures of a model on one split, translations greedy.

    Returns:
        val_loss: mean -log p per target token, the right words given. The choice between models is made by it.
        ppl_forced, ppl_free: perplexities with the right words given, and with the model's own; sums over tokens.
        bleu, exact_match: percent, of detokenised text (without case if the model was trained so).
    """
    pairs = dataset.split(split)
    forced, free, num_tokens = split_losses(translator, pairs)
    hypotheses = translator.translate([src for src, _ in pairs], batch_size=translator.settings.batch_size)
    references = dataset.references(split)
    lowercase = is_lowercase(translator.codec)
    return {
        "val_loss": forced / max(num_tokens, 1),
        "ppl_forced": metrics.perplexity(forced, num_tokens),
        "ppl_free": metrics.perplexity(free, num_tokens),
        "bleu": metrics.bleu(hypotheses, references, lowercase).value,
        "exact_match": metrics.exact_match(hypotheses, references, lowercase),
    }


def is_lowercase(codec: TextCodec) -> bool:
    """Whether the target side was lower-cased, so that scores must not look at case."""
    return bool(codec.trg_tokenizer.to_config().get("lower"))
