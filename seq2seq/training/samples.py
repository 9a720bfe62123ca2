"""What a person reads of a run: the same few sentences of its validation, translated after each epoch.

They stand in ``samples.jsonl``, a line for each validation: ``step``, ``epoch``, and ``samples``, of each its
``source``, ``reference`` and ``hypothesis``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seq2seq.decoding.translator import Translator
from seq2seq.run.checkpoint import Progress
from seq2seq.run.folder import SAMPLES
from seq2seq.run.writing import records_in, replace_run_file
from seq2seq.sources import Dataset, EncodedSplit


class Samples:
    """The sentences of a run.

    Args:
        run_dir: where they are kept; this process holds its lock.
        dataset, encoded: its validation split, raw and as items and ids.
        count: how many; 0 for none.
    """

    def __init__(self, run_dir: Path, dataset: Dataset, encoded: EncodedSplit, count: int) -> None:
        pairs = dataset.split("valid")
        count = min(count, len(pairs))
        self._path, self._numbers = run_dir / SAMPLES, [place * len(pairs) // count for place in range(count)]
        self._pairs, self._items = [pairs[number] for number in self._numbers], encoded.src

    def after(self, translator: Translator, progress: Progress, epoch: int) -> list[str]:
        """Translate, keep, and give lines for people.

        Args:
            epoch: of the updates before, from 0.
        """
        if not self._numbers:
            return []
        raw = [src for src, _ in self._pairs]
        sources = translator.codec.source.spoken(self._items.take(self._numbers), raw)
        label = translator.model.source.label
        found = [
            {"source": label(src), "reference": trg, "hypothesis": hypothesis}
            for (src, trg), hypothesis in zip(self._pairs, translator.translate_ids(sources), strict=True)
        ]
        self._keep({"step": progress.step, "epoch": epoch, "samples": found})
        return [line for each in found for line in lines_of(each)]

    def _keep(self, record: dict[str, Any]) -> None:
        """Put a record behind those of former steps; later ones are of steps that were taken again."""
        kept = [each for each in read(self._path) if each["step"] < record["step"]]
        replace_run_file(self._path, b"".join(json.dumps(each).encode() + b"\n" for each in [*kept, record]))


def lines_of(sample: dict[str, str]) -> Sequence[str]:
    """A sentence with its translation, and the reference where that is another."""
    source, reference, hypothesis = (sample[name] for name in ("source", "reference", "hypothesis"))
    end = [] if hypothesis == reference else [f"    (reference: {reference})"]
    return [f"  {source}", f"    = {hypothesis}", *end]


def read(path: Path) -> list[dict[str, Any]]:
    """The records of a file of samples; lines that are none are left out."""
    log = path.read_bytes() if path.is_file() else b""
    return [record for _, record in records_in(log) if isinstance(record.get("samples"), list)]
