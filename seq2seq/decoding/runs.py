"""What the commands that use trained runs share: which runs, which of their weights, where to compute; and what those
that score them share: the data, the search, the metrics."""

from __future__ import annotations

import dataclasses
import math
from argparse import Namespace
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from seq2seq.decoding import settings
from seq2seq.decoding.contract import Hypothesis
from seq2seq.decoding.translator import Translator
from seq2seq.metrics import METRICS
from seq2seq.run import checkpoint, config_file, folder, registry
from seq2seq.run.bars import counting
from seq2seq.run.cli import limit_threads
from seq2seq.run.config import Config
from seq2seq.run.data_change import dataset_change
from seq2seq.run.devices import DEVICES, PRECISIONS
from seq2seq.run.entry import tell
from seq2seq.run.errors import UserError
from seq2seq.run.messages import counted, shown
from seq2seq.run.options import texts
from seq2seq.run.parser import OneLineParser, suggestion
from seq2seq.run.settings import add_setting
from seq2seq.shipping import model_file
from seq2seq.shipping.model_file import is_model_file
from seq2seq.sources import Dataset, Examples, Items, Reading, Source
from seq2seq.sources.named import is_named
from seq2seq.sources.reading import AUTO
from seq2seq.sources.specs import files_named

# The options that name what is read.
_READ = ("input", "prefix", "data", "valid", "test", "src", "trg")


def add_options(
    parser: OneLineParser, several: str, precision: str = "of the matrix products; by default as in training"
) -> None:
    """The folders of runs, and the options below; ``several`` says what several runs do together."""
    parser.add_text("run_dir", f"folder of a training run, or a model file; of several, {several}", several=True)
    add_computing(parser, precision)


def add_computing(parser: OneLineParser, precision: str) -> None:
    """Which weights of a run, and where and how to compute."""
    parser.add_argument("--checkpoint", choices=checkpoint.NAMES, default="best")
    parser.add_argument("--precision", choices=PRECISIONS, help=precision)
    parser.add_argument("--device", choices=DEVICES, default="cpu", help="where to compute (default: cpu)")
    parser.add_number("--threads", "processor threads; by default all")
    parser.add_argument("--accept-changes", action="store_true", help=folder.ACCEPT_HELP)


def files(options: Namespace) -> list[Path]:
    """Those of the runs, and those that options name to be read: none of them may be an output."""
    paths = map(Path, options.run_dir)
    of_runs = [file for path in paths for file in ([path] if is_model_file(path) else folder.files_of(path))]
    return [*of_runs, *files_named(*(vars(options).get(name) for name in _READ))]


def begin(options: Namespace) -> None:
    """Accept changes of the runs, where that is asked for, and compute on so many threads from now on."""
    if options.accept_changes:
        for run_dir in map(Path, options.run_dir):
            if is_model_file(run_dir):
                raise UserError(f"accept_changes: {run_dir} is a model file; expected the folder of a run")
            folder.accept_changes(run_dir)
    limit_threads(options.threads)


def translator(options: Namespace) -> Translator:
    """That of the runs together."""
    return Translator.load_all(options.run_dir, options.checkpoint, options.precision, options.device)


# --- reading ----------------------------------------------------------------------------------------------------------
def add_reading(parser: OneLineParser) -> None:
    """How files are read that the command is given; by default as those of the training, whatever form they have."""
    for field in dataclasses.fields(Reading):
        default = "auto" if field.name == "data_format" else "as in training"
        add_setting(parser, field.name, f"{field.metadata['help']} (default: {default})")


def _given_of_reading(options: Namespace) -> dict[str, Any]:
    """Of these options those that are given."""
    names = (field.name for field in dataclasses.fields(Reading))
    return {name: value for name in names if (value := getattr(options, name)) is not None}


def read(settings: Config, options: Namespace, path: str) -> list[Any]:
    """The raw sources of a file, read for a run as the command line says."""
    return _source(settings, options).read(path, settings.languages)


def read_examples(settings: Config, options: Namespace, argument: str, spec: str) -> Examples:
    """The examples of files, which the user called ``argument``, read for a run as the command line says."""
    return _source(settings, options).read_examples(argument, spec, settings.languages)


def _source(settings: Config, options: Namespace) -> Source:
    """The source of a run, which reads files as the command line says."""
    form = {"data_format": AUTO} if hasattr(settings, "data_format") else {}
    chosen = {**settings.options, **form, **_given_of_reading(options)}
    source: Source = registry.build("source", dataclasses.replace(settings, options=chosen))
    return source


# --- scoring ----------------------------------------------------------------------------------------------------------
def add_scoring(parser: OneLineParser) -> None:
    """What is translated, and how."""
    parser.add_text("--split", "train, valid or test; by default test where there is one, else valid")
    parser.add_text("--data-dir", "folder that holds the data sets, or your files; by default as in training")
    parser.add_text("--data", "where the training files lie now; by default as in training")
    parser.add_text("--valid", "where the validation files lie now; by default as in training")
    parser.add_text("--test", "other files to score, in the forms of --data of seq2seq.train")
    add_reading(parser)
    parser.add_argument("--replace-unk", action="store_true", help="<unk> becomes the source token most looked at")
    settings.add_options(parser)


def asked(options: Namespace) -> dict[str, Any]:
    """The arguments of ``translated``, checked."""
    settings.decoding(**settings.asked(options))
    return settings.asked(options) | {"replace_unk": options.replace_unk}


def with_data(options: Namespace) -> tuple[Translator, Dataset]:
    """The translator of the runs, and their data set; a model file is read once for both."""
    if not is_model_file(Path(options.run_dir[0])):
        found = dataset(options)  # what is wrong with the data is told before weights are loaded
        return translator(options), found
    loaded = translator(options)
    return loaded, dataset(options, loaded.settings)


def dataset(options: Namespace, config: Config | None = None) -> Dataset:
    """The data set of the first run, or the user's test files; a file that changed since the training is an error.

    A model file does not know where its data lie, nor what they were: files are read where options say so.

    Args:
        config: the settings of the first run, where they have been read already.
    """
    run_dir = Path(options.run_dir[0])
    if config is None:
        config = model_file.read(run_dir).config if is_model_file(run_dir) else config_file.load(run_dir)
    source: Source = registry.build("source", config)
    if options.test:
        src_language, trg_language = (code or "xx" for code in config.languages)
        pairs, references = read_examples(config, options, "test", options.test)
        return Dataset(options.test, src_language, trg_language, {"test": pairs}, {"test": references})
    if is_model_file(run_dir) and not is_named(config.data) and not (options.data or options.data_dir):
        raise UserError(
            f"{run_dir}: a model file does not know where its data lie; expected --test with files to score"
        )
    if given := _given_of_reading(options):
        raise UserError(f"{next(iter(given))}: goes with --test; the files of the training are read as then")
    here = config_file.moved(config, {name: getattr(options, name) for name in ("data", "valid", "data_dir")})
    found = source.load(dataclasses.replace(here, data_dir=options.data_dir or config.data_dir))
    if is_model_file(run_dir):
        return found
    dataset_change(found, run_dir, options.accept_changes)
    return found


def split_of(options: Namespace, found: Dataset) -> str:
    """The split that is asked for, by default "test" where there is one."""
    return options.split or ("test" if "test" in found.splits else "valid")


def translated(
    translator: Translator, items: Items, raw: Sequence[Any], replace_unk: bool = False, **asked: Any
) -> tuple[list[Hypothesis], list[str]]:
    """The best hypothesis of each source, and its text.

    Args:
        items: what the ``raw`` sources are for the model.
        asked: as of ``Translator.search``; replace_unk as of ``Translator.translate``.
    """
    sources = translator.codec.source.spoken(items, raw)
    with watched(translator, sources):
        found = [best for best, *_ in translator.search_ids(sources, **asked, alignment=replace_unk)]
    tell_of_none(found)
    given: Sequence[Any] = raw if replace_unk else [None] * len(raw)
    return found, [translator.text_of(best, source) for best, source in zip(found, given, strict=True)]


def tell_of_none(found: Iterable[Hypothesis]) -> None:
    """A line on standard error where sentences have no translation."""
    if count := sum(math.isnan(best.log_prob) for best in found):
        tell(f"note: {counted(count, 'sentence', 'have')} no translation: what is asked for, or a NaN of "
             "the model, left no token to go on with")  # fmt: skip


@contextmanager
def watched(translator: Translator, sources: Items) -> Iterator[None]:
    """Inside, a bar on a terminal shows how many sentences are translated."""
    with counting(int(np.count_nonzero(sources.lengths)), "sentence") as translator.on_progress:
        yield
    translator.on_progress = None


def searched(replace_unk: bool = False, **asked: Any) -> dict[str, Any]:
    """How translations were found, for a file: the strategy, the beam, and what else is not as by default."""
    strategy = settings.decoding(**asked).strategy
    changed = settings.changed(asked) | ({"replace_unk": True} if replace_unk else {})
    beam_size = changed.pop("beam_size", 1)
    has_penalty = hasattr(strategy.options, "length_penalty")
    changed.pop("length_penalty", None)
    return {
        "strategy": strategy.name, "beam_size": beam_size,
        "length_penalty": asked["length_penalty"] if has_penalty else None, "search_options": changed,
    }  # fmt: skip


def how(result: dict[str, Any]) -> str:
    """The same for people, of a result that holds what ``searched`` gave."""
    words = [result["strategy"] + (f" {result['beam_size']}" if result["beam_size"] > 1 else "")]
    return ", ".join(words + [f"{name} {value}" for name, value in result["search_options"].items()])


def metric_names(given: str | Sequence[str], known: Collection[str] = METRICS) -> tuple[str, ...]:
    """The metrics that are asked for, in order.

    Args:
        given: their names, or one text with commas between them.

    Raises:
        UserError: an unknown one, one twice, or none.
    """
    names = texts("metrics", [word.strip() for word in given.split(",")] if isinstance(given, str) else given, "name")
    for name in names:
        if name not in known:
            near = suggestion(name, known) or f"expected some of {', '.join(known)}, with commas between them"
            raise UserError(f"metrics: there is no {shown(name)}; {near}")
    if not names or len(set(names)) < len(names):
        raise UserError(f"metrics is {shown(given)}; expected " + ("each once" if names else "one or more"))
    return names
