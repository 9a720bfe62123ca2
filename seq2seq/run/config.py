"""The settings of a run: one frozen dataclass, a preset per data set, and the command line made from them.

A setting comes from, in rising order: the default below (the PyTorch tutorials' model), the preset of the data set,
the file given by --config (YAML or JSON), the command line. The resolved result is written to RUN_DIR/config.json when
the run starts, and never changed. What a continuation was told that still counts for the next one (a later end, other
places of the data) stands in the manifest.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import os
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from seq2seq.run import manifest
from seq2seq.run.errors import UserError
from seq2seq.run.messages import shown
from seq2seq.run.options import RANGES, convert
from seq2seq.run.parser import OneLineParser, suggestion
from seq2seq.run.settings_file import read_settings
from seq2seq.run.writing import replace_run_file


@dataclasses.dataclass(frozen=True)
class Config:
    """Every setting of a training run. The comments are the help texts of the command line."""

    # numbers, multi30k, spa-eng, scan, cmudict, or files: CORPUS.tsv[.gz], or SRC,TRG (plain or .gz)
    data: str = "numbers"
    # folder that holds the public data sets; by default they are downloaded and checked
    data_dir: str | None = None
    # source and target language codes; by default those of the data set
    src_language: str | None = None
    trg_language: str | None = None
    # validation and test files for --data FILES, in the same form; by default a part is held out of the training data
    valid: str | None = None
    test: str | None = None
    # word, space, char or sentencepiece; by default what suits the data set
    src_tokenizer: str | None = None
    trg_tokenizer: str | None = None
    # lower-case all text
    lower: bool | None = None
    # words seen less often become <unk>
    min_freq: int | None = None
    # keep at most this many words (for sentencepiece: its vocabulary size)
    max_vocab_size: int | None = None
    # leave out training pairs with more tokens than this on one side
    max_length: int | None = None

    # size of the embeddings
    embedding_size: int = 256
    # size of the LSTM states
    hidden_size: int = 512
    # LSTM layers in the encoder and in the decoder
    num_layers: int = 2
    # probability that an embedding or a state between layers is zeroed in training
    dropout: float = 0.5
    # feed the source backwards (Sutskever et al., 2014)
    reverse_source: bool = False
    # weights start in U(-init_range, init_range)
    init_range: float = 0.08

    # passes over the training data
    epochs: int = 10
    # stop after this many steps in all
    max_steps: int | None = None
    # sentences in a batch
    batch_size: int = 128
    # learning rate of Adam
    lr: float = 1e-3
    # gradients are clipped to this global norm
    clip_norm: float = 1.0
    # probability, step by step, that the decoder is given the right word instead of its own
    teacher_forcing_ratio: float = 0.5
    # share of the target probability that is spread over all words (Szegedy et al., 2016)
    label_smoothing: float = 0.0
    # translations end after this many tokens; by default the longest training target plus a half
    max_output_length: int | None = None

    # all that is drawn is a function of this number
    seed: int = 1234
    # where the run is kept; by default runs/DATA-N with the next free N
    run_dir: str | None = None
    # go on with the run in --run-dir exactly where it stopped
    resume: bool = False
    # save the last checkpoint also every so many steps (it is always saved after an epoch and at Ctrl-C)
    save_every: int | None = None
    # where to compute: cpu, or cuda for an NVIDIA GPU
    device: Literal["cpu", "cuda"] = "cpu"
    # of the arithmetic; bf16 and tf32 (that one on cuda): of products alone, the rest stays in fp32
    precision: Literal["fp32", "tf32", "bf16", "fp64"] = "fp32"
    # processor threads; by default all
    threads: int | None = None


PRESETS: dict[str, dict[str, Any]] = {
    "numbers": {
        "embedding_size": 64, "hidden_size": 256, "num_layers": 1, "dropout": 0.0, "reverse_source": True,
        "teacher_forcing_ratio": 1.0, "epochs": 5, "batch_size": 64, "lr": 2e-3,
    },
    "scan": {"embedding_size": 128, "hidden_size": 256, "num_layers": 1, "teacher_forcing_ratio": 1.0, "epochs": 20},
    "cmudict": {"embedding_size": 128, "hidden_size": 512, "dropout": 0.3, "teacher_forcing_ratio": 1.0, "epochs": 15},
    "spa-eng": {"teacher_forcing_ratio": 1.0, "epochs": 12},
}  # fmt: skip

# What may differ between a run and its continuation without making it another run.
CHANGEABLE = ("epochs", "max_steps", "threads", "data_dir", "run_dir", "resume", "save_every", "device")
# Files of data may have moved: their digests must be those of the training.
PATHS = ("data", "valid", "test")

_PURPOSES = {
    "train": "Train a translator.",
    "gradcheck": "Compare the gradients of the model that these settings describe with finite differences.",
}


def parse(arguments: Sequence[str] | None = None, command: str = "train") -> Config:
    """The resolved Config of a command line; UserError for a mistake in it or in its config file."""
    return resolved(given(arguments, command)[0])


def given(arguments: Sequence[str] | None = None, command: str = "train") -> tuple[dict[str, Any], bool]:
    """The settings that a command line and its config files give, and whether --accept-changes is among its options."""
    options = vars(build_parser(command).parse_args(arguments))
    accept = options.pop("accept_changes", False)
    settings: dict[str, Any] = {}
    for path in options.pop("config", []):
        settings |= _read_settings(path)
    settings |= options
    if accept and not settings.get("resume"):
        raise UserError("accept_changes: goes with --resume, for a run whose files were changed")
    return settings, accept


def resolved(given: dict[str, Any]) -> Config:
    """The whole Config: what is given, and the rest from the preset, or from the run to go on with."""
    if given.get("resume"):
        return _resumed(given)
    preset = PRESETS.get(given.get("data", Config.data).partition(":")[0], {})
    return Config(**{**preset, **given})


def _resumed(given: dict[str, Any]) -> Config:
    """The stored config of the run, with what may change taken from what is given."""
    if given.get("run_dir") is None:
        raise UserError("resume: --run-dir is missing; expected the folder of the run to go on with")
    stored = moved(load(Path(given["run_dir"])), given)
    for name, value in given.items():
        old = getattr(stored, name)
        if name not in (*CHANGEABLE, *PATHS) and value != old:
            raise UserError(f"resume: {name} is {value!r}; the run was started with {old!r} and goes on only with that")
    rest = {name: value for name, value in given.items() if name not in PATHS}
    return dataclasses.replace(stored, **rest)


def moved(stored: Config, given: dict[str, Any]) -> Config:
    """``stored`` with the places where its data files lie now: given by ``PATHS``, or all in the folder ``data_dir``.

    Raises:
        UserError: a path is given for a data set that is not made of files, or that has no such file.
    """
    places: dict[str, Any] = {}
    if given.get("data_dir") is not None and _is_files(stored.data):
        for name in PATHS:
            spec = getattr(stored, name)
            places[name] = spec and _joined(name, spec, lambda path: str(Path(given["data_dir"]) / Path(path).name))
    for name in PATHS:
        value, old = given.get(name), getattr(stored, name)
        if value is None or value == old:
            continue
        if old is None or not _is_files(stored.data) or (name == "data" and not _is_files(value)):
            raise UserError(f"{name} is {value!r}; the run was started with {old!r}; expected another place of it")
        places[name] = value
    return dataclasses.replace(stored, **places)


def continued(config: Config, run_dir: Path) -> dict[str, Any]:
    """What of a continuation's settings the next one shall go by too: a later end than before, other places of data."""
    stored, kept = load(run_dir), dict[str, Any]()
    if config.epochs > stored.epochs:
        kept["epochs"] = config.epochs
    if stored.max_steps is not None and (config.max_steps is None or config.max_steps > stored.max_steps):
        kept["max_steps"] = config.max_steps
    now = _with_whole_paths(config)
    return kept | {name: getattr(now, name) for name in PATHS if getattr(now, name) != getattr(stored, name)}


def _with_whole_paths(config: Config) -> Config:
    """``config`` with paths that mean the same from every folder."""
    places: dict[str, Any] = {"data_dir": config.data_dir and os.path.abspath(config.data_dir)}
    if _is_files(config.data):
        for name in PATHS:
            spec = getattr(config, name)
            places[name] = spec and _joined(name, spec, os.path.abspath)
    return dataclasses.replace(config, **places)


def _joined(name: str, spec: str, change: Callable[[str], str]) -> str:
    """The files of a specification, each with its path changed."""
    from seq2seq.sources import split_spec

    return ",".join(map(change, split_spec(name, spec)))


def _is_files(data: str) -> bool:
    """Whether ``data`` names files, not a data set."""
    from seq2seq.sources import NAMED_SETS

    return data.partition(":")[0] not in ("numbers", *NAMED_SETS)


def build_parser(command: str = "train") -> OneLineParser:
    """A parser with one option per field, ``--hidden-size`` for hidden_size; it returns only what is given."""
    parser = OneLineParser(
        prog=f"python -m seq2seq.{command}", argument_default=argparse.SUPPRESS,
        description=f"{_PURPOSES[command]} A setting comes from, in rising order: its default, the preset of the data "
        "set (shown beside the default), the file given by --config, the command line.",
    )  # fmt: skip
    help_text = "YAML or JSON file of settings, named as here with _ for -; of several the later ones win"
    parser.add_argument("--config", action="append", help=help_text)
    accept = "with --resume: go on although files of the run or its data were changed; the manifest will say so"
    parser.add_argument("--accept-changes", action="store_true", help=accept)
    help_texts = _field_comments()
    for field in dataclasses.fields(Config):
        options: dict[str, Any] = {"type": functools.partial(_value, field.name), "metavar": "VALUE"}
        if _type_hints()[field.name] is bool:  # --resume alone means --resume true
            options |= {"nargs": "?", "const": True}
        option = "--" + field.name.replace("_", "-")
        parser.add_argument(option, help=help_texts[field.name] + _told(field), **options)
    return parser


def _told(field: dataclasses.Field[Any]) -> str:
    """What --help adds: the range, the default, and the presets that differ from it."""
    told = [str(RANGES[field.name])] if field.name in RANGES else []
    told += [] if field.default is None else [f"default: {_as_given(field.default)}"]
    presets = [f"{name} {_as_given(preset[field.name])}" for name, preset in PRESETS.items() if field.name in preset]
    told += [f"presets: {', '.join(presets)}"] if presets else []
    return f" ({'; '.join(told)})" if told else ""


def _as_given(value: Any) -> str:
    """As it is written on the command line."""
    return str(value).lower()


def _read_settings(path: str) -> dict[str, Any]:
    """The settings in a config file; UserError names the file, the line, and the setting that is at fault."""
    settings = {}
    for where, name, value in read_settings(path):
        try:
            settings[name] = _value(name, value)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
    return settings


def _value(name: str, value: Any) -> Any:
    """A setting's value in its type, from the text of a command line or from a file; UserError names the setting."""
    if name not in _type_hints():
        near = suggestion(name, _type_hints()) or "python -m seq2seq.train --help lists them all"
        raise UserError(f"{shown(name)} is no setting; {near}")
    hint = _type_hints()[name]
    if typing.get_origin(hint) is Literal:
        return convert(name, value, (), typing.get_args(hint))
    return convert(name, value, typing.get_args(hint) or (hint,))


def _field_comments() -> dict[str, str]:
    """Field name -> the comment above it, or above the group it is in."""
    import inspect

    comments: dict[str, str] = {}
    comment = ""
    for line in inspect.getsource(Config).splitlines():
        text = line.strip()
        if text.startswith("# "):
            comment = text[2:]
        elif ":" in text and text.split(":")[0].isidentifier():
            comments[text.split(":")[0]] = comment
        elif not text:
            comment = ""
    return comments


def save(config: Config, run_dir: Path) -> None:
    """Write the settings of a new run, with paths that mean the same from every folder."""
    stored = json.dumps(dataclasses.asdict(_with_whole_paths(config)), indent=1) + "\n"
    replace_run_file(run_dir / "config.json", stored.encode())


def load(run_dir: Path) -> Config:
    """The config of a run as it goes on now; UserError if the folder holds none, it was edited, or has other keys."""
    stored = _stored(run_dir)
    continued = manifest.read(run_dir).get("continued", {})
    path = run_dir / manifest.NAME
    if not set(continued) <= {*CHANGEABLE, *PATHS}:
        raise UserError(f"{path}: unknown settings in continued: {', '.join(sorted(continued))}")
    changes = _checked(continued, path)
    return dataclasses.replace(stored, **changes, run_dir=str(run_dir), resume=False)


def _stored(run_dir: Path) -> Config:
    """config.json as it was written."""
    path = run_dir / "config.json"
    try:
        stored = json.loads(manifest.read_covered(run_dir, path.name).decode("utf-8"))
    except (ValueError, RecursionError):
        raise UserError(f"{path}: not valid JSON; expected the settings of a training run") from None
    names = {field.name for field in dataclasses.fields(Config)}
    if not isinstance(stored, dict) or set(stored) != names:
        odd = sorted(set(stored) ^ names) if isinstance(stored, dict) else ["no object"]
        raise UserError(f"{path}: unknown or missing settings: {', '.join(odd)}")
    return Config(**_checked(stored, path))


def _checked(stored: dict[str, Any], path: Path) -> dict[str, Any]:
    """Settings read from ``path``, each of its type and in its range."""
    try:
        return {name: _value(name, value) for name, value in stored.items()}
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


@functools.cache
def _type_hints() -> dict[str, Any]:
    return typing.get_type_hints(Config)
