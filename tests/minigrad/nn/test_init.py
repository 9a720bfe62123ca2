"""Initialisation: exact bounds and values, moments of what is drawn, the stream it is drawn from."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn

SHAPE = (60, 50, 2)  # fan_in 100, fan_out 120


def drawn(fill, *args, **keywords) -> np.ndarray:  # type: ignore[no-untyped-def]
    tensor = nn.Parameter(mg.zeros(*SHAPE))
    assert fill(tensor, *args, **keywords) is tensor
    assert tensor.requires_grad
    assert tensor.is_leaf
    return tensor.array


UNIFORM = [
    (nn.init.uniform_, (-0.08, 0.08), -0.08, 0.08),
    (nn.init.uniform_, (), 0.0, 1.0),
    (nn.init.xavier_uniform_, (), -math.sqrt(6 / 220), math.sqrt(6 / 220)),
    (nn.init.xavier_uniform_, (2.0,), -2 * math.sqrt(6 / 220), 2 * math.sqrt(6 / 220)),
    (nn.init.kaiming_uniform_, (), -math.sqrt(6 / 100), math.sqrt(6 / 100)),
    (nn.init.kaiming_uniform_, (math.sqrt(5),), -0.1, 0.1),
    (nn.init.kaiming_uniform_, (0, "fan_out", "tanh"), -5 / 3 * math.sqrt(3 / 120), 5 / 3 * math.sqrt(3 / 120)),
]
NORMAL = [
    (nn.init.normal_, (2.0, 0.5), 2.0, 0.5),
    (nn.init.xavier_normal_, (), 0.0, math.sqrt(2 / 220)),
    (nn.init.kaiming_normal_, (), 0.0, math.sqrt(2 / 100)),
    (nn.init.kaiming_normal_, (0, "fan_out", "linear"), 0.0, math.sqrt(1 / 120)),
]


@pytest.mark.parametrize(("fill", "args", "low", "high"), UNIFORM)
def test_uniform(fill, args, low, high) -> None:  # type: ignore[no-untyped-def]
    values, width = drawn(fill, *args), high - low
    assert low <= values.min() < low + 0.01 * width
    assert high - 0.01 * width < values.max() <= high + 1e-7
    assert values.std() == pytest.approx(width / math.sqrt(12), rel=0.03)


@pytest.mark.parametrize(("fill", "args", "mean", "std"), NORMAL)
def test_normal(fill, args, mean, std) -> None:  # type: ignore[no-untyped-def]
    values = drawn(fill, *args)
    assert values.mean() == pytest.approx(mean, abs=0.04 * std)
    assert values.std() == pytest.approx(std, rel=0.03)
    assert np.abs(values - mean).max() > 3 * std


def test_constants() -> None:
    assert (drawn(nn.init.constant_, 0.3) == np.float32(0.3)).all()
    assert (drawn(nn.init.ones_) == 1).all()
    assert (drawn(nn.init.zeros_) == 0).all()
    np.testing.assert_array_equal(nn.init.eye_(mg.ones(2, 3)).numpy(), [[1, 0, 0], [0, 1, 0]])


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (3, 2, 2)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    matrix = nn.init.orthogonal_(mg.zeros(*shape, dtype=mg.float64), gain=2.0).numpy().reshape(shape[0], -1)
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(gram, 4 * np.eye(len(gram)), atol=1e-12)


def test_the_same_seed_gives_the_same_numbers() -> None:
    results = []
    for seed in (1, 1, 2):
        mg.manual_seed(seed)
        results.append(nn.init.xavier_normal_(mg.zeros(3, 4)).numpy())
    np.testing.assert_array_equal(results[0], results[1])
    assert (results[0] != results[2]).all()


def test_gains_are_torchs() -> None:
    init = pytest.importorskip("torch").nn.init
    for name in ("linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert nn.init.calculate_gain(name) == init.calculate_gain(name)
    assert nn.init.calculate_gain("leaky_relu", 0.5) == init.calculate_gain("leaky_relu", 0.5)


def test_errors() -> None:
    with pytest.raises(ValueError, match="nonlinearity is 'gelu'"):
        nn.init.calculate_gain("gelu")
    with pytest.raises(ValueError, match=r"got shape \(3,\)"):
        nn.init.xavier_uniform_(mg.zeros(3))
    with pytest.raises(ValueError, match="mode is 'fan'"):
        nn.init.kaiming_normal_(mg.zeros(3, 2), mode="fan")
    with pytest.raises(ValueError, match="orthogonal_"):
        nn.init.orthogonal_(mg.zeros(3))
    with pytest.raises(ValueError, match="eye_"):
        nn.init.eye_(mg.zeros(3))
