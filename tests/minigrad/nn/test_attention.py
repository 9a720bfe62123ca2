"""Attention and the layers of a Transformer against PyTorch's, values and gradients; padded, packed, masked, causal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg
import minigrad.nn.functional as F
from minigrad import nn
from minigrad.gradcheck import gradcheck
from minigrad.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

RNG = np.random.default_rng(3)
T, S, N, E, HEADS = 5, 4, 3, 6, 2
TRG, SRC = RNG.normal(size=(T, N, E)), RNG.normal(size=(S, N, E))
TRG_LENGTHS, SRC_LENGTHS = np.array([3, 5, 1]), np.array([4, 1, 2])
CAUSAL = np.triu(np.ones((T, T), bool), 1)


def past(lengths: np.ndarray, steps: int) -> np.ndarray:
    """(N, steps) bool: what is padding."""
    return np.arange(steps) >= lengths[:, None]


def is_ours(lib: Any) -> bool:
    return lib.torch is mg


# --- the function -----------------------------------------------------------------------------------------------------
QUERY, KEY, VALUE = RNG.normal(size=(2, 3, 4, 5)), RNG.normal(size=(2, 3, 6, 5)), RNG.normal(size=(2, 3, 6, 2))
ALLOWED = RNG.random((2, 1, 4, 6)) < 0.6
ALLOWED[0, 0, 1] = False  # a query that may read nothing
CALLS = [
    lambda lib, q, k, v: lib.F.scaled_dot_product_attention(q, k, v),
    lambda lib, q, k, v: lib.F.scaled_dot_product_attention(q[0, 0], k[0, 0], v[0, 0], scale=0.3),
    lambda lib, q, k, v: lib.F.scaled_dot_product_attention(q, k, v, is_causal=True),
    lambda lib, q, k, v: lib.F.scaled_dot_product_attention(k, q, v[..., :4, :], is_causal=True),
    lambda lib, q, k, v: lib.F.scaled_dot_product_attention(q, k, v, lib.torch.tensor(ALLOWED)),
    lambda lib, q, k, v: lib.F.scaled_dot_product_attention(q, k, v, q[0, 0, :, :1] * k[0, 0, :, 0]),
    lambda lib, q, k, v: lib.F.scaled_dot_product_attention(q, k[:, :1], v[:, :1], enable_gqa=True),
    lambda lib, q, k, v: lib.F.scaled_dot_product_attention(q, k, v, lib.torch.zeros(4, 6).to(q.dtype) - np.inf),
]


@pytest.mark.parametrize("run", CALLS)
def test_the_function_is_pytorchs(twins: Any, dtype: str, run: Any) -> None:
    inputs = {"q": QUERY, "k": KEY, "v": VALUE}
    twins.check(lambda lib, _, q, k, v: run(lib, q, k, v), inputs, dtype)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", [(2,), (2, 3)])
def test_lengths_are_a_mask_that_nobody_builds(twins: Any, dtype: str, shape: tuple, causal: bool) -> None:
    lengths = RNG.integers(0, 7, shape)
    allowed = np.arange(6) < lengths.reshape(*shape, *[1] * (4 - len(shape)))
    allowed = allowed & np.tri(4, 6, dtype=bool) if causal else allowed

    def run(lib: Any, _: Any, q: Any, k: Any, v: Any) -> Any:
        if is_ours(lib):
            return lib.F.scaled_dot_product_attention(q, k, v, is_causal=causal, lengths=lengths)
        return lib.F.scaled_dot_product_attention(q, k, v, lib.torch.tensor(allowed))

    twins.check(run, {"q": QUERY, "k": KEY, "v": VALUE}, dtype)


def test_a_mask_beside_lengths() -> None:
    """A query whose mask leaves only keys past the length reads nothing, too."""
    q, k, v = (mg.tensor(x[0]) for x in (QUERY, KEY, VALUE))
    mask = mg.tensor(np.eye(4, 6, dtype=bool))
    found = F.scaled_dot_product_attention(q, k, v, mask, lengths=[2, 6, 0]).numpy()
    expected = VALUE[0, :, :4].copy()
    expected[0, 2:] = expected[2] = 0
    np.testing.assert_allclose(found, expected, atol=1e-15)


def test_the_gradient_is_that_of_finite_differences() -> None:
    leaves = [mg.tensor(x, requires_grad=True) for x in (QUERY, KEY, VALUE)]
    assert gradcheck(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, lengths=[5, 3]), leaves)


def test_dropout_takes_weights_away() -> None:
    mg.manual_seed(2)
    v = mg.ones(1, 400, 1)
    found = F.scaled_dot_product_attention(mg.zeros(1, 50, 1), mg.zeros(1, 400, 1), v, dropout_p=0.5).numpy()
    assert found.std() > 0.01
    assert found.mean() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"attn_mask": mg.ones(4, 6), "is_causal": True}, RuntimeError, "got attn_mask and is_causal=True"),
        ({"dropout_p": 2}, ValueError, "dropout_p is 2"),
        ({"lengths": [1, 2, 3]}, RuntimeError, r"lengths has shape \(3,\); expected \(2, 3\) or its first"),
        ({"lengths": [7, 2]}, ValueError, "lengths holds 7"),
    ],
)
def test_mistakes(arguments: dict, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        F.scaled_dot_product_attention(mg.tensor(QUERY), mg.tensor(KEY), mg.tensor(VALUE), **arguments)


# --- the module -------------------------------------------------------------------------------------------------------
MODULES = [
    {},
    {"bias": False},
    {"kdim": 3},
    {"kdim": 3, "vdim": 4, "bias": False},
]


def features(array: np.ndarray, size: int) -> np.ndarray:
    return array[..., :size]


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("options", MODULES)
def test_attention_to_another_sequence(twins: Any, dtype: str, options: dict, batch_first: bool) -> None:
    def run(lib: Any, module: Any, q: Any, k: Any, v: Any) -> Any:
        padding = lib.torch.tensor(past(SRC_LENGTHS, S))
        results = [*module(q, k, v, key_padding_mask=padding), *module(q, k, v, average_attn_weights=False)]
        return [*results, module(q[0], k[0], v[0], need_weights=False)[0], *module(q[1], k[1], v[1])]

    sizes = {"q": (TRG, E), "k": (SRC, options.get("kdim", E)), "v": (SRC + 1, options.get("vdim", E))}
    inputs = {name: features(x, size) for name, (x, size) in sizes.items()}
    inputs = {name: x.swapaxes(0, 1) if batch_first else x for name, x in inputs.items()}
    if not batch_first:  # of one sequence
        run_batched = run

        def run(lib: Any, module: Any, q: Any, k: Any, v: Any) -> Any:
            return [*run_batched(lib, module, q, k, v)[:4], *module(q[:, 0], k[:, 0], v[:, 0])]

    twins.check(run, inputs, dtype, lambda lib: lib.nn.MultiheadAttention(E, HEADS, batch_first=batch_first, **options))


@pytest.mark.parametrize("is_float", [False, True])
@pytest.mark.parametrize("heads", [None, HEADS])
def test_attention_to_itself_with_masks(twins: Any, dtype: str, heads: int | None, is_float: bool) -> None:
    """Of both kinds, bool and numbers to be added; for all heads or each."""
    shape = (T, T) if heads is None else (N * HEADS, T, T)
    mask, padding = np.resize(CAUSAL, shape), past(TRG_LENGTHS, T)

    def run(lib: Any, module: Any, x: Any) -> Any:
        masks = [lib.torch.tensor(each) for each in (mask, padding)]
        if is_float:
            masks = [lib.torch.zeros(each.shape).to(x.dtype).masked_fill(each, -3.0) for each in masks]
        return [*module(x, x, x, attn_mask=masks[0], key_padding_mask=masks[1])]

    twins.check(run, {"x": TRG}, dtype, lambda lib: lib.nn.MultiheadAttention(E, HEADS))


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("itself", [True, False])
def test_packed_sequences_are_padded_ones_with_masks(twins: Any, dtype: str, itself: bool, is_causal: bool) -> None:
    def run(lib: Any, module: Any, q: Any, k: Any) -> Any:
        k, lengths = (q, TRG_LENGTHS) if itself else (k, SRC_LENGTHS)
        mask = lib.torch.tensor(CAUSAL[:, : len(k)]) if is_causal else None
        if not is_ours(lib):
            padding = lib.torch.tensor(past(lengths, len(k)))
            return module(q, k, k, padding, attn_mask=mask)[0] * lib.torch.tensor(~past(TRG_LENGTHS, T).T)[..., None]
        queries = pack_padded_sequence(q, TRG_LENGTHS, enforce_sorted=False)
        keys = queries if itself else pack_padded_sequence(k, lengths, enforce_sorted=False)
        output, weights = module(queries, keys, keys, is_causal=is_causal)
        assert not weights.detach().numpy()[np.broadcast_to(past(lengths, len(k))[:, None], weights.shape)].any()
        return pad_packed_sequence(output)[0]

    twins.check(run, {"q": TRG, "k": SRC}, dtype, lambda lib: lib.nn.MultiheadAttention(E, HEADS))


def test_first_values_are_drawn_as_in_pytorch() -> None:
    module = nn.MultiheadAttention(40, 4)
    assert [name for name, _ in module.named_parameters()] == [
        "in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias",
    ]  # fmt: skip
    bound = np.sqrt(6 / (40 + 120))
    assert 0.98 * bound < np.abs(module.in_proj_weight.array).max() <= bound
    assert not module.in_proj_bias.array.any()
    assert not module.out_proj.bias.array.any()
    module = nn.MultiheadAttention(40, 4, kdim=20)
    shapes = {name: p.shape for name, p in module.named_parameters()}
    assert shapes["k_proj_weight"] == (40, 20)
    bound = np.sqrt(6 / (40 + 20))
    assert 0.95 * bound < np.abs(module.k_proj_weight.array).max() <= bound


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"num_heads": 4}, ValueError, "embed_dim is 6; expected a multiple of 4 heads"),
        ({"num_heads": 2, "add_bias_kv": True}, NotImplementedError, "add_bias_kv=True is not supported"),
        ({"num_heads": 0}, ValueError, "num_heads is 0"),
    ],
)
def test_modules_that_are_refused(options: dict, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        nn.MultiheadAttention(E, **options)


def test_an_input_that_is_refused() -> None:
    with pytest.raises(ValueError, match=r"query has shape \(6,\); expected 2 \(unbatched\) or 3 dimensions"):
        nn.MultiheadAttention(E, 2)(mg.zeros(E), mg.zeros(2, E), mg.zeros(2, E))


# --- the layers -------------------------------------------------------------------------------------------------------
LAYERS = [{}, {"norm_first": True, "activation": "gelu"}, {"bias": False, "batch_first": True, "layer_norm_eps": 0.1}]


@pytest.mark.parametrize("options", LAYERS)
def test_encoder_layers(twins: Any, dtype: str, options: dict) -> None:
    def run(lib: Any, module: Any, x: Any) -> Any:
        module.eval()
        size = x.shape[1 if options.get("batch_first") else 0]
        mask = lib.torch.tensor(np.triu(np.ones((size, size), bool), 1))
        padding = lib.torch.tensor(past(np.minimum(TRG_LENGTHS, 3), size))
        return [module(x), module(x, mask, padding), module(x[:, 0])]

    x = TRG.swapaxes(0, 1) if options.get("batch_first") else TRG
    twins.check(run, {"x": x}, dtype, lambda lib: lib.nn.TransformerEncoderLayer(E, HEADS, 7, **options))


@pytest.mark.parametrize("options", LAYERS)
def test_decoder_layers(twins: Any, dtype: str, options: dict) -> None:
    def run(lib: Any, module: Any, x: Any, memory: Any) -> Any:
        module.eval()
        size = x.shape[1 if options.get("batch_first") else 0]
        mask = lib.torch.tensor(np.triu(np.ones((size, size), bool), 1))
        return [module(x, memory), module(x, memory, tgt_mask=mask, tgt_is_causal=True)]

    inputs = {"x": TRG, "memory": SRC}
    inputs = {name: x.swapaxes(0, 1) if options.get("batch_first") else x for name, x in inputs.items()}
    twins.check(run, inputs, dtype, lambda lib: lib.nn.TransformerDecoderLayer(E, HEADS, 7, **options))


def test_layers_of_packed_sequences(twins: Any, dtype: str) -> None:
    def build(lib: Any) -> Any:
        layers = lib.nn.TransformerEncoderLayer(E, HEADS, 7, 0.0), lib.nn.TransformerDecoderLayer(E, HEADS, 7, 0.0)
        return lib.nn.ModuleList(layers)

    def run(lib: Any, layers: Any, x: Any, source: Any) -> Any:
        encoder, decoder = layers
        if is_ours(lib):
            packed = pack_padded_sequence(source, SRC_LENGTHS, enforce_sorted=False)
            targets = pack_padded_sequence(x, TRG_LENGTHS, enforce_sorted=False)
            return pad_packed_sequence(decoder(targets, encoder(packed), tgt_is_causal=True))[0]
        padding = lib.torch.tensor(past(SRC_LENGTHS, S))
        memory = encoder(source, src_key_padding_mask=padding)
        y = decoder(x, memory, lib.torch.tensor(CAUSAL), memory_key_padding_mask=padding)
        return y * lib.torch.tensor(~past(TRG_LENGTHS, T).T)[..., None]

    twins.check(run, {"x": TRG, "source": SRC}, dtype, build)


def test_layers_of_equal_lengths_packed_are_padded_ones() -> None:
    """To the bit: where there is no padding, the rows are the same."""
    layer, x = nn.TransformerEncoderLayer(E, HEADS, 7, 0.0), mg.tensor(TRG)
    layer.double()
    packed = layer(pack_padded_sequence(x, [T] * N))
    np.testing.assert_array_equal(packed.data.detach().numpy(), layer(x).detach().numpy().reshape(T * N, E))


def test_first_values_and_dropout_of_a_layer() -> None:
    layer = nn.TransformerDecoderLayer(E, HEADS, dropout=0.3)
    assert {module.p for module in layer.modules() if isinstance(module, nn.Dropout)} == {0.3}
    assert {module.dropout for module in layer.modules() if isinstance(module, nn.MultiheadAttention)} == {0.3}
    assert layer.linear1.weight.shape == (2048, E)
    x = mg.tensor(TRG.astype(np.float32))
    assert (layer(x, x).detach().numpy() != layer(x, x).detach().numpy()).any()
    layer.eval()
    np.testing.assert_array_equal(layer(x, x).detach().numpy(), layer(x, x).detach().numpy())


def test_an_activation_that_is_refused() -> None:
    with pytest.raises(ValueError, match="TransformerEncoderLayer: activation is 'silu'; expected 'relu', 'gelu' or a"):
        nn.TransformerEncoderLayer(E, HEADS, activation="silu")
