"""Greedy search: the likeliest next token, again and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from seq2seq.decoding.contract import NEVER, Array, Hypothesis, Row, Scorer, Search, Sources, Steps, Strategy
from seq2seq.run.errors import UserError
from seq2seq.run.registry import register
from seq2seq.text.vocabulary import EOS_ID, SOS_ID

# log p (R, V) and the numbers (R,) of the hypotheses -> the next token (R,) of each.
Choose = Callable[[Array, Sequence[int]], Array]


@register("strategy", "greedy")
class Greedy(Strategy):
    """The likeliest next token, of equal ones the first; the score is log p."""

    def check(self, n_best: int) -> None:
        if n_best != 1:
            raise UserError(f"n_best is {n_best}; expected 1 with strategy greedy, or another strategy")

    def find(self, scorer: Scorer, sources: Sources, search: Search) -> list[list[Hypothesis]]:
        compiled = scorer.compiled(sources) if search.plain else None
        if compiled is not None:
            searcher, state = compiled
            ids, lengths, log_probs = searcher.greedy(state, SOS_ID, EOS_ID, NEVER, search.max_length)
            return [
                [Hypothesis(tuple(row[:length].tolist()), log_prob, log_prob)]
                for row, length, log_prob in zip(ids, lengths, log_probs.tolist(), strict=True)
            ]
        steps = Steps(scorer, sources, search)
        found = extend(steps, steps.rows, lambda log_probs, _: log_probs.argmax(1))
        return [[row.hypothesis(row.log_prob)] for row in found]


def extend(steps: Steps, rows: Sequence[Row], choose: Choose) -> list[Row]:
    """Each row, until it ends, by the tokens that ``choose`` names. A row starts where its source does."""
    rows, going = list(rows), list(range(len(rows)))
    parents = np.array([row.sentence.number for row in rows])
    while going:
        log_probs = steps.step([rows[r] for r in going], parents)
        for number, (r, token) in enumerate(zip(going, choose(log_probs, going).tolist(), strict=True)):
            gain = float(log_probs[number, token])
            if gain > -np.inf:
                rows[r] = steps.extended(rows[r], number, token, rows[r].log_prob + gain)
                steps.tell(rows[r])
            else:  # NaN, or nothing may follow
                rows[r] = rows[r]._replace(log_prob=np.nan)
        parents = np.flatnonzero([not rows[r].ended for r in going])
        going = [going[number] for number in parents]
    return rows
