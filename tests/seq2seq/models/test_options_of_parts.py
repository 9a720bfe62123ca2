"""What the contract promises, for options that change what a part computes: the tests of every registered pair."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from seq2seq.run import registry
from tests.seq2seq.models.test_registered_models import (  # noqa: F401  (fixtures and tests that are collected here too)
    build,
    test_a_sentence_is_searched_alone_as_beside_others,
    test_a_sequence_is_the_loop_over_its_steps,
    test_dropout_is_drawn_in_training_alone,
    test_given_pairs_have_the_log_p_of_their_tokens_to_the_bit_in_any_batch,
    test_gradients_are_those_of_finite_differences,
    test_padding_and_the_batch_do_not_matter_to_the_bit,
    test_the_compiled_search_finds_what_the_generic_one_finds,
)

BETWEEN = {"decoder_residual": True, "decoder_layer_norm": True, "num_layers": 3}
BRIDGED = {"bridge": True}
SPLIT = {"split_directions": True}
VARIANTS: list[dict[str, Any]] = [
    {"encoder": "cho-gru", "decoder": "gru-context", "cell": "cho-gru"},
    BETWEEN | {"encoder": "lstm", "decoder": "lstm"},
    BETWEEN | {"encoder": "gru", "decoder": "gru-context"},
    BETWEEN | {"encoder": "bilstm", "decoder": "attention"},
    BETWEEN | {"encoder": "bilstm", "decoder": "attention", "input_feeding": True},
    BETWEEN | {"encoder": "bigru", "decoder": "bahdanau", "cell": "gru"},
    {"encoder": "bigru", "decoder": "bahdanau", "cell": "gru", "num_layers": 1, "plain_output": True},
    BETWEEN | {"encoder": "bigru", "decoder": "luong", "cell": "gru", "attention": "additive", "coverage": True},
    BRIDGED | {"encoder": "lstm", "decoder": "lstm"},
    BRIDGED | {"encoder": "gru", "decoder": "lstm"},
    BRIDGED | {"encoder": "bigru", "decoder": "attention"},
    BRIDGED | {"encoder": "transformer", "decoder": "attention", "num_heads": 2, "ffn_size": 7},
    SPLIT | {"encoder": "bilstm", "decoder": "attention"},
    SPLIT | {"encoder": "bigru", "decoder": "gru-context", "bridge": True, "bridge_activation": "linear"},
    {"encoder": "bilstm", "decoder": "luong", "bridge_top": True, "linear_features": True},
]
pytestmark = pytest.mark.parametrize("options", VARIANTS, ids=lambda options: ",".join(map(str, options.values())))


@pytest.fixture
def encoder(options: dict[str, Any]) -> str:
    return str(options["encoder"])


@pytest.fixture
def decoder(options: dict[str, Any]) -> str:
    return str(options["decoder"])


@pytest.fixture
def fitting_options(options: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """As of every pair, with these options."""

    def choose(encoder: str, decoder: str, **wanted: Any) -> dict[str, Any]:
        known = registry.options_of({"encoder": encoder, "decoder": decoder})
        given = {"num_layers": 2} | wanted | options
        return {name: value for name, value in given.items() if name in known}

    return choose
