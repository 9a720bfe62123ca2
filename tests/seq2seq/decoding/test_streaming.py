"""Greedy translations told token by token."""

from __future__ import annotations

from typing import Any

import pytest

from seq2seq.decoding.contract import Hypothesis
from seq2seq.run.errors import UserError
from tests.seq2seq.pairs import options_that_fit
from tests.seq2seq.tiny_translators import SENTENCES, SIZES, translator

LINES = [*SENTENCES, "", "w7"]


@pytest.mark.parametrize(
    ("encoder", "decoder"), [("lstm", "lstm"), ("bilstm", "attention"), ("bilstm", "pointer-generator")]
)
@pytest.mark.parametrize("batch_size", [2, 64])
def test_what_is_told_grows_into_what_is_found(encoder: str, decoder: str, batch_size: int) -> None:
    fitting = options_that_fit(encoder, decoder) or {}
    ours = translator(encoder, decoder, **{**fitting, **SIZES})
    told: dict[int, list[tuple[int, ...]]] = {number: [] for number in range(len(LINES))}

    def tell(number: int, found: Hypothesis) -> None:
        told[number].append(found.ids)

    found = ours.stream(LINES, tell, batch_size)
    assert found == [best for (best,) in ours.search(LINES)] or _nearly(found, ours.search(LINES))
    assert [ours.text_of(one) for one in found] == ours.translate(LINES)
    for number, one in enumerate(found):
        assert told[number] == [one.ids[:length] for length in range(1, len(one.ids) + 1)]
    assert any(len(one.ids) > 1 for one in found)


def _nearly(found: list[Hypothesis], searched: list[list[Hypothesis]]) -> bool:
    """A compiled search adds up log p in another order."""
    pairs = [(one, best) for one, (best,) in zip(found, searched, strict=True)]
    return all(one.ids == best.ids and one.log_prob == pytest.approx(best.log_prob, rel=1e-5) for one, best in pairs)


def test_what_is_told_carries_its_alignment() -> None:
    ours = translator("bilstm", "attention", **(options_that_fit("bilstm", "attention") or {}) | SIZES)
    shapes: list[Any] = []
    ours.stream(["w1 w2 w3"], lambda _, found: shapes.append(found.alignment.shape), alignment=True)
    assert shapes == [(length, 3) for length in range(1, len(shapes) + 1)]
    assert shapes


def test_what_the_listener_raises_ends_the_search() -> None:
    ours = translator("lstm", "lstm", num_layers=1, **SIZES)

    def refuse(number: int, found: Hypothesis) -> None:
        raise UserError(f"sentence {number}, {len(found.ids)} token")

    with pytest.raises(UserError, match="sentence 0, 1 token"):
        ours.stream(["w1 w2"], refuse)


def test_other_strategies_are_not_streamed() -> None:
    with pytest.raises(TypeError, match="strategy"):
        translator("lstm", "lstm", num_layers=1, **SIZES).stream(["w1"], print, strategy="sample")
