"""Loops in Python over steps, as the tutorials write them, with a trick or without: a small decoder; slices alone."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import minigrad as torch
import minigrad.nn.functional as F
from kernels.threads import Standby, stand_by
from minigrad import nn, optim
from minigrad.function import Context, Function
from peers.problem import Array


class LoopTask(NamedTuple):
    """Steps of N words from a vocabulary of V, embedded in and read by a GRU cell of H, then scored."""

    steps: int = 12
    N: int = 32
    H: int = 128
    V: int = 4_792

    kind = "Loop"  # the class of a peer's module


class Loop:
    """The decoder, with weights and words that its task alone decides."""

    def __init__(self, task: LoopTask, precision: str, threads: int, without: str = "") -> None:
        if precision != "fp32":
            raise RuntimeError(f"the loop is of float32, not {precision}")
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self._at_once = without == "gradients that wait"
        self.embedding = nn.Embedding(task.V, task.H)
        self.cell = nn.GRUCell(task.H, task.H)
        self.output = nn.Linear(task.H, task.V)
        self.parameters = [*self.embedding.parameters(), *self.cell.parameters(), *self.output.parameters()]
        self.optimizer = optim.Adam(self.parameters, lr=1e-4)
        self.words = torch.tensor(np.random.default_rng(0).integers(0, task.V, (task.steps + 1, task.N)))
        self.state = torch.zeros(task.N, task.H)
        if without == "threads that stand by":
            self._backward()  # with which the kernels are loaded, and have their threads stand by
            stand_by(Standby())

    def step(self) -> None:
        """One update."""
        self._backward()
        self.optimizer.step()

    def results(self) -> dict[str, Array]:
        """The loss, and gradients, whose names start with "d"."""
        loss = self._backward()
        found: dict[str, Any] = {f"d{position}": parameter.grad for position, parameter in enumerate(self.parameters)}
        return {"loss": loss.detach().numpy(), **{name: grad.numpy() for name, grad in found.items()}}

    def _backward(self) -> torch.Tensor:
        self.optimizer.zero_grad()
        table, weight = (self._as_used(layer.weight) for layer in (self.embedding, self.output))
        state, losses = self.state, []
        for word, following in zip(self.words[:-1], self.words[1:], strict=True):
            state = self.cell(F.embedding(word, table), state)
            losses.append(F.cross_entropy(F.linear(state, weight, self.output.bias), following))
        loss = torch.stack(losses).mean()
        loss.backward()
        return loss

    def _as_used(self, weight: torch.Tensor) -> torch.Tensor:
        """The weight or a view of it, which is no leaf: what it is given is summed at once."""
        return weight.view(weight.shape) if self._at_once else weight


class SliceTask(NamedTuple):
    """Slices (N, H) of one tensor, each of which a loop reads and adds up."""

    steps: int = 800
    N: int = 32
    H: int = 64

    kind = "Slices"


class WholeSlice(Function):
    """x[t], with a gradient of the size of x."""

    @staticmethod
    def forward(ctx: Context, x: Array, t: int) -> Array:
        ctx.t, ctx.shape = t, x.shape
        return x[t].copy()

    @staticmethod
    def backward(ctx: Context, grad: Array) -> tuple:
        whole = np.zeros(ctx.shape, grad.dtype)
        whole[ctx.t] = grad
        return whole, None


class Slices:
    """Forward and back through all slices of a tensor that is no leaf."""

    def __init__(self, task: SliceTask, precision: str, threads: int, without: str = "") -> None:
        if precision != "fp32":
            raise RuntimeError(f"the loop is of float32, not {precision}")
        torch.set_num_threads(threads)
        self._of_whole = without == "gradients of parts"
        drawn = np.random.default_rng(0).standard_normal(tuple(task), np.float32)
        self.x = torch.tensor(drawn, requires_grad=True)

    def step(self) -> torch.Tensor:
        """The sum of the slices, each times its place, and its gradient."""
        self.x.grad = None
        read, total = self.x * 2, torch.zeros(*self.x.shape[1:])
        for t in range(len(self.x)):
            part = WholeSlice.apply(read, t) if self._of_whole else read[t]
            total = total + part * (t + 1)
        total.sum().backward()
        return total

    def results(self) -> dict[str, Array]:
        """The sum, and the gradient of what is read."""
        return {"sum": self.step().detach().numpy(), "dx": self.x.grad.numpy()}
