"""The host's side of a launch: sizes that do not fit are refused, packed weights hold every weight once."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.cuda import geometry, pack

PACKED = [pack.pack_forward, pack.pack_forward_wide, pack.pack_backward]


@pytest.mark.parametrize("H", [64, 128])
@pytest.mark.parametrize("packed", PACKED)
def test_packed_weights_hold_every_weight_once(packed, H) -> None:
    numbers = np.arange(4 * H * H) % 251 + 256 * (np.arange(4 * H * H) // 251 % 64)  # few bits: exact as bf16 patterns
    bits = (numbers % 0x7F80).astype(np.uint32) << 16
    words = packed(bits.view(np.float32).reshape(4 * H, H))
    halves = np.concatenate([words & 0xFFFF, words >> 16], axis=None)
    np.testing.assert_array_equal(np.sort(halves), np.sort(bits >> 16))


def test_bf16_rounds_to_nearest_even() -> None:
    x = np.array([1, 1 + 2**-8, 1 + 3 * 2**-8, -np.inf, np.nan, -np.nan], np.float32)
    np.testing.assert_array_equal(pack.bf16_bits(x), np.uint16([0x3F80, 0x3F80, 0x3F82, 0xFF80, 0x7FFF, 0x7FFF]))
    np.testing.assert_array_equal(pack.bf16_values(np.uint16([0x3F80, 0xFF80])), [1, -np.inf])


def test_padded_units_have_no_weights() -> None:
    weight_hh = np.random.default_rng(0).standard_normal((12, 3)).astype(np.float32)
    padded = pack.pad_hidden(weight_hh, 5).reshape(4, 5, 5)
    np.testing.assert_array_equal(padded[:, :3, :3], weight_hh.reshape(4, 3, 3))
    assert np.count_nonzero(padded) == np.count_nonzero(weight_hh)


@pytest.mark.parametrize(
    ("launch", "message"),
    [
        (lambda: geometry.lstm_forward(17, 64), "lstm_forward: N = 17, H = 64; expected multiples of 16 and 64"),
        (lambda: geometry.lstm_forward_wide(32, 768), "lstm_forward_wide: N = 32, H = 768; expected multiples of 64"),
        (lambda: geometry.lstm_backward(16, 100), "lstm_backward: N = 16, H = 100; expected multiples of 16 and 64"),
        (lambda: geometry.embedding_sort(8193), "embedding_sort: 8193 tokens; expected at most 8192"),
    ],
)
def test_what_does_not_fit_is_refused(launch, message) -> None:
    with pytest.raises(ValueError, match=message):
        launch()


def test_shared_bytes() -> None:
    """The tile and the buffers that the head of each source lists."""
    assert geometry.lstm_forward(128, 512).shared_bytes == 16 * 520 * 2 + 8192 + 1024
    assert geometry.lstm_forward_wide(128, 1024).shared_bytes == 64 * 1032 * 2 + 65536 + 2048 + 17408
    assert geometry.lstm_backward(128, 512).shared_bytes == 16 * 2056 * 2 + 18432 + 4096
    assert geometry.lstm_forward(128, 512).grid == (16, 8)
    assert geometry.dropout(1024).grid == (2,)
    assert geometry.gates(0, 5).grid == (1,)
