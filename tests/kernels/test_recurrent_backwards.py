"""Layers that walk back: they are layers on reversed sequences, whose outputs are reversed again."""

import numpy as np
import pytest

import kernels
from kernels import reference
from kernels.packing import pack_lengths
from tests.kernels.conftest import pack, unpack

LENGTHS = [[3, 0, 5, 1, 3], [4, 4, 4], [2], [0, 0], [7, 1, 7, 7, 2, 6, 6, 5, 4, 3]]


def turned(sequence, lengths):
    """(T, N, F) with each sequence reversed."""
    result = sequence.copy()
    for n, length in enumerate(lengths):
        result[:length, n] = sequence[:length, n][::-1]
    return result


def run(layer, backend, inputs, grad_outputs, lengths, reverse, bf16=False):
    """Outputs and gradients in the order of the tokens."""
    T, packing = len(inputs["x"]), pack_lengths(lengths, reverse)

    def in_order(sequence):
        return sequence if reverse else turned(sequence, lengths)

    outputs, cache = layer.packed(backend, inputs | {"x": pack(in_order(inputs["x"]), lengths)}, packing, bf16)
    some = grad_outputs | ({"y": pack(in_order(grad_outputs["y"]), lengths)} if "y" in grad_outputs else {})
    grads = layer.packed_backward(backend, some, cache)
    y, dx = (in_order(unpack(rows, lengths, T)) for rows in (outputs["y"], grads["x"]))
    return outputs | {"y": y}, grads | {"x": dx}


@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_walking_back_is_walking_over_reversed_sequences(layer, backend, rng, lengths):
    lengths = np.array(lengths)
    inputs = layer.sample(rng, max(lengths.max(), 1), len(lengths), 3, 4)
    every = layer.sample_gradients(rng, inputs)
    for grad_outputs in (every, *({name: gradient} for name, gradient in every.items())):
        found = run(layer, backend, inputs, grad_outputs, lengths, True)
        wanted = run(layer, reference, inputs, grad_outputs, lengths, False)
        for some, others in zip(found, wanted, strict=True):
            for name, value in others.items():
                np.testing.assert_allclose(some[name], value, rtol=1e-10, atol=1e-12, err_msg=name)


def test_walking_back_on_threads_and_in_bf16(layer, rng):
    """Large enough to be shared out; the result does not depend on it."""
    lengths = np.array([9, 4, 7, 7, 1, 9, 3, 8, 2, 5, 6, 9, 1, 9, 9, 8])
    inputs = layer.sample(rng, 9, len(lengths), 40, 48, np.float32)
    grad_outputs = layer.sample_gradients(rng, inputs)
    before = kernels.get_num_threads()
    results = []
    try:
        for count in (1, 2):
            kernels.set_num_threads(count)
            results.append(run(layer, kernels, inputs, grad_outputs, lengths, True, bf16=True))
    finally:
        kernels.set_num_threads(before)
    wanted = run(layer, reference, inputs, grad_outputs, lengths, True, bf16=True)
    for one, two, expected in zip(*results, wanted, strict=True):
        for name, value in expected.items():
            assert one[name].tobytes() == two[name].tobytes(), name
            np.testing.assert_allclose(one[name], value, rtol=0, atol=0.02 * np.abs(value).max(), err_msg=name)


def test_where_nobody_walks_back():
    packing = pack_lengths(np.array([2, 1]), reverse=True)
    h, weight_ih, weight_hh = np.zeros((2, 3)), np.zeros((12, 4)), np.zeros((12, 3))
    with pytest.raises(ValueError, match="incremental_lstm_start: packing is walked backwards; expected one that goes"):
        kernels.incremental_lstm_start(h, h, weight_ih, weight_hh, None, packing)
