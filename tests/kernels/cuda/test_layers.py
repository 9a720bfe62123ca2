"""Linear layer, losses, embedding, dropout and random words on the device against the CPU's.

Tolerances, relative to the largest element. float32: sums in another order, the device's own exp. bf16: logits are kept
in bfloat16, so each is off by up to 2^-9 of itself, and what comes of it by as much of the largest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kernels
from kernels import cpu, reference
from kernels.cuda.losses import output_layer
from kernels.cuda.runtime import launcher

FLOAT32, BF16 = 3e-6, 2e-2
IGNORE = 3


@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bf16"])
@pytest.mark.parametrize("shape", [(11, 7, 13), (1, 1, 1), (0, 3, 4), (5, 0, 2), (3, 4, 0), (33, 65, 9)])
def test_linear(bench: Any, shape: tuple, bf16: bool) -> None:
    M, I, O = shape  # noqa: E741
    x, weight, bias, dy = bench.normal(M, I), bench.normal(O, I), bench.normal(O), bench.normal(M, O)
    for offset in (bias, None):
        got = kernels.linear_forward(*bench.to([x, weight, offset]), bf16)
        bench.close(bench.back(got), cpu.linear_forward(x, weight, offset, bf16), FLOAT32)
    for needs in ((True, True, True), (False, True, False), (False, False, False)):
        found = kernels.linear_backward(*bench.to([dy, x, weight]), needs, bf16)
        for a, b in zip(bench.back(found), cpu.linear_backward(dy, x, weight, needs, bf16), strict=True):
            bench.close(a, b, FLOAT32)


def test_matmul_reads_transposed_views_as_they_lie(bench: Any) -> None:
    a, b = bench.normal(6, 5), bench.normal(5, 9)
    for left in (bench.to(a), bench.to(np.ascontiguousarray(a.T)).T, bench.to(np.repeat(a, 2, axis=1))[:, ::2]):
        for right in (bench.to(b), bench.to(np.ascontiguousarray(b.T)).T):
            bench.close(bench.back(kernels.matmul(left, right)), a @ b, FLOAT32)


@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bf16"])
@pytest.mark.parametrize("shape", [(4, 6, 5, 9), (1, 1, 1, 1), (0, 2, 3, 4), (2, 3, 0, 4), (2, 1, 33, 1)])
def test_batches_of_matrices(bench: Any, shape: tuple, bf16: bool) -> None:
    B, M, K, N = shape
    a, b = bench.normal(B, M, K), bench.normal(B, K, N)
    want = cpu.bmm(a, b, bf16)
    left, right = bench.to(a), bench.to(np.ascontiguousarray(b.transpose(1, 0, 2))).transpose(1, 0, 2)
    bench.close(bench.back(kernels.bmm(left, right, bf16)), want, FLOAT32)
    turned = bench.to(np.ascontiguousarray(a.swapaxes(1, 2))).swapaxes(1, 2)
    bench.close(bench.back(kernels.bmm(turned, right, bf16)), want, FLOAT32)
    bench.close(bench.back(kernels.bmm(left[:, ::-1], right, bf16)), np.ascontiguousarray(want[:, ::-1]), FLOAT32)
    if B:
        bench.close(bench.back(kernels.matmul(left[0], right[0], bf16)), want[0], FLOAT32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_masked_softmax(bench: Any, dtype: Any) -> None:
    x, dy, lengths = bench.normal(5, 7, dtype=dtype), bench.normal(5, 7, dtype=dtype), np.array([7, 0, 3, 1, 6])
    x[2, 3:] = np.nan
    want, cache = cpu.masked_softmax_forward(x, lengths)
    got, device_cache = kernels.masked_softmax_forward(bench.to(x), lengths)
    bench.close(bench.back(got), want, FLOAT32)
    gradient = kernels.masked_softmax_backward(bench.to(dy), device_cache)
    bench.close(bench.back(gradient), cpu.masked_softmax_backward(dy, cache), FLOAT32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("affine", [True, False])
def test_layer_norm(bench: Any, affine: bool, dtype: Any) -> None:
    x, dy, weight, bias = (bench.normal(*shape, dtype=dtype) for shape in ((5, 7), (5, 7), (7,), (7,)))
    parameters = [weight, bias] if affine else [None, None]
    want, cache = cpu.layer_norm_forward(x, *parameters)
    got, device_cache = kernels.layer_norm_forward(*bench.to([x, *parameters]))
    bench.close(bench.back(got), want, FLOAT32)
    found = bench.back(kernels.layer_norm_backward(bench.to(dy), device_cache))
    for a, b in zip(found, cpu.layer_norm_backward(dy, cache), strict=True):
        bench.close(a, b, FLOAT32)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("shape", [(6, 10), (1, 1), (0, 4), (3, 300)])
def test_cross_entropy(bench: Any, shape: tuple, smoothing: float) -> None:
    M, V = shape
    logits, dlosses = 5 * bench.normal(M, V), bench.normal(M)
    targets = bench.rng.integers(0, V, M, dtype=np.int32)
    want, cache = cpu.cross_entropy_forward(logits, targets, IGNORE, smoothing)
    got, device_cache = kernels.cross_entropy_forward(*bench.to([logits, targets]), IGNORE, smoothing)
    bench.close(bench.back(got), want, FLOAT32, least=1)
    gradient = kernels.cross_entropy_backward(bench.to(dlosses), device_cache)
    bench.close(bench.back(gradient), cpu.cross_entropy_backward(dlosses, cache), FLOAT32, least=1)


def test_large_logits_are_safe_and_a_nan_is_not_swallowed(bench: Any) -> None:
    logits = np.array([[1e4, -1e4, 0], [-np.inf, 2, 1], [np.nan, 0, 0]], np.float32)
    losses, _ = kernels.cross_entropy_forward(*bench.to([logits, np.array([0, 1, 1])]))
    got = bench.back(losses)
    assert got[0] == 0
    assert got[1] == pytest.approx(np.log1p(np.exp(-1)), rel=1e-5)
    assert np.isnan(got[2])


def output_arguments(bench: Any, M: int, H: int, V: int) -> list[Any]:
    return [bench.normal(M, H), bench.normal(V, H), bench.normal(V), bench.rng.integers(0, V, M)]


@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bf16"])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_linear_cross_entropy(
    bench: Any, monkeypatch: pytest.MonkeyPatch, smoothing: float, reduction: str, bf16: bool
) -> None:
    """All at once and in chunks, one of which is not full; with and without a bias."""
    arguments = output_arguments(bench, 11, 7, 13)
    for bias, chunk_bytes in ((arguments[2], 1 << 20), (None, 1 << 20), (arguments[2], 4 * 16 * 4)):
        monkeypatch.setattr(output_layer, "LOGITS_BYTES", chunk_bytes)
        arguments[2] = bias
        numbers = IGNORE, smoothing, reduction, bf16
        want, cache = cpu.linear_cross_entropy_forward(*arguments, *numbers)
        got, device_cache = kernels.linear_cross_entropy_forward(*bench.to(arguments), *numbers)
        bench.close(bench.back(got), want, BF16 if bf16 else FLOAT32)
        dloss = np.array(0.5, np.float32)
        found = bench.back(kernels.linear_cross_entropy_backward(bench.to(dloss), device_cache))
        for a, b in zip(found, cpu.linear_cross_entropy_backward(dloss, cache), strict=True):
            bench.close(a, b, BF16 if bf16 else FLOAT32)


def test_the_loss_alone_and_gradients_later(bench: Any) -> None:
    arguments = bench.to(output_arguments(bench, 6, 4, 9))
    loss, cache = kernels.linear_cross_entropy_forward(*arguments, IGNORE, 0.1, "mean", need_gradients=False)
    same, computed = kernels.linear_cross_entropy_forward(*arguments, IGNORE, 0.1, "mean")
    assert bench.back(loss) == bench.back(same)
    dloss = bench.to(np.array(1, np.float32))
    first = bench.back(kernels.linear_cross_entropy_backward(dloss, computed))
    for other in (cache, computed):  # never computed, and given away
        for a, b in zip(bench.back(kernels.linear_cross_entropy_backward(dloss, other)), first, strict=True):
            assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_no_rows_and_only_ignored_ones(bench: Any, reduction: str) -> None:
    for M, target in ((0, 0), (3, IGNORE)):
        arguments = output_arguments(bench, M, 4, 9)
        arguments[3] = np.full(M, target)
        want, _ = cpu.linear_cross_entropy_forward(*arguments, IGNORE, 0.0, reduction)
        got, cache = kernels.linear_cross_entropy_forward(*bench.to(arguments), IGNORE, 0.0, reduction)
        np.testing.assert_array_equal(bench.back(got), want)
        for gradient in bench.back(kernels.linear_cross_entropy_backward(bench.to(np.array(1, np.float32)), cache)):
            assert not gradient.any()


def test_float64_is_the_oracle(bench: Any) -> None:
    x, weight, bias = (bench.normal(*shape, dtype=np.float64) for shape in ((5, 4), (9, 4), (9,)))
    arguments = x, weight, bias, bench.rng.integers(0, 9, 5)
    want, cache = reference.linear_cross_entropy_forward(*arguments, IGNORE, 0.1, "mean")
    got, device_cache = kernels.linear_cross_entropy_forward(*bench.to(arguments), IGNORE, 0.1, "mean")
    bench.close(bench.back(got), want, 1e-14)
    dloss = np.array(0.5)
    found = bench.back(kernels.linear_cross_entropy_backward(bench.to(dloss), device_cache))
    for a, b in zip(found, reference.linear_cross_entropy_backward(dloss, cache), strict=True):
        bench.close(a, b, 1e-14)
    losses, logits_cache = kernels.cross_entropy_forward(bench.to(x), bench.to(np.array([0, 1, 2, 3, 0])))
    want, oracle_cache = reference.cross_entropy_forward(x, np.array([0, 1, 2, 3, 0]))
    bench.close(bench.back(losses), want, 1e-14)
    gradient = kernels.cross_entropy_backward(losses, logits_cache)
    bench.close(bench.back(gradient), reference.cross_entropy_backward(want, oracle_cache), 1e-14)


@pytest.mark.parametrize("dtype", [np.int64, np.int32])
@pytest.mark.parametrize("padding_idx", [None, 2])
@pytest.mark.parametrize("shape", [(4, 5), (1,), (0,), ()])
def test_embedding(bench: Any, shape: tuple, padding_idx: int | None, dtype: Any) -> None:
    weight, ids = bench.normal(20, 6), bench.rng.integers(0, 6, shape).astype(dtype)
    ids = np.asarray(ids, dtype)
    dy = bench.normal(*shape, 6)
    device_ids = bench.to(ids)
    assert bench.back(kernels.embedding_forward(bench.to(weight), device_ids)).tobytes() == weight[ids].tobytes()
    rows, values = cpu.embedding_backward(dy, ids, padding_idx)
    got = bench.back(kernels.embedding_backward(bench.to(dy), device_ids, padding_idx))
    assert got[0].tolist() == rows.tolist()
    assert got[0].dtype == np.int64
    assert got[1].tobytes() == values.tobytes()
    dense = np.zeros((20, 6), np.float32)
    dense[rows] = values
    assert bench.back(kernels.embedding_backward_dense(bench.to(dy), device_ids, 20, padding_idx)).tobytes() == (
        dense.tobytes()
    )


def test_ids_and_targets_out_of_range_are_reported(bench: Any) -> None:
    weight, logits = bench.to(bench.normal(4, 3)), bench.to(bench.normal(2, 3))
    bad = [bench.to(np.array(ids)) for ids in ([0, 4], [-1, 1])]
    calls: list[Any] = [lambda ids: kernels.embedding_forward(weight, ids)]
    calls += [lambda ids: kernels.cross_entropy_forward(logits, ids)[0]]
    calls += [lambda ids: kernels.linear_cross_entropy_forward(logits, weight, None, ids)[0]]
    for call in calls:
        for ids in bad:
            result = call(ids)
            with pytest.raises(IndexError, match="out of range"):
                kernels.to_host(result)
            kernels.to_host(result)
    launcher.check()


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("start", [0, 4, 7])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dropout_has_the_bits_of_the_cpu(bench: Any, p: float, start: int, dtype: Any) -> None:
    x = bench.normal(5, 7, dtype=dtype)
    stream = 2**40 + 1, 2**33 + 5, 9, start
    got = bench.back(kernels.dropout(bench.to(x), p, *stream))
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, cpu.dropout(x, p, *stream))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(0, 3), (33, 65), (2, 3, 70)])
def test_gelu(bench: Any, shape: tuple, dtype: Any) -> None:
    x, dy = (3 * bench.normal(*shape, dtype=dtype) for _ in range(2))
    for approximate in (False, True):
        y = bench.back(kernels.gelu_forward(bench.to(x), approximate))
        bench.close(y, cpu.gelu_forward(x, approximate), FLOAT32)
        found = bench.back(kernels.gelu_backward(*bench.to([dy, x]), approximate))
        bench.close(found, cpu.gelu_backward(dy, x, approximate), FLOAT32)
    bench.close(bench.back(kernels.erf(bench.to(x))), cpu.erf(x), FLOAT32)


@pytest.mark.parametrize("count", [0, 1, 13, 4096])
def test_random_words_are_those_of_the_cpu(bench: Any, count: int) -> None:
    words = bench.back(kernels.cuda.random_bits(count, 2**40 + 1, 2**33 + 5, 9))
    assert words.tolist() == cpu.random_bits(count, 2**40 + 1, 2**33 + 5, 9).tolist()


def test_two_runs_are_equal_to_the_bit(bench: Any) -> None:
    arguments = bench.to(output_arguments(bench, 33, 20, 50))
    runs = []
    for _ in range(2):
        loss, cache = kernels.linear_cross_entropy_forward(*arguments, bf16=True)
        found = kernels.linear_cross_entropy_backward(bench.to(np.array(1, np.float32)), cache)
        runs.append([array.tobytes() for array in (loss, *found)])
    assert runs[0] == runs[1]
