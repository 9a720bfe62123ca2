"""Loaders with worker processes, as a script has them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("with_workers.py")
ROOT = Path(__file__).parents[3]


def run(case: str) -> Any:
    result = subprocess.run(
        [sys.executable, SCRIPT, case], capture_output=True, text=True, timeout=240, cwd=ROOT, env=environment()
    )
    assert result.returncode == 0, result.stderr
    # Python's own tracker of semaphores warns where a process ends between giving one back and saying so.
    told = [line for line in result.stderr.splitlines() if "resource_tracker" not in line]
    assert told == []
    return json.loads(result.stdout)[case]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def test_batches_are_the_same_with_workers_and_without() -> None:
    here, in_workers = run("same_batches")
    assert here == in_workers
    first, second, _, third, _ = here
    assert [len(batch[1]) for batch in first] == [3, 3, 3, 2]
    assert sorted(name for batch in first for name in batch[1]) == sorted(f"item {i}" for i in range(11))
    assert first != second != third


def test_workers_take_turns_and_keep_their_random_numbers() -> None:
    first, second = run("processes")
    assert [item[:3] for item in first] == [[0, 2, 6], [1, 2, 6]] * 3
    drawn = [item[4] for item in [*first, *second]]
    assert len(set(drawn)) == 12
    assert first[0][3] != 0, "worker_init_fn seeds after the loader"


def test_a_stream_ends_worker_by_worker() -> None:
    batches, full, single = run("stream")
    ends = {0: 7, 1: 2, 2: 4}
    shares = {
        worker: [list(item) for item in zip([worker] * end, range(end), strict=True)] for worker, end in ends.items()
    }
    for worker, items in shares.items():
        assert [item for batch in batches for item in batch if item[0] == worker] == items
        assert [item for item in single if item[0] == worker] == items
        assert [item for batch in full for item in batch if item[0] == worker] == items[: len(items) // 2 * 2]
    assert [batch[0][0] for batch in batches] == [0, 1, 2, 0, 2, 0, 0]


def test_what_goes_wrong_in_a_worker_is_told_in_one_line() -> None:
    found = run("errors")
    line = next(i for i, text in enumerate(SCRIPT.read_text().splitlines(), 1) if "no item" in text)
    expected = {
        "item": (2, "KeyError", f"DataLoader: worker 0: KeyError: 'no item 5' (with_workers.py, line {line})"),
        "collate": (0, "KeyError", "DataLoader: worker 0: KeyError: 'name' (with_workers.py, line "),
        "start": (0, "ValueError", "DataLoader: worker 0: ValueError: not today (with_workers.py, line "),
        "killed": (0, "RuntimeError", "DataLoader: worker 0 ended unasked, by signal 9"),
        "slow": (0, "RuntimeError", "DataLoader: worker 0 gave no batch within timeout=0.5 seconds"),
        "own error": (0, "RuntimeError", "DataLoader: worker 0: StrangeError: 1 and (with_workers.py, line "),
        "result": (0, None, "DataLoader: worker 0: "),
        "lambda": (0, "TypeError", "DataLoader: collate_fn cannot be sent to worker processes: "),
        "data set": (0, "TypeError", "DataLoader: dataset cannot be sent to worker processes: it holds an open file; "),
    }
    assert set(found) == set(expected)
    for name, (batches, kind, text) in expected.items():
        assert found[name][0] == batches, name
        assert kind is None or found[name][1] == kind, found[name]
        assert text in found[name][2], found[name]
        assert "\n" not in found[name][2]


def test_a_script_without_a_main_guard_is_told_what_is_missing(tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(
        "import minigrad as torch\nfrom minigrad.utils.data import DataLoader, TensorDataset\n"
        "list(DataLoader(TensorDataset(torch.ones(3)), num_workers=1))\n"
    )
    result = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, env=environment())
    assert result.returncode == 1
    assert 'own work below if __name__ == "__main__":' in result.stderr.splitlines()[-1]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_no_worker_outlives_the_loaders_process(tmp_path: Path) -> None:
    """Killed, it cannot say good-bye."""
    script = tmp_path / "endless.py"
    script.write_text(
        "import minigrad as torch\nfrom minigrad.utils.data import DataLoader, TensorDataset\n"
        "import multiprocessing, time\n"
        "if __name__ == '__main__':\n"
        "    iterator = iter(DataLoader(TensorDataset(torch.ones(100)), num_workers=1))\n"
        "    next(iterator)\n"
        "    print(multiprocessing.active_children()[0].pid, flush=True)\n"
        "    time.sleep(100)\n"
    )
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment())
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + 60
    while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not Path(f"/proc/{worker}/cmdline").exists() or not Path(f"/proc/{worker}/cmdline").read_bytes()
