"""A run of all questions to a GPU, in the simulator: every part runs, and what is cut off leaves what it has found."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RUN = ROOT / "benchmarks" / "gpu" / "run.sh"
RACES = {"layers", "training_step", "decoding", "paper_scale"}
PARTS = {"layout", "ceilings", "ablations", "device_tests"} | RACES

needs_tools = pytest.mark.skipif(
    not (shutil.which("g++") and shutil.which("bash") and shutil.which("timeout")), reason="needs g++, bash and timeout"
)


def environment() -> dict[str, str]:
    """In which the script uses this Python, and nothing else of this process."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**kept, "PYTHON": sys.executable}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The script with this Python."""
    return subprocess.run(["bash", str(RUN), *arguments], capture_output=True, text=True, env=environment())


def unpacked(out: Path, name: str = "answers.tar.gz") -> dict[str, str]:
    """What the files of an archive hold; it is whole, or this raises."""
    with tarfile.open(out / name) as tar:
        return {member.name: tar.extractfile(member).read().decode() for member in tar}  # type: ignore[union-attr]


@needs_tools
def test_every_part_runs_small(tmp_path: Path) -> None:
    parts = " ".join(
        f"{name}:200" for name in sorted(PARTS, key=lambda name: name != "layout")
    )  # however slow it is here
    ended = run(str(tmp_path), "--small", "--total", "1600", "--parts", parts)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["answers.tar.gz"]
    files = unpacked(tmp_path)
    assert files.keys() >= {f"{name}.{kind}" for name in PARTS for kind in ("json", "log")}
    found = {name: json.loads(files[f"{name}.json"]) for name in PARTS}
    assert {name: result["status"] for name, result in found.items()} == dict.fromkeys(PARTS, "complete")
    rows = {
        name: next(result[key] for key in ("rows", "races", "ablations") if key in result)
        for name, result in found.items()
    }
    assert all(rows.values())
    has_torch = importlib.util.find_spec("torch") is not None
    faults = [row for of in rows.values() for row in of.values() if row.get("wrong") or "error" in row]
    excused = "" if has_torch else "RuntimeError: PyTorch is not installed"
    assert [row for row in faults if row.get("error") != excused] == []
    assert rows["device_tests"]["tests"]["passed"] == 11
    races = [row for name in RACES for row in rows[name].values() if "rounds" in row]
    left_out = {name for row in races for name in row["left_out"] if "bf16" not in name}  # PyTorch's: not everywhere
    left_out -= set() if has_torch else {name for name in left_out if name.startswith("pytorch")}
    assert left_out <= {"minigrad-graph", "minigrad-graph-tf32"}  # tiny layers: a launch for each step
    report = files["report.md"]
    assert all(f"## {name}\n" in report for name in PARTS)
    if found["layers"]["processor"]["name"] == "simulator":
        assert "Times mean nothing" in report
    if has_torch:
        assert len(races) > 8
        ratios = [dict(item for of in race["ratios"].values() for item in of.items()) for race in races]
        assert all(min((ratio["median"] for ratio in of.values()), default=1) > 0 for of in ratios)
        assert sum(any(name.startswith("pytorch") for name in of) for of in ratios) > 7


@needs_tools
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "usage: "),
        (["out", "--parts", "layers everything"], "no part everything"),
        (["out", "--fast"], "usage: "),
        (
            ["out", "--parts", "layers:soon"],
            "--parts has layers:soon; expected seconds behind the colon, as in layers:20",
        ),
        (["out", "--parts", "layerslayout:5"], "no part layerslayout; there are layout, ceilings, "),
    ],
)
def test_wrong_arguments_are_refused(arguments: list[str], message: str) -> None:
    ended = run(*arguments)
    assert ended.returncode == 2
    assert ended.stderr.startswith(message)


@needs_tools
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("parts", [0, 1, 2])
def test_a_run_that_is_cut_off_leaves_what_it_has_found(number: signal.Signals, parts: int, tmp_path: Path) -> None:
    """Cut off a moment after so many parts have begun."""
    command = ["bash", str(RUN), str(tmp_path), "--small", "--parts", "layout:9 ceilings", "--total"]
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen([*command, "300"], stdout=said, stderr=said, env=environment())
        while process.poll() is None and (tmp_path / "said").read_text().count("at most") < parts:
            time.sleep(0.02)
        time.sleep(0.3)
        process.send_signal(number)
        code = process.wait(30)
    lines = [line.split() for line in (tmp_path / "said").read_text().splitlines() if line.startswith("== ")]
    begun = [words[1].rstrip(",") for words in lines if "most" in words]
    done = {words[1] for words in lines if words[2:4] == ["is", "done"]}
    assert len(begun) >= parts
    assert code == (128 + number if number == signal.SIGTERM and begun else -number)
    if done or (number == signal.SIGTERM and begun):
        files = unpacked(tmp_path)
        for name in done:
            kept = json.loads(files[f"{name}.json"])
            assert (kept["status"], bool(kept["rows"])) == ("complete", True), name
            assert f"{name}.log" in files
    if number == signal.SIGTERM and begun:
        assert f"{begun[-1]}.log" in unpacked(tmp_path)  # that of the part which was ended


@pytest.mark.parametrize("seed", range(4))
def test_an_archive_is_whole_at_every_moment(seed: int, tmp_path: Path) -> None:
    """Files come one after the other; each is said to be there when it is in the archive."""
    program = (
        "import pathlib, sys; from gpu.run import Archive\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "(folder / 'work').mkdir()\n"
        "archive = Archive(folder / 'out', folder / 'work')\n"
        "for number in range(10**6):\n"
        "    (folder / 'work' / str(number % 50)).write_text(f'{number:06} ' * 3000)\n"
        "    archive.refresh()\n"
        "    print(number, flush=True)\n"
    )
    around = {**os.environ, "PYTHONPATH": str(ROOT / "benchmarks")}
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=said, env=around)
        time.sleep(0.4 + 0.037 * seed)
        process.kill()
        process.wait()
    said_numbers = (tmp_path / "said").read_text().split()
    files = unpacked(tmp_path / "out") if said_numbers else {}
    for number in map(int, said_numbers[-50:]):
        assert int(files[str(number % 50)].split()[0]) >= number


def test_another_run_leaves_the_archive_of_the_first(gpu: Any, tmp_path: Path) -> None:
    for count in (1, 2, 3):
        work = tmp_path / f"work{count}"
        work.mkdir()
        (work / "layout.json").write_text(str(count))
        (work / ".partial").write_text("not yet")
        gpu("gpu.run").Archive(tmp_path / "out", work).refresh()
    found = [unpacked(tmp_path / "out", f"answers{end}.tar.gz") for end in ("", "-2", "-3")]
    assert found == [{"layout.json": str(count)} for count in (1, 2, 3)]


def test_plans(gpu: Any) -> None:
    run = gpu("gpu.run")
    assert run.visits("layers:7.5 layout") == [("layers", 7.5), ("layout", 15.0)]
    assert set(run.NAMES) == PARTS
    assert sum(run.PLAN.values()) + run.GRACE <= run.TOTAL


class Around:
    """Takes the place of the processes of parts."""

    def __init__(
        self, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, total: float, wrong: str = ""
    ) -> None:
        self.asked: list[str] = []
        self.codes: list[int] = []
        (tmp_path / "work").mkdir()
        (tmp_path / "work" / "layout.json").write_text(json.dumps({"rows": {"a tile": {"wrong": wrong}}}))
        options = run.argparse.Namespace(out=tmp_path / "out", total=total, small=True, data_dir=None)
        self.run = run.Run(options, tmp_path / "work", {})
        monkeypatch.setattr(self.run, "process", self.process)

    def process(self, arguments: list[str], name: str, limit: float) -> int:
        given = dict(itertools.pairwise(arguments)).get("--seconds")
        self.asked.append(f"{name}:{float(given):.0f}" if given else name)
        return self.codes.pop(0) if self.codes else 0


@pytest.mark.parametrize(("wrong", "code"), [("", 0), ("a lane has another's value", 1)])
def test_a_wrong_layout_ends_the_run(
    wrong: str, code: int, gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    around = Around(gpu("gpu.run"), tmp_path, monkeypatch, 500, wrong)
    assert around.run.perform([("layout", 6.4), ("layers", 6)]) == code
    assert around.asked == ["layout:6", *([] if code else ["layers:12"]), "report"]


def test_the_total_is_kept_and_time_that_is_left_is_used(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    around = Around(gpu("gpu.run"), tmp_path, monkeypatch, 45)
    assert around.run.perform([("ceilings", 12.4), ("layers", 10), ("decoding", 100)]) == 0
    assert around.asked == ["ceilings:12", "layers:22", "decoding:30", "report"]
    around.run._options.total = 19
    assert around.run.visit("layers", 10.0)
    assert len(around.asked) == 4


def test_a_part_that_failed_goes_on_once(gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    around = Around(gpu("gpu.run"), tmp_path, monkeypatch, 500)
    around.codes = [1, 0, 1, 1]
    assert around.run.perform([("ceilings", 20.4), ("layers", 20)]) == 1
    assert around.asked == ["ceilings:20", "ceilings:20", "layers:40", "layers:40", "report"]
