"""Photographs, in headless Chromium, of every page that the toolkit makes, each opened without a request or an error.

    python benchmarks/pictures.py RUN OTHER --lines FILE --output docs/images [--data-dir DIR]

The pages are made anew by the commands that users call: what a run gets wrong, two runs side by side, why a sentence
was translated so, what is in the corpus, the plots, the model as a page of its own, and the server's page as a desk and
a telephone show it. RUN and OTHER are of one corpus, RUN has attention; the lines of FILE are explained and drawn. A
picture is written when its page has made no request beyond itself and nothing was reported: no error of a script, no
message of the console (where a policy that is broken is told), no dialog.
"""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from serving import started

DESK, TELEPHONE = (1000, 800), (360, 640)
Use = Callable[[Any], None]  # of a page that is open


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a window, of Playwright."""
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium")
    if found is None:
        sys.exit("chromium is not installed; expected the command chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, url: str, size: tuple[int, int] = DESK) -> Iterator[Any]:
    """The page at an address, in a window of this size.

    Raises:
        RuntimeError: at the end, what was asked for beyond the page's own place, and what was reported.
    """
    tab, faults = browser.new_page(viewport={"width": size[0], "height": size[1]}), list[str]()

    def asked(request: Any) -> None:
        if not request.url.startswith(("data:", "blob:", own)):
            faults.append(f"a request to {request.url}")

    def dialog(shown: Any) -> None:
        faults.append(f"a dialog: {shown.message}")
        shown.dismiss()

    parts = urlsplit(url)
    own = url if parts.scheme == "file" else f"{parts.scheme}://{parts.netloc}/"
    tab.on("request", asked)
    tab.on("dialog", dialog)
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("console", lambda message: faults.append(message.text))
    try:
        tab.goto(url)
        yield tab
        tab.wait_for_timeout(50)  # of what a page does late
    finally:
        tab.close()
    if faults:
        raise RuntimeError(f"{url}: {'; '.join(faults)}")


def run(*words: Any) -> None:
    """A command of the toolkit, in this process; it must succeed."""
    command, *arguments = map(str, words)
    code = importlib.import_module(f"seq2seq.{command}").main(arguments)
    if code:
        sys.exit(f"seq2seq {' '.join(map(str, words))}: it ended with {code}")


def pages(options: argparse.Namespace, folder: Path) -> dict[str, Path]:
    """The pages by the names of their pictures, and the plots as pages of one drawing."""
    one, both = options.run, [options.run, options.other]
    data = ["--data-dir", options.data_dir] if options.data_dir else []
    corpus = json.loads((options.run / "config.json").read_text(encoding="utf-8"))["data"]
    commands: dict[str, list[Any]] = {
        "errors": ["evaluate", one, "--beam-size", 5, *data, "--html"],
        "both": ["compare", *both, *data, "--html"],
        "explained": ["translate", one, "--input", options.lines, "--output", folder / "said", "--beam-size", 5,
                      "--explain"],
        "corpus": ["inspect", corpus, *data, "--html"],
        "model": ["export", one, "--to"],
        "curves": ["plot", *both, "--output"],
        "maps": ["plot", one, "--attention", options.lines, "--output"],
        "lengths": ["plot", *both, "--lengths", *data, "--output"],
        "plane": ["plot", one, "--vectors", options.lines, "--output"],
    }  # fmt: skip
    for name, words in commands.items():
        run(*words, folder / f"{name}.html")
    return {name: folder / f"{name}.html" for name in commands}


def photograph(browser: Any, url: str, to: Path, size: tuple[int, int] = DESK, use: Use = lambda tab: None) -> None:
    """A picture of what a window shows of a page, after it has been used."""
    with opened(browser, url, size) as tab:
        use(tab)
        picture = tab.screenshot()
    to.write_bytes(picture)


def _typed(lines: Sequence[str], ready: str, done: str) -> Use:
    """To type lines into a page that translates, and to wait for the words that it ends with."""

    def use(tab: Any) -> None:
        tab.get_by_text(ready).first.wait_for()
        tab.fill("#source", "\n".join(lines))
        if tab.query_selector("#attends"):
            tab.check("#attends")
        tab.focus("#source")
        tab.keyboard.press("Control+Enter")
        tab.get_by_text(done).first.wait_for()

    return use


def translated(page: Path, lines: Sequence[str]) -> list[str]:
    """What the page of a model makes of lines, greedily, with their attention drawn."""
    with chromium() as browser, opened(browser, page.as_uri()) as tab:
        tab.set_default_timeout(600_000)
        _typed(lines, "Ready", "Done: ")(tab)
        found: list[str] = tab.locator("#translations p").all_text_contents()
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a run with attention")
    parser.add_argument("other", type=Path, help="another one of the same corpus")
    parser.add_argument("--lines", type=Path, required=True, help="file of up to 20 sentences")
    parser.add_argument("--output", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--data-dir", help="folder that holds the corpus")
    options = parser.parse_args(arguments)
    lines = options.lines.read_text(encoding="utf-8").splitlines()
    count = f"{len(lines)} sentence{'s' * (len(lines) > 1)}"
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        for name, path in pages(options, Path(folder)).items():
            use = _typed(lines, "Ready", "Done: ") if name == "model" else lambda tab: None
            photograph(browser, path.as_uri(), options.output / f"{name}.png", use=use)
        with started("batched", options.run.resolve()) as port:
            for name, size in (("serving", DESK), ("serving-phone", TELEPHONE)):
                use = _typed(lines, "Translate", f"Translated {count}.")
                photograph(browser, f"http://127.0.0.1:{port}/", options.output / f"{name}.png", size, use)


if __name__ == "__main__":
    main()
