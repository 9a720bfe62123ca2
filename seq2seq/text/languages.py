"""Which text is written without blanks between its words, told by a language code or by the text itself.

Contract: a code may have any usual form (zh, ZH, zh-CN, zh_TW, zho, cmn, zho_Hans, chinese). A code that names a script
written with blanks, as zh-Latn does, is one of a language written with blanks.

Sources: ISO 639 for languages, ISO 15924 for scripts, the block names of Unicode.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

# By the code used here, the codes and names of each language that is written without blanks. Chinese stands for all of
# its varieties. Korean has blanks, but they bound phrases rather than words.
_NAMES = {
    "zh": "zho chi cmn yue wuu nan hak gan hsn cdo cjy lzh cn chinese mandarin cantonese",
    "ja": "jpn jp japanese",
    "ko": "kor korean",
    "th": "tha nod tts sou thai",
    "lo": "lao",
    "km": "khm khmer cambodian",
    "my": "mya bur mnw shn burmese myanmar",
    "bo": "bod tib dz dzo adx khg tibetan dzongkha",
    "ii": "iii yi nuosu",
}
_CODE_OF = {name: code for code, names in _NAMES.items() for name in (code, *names.split())}
_SCRIPTS_WITH_BLANKS = {"latn", "cyrl", "arab"}

# By language, the characters of its script; a language named here stands for all that share the script.
_CHARACTERS = {
    "zh": "\u2e80-\u2fdf\u3100-\u312f\u31a0-\u31bf\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af",
    "ja": "\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f",
    "th": "\u0e01-\u0e4f",
    "lo": "\u0e81-\u0edf",
    "km": "\u1780-\u17ff",
    "my": "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f",
    "bo": "\u0f00-\u0fff",
    "ii": "\ua000-\ua4cf",
    "Tai": "\u1950-\u19df\u1a20-\u1aaf",
    "Javanese or Balinese": "\ua980-\ua9df\u1b00-\u1b7f",
}
_SAMPLE = 1000  # sentences that are enough to tell a script by
_LEAST_SHARE = 1 / 3  # of the characters; a Chinese character says as much as a few Latin ones
_LEAST_KANA = 0.05  # of the characters without blanks; Chinese has none, Japanese rarely less than a third


def language_without_blanks(language: str) -> str | None:
    """The plain code (zh, ja, ko, th, ...) of a language whose words no blanks part; None for any other language."""
    first, *rest = re.split(r"[-_.@]", language.strip().casefold())
    return None if _SCRIPTS_WITH_BLANKS & set(rest) else _CODE_OF.get(first)


def plain_code(language: str) -> str:
    """The code without region and script, in small letters: de for de-AT, zh for zh_TW and cmn."""
    return language_without_blanks(language) or re.split(r"[-_.@]", language.strip().lower())[0]


def script_without_blanks(sentences: Sequence[str]) -> str | None:
    """What ``sentences`` are written in, if in a script without blanks between words: zh, ja, th, ...; else None."""
    text = "".join("".join(sentences[:: 1 + len(sentences) // _SAMPLE]).split())
    counts = {language: len(pattern.findall(text)) for language, pattern in _patterns().items()}
    total = sum(counts.values())
    if total <= _LEAST_SHARE * len(text):
        return None
    return "ja" if counts["ja"] > _LEAST_KANA * total else max(counts, key=lambda language: counts[language])


@functools.cache
def _patterns() -> dict[str, re.Pattern[str]]:
    return {language: re.compile(f"[{characters}]") for language, characters in _CHARACTERS.items()}
