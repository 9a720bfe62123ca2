"""`nn.LSTM` from H to H, alone: written once for both libraries, since ours has PyTorch's names.

What they have apart is in the subclasses of `minigrad.py` and `pytorch.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from peers.problem import Array


class LayerTask(NamedTuple):
    """Stacked layers and their input: N sequences of length T, or of lengths from T down to T / 4, packed."""

    layers: int
    H: int
    N: int
    T: int
    ragged: bool = False

    kind = "Layer"  # the class of a peer's module

    def lengths(self) -> Array:
        """(N,) int64, descending."""
        return np.linspace(self.T, max(self.T // 4, 1) if self.ragged else self.T, self.N).astype(np.int64)


@lru_cache(maxsize=40)  # all of one task
def drawn(seed: int, spread: float, *shape: int) -> Array:
    """float32 from U(-spread, spread)."""
    return (np.random.default_rng(seed).random(shape, np.float32) * 2 - 1) * np.float32(spread)


class Layer:
    """The layers with weights from U(-H**-0.5, H**-0.5), their input, and the gradient of their output.

    Attributes:
        library: the package.
        dtype: of weights and inputs.

    A subclass has ``_within()``, the context of its precision, and ``_captured(function)``, which replays what one call
    does on the device, and raises for what cannot be captured.
    """

    library: Any
    dtype: Any
    _within: Any
    _captured: Any

    def __init__(
        self, task: LayerTask, precision: str, threads: int, device: str = "cpu", graphed: bool = False
    ) -> None:
        self.task, self.precision, self.device, self._graphed = task, precision, device, graphed
        self.module = self.library.nn.LSTM(task.H, task.H, task.layers)
        shapes = {name: tuple(tensor.shape) for name, tensor in self.module.state_dict().items()}
        spread = task.H**-0.5
        weights = {name: drawn(number, spread, *shape) for number, (name, shape) in enumerate(shapes.items())}
        self.module.load_state_dict({name: self.library.from_numpy(array) for name, array in weights.items()})
        self.module.to(device).to(self.dtype)
        rows = (int(task.lengths().sum()), task.H) if task.ragged else (task.T, task.N, task.H)
        self.x, self.dy = (self._tensor(drawn(seed, 1.7, *rows)) for seed in (101, 102))
        self.x.requires_grad_()
        self.batch_sizes = self.library.from_numpy((task.lengths() > np.arange(task.T)[:, None]).sum(1))
        self._replays: dict[bool, Callable[[], Any]] = {}

    def forward(self) -> None:
        """Without a tape."""
        self._call(False)

    def both(self) -> None:
        """Forward, and backward with new gradients."""
        self._call(True)

    def results(self) -> dict[str, Array]:
        """float64 outputs, last states, and the gradients, whose names start with "d"."""
        y, h, c = self._run(True)
        found = {"y": y, "h": h, "c": c, "dx": self.x.grad}
        found |= {f"d{name}": parameter.grad for name, parameter in self.module.named_parameters()}
        return {name: tensor.detach().cpu().double().numpy() for name, tensor in found.items()}

    def _call(self, backward: bool) -> None:
        if self._graphed and backward not in self._replays:
            self._replays[backward] = self._captured(partial(self._run, backward))
        self._replays[backward]() if self._graphed else self._run(backward)

    def _run(self, backward: bool) -> Any:
        """Outputs without their packing, and the last states.

        The module is in the mode for it: in training cuDNN writes what a backward needs, even where none follows.
        """
        self.module.train(backward)
        for parameter in (self.x, *self.module.parameters()):
            parameter.grad = None
        with self.library.set_grad_enabled(backward), self._within():
            packed = self.library.nn.utils.rnn.PackedSequence
            y, (h, c) = self.module(packed(self.x, self.batch_sizes) if self.task.ragged else self.x)
            y = y.data if self.task.ragged else y
        if backward:
            y.backward(self.dy)
        return y, h, c

    def _tensor(self, array: Array) -> Any:
        return self.library.from_numpy(array).to(self.device).to(self.dtype)
