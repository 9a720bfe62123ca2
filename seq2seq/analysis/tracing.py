"""What a search went through: a scorer that writes down every step, and the lattice that the steps make."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from seq2seq.decoding.contract import Array, Scorer, Sources
from seq2seq.decoding.translator import Translator
from seq2seq.text.vocabulary import SOS_ID

ALTERNATIVES = 5  # tokens that are shown behind each hypothesis


class Node(NamedTuple):
    """A token of a hypothesis that was kept: its row and that of the one it continues, and p of the token there."""

    row: int
    parent: int
    token: int
    probability: float


@dataclass
class Trace:
    """The steps of one source's search.

    Attributes:
        steps: of each step the tokens that were given, <sos> first.
        likely: behind each node, (step, row), the likeliest next tokens with their probabilities.
    """

    steps: list[list[Node]] = field(default_factory=list)
    likely: dict[tuple[int, int], list[tuple[int, float]]] = field(default_factory=dict)


class TracingScorer(Scorer):
    """Another scorer, step by step, whose steps it writes to ``trace``; it is never compiled."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self.trace = Trace()
        self._last: Array | None = None

    def start(self, sources: Sources) -> None:
        self._scorer.start(sources)
        self.trace, self._last = Trace(), None

    def step(self, tokens: Array, rows: Array) -> Array:
        log_probs = self._scorer.step(tokens, rows)
        at = len(self.trace.steps)
        nodes = []
        for row, (token, parent) in enumerate(zip(tokens.tolist(), rows.tolist(), strict=True)):
            probability = 1.0 if self._last is None else float(np.exp(self._last[parent, token]))
            nodes.append(Node(row, parent, token, probability))
            best = np.argsort(-log_probs[row], kind="stable")[:ALTERNATIVES].tolist()
            self.trace.likely[at, row] = [(token, float(np.exp(log_probs[row, token]))) for token in best]
        self.trace.steps.append(nodes)
        self._last = log_probs.copy()
        return log_probs

    def alignment(self) -> list[Array] | None:
        return self._scorer.alignment()

    def mark(self) -> Any:
        return self._scorer.mark(), self._last

    def return_to(self, mark: Any) -> None:
        kept, self._last = mark
        self._scorer.return_to(kept)


class TracingTranslator(Translator):
    """A translator of which ``trace`` is that of the last source that it searched."""

    def __init__(self, translator: Translator) -> None:
        super().__init__(translator.model, translator.codec, translator.settings, translator.precision)
        self.models = translator.models
        self._tracing: TracingScorer | None = None

    def _scorer(self) -> Scorer:
        self._tracing = TracingScorer(super()._scorer())
        return self._tracing

    @property
    def trace(self) -> Trace:
        assert self._tracing is not None  # after a search
        return self._tracing.trace


def path_of(trace: Trace, ids: tuple[int, ...]) -> list[tuple[int, int]]:
    """The nodes, (step, row), that a hypothesis went through, <sos> first; as far as they are there."""
    wanted = (SOS_ID, *ids)
    for step in range(min(len(wanted), len(trace.steps)) - 1, -1, -1):
        for node in trace.steps[step]:
            if node.token == wanted[step] and (found := _back(trace, step, node, wanted)):
                return found
    return []


def _back(trace: Trace, step: int, node: Node, wanted: tuple[int, ...]) -> list[tuple[int, int]]:
    """The nodes that lead to one, if they spell what is wanted; none where they do not."""
    nodes = [(step, node.row)]
    while step:
        step, node = step - 1, trace.steps[step - 1][node.parent]
        if node.token != wanted[step]:
            return []
        nodes.append((step, node.row))
    return nodes[::-1]
