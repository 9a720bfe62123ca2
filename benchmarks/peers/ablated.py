"""Ours with one trick for speed switched off, each by an argument or attribute that the engine offers anyway."""

from __future__ import annotations

from minigrad import Tensor, optim
from peers import minigrad
from peers.problem import Task
from seq2seq.decoding.scorers import release_prepacked

# What can be taken away -> what is there instead.
WITHOUT = {
    "gradients by rows": "embeddings whose gradient is as large as the table (nn.Embedding without sparse)",
    "lazy rows": "every row of a table is brought up to date at every step, since somebody holds its memory",
    "one call of Adam": "a call for each parameter (one parameter group each)",
    "buffers used again": "backward leaves what forward has kept as it was (retain_graph=True)",
    "memory that stays": "freed memory goes back to the system (no keep_freed_memory)",
    "weights kept prepacked": "a search prepacks its weights first (release_prepacked)",
}
OF_SEARCH = ("weights kept prepacked",)


class Peer(minigrad.Peer):
    """Training and decoding as ``peers.minigrad``, without what ``without`` names."""

    def __init__(self, task: Task, precision: str, threads: int, without: str) -> None:
        self._without = without
        super().__init__(task, precision, threads)
        tables = [side.embedding for side in (self.model.encoder, self.model.decoder)]
        if without == "gradients by rows":
            for table in tables:
                table.sparse = False
        if without == "lazy rows":
            self._held = [table.weight.array for table in tables]
        if without == "one call of Adam":
            self.optimizer = optim.Adam([{"params": [p]} for p in self.model.parameters()], lr=task.lr)

    def decode(self, sources: list[list[int]], steps: int, beam_size: int) -> list[list[int]]:
        """See ``problem.Searcher``."""
        if self._without == "weights kept prepacked":
            release_prepacked(self.model)
        return super().decode(sources, steps, beam_size)

    def _start_process(self) -> None:
        if self._without != "memory that stays":
            super()._start_process()

    def _backward(self, loss: Tensor) -> None:
        loss.backward(retain_graph=self._without == "buffers used again")
