"""A run of all questions to a GPU, in the simulator: every part runs, and what is cut off leaves what it has found."""

from __future__ import annotations

import importlib.util
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
PARTS = {"environment", "layout", "device_tests", "ceilings", "lstm", "training_step", "decoding", "ablations"}

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
    ended = run(str(tmp_path), "--small")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["answers.tar.gz"]
    files = unpacked(tmp_path)
    assert files.keys() >= {f"{name}.{kind}" for name in PARTS for kind in ("json", "log")}
    found = {name: json.loads(files[f"{name}.json"]) for name in PARTS}
    assert {name: result["status"] for name, result in found.items()} == dict.fromkeys(PARTS, "complete")
    wrong = [row for result in found.values() for row in result["rows"] if row.get("wrong") or "error" in row]
    assert wrong == []
    assert found["device_tests"]["summary"]["outcomes"]["passed"] > 5
    for name in PARTS - {"device_tests"}:
        assert found[name]["rows"], name
    left_out = {name for result in found.values() for row in result["rows"] for name in row.get("left_out", {})}
    assert left_out <= {f"minigrad-graph{end}" for end in ("", "-bf16", "-tf32")}  # tiny layers: a launch for each step
    assert "11 passed" in files["device_tests.pytest.txt"]
    report = files["report.md"]
    assert "as believed" in report
    assert all(f"## {name}\n" in report for name in PARTS)
    if found["lstm"]["simulated"]:
        assert "Times mean nothing" in report
    if importlib.util.find_spec("torch"):
        races = [row["forward+backward"] for row in found["lstm"]["rows"]]
        races += [row for row in (*found["training_step"]["rows"], *found["decoding"]["rows"]) if "rounds" in row]
        assert len(races) > 8
        ratios = [dict(item for of in race["ratios"].values() for item in of.items()) for race in races]
        assert all(min(ratio["median"] for ratio in of.values()) > 0 for of in ratios)
        assert all(any(name.startswith("pytorch") for name in of) for of in ratios)
        assert "not measured" in report  # no small size is that of a goal


@needs_tools
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "usage: "),
        (["out", "--parts", "lstm everything"], "no part everything"),
        (["out", "--fast"], "usage: "),
        (["out", "--parts", "lstm:soon"], "--parts has lstm:soon; expected seconds behind the colon, as in lstm:20"),
        (["out", "--parts", "lstmlayout:5"], "no part lstmlayout; there are, with seconds: layout:"),
    ],
)
def test_wrong_arguments_are_refused(arguments: list[str], message: str) -> None:
    ended = run(*arguments)
    assert ended.returncode == 2
    assert ended.stderr.startswith(message)


@needs_tools
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("parts", [0, 1, 3])
def test_a_run_that_is_cut_off_leaves_what_it_has_found(number: signal.Signals, parts: int, tmp_path: Path) -> None:
    """Cut off a moment after so many parts have begun."""
    command = ["bash", str(RUN), str(tmp_path), "--small", "--parts", "environment layout:9 ceilings layout", "--total"]
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
            kept = [json.loads(text) for file, text in files.items() if file in (f"{name}.json", f"{name}-1.json")]
            assert any(found["status"] == "complete" and found["rows"] for found in kept), name
            assert f"{name}.log" in files
    if number == signal.SIGTERM and begun:
        assert f"{begun[-1]}.log" in unpacked(tmp_path)  # that of the part which was ended


@pytest.mark.parametrize("seed", range(8))
def test_an_archive_is_whole_at_every_moment(seed: int, tmp_path: Path) -> None:
    """Files come one after the other; each is said to be there when it is in the archive."""
    program = (
        "import pathlib, sys; from gpu.archive import Archive\n"
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
        gpu("archive").Archive(tmp_path / "out", work).refresh()
    found = [unpacked(tmp_path / "out", f"answers{end}.tar.gz") for end in ("", "-2", "-3")]
    assert found == [{"layout.json": str(count)} for count in (1, 2, 3)]


def test_plans(gpu: Any) -> None:
    run = gpu("run")
    assert [tuple(visit) for visit in run.visits("lstm:7.5 layout")] == [("lstm", 7.5), ("layout", 15.0)]
    plan = run.visits(run.PLAN)
    assert [tuple(visit) for visit in plan[:4]] == [
        ("layout", 15), ("ceilings", 20), ("lstm", 70), ("ablations", 50),
    ]  # fmt: skip
    assert {visit.part for visit in plan} == PARTS
    assert sum(visit.seconds for visit in plan) + run.GRACE <= run.TOTAL


class Around:
    """Takes the place of the processes of parts."""

    def __init__(self, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, total: float, wrong: str) -> None:
        self.asked: list[str] = []
        (tmp_path / "work").mkdir()
        (tmp_path / "work" / "layout.json").write_text(json.dumps({"rows": [{"what": "a tile", "wrong": wrong}]}))
        options = run.argparse.Namespace(out=tmp_path / "out", total=total, small=True, data_dir=None)
        self.run = run.Run(options, tmp_path / "work", {})
        monkeypatch.setattr(self.run, "process", self.process)

    def process(self, arguments: list[str], name: str, limit: float) -> int:
        self.asked.append(f"{name}:{float(arguments[4]):.0f}" if "--seconds" in arguments else name)
        return 0


@pytest.mark.parametrize(("wrong", "code"), [("", 0), ("not asked: no header", 0), ("a lane has another's value", 1)])
def test_a_wrong_layout_ends_the_run(
    wrong: str, code: int, gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    around = Around(gpu("run"), tmp_path, monkeypatch, 500, wrong)
    assert gpu("run").perform(around.run, gpu("run").visits("layout:5 lstm:6")) == code
    assert around.asked == ["layout:5", *([] if code else ["lstm:6"]), "report"]


def test_the_total_is_kept(gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    around = Around(gpu("run"), tmp_path, monkeypatch, 45, "")
    assert gpu("run").perform(around.run, gpu("run").visits("environment:12 lstm:100")) == 0
    assert around.asked == ["environment:12", "lstm:30", "report"]
    around.run._total = 19
    assert around.run.visit("lstm", 10.0)
    assert len(around.asked) == 3
