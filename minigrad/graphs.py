"""``torch.cuda.CUDAGraph``: what a GPU is to do again and again, asked for in one call.

    graph = cuda.CUDAGraph(lengths=[src_lengths, trg_lengths])   # room for as many tokens
    with graph.warm_up():                                        # what it needs is loaded
        loss_of(tokens).backward()
    with cuda.graph(graph):                                      # recorded, not done
        loss = loss_of(tokens)
        loss.backward()
        norm = optimizer.step_clipped(1.0)
    tokens.copy_(new_tokens)
    graph.replay([src_lengths, trg_lengths])                     # done; loss and norm hold the results

As in PyTorch a replay works on the tensors of the capture: give it new values by ``copy_``. Beyond that it draws new
random numbers (of the seed and step at which ``minigrad.random`` stands then; which draw of the step each is stays as
it was in the capture, so set the stream by ``random.seed_step`` before that), Adam and AdamW count their steps and
use the groups' options of the day, and the lengths of packed sequences may change, within the tokens of the capture.

What cannot be captured says so (``CaptureError``): layers that the host takes through time step by step, other
optimisers, and whatever asks for a value on the host. Numbers that a program passes to an operation are those of the
capture.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from minigrad import random
from minigrad.device import resolve
from minigrad.nn.utils.rnn import as_lengths


class CUDAGraph:
    """A part of a program that the GPU repeats without Python.

    Args:
        lengths: of each batch of packed sequences that layers inside are given, (N,) host integers, in the order in
            which ``replay`` takes them. Replays may have other lengths, with at most as many tokens together and none
            longer than the longest. The rows of one batch may not all be equally long, nor two batches have equal
            lengths.
        beside: another graph, whose memory is used too: the results of one are to be read before the other is replayed.

    Raises:
        RuntimeError: no GPU. ValueError: lengths that are not so.
    """

    def __init__(self, lengths: Sequence[Any] = (), beside: CUDAGraph | None = None) -> None:
        resolve("cuda")
        from kernels.cuda.runtime.capture import Recording

        capacities = [as_lengths(each) for each in lengths]
        self._recording: Any = Recording(capacities, None if beside is None else beside._recording)

    @contextmanager
    def warm_up(self) -> Iterator[None]:
        """``with graph.warm_up():`` run what will be captured, to have its kernels loaded and its memory at hand.

        The random numbers that it draws are drawn again afterwards.
        """
        state = random.get_state()
        try:
            with self._recording.warm_up():
                yield
        finally:
            random.set_state(state)

    def capture(self) -> Any:
        """``with graph.capture():`` what runs inside is recorded and not done."""
        return self._recording.capture()

    def replay(self, lengths: Sequence[Any] = ()) -> None:
        """Do what was captured.

        Args:
            lengths: of the batches of packed sequences, as the constructor took them.

        Raises:
            ValueError: lengths for which there is no room.
        """
        seed, step, _ = random.get_state()
        self._recording.replay([as_lengths(each) for each in lengths], seed, step)


@contextmanager
def graph(cuda_graph: CUDAGraph) -> Iterator[None]:
    """``torch.cuda.graph``: ``cuda_graph.capture()``."""
    with cuda_graph.capture():
        yield


def recording() -> Any:
    """What is being captured, or None."""
    module = sys.modules.get("kernels.cuda.runtime.capture")
    return None if module is None else module.current()
