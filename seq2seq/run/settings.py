"""The settings that a command line and its files of settings give, and the Config that they make.

A setting comes from, in rising order: its default, the preset of the data set, the recipe given by --recipe, the file
given by --config (YAML or JSON), the command line; for a run that goes on, from the run itself.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import inspect
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seq2seq.run import companions, recipes, registry
from seq2seq.run.config import BASE, Config, field_type, may_change, setting
from seq2seq.run.config_file import FOLDERS, PATHS, load, moved
from seq2seq.run.errors import UserError
from seq2seq.run.options import RANGES
from seq2seq.run.parser import OneLineParser
from seq2seq.run.settings_file import read_settings

_PURPOSES = {
    "train": "Train a translator.",
    "gradcheck": "Compare the gradients of the model that these settings describe with finite differences.",
}


# What a run that starts with another's weights takes over from it, unless it is given: what makes the model and its
# tokens, beside the options of its parts.
INHERITED = (
    "src_language", "trg_language", "src_tokenizer", "trg_tokenizer", "lower", "share_vocab", "subword_model",
    "tie_weights", *registry.PACKAGES,
)  # fmt: skip


def parse(arguments: Sequence[str] | None = None, command: str = "train") -> Config:
    """The resolved Config of a command line; UserError for a mistake in it or in its config file."""
    return resolved(given(arguments, command)[0])


def given(arguments: Sequence[str] | None = None, command: str = "train") -> tuple[dict[str, Any], bool]:
    """The settings that a command line and its config files give, and whether --accept-changes is among its options."""
    options = vars(build_parser(command).parse_args(arguments))
    accept = options.pop("accept_changes", False)
    name = options.pop("recipe", None)
    settings: dict[str, Any] = {} if name is None else dict(recipes.recipe(name).settings)
    for path in options.pop("config", []):
        settings |= _read_settings(path)
    settings |= options
    if accept and not settings.get("resume"):
        raise UserError("accept_changes: goes with --resume, for a run whose files were changed")
    return settings, accept


def resolved(given: dict[str, Any], accept: bool = False) -> Config:
    """The whole Config: what is given, and the rest from the preset, or from the run to go on with or to start from.

    Args:
        accept: a run may go on with other data.
    """
    if given.get("resume"):
        return _resumed(given, accept)
    preset = recipes.presets().get(given.get("data", Config.data).partition(":")[0], {}) | _inherited(given)
    parts = {kind: value for kind, value in (preset | given).items() if kind in registry.PACKAGES}
    options = Config(**parts).options
    fits = {name: value for name, value in preset.items() if name in options or name in Config.__dataclass_fields__}
    config = Config(**{**fits, **given})
    companions.check(config)
    registry.reads(config)  # what cannot be had is told before any data are read
    return config


def _inherited(given: dict[str, Any]) -> dict[str, Any]:
    """What comes from the run whose weights are the start; nothing where there is none."""
    if given.get("init_from") is None:
        return {}
    from seq2seq.shipping import model_file  # which loads all that makes models

    path = Path(given["init_from"])
    former = model_file.read(path).config if model_file.is_model_file(path) else load(path)
    parts = {kind: getattr(former, kind) for kind in registry.PACKAGES}
    same = [kind for kind, name in parts.items() if given.get(kind, name) == name]
    options = [name for kind in same for name in _inherited_options(kind, parts[kind])]
    return {name: getattr(former, name) for name in (*INHERITED, *options)}


def _inherited_options(kind: str, name: str) -> list[str]:
    fields = dataclasses.fields(registry.part(kind, name).Options)
    return [field.name for field in fields if field.metadata["inherited"]]


def _resumed(given: dict[str, Any], accept: bool) -> Config:
    """The stored config of the run, with what may change taken from what is given."""
    if given.get("run_dir") is None:
        raise UserError("resume: --run-dir is missing; expected the folder of the run to go on with")
    given = given | {name: os.path.abspath(given[name]) for name in FOLDERS if given.get(name)}  # as they are stored
    stored = moved(load(Path(given["run_dir"])), given, accept)
    changeable = {*may_change(), *PATHS}
    for name, old in stored.as_dict().items():
        value = given.get(name, old)
        if name not in changeable and value != old:
            raise UserError(f"resume: {name} is {value!r}; the run was started with {old!r} and goes on only with that")
    rest = {name: value for name, value in given.items() if name not in PATHS}
    config = dataclasses.replace(stored, **rest)
    config = dataclasses.replace(config, **companions.left_behind(stored, config, given))
    companions.check(config, given)  # others may have come to mean nothing: exclusions from a decay that is now 0
    return config


def build_parser(command: str = "train") -> OneLineParser:
    """A parser with one option per field, ``--hidden-size`` for hidden_size; it returns only what is given."""
    parser = OneLineParser(
        prog=f"python -m seq2seq.{command}", argument_default=argparse.SUPPRESS,
        description=f"{_PURPOSES[command]} A setting comes from, in rising order: its default, the preset of the data "
        "set (shown beside the default), the recipe given by --recipe, the file given by --config, the command line.",
    )  # fmt: skip
    help_text = "YAML or JSON file of settings, named as here with _ for -; of several the later ones win"
    parser.add_argument("--config", action="append", help=help_text)
    parser.add_argument("--recipe", metavar="NAME", help=f"settings that come along: {', '.join(recipes.names())}")
    accept = "with --resume: go on although files of the run or its data were changed; the manifest will say so"
    parser.add_argument("--accept-changes", action="store_true", help=accept)
    help_texts = _field_comments()
    for field in BASE:
        add_setting(parser, field.name, help_texts[field.name] + _told(field))
    group = parser.add_argument_group("options of the source, the encoder and the decoder")
    for name, field in registry.options().items():
        owners = f" [{'; '.join(registry.owners(name))}]"
        add_setting(group, name, field.metadata["help"] + _told(field) + owners)
    return parser


def add_setting(parser: Any, name: str, help_text: str, **options: Any) -> None:
    """An option for a setting; a bool may stand alone: --resume is --resume true."""
    truth = {"nargs": "?", "const": True} if field_type(name) is bool else {}
    kind = functools.partial(setting, name)
    option, help_text = "--" + name.replace("_", "-"), help_text.replace("%", "%%")
    parser.add_argument(option, type=kind, metavar="VALUE", help=help_text, **truth, **options)


def _told(field: dataclasses.Field[Any]) -> str:
    """What --help adds: the choices or the range, the default, and the presets that differ from it."""
    told = [" or ".join(registry.names(field.name))] if field.name in registry.PACKAGES else []
    told += [str(RANGES[field.name])] if field.name in RANGES else []
    told += [] if field.default is None else [f"default: {_as_given(field.default)}"]
    presets = [
        f"{name} {_as_given(preset[field.name])}" for name, preset in recipes.presets().items() if field.name in preset
    ]
    told += [f"presets: {', '.join(presets)}"] if presets else []
    told += ["may change with --resume"] if field.metadata.get("changeable") else []
    return f" ({'; '.join(told)})" if told else ""


def _as_given(value: Any) -> str:
    """As it is written on the command line."""
    return str(value).lower()


def _read_settings(path: str) -> dict[str, Any]:
    """The settings in a config file; UserError names the file, the line, and the setting that is at fault."""
    settings = {}
    for where, name, value in read_settings(path):
        try:
            settings[name] = setting(name, value)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
    return settings


@functools.cache
def _field_comments() -> dict[str, str]:
    """Field name -> the comment above it, or above the group it is in."""
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
