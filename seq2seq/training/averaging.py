"""Means of weights: over the updates of a run, and over its best checkpoints.

Sources: Polyak and Juditsky, "Acceleration of stochastic approximation by averaging" (1992); the exponential form as in
Kingma and Ba (2015), section 7.2; the mean of checkpoints as in Vaswani et al. (2017), section 6.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np

from minigrad import Tensor, nn, no_grad


class MovingAverage:
    """mean = decay * mean + (1 - decay) * weights after each update; after the first one the weights themselves.

    Args:
        model: whose weights are averaged.
        decay: in (0, 1).

    Attributes:
        weights: the mean by parameter, empty before the first update.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model, self._decay = model, decay
        self.weights: dict[str, Tensor] = {}

    @no_grad()
    def update(self) -> None:
        """Take the weights into the mean."""
        for name, parameter in self._model.named_parameters():
            if name not in self.weights:
                self.weights[name] = Tensor(parameter.array.copy())
            mean = self.weights[name].array
            mean += (1 - self._decay) * (parameter.array - mean)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, the model has the mean of its weights, in the memory of its weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @no_grad()
    def _swap(self) -> None:
        for name, parameter in self._model.named_parameters():
            if name in self.weights:
                held = parameter.array.copy()
                parameter.array[...] = self.weights[name].array
                parameter.changed_in_place()
                self.weights[name].array[...] = held


def mean_of(states: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of weights, float64; each of the states is read before the next one is asked for."""
    totals: dict[str, np.ndarray] = {}
    count = 0
    for state in states:
        count += 1
        for name, tensor in state.items():
            totals[name] = totals.get(name, 0) + tensor.array.astype(np.float64)
    return {name: Tensor(total / count) for name, total in totals.items()}
