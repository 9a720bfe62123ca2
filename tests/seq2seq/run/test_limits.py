"""What options may be: every number from its low to its high end, and every text, of a command, a file or a program."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from seq2seq import Translator, evaluate, translate
from seq2seq.decoding.search import beam_search
from seq2seq.run import registry, settings
from seq2seq.run.companions import BELONGS_TO
from seq2seq.run.config import Config, field_types
from seq2seq.run.errors import UserError, UserTypeError
from seq2seq.run.options import RANGES, Range, convert, number
from seq2seq.run.settings import parse
from seq2seq.serving.limits import Limits

TYPES = field_types()
TRAINING = [name for name in RANGES if name in TYPES]
_BASE = ["n_best", "batch_size", "threads", "max_output_length", "max_length_ratio", "seed"]
DECODING = [*_BASE, *(name for name in registry.options(registry.SEARCH_PACKAGES) if name in RANGES)]
NO_NUMBERS = [
    "",
    " ",
    "nan",
    "inf",
    "-inf",
    "0x10",
    "1_000",
    "\u0661\u0662",
    " 5",
    "5 ",
    "007",
    "1,5",
    "9" * 5000 + "x",
    "\udcff",
]
FAR = ["-1", "-9" + "9" * 30, "9" * 20, "9" * 5000]


def option(name: str) -> str:
    return "--" + name.replace("_", "-")


def beside(name: str) -> list[str]:
    """What must stand beside a setting for it to mean something: another setting's value, or the part that has it."""
    if name in BELONGS_TO:
        owner, values = BELONGS_TO[name]
        return [*beside(owner), option(owner), values[0] if values else repr(RANGES[owner].low)]
    if hasattr(Config(), name):
        return []
    kind, part, *_ = next(registry.owners(name)).replace(",", "").split()
    copies = kind == "decoder" and registry.part(kind, part).reads_of(registry.part(kind, part).Options()).copies
    return [option(kind), part, *(["--share-vocab"] if copies else [])]


@pytest.fixture(scope="module")
def folder(trained_run: Callable[..., Path]) -> Path:
    """A run, hardly trained."""
    return trained_run(70, "--epochs", 1)


@pytest.fixture(scope="module")
def translator(folder) -> Translator:
    return Translator.load(folder)


def refusal(capsys: pytest.CaptureFixture[str], main, *arguments: str) -> str:
    """The one line of a command that refuses its arguments."""
    capsys.readouterr()
    assert main(list(arguments)) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), err[:7]) == ("", 1, "error: ")
    assert len(err) < 600
    return err


# --- numbers ----------------------------------------------------------------------------------------------------------
def test_every_numeric_setting_has_a_range() -> None:
    numeric = {name for name, hint in TYPES.items() if hint in (int, float, int | None, float | None)}
    assert numeric == set(TRAINING)
    of_search = registry.options(registry.SEARCH_PACKAGES)
    numeric_of_search = {name for name, field in of_search.items() if registry.type_of(field) in (int, float)}
    of_serving = {"port", *Limits.__dataclass_fields__} - numeric
    assert set(RANGES) - numeric == {"n_best", "max_length_ratio", "resamples"} | numeric_of_search | of_serving


@pytest.mark.parametrize("name", TRAINING)
def test_settings_end_where_their_ranges_end(name, tmp_path) -> None:
    low, high = RANGES[name].low, RANGES[name].high
    beyond = [low - 1, high + 1] if RANGES[name].kind is int else [np.nextafter(low, -1), np.nextafter(high, 1e9 + 1)]
    for value in (low, high):
        assert getattr(parse([*beside(name), option(name), repr(value)]), name) == value
    for value in beyond:
        with pytest.raises(UserError, match=f"{name} is .*; expected {re.escape(str(RANGES[name]))}"):
            parse([f"{option(name)}={value!r}" if RANGES[name].kind is int else f"{option(name)}={float(value)!r}"])
    path = tmp_path / "settings.json"
    for value in ("NaN", "Infinity", "1e999", "9" * 400, "-1", "true", '"x"', "[1]", '{"a": 1}'):
        path.write_text(f'{{"{name}": {value}}}')
        with pytest.raises(UserError, match=name) as error:
            parse(["--config", str(path)])
        assert len(str(error.value)) < 600


@pytest.mark.parametrize("name", TRAINING)
def test_settings_that_are_no_numbers(name) -> None:
    for word in [*NO_NUMBERS, *FAR, "1e400"]:
        with pytest.raises(UserError, match=f"^{name} is ") as error:
            parse([f"{option(name)}={word}"])
        assert str(RANGES[name]) in str(error.value)
        assert len(str(error.value)) < 400


@pytest.mark.parametrize("command", [translate, evaluate])
@pytest.mark.parametrize("name", DECODING)
def test_decoding_options_that_are_no_numbers(capsys, folder, command, name) -> None:
    if (command, name) == (evaluate, "n_best"):
        pytest.skip("evaluate has no such option")
    for word in [*NO_NUMBERS, *FAR, "1e400", str(RANGES[name].high + 1)]:
        line = refusal(capsys, command.main, str(folder), f"{option(name)}={word}")
        assert line.startswith(f"error: {name} is ")
        assert str(RANGES[name]) in line


@pytest.mark.parametrize(
    ("name", "value"),
    [("lr", "0"), ("lr", "1e-30"), ("clip_norm", "0"), ("clip_norm", "1e-30"), ("dropout", "1"), ("init_range", "0"),
     ("label_smoothing", "1"), ("dropout", "0.99999999999")],
)  # fmt: skip
def test_settings_with_which_nothing_would_be_learnt(name, value) -> None:
    with pytest.raises(UserError, match=f"{name} is .*; expected {re.escape(str(RANGES[name]))}"):
        parse([option(name), value])


def test_clipping_is_switched_off_by_a_large_norm() -> None:
    with pytest.raises(UserError, match="a large one, such as 1e9, clips nothing"):
        parse(["--clip-norm", "0"])
    assert parse(["--clip-norm", "1e9"]).clip_norm == 1e9


def test_numbers_of_a_python_program() -> None:
    assert [number("beam_size", value) for value in (3, np.int64(3), np.uint8(3))] == [3, 3, 3]
    assert [number("length_penalty", value) for value in (1, 0.5, np.float32(0.5))] == [1.0, 0.5, 0.5]
    for value in (True, np.True_, "3", 2.0, None, [3], 3 + 0j, b"3"):
        with pytest.raises(UserTypeError, match=r"^beam_size is .*; expected an integer, 1 to 1000"):
            number("beam_size", value)
    for value in (0, -1, 1001, 10**5000):
        with pytest.raises(UserError, match=r"^beam_size is .*; expected 1 to 1000"):
            number("beam_size", value)
    for value in (float("nan"), float("inf"), -0.1, 10.1, 10**400):
        with pytest.raises(UserError, match=r"^length_penalty is .*; expected 0 to 10"):
            number("length_penalty", value)


# --- text -------------------------------------------------------------------------------------------------------------
TEXTS = [name for name, hint in TYPES.items() if hint in (str, str | None)]


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("text", ["", " ", "\t\n"])
def test_empty_settings(name, text) -> None:
    with pytest.raises(UserError, match=f"^{name} is .*; expected text that is not empty"):
        parse([option(name), text])


@pytest.mark.parametrize(
    ("command", "name"),
    [(translate, "input"), (translate, "output"), (evaluate, "json"), (evaluate, "test"), (evaluate, "split"),
     (evaluate, "data_dir")],
)  # fmt: skip
def test_empty_options(capsys, folder, command, name) -> None:
    assert refusal(capsys, command.main, str(folder), option(name), "").startswith(f"error: {name} is ''; expected")
    assert refusal(capsys, command.main, "").startswith("error: run_dir is ''; expected text that is not empty")


def test_an_empty_config_option() -> None:
    with pytest.raises(UserError, match=r"^config is ''; expected text that is not empty"):
        parse(["--config", ""])


def test_text_that_no_file_name_holds(tmp_path) -> None:
    path = tmp_path / "settings.json"
    for text, expected in (("a\0b", "without NUL"), ("a\ud800b", "that file names can hold")):
        path.write_text(json.dumps({"data": text}))
        with pytest.raises(UserError, match=f"data is .*; expected text {expected}"):
            parse(["--config", str(path)])


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a\udcff.tsv", "a\\xff.tsv"), ("a\nb.tsv", "a\\nb.tsv"), ("a\x1b[31m\u202e.tsv", "a\\x1b[31m\\u202e.tsv")],
)
def test_names_of_any_bytes_in_messages(capsys, name, expected) -> None:
    from seq2seq import train

    assert refusal(capsys, train.main, "--data", name) == f"error: {expected}: no such file\n"
    assert refusal(capsys, train.main, "--config", name).startswith(f"error: config {expected}: No such file")
    assert refusal(capsys, translate.main, name).startswith(f"error: {expected}/config.json: No such file")
    assert refusal(capsys, train.main, f"--{name}") == f"error: unrecognized arguments: --{expected}\n"


def test_a_misspelled_option_or_setting_is_told_the_nearest(tmp_path) -> None:
    with pytest.raises(UserError, match="unrecognized arguments: --hiden-size 3; did you mean --hidden-size"):
        parse(["--hiden-size", "3"])
    path = tmp_path / "settings.yaml"
    path.write_text("hidden-size: 3\n")
    with pytest.raises(UserError, match="'hidden-size' is no setting; did you mean hidden_size"):
        parse(["--config", str(path)])


# --- help -------------------------------------------------------------------------------------------------------------
def test_help_shows_ranges_defaults_and_presets(capsys) -> None:
    text = " ".join(settings.build_parser().format_help().split())
    for words in (
        "size of the states, of all layers (1 to 65536; default: 512; presets: numbers 256, cmudict 384, scan 200)",
        "feed the source backwards (Sutskever et al., 2014) (default: false; presets: numbers true)",
        "the preset of the data set",
    ):
        assert words in text
    for name in TRAINING:
        assert str(RANGES[name]) in text
    for command in (translate, evaluate):
        text = " ".join(command.build_parser().format_help().split())
        for name in DECODING:
            assert f"({RANGES[name]}" in text
    assert "usage: python -m seq2seq.gradcheck" in settings.build_parser("gradcheck").format_help()


# --- Python -----------------------------------------------------------------------------------------------------------
NO_SENTENCES: list[tuple[object, type[UserError], str]] = [
    ("1 2", UserTypeError, "translate: got one string; expected a list of sentences"),
    (b"1 2", UserTypeError, "translate: got bytes; expected a list of sentences"),
    (3, UserTypeError, "translate: got 3; expected a list of sentences"),
    (None, UserTypeError, "translate: got None; expected a list of sentences"),
    ([None], UserTypeError, "translate: sentence 1 is None; expected strings"),
    (["1", b"2"], UserTypeError, "translate: sentence 2 is b'2'; expected strings"),
    (["1", "2\ud800"], UserError, "translate: sentence 2 holds a lone surrogate; expected valid Unicode"),
    ([["1"]], UserTypeError, r"translate: sentence 1 is \['1'\]; expected strings"),
]


@pytest.mark.parametrize(("sentences", "kind", "message"), NO_SENTENCES, ids=range(len(NO_SENTENCES)))
@pytest.mark.parametrize("method", ["translate", "search"])
def test_what_is_no_list_of_sentences(translator, method, sentences, kind, message) -> None:
    with pytest.raises(kind, match=f"^{message}$"):
        getattr(translator, method)(sentences)


def test_sentences_may_come_one_by_one(translator) -> None:
    def sentences() -> Iterator[str]:
        yield from ("1 2 3", "", "9 8")

    expected = translator.translate(["1 2 3", "", "9 8"])
    assert translator.translate(sentences()) == translator.translate(("1 2 3", "", "9 8")) == expected


def test_an_error_of_the_sentences_themselves_is_theirs(translator) -> None:
    def broken() -> Iterator[str]:
        yield "1 2"
        raise TypeError("mine")

    with pytest.raises(TypeError, match=r"^mine$"):
        translator.translate(broken())


ARGUMENTS = [
    ({"beam_size": "3"}, "beam_size is '3'; expected an integer, 1 to 1000"),
    ({"beam_size": 0}, "beam_size is 0; expected 1 to 1000"),
    ({"beam_size": 2.0}, "beam_size is 2.0; expected an integer, 1 to 1000"),
    ({"beam_size": True}, "beam_size is True; expected an integer, 1 to 1000"),
    ({"beam_size": 10**30}, f"beam_size is {10**30}; expected 1 to 1000"),
    ({"beam_size": 2, "n_best": 3}, "n_best is 3; expected at most beam_size = 2"),
    ({"n_best": 0}, "n_best is 0; expected 1 to 1000"),
    ({"batch_size": 0}, "batch_size is 0; expected 1 to 1000000"),
    ({"beam_size": 2, "length_penalty": float("nan")}, "length_penalty is nan; expected 0 to 10"),
    ({"beam_size": 2, "length_penalty": 1000}, "length_penalty is 1000.0; expected 0 to 10"),
    ({"length_penalty": None}, "length_penalty is None; expected a number, 0 to 10"),
]


@pytest.mark.parametrize(("arguments", "message"), ARGUMENTS, ids=range(len(ARGUMENTS)))
def test_arguments_of_a_search(translator, arguments, message) -> None:
    with pytest.raises(UserError, match=f"^{message}$"):
        translator.search(["1 2"], **arguments)
    with pytest.raises(UserError, match=f"^{message}$"):
        translator.search_ids(translator.codec.encode_sources(["1 2"]), **arguments)
    if "n_best" not in arguments:
        with pytest.raises(UserError, match=f"^{message}$"):
            translator.translate(["1 2"], **arguments)


def test_scores_are_finite_at_the_ends_of_the_ranges(translator) -> None:
    for penalty, beam_size in itertools.product((0.0, 10.0), (2, 40)):
        for hypothesis in translator.search(["1 2 3 4"], beam_size, penalty, n_best=beam_size)[0]:
            assert np.isfinite(hypothesis.score)
            assert hypothesis.score < 0


def test_a_penalty_that_no_score_survives(tiny_model) -> None:
    for penalty in (1000.0, -1000.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"beam_search: length_penalty is .*; expected -.* to "):
            beam_search(tiny_model(), [[4, 5]], 7, beam_size=2, length_penalty=penalty)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3,), "run_dir is 3; expected the folder"),
        ((None,), "run_dir is None; expected the folder"),
        ((b"x",), "run_dir is b'x'; expected the folder"),
        (("",), "run_dir is ''; expected text that is not empty"),
        (("{run}", "../x"), "name is '../x'; expected best, last or average"),
        (
            ("{run}", "best", "int4"),
            "precision is 'int4'; expected fp32, bf16, f16 or int8 for a run in fp32 on the cpu",
        ),
        (("{run}", "best", None, "tpu"), "device is 'tpu'; expected cpu or cuda"),
    ],
)
def test_what_cannot_be_loaded(folder, arguments, message) -> None:
    given = [str(folder) if argument == "{run}" else argument for argument in arguments]
    with pytest.raises(UserError, match=message):
        Translator.load(*given)


def test_a_gradient_check_that_does_not_fit_is_refused(capsys, monkeypatch) -> None:
    from seq2seq import gradcheck
    from seq2seq.training import memory

    monkeypatch.setattr(memory, "available_bytes", lambda: 1 << 20)
    line = refusal(capsys, gradcheck.main, "--hidden-size", "2048")
    assert "but only 1 MB are free beside what is in use" in line


# --- the ranges themselves --------------------------------------------------------------------------------------------
def test_a_range_holds_its_ends_alone_and_no_nan() -> None:
    allowed = Range(0.5, 2.0)
    assert [value in allowed for value in (0.5, 2.0, 1, 0.49, 2.01, float("nan"))] == [True] * 3 + [False] * 3
    assert (str(allowed), str(Range(0, 2**63 - 1))) == ("0.5 to 2", "0 to 9223372036854775807")


def test_words_of_truth() -> None:
    words = {"true": True, "Yes": True, "on": True, "FALSE": False, "no": False, "off": False}
    assert {word: convert("lower", word, (bool,)) for word in words} == words
    for word in ("1", "0", "y", "", "truee"):
        with pytest.raises(UserError, match=r"lower is .*; expected true or false$"):
            convert("lower", word, (bool,))


def test_a_setting_for_norwegian_is_text_in_quotes(tmp_path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("src_language: no\n")
    with pytest.raises(UserError, match=r":1: src_language is no; expected text or null, in quotes$"):
        parse(["--config", str(path)])
    path.write_text("src_language: 'no'\nlower: no\n")
    settings = parse(["--config", str(path), "--data", "x.tsv"])
    assert (settings.src_language, settings.lower) == ("no", False)


def test_files_by_descriptor_are_read_or_refused_at_once(tmp_path) -> None:
    reader, writer = os.pipe()
    try:
        with pytest.raises(UserError, match="not a regular file"):
            parse(["--config", f"/dev/fd/{reader}"])
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize("command", ["train", "translate", "evaluate", "gradcheck"])
@pytest.mark.parametrize("option", ["--batch-size", "--precision", "--device", "--data"])
def test_two_dashes_are_no_value(refused, command, option) -> None:
    if (command, option) == ("translate", "--data"):
        option = "--input"
    run = ["run"] if command in ("translate", "evaluate") else []
    refused(f"argument {option}: expected one argument, got --\n", command, *run, f"{option}=--")
