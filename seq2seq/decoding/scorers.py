"""The scorers that there are: a model step by step, a model with a compiled search, and several at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from minigrad import Tensor, autocast, no_grad
from minigrad.nn import functional as F
from minigrad.nn.utils.rnn import pack_padded_sequence
from seq2seq.decoding.strategies import NEVER, Hypothesis, Scorer, Search, Sources
from seq2seq.models.contract import Decoder, Encoder, Memory, State, select
from seq2seq.models.model import Seq2Seq
from seq2seq.text.vocabulary import EOS_ID, SOS_ID

Array = np.ndarray

# A linear layer adds up the products of fewer rows in another order, so that a source's numbers would depend on how
# many are searched beside it. Where there are fewer, the last is repeated.
LEAST_ROWS = 5


class ModelScorer(Scorer):
    """One model, step by step.

    Args:
        model: in whatever mode; it is used in evaluation.
        bf16: products in bfloat16, sums and states in float32.
    """

    def __init__(self, model: Seq2Seq, bf16: bool) -> None:
        self._model, self._bf16 = model, bf16

    @no_grad()
    def start(self, sources: Sources) -> None:
        self._memory = self._memory_rows = encode(self._model, sources, self._bf16)
        self._sources = np.arange(len(sources))  # the source of each row
        self._state = self._first_state(self._memory, self._sources)

    @no_grad()
    def step(self, tokens: Array, rows: Array) -> Array:
        decoder, count = self._model.decoder, len(rows)
        tokens, rows = _repeated(tokens), _repeated(rows)
        self._go_on(rows)
        with _evaluating(self._model), autocast(self._model.device.type, enabled=self._bf16):
            given = Tensor(tokens).to(self._model.device)
            features, self._state = decoder.step(given, self._state, self._memory_rows)
            log_probs: Array = F.log_softmax(decoder.output(features), -1).cpu().numpy()
        return log_probs[:count]

    def _first_state(self, memory: Memory, rows: Array) -> State:
        """What the decoder makes of the memory, of LEAST_ROWS sources or more."""
        repeated = _repeated(rows)
        with _evaluating(self._model), autocast(self._model.device.type, enabled=self._bf16):
            if len(repeated) == len(rows):
                return self._model.start(memory)
            return tuple(select(part, rows) for part in self._model.start(memory.select(repeated)))

    def _go_on(self, rows: Array) -> None:
        """Select the rows that go on; the memory, which may be large, only where other sources do."""
        sources = self._sources[rows]
        if not np.array_equal(rows, np.arange(len(self._sources))):
            self._state = tuple(select(part, rows) for part in self._state)
        if not np.array_equal(sources, self._sources):
            self._memory_rows = self._memory.select(sources)
        self._sources = sources


class CompiledScorer(ModelScorer):
    """A model whose decoder can also search as a whole, without a step in Python; with constraints it goes by steps.

    Args:
        compiled: of ``Decoder.compiled_search``: ``greedy`` and ``beam`` from a state.
    """

    def __init__(self, model: Seq2Seq, bf16: bool, compiled: Any) -> None:
        super().__init__(model, bf16)
        self._compiled = compiled

    def greedy(self, sources: Sources, search: Search) -> list[Hypothesis]:
        if search.constraints:
            return super().greedy(sources, search)
        self.start(sources)
        ids, lengths, log_probs = self._compiled.greedy(self._state, SOS_ID, EOS_ID, NEVER, search.max_length)
        return [
            Hypothesis(tuple(row[:length].tolist()), log_prob, log_prob)
            for row, length, log_prob in zip(ids, lengths, log_probs.tolist(), strict=True)
        ]

    def beam(self, sources: Sources, search: Search) -> list[list[Hypothesis]]:
        if search.constraints:
            return super().beam(sources, search)
        self.start(sources)
        found = self._compiled.beam(
            self._state, SOS_ID, EOS_ID, NEVER, search.max_length, search.beam_size, search.length_penalty,
            search.n_best,
        )  # fmt: skip
        return [_hypotheses(*one) for one in zip(*found, strict=True)]


def _hypotheses(ids: Array, lengths: Array, log_probs: Array, scores: Array, count: Any) -> list[Hypothesis]:
    """Those of one source; where a NaN left none, an empty one that says so."""
    if count == 0:
        return [Hypothesis((), math.nan, math.nan)]
    rows = [tuple(row[:length].tolist()) for row, length in zip(ids, lengths, strict=True)]
    return [Hypothesis(*one) for one in zip(rows, log_probs.tolist(), scores.tolist(), strict=True)][:count]


class Ensemble(Scorer):
    """Several scorers over one target vocabulary; the probability of a token is the mean of theirs."""

    def __init__(self, scorers: Sequence[Scorer]) -> None:
        self._scorers = tuple(scorers)

    def start(self, sources: Sources) -> None:
        for scorer in self._scorers:
            scorer.start(sources)

    def step(self, tokens: Array, rows: Array) -> Array:
        each = np.stack([scorer.step(tokens, rows) for scorer in self._scorers])
        mean: Array = np.logaddexp.reduce(each, axis=0) - np.asarray(np.log(len(each)), each.dtype)
        return mean


def _repeated(values: Array) -> Array:
    """(R,) -> (max(R, LEAST_ROWS),), the last one repeated."""
    return np.pad(values, (0, max(0, LEAST_ROWS - len(values))), mode="edge")


class _evaluating:  # noqa: N801  (used like a function)
    """Inside, a model is in evaluation."""

    def __init__(self, model: Seq2Seq) -> None:
        self._model, self._training = model, model.training

    def __enter__(self) -> None:
        if self._training:
            self._model.eval()

    def __exit__(self, *exception: object) -> None:
        if self._training:
            self._model.train()


def encode(model: Seq2Seq, sources: Sources, bf16: bool) -> Memory:
    """The memory of some items, off the tape, by the encoder's prepacked weights where it has them."""
    inputs, lengths = model.source.collate(sources)
    prepacked = _kept(model.encoder, bf16, lambda: model.encoder.prepacked(bf16))
    if prepacked is not None:
        memory: Memory = prepacked.memory(inputs, lengths)
        return memory
    rows = np.arange(len(sources))
    columns = _repeated(rows)
    packed = pack_padded_sequence(Tensor(inputs[:, columns]), lengths[columns], enforce_sorted=False)
    with no_grad(), _evaluating(model), autocast(model.device.type, enabled=bf16):
        memory = model.encoder(packed.to(model.device))
        return memory.select(rows) if len(rows) < len(columns) else memory


def scorer_of(model: Seq2Seq, bf16: bool | None = None) -> ModelScorer:
    """A scorer of the model; ``bf16`` None is its own precision."""
    bf16 = model.bf16 if bf16 is None else bf16
    compiled = _kept(model.decoder, bf16, lambda: model.decoder.compiled_search(bf16))
    return ModelScorer(model, bf16) if compiled is None else CompiledScorer(model, bf16, compiled)


# What encoders and decoders have prepacked, by precision: kept for as long as they live, or until it is released. It
# follows the weights by itself.
_prepacked: WeakKeyDictionary[Encoder | Decoder, dict[bool, Any]] = WeakKeyDictionary()


def _kept(half: Encoder | Decoder, bf16: bool, make: Callable[[], Any]) -> Any:
    """What half a model has prepacked in one precision, the same object in every call."""
    by_precision = _prepacked.setdefault(half, {})
    if bf16 not in by_precision:
        by_precision[bf16] = make()
    return by_precision[bf16]


def release_prepacked(model: Seq2Seq) -> None:
    """Forget the model's prepacked weights, as large as those of both halves; the next search makes them again."""
    for half in (model.encoder, model.decoder):
        _prepacked.pop(half, None)
