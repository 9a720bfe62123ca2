"""PyTorch's whole training step as CUDA graphs, which its users have against the time of launches.

A graph is made for every shape of a padded batch, with nothing added to it; all share their memory. The loss takes all
positions and ignores those of the padding, since a graph cannot choose rows; Adam is fused and capturable; gradients of
embeddings are dense. Words, and the number by which the loss is divided, are copied to where the graph reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from peers.problem import Task, Tokens
from peers.pytorch import Model, head_loss

WARM_UP = 3  # steps before a capture, on a stream of their own, as PyTorch asks for


class GraphedSteps:
    """Steps of one model in one precision; beside the simulator, that is on a CPU, the same steps without a graph.

    Args:
        model: on the device.
        task: says how it is trained.
        autocast: makes the context of the forward.
        device: of the model.
    """

    def __init__(self, model: Model, task: Task, autocast: Callable[[], Any], device: str) -> None:
        self._model, self._task, self._autocast, self._device = model, task, autocast, device
        on_gpu = device != "cpu"
        self._optimizer = (
            torch.optim.SGD(model.parameters(), lr=task.lr, fused=True) if task.optimizer == "sgd"
            else torch.optim.Adam(model.parameters(), lr=task.lr, fused=True, capturable=on_gpu)
        )  # fmt: skip
        self._steps: dict[tuple[Any, ...], tuple[list[torch.Tensor], Callable[[], torch.Tensor]]] = {}
        self._pool: Any = torch.cuda.graph_pool_handle() if on_gpu else None

    def step(self, tokens: Tokens) -> torch.Tensor:
        """One update with the right word always given; the loss per target token before it, still on the device."""
        given = [torch.from_numpy(array) for array in (tokens.src, tokens.trg_input, tokens.trg_output)]
        given.append(torch.tensor(float(tokens.num_tokens[1])))
        key = tokens.src.shape, tokens.trg_input.shape
        if key not in self._steps:
            buffers = [tensor.to(self._device) for tensor in given]
            self._steps[key] = buffers, captured(lambda: self._update(*buffers), self._device, self._pool)
        buffers, replay = self._steps[key]
        for buffer, tensor in zip(buffers, given, strict=True):
            buffer.copy_(tensor, non_blocking=True)
        return replay()

    def _update(self, src: torch.Tensor, trg_input: torch.Tensor, trg_output: torch.Tensor, count: Any) -> torch.Tensor:
        """Forward, backward, clipping and update; nothing in it waits for the device."""
        for side in (self._model.encoder, self._model.decoder):
            side.embedding.sparse = False
        self._optimizer.zero_grad()
        with self._autocast():
            _, state = self._model.encoder(src)
            outputs, _ = self._model.decoder(trg_input, state)
            head = self._model.decoder.fc_out
            total, _ = head_loss(outputs.flatten(0, 1), head.weight, head.bias, trg_output.flatten(), 0)
        loss = total / count
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), self._task.clip_norm)
        self._optimizer.step()
        return loss.detach()


def captured(function: Callable[[], Any], device: str, pool: Any = None) -> Callable[[], Any]:
    """Replays what one call of a function does on the device, and returns what it returned; on a CPU the function."""
    if device == "cpu":
        return function
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            function()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool):
        result = function()

    def replay() -> Any:
        graph.replay()
        return result

    return replay
