"""Attention: known values, gradients by differences, CPU against reference, bits that nothing beside changes, NaN."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kernels
from kernels import reference, threads
from kernels.cpu import attention as cpu_attention
from kernels.packing import equal_lengths, pack_lengths

SCORES = ["product", "additive", "coverage"]
NAMES = ("query", "keys", "values", "v", "coverage", "coverage_weight")
TARGETS, SOURCES = np.array([2, 4, 0, 3, 1]), np.array([7, 1, 3, 0, 5])
# A product of float32 numbers is a sum in another order than the oracle's; tanh and exp are off by 3e-7.
TOLERANCE = {np.float32: {"rtol": 2e-5, "atol": 5e-6}, np.float64: {"rtol": 1e-12, "atol": 1e-13}}


def draw(rng, score, targets=TARGETS, S=7, A=6, D=4, dtype=np.float64):
    """The floating arguments of a call, and the gradients of its results."""
    N, P = len(targets), int(np.sum(targets))
    shapes = {"query": (P, A), "keys": (S, N, A), "values": (S, N, D)}
    shapes |= {"v": (A,)} if score != "product" else {}
    shapes |= {"coverage": (N, S), "coverage_weight": (A,)} if score == "coverage" else {}
    inputs = {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}
    return inputs, [rng.standard_normal(shape).astype(dtype) for shape in ((P, D), (P, S))]


def both_ways(backend, inputs, grads, targets=TARGETS, sources=SOURCES, scale=0.7, bf16=False):
    """context, alignment, and the gradients by name."""
    arguments = {**inputs, "lengths": sources, "packing": pack_lengths(targets), "scale": scale, "bf16": bf16}
    context, alignment, cache = backend.attention_forward(**arguments)
    found = dict(zip(NAMES, backend.attention_backward(*grads, cache), strict=True))
    assert {name for name, gradient in found.items() if gradient is not None} == {*inputs}
    return context, alignment, {name: found[name] for name in inputs}


def test_known_values(backend):
    """Two queries of one sequence; scores log 1, log 3 and log 2, log 2, so weights are quarters and halves."""
    query = np.log([[1.0, 3.0], [2.0, 2.0]])
    keys, values = np.eye(2).reshape(2, 1, 2), np.array([8.0, 4.0]).reshape(2, 1, 1)
    arguments = query, keys, values, np.array([2]), equal_lengths(2, 1)
    context, alignment, _ = backend.attention_forward(*arguments)
    np.testing.assert_allclose(alignment, [[0.25, 0.75], [0.5, 0.5]], rtol=1e-14)
    np.testing.assert_allclose(context, [[5], [6]], rtol=1e-14)
    v, weight = np.array([1.0, 0.0]), np.array([100.0, 0.0])
    covered = backend.attention_forward(*arguments, v, np.array([[0.0, 1.0]]), weight)[1]
    # Where the coverage is not 0, the tanh is 1: at first for position 1 alone, then for both.
    first = np.exp([np.tanh(1.0), 1.0])
    np.testing.assert_allclose(covered, [first / first.sum(), [0.5, 0.5]], rtol=1e-12)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("given_grads", [(0, 1), (0,), (1,)], ids=["both", "context", "alignment"])
def test_gradients(backend, rng, check_gradients, score, given_grads):
    inputs, grads = draw(rng, score)
    grads = [grad if output in given_grads else None for output, grad in enumerate(grads)]
    found = both_ways(backend, inputs, grads)[2]

    def loss(values):
        outputs = backend.attention_forward(**values, lengths=SOURCES, packing=pack_lengths(TARGETS), scale=0.7)
        return sum(float((outputs[output] * grads[output]).sum()) for output in given_grads)

    check_gradients(loss, inputs, found)
    for name, grad in found.items():
        if np.abs(grad).max() > 0:
            with pytest.raises(AssertionError, match=f"gradient of {name}"):
                check_gradients(loss, inputs, {name: 1.001 * grad})


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("score", SCORES)
@given(data=st.data(), N=st.integers(0, 5), S=st.sampled_from([0, 1, 2, 9]), seed=st.integers(0, 99))
def test_cpu_equals_reference(score, dtype, data, N, S, seed):
    lengths = [np.array(data.draw(st.lists(st.integers(0, most), min_size=N, max_size=N)), int) for most in (4, S)]
    sizes = {"A": data.draw(st.sampled_from([1, 5, 17])), "D": data.draw(st.sampled_from([1, 20]))}
    inputs, grads = draw(np.random.default_rng(seed), score, lengths[0], S, **sizes, dtype=dtype)
    found, want = (both_ways(backend, inputs, grads, *lengths) for backend in (kernels, reference))
    pairs = zip((*found[:2], *found[2].values()), (*want[:2], *want[2].values()), strict=True)
    for got, expected in pairs:
        assert got.dtype == expected.dtype == dtype
        np.testing.assert_allclose(got, expected, **TOLERANCE[dtype])
    past = np.arange(S)[:, None] >= lengths[1]
    assert not found[2]["keys"][past].any()
    assert not found[2]["values"][past].any()


@pytest.mark.parametrize("score", SCORES)
def test_bf16_rounds_the_operands_of_products(rng, score):
    """On both sides alike: far closer to each other than to the exact products."""
    inputs, grads = draw(rng, score, A=64, D=64, dtype=np.float32)
    rounded, want, exact = (
        both_ways(*arguments)
        for arguments in (
            (kernels, inputs, grads, TARGETS, SOURCES, 0.7, True),
            (reference, inputs, grads, TARGETS, SOURCES, 0.7, True),
            (kernels, inputs, grads),
        )
    )
    for name in ("values", "query"):
        scale = np.abs(exact[2][name]).max()
        # A number on the edge of two bfloat16 ones may be rounded to either, by 2**-9 of itself.
        np.testing.assert_allclose(rounded[2][name], want[2][name], rtol=0, atol=2e-3 * scale)
        assert np.abs(rounded[2][name] - exact[2][name]).max() > 1e-4 * scale
    np.testing.assert_allclose(rounded[0], want[0], rtol=0, atol=2e-3 * np.abs(want[0]).max())
    double = {name: array.astype(np.float64) for name, array in inputs.items()}, [g.astype(np.float64) for g in grads]
    for got, expected in zip(both_ways(kernels, *double, bf16=True)[:2], both_ways(kernels, *double)[:2], strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("score", SCORES)
def test_bits_depend_on_nothing_beside(rng, monkeypatch, score, dtype):
    """Not on threads, nor on other sequences, nor on how far the memory is padded, whatever stands there."""
    monkeypatch.setattr(cpu_attention, "SERIAL_WORK", 0)
    targets, sources = np.arange(12) % 5, (7 * np.arange(12)) % 34
    inputs, grads = draw(rng, score, targets, S=33, A=37, D=35, dtype=dtype)
    want = both_ways(kernels, inputs, grads, targets, sources)
    before = threads.get_num_threads()
    try:
        for count in (1, 2, 3):
            threads.set_num_threads(count)
            found = both_ways(kernels, inputs, grads, targets, sources)
            for got, expected in zip((*found[:2], *found[2].values()), (*want[:2], *want[2].values()), strict=True):
                assert got.tobytes() == expected.tobytes()
    finally:
        threads.set_num_threads(before)
    n = 9  # 4 queries over 29 positions
    rows = [token for token, (_, row) in enumerate(token_places(targets)) if row == n]
    alone = {name: array[:, [n]] if array.ndim == 3 else array for name, array in inputs.items()}
    alone |= {"query": inputs["query"][rows]} | ({"coverage": inputs["coverage"][[n]]} if score == "coverage" else {})
    for name in ("keys", "values"):
        alone[name] = np.pad(alone[name][: sources[n]], ((0, 19), (0, 0), (0, 0)), constant_values=np.nan)
    some = [grads[0][rows], np.pad(grads[1][rows, : sources[n]], ((0, 0), (0, 19)), constant_values=np.nan)]
    if score == "coverage":
        alone["coverage"] = np.pad(alone["coverage"][:, : sources[n]], ((0, 0), (0, 19)), constant_values=np.nan)
    found = both_ways(kernels, alone, some, targets[[n]], sources[[n]])
    assert found[0].tobytes() == want[0][rows].tobytes()
    assert found[1][:, : sources[n]].tobytes() == want[1][rows, : sources[n]].tobytes()
    assert not found[1][:, sources[n] :].any()
    assert found[2]["query"].tobytes() == want[2]["query"][rows].tobytes()
    for name in ("keys", "values"):
        live = slice(sources[n])
        assert found[2][name][live, 0].tobytes() == want[2][name][live, n].tobytes()
        assert not found[2][name][sources[n] :].any()


def token_places(lengths):
    """(step, row) of each packed token."""
    order = sorted(range(len(lengths)), key=lambda n: -lengths[n])
    return [(t, n) for t in range(max(lengths)) for n in order if t < lengths[n]]


@pytest.mark.filterwarnings("ignore:invalid:RuntimeWarning")  # of NumPy
@pytest.mark.parametrize("score", SCORES)
def test_a_nan_reaches_its_queries_and_nothing_else(backend, rng, score):
    inputs, grads = draw(rng, score)
    clean = both_ways(backend, inputs, grads)[:2]
    inputs["keys"][0, 1], inputs["values"][4, 4] = np.nan, np.nan
    context, alignment = both_ways(backend, inputs, grads)[:2]
    rows = np.array([row for _, row in token_places(TARGETS)])
    assert np.isnan(context[(rows == 1) | (rows == 4)]).all()
    assert np.isnan(alignment[rows == 1, 0]).all()
    for got, expected in zip((context, alignment), clean, strict=True):
        np.testing.assert_array_equal(got[(rows != 1) & (rows != 4)], expected[(rows != 1) & (rows != 4)])


def zeros(*shape, dtype=np.float64):
    return np.zeros(shape, dtype)


ERRORS = [
    ({"keys": zeros(3, 2, 5)}, ValueError, "keys has shape (3, 2, 5); expected (S, N, A) = (3, 2, 4)"),
    ({"values": zeros(2, 2, 5)}, ValueError, "values has shape (2, 2, 5); expected (S, N, D) = (3, 2, 5)"),
    ({"lengths": np.array([1, 4])}, ValueError, "lengths holds 4; expected values in 0..S = 0..3 from keys"),
    ({"lengths": np.array([1, -1])}, ValueError, "lengths holds -1; expected values in 0..S = 0..3 from keys"),
    ({"lengths": zeros(2)}, TypeError, "lengths has dtype float64; expected an integer dtype"),
    ({"v": zeros(4, dtype=np.float32)}, TypeError, "v has dtype float32; expected float64 as query"),
    ({"packing": equal_lengths(2, 2)}, ValueError, "query has shape (6, 4); expected (P, A) = (4, 4)"),
    ({"coverage": zeros(2, 3)}, ValueError, "coverage_weight is None but coverage is not"),
    ({"coverage_weight": zeros(4)}, ValueError, "coverage is None but coverage_weight is not"),
    ({"coverage": zeros(2, 3), "coverage_weight": zeros(4)}, ValueError, "v is None but coverage is not"),
]


@pytest.mark.parametrize(("change", "error", "text"), ERRORS, ids=[text for _, _, text in ERRORS])
def test_arguments(change, error, text):
    arguments = {"query": zeros(6, 4), "keys": zeros(3, 2, 4), "values": zeros(3, 2, 5), "lengths": np.array([3, 0])}
    with pytest.raises(error, match=re.escape(f"attention_forward: {text}")):
        kernels.attention_forward(**arguments | {"packing": equal_lengths(3, 2)} | change)
