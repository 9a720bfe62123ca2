"""Sentence pairs for the examples, made or read from files; their tokens and vocabularies; the options of a script.

Nothing here knows of tensors.
"""

import argparse
import gzip
import random
import re
import unicodedata
import zipfile
from pathlib import Path

PERSONS = {"i": ("ich", 0), "you": ("du", 1), "he": ("er", 2), "she": ("sie", 2), "we": ("wir", 3), "they": ("sie", 3)}
VERBS = {
    "see": ("sehe", "siehst", "sieht", "sehen"),
    "hear": ("höre", "hörst", "hört", "hören"),
    "find": ("finde", "findest", "findet", "finden"),
    "like": ("mag", "magst", "mag", "mögen"),
}
NOUNS = {
    "dog": ("hund", "m"),
    "cat": ("katze", "f"),
    "house": ("haus", "n"),
    "man": ("mann", "m"),
    "child": ("kind", "n"),
}
ADJECTIVES = {"old": "alt", "small": "klein", "red": "rot", "good": "gut"}
ARTICLES = {"the": {"m": "den", "f": "die", "n": "das"}, "a": {"m": "einen", "f": "eine", "n": "ein"}}
ENDINGS = {"the": {"m": "en", "f": "e", "n": "e"}, "a": {"m": "en", "f": "e", "n": "es"}}


def made_sentence(rng):
    """One sentence in English and in German, which has genders, endings, and the verb in second place."""
    person, (german_person, form) = rng.choice(list(PERSONS.items()))
    verb, forms = rng.choice(list(VERBS.items()))
    noun, (german_noun, gender) = rng.choice(list(NOUNS.items()))
    article = rng.choice(list(ARTICLES))
    english = [person, verb + "s" if form == 2 else verb, article, noun]
    german = [german_person, forms[form], ARTICLES[article][gender], german_noun]
    if rng.random() < 0.5:
        adjective, stem = rng.choice(list(ADJECTIVES.items()))
        english.insert(3, adjective)
        german.insert(3, stem + ENDINGS[article][gender])
    if rng.random() < 0.3:
        english, german = ["today", *english], ["heute", german[1], german[0], *german[2:]]
    return " ".join([*english, "."]), " ".join([*german, "."])


def made_pairs(count, seed=0):
    """(English, German) sentences; they repeat, as sentences do."""
    rng = random.Random(seed)
    return [made_sentence(rng) for _ in range(count)]


def read_lines(path):
    """The lines of a text file, of one in gzip, or of the first text of a zip archive."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            texts = [name for name in archive.namelist() if name.endswith((".txt", ".tsv")) and "about" not in name]
            return archive.read(texts[0]).decode("utf-8").splitlines()
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8").splitlines()


def read_pairs(path, languages=("en", "de")):
    """(source, target) sentences.

    path: a file of lines with a tab between the two (as is, or in a .zip or .gz), or a folder that has a file
    "train.LANGUAGE" or "train.LANGUAGE.gz" for each of the languages.
    """
    path = Path(path)
    if not path.exists():
        raise SystemExit(f"error: {path}: no such file or folder")
    if not path.is_dir():
        lines = [line.split("\t") for line in read_lines(path)]
        pairs = [(line[0], line[1]) for line in lines if len(line) > 1]
    else:
        sides = [sorted(path.glob(f"train.{language}*")) for language in languages]
        pairs = list(zip(*(read_lines(side[0]) for side in sides), strict=True)) if all(sides) else []
    if not pairs:
        raise SystemExit(
            f"error: {path}: no sentence pairs; expected lines with a tab, or train.{languages[0]} and its like"
        )
    return pairs


def load_pairs(args, reverse=False):
    """The pairs that a script's options ask for; ``reverse``: from the second language to the first."""
    pairs = read_pairs(args.data, args.languages) if args.data else made_pairs(args.pairs, args.seed)
    if not args.first:
        random.Random(args.seed).shuffle(pairs)
    chosen = pairs[: args.pairs]
    return [(trg, src) for src, trg in chosen] if reverse else chosen


def tokenize(text):
    """Words and punctuation marks in lower case."""
    return re.findall(r"\w+|[^\w\s]", text.lower())


def plain_letters(text):
    """Lower case, without accents, punctuation marks on their own, and nothing else than letters."""
    letters = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")
    return re.sub(r"[^a-z!?.]+", " ", re.sub(r"([.!?])", r" \1", letters)).strip()


class Vocabulary:
    """Words by number. The first four are <unk>, <pad>, <sos> and <eos>."""

    SPECIALS = ("<unk>", "<pad>", "<sos>", "<eos>")

    def __init__(self, sentences, min_freq=1):
        counts = {}
        for words in sentences:
            for word in words:
                counts[word] = counts.get(word, 0) + 1
        self.itos = [*self.SPECIALS, *(word for word, count in counts.items() if count >= min_freq)]
        self.stoi = {word: index for index, word in enumerate(self.itos)}

    def __len__(self):
        return len(self.itos)

    def encode(self, words):
        """<sos>, the words, <eos>."""
        return [2, *(self.stoi.get(word, 0) for word in words), 3]

    def decode(self, ids):
        """The words up to <eos>, without specials."""
        words = []
        for index in ids:
            if index == 3:
                break
            if index > 3 or index == 0:
                words.append(self.itos[index])
        return words


def options(description, arguments, **sizes):
    """The options of a script: data, seed, and its sizes, each an option with its default."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a file or folder of sentence pairs; without it they are made here")
    parser.add_argument("--languages", nargs=2, default=("en", "de"), help="the two files of a folder (default: en de)")
    parser.add_argument("--first", action="store_true", help="the first pairs of the data, not any of them")
    parser.add_argument("--seed", type=int, default=1)
    for name, default in sizes.items():
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, type=type(default), default=default, help="default: %(default)s")
    return parser.parse_args(arguments)
