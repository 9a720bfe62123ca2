"""A model that is a table: log p and alignments drawn for each source and each beginning of a target, so that searches
can be held against all outputs there are in no time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest

from seq2seq.decoding.contract import NEVER, Array, Scorer, Search, Sources
from seq2seq.text.vocabulary import EOS_ID

VOCAB, MOST = 6, 4  # <unk> <pad> <sos> <eos> and two words


class Table(Scorer):
    """A scorer whose numbers are a function of a seed, the source and the ids so far.

    Args:
        seed: another model.
        spread: the larger, the surer it is.
        broken: beginnings after which all is NaN.
    """

    def __init__(self, seed: int = 0, spread: float = 1.0, broken: Sequence[tuple[int, ...]] = ()) -> None:
        self.seed, self.spread, self.broken = seed, spread, broken
        self.steps = 0
        self._known: dict[Any, Array] = {}

    def start(self, sources: Sources) -> None:
        self.rows = [(tuple(source), ()) for source in sources]
        self.started = False

    def step(self, tokens: Array, rows: Array) -> Array:
        self.steps += 1
        continued = [self.rows[row] for row in rows]
        given = [(source, (*ids, int(token))) for (source, ids), token in zip(continued, tokens, strict=True)]
        self.rows = given
        return np.stack([self.log_probs(source, ids[1:]) for source, ids in given])

    def alignment(self) -> list[Array]:
        return [self.weights(source, ids[1:]) for source, ids in self.rows]

    def mark(self) -> Any:
        return self.rows

    def return_to(self, mark: Any) -> None:
        self.rows = mark

    def log_probs(self, source: tuple[int, ...], ids: tuple[int, ...]) -> Array:
        """(V,) float32 of what follows ``ids``."""
        if ids in self.broken:
            return np.full(VOCAB, np.nan, np.float32)
        if (source, ids) not in self._known:
            logits = self._drawn(0, source, ids).normal(0, self.spread, VOCAB)
            self._known[source, ids] = (logits - np.logaddexp.reduce(logits)).astype(np.float32)
        return self._known[source, ids].copy()

    def weights(self, source: tuple[int, ...], ids: tuple[int, ...]) -> Array:
        """(S,) float32, of the step after ``ids``."""
        if (source, ids, "weights") not in self._known:
            drawn = self._drawn(1, source, ids).dirichlet(np.ones(len(source)))
            self._known[source, ids, "weights"] = drawn.astype(np.float32)
        return self._known[source, ids, "weights"]

    def _drawn(self, kind: int, source: tuple[int, ...], ids: tuple[int, ...]) -> np.random.Generator:
        return np.random.default_rng([self.seed, kind, len(source), *source, *ids])


class Output(NamedTuple):
    """One of all outputs there are."""

    ids: tuple[int, ...]  # without <eos>
    ended: bool  # by <eos>, and not cut
    log_prob: float
    weights: list[Array]  # (S,) for each token, <eos> too

    @property
    def length(self) -> int:
        return len(self.ids) + self.ended


@pytest.fixture(scope="session")
def table() -> type[Table]:
    return Table


@pytest.fixture(scope="session")
def outputs() -> Callable[..., list[Output]]:
    """outputs(table, source, most): all there are, the likeliest first."""

    def every(table: Table, source: Sequence[int], most: int = MOST) -> list[Output]:
        return sorted(_every(table, tuple(source), most), key=lambda one: -one.log_prob)

    return every


def _every(table: Table, source: tuple[int, ...], most: int) -> Iterator[Output]:
    words = [token for token in range(VOCAB) if token not in (*NEVER, EOS_ID)]
    for length in range(most + 1):
        for ids in itertools.product(words, repeat=length):
            said = [*ids, EOS_ID][:most]
            log_prob = 0.0
            for t, token in enumerate(said):
                log_prob += float(table.log_probs(source, ids[:t])[token])
            yield Output(ids, length < most, log_prob, [table.weights(source, ids[:t]) for t in range(len(said))])


@pytest.fixture(scope="session")
def asked() -> Callable[..., Search]:
    """asked(n_best, ...): a Search of at most MOST ids."""
    return lambda *arguments, **more: Search(MOST, *arguments, **more)
