"""What a search promises, so that models, strategies and constraints know nothing of each other.

A ``Scorer`` says how likely each next token is, whatever is behind it: a model, several at once. A ``Strategy`` looks
for hypotheses over a scorer. A ``Constraint`` takes tokens from hypotheses, whoever looks for them.

A hypothesis is a list of target ids without <sos>; it is finished by <eos>, or cut at the longest allowed output. Its
log p is added up in float64. What is found for a source does not depend on the sources beside it.

N sources, R rows (hypotheses going on), V target vocabulary, T target ids, S tokens of a source.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from seq2seq.run.errors import UserError
from seq2seq.run.registry import Configured
from seq2seq.text.vocabulary import EOS_ID, PAD_ID, SOS_ID

Array = np.ndarray
Sources = Sequence[Any]  # items of a model's source
NEVER = PAD_ID, SOS_ID  # what no target holds


@dataclass(frozen=True)
class Hypothesis:
    """A translation in ids, <eos> not included.

    Attributes:
        ids: target ids.
        log_prob: natural logarithm of its probability, <eos> included where it ends by one. NaN where the model's
            numbers, or the constraints, left no token to go on with.
        score: what the strategy ranks hypotheses by.
        alignment: (T, S), how much each token looked at each token of the source; None where it was not asked for.
        proven: whether it is known that no other has a higher log p (exact search alone).
    """

    ids: tuple[int, ...]
    log_prob: float
    score: float
    alignment: Array | None = field(default=None, compare=False, repr=False)
    proven: bool = field(default=False, repr=False)


class Sentence(NamedTuple):
    """What a search knows of one source."""

    number: int  # its place among the sources
    length: int  # tokens of it
    most: int  # target ids of a hypothesis, <eos> counted
    prefix: tuple[int, ...] = ()  # the first target ids of every hypothesis


class Row(NamedTuple):
    """A hypothesis going on, or one with <eos> behind it."""

    sentence: Sentence
    ids: tuple[int, ...] = ()
    log_prob: float = 0.0
    alignment: tuple[Array, ...] = ()  # (S,) for each id, where it is asked for

    @property
    def ended(self) -> bool:
        """Whether nothing follows: it is finished, cut, or broken by a NaN."""
        cut = len(self.ids) == self.sentence.most
        return cut or math.isnan(self.log_prob) or self.ids[-1:] == (EOS_ID,)

    def hypothesis(self, score: float, proven: bool = False) -> Hypothesis:
        ids = self.ids[:-1] if self.ids[-1:] == (EOS_ID,) else self.ids
        alignment = np.stack(self.alignment)[: len(ids)] if self.alignment else None
        return Hypothesis(ids, self.log_prob, score, alignment, proven)


# Changes log p (R, V) of the next tokens of R rows in place: what must not follow gets -inf.
Constrain = Callable[[Array, Sequence[Row]], None]


@dataclass(frozen=True)
class Search:
    """What is asked of a search, whatever its strategy.

    Attributes:
        max_length: most target ids of a hypothesis, <eos> counted; at least 1.
        n_best: hypotheses wanted of each source.
        constraints: beside the one that <pad> and <sos> are never produced.
        prefixes: for each source the first target ids of every hypothesis; none at all where it is empty.
        max_ratio: most target ids for each token of the source, <eos> counted.
        alignment: whether hypotheses carry their alignment.
        seed: of what is drawn.
        told: greedy search calls it with each row that has grown by a token, <eos> not told.
    """

    max_length: int
    n_best: int = 1
    constraints: tuple[Constrain, ...] = ()
    prefixes: tuple[tuple[int, ...], ...] = ()
    max_ratio: float = math.inf
    alignment: bool = False
    seed: int = 1234
    told: Callable[[Row], None] | None = None

    @property
    def plain(self) -> bool:
        """Whether all that is asked is what a compiled search can do."""
        asked = self.constraints or any(self.prefixes) or self.alignment or self.told
        return not asked and self.max_ratio == math.inf

    def sentences(self, sources: Sources) -> list[Sentence]:
        """What it says of each source; a forced prefix goes before a ratio."""
        prefixes = self.prefixes or ((),) * len(sources)
        return [
            Sentence(number, len(source), self._most(len(source), prefix), tuple(prefix))
            for number, (source, prefix) in enumerate(zip(sources, prefixes, strict=True))
        ]

    def _most(self, length: int, prefix: tuple[int, ...]) -> int:
        if self.max_ratio == math.inf:
            return self.max_length
        return min(self.max_length, max(math.ceil(self.max_ratio * length), len(prefix) + 1))


class Scorer:
    """What a search knows of a model."""

    def start(self, sources: Sources) -> None:
        """Begin, with one row for each source."""
        raise NotImplementedError

    def step(self, tokens: Array, rows: Array) -> Array:
        """Row r continues row ``rows[r]`` of the step before and reads ``tokens[r]`` -> log p of the next token (R, V).

        Natural logarithms, in an array of its own. A row's numbers do not depend on the other rows.
        """
        raise NotImplementedError

    def alignment(self) -> list[Array] | None:
        """Of each row, how the last step attended over the tokens of its source: (S,). None: the model does not."""
        return None

    def mark(self) -> Any:
        """Where the search stands after a step, for ``return_to``; nothing is copied."""
        raise NotImplementedError

    def return_to(self, mark: Any) -> None:
        """Let the next step continue the rows that there were at ``mark``."""
        raise NotImplementedError

    def compiled(self, sources: Sources) -> tuple[Any, Any] | None:
        """A search that needs no step in Python (``Decoder.compiled_search``) and the state it starts from, if any."""
        return None


class Strategy(Configured):
    """A way to look for hypotheses. A subclass registers with ``register("strategy", NAME)``, and has ``find``."""

    def check(self, n_best: int) -> None:
        """UserError where its options do not go together, or with so many hypotheses."""

    def find(self, scorer: Scorer, sources: Sources, search: Search) -> list[list[Hypothesis]]:
        """The hypotheses for each source, best first."""
        raise NotImplementedError


class Constraint(Configured):
    """A ``Constrain`` with options. A subclass registers with ``register("constraint", NAME)``; it constrains every
    search in which one of its options has another value than its default.
    """

    def check(self, max_length: int) -> None:
        """UserError where no hypothesis of so many ids could keep it."""

    def __call__(self, log_probs: Array, rows: Sequence[Row]) -> None:
        raise NotImplementedError


class Steps:
    """A search under way: a scorer with what is asked of the hypotheses.

    Args:
        scorer: is started.
        sources, search: as of ``Strategy.find``.

    Attributes:
        rows: one for each source.
    """

    def __init__(self, scorer: Scorer, sources: Sources, search: Search) -> None:
        self._scorer, self._search = scorer, search
        self.rows = [Row(sentence) for sentence in search.sentences(sources)]
        scorer.start(sources)

    def step(self, rows: Sequence[Row], parents: Array) -> Array:
        """log p (R, V) of what may follow the rows, of which each continues row ``parents[r]`` of the step before."""
        log_probs = self._scorer.step(np.array([[SOS_ID, *row.ids][-1] for row in rows]), parents)
        self._weights = self._scorer.alignment() if self._search.alignment else None
        if self._search.alignment and self._weights is None:
            needing = "alignment, coverage_penalty, replace_unk"
            raise UserError(f"{needing}: this model's decoder does not attend to the source; expected one that does")
        log_probs[:, NEVER] = -np.inf
        forced = [(r, row.sentence.prefix[len(row.ids)]) for r, row in enumerate(rows) if _forced(row)]
        kept = [log_probs[at] for at in forced]
        for constrain in self._search.constraints:
            constrain(log_probs, rows)
        for (r, token), log_prob in zip(forced, kept, strict=True):
            log_probs[r] = -np.inf
            log_probs[r, token] = log_prob
        return log_probs

    def mark(self) -> Any:
        """Where the search stands after a step, for ``return_to``."""
        return self._scorer.mark(), self._weights

    def return_to(self, mark: Any) -> None:
        """Stand again where the search stood at ``mark``."""
        kept, self._weights = mark
        self._scorer.return_to(kept)

    def extended(self, row: Row, number: int, token: int, log_prob: float) -> Row:
        """Row ``number`` of the last step with one token more, and the log p that it then has."""
        alignment = row.alignment if self._weights is None else (*row.alignment, self._weights[number])
        return Row(row.sentence, (*row.ids, token), log_prob, alignment)

    def tell(self, row: Row) -> None:
        """Tell whoever asked for it that a row has grown for good."""
        if self._search.told is not None and row.ids[-1] != EOS_ID:
            self._search.told(row)


def _forced(row: Row) -> bool:
    """Whether its next token is one of a forced prefix."""
    return len(row.ids) < len(row.sentence.prefix)
