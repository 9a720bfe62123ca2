"""What of a run's data is other than before, where the run goes on.

The digests of the data stand in the manifest. Other data are refused, unless the change is accepted; then it is written
down when the run goes on, together with what it goes on with, so that a start which fails before changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seq2seq.run import config_file, manifest
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.run.messages import counted
from seq2seq.run.streams import say
from seq2seq.sources import Dataset

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class DataChange:
    """A change that was accepted, or none.

    Attributes:
        splits: whose data are others now.
        entries: what the manifest says of it.
    """

    splits: frozenset[str] = frozenset()
    entries: dict[str, Any] = field(default_factory=dict)


def data_change(dataset: Dataset, added: str | None, config: Config, run_dir: Path, accept: bool) -> DataChange:
    """How the data differ from those that the run was trained on, wherever they lie now; in nothing for a new run.

    Args:
        dataset: without the pairs of ``add_data``.
        added: sha256 (hex) of those pairs.
        accept: whether they may differ.

    Raises:
        UserError: they differ.
    """
    change = dataset_change(dataset, run_dir, accept) if config.resume else DataChange()
    splits = change.splits | ({"train"} if _is_other_addition(added, config, run_dir, accept) else set())
    return DataChange(splits, change.entries | ({"added_sha256": added} if added else {}))


def dataset_change(dataset: Dataset, run_dir: Path, accept: bool) -> DataChange:
    """As ``data_change``, of the data set alone."""
    content = manifest.read(run_dir)
    then = content["data_sha256"]
    message, files = _difference(dataset, then)
    if message is None and dataset.left_out and "files_sha256" not in content:
        missing = "pair with an empty side, which version 0.1 trained on,"
        message = (
            f"{dataset.name}: {counted(dataset.left_out, missing, 'are left out')} "
            f"now, so the parts of the data are others; {manifest.ACCEPT}"
        )
    if message is None:
        return DataChange()
    if not accept:
        raise UserError(message)
    say(f"{', '.join(files) or dataset.name}: changed since the training; accepted")
    entry = {"file": "data", "was": then, "is": dataset.checksums}
    entries = {"data_sha256": dataset.checksums, "accepted": [*content.get("accepted", []), entry]}
    splits = [split for name in files for split in dataset.parts.get(name, SPLITS)] or SPLITS
    return DataChange(frozenset(splits), entries)


def _is_other_addition(added: str | None, config: Config, run_dir: Path, accept: bool) -> bool:
    """Whether the files of ``add_data`` hold other pairs than before; a run may go on with other files of them."""
    then = manifest.read(run_dir).get("added_sha256") if config.resume else added
    if added in (None, then) or "add_data" in config_file.differences(config, run_dir):
        return False
    if not accept:
        raise UserError(manifest.changed(config.add_data, str(added), str(then)))
    say(f"{config.add_data}: changed since the training; accepted")
    return True


def _difference(dataset: Dataset, then: dict[str, str] | None) -> tuple[str | None, list[str]]:
    """What to say where data are not those of the training, and the files that are others; files may have other names,
    but not another order."""
    now = dataset.checksums
    if then is None:
        return f"{manifest.NAME} does not say which data the run was trained on; {manifest.ACCEPT}", [*now]
    if len(now) != len(then):
        added = [name for name, digest in now.items() if digest not in then.values()]
        only_added = len(added) == len(now) - len(then)
        message = f"the data are {counted(len(now), 'file')}; the training had {len(then)}: {', '.join(then)}"
        return message, added if only_added and all(dataset.parts.get(one) == {"test"} for one in added) else [*now]
    pairs = zip(now, then if now.keys() != then.keys() else now, strict=True)
    others = [(name, former) for name, former in pairs if now[name] != then[former]]
    messages = [manifest.changed(name, now[name], then[former]) for name, former in others]
    return messages[0] if messages else None, [name for name, _ in others]
