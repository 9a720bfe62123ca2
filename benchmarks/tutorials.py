"""The scripts of docs/examples at the sizes of their tutorials, to the end, beside the losses that those print.

    python benchmarks/tutorials.py --data-dir DIR [NAME ...] [--threads N] [--json-dir benchmarks/results/tutorials]

DIR has the corpora as `seq2seq.train` takes them: multi30k, and tatoeba with spa-eng.zip, which stands for the French
of the tutorials that use Tatoeba's. Each script runs as it stands and prints its losses; they are kept when it is done,
with its options and minutes. Those of Multi30k take hours on two cores.
"""

from __future__ import annotations

import argparse
import operator
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from figures import write
from tables import as_table, files, read

from seq2seq.run.messages import counted

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "tutorials"
MULTI30K = "--data {dir}/multi30k --languages de en --pairs 29000 --batch-size 128"
NOTEBOOK = f"{MULTI30K} --min-freq 2 --epochs 10 --emb-dim 256 --hid-dim 512 --dropout 0.5 --lr 0.001"
TATOEBA = "--data {dir}/tatoeba/spa-eng.zip"


RACED = (
    "The same scripts as they stand on either library, in turns (`python benchmarks/examples.py --data-dir DIR`; "
    "median and middle half, above 1 we are faster). They go word by word in Python, where an op of ours costs more "
    "than one of PyTorch's: a small model feels that, one with a large vocabulary does not. `seq2seq.train` has whole "
    "sequences in one kernel."
)


class Tutorial(NamedTuple):
    """A script's options, how it prints the loss (or perplexity) that counts, and what was published of it."""

    options: str
    printed: str  # with one group, the number
    published: float
    told: str
    of_epochs: Callable[[Sequence[float]], float] = operator.itemgetter(-1)  # the loss that was published: the last


TUTORIALS = {
    "translation_from_scratch": Tutorial(
        f"{TATOEBA} --pairs 11445 --hidden-size 128 --batch-size 32 --lr 0.001 --epochs 80", r"loss ([\d.]+)$",
        0.0291, "PyTorch's tutorial: training loss after 80 epochs, a mean that counts padding, of French sentences "
        "that all begin with 'i am', 'he is' and the like; these, of up to eleven words, begin with any",
    ),
    "lstm_translator": Tutorial(
        NOTEBOOK, r"train PPL +([\d.]+),", 19.80, "Trevett's first notebook: training perplexity after 10 epochs",
    ),
    "gru_context": Tutorial(
        NOTEBOOK, r"train PPL +([\d.]+),", 7.30, "Trevett's second notebook: training perplexity after 10 epochs",
    ),
    "packed_attention": Tutorial(
        NOTEBOOK, r"loss ([\d.]+),", 1.478, "Trevett's third notebook: training loss after 10 epochs",
    ),
    "transformer_translation": Tutorial(
        f"{MULTI30K} --epochs 16 --emb-size 512 --nhead 8 --ffn-hid-dim 512 --num-layers 3 --dropout 0.1 --lr 0.0001",
        r"train loss ([\d.]+)$", 1.070,
        "PyTorch's tutorial: training loss after 16 epochs, of words with their capitals",
    ),
    "bahdanau_decoder": Tutorial(
        f"{TATOEBA} --first --pairs 600 --min-freq 2 --num-steps 10 --epochs 250 --batch-size 64 --embed-size 32 "
        "--num-hiddens 32 --num-layers 2 --dropout 0.1 --lr 0.005", r"loss per token ([\d.]+)$",
        0.20, "d2l's chapter, of French: training loss after 250 epochs, printed as 0.020, a tenth of that of a token",
    ),
    "characters": Tutorial(
        f"{TATOEBA} --first --pairs 10000 --max-length 1000 --latent-dim 256 --batch-size 64 --lr 0.001 --epochs 100 "
        "--validation 0.2", r"validation loss ([\d.]+)$",
        0.4358, "Keras' example, of French: the least validation loss of 100 epochs, at the 25th", min,
    ),
}  # fmt: skip


def run(name: str, data_dir: Path, threads: int) -> dict[str, Any]:
    """What a script printed of its losses, once it is done; SystemExit where it ends with an error."""
    tutorial = TUTORIALS[name]
    options = [word.format(dir=data_dir.absolute()) for word in tutorial.options.split()]
    command = [sys.executable, "-u", str(ROOT / "docs" / "examples" / f"{name}.py"), *options]
    environment = dict(os.environ, NUMBA_NUM_THREADS=str(threads))
    losses, start = [], time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            if found := re.search(tutorial.printed, line.rstrip()):
                losses.append(float(found[1]))
    if process.returncode or not losses:
        raise SystemExit(f"{name}: exit code {process.returncode} after {len(losses)} losses")
    minutes = (time.perf_counter() - start) / 60
    told = {"script": f"docs/examples/{name}.py", "options": tutorial.options, "threads": threads}
    return {**told, "losses": losses, "minutes": minutes}


def rows() -> Iterator[tuple[str, ...]]:
    """Those of the tutorials that are kept: what was published, and the same loss here."""
    for name, tutorial in TUTORIALS.items():
        if (RESULTS / f"{name}.json").exists():
            kept = read(f"tutorials/{name}.json")
            loss = tutorial.of_epochs(kept["losses"])
            epoch = kept["losses"].index(loss) + 1 if tutorial.of_epochs is min else len(kept["losses"])
            took = f"{counted(round(kept['minutes']), 'minute')}, {counted(kept['threads'], 'thread')}"
            here = f"**{loss:.3f}** after {epoch} epochs"
            where = f"{took}, {kept['processor']['name']}"
            yield f"`{name}.py`", f"{tutorial.published:g} ({tutorial.told})", here, where


def times() -> Iterator[tuple[str, ...]]:
    """An update of each script that was raced (`examples.py`), beside the same script on PyTorch."""
    for name in files("examples"):
        result = read(name)
        where = f"{counted(result['threads'], 'thread')}, {result['processor']['name']}"
        for script, race in result["races"].items():
            if ratio := race.get("ratios", {}).get("minigrad", {}).get("pytorch"):
                ours = f"{race['variants']['minigrad']['us']['median'] / 1e3:.0f} ms"
                yield f"`{script}.py`", ours, "{median:.2f} ({low:.2f} to {high:.2f})".format(**ratio), where


def table() -> str:
    """Everything between the markers of docs/examples/README.md."""
    parts = [as_table(("script", "published", "here", "took"), list(rows()))]
    if raced := list(times()):
        parts += [RACED, as_table(("script", "an update", "PyTorch's time over ours", "on"), raced)]
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(TUTORIALS)} (default: all)")
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of the corpora")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json-dir", type=Path, default=RESULTS, help="folder for the figures")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(TUTORIALS):
        raise SystemExit(f"NAME is {', '.join(sorted(unknown))}; expected some of {', '.join(TUTORIALS)}")
    asked.json_dir.mkdir(parents=True, exist_ok=True)
    for name in asked.names or TUTORIALS:
        write(asked.json_dir / f"{name}.json", run(name, asked.data_dir, asked.threads))


if __name__ == "__main__":
    main()
