"""metrics.jsonl: one JSON object a line, for every step and every validation."""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

from seq2seq.run import manifest
from seq2seq.run.errors import UserError
from seq2seq.run.messages import counted
from seq2seq.run.streams import say
from seq2seq.run.writing import naming, records_in, replace_run_file
from seq2seq.training.tracking import Tracker


class MetricsLog:
    """The log of a run whose lock this process holds.

    A line that cannot be written, as on a full disk, is kept and tried again with the next: no step is lost for it.
    """

    def __init__(self, run_dir: Path, last_step: int, tracker: Tracker) -> None:
        """Open the log; lines after ``last_step`` are dropped, since the steps will be taken again. ``tracker`` writes
        the same records for another reader.

        Raises:
            UserError: the log is not the one that was written.
        """
        self.path, self.tracker = run_dir / manifest.METRICS, tracker
        records = records_in(manifest.read_metrics(run_dir))
        kept = b"".join(line + b"\n" for line, record in records if record["step"] <= last_step)
        self._digest, self._bytes = hashlib.sha256(kept), len(kept)
        # In this order the file never has less than the manifest vouches for, whenever the process is killed.
        manifest.update(run_dir, metrics=self._vouched_for())
        replace_run_file(self.path, kept)
        with naming(self.path):
            self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115  (closed by close)
        self._unwritten = b""
        self._failure: OSError | None = None

    def write(self, record: dict[str, Any]) -> None:
        """Append a record; a figure that is not finite is written as null, since JSON has no NaN."""
        finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
        self._unwritten += json.dumps(finite, allow_nan=False).encode() + b"\n"
        self._flush()
        self.tracker.write(finite)

    def sync(self) -> dict[str, Any]:
        """Make what is written durable; the manifest's entry for it."""
        self._flush()
        with naming(self.path):
            os.fsync(self._file.fileno())
        return self._vouched_for()

    def close(self) -> None:
        """UserError if lines are left that could not be written."""
        self._flush()
        self._file.close()
        self.tracker.close()
        if self._unwritten:
            lost = counted(self._unwritten.count(10), "line", "are lost")
            reason = self._failure.strerror if self._failure else "cut short"
            raise UserError(f"{self.path}: {reason}; its last {lost}, nothing else")

    def _flush(self) -> None:
        try:
            while self._unwritten:
                count = self._file.write(self._unwritten)
                self._digest.update(self._unwritten[:count])
                self._bytes += count
                self._unwritten = self._unwritten[count:]
        except OSError as error:
            if self._failure is None:
                say(f"{self.path}: {error.strerror}; the training goes on, and its lines are written when they can be")
            self._failure = error

    def _vouched_for(self) -> dict[str, Any]:
        return {"bytes": self._bytes, "sha256": self._digest.hexdigest()}
