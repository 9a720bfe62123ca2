"""Rows of figures of no race and no recipe: the built-in task, the tutorials' first model, starting, size on disk."""

from __future__ import annotations

import json
from statistics import median

import tables
from tables import Rows, files, on, read

MULTI30K = "python -m seq2seq.train --data multi30k"
PUBLISHED_BLEU, PUBLISHED_PPL = 13.76, 43.83  # the tutorials' first model, as its published notebook prints them
HEAD = ("what", "figure", "command")


def numbers_rows() -> Rows:
    test = read("numbers/test.json")
    what = f"Number words, English to French, {test['sentences']:,} numbers never seen: exact match, greedy"
    rows = [(what, f"{test['exact_match']:.1f} %", "`make train`, then `python -m seq2seq.evaluate runs/numbers-1`")]
    for name in files("make_train"):
        timing = read(name)
        what = f"The same from clone to translations, {timing['cores']} cores, warm package cache{on(timing, name)}"
        least, most, count = min(timing["seconds"]), max(timing["seconds"]), len(timing["seconds"])
        figure = f"{median(timing['seconds']):.0f} s ({least:.0f} to {most:.0f}, {count} runs)"
        rows.append((what, figure, "`python benchmarks/make_train.py`"))
    return rows


def addition_rows() -> Rows:
    test = read("addition/test.json")
    what = "Sums of numbers of up to 3 digits, an LSTM of 128 units with settings of its own"
    what = f"{what}, {test['sentences']:,} never seen: all digits right"
    return [(what, f"{test['exact_match']:.1f} %", "`python -m seq2seq.examples.addition runs/addition`")]


def multi30k_rows() -> Rows:
    greedy, beam, manifest = (read(f"multi30k/{n}.json") for n in ("test", "test-beam5", "manifest"))
    records = map(json.loads, (tables.RESULTS / "multi30k" / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    best = min((record for record in records if "val_loss" in record), key=lambda record: record["val_loss"])
    evaluate = "`python -m seq2seq.evaluate runs/multi30k-1`"
    model = (
        f"Multi30k de-en, the tutorials' LSTM model ({manifest['num_parameters']:,} parameters, 10 epochs, trained at "
        f"commit {manifest['git_commit'][:7]}): test_2016 BLEU, greedy, their tokens (they: {PUBLISHED_BLEU})"
    )
    fed_back = "test_2016 perplexity with the model's own words fed back (they: {}) / with the right words"
    validated = f"validation perplexity, right words given, best epoch ({best['epoch'] + 1})"
    return [
        (model, f"{greedy['bleu_tokens']:.2f}", f"`{MULTI30K}`, then {evaluate}"),
        ("the same, sacreBLEU 13a of detokenised text, lower-cased", f"{greedy['bleu']:.2f}", evaluate),
        ("the same, beam 5, their tokens", f"{beam['bleu_tokens']:.2f}", f"{evaluate[:-1]} --beam-size 5`"),
        (fed_back.format(PUBLISHED_PPL), f"{greedy['ppl_free']:.2f} / {greedy['ppl_forced']:.2f}", evaluate),
        (validated, f"{best['ppl_forced']:.2f}", f"`{MULTI30K}`"),
    ]


def precision_rows() -> Rows:
    """The last epoch of the curves in both precisions."""
    found, command = read("precision_curves.json"), "`python benchmarks/precision_curves.py`"
    last, seeds = found["epochs"][-1], len(found["runs"]["bf16"])
    worst = max(abs(epoch["val_loss"]["difference_in_errors"]) for epoch in found["epochs"])
    what = (
        f"Multi30k, the same model, fp32 / bf16 after {last['epoch']} epochs, means of {seeds} seeds: validation loss; "
        f"over all epochs at most {worst:.1f} standard errors apart"
    )

    def both(name: str, digits: int) -> str:
        means = " / ".join(f"{last[name][precision]:.{digits}f}" for precision in ("fp32", "bf16"))
        return f"{means} (seeds differ by {last[name]['spread']:.{digits}f})"

    return [(what, both("val_loss", 3), command), ("the same, validation BLEU, greedy", both("bleu", 2), command)]


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


def install_rows() -> Rows:
    result, command = read("install_size.json"), "`python benchmarks/install_size.py`"
    added = ", ".join(f"`[{name}]` {table['megabytes']:.0f} MB" for name, table in result["extras"].items())
    core = f"{result['core']['megabytes_without_numpy']:.0f} MB"
    return [("The core installed, NumPy apart", core, command), ("what its extras add", added, command)]
