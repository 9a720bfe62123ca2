"""Search errors and model errors (Stahlberg and Byrne, "On NMT search errors and model errors: cat got your tongue?",
2019): whether a bad translation is the fault of the search, which missed what the model prefers, or of the model, which
prefers it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from seq2seq.decoding.contract import Hypothesis


def search_report(
    exact: Sequence[Hypothesis], beam: Sequence[Hypothesis], references: Sequence[Collection[tuple[int, ...]]]
) -> dict[str, Any]:
    """How often which of the two is to blame.

    Args:
        exact, beam: what each search found for each sentence.
        references: for each sentence the right ids.

    Returns:
        sentences: how many there are.
        proven: how many the exact search could finish; the figures below are in percent of these, None of none.
        search_errors: the beam missed what the model thinks likeliest.
        model_errors: what the model thinks likeliest is no reference.
        empty: what the model thinks likeliest is empty.
    """
    triples = [triple for triple in zip(exact, beam, references, strict=True) if triple[0].proven]
    judged = {
        "search_errors": [best.ids != found.ids and best.log_prob > found.log_prob for best, found, _ in triples],
        "model_errors": [best.ids not in right for best, _, right in triples],
        "empty": [not best.ids for best, _, _ in triples],
    }
    shares = {name: 100 * sum(cases) / len(cases) if cases else None for name, cases in judged.items()}
    return {"sentences": len(exact), "proven": len(triples), **shares}
