"""What a training run will need of the memory of its device, told before it starts.

The plan follows the arrays of one step through forward, backward and update, for the batch that needs most of them.
On the CPU, what lies outside of arrays (the interpreter, the data, the compiled kernels) is what the process occupies
when the plan is made, and an allowance for what the first step compiles and loads. On a GPU it is the work space of
cuBLAS; and where steps run in graphs, which have memory of their own, a step is counted twice.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minigrad import cuda
from seq2seq.run.config import Config
from seq2seq.run.devices import steps_in_graphs
from seq2seq.run.entry import address_space
from seq2seq.run.errors import UserError
from seq2seq.sources import BatchSampler, EncodedSplit

COMPILED = 60 << 20  # bytes: compiled kernels with what LLVM keeps, and the allocator's slack; measured
WORKSPACES = 3 * 32 << 20  # bytes: of cuBLAS, for each stream that computes
CHUNK_LOGITS, CHUNK_ROWS = 16 << 20, (256, 512)  # the fused output layer's: bytes of logits, fewest and most rows


@dataclass(frozen=True)
class BatchShape:
    """What of a batch decides its memory: N pairs and the real tokens of both sides."""

    pairs: int
    src_tokens: int
    trg_tokens: int


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes of a run at their most.

    Attributes:
        process: the interpreter, the data and the kernels; on a GPU the work space of its libraries.
        weights: parameters.
        optimizer: Adam's two moments.
        step: activations, gradients and work space together, at the worst moment of a step.
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


class _Step:
    """The arrays of one training step, in numbers; `most` is their sum at the worst moment."""

    def __init__(self) -> None:
        self.held = self.most = 0

    def hold(self, *sizes: int) -> None:
        self.held += sum(sizes)
        self.most = max(self.most, self.held)

    def drop(self, *sizes: int) -> None:
        self.held -= sum(sizes)

    def pass_through(self, *sizes: int) -> None:
        """Held only for a moment, all together."""
        self.hold(*sizes)
        self.drop(*sizes)


def step_bytes(config: Config, src_vocab_size: int, trg_vocab_size: int, shape: BatchShape) -> int:
    """Bytes of activations, gradients and work space at the worst moment of a step with such a batch."""
    step = _Step()
    step.drop(_forward(step, config, shape.pairs, shape.src_tokens))  # its outputs are not used, but for the last ones
    _forward(step, config, shape.pairs, shape.trg_tokens)
    _loss(step, config, trg_vocab_size, shape.trg_tokens)
    for num_tokens in (shape.trg_tokens, shape.src_tokens):
        _backward(step, config, shape.pairs, num_tokens)
    return step.most * (8 if config.precision == "fp64" else 4)


def _layers(config: Config) -> list[tuple[int, int]]:
    """(input size, numbers of the weights and biases) of each layer of one side."""
    sizes = [config.embedding_size] + [config.hidden_size] * (config.num_layers - 1)
    return [(size, 4 * config.hidden_size * (size + config.hidden_size + 2)) for size in sizes]


def _kept(config: Config, pairs: int, num_tokens: int) -> int:
    """What a layer keeps beside its input: four gates, c, and of h and c the states before the first step."""
    return (5 * num_tokens + 2 * pairs) * config.hidden_size


def _forward(step: _Step, config: Config, pairs: int, num_tokens: int) -> int:
    """One side; the size of its outputs, which are left."""
    below = num_tokens * config.embedding_size
    step.hold(below)
    for input_size, weights in _layers(config):
        step.hold(num_tokens * input_size)  # the dropout's output, which the layer keeps
        step.drop(below)
        below = num_tokens * config.hidden_size  # h
        step.hold(_kept(config, pairs, num_tokens), below)
        step.pass_through(_panels(config, weights))
    return below


def _panels(config: Config, numbers: int) -> int:
    return numbers // 2 if config.precision == "bf16" else numbers


def _loss(step: _Step, config: Config, vocab_size: int, num_tokens: int) -> None:
    rows, output_layer = num_tokens * config.hidden_size, vocab_size * (config.hidden_size + 1)
    few, many = CHUNK_ROWS
    most = min(many, max(few, CHUNK_LOGITS // (4 * vocab_size))) * (2 if config.precision == "bf16" else 1)
    chunk = min(num_tokens, most)
    step.hold(rows, output_layer)  # the gradients of the decoder's outputs and of the layer
    step.pass_through(2 * _panels(config, output_layer), chunk * vocab_size)
    step.drop(rows, rows)  # the outputs; their gradient counts as that of the last layer


def _backward(step: _Step, config: Config, pairs: int, num_tokens: int) -> None:
    hidden = config.hidden_size
    for input_size, weights in reversed(_layers(config)):
        dy, dx = num_tokens * hidden, num_tokens * input_size
        states, inputs = _panels(config, dy), _panels(config, dx)
        step.hold(dy)
        step.pass_through(_panels(config, 4 * hidden * hidden))
        step.pass_through(num_tokens * hidden, states)  # h of the step before each token, and in panels
        step.hold(weights, dx)
        step.pass_through(states, inputs, _panels(config, 4 * hidden * input_size))
        step.drop(dy, _kept(config, pairs, num_tokens), num_tokens * input_size)
        step.pass_through(dx)  # the dropout's gradient, beside dx
        step.drop(dx)
    step.hold(num_tokens * config.embedding_size)  # rows of the embedding's gradient


def count_parameters(config: Config, src_vocab_size: int, trg_vocab_size: int) -> int:
    """Parameters of ``Seq2Seq``."""
    embeddings = (src_vocab_size + trg_vocab_size) * config.embedding_size
    layers = 2 * sum(weights for _, weights in _layers(config))
    return embeddings + layers + trg_vocab_size * (config.hidden_size + 1)


def batch_shapes(train: EncodedSplit, config: Config, most_epochs: int = 5) -> set[BatchShape]:
    """The shapes of the batches of the first epochs."""
    src, trg = (np.asarray(side.lengths) for side in (train.src, train.trg))
    sampler = BatchSampler(src, trg, config.batch_size, config.seed)
    shapes = set()
    for epoch in range(min(config.epochs, most_epochs)):
        for indices in sampler.batches(epoch):
            real = src[indices] + 2, trg[indices] + 1  # <sos> and <eos>; <eos>
            shapes.add(BatchShape(len(indices), *(int(side.sum()) for side in real)))
    return shapes


def plan(config: Config, vocab_sizes: tuple[int, int], shapes: Iterable[BatchShape]) -> MemoryPlan:
    """The plan of a run whose model does not exist yet and whose batches have these shapes."""
    weights = count_parameters(config, *vocab_sizes) * (8 if config.precision == "fp64" else 4)
    worst = max((step_bytes(config, *vocab_sizes, shape) for shape in shapes), default=0)
    process = occupied_bytes() + COMPILED if config.device == "cpu" else WORKSPACES
    worst *= 2 if steps_in_graphs(config) else 1
    return MemoryPlan(process, weights, 2 * weights, worst, config.device)


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


def require_fit(needed: MemoryPlan, batch_size: int) -> None:
    """UserError with advice if the machine has not got what the plan says."""
    on_gpu = needed.device == "cuda"
    free = cuda.mem_get_info()[0] if on_gpu else available_bytes()
    more = needed.peak if on_gpu else needed.peak - occupied_bytes()
    if free is not None and more > free:
        raise UserError(
            f"{needed}, but only {_megabytes(free)} are free beside what is in use; try a smaller --batch-size "
            f"(now {batch_size}), a --max-length that leaves out the longest pairs, a smaller --max-vocab-size or "
            "--hidden-size, or --precision bf16"
        )
