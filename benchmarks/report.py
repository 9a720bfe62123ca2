"""Write the README's tables and plot from the JSON under benchmarks/results, so that no figure is typed by hand.

python benchmarks/report.py            rewrite them in README.md
python benchmarks/report.py --check    exit code 1 if what stands there is not what the files give

A file that is missing leaves its rows out. Figures of other processors, in files like decoding.PROCESSOR.json, have
rows and tables of their own behind those of the plain names. The tables of speed are made by `speed.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import plots
import speed

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PLOT = "scaling.svg"
BEGIN, END = "<!-- results: written by benchmarks/report.py -->", "<!-- end of results -->"

MULTI30K = "python -m seq2seq.train --data multi30k"
PUBLISHED_BLEU, PUBLISHED_PPL = 13.76, 43.83  # the tutorials' first model, as its published notebook prints them

Rows = list[tuple[str, ...]]


def read(name: str) -> Any:
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def present(make: Callable[[], Rows]) -> Rows:
    """The rows, or none where a file of theirs is missing."""
    try:
        return make()
    except FileNotFoundError:
        return []


def files(stem: str) -> list[str]:
    """The file of results with this name, and those of other processors."""
    own = [f"{stem}.json"] if (RESULTS / f"{stem}.json").exists() else []
    return own + sorted(path.name for path in RESULTS.glob(f"{stem}.*.json"))


def on(result: dict[str, Any], name: str) -> str:
    """What to add to a row from a file that is not the plain one."""
    return f", on {result['processor']['name']}" if name.count(".") > 1 else ""


def machines() -> list[dict[str, Any]]:
    """The races of each processor by their file's name, those of the plain names first."""
    found: dict[str, dict[str, Any]] = {}
    for stem in speed.FILES:
        for name in files(stem):
            result = read(name)
            found.setdefault(json.dumps(result.get("processor"), sort_keys=True), {}).setdefault(stem, result)
    return list(found.values())


def validations(name: str) -> list[dict[str, Any]]:
    lines = (RESULTS / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [record for record in map(json.loads, lines) if "val_loss" in record]


def numbers_rows() -> Rows:
    test, timings = read("numbers/test.json"), [(name, read(name)) for name in files("make_train")]
    return [
        (
            f"Number words, English to French, {test['sentences']:,} numbers never seen: exact match, greedy",
            f"{test['exact_match']:.1f} %",
            "`make train`, then `python -m seq2seq.evaluate runs/numbers-1`",
        ),
        *(
            (
                f"The same from clone to translations, {timing['cores']} cores, warm package cache{on(timing, name)}",
                f"{median(timing['seconds']):.0f} s ({min(timing['seconds']):.0f} to {max(timing['seconds']):.0f}, "
                f"{len(timing['seconds'])} runs)",
                "`python benchmarks/make_train.py`",
            )
            for name, timing in timings
        ),
    ]


def multi30k_rows() -> Rows:
    greedy, beam, manifest = (read(f"multi30k/{n}.json") for n in ("test", "test-beam5", "manifest"))
    best = min(validations("multi30k"), key=lambda record: record["val_loss"])
    evaluate = "`python -m seq2seq.evaluate runs/multi30k-1`"
    return [
        (
            f"Multi30k de-en, the tutorials' LSTM model ({manifest['num_parameters']:,} parameters, 10 epochs, "
            f"trained at commit {manifest['git_commit'][:7]}): test_2016 BLEU, greedy, their tokens "
            f"(they: {PUBLISHED_BLEU})",
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


def precision_rows() -> Rows:
    """The last epoch of the curves in both precisions."""
    found = read("precision_curves.json")
    last, seeds = found["epochs"][-1], len(found["runs"]["bf16"])
    worst = max(abs(epoch["val_loss"]["difference_in_errors"]) for epoch in found["epochs"])

    def both(name: str, digits: int) -> str:
        figures = last[name]
        means = f"{figures['fp32']:.{digits}f} / {figures['bf16']:.{digits}f}"
        return f"{means} (seeds differ by {figures['spread']:.{digits}f})"

    return [
        (
            f"Multi30k, the same model, fp32 / bf16 after {last['epoch']} epochs, means of {seeds} seeds: validation "
            f"loss; over all epochs at most {worst:.1f} standard errors apart",
            both("val_loss", 3),
            "`python benchmarks/precision_curves.py`",
        ),
        ("the same, validation BLEU, greedy", both("bleu", 2), "`python benchmarks/precision_curves.py`"),
    ]


def startup_rows() -> Rows:
    names = {
        "import": "`import minigrad`",
        "first_step_cold": "Extra time of the first training step: compiling, empty kernel cache",
        "first_step_warm": "the same, warm kernel cache",
    }
    return [
        (f"{text}{on(result, file)}", f"{median(result['seconds'][name]):.2f} s", "`python benchmarks/startup.py`")
        for file, result in ((file, read(file)) for file in files("startup"))
        for name, text in names.items()
    ]


def as_table(head: tuple[str, ...], rows: Rows) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("|" + "|".join(f" {cell} " if cell != "---" else cell for cell in line) + "|" for line in lines)


def figures() -> str:
    """Everything between the markers."""
    rows = [row for make in (numbers_rows, multi30k_rows, precision_rows, startup_rows) for row in present(make)]
    parts = [as_table(("what", "figure", "command"), rows)]
    sections = [part for found in machines() for part in speed.sections(found)]
    parts += [part if isinstance(part, str) else as_table(part[0], part[1:]) for part in sections]
    if (RESULTS / "scaling.json").exists():
        parts.append(f"![Time per token over batch size, cells, steps, words, threads](benchmarks/results/{PLOT})")
    return "\n\n".join(parts)


def plot() -> str | None:
    """The SVG, or None without its file."""
    return plots.scaling(read("scaling.json")) if (RESULTS / "scaling.json").exists() else None


def with_figures(text: str) -> str:
    head, rest = text.split(BEGIN)
    return f"{head}{BEGIN}\n{figures()}\n{END}{rest.split(END)[1]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; say whether the figures are current")
    options = parser.parse_args()
    files = {ROOT / "README.md": with_figures((ROOT / "README.md").read_text(encoding="utf-8"))}
    if (drawing := plot()) is not None:
        files[RESULTS / PLOT] = drawing
    if options.check:
        return int(any(not path.exists() or path.read_text(encoding="utf-8") != new for path, new in files.items()))
    for path, new in files.items():
        path.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
