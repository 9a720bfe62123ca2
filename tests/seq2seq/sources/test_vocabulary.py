"""The vocabulary: order, specials, round trips, and refusal of foreign JSON."""

import hashlib
import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seq2seq.run.errors import UserError
from seq2seq.text.vocabulary import EOS_ID, PAD_ID, SOS_ID, SPECIALS, UNK_ID, Vocabulary

WORDS = st.lists(st.text(max_size=5).filter(lambda word: word not in SPECIALS), unique=True)
SENTENCES = [["b", "c", "a", "b"], ["c", "b", "d"], ["a", "<pad>", "<pad>", "<pad>"]]


def test_specials_come_first() -> None:
    assert (UNK_ID, PAD_ID, SOS_ID, EOS_ID) == (0, 1, 2, 3)
    assert Vocabulary(["x"]).tokens == ("<unk>", "<pad>", "<sos>", "<eos>", "x")
    assert len(Vocabulary([])) == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ("b", "a", "c", "d")),
        ({"min_freq": 2}, ("b", "a", "c")),
        ({"min_freq": 3}, ("b",)),
        ({"min_freq": 9}, ()),
        ({"max_size": 2}, ("b", "a")),
        ({"min_freq": 2, "max_size": 9}, ("b", "a", "c")),
    ],
)
def test_build_orders_by_frequency_then_alphabet(options: dict[str, int], words: tuple[str, ...]) -> None:
    assert Vocabulary.build(SENTENCES, **options).tokens[4:] == words
    assert Vocabulary.build([sentence[::-1] for sentence in SENTENCES[::-1]], **options).tokens[4:] == words


@pytest.mark.parametrize("options", [{"min_freq": 0}, {"max_size": 0}])
def test_build_refuses_limits_below_one(options: dict[str, int]) -> None:
    (name,) = options
    with pytest.raises(UserError, match=f"{name} is 0; expected at least 1"):
        Vocabulary.build(SENTENCES, **options)


@pytest.mark.parametrize("value", [1.5, "2", math.nan, True, None])
def test_limits_are_integers(value: Any) -> None:
    with pytest.raises(UserError, match=f"^min_freq is {value!r}; expected an integer of at least 1$"):
        Vocabulary.build(SENTENCES, min_freq=value)
    if value is not None:
        with pytest.raises(UserError, match=f"^max_size is {value!r}; expected an integer of at least 1$"):
            Vocabulary.build(SENTENCES, max_size=value)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Vocabulary("abc"), "got 'abc'; expected a list of tokens"),
        (lambda: Vocabulary(None), "got 'None'; expected a list of tokens"),
        (lambda: Vocabulary(["a", 1]), "got 1 among the words; expected strings"),
        (lambda: Vocabulary([["a"]]), r"got \['a'\] among the words"),
        (lambda: Vocabulary.build(["ab c"]), "got 'ab c'; expected a list of tokens"),
        (lambda: Vocabulary(["a"]).encode("ab"), "got 'ab'; expected a list of tokens"),
        (lambda: Vocabulary(["a"]).unk_rate("ab"), "got 'ab'; expected a list of tokens"),
        (lambda: Vocabulary(["a"]).decode("45"), "decode: id '4'; expected an integer"),
        (lambda: Vocabulary(["a"]).decode([4.7]), "decode: id 4.7; expected an integer"),
        (lambda: Vocabulary(["a"]).decode([None]), "decode: id None; expected an integer"),
    ],
)
def test_what_is_no_list_of_tokens(wrong: Callable[[], object], message: str) -> None:
    with pytest.raises(TypeError, match=f"^Vocabulary.*{message}"):
        wrong()


def test_a_lone_surrogate_is_no_word() -> None:
    with pytest.raises(ValueError, match="Vocabulary: a token holds a lone surrogate; expected valid Unicode"):
        Vocabulary(["a", "\ud800"])


def test_repeated_and_special_words_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Vocabulary: tokens repeat \['a'\]"):
        Vocabulary(["a", "b", "a"])
    with pytest.raises(ValueError, match=r"Vocabulary: tokens repeat \['<eos>'\]"):
        Vocabulary(["<eos>"])


def test_encode_knows_words_and_nothing_else() -> None:
    vocabulary = Vocabulary(["x", "y"])
    assert vocabulary.encode(["y", "z", "x", "<eos>", "<pad>", "<sos>", "<unk>"]) == [5, 0, 4, 0, 0, 0, 0]
    assert ("x" in vocabulary, "z" in vocabulary, "<eos>" in vocabulary) == (True, False, False)
    assert vocabulary.unk_rate(["x", "z", "<eos>", "y"]) == 0.5
    assert vocabulary.unk_rate([]) == 0.0


def test_decode_stops_at_eos_and_drops_marks() -> None:
    vocabulary = Vocabulary(["x", "y"])
    assert vocabulary.decode([SOS_ID, 4, UNK_ID, PAD_ID, 5, EOS_ID, 4, 99]) == ["x", "<unk>", "y"]
    for index in (-1, 6):
        with pytest.raises(IndexError, match=f"id {index}; expected 0 <= id < 6"):
            vocabulary.decode([index])


@given(WORDS, st.data())
def test_round_trips(words: list[str], data: st.DataObject) -> None:
    vocabulary = Vocabulary(words)
    sentence = data.draw(st.lists(st.sampled_from(words) if words else st.nothing()))
    assert vocabulary.decode([SOS_ID, *vocabulary.encode(sentence), EOS_ID, PAD_ID]) == sentence
    again = Vocabulary.from_json(vocabulary.to_json())
    assert again.tokens == vocabulary.tokens
    assert again.fingerprint() == vocabulary.fingerprint()


def test_fingerprint_is_of_the_json_and_sees_order() -> None:
    expected = hashlib.sha256(b'{"tokens": ["<unk>", "<pad>", "<sos>", "<eos>", "a", "\xc3\xa9"]}').hexdigest()
    assert Vocabulary(["a", "é"]).fingerprint() == expected
    assert Vocabulary(["é", "a"]).fingerprint() != expected


FOREIGN = {
    "not JSON": ("{", "not JSON"),
    "too deep": ("[" * 200_000, "not JSON"),
    "a list": (json.dumps([*SPECIALS]), 'expected {"tokens"'),
    "another key": (json.dumps({"tokens": [*SPECIALS], "x": 1}), 'expected {"tokens"'),
    "no list": (json.dumps({"tokens": "abc"}), 'expected {"tokens"'),
    "a number": (json.dumps({"tokens": [*SPECIALS, 1]}), "a token is no string"),
    "nested": (json.dumps({"tokens": [*SPECIALS, []]}), "a token is no string"),
    "no specials": (json.dumps({"tokens": ["a", "b"]}), "the first tokens are ['a', 'b']"),
    "specials swapped": (json.dumps({"tokens": ["<pad>", "<unk>", "<sos>", "<eos>"]}), "the first tokens are"),
    "twice": (json.dumps({"tokens": [*SPECIALS, "a", "a"]}), "listed twice"),
    "surrogate": (json.dumps({"tokens": [*SPECIALS, "\ud800"]}), "lone surrogate"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_foreign_json_is_refused(case: str) -> None:
    text, message = FOREIGN[case]
    with pytest.raises(UserError) as caught:
        Vocabulary.from_json(text, "run/src.json")
    assert str(caught.value).startswith("run/src.json: ")
    assert message in str(caught.value)
