"""The two-way table between tokens and ids.

Contract: ids 0 to 3 are the specials `<unk> <pad> <sos> <eos>`; ids from 4 on are words in the order given. A special's
spelling that occurs in the text is an unknown word like any other: text can never forge a padding or an end mark.
"""

import hashlib
import json
import operator
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from threading import Lock

from seq2seq.run.errors import UserError, require_integer

SPECIALS = ("<unk>", "<pad>", "<sos>", "<eos>")
UNK_ID, PAD_ID, SOS_ID, EOS_ID = range(4)


class Vocabulary:
    """An immutable list of tokens, specials first.

    Args:
        tokens: the words in id order, without the specials; the first one gets id 4.

    Raises:
        TypeError: the words are no list of strings.
        ValueError: a word is given twice, spells a special or holds a lone surrogate.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        words = list(_tokens(tokens))
        if odd := [word for word in words if not isinstance(word, str)]:
            raise TypeError(f"Vocabulary: got {odd[0]!r} among the words; expected strings")
        if not _is_unicode(words):
            raise ValueError("Vocabulary: a token holds a lone surrogate; expected valid Unicode")
        self.tokens: tuple[str, ...] = (*SPECIALS, *words)
        self._ids = {word: index for index, word in enumerate(words, start=len(SPECIALS))}
        if len(set(self.tokens)) != len(self.tokens):
            repeated = [token for token, count in Counter(self.tokens).items() if count > 1]
            raise ValueError(f"Vocabulary: tokens repeat {repeated[:3]}; expected distinct words, none of {SPECIALS}")

    @classmethod
    def build(
        cls, token_lists: Iterable[Sequence[str]], min_freq: int = 1, max_size: int | None = None
    ) -> "Vocabulary":
        """Count the tokens and keep the frequent ones, ordered by falling frequency, then alphabetically.

        Args:
            token_lists: the tokenized sentences.
            min_freq: a word is kept if it occurs at least this often; at least 1.
            max_size: at most this many words, the specials not counted; None keeps all.

        Raises:
            UserError: min_freq or max_size is no integer or below 1.
            TypeError: a sentence is no list of tokens.
        """
        counts: Counter[str] = Counter()
        for tokens in token_lists:
            counts.update(_tokens(tokens))
        return cls.from_counts(counts, min_freq, max_size)

    @classmethod
    def from_counts(cls, counts: Mapping[str, int], min_freq: int = 1, max_size: int | None = None) -> "Vocabulary":
        """As `build`, from how often each token occurs."""
        require_integer("min_freq", min_freq, 1)
        if max_size is not None:
            require_integer("max_size", max_size, 1)
        words = [word for word, count in counts.items() if count >= min_freq and word not in SPECIALS]
        return cls(sorted(words, key=lambda word: (-counts[word], word))[:max_size])

    def __len__(self) -> int:
        """The number of ids, specials included."""
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        """Whether `token` is a known word; the spelling of a special is none."""
        return token in self._ids

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """The id of each token, `UNK_ID` for unknown ones; neither `<sos>` nor `<eos>` is added.

        Raises:
            TypeError: this is no list of tokens.
        """
        return [self._ids.get(token, UNK_ID) for token in _tokens(tokens)]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """The tokens up to the first `<eos>`, without padding and `<sos>`.

        Raises:
            IndexError: an id is negative or not below len(self).
            TypeError: an id is no integer.
        """
        tokens = []
        for index in map(_integer, ids):
            token = self.token(index)
            if index == EOS_ID:
                break
            if index not in (PAD_ID, SOS_ID):
                tokens.append(token)
        return tokens

    def token(self, index: int) -> str:
        """What an id stands for; IndexError where it is negative or not below len(self)."""
        if not 0 <= index < len(self):
            raise IndexError(f"Vocabulary.decode: id {index}; expected 0 <= id < {len(self)}")
        return self.tokens[index]

    def unk_rate(self, tokens: Sequence[str]) -> float:
        """The share, 0 to 1, of `tokens` the vocabulary does not know; 0 for no tokens."""
        return sum(token not in self for token in _tokens(tokens)) / max(len(tokens), 1)

    def fingerprint(self) -> str:
        """The sha256 (hex) of the token list: equal exactly if every id means the same word."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """The vocabulary as JSON text: {"tokens": [...]}, specials included, position = id."""
        return json.dumps({"tokens": self.tokens}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, name: str = "vocabulary") -> "Vocabulary":
        """Rebuild what `to_json` wrote; the text is not trusted.

        Args:
            text: JSON text.
            name: the file or key the text comes from, for the message.

        Raises:
            UserError: the text is anything but a vocabulary.
        """
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{name}: not JSON ({str(error).splitlines()[0]}); expected a vocabulary") from None
        if not isinstance(content, dict) or set(content) != {"tokens"} or not isinstance(content["tokens"], list):
            raise UserError(f'{name}: expected {{"tokens": [...]}}')
        return cls(_checked_words(content["tokens"], name))


class OpenVocabulary(Vocabulary):
    """A vocabulary that gives unknown words ids too, from len(self) on, in the order in which they are first met.

    Those ids hold in this process: a file has the known words alone.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        super().__init__(tokens)
        self._others: list[str] = []
        self._other_ids: dict[str, int] = {}
        self._lock = Lock()  # ids are given in several threads

    def encode(self, tokens: Iterable[str]) -> list[int]:
        return [self._ids.get(token) or self._other_id(token) for token in _tokens(tokens)]

    def token(self, index: int) -> str:
        return self._others[index - len(self)] if index >= len(self) else super().token(index)

    def _other_id(self, token: str) -> int:
        with self._lock:
            if token not in self._other_ids:
                self._other_ids[token] = len(self) + len(self._others)
                self._others.append(token)
            return self._other_ids[token]


def _tokens(tokens: Iterable[str]) -> Iterable[str]:
    if isinstance(tokens, str) or not isinstance(tokens, Iterable):
        raise TypeError(f"Vocabulary: got {str(tokens)[:20]!r}; expected a list of tokens")
    return tokens


def _integer(index: object) -> int:
    try:
        return operator.index(index)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"Vocabulary.decode: id {index!r}; expected an integer") from None


def _is_unicode(words: Iterable[str]) -> bool:
    """Whether no word holds a lone surrogate."""
    try:
        "".join(words).encode()
    except UnicodeEncodeError:
        return False
    return True


def _checked_words(tokens: list[object], name: str) -> list[str]:
    """The words of an untrusted token list."""
    words = [token for token in tokens if isinstance(token, str)]
    if len(words) != len(tokens):
        raise UserError(f"{name}: a token is no string; expected strings only")
    if not _is_unicode(words):
        raise UserError(f"{name}: a token holds a lone surrogate; expected valid Unicode")
    if tuple(words[: len(SPECIALS)]) != SPECIALS:
        raise UserError(f"{name}: the first tokens are {words[: len(SPECIALS)]}; expected {list(SPECIALS)}")
    if len(set(words)) != len(words):
        raise UserError(f"{name}: a token is listed twice; expected distinct tokens")
    return words[len(SPECIALS) :]
