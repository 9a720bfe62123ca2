"""Code written for PyTorch asks for a GPU and trains on it: the losses of the host."""

from __future__ import annotations

import random
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import minigrad as mg

SOURCE = (Path(__file__).parents[1] / "nn" / "tutorial.py").read_text(encoding="utf-8")
IMPORTS = {
    "import torch\n": "import minigrad as torch\n",
    "import torch.nn.functional as F\n": "import minigrad.nn.functional as F\n",
    "from torch import nn, optim\n": "from minigrad import nn, optim\n",
}
RNG = np.random.default_rng(3)
SRC, TRG = RNG.integers(3, 11, (5, 4)), RNG.integers(3, 13, (6, 4))
LENGTHS = [5, 3, 4, 2]


@pytest.fixture(scope="module")
def tutorial() -> SimpleNamespace:
    source = SOURCE
    for theirs, ours in IMPORTS.items():
        source = source.replace(theirs, ours)
    names: dict[str, Any] = {"__name__": "tutorial"}
    exec(compile(source, "tutorial.py", "exec"), names)
    return SimpleNamespace(**names)


def train(tutorial: SimpleNamespace, device: str) -> list[float]:
    random.seed(0)
    mg.manual_seed(0)
    model = tutorial.build_seq2seq(11, 13, 5, 7, dropout=0.2)
    assert {param.device.type for param in model.parameters()} == {device}
    src, trg = mg.tensor(SRC).to(device), mg.tensor(TRG).to(device)
    optimizer, criterion = mg.optim.Adam(model.parameters(), lr=0.02), mg.nn.CrossEntropyLoss(ignore_index=1)
    losses = [tutorial.train_step(model, optimizer, criterion, src, trg, 1.0) for _ in range(5)]
    return [*losses, tutorial.evaluate(model, criterion, src, trg)]


def test_encoder_decoder(tutorial: SimpleNamespace, cuda: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    there = train(tutorial, "cuda")
    monkeypatch.setattr(mg.cuda, "is_available", lambda: False)
    assert there == pytest.approx(train(tutorial, "cpu"), rel=1e-5)


def test_attention(tutorial: SimpleNamespace, cuda: ModuleType) -> None:
    found = []
    for device in ("cpu", "cuda"):
        mg.manual_seed(0)
        model = tutorial.AttentiveTranslator(13, 5, 6, 7).to(device).eval()
        output = model(mg.tensor(SRC, device=device), mg.tensor(LENGTHS), mg.tensor(TRG, device=device))
        assert not output.is_cuda  # the tutorial gathers its outputs on the host
        target = mg.tensor(TRG)[1:].view(-1)
        loss = mg.nn.functional.cross_entropy(output[1:].view(-1, 13), target, ignore_index=1)
        loss.backward()
        found.append([loss.item(), *(param.grad.norm().item() for param in model.parameters())])
    assert found[1] == pytest.approx(found[0], rel=1e-4)
