"""LSTM and GRU against PyTorch: gate order, packed batches, every gradient."""

import numpy as np
import pytest

import kernels

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("lengths", [None, [2, 5, 1, 4]], ids=["full", "ragged"])
def test_equals_torch(layer, rng, lengths):
    inputs = layer.sample(rng, 5, 4, 3, 6)
    grad_outputs = layer.sample_gradients(rng, inputs)
    outputs, cache = layer.forward(kernels, inputs, None if lengths is None else np.array(lengths))
    grads = layer.backward(kernels, grad_outputs, cache)

    twin = (torch.nn.LSTM if layer.name == "lstm" else torch.nn.GRU)(3, 6).double()
    leaves = {name: torch.from_numpy(array).clone().requires_grad_() for name, array in inputs.items()}
    biases = {"bias_ih_l0": "bias_ih", "bias_hh_l0": "bias_hh"} if layer.name == "gru" else {"bias_ih_l0": "bias"}
    names = {"weight_ih_l0": "weight_ih", "weight_hh_l0": "weight_hh", **biases}
    parameters = {key: leaves[name] for key, name in names.items()}
    parameters.setdefault("bias_hh_l0", torch.zeros(24, dtype=torch.float64))
    states = tuple(leaves[name][None] for name in ("h0", "c0") if name in leaves)
    x = leaves["x"]
    if lengths is not None:
        x = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
    y, last = torch.func.functional_call(twin, parameters, (x, states if layer.name == "lstm" else states[0]))
    if lengths is not None:
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y)
    expected = (y, *(state[0] for state in (last if layer.name == "lstm" else (last,))))
    for name, value in zip(layer.outputs, expected, strict=True):
        np.testing.assert_allclose(outputs[name], value.detach().numpy(), atol=1e-12, err_msg=name)
    torch.autograd.backward(expected, [torch.from_numpy(grad_outputs[name]) for name in layer.outputs])
    for name, leaf in leaves.items():
        np.testing.assert_allclose(grads[name], leaf.grad.numpy(), atol=1e-12, err_msg=name)
