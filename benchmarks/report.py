"""Write the README's table of results from the JSON under benchmarks/results, so that no figure is typed by hand.

python benchmarks/report.py            rewrite the table in README.md
python benchmarks/report.py --check    exit code 1 if the table there is not the one the files give
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- results: written by benchmarks/report.py -->", "<!-- end of results -->"

MULTI30K = "python -m seq2seq.train --data multi30k"
PUBLISHED_BLEU, PUBLISHED_PPL = 13.76, 43.83  # the tutorials' first model, as its published notebook prints them


def read(name: str) -> Any:
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def validations(name: str) -> list[dict[str, Any]]:
    lines = (RESULTS / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [record for record in map(json.loads, lines) if "val_loss" in record]


def rows() -> list[tuple[str, str, str]]:
    """(what, figure, command) per line of the table."""
    return [*numbers_rows(), *multi30k_rows(), *speed_rows(), *startup_rows()]


def numbers_rows() -> list[tuple[str, str, str]]:
    test, timing = read("numbers/test.json"), read("make_train.json")
    return [
        (
            f"Number words, English to French, {test['sentences']:,} numbers never seen: exact match, greedy",
            f"{test['exact_match']:.1f} %",
            "`make train`, then `python -m seq2seq.evaluate runs/numbers-1`",
        ),
        (
            f"The same from clone to translations, {timing['cores']} cores, warm package cache",
            f"{median(timing['seconds']):.0f} s ({min(timing['seconds']):.0f} to {max(timing['seconds']):.0f}, "
            f"{len(timing['seconds'])} runs)",
            "`python benchmarks/make_train.py`",
        ),
    ]


def multi30k_rows() -> list[tuple[str, str, str]]:
    greedy, beam, manifest = (read(f"multi30k/{n}.json") for n in ("test", "test-beam5", "manifest"))
    best = min(validations("multi30k"), key=lambda record: record["val_loss"])
    evaluate = "`python -m seq2seq.evaluate runs/multi30k-1`"
    return [
        (
            f"Multi30k de-en, the tutorials' LSTM model ({manifest['num_parameters']:,} parameters, 10 epochs): "
            f"test_2016 BLEU, greedy, their tokens (they: {PUBLISHED_BLEU})",
            f"{greedy['bleu_tokens']:.2f}",
            f"`{MULTI30K}`, then {evaluate}",
        ),
        ("the same, sacreBLEU 13a of detokenised text, lower-cased", f"{greedy['bleu']:.2f}", evaluate),
        ("the same, beam 5, their tokens", f"{beam['bleu_tokens']:.2f}", f"{evaluate[:-1]} --beam-size 5`"),
        (
            f"test_2016 perplexity with the model's own words fed back (they: {PUBLISHED_PPL}) / with the right words",
            f"{greedy['ppl_free']:.2f} / {greedy['ppl_forced']:.2f}",
            evaluate,
        ),
        (
            f"validation perplexity, right words given, best epoch ({best['epoch'] + 1})",
            f"{best['ppl_forced']:.2f}",
            f"`{MULTI30K}`",
        ),
    ]


def speed_rows() -> list[tuple[str, str, str]]:
    training, decoding = read("training_step.json"), read("decoding.json")
    torch = f"PyTorch {training['versions']['torch']}"
    ways = {"forcing_1.0": "the right word always given", "forcing_0.5": "the tutorials' loop, forcing 0.5"}
    lines = [
        (
            f"Training step of that model, {way}: time of {torch} over ours, both float32 on {training['cores']} cores",
            _ratio(training[name]["ratio"]),
            "`python benchmarks/training_step.py --data-dir DIR`",
        )
        for name, way in ways.items()
    ]
    lines += [
        (
            f"Decoding {name}, 15 words in, 15 out: the same ratio",
            _ratio(found["ratio"]),
            "`python benchmarks/decoding.py`",
        )
        for name, found in decoding.items()
        if "sentence" in name
    ]
    return lines


def _ratio(ratio: dict[str, float]) -> str:
    return f"{ratio['median']:.2f} (middle half {ratio['low']:.2f} to {ratio['high']:.2f})"


def startup_rows() -> list[tuple[str, str, str]]:
    seconds = read("startup.json")["seconds"]
    names = {
        "import": "`import minigrad`",
        "first_step_cold": "Extra time of the first training step: compiling, empty kernel cache",
        "first_step_warm": "the same, warm kernel cache",
    }
    return [(text, f"{median(seconds[name]):.2f} s", "`python benchmarks/startup.py`") for name, text in names.items()]


def table() -> str:
    lines = ["| what | figure | command |", "|---|---|---|"]
    lines += [f"| {what} | {figure} | {command} |" for what, figure, command in rows()]
    return "\n".join(lines)


def with_table(text: str) -> str:
    head, rest = text.split(BEGIN)
    return f"{head}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; say whether the table is current")
    options = parser.parse_args()
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    new = with_table(text)
    if options.check:
        return int(text != new)
    readme.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
