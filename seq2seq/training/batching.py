"""The batches of a training run: which pairs share one, and what becomes of their words.

Contract: what an epoch reads and in which order is a function of (seed, epoch), the words that are dropped one of
(seed, step).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad import random
from seq2seq.run import registry
from seq2seq.run.checkpoint import Progress
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.sources import Batch, BatchSampler, BlockSampler, EncodedSplit, Source
from seq2seq.sources.batches import IntArray
from seq2seq.text.vocabulary import SPECIALS, UNK_ID


def training_sampler(train: EncodedSplit, config: Config) -> BatchSampler | BlockSampler:
    """What cuts the training pairs into batches of ``batch_size`` pairs, or of ``batch_tokens`` padded positions."""
    size = config.batch_size if config.batch_tokens is None else None
    source: Source = registry.build("source", config)
    limits: dict[str, Any] = {"max_tokens": config.batch_tokens, "marks": source.marks}
    both = train.src.lengths, train.trg.lengths
    if config.shuffle_block:
        return BlockSampler(*both, size, config.seed, config.shuffle_block, **limits)
    return BatchSampler(*both, size, config.seed, **limits)


def epoch_batches(train: EncodedSplit, config: Config, epoch: int) -> tuple[EncodedSplit, Sequence[IntArray]]:
    """The training pairs as an epoch reads them, and the numbers of those that share a batch."""
    read = train.of_epoch(epoch)
    return read, training_sampler(read, config).batches(epoch)


def total_steps(train: EncodedSplit, config: Config, progress: Progress | None = None) -> int:
    """Updates of a whole run: those that are done, by whatever batches, and those that are left; about, where epochs
    have unequal numbers of batches."""
    done = progress or Progress()
    batches, left = len(epoch_batches(train, config, done.epoch)[1]), config.epochs - done.epoch
    each, begun = -(-batches // config.accumulate), -(-max(batches - done.batch, 0) // config.accumulate)
    steps = done.step + (begun + (left - 1) * each if left > 0 else 0)
    return steps if config.max_steps is None else min(steps, config.max_steps)


def check(config: Config) -> None:
    """UserError where words shall be dropped of a source that has none."""
    if config.src_word_dropout and not registry.part("source", config.source).capturable:
        raise UserError(f"src_word_dropout is {config.src_word_dropout}; source {config.source} has no words to drop")


def with_words_dropped(batch: Batch, config: Config) -> Batch:
    """A batch in which words that are read, not those that are to be written or copied, are <unk> with a probability
    each.

    Sources: Iyyer et al., "Deep unordered composition rivals syntactic methods for text classification" (2015), for the
    source; Bowman et al., "Generating sentences from a continuous space" (2016), section 3.1, for the target.
    """
    src, whole = _dropped(batch.src, config.src_word_dropout), batch.src if config.src_word_dropout else None
    given = _dropped(batch.trg_input, config.trg_word_dropout)
    return dataclasses.replace(batch, src=src, whole_src=whole, trg_input=given)


def _dropped(ids: np.ndarray, probability: float) -> np.ndarray:
    if probability == 0:
        return ids
    chosen = random.generator().random(ids.shape) < probability
    return np.where(chosen & (ids >= len(SPECIALS)), UNK_ID, ids)
