"""The CPU LSTM and GRU against the reference, and the contracts of purity and determinism."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import kernels
from kernels import reference
from kernels.packing import pack_lengths

TOLERANCE = {np.float64: 1e-10, np.float32: 1e-5}
LENGTHS = np.array([3, 0, 5, 2])


def run(layer, backend, inputs, grad_outputs, lengths=None):
    """All outputs and all gradients of one layer, by name."""
    outputs, cache = layer.forward(backend, inputs, lengths)
    grads = layer.backward(backend, grad_outputs, cache)
    return outputs | {f"d{name}": grad for name, grad in grads.items()}


def assert_same(found, expected, tolerance):
    for name, value in expected.items():
        if value is None:
            assert found[name] is None, name
        else:
            assert found[name].dtype == value.dtype, name
            np.testing.assert_allclose(found[name], value, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@given(
    data=st.data(),
    T=st.integers(0, 5),
    N=st.integers(0, 4),
    I=st.integers(1, 4),
    H=st.integers(1, 9),
    seed=st.integers(0, 99),
    with_bias=st.booleans(),
)
def test_equals_reference(layer, dtype, data, T, N, I, H, seed, with_bias):  # noqa: E741
    lengths = data.draw(st.none() | st.lists(st.integers(0, T), min_size=N, max_size=N).map(np.int64))
    used = data.draw(st.sets(st.sampled_from(layer.outputs)))
    rng = np.random.default_rng(seed)
    inputs = layer.sample(rng, T, N, I, H, dtype)
    if not with_bias:
        inputs |= {name: None for name in inputs if name.startswith("bias")}
    grad_outputs = {name: grad for name, grad in layer.sample_gradients(rng, inputs).items() if name in used}
    found, expected = (run(layer, backend, inputs, grad_outputs, lengths) for backend in (kernels, reference))
    assert_same(found, expected, TOLERANCE[dtype])


def test_many_hidden_units_and_steps(layer, rng):
    """Sizes at which the vectorised loops and the blocked products are in use."""
    inputs = layer.sample(rng, 12, 17, 24, 67, np.float32)
    for name in ("weight_ih", "weight_hh"):
        inputs[name] /= 8
    grad_outputs = layer.sample_gradients(rng, inputs)
    lengths = rng.integers(0, 13, 17)
    found, expected = (run(layer, backend, inputs, grad_outputs, lengths) for backend in (kernels, reference))
    assert_same(found, expected, 1e-4)


def strided(array):
    """The same values in memory that is neither C- nor F-contiguous."""
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


def test_non_contiguous_and_read_only_arguments(layer, rng):
    inputs = layer.sample(rng, 5, 4, 3, 6)
    grad_outputs = layer.sample_gradients(rng, inputs)
    expected = run(layer, kernels, inputs, grad_outputs, LENGTHS)
    for change in (strided, lambda array: np.asfortranarray(array[::-1])[::-1]):
        changed = [{name: change(array) for name, array in arrays.items()} for arrays in (inputs, grad_outputs)]
        for array in (*changed[0].values(), *changed[1].values()):
            array.flags.writeable = False
        assert_same(run(layer, kernels, *changed, LENGTHS), expected, 1e-12)


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
def test_arguments_stay_unchanged_and_runs_are_bit_equal(layer, backend, rng, lengths):
    inputs = layer.sample(rng, 5, 4, 3, 6, np.float32)
    grad_outputs = layer.sample_gradients(rng, inputs)
    before = {name: array.copy() for name, array in (inputs | grad_outputs).items()}
    first = run(layer, backend, inputs, grad_outputs, lengths)
    second = run(layer, backend, inputs, grad_outputs, lengths)
    for name, array in (inputs | grad_outputs).items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
    for name, array in first.items():
        assert array.tobytes() == second[name].tobytes(), name


def test_backward_twice_from_one_cache(layer, backend, rng):
    inputs = layer.sample(rng, 5, 4, 3, 6)
    grad_outputs = layer.sample_gradients(rng, inputs)
    _, cache = layer.forward(backend, inputs, LENGTHS)
    first, second = (layer.backward(backend, grad_outputs, cache) for _ in range(2))
    for name, grad in first.items():
        np.testing.assert_array_equal(grad, second[name], err_msg=name)


def test_a_row_without_tokens_keeps_its_state(layer, backend, rng):
    inputs = layer.sample(rng, 5, 4, 3, 6)
    grad_outputs = layer.sample_gradients(rng, inputs)
    found = run(layer, backend, inputs, grad_outputs, LENGTHS)
    np.testing.assert_array_equal(found["h_n"][1], inputs["h0"][1])
    np.testing.assert_array_equal(found["dh0"][1], grad_outputs["h_n"][1])


def test_nothing_is_copied(layer, rng):
    """x is kept as it is, y is the memory of the states."""
    x = rng.standard_normal((5, 3))
    outputs, cache = layer.packed(kernels, layer.sample(rng, 3, 2, 3, 4) | {"x": x}, pack_lengths(np.array([2, 3])))
    assert cache.x is x
    assert outputs["y"].base.shape == (2 + 5, 4)  # the state buffer


def test_a_row_of_a_batch_equals_the_sentence_alone(layer, backend, rng):
    inputs = layer.sample(rng, 5, 4, 3, 6)
    grad_outputs = layer.sample_gradients(rng, inputs)
    batch = run(layer, backend, inputs, grad_outputs, LENGTHS)
    weights = [name for name in layer.inputs if name not in ("x", "h0", "c0")]
    sums = {f"d{name}": np.zeros_like(inputs[name]) for name in weights}
    for n, length in enumerate(LENGTHS):
        alone = {name: array if name in weights else row(array, n, length) for name, array in inputs.items()}
        grads_alone = {name: row(array, n, length) for name, array in grad_outputs.items()}
        result = run(layer, backend, alone, grads_alone)
        for name in set(batch) - set(sums):
            np.testing.assert_allclose(row(batch[name], n, length), result[name], atol=1e-12, err_msg=name)
        for name in sums:
            sums[name] += result[name]
    assert_same(batch, sums, 1e-12)


def row(array, n, length):
    """The real tokens of row n of (T, N, .), or row n of (N, .), as a batch of one."""
    return array[:length, n : n + 1] if array.ndim == 3 else array[n : n + 1]


@pytest.mark.parametrize(
    ("dtype", "poison"), [(np.float32, np.nan), (np.float64, np.nan), (np.float64, np.inf), (np.float64, -np.inf)]
)
def test_nan_and_infinity_are_not_swallowed(layer, rng, dtype, poison):
    """Infinities in float64 only: the float32 sigmoid ends at 1e-7 and not at 0, which makes inf of 0 * inf = NaN."""
    for name in layer.inputs:
        inputs = layer.sample(rng, 3, 2, 3, 4, dtype)
        inputs[name].flat[inputs[name].size // 2] = poison
        with np.errstate(invalid="ignore"):
            found, expected = (layer.forward(backend, inputs)[0] for backend in (kernels, reference))
        assert np.isnan(found["y"]).any() or not np.isnan(poison), name
        for output, value in expected.items():
            np.testing.assert_allclose(found[output], value, atol=1e-5, err_msg=f"{output} with {poison} in {name}")


def test_nan_in_an_incoming_gradient_reaches_the_weights(layer, backend, rng):
    inputs = layer.sample(rng, 3, 2, 3, 4)
    grad_outputs = layer.sample_gradients(rng, inputs)
    grad_outputs["y"][2, 1, 0] = np.nan
    grads = layer.backward(backend, grad_outputs, layer.forward(backend, inputs)[1])
    assert np.isnan(grads["weight_hh"]).any()
    assert np.isnan(grads["x"][:, 1]).all()
    assert np.isfinite(grads["x"][:, 0]).all()
