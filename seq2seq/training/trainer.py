"""The training loop: updates, a validation after each epoch, checkpoints, exact continuation.

Everything that varies is a function of (seed, epoch), of (seed, step), or of the validations so far, so a Trainer put
at a step does what the uninterrupted run did from there, to the bit.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minigrad import random
from seq2seq.decoding.scorers import release_prepacked
from seq2seq.decoding.translator import Translator
from seq2seq.metrics import shown
from seq2seq.models.model import build_model
from seq2seq.run import checkpoint, manifest
from seq2seq.run.checkpoint import Progress
from seq2seq.run.cli import command_for
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.sources import Batch, Dataset, EncodedSplit
from seq2seq.text.codec import TextCodec
from seq2seq.training import schedules
from seq2seq.training.batching import epoch_batches, total_steps
from seq2seq.training.budget import Clock
from seq2seq.training.figures import best_epochs, is_better, waited
from seq2seq.training.interruption import StopSignals
from seq2seq.training.metrics_log import MetricsLog
from seq2seq.training.progress import ProgressDisplay
from seq2seq.training.samples import Samples
from seq2seq.training.tracking import Tracker
from seq2seq.training.update import Updates
from seq2seq.training.validation import evaluate_split

_MOST_SKIPPED = 5


class Trainer:
    """One run.

    Args:
        config: resolved settings.
        dataset: raw pairs; "valid" is used after each epoch, "train" not at all.
        codec: what the run knows of its two sides.
        encoded: the splits as items and ids.
        run_dir: where everything is written; this process holds its lock.
        clock: says when the time of the run is up; by default never.

    Attributes:
        fingerprint: what its checkpoints carry to say that they are of this run; whoever makes a trainer sets it.
    """

    fingerprint: str

    def __init__(
        self, config: Config, dataset: Dataset, codec: TextCodec, encoded: dict[str, EncodedSplit], run_dir: Path,
        clock: Clock | None = None,
    ) -> None:  # fmt: skip
        self.config, self.dataset, self.codec, self.encoded, self.run_dir = config, dataset, codec, encoded, run_dir
        self.train = encoded["train"]
        self.model = build_model(codec.source.num_inputs, len(codec.trg_vocabulary), config)
        self.updates = Updates(self.model, config, self.train)
        self.samples = Samples(run_dir, dataset, encoded["valid"], config.samples)
        self.progress, self.clock = Progress(), clock or Clock(None)
        self.interrupted = False
        self._skipped = 0
        if not config.resume:  # which finds it in the stored config
            self.config = schedules.settled(config, self.total_steps)

    @functools.cached_property
    def total_steps(self) -> int:
        """Updates of the whole run, as it is seen from where it stands when that is first asked for."""
        return total_steps(self.train, self.config, self.progress)

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do: after the last update comes a validation."""
        validated = self.progress.validated == self.progress.step
        return (self._stepped and validated) or self.gets_no_better or self.clock.is_up()

    @property
    def _stepped(self) -> bool:
        """Whether no update is left to make."""
        progress, most = self.progress, self.config.max_steps
        return progress.epoch >= self.config.epochs or (most is not None and progress.step >= most)

    @property
    def gets_no_better(self) -> bool:
        """Whether the run ends early: too many validations in a row were no better than the best one."""
        patience = self.config.patience
        return patience is not None and waited(self.config.best_metric, self.progress.figures) >= patience

    def resume(self) -> None:
        """Go to where the run's last checkpoint stands."""
        path = checkpoint.path_of(self.run_dir, "last")
        updates = self.updates
        with updates.settings_kept():
            self.progress = checkpoint.load(path, self.model, updates.optimizer, self.fingerprint, updates.mean)

    def run(self) -> bool:
        """Train to the end; False if Ctrl-C (or a termination signal) stopped it, which is saved all the same."""
        try:
            return self._run()
        except OSError as error:
            if error.filename is None or not Path(error.filename).is_relative_to(self.run_dir):
                raise
            raise self._cannot_write(error) from None

    def _run(self) -> bool:
        log = MetricsLog(self.run_dir, self.progress.step, Tracker(self.config, self.run_dir, self.progress.step))
        display = ProgressDisplay(self.total_steps, self.progress.step)
        try:
            with StopSignals(functools.partial(setattr, self, "interrupted", True)):
                while not self.is_done and not self.interrupted:
                    self._train_epoch(log, display)
        finally:
            display.close()
            log.close()
        return not self.interrupted

    def _cannot_write(self, error: OSError) -> UserError:
        """What to tell when a file of the run cannot be written, as on a full disk."""
        stands = f"the last checkpoint stands; to go on: {self.resume_command()}"
        there = checkpoint.path_of(self.run_dir, "last").exists()
        return UserError(f"{error.filename}: {error.strerror}; {stands if there else 'the folder of the run has gone'}")

    def resume_command(self) -> str:
        """What to type to go on with the run."""
        return command_for(self.config, "seq2seq.train", "--run-dir", self.run_dir, "--resume")

    def _train_epoch(self, log: MetricsLog, display: ProgressDisplay) -> None:
        """The rest of the epoch under way, and the validation after it."""
        read, order = epoch_batches(self.train, self.config, self.progress.epoch)
        while self.progress.batch < len(order) and not (self._stepped or self.is_done):
            done = min(self.progress.batch + self.config.accumulate, len(order))
            batches = [self.model.source.batch(read, pairs) for pairs in order[self.progress.batch : done]]
            record = self._train_step(batches)
            log.write(record)
            self._require_finite(record)
            display.update(record)
            self.clock.updated(record["seconds"])
            self.progress = dataclasses.replace(self.progress, step=record["step"], batch=done)
            if self.interrupted:
                return self._save_last(log)
            due = self.config.save_every and self.progress.step % self.config.save_every == 0
            if due and self.progress.batch < len(order):  # an epoch's end is saved with its validation
                self._save_last(log)
        self._finish_epoch(log, display, self.progress.batch >= len(order))

    def _train_step(self, batches: Sequence[Batch]) -> dict[str, Any]:
        """One update; a gradient that is not finite changes nothing."""
        start, step = time.monotonic(), self.progress.step
        lr = schedules.learning_rate(self.config, step, self.progress.figures, self.progress.falls)
        random.seed_step(self.config.seed, step)
        self.model.train()
        loss, norm = self._update(batches, lr)
        return {
            "step": step + 1, "epoch": self.progress.epoch, "loss": loss,
            "src_tokens": sum(batch.num_src_tokens for batch in batches),
            "trg_tokens": sum(batch.num_trg_tokens for batch in batches),
            "seconds": round(time.monotonic() - start, 6), "grad_norm": norm, "lr": lr,
        }  # fmt: skip

    def _update(self, batches: Sequence[Batch], lr: float) -> tuple[float, float]:
        """The loss per target token, and the norm of the gradients by which the weights were changed."""
        return self.updates.apply(batches, lr, schedules.teacher_forcing_ratio(self.config, self.progress.step))

    def _require_finite(self, record: dict[str, Any]) -> None:
        """UserError after five updates in a row whose gradient was not finite."""
        self._skipped = 0 if math.isfinite(record["grad_norm"]) else self._skipped + 1
        if self._skipped >= _MOST_SKIPPED:
            step = record["step"]
            raise UserError(
                f"step {step}: the gradient was not finite {_MOST_SKIPPED} times in a row; try a smaller --lr "
                f"(the weights are unchanged since step {step - _MOST_SKIPPED}; the last checkpoint stands)"
            )

    def _finish_epoch(self, log: MetricsLog, display: ProgressDisplay, is_whole: bool) -> None:
        """Validate, keep the best weights, save; the epoch counts as done only if all its batches were."""
        start = time.monotonic()
        with self.updates.averaged():
            result = self.validate()
            seconds = round(time.monotonic() - start, 6)
            log.write({"step": self.progress.step, "epoch": self.progress.epoch, **result, "seconds": seconds})
            display.say(
                f"epoch {self.progress.epoch + 1}  step {self.progress.step}  val_loss {result['val_loss']:.3f}  "
                f"ppl_forced {result['ppl_forced']:.2f}  ppl_free {result['ppl_free']:.2f}  "
                f"bleu {shown(result['bleu'], 2)}  exact {result['exact_match']:.1f}%"
            )
            self._show_samples(log, display)
            self._keep(float(result[self.config.best_metric]), is_whole)
        self._save_last(log)
        checkpoint.keep_epochs(self.run_dir, self._best_epochs())
        self.clock.validated(time.monotonic() - start)

    def _show_samples(self, log: MetricsLog, display: ProgressDisplay) -> None:
        """Translate a few sentences of the validation, print and keep them."""
        translator = Translator(self.model, self.codec, self.config)
        lines = self.samples.after(translator, self.progress, self.progress.epoch)
        release_prepacked(self.model)
        log.tracker.write_text(lines, self.progress.step)
        for line in lines:
            display.say(line)

    def _keep(self, figure: float, is_whole: bool) -> None:
        """Count the epoch if it is whole, and save the weights if they are among the best."""
        improved = is_better(self.config.best_metric, figure, self.progress.best)
        best = figure if improved else self.progress.best
        self.progress = dataclasses.replace(self.progress, best=best, validated=self.progress.step)
        if is_whole:
            figures = *self.progress.figures, figure
            self.progress = dataclasses.replace(self.progress, epoch=self.progress.epoch + 1, batch=0, figures=figures)
        if improved:
            self._save("best")
        if is_whole and self.progress.epoch in self._best_epochs():
            self._save(f"epoch-{self.progress.epoch}")

    def _best_epochs(self) -> list[int]:
        """The numbers, from 1, of the epochs whose weights are kept."""
        return best_epochs(self.config, self.progress, checkpoint.epochs_kept(self.run_dir))

    def validate(self, split: str = "valid") -> dict[str, float]:
        """Losses and scores on a split; see ``evaluate_split``. The weights prepacked for it are not kept."""
        translator = Translator(self.model, self.codec, self.config)
        try:
            return evaluate_split(translator, self.dataset, split, self.encoded[split])
        finally:
            release_prepacked(self.model)

    def best_translator(self) -> Translator:
        """The run's best weights, loaded into this trainer's model: training is over then."""
        self.updates.optimizer.zero_grad()
        checkpoint.load(checkpoint.path_of(self.run_dir, "best"), self.model, None, self.fingerprint)
        return Translator(self.model, self.codec, self.config)

    def save_first(self) -> None:
        """The checkpoint of step 0: from here on the run can be gone on with."""
        self._save("last")

    def _save_last(self, log: MetricsLog) -> None:
        """The log first: it never has less than the manifest vouches for, nor the steps of a checkpoint less."""
        manifest.update(self.run_dir, metrics=log.sync())
        self._save("last")

    def _save(self, name: str) -> None:
        path, updates = checkpoint.path_of(self.run_dir, name), self.updates
        if name != "last":
            return checkpoint.save(path, self.model, None, self.progress, self.fingerprint)
        checkpoint.save(path, self.model, updates.optimizer, self.progress, self.fingerprint, updates.mean)
