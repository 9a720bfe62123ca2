"""What fewer bits of a run's weights change: the bytes of its file, and BLEU of a split, in every form.

    python benchmarks/weights.py RUN --data-dir DIR [--split test] [--json benchmarks/results/weights.json]

The run is exported in each form, and the file translates the split, greedily and with a beam of five. What the run is
(--told) heads the table of docs/shipping.md.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from figures import write
from tables import as_table, read

import minigrad
from seq2seq import evaluate
from seq2seq.decoding import runs
from seq2seq.decoding.translator import Translator
from seq2seq.shipping import model_file

FORMS, BEAMS = ("full", "f16", "int8"), (1, 5)


def measured(run: Path, split: str, data_dir: Path) -> dict[str, dict[str, Any]]:
    """By form the bytes of the file, and by beam BLEU. What a search takes is raced by `decoding.py`."""
    dataset = runs.dataset(evaluate.build_parser().parse_args([str(run), "--data-dir", str(data_dir)]))
    ours, found = Translator.load(run), {}
    with tempfile.TemporaryDirectory() as folder:
        for form in FORMS:
            path = Path(folder) / f"{form}.seq2seq"
            model_file.write(path, ours.model, ours.codec, ours.settings, form)
            shipped = Translator.load(path)
            found[form] = {"bytes": path.stat().st_size, "bleu": {}}
            for beam in BEAMS:
                bleu = evaluate.score(shipped, dataset, split, beam, 1.0, 64, metrics=("bleu",))["bleu"]
                found[form]["bleu"][beam] = bleu
                print(f"{form}, beam {beam}: BLEU {_figure(bleu)}", flush=True)
    return found


def _figure(bleu: float | None) -> str:
    return "none" if bleu is None else f"{bleu:.2f}"


def table() -> str:
    """For docs/shipping.md."""
    found = read("weights.json")
    whole = found["forms"]["full"]["bytes"]
    rows = []
    for form, row in found["forms"].items():
        scores = map(_figure, row["bleu"].values())
        rows.append((f"`{form}`", f"{row['bytes'] / 1e6:.1f} MB", f"{row['bytes'] / whole:.2f}", *scores))
    head = ("weights", "file", "of `full`", *(f"BLEU, beam {beam}" for beam in found["forms"]["full"]["bleu"]))
    return f"{found['told']}, `python benchmarks/weights.py`:\n\n{as_table(head, rows)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a run on text")
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of its data")
    parser.add_argument("--split", choices=("valid", "test"), default="test")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--told", default="", help="what the run is, for the head of the table")
    parser.add_argument("--json", type=Path, help="file for the figures")
    asked = parser.parse_args()
    minigrad.set_num_threads(asked.threads)
    forms = measured(asked.run, asked.split, asked.data_dir)
    if asked.json:
        write(asked.json, {"told": asked.told, "split": asked.split, "threads": asked.threads, "forms": forms})


if __name__ == "__main__":
    main()
