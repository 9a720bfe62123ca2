"""What a training run will need of the memory of its device, told before it starts.

Weights are counted from the shapes of the model; what a step takes is measured, in small steps of the model itself, so
no model is named here. On the CPU, what lies outside of arrays (the interpreter, the data, the compiled kernels) is
what the process occupies when the plan is made, and an allowance for what the first step compiles and loads. On a GPU
it is the work space of cuBLAS; and where steps run in graphs, which have memory of their own, a step is counted twice.
"""

from __future__ import annotations

import dataclasses
import gc
import os
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minigrad import cuda, random
from minigrad.shapes_only import shapes_only
from seq2seq.models.model import Seq2Seq
from seq2seq.run.config import Config
from seq2seq.run.devices import steps_in_graphs
from seq2seq.run.entry import address_space
from seq2seq.run.errors import UserError
from seq2seq.sources import Batch, EncodedSplit
from seq2seq.sources.batches import IntArray
from seq2seq.training.batching import epoch_batches
from seq2seq.training.optimizers import numbers_kept
from seq2seq.training.schedules import least_forcing

COMPILED = 60 << 20  # bytes: compiled kernels with what LLVM keeps, and the allocator's slack; measured
WORKSPACES = 3 * 32 << 20  # bytes: of cuBLAS, for each stream that computes
POOL_BLOCK = 512  # bytes: what CuPy's pool rounds every array up to
SMALL_BATCH = 6144  # tokens: such a batch is tried as it is; a quarter of a larger one fills every work space
FEW_PAIRS = 4  # are tried as they are too: half of them may be as few as a quarter
_LOOKED_AT = 10_000  # batches of an epoch among which the largest is looked for


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes of a run at their most.

    Attributes:
        process: the interpreter, the data and the kernels; on a GPU the work space of its libraries.
        weights: parameters.
        optimizer: what it keeps of each weight, such as Adam's two moments, and the mean of the weights.
        step: activations, gradients and work space together, at the worst moment of a step; 0 where it is unknown.
        device: "cpu" or "cuda".
    """

    process: int
    weights: int
    optimizer: int
    step: int
    device: str = "cpu"

    @property
    def peak(self) -> int:
        return self.process + self.weights + self.optimizer + self.step

    def __str__(self) -> str:
        parts = {name: getattr(self, name) for name in ("weights", "optimizer", "step", "process")}
        listed = ", ".join(f"{name} {_megabytes(size)}" for name, size in parts.items() if size)
        return f"{'GPU ' if self.device == 'cuda' else ''}memory: {_megabytes(self.peak)} at most ({listed})"


def _megabytes(size: int) -> str:
    return f"{size / 2**20:,.0f} MB"


def before_steps(config: Config, vocab_sizes: tuple[int, int]) -> MemoryPlan:
    """What a run needs whose model does not exist yet, without its steps: so far no memory is taken."""
    with shapes_only():
        model = Seq2Seq(*vocab_sizes, config)
    size = 8 if config.precision == "fp64" else 4
    weights = sum(_taken(parameter.numel() * size, config.device) for parameter in model.parameters())
    process = occupied_bytes() + COMPILED if config.device == "cpu" else WORKSPACES
    kept = numbers_kept(config) + (1 if config.ema_decay else 0)
    return MemoryPlan(process, weights, kept * weights, 0, config.device)


def _taken(size: int, where: str) -> int:
    """The bytes that an array of so many takes: a GPU's pool gives out whole blocks."""
    return -(-size // POOL_BLOCK) * POOL_BLOCK if where == "cuda" else size


def with_steps(plan: MemoryPlan, model: Seq2Seq, config: Config, train: EncodedSplit) -> MemoryPlan:
    """``plan`` with what a step takes at most, for the batch of the first epochs that has most tokens.

    A small one is tried, which leaves no trace. Of a large one a quarter and half of its pairs are, and what they take
    is drawn on in a straight line: what a step keeps grows with its tokens, or where a layer works on padding too, with
    its pairs.
    """
    train, largest = largest_batch(train, config)
    tokens = _tokens(model.source.batch(train, largest))
    small = tokens < SMALL_BATCH or len(largest) <= FEW_PAIRS
    parts = [largest] if small else [_every(4, largest, train), _every(2, largest, train)]
    _step(model, config, model.source.batch(train, largest[:4]))  # kernels that are loaded count for no array
    tried = [_try_step(model, config, model.source.batch(train, part)) for part in parts]
    step = _extrapolated(*tried[0], *tried[-1], tokens)
    return dataclasses.replace(plan, step=step * (2 if steps_in_graphs(config) else 1))


def _every(nth: int, pairs: IntArray, train: EncodedSplit) -> IntArray:
    """Every so manieth of the pairs, beside the longest of both sides: padding reaches as far as in all of them."""
    longest = [pairs[side.lengths[pairs].argmax()] for side in (train.src, train.trg)]
    return np.union1d(longest, np.setdiff1d(pairs, longest)[::nth])


def _extrapolated(tokens: int, taken: int, more_tokens: int, more_taken: int, all_tokens: int) -> int:
    """What a batch of ``all_tokens`` takes, on the straight line through two smaller ones, or one."""
    slope = (more_taken - taken) / (more_tokens - tokens) if more_tokens > tokens else 0.0
    return more_taken + max(0, round(slope * (all_tokens - more_tokens)))


def _try_step(model: Seq2Seq, config: Config, batch: Batch) -> tuple[int, int]:
    """The tokens of a batch, and the bytes that its step takes beside the weights."""
    with _most_taken(config.device) as most:
        _step(model, config, batch)
    return _tokens(batch), most()


def _step(model: Seq2Seq, config: Config, batch: Batch) -> None:
    """Forward and backward; what it leaves is let go."""
    random.seed_step(config.seed, 0)
    model.train()
    for _ in range(min(config.accumulate, 2)):  # where they add up, gradients are there from the second batch on
        loss = model.loss(batch, least_forcing(config), config.label_smoothing) / batch.num_trg_tokens
        loss.backward()
        del loss
    for parameter in model.parameters():
        parameter.grad = None


def _tokens(batch: Batch) -> int:
    return batch.num_src_tokens + batch.num_trg_tokens


@contextmanager
def _most_taken(where: str) -> Iterator[Callable[[], int]]:
    """Afterwards the function gives the most bytes of new arrays that there were inside, at any time."""
    with _no_collection():  # what is freed inside would be taken again unseen
        if where == "cuda":
            cuda.empty_cache()
            before = _reserved_for_arrays()
            yield lambda: _reserved_for_arrays() - before
            return
        found = 0
        tracemalloc.start()
        try:
            yield lambda: found
            found = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


@contextmanager
def _no_collection() -> Iterator[None]:
    """Cycles of objects that nobody has any more stay where they are."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _reserved_for_arrays() -> int:
    """Bytes of a GPU's pool without the work spaces, which the plan counts apart: any step may be the first of one."""
    return cuda.max_memory_reserved() - cuda.work_spaces_reserved()


def largest_batch(train: EncodedSplit, config: Config, most_epochs: int = 5) -> tuple[EncodedSplit, IntArray]:
    """The batch of the first epochs that has most tokens on both sides: what its epoch reads, and its pairs of that."""
    largest, most = (train, np.arange(0)), -1
    for epoch in range(min(config.epochs, most_epochs)):
        read, order = epoch_batches(train, config, epoch)
        batches = order[:_LOOKED_AT]
        tokens = [int((read.src.lengths[batch] + read.trg.lengths[batch]).sum()) for batch in batches]
        if max(tokens) > most:
            largest, most = (read, batches[tokens.index(max(tokens))]), max(tokens)
    return largest


def occupied_bytes() -> int:
    """Resident memory of this process; on systems that do not tell, its most so far."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def available_bytes() -> int | None:
    """Memory that this process may still take; None where the system does not tell."""
    limits = [_free_of_machine(), _free_of_group(), _free_of_address_space()]
    return min((limit for limit in limits if limit is not None), default=None)


def _free_of_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")), None)


def _free_of_group(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What a container's limit leaves."""
    try:
        limit, used = ((folder / name).read_text(encoding="ascii").strip() for name in ("memory.max", "memory.current"))
        return None if limit == "max" else max(0, int(limit) - int(used))
    except (OSError, ValueError):
        return None


def _free_of_address_space() -> int | None:
    """What ``ulimit -v`` leaves."""
    limit = address_space()
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except OSError:
        return limit
    return None if limit is None else max(0, limit - pages * os.sysconf("SC_PAGE_SIZE"))


def require_fit(needed: MemoryPlan, batch_size: int, batch_tokens: int | None = None) -> None:
    """UserError with advice if the machine has not got what the plan says."""
    on_gpu = needed.device == "cuda"
    free = cuda.mem_get_info()[0] if on_gpu else available_bytes()
    more = needed.peak if on_gpu else needed.peak - occupied_bytes()
    if free is not None and more > free:
        option = f"--batch-size (now {batch_size})" if batch_tokens is None else f"--batch-tokens (now {batch_tokens})"
        raise UserError(
            f"{needed}, but only {_megabytes(free)} are free beside what is in use; try a smaller "
            f"{option}, a --max-length that leaves out the longest pairs, a smaller --max-vocab-size or "
            "--hidden-size, or --precision bf16"
        )
