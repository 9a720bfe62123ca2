"""Messages are short lines, and count in words."""

from __future__ import annotations

import pytest

from seq2seq.run.messages import agreeing, counted, one_line, shown


def test_messages_are_short_lines() -> None:
    assert (
        one_line("caf\u00e9 \u4e2d\u6587 a\tb\r\n\x7f\u2028\udc80\ud800")
        == "caf\u00e9 \u4e2d\u6587 a\\tb\\r\\n\\x7f\\u2028\\x80\\ud800"
    )
    assert len(one_line("x" * 100_000)) < 2000
    nested: list[object] = []
    for _ in range(50):
        nested = [nested] * 9
    for value in ("x" * 100_000, nested, 10**10_000, dict.fromkeys(range(999), "y" * 999), b"z" * 9999):
        assert len(shown(value)) < 700


@pytest.mark.parametrize(
    ("count", "noun", "said", "expected"),
    [
        (1, "pair", "", "1 pair"),
        (1, "training pair", "are few", "1 training pair is few"),
        (2000, "training pair", "are few", "2,000 training pairs are few"),
        (3, "analysis of it", "", "3 analyses of it"),
        (0, "pair", "are left out", "0 pairs are left out"),
        (1, "pair with an empty side", "are left out", "1 pair with an empty side is left out"),
        (2000, "pair with an empty side", "are left out", "2,000 pairs with an empty side are left out"),
        (1, "pair", "of valid stand in the training data too", "1 pair of valid stands in the training data too"),
        (1, "line", "hold tags, where others have none", "1 line holds tags, where others have none"),
        (2, "hypothesis", "wait", "2 hypotheses wait"),
    ],
)
def test_things_are_counted_in_words(count: int, noun: str, said: str, expected: str) -> None:
    assert counted(count, noun, said) == expected
    assert agreeing(count, said) in expected
