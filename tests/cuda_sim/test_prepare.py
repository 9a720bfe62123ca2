"""What a persistent layer is given, made in one launch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from harness import Rig, device, poisoned

from kernels.cuda.recurrent import pack
from kernels.cuda.runtime import geometry

SHAPES = [(5, 3, 7, 64, 64), (33, 4, 6, 70, 128), (1, 1, 1, 1, 64)]  # P, N, I, H, width


DTYPES: dict[str, Any] = {"bf16": np.uint16, "tf32": np.float32}


def rounded(x: np.ndarray, kind: str) -> np.ndarray:
    return {"bf16": pack.bf16_bits, "tf32": np.asarray}[kind](x)


@pytest.mark.parametrize("full", [True, False])  # with a bias and sorted rows; and what needs no copy is given so
@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_prepare(rig: Rig, kind: str, shape: tuple[int, ...], full: bool) -> None:
    check_prepare(rig, kind, shape, full)


def check_prepare(rig: Rig, kind: str, shape: tuple[int, ...], full: bool) -> None:
    P, N, I, H, width = shape  # noqa: E741
    rng = np.random.default_rng(P)
    x, weight_ih, weight_hh, h0, c0, bias = (
        rng.standard_normal(size).astype(np.float32)
        for size in ((P, I), (4 * H, I), (4 * H, H), (N, H), (N, H), (4 * H,))
    )
    rows, dtype = rng.permutation(N), DTYPES[kind]
    weight_hh.reshape(-1)[:3] = np.nan, np.inf, 7e4  # as they are rounded in each type
    orders = [pack.within(order(width, kind), width, H) for order in (pack.forward_order, pack.backward_order)]
    words = orders[0].size // orders[0].shape[-1]
    x_out, weight_out = (poisoned(size, dtype) if full else None for size in ((P, I), (4 * width, I)))
    packed = [poisoned(words, np.uint32) for _ in orders]
    y, c, flags = poisoned((N + 2, width), dtype), poisoned((N + 2, width), np.float32), poisoned(9, np.uint32)
    part = poisoned((P, 4 * width), np.float32)
    copies = (0, 0) if x_out is None or weight_out is None else (x_out.size, weight_out.size)
    launch = geometry.lstm_prepare(*copies, words, words, N * width, part.size if full else 0)
    arguments: list[Any] = [device(x), x_out, np.uint64(x.size), device(weight_ih), weight_out, np.int32(I)]
    arguments += [device(weight_hh), device(orders[0]), packed[0], device(orders[1]), packed[1], np.int32(words)]
    arguments += [device(h0), device(c0), device(rows) if full else None, y, c, flags, np.int32(8), np.int32(N)]
    arguments += [device(bias) if full else None, part, *map(np.int32, (P, H, width))]
    getattr(rig.module("recurrent/lstm_prepare.cu"), f"lstm_prepare_{kind}")(launch, arguments)

    def padded(matrix: np.ndarray) -> np.ndarray:
        """(4H, .) -> (4 width, .)."""
        wide = np.zeros((4, width, *matrix.shape[1:]), np.float32)
        wide[:, :H] = matrix.reshape(4, H, *matrix.shape[1:])
        return wide.reshape(4 * width, *matrix.shape[1:])

    for got, order in zip(packed, orders, strict=True):
        np.testing.assert_array_equal(got, pack.pack_weights(weight_hh, order, kind).reshape(-1))
    order = rows if full else np.arange(N)
    np.testing.assert_array_equal(y[:N, :H], rounded(h0[order], kind))
    np.testing.assert_array_equal(c[:N, :H], c0[order])
    assert not y[:N, H:].any()
    assert not c[:N, H:].any()
    assert flags.tolist() == [0] * 8 + [2**32 - 1]
    untouched = [y[N:], c[N:]]
    if x_out is None or weight_out is None:
        untouched.append(part)
    else:
        np.testing.assert_array_equal(x_out, rounded(x, kind))
        np.testing.assert_array_equal(weight_out, rounded(padded(weight_ih), kind))
        np.testing.assert_array_equal(part, np.broadcast_to(padded(bias), part.shape))
    for array in untouched:
        assert (np.ascontiguousarray(array).view(np.uint8) == 0xFF).all()


@pytest.mark.parametrize(("tokens", "room"), [(0, 3), (3, 3), (4, 40), (40, 40)])
def test_only_rows_of_tokens_are_marked(rig: Rig, tokens: int, room: int) -> None:
    check_mark(rig, tokens, room)


def check_mark(rig: Rig, tokens: int, room: int) -> None:
    """`first` says how many there are; what lies before and behind them stays."""
    N, T, width = 3, 2, 64
    y, first = device(np.full((N + room, width), 7, np.uint16)), device(np.array([0, min(tokens, 3), tokens], np.int32))
    numbers = map(np.int32, (T, N, width))
    rig.module("recurrent/lstm_prepare.cu").lstm_mark(geometry.lstm_mark(room * width), [y, first, *numbers])
    want = np.full((N + room, width), 7, np.uint16)
    want[N : N + tokens] = 0xFFFF
    np.testing.assert_array_equal(y, want)
