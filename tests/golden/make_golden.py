"""Writes golden_twin.npz: a small encoder-decoder trained by PyTorch, for comparison where PyTorch is not installed.

Contract: everything is float32 and deterministic. Weights and sentences are drawn with NumPy; PyTorch computes the
gradients of the first step and the losses of twenty. The file holds, and ``compute`` returns,

- ``weight NAME``: initial weights by the names of ``state_dict``; ``gradient NAME``: their gradients at step 0;
- ``batch I src``, ``src_lengths``, ``trg_input``, ``trg_output``, ``trg_lengths``: int64, time-major, <pad> is 1;
- ``losses`` (20,): mean -log p per real target position before each step of Adam(1e-3) with clipping to norm 1;
- ``norms`` (20,): gradient norms before clipping.

Run as ``python tests/golden/make_golden.py``; needs PyTorch.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

PATH = Path(__file__).with_name("golden_twin.npz")
SRC_VOCAB, TRG_VOCAB, EMBEDDING, HIDDEN, LAYERS = 23, 29, 12, 16, 2
NUM_BATCHES, BATCH_SIZE, STEPS = 4, 6, 20
PAD, SOS, EOS = 1, 2, 3


class Encoder(nn.Module):
    """Embedding and stacked LSTM over packed sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(SRC_VOCAB, EMBEDDING)
        self.rnn = nn.LSTM(EMBEDDING, HIDDEN, LAYERS)

    def forward(self, src: torch.Tensor, src_lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        packed = pack_padded_sequence(self.embedding(src), src_lengths, enforce_sorted=False)
        return self.rnn(packed)[1]


class Decoder(nn.Module):
    """Embedding, stacked LSTM and output layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TRG_VOCAB, EMBEDDING)
        self.rnn = nn.LSTM(EMBEDDING, HIDDEN, LAYERS)
        self.fc_out = nn.Linear(HIDDEN, TRG_VOCAB)

    def forward(self, trg_input: torch.Tensor, state: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return self.fc_out(self.rnn(self.embedding(trg_input), state)[0])


class Twin(nn.Module):
    """Encoder and decoder; the loss is the mean over real target positions."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder(), Decoder()

    def loss(self, batch: dict[str, np.ndarray]) -> torch.Tensor:
        tensors = {name: torch.tensor(array) for name, array in batch.items()}
        state = self.encoder(tensors["src"], tensors["src_lengths"])
        logits = self.decoder(tensors["trg_input"], state)
        return nn.functional.cross_entropy(logits.flatten(0, 1), tensors["trg_output"].flatten(), ignore_index=PAD)


def columns(sentences: list[list[int]]) -> np.ndarray:
    """Sentences as the columns of one padded (T, N) array."""
    matrix = np.full((max(map(len, sentences)), len(sentences)), PAD)
    for column, sentence in enumerate(sentences):
        matrix[: len(sentence), column] = sentence
    return matrix


def draw_batch(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random sentences of 1 to 9 words on each side."""

    def words(vocab_size: int) -> list[list[int]]:
        return [rng.integers(EOS + 1, vocab_size, rng.integers(1, 10)).tolist() for _ in range(BATCH_SIZE)]

    sources, targets = words(SRC_VOCAB), words(TRG_VOCAB)
    return {
        "src": columns([[SOS, *ids, EOS] for ids in sources]),
        "src_lengths": np.array([len(ids) + 2 for ids in sources]),
        "trg_input": columns([[SOS, *ids] for ids in targets]),
        "trg_output": columns([[*ids, EOS] for ids in targets]),
        "trg_lengths": np.array([len(ids) + 1 for ids in targets]),
    }


def scale(name: str) -> float:
    """Range of a tensor's initial weights: gates that do not saturate, gradient norms on both sides of 1."""
    return 0.5 if ".rnn." in name else 2.5


def compute() -> dict[str, np.ndarray]:
    """All vectors of the file, by name."""
    rng, twin = np.random.default_rng(2014), Twin()
    weights = {
        name: (scale(name) * rng.uniform(-1, 1, tuple(tensor.shape))).astype(np.float32)
        for name, tensor in twin.state_dict().items()
    }
    twin.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    batches = [draw_batch(rng) for _ in range(NUM_BATCHES)]
    gradients, losses, norms = train(twin, batches)
    return {
        **{f"weight {name}": array for name, array in weights.items()},
        **{f"gradient {name}": array for name, array in gradients.items()},
        **{f"batch {i} {name}": array for i, batch in enumerate(batches) for name, array in batch.items()},
        "losses": np.array(losses, np.float32),
        "norms": np.array(norms, np.float32),
    }


def train(twin: Twin, batches: list[dict[str, np.ndarray]]) -> tuple[dict[str, np.ndarray], list[float], list[float]]:
    """The gradients of step 0, and loss and gradient norm of every step."""
    optimizer = torch.optim.Adam(twin.parameters(), lr=1e-3)
    gradients, losses, norms = {}, [], []
    for step in range(STEPS):
        loss = twin.loss(batches[step % NUM_BATCHES])
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            gradients = {name: parameter.grad.numpy().copy() for name, parameter in twin.named_parameters()}
        losses.append(loss.item())
        norms.append(nn.utils.clip_grad_norm_(twin.parameters(), 1.0).item())
        optimizer.step()
    return gradients, losses, norms


if __name__ == "__main__":
    np.savez_compressed(PATH, **compute())
    print(f"{PATH}: {PATH.stat().st_size:,} bytes")
