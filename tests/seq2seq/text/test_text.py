"""TextCodec: vocabularies and ids as a direct construction finds them, each sentence tokenised once in a run."""

import dataclasses
from collections import Counter
from pathlib import Path

import pytest

from seq2seq.decoding.translator import Translator
from seq2seq.models.model import build_model
from seq2seq.run.config import Config
from seq2seq.run.errors import UserError
from seq2seq.sources import Dataset, EncodedSplit, Pair, Ragged, load_dataset
from seq2seq.text.codec import TextCodec
from seq2seq.text.side import TextSide
from seq2seq.text.tokenizers import CharTokenizer, SpaceTokenizer
from seq2seq.text.vocabulary import Vocabulary

SPLITS: dict[str, list[Pair]] = {
    "valid": [("a new c", "y"), ("", "")],
    "train": [("a b", "x y x"), ("a  a c", "yy"), ("b c d e f", "x"), ("a", "z x y x y x y")],
    "test": [("f", "q")],
}


@pytest.fixture
def dataset() -> Dataset:
    defaults = {"src_tokenizer": "space", "trg_tokenizer": "char", "lower": False, "min_freq": 2}
    return Dataset("toy", "xx", "xx", SPLITS, defaults=defaults)


def lists(split: EncodedSplit) -> list[tuple[list[int], list[int]]]:
    return [(src.tolist(), trg.tolist()) for src, trg in zip(split.src, split.trg, strict=True)]


@pytest.mark.parametrize(("max_length", "words"), [(None, ("a", "b", "c")), (6, ("a", "b", "c")), (4, ("a",))])
def test_the_ids_of_every_split(dataset: Dataset, max_length: int | None, words: tuple[str, ...]) -> None:
    codec, encoded = TextCodec.build_encoded(dataset, dataclasses.replace(Config(), max_length=max_length))
    src_tokenizer, trg_tokenizer = SpaceTokenizer(), CharTokenizer()
    tokenized = {
        name: [(src_tokenizer.tokenize(src), trg_tokenizer.tokenize(trg)) for src, trg in pairs]
        for name, pairs in SPLITS.items()
    }
    kept = [pair for pair in tokenized["train"] if max(map(len, pair)) <= (max_length or 99)]
    src_vocabulary = Vocabulary.build([src for src, _ in kept], min_freq=2)
    trg_vocabulary = Vocabulary.build([trg for _, trg in kept], min_freq=2)
    assert codec.source.vocabulary.tokens == src_vocabulary.tokens
    assert codec.source.vocabulary.tokens[4:] == words
    assert codec.trg_vocabulary.tokens == trg_vocabulary.tokens
    assert list(encoded) == list(SPLITS)
    for name, pairs in tokenized.items():
        expected = [(src_vocabulary.encode(src), trg_vocabulary.encode(trg)) for src, trg in pairs]
        assert lists(encoded[name]) == expected
        assert lists(codec.encode_dataset(dataset)[name]) == expected
        assert lists(codec.encode_pairs(SPLITS[name])) == expected
    longest = max(len(trg) for _, trg in kept)
    assert codec.max_output_length == longest + longest // 2 + 1


def test_truncated_sources_are_sources_cut_by_hand(dataset: Dataset) -> None:
    whole = dataclasses.replace(Config(), max_length=4)  # which counts what is left
    config = dataclasses.replace(whole, truncate_source=2)
    cut = {name: [(" ".join(src.split()[:2]), trg) for src, trg in pairs] for name, pairs in SPLITS.items()}
    codec, encoded = TextCodec.build_encoded(dataset, config)
    expected, by_hand = TextCodec.build_encoded(dataclasses.replace(dataset, splits=cut), whole)
    assert codec.to_dict() == expected.to_dict()
    assert {name: lists(split) for name, split in encoded.items()} == {k: lists(v) for k, v in by_hand.items()}
    assert lists(codec.encode_pairs(SPLITS["train"])) == lists(by_hand["train"])


def test_a_run_goes_on_truncating(train, run, corpus: Path) -> None:
    long, short = ["1 2 3 4 5", "7 8 9 9"], ["1 2", "7 8"]
    folder = train("run", "--truncate-source", 2, "--decoder", "dot-attention", "--epochs", 1)
    translator = Translator.load(folder)
    assert translator.translate(long, replace_unk=True) == translator.translate(short, replace_unk=True)
    assert translator.search(long, alignment=True)[0][0].alignment.shape[1] == 2
    assert run("evaluate", folder, "--replace-unk").code == 0


def test_build_alone_gives_the_same_codec(dataset: Dataset) -> None:
    codec = TextCodec.build(dataset, Config())
    assert codec.fingerprint() == TextCodec.build_encoded(dataset, Config())[0].fingerprint()


def test_sources_without_blanks(dataset: Dataset) -> None:
    codec = TextCodec.build(dataset, Config())
    codec = dataclasses.replace(codec, source=TextSide(CharTokenizer(), codec.source.vocabulary))
    sentences = ["a", "", " \t", "b "]
    assert [ids.tolist() for ids in codec.encode_sources(sentences)] == [[4], [], [], [5, 0]]
    sources = Ragged([[4], [], [7, 8], [5]])
    assert [ids.tolist() for ids in codec.source.spoken(sources, sentences)] == [[4], [], [], [5]]
    assert codec.source.spoken(sources, ["a", "b", "c", "d"]) is sources


def test_ids_are_translated_as_their_sentences(dataset: Dataset) -> None:
    config = dataclasses.replace(Config(), hidden_size=8, embedding_size=6, init_range=0.9, max_output_length=5)
    codec = TextCodec.build(dataset, config)
    model = build_model(codec.source.num_inputs, len(codec.trg_vocabulary), config)
    translator = Translator(model, codec, config)
    sentences = ["a b", "", "c", "a a a c", "  "]
    sources = codec.encode_sources(sentences)
    for beam_size in (1, 3):
        assert translator.translate_ids(sources, beam_size) == translator.translate(sentences, beam_size)
        found = translator.search_ids(sources, beam_size, 1.0, beam_size, batch_size=2)
        assert found == [translator.search([s], beam_size, 1.0, beam_size)[0] for s in sentences]
        assert [hypothesis.ids for hypothesis in found[1]] == [()]
    assert translator.translate_ids(Ragged([])) == []


def test_known_words_are_required(dataset: Dataset) -> None:
    codec = TextCodec.build(dataset, Config())
    codec.source.require_known(codec.encode_sources(["u v", "u a"]), "this")
    for sentences, number in ((["u v", "<pad>"], 3), ([""], 0), ([], 0)):
        with pytest.raises(UserError, match=f"this: none of its {number} words is in the source vocabulary"):
            codec.source.require_known(codec.encode_sources(sentences), "this")


@pytest.mark.parametrize("options", [(), ("--max-length", 4)])
def test_a_run_tokenises_each_sentence_once(train, run, corpus: Path, monkeypatch, options) -> None:
    seen: Counter[str] = Counter()
    tokenize = SpaceTokenizer.tokenize

    def counted(self: SpaceTokenizer, sentence: str) -> list[str]:
        seen[sentence] += 1
        return tokenize(self, sentence)

    monkeypatch.setattr(SpaceTokenizer, "tokenize", counted)
    dataset = load_dataset(str(corpus))
    sentences = Counter(sentence for pairs in dataset.splits.values() for pair in pairs for sentence in pair)
    folder = train("run", "--epochs", 2, *options)
    assert seen == sentences
    seen.clear()
    assert run("train", "--run-dir", folder, "--resume", "--epochs", 3).code == 0
    assert seen == sentences
