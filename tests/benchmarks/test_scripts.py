"""Every race runs in its quick form against every peer that is installed, proves equality, and writes its figures."""

from __future__ import annotations

import importlib.util
import itertools
import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"pytorch": ["torch"], "jax": ["jax"], "onnxruntime": ["onnx", "onnxruntime"]}


def installed(*variants: str) -> list[str]:
    """Those whose packages are there; skips the test where none is."""
    packages = {variant: PACKAGES[variant.partition("-")[0]] for variant in variants}
    found = [name for name, needed in packages.items() if all(map(importlib.util.find_spec, needed))]
    if not found:
        pytest.skip("no peer is installed")
    return found


def figures(script: str, variants: list[str], folder: Path, *more: str) -> dict[str, Any]:
    """What a quick run of a script writes."""
    path = folder / "figures.json"
    options = [
        *more,
        "--quick",
        "--rounds",
        "2",
        "--threads",
        "1",
        "--variants",
        ",".join(variants),
        "--json",
        str(path),
    ]
    command = [sys.executable, str(ROOT / "benchmarks" / script), *options]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return json.loads(path.read_text(encoding="utf-8"))


def check_race(race: dict[str, Any], ours: str, peer: str) -> None:
    ratio = race["ratios"][ours][peer]
    assert 0 < ratio["low"] <= ratio["median"] <= ratio["high"]
    for variant in (ours, peer):
        times = race["variants"][variant]["us"]
        assert 0 < times["low"] <= times["median"] <= times["high"]


@pytest.mark.parametrize("peers", [["pytorch", "pytorch-packed"], ["jax", "jax-bf16"]], ids=["pytorch", "jax"])
def test_training_step(peers, tmp_path) -> None:
    names = installed(*peers)
    result = figures("training_step.py", ["minigrad", "minigrad-bf16", *names], tmp_path)
    assert result["matmul_gflops"]["fp32"] > 0
    assert set(result["races"]) == {"forcing 1.0", "forcing 0.5"}
    for race in result["races"].values():
        for peer in set(names) & set(race["variants"]):  # the loop has no packed variant
            bf16 = peer.endswith("bf16")
            check_race(race, "minigrad-bf16" if bf16 else "minigrad", peer)
            assert race["verified_to"][peer] < (5e-2 if bf16 else 1e-3)
            assert race["variants"][peer]["peak_memory_mb"] > 20
        assert 0 < race["verified_to"]["minigrad-bf16"] < 5e-2
        assert race["variants"]["minigrad"]["gflops"] > 0


def test_attention(tmp_path) -> None:
    names = installed("pytorch-packed")
    races = figures("attention.py", ["minigrad", "minigrad-bf16", *names], tmp_path)["races"]
    assert set(races) == {"general", "bahdanau", "bahdanau-2"}
    for race in races.values():
        for peer in names:
            check_race(race, "minigrad", peer)
            assert race["verified_to"][peer] < 1e-3
        assert 0 < race["verified_to"]["minigrad-bf16"] < 5e-2


def test_decoding(tmp_path) -> None:
    names = installed("pytorch", "jax", "onnxruntime")
    races = figures("decoding.py", ["minigrad", *names], tmp_path)["races"]
    assert [(race["sentences"], race["beam_size"]) for race in races.values()] == [(1, 1), (1, 5), (3, 1), (3, 5)]
    for race, peer in itertools.product(races.values(), names):
        check_race(race, "minigrad", peer)


@pytest.mark.parametrize("model", ["attention", "bahdanau"])
def test_decoding_with_attention(model, tmp_path) -> None:
    names = installed("pytorch")
    races = figures("decoding.py", ["minigrad", *names], tmp_path, "--model", model)["races"]
    for race, peer in itertools.product(races.values(), names):
        check_race(race, "minigrad", peer)


def test_decoding_with_weights_in_other_forms(tmp_path) -> None:
    names = ["minigrad", "minigrad-bf16", "minigrad-f16", "minigrad-int8"]
    races = figures("decoding.py", names, tmp_path, "--model", "wide")["races"]
    for race in races.values():
        assert list(race["variants"]) == list(race["alike"]) == names
        assert all(found["us"]["median"] > 0 for found in race["variants"].values())


def test_paper_scale(tmp_path) -> None:
    names = installed("pytorch", "jax")
    races = figures("paper_scale.py", ["minigrad", *names], tmp_path)["races"]
    assert list(races) == ["fp32"]
    for peer in names:
        check_race(races["fp32"], "minigrad", peer)


def test_scaling(tmp_path) -> None:
    result = figures("scaling.py", ["minigrad", *installed("pytorch")], tmp_path)
    values = {name: [point["value"] for point in sweep] for name, sweep in result["sweeps"].items()}
    assert values == {"N": [1, 4], "V": [20, 50]}
    assert all(us > 0 for sweep in result["sweeps"].values() for point in sweep for us in point["us"].values())


def test_an_unknown_variant_is_refused() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "decoding.py"), "--variants", "minigrad,rust"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.startswith("--variants is rust; expected some of minigrad, pytorch")


def test_examples(tmp_path) -> None:
    installed("pytorch")
    result = figures("examples.py", ["minigrad", "pytorch"], tmp_path, "--scripts", "characters")
    check_race(result["races"]["characters"], "minigrad", "pytorch")
    assert {*result["races"]["characters"]["losses"]} == {"minigrad", "pytorch"}


def test_an_example_whose_loss_is_another_is_left_out(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import examples

    class Told:
        def __init__(self, loss: float) -> None:
            self.loss = loss

        def call(self, method: str, *arguments: int, times: int = 1) -> tuple[float, float]:
            return 0.01, self.loss

    workers = {"minigrad": Told(2.0), "pytorch": Told(2.3)}
    where = SimpleNamespace(open=lambda *_: nullcontext(workers), strict=True)
    monkeypatch.setattr(examples, "arena", lambda options: where)
    monkeypatch.setattr(examples, "usable", lambda names, only: (names, {}))
    options = SimpleNamespace(quick=True, variants=None, threads=1, rounds=2)
    found = examples.measure("characters", options)
    assert found["left_out"] == {"pytorch": "wrong result: a loss of 2.300, not 2.000"}
    assert [*found["variants"]] == ["minigrad"]
