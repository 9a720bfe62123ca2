"""What memory and time a corpus takes that is larger than memory may be: pairs are generated, prepared and trained on.

    python benchmarks/large_corpus.py [--pairs 20000000] [--folder DIR] [--json FILE]

The corpus is trained on twice, a twentieth of it and all of it, by ``python -m seq2seq.train --data-cache`` in a
process of its own, whose memory is read from /proc meanwhile: what it holds itself (RssAnon), and what it has mapped
from files (RssFile), which the system takes back when it needs it. All files go to a folder that is removed at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
WORDS, CHUNK = 30_000, 100_000
SETTINGS = (
    "--shuffle-block 1000000 --src-tokenizer space --trg-tokenizer space --hidden-size 64 --embedding-size 64 "
    "--num-layers 1 --max-vocab-size 8000 --epochs 1 --batch-size 64"
)


def generate(path: Path, pairs: int) -> None:
    """Write pairs of 3 to 7 words on each side, word k of a few thousand occurring about 1 / k as often."""
    words = [f"w{number}" for number in range(WORDS)]
    others = [f"v{number}" for number in range(WORDS)]
    rng = np.random.default_rng(0)
    with open(path, "w", encoding="utf-8") as file:
        for start in range(0, pairs, CHUNK):
            size = min(CHUNK, pairs - start)
            drawn = np.minimum(np.exp(rng.uniform(0, np.log(WORDS), (size, 7))).astype(int), WORDS - 1).tolist()
            lengths = rng.integers(3, 8, size).tolist()
            for row, length in zip(drawn, lengths, strict=True):
                src, trg = row[:length], row[:length][::-1]
                file.write(f"{' '.join([words[n] for n in src])}\t{' '.join([others[n] for n in trg])}\n")


def memory_of(process: int) -> dict[str, int]:
    """Resident bytes of a process by kind; nothing once it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    return {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines if line.startswith(("Rss", "VmRSS"))}


def measured(corpus: Path, folder: Path, steps: int) -> dict[str, Any]:
    """A training on a corpus: the most memory of each kind in MB, and seconds until the first step and for all."""
    run_dir, started = folder / f"run-{corpus.stem}", time.monotonic()
    command = [sys.executable, "-m", "seq2seq.train", "--data", str(corpus), "--data-cache", str(folder / "cache")]
    command += [*SETTINGS.split(), "--run-dir", str(run_dir), "--max-steps", str(steps)]
    most: dict[str, int] = {}
    prepared = None
    with open(folder / "log", "w") as log, subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log) as child:
        while child.poll() is None:
            for kind, size in memory_of(child.pid).items():
                most[kind] = max(most.get(kind, 0), size)
            if prepared is None and (run_dir / "checkpoints" / "last.safetensors").exists():
                prepared = time.monotonic() - started
            time.sleep(0.2)
    if child.returncode:
        raise SystemExit((folder / "log").read_text())
    cache = sum(path.stat().st_size for path in (folder / "cache").rglob("*") if path.is_file())
    return {
        "corpus_mb": corpus.stat().st_size >> 20, "cache_mb": cache >> 20,
        **{f"most_{kind.lower()}_mb": size >> 20 for kind, size in sorted(most.items())},
        "seconds_to_prepare": round(prepared or 0.0, 1), "seconds": round(time.monotonic() - started, 1),
        "steps": steps,
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20_000_000)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--folder", type=Path, help="where the files go for a while (default: the system's)")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args(arguments)
    figures: dict[str, Any] = {"processors": os.cpu_count(), "settings": SETTINGS, "runs": {}}
    for pairs in (max(1000, options.pairs // 20), options.pairs):
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            corpus = Path(name) / f"{pairs}.tsv"
            generate(corpus, pairs)
            figures["runs"][str(pairs)] = found = measured(corpus, Path(name), options.steps)
        print(f"{pairs:,} pairs: " + ", ".join(f"{key} {value:,}" for key, value in found.items()), flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
