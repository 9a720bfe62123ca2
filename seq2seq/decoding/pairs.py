"""How likely a model thinks given translations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minigrad import Tensor, autocast, no_grad
from minigrad.nn.utils.rnn import rows_of
from seq2seq.decoding.contract import Array
from seq2seq.decoding.scorers import LEAST_ROWS, evaluating, mean_log_prob
from seq2seq.metrics import perplexity
from seq2seq.models.model import PackedBatch, Seq2Seq
from seq2seq.sources import EncodedSplit, evaluation_batches

_TOGETHER = 1024  # tokens whose probabilities over the whole vocabulary are there at a time


@dataclass(frozen=True)
class PairScore:
    """What a model thinks of one translation.

    Attributes:
        tokens: of the target as the model knows them, <eos> last.
        log_probs: natural logarithm of the probability of each, the ones before it given.
    """

    tokens: tuple[str, ...]
    log_probs: tuple[float, ...]

    @property
    def log_prob(self) -> float:
        """Of the whole translation."""
        return math.fsum(self.log_probs)

    @property
    def perplexity(self) -> float:
        return perplexity(-self.log_prob, len(self.log_probs))


def token_log_probs(models: Sequence[Seq2Seq], encoded: EncodedSplit, batch_size: int, bf16: bool) -> list[Array]:
    """log p (T,) float64 of the tokens of each target and its <eos>; of several models, of the mean of the
    probabilities. A pair's numbers do not depend on the pairs beside it, nor on ``batch_size``."""
    found: list[Array] = [np.zeros(0)] * len(encoded)
    for indices in evaluation_batches(encoded.src.lengths, encoded.trg.lengths, batch_size):
        each = [_of_batch(model, encoded, list(indices), bf16) for model in models]
        for index, *log_probs in zip(indices, *each, strict=True):
            found[index] = mean_log_prob(np.stack(log_probs)) if len(models) > 1 else log_probs[0]
    return found


@no_grad()
def _of_batch(model: Seq2Seq, encoded: EncodedSplit, indices: list[int], bf16: bool) -> list[Array]:
    """Of some pairs, all at once."""
    repeated = indices + indices[-1:] * max(0, LEAST_ROWS - len(indices))
    batch = model.pack(model.source.batch(encoded, repeated))
    rows = rows_of(batch.given)
    with evaluating(model), autocast(model.device.type, enabled=bf16):
        memory = model.remember(batch)
        given = np.zeros(len(batch.given.batch_sizes), bool)  # never the model's own guess
        features = model.decoder.sequence(batch.given, model.start(memory), memory, given)
        parts = np.array_split(np.arange(len(features)), math.ceil(len(features) / _TOGETHER))
        log_probs = np.concatenate(
            [_chosen(model, features[part[0] : part[-1] + 1], batch, rows[part], part) for part in parts]
        )
    return [log_probs[rows == number] for number in range(len(indices))]


def _chosen(model: Seq2Seq, features: Tensor, batch: PackedBatch, rows: Array, part: Array) -> Array:
    """log p (R,) of the targets ``part`` (R,) of the batch, which belong to the pairs ``rows``, by their features."""
    copies = None if batch.copies is None else batch.copies[:, rows]
    log_probs = model.decoder.log_probs(features, copies).cpu().numpy()
    chosen: Array = log_probs[np.arange(len(part)), batch.targets.cpu().numpy()[part]].astype(np.float64)
    return chosen
