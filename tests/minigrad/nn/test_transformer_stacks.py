"""Stacks of a Transformer's layers, and the whole, against PyTorch's: values and gradients, names, first values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.gradcheck import gradcheck
from minigrad.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

RNG = np.random.default_rng(4)
T, S, N, E, HEADS = 5, 4, 3, 6, 2
TRG, SRC = RNG.normal(size=(T, N, E)), RNG.normal(size=(S, N, E))
TRG_LENGTHS, SRC_LENGTHS = np.array([3, 5, 1]), np.array([4, 1, 2])
OPTIONS = [{}, {"norm_first": True, "activation": "gelu"}, {"bias": False, "batch_first": True, "layer_norm_eps": 0.1}]


def past(lengths: np.ndarray, steps: int) -> np.ndarray:
    """(N, steps) bool: what is padding."""
    return np.arange(steps) >= lengths[:, None]


@pytest.mark.filterwarnings("ignore:enable_nested_tensor", "ignore:Support for mismatched")
@pytest.mark.parametrize("options", OPTIONS)
def test_the_whole_is_pytorchs(twins: Any, options: dict) -> None:
    """As its tutorial calls it: a mask of numbers, one that hides nothing, and what is padding; and with less.

    In float64: of float32's gradients little is left behind five layers where terms cancel; layers are held in both.
    """

    def run(lib: Any, module: Any, src: Any, tgt: Any) -> Any:
        padding = [lib.torch.tensor(past(lengths, n)) for lengths, n in ((SRC_LENGTHS, S), (TRG_LENGTHS, T))]
        later = lib.nn.Transformer.generate_square_subsequent_mask(T)
        nothing = lib.torch.zeros((S, S)).type(lib.torch.bool)
        masked = module(src, tgt, nothing, later.to(src.dtype), None, *padding, padding[0])
        return [masked, module(src, tgt), module(src, tgt, tgt_mask=later.to(src.dtype), tgt_is_causal=True)]

    inputs = {"src": SRC, "tgt": TRG}
    inputs = {name: x.swapaxes(0, 1) if options.get("batch_first") else x for name, x in inputs.items()}
    twins.check(run, inputs, "float64", lambda lib: lib.nn.Transformer(E, HEADS, 2, 3, 7, 0.0, **options))


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_stacks_without_a_norm_and_one_sequence(twins: Any) -> None:
    def stacks(lib: Any) -> Any:
        layers = lib.nn.TransformerEncoderLayer(E, HEADS, 7, 0.0), lib.nn.TransformerDecoderLayer(E, HEADS, 7, 0.0)
        kinds = lib.nn.TransformerEncoder, lib.nn.TransformerDecoder
        return lib.nn.ModuleList([kind(layer, 2) for kind, layer in zip(kinds, layers, strict=True)])

    def run(lib: Any, module: Any, src: Any, tgt: Any) -> Any:
        encoder, decoder = module
        return [decoder(tgt, encoder(src)), decoder(tgt[:, 0], encoder(src[:, 0]))]

    twins.check(run, {"src": SRC, "tgt": TRG}, "float64", stacks)


@pytest.mark.parametrize("norm_first", [False, True])
def test_packed_sequences_are_padded_ones_with_masks(norm_first: bool) -> None:
    module = nn.Transformer(E, HEADS, 2, 3, 7, 0.0, norm_first=norm_first).double()
    src, tgt = mg.tensor(SRC), mg.tensor(TRG)
    sources, targets = (
        pack_padded_sequence(x, lengths, enforce_sorted=False)
        for x, lengths in ((src, SRC_LENGTHS), (tgt, TRG_LENGTHS))
    )
    found = pad_packed_sequence(module(sources, targets, tgt_is_causal=True))[0].detach().numpy()
    padding = mg.tensor(past(SRC_LENGTHS, S))
    masks = {"src_key_padding_mask": padding, "memory_key_padding_mask": padding}
    later = nn.Transformer.generate_square_subsequent_mask(T, dtype=mg.float64)
    expected = module(src, tgt, tgt_mask=later, **masks).detach().numpy()
    real = ~past(TRG_LENGTHS, T).T
    np.testing.assert_allclose(found[real], expected[real], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("norm_first", [False, True])
def test_gradients_are_those_of_finite_differences(norm_first: bool, count_case: Callable[[], None]) -> None:
    """Of both inputs and every parameter; GELU has no kinks."""
    mg.manual_seed(5)
    module = nn.Transformer(4, 2, 1, 2, 3, 0.0, "gelu", norm_first=norm_first).double()
    leaves = [mg.tensor(x[..., :4], requires_grad=True) for x in (SRC[:, :2], TRG[:3, :2])]
    padding = mg.tensor(past(SRC_LENGTHS[:2], S))
    masks = {"src_key_padding_mask": padding, "memory_key_padding_mask": padding, "tgt_is_causal": True}
    assert gradcheck(lambda *given: module(*given[:2], **masks), [*leaves, *module.parameters()])
    count_case()


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_names_and_first_values_are_pytorchs(twins: Any) -> None:
    ours, theirs = nn.Transformer(40, 4, 2, 1, 30), twins.theirs.nn.Transformer(40, 4, 2, 1, 30)
    assert [name for name, _ in ours.named_modules()] == [name for name, _ in theirs.named_modules()]
    assert {name: tuple(x.shape) for name, x in ours.state_dict().items()} == {
        name: tuple(x.shape) for name, x in theirs.state_dict().items()
    }
    for name, parameter in ours.named_parameters():
        if parameter.dim() > 1:
            bound = np.sqrt(6 / sum(parameter.shape))
            assert 0.95 * bound < np.abs(parameter.array).max() <= bound, name
    assert (ours.d_model, ours.nhead, ours.batch_first) == (40, 4, False)


def test_layers_of_a_stack_begin_alike_and_go_their_own_ways() -> None:
    layer = nn.TransformerEncoderLayer(E, HEADS, 7)
    first, second = (dict(each.named_parameters()) for each in nn.TransformerEncoder(layer, 2).layers)
    given = dict(layer.named_parameters())
    for name in given:
        np.testing.assert_array_equal(first[name].array, second[name].array)
        np.testing.assert_array_equal(first[name].array, given[name].array)
        assert first[name] is not given[name]
        assert not np.shares_memory(first[name].array, second[name].array)


def test_parts_of_ones_own() -> None:
    class Mean(nn.Module):
        def forward(self, src: Any, mask: Any = None, src_key_padding_mask: Any = None, is_causal: Any = None) -> Any:
            return src.mean(0, keepdim=True)

    module = nn.Transformer(E, HEADS, 1, 1, 7, 0.0, custom_encoder=Mean()).double()
    src, tgt = mg.tensor(SRC), mg.tensor(TRG)
    expected = module.decoder(tgt, src.mean(0, keepdim=True))
    np.testing.assert_array_equal(module(src, tgt).detach().numpy(), expected.detach().numpy())


@pytest.mark.parametrize(
    ("src", "tgt", "error", "text"),
    [
        ((4, 3, 6), (5, 2, 6), RuntimeError, "src holds 3 sequences, tgt 2; expected as many"),
        ((4, 3, 5), (5, 3, 6), RuntimeError, r"src has shape \(4, 3, 5\); expected \(\.\.\., d_model = 6\)"),
        ((4, 3, 6), (6,), RuntimeError, r"tgt has shape \(6,\); expected \(\.\.\., d_model = 6\)"),
        ((4, 6), (5, 3, 6), RuntimeError, r"src has shape \(4, 6\), tgt \(5, 3, 6\); expected as many dimensions"),
        ((4, 3, 6), None, TypeError, "tgt is None; expected a tensor or a PackedSequence"),
    ],
)
def test_inputs_that_are_refused(src: Any, tgt: Any, error: type[Exception], text: str) -> None:
    module = nn.Transformer(E, HEADS, 1, 1, 7)
    with pytest.raises(error, match=text):
        module(*(None if shape is None else mg.zeros(shape) for shape in (src, tgt)))


def test_a_stack_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="TransformerEncoder: num_layers is 0"):
        nn.TransformerEncoder(nn.TransformerEncoderLayer(E, HEADS), 0)
