"""Training steps on a GPU as CUDA graphs: one call repeats a whole step, from the embedding to the update.

A graph is made for a number of pairs and of tokens; a batch with fewer tokens runs in it too. So numbers of tokens are
rounded up to multiples of a bucket, and each bucket gets a graph. What a graph cannot hold is done launch by launch:
own tokens fed back to the decoder, layers that take a step at a time, variational dropout, SGD, several batches for one
update, a batch of one sentence, and the first step of all, which makes the optimiser's moments. Which batches these are
does not depend on where a run was resumed.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from minigrad import Tensor, cuda, no_grad, optim, random
from minigrad.nn.utils.rnn import PackedSequence, pack_padded_sequence
from seq2seq.models.model import PackedBatch, Seq2Seq, pack_batch
from seq2seq.run.config import Config
from seq2seq.run.devices import steps_in_graphs
from seq2seq.sources import Batch, EncodedSplit
from seq2seq.text.vocabulary import PAD_ID

Array = np.ndarray

BUCKET = 256  # tokens: a graph is given at most so many that do nothing
FILLS = PAD_ID, PAD_ID, -100  # what stands behind the last word of a side, and what is to follow it: nothing counts


class Bucket(NamedTuple):
    """What batches that share a graph have in common."""

    pairs: int
    src_tokens: int
    trg_tokens: int


class GraphedTraining:
    """The steps of a training run.

    Args:
        model: on a GPU.
        optimizer: of its parameters.
        config: of the run.
        train: what it is trained on; no batch may have a longer sentence.
    """

    def __init__(self, model: Seq2Seq, optimizer: optim.Optimizer, config: Config, train: EncodedSplit) -> None:
        self._model, self._optimizer, self._config = model, optimizer, config
        longest = (side.longest for side in (train.src, train.trg))
        # <eos> of a target. And one more on both sides, so that a graph's rows are never all equally long.
        self._longest = next(longest) + model.source.marks + 1, next(longest) + 1 + 1
        self._steps: dict[Bucket, _CapturedStep] = {}
        self._usable = steps_in_graphs(config)

    def step(self, batch: Batch) -> tuple[Tensor, Tensor] | None:
        """The loss per token and the norm of the gradients, 0-d; None where this batch has to go without a graph."""
        bucket = self._bucket(batch)
        if bucket is None or not self._optimizer.state:
            return None
        if bucket not in self._steps:
            self._capture(bucket)
        return self._steps[bucket].replay(batch) if self._usable else None

    def _bucket(self, batch: Batch) -> Bucket | None:
        """Where the batch belongs; None where no graph will do."""
        pairs = len(batch.src_lengths)
        if not self._usable or pairs < 2:
            return None
        tokens = []
        for lengths, longest in zip((batch.src_lengths, batch.trg_lengths), self._longest, strict=True):
            needed = max(-(-int(lengths.sum()) // BUCKET) * BUCKET, longest + pairs)
            tokens.append(min(needed, pairs * longest - 1))
        return Bucket(pairs, *tokens)

    def _capture(self, bucket: Bucket) -> None:
        beside = next((step.graph for step in self._steps.values()), None)
        arguments = self._model, self._optimizer, self._config, bucket, self._longest, beside
        drawn = random.get_state()
        counts = [float(state["step"].item()) for state in self._optimizer.state.values()]
        try:
            self._steps[bucket] = _CapturedStep(*arguments)
        except RuntimeError as error:
            self._usable = False
            random.set_state(drawn)  # the step that follows draws what it draws in a run that was resumed behind this
            for state, count in zip(self._optimizer.state.values(), counts, strict=True):
                state["step"].fill_(count)  # what was captured in vain is no step
            if not isinstance(error, cuda.CaptureError):  # the device's own reasons
                warnings.warn(f"training goes on without CUDA graphs: {error}", stacklevel=2)


class _CapturedStep:
    """One graph, and the tensors on which it works."""

    def __init__(
        self, model: Seq2Seq, optimizer: optim.Optimizer, config: Config, bucket: Bucket, longest: tuple[int, ...],
        beside: cuda.CUDAGraph | None,
    ) -> None:  # fmt: skip
        src = lengths_for(bucket.pairs, bucket.src_tokens, longest[0])
        trg = lengths_for(bucket.pairs, bucket.trg_tokens, longest[1])[::-1]  # or the two might be equal
        self._sizes = bucket.src_tokens, bucket.trg_tokens, bucket.trg_tokens
        self._ids = Tensor(np.full(sum(self._sizes), PAD_ID)).to(model.device)
        self._count = Tensor(np.ones((), np.float32)).to(model.device)  # of target tokens
        packed = PackedBatch(*self._parts(src, trg))
        self.graph = cuda.CUDAGraph([src, trg], beside)

        def loss() -> Tensor:
            return model.loss_of(packed, 1.0, config.label_smoothing) / self._count

        model.train()
        with self.graph.warm_up():
            loss().backward()
        optimizer.zero_grad()
        with cuda.graph(self.graph):
            mean = loss()
            mean.backward()
            self._results = mean.detach(), optimizer.step_clipped(config.clip_norm)
        optimizer.zero_grad()

    def _parts(self, src: Array, trg: Array) -> tuple[PackedSequence, PackedSequence, Tensor]:
        ends = np.cumsum(self._sizes).tolist()
        parts = [self._ids[end - size : end] for size, end in zip(self._sizes, ends, strict=True)]
        return _packed(src, parts[0]), _packed(trg, parts[1]), parts[2]

    def replay(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The step of a batch: its loss per token, and the norm of the gradients."""
        packed = pack_batch(batch)
        parts = zip((packed.src.data, packed.given.data, packed.targets), self._sizes, FILLS, strict=True)
        ids = [np.concatenate([part.array, np.full(size - len(part), fill)]) for part, size, fill in parts]
        with no_grad():
            self._ids.copy_(Tensor(np.concatenate(ids)))
            self._count.fill_(batch.num_trg_tokens)
        self.graph.replay([batch.src_lengths, batch.trg_lengths])
        return self._results


def _packed(lengths: Array, ids: Tensor) -> PackedSequence:
    """A packed sequence of these lengths whose tokens are ``ids`` (P,)."""
    nothing = Tensor(np.zeros((int(lengths.max()), len(lengths)), np.int64))
    return pack_padded_sequence(nothing, lengths, enforce_sorted=False)._replace(data=ids)


def lengths_for(pairs: int, tokens: int, longest: int) -> Array:
    """(N,) lengths of sentences that have so many tokens together, the first of which is the longest of all.

    pairs is at least 2, tokens from longest + pairs - 1 to pairs * longest - 1.
    """
    rest = tokens - longest
    lengths = np.full(pairs, rest // (pairs - 1))
    lengths[1 : 1 + rest % (pairs - 1)] += 1
    lengths[0] = longest
    return lengths
