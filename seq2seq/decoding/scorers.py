"""The scorers that there are: a model, and several at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from minigrad import Tensor, autocast, no_grad
from minigrad.nn.utils.rnn import pack_padded_sequence
from seq2seq.decoding.contract import Array, Scorer, Sources
from seq2seq.models import copying
from seq2seq.models.contract import Decoder, Encoder, Memory, State, select
from seq2seq.models.model import Seq2Seq

# A linear layer adds up the products of fewer rows in another order, so that a source's numbers would depend on how
# many are searched beside it. Where there are fewer, the last is repeated.
LEAST_ROWS = 5


class ModelScorer(Scorer):
    """One model, step by step.

    Args:
        model: in whatever mode; it is used in evaluation.
        bf16: products in bfloat16, sums and states in float32.
        compiled: of ``Decoder.compiled_search``, where searches may use it.
    """

    def __init__(self, model: Seq2Seq, bf16: bool, compiled: Any = None) -> None:
        self._model, self._bf16, self._compiled = model, bf16, compiled

    @no_grad()
    def start(self, sources: Sources) -> None:
        self._memory = self._memory_rows = encode(self._model, sources, self._bf16)
        self._sources = np.arange(len(sources))  # the source of each row
        self._state = self._first_state(self._memory, self._sources)
        self._count = 0  # rows of the step before, those that were repeated left out; 0 before the first
        self._positions = np.array([len(source) for source in sources]) + self._model.source.marks

    def compiled(self, sources: Sources) -> tuple[Any, Any] | None:
        if self._compiled is None:
            return None
        self.start(sources)
        return self._compiled, self._model.decoder.search_start(self._state, self._memory)

    @no_grad()
    def step(self, tokens: Array, rows: Array) -> Array:
        decoder, count = _fastest(self._model.decoder, self._bf16), len(rows)
        self._go_on(rows)
        tokens = _repeated(tokens)
        with evaluating(self._model), autocast(self._model.device.type, enabled=self._bf16):
            given = Tensor(tokens).to(self._model.device)
            features, self._state = decoder.step(given, self._state, self._memory_rows)
            copies = self._memory_rows.copies
            log_probs: Array = self._model.decoder.log_probs(features, copies, decoder.output).cpu().numpy()
        self._count = count
        return log_probs[:count]

    def alignment(self) -> list[Array] | None:
        weights = self._model.decoder.alignment(self._state)
        if weights is None:
            return None
        rows, lengths = weights.cpu().numpy()[: self._count], self._memory_rows.lengths
        assert lengths is not None  # what is attended to is there
        ends = zip(rows, lengths, self._positions[self._sources], strict=False)
        # An encoder may leave another number of positions than it reads; then nobody knows whose they are.
        return [self._model.source.own(row[:end]) if end == read else row[:end] for row, end, read in ends]

    def mark(self) -> Any:
        return self._state, self._memory_rows, self._sources, self._count

    def return_to(self, mark: Any) -> None:
        self._state, self._memory_rows, self._sources, self._count = mark

    def _first_state(self, memory: Memory, rows: Array) -> State:
        """What the decoder makes of the memory, of LEAST_ROWS sources or more; one of its own states needs no sums."""
        repeated = _repeated(rows)
        with evaluating(self._model), autocast(self._model.device.type, enabled=self._bf16):
            state = self._model.start(memory)
            if state is memory.states or len(repeated) == len(rows):
                return state
            return tuple(select(part, rows) for part in self._model.start(memory.select(repeated)))

    def _go_on(self, rows: Array) -> None:
        """Select the rows that go on, unless all do; the memory, which may be large, only where other sources do."""
        if np.array_equal(rows, np.arange(self._count)):
            return
        rows = _repeated(rows)
        sources = self._sources[rows]
        if not np.array_equal(rows, np.arange(len(self._sources))):
            self._state = tuple(select(part, rows) for part in self._state)
        if not np.array_equal(sources, self._sources):
            self._memory_rows = self._memory.select(sources)
        self._sources = sources


class Ensemble(Scorer):
    """Several scorers over one target vocabulary; the probability of a token is the mean of theirs."""

    def __init__(self, scorers: Sequence[Scorer]) -> None:
        self._scorers = tuple(scorers)

    def start(self, sources: Sources) -> None:
        for scorer in self._scorers:
            scorer.start(sources)

    def step(self, tokens: Array, rows: Array) -> Array:
        each = np.stack([scorer.step(tokens, rows) for scorer in self._scorers])
        return mean_log_prob(each)

    def alignment(self) -> list[Array] | None:
        """The mean of those that the scorers have."""
        found = [one for scorer in self._scorers if (one := scorer.alignment()) is not None]
        return [np.mean(rows, axis=0) for rows in zip(*found, strict=True)] if found else None

    def mark(self) -> Any:
        return [scorer.mark() for scorer in self._scorers]

    def return_to(self, mark: Any) -> None:
        for scorer, own in zip(self._scorers, mark, strict=True):
            scorer.return_to(own)


def mean_log_prob(each: Array) -> Array:
    """log of the mean of the probabilities whose logarithms are ``each`` (K, ...)."""
    mean: Array = np.logaddexp.reduce(each, axis=0) - np.asarray(np.log(len(each)), each.dtype)
    return mean


def _repeated(values: Array) -> Array:
    """(R,) -> (max(R, LEAST_ROWS),), the last one repeated."""
    return values if len(values) >= LEAST_ROWS else values[np.minimum(np.arange(LEAST_ROWS), len(values) - 1)]


def _fastest(decoder: Decoder, bf16: bool) -> Any:
    """What makes steps: the decoder's prepacked weights, or itself where it has none."""
    return _kept(decoder, "steps", bf16, lambda: decoder.prepacked(bf16)) or decoder


class evaluating:  # noqa: N801  (used like a function)
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
    copies = None
    if model.copies:
        inputs, copies = copying.known(inputs, model.vocab_size), copying.copy_ids(inputs, model.vocab_size)
    memory = _encoded(model, inputs, lengths, bf16)
    return memory._replace(copies=copies)


def _encoded(model: Seq2Seq, inputs: Array, lengths: Array, bf16: bool) -> Memory:
    """As ``encode``, of what the encoder reads."""
    prepacked = _kept(model.encoder, "states", bf16, lambda: model.encoder.prepacked(bf16))
    if prepacked is not None:
        memory: Memory = prepacked.memory(inputs, lengths)
        return memory
    rows = np.arange(len(lengths))
    columns = _repeated(rows)
    packed = pack_padded_sequence(Tensor(inputs[:, columns]), lengths[columns], enforce_sorted=False)
    with no_grad(), evaluating(model), autocast(model.device.type, enabled=bf16):
        memory = model.encoder(packed.to(model.device))
        return memory.select(rows) if len(rows) < len(columns) else memory


def scorer_of(model: Seq2Seq, form: str | None = None) -> ModelScorer:
    """A scorer of the model.

    Args:
        form: of the matrices in a search that is compiled, as of ``minigrad.decoding.PackedDecoder``. All else has
            them as they are, but with "bf16" products in bfloat16. None is the model's own, in which its weights are.
    """
    if form is None:
        form = "bf16" if model.bf16 else model.form
    compiled = _kept(model.decoder, "search", form, lambda: model.decoder.compiled_search(form))
    return ModelScorer(model, form == "bf16", compiled)


# What encoders and decoders have prepacked, by precision: kept for as long as they live, or until it is released. It
# follows the weights by itself.
_prepacked: WeakKeyDictionary[Encoder | Decoder, dict[tuple[str, str | bool], Any]] = WeakKeyDictionary()


def _kept(half: Encoder | Decoder, what: str, form: str | bool, make: Callable[[], Any]) -> Any:
    """What half a model has prepacked for something in one form, the same object in every call."""
    kept = _prepacked.setdefault(half, {})
    if (what, form) not in kept:
        kept[what, form] = make()
    return kept[what, form]


def release_prepacked(model: Seq2Seq) -> None:
    """Forget the model's prepacked weights, as large as those of both halves; the next search makes them again."""
    for half in (model.encoder, model.decoder):
        _prepacked.pop(half, None)
