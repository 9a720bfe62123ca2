"""The training loop: Adam on batches, a validation after each epoch, checkpoints, exact continuation.

Everything that varies is a function of (seed, epoch) or (seed, step), so a Trainer put at a step does what the
uninterrupted run did from there, to the bit.
"""

from __future__ import annotations

import dataclasses
import math
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from minigrad import optim, random
from seq2seq.decoding.scorers import release_prepacked
from seq2seq.decoding.translator import Translator
from seq2seq.metrics import shown
from seq2seq.models.model import build_model
from seq2seq.run import checkpoint, manifest
from seq2seq.run.checkpoint import Progress
from seq2seq.run.cli import command_for
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.sources import Batch, BatchSampler, Dataset, EncodedSplit
from seq2seq.text.codec import TextCodec
from seq2seq.training.graphed import GraphedTraining
from seq2seq.training.metrics_log import MetricsLog
from seq2seq.training.progress import ProgressDisplay
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

    Attributes:
        fingerprint: what its checkpoints carry to say that they are of this run; whoever makes a trainer sets it.
    """

    fingerprint: str

    def __init__(
        self, config: Config, dataset: Dataset, codec: TextCodec, encoded: dict[str, EncodedSplit], run_dir: Path
    ) -> None:
        self.config, self.dataset, self.codec, self.encoded, self.run_dir = config, dataset, codec, encoded, run_dir
        self.train = train = encoded["train"]
        self.model = build_model(codec.source.num_inputs, len(codec.trg_vocabulary), config)
        self.optimizer = optim.Adam(self.model.parameters(), lr=config.lr)
        self.sampler = BatchSampler(train.src.lengths, train.trg.lengths, config.batch_size, config.seed)
        on_gpu = config.device == "cuda"
        self._graphs = GraphedTraining(self.model, self.optimizer, config, train) if on_gpu else None
        self.progress = Progress()
        self.interrupted = False
        self._skipped = 0
        self._steps_per_epoch = len(self.sampler.batches(0))

    @property
    def total_steps(self) -> int:
        steps = self.config.epochs * self._steps_per_epoch
        return steps if self.config.max_steps is None else min(steps, self.config.max_steps)

    def resume(self) -> None:
        """Go to where the run's last checkpoint stands."""
        path = checkpoint.path_of(self.run_dir, "last")
        self.progress = checkpoint.load(path, self.model, self.optimizer, self.fingerprint)

    def run(self) -> bool:
        """Train to the end; False if Ctrl-C (or a termination signal) stopped it, which is saved all the same."""
        try:
            return self._run()
        except OSError as error:
            if error.filename is None or not Path(error.filename).is_relative_to(self.run_dir):
                raise
            raise self._cannot_write(error) from None

    def _run(self) -> bool:
        log = MetricsLog(self.run_dir, self.progress.step)
        display = ProgressDisplay(self.total_steps, self.progress.step)
        try:
            with _stop_signals(self._interrupt):
                while self.progress.step < self.total_steps and not self.interrupted:
                    self._train_epoch(log, display)
        finally:
            display.close()
            log.close()
        return not self.interrupted

    def _cannot_write(self, error: OSError) -> UserError:
        """What to tell when a file of the run cannot be written, as on a full disk."""
        if not checkpoint.path_of(self.run_dir, "last").exists():
            return UserError(f"{error.filename}: {error.strerror}; the folder of the run has gone")
        rest = f"the last checkpoint stands; to go on: {self.resume_command()}"
        return UserError(f"{error.filename}: {error.strerror}; {rest}")

    def resume_command(self) -> str:
        """What to type to go on with the run."""
        return command_for(self.config, "seq2seq.train", "--run-dir", self.run_dir, "--resume")

    def _interrupt(self) -> None:
        self.interrupted = True

    def _train_epoch(self, log: MetricsLog, display: ProgressDisplay) -> None:
        """The rest of the epoch under way, and the validation after it."""
        batches = self.sampler.batches(self.progress.epoch)
        while self.progress.batch < len(batches) and self.progress.step < self.total_steps:
            batch = self.model.source.batch(self.train, batches[self.progress.batch])
            record = self._train_step(batch)
            log.write(record)
            display.update(record)
            self.progress = dataclasses.replace(self.progress, step=record["step"], batch=self.progress.batch + 1)
            if self.interrupted:
                return self._save_last(log)
            due = self.config.save_every and self.progress.step % self.config.save_every == 0
            if due and self.progress.batch < len(batches):  # an epoch's end is saved with its validation
                self._save_last(log)
        self._finish_epoch(log, display)

    def _train_step(self, batch: Batch) -> dict[str, Any]:
        """One update; a gradient that is not finite changes nothing, and after five in a row the run stops."""
        start, config, step = time.monotonic(), self.config, self.progress.step
        random.seed_step(config.seed, step)
        self.model.train()
        loss, norm = self._update(batch)
        self._count_skipped(norm, step)
        return {
            "step": step + 1, "epoch": self.progress.epoch, "loss": loss, "src_tokens": batch.num_src_tokens,
            "trg_tokens": batch.num_trg_tokens, "seconds": round(time.monotonic() - start, 6), "grad_norm": norm,
            "lr": config.lr,
        }  # fmt: skip

    def _update(self, batch: Batch) -> tuple[float, float]:
        """The loss per target token, and the norm of the gradients by which the weights were changed."""
        results = None if self._graphs is None else self._graphs.step(batch)
        if results is None:
            config = self.config
            self.optimizer.zero_grad()
            loss = self.model.loss(batch, config.teacher_forcing_ratio, config.label_smoothing) / batch.num_trg_tokens
            loss.backward()
            results = loss, self.optimizer.step_clipped(config.clip_norm)
        loss, norm = results
        return float(loss.item()), float(norm.item())

    def _count_skipped(self, norm: float, step: int) -> None:
        self._skipped = 0 if math.isfinite(norm) else self._skipped + 1
        if self._skipped >= _MOST_SKIPPED:
            raise UserError(
                f"step {step}: the gradient was not finite {_MOST_SKIPPED} times in a row; try a smaller --lr "
                f"(the weights are unchanged since step {step - _MOST_SKIPPED + 1}; the last checkpoint stands)"
            )

    def _finish_epoch(self, log: MetricsLog, display: ProgressDisplay) -> None:
        """Validate, keep the best weights, save; the epoch counts as done only if all its batches were."""
        result = self.validate()
        log.write({"step": self.progress.step, "epoch": self.progress.epoch, **result})
        display.say(
            f"epoch {self.progress.epoch + 1}  step {self.progress.step}  val_loss {result['val_loss']:.3f}  "
            f"ppl_forced {result['ppl_forced']:.2f}  ppl_free {result['ppl_free']:.2f}  "
            f"bleu {shown(result['bleu'], 2)}  exact {result['exact_match']:.1f}%"
        )
        best = self.progress.best
        improved = best is None or result["val_loss"] < best
        if self.progress.batch >= self._steps_per_epoch:  # more, where the data have become fewer
            self.progress = dataclasses.replace(self.progress, epoch=self.progress.epoch + 1, batch=0)
        if improved:
            self.progress = dataclasses.replace(self.progress, best=result["val_loss"])
            self._save("best")
        self._save_last(log)

    def validate(self, split: str = "valid") -> dict[str, float]:
        """Losses and scores on a split; see ``evaluate_split``. The weights prepacked for it are not kept."""
        translator = Translator(self.model, self.codec, self.config)
        try:
            return evaluate_split(translator, self.dataset, split, self.encoded[split])
        finally:
            release_prepacked(self.model)

    def best_translator(self) -> Translator:
        """The run's best weights, loaded into this trainer's model: training is over then."""
        self.optimizer.zero_grad()
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
        optimizer = self.optimizer if name == "last" else None
        path = checkpoint.path_of(self.run_dir, name)
        checkpoint.save(path, self.model, optimizer, self.progress, self.fingerprint)


class _stop_signals:  # noqa: N801  (used like a function)
    """Inside, Ctrl-C, a termination signal and the end of the terminal call ``stop``; a second Ctrl-C interrupts.

    The end of the terminal changes nothing for a process that was started to ignore it, as ``nohup`` does.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self.stop = stop
        self.former: dict[int, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        numbers = [signal.SIGINT, signal.SIGTERM]
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        for number in numbers:
            self.former[number] = signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self.stop()

    def __exit__(self, *exception: object) -> None:
        for number, handler in self.former.items():
            signal.signal(number, handler)
