"""What is drawn of runs: the right numbers at the right places, in files that ask for nothing."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from seq2seq import metrics
from seq2seq.analysis import lengths
from seq2seq.plots import curves, drawing, vectors
from seq2seq.run.errors import UserError

RECORDS = [
    {"step": 1, "epoch": 0, "loss": 4.0, "lr": 0.1, "seconds": 30.0},
    {"step": 2, "epoch": 0, "loss": 3.0, "lr": 0.1, "seconds": 30.0},
    {"step": 2, "epoch": 0, "val_loss": 3.5, "bleu": None, "seconds": 60.0},
    {"step": 3, "epoch": 1, "loss": 2.0, "lr": 0.05, "seconds": 30.0},
    {"step": 6, "epoch": 1, "loss": 1.0, "lr": 0.05, "seconds": 30.0},
    {"step": 6, "epoch": 1, "val_loss": 1.5, "bleu": 20.0, "seconds": 60.0},
]


@pytest.fixture(scope="module")
def folder(trained_run: Callable[..., Path]) -> Path:
    """A run with attention, hardly trained."""
    run = trained_run(70, "--epochs", 2, "--decoder", "attention")
    run.with_name("lines.txt").write_text("1 2 3\n\n4 $5 6 7\n9 9\n")
    return run


@pytest.fixture
def matplotlib():
    return pytest.importorskip("matplotlib")


def test_lines_of_curves() -> None:
    x, y = curves.line_of(RECORDS, "loss")
    assert (x.tolist(), y.tolist()) == ([1, 2, 3, 6], [4, 3, 2, 1])
    assert [part.tolist() for part in curves.line_of(RECORDS, "bleu", "minutes")] == [[4.0], [20.0]]
    assert curves.line_of(RECORDS, "val_loss", "epochs")[0].tolist() == [1, 2]
    assert curves.line_of(RECORDS, "lr", "epochs")[0].tolist() == [0.5, 1, 1.25, 2]
    with pytest.raises(UserError, match="has no step yet"):
        curves.line_of([], "loss")


def test_curves_of_many_points_are_means_of_neighbours() -> None:
    records = [{"step": step + 1, "epoch": 0, "loss": float(step % 2)} for step in range(1000)]
    x, y = curves.line_of(records, "loss")
    assert (len(x), np.abs(y - 0.5).max()) == (1000, pytest.approx(0, abs=0.101))
    assert curves.line_of(records, "loss")[1][500] == pytest.approx(np.mean([step % 2 for step in range(495, 505)]))


def test_principal_components_are_those_of_the_covariance() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 6)) @ np.diag([5.0, 3, 1, 1, 0.5, 0.1]) @ rng.normal(size=(6, 6)) + 7
    places, shares = vectors.components(x.astype(np.float32))
    values, directions = np.linalg.eigh(np.cov(x, rowvar=False))
    for number in range(2):
        expected = (x - x.mean(0)) @ directions[:, -1 - number]
        np.testing.assert_allclose(np.abs(places[:, number]), np.abs(expected), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(shares, values[::-1][:2] / values.sum(), rtol=1e-5)
    np.testing.assert_allclose(vectors.components(-x)[0], -places, atol=1e-4)
    assert vectors.components(np.ones((3, 4)))[1].tolist() == [0, 0]
    assert vectors.components(np.arange(2.0)[:, None])[0].tolist() == [[-0.5, 0], [0.5, 0]]
    with pytest.raises(UserError, match="there are 1; expected two sentences"):
        vectors.components(np.ones((1, 4)))


def test_every_length_is_in_one_bucket() -> None:
    rng = np.random.default_rng(1)
    for count in (1, 9, 25, 400):
        found = rng.integers(1, 60, count)
        ranges = lengths.buckets(found)
        assert sum(int(((found >= low) & (found <= high)).sum()) for low, high in ranges) == count
        assert all(before[1] < after[0] for before, after in itertools.pairwise(ranges))
        assert count < 80 or min(int(((found >= low) & (found <= high)).sum()) for low, high in ranges) > 20


def test_bleu_of_a_bucket_is_that_of_its_sentences() -> None:
    right, wrong = "a b c d e f", "a b c d x y"
    found = lengths.Scored(np.array([2, 2, 9, 9]), [right, right, right, wrong], [(right,)] * 4, "en", False)
    scores = lengths.by_length(found, [(1, 5), (6, 9), (10, 12)])
    assert [count for count, _ in scores] == [2, 2, 0]
    assert scores[0][1] == pytest.approx(100)
    assert scores[1][1] == pytest.approx(metrics.bleu([right, wrong], [(right,)] * 2, False, language="en").value)
    assert math.isnan(scores[2][1])


@pytest.mark.parametrize("form", drawing.FORMS)
@pytest.mark.parametrize(
    "what",
    [[], ["--attention", "lines.txt", "--min-output-length", "3"], ["--lengths"], ["--vectors", "lines.txt"]],
    ids=str,
)
def test_what_is_drawn_is_written(matplotlib, run, folder, tmp_path, what, form) -> None:
    if form != ".html" and what:
        pytest.skip("one form of each is enough")
    output = tmp_path / f"page{form}"
    words = [folder.parent / word if word.endswith(".txt") else word for word in what]
    result = run("plot", folder, *words, "--output", output)
    assert result == (0, "", "")
    data = output.read_bytes()
    if form == ".png":
        assert data.startswith(b"\x89PNG")
        return
    text = data.decode()
    assert "<svg" in text
    text = re.sub(r'xmlns:?\w*="[^"]*"|href="(?:#|data:image/png;)', "", text)
    assert not re.search(r"""(?:src|href)=|url\((?!#)|@import|<script""", text)
    again = tmp_path / f"again{form}"
    assert run("plot", folder, *words, "--output", again).code == 0
    assert again.read_bytes() == data


def test_attention_to_sources_without_words(matplotlib, run, tmp_path) -> None:
    """Positions are shown by their numbers: on the map, and on the pages of both commands."""
    frames, texts, output = tmp_path / "frames.npz", tmp_path / "texts.en", tmp_path / "map.svg"
    rng = np.random.default_rng(2)
    np.savez(frames, rows=rng.random((48, 3), np.float32), lengths=np.full(12, 4))
    texts.write_text("".join(f"{number} one two\n" for number in range(12)))
    data = f"{frames},{texts}"
    words = ["--source", "frames", "--encoder", "bilstm", "--decoder", "attention", "--trg-tokenizer", "space"]
    sizes = ["--embedding-size", 8, "--hidden-size", 8, "--min-freq", 1, "--max-steps", 1, "--samples", 0]
    folder = tmp_path / "run"
    assert run("train", "--data", data, "--valid", data, *words, *sizes, "--run-dir", folder).code == 0
    asked = ["--min-output-length", "3"]
    assert run("plot", folder, "--attention", frames, *asked, "--output", output) == (0, "", "")
    page, scores = tmp_path / "explained.html", tmp_path / "scores.html"
    assert run("translate", folder, "--input", frames, *asked, "--explain", page).code == 0
    assert run("evaluate", folder, "--split", "valid", "--html", scores).code == 0
    assert "Attention: what each token looked at" in page.read_text()
    assert "No attention" not in page.read_text()


def test_several_runs_on_one_page(matplotlib, run, folder, tmp_path) -> None:
    output = tmp_path / "page.svg"
    assert run("plot", folder, f"{folder}/.", "--over", "minutes", "--output", output).code == 0
    assert output.read_text().count(str(folder)) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "output is missing; expected --output FILE.png, .svg or .html"),
        (["--output", "x.pdf"], "output is 'x.pdf'; expected a name that ends in .png, .svg, .html"),
        (["--output", "x.png", "--over", "days"], "over is 'days'; expected steps, epochs, minutes"),
        (["--output", "x.png", "--lengths", "--vectors", "y"], "lengths and vectors are given; expected one of them"),
    ],
)
def test_bad_options(matplotlib, refused, folder, monkeypatch, tmp_path, words, message) -> None:
    monkeypatch.chdir(tmp_path)
    refused(message, "plot", folder, *words)


@pytest.mark.parametrize("option", ["--attention", "--vectors"])
def test_what_is_read_is_not_written_over(matplotlib, refused, folder, tmp_path, option) -> None:
    lines = tmp_path / "lines.svg"
    lines.write_text("1 2 3\n")
    refused(f"output {lines}: is a file that is read", "plot", folder, option, lines, "--output", lines)
    assert lines.read_text() == "1 2 3\n"


def test_what_is_no_run_has_no_curves(matplotlib, refused, tmp_path) -> None:
    model = tmp_path / "model.seq2seq"
    model.write_bytes(b"x")
    for path in (model, tmp_path / "nothing", tmp_path):
        with pytest.raises(UserError, match=r"config\.json: .*; expected the folder of a training run$"):
            curves.history_of(path)
    refused(f"{model / 'config.json'}: ", "plot", model, "--output", tmp_path / "x.png")


def test_without_matplotlib_a_line_says_how_to_get_it(refused, folder, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(drawing, "find_spec", lambda name: None)
    message = f"plot: Matplotlib is not installed; {drawing.INSTALL_PLOT}"
    refused(message, "plot", folder, "--output", tmp_path / "x.png")


@pytest.mark.parametrize(("form", "lines"), [(".png", 1), (".svg", 0), (".html", 0)])
def test_characters_that_the_font_lacks_are_told_once(matplotlib, capsys, recwarn, form, lines) -> None:
    figure, (axes,) = drawing.new_figure(1, 1)
    axes.set_title("\u65e5\u672c\t\u8a9e")
    assert drawing.as_bytes(figure, form, "t")
    assert capsys.readouterr().out.count("note: Matplotlib's font lacks some characters") == lines
    assert not recwarn.list
