"""Runs from Python: what the commands do, with the settings as keyword arguments.

``train_run`` and ``load_run`` give a ``Run``. There is no function ``seq2seq.train``, since that is the module behind
``python -m seq2seq.train``: Python sets a package's attribute to a submodule whenever one is first imported, so that a
function of the same name would be there or not by what was imported before.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from seq2seq import train
from seq2seq.decoding import runs, settings
from seq2seq.decoding.translator import Translator
from seq2seq.run import checkpoint, config_file, manifest, recipes
from seq2seq.run.config import Config, setting
from seq2seq.run.errors import UserError, UserTypeError
from seq2seq.run.folder import SAMPLES, files_of
from seq2seq.run.messages import shown
from seq2seq.run.streams import quietly


def train_run(*, recipe: str | None = None, quiet: bool = False, accept_changes: bool = False, **given: Any) -> Run:
    """Train a run, as ``python -m seq2seq.train`` does.

    Ctrl-C ends the training after the step under way; the run is saved, and given as it stands.

    Args:
        recipe: settings that come along, which those given replace.
        quiet: print nothing.
        accept_changes: with ``resume`` go on although files of the run or its data were changed.
        given: settings by name, of the types and ranges of the command line; docs/toolkit.md has them all. Paths may be
            ``pathlib.Path``.

    Raises:
        UserError: as the command says it in a line; nothing was written then.
    """
    whole = {} if recipe is None else dict(recipes.recipe(recipe).settings)
    whole |= {name: setting(name, _plain(value)) for name, value in given.items()}
    if accept_changes and not whole.get("resume"):
        raise UserError("accept_changes: goes with resume, for a run whose files were changed")
    if whole.get("dry_run") and not whole.get("resume"):
        raise UserError("dry_run: there is no run to give then; expected python -m seq2seq.train --dry-run for that")
    with quietly() if quiet else nullcontext():
        run_dir, _ = train.trained(whole, accept_changes)
    return Run(run_dir)


def load_run(path: str | os.PathLike[str]) -> Run:
    """A run that stands in a folder; UserError where none does."""
    return Run(path)


def _plain(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


class Run:
    """A training run: the settings, the figures and the weights in its folder.

    What it tells is read when it is asked for, so it follows a training that goes on.

    Args:
        path: its folder.

    Raises:
        UserError: the folder holds no run, or its files were changed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._translators: dict[tuple[str, str | None, str], tuple[int, Translator]] = {}
        config_file.load(self.path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def config(self) -> Config:
        """The settings, as the run would go on by now."""
        return config_file.load(self.path)

    @property
    def manifest(self) -> dict[str, Any]:
        """What the figures depend on: versions, processor, digests of the data (docs/toolkit.md)."""
        return manifest.read(self.path)

    @property
    def history(self) -> list[dict[str, Any]]:
        """The records of metrics.jsonl in order, of updates (which have "loss") and of validations ("val_loss")."""
        from seq2seq.plots.curves import history_of

        return history_of(self.path)

    @property
    def validations(self) -> list[dict[str, Any]]:
        """Those of validations alone."""
        return [record for record in self.history if "val_loss" in record]

    @property
    def samples(self) -> list[dict[str, Any]]:
        """After each epoch the same sentences, translated: the records of samples.jsonl."""
        from seq2seq.training import samples

        return samples.read(self.path / SAMPLES)

    def resume(self, *, quiet: bool = False, accept_changes: bool = False, **given: Any) -> Run:
        """Go on with the run, and with other settings where they may change; arguments as of ``train_run``."""
        for name in {"run_dir", "resume"} & given.keys():
            raise UserError(f"resume: {name} is given; it is this run that goes on, in {self.path}")
        return train_run(
            run_dir=self.path, resume=True, quiet=quiet, accept_changes=accept_changes, **given
        )  # fmt: skip

    def translator(self, checkpoint: str = "best", precision: str | None = None, device: str = "cpu") -> Translator:
        """What translates with the run's weights, as of ``Translator.load``; loaded anew only where they changed."""
        key, stamp = (checkpoint, precision, device), _stamp(self.path, checkpoint)
        held = self._translators.get(key)
        if held is None or held[0] != stamp:
            held = stamp, Translator.load(self.path, checkpoint, precision, device)  # type: ignore[arg-type]
            self._translators[key] = held
        return held[1]

    def translate(self, sentences: Iterable[Any], beam_size: int = 1, **options: Any) -> list[str]:
        """Translations of sentences by the best weights; options as of ``Translator.translate``."""
        return self.translator().translate(sentences, beam_size, **options)

    def evaluate(
        self, split: str | None = None, *, test: str | os.PathLike[str] | None = None,
        metrics: str | Sequence[str] | None = None, checkpoint: str = "best",
        data_dir: str | os.PathLike[str] | None = None, **options: Any,
    ) -> dict[str, Any]:  # fmt: skip
        """The scores that ``python -m seq2seq.evaluate`` prints, under the names of its --json.

        Args:
            split: "train", "valid" or "test"; by default "test" where there is one.
            test: other files to score, in the forms of --data.
            metrics: of ``seq2seq.metrics`` and "bleu_tokens" those that are wanted.
            data_dir: where the data lie now.
            options: as of ``Translator.search``, and ``replace_unk``.
        """
        from seq2seq import evaluate

        names = None if metrics is None else runs.metric_names(metrics, evaluate.KNOWN)
        options = {"beam_size": 1, "length_penalty": 1.0, "batch_size": 64, **options}
        settings.decoding(**{name: value for name, value in options.items() if name != "replace_unk"})
        asked = evaluate.build_parser().parse_args(["."])
        asked.run_dir, asked.split = [str(self.path)], split
        asked.test, asked.data_dir = (None if given is None else _plain(given) for given in (test, data_dir))
        dataset = runs.dataset(asked)
        found = runs.split_of(asked, dataset)
        return evaluate.score(self.translator(checkpoint), dataset, found, **options, metrics=names)

    def plot(
        self, output: str | os.PathLike[str] | None = None, over: str = "steps", beside: Sequence[Run] = ()
    ) -> Any:
        """The learning curves as a figure of Matplotlib, which a notebook shows.

        Args:
            output: a file to write them to as well, which ends in .png, .svg or .html.
            over: "steps", "epochs" or "minutes".
            beside: other runs on the same page.
        """
        from seq2seq.plots import curves, drawing
        from seq2seq.run.streams import check_output, write_bytes

        if isinstance(beside, Run | str) or not all(isinstance(other, Run) for other in beside):
            raise UserTypeError(f"beside is {shown(beside)}; expected a list of runs, as load_run gives them")
        if output is not None:
            drawing.require_form(_plain(output))
            check_output(_plain(output), "output", files_of(self.path))
        figure = curves.curves({str(run.path): run.history for run in (self, *beside)}, over)
        if output is not None:
            form = Path(output).suffix.lower()
            write_bytes(_plain(output), [drawing.as_bytes(figure, form, "Learning curves")])
        return figure


def _stamp(run_dir: Path, name: str) -> int:
    """By which one sees that a checkpoint was written anew; 0 where there is none."""
    path = checkpoint.path_of(run_dir, name)
    return path.stat().st_mtime_ns if name in checkpoint.NAMES and path.exists() else 0
