"""Losses, recurrent stacks and changes of layout against finite differences, over shapes, without PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
import minigrad.nn.functional as F
from minigrad import nn
from minigrad.nn.binary import BinaryCrossEntropy
from minigrad.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence, reverse_sequence

seeds, sizes = st.integers(0, 2**16), st.integers(1, 4)


def leaf(values: np.ndarray) -> mg.Tensor:
    return mg.tensor(np.asarray(values, np.float64), requires_grad=True)


@given(seeds, sizes, sizes, st.sampled_from(["mean", "sum", "none"]), st.booleans(), st.booleans())
def test_losses(count_case: Callable, seed: int, n: int, c: int, reduction: str, weighted: bool, deep: bool) -> None:
    rng = np.random.default_rng(seed)
    shape = (n, c, 2) if deep else (n, c)
    x, soft, p = leaf(rng.normal(size=shape)), leaf(rng.uniform(size=shape)), leaf(rng.uniform(0.1, 0.9, shape))
    ids = mg.tensor(rng.integers(0, c, (n, 2) if deep else (n,)))
    factors = mg.tensor(rng.uniform(0.5, 2, c)) if weighted else None
    spread = mg.tensor(rng.uniform(0.5, 2, shape)) if weighted else None
    cases: list[tuple[Any, list[mg.Tensor]]] = [
        (lambda x: F.cross_entropy(x, ids, factors, reduction=reduction, label_smoothing=0.1), [x]),
        (lambda x: F.nll_loss(x, ids, factors, reduction=reduction), [x]),
        (lambda x, t: F.cross_entropy(x, t, factors, reduction=reduction, label_smoothing=0.2), [x, soft]),
        (lambda x, t: F.mse_loss(x, t, reduction=reduction), [x, soft]),
        (lambda p, t: F.binary_cross_entropy(p, t, spread, reduction=reduction), [p, soft]),
        (lambda x, t: F.binary_cross_entropy_with_logits(x, t, spread, reduction=reduction), [x, soft]),
    ]
    for fn, inputs in cases:
        mg.gradcheck(fn, inputs, num_directions=1)
        count_case()


@settings(max_examples=20)
@given(seeds, st.lists(st.integers(0, 3), min_size=1, max_size=3), st.booleans(), st.sampled_from(["LSTM", "GRU"]))
def test_recurrent_stacks(count_case: Callable, seed: int, lengths: list[int], bidirectional: bool, kind: str) -> None:
    mg.manual_seed(seed)
    rnn = getattr(nn, kind)(2, 3, num_layers=2, bidirectional=bidirectional).double()
    rng, rows = np.random.default_rng(seed), 4 if bidirectional else 2
    x = leaf(rng.normal(size=(3, len(lengths), 2)))
    states = [leaf(rng.normal(size=(rows, len(lengths), 3))) for _ in rnn.state_names]

    def run(x: mg.Tensor, *states: mg.Tensor) -> tuple:
        y, final = rnn(x, states if len(states) > 1 else states[0], lengths=lengths)
        return (y, *final) if isinstance(final, tuple) else (y, final)

    mg.gradcheck(lambda *inputs: run(*inputs[: 1 + len(states)]), [x, *states, *rnn.parameters()], num_directions=1)
    count_case()


@given(seeds, st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(0, 3))
def test_layouts(count_case: Callable, seed: int, lengths: list[int], features: int) -> None:
    rng = np.random.default_rng(seed)
    x = leaf(rng.normal(size=(4, len(lengths), features)))
    pieces = [leaf(rng.normal(size=(length, features))) for length in lengths]

    def packed(x: mg.Tensor) -> tuple:
        sequence = pack_padded_sequence(x, lengths, enforce_sorted=False)
        return sequence.data, pad_packed_sequence(sequence)[0]

    cases: list[tuple[Any, list[mg.Tensor]]] = [
        (packed, [x]),
        (lambda *pieces: pad_sequence(pieces, padding_value=0.5), pieces),
        (lambda x: reverse_sequence(x, np.array(lengths)), [x]),
    ]
    for fn, inputs in cases:
        mg.gradcheck(fn, inputs, num_directions=1)
        count_case()


def test_a_wrong_gradient_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    right = BinaryCrossEntropy.backward
    monkeypatch.setattr(BinaryCrossEntropy, "backward", lambda ctx, grad: (right(ctx, grad)[0] * 1.001, None))
    with pytest.raises(AssertionError):
        mg.gradcheck(lambda p: F.binary_cross_entropy(p, mg.zeros(2, dtype=mg.float64)), leaf(np.array([0.2, 0.6])))
