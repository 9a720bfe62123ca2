"""One update of the weights: the gradient of the mean loss over the target tokens of its batches, clipped, applied."""

from __future__ import annotations

from collections.abc import Sequence

from seq2seq.models.model import Seq2Seq
from seq2seq.run.config import Config
from seq2seq.sources import Batch, EncodedSplit
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
        self.optimizer = build_optimizer(config, model.parameters())
        on_gpu = config.device == "cuda"
        self._graphs = GraphedTraining(model, self.optimizer, config, train) if on_gpu else None

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
        batches = [with_words_dropped(batch, self._config) for batch in batches]
        results = self._graphs.step(batches[0]) if self._graphs is not None and len(batches) == 1 else None
        if results is not None:
            return float(results[0].item()), float(results[1].item())
        tokens = sum(batch.num_trg_tokens for batch in batches)
        self.optimizer.zero_grad()
        loss = 0.0
        for batch in batches:
            part = self._model.loss(batch, forcing, self._config.label_smoothing) / tokens
            part.backward()
            loss += float(part.item())
        return loss, float(self.optimizer.step_clipped(self._config.clip_norm).item())
