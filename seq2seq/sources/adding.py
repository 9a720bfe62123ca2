"""Further training pairs beside those of a data set: the files that ``add_data`` names.

Contract: validation and test stay what they are, and no pair whose source is in one of them is trained on.
"""

from __future__ import annotations

import dataclasses

from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.run.messages import counted
from seq2seq.sources.contract import Source
from seq2seq.sources.dataset import Dataset, pairs_checksum


def with_added(dataset: Dataset, source: Source, config: Config) -> tuple[Dataset, str | None]:
    """The data set with the pairs of ``add_data`` behind those of training, and the sha256 (hex) of these pairs; None
    where nothing is added.

    Raises:
        UserError: a file is at fault, the source is no text, or no pair is left to train on.
    """
    if config.add_data is None:
        return dataset, None
    pairs = source.read_examples("add_data", config.add_data, config.languages).pairs
    if not all(isinstance(src, str) for src, _ in pairs):
        raise UserError(f"add_data is {config.add_data!r}; expected a run whose source is text")
    held_out = {src for name, split in dataset.splits.items() if name != "train" for src, _ in split}
    whole = [pair for pair in pairs if pair[0].strip() and pair[1].strip()]
    added = [pair for pair in whole if pair[0] not in held_out]
    if not added:
        raise UserError(f"add_data {config.add_data}: no pair with text on both sides is left; expected further pairs")
    notes = [f"{config.add_data}: {counted(len(added), 'pair', 'are trained on too')}"]
    if len(whole) < len(pairs):
        notes.append(
            f"{config.add_data}: {counted(len(pairs) - len(whole), 'pair without text on both sides', 'are left out')}"
        )
    if len(added) < len(whole):
        left = counted(len(whole) - len(added), "pair with a source of valid or test", "are left out")
        notes.append(f"{config.add_data}: {left}")
    splits = {**dataset.splits, "train": [*dataset.split("train"), *added]}
    return dataclasses.replace(dataset, splits=splits, notes=(*dataset.notes, *notes)), pairs_checksum(added)
