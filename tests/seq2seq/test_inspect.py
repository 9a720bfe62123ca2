"""The data doctor: it finds each fault that is planted, and says nothing of clean data."""

from __future__ import annotations

import itertools
import json
import random
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from seq2seq.inspection import languages
from seq2seq.inspection.alignment import slips
from seq2seq.inspection.contract import Corpus, Item, check, checks, examine
from seq2seq.inspection.figures import figures
from seq2seq.inspection.suggestions import suggestions
from seq2seq.sources.numbers import load_numbers

Pairs = list[tuple[str, str]]
# Sentences of five parts, in the order that all of these languages may have.
PARTS = {
    "en": [
        "the teacher|my neighbour|a young child|the old woman|our driver|the doctor from the village",
        "buys|carries|sees|wants|sells|finds",
        "fresh bread|a red book|the broken bicycle|some warm soup|a small dog",
        "in the small town|near the river|behind the station|at the market|on the way to the school", "at {} o'clock",
    ],
    "de": [
        "der Lehrer|mein Nachbar|ein junges Kind|die alte Frau|unser Fahrer|der Arzt aus dem Dorf",
        "kauft|trägt|sieht|möchte|verkauft|findet",
        "frisches Brot|ein rotes Buch|das kaputte Fahrrad|etwas warme Suppe|einen kleinen Hund",
        "in der kleinen Stadt|am Fluss|hinter dem Bahnhof|auf dem Markt|auf dem Weg zur Schule", "um {} Uhr",
    ],
    "es": [
        "el maestro|mi vecino|un niño pequeño|la mujer mayor|nuestro conductor|el médico del pueblo",
        "compra|lleva|ve|quiere|vende|encuentra",
        "pan fresco|un libro rojo|la bicicleta rota|un poco de sopa caliente|un perro pequeño",
        "en la ciudad pequeña|cerca del río|detrás de la estación|en el mercado|de camino a la escuela",
        "a las {} horas",
    ],
    "fr": [
        "le professeur|mon voisin|un jeune enfant|la vieille dame|notre chauffeur|le médecin du village",
        "achète|porte|voit|veut|vend|trouve",
        "du pain frais|un livre rouge|le vélo cassé|un peu de soupe chaude|un petit chien",
        "dans la petite ville|près de la rivière|derrière la gare|au marché|sur le chemin de l'école", "à {} heures",
    ],
    "ru": [
        "учитель|мой сосед|маленький ребёнок|старая женщина|наш водитель|врач из деревни",
        "покупает|несёт|видит|хочет|продаёт|находит",
        "свежий хлеб|красную книгу|сломанный велосипед|тёплый суп|маленькую собаку",
        "в маленьком городе|у реки|за вокзалом|на рынке|по дороге в школу", "в {} часов",
    ],
}  # fmt: skip


def sentences(src: str, trg: str, count: int = 400, seed: int = 0) -> Pairs:
    """Distinct pairs of a small grammar."""
    rng = random.Random(seed)
    chosen: dict[tuple[int, ...], None] = {}
    while len(chosen) < count:
        chosen[tuple(rng.randrange(size) for size in (6, 6, 5, 5, 24))] = None

    def said(code: str, numbers: tuple[int, ...]) -> str:
        words = [part.split("|")[n] for part, n in zip(PARTS[code][:4], numbers, strict=False)]
        sentence = " ".join([*words, PARTS[code][4].format(numbers[4])])
        return sentence[0].upper() + sentence[1:] + "."

    return [(said(src, numbers), said(trg, numbers)) for numbers in chosen]


def corpus_of(pairs: Pairs, **others: Pairs) -> Corpus:
    splits = {"train": pairs, **others}
    items = [Item(*pair, name, name, n) for name, each in splits.items() for n, pair in enumerate(each, start=1)]
    return Corpus("c", "xx", "xx", items)


def additions() -> Pairs:
    rng = random.Random(0)
    sums = dict.fromkeys((rng.randrange(1000), rng.randrange(1000)) for _ in range(400))
    return [(f"{a}+{b}", str(a + b)) for a, b in sums]


def labels() -> Pairs:
    return [(src, "yes" if len(src) % 2 else "no") for src, _ in sentences("en", "de")]


CLEAN: dict[str, Callable[[], Pairs]] = {
    "en-de": lambda: sentences("en", "de"),
    "de-es": lambda: sentences("de", "es", seed=1),
    "fr-en": lambda: sentences("fr", "en", seed=2),
    "ru-en": lambda: sentences("ru", "en", seed=3),
    "es-ru": lambda: sentences("es", "ru", seed=4),
    "copies": lambda: [(src, src) for src, _ in sentences("fr", "en")],
    "labels": labels,
    "additions": additions,
    "reversals": lambda: [(src, src[::-1]) for src, _ in sentences("de", "en")],
    "commands": lambda: [
        (f"walk {a} and {b}", f"WALK_{a.upper()} WALK_{b.upper()}")
        for a in ("left", "right", "around", "back") for b in ("left", "right", "around", "back")
    ],
    "spelled numbers": lambda: load_numbers(sizes=(1300, 5, 5)).splits["train"],
    "few": lambda: sentences("en", "de")[:3],
}  # fmt: skip


@pytest.mark.parametrize("name", CLEAN)
def test_clean_data_give_no_finding(name: str) -> None:
    assert list(examine(corpus_of(CLEAN[name]()))) == []


def change(number: int, side: int, edit: Callable[[str], str]) -> Callable[[Pairs], Pairs]:
    """A plant: one side of one pair is edited."""

    def plant(pairs: Pairs) -> Pairs:
        pair = list(pairs[number])
        pair[side] = edit(pair[side])
        return [*pairs[:number], (pair[0], pair[1]), *pairs[number + 1 :]]

    return plant


def with_pair(src: str, trg: str) -> Callable[[Pairs], Pairs]:
    return lambda pairs: [*pairs[:50], (src, trg), *pairs[50:]]


ENGLISH, GERMAN = sentences("en", "de", 401)[-1]
MORE = sentences("en", "de", 430)[-20:]
PLANTED: dict[str, list[Callable[[Pairs], Pairs]]] = {
    "mojibake": [
        change(7, 1, lambda text: text + " trÃ¤gt"), change(7, 0, lambda text: text + " itâ€™s"),
        change(7, 1, lambda text: "ÑÑ‚Ð¾ " + text),
    ],
    "lost-characters": [change(3, 1, lambda text: text.replace("e", "\ufffd", 1))],
    "byte-order-marks": [change(3, 0, lambda text: "\ufeff" + text)],
    "control-characters": [change(3, 0, lambda text: text + "\x07"), change(3, 1, lambda text: "a\0" + text)],
    "line-ends": [
        change(5, 0, lambda text: text + "\r"), change(5, 1, lambda text: text.replace(" ", "\\n", 1)),
        change(5, 1, lambda text: text.replace(" ", "\u2028", 1)),
    ],
    "invisible-characters": [change(5, 1, lambda text: text.replace(" ", " \u200b", 1))],
    "mixed-scripts": [change(5, 0, lambda text: text.replace("teacher", "").replace("e", "\u0435", 1))],
    "html-tags": [change(5, 0, lambda text: f"<p>{text}</p>"), change(5, 1, lambda text: text + "<br/>")],
    "html-entities": [
        change(5, 0, lambda text: text + " R&amp;D"), change(5, 1, lambda text: text.replace("e", "&eacute;")),
    ],
    "decomposed-letters": [change(5, 1, lambda text: text + " Mu\u0308hle")],
    "odd-blanks": [change(5, 1, lambda text: text + " "), change(5, 0, lambda text: text.replace(" ", "  ", 1))],
    "csv-quotes": [change(5, 0, lambda text: f'"{text} ""so"" "')],
    "one-side-empty": [with_pair(ENGLISH, ""), with_pair(" ", GERMAN)],
    "both-sides-empty": [with_pair("", " ")],
    "repeated-pairs": [lambda pairs: [*pairs, pairs[3]]],
    "untranslated-copies": [with_pair(ENGLISH, ENGLISH)],
    "odd-length-ratios": [change(5, 1, lambda text: text[:3]), change(5, 0, lambda text: " ".join([text] * 5))],
    "numbers-that-differ": [change(5, 1, lambda text: re.sub(r"\d+", "77", text))],
    "all-capitals": [change(5, 0, str.upper)],
    "very-long": [with_pair(" ".join([ENGLISH] * 12), " ".join([GERMAN] * 12))],
    "headers": [lambda pairs: [("English", "German"), *pairs]],
    "babble": [change(5, 0, lambda text: "no " * 5 + text), change(5, 1, lambda text: text + "a" * 12)],
    "exchanged-sides": [with_pair(GERMAN, ENGLISH)],
    "wrong-language": [change(9, 1, lambda text: "The doctor from the village sells some warm soup near the river.")],
    "foreign-language": [
        change(9, 1, lambda text: "Les enfants que nous avons vus dans la rue sont avec des amis pour elle."),
    ],
    "foreign-script": [with_pair("Наш водитель покупает свежий хлеб на рынке", GERMAN)],
    "alignment-slips": [lambda pairs: [(src, trg) for (src, _), (_, trg) in itertools.pairwise(pairs)]],
    "boilerplate": [
        lambda pairs: [*pairs, *((src, "Bitte hier klicken, um es zu sehen.") for src, _ in MORE)],
    ],
}  # fmt: skip
# What is found beside the fault, since the one fault is another as well.
ALSO = {
    "very-long": {"babble"}, "foreign-language": {"numbers-that-differ", "odd-length-ratios", "wrong-language"},
    "wrong-language": {"odd-length-ratios"}, "odd-length-ratios": {"numbers-that-differ", "wrong-language"},
    "boilerplate": {"odd-length-ratios", "wrong-language"}, "mojibake": {"mixed-scripts"},
    "untranslated-copies": {"wrong-language"},
    "line-ends": {"odd-blanks"}, "alignment-slips": {"numbers-that-differ"}, "foreign-script": {"wrong-language"},
    "byte-order-marks": set(), "headers": set(),
}  # fmt: skip
CASES = [(name, number) for name, plants in PLANTED.items() for number in range(len(plants))]


@pytest.mark.parametrize(("name", "number"), CASES)
def test_what_is_planted_is_found(name: str, number: int) -> None:
    pairs = PLANTED[name][number](sentences("en", "de"))
    found = {finding.name: finding for finding in examine(corpus_of(pairs))}
    assert name in found
    assert set(found) - {name} <= ALSO.get(name, set())
    if name not in ("alignment-slips", "boilerplate"):
        assert found[name].count == 1
        assert found[name].examples[0][:2] in pairs


def test_leaks_between_the_splits_are_found() -> None:
    pairs, other = sentences("en", "de"), sentences("en", "de", 430)[400:]
    assert list(examine(corpus_of(pairs, test=other))) == []
    leaked = [*other, (pairs[3][0].upper().lower(), pairs[3][1]), (pairs[5][0], pairs[6][1])]
    names = {finding.name: finding.count for finding in examine(corpus_of(pairs, valid=leaked))}
    assert names == {"leaked-pairs": 1, "leaked-sources": 1} | {
        name: names[name] for name in names if name in ("numbers-that-differ",)
    }


def test_every_check_has_a_plant() -> None:
    assert {one.name for one in checks()} == {*PLANTED, "leaked-pairs", "leaked-sources"}
    assert len(PLANTED) >= 20


def test_where_a_slip_begins() -> None:
    pairs = sentences("fr", "de", 500)
    src, trg = [src for src, _ in pairs], [trg for _, trg in pairs]
    assert slips(src, trg) == []
    ((start, stop),) = slips([*src[:200], *src[201:]], trg[:-1])
    assert abs(start - 200) < 10
    assert stop > 480
    ((start, stop),) = slips(src[:-1], [*trg[:100], *trg[101:300], "neu", *trg[300:-1]])
    assert abs(start - 100) < 10
    assert abs(stop - 300) < 10


def test_a_slip_may_reach_from_end_to_end() -> None:
    pairs = sentences("fr", "de", 200)
    src, trg = [src for src, _ in pairs], [trg for _, trg in pairs]
    for sides in ((src[1:], trg[:-1]), (src[:-1], trg[1:])):
        ((start, stop),) = slips(*sides)
        assert start < 5
        assert stop > 195


def test_trigrams_are_taken_of_some_lines_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = corpus_of([*sentences("en", "de", 250), ("", ""), (GERMAN, ENGLISH), ("", "x")])
    whole = languages.leaning(corpus)
    monkeypatch.setattr(languages, "_AT_A_TIME", 7)
    parts = languages.leaning(corpus)
    assert whole.tells
    assert np.flatnonzero(whole.strays.all(axis=1)).tolist() == [251]
    np.testing.assert_allclose(parts.own, whole.own, rtol=1e-12)  # NumPy's sums depend on where an array begins
    np.testing.assert_array_equal(parts.trigrams, whole.trigrams)


@pytest.mark.parametrize("name", ["wrong-language", "alignment-slips"])
def test_memory_is_that_of_some_numbers_a_pair(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not of its trigrams or its words, which take fifty times the size of their text."""
    monkeypatch.setattr(languages, "_AT_A_TIME", 100)
    (one,) = (one for one in checks() if one.name == name)
    peaks = []
    for count in (1000, 4000):
        corpus = corpus_of(sentences("en", "de", count))
        tracemalloc.start()
        one.run(corpus)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    characters = sum(len(item.src) + len(item.trg) for item in corpus.items) / len(corpus.items)
    assert (peaks[1] - peaks[0]) / 3000 < 3 * characters


def test_a_check_with_an_unknown_level() -> None:
    with pytest.raises(ValueError, match="level is 'bad'; expected error, warning, hint"):
        check("bad", "", "")


def test_figures_and_suggestions() -> None:
    corpus = corpus_of([("a b c", "x"), ("a b", "y z!"), ("a", "x")], test=[("q", "q")])
    found = figures(corpus)
    assert found["pairs"] == {"train": 3, "test": 1}
    assert found["source"]["words"] == {"number": 6, "median": 2, "q95": 2, "q99": 2, "longest": 3}
    assert found["target"]["vocabulary"]["distinct"] == 4
    assert found["source"]["vocabulary"]["growth"][-1] == 3
    pairs = [*sentences("en", "de"), ("a &lt; b", "a < b"), (" ".join([ENGLISH] * 12), GERMAN)]
    corpus = corpus_of(pairs)
    options = {one.options for one in suggestions(corpus, figures(corpus), list(examine(corpus)))}
    assert {"--unescape-html", "--src-language en", "--trg-language de", "--max-length 30"} <= options
    chinese = corpus_of([("我们在火车站等了很久。", "we waited at the station for a long time")] * 5)
    assert suggestions(chinese, figures(chinese), [])[0].options == "--src-tokenizer char"
    assert figures(corpus_of([]))["source"]["words"]["number"] == 0


def test_the_command(run, tmp_path: Path) -> None:
    pairs = with_pair("<script>alert(1)</script> & 5", "")(sentences("en", "de"))
    path = tmp_path / "c.csv"
    path.write_text("id,en,de\n" + "".join(f'{n},"{src}","{trg}"\n' for n, (src, trg) in enumerate(pairs)), "utf-8")
    page, figures_file = tmp_path / "c.html", tmp_path / "c.json"
    result = run("inspect", path, "--html", page, "--json", figures_file)
    assert (result.code, result.err) == (0, "")
    assert f"{path} en-de: 401 pairs of train" in result.out
    assert f"{path}:52: '<script>alert(1)</script> & 5' | ''" in result.out
    html = page.read_text("utf-8")
    assert "&lt;script&gt;alert(1)" in html
    assert not re.search(r"<script|https?://|src=|href=|@import|url\(", html)
    stored = json.loads(figures_file.read_text("utf-8"))
    assert {finding["name"] for finding in stored["findings"]} == {"one-side-empty", "html-tags"}
    assert stored["findings"][0]["examples"][0]["line"] == 52
    swapped = run("inspect", path, "--swap", "--test", path)
    assert f"{path} de-en: 401 pairs of train, 401 pairs of test" in swapped.out
    assert "pairs of valid or test stand in the training data too" in swapped.out


def test_the_command_on_what_it_cannot_read(refused, tmp_path: Path) -> None:
    refused(f"{tmp_path / 'none.tsv'}: no such file", "inspect", tmp_path / "none.tsv")
    path = tmp_path / "c.tsv"
    path.write_text("a\tb\nc\n")
    refused(f"{path}:2: 1 column; expected source TAB target", "inspect", path, "--html", tmp_path / "c.html")
    refused("header is 'maybe'; expected auto or present or absent", "inspect", path, "--header", "maybe")


def test_bad_lines_are_left_out_where_that_is_asked_for(run, tmp_path: Path) -> None:
    path = tmp_path / "c.tsv"
    path.write_bytes(b"a\tb\nc\n\xff\td\n")
    result = run("inspect", path, "--bad-lines", "skip")
    assert result.out.startswith("2 lines cannot be read, and are left out\n")
