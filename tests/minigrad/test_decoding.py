"""PackedDecoder and PackedEncoder: the modules' numbers, packed anew when they change, no memory held too long."""

import gc
import weakref

import numpy as np
import pytest

import minigrad
from minigrad import Tensor, autocast, nn, no_grad, optim
from minigrad.decoding import PackedDecoder, PackedEncoder
from minigrad.nn import functional as F

V, E, H, L, N = 9, 4, 5, 2, 6


def build(seed=0, bias=True, sparse=False):
    """Embedding, LSTM and output layer with weights large enough to have opinions."""
    minigrad.manual_seed(seed)
    parts = nn.Embedding(V, E, sparse=sparse), nn.LSTM(E, H, L, bias=bias), nn.Linear(H, V, bias=bias)
    for part in parts:
        for parameter in part.parameters():
            nn.init.uniform_(parameter, -1, 1)
    return parts


def states(dtype=np.float32):
    rng = np.random.default_rng(1)
    return tuple(Tensor(rng.standard_normal((L, N, H)).astype(dtype)) for _ in "hc")


def search(decoder, dtype=np.float32):
    """greedy's results and those of a beam of 3, in one list."""
    return [*decoder.greedy(states(dtype), 2, 3, (1, 2), 6), *decoder.beam(states(dtype), 2, 3, (1, 2), 6, 3, 0.5, 2)]


def equal(one, other):
    return all(a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


@no_grad()
def greedy_on_the_tape(embedding, rnn, output, state):
    """Words (N, 6) and log_probs (N,) by the modules themselves."""
    going, words, total = np.ones(N, bool), np.full((N, 6), -1), np.zeros(N)
    previous = np.full(N, 2)
    for step in range(6):
        y, state = rnn(embedding(Tensor(previous[None])), state)
        log_probs = F.log_softmax(output(y[0]), dim=-1).numpy().copy()
        log_probs[:, [1, 2]] = -np.inf
        previous = log_probs.argmax(axis=1)
        total += np.where(going, log_probs.max(axis=1), 0)
        going = going & (previous != 3)
        words[going, step] = previous[going]
    return words, total


@pytest.mark.parametrize("bias", [True, False])
def test_it_finds_what_the_modules_find(bias) -> None:
    parts = build(bias=bias)
    words, lengths, log_probs, *_ = search(PackedDecoder(*parts))
    expected, total = greedy_on_the_tape(*parts, states())
    np.testing.assert_array_equal(words, expected)
    np.testing.assert_array_equal(lengths, (expected >= 0).sum(axis=1))
    np.testing.assert_allclose(log_probs, total, rtol=1e-5)


@no_grad()
def double_a_weight(embedding, rnn, output, optimizer):
    rnn.weight_hh_l1.mul_(2)


def learn(embedding, rnn, output, optimizer):
    y, _ = rnn(embedding(Tensor(np.array([[3, 4, 4]]))))
    F.cross_entropy(output(y[0]), Tensor(np.array([1, 2, 3]))).backward()
    optimizer.step()


def load(embedding, rnn, output, optimizer):
    output.load_state_dict({name: 2 * tensor.detach() for name, tensor in output.state_dict().items()})


def to_double(embedding, rnn, output, optimizer):
    for part in (embedding, rnn, output):
        part.double()


@pytest.mark.parametrize("change", [double_a_weight, learn, load, to_double])
@pytest.mark.parametrize("sparse", [False, True])
def test_weights_that_change_are_packed_again(change, sparse) -> None:
    parts = build(sparse=sparse)
    optimizer = optim.Adam([p for part in parts for p in part.parameters()], lr=0.3)
    decoder = PackedDecoder(*parts)
    before = search(decoder)
    for _ in range(1 if change is to_double else 2):
        change(*parts, optimizer)
        dtype = parts[0].weight.dtype
        after = search(decoder, dtype)
        assert equal(after, search(PackedDecoder(*parts), dtype))
        assert not equal(after, before)
        before = after


def test_equal_weights_are_packed_once(monkeypatch) -> None:
    decoder, packed = PackedDecoder(*build()), []
    pack = decoder._pack
    monkeypatch.setattr(decoder, "_pack", lambda: packed.append(1) or pack())
    assert equal(search(decoder), search(decoder))
    assert packed == [1]


def test_no_parameter_is_held() -> None:
    """A tensor that lags behind its optimiser could not, as long as somebody held its memory."""
    parts = build()
    decoder = PackedDecoder(*parts)
    search(decoder)
    arrays = [weakref.ref(parameter.array) for part in parts for parameter in part.parameters()]
    for part in parts:
        part.double()
    gc.collect()
    assert [array() for array in arrays] == [None] * len(arrays)


def test_bf16_is_near() -> None:
    parts = build()
    exact, rounded = (search(PackedDecoder(*parts, form=form))[2] for form in ("full", "bf16"))
    assert not np.array_equal(exact, rounded)
    np.testing.assert_allclose(np.median(np.abs(rounded / exact - 1)), 0, atol=0.02)


def test_modules_must_fit() -> None:
    embedding, rnn, output = build()
    with pytest.raises(ValueError, match="rnn is bidirectional; expected one direction"):
        PackedDecoder(embedding, nn.LSTM(E, H, bidirectional=True), output)
    with pytest.raises(ValueError, match=r"rnn\.input_size is 3; expected embedding_dim = 4"):
        PackedDecoder(embedding, nn.LSTM(3, H), output)
    with pytest.raises(ValueError, match=r"output\.in_features is 4; expected rnn\.hidden_size = 5"):
        PackedDecoder(embedding, rnn, nn.Linear(4, V))
    with pytest.raises(ValueError, match=r"output\.out_features is 8; expected num_embeddings = 9"):
        PackedDecoder(embedding, rnn, nn.Linear(H, 8))


def test_memory_that_was_exposed_may_have_changed() -> None:
    """Writing through ``data`` and through ``detach().numpy()`` leaves no trace in the version."""
    parts = build()
    decoder = PackedDecoder(*parts)
    before = search(decoder)
    parts[2].bias.data[4] = 50.0
    changed = search(decoder)
    assert (changed[0][:, 0] == 4).all()
    assert not equal(before, changed)
    parts[2].bias.detach().numpy()[4] = -50.0
    assert not (search(decoder)[0] == 4).any()


LENGTHS = np.array([4, 1, 0, 3, 4, 2])


@no_grad()
def run_of_the_modules(embedding, rnn, words, lengths, bf16=False):
    """What the modules in evaluation make of words (T, N): outputs and the last states."""
    embedding.eval(), rnn.eval()
    with autocast("cpu", enabled=bf16):
        return rnn(embedding(Tensor(words)), lengths=lengths)


def states_of_the_modules(*arguments, **options):
    return run_of_the_modules(*arguments, **options)[1]


def equal_states(one, other):
    return equal([state.array for state in one], [state.array for state in other])


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_states_are_those_of_the_modules(bf16, bias, lengths) -> None:
    embedding, rnn, _ = build(bias=bias)
    rnn.dropout = 0.5
    words = np.random.default_rng(2).integers(0, V, (4, N))
    got = PackedEncoder(embedding, rnn, bf16).states(words, lengths)
    assert [state.shape for state in got] == [(L, N, H)] * 2
    assert not any(state.requires_grad for state in got)
    assert equal_states(got, states_of_the_modules(embedding, rnn, words, lengths, bf16))
    if bf16:
        assert not equal_states(got, states_of_the_modules(embedding, rnn, words, lengths))


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("lengths", [None, np.full(N, 4), LENGTHS])
@pytest.mark.parametrize(("cell", "bias"), [(nn.LSTM, True), (nn.GRU, True), (nn.GRU, False)])
def test_runs_are_those_of_the_modules(bf16, bidirectional, lengths, cell, bias) -> None:
    embedding, rnn = nn.Embedding(V, E), cell(E, H, L, bias=bias, bidirectional=bidirectional)
    words = np.random.default_rng(2).integers(0, V, (4, N))
    outputs, states = PackedEncoder(embedding, rnn, bf16).run(words, lengths)
    expected, expected_states = run_of_the_modules(embedding, rnn, words, lengths, bf16)
    np.testing.assert_array_equal(outputs.array, expected.array)
    assert equal_states(states, expected_states if cell is nn.LSTM else (expected_states,))


@pytest.mark.parametrize("change", [double_a_weight, learn, to_double])
@pytest.mark.parametrize("sparse", [False, True])
def test_states_are_those_of_weights_that_change(change, sparse) -> None:
    parts = build(sparse=sparse)
    optimizer = optim.Adam([p for part in parts for p in part.parameters()], lr=0.3)
    encoder, words = PackedEncoder(*parts[:2]), np.random.default_rng(3).integers(0, V, (4, N))
    before = encoder.states(words, LENGTHS)
    for _ in range(1 if change is to_double else 2):
        change(*parts, optimizer)
        after = encoder.states(words, LENGTHS)
        assert equal_states(after, states_of_the_modules(*parts[:2], words, LENGTHS))
        assert not equal_states(after, before)
        before = after


def test_an_encoder_packs_once_and_holds_no_parameter(monkeypatch) -> None:
    parts = build()
    encoder, packed = PackedEncoder(*parts[:2]), []
    pack = encoder._pack
    monkeypatch.setattr(encoder, "_pack", lambda: packed.append(1) or pack())
    for _ in range(2):
        encoder.states(np.zeros((3, 2), int))
    assert packed == [1]
    arrays = [weakref.ref(parameter.array) for parameter in parts[1].parameters()]
    parts[1].double()
    gc.collect()
    assert [array() for array in arrays] == [None] * len(arrays)


def test_the_modules_of_an_encoder_must_fit() -> None:
    embedding, _, _ = build()
    with pytest.raises(ValueError, match=r"PackedEncoder: rnn\.input_size is 3; expected embedding_dim = 4"):
        PackedEncoder(embedding, nn.LSTM(3, H))


def test_parameters_without_memory_are_packed_and_stay_so() -> None:
    parts = build()
    expected = search(PackedDecoder(*parts))
    weights = [parts[1].weight_hh_l0, parts[2].weight]
    arrays = [weight.array.copy() for weight in weights]
    for weight, array in zip(weights, arrays, strict=True):
        weight.store(array.copy)
    assert equal(search(PackedDecoder(*parts)), expected)
    for weight, array in zip(weights, arrays, strict=True):
        assert (weight.shape, weight.raw_array().strides) == (array.shape, (0, 0))
        np.testing.assert_array_equal(weight.array, array)
        assert weight.raw_array().strides == array.strides
