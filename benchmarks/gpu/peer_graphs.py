"""PyTorch on the device, and its whole training step as CUDA graphs, which its users have against the time of launches.

tf32 and fp32 differ by PyTorch's two switches; bf16 is autocast in training, and in decoding a copy in bfloat16. A
graph is made for every shape of a padded batch, with nothing added to it; all share their memory. The loss takes all
positions and ignores those of the padding, since a graph cannot choose rows; Adam is fused and capturable; gradients of
embeddings are dense. Words, and the number by which the loss is divided, are copied to where the graph reads them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from peers import pytorch
from peers.problem import Array, Task, Tokens

from gpu import device

WARM_UP = 3  # steps before a capture, on a stream of their own, as PyTorch asks for


class Peer(pytorch.Peer):
    """Training and decoding on the device, in float32 until ``use`` says otherwise."""

    def __init__(self, task: Task, threads: int) -> None:
        super().__init__(task, "fp32", threads, device=device.TORCH_DEVICE)
        self._graphs: GraphedSteps | None = None
        self._kept: dict[str, GraphedSteps] = {}

    def use(self, precision: str, packed: bool = False, step_by_step: bool = False, graphed: bool = False) -> None:
        """Choose a variant; weights stay what they are."""
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
        self.bf16, self.packed, self.step_by_step = precision == "bf16", packed, step_by_step
        if graphed and precision not in self._kept:
            self._kept[precision] = GraphedSteps(self.model, self.task, self._autocast)
        self._graphs = self._kept[precision] if graphed else None
        for side in (self.model.encoder, self.model.decoder):
            side.embedding.sparse = self.task.optimizer == "sgd"

    def drop_graphs(self) -> None:
        """Give back the memory of all graphs."""
        self._graphs = None
        self._kept.clear()

    def train(self, batches: Sequence[Tokens], forced: Sequence[Array | None]) -> None:
        """An update for each batch; nothing waits for the device."""
        for tokens, given in zip(batches, forced, strict=True):
            self.begin(tokens, given)

    def begin(self, tokens: Tokens, forced: Array | None) -> torch.Tensor:
        """One update; the loss per target token before it, which nobody has waited for."""
        self.model.train()
        return super().begin(tokens, forced) if self._graphs is None else self._graphs.step(tokens)


class GraphedSteps:
    """Steps of one model in one precision.

    Args:
        model: on the device.
        task: says how it is trained.
        autocast: makes the context of the forward.
    """

    def __init__(self, model: pytorch.Model, task: Task, autocast: Callable[[], Any]) -> None:
        self._model, self._task, self._autocast = model, task, autocast
        self._optimizer = capturable(task, model)
        self._steps: dict[tuple[Any, ...], _Step] = {}
        self._pool: Any = None if device.SIMULATED else torch.cuda.graph_pool_handle()

    def step(self, tokens: Tokens) -> torch.Tensor:
        """One update with the right word always given; the loss per target token before it, still on the device."""
        key = tokens.src.shape, tokens.trg_input.shape
        for side in (self._model.encoder, self._model.decoder):
            side.embedding.sparse = False
        if key not in self._steps:
            self._steps[key] = _Step(self.update, tokens, self._pool)
        return self._steps[key].run(tokens)

    def update(self, src: torch.Tensor, trg_input: torch.Tensor, trg_output: torch.Tensor, count: Any) -> torch.Tensor:
        """Forward, backward, clipping and update; nothing in it waits for the device."""
        self._optimizer.zero_grad()
        with self._autocast():
            _, state = self._model.encoder(src)
            outputs, _ = self._model.decoder(trg_input, state)
            head = self._model.decoder.fc_out
            total, _ = pytorch._head(outputs.flatten(0, 1), head.weight, head.bias, trg_output.flatten(), 0)
        loss = total / count
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._task.clip_norm)
        self._optimizer.step()
        return loss.detach()


class _Step:
    """The update of one shape, and the tensors on which it works."""

    def __init__(self, update: Callable[..., torch.Tensor], tokens: Tokens, pool: Any) -> None:
        self._given = [tensor.to(device.TORCH_DEVICE) for tensor in given(tokens)]
        self._update, self._graph = lambda: update(*self._given), None
        if not device.SIMULATED:
            self._graph, self._loss = captured(self._update, pool)

    def run(self, tokens: Tokens) -> torch.Tensor:
        for place, tensor in zip(self._given, given(tokens), strict=True):
            place.copy_(tensor, non_blocking=True)
        if self._graph is None:
            return self._update()
        self._graph.replay()
        return self._loss


def given(tokens: Tokens) -> list[torch.Tensor]:
    """What a step is given, on the host."""
    words = [torch.from_numpy(array) for array in (tokens.src, tokens.trg_input, tokens.trg_output)]
    return [*words, torch.tensor(float(tokens.num_tokens[1]))]


def captured(function: Callable[[], Any], pool: Any = None) -> tuple[Any, Any]:
    """A CUDA graph of what a function does, and what it returned."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            function()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool):
        result = function()
    return graph, result


def capturable(task: Task, model: pytorch.Model) -> torch.optim.Optimizer:
    """The optimiser of the task, fused, so that its steps are counted on the device."""
    if task.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), lr=task.lr, fused=True)
    return torch.optim.Adam(model.parameters(), lr=task.lr, fused=True, capturable=not device.SIMULATED)
