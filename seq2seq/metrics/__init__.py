"""Scores of sequences against references: a metric a class, whose figures can be resampled."""

from seq2seq.metrics.contract import Metric, Score, perplexity, shown
from seq2seq.metrics.edits import CharacterErrorRate, TokenErrorRate, WordErrorRate
from seq2seq.metrics.exact import ExactMatch, exact_match
from seq2seq.metrics.rouge import Rouge1, Rouge2, RougeL
from seq2seq.metrics.sacre import BLEU, TER, ChrF, bleu, bleu_caveat, bleu_tokenizer, chrf
from seq2seq.metrics.significance import Comparison, paired_bootstrap

METRICS: dict[str, type[Metric]] = {
    metric.name: metric
    for metric in (
        BLEU, ChrF, TER, ExactMatch, WordErrorRate, CharacterErrorRate, TokenErrorRate, Rouge1, Rouge2, RougeL,
    )
}  # fmt: skip

__all__ = [
    "BLEU", "METRICS", "TER", "CharacterErrorRate", "ChrF", "Comparison", "ExactMatch", "Metric", "Rouge1", "Rouge2",
    "RougeL", "Score", "TokenErrorRate", "WordErrorRate", "bleu", "bleu_caveat", "bleu_tokenizer", "chrf",
    "exact_match", "paired_bootstrap", "perplexity", "shown",
]  # fmt: skip
