"""The report quotes what the files say: the best variant of each framework, and a plot that is valid SVG."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import leaderboard
import plots
import report
import speed
import tables

from seq2seq.run.recipes import Goal, Recipe

RECIPE = Recipe("a", "a model", "1", (Goal("bleu", 30.0, 1.0, "20", ("--beam-size", "5")),), {})


def kept_run(**validation: Any) -> leaderboard.Kept:
    plan = {"process": 200 << 20, "weights": 8 << 20, "optimizer": 16 << 20, "step": 1 << 30, "device": "cpu"}
    manifest = {"git_commit": "0123456789", "processor": "P", "num_parameters": 1234, "memory_plan": plan}
    scores = [[{"bleu": 30.25, "signatures": {"bleu": "a signature"}}]]
    log = [{"epoch": 0, "bleu": 0.0, **validation}, {"epoch": 1, "bleu": 32.5, **validation}]
    return leaderboard.Kept(RECIPE, scores, manifest, log, log if validation else None, [None])


def test_the_leaderboard_says_what_a_run_gave_and_how_it_is_had() -> None:
    (row,) = leaderboard.rows([kept_run(seconds=90.0)])
    assert dict(zip(leaderboard.HEAD, row, strict=True)) == {
        "recipe": "a model", "figure": "**30.25** bleu --beam-size 5 (± 1.0 expected)", "published": "20",
        "parameters": "1,234", "memory": "1,248 MB", "validations": "2", "trained": "0123456, P, 2 minutes",
        "command": "`python -m seq2seq.reproduce a`",
    }  # fmt: skip
    assert leaderboard.rows([kept_run()])[0][6] == "0123456, P"
    run = kept_run()
    run.scores[0].append({"bleu": 31.75})
    told = "**31.00** bleu --beam-size 5, mean of 2 seeds, 30.25 to 31.75 (± 1.0 expected)"
    assert leaderboard.rows([run])[0][1] == told
    alone, together = leaderboard.rows([run._replace(together=[{"bleu": 33.0, "models": 2}])])
    assert alone[1] == told
    assert together[1] == "**33.00** bleu --beam-size 5, 2 seeds as one translator"
    assert together[-1] == "`python -m seq2seq.evaluate RUN-1 RUN-2 ... --beam-size 5`"
    assert leaderboard.signatures([kept_run()]) == ["- `bleu`: `a signature`"]
    assert leaderboard.scores_of(RECIPE.goals[0]) == "test-beam5.json"
    assert leaderboard.scores_of(RECIPE.goals[0]._replace(evaluate=())) == "test.json"


def test_a_learning_curve_is_drawn_where_seconds_are_known() -> None:
    """A validation of 0 BLEU is a point, too."""
    assert leaderboard.curves([kept_run()]) is None
    drawing = ElementTree.fromstring(str(leaderboard.curves([kept_run(), kept_run(seconds=90.0)])))
    (line,) = [element for element in drawing if element.tag.endswith("polyline")]
    assert len(line.attrib["points"].split()) == 2
    assert leaderboard.times([kept_run()]) == []
    told = "- `a`: 30 BLEU on validation data after 1.5 minutes, 2 epochs"
    assert leaderboard.times([kept_run(seconds=90.0)]) == [told]


def variant(framework: str, us: float, memory: int = 100) -> dict[str, Any]:
    times = {"low": us, "median": us, "high": us}
    return {
        "framework": framework,
        "us": times,
        "peak_memory_mb": memory,
        "first_calls_s": 1.25,
        "gflops": 175.0,
        "precision": "fp32",
    }


def ratio(median: float) -> dict[str, float]:
    return {"low": median - 0.25, "median": median, "high": median + 0.25}


MACHINE = {
    "threads": 2, "processor": {"name": "A", "has": ["avx2"]}, "versions": {"torch": "2.9", "jax": "0.8"},
    "matmul_gflops": {"fp32": 200, "bf16": 400},
}  # fmt: skip
RACE = {
    "variants": {
        "minigrad": variant("minigrad", 100),
        "pytorch": variant("pytorch", 130),
        "pytorch-loop": variant("pytorch", 250, 300),
        "pytorch-compiled": variant("pytorch", 120, 900),
        "jax": variant("jax", 150),
    },
    "ratios": {
        "minigrad": {
            "pytorch": ratio(1.3),
            "pytorch-loop": ratio(2.5),
            "pytorch-compiled": ratio(1.2),
            "jax": ratio(1.5),
        }
    },
}  # fmt: skip


def test_rows_quote_the_best_variant() -> None:
    introduction, table, _, memory = speed.sections({"training_step": {**MACHINE, "races": {"forcing 0.5": RACE}}})
    assert "200 GFLOP/s in float32 and 400 GFLOP/s in bfloat16" in introduction
    assert table[0][1:5] == ("ours", "PyTorch 2.9", "JAX 0.8", "ONNX Runtime")
    assert table[1][1:5] == ("100 us per token, 88%", "1.20 (0.95 to 1.45), compiled", "1.50 (1.25 to 1.75)", "-")
    assert table[2][1:5] == ("", "2.50 (2.25 to 2.75), loop", "-", "-")
    assert memory[1][1:] == ("100 MB, 1.2 s", "900 MB, 1.2 s", "100 MB, 1.2 s")


def test_the_first_page_has_a_row_for_each_recipe_and_race() -> None:
    (row,) = leaderboard.summary([kept_run()])
    assert row == ("a model", "**30.2** with beam 5: BLEU", "20", "`python -m seq2seq.reproduce a`")
    raced = {"training_step": {**MACHINE, "races": {"forcing 1.0": RACE, "small model": {"error": "none"}}}}
    (row,) = speed.summary(raced)
    command = "`python benchmarks/training_step.py --data-dir DIR`"
    assert row == ("training, LSTM", "1.20 (0.95 to 1.45)", "-", command)
    assert speed.drawn(raced) == {"training, LSTM": (1.2, 0.95, 1.45)}
    assert "2 threads of an A;" in speed.said(raced)


def test_a_framework_that_could_not_run_has_the_reason() -> None:
    race = {
        "variants": {name: RACE["variants"][name] for name in ("minigrad", "pytorch")},
        "ratios": {"minigrad": {"pytorch": ratio(1.3)}},
        "left_out": {"jax": "its process was ended by SIGILL", "pytorch-loop": "no | answer"},
    }
    parts = list(speed.sections({"training_step": {**MACHINE, "races": {"forcing 0.5": race}}}))
    assert parts[1][1][2:5] == ("1.30 (1.05 to 1.55)", "left out: its process was ended by SIGILL", "-")
    assert parts[2] == "Left out: jax (its process was ended by SIGILL); pytorch-loop (no | answer)."
    assert parts[4][1][1:] == ("100 MB, 1.2 s", "100 MB, 1.2 s", "-")


def test_other_processors_have_tables_of_their_own(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    other = {**MACHINE, "processor": {"name": "B", "has": []}, "races": {"forcing 1.0": RACE}}
    starts = {name: [1.0] for name in ("import", "first_step_cold", "first_step_warm")}
    for name, result in {
        "training_step": {**MACHINE, "races": {"forcing 1.0": RACE}}, "training_step.b": other, "decoding": other,
        "startup": {"seconds": starts}, "startup.b": {"processor": {"name": "B"}, "seconds": starts},
    }.items():  # fmt: skip
        (tmp_path / f"{name}.json").write_text(json.dumps({"words": 2, **result}))
    assert [list(found) for found in report.machines()] == [["training_step"], ["training_step", "decoding"]]
    text = report.races_page()
    assert text.index("(A, avx2)") < text.index("(B, )")
    text = report.readme()
    assert "| `import minigrad` | 1.00 s |" in text
    assert "| `import minigrad`, on B | 1.00 s |" in text


def test_files_without_races_give_no_rows() -> None:
    assert list(speed.sections({})) == []
    assert list(speed.sections({"decoding": {"old": 1}})) == []


def test_the_plot_has_every_point() -> None:
    names = ["minigrad", "pytorch-bf16"]
    sweep = [{"value": value, "us": dict.fromkeys(names, 10.0 * value)} for value in (1, 4, 4000)]
    drawing = plots.scaling({"sweeps": {"N": sweep, "threads": sweep[:2]}})
    root = ElementTree.fromstring(drawing)
    tags = [element.tag.partition("}")[2] for element in root.iter()]
    assert tags.count("circle") == 2 * (3 + 2)
    texts = [element.text for element in root.iter() if element.text and element.text.strip()]
    assert {"ours", "pytorch-bf16", "4k", "batch size N"} - set(texts) == {"pytorch-bf16"}
    assert "PyTorch bf16" in texts
    heights = [float(e.get("cy", "nan")) for e in root.iter() if e.tag.endswith("circle")]
    assert all(plots.TOP <= y <= plots.TOP + plots.HEIGHT for y in heights)
    assert heights[0] > heights[2]
