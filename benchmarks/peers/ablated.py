"""Ours with one trick switched off: by an argument or attribute that the engine offers anyway, by a switch of its
kernels for a GPU, or by a copy of their sources that lacks a stage, and computes nonsense in less time.
"""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kernels.cuda import SOURCE_FOLDER
from kernels.cuda.runtime.switches import switched
from minigrad import Tensor, optim
from peers import loops, minigrad
from peers.layers import LayerTask
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
OF_LOOPS = {  # of a decoder that steps in Python
    "gradients that wait": "the gradient of a weight is summed at every step (the loop uses a view of it)",
    "threads that stand by": "a thread without work sleeps at once (kernels.threads.stand_by)",
}
OF_SLICES = {
    "gradients of parts": "each slice of a tensor has a gradient of the tensor's size (a Function of the loop's own)",
}
OF_TABLES = "gradients by rows", "lazy rows"
OF_SEARCH = ("weights kept prepacked",)

# Of a layer on a GPU: switches, and what to cut out of the sources of its kernels.
SWITCHES: dict[str, dict[str, Any]] = {
    "flags": {"marked": True},
    "the persistent kernel": {"persistent": False},
    "the persistent kernel, and graphs": {"persistent": False, "step_graphs": False},
}
STAGES = {
    "waits": {r"\bspin_acquire\([^;{}]*\);": ";", r"poll16\(([^;]*), error\)": r"load16(\1)"},
    "products": {r"\bmma\([^;{}]*\);": ";"},
    "tiles": {r"\bcopy16\([^;{}]*\);": ";"},
    "publishing": {r"\bspin_acquire\([^;{}]*\);": ";", r"\bred_release\([^;{}]*\);": ";"},
    "gates and c kept": {r"\bkeep\([^;{}]*\);": ";"},
}
RECURRENT = re.compile(r"recurrent/(?:recurrent\.cuh|lstm_(?:for|back)ward\w*\.cu)")
INSTANCE, WIDTH = re.compile(r"^LSTM_\w+\(.*\d.*\)\n", re.MULTILINE), re.compile(r"\b\d{2,4}\b")


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
        """See ``problem.Peer``."""
        if self._without == "weights kept prepacked":
            release_prepacked(self.model)
        return super().decode(sources, steps, beam_size)

    def _start_process(self) -> None:
        if self._without != "memory that stays":
            super()._start_process()

    def _backward(self, loss: Tensor) -> None:
        loss.backward(retain_graph=self._without == "buffers used again")


Loop, Slices = loops.Loop, loops.Slices  # which have their own ways to lack something


class Layer(minigrad.Layer):
    """A layer, likewise; one that lacks nothing takes kernels for its own width only, too, as those of stages do."""

    def __init__(self, task: LayerTask, precision: str, threads: int, without: str, device: str) -> None:
        super().__init__(task, precision, threads, device)
        self._switches = SWITCHES.get(without, {})
        if without in STAGES:
            self._folder = TemporaryDirectory()
            self._switches = {"sources": cut(Path(self._folder.name), STAGES[without], task.H)}

    def _run(self, backward: bool) -> Any:
        with switched(**self._switches) if self._switches else nullcontext():
            return super()._run(backward)


def cut(folder: Path, edits: dict[str, str], H: int) -> Path:
    """A copy of all CUDA sources in ``folder``, the recurrent ones with edits, and with kernels for one H only.

    Args:
        folder: is made.
        edits: regular expression -> replacement, tried on every recurrent source.
        H: what other widths would cost is compiling.

    Raises:
        ValueError: an expression that matches nothing: the sources have changed.
    """
    paths = [path for path in SOURCE_FOLDER.rglob("*.cu*") if path.is_file()]
    texts = {path.relative_to(SOURCE_FOLDER).as_posix(): path.read_text(encoding="utf-8") for path in paths}
    recurrent = [name for name in texts if RECURRENT.fullmatch(name)]
    for old, new in edits.items():
        changed = {name: re.sub(old, new, texts[name]) for name in recurrent}
        if all(changed[name] == texts[name] for name in recurrent):
            raise ValueError(f"no recurrent source has anything like {old!r} any more")
        texts |= changed
    for name, text in texts.items():
        if name in recurrent:
            text = INSTANCE.sub(lambda match: match[0] if str(H) in WIDTH.findall(match[0]) else "", text)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder
