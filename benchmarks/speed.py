"""The tables of speed for `report.py`: ours, and for each framework the ratio of its best variant's time to ours.

Best is the variant with the least median time in the race. A float32 row lets float32 variants compete; a bfloat16 row
lets a peer take whichever precision it is faster in. A framework of which nothing could run has the reason in its cell.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Rows = list[tuple[str, ...]]

FILES = ("training_step", "attention", "decoding", "paper_scale", "layers")
FRAMEWORKS = {"pytorch": ("PyTorch", "torch"), "jax": ("JAX", "jax"), "onnxruntime": ("ONNX Runtime", "onnxruntime")}
PRECISIONS = {"fp32": "float32", "bf16": "bfloat16", "tf32": "tf32"}
TRAINING = {
    "forcing 1.0": "Training step, the tutorials' model on Multi30k, right word always given",
    "forcing 0.5": "The tutorials' loop, right word given to half of the steps",
    "Transformer": "Training step, a Transformer of 3 layers a side (E=512, 8 heads, 2,048 units) on Multi30k",
    "small model": "Training step, 1 layer of 128, 100 words, batch of 32, 15 steps",
    "general": "Training step, attention by a general score (Luong et al.) on Multi30k",
    "bahdanau": "Training step, additive attention at every step (Bahdanau et al.) on Multi30k, 1 layer",
    "bahdanau-2": "The same with an LSTM layer above",
}


def sections(found: dict[str, Any]) -> Iterator[str | Rows]:
    """Text and tables (head first) from the files that are there and have races."""
    raced = {name: _measured(result) for name, result in found.items() if name in FILES}
    found = {name: result for name, result in raced.items() if result["races"]}
    if not found:
        return
    rows = [row for name, make in _MAKERS.items() if name in found for row in make(found[name])]
    yield _introduction(found)
    yield [_head(found), *rows]
    yield from _left_out(found)
    if memory := [row for name in ("training_step", "paper_scale") if name in found for row in _memory(found[name])]:
        yield "Peak memory of the process after these steps, and seconds of its first calls (compiling, warming up):"
        yield [("", "ours", *(name for name, _ in FRAMEWORKS.values() if name != "ONNX Runtime")), *memory]


def _measured(result: dict[str, Any]) -> dict[str, Any]:
    """A file with those of its races that have times, each of which says what the file says of all."""
    races = {name: {**result, **race} for name, race in result.get("races", {}).items() if "ratios" in race}
    return {**result, "races": races}


def _way(ours: str, race: dict[str, Any]) -> str:
    """ "minigrad-graph-bf16" -> "bfloat16, graph"."""
    precision = race["variants"][ours]["precision"]
    way = ours.removeprefix("minigrad").removesuffix(f"-{precision}").strip("-")
    return f"{PRECISIONS[precision]}{f', {way}' if way else ''}"


def _training(name: str) -> str:
    """What the rows of a race begin with: on a GPU its name ends in a precision, which they say anyway."""
    return TRAINING.get(name.partition(",")[0], name)


# What the README tells and draws, by file and race.
DRAWN = {
    "training_step": {
        "forcing 1.0": "training, LSTM", "forcing 0.5": "training, the tutorials' loop",
        "small model": "training, 128 units",
    },
    "attention": {"general": "training, Luong's attention", "bahdanau": "training, Bahdanau's attention"},
    "transformer": {"Transformer": "training, Transformer"},
    "decoding": {
        "1 sentence, greedy": "1 sentence, greedy", "1 sentence, beam 5": "1 sentence, beam 5",
        "64 sentences, beam 5": "64 sentences, beam 5",
    },
}  # fmt: skip


SUMMARY_HEAD = ("time of PyTorch's best variant over ours", *(PRECISIONS[name] for name in ("fp32", "bf16")), "command")
SCRIPTS = {
    "training_step": "training_step.py --data-dir DIR", "attention": "attention.py --data-dir DIR",
    "transformer": "training_step.py --races Transformer --data-dir DIR", "decoding": "decoding.py",
}  # fmt: skip


def drawn(found: dict[str, Any]) -> dict[str, tuple[float, float, float]]:
    """The ratios of a picture by name, median and middle half: PyTorch's best variant, in float32."""
    best = {text: _of_pytorch(race, "minigrad") for _, text, race in _chosen(found)}
    return {text: (ratio["median"], ratio["low"], ratio["high"]) for text, ratio in best.items() if ratio}


def summary(found: dict[str, Any]) -> Rows:
    """The same in both precisions, under `SUMMARY_HEAD`; for bfloat16 PyTorch takes the one in which it is faster."""
    rows = []
    for file, text, race in _chosen(found):
        ratios = [_of_pytorch(race, ours) for ours in ("minigrad", "minigrad-bf16")]
        told = ["{median:.2f} ({low:.2f} to {high:.2f})".format(**ratio) if ratio else "-" for ratio in ratios]
        rows.append((text, *told, f"`python benchmarks/{SCRIPTS[file]}`"))
    return rows


def said(found: dict[str, Any]) -> str:
    """What a reader of `summary` has to know."""
    result = next(iter(found.values()))
    where = f"{result['threads']} threads of an {result['processor']['name']}"
    return (
        f"Both in one interleaved run, median and middle half, {where}; above 1 we are faster. Other frameworks and "
        "processors, times and memory: [docs/races.md](docs/races.md)."
    )


def _chosen(found: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """File, text and race of what `DRAWN` names and is there."""
    for file, names in DRAWN.items():
        races = found.get(file, {}).get("races", {})
        yield from ((file, text, races[name]) for name, text in names.items() if "ratios" in races.get(name, {}))


def _of_pytorch(race: dict[str, Any], ours: str) -> dict[str, float] | None:
    """The ratio of its best variant to one of ours."""
    peers = race["ratios"].get(ours, {})
    return min((ratio for peer, ratio in peers.items() if peer.startswith("pytorch")), key=_median, default=None)


def _median(ratio: dict[str, float]) -> float:
    return ratio["median"]


def _left_out(found: dict[str, Any]) -> Iterator[str]:
    """Variants that could not run, once for each reason, for which another of their framework may stand in a table."""
    reasons: dict[str, list[str]] = {}
    for result in found.values():
        for race in result["races"].values():
            for name, reason in race.get("left_out", {}).items():
                if name not in reasons.setdefault(reason, []):
                    reasons[reason].append(name)
    if reasons:
        yield "Left out: " + "; ".join(f"{', '.join(names)} ({reason})" for reason, names in reasons.items()) + "."


def _introduction(found: dict[str, Any]) -> str:
    machine = next(iter(found.values()))
    processor, threads = machine["processor"], machine.get("threads")
    where = processor["name"]
    if threads:
        where = f"{threads} threads ({where}, {', '.join(processor.get('has', []))})"
    peaks = " and ".join(
        f"{peak} GFLOP/s in {'float32' if name == 'fp32' else 'bfloat16'}"
        for name, peak in machine.get("matmul_gflops", {}).items()
    )
    reached = f" Our best kernel reaches {peaks} on one large product; percentages are the arithmetic of real tokens"
    return (
        f"Time of each framework's best variant over ours in one interleaved run, median and middle half, on {where}. "
        f"Above 1 we are faster.{f'{reached} against that.' if peaks else ''}"
    )


def _head(found: dict[str, Any]) -> tuple[str, ...]:
    versions = next(iter(found.values()))["versions"]
    peers = [f"{name} {versions.get(package, '')}".strip() for name, package in FRAMEWORKS.values()]
    return ("what", "ours", *peers, "command")


def _ratios(race: dict[str, Any], ours: str, only: str = "") -> list[str]:
    """A cell per framework; ``only`` limits to variants that start so."""
    cells = []
    for framework in FRAMEWORKS:
        able = {
            name: race["variants"][name]["us"]["median"]
            for name in race["ratios"][ours]
            if race["variants"][name]["framework"] == framework and name.startswith(only)
        }
        best = min(able, key=lambda name: able[name], default=None)
        cells.append(_ratio(race["ratios"][ours][best], best, framework) if best else _reason(race, framework, only))
    return cells


def _reason(race: dict[str, Any], framework: str, only: str) -> str:
    """Why no variant of a framework took part; "-" where none was to."""
    start = only or framework
    reasons = [reason for name, reason in race.get("left_out", {}).items() if name.startswith(start)]
    said = reasons[0].replace("|", "/") if reasons and framework in start else ""
    return f"left out: {said}" if said else "-"


def _ratio(ratio: dict[str, float], variant: str, framework: str) -> str:
    way = variant.removeprefix(framework).strip("-").replace("-", " ")
    return f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f}){f', {way}' if way else ''}"


def _ours(result: dict[str, Any], race: dict[str, Any], ours: str) -> str:
    figures = race["variants"][ours]
    peak = result.get("matmul_gflops", {}).get(figures["precision"])
    share = f", {figures['gflops'] / peak:.0%}" if peak and "gflops" in figures else ""
    return f"{figures['us']['median']:.3g} us per token{share}"


def _training_rows(result: dict[str, Any], script: str = "training_step") -> Iterator[tuple[str, ...]]:
    command = f"`python benchmarks/{script}.py --data-dir DIR`"
    for name, race in result["races"].items():
        for ours in race["ratios"]:
            text = f"{_training(name)}, {_way(ours, race)}"
            yield (text, _ours(result, race, ours), *_ratios(race, ours), command)
            if any(variant.startswith("pytorch-loop") for variant in race["ratios"][ours]):
                cells = _ratios(race, ours, "pytorch-loop")
                yield ("the same, against one call per step as the tutorials write it", "", *cells, command)


def _attention_rows(result: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    return _training_rows(result, "attention")


def _decoding_rows(result: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, race in result["races"].items():
        for ours in race["ratios"]:
            text = f"Decoding {name}, {result['words']} words in and out, {_way(ours, race)}"
            time = f"{race['variants'][ours]['us']['median'] / 1000:.3g} ms"
            yield (text, time, *_ratios(race, ours), "`python benchmarks/decoding.py`")


def _paper_rows(result: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for race in result["races"].values():
        for ours in race["ratios"]:
            speed = f"{1e6 / race['variants'][ours]['us']['median']:.0f} tokens per second"
            text = f"Training step at the size of Sutskever et al. (2014), {result['num_parameters']:,} parameters"
            cells = _ratios(race, ours)
            yield (f"{text}, {_way(ours, race)}", speed, *cells, "`python benchmarks/paper_scale.py`")


def _layer_rows(result: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, race in result["races"].items():
        for ours in race["ratios"]:
            time = f"{race['variants'][ours]['us']['median']:.4g} us"
            yield (
                f"`nn.LSTM`, {name}: ours in {_way(ours, race)}",
                time,
                *_ratios(race, ours),
                "`python benchmarks/layers.py`",
            )


def _memory(result: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Of the variants that the rows of ratios quote."""
    for name, race in result["races"].items():
        for ours in race["ratios"]:
            size = f"Size of Sutskever et al. (2014), batch of {race.get('batch_size')}"
            title = TRAINING.get(name.partition(",")[0], size)
            cells = [_cost(race["variants"][ours])]
            for framework in ("pytorch", "jax"):
                able = [race["variants"][n] for n in race["ratios"][ours] if n.startswith(framework)]
                cells.append(_cost(min(able, key=lambda figures: figures["us"]["median"])) if able else "-")
            yield (f"{title}, {_way(ours, race)}", *cells)


def _cost(figures: dict[str, Any]) -> str:
    return f"{figures['peak_memory_mb']:,} MB, {figures['first_calls_s']:.1f} s"


_MAKERS = dict(zip(FILES, (_training_rows, _attention_rows, _decoding_rows, _paper_rows, _layer_rows), strict=True))
