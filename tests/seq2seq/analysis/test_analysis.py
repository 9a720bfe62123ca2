"""What a model gets wrong is counted right, and the pages escape everything and ask for nothing."""

from __future__ import annotations

import contextlib
import html.parser
import io
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from minigrad import Tensor, no_grad
from seq2seq import Translator, metrics
from seq2seq import train as train_command
from seq2seq.analysis import gates, report, sentences, tracing, words
from seq2seq.decoding.scorers import encode
from seq2seq.metrics.sacre import ChrF
from seq2seq.pages import html as pages
from seq2seq.pages import svg
from seq2seq.text.vocabulary import EOS_ID, SOS_ID, Vocabulary

EVIL = "<script>alert(1)</script> & \"'"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, reversed_digits, options) -> Path:
    """Runs with and without attention that have learned a little, on text that must be escaped."""
    root = tmp_path_factory.mktemp("analysis")
    corpus, test = root / "digits.tsv", root / "test.tsv"
    corpus.write_text("".join(f"{src} <b>\t<b> {trg}\n" for src, trg in reversed_digits(70)))
    test.write_text("".join(f"{src} <b> {EVIL}\t<b> {trg} {EVIL}\n" for src, trg in reversed_digits(40, seed=3)))
    with contextlib.redirect_stdout(io.StringIO()):
        for name, decoder in (("plain", "lstm"), ("attentive", "attention")):
            words = [*options(corpus, root / name), "--epochs", "4", "--decoder", decoder, "--samples", "0"]
            assert train_command.main(words) == 0
    return root


class Checker(html.parser.HTMLParser):
    """Refuses what a page may not hold."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "img", "iframe", "object", "b", "a")
        assert not [name for name, _ in attrs if name.startswith("on") or name in ("src", "href")]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag != "meta":
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def checked(page: bytes) -> str:
    """The text of a page that is whole and asks for nothing."""
    checker = Checker()
    text = page.decode("utf-8")
    assert "default-src 'none'" in text
    body = text.replace("<b>", "").partition("<body>")[2]  # the tag that the tests' text holds would be an error
    assert "<script" not in body
    checker.feed(text)
    checker.close()
    assert checker.open == []
    return checker.text


# --- pages ------------------------------------------------------------------------------------------------------------
def test_everything_is_escaped() -> None:
    page = pages.page(EVIL, pages.tag("p", EVIL, title=EVIL), pages.table((EVIL,), [(EVIL,)]), svg.text(0, 0, EVIL))
    assert checked(page).count(EVIL) == 6  # the title twice
    assert page.count(b"<script") == 0
    assert pages.joined([pages.tag("i", "x"), "<"]) == "<i>x</i>&lt;"
    assert b"\\ud800" in pages.page("a\ud800")


@pytest.mark.parametrize(
    "bad",
    ["<script>1</script>", '<img src="x"/>', '<p onclick="x">y</p>', '<a href="x">y</a>', "<p>", "<p><i></p></i>"],
)
def test_the_check_of_pages_can_fail(bad) -> None:
    checked(pages.page("good"))
    with pytest.raises(AssertionError):
        checked(pages.page("bad", pages.Markup(bad)))


def test_drawings_are_whole() -> None:
    weights = np.array([[0.25, 1.5, 0.0]])
    drawn = svg.heat_map([EVIL], ["a", "b", "<"], weights)
    assert [float(one) for one in re.findall(r'fill-opacity="([\d.]+)"', drawn)] == [0.25, 1.0, 0.0]
    bars = svg.bars(["x", "y"], {"BLEU": [50.0, math.nan], "<": [100.0, 25.0]})
    heights = [float(one) for one in re.findall(r'width="[\d.]+" height="([\d.]+)" fill', bars)]
    assert sorted(heights) == [10.0, 10.0, 35.0, 70.0, 140.0]  # two of the legend
    line = svg.lines(["a", "b"], {"gate": [0.0, 1.0]})
    assert "60.0,134.0 104.0,24.0" in line
    checked(pages.page("drawings", drawn, bars, line, svg.bars([], {})))


# --- sentences and words ----------------------------------------------------------------------------------------------
def test_signatures_may_go_on_in_another_line() -> None:
    assert pages.breakable("nrefs:1|<b>|tok:13a", "|") == "nrefs:1|<wbr/>&lt;b&gt;|<wbr/>tok:13a"
    assert pages.breakable("", "|") == ""


def test_a_legend_has_room() -> None:
    """Names of runs are paths, and there may be a single pair of bars."""
    drawn = svg.bars(["2"], {"runs/long-name-of-a-run": [18.0], "runs/another-one": [4.0]})
    width = float(re.findall(r'width="(\d+)" height="\d+" role', drawn)[0])
    first, second = (float(x) for x in re.findall(r'<text x="([\d.]+)" y="13.0"', drawn))
    assert first + svg.LETTER * len("runs/long-name-of-a-run") < second
    assert second + svg.LETTER * len("runs/another-one") < width


def test_missing_invented_and_repeated_words() -> None:
    references = ["the cat sat on the mat .", "a cat sat ."]
    assert sentences.compared("the the the cat cat ran .", references, str.split) == (
        ("sat", "on", "mat"), ("the", "cat", "ran"), ("the", "cat"),
    )  # fmt: skip
    assert sentences.compared("A Cat sat .", references, str.split, lowercase=True) == ((), (), ())
    assert sentences.compared("", ["x y"], str.split) == (("x", "y"), (), ())


def test_scores_of_sentences_are_those_of_sacrebleu() -> None:
    import sacrebleu

    hypotheses, references = ["a b c d e", "a b", ""], [("a b c x e", "b"), ("a b",), ("q",)]
    found = sentences.judged(["s1", "s2", "s3"], references, hypotheses, str.split, "en", log_probs=[-1.0, math.nan, 0])
    for each, hypothesis, refs in zip(found, hypotheses, references, strict=True):
        assert each.bleu == pytest.approx(sacrebleu.sentence_bleu(hypothesis, list(refs)).score)
        assert each.chrf == pytest.approx(sacrebleu.sentence_chrf(hypothesis, list(refs)).score)
    assert [each.log_prob for each in found] == [-1.0, None, 0.0]
    assert ChrF().score(hypotheses[:1], references[:1]).value == pytest.approx(found[0].chrf)
    assert [each.number for each in report.worst(found)] == [3, 1, 2]


def test_words_by_rank() -> None:
    vocabulary = Vocabulary([f"w{number}" for number in range(1, 1200)])
    shares = words.by_rank(
        [["w1", "w1", "w100", "w101"], ["w1001", "new", "<unk>"]], [["w1", "w101", "w1"], ["new", "new"]], vocabulary
    )
    assert [tuple(share) for share in shares] == [
        ("1 to 100", 3, 2), ("101 to 1,000", 1, 1), ("1,001 to 5,000", 1, 0), ("unknown", 2, 1),
    ]  # fmt: skip
    assert words.commonest([["b", "a"], ["a"], ["c"]], 2) == [("a", 2), ("b", 1)]


# --- evaluate ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["plain", "attentive"])
def test_files_and_page_of_evaluate(root, run, tmp_path, name) -> None:
    out, page = tmp_path / "new" / "out", tmp_path / "page.html"
    test = ["--test", root / "test.tsv", "--beam-size", 3]
    result = run("evaluate", root / name, *test, "--output", out, "--html", page)
    assert result.code == 0, result.err
    assert result == run("evaluate", root / name, *test)
    lines = {path.name: path.read_text().splitlines() for path in out.iterdir()}
    pairs = [line.split("\t") for line in (root / "test.tsv").read_text().splitlines()]
    assert lines["sources.txt"] == [src for src, _ in pairs]
    assert lines["references.txt"] == [trg for _, trg in pairs]
    translator = Translator.load(root / name)
    assert lines["hypotheses.txt"] == translator.translate([src for src, _ in pairs], 3)
    records = [json.loads(line) for line in lines["sentences.jsonl"]]
    assert [record["hypothesis"] for record in records] == lines["hypotheses.txt"]
    assert records[0]["unknown"] == [word for word in pairs[0][0].split() if word not in "0123456789<b>"]
    expected = [each.log_prob for (each,) in translator.search([src for src, _ in pairs], 3)]
    assert [record["log_prob"] for record in records] == pytest.approx(expected)
    head, *rows = (line.split("\t") for line in lines["sentences.tsv"])
    assert head == list(records[0])
    assert [row[0] for row in rows] == [str(number + 1) for number in range(len(pairs))]
    text = checked(page.read_bytes())
    assert EVIL.split()[0] in text
    worst = min(records, key=lambda record: record["chrf"])
    assert f"sentence {worst['number']}: chrF {worst['chrf']:.1f}" in text
    assert ("fill-opacity" in page.read_text()) == (name == "attentive" and bool(lines["hypotheses.txt"]))


def test_where_evaluate_writes(root, refused, tmp_path) -> None:
    (tmp_path / "file").write_text("x")
    words = ["evaluate", root / "plain", "--test", root / "test.tsv", "--output"]
    refused(f"output {tmp_path}/file: no folder; expected a folder to write to", *words, tmp_path / "file")
    refused(f"output {root}/plain: is the folder of a run", *words, root / "plain")
    refused("html ", *words[:-1], "--html", tmp_path / "none" / "page.html")


# --- compare ----------------------------------------------------------------------------------------------------------
def test_two_systems_side_by_side(root, run, tmp_path) -> None:
    page, figures = tmp_path / "page.html", tmp_path / "figures.json"
    more = ["--test", root / "test.tsv", "--resamples", 50, "--html", page, "--json", figures]
    result = run("compare", root / "plain", root / "attentive", *more)
    assert result.code == 0, result.err
    text = checked(page.read_bytes())
    row = json.loads(figures.read_text())["metrics"]["chrf"]
    for value in (row["first"], row["second"], row["difference"]):
        assert f"{value:.3f}" in text
    assert f"Where {root}/attentive is better, by chrF" in text
    theirs, references = tmp_path / "theirs.txt", tmp_path / "references.txt"
    theirs.write_text(f"{EVIL}\na b\n")
    references.write_text("a b c d\na b\n")
    more = ["--references", references, "--resamples", 10, "--html", page]
    assert run("compare", theirs, theirs, *more).code == 0
    assert "(again)" in checked(page.read_bytes())


# --- translate --explain ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("name", "beam"), [("plain", 3), ("plain", 1), ("attentive", 3)])
def test_a_translation_is_explained(root, run, tmp_path, name, beam) -> None:
    source, page = tmp_path / "source.txt", tmp_path / "page.html"
    source.write_text(f"1 2 3 <b>\n\n{EVIL} 4 5\n")
    words = ["translate", root / name, "--input", source, "--beam-size", beam]
    result = run(*words, "--explain", page)
    assert result.code == 0, result.err
    assert result == run(*words)
    text = checked(page.read_bytes())
    assert "An empty sentence is translated by nothing." in text
    assert ("The beam:" in text) == (beam > 1)
    assert ("No attention" in text) == (name == "plain")
    assert "Gates of the decoder, layer 2" in text
    assert "Gates of the encoder, layer 2" in text
    assert EVIL in text


def test_too_many_sentences_for_a_page(root, run, tmp_path) -> None:
    source = tmp_path / "source.txt"
    source.write_text("1 2\n" * 21)
    result = run("translate", root / "plain", "--input", source, "--explain", tmp_path / "page.html")
    assert result.err == "error: explain: there are 21 sentences; expected 20 at most on a page\n"
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("name", ["plain", "attentive"])
def test_a_trace_is_that_of_the_search(root, name) -> None:
    """The probabilities along the path of a hypothesis multiply to its own, and the search finds the same."""
    translator = Translator.load(root / name)
    traced = tracing.TracingTranslator(translator)
    for sentence in ("1 2 3 <b>", "9 9 8 7 6", "5"):
        asked = {"beam_size": 4, "n_best": 4, "length_penalty": 0.7}
        found = traced.search([sentence], **asked)[0]
        expected = translator.search([sentence], **asked)[0]
        assert [each.ids for each in found] == [each.ids for each in expected]
        trace = traced.trace
        path = tracing.path_of(trace, found[0].ids)
        nodes = [trace.steps[step][row] for step, row in path]
        assert [node.token for node in nodes] == [SOS_ID, *found[0].ids]
        last = dict(trace.likely[path[-1]])
        log_prob = sum(math.log(node.probability) for node in nodes) + math.log(last.get(EOS_ID, math.nan))
        if EOS_ID in last:
            assert log_prob == pytest.approx(found[0].log_prob, rel=1e-4)
    assert tracing.path_of(trace, (10**6,)) == [(0, 0)]  # as far as it goes


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_gates_are_those_of_the_layers(tiny_model, cell) -> None:
    """The recurrence that shows the gates ends in the states of the layers themselves."""
    parts = {"lstm": {"encoder": "lstm", "decoder": "lstm"}, "gru": {"encoder": "gru", "decoder": "gru-context"}}[cell]
    model = tiny_model(**parts, **({"num_layers": 1} if cell == "gru" else {})).eval()
    item = [5, 7, 4, 9]
    inputs, _ = model.source.collate([item])
    found, states = gates._of_part(model.encoder, "encoder", inputs[:, 0], None)
    embedded = model.encoder.embedding(Tensor(inputs))
    with no_grad():
        end = model.encoder.rnn(embedded)[1]
    h = end[0] if cell == "lstm" else end
    for layer in range(model.encoder.rnn.num_layers):
        np.testing.assert_allclose(states[layer][0], h.detach().numpy()[layer, 0], rtol=1e-4, atol=1e-6)
        assert [len(gate) for gate in found[layer].series.values()] == [6] * len(found[layer].series)
        assert all(0 < value < 1 for gate in found[layer].series.values() for value in gate)
    encoder, decoder = gates.gates_of(model, item, [4, 5])
    assert [each.layer for each in encoder] == [each.layer for each in found]
    assert bool(decoder) == (cell == "lstm")
    if decoder:  # those of a step by the layer itself: its forget gate decides what is left of c
        state = model.start(encode(model, [item], False))
        tokens = Tensor(np.array([[SOS_ID], [4], [5]]))
        with no_grad():
            _, (h, _) = model.decoder.rnn(model.decoder.embedding(tokens), state)
        last = gates._of_part(model.decoder, "decoder", np.array([SOS_ID, 4, 5]), gates._of_layers(state, 2))[1]
        np.testing.assert_allclose(np.array([end[0] for end in last]), h.numpy()[:, 0], rtol=1e-4, atol=1e-6)


def test_bleu_of_a_sentence_needs_no_four_words() -> None:
    (found,) = sentences.judged(["s"], [("a b",)], ["a b"], str.split, "en")
    assert found.bleu == pytest.approx(100)
    assert math.isnan(metrics.bleu(["a b"], [("a b",)], False, language="en").value)
