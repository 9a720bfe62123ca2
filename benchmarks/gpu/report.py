"""Tables in Markdown from the parts' figures, with the goals beside them.

python -m gpu.report OUT          writes OUT/report.md and prints it
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from gpu import floors

PARTS = ("environment", "layout", "lstm", "training_step", "ceilings", "decoding", "ablations", "device_tests")
BOTH, OURS = "forward+backward", "minigrad"

Results = dict[str, dict[str, Any]]
Line = Sequence[str]


def read(folder: Path) -> Results:
    """What the parts have left."""
    paths = [path for name in PARTS if (path := folder / f"{name}.json").exists()]
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def rows(results: Results, part: str) -> list[dict[str, Any]]:
    """The rows of a part that were measured."""
    return [row for row in results.get(part, {}).get("rows", []) if "error" not in row and "wrong" not in row]


def races(results: Results, part: str) -> list[dict[str, Any]]:
    """Of those, the ones of a race."""
    return [row for row in rows(results, part) if "variants" in row]


def table(head: Line, lines: Sequence[Line]) -> str:
    every = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in every)


# --- goals ----------------------------------------------------------------------------------------------------------
def medians(race: dict[str, Any], clock: str = "us") -> dict[str, float]:
    """Way to run -> microseconds; the precision is the row's."""
    return {plain(name, one): one[clock]["median"] for name, one in race["variants"].items()}


def plain(name: str, figures: dict[str, Any]) -> str:
    """ "pytorch-packed-bf16" -> "pytorch-packed"."""
    return name.removesuffix(f"-{figures.get('precision')}")


def fastest(race: dict[str, Any], names: Sequence[str]) -> float | None:
    """The least median of those that took part."""
    known = medians(race)
    return min((known[name] for name in names if name in known), default=None)


def times_faster(race: dict[str, Any], peers: Sequence[str], graphs: bool) -> float | None:
    """The peers' time over ours: of plain calls, or of the fastest way of each, graphs included."""
    ways = ("", "-graph") if graphs else ("",)
    ours = fastest(race, [f"{OURS}{way}" for way in ways])
    theirs = fastest(race, [f"{peer}{way}" for peer in peers for way in ways])
    return theirs / ours if ours and theirs else None


def of_lstm(chosen: Callable[[dict[str, Any]], bool]) -> Callable[[Results, bool], list[float | None]]:
    """Forward and backward, of the rows that are chosen."""

    def ratios(results: Results, graphs: bool) -> list[float | None]:
        found = [row for row in rows(results, "lstm") if chosen(row)]
        return [times_faster(row[BOTH], ["pytorch"], graphs) for row in found]

    return ratios


def of_training(model: str, peer: str) -> Callable[[Results, bool], list[float | None]]:
    """Whole steps with the right word always given."""

    def ratios(results: Results, graphs: bool) -> list[float | None]:
        found = [row for row in races(results, "training_step") if row["model"] == model]
        return [times_faster(row, [peer], graphs) for row in found if row["forcing"] == 1]

    return ratios


def of_floors(results: Results, graphs: bool) -> list[float | None]:
    """Floor over time, so that more is better here too: LSTM rows of 128 sentences in bfloat16, and whole steps."""
    known, ours = floors.rates(results.get("ceilings")), [OURS, f"{OURS}-graph"][: 1 + graphs]
    lstm = [row for row in rows(results, "lstm") if row["N"] == 128 and row["precision"] == "bf16"]
    found = [(floors.lstm(row, known), fastest(row[BOTH], ours)) for row in lstm]
    steps = [row for row in races(results, "training_step") if row["precision"] == "bf16"]
    found += [(floors.training_step(row, known), fastest(row, ours)) for row in steps if row["forcing"] == 1]
    return [floor / time if time else None for floor, time in found]


def cudnn_standard(H: int) -> Callable[[dict[str, Any]], bool]:
    """Rows of 128 sentences that are stacked, bfloat16 or of unequal lengths."""

    def chosen(row: dict[str, Any]) -> bool:
        general = row["layers"] > 1 or row["precision"] == "bf16" or row["ragged"]
        return row["H"] == H and row["N"] == 128 and general

    return chosen


def persistent_window(row: dict[str, Any]) -> bool:
    """Where PyTorch chooses cuDNN's persistent algorithm."""
    inside = row["H"] % 128 == 0 and row["N"] % 8 == 0 and row["N"] <= 128
    return row["precision"] == "fp16" and row["layers"] == 1 and inside and not row["ragged"]


GOALS: list[tuple[str, float, Callable[[Results, bool], list[float | None]]]] = [
    ("nn.LSTM, stacked or bf16 or variable lengths, H=512 N=128, against cuDNN", 2.0, of_lstm(cudnn_standard(512))),
    ("the same at H=1024", 1.3, of_lstm(cudnn_standard(1024))),
    ("one layer in cuDNN's persistent window (float16)", 1.0, of_lstm(persistent_window)),
    ("nn.LSTM, N <= 8", 3.0, of_lstm(lambda row: row["N"] <= 8)),
    ("training step, tutorials' model, against whole sequences", 2.0, of_training("tutorials", "pytorch")),
    ("the same, packed sources: our function exactly", 2.0, of_training("tutorials", "pytorch-packed")),
    ("the same, against one call per step", 10.0, of_training("tutorials", "pytorch-loop")),
    ("training step, paper's model, against whole sequences", 1.4, of_training("paper", "pytorch")),
    ("share of the practical floor, bf16, N=128", 0.5, of_floors),
]


def goals(results: Results) -> Iterator[str]:
    """The goals, and the range of what was found for each."""
    lines, simulated = [], any(result["simulated"] for result in results.values())
    for what, goal, ratios in GOALS:
        cells = []
        for graphs in (False, True):
            found = [] if simulated else sorted(ratio for ratio in ratios(results, graphs) if ratio is not None)
            if not found:
                cells += ["not measured", ""]
                continue
            met = f"{sum(ratio >= goal for ratio in found)} of {len(found)}"
            cells += [f"{found[0]:.2f} to {found[-1]:.2f}, middle {found[len(found) // 2]:.2f}", met]
        lines.append((what, f"{goal:g}", *cells))
    yield (
        "## Goals\n\nPyTorch's time over ours, forward and backward: above the goal is good. First plain calls against "
        "plain calls, then the fastest way of each, graphs included."
    )
    yield table(("what", "goal", "plain calls", "rows that meet it", "fastest ways", "rows that meet it"), lines)


# --- parts ----------------------------------------------------------------------------------------------------------
def us(figures: dict[str, float]) -> str:
    """Median and middle half."""
    return f"{figures['median']:.4g} ({figures['low']:.4g} to {figures['high']:.4g})"


def cells(race: dict[str, Any], names: Sequence[str], clock: str = "us") -> list[str]:
    """Medians of contestants, "-" for one that is not there."""
    known = medians(race, clock)
    return [f"{known[name]:.4g}" if name in known else "-" for name in names]


def left_out(title: str, row: dict[str, Any]) -> Iterator[str]:
    """What is missing in a row, and why; a wrong result of ours stands out."""
    for name, reason in row.get("left_out", {}).items():
        loud = "WRONG: " if name.startswith(OURS) and reason.startswith("wrong") else ""
        yield f"- {title}: {loud}{name} left out: {reason}"


def number(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"


def of_part_environment(results: Results) -> Iterator[str]:
    for row in rows(results, "environment"):
        yield f"- {row['what']}: " + ", ".join(f"{key} {value}" for key, value in row.items() if key != "what")


def of_part_layout(results: Results) -> Iterator[str]:
    found = results["layout"]["rows"]
    yield table(("belief", "device"), [(r["what"], r.get("error") or r.get("wrong") or "as believed") for r in found])


def of_part_lstm(results: Results) -> Iterator[str]:
    known, names = floors.rates(results.get("ceilings")), (OURS, f"{OURS}-graph", "pytorch", "pytorch-graph")
    lines, notes = [], []
    for row in results["lstm"]["rows"]:
        title = [row["precision"], *(str(row[key]) for key in ("layers", "H", "N", "T")), "x" * row["ragged"]]
        if "error" in row:
            lines.append([*title, row["error"], *[""] * 12])
            continue
        found = []
        for key in ("forward", BOTH):
            found += cells(row[key], names)
            found += [number(times_faster(row[key], ["pytorch"], graphs)) for graphs in (False, True)]
        ours = fastest(row[BOTH], names[:2])
        lines.append([*title, *found, f"{floors.lstm(row, known) / ours:.2f}" if ours else "-"])
        notes += left_out(" ".join(title), row)
    yield "Microseconds, plain and in a graph; PyTorch's over ours, plain calls and fastest ways; share of the floor."
    every = ["ours", "graph", "PyTorch", "graph", "x", "x fastest"]
    head = ["type", "layers", "H", "N", "T", "packed", f"forward: {every[0]}", *every[1:], f"both: {every[0]}"]
    yield table([*head, *every[1:], "floor"], lines)
    yield from notes
    for found in results["lstm"].get("kernels", []):
        name = "{who}, {precision}, H={H} N={N} T={T}".format(**found) + (", packed" if found["ragged"] else "")
        yield f"- kernels of one call, {name}: {found.get('error') or kernel_names(found.get('kernels', []))}"


def kernel_names(kernels: list[dict[str, Any]]) -> str:
    """The longest ones."""
    return ", ".join(f"{k['name'][:70]} x{k['launches']} {k['us']:.0f} us" for k in kernels[:8]) or "not recorded"


def of_part_training_step(results: Results) -> Iterator[str]:
    known, peers = floors.rates(results.get("ceilings")), ("pytorch", "pytorch-packed", "pytorch-loop")
    both, lines, notes = (OURS, f"{OURS}-graph"), [], []
    for row in results["training_step"]["rows"]:
        title = [row["model"], row["precision"], str(row["forcing"])]
        if "error" in row:
            lines.append([*title, row["error"], *[""] * 11])
        if "kernels" in row:
            notes.append(f"- kernels, {' '.join(title)}, {row['who']}: {kernel_names(row['kernels'])}")
        if "variants" not in row:
            continue
        ours = fastest(row, both)
        share = f"{floors.training_step(row, known) / ours:.2f}" if ours else "-"
        memory = ", ".join(f"{name} {one['peak_memory_mb']:.0f}" for name, one in row["variants"].items())
        times = [*cells(row, [OURS]), *cells(row, [OURS], "wall_us"), *cells(row, [both[1], "pytorch-graph", *peers])]
        lines.append([*title, *times, *(number(times_faster(row, [p], True)) for p in peers), share, memory])
        notes += left_out(" ".join(title), row)
    yield "Microseconds of a step by events (ours on the host's clock, too); theirs over our fastest; MB reserved."
    head = ["model", "type", "forcing", "ours", "wall", "graph", "whole, graph", "whole", "packed", "loop"]
    head += ["x", "x packed", "x loop"]
    yield table([*head, "floor", "memory"], lines)
    yield from notes


def of_part_ceilings(results: Results) -> Iterator[str]:
    lines = []
    for row in results["ceilings"]["rows"]:
        rates = (("tb_per_s", "{:.2f} TB/s"), ("tflops", "{:.1f} TFLOP/s"), ("clusters", "{} clusters"))
        rate = next((text.format(row[key]) for key, text in rates if key in row), "")
        time, per = (us(row["us"]), row.get("per", "call")) if "us" in row else (row.get("error", ""), "")
        lines.append((row["what"], time, per, rate))
    yield table(("what", "microseconds", "per", "rate"), lines)


def of_part_decoding(results: Results) -> Iterator[str]:
    names, lines, notes = (OURS, f"{OURS}-eager", "pytorch"), [], []
    for row in results["decoding"]["rows"]:
        title = [str(row["sentences"]), str(row["beam_size"]), row["precision"]]
        if "error" in row:
            lines.append([*title, row["error"], *[""] * 4])
            continue
        alike = {plain(name, one): row["alike"][name] for name, one in row["variants"].items()}
        ratio = number(times_faster(row, ["pytorch"], False))
        lines.append([*title, *cells(row, names, "wall_us"), ratio, number(alike.get(OURS))])
        notes += left_out(" ".join(title), row)
    yield table(("sentences", "beam", "type", "ours, us", "no graph", "PyTorch", "x", "found alike"), lines)
    yield from notes


def of_part_ablations(results: Results) -> Iterator[str]:
    lines = []
    for row in results["ablations"]["rows"]:
        if "error" in row:
            lines.append([row["what"], row["variant"], row["error"], ""])
        elif "us" in row:
            lines.append([row["what"], row["variant"], us(row["us"]), f"{row['us_per_step']:.3f}"])
    yield table(("call", "variant", "microseconds of the call", "per step, by difference"), lines)
    for row in rows(results, "ablations"):
        if row.get("kernels"):
            yield f"- kernels, {row['what']}, {row['variant']}, {row['steps']} steps: {kernel_names(row['kernels'])}"


def of_part_device_tests(results: Results) -> Iterator[str]:
    found = results["device_tests"]
    for key, value in found.get("summary", {}).items():
        yield f"- {key}: {value}"
    for row in found["rows"]:
        yield f"- failed: `{row['test']}`: {row.get('error', '')}"


def last_words(folder: Path, part: str) -> str:
    """What a part said that ended before it could write figures."""
    log = folder / f"{part}.log"
    lines = log.read_text(encoding="utf-8").split("\n") if log.exists() else []
    return "".join(f": {line}" for line in [line for line in lines if line.strip()][-1:])


def sections(folder: Path, results: Results) -> Iterator[str]:
    """The whole report."""
    first = next(iter(results.values()), None)
    if first is None:
        yield "No part has left figures."
        return
    yield f"# {first['device']}"
    if first["simulated"]:
        yield "**No GPU: the kernels ran in the simulator. Times mean nothing.**"
    yield from goals(results)
    for part in PARTS:
        if part not in results:
            yield f"## {part}\n\nno figures{last_words(folder, part)}"
            continue
        status = results[part]["status"]
        status = "ended from outside" if status == "running" else status
        yield f"## {part}\n\n{status}, {results[part]['seconds']:.0f} s"
        yield from (f"- {note}" for note in results[part]["notes"])
        yield from globals()[f"of_part_{part}"](results)


def main() -> int:
    folder = Path(sys.argv[1])
    text = "\n\n".join(sections(folder, read(folder))).replace("\n\n- ", "\n- ") + "\n"
    (folder / "report.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
