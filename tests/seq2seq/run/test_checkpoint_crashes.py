"""Whatever interrupts a save, a whole checkpoint is there; and loading one, good or hostile, runs no code."""

from __future__ import annotations

import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minigrad.serialization import from_bytes
from seq2seq.models.model import Seq2Seq
from seq2seq.run import checkpoint
from seq2seq.run.checkpoint import Progress

OLD, NEW = Progress(step=12, epoch=3, batch=2, best=1.25), Progress(step=13)


class FailingCalls:
    """Lets the OS calls of a save succeed, except the i-th, which reports a full disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failing: int) -> None:
        self.count, self.failing = 0, failing
        for name in ("open", "fsync", "chmod", "replace", "fdopen"):
            monkeypatch.setattr(os, name, self._counted(getattr(os, name), name))

    def _counted(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        def counted(*arguments: Any, **keywords: Any) -> Any:
            self._fail_if_due()
            result = call(*arguments, **keywords)
            if name == "fdopen":
                result = _FailingFile(result, self._fail_if_due)
            return result

        return counted

    def _fail_if_due(self) -> None:
        self.count += 1
        if self.count == self.failing:
            raise OSError(28, "No space left on device")


class _FailingFile:
    """A file whose writes and flushes can fail, half of the data written."""

    def __init__(self, file: Any, check: Callable[[], None]) -> None:
        self.file, self.check = file, check
        self.fileno = file.fileno

    def write(self, data: bytes) -> None:
        self.file.write(data[: len(data) // 2])
        self.check()
        self.file.write(data[len(data) // 2 :])

    def flush(self) -> None:
        self.check()
        self.file.flush()

    def __enter__(self) -> _FailingFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self.file.close()


def save_failing(path: Path, model: Seq2Seq, failing: int) -> tuple[bool, int]:
    """Save with the given call failing (from 1; 0 for none); whether that was reported, and the number of calls."""
    with pytest.MonkeyPatch.context() as patch:
        calls = FailingCalls(patch, failing)
        try:
            checkpoint.save(path, model, None, NEW, "fingerprint")
        except OSError:
            return True, calls.count
    return False, calls.count


def test_each_failing_call_of_a_save_leaves_the_old_checkpoint(trained, tiny_model, tmp_path) -> None:
    path, newer, reports = checkpoint.path_of(tmp_path, "last"), tiny_model(seed=5), []
    _, num_calls = save_failing(path, newer, 0)
    for failing in range(1, num_calls + 1):
        checkpoint.save(path, *trained, OLD, "fingerprint")
        reports.append(save_failing(path, newer, failing)[0])
        assert [entry.name for entry in path.parent.iterdir()] == [path.name]
        assert checkpoint.load(path, tiny_model(seed=6), None, "fingerprint") == (OLD if reports[-1] else NEW)
    # Folders are synced after the replacement, and not on every system: by then the new checkpoint stands.
    assert reports.count(True) >= 6
    assert reports == sorted(reports, reverse=True)


SAVER = """
import sys
from pathlib import Path
from seq2seq.run import checkpoint, config
from seq2seq.models.model import build_model
from minigrad import optim
model = build_model(200, 300, config.Config(hidden_size=64, embedding_size=32, num_layers=1))
optimizer = optim.Adam(model.parameters())
step = 0
while True:
    for parameter in model.parameters():
        parameter.array.fill(step)
    checkpoint.save(Path(sys.argv[1]), model, optimizer, checkpoint.Progress(step=step), "f")
    print(step, flush=True)
    step += 1
"""


@pytest.mark.timeout(3600)  # for many MINIGRAD_ROUNDS
def test_a_killed_process_leaves_a_whole_checkpoint(tmp_path, rounds) -> None:
    path, rng = checkpoint.path_of(tmp_path, "last"), random.Random(0)
    for _ in range(5 * rounds):
        child = subprocess.Popen([sys.executable, "-c", SAVER, path], stdout=subprocess.PIPE, text=True)
        assert child.stdout.readline() == "0\n"
        time.sleep(rng.uniform(0, 0.03))
        child.send_signal(signal.SIGKILL)
        acknowledged = [0, *map(int, child.communicate()[0].splitlines())][-1]
        content = from_bytes(path.read_bytes())
        step = content["progress"]["step"]
        assert step in (acknowledged, acknowledged + 1)
        assert all((tensor.array == step).all() for tensor in content["model"].values())


LOADER = """
import json, sys
from seq2seq.run.errors import UserError
from seq2seq.decoding.translator import Translator

Translator.load(sys.argv[1])  # imports what is imported late, so that only the loading itself is heard
events = []
def hook(name, arguments):
    watched = ("exec", "compile", "pickle.", "marshal.", "subprocess.", "os.system", "os.exec", "os.fork", "socket.")
    writes = name == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if name.startswith(watched) or writes:
        events.append([name, repr(arguments)[:200]])

sys.addaudithook(hook)
for folder in sys.argv[1:]:
    try:
        Translator.load(folder)
    except UserError as error:
        events.append(["refused", str(error)])
    else:
        events.append(["loaded", folder])
print(json.dumps(events))
"""


def test_loading_runs_no_code(train, tmp_path) -> None:
    good = train("run", "--epochs", 1)
    folders = [str(good)]
    hostile = {"pickle": pickle.dumps(print), "python": b"import os; os.abort()", "zip": b"PK\x03\x04" * 50}
    for name, content in hostile.items():
        folder = tmp_path / name
        (folder / "checkpoints").mkdir(parents=True)
        for file in ("config.json", "text.json"):
            (folder / file).write_bytes((good / file).read_bytes())
        checkpoint.path_of(folder, "best").write_bytes(content)
        folders.append(str(folder))
    result = subprocess.run([sys.executable, "-c", LOADER, *folders], capture_output=True, text=True, check=True)
    assert [kind for kind, _ in json.loads(result.stdout)] == ["loaded", "refused", "refused", "refused"]
