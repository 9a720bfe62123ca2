"""The documents are true: their code runs and prints what they show, their numbers and tables are those of the program.

Contract of the documents: a block fenced ``python run`` executes in a namespace of its own, and prints what the block
fenced ``output`` after it shows. A table column headed by a source file quotes that file. Tables of options, settings
and keys are complete.

Long because each table and each block of the documents is held against the program here.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import random as python_random
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import minigrad as torch
from minigrad import nn, optim, random
from seq2seq import (
    average,
    compare,
    convert,
    encode,
    evaluate,
    export,
    inspect,
    plot,
    reproduce,
    score,
    seeds,
    serve,
    train,
    translate,
)
from seq2seq.completion import options_of
from seq2seq.conversion.layouts import LAYOUTS
from seq2seq.examples import addition, captions, dialogue, digits, summaries, tones
from seq2seq.inspection.contract import checks
from seq2seq.run import config, recipes, registry
from seq2seq.run.options import RANGES
from seq2seq.run.settings import parse

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md", ROOT / "README.md"]
TOOLKIT = (ROOT / "docs" / "toolkit.md").read_text(encoding="utf-8")
DECODING = (ROOT / "docs" / "decoding.md").read_text(encoding="utf-8")
SERVING = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
SHIPPING = (ROOT / "docs" / "shipping.md").read_text(encoding="utf-8")
LSTM = (ROOT / "docs" / "lstm.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```python run\n(?P<code>.*?)^```\n(?:^```output\n(?P<output>.*?)^```)?", re.MULTILINE | re.DOTALL)
RUNNABLE = [
    pytest.param(match["code"], match["output"], id=f"{page.stem}-{number}")
    for page in PAGES
    for number, match in enumerate(BLOCK.finditer(page.read_text(encoding="utf-8")))
]

Table = tuple[list[str], list[list[str]]]


def tables(text: str) -> Iterator[Table]:
    """Every table of a page: the cells of its head, and those of each row."""
    for lines in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        head, _, *rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines.splitlines()]
        yield head, rows


def rows_after(text: str, marker: str) -> list[list[str]]:
    """The rows of the first table after ``marker``, which stands in the page once."""
    assert text.count(marker) == 1
    return next(tables(text.partition(marker)[2]))[1]


def code_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.fixture(autouse=True)
def _own_random_numbers() -> Iterator[None]:
    ours, python = random.get_state(), python_random.getstate()
    yield
    random.set_state(ours)
    python_random.setstate(python)


# --- code, links, quotations ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("code", "output"), RUNNABLE)
def test_blocks_run_and_print_what_is_shown(code: str, output: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(code, "block", "exec"), {"__name__": "block"})
    assert capsys.readouterr().out == (output or "")


def test_every_page_but_the_commands_has_a_runnable_block() -> None:
    pages = {str(parameter.id).rpartition("-")[0] for parameter in RUNNABLE}
    assert pages == {
        "lstm", "kernels", "products", "speed", "autograd", "reading-order", "from-the-tutorials", "cuda", "attention",
        "transformer", "README", "python",
    }  # fmt: skip


def test_the_readmes_figures_are_those_of_the_stored_results() -> None:
    command = [sys.executable, ROOT / "benchmarks" / "report.py", "--check"]
    assert subprocess.run(command, cwd=ROOT).returncode == 0, "run python benchmarks/report.py"


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, section = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE) if section else []
        assert not section or section in map(anchor, headings), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_paths_exist(page: Path) -> None:
    names = re.findall(
        r"`((?:kernels|minigrad|seq2seq|tests|docs|benchmarks)/[\w./]*)`", page.read_text(encoding="utf-8")
    )
    assert [name for name in names if not (ROOT / name).exists()] == []


QUOTING = [
    (page, table)
    for page in PAGES
    for table in tables(page.read_text(encoding="utf-8"))
    if sum((ROOT / name).is_file() for cell in table[0] for name in code_in(cell)) == 2
]


@pytest.mark.parametrize(("page", "table"), QUOTING, ids=lambda value: value.stem if isinstance(value, Path) else "")
def test_quoted_lines_stand_in_their_files(page: Path, table: Table) -> None:
    head, rows = table
    for column, name in enumerate(head):
        if files := code_in(name):
            source = (ROOT / files[0]).read_text(encoding="utf-8")
            quoted = [fragment for row in rows for fragment in code_in(row[column])]
            assert [fragment for fragment in quoted if fragment not in source] == []
            assert quoted


# --- the LSTM by hand -------------------------------------------------------------------------------------------------
def sigmoid(a: float) -> float:
    return 1 / (1 + math.exp(-a))


def lstm_by_hand() -> list[dict[str, float]]:
    """Every quantity of the example of docs/lstm.md at t = 1 and t = 2, gate by gate in plain Python."""
    weight_ih, weight_hh = {"i": 0.5, "f": -0.5, "g": 1, "o": 0.5}, {"i": 1, "f": 0.5, "g": -1, "o": 0.5}
    bias = {"i": 0, "f": 1, "g": 0, "o": 0}
    h, c_prev = 0.5, [1.0]
    steps: list[dict[str, float]] = []
    for x in (1, -1):
        s = {f"a_{k}": weight_ih[k] * x + weight_hh[k] * h + bias[k] for k in "ifgo"}
        s |= {k: math.tanh(s["a_g"]) if k == "g" else sigmoid(s[f"a_{k}"]) for k in "ifgo"}
        s["c"] = s["f"] * c_prev[-1] + s["i"] * s["g"]
        s["tanh(c)"] = math.tanh(s["c"])
        h = s["h"] = s["o"] * s["tanh(c)"]
        c_prev.append(s["c"])
        steps.append(s)
    dh = dc = 0.0
    for s, dy, c in ((steps[1], 2, c_prev[1]), (steps[0], 1, c_prev[0])):
        s["dh"] = dy + dh
        s["do"], s["dc"] = s["dh"] * s["tanh(c)"], dc + s["dh"] * s["o"] * (1 - s["tanh(c)"] ** 2)
        s["di"], s["df"], s["dg"] = s["dc"] * s["g"], s["dc"] * c, s["dc"] * s["i"]
        s |= {f"da_{k}": s[f"d{k}"] * (1 - s[k] ** 2 if k == "g" else s[k] * (1 - s[k])) for k in "ifgo"}
        dc = s["dc_prev"] = s["dc"] * s["f"]
        dh = s["dh_prev"] = sum(s[f"da_{k}"] * weight_hh[k] for k in "ifgo")
        s["dx"] = sum(s[f"da_{k}"] * weight_ih[k] for k in "ifgo")
    return steps


def test_the_numbers_of_the_lstm_example() -> None:
    first, second = lstm_by_hand()
    forward, backward = rows_after(LSTM, "left column first"), rows_after(LSTM, "right column first")
    shown = {code_in(name)[0]: (a, b) for name, a, b in forward + backward}
    assert shown == {name: (f"{first[name]:.4f}", f"{second[name]:.4f}") for name in first}


# --- the toolkit ------------------------------------------------------------------------------------------------------
def documented_options(marker: str, page: str = TOOLKIT) -> dict[str, str | None]:
    """Option -> default as text, None where the page says there is none."""
    return {code_in(option)[0]: (code_in(default) or [None])[0] for option, default, _ in rows_after(page, marker)}


def as_text(default: Any) -> str | None:
    return None if default is None else str(default).lower() if isinstance(default, bool) else str(default)


def parser_options(parser: argparse.ArgumentParser) -> dict[str, str | None]:
    return {a.option_strings[0]: as_text(a.default) for a in parser._actions if a.option_strings and a.dest != "help"}


def config_options() -> dict[str, str | None]:
    fields = {f"--{f.name.replace('_', '-')}": as_text(f.default) for f in (*config.BASE, *registry.options().values())}
    return {"--config": None, "--recipe": None, "--accept-changes": "false", **fields}


READING = "the commands may be given others:"
EXAMPLES = (addition, captions, dialogue, digits, summaries, tones)
OPTIONS = {
    "examples": {
        **config_options(),
        **{k: v for each in EXAMPLES for k, v in parser_options(each.build_parser()).items()},
    },
    "train": config_options(),
    "gradcheck": config_options(),
    "reproduce": {**config_options(), **parser_options(reproduce.build_parser())},
    "seeds": {**config_options(), **parser_options(seeds.build_parser())},
    "average": parser_options(average.build_parser()),
    "translate": parser_options(translate.build_parser()),
    "evaluate": parser_options(evaluate.build_parser()),
    "compare": parser_options(compare.build_parser()),
    "score": parser_options(score.build_parser()),
    "encode": parser_options(encode.build_parser()),
    "export": parser_options(export.build_parser()),
    "convert": parser_options(convert.build_parser()),
    "inspect": parser_options(inspect.build_parser()),
    "plot": parser_options(plot.build_parser()),
    "serve": parser_options(serve.build_parser()),
}


@pytest.mark.parametrize(
    ("command", "marker"),
    [
        ("train", 'Where the\ndefault is "-"'),
        ("translate", "A line in, a line out."),
        ("evaluate", "## Scoring"),
        ("compare", "## Comparing"),
        ("encode", "## Sentence vectors"),
        ("plot", "## Plotting"),
    ],
    ids=["train", "translate", "evaluate", "compare", "encode", "plot"],
)
def test_options_are_documented_with_their_defaults(command: str, marker: str) -> None:
    of_search = {} if command in ("train", "encode") else documented_options("## Options\n", DECODING)
    of_reading = {} if command == "train" else documented_options(READING)
    assert documented_options(marker) | of_search | of_reading == OPTIONS[command]
    assert not set(documented_options(marker)) & {*of_search, *of_reading}


def test_options_of_scoring_are_documented_with_their_defaults() -> None:
    found = documented_options("## Scoring given translations", DECODING)
    assert found | documented_options(READING) == OPTIONS["score"]


def test_options_of_shipping_are_documented_with_their_defaults() -> None:
    assert documented_options("A run's folder is made for", SHIPPING) == OPTIONS["export"]


def test_options_of_converting_are_documented_with_their_defaults() -> None:
    page = (ROOT / "docs" / "converting.md").read_text(encoding="utf-8")
    assert documented_options("have is never written.", page) == OPTIONS["convert"]
    documented = {code_in(name)[0] for name, *_ in rows_after(page, "## Layouts\n")}
    assert documented == set(LAYOUTS)


def test_the_data_doctor_is_documented() -> None:
    page = (ROOT / "docs" / "inspect.md").read_text(encoding="utf-8")
    assert documented_options("The exit code is 0\n", page) == OPTIONS["inspect"]
    documented = [(code_in(name)[0], *rest) for name, *rest in rows_after(page, "## Findings\n")]
    assert documented == [(one.name, one.level, one.message, one.advice) for one in checks()]


def test_options_of_serving_are_documented_with_their_defaults() -> None:
    assert documented_options("## Options\n", SERVING) == OPTIONS["serve"]


def test_presets() -> None:
    documented = {
        code_in(name)[0]: dict(setting.split("=") for setting in code_in(settings))
        for name, settings in rows_after(TOOLKIT, "Presets, for what")
    }
    assert documented == {
        name: {key: str(value) for key, value in preset.items()} for name, preset in recipes.presets().items()
    }


def test_ranges() -> None:
    documented = {code_in(name)[0]: text for name, text in rows_after(TOOLKIT, "## Numbers and their ranges")}
    assert documented == {name: str(allowed) for name, allowed in RANGES.items()}


def test_settings_that_may_change() -> None:
    sentence = TOOLKIT.partition("Settings that may change with\n`--resume`:")[2].partition(";")[0]
    assert tuple(code_in(sentence)) == config.may_change()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_use_options_that_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for command, arguments in re.findall(r"python -m seq2seq\.(\w+)([^`\n]*)", text):
        assert set(re.findall(r"--[\w-]+", arguments)) <= set(OPTIONS[command])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny run, scored into scores.json."""
    folder = tmp_path_factory.mktemp("docs")
    corpus = folder / "corpus.tsv"
    corpus.write_text("".join(f"{'a b ' * (i % 3 + 1)}{i}\t{'x y ' * (i % 2 + 1)}{i}\n" for i in range(24)))
    sizes = "--embedding-size 4 --hidden-size 4 --num-layers 1 --dropout 0 --epochs 1 --max-output-length 5"
    tokenizers = "--src-tokenizer space --trg-tokenizer space"
    folder = folder / "run"
    assert train.main([*f"--data {corpus} --run-dir {folder}".split(), *sizes.split(), *tokenizers.split()]) == 0
    assert evaluate.main([str(folder), "--json", str(folder / "scores.json")]) == 0
    return folder


def keys_after(marker: str) -> list[str]:
    return [code_in(key)[0] for key, _ in rows_after(TOOLKIT, marker)]


def test_files_of_a_run(run: Path) -> None:
    files = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert files - {"scores.json"} == set(keys_after("## The folder of a run"))


@pytest.mark.parametrize(
    ("file", "marker"),
    [
        ("manifest.json", "`manifest.json`:"),
        ("text.json", "`text.json`:"),
        ("scores.json", "The file of `--json`:"),
    ],
)
def test_keys_of_a_file(run: Path, file: str, marker: str) -> None:
    assert list(json.loads((run / file).read_text(encoding="utf-8"))) == keys_after(marker)


def test_keys_of_the_metrics(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert list(lines[0]) == keys_after("A step in `metrics.jsonl`:")
    assert list(lines[-1]) == keys_after("A validation in `metrics.jsonl`:")


def installations(text: str) -> list[str]:
    """What ``pip install`` is followed by in a text, options left out."""
    return re.findall(r"pip install (?:-\S+ )*['\"]?([\w.][^'\"`\s]*)", text)


def test_what_is_to_be_installed_is_what_the_project_declares() -> None:
    """The package is on no index: a command names an extra of the checkout, or a requirement of one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    requirements = {requirement for extra in extras.values() for requirement in extra}
    known = {".", *(f".[{extra}]" for extra in extras), *requirements, "sacrebleu[ja]", "sacrebleu[ko]"}
    sources = [path for room in ("kernels", "minigrad", "seq2seq") for path in (ROOT / room).rglob("*.py")]
    found = {command for path in [*PAGES, *sources] for command in installations(path.read_text(encoding="utf-8"))}
    assert found >= {".", ".[spacy]", ".[gpu]", *extras["spacy"], extras["gpu"][0]}
    assert {command for command in found if command not in known and "{" not in command} == set()
    assert installations("pip install -q 'x[y]>=1' (or pip install z)") == ["x[y]>=1", "z)"]


# --- what is not supported --------------------------------------------------------------------------------------------
def weight() -> torch.Tensor:
    return torch.ones(2, requires_grad=True)


UNSUPPORTED: dict[str, Callable[[], object]] = {
    "create_graph": lambda: weight().sum().backward(create_graph=True),
    "proj_size": lambda: nn.LSTM(2, 3, proj_size=1),
    "amsgrad": lambda: optim.Adam([weight()], amsgrad=True),
    "foreach": lambda: optim.Adam([weight()], foreach=True),
    "fused": lambda: optim.SGD([weight()], fused=True),
    "capturable": lambda: optim.AdamW([weight()], capturable=True),
    "differentiable": lambda: optim.RMSprop([weight()], differentiable=True),
    "max_norm": lambda: nn.Embedding(2, 2, max_norm=1.0),
    "scale_grad_by_freq": lambda: nn.Embedding(2, 2, scale_grad_by_freq=True),
    "cuda": lambda: torch.zeros(2, device="cuda"),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_is_said_to_be_refused_is_refused(name: str) -> None:
    with pytest.raises((NotImplementedError, RuntimeError)):
        UNSUPPORTED[name]()


# --- the parts of a model ---------------------------------------------------------------------------------------------
HEADS = {"strategy": "## Strategies\n"}


@pytest.mark.parametrize("kind", [*registry.PACKAGES, *registry.SEARCH_PACKAGES])
def test_every_part_is_documented(kind: str) -> None:
    """Its name, its options and its file; parts that other tests registered stand in no file of ours."""
    page = (ROOT / "docs" / ("models.md" if kind in registry.PACKAGES else "decoding.md")).read_text(encoding="utf-8")
    documented = {
        code_in(name)[0]: (code_in(options), code_in(file))
        for name, _, options, file in rows_after(page, HEADS.get(kind, f"## {kind.capitalize()}s\n"))
    }
    parts = {name: registry.part(kind, name) for name in registry.names(kind)}
    assert documented == {
        name: ([field.name for field in dataclasses.fields(part.Options)], [part.__module__.replace(".", "/") + ".py"])
        for name, part in parts.items()
        if part.__module__.startswith("seq2seq.")
    }


# --- the reading order ------------------------------------------------------------------------------------------------
def test_an_afternoon_is_an_afternoon() -> None:
    """The files from the embedding to the update have the lengths that the page says, 3,000 lines in all at most."""
    page = (ROOT / "docs" / "reading-order.md").read_text(encoding="utf-8")
    listed = {code_in(file)[0]: int(count) for _, file, count, _, _ in rows_after(page, "## An afternoon")}
    lengths = {name: len((ROOT / name).read_text(encoding="utf-8").splitlines()) for name in listed}
    assert sum(lengths.values()) <= 3000
    assert {name: count for name, count in listed.items() if not -15 <= lengths[name] - count <= 15} == {}


CHEATSHEET = ROOT / "docs" / "cheatsheet.md"
ERRORS = ROOT / "docs" / "errors.md"


def test_the_cheatsheet_is_of_commands_and_options_that_exist() -> None:
    cells = re.findall(r"`([^`]+)`", CHEATSHEET.read_text(encoding="utf-8"))
    commands = [shlex.split(cell)[1:] for cell in cells if cell.startswith("seq2seq ")]
    assert len(commands) > 20
    for command, *words in commands:
        assert {word for word in words if word.startswith("--")} <= set(options_of(command)), command
    for words in (shlex.split(cell) for cell in cells if cell.startswith("--")):
        known = {*options_of("train"), *options_of("translate")}
        assert {word for word in words if word.startswith("--")} <= known, words
    for words in (shlex.split(cell) for cell in cells if cell.startswith(("--encoder", "--recipe"))):
        parse(words)


def test_the_lines_of_errors_are_those_of_the_program() -> None:
    """Each piece between "..." stands in a source, whose own pieces of text are joined first."""
    folders = [ROOT / package for package in ("seq2seq", "minigrad", "kernels")]
    sources = " ".join(path.read_text(encoding="utf-8") for folder in folders for path in folder.rglob("*.py"))
    sources = re.sub(r'"\s*\n\s*f?"', "", sources)
    rows = rows_after(ERRORS.read_text(encoding="utf-8"), "A traceback is")
    lines = [code for cells in rows for code in code_in(cells[0])]
    assert len(lines) > 10
    for piece in (piece.strip() for line in lines for piece in line.split("...")):
        assert len(piece) < 4 or piece in sources, piece


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("sphinx")
    pytest.importorskip("myst_parser")
    pytest.importorskip("furo")
    folders = ["-d", str(tmp_path / "trees"), "docs", str(tmp_path / "site")]
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", *folders]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    page = (tmp_path / "site" / "api" / "kernels.html").read_text(encoding="utf-8")
    assert "Equal scores: the lower word" in page
    for name in ("index", "toolkit", "api/nn"):
        page = (tmp_path / "site" / f"{name}.html").read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="https?:', page), "a page asks another host"
