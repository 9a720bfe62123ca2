"""The generated data set: what makes spelling fast."""

from __future__ import annotations

import pytest
from num2words import CONVERTER_CLASSES, num2words

from seq2seq.sources import numbers


@pytest.mark.parametrize("language", sorted(CONVERTER_CLASSES))
def test_fewer_words_to_look_through_change_nothing(language: str) -> None:
    """Of the numbers whose words are left out none is part of a smaller one, in any language."""
    for some in ([*range(120), 999, 1000, 1001], [*range(1002, 10**6, 9973), 999_999, 10**6]):
        try:
            expected = [num2words(number, lang=language) for number in some]
        except Exception as error:  # rarer languages fail in ways of their own, and so they do here
            with pytest.raises(type(error)):
                list(map(numbers._speller(language, max(some)), some))
        else:
            assert list(map(numbers._speller(language, max(some)), some)) == expected
