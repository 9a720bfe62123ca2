"""How long a run will take, told before it starts: a few updates and a small validation are measured, and drawn on.

The updates are those of batches with few, middling and many tokens, by a model that is thrown away, and an epoch takes
as long as its tokens say. Greedy translations of a model that has learnt nothing run on to their limit, so they are cut
where most targets end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from minigrad import random
from seq2seq.decoding.scorers import release_prepacked
from seq2seq.decoding.translator import Translator
from seq2seq.models.model import Seq2Seq
from seq2seq.run.config import Config
from seq2seq.sources import Dataset, EncodedSplit
from seq2seq.sources.batches import IntArray
from seq2seq.text.codec import TextCodec
from seq2seq.training.batching import epoch_batches
from seq2seq.training.update import Updates
from seq2seq.training.validation import split_losses

TRIED = 3  # updates of a round of those that are measured, one of which there is always
_MOST_TRIED, _PART = 60, 20  # there are no more rounds than so many updates, or one in so many of the run's, make up
_ENOUGH = 3.0  # seconds after which there is no further round
FEWEST_STEPS = 30  # a run of fewer is not worth the wait
_LOOKED_AT = 10_000  # batches of an epoch whose tokens are counted
_MOST_SECONDS = 20.0  # after which no further update is tried
_MOST_TARGETS = 90  # percent of the targets are no longer than the translations that are measured

Updating = Callable[[Sequence[IntArray]], float]  # the batches of an update -> its seconds


@dataclass(frozen=True)
class Pace:
    """How fast a run goes.

    Attributes:
        steps: updates of an epoch.
        update: seconds of one, on average.
        validation: seconds of the one after an epoch.
    """

    steps: int
    update: float
    validation: float

    @property
    def epoch(self) -> float:
        """Seconds of an epoch with its validation."""
        return self.steps * self.update + self.validation

    def seconds(self, steps: int) -> float:
        """Of a run of so many updates, a last part of an epoch being validated too."""
        return steps * self.update + -(-steps // self.steps) * self.validation

    def told(self, steps: int, now: float, may_end: bool) -> str:
        """A line for a run of so many updates that starts at ``now``, seconds of the clock of the machine."""
        whole = self.seconds(steps)
        parts = f"{duration(self.steps * self.update)} of training, {duration(self.validation)} of validation"
        end = time.strftime("%H:%M" if whole < 12 * 3600 else "%Y-%m-%d %H:%M", time.localtime(now + whole))
        return (
            f"time: about {duration(self.epoch)} an epoch ({parts}), {duration(whole)} in all"
            f"{' at most' if may_end else ''}, until about {end}"
        )


def measured(
    model: Seq2Seq, config: Config, dataset: Dataset, codec: TextCodec, encoded: dict[str, EncodedSplit], steps: int
) -> Pace:
    """The pace of a run of so many updates; the weights of ``model`` are no longer what they were."""
    train, updates = encoded["train"], Updates(model, config, encoded["train"])
    read, order = epoch_batches(train, config, 0)

    def update(group: Sequence[IntArray]) -> float:
        batches = [model.source.batch(read, pairs) for pairs in group]
        random.seed_step(config.seed, 0)
        model.train()
        start = time.monotonic()
        updates.apply(batches, config.lr, config.teacher_forcing_ratio)
        return time.monotonic() - start

    looked_at = order[:_LOOKED_AT]
    groups = [looked_at[start : start + config.accumulate] for start in range(0, len(looked_at), config.accumulate)]
    tokens = [
        int(sum((read.src.lengths[pairs] + read.trg.lengths[pairs]).sum() for pairs in group)) for group in groups
    ]
    seconds = _of_tokens(update, groups, tokens, min(_MOST_TRIED, steps // _PART))
    updates.optimizer.zero_grad()
    return Pace(
        -(-len(order) // config.accumulate),
        seconds * sum(tokens) / len(groups),
        _of_validation(model, config, dataset, codec, encoded),
    )


def _of_tokens(update: Updating, groups: Sequence[Sequence[IntArray]], tokens: Sequence[int], most: int) -> float:
    """Seconds for each token, of updates with few, middling and many, in turns: a machine has its moments.

    Args:
        most: updates, if one round has no more.
    """
    order = np.argsort(tokens, kind="stable")
    chosen = [int(order[len(order) * (2 * place + 1) // (2 * TRIED)]) for place in range(TRIED)]
    update(groups[chosen[0]])  # what is loaded and made at the first update is no part of the others
    taken, counted = 0.0, 0
    for tried in range(max(TRIED, most - most % TRIED)):
        if taken >= (_MOST_SECONDS if tried % TRIED else _ENOUGH):
            break
        taken += update(groups[chosen[tried % TRIED]])
        counted += tokens[chosen[tried % TRIED]]
    return taken / max(counted, 1)


def _of_validation(
    model: Seq2Seq, config: Config, dataset: Dataset, codec: TextCodec, encoded: dict[str, EncodedSplit]
) -> float:
    """Seconds of a validation, drawn on from one batch of its sentences of every length."""
    valid, pairs = encoded["valid"], dataset.split("valid")
    every = max(1, len(pairs) // config.batch_size)
    chosen = np.argsort(valid.trg.lengths, kind="stable")[every // 2 :: every][: config.batch_size].tolist()
    raw, part = [pairs[number] for number in chosen], EncodedSplit(valid.src.take(chosen), valid.trg.take(chosen))
    translator = Translator(model, codec, config)
    most = max(1, min(int(np.percentile(valid.trg.lengths, _MOST_TARGETS)) + 1, codec.max_output_length))

    def once() -> float:
        start = time.monotonic()
        split_losses(translator, part)
        sources = codec.source.spoken(part.src, [src for src, _ in raw])
        translator.translate_ids(sources, batch_size=config.batch_size, max_output_length=most)
        return time.monotonic() - start

    once()  # as of updates
    seconds = once()
    release_prepacked(model)
    return seconds * len(pairs) / len(chosen)


def duration(seconds: float) -> str:
    """For people: "12.3 s", "5:07" minutes, or "2:05:07" hours."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} hours" if hours else f"{minutes}:{rest:02} minutes"
