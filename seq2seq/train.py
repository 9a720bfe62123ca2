"""``python -m seq2seq.train``: from raw text to a trained translator, in one command."""

from __future__ import annotations

if __name__ == "__main__":  # before anything large is loaded
    import sys

    from seq2seq.run.entry import start

    sys.exit(start("train"))

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minigrad import keep_freed_memory
from seq2seq.run import folder, registry, settings
from seq2seq.run.cli import command_for, limit_threads, run_command
from seq2seq.run.config import Config
from seq2seq.run.devices import require
from seq2seq.run.messages import one_line
from seq2seq.run.streams import say
from seq2seq.sources import Dataset, EncodedSplit, Source, drop_long
from seq2seq.text.codec import TextCodec
from seq2seq.text.vocabulary import EOS_ID, SPECIALS
from seq2seq.training import batching, figures, memory, schedules
from seq2seq.training.advice import advice
from seq2seq.training.trainer import Trainer
from seq2seq.training.warm_up import compile_kernels

_SAMPLES, _EXAMPLES = 5, 3


def train(arguments: Sequence[str] | None = None) -> int:
    """Train as the command line says; the exit code: 0 when done, 130 when interrupted and saved."""
    given, accept = settings.given(arguments)
    if accept:
        folder.accept_changes(Path(given.get("run_dir") or ""))
    config = settings.resolved(given)
    for part in (schedules, batching, figures):
        part.check(config)
    require(config.device, config.precision)
    limit_threads(config.threads)
    keep_freed_memory()
    source: Source = registry.build("source", config)
    dataset = source.load(config)
    if not config.resume:
        _tell(dataset.notes)
    with folder.prepared(config) as run_dir:
        if config.resume:
            folder.require_same_data(dataset, run_dir, accept)
        trainer = _make_trainer(config, source, dataset, run_dir)
        del dataset  # the raw text of the training split: ids are enough from here on
        return _run(trainer)


def _run(trainer: Trainer) -> int:
    """Train to the end, or to an interruption; the exit code."""
    if trainer.config.resume:
        say(f"{trainer.run_dir}: going on after step {trainer.progress.step} of {trainer.total_steps}")
        if trainer.is_done:
            more = "--patience" if trainer.gets_no_better else "--epochs or --max-steps"
            say(f"nothing is left to do; raise {more} to train on")
    if not trainer.run():
        say(f"interrupted after step {trainer.progress.step}, saved; to go on:\n  {trainer.resume_command()}")
        return 130
    if trainer.gets_no_better:
        metric, patience = trainer.config.best_metric, trainer.config.patience
        say(f"ends early: {metric} was no better for {patience} validations in a row")
    _show_samples(trainer)
    return 0


def _make_trainer(config: Config, source: Source, dataset: Dataset, run_dir: Path) -> Trainer:
    """The trainer of a new run, whose files stand then, or of one that goes on."""
    if config.resume:
        codec = TextCodec.load(run_dir)
        encoded = codec.encode_dataset(dataset)
    else:
        codec, encoded = TextCodec.build_encoded(dataset, config)
    encoded["train"] = codec.for_training(encoded["train"], dataset.split("train"), config)
    dropped = 0
    if config.max_length is not None:
        encoded["train"], dropped = drop_long(encoded["train"], config.max_length)
    _tell_left_out(config, dataset, dropped)
    for name, split in encoded.items():
        codec.source.require_known(split.src, f"split {name}")
    if not config.resume:
        figures.require_meaning(config, dataset)
        _tell(advice(dataset, codec, encoded))
        _show_examples(source, codec, encoded["train"])
    sizes = codec.source.num_inputs, len(codec.trg_vocabulary)
    compile_kernels(config)  # mistakes in the input are told by now
    plan = memory.before_steps(config, sizes)
    memory.require_fit(plan, config.batch_size, config.batch_tokens)
    held_out = {name: pairs for name, pairs in dataset.splits.items() if name != "train"}
    trainer = Trainer(config, dataclasses.replace(dataset, splits=held_out), codec, encoded, run_dir)
    plan = memory.with_steps(plan, trainer.model, config, encoded["train"])
    memory.require_fit(plan, config.batch_size, config.batch_tokens)
    num_parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    _put_in_place(trainer, dataset, {"num_parameters": num_parameters, "memory_plan": dataclasses.asdict(plan)})
    say(
        f"{dataset.name} {dataset.src_language}-{dataset.trg_language}: {len(encoded['train']):,} training pairs, "
        f"{codec.source}, a target vocabulary of {len(codec.trg_vocabulary):,}; "
        f"{num_parameters:,} parameters; run in {run_dir}"
    )
    say(str(plan))
    return trainer


def _put_in_place(trainer: Trainer, dataset: Dataset, entries: dict[str, Any]) -> None:
    """Write the files of a new run, or go to where the last checkpoint of another stands."""

    def save_first(run: str) -> None:
        trainer.fingerprint = run
        trainer.save_first()

    run_dir, config, codec = trainer.run_dir, trainer.config, trainer.codec
    if config.resume:
        trainer.fingerprint = folder.run_of(run_dir, codec)
        trainer.resume()
        folder.go_on(run_dir, config)
    else:
        folder.begin(run_dir, config, dataset, codec, entries, save_first)


def _tell(notes: Sequence[str]) -> None:
    for note in notes:
        say(f"note: {note}")


def _tell_left_out(config: Config, dataset: Dataset, too_long: int) -> None:
    """How many training pairs are not trained on, and why."""
    reasons = [
        (dataset.left_out, "pairs with an empty side"),
        (dataset.unreadable, "lines that cannot be read"),
        (too_long, f"pairs with more than {config.max_length} tokens on one side"),
    ]
    told = [f"{count:,} {what}" for count, what in reasons if count]
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
        say(f"  {label(src)}\n    = {hypothesis}" + ("" if hypothesis == trg else f"\n    (reference: {trg})"))
    say(f"\nScores:    {command_for(trainer.config, 'seq2seq.evaluate', run_dir)}")
    say(f"Translate: {command_for(trainer.config, 'seq2seq.translate', run_dir)}")


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(train, arguments)
