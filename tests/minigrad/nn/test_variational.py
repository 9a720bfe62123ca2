"""Variational dropout and dropped weights: masks, their statistics, and layers under them against PyTorch."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import kernels.reference as reference
import minigrad
from minigrad import Tensor, nn, no_grad, ones, random
from minigrad.nn import functional as F
from minigrad.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence, rows_of

LENGTHS = np.array([2, 5, 1, 4])
T, N, IN, H, L = 5, 4, 3, 6, 3
P = 0.4


@pytest.fixture
def sequences() -> PackedSequence:
    x = Tensor(np.random.default_rng(5).standard_normal((T, N, IN)), requires_grad=True)
    return pack_padded_sequence(x, LENGTHS, enforce_sorted=False)


def make_lstm(**options) -> nn.LSTM:
    minigrad.manual_seed(3)
    return nn.LSTM(IN, H, L, dropout=P, dtype=minigrad.float64, **options)


def drawn(site: int, *shape: int) -> np.ndarray:
    """The mask that this draw of step 0 has, by the plain reference."""
    return reference.dropout(np.ones(shape), P, random.get_state().seed, 0, site)


def test_a_sequence_has_one_mask_at_all_steps(sequences) -> None:
    random.seed_step(1, 0)
    with nn.variational_dropout(sequences):
        first, second = (F.dropout(ones(LENGTHS.sum(), 40, dtype=minigrad.float64), P).numpy() for _ in range(2))
    rows = rows_of(sequences)
    np.testing.assert_array_equal(first, drawn(0, N, 40)[rows])
    np.testing.assert_array_equal(second, drawn(1, N, 40)[rows])
    assert len(np.unique(first, axis=0)) == N


def test_statistics_of_the_masks() -> None:
    """The share of zeros, of each sequence and each feature, and no correlation from one mask to the next."""
    random.seed_step(2, 0)
    with nn.variational_dropout(1000):
        masks = [F.dropout(ones(1000, 200), 0.3).numpy() for _ in range(2)]
    for mask in masks:
        np.testing.assert_array_equal(np.unique(mask), np.float32([0, 1 / 0.7]))
        for axis, count in ((None, 200_000), (0, 1000), (1, 200)):
            spread = np.sqrt(0.3 * 0.7 / count)
            assert (abs((mask == 0).mean(axis) - 0.3) < 5 * spread).all()
    for one, other in ((masks[0], masks[1]), (masks[0][1:], masks[0][:-1]), (masks[0][:, 1:], masks[0][:, :-1])):
        assert abs(np.corrcoef(one.reshape(-1), other.reshape(-1))[0, 1]) < 5 / np.sqrt(199_000)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_layers_are_pytorchs_under_the_same_masks(sequences, bidirectional: bool) -> None:
    """Values and all gradients; every sequence alone there, its mask multiplied in at each step."""
    torch = pytest.importorskip("torch")
    lstm, directions = make_lstm(bidirectional=bidirectional), 1 + bidirectional
    leaf = Tensor(sequences.data.detach().numpy(), requires_grad=True)
    random.seed_step(1, 0)
    with nn.variational_dropout(sequences):
        y, (h_n, _) = lstm(sequences._replace(data=F.dropout(leaf, P)))
    padded, _ = pad_packed_sequence(y)
    (padded.sum() + (h_n * h_n).sum()).backward()

    weights = {name: torch.tensor(p.array, requires_grad=True) for name, p in lstm.named_parameters()}
    sizes = [IN, directions * H, directions * H]
    masks = [torch.tensor(drawn(site, N, size)) for site, size in enumerate(sizes)]
    x, total, rows = torch.tensor(leaf.array, requires_grad=True), 0, rows_of(sequences)
    for n in range(N):
        z = x[torch.tensor(np.flatnonzero(rows == n))]
        for layer in range(L):
            own = {name.replace(f"_l{layer}", "_l0"): w for name, w in weights.items() if f"_l{layer}" in name}
            module = torch.nn.LSTM(sizes[layer], H, bidirectional=bidirectional).double()
            z, (h, _) = torch.func.functional_call(module, own, (z * masks[layer][n],))
            total = total + (h * h).sum()
        np.testing.assert_allclose(padded.detach().numpy()[: LENGTHS[n], n], z.detach().numpy(), rtol=1e-10, atol=1e-13)
        total = total + z.sum()
    total.backward()
    for name, parameter in lstm.named_parameters():
        np.testing.assert_allclose(parameter.grad.numpy(), weights[name].grad.numpy(), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(leaf.grad.numpy(), x.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_steps_incremental_layers_and_padded_sequences_have_the_masks_of_the_whole(sequences) -> None:
    lstm, zeros = make_lstm(), minigrad.zeros(L, N, H, dtype=minigrad.float64)
    masks, state, ys = nn.variational_dropout(sequences), (zeros, zeros), []
    with masks:
        whole = pad_packed_sequence(lstm(sequences)[0])[0].detach().numpy()
    given, _ = pad_packed_sequence(sequences)
    for t in range(T):
        with masks.step():
            y, state = lstm(given[t].unsqueeze(0), state)
        ys.append(y.detach().numpy()[0])
    within = np.arange(T)[:, None] < LENGTHS
    np.testing.assert_allclose(np.array(ys)[within], whole[within], rtol=1e-12, atol=1e-15)
    with masks.step():
        padded, _ = lstm(given, lengths=LENGTHS)
    np.testing.assert_array_equal(padded.detach().numpy(), whole)
    with masks:
        incremental = nn.IncrementalLSTM(lstm, (zeros, zeros), LENGTHS)
    parts = [incremental.step(sequences.data[first:last]) for first, last in ((0, 4), (4, 9), (9, 12))]
    finished = incremental.finish(sequences.data)[0].detach().numpy()
    np.testing.assert_array_equal(np.concatenate([part.numpy() for part in parts]), finished)
    np.testing.assert_array_equal(pad_packed_sequence(sequences._replace(data=Tensor(finished)))[0].numpy(), whole)


def test_it_is_on_inside_alone_in_training_alone_and_in_its_thread(sequences) -> None:
    x, found = ones(LENGTHS.sum(), 50), []
    with nn.variational_dropout(sequences):
        assert F.dropout(x, P, training=False) is x
        assert nn.Dropout(P).eval()(x) is x
        with nn.variational_dropout.repacked(sequences):
            pass
        thread = threading.Thread(target=lambda: found.append(F.dropout(x, P).numpy()))
        thread.start()
        thread.join()
    found.append(F.dropout(x, P).numpy())
    assert [len(np.unique(mask, axis=0)) for mask in found] == [LENGTHS.sum()] * 2
    random.seed_step(1, 0)
    plain = F.dropout(x, P).numpy()
    random.seed_step(1, 0)
    np.testing.assert_array_equal(F.dropout(x, P).numpy(), plain)
    assert nn.variational_dropout.active() is None


@pytest.mark.parametrize("shape", [(4, 3), (13, 3), (2, 5, 3), (12,)])
def test_other_rows_are_refused(sequences, shape: tuple[int, ...]) -> None:
    with nn.variational_dropout(sequences), pytest.raises(ValueError, match=r"expected \(12, F\) or \(\.\.\., 4, F\)"):
        F.dropout(ones(*shape), P)


def test_dropped_weights_are_the_same_at_all_steps_and_come_back(sequences) -> None:
    """As a layer with the masked weights; what is masked has no gradient, what is kept one that is scaled."""
    lstm = nn.LSTM(IN, H, 2, bidirectional=True, dtype=minigrad.float64)
    whole = dict(lstm.named_parameters())
    masked = nn.LSTM(IN, H, 2, bidirectional=True, dtype=minigrad.float64)
    masked.load_state_dict(lstm.state_dict())
    sequences = sequences._replace(data=sequences.data.detach())
    random.seed_step(1, 0)
    with nn.utils.weight_drop(lstm, P):
        y = lstm(sequences)[0].data
    recurrent = [name for name in whole if name.startswith("weight_hh")]
    masks = {name: drawn(site, 4 * H, H) for site, name in enumerate(recurrent)}
    assert len(recurrent) == 4
    with no_grad():
        for name, parameter in masked.named_parameters():
            parameter.copy_(parameter * Tensor(masks.get(name, np.ones(1))))
    expected = masked(sequences)[0].data
    np.testing.assert_array_equal(y.detach().numpy(), expected.detach().numpy())
    y.sum().backward()
    expected.sum().backward()
    for name, parameter in lstm.named_parameters():
        assert parameter is whole[name]
        gradient = dict(masked.named_parameters())[name].grad.numpy() * masks.get(name, 1)
        np.testing.assert_allclose(parameter.grad.numpy(), gradient, rtol=1e-12, atol=0)
    with pytest.raises(ZeroDivisionError), nn.utils.weight_drop(lstm, P):
        _ = 1 / 0
    assert all(parameter is whole[name] for name, parameter in lstm.named_parameters())
    with pytest.raises(ValueError, match="p is 2; expected a probability"), nn.utils.weight_drop(lstm, 2):
        pass
    assert all(parameter is whole[name] for name, parameter in lstm.named_parameters())
