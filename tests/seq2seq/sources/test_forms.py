"""The forms in which people have pairs: all give the same ones, and what is malformed is named with its line."""

from __future__ import annotations

import csv
import gzip
import html
import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seq2seq.run import registry
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.sources import Reading, files, load_dataset, read_pairs, relocated
from seq2seq.sources.corpus import read_sources
from seq2seq.sources.files import BadLines
from seq2seq.sources.forms import read_table
from seq2seq.text.codec import TextCodec
from seq2seq.training.trainer import Trainer

WORDS = ["ein", "zwei;", "drei,", '"vier"', "fünf", "l'eau", "R&D", "a<b", "日本", "q|r", '"']
PAIRS = [
    (" ".join(WORDS[(i * step) % 11] for step in (1, 3, 7)) + f" {i}", f"{WORDS[i % 7]} {WORDS[i % 5]} t{i % 90}")
    for i in range(1000)
]
PAIRS = [(src.replace('"', "''"), trg) for src, trg in PAIRS]
TSV = "".join(f"{src}\t{trg}\n" for src, trg in PAIRS)
SIDES = ["".join(f"{pair[side]}\n" for pair in PAIRS) for side in (0, 1)]


def as_csv(rows: list[tuple[Any, ...]], **options: Any) -> str:
    text = io.StringIO()
    csv.writer(text, **options).writerows(rows)
    return text.getvalue()


def write(path: Path, text: str | bytes) -> str:
    data = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return str(path)


def zipped(path: Path, **members: str) -> str:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "."), text)
    return str(path)


def folder_of(path: Path) -> str:
    path.mkdir()
    write(path / "a.tsv", "".join(f"{src}\t{trg}\n" for src, trg in PAIRS[:300]))
    write(path / "b.csv", as_csv([("id", "source", "target"), *((i, *pair) for i, pair in enumerate(PAIRS[300:700]))]))
    write(path / "c.de", "".join(f"{src}\n" for src, _ in PAIRS[700:]))
    write(path / "c.en", "".join(f"{trg}\n" for _, trg in PAIRS[700:]))
    write(path / "README", "nothing of it\n")
    return str(path)


def objects(src: str, trg: str) -> str:
    return "".join(json.dumps({"n": i, src: pair[0], trg: pair[1]}) + "\n" for i, pair in enumerate(PAIRS))


# Each writes the thousand pairs in one form; the specification, and the options that it needs.
FORMS: dict[str, Callable[[Path], tuple[str, dict[str, Any]]]] = {
    "tsv": lambda at: (write(at / "c.tsv", TSV), {}),
    "tsv with a mark and CRLF": lambda at: (write(at / "c.tsv.gz", "\ufeff" + TSV.replace("\n", "\r\n")), {}),
    "txt with tabs, ended by CR": lambda at: (write(at / "c.txt", TSV.replace("\n", "\r")), {}),
    "txt ended by U+2028": lambda at: (write(at / "c.txt", TSV.replace("\n", "\u2028")), {}),
    "two texts": lambda at: (f"{write(at / 'c.de', SIDES[0])},{write(at / 'c.en.gz', SIDES[1])}", {}),
    "two texts the other way": lambda at: (
        f"{write(at / 'c.en', SIDES[1])},{write(at / 'c.de', SIDES[0])}", {"swap": True},
    ),
    "csv with a header": lambda at: (
        write(at / "c.csv", as_csv([("id", "target", "source"), *((i, b, a) for i, (a, b) in enumerate(PAIRS))])), {},
    ),
    "csv of a spreadsheet": lambda at: (
        write(at / "c.csv", "\ufeff" + as_csv([("No", *pair) for pair in PAIRS], delimiter=";", quoting=csv.QUOTE_ALL)),
        {"src_column": "2", "trg_column": "3"},
    ),
    "csv with line breaks": lambda at: (
        write(at / "c.csv", as_csv([(a.replace(" ", "\r\n", 1), b) for a, b in PAIRS], quoting=csv.QUOTE_ALL)), {},
    ),
    "json lines": lambda at: (write(at / "c.jsonl", objects("de", "en")), {"src_column": "de", "trg_column": "en"}),
    "json lines, nested": lambda at: (
        write(at / "c.jsonl.gz", "".join(json.dumps({"translation": {"en": b, "de": a}}) + "\n\n" for a, b in PAIRS)),
        {"src_language": "de", "trg_language": "en"},
    ),
    "zip of texts": lambda at: (zipped(at / "c.zip", x__de=SIDES[0], x__en=SIDES[1], _about="nothing"), {}),
    "member of a zip": lambda at: (zipped(at / "c.zip", x__tsv=TSV, y__tsv="a\tb\n") + "/x.tsv", {}),
    "HTML entities": lambda at: (write(at / "c.tsv", html.escape(TSV)), {"unescape_html": True}),
    "a folder": lambda at: (folder_of(at / "folder"), {}),
    "several files": lambda at: (
        write(at / "1.tsv", "".join(f"{a}\t{b}\n" for a, b in PAIRS[:500]))
        + "," + write(at / "2.jsonl", "".join(json.dumps(pair) + "\n" for pair in PAIRS[500:])), {},
    ),
    "other names": lambda at: (write(at / "corpus.dat", as_csv(PAIRS)), {"data_format": "csv"}),
    "standard input": lambda at: ("-", {"stdin": TSV}),
}  # fmt: skip
FIXED = {"src_language": "xx", "trg_language": "xx", "min_freq": 1, "src_tokenizer": "space", "trg_tokenizer": "space"}
SIZES = {"embedding_size": 4, "hidden_size": 4, "num_layers": 1, "batch_size": 16}


def configured(form: str, at: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Config:
    at.mkdir(exist_ok=True)
    spec, options = FORMS[form](at)
    if "stdin" in options:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(options.pop("stdin").encode())))
    return Config(data=spec, **{**settings, **options})


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_ids(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = {}
    for name in ("tsv", form):
        config = configured(name, tmp_path / name.replace(" ", "-"), monkeypatch, **FIXED)
        dataset = registry.build("source", config).load(config)
        codec, encoded = TextCodec.build_encoded(dataset, config)
        sides = [side for split in encoded.values() for side in (split.src, split.trg)]
        digests[name] = codec.fingerprint(), [(side.flat.tobytes(), side.lengths.tobytes()) for side in sides]
        assert sum(map(len, dataset.splits.values())) == 1000
    assert digests[form] == digests["tsv"]


def test_every_form_trains_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states = {}
    for name in FORMS:
        config = configured(name, tmp_path / name.replace(" ", "-"), monkeypatch, **FIXED, **SIZES, max_steps=2)
        dataset = registry.build("source", config).load(config)
        codec, encoded = TextCodec.build_encoded(dataset, config)
        trainer = Trainer(config, dataset, codec, encoded, tmp_path)
        order = trainer.model.source
        for step in range(2):
            trainer._train_step([order.batch(encoded["train"], range(step * 16, step * 16 + 16))])
        states[name] = {key: value.numpy().copy() for key, value in trainer.model.state_dict().items()}
    for name, state in states.items():
        assert all(np.array_equal(value, states["tsv"][key]) for key, value in state.items()), name


# --- what is malformed ------------------------------------------------------------------------------------------------
GOOD = "".join(f"s{i}\tt{i}\n" for i in range(9))
GOOD_CSV = "".join(f"s{i},t{i}\n" for i in range(9))
GOOD_JSON = "".join(json.dumps({"src": f"s{i}", "trg": f"t{i}"}) + "\n" for i in range(9))
COLUMN = {"src_column": "de", "trg_column": "en"}
# Name of a file, its content, options, and the line that tells what is wrong, behind the path of the file.
MALFORMED: list[tuple[str, str | bytes, dict[str, Any], str]] = [
    ("c.tsv", GOOD + "one\n", {}, ":10: 1 column; expected source TAB target"),
    ("c.tsv", "\n" + GOOD, {}, ":1: 1 column; expected source TAB target"),
    ("c.tsv", GOOD + "\n", {}, ":10: 1 column; expected source TAB target"),
    ("c.tsv", "one\n" * 9, {}, ":1: 1 column; expected source TAB target"),
    ("c.tsv", "", {}, ": empty; expected one sentence a line"),
    ("c.tsv", GOOD.encode() + b"\xff\tx\n", {}, ":10: invalid UTF-8 (byte 0xff at column 1)"),
    ("c.tsv", GOOD.encode() + b"a\xed\xa0\x80\tx\n", {}, ":10: invalid UTF-8 (byte 0xed at column 2)"),
    ("c.tsv", GOOD + "x" * 100_001, {}, ":10: line is longer than 100,000 bytes"),
    ("c.tsv", GOOD.encode("utf-16"), {}, ": UTF-16 text; expected UTF-8"),
    ("c.tsv", gzip.compress(GOOD.encode()), {}, ": gzip data; expected a name ending in .gz"),
    ("c.tsv", b"PK\x03\x04abc", {}, ": a zip archive, as .xlsx and .docx are too"),
    ("c.tsv.gz", GOOD.encode()[:0], {}, ": empty; expected one sentence a line"),
    ("c.tsv", GOOD, COLUMN, ":1: src_column is 'de'; the first line has 's0', 't0'"),
    ("c.tsv", "de\tfr\n" + GOOD, COLUMN, ":1: src_column is 'de'; the first line has 'de', 'fr'"),
    ("c.tsv", "de\tfr\n" + GOOD, {**COLUMN, "header": "present"}, ":1: trg_column is 'en'; there are 'de', 'fr'"),
    ("c.tsv", GOOD, {"trg_column": "3"}, ":1: 2 columns; expected 3 at least"),
    ("c.tsv", GOOD, {"src_column": "0"}, ":1: src_column is '0'; the first line has 's0', 't0'"),
    ("c.tsv", "a\tb\tc\n" + GOOD, {"trg_column": "3"}, ":2: 2 columns; expected 3 at least"),
    ("c.tsv", "source\ttarget\n", {}, ": no line with text on both sides"),
    ("c.csv", GOOD_CSV + '"a,b\n', {}, ":10: unexpected end of data; expected fields with quotes closed"),
    ("c.csv", GOOD_CSV + '"a"b,c\n', {}, ":10: ',' expected after '\"'; expected fields with quotes closed"),
    ("c.csv", '"a\nb",c\nd\n', {}, ":3: 1 column; expected 2 at least"),
    ("c.csv", GOOD_CSV + "one\n", {}, ":10: 1 column; expected 2 at least"),
    ("c.csv", '"' + "x\n" * 80_000, {}, ":1: field larger than field limit (131072); expected"),
    ("c.csv", "one\ntwo\n", {}, ":1: 1 column; expected 2 at least"),
    ("c.csv", "\n\n", {}, ": no record; expected pairs"),
    ("c.csv", b"a,b\n\xe9,c\n", {}, ":2: invalid UTF-8 (byte 0xe9 at column 1)"),
    ("c.csv", GOOD_CSV, {"src_column": "x"}, ":1: src_column is 'x'; the first line has 's0', 't0'"),
    ("c.csv", GOOD_CSV, {"src_column": "2", "trg_column": "2"}, "src_column, trg_column: both are column 2"),
    ("c.csv", "id,source\n1,a\n2,b\n", {"trg_column": "target"}, ":1: trg_column is 'target'; "),
    ("c.jsonl", GOOD_JSON + "{\n", {}, ":10: no JSON (Expecting property name"),
    ("c.jsonl", GOOD_JSON + "{'src': 1}\n", {}, ":10: no JSON ("),
    ("c.jsonl", GOOD_JSON + "text\n", {}, ":10: no JSON (Expecting value"),
    ("c.jsonl", GOOD_JSON + "3\n", {}, ":10: 3; expected a JSON object or array"),
    ("c.jsonl", GOOD_JSON + "null\n", {}, ":10: None; expected a JSON object or array"),
    ("c.jsonl", GOOD_JSON + '{"src": "a"}\n', {}, ":10: no 'trg'; expected an object with it"),
    ("c.jsonl", GOOD_JSON + '{"src": "a", "trg": null}\n', {}, ":10: None; expected text"),
    ("c.jsonl", GOOD_JSON + '{"src": 5, "trg": "b"}\n', {}, ":10: 5; expected text"),
    ("c.jsonl", GOOD_JSON + '{"src": ["a"], "trg": "b"}\n', {}, ":10: ['a']; expected text"),
    ("c.jsonl", GOOD_JSON + '{"src": "\\ud800", "trg": "b"}\n', {}, ":10: a lone surrogate; expected valid Unicode"),
    ("c.jsonl", GOOD_JSON + '["a", "b"]\n', {}, ":10: an array; expected an object, as in the first line"),
    ("c.jsonl", '["a", "b"]\n' + GOOD_JSON, {}, ":2: an object; expected an array, as in the first line"),
    ("c.jsonl", '["a", "b"]\n["a"]\n', {}, ":2: 1 column; expected 2 at least"),
    ("c.jsonl", '{"text": "a"}\n', {}, ":1: 1 column; expected 2 at least"),
    ("c.jsonl", "[" * 60_000 + "\n", {}, ":1: no JSON ("),
    ("c.jsonl", GOOD_JSON, COLUMN, ":1: src_column is 'de'; there are 'src', 'trg'"),
    ("c.jsonl", GOOD_JSON + '{"src": "a' + "\n", {}, ":10: no JSON (Unterminated string"),
    ("c.txt", "no tab here\n" * 9, {}, ":1: neither a tab nor a JSON object; expected source TAB target"),
    ("c.txt", GOOD + "one\n", {}, ":10: 1 column; expected source TAB target"),
    ("c.dat", GOOD_CSV, {}, ":1: neither a tab nor a JSON object; expected source TAB target"),
    ("c.zip", b"no archive", {}, ": cannot be read (File is not a zip file); expected a zip archive"),
    ("c.json", "[]", {}, ": a table or an archive by its name; expected SRC,TRG as two text files"),
    ("c.xlsx", b"PK\x03\x04", {}, ": a table or an archive by its name; expected SRC,TRG as two text files"),
]


@pytest.mark.parametrize("number", range(len(MALFORMED)))
def test_what_is_malformed_is_named(number: int, tmp_path: Path) -> None:
    name, content, options, message = MALFORMED[number]
    path = write(tmp_path / name, content)
    with pytest.raises(UserError) as caught:
        load_dataset(path, reading=Reading(**options))
    assert f"{path}{message}" in str(caught.value) or str(caught.value).startswith(message)
    assert len(MALFORMED) >= 50


ARCHIVES = {
    "no corpus": ({"readme__md": "x"}, "", ": no corpus in it; expected tables"),
    "no member": ({"x__tsv": GOOD}, "/y.tsv", ": holds no 'y.tsv'; expected one of its members"),
    "alone": ({"x__de": "a\n", "x__en": "a\n", "y__de": "b\n"}, "", "/y.de: stands alone; expected y.en beside it"),
    "three languages": ({"x__de": "a\n", "x__en": "a\n", "x__fr": "a\n"}, "", ": texts in de, en, fr; expected two"),
    "malformed": ({"x__tsv": GOOD + "x\n"}, "", "/x.tsv:10: 1 column; expected source TAB target"),
    "all of it is a test": ({"test__tsv": GOOD}, "", ": all of it is called valid or test; expected training data"),
}  # fmt: skip


@pytest.mark.parametrize("case", ARCHIVES)
def test_archives_at_fault(case: str, tmp_path: Path) -> None:
    members, member, message = ARCHIVES[case]
    path = zipped(tmp_path / "c.zip", **members)
    with pytest.raises(UserError) as caught:
        load_dataset(path + member)
    assert f"{path}{message}" in str(caught.value)


def test_an_encrypted_member_and_a_zip_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FREE_EXPANSION_BYTES", 1000)
    path = Path(zipped(tmp_path / "c.zip", x__tsv="a\tb\n" * 500_000))
    with pytest.raises(UserError, match=r"x\.tsv:\d+: expands to over [\d,]+ bytes; expected text, not a zip bomb"):
        load_dataset(str(path))
    path = Path(zipped(tmp_path / "e.zip", x__tsv=GOOD))
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    data[6] |= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"x\.tsv: encrypted; expected an archive without a password"):
        load_dataset(str(path))


# --- what is chosen ---------------------------------------------------------------------------------------------------
HEADERS: list[tuple[str, dict[str, Any], list[tuple[str, str]]]] = [
    ("source,target\na,b\n", {}, [("a", "b")]),
    ("target,source\nb,a\n", {}, [("a", "b")]),
    ("id,english,spanish\n1,a,b\n", {}, [("a", "b")]),
    ("en,de\na,b\nc,d\n", {}, [("a", "b"), ("c", "d")]),
    ("a,b\nsource,target\n", {}, [("a", "b"), ("source", "target")]),
    ("source,target\na,b\n", {"header": "absent"}, [("source", "target"), ("a", "b")]),
    ("x,y\na,b\n", {"header": "present"}, [("a", "b")]),
    ("x,y,z\na,b,c\n", {"src_column": "z", "trg_column": "X"}, [("c", "a")]),
    ("x,y,z\na,b,c\n", {"trg_column": "1"}, [("y", "x"), ("b", "a")]),
    ("a,b\n", {"swap": True}, [("b", "a")]),
    ("Hello. You,b\nsource,target\n", {}, [("Hello. You", "b"), ("source", "target")]),
    ('a;"b,c"\nd;e\n', {}, [("a", "b,c"), ("d", "e")]),
    ('"a ""x""", "b"\n', {}, [('a "x"', "b")]),
    ("en,de,,\na,b,1,2\n", {}, [("a", "b")]),  # a spreadsheet's columns without a name
    ("en,en\na,b\n", {}, [("en", "en"), ("a", "b")]),
    ("Text,text,x\na,b,c\n", {"src_column": "text", "trg_column": "x"}, [("b", "c")]),
    ("text,text,x\na,b,c\n", {"src_column": "2", "trg_column": "x", "header": "present"}, [("b", "c")]),
]


@pytest.mark.parametrize("number", range(len(HEADERS)))
def test_headers_and_columns(number: int, tmp_path: Path) -> None:
    text, options, pairs = HEADERS[number]
    assert read_pairs("data", write(tmp_path / "c.csv", text), Reading(**options)) == pairs


def test_a_name_that_stands_for_two_columns_is_refused(tmp_path: Path) -> None:
    table = write(tmp_path / "c.csv", "Text,x,TEXT\na,b,c\n")
    with pytest.raises(
        UserError, match=r"c\.csv:1: src_column is 'text'; columns 1 and 3 are called so; expected the n"
    ):
        read_pairs("data", table, Reading(src_column="text", trg_column="x"))
    objects = write(tmp_path / "c.jsonl", '{"en": {"text": "a"}, "de": {"text": "b"}}\n')
    with pytest.raises(UserError, match=r"c\.jsonl:1: trg_column is 'text'; columns 1 and 2 are called so"):
        read_pairs("data", objects, Reading(trg_column="text"))


def test_a_header_is_told_and_names_the_languages(tmp_path: Path) -> None:
    path = write(tmp_path / "c.csv", "id,de,en\n" + "".join(f"{i},s{i},t{i}\n" for i in range(9)))
    data = load_dataset(path)
    assert data.notes == (
        f"{path}: line 1 is a header; columns 'de' and 'en' are read (--header absent takes it for a pair)",
    )
    assert (data.src_language, data.trg_language) == ("de", "en")
    swapped = load_dataset(path, reading=Reading(swap=True))
    assert (swapped.src_language, swapped.trg_language) == ("en", "de")
    assert {src[0] for src, _ in swapped.splits["train"]} == {"t"}


def test_bad_lines_are_skipped_and_counted_where_that_is_asked_for(tmp_path: Path) -> None:
    content = GOOD.encode() + b"one\n\xff\tx\n" + b"y" * 100_001 + b"\nlast\tpair\n"
    path = write(tmp_path / "c.tsv", content)
    data = load_dataset(path, reading=Reading(bad_lines="skip"))
    assert sum(map(len, data.splits.values())) == 10
    assert data.unreadable == 3
    assert data.notes == (
        f"{path}: 3 lines cannot be read; skipped (the first: {path}:10: 1 column; expected source TAB target)",
    )
    src, trg = write(tmp_path / "c.de", b"a\n\xff\nc\n"), write(tmp_path / "c.en", b"x\ny\nz\n")
    assert read_pairs("data", f"{src},{trg}", Reading(bad_lines="skip")) == [("a", "x"), ("c", "z")]


def test_the_splits_of_a_folder(tmp_path: Path) -> None:
    for stem in ("train", "val", "test_2016_flickr"):
        for code in ("de", "en"):
            write(tmp_path / f"{stem}.{code}", "".join(f"{stem} {code} {i}\n" for i in range(3)))
    data = load_dataset(str(tmp_path))
    assert {name: pairs[0] for name, pairs in data.splits.items()} == {
        "train": ("train de 0", "train en 0"), "valid": ("val de 0", "val en 0"),
        "test": ("test_2016_flickr de 0", "test_2016_flickr en 0"),
    }  # fmt: skip
    turned = load_dataset(str(tmp_path), src_language="en")
    assert turned.splits["train"][0] == ("train en 0", "train de 0")
    other = load_dataset(str(tmp_path), test=write(tmp_path / "mine.tsv", GOOD))
    assert len(other.splits["test"]) == 9


def test_sources_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "c.csv", "text\na\n")
    assert read_sources(path, Reading(header="present")) == ["a"]
    path = write(tmp_path / "c.tsv", "a\tb\nc\td\n")
    assert read_sources(path) == ["a", "c"]
    assert read_sources(path, Reading(swap=True)) == ["b", "d"]
    assert read_sources(write(tmp_path / "c.txt", "a\tb\n&lt;\n"), Reading(unescape_html=True)) == ["a\tb", "<"]


def test_options_of_named_sets_are_refused() -> None:
    with pytest.raises(UserError, match="swap is True; it is for files, and numbers is none"):
        load_dataset("numbers", reading=Reading(swap=True))
    with pytest.raises(UserError, match="header is 'maybe'; expected auto or present or absent"):
        registry.build("source", Config(header="maybe"))


FIELDS = st.lists(st.tuples(st.text(max_size=6), st.text(max_size=6)), min_size=1, max_size=6)


@given(FIELDS.filter(lambda pairs: not any("\0" in field or field[:1] >= "\ud800" for pair in pairs for field in pair)))
def test_what_pythons_writers_write_is_read(pairs: list[tuple[str, str]]) -> None:
    plain = Reading(header="absent")
    lines = as_csv(pairs, quoting=csv.QUOTE_ALL).split("\n")[:-1]
    expected = [tuple(re.sub("\r\n?|\n", " ", field) for field in pair) for pair in pairs]
    table = read_table("c.csv", "c.csv", [line.removesuffix("\r") for line in lines], plain, BadLines(False))
    assert [(a.replace("  ", " "), b.replace("  ", " ")) for a, b in table.pairs] == [
        (a.replace("  ", " "), b.replace("  ", " ")) for a, b in expected
    ]
    jsons = [json.dumps({"a": src, "b": trg}) for src, trg in pairs]
    assert read_table("c.jsonl", "c.jsonl", jsons, plain, BadLines(False)).pairs == expected


def test_files_that_moved(tmp_path: Path) -> None:
    def here(path: str) -> str:
        return f"new/{Path(path).name}"

    assert relocated("data", "old/a.de,old/a.en,old/c.zip/in/b.tsv,-", here) == "new/a.de,new/a.en,new/c.zip/in/b.tsv,-"
    (tmp_path / "folder").mkdir()
    assert relocated("data", str(tmp_path / "folder"), here) == "new/folder"


def test_a_run_on_a_member_is_scored_where_the_archive_lies_now(run, tmp_path: Path) -> None:
    archive = zipped(tmp_path / "c.zip", in__tsv="".join(f"{i} {i + 1}\t{i + 1} {i}\n" for i in range(40)))
    sizes = ("--hidden-size", 4, "--embedding-size", 4, "--num-layers", 1, "--min-freq", 1, "--max-steps", 1)
    tokens = ("--src-tokenizer", "space", "--trg-tokenizer", "space")
    result = run("train", "--data", f"{archive}/in.tsv", "--run-dir", tmp_path / "run", *sizes, *tokens)
    assert result.code == 0, result.err
    assert (
        "What the model reads and is to write, of the first training pairs:\n  <sos> 0 1 <eos>\n    > 1 0 <eos>"
        in result.out
    )
    (tmp_path / "moved").mkdir()
    Path(archive).rename(tmp_path / "moved" / "c.zip")
    assert run("evaluate", tmp_path / "run").code == 2
    assert run("evaluate", tmp_path / "run", "--data-dir", tmp_path / "moved").code == 0
    table = tmp_path / "new.csv"
    table.write_text("id,text,right\n7,1 2,2 1\n8,3 4,4 3\n")
    columns = ("--src-column", "text", "--trg-column", "right")
    assert run("evaluate", tmp_path / "run", "--test", table, *columns).code == 0
    assert run("score", tmp_path / "run", "--data", table, *columns).out.count("\n") == 2
    assert run("translate", tmp_path / "run", "--input", table, "--src-column", "text").out.count("\n") == 2
    output = tmp_path / "v.npy"
    assert run("encode", tmp_path / "run", table, "--src-column", "2", "--output", output).code == 0
    assert len(np.load(output)) == 2
    refusal = run("evaluate", tmp_path / "run", "--data-dir", tmp_path / "moved", *columns)
    assert refusal.err.startswith("error: src_column: goes with --test; the files of the training are read as then")
