"""Write tables and the plot from the JSON under benchmarks/results, so that no figure is typed by hand.

python benchmarks/report.py                rewrite them in README.md, in docs/speed.md, leaderboard.md,
                                           shipping.md and serving.md, and seq2seq/training/kept_runs.json
python benchmarks/report.py --check        exit code 1 if what stands there is not what the files give
python benchmarks/report.py --of FOLDER    print those of a run of gpu/run.sh, and write them to FOLDER/report.md

A file that is missing leaves its rows out. Figures of other processors and GPUs, in files like decoding.PROCESSOR.json,
have rows and tables of their own behind those of the plain names. The tables of speed are made by `speed.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import leaderboard
import plots
import speed
import studies

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PLOT, CURVES, BARS = "scaling.svg", "curves.svg", "speed.svg"
KEPT_RUNS = ROOT / "seq2seq" / "training" / "kept_runs.json"
BEGIN, END = "<!-- results: written by benchmarks/report.py -->", "<!-- end of results -->"

MULTI30K = "python -m seq2seq.train --data multi30k"
MODELS = {
    "transformer": "training a Transformer, a target token",
    "decoding_attention": "search with attention (general), all sentences",
    "decoding_bahdanau": "search with attention (Bahdanau), all sentences",
}
PUBLISHED_BLEU, PUBLISHED_PPL = 13.76, 43.83  # the tutorials' first model, as its published notebook prints them

Rows = list[tuple[str, ...]]


def read(name: str) -> Any:
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def present(make: Callable[[], Rows]) -> Rows:
    """The rows, or none where a file of theirs is missing."""
    with suppress(FileNotFoundError):
        return make()
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
    records = map(json.loads, (RESULTS / "multi30k" / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
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


def recipe_rows() -> Rows:
    """The figures of the recipes, which docs/leaderboard.md has with all that belongs to them."""
    return [
        (f"{about}: {asked}", figure, command)
        for about, figure, published, *_, command in leaderboard.rows(leaderboard.kept(RESULTS))
        for asked in [f"test set, published: {published}"]
    ]


def leaderboard_page() -> str:
    """Everything between the markers of docs/leaderboard.md."""
    runs = leaderboard.kept(RESULTS)
    notes = [*leaderboard.signatures(runs), *leaderboard.times(runs)]
    parts = [as_table(leaderboard.HEAD, leaderboard.rows(runs)), "\n".join(notes)]
    if leaderboard.curves(runs) is not None:
        parts.append(f"![Validation BLEU over minutes](../benchmarks/results/{CURVES})")
    parts.extend(f"{text}\n\n{as_table(head, rows)}" for text, (head, *rows) in studies.tables(RESULTS))
    return "\n\n".join(parts)


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


def shipping_page() -> str:
    """Everything between the markers of docs/shipping.md: of each pair kB of the files, and ms a sentence."""
    files, ways = ("model file", "int8 file", "page", "ONNX"), ("engine", "decode.py", "ONNX", "page")
    found = read("shipping.json") if (RESULTS / "shipping.json").exists() else {"rows": {}}
    rows = [
        (
            f"`{name.replace(' ', '` `')}`",
            *(f"{row['bytes'][form] / 1000:,.0f}" for form in files),
            *(f"{row['ms'][f'{way}, beam 1']:.2f}" for way in ways),
        )
        for name, row in found["rows"].items()
    ]
    head = ("", *(f"{form}, kB" for form in files), *(f"{way}, ms" for way in ways))
    if not rows:
        return ""
    counts = {row["sentences"] for row in found["rows"].values()}
    text = f"The same words for {max(counts):,} sentences, greedy and with a beam of 3 ({found['processor']['name']}):"
    return f"{text}\n\n{as_table(head, rows)}"


def serving_page() -> str:
    """Everything between the markers of docs/serving.md: latencies by model, server and number of clients."""
    found = [read(f"{name}.json") for name in ("serving", "serving_large") if (RESULTS / f"{name}.json").exists()]
    names, points = {"batched": "`seq2seq.serve`", "naive": "one after the other"}, ("p50_ms", "p95_ms", "p99_ms")
    head = ("model", "clients", "server", "p50, ms", "p95, ms", "p99, ms", "requests a second")
    parts = []
    for result in found:
        model = f"{result['hidden_size']} units, {result['words']:,} words"
        rows = [
            (
                model,
                clients,
                names[kind],
                *(f"{row[point]:.1f}" for point in points),
                f"{row['requests_per_second']:.0f}",
            )
            for clients in result["servers"]["batched"]
            for kind, row in ((kind, table[clients]) for kind, table in result["servers"].items())
        ]
        text = f"{result['requests_of_each_client']:,} requests of each client, all answered, with the engine's words"
        parts.append(f"{text} ({result['processor']['name']}):\n\n{as_table(head, rows)}")
    return "\n\n".join(parts)


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


def as_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("|" + "|".join(f" {cell} " if cell != "---" else cell for cell in line) + "|" for line in lines)


def ablation_tables() -> str:
    """One for every processor."""
    parts = []
    for result in map(read, files("ablations")):
        ours = f"{result['precision']}, {result.get('threads', 1)} threads, {result['processor']['name']}"
        keys = ("instead", "with_us", "without_us", "earns")
        rows = [(name, *cells(row, keys)) for name, row in result["ablations"].items()]
        parts.append(as_table((f"without ({ours})", "instead", "us with it", "us without it", "it earns"), rows))
    return "\n\n".join(parts)


def model_tables() -> str:
    """Races of the models that README leaves out, one table for every file."""
    parts = []
    for stem, what in MODELS.items():
        for result in map(read, files(stem)):
            head = f"{what}, {result['threads']} threads, {result['processor']['name']}"
            rows = [row for name, race in result["races"].items() for row in model_rows(name, race)]
            parts.append(as_table((head, "variant", "us", "against ours of this precision", "memory"), rows))
    return "\n\n".join(parts)


def model_rows(name: str, race: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """The variants of a race; those of a peer with the times they take as multiples of ours."""
    for variant, found in race["variants"].items():
        precision = found["precision"]
        ours = "minigrad" if precision == "fp32" else f"minigrad-{precision}"
        ratio = race["ratios"].get(ours, {}).get(variant)
        against = "" if ratio is None else "{median:.2f} ({low:.2f} to {high:.2f})".format(**ratio)
        memory = f"{found['peak_memory_mb']:,} MB" if "peak_memory_mb" in found else ""
        yield name, variant, f"{found['us']['median']:,.0f}", against, memory


def speed_tables() -> str:
    """Everything between the markers of docs/speed.md."""
    return "\n\n".join(part for part in (ablation_tables(), model_tables()) if part)


def rows_table(rows: dict[str, dict[str, Any]]) -> str:
    """Whatever a part of gpu/run.sh has found, a column for everything that it tells."""
    keys = list(dict.fromkeys(key for row in rows.values() for key, value in row.items()))
    return as_table(("what", *keys), [(name, *cells(row, keys)) for name, row in rows.items()])


def cells(row: dict[str, Any], keys: Sequence[str]) -> list[str]:
    """Values as text: a median with its middle half, a number, or what it is."""

    def text(value: Any) -> str:
        if isinstance(value, dict) and "median" in value:
            return f"{value['median']:.4g} ({value['low']:.4g} to {value['high']:.4g})"
        return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "/")

    return [text(row[key]) if key in row else "" for key in keys]


def of_run(folder: Path) -> Iterator[str]:
    """The parts of a run on a GPU: the tables of races, then those of all other questions."""
    results = {path.stem: read(str(path)) for path in sorted(folder.glob("*.json"))}
    if any(result["processor"]["name"] == "simulator" for result in results.values()):
        yield "**No GPU: the kernels ran in the simulator. Times mean nothing.**"
    for part in speed.sections(results):
        yield part if isinstance(part, str) else as_table(part[0], part[1:])
    for name, result in results.items():
        yield f"## {name}"
        yield "\n".join([f"- {result['status']}", *(f"- {note}" for note in result["notes"])])
        if "races" not in result:
            yield rows_table(result.get("rows", result.get("ablations")))
            continue
        races = result["races"]
        failed = {name: row for name, row in races.items() if "error" in row}
        longest = {
            f"{name}, {who}": {"kernels": ", ".join("{name:.70} x{launches} {us:.0f} us".format(**k) for k in kernels)}
            for name, row in races.items()
            for who, kernels in row.get("kernels", {}).items()
        }
        yield from (rows_table(rows) for rows in (failed, longest) if rows)


def figures() -> str:
    """Everything between the markers."""
    rows = [
        row
        for make in (
            numbers_rows,
            addition_rows,
            multi30k_rows,
            precision_rows,
            recipe_rows,
            startup_rows,
            install_rows,
        )
        for row in present(make)
    ]
    parts = [as_table(("what", "figure", "command"), rows)]
    sections = [part for found in machines() for part in speed.sections(found)]
    parts += [part if isinstance(part, str) else as_table(part[0], part[1:]) for part in sections]
    if (RESULTS / "scaling.json").exists():
        parts.append(f"![Time per token over batch size, cells, steps, words, threads](benchmarks/results/{PLOT})")
    return "\n\n".join(parts)


def drawings() -> dict[Path, str]:
    """The SVG files whose results are there."""
    scaling = plots.scaling(read("scaling.json")) if (RESULTS / "scaling.json").exists() else None
    found = {RESULTS / PLOT: scaling, RESULTS / CURVES: leaderboard.curves(leaderboard.kept(RESULTS))}
    ratios = speed.drawn({name: read(f"{name}.json") for name in speed.DRAWN if (RESULTS / f"{name}.json").exists()})
    if ratios:
        found[RESULTS / BARS] = plots.bars(ratios, "the time of PyTorch's best variant over ours, float32, 2 threads")
    return {path: drawing for path, drawing in found.items() if drawing is not None}


def kept_runs() -> str:
    """What comes along with the package of the runs that say their seconds: data, parts, and BLEU over seconds."""
    found = []
    for path in sorted(RESULTS.glob("*/metrics.jsonl")):
        records = list(map(json.loads, path.read_text(encoding="utf-8").splitlines()))
        curve = curve_of(records)
        config, manifest = (read(f"{path.parent.name}/{name}.json") for name in ("config", "manifest"))
        if curve and "data_sha256" in manifest:
            found.append({
                "name": path.parent.name, "data_sha256": list(manifest["data_sha256"].values()),
                "encoder": config.get("encoder", "lstm"), "decoder": config.get("decoder", "lstm"),
                "processor": manifest["processor"], "curve": curve,
            })  # fmt: skip
    return "[\n" + ",\n".join(json.dumps(run) for run in found) + "\n]\n"


def curve_of(records: Sequence[dict[str, Any]]) -> list[tuple[float, float]]:
    """Seconds and BLEU of each validation; none where the log does not say both. A log of validations alone has the
    seconds up to each, one of all updates those of each."""
    whole, seconds, curve = any("loss" in record for record in records), 0.0, []
    for record in records:
        seconds = seconds * whole + record.get("seconds", 0.0)
        if "val_loss" in record:
            curve.append((round(seconds), None if record["bleu"] is None else round(record["bleu"], 2)))
    known = all(at and bleu is not None for at, bleu in curve)
    return curve if known else []


def with_figures(text: str, figures: str) -> str:
    """A page with what is between its markers made anew."""
    head, rest = text.split(BEGIN)
    return f"{head}{BEGIN}\n{figures}\n{END}{rest.split(END)[1]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; say whether the figures are current")
    parser.add_argument("--of", type=Path, help="a folder with the figures of a run on a GPU")
    options = parser.parse_args()
    if options.of:
        text = "\n\n".join(of_run(options.of)) + "\n"
        (options.of / "report.md").write_text(text, encoding="utf-8")
        print(text)
        return 0
    docs = ROOT / "docs"
    pages = {ROOT / "README.md": figures, docs / "speed.md": speed_tables, docs / "leaderboard.md": leaderboard_page}
    pages |= {docs / "shipping.md": shipping_page, docs / "serving.md": serving_page}
    files = {path: with_figures(path.read_text(encoding="utf-8"), make()) for path, make in pages.items()}
    files |= {**drawings(), KEPT_RUNS: kept_runs()}
    if options.check:
        return int(any(not path.exists() or path.read_text(encoding="utf-8") != new for path, new in files.items()))
    for path, new in files.items():
        path.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
