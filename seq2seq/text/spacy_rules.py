"""Words by spaCy's rules, without any trained model: they reproduce the vocabularies of the tutorials.

Contract: equal tokens, whoever splits. A short list of sentences is split in this process. A long one is split in a
child process: spaCy and what it read of the text would stay in this one's memory, some 70 MB through all of a training;
and the two sides of a corpus are split side by side. Child and parent exchange JSON, a sentence a line.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

from seq2seq.run.errors import UserError

MANY = 2000  # sentences from which on a child is worth its start of a second
INSTALL_SPACY = "pip install 'spacy>=3.8'"  # works in any folder; pyproject.toml says the same
TORN_EXAMPLES = ("well-known", "don't")
_loaded: dict[str, Any] = {}  # the rules in this process, by language
_torn: dict[str, list[bool]] = {}  # by language, for each example, whether the rules take it apart


class SpacyRules:
    """The rules of one language; spaCy is imported only when this process splits a sentence itself.

    Args:
        language: code of the language, such as "de".

    Raises:
        UserError: spaCy is not installed, or does not know the language. Where a language needs a further package,
            only the first use says so.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        _require(language)

    def split(self, sentence: str) -> list[str]:
        return [sys.intern(token.text) for token in rules_of(self.language)(sentence)]  # one string for equal words

    def split_all(self, sentences: Sequence[str]) -> Iterable[list[str]]:
        """The tokens of each sentence. A child, if there is one, starts now, and is waited for when they are read."""
        if len(sentences) < MANY or self.language in _loaded:
            return map(self.split, sentences)
        return self.split_in_child(sentences)

    def split_in_child(self, sentences: Sequence[str]) -> Iterator[list[str]]:
        """As `split_all`, always in a child, which answers for the examples too."""
        return self._after_examples(_Child(self.language, [*TORN_EXAMPLES, *sentences]))

    def _after_examples(self, child: _Child) -> Iterator[list[str]]:
        answers = iter(child)
        _torn[self.language] = [len(next(answers)) > 1 for _ in TORN_EXAMPLES]
        yield from answers

    def torn_examples(self) -> list[bool]:
        """For each of TORN_EXAMPLES, whether the rules take it apart."""
        if self.language not in _torn:
            _torn[self.language] = [len(self.split(example)) > 1 for example in TORN_EXAMPLES]
        return _torn[self.language]


class _Child:
    """A process that splits sentences while this one goes on; iterate once for their tokens, in order.

    It reads all of its input before it writes anything: several can be fed, then read one after the other. It ends with
    this object, whatever happens in between.
    """

    def __init__(self, language: str, sentences: Sequence[str]) -> None:
        self._language, self._count = language, len(sentences)
        self._complaint = tempfile.TemporaryFile()  # noqa: SIM115  (no pipe: nobody reads it while the child is fed)
        modules = os.pathsep.join(folder or os.getcwd() for folder in sys.path)  # it finds what this process finds
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "seq2seq.text.spacy_rules", language],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._complaint,
            env={**os.environ, "PYTHONPATH": modules},
        )  # fmt: skip
        self._end = weakref.finalize(self, _end, self._process, self._complaint)
        try:
            self._feed(sentences)
        except BaseException:
            self._end()
            raise

    def _feed(self, sentences: Sequence[str]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died; its exit code will tell
            for sentence in sentences:
                self._process.stdin.write(json.dumps(sentence).encode("ascii") + b"\n")
            self._process.stdin.write(b"\n")
            self._process.stdin.flush()

    def __iter__(self) -> Iterator[list[str]]:
        try:
            answer, _ = self._process.communicate()
            if self._process.returncode or answer.count(b"\n") != self._count:
                raise UserError(self._reason())
        finally:
            self._end()
        return map(json.loads, io.BytesIO(answer))

    def _reason(self) -> str:
        """One line: the child's own where it refused, else how it ended."""
        self._complaint.seek(0)
        complaint = self._complaint.read().decode("utf-8", "replace")
        last = (complaint.strip().splitlines() or ["no reason given"])[-1]
        if self._process.returncode == 2 and last.startswith("error: "):
            return last.removeprefix("error: ")
        ended = f"ended with exit code {self._process.returncode}"
        return f"tokenizer word: the process that split the words of language {self._language!r} {ended} ({last})"


def _end(process: subprocess.Popen[bytes], complaint: IO[bytes]) -> None:
    complaint.close()
    if process.poll() is None:
        process.kill()
    with contextlib.suppress(BrokenPipeError), process:  # closes the pipes, waits
        pass


def _require(language: str) -> None:
    """UserError unless spaCy is there and has the language; found without importing it, where the code is spaCy's."""
    spec = importlib.util.find_spec("spacy")
    if spec is None:
        raise _not_installed()
    files = [os.path.join(folder, "lang", language, "__init__.py") for folder in spec.submodule_search_locations or ()]
    if not (language.isidentifier() and any(map(os.path.isfile, files))):
        rules_of(language)  # "eng" for "en", say; spaCy knows


def rules_of(language: str) -> Any:
    """spaCy's tokenizer of a language, in this process."""
    if language not in _loaded:
        _loaded[language] = _load(language)
    return _loaded[language]


def _load(language: str) -> Any:
    try:
        with _hidden("torch", "tensorflow", "mxnet", "cupy"):
            import spacy
    except ImportError:
        raise _not_installed() from None
    try:
        return spacy.blank(language).tokenizer
    except (ImportError, AttributeError) as error:  # the latter for a module of spaCy's that is no language
        reason = ascii((str(error).splitlines() or ["no reason given"])[0])[1:-1]
        raise UserError(
            f"tokenizer word: spaCy has no rules for language {language!r} ({reason}); "
            "the tokenizers char and sentencepiece need none"
        ) from None


def _not_installed() -> UserError:
    return UserError(f"tokenizer word: made with spaCy, which is not installed; {INSTALL_SPACY}")


@contextlib.contextmanager
def _hidden(*names: str) -> Iterator[None]:
    """Inside, these packages cannot be imported, unless they already are.

    spaCy imports any tensor library that it finds; its rules use none, and PyTorch alone costs 250 MB and seconds.
    """
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None is how Python marks it
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


def answer(arguments: Sequence[str] | None = None) -> int:
    """The child: JSON strings from standard input, a line each, up to an empty line; a JSON list for each goes out."""
    (language,) = sys.argv[1:] if arguments is None else arguments
    sentences = [json.loads(line) for line in iter(sys.stdin.readline, "\n")]
    rules = SpacyRules(language)
    lines = [json.dumps(rules.split(sentence)) for sentence in sentences]
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    from seq2seq.run.cli import run_command

    sys.exit(run_command(answer))
