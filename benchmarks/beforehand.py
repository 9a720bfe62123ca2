"""How right the time is that a training tells before it starts, and how well a budget is kept.

    python benchmarks/beforehand.py --data-dir DIR [--only WORD] [--json benchmarks/results/beforehand.json]

Ten runs of different kinds train on the first pairs of Multi30k, each in a process of its own: what its line "time:"
says beside the seconds from that line to the end. Then three runs with a budget each, whose whole process is timed. The
figures mean something on a machine that does nothing else; --threads says how much of it a run may take.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from figures import write
from tables import as_table, files, read

from seq2seq.sources.named import load_named
from seq2seq.training.budget import seconds_of

ROOT = Path(__file__).parent.parent
RUNS = {
    "LSTM": "--encoder lstm --decoder lstm --epochs 3",
    "LSTM, half of the words its own": "--encoder lstm --decoder lstm --teacher-forcing-ratio 0.5 --epochs 3",
    "LSTM in bfloat16": "--encoder lstm --decoder lstm --precision bf16 --epochs 3",
    "small LSTM": "--encoder lstm --decoder lstm --embedding-size 64 --hidden-size 64 --epochs 12",
    "attention": "--encoder bigru --decoder attention --cell gru --input-feeding --num-layers 1 --epochs 3",
    "Bahdanau": "--encoder bilstm --decoder bahdanau --num-layers 1 --epochs 2",
    "GRU with the context": "--encoder gru --decoder gru-context --num-layers 1 --epochs 3",
    "Transformer": "--encoder transformer --decoder transformer --hidden-size 128 --ffn-size 256 --epochs 4",
    "pointer-generator": "--encoder lstm --decoder pointer-generator --share-vocab --num-layers 1 --epochs 2",
    "subwords, batches by tokens": "--encoder lstm --decoder lstm --src-tokenizer sentencepiece --trg-tokenizer "
    "sentencepiece --max-vocab-size 3000 --batch-tokens 2000 --epochs 3",
}
ALL = "--hidden-size 256 --batch-size 64 --min-freq 2 --src-tokenizer space --trg-tokenizer space"
BUDGETED, BUDGETS = "LSTM", ("40s", "80s", "2m")


def corpora(folder: Path, data_dir: str, pairs: int) -> list[str]:
    """Options that name files of the first pairs, and of a part of those held out."""
    dataset = load_named("multi30k", data_dir=data_dir)
    for split, count in (("train", pairs), ("valid", max(64, pairs // 16))):
        lines = [f"{src}\t{trg}\n" for src, trg in dataset.split(split)[:count]]
        (folder / f"{split}.tsv").write_text("".join(lines), encoding="utf-8")
    return ["--data", str(folder / "train.tsv"), "--valid", str(folder / "valid.tsv")]


def told(line: str) -> float | None:
    """Seconds of a run by its line "time:"; None of another line."""
    found = re.match(r"time: .*, ([\d.:]+)( s| minutes| hours) in all", line)
    if found is None:
        return None
    parts = reversed(found[1].split(":"))  # seconds, minutes, hours
    return sum(float(part) * 60**place for place, part in enumerate(parts))


def trained(words: Sequence[str], threads: int) -> tuple[float | None, float, float]:
    """Of a training: the seconds that it tells, those from there to its end, and those of its process."""
    command = [sys.executable, "-m", "seq2seq.train", *words, "--threads", str(threads)]
    begun = time.monotonic()
    environment = dict(os.environ, PYTHONUNBUFFERED="1")  # a line is there when it is said
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        predicted, since = None, begun
        for line in process.stdout:
            if predicted is None and (predicted := told(line)) is not None:
                since = time.monotonic()
    if process.returncode:
        raise SystemExit(f"{' '.join(words)}: it ended with {process.returncode}")
    ended = time.monotonic()
    return predicted, ended - since, ended - begun


def runs(data: Sequence[str], folder: Path, only: str, threads: int) -> dict[str, Any]:
    """What each run told, and what it took."""
    found: dict[str, Any] = {}
    for number, (name, words) in enumerate(RUNS.items()):
        if only in name:
            place = ["--run-dir", str(folder / str(number))]
            predicted, took, _ = trained([*data, *ALL.split(), *words.split(), *place], threads)
            if predicted is None:
                raise SystemExit(f"{name}: it is over too soon to be told of; expected more --pairs")
            found[name] = {"told_s": predicted, "took_s": took, "took_over_told": took / predicted}
            print(f"{name}: told {predicted:.0f} s, took {took:.0f}: {took / predicted:.2f}", flush=True)
    return found


def budgets(data: Sequence[str], folder: Path, threads: int) -> dict[str, Any]:
    """What the process of a run took, by its budget."""
    found: dict[str, Any] = {}
    words = [word for word in RUNS[BUDGETED].split() if word not in ("--epochs", "3")]
    for budget in BUDGETS:
        place = ["--run-dir", str(folder / budget), "--budget", budget]
        _, _, took = trained([*data, *ALL.split(), *words, *place], threads)
        found[budget] = {"took_s": took, "took_over_budget": took / seconds_of(budget)}
        print(f"budget {budget}: took {took:.1f} s, {took / seconds_of(budget):.2f} of it", flush=True)
    return found


def tables() -> str:
    """Everything between the markers of docs/training.md: for each processor what was told, and what it took."""
    parts = []
    for result in map(read, files("beforehand")):
        where = f"{result['threads']} threads, {result['processor']['name']}"
        told = [(name, row["told_s"], row["took_s"], row["took_over_told"]) for name, row in result["runs"].items()]
        given = [
            (f"`--budget {budget}`", float(seconds_of(budget)), row["took_s"], row["took_over_budget"])
            for budget, row in result["budgets"].items()
        ]
        rows = [(name, f"{s:.1f} s", f"{took:.1f} s", f"{share:.2f}") for name, s, took, share in told + given]
        parts.append(as_table((where, "told or given", "took", "took over that"), rows))
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", required=True, help="folder with the corpora")
    parser.add_argument("--pairs", type=int, default=6000)
    parser.add_argument("--only", default="", help="runs whose name holds this word")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = corpora(folder, options.data_dir, options.pairs)
        found = {"runs": runs(data, folder, options.only, options.threads)}
        found["budgets"] = budgets(data, folder, options.threads) if options.only in BUDGETED else {}
    if options.json:
        write(options.json, {"threads": options.threads, "pairs": options.pairs, **found})


if __name__ == "__main__":
    main()
