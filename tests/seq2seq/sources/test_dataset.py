"""Holding out by hash, files as a data set, and the generated numbers."""

import gzip
import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from num2words import CONVERTER_CLASSES

from seq2seq.run.errors import UserError
from seq2seq.sources import Dataset, hold_out, load_dataset
from seq2seq.sources.dataset import pairs_checksum
from seq2seq.sources.numbers import _speller, load_numbers, split_numbers

PAIRS = st.lists(st.tuples(st.text("abc", max_size=3), st.text("xy", max_size=2)))
SIZES = (1500, 50, 100)


def test_hold_out_takes_the_smallest_hashes() -> None:
    sources = [f"sentence {i}" for i in range(100)]
    ranked = sorted(sources, key=lambda source: hashlib.sha256(source.encode()).digest())
    valid, test, train = hold_out([(source, "t") for source in sources], (0.025, 0.1))
    assert {source for source, _ in valid} == set(ranked[:3])
    assert {source for source, _ in test} == set(ranked[3:13])
    assert [source for source, _ in train] == [source for source in sources if source in ranked[13:]]
    assert len(hold_out([(source, "t") for source in sources], (0.5,), limit=7)[0]) == 7


@given(PAIRS, st.randoms())
def test_hold_out_never_leaks_and_ignores_the_order(pairs: list[tuple[str, str]], random) -> None:
    parts = hold_out(pairs, (0.2, 0.3))
    assert sorted(pair for part in parts for pair in part) == sorted(pairs)
    sources = [{source for source, _ in part} for part in parts]
    assert sum(map(len, sources)) == len(set.union(*sources))
    shuffled = random.sample(pairs, len(pairs))
    assert [sorted(part) for part in hold_out(shuffled, (0.2, 0.3))] == [sorted(part) for part in parts]


TWO = [("a", "b"), ("c", "d")]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((TWO, (1.5,)), UserError, r"shares are \(1.5,\); expected a list of numbers from 0 to 1"),
        ((TWO, (-0.1,)), UserError, "expected a list of numbers from 0 to 1"),
        ((TWO, (math.nan,)), UserError, "expected a list of numbers from 0 to 1"),
        ((TWO, ("0.1",)), UserError, "expected a list of numbers from 0 to 1"),
        ((TWO, 0.5), UserError, "shares are 0.5; expected a list"),
        ((TWO, (0.6, 0.6)), UserError, r"shares are \(0.6, 0.6\); expected 1 at most in all"),
        ((TWO, (0.5,), 0), UserError, "limit is 0; expected at least 1"),
        ((TWO, (0.5,), 1.5), UserError, "limit is 1.5; expected an integer of at least 1"),
        ((None, (0.5,)), TypeError, r"pairs are None; expected a list of \(source, target\)"),
        (("ab", (0.5,)), TypeError, "pairs are 'ab'"),
        ((["ab"], (0.5,)), TypeError, r"pairs\[0\] is 'ab'; expected two strings"),
        (([*TWO, ("a", None)], (0.5,)), TypeError, r"pairs\[2\] is \('a', None\); expected two strings"),
        (([*TWO, ("a",)], (0.5,)), TypeError, r"pairs\[2\] is \('a',\)"),
    ],
)
def test_what_cannot_be_held_out_is_told(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        hold_out(*arguments)


def test_split_and_references() -> None:
    data = Dataset("d", "a", "b", {"train": [("x", "y")], "test": [("u", "v")]}, alternatives={"test": [("v", "w")]})
    assert data.split("train") == [("x", "y")]
    assert data.references("train") == [("y",)]
    assert data.references("test") == [("v", "w")]
    with pytest.raises(UserError, match="split is 'valid'; expected one of train, test of d"):
        data.split("valid")


def parallel(folder: Path, name: str, count: int) -> str:
    """Writes two parallel files and gives their specification."""
    src, trg = folder / f"{name}.de.gz", folder / f"{name}.en"
    src.write_bytes(gzip.compress("".join(f"quelle {i}\n" for i in range(count)).encode()))
    trg.write_text("".join(f"target {i}\n" for i in range(count)), encoding="utf-8")
    return f"{src},{trg}"


def test_parallel_files_with_their_own_splits(tmp_path: Path) -> None:
    specs = {name: parallel(tmp_path, name, count) for name, count in (("train", 3), ("valid", 2), ("test", 1))}
    data = load_dataset(specs["train"], valid=specs["valid"], test=specs["test"])
    assert {name: len(pairs) for name, pairs in data.splits.items()} == {"train": 3, "valid": 2, "test": 1}
    assert data.splits["train"][2] == ("quelle 2", "target 2")
    assert (data.src_language, data.trg_language) == ("de", "en")
    path = tmp_path / "train.en"
    assert data.checksums[str(path)] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert len(data.checksums) == 6


def test_validation_is_held_out_of_one_file(tmp_path: Path) -> None:
    path = tmp_path / "corpus.tsv"
    path.write_text("".join(f"s{i % 50}\tt{i}\n" for i in range(100)), encoding="utf-8")
    data = load_dataset(str(path), trg_language="fr")
    assert list(data.splits) == ["train", "valid"]
    assert (len(data.splits["train"]), len(data.splits["valid"])) == (98, 2)
    assert len({source for source, _ in data.splits["valid"]}) == 1
    assert (data.src_language, data.trg_language) == ("xx", "fr")


def test_no_more_than_a_thousand_sources_are_held_out(tmp_path: Path) -> None:
    path = tmp_path / "corpus.tsv.gz"
    path.write_bytes(gzip.compress("".join(f"s{i}\tt\n" for i in range(51_000)).encode(), compresslevel=1))
    assert len(load_dataset(str(path)).splits["valid"]) == 1_000


def bad_files(folder: Path) -> dict[str, tuple[str, dict[str, Any], str]]:
    good = parallel(folder, "good", 4)
    single = folder / "single.tsv"
    single.write_text("a\tb\na\tc\n", encoding="utf-8")
    src, trg = good.split(",")
    longer = parallel(folder, "longer", 6).split(",")[1]
    return {
        "name": (
            "multi31k",
            {},
            "data is 'multi31k'; expected one of numbers, multi30k, spa-eng, scan, cmudict, or files",
        ),
        "one plain file": (src, {}, f"{src}:1: neither a tab nor a JSON object; expected source TAB target"),
        "three files": (f"{src},{trg},{trg}", {}, "expected one of numbers"),
        "missing": (f"{src},{folder}/none.en", {}, f"{folder}/none.en: no such file"),
        "missing tsv": (f"{folder}/none.tsv", {}, f"{folder}/none.tsv: no such file"),
        "unequal": (f"{src},{longer}", {}, f"{src} has 4 lines, {longer} has 6"),
        "valid": (good, {"valid": "val.txt"}, "valid is 'val.txt'; expected files as CORPUS.tsv"),
        "test": (good, {"test": f"{folder}/none.tsv.gz"}, f"{folder}/none.tsv.gz: no such file"),
        "one source": (str(single), {}, f"{single}: one distinct source sentence; expected more"),
        "variant": ("numbers:small", {}, "data is 'numbers:small'; expected numbers without a variant"),
        "valid of a named set": ("numbers", {"valid": good}, "expected none: numbers has its own splits"),
    }


@pytest.mark.parametrize(
    "case",
    [
        "name",
        "one plain file",
        "three files",
        "missing",
        "missing tsv",
        "unequal",
        "valid",
        "test",
        "one source",
        "variant",
        "valid of a named set",
    ],
)
def test_bad_arguments_are_named(tmp_path: Path, case: str) -> None:
    spec, options, message = bad_files(tmp_path)[case]
    with pytest.raises(UserError) as caught:
        load_dataset(spec, **options)
    assert message in str(caught.value)


def test_numbers_are_spelled_and_disjoint() -> None:
    data = load_numbers(seed=5, sizes=SIZES)
    assert {name: len(pairs) for name, pairs in data.splits.items()} == {"train": 1500, "valid": 50, "test": 100}
    spelled = dict(data.splits["train"])
    assert spelled["seventy-one"] == "soixante et onze"
    assert spelled["eighty thousand"] == "quatre-vingt mille"
    sources = [source for pairs in data.splits.values() for source, _ in pairs]
    assert len(set(sources)) == sum(SIZES)
    assert data.checksums["numbers/test"] == pairs_checksum(data.splits["test"])
    assert data.defaults == {"src_tokenizer": "space", "trg_tokenizer": "space", "lower": False, "min_freq": 1}


def test_number_splits_cover_the_words_and_follow_the_seed() -> None:
    splits = split_numbers(5, SIZES, 999_999)
    train = set(splits["train"])
    assert train >= {*range(100), 100, 900, 1000, 70_000, 900_000}
    assert not train & {*splits["valid"], *splits["test"]}
    assert split_numbers(5, SIZES, 999_999) == splits
    assert split_numbers(6, SIZES, 999_999)["test"] != splits["test"]
    test = split_numbers(5, (20_000, 500, 1_000), 999_999)["test"]
    assert 20 <= sum(number < 10_000 for number in test) <= 200
    assert 600 <= sum(number >= 100_000 for number in test) <= 900


def test_every_word_of_held_out_numbers_is_in_train() -> None:
    data = load_numbers(seed=7, sizes=(3000, 100, 200))
    for side in (0, 1):
        known = {word for pair in data.splits["train"] for word in pair[side].split()}
        assert {word for pair in data.splits["test"] for word in pair[side].split()} <= known


@pytest.mark.parametrize("language", CONVERTER_CLASSES)
def test_numbers_are_spelled_as_by_num2words(language: str) -> None:
    def spelled(spell: Callable[[int], str], number: int) -> str:
        try:
            return spell(number)
        except Exception as error:  # the converters of rarer languages fail in ways of their own
            return type(error).__name__

    ours, theirs = _speller(language, 999_999), CONVERTER_CLASSES[language].to_cardinal
    for number in (*range(0, 130, 7), 200, 999, 1000, 1001, 1200, 2021, 21_021, 100_000, 999_999):
        assert spelled(ours, number) == spelled(theirs, number)


def test_joined_number_words_are_cut_into_characters() -> None:
    data = load_numbers("de", "es", sizes=(700, 5, 5))
    assert (data.defaults["src_tokenizer"], data.defaults["trg_tokenizer"]) == ("char", "space")
    assert dict(data.splits["train"])["einundzwanzig"] == "veintiuno"


def test_bad_numbers_arguments() -> None:
    with pytest.raises(UserError, match=r"trg_language is 'qq'; num2words spells am, ar, .*, fr, "):
        load_dataset("numbers", trg_language="qq")
    with pytest.raises(UserError, match="num2words fails for language 'am'"):
        load_numbers("am", "fr", sizes=SIZES)
    for sizes, maximum in (((100, 5, 5), 999_999), ((1500, 5, 5), 1_200), ((150, 5, 5), 999)):
        with pytest.raises(UserError, match=r"numbers: sizes are .* up to"):
            split_numbers(1, sizes, maximum)
