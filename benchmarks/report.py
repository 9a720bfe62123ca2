"""Write tables and the plots from the JSON under benchmarks/results, so that no figure is typed by hand.

python benchmarks/report.py                rewrite them in README.md, in the pages of docs that hold results, and
                                           seq2seq/training/kept_runs.json
python benchmarks/report.py --check        exit code 1 if what stands there is not what the files give
python benchmarks/report.py --of FOLDER    print those of a run of gpu/run.sh, and write them to FOLDER/report.md

A file that is missing leaves its rows out. Figures of other processors and GPUs, in files like decoding.PROCESSOR.json,
have rows and tables of their own behind those of the plain names. The tables of races are made by `speed.py`, those of
recipes by `leaderboard.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import beforehand
import leaderboard
import plots
import single_runs
import speed
import studies
import tables
import tutorials
import weights
from tables import as_table, cells, files, present, read, read_all

ROOT = Path(__file__).parent.parent
PLOT, CURVES, BARS = "scaling.svg", "curves.svg", "speed.svg"
KEPT_RUNS = ROOT / "seq2seq" / "training" / "kept_runs.json"
BEGIN, END = "<!-- results: written by benchmarks/report.py -->", "<!-- end of results -->"

MODELS = {
    "transformer": "training a Transformer, a target token",
    "decoding_attention": "search with attention (general), all sentences",
    "decoding_bahdanau": "search with attention (Bahdanau), all sentences",
    "decoding_wide": "search by 512 units among 20,000 words, ours alone, in four forms of weights",
}


def readme() -> str:
    """Everything between the markers of README.md: what models reach, how fast it is, what it takes to begin."""
    parts = [as_table(leaderboard.SUMMARY_HEAD, leaderboard.summary(leaderboard.kept(tables.RESULTS)))]
    raced = read_all(speed.DRAWN)
    if rows := speed.summary(raced):
        parts += [speed.said(raced), as_table(speed.SUMMARY_HEAD, rows)]
    makers = single_runs.numbers_rows, single_runs.startup_rows, single_runs.install_rows
    parts.append(as_table(single_runs.HEAD, [row for make in makers for row in present(make)]))
    return "\n\n".join(parts)


def races_page() -> str:
    """Everything between the markers of docs/races.md."""
    sections = [part for found in machines() for part in speed.sections(found)]
    parts = [part if isinstance(part, str) else as_table(part[0], part[1:]) for part in sections]
    parts.append(model_tables())
    if files("scaling"):
        parts.append(f"![Time per token over batch size, cells, steps, words, threads](../benchmarks/results/{PLOT})")
    return "\n\n".join(filter(None, parts))


def machines() -> list[dict[str, Any]]:
    """The races of each processor by their file's name, those of the plain names first."""
    found: dict[str, dict[str, Any]] = {}
    for stem in speed.FILES:
        for name in files(stem):
            result = read(name)
            found.setdefault(json.dumps(result.get("processor"), sort_keys=True), {}).setdefault(stem, result)
    return list(found.values())


def leaderboard_page() -> str:
    """Everything between the markers of docs/leaderboard.md."""
    runs = leaderboard.kept(tables.RESULTS)
    notes = [*leaderboard.signatures(runs), *leaderboard.times(runs)]
    parts = [as_table(leaderboard.HEAD, leaderboard.rows(runs)), "\n".join(notes)]
    makers = single_runs.multi30k_rows, single_runs.precision_rows, single_runs.addition_rows
    others = [row for make in makers for row in present(make)]
    if leaderboard.curves(runs) is not None:
        parts.append(f"![Validation BLEU over minutes](../benchmarks/results/{CURVES})")
    parts.append(f"Runs with settings of the tutorials, not tuned:\n\n{as_table(single_runs.HEAD, others)}")
    parts.extend(f"{text}\n\n{as_table(head, rows)}" for text, (head, *rows) in studies.tables(tables.RESULTS))
    return "\n\n".join(parts)


def shipping_page() -> str:
    """Everything between the markers of docs/shipping.md: of each pair kB of the files, and ms a sentence; what fewer
    bits change."""
    files, ways = ("model file", "int8 file", "page", "ONNX"), ("engine", "decode.py", "ONNX", "page", "Chromium")
    found = read("shipping.json") if (tables.RESULTS / "shipping.json").exists() else {"rows": {}}
    rows = [
        (
            f"`{name.replace(' ', '` `')}`",
            *(f"{row['bytes'][form] / 1000:,.0f}" for form in files),
            *(f"{ms:.2f}" if (ms := row["ms"].get(f"{way}, beam 1")) else "-" for way in ways),
        )
        for name, row in found["rows"].items()
    ]
    head = ("", *(f"{form}, kB" for form in files), *(f"{way}, ms" for way in ways))
    parts = []
    if rows:
        count, where = max(row["sentences"] for row in found["rows"].values()), found["processor"]["name"]
        text = f"The same words for {count:,} sentences, greedy and with a beam of 3 ({where}):"
        parts.append(f"{text}\n\n{as_table(head, rows)}")
    if (tables.RESULTS / "weights.json").exists():
        parts.append(weights.table())
    return "\n\n".join(parts)


def serving_page() -> str:
    """Everything between the markers of docs/serving.md: latencies by model, server and number of clients."""
    found = [
        read(f"{name}.json") for name in ("serving", "serving_large") if (tables.RESULTS / f"{name}.json").exists()
    ]
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


def ablation_tables() -> str:
    """One for every processor."""
    parts = []
    for result in map(read, files("ablations")):
        ours = f"{result['precision']}, {result.get('threads', 1)} threads, {named(result['processor'])}"
        keys = ("instead", "with_us", "without_us", "earns")
        rows = [(name, *cells(row, keys)) for name, row in result["ablations"].items()]
        parts.append(as_table((f"without ({ours})", "instead", "us with it", "us without it", "it earns"), rows))
    return "\n\n".join(parts)


def model_tables() -> str:
    """Races of other models, one table for every file."""
    parts = []
    for stem, what in MODELS.items():
        for result in map(read, files(stem)):
            head = f"{what}, {result['threads']} threads, {named(result['processor'])}"
            rows = [row for name, race in result["races"].items() for row in model_rows(name, race)]
            parts.append(as_table((head, "variant", "us", "against ours of this precision", "memory"), rows))
    return "\n\n".join(parts)


def named(processor: dict[str, Any]) -> str:
    """A processor with its vectors, for some of unlike ones have one name."""
    vectors = {"avx512f": "AVX-512", "avx2": "AVX2"}
    widest = next((f" ({text})" for flag, text in vectors.items() if flag in processor.get("has", [])), "")
    return processor["name"] + widest


def model_rows(name: str, race: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """The variants of a race; those of a peer with the times they take as multiples of ours, and ours of float32's."""
    for variant, found in race["variants"].items():
        precision = found["precision"]
        ours = "minigrad" if precision == "fp32" else f"minigrad-{precision}"
        ratio = race["ratios"].get(ours, {}).get(variant)
        against = "" if ratio is None else "{median:.2f} ({low:.2f} to {high:.2f})".format(**ratio)
        if found["framework"] == "minigrad" and precision != "fp32":
            against = f"{found['us']['median'] / race['variants']['minigrad']['us']['median']:.2f} of float32's time"
        memory = f"{found['peak_memory_mb']:,} MB" if "peak_memory_mb" in found else ""
        yield name, variant, f"{found['us']['median']:,.0f}", against, memory


def rows_table(rows: dict[str, dict[str, Any]]) -> str:
    """Whatever a part of gpu/run.sh has found, a column for everything that it tells."""
    keys = list(dict.fromkeys(key for row in rows.values() for key, value in row.items()))
    return as_table(("what", *keys), [(name, *cells(row, keys)) for name, row in rows.items()])


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


def drawings() -> dict[Path, str]:
    """The SVG files whose results are there."""
    scaled, ratios = read_all(("scaling",)), speed.drawn(read_all(speed.DRAWN))
    title = "the time of PyTorch's best variant over ours, float32, 2 threads"
    found = {
        PLOT: plots.scaling(scaled["scaling"]) if scaled else None,
        CURVES: leaderboard.curves(leaderboard.kept(tables.RESULTS)),
        BARS: plots.bars(ratios, title) if ratios else None,
    }
    return {tables.RESULTS / name: drawing for name, drawing in found.items() if drawing is not None}


def kept_runs() -> str:
    """What comes along with the package of the runs that say their seconds: data, parts, and BLEU over seconds."""
    found = []
    for path in sorted(tables.RESULTS.glob("*/metrics.jsonl")):
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
    pages = {ROOT / "README.md": readme, docs / "leaderboard.md": leaderboard_page, docs / "races.md": races_page}
    pages |= {
        docs / "speed.md": ablation_tables,
        docs / "shipping.md": shipping_page,
        docs / "serving.md": serving_page,
        docs / "training.md": beforehand.tables,
        docs / "examples" / "README.md": tutorials.table,
    }
    contents = {path: with_figures(path.read_text(encoding="utf-8"), make()) for path, make in pages.items()}
    contents |= {**drawings(), KEPT_RUNS: kept_runs()}
    if options.check:
        return int(any(not path.exists() or path.read_text(encoding="utf-8") != new for path, new in contents.items()))
    for path, new in contents.items():
        path.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
