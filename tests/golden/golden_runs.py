"""Short runs of every kind, told in a few numbers each: what must not change while the house is rebuilt.

``python tests/golden/golden_runs.py [NAME ...] [--tree FOLDER] [--write]`` trains them and prints, for each, digests of
all losses and weights, the last figures, translations and scores. ``--write`` puts them into golden_runs.json, with
which the tests compare; ``--tree`` runs another checkout of this project, to record what that gives.

Contract: floats are summed in an order that depends on the processor's vectors, so a fresh interpreter computes as one
that most have (AVX2, see ``ENVIRONMENT``). The simulator of a device needs nothing more: g++ compiles its kernels for
any x86-64, without contraction, and the C library takes the same functions wherever there are AVX2 and FMA. The runs of
the named data sets need the corpora, one of them spaCy too. A commit that changes these numbers says which sum is added
up in another order and why.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PATH = Path(__file__).with_name("golden_runs.json")
AVX2 = "+cx16,+sahf,+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+avx,+avx2,+fma,+bmi,+bmi2,+f16c,+lzcnt,+movbe"
ENVIRONMENT = {
    "NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": AVX2,
    "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR X86_V4",
    "OPENBLAS_CORETYPE": "Haswell",
}  # fmt: skip

SPACES = "--src-tokenizer space --trg-tokenizer space"
DIGITS = f"--data digits.tsv {SPACES} --min-freq 1 --batch-size 8 --lr 0.01 "
DIGITS += "--embedding-size 8 --hidden-size 12 --init-range 0.5 --epochs 4"
SMALL = "--embedding-size 16 --hidden-size 24 --max-steps 3"

# What the presets of scan and of cmudict were when their runs were recorded.
PLAIN = "--encoder lstm --decoder lstm --num-layers 1 --dropout 0.5 --batch-size 128 --lr-schedule constant "
PLAIN += "--clip-norm 1 --init-range 0.08 --best-metric val_loss"
LETTERS = "--encoder lstm --decoder lstm --num-layers 2 --dropout 0.3 --output-dropout 0 --label-smoothing 0 "
LETTERS += "--lr 0.001 --lr-schedule constant --warmup-steps 0 --init-range 0.08 "
LETTERS += "--best-metric val_loss --precision fp32"

RUNS = {
    "forcing 0.5": DIGITS,
    "forcing 1": f"{DIGITS} --teacher-forcing-ratio 1",
    "forcing 0": f"{DIGITS} --teacher-forcing-ratio 0",
    "bf16": f"{DIGITS} --precision bf16",
    "bf16 forcing 1": f"{DIGITS} --precision bf16 --teacher-forcing-ratio 1",
    "fp64": f"{DIGITS} --precision fp64",
    "one layer": f"{DIGITS} --num-layers 1 --dropout 0 --reverse-source --label-smoothing 0.1",
    "characters": f"{DIGITS} --src-tokenizer char --trg-tokenizer sentencepiece --max-vocab-size 15",
    "resumed": f"{DIGITS} --max-steps 22",
    "numbers": SMALL,
    "scan": f"{SMALL} --data scan {PLAIN}",
    "cmudict": f"{SMALL} --data cmudict {LETTERS} --batch-size 128",
    "multi30k": f"{SMALL} --data multi30k",
    "spa-eng": f"{SMALL} --data spa-eng {SPACES} --max-vocab-size 1000 --max-output-length 10",
}
ON_DEVICE = {
    "cuda forcing 0.5": f"{DIGITS} --device cuda --max-steps 6",
    "cuda forcing 1": f"{DIGITS} --device cuda --max-steps 6 --teacher-forcing-ratio 1",
    "cuda bf16": f"{DIGITS} --device cuda --max-steps 6 --precision bf16",
    "cuda bf16 forcing 1": f"{DIGITS} --device cuda --max-steps 6 --precision bf16 --teacher-forcing-ratio 1",
}
OF_CORPORA = ("scan", "cmudict", "multi30k", "spa-eng")


def run_all(names: list[str], tree: Path = ROOT) -> dict[str, Any]:
    """The figures of some runs of a checkout, computed in a fresh interpreter for the processor of the contract."""
    places = [str(tree), os.environ.get("PYTHONPATH", "")]
    if any(name in ON_DEVICE for name in names):
        places.insert(0, str(tree / "tests" / "cuda_sim" / "standin"))
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": os.pathsep.join(places)}
    command = [sys.executable, "-W", "ignore", __file__, "--inside", *names]
    result = subprocess.run(command, env=environment, cwd=tree, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(result.stderr)
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def _inside(names: list[str]) -> dict[str, Any]:
    figures = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("digits.tsv").write_text("".join(f"{src}\t{src[::-1]}\n" for src in _digits()))
        for name in names:
            figures[name] = _figures(name, {**RUNS, **ON_DEVICE}[name].split())
    return figures


def _digits() -> list[str]:
    rng, sources = random.Random(0), dict[str, None]()
    while len(sources) < 70:
        sources[" ".join(rng.choices("0123456789", k=rng.randint(3, 5)))] = None
    return list(sources)


def _figures(name: str, options: list[str]) -> dict[str, Any]:
    from seq2seq import Translator, evaluate, train
    from seq2seq.sources import load_dataset

    run_dir = Path("runs") / name.replace(" ", "-")
    if name in OF_CORPORA:
        options += ["--data-dir", os.environ["MINIGRAD_DATA_DIR"]]
    with contextlib.redirect_stdout(io.StringIO()):
        assert train.main([*options, "--run-dir", str(run_dir)]) == 0
        if name == "resumed":
            assert train.main(["--run-dir", str(run_dir), "--resume", "--max-steps", "36"]) == 0
    settings = json.loads((run_dir / "config.json").read_text())
    device: Any = settings["device"]
    translator = Translator.load(run_dir, device=device)
    dataset = load_dataset(settings["data"], data_dir=settings["data_dir"])
    sources = [src for src, _ in dataset.split("valid")[:3]]
    with contextlib.redirect_stdout(io.StringIO()):
        split = ["--split", "valid", "--device", device, "--metrics", "chrf,exact_match"]  # those that are told below
        assert evaluate.main([str(run_dir), *split, "--json", "scores.json"]) == 0
    scores = json.loads(Path("scores.json").read_text())
    return {
        **_history(run_dir), "weights": {which: _weights(run_dir, which) for which in ("last", "best")},
        "greedy": _told(translator.translate(sources)), "beam": _told(translator.translate(sources, beam_size=3)),
        "scores": {key: scores[key] for key in ("loss", "ppl_forced", "ppl_free", "chrf", "exact_match")},
    }  # fmt: skip


def _told(translations: list[str]) -> list[str]:
    """The beginnings of translations, and a digest of all of them."""
    return [*(text[:40] for text in translations), hashlib.sha256("\n".join(translations).encode()).hexdigest()[:16]]


def _history(run_dir: Path) -> dict[str, Any]:
    """A digest of the log, and the last loss and validation in full.

    Left out are the time of a step, and BLEU, which means nothing for most of these targets.
    """
    records = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    told = [{key: value for key, value in record.items() if key not in ("seconds", "bleu")} for record in records]
    losses, validations = ([record[key] for record in told if key in record] for key in ("loss", "val_loss"))
    digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()
    return {"history": digest, "steps": len(losses), "loss": losses[-1], "val_loss": validations[-1]}


def _weights(run_dir: Path, which: str) -> str:
    from minigrad.serialization import from_bytes

    digest = hashlib.sha256()
    content = from_bytes((run_dir / "checkpoints" / f"{which}.safetensors").read_bytes())
    for name, tensor in sorted(content["model"].items()):
        digest.update(name.encode() + tensor.array.tobytes())
    return digest.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("names", nargs="*", default=[*RUNS, *ON_DEVICE], help="of runs (default: all)")
    parser.add_argument("--tree", type=Path, default=ROOT, help="the checkout that is run (default: this one)")
    parser.add_argument("--write", action="store_true", help=f"store the figures in {PATH.name}")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(_inside(options.names)))
        return
    found: dict[str, Any] = {}
    for group in (RUNS, ON_DEVICE):
        chosen = [name for name in options.names if name in group]
        found |= run_all(chosen, options.tree.resolve()) if chosen else {}
    if options.write:
        former = json.loads(PATH.read_text()) if PATH.exists() else {}
        PATH.write_text(json.dumps({**former, **found}, indent=1, ensure_ascii=False) + "\n")
    print(json.dumps(found, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
