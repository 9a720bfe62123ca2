"""What looks wrong in text is counted, with its first line; what is right gives no note."""

import pytest

from seq2seq.run.messages import agreeing
from seq2seq.sources import Reading, report
from seq2seq.sources.dataset import Pair
from seq2seq.sources.files import BadLines
from seq2seq.sources.forms import read_table

CLEAN: list[Pair] = [
    ("ein Hund läuft .", "a dog runs ."), ('"Hallo", sagt er.', '"Hello," he says.'), ("Ja!", "Yes!"),
    ("Der Text", "The text"), ("«\u00a0Été\u00a0»", "Summer"), ("\u0130\u200d\U0001f600", "(:"), ("Ça va ?", "Ãgua"),
    ('"Wer ist da?"', '"Who is there?"'), ("de", "of"), ("R&D; a", "R & D;"), ("我们", "we"), ("a  b", "1 2"),
]  # fmt: skip

FAULTS: dict[str, tuple[Pair, str]] = {
    "no target": (("ein Satz", "  "), "have text on one side only; left out"),
    "no source": (("", "a sentence"), "have text on one side only; left out"),
    "nothing": (("", " "), "are empty on both sides; left out"),
    "repeated": (CLEAN[2], "repeat an earlier pair"),
    "CSV": (('"sie sagt ""ja"" dazu"', "she agrees"), "have a field in quotes, as CSV has; the quotes count as text"),
    "NUL": (("a\0b", "c"), "hold a NUL character"),
    "lost": (("stra\ufffde", "street"), "hold the mark U+FFFD of a lost character"),
    "mark": (("x", "\ufeffy"), "hold a byte order mark (U+FEFF) inside"),
    "separator": (("a\u2028b", "c"), "hold a line separator (U+2028 or U+2029)"),
    "return": (("a\rb", "c"), "hold a carriage return"),
    "escape": (("a\x1b[0m", "c"), "hold another control character"),
    "C1": (("a\x85", "c"), "hold another control character"),
    "entity": (("a &amp; b", "c"), "hold an HTML entity such as &amp;, which --unescape-html undoes"),
    "Latin-1": (("schÃ¶n", "nice"), "hold what looks like UTF-8 read as Latin-1 (Ã© for é)"),
    "cp1252": (("nice", "câ€™est"), "hold what looks like UTF-8 read as Latin-1 (Ã© for é)"),
}

HEADERS: list[Pair] = [
    ("source", "target"), ("src", "trg"), ("de", "en"), ("en_US", "zh-CN"), ("German", "English"), ("ID", "source"),
    ('"input text"', '"output text"'), ("sentence_en", "sentence_de"), ("# src", "tgt"), ("sentence1", "sentence2"),
]  # fmt: skip


def test_clean_text_gives_no_note() -> None:
    assert report.report(CLEAN, "c", True) == []
    assert report.tabs(CLEAN, "c") == []


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_counted(case: str) -> None:
    pair, what = FAULTS[case]
    assert report.report([*CLEAN, pair], "c.tsv", True) == [f"c.tsv: 1 of 13 pairs {agreeing(1, what)} (line 13)"]
    several = report.report([*CLEAN, pair, ("x", "y"), pair, pair], "c.tsv", False)
    assert f"c.tsv: 3 of 16 pairs {what.removesuffix('; left out')} (the first in line 13)" in several
    assert len(several) <= 2  # the pair repeats too


@pytest.mark.parametrize("pair", HEADERS)
def test_a_header_is_told(pair: Pair) -> None:
    (note,) = report.report([pair, *CLEAN], "c.tsv", True)
    assert note.startswith("c.tsv: line 1 looks like a header (")
    assert note.isprintable()


@pytest.mark.parametrize(
    "pairs",
    [
        [("source 1", "target 1"), ("source 2", "target 2")],
        [("no", "so")],
        [("de", "de")],
        [("idea", "idee")],
        [("inputs", "ein")],
    ],
)
def test_what_is_no_header(pairs: list[Pair]) -> None:
    assert not any("header" in note for note in report.report([*pairs, *CLEAN], "c", True))


def test_fields_that_are_all_quoted() -> None:
    quoted = [(f'"satz {i}"', f"sentence {i}") for i in range(20)]
    (note,) = report.report([*quoted, *CLEAN], "c.tsv", True)
    assert note.startswith("c.tsv: 21 of 32 pairs have a field in quotes, as CSV has")


def test_copies_are_told_from_two_on() -> None:
    assert report.report([*CLEAN, ("Tom", "Tom")], "c", True) == []
    assert report.report([*CLEAN, ("Tom", "Tom"), ("Anna", "Anna"), ("", ""), (" ", " ")], "c", True)[-1] == (
        "c: 2 of 16 pairs have a target equal to the source (the first in line 13)"
    )


def test_tabs_and_further_columns() -> None:
    assert report.tabs([("a", "b"), ("a\tc", "b"), ("a", "b\t")], "a,b") == [
        "a,b: 2 of 3 pairs hold a tab, where one sentence a line is expected (the first in line 2)"
    ]
    table = read_table("c.tsv", "c.tsv", ["a\tb", "a\tb\tc", "a\tb\t\td"], Reading(), BadLines(skip=False))
    assert table.notes == [
        "c.tsv: 2 of 3 pairs have more than two columns; the others are not read (the first in line 2)"
    ]


def test_rows_of_csv() -> None:
    rows = ['"a","b"', '"a, c";"d ""e"""', '"a" , "b"', '"Hello," he says.', "a,b", '"a"', '"a" "b"', ""]
    assert [report.count_csv([row]) for row in rows] == [1, 1, 1, 0, 0, 0, 0, 0]
