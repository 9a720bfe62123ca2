"""The figures of a run as TensorBoard reads them, in the folder ``tensorboard`` of the run; by tensorboardX.

What is written there is a copy of metrics.jsonl and samples.jsonl: nothing of a run depends on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from seq2seq.run.config import Config
from seq2seq.run.errors import UserError

FOLDER = "tensorboard"
INSTALL_TRACK = "pip install 'tensorboardX>=2.6'"  # works in any folder; pyproject.toml says the same


def check(config: Config) -> None:
    """UserError where the files of TensorBoard are asked for and cannot be written."""
    if config.tensorboard and find_spec("tensorboardX") is None:
        raise UserError(f"tensorboard: tensorboardX is not installed; {INSTALL_TRACK}")


class Tracker:
    """Writes what a run that asks for it logs; of another run nothing.

    Args:
        step: updates that are done; what stands in the folder of later ones is taken back.
    """

    def __init__(self, config: Config, run_dir: Path, step: int) -> None:
        self._writer: Any = None
        if config.tensorboard:
            from tensorboardX import SummaryWriter

            # A file's name is that of a second: without the step a run that goes on at once would write over one.
            suffix = f".{step}"
            self._writer = SummaryWriter(str(run_dir / FOLDER), purge_step=step + 1, filename_suffix=suffix)

    def write(self, record: dict[str, Any]) -> None:
        """A record of metrics.jsonl: each of its figures over the steps."""
        if self._writer is None:
            return
        kind = "valid" if "val_loss" in record else "train"
        for name, value in record.items():
            if name not in ("step", "epoch") and isinstance(value, int | float):
                self._writer.add_scalar(f"{kind}/{name}", value, record["step"])

    def write_text(self, lines: Sequence[str], step: int) -> None:
        """Sample translations, as they are printed."""
        if self._writer is not None and lines:
            self._writer.add_text("samples", "\n".join(f"    {line}" for line in lines), step)  # code, in Markdown

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
