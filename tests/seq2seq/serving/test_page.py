"""The page: text stays text whatever it holds, everything has a name and can be reached, on a phone too.

With Playwright and Chromium it is used as a person would; without them it is read.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import seq2seq.serving
from seq2seq.decoding.contract import Hypothesis
from seq2seq.decoding.translator import Translator
from seq2seq.text.codec import TextCodec
from seq2seq.text.side import TextSide
from seq2seq.text.tokenizers import SpaceTokenizer
from seq2seq.text.vocabulary import Vocabulary

PAGE = Path(seq2seq.serving.__file__).parent / "page"
SCRIPT, HTML = ((PAGE / name).read_text(encoding="utf-8") for name in ("page.js", "page.html"))

XSS = [
    "<script>hit()</script>", "<img/src=x/onerror=hit()>", "<svg/onload=hit()>", '"><script>hit()</script>',
    "'><img/src=x/onerror=hit()>", "</textarea><script>hit()</script>", "<body/onload=hit()>", "javascript:hit()",
    "<iframe/srcdoc='<script>parent.hit()</script>'>", "<a/href=javascript:hit()>x</a>",
    "<details/open/ontoggle=hit()>", "<math><mtext></table><img/src=x/onerror=hit()>",
    "{{constructor.constructor('hit()')()}}", "${hit()}", "`;hit();`", "&lt;script&gt;hit()&lt;/script&gt;",
    "\\u003cscript\\u003ehit()\\u003c/script\\u003e", "<!--><script>hit()</script>",
    "<style>@import'data:,*{x:expression(hit())}'</style>", "<template><script>hit()</script></template>",
]  # fmt: skip


# --- read -------------------------------------------------------------------------------------------------------------
class Elements(HTMLParser):
    """Every element of a page: its name and attributes, and the text of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


FORBIDDEN = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|srcdoc|setHTML|"
    r"\beval\b|\bFunction\(|\.src\b|\.href\b|import\("
)


def test_the_script_makes_text_alone() -> None:
    assert FORBIDDEN.findall(SCRIPT) == []
    assert SCRIPT.count("textContent") > 3
    for line in ("cell.innerHTML = text", "eval(text)", "image.src = text", "new Function(text)", "document.write(a)"):
        assert FORBIDDEN.search(line)


def test_the_page_holds_no_script_and_no_style() -> None:
    for tag, attributes in Elements(HTML).found:
        assert tag != "style"
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
        assert tag != "script" or attributes == {"src": "page.js", "defer": None}
        for name in ("src", "href"):  # nothing comes from elsewhere
            assert attributes.get(name, "page.js") in ("page.js", "page.css", "icon.svg")


def test_everything_has_a_name() -> None:
    found = Elements(HTML).found
    labelled = {attributes["for"] for tag, attributes in found if tag == "label"}
    ids = {attributes["id"] for _, attributes in found if "id" in attributes}
    fields = {attributes["id"] for tag, attributes in found if tag in ("input", "textarea", "select")}
    assert fields == labelled == {"source", "model", "beam", "attends"}
    for _, attributes in found:
        for name in ("aria-labelledby", "aria-describedby"):
            assert attributes.get(name, "source") in ids
        assert int(attributes.get("tabindex") or 0) == 0
    assert [a["id"] for _, a in found if a.get("aria-live") == "polite" or a.get("role") == "status"] == [
        "status",
        "output",
    ]
    assert ("html", {"lang": "en"}) in found


# --- used -------------------------------------------------------------------------------------------------------------
class Echo:
    """A translator that gives back what it reads, word by word."""

    def __init__(self, behind: Translator) -> None:
        side = TextSide(SpaceTokenizer(), Vocabulary(XSS))
        self._own = Translator(behind.model, TextCodec(side, side, 50), behind.settings)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def search(self, sentences: list[str], **options: Any) -> list[list[Hypothesis]]:
        ids = [self.codec.source.encode([sentence])[0] for sentence in sentences]
        return [[Hypothesis(tuple(own), -1.0, -1.0, np.eye(len(own), dtype=np.float32))] for own in ids]

    def stream(self, sentences: list[str], told: Any, **options: Any) -> list[Hypothesis]:
        found = [best for (best,) in self.search(sentences)]
        for number, best in enumerate(found):
            for length in range(1, len(best.ids) + 1):
                told(number, Hypothesis(best.ids[:length], -1.0, -1.0))
        return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs chromium")
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def faults() -> list[str]:
    """What went wrong on the page."""
    return []


@pytest.fixture
def page(browser: Any, serve: Any, tiny: dict[str, Any], faults: list[str]) -> Iterator[Any]:
    """The page as a telephone shows it, at a server whose models have odd names; nothing odd may have happened."""
    with serve({XSS[1]: Echo(tiny["attending"]), "plain": tiny["plain"]}) as own:
        found = browser.new_page(viewport={"width": 360, "height": 640})
        found.on("pageerror", lambda error: faults.append(str(error)))
        found.on("console", lambda message: faults.append(message.text))  # a policy that is broken, above all
        found.expose_function("hit", lambda: faults.append("a script of the text ran"))
        found.goto(f"http://localhost:{own.port}/")
        found.wait_for_selector("#model option:nth-child(2)", state="attached")
        yield found
        assert [fault for fault in faults if "responded with a status of 422" not in fault] == []
        found.close()


def test_what_is_no_text_is_noticed(page: Any, faults: list[str]) -> None:
    page.evaluate("document.getElementById('output').innerHTML = '<img src=x onerror=hit()>'")
    page.wait_for_timeout(50)
    assert any("violates the following Content Security Policy" in fault for fault in faults)
    faults.clear()


def translated(page: Any, count: int) -> list[str]:
    page.get_by_text(f"Translated {count} sentence{'s' * (count > 1)}.", exact=True).wait_for()
    return page.eval_on_selector_all("#output p", "found => found.map(one => one.textContent)")


@pytest.mark.parametrize("beam", ["1", "2"])
def test_text_stays_text(page: Any, beam: str) -> None:
    page.fill("#source", "\n".join([*XSS, " ".join(XSS)]))
    page.fill("#beam", beam)
    page.check("#attends")
    page.keyboard.press("Control+Enter") if beam == "2" else page.click("#translate")
    page.focus("#source")
    page.keyboard.press("Control+Enter")
    assert translated(page, len(XSS) + 1) == [*XSS, " ".join(XSS)]
    assert page.eval_on_selector_all("#maps thead th", "all => all.map(one => one.textContent)") == XSS * 2
    assert page.eval_on_selector_all("#maps tbody th", "all => all.map(one => one.textContent)") == XSS * 2
    inside = page.eval_on_selector_all(
        "#output *, #maps *, #model *", "all => [...new Set(all.map(one => one.tagName))]"
    )
    assert {*inside} == {"P", "DIV", "TABLE", "CAPTION", "THEAD", "TBODY", "TR", "TH", "TD", "OPTION"}
    assert page.eval_on_selector("#model option", "one => one.textContent") == XSS[1]
    weights = page.eval_on_selector_all("#maps table:first-child td", "all => all.map(one => one.textContent)")
    assert weights[:2] == ["", "1.00"]
    colour = "all => new Set(all.map(one => getComputedStyle(one).backgroundColor)).size"
    assert page.eval_on_selector_all("#maps td", colour) > 1
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_keyboard_is_enough(page: Any) -> None:
    page.keyboard.press("Tab")
    order = []
    for text in ("w1 w2", None, None, " ", None):
        order.append(page.evaluate("document.activeElement.id"))
        if text is not None:
            page.keyboard.type(text)
        page.keyboard.press("Tab" if order[-1] != "translate" else "Enter")
    assert order == ["source", "model", "beam", "attends", "translate"]
    translated(page, 1)
    assert page.evaluate("document.activeElement.id") == "translate"
    assert page.get_attribute("#output", "aria-busy") == "false"
    page.keyboard.press("Tab")  # into the table, which then scrolls
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Attention of sentence 1"


def test_errors_are_told(page: Any, tiny: dict[str, Any]) -> None:
    page.select_option("#model", "plain")
    assert page.is_disabled("#attends")
    page.fill("#source", "w1 " * 1000)
    page.click("#translate")
    page.wait_for_selector("#status.bad")
    assert "at most 2000 characters" in page.text_content("#status")
    assert page.get_attribute("#status", "role") == "status"
    page.fill("#source", "w1 w2")
    page.click("#translate")
    assert translated(page, 1) == tiny["plain"].translate(["w1 w2"])
    assert page.is_hidden("#attention")
