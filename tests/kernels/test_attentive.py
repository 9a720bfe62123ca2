"""The attentive layer: token by token, gradients by differences, CPU against reference, bits, refused arguments."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kernels
from kernels import AttentiveState, AttentiveWeights, reference, threads
from kernels.attentive import GATES
from kernels.cpu import lstm as cpu_lstm
from kernels.packing import equal_lengths, pack_lengths

TARGETS, SOURCES = np.array([2, 4, 0, 3, 1]), np.array([7, 1, 3, 0, 5])
SCORES = ["dot", "general", "additive", "coverage"]
TOLERANCE = {np.float32: {"rtol": 1e-4, "atol": 2e-5}, np.float64: {"rtol": 1e-11, "atol": 1e-12}}


def draw(rng, cell, score, targets=TARGETS, S=7, I=3, H=5, D=4, dtype=np.float64):  # noqa: E741
    """The floating arguments by name, the record before the field, and the gradients of the results."""
    N, P, G, A = len(targets), int(np.sum(targets)), GATES[cell] * H, H if score == "dot" else 6
    shapes = {"x": (P, I), "keys": (S, N, A), "values": (S, N, D), "state.h": (N, H), "state.context": (N, D)}
    shapes |= {f"weights.{name}": (G, width) for name, width in (("input", I), ("context", D), ("hidden", H))}
    shapes |= {"weights.bias_ih": (G,), "weights.bias_hh": (G,)}
    shapes |= {"state.c": (N, H)} if cell == "lstm" else {}
    shapes |= {} if score == "dot" else {"weights.query": (A, H)}
    shapes |= {"weights.v": (A,)} if score in ("additive", "coverage") else {}
    shapes |= {"state.coverage": (N, S), "weights.coverage": (A,)} if score == "coverage" else {}
    inputs = {name: (0.6 * rng.standard_normal(shape)).astype(dtype) for name, shape in shapes.items()}
    outputs = {"y": (P, H), "context": (P, D), "alignment": (P, S)}
    outputs |= {name: shape for name, shape in shapes.items() if name.startswith("state.")}
    return inputs, {name: rng.standard_normal(shape).astype(dtype) for name, shape in outputs.items()}


def record(kind, prefix, arrays):
    return kind(*(arrays.get(f"{prefix}.{name}") for name in kind._fields))


def named(prefix, values):
    return {f"{prefix}.{name}": array for name, array in values._asdict().items() if array is not None}


def forward(backend, inputs, cell, targets=TARGETS, sources=SOURCES, **options):
    """The outputs by name, and the cache."""
    records = record(AttentiveState, "state", inputs), record(AttentiveWeights, "weights", inputs)
    arguments = (*records, inputs["keys"], inputs["values"], sources, pack_lengths(targets), cell)
    y, context, alignment, state, cache = backend.attentive_forward(inputs["x"], *arguments, scale=0.7, **options)
    return {"y": y, "context": context, "alignment": alignment} | named("state", state), cache


def backward(backend, grads, cache):
    """The gradients by name."""
    given = [grads.get(name) for name in ("y", "context", "alignment")]
    dx, state, weights, dkeys, dvalues = backend.attentive_backward(
        *given, record(AttentiveState, "state", grads), cache
    )
    return {"x": dx, "keys": dkeys, "values": dvalues} | named("state", state) | named("weights", weights)


def logistic(a):
    return 1 / (1 + np.exp(-a))


def cell_by_hand(cell, a, b, h, c, hidden):
    """One row: input part a with all biases but b, those of a GRU's recurrent part."""
    H = len(h)
    if cell == "lstm":
        i, f, g, o = np.split(a + hidden @ h + b, 4)
        c = logistic(f) * c + logistic(i) * np.tanh(g)
        return logistic(o) * np.tanh(c), c
    r, z = np.split(logistic(a[: 2 * H] + hidden[: 2 * H] @ h + b[: 2 * H]), 2)
    inside = {"gru": r * (hidden[2 * H :] @ h + b[2 * H :]), "cho-gru": hidden[2 * H :] @ (r * h) + b[2 * H :]}
    return (1 - z) * np.tanh(a[2 * H :] + inside[cell]) + z * h, c


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("cell", GATES)
def test_token_by_token(backend, rng, cell, score):
    """Each sentence in plain NumPy."""
    inputs, _ = draw(rng, cell, score)
    outputs, _ = forward(backend, inputs, cell)
    w = {name.removeprefix("weights."): array for name, array in inputs.items() if name.startswith("weights.")}
    order = sorted(range(len(TARGETS)), key=lambda n: -TARGETS[n])
    places = {place: token for token, place in enumerate((t, n) for t in range(4) for n in order if t < TARGETS[n])}
    for n, length in enumerate(TARGETS):
        h, read, live = inputs["state.h"][n], inputs["state.context"][n], slice(SOURCES[n])
        c = inputs["state.c"][n] if cell == "lstm" else None
        covered = inputs["state.coverage"][n].copy() if score == "coverage" else None
        keys, values = inputs["keys"][live, n], inputs["values"][live, n]
        for t in range(length):
            token = places[t, n]
            a = w["input"] @ inputs["x"][token] + w["context"] @ read + w["bias_ih"]
            h, c = cell_by_hand(cell, a, w["bias_hh"], h, c, w["hidden"])
            query = w["query"] @ h if "query" in w else h
            inside = query + keys + (np.outer(covered[live], w["coverage"]) if score == "coverage" else 0)
            exps = np.exp(np.tanh(inside) @ w["v"] if "v" in w else 0.7 * keys @ query)
            alignment = exps / exps.sum() if len(exps) else exps
            read = alignment @ values
            np.testing.assert_allclose(outputs["y"][token], h, atol=1e-13)
            np.testing.assert_allclose(outputs["context"][token], read, atol=1e-13)
            np.testing.assert_allclose(outputs["alignment"][token, live], alignment, atol=1e-13)
            assert not outputs["alignment"][token, SOURCES[n] :].any()
            if score == "coverage":
                covered[live] += alignment
        last = {"h": h, "context": read, "c": c, "coverage": covered}
        for name, state in last.items():
            if state is not None:
                np.testing.assert_allclose(outputs[f"state.{name}"][n], state, atol=1e-13)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("cell", GATES)
def test_gradients(rng, check_gradients, cell, score):
    """Of the reference, with a gradient on all outputs, and on each alone."""
    inputs, everything = draw(rng, cell, score)
    cache = forward(reference, inputs, cell)[1]
    for grads in (everything, *({name: grad} for name, grad in everything.items())):

        def loss(values, grads=grads):
            outputs = forward(reference, values, cell)[0]
            return sum(float((outputs[name] * grad).sum()) for name, grad in grads.items())

        check_gradients(loss, inputs, backward(reference, grads, cache))
    found = backward(reference, everything, cache)
    assert found.keys() == inputs.keys()
    for name, grad in found.items():
        with pytest.raises(AssertionError, match=f"gradient of {name}"):
            check_gradients(lambda values: loss(values, everything), inputs, {name: 1.001 * grad})


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("cell", GATES)
@given(data=st.data(), N=st.integers(0, 5), S=st.sampled_from([0, 1, 9]), seed=st.integers(0, 99))
def test_cpu_equals_reference(cell, dtype, data, N, S, seed):
    targets, sources = (
        np.array(data.draw(st.lists(st.integers(0, most), min_size=N, max_size=N)), int) for most in (4, S)
    )
    score, H = data.draw(st.sampled_from(SCORES)), data.draw(st.sampled_from([1, 5, 17]))
    inputs, grads = draw(np.random.default_rng(seed), cell, score, targets, S, H=H, dtype=dtype)
    if data.draw(st.booleans()):
        inputs = {name: array for name, array in inputs.items() if "bias" not in name}
    grads = {name: grad for name, grad in grads.items() if data.draw(st.booleans())}
    results = []
    for backend in (kernels, reference):
        outputs, cache = forward(backend, inputs, cell, targets, sources)
        results.append(outputs | {f"d{name}": grad for name, grad in backward(backend, grads, cache).items()})
    assert results[0].keys() == results[1].keys()
    for name, want in results[1].items():
        assert results[0][name].dtype == want.dtype == dtype
        np.testing.assert_allclose(results[0][name], want, **TOLERANCE[dtype], err_msg=name)


@pytest.mark.parametrize("cell", GATES)
def test_bf16_rounds_the_operands_of_products(rng, cell):
    """On both sides alike; a number on the edge of two bfloat16 ones may be rounded to either."""
    inputs, grads = draw(rng, cell, "general", H=40, D=36, I=33, dtype=np.float32)
    found = []
    for backend, bf16 in ((kernels, True), (reference, True), (kernels, False)):
        outputs, cache = forward(backend, inputs, cell, bf16=bf16)
        found.append(outputs | {f"d{name}": grad for name, grad in backward(backend, grads, cache).items()})
    rounded, want, exact = found
    for name, array in exact.items():
        scale = np.abs(array).max()
        np.testing.assert_allclose(rounded[name], want[name], rtol=0, atol=5e-3 * scale, err_msg=name)
        if not name.startswith("state"):
            assert np.abs(rounded[name] - array).max() > 1e-5 * scale, name


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("cell", GATES)
def test_bits_depend_on_nothing_beside(rng, monkeypatch, cell, score):
    """Not on threads; nor a sentence's results and gradients on the others, or on how far its memory is padded."""
    monkeypatch.setattr(cpu_lstm, "SERIAL_WORK", 0)
    targets, sources = np.arange(14) % 5, (7 * np.arange(14)) % 34
    inputs, grads = draw(rng, cell, score, targets, S=33, I=35, H=37, D=39, dtype=np.float32)

    def both_ways(inputs, grads, targets, sources):
        outputs, cache = forward(kernels, inputs, cell, targets, sources)
        return outputs | {f"d{name}": grad for name, grad in backward(kernels, grads, cache).items()}

    want = both_ways(inputs, grads, targets, sources)
    before = threads.get_num_threads()
    try:
        for count in (1, 2, 3):
            threads.set_num_threads(count)
            for name, array in both_ways(inputs, grads, targets, sources).items():
                assert array.tobytes() == want[name].tobytes(), name
    finally:
        threads.set_num_threads(before)
    n = 9  # 4 tokens over 29 positions
    order = sorted(range(len(targets)), key=lambda n: -targets[n])
    tokens = [n for t in range(4) for n in order if t < targets[n]]
    rows, source = [token for token, row in enumerate(tokens) if row == n], sources[n]

    def alone(name, array, pad):
        if name in ("keys", "values"):
            return np.pad(array[:source, [n]], ((0, pad), (0, 0), (0, 0)), constant_values=np.nan)
        part = array if name.startswith("weights") else array[[n]] if name.startswith("state") else array[rows]
        over_memory = name in ("alignment", "state.coverage")
        return np.pad(part[:, :source], ((0, 0), (0, pad)), constant_values=np.nan) if over_memory else part

    some = ({name: alone(name, array, 19) for name, array in given.items()} for given in (inputs, grads))
    for name, array in both_ways(*some, targets[[n]], sources[[n]]).items():
        if not name.startswith("dweights"):
            bare = name.removeprefix("d")
            cut = (slice(None), slice(source)) if bare in ("alignment", "state.coverage") else slice(None)
            cut = slice(source) if bare in ("keys", "values") else cut
            assert array[cut].tobytes() == alone(bare, want[name], 0).tobytes(), name


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("cell", GATES)
def test_prepacked_weights_give_the_same(backend, rng, cell, score):
    """To the bit, also where a record holds no bias, and after the weights have changed."""
    inputs, _ = draw(rng, cell, score, dtype=np.float32)
    inputs = {name: array for name, array in inputs.items() if score != "general" or "bias" not in name}
    for bf16 in (False, True):
        want, _ = forward(backend, inputs, cell, bf16=bf16)
        weights = {name: array.copy() for name, array in inputs.items()}
        prepacked = backend.prepack_attentive(record(AttentiveWeights, "weights", weights), cell, bf16)
        for array in weights.values():
            array[...] = np.nan
        state, memory = record(AttentiveState, "state", inputs), (inputs["keys"], inputs["values"], SOURCES)
        *found, last = backend.attentive_states(inputs["x"], state, prepacked, *memory, pack_lengths(TARGETS), 0.7)
        named_outputs = dict(zip(("y", "context", "alignment"), found, strict=True)) | named("state", last)
        assert named_outputs.keys() == want.keys()
        for name, array in named_outputs.items():
            np.testing.assert_array_equal(array, want[name], err_msg=name)


def test_views_are_taken_as_they_are(rng):
    """Weights cut out of larger ones, and transposed memories."""
    inputs, _ = draw(rng, "lstm", "general")
    want, _ = forward(kernels, inputs, "lstm")
    wide = {name: np.repeat(array, 2, axis=-1)[..., ::2] for name, array in inputs.items()}
    assert not wide["weights.input"].flags.c_contiguous
    for name, array in forward(kernels, wide, "lstm")[0].items():
        np.testing.assert_array_equal(array, want[name])


def zeros(*shape, dtype=np.float64):
    return np.zeros(shape, dtype)


N, S, I, H, D, A = 2, 3, 4, 5, 6, 7  # noqa: E741
ERRORS = [
    ({"cell": "rnn"}, ValueError, "cell is 'rnn'; expected lstm, gru, cho-gru"),
    ({"cell": "gru", "state.c": None}, ValueError, "weights.hidden has shape (20, 5); expected (3H, H) for a cell gru"),
    ({"state.c": None}, ValueError, "state.c is not given; a cell lstm has one"),
    ({"state.h": zeros(3, H)}, ValueError, "state.h has shape (3, 5); expected (N, H) = (2, 5)"),
    ({"state.context": zeros(N, 5)}, ValueError, "weights.context has shape (20, 6); expected (G, D) = (20, 5)"),
    ({"values": zeros(S, N, 5)}, ValueError, "values has shape (3, 2, 5); expected (S, N, D) = (3, 2, 6)"),
    ({"weights.context": zeros(20, 5)}, ValueError, "weights.context has shape (20, 5); expected (G, D) = (20, 6)"),
    ({"weights.input": zeros(20, 4, dtype=np.float32)}, TypeError, "weights.input has dtype float32; expected float64"),
    ({"weights.query": None}, ValueError, "keys has shape (3, 2, 7); expected A = H = 5 without weights.query"),
    ({"weights.bias_ih": zeros(20)}, ValueError, "weights.bias_hh is None but weights.bias_ih is not"),
    ({"weights.coverage": zeros(A)}, ValueError, "state.coverage is None but weights.coverage is not"),
    (
        {"weights.coverage": zeros(A), "state.coverage": zeros(N, S)},
        ValueError,
        "weights.v is None but weights.coverage is not",
    ),
    ({"lengths": np.array([1, 4])}, ValueError, "lengths holds 4; expected values in 0..S = 0..3 from keys"),
    ({"x": zeros(5, I)}, ValueError, "x has shape (5, 4); expected (P, I) = (6, 4) from packing.num_tokens 6"),
]


@pytest.mark.parametrize(("change", "error", "text"), ERRORS, ids=[text for _, _, text in ERRORS])
def test_arguments(change, error, text):
    given = {"x": zeros(6, I), "keys": zeros(S, N, A), "values": zeros(S, N, D), "lengths": np.array([3, 0])}
    given |= {"state.h": zeros(N, H), "state.context": zeros(N, D), "state.c": zeros(N, H), "cell": "lstm"}
    given |= {"weights.input": zeros(20, I), "weights.context": zeros(20, D), "weights.hidden": zeros(20, H)}
    given |= {"weights.query": zeros(A, H)} | change
    arrays = record(AttentiveState, "state", given), record(AttentiveWeights, "weights", given)
    rest = given["keys"], given["values"], given["lengths"], equal_lengths(3, 2), given["cell"]
    with pytest.raises(error, match=re.escape(f"attentive_forward: {text}")):
        kernels.attentive_forward(given["x"], *arrays, *rest)


def test_arguments_of_prepacked_weights():
    good = AttentiveWeights(zeros(20, I), zeros(20, D), zeros(20, H), query=zeros(A, H), v=zeros(A))
    wrong = [
        (good, "gru", "cell is 'gru', weights.hidden has shape (20, 5); expected a cell of lstm (4H, H)"),
        (good._replace(v=zeros(A + 1)), "lstm", "weights.v has shape (8,); expected (7,)"),
        (good._replace(query=zeros(A, D)), "lstm", "weights.query has shape (7, 6); expected (7, 5)"),
        (good._replace(context=zeros(15, D)), "lstm", "weights.context has shape (15, 6); expected (G, D) = (20, 6)"),
    ]
    for weights, cell, text in wrong:
        with pytest.raises(ValueError, match=re.escape(f"prepack_attentive: {text}")):
            kernels.prepack_attentive(weights, cell)
    state = AttentiveState(zeros(N, H), zeros(N, D), zeros(N, H))
    prepacked = kernels.prepack_attentive(good, "lstm")
    arguments = prepacked, zeros(S, N, A + 1), zeros(S, N, D), np.array([3, 0]), equal_lengths(3, 2)
    with pytest.raises(ValueError, match=re.escape("keys has shape (3, 2, 8); expected (S, N, A) = (3, 2, 7)")):
        kernels.attentive_states(zeros(6, I), state, *arguments)
