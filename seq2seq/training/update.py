"""One update of the weights: the gradient of the mean loss over the target tokens of its batches, clipped, applied."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from minigrad import Tensor
from seq2seq.models.model import Seq2Seq
from seq2seq.run.config import Config
from seq2seq.sources import Batch, EncodedSplit
from seq2seq.training.averaging import MovingAverage
from seq2seq.training.batching import with_words_dropped
from seq2seq.training.graphed import GraphedTraining
from seq2seq.training.optimizers import build_optimizer


class Updates:
    """The updates of a run.

    Args:
        model: whose weights are updated.
        config: of the run.
        train: what it is trained on.

    Attributes:
        optimizer: what makes them of gradients.
    """

    def __init__(self, model: Seq2Seq, config: Config, train: EncodedSplit) -> None:
        self._model, self._config = model, config
        self.optimizer = build_optimizer(config, model)
        on_gpu = config.device == "cuda"
        self._graphs = GraphedTraining(model, self.optimizer, config, train) if on_gpu else None
        self._average = MovingAverage(model, config.ema_decay) if config.ema_decay else None

    def apply(self, batches: Sequence[Batch], lr: float, forcing: float) -> tuple[float, float]:
        """The next update.

        Args:
            batches: one or more; their gradients add up to that of one batch with all their pairs.
            lr: learning rate.
            forcing: the probability of the right word.

        Returns:
            the loss per target token, and the norm of the gradients before they were clipped. One that is not finite
            changes nothing.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        loss, norm = self._apply([with_words_dropped(batch, self._config) for batch in batches], forcing)
        if self._average is not None and math.isfinite(norm):
            self._average.update()
        return loss, norm

    def _apply(self, batches: Sequence[Batch], forcing: float) -> tuple[float, float]:
        results = self._graphs.step(batches[0]) if self._graphs is not None and len(batches) == 1 else None
        if results is not None:
            return float(results[0].item()), float(results[1].item())
        tokens = sum(batch.num_trg_tokens for batch in batches)
        self.optimizer.zero_grad()
        losses = []
        for batch in batches:
            loss = self._model.loss(batch, forcing, self._config.label_smoothing) / tokens
            loss.backward()
            losses.append(loss.detach())
        norm = self.optimizer.step_clipped(self._config.clip_norm)  # before anything waits for a GPU
        return sum(float(loss.item()) for loss in losses), float(norm.item())

    @property
    def mean(self) -> dict[str, Tensor] | None:
        """The mean of the weights by parameter, where the run keeps one."""
        return None if self._average is None else self._average.weights

    @contextmanager
    def settings_kept(self) -> Iterator[None]:
        """After it the optimiser's settings are those of the run, whatever a checkpoint loaded inside went by; the rate
        is that of the last update until the next one."""
        kept = [{k: v for k, v in group.items() if k not in ("params", "lr")} for group in self.optimizer.param_groups]
        yield
        for group, own in zip(self.optimizer.param_groups, kept, strict=True):
            group.update(own)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the model has the mean of its weights, where the run keeps one: to be validated and to be kept."""
        if self._average is None:
            yield
        else:
            with self._average.in_place():
                yield
