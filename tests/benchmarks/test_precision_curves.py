"""The comparison of training curves: equal ones are noise, shifted ones are not."""

import json

import numpy as np
import precision_curves
import pytest

from seq2seq.run.config import Config


def write_run(folder, precision, seed, shift, **settings):
    """A run whose figures are noise around a falling curve, plus ``shift``."""
    folder.mkdir(parents=True)
    config = vars(Config(precision=precision, seed=seed, **settings))
    (folder / "config.json").write_text(json.dumps(config))
    rng = np.random.default_rng(seed + (precision == "bf16"))
    lines = [{"step": 1, "loss": 1.0}]
    lines += [
        dict.fromkeys(precision_curves.FIGURES, 5 - e + shift + 0.1 * rng.standard_normal()) | {"epoch": e}
        for e in range(3)
    ]
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


@pytest.mark.parametrize(("shift", "noise"), [(0.0, True), (1.0, False)])
def test_a_shift_is_seen(tmp_path, shift, noise):
    runs = [write_run(tmp_path / f"{p}-{s}", p, s, shift * (p == "bf16")) for p in ("fp32", "bf16") for s in (1, 5, 9)]
    entries = precision_curves.compare(precision_curves.curves(runs))
    assert [entry["epoch"] for entry in entries] == [1, 2, 3]
    for entry in entries:
        found = entry["val_loss"]
        assert found["bf16"] - found["fp32"] == pytest.approx(shift, abs=0.3)
        assert (abs(found["difference_in_errors"]) < 4) == noise


def test_other_settings_are_refused(tmp_path):
    runs = [write_run(tmp_path / "a", "fp32", 1, 0), write_run(tmp_path / "b", "bf16", 1, 0, hidden_size=7)]
    with pytest.raises(ValueError, match="differ in more than precision and seed"):
        precision_curves.curves(runs)
