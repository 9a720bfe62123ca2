"""The host's side of a launch: sizes that do not fit are refused, packed weights hold every weight once."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.cuda.recurrent import pack
from kernels.cuda.runtime import geometry

ORDERS = [pack.forward_order, pack.forward_wide_order, pack.backward_order, pack.backward_wide_order]


@pytest.mark.parametrize("H", [128, 256])
@pytest.mark.parametrize("kind", pack.TILE_COLUMNS)
@pytest.mark.parametrize("order", ORDERS)
def test_an_order_holds_every_weight_once(order, kind, H) -> None:
    np.testing.assert_array_equal(np.sort(order(H, kind), axis=None), np.arange(4 * H * H))


def test_bf16_rounds_to_nearest_even() -> None:
    x = np.array([1, 1 + 2**-8, 1 + 3 * 2**-8, -np.inf, np.nan, -np.nan], np.float32)
    np.testing.assert_array_equal(pack.bf16_bits(x), np.uint16([0x3F80, 0x3F80, 0x3F82, 0xFF80, 0x7FFF, 0x7FFF]))
    np.testing.assert_array_equal(pack.bf16_values(np.uint16([0x3F80, 0xFF80])), [1, -np.inf])


def test_tf32_rounds_halves_away_from_zero() -> None:
    x = np.array([1, 1 + 2**-11, 1 + 3 * 2**-11, 65519.9, 65520, 2**-25, 3 * 2**-25, -np.inf, np.nan], np.float32)
    tf32 = [1, 1 + 2**-10, 1 + 2 * 2**-10, 65504, 65536, 2**-25, 3 * 2**-25, -np.inf]
    np.testing.assert_array_equal(pack.tf32_values(x)[:-1], np.float32(tf32))
    assert pack.tf32_values(x)[-1:].view(np.uint32) == 0x7FFFFFFF


def test_an_order_within_fewer_units() -> None:
    """Each weight where it would be if the matrix were padded, zeros elsewhere."""
    weight_hh = np.random.default_rng(0).standard_normal((4 * 50, 50)).astype(np.float32)
    padded = np.pad(weight_hh.reshape(4, 50, 50), ((0, 0), (0, 14), (0, 14))).reshape(4 * 64, 64)
    order = pack.backward_order(64)
    inner = pack.within(order, 64, 50)
    np.testing.assert_array_equal(pack.pack_weights(weight_hh, inner), pack.pack_weights(padded, order))
    assert np.count_nonzero(inner >= 0) == weight_hh.size


@pytest.mark.parametrize(
    ("launch", "message"),
    [
        (lambda: geometry.lstm_forward(0, 64), "lstm_forward: N = 0, H = 64; expected N >= 1 and a multiple of 64"),
        (lambda: geometry.lstm_forward_wide(5, 800), "lstm_forward_wide: N = 5, H = 800; expected N >= 1 and"),
        (
            lambda: geometry.lstm_backward(16, 100),
            "lstm_backward: N = 16, H = 100; expected N >= 1 and a multiple of 64",
        ),
        (lambda: geometry.embedding_sort(8193), "embedding_sort: 8193 tokens; expected at most 8192"),
    ],
)
def test_what_does_not_fit_is_refused(launch, message) -> None:
    with pytest.raises(ValueError, match=message):
        launch()


def test_shared_bytes() -> None:
    """The tile and the buffers that the head of each source lists."""
    assert geometry.lstm_forward(128, 512).shared_bytes == 16 * 520 * 2 + 8192 + 1024
    assert geometry.lstm_forward_wide(128, 1024).shared_bytes == 64 * 1032 * 2 + 65536 + 2048 + 17408 + 4096
    assert geometry.lstm_backward(128, 512).shared_bytes == 16 * 2056 * 2 + 18432 + 4096
    assert geometry.lstm_forward(128, 512).grid == geometry.lstm_forward(113, 512).grid == (16, 8)
    assert geometry.lstm_backward_wide(128, 1024).shared_bytes == 64 * (1024 + 16) + 64 * 512
    assert geometry.lstm_backward_wide(128, 1024).grid == (64, 2)
    assert geometry.lstm_backward_wide(128, 512, "tf32").grid == (32, 4)
    assert geometry.backward_wide_buffers(128, 1024) == (2 * 2 * 8 * 64 * 1024, 2 * 2 * 8)
    assert [geometry.lstm_width(H, "tf32") for H in (1, 64, 65, 500)] == [64, 64, 128, 512]
    assert geometry.dropout(1024).grid == (2,)
    assert geometry.gates(0, 5).grid == (1,)
