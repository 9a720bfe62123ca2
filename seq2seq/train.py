"""``python -m seq2seq.train``: from raw text to a trained translator, in one command."""

from __future__ import annotations

if __name__ == "__main__":  # before anything large is loaded
    import sys

    from seq2seq.run.entry import start

    sys.exit(start("train"))

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minigrad import keep_freed_memory
from seq2seq.decoding.translator import Translator
from seq2seq.models.model import build_model, require_fitting_parts
from seq2seq.run import config_file, folder, registry, settings
from seq2seq.run.checkpoint import Progress
from seq2seq.run.cli import command_for, limit_threads, run_command
from seq2seq.run.config import Config
from seq2seq.run.data_change import DataChange, data_change
from seq2seq.run.devices import require
from seq2seq.run.entry import began
from seq2seq.run.errors import UserError
from seq2seq.run.messages import counted, one_line
from seq2seq.run.streams import say
from seq2seq.sources import Dataset, EncodedSplit, Source, drop_long
from seq2seq.sources.adding import with_added
from seq2seq.text import stored
from seq2seq.text.codec import TextCodec
from seq2seq.text.vocabulary import EOS_ID, SPECIALS
from seq2seq.training import batching, figures, memory, samples, schedules, starting, timing, tracking
from seq2seq.training.advice import advice
from seq2seq.training.batching import total_steps
from seq2seq.training.budget import Clock
from seq2seq.training.kept_runs import expectations
from seq2seq.training.positions import within_positions
from seq2seq.training.trainer import Trainer
from seq2seq.training.warm_up import compile_kernels

_SAMPLES, _EXAMPLES = 5, 3


def train(arguments: Sequence[str] | None = None) -> int:
    """Train as the command line says; the exit code: 0 when done, 130 when interrupted and saved."""
    start = began()
    return trained(*settings.given(arguments), start)[1]


def trained(given: dict[str, Any], accept: bool = False, start: float | None = None) -> tuple[Path, int]:
    """Train with the settings that are given.

    Args:
        accept: as --accept-changes.
        start: when a budget of time began to run (``Clock``); by default now.

    Returns:
        the folder of the run, and the exit code of the command.
    """
    clock = Clock(given.get("budget"), start)
    if accept:
        _require_that_it_may_write(given)
        folder.accept_changes(Path(given.get("run_dir") or ""))
    config = settings.resolved(given, accept)
    for part in (schedules, batching, figures, tracking, stored):
        part.check(config)
    require_fitting_parts(config)  # before data are read, which may take minutes
    require(config.device, config.precision)
    limit_threads(config.threads)
    keep_freed_memory()
    source: Source = registry.build("source", config)
    dataset = source.load(config)
    whole, added = with_added(dataset, source, config)
    if not config.resume:
        _tell(whole.notes)
    with folder.tried(config) if config.dry_run else folder.prepared(config) as run_dir:
        change = data_change(dataset, added, config, run_dir, accept)
        trainer = _make_trainer(config, whole, run_dir, change, clock)
        del dataset, whole  # the raw text of the training split: ids are enough from here on
        return run_dir, 0 if config.dry_run else _run(trainer)


def _require_that_it_may_write(given: dict[str, Any]) -> None:
    if given.get("dry_run"):
        raise UserError("accept_changes: writes the manifest, and dry_run writes nothing; expected one of them")


def _run(trainer: Trainer) -> int:
    """Train to the end, or to an interruption; the exit code."""
    if trainer.config.resume:
        say(f"{trainer.run_dir}: going on after step {trainer.progress.step} of {trainer.total_steps}")
        if trainer.is_done and not trainer.clock.stopped:
            more = "--patience" if trainer.gets_no_better else "--epochs or --max-steps"
            say(f"nothing is left to do; raise {more} to train on")
    if not trainer.run():
        say(f"interrupted after step {trainer.progress.step}, saved; to go on:\n  {trainer.resume_command()}")
        return 130
    if trainer.gets_no_better:
        metric, patience = trainer.config.best_metric, trainer.config.patience
        say(f"ends early: {metric} was no better for {counted(patience or 0, 'validation')} in a row")
    elif trainer.clock.stopped:
        _tell_that_time_is_up(trainer)
    _show_samples(trainer)
    return 0


def _tell_that_time_is_up(trainer: Trainer) -> None:
    """A run that had a budget from the start ends there, as if it had been started so; another one can go on."""
    step, total = trainer.progress.step, trainer.total_steps
    if trainer.config.resume or not step:
        return say(f"stops after step {step} of {total}: the time is up; to go on:\n  {trainer.resume_command()}")
    folder.end_at(trainer.run_dir, step)
    say(f"ends after step {step} of {total}: the time is up; --max-steps {step} repeats it")


def _make_trainer(config: Config, dataset: Dataset, run_dir: Path, change: DataChange, clock: Clock) -> Trainer:
    """The trainer of a new run, whose files stand then, or of one that goes on; of a dry run no file does."""
    start = None if config.resume else starting.former(config)
    codec, encoded = _encoded(config, dataset, run_dir, start)
    codec = within_positions(config, codec, encoded)
    compile_kernels(config)  # mistakes in the input are told by now
    plan = memory.before_steps(config, (codec.source.num_inputs, len(codec.trg_vocabulary)))
    memory.require_fit(plan, config.batch_size, config.batch_tokens)
    config, plan, lines = _planned(config, dataset, codec, encoded, plan, clock)
    held_out = {name: pairs for name, pairs in dataset.splits.items() if name != "train"}
    trainer = Trainer(config, dataclasses.replace(dataset, splits=held_out), codec, encoded, run_dir, clock)
    entries = change.entries
    if start is not None:
        _tell(starting.copy_weights(start, trainer.model, codec, config.init_from or ""))
        entries = {**entries, "init_from": folder.weights_of(Path(config.init_from or ""))}
        del start
    num_parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    if config.resume:
        _go_on(trainer, change)
    elif not config.dry_run:
        entries = {"num_parameters": num_parameters, "memory_plan": dataclasses.asdict(plan), **entries}
        _begin(trainer, dataset, entries)
    say(
        f"{dataset.name} {dataset.src_language}-{dataset.trg_language}: "
        f"{counted(len(encoded['train']), 'training pair')}, {codec.source}, "
        f"a target vocabulary of {len(codec.trg_vocabulary):,}; "
        f"{num_parameters:,} parameters; " + ("nothing is written" if config.dry_run else f"run in {run_dir}")
    )
    for line in (str(plan), *lines):
        say(line)
    return trainer


def _encoded(
    config: Config, dataset: Dataset, run_dir: Path, start: Translator | None
) -> tuple[TextCodec, dict[str, EncodedSplit]]:
    """What the run knows of its two sides, and the splits, of training what is left to train on."""
    known = TextCodec.load(run_dir) if config.resume else None
    if config.data_cache is not None:
        codec, encoded, dropped = stored.stored(config, dataset, known)
    else:
        codec, encoded, dropped = _in_memory(config, dataset, known, start)
    _tell_left_out(config, dataset, dropped)
    for name, split in encoded.items():
        codec.source.require_known(split.src, f"split {name}")
    figures.require_meaning(config, dataset)
    if not config.resume:
        _tell(advice(dataset, codec, encoded))
        _show_examples(registry.build("source", config), codec, encoded["train"])
    return codec, encoded


def _in_memory(
    config: Config, dataset: Dataset, known: TextCodec | None, start: Translator | None
) -> tuple[TextCodec, dict[str, EncodedSplit], int]:
    """What the run knows of its two sides, ``known`` where it goes on; the splits; how many training pairs were too
    long."""
    if known is not None:
        codec, encoded = known, known.encode_dataset(dataset)
    else:
        codec, encoded = TextCodec.build_encoded(dataset, config, None if start is None else start.codec)
    encoded["train"] = codec.for_training(encoded["train"], dataset.split("train"), config)
    dropped = 0
    if config.max_length is not None:
        encoded["train"], dropped = drop_long(encoded["train"], config.max_length)
    return codec, encoded, dropped


def _planned(
    config: Config, dataset: Dataset, codec: TextCodec, encoded: dict[str, EncodedSplit], plan: memory.MemoryPlan,
    clock: Clock,
) -> tuple[Config, memory.MemoryPlan, list[str]]:  # fmt: skip
    """The settings with what a budget decides, the whole plan of memory, and what is to be told of the time.

    A model that is thrown away tries the steps, so that the run's own is what the seed makes of it.
    """
    trial = build_model(codec.source.num_inputs, len(codec.trg_vocabulary), config)
    plan = memory.with_steps(plan, trial, config, encoded["train"])
    memory.require_fit(plan, config.batch_size, config.batch_tokens)
    asked = config.budget is not None or config.dry_run
    steps = total_steps(encoded["train"], config)
    if not asked and (config.resume or steps < timing.FEWEST_STEPS):
        return config, plan, []
    pace = timing.measured(trial, config, dataset, codec, encoded, steps)
    if config.budget is None:
        return config, plan, [pace.told(steps, time.time(), config.patience is not None)]
    if config.resume:  # its plan stands; the budget is a limit alone
        clock.limit(pace)
        return config, plan, []
    seconds = clock.left
    config = clock.planned(config, pace)
    steps = total_steps(encoded["train"], config)
    planned = f"budget {clock.text}: {counted(config.epochs, 'epoch')}"
    planned += f", {counted(steps, 'update')}" if config.max_steps else ""
    return config, plan, [planned, pace.told(steps, time.time(), True), *expectations(dataset, config, seconds)]


def _begin(trainer: Trainer, dataset: Dataset, entries: dict[str, Any]) -> None:
    """Write the files of a new run."""

    def save_first(run: str) -> None:
        trainer.fingerprint = run
        trainer.save_first()

    folder.begin(trainer.run_dir, trainer.config, dataset, trainer.codec, entries, save_first)


def _go_on(trainer: Trainer, change: DataChange) -> None:
    """Go to where the last checkpoint stands; what is other than before is told and kept."""
    run_dir = trainer.run_dir
    trainer.fingerprint = folder.run_of(run_dir, trainer.codec)
    trainer.resume()
    if trainer.config.dry_run:
        return
    changed, splits = folder.pending_changes(run_dir, trainer.progress)
    changed |= set(config_file.differences(trainer.config, run_dir))
    splits |= change.splits
    reordered = "train" in splits or bool(changed & set(config_file.ORDERING))
    trainer.progress = _after(trainer.progress, reordered, "valid" in splits, trainer.config)
    trainer.config = schedules.settled(trainer.config, trainer.total_steps)  # over the batches that there are now
    for line in folder.go_on(run_dir, trainer.config, trainer.progress.step, change):
        say(f"changed from here on: {line}")
    if splits or reordered:
        trainer.progress = dataclasses.replace(trainer.progress, changes=folder.num_changes(run_dir))
    if _is_over(trainer):
        over = f"lr_steps = {trainer.config.lr_steps} are over and min_lr is 0; --lr-steps says when they shall be"
        _tell([f"the learning rate is 0 from here on: {over}"])


def _is_over(trainer: Trainer) -> bool:
    """Whether a cosine has come down to nothing, though the run goes on."""
    config, step = trainer.config, trainer.progress.step
    if config.lr_schedule != "cosine" or config.min_lr or trainer.is_done:
        return False
    return config.lr_steps is not None and step >= config.lr_steps


def _after(progress: Progress, reordered: bool, validated_anew: bool, config: Config) -> Progress:
    """Where a run stands after a change: an epoch whose batches are others now begins anew, and on other validation
    data nobody knows how good the run was."""
    if progress.batch and reordered:
        say(f"epoch {progress.epoch + 1} begins anew, since its batches are others now")
        progress = dataclasses.replace(progress, batch=0)
    if validated_anew:
        falls = schedules.plateaus(config.best_metric, config.lr_patience, progress.figures)
        progress = dataclasses.replace(progress, best=None, figures=(), falls=progress.falls + falls)
    return progress


def _tell(notes: Sequence[str]) -> None:
    for note in notes:
        say(f"note: {note}")


def _tell_left_out(config: Config, dataset: Dataset, too_long: int) -> None:
    """How many training pairs are not trained on, and why."""
    reasons = [
        (dataset.left_out, "pair with an empty side"),
        (dataset.unreadable, "line that cannot be read"),
        (too_long, f"pair with more than {counted(config.max_length or 0, 'token')} on one side"),
    ]
    told = [counted(count, what) for count, what in reasons if count]
    if told or config.max_length is not None:
        say(f"left out of the training data: {', '.join(told) or 'nothing'}")


def _show_examples(source: Source, codec: TextCodec, train: EncodedSplit) -> None:
    """The first training pairs, as the model reads and writes them."""
    say("What the model reads and is to write, of the first training pairs:")
    for number in range(min(_EXAMPLES, len(train))):
        words = [codec.trg_vocabulary.token(index) for index in train.trg[number].tolist()]
        say(f"  {one_line(source.shown(train.src[number], codec.source))}")
        say(f"    > {one_line(' '.join([*words, SPECIALS[EOS_ID]]))}")


def _show_samples(trainer: Trainer) -> None:
    """Translations of sentences the model never saw, and how to go on."""
    dataset, run_dir = trainer.dataset, trainer.run_dir
    if not (run_dir / "checkpoints" / "best.safetensors").exists():
        return
    split = "test" if "test" in dataset.splits else "valid"
    pairs = dataset.split(split)[:_SAMPLES]
    part, label = trainer.encoded[split].src.part(0, len(pairs)), trainer.model.source.label
    sources = trainer.codec.source.spoken(part, [src for src, _ in pairs])
    say(f"\nSentences it never saw ({split}):")
    for (src, trg), hypothesis in zip(pairs, trainer.best_translator().translate_ids(sources), strict=True):
        sample = {"source": label(src), "reference": trg, "hypothesis": hypothesis}
        say("\n".join(samples.lines_of(sample)))
    say(f"\nScores:    {command_for(trainer.config, 'seq2seq.evaluate', run_dir)}")
    say(f"Translate: {command_for(trainer.config, 'seq2seq.translate', run_dir)}")


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(train, arguments)
