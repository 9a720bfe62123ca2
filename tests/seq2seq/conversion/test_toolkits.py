"""Weights of OpenNMT-py, fairseq and JoeyNMT become models that compute what PyTorch computes in their place."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections import Counter, defaultdict
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from minigrad import save
from seq2seq import convert
from seq2seq.conversion.layouts import LAYOUTS, Layout, recognised
from seq2seq.conversion.words import read_tokens
from seq2seq.decoding.translator import Translator
from seq2seq.run.errors import UserError
from seq2seq.shipping import decode, model_file

torch = pytest.importorskip("torch")
from tests.seq2seq.conversion.toolkits import (  # noqa: E402  (which needs it)
    FAIRSEQ,
    JOEYNMT,
    LAST,
    OPENNMT,
    TOOLKITS,
    ZERO,
    Toolkit,
    rnn_shapes,
)

CASES = [(toolkit, case) for toolkit in TOOLKITS for case in toolkit.cases]
SENTENCES = ["s1 s5 s0", "s6", "s2 s2 s4 s3"]
each_case = pytest.mark.parametrize(
    ("toolkit", "case"), CASES, ids=[f"{toolkit.layout}, {case}" for toolkit, case in CASES]
)


def layout_of(toolkit: Toolkit, weights: dict[str, np.ndarray]) -> tuple[Layout, dict[str, Any]]:
    return recognised(weights, toolkit.layout if LAYOUTS[toolkit.layout].must_be_named else None)


@each_case
def test_the_equations_of_a_layout_are_pytorchs(toolkit: Toolkit, case: str) -> None:
    weights = toolkit.arrays(case)
    layout, settings = layout_of(toolkit, weights)
    assert layout.name == toolkit.layout
    assert (settings["hidden_size"], settings["embedding_size"]) == (6, 5)
    first = len(toolkit.tokens[0]) - 7
    source = [*toolkit.before, first, first + 5, first + 2, *toolkit.behind]
    target = [toolkit.begin, 7, 4, 9]
    found = layout.log_probs(source, target)
    np.testing.assert_allclose(found, toolkit.by_torch(weights, case, source, target), rtol=0, atol=1e-12)


def saved(toolkit: Toolkit, weights: dict[str, np.ndarray], folder: Path) -> Path:
    """A checkpoint as the toolkit writes them."""
    tensors = {name: torch.from_numpy(array) for name, array in weights.items()}
    path = folder / "checkpoint.pt"
    if toolkit is OPENNMT:
        parts: dict[str, Any] = {"model": {}, "generator": {}, "opt": Namespace(rnn_type="LSTM", dropout=[0.3])}
        parts["optim"] = {"training_step": 3, "optimizer": {"state": {0: {"step": torch.tensor(3)}}}}
        for name, tensor in tensors.items():
            place, own = ("generator", name[10:]) if name.startswith("generator.") else ("model", name)
            parts[place][own] = tensor
        torch.save(parts, path)
    elif toolkit is FAIRSEQ:
        args, extra = Namespace(arch="lstm", lr=[0.25]), {"epoch": 2, "train_iterator": {"offset": 0}}
        torch.save({"args": args, "model": tensors, "optimizer_history": [{}], "extra_state": extra}, path)
    else:
        drawn = torch.arange(4, dtype=torch.uint8)
        torch.save({"steps": 5, "model_state": tensors, "best_ckpt_score": 1.5, "train_iter_state": drawn}, path)
    return path


def options_of(toolkit: Toolkit, folder: Path, words: tuple[list[str], list[str]] | None = None) -> list[str]:
    """Those that name the lists of words, by default its own, as the toolkit writes them."""
    found = ["--src-tokenizer", "space", "--trg-tokenizer", "space"]
    for side, tokens in zip(("src", "trg"), words or toolkit.tokens, strict=True):
        path = folder / f"dict.{side}.txt"
        lines = [f"{token} {9 - n}" for n, token in enumerate(tokens[4:])] if toolkit is FAIRSEQ else tokens
        path.write_text("\n".join(lines) + "\n")
        found += [f"--{side}-vocab", str(path)]
    return found + (["--layout", toolkit.layout] if LAYOUTS[toolkit.layout].must_be_named else [])


@each_case
def test_it_translates_as_the_toolkit_does(toolkit: Toolkit, case: str, tmp_path: Path, capsys) -> None:
    """Greedily, in the numbers of PyTorch, in the engine and in NumPy alone; and the log p of a given pair."""
    weights, to = toolkit.arrays(case), tmp_path / "model.seq2seq"
    path = saved(toolkit, weights, tmp_path)
    assert convert.main([str(path), "--to", str(to), *options_of(toolkit, tmp_path)]) == 0, capsys.readouterr().err
    assert f"{toolkit.layout}, encoder" in capsys.readouterr().out
    translator = Translator.load(to)
    source, target = toolkit.tokens
    text = tmp_path / "text"
    text.write_text("\n".join(SENTENCES) + "\n")
    assert list(decode.translations(str(to), str(text))) == translator.translate(SENTENCES)
    for sentence in SENTENCES:
        given = [*toolkit.before, *map(source.index, sentence.split()), *toolkit.behind]
        ids, best = [toolkit.begin], -1
        while best != toolkit.end and len(ids) < 12:
            logs = toolkit.by_torch(weights, case, given, ids)[-1]
            never = {target.index(mark) for mark in ("<pad>", "<blank>") if mark in target} | {toolkit.begin}
            never -= {toolkit.end}  # fairseq's begins with it, and its <s> is a word as any other
            best = int(np.where(np.isin(np.arange(len(logs)), [*never]), -np.inf, logs).argmax())
            ids.append(best)
        words = [target[index] for index in ids[1:] if index != toolkit.end]
        assert translator.translate([sentence])[0].split()[: len(words)] == words
    (pair,) = translator.score(["s1 s5 s0"], ["t5 t0"])
    given = [*toolkit.before, *map(source.index, ("s1", "s5", "s0")), *toolkit.behind]
    written = [*map(target.index, ("t5", "t0")), toolkit.end]
    logs = toolkit.by_torch(weights, case, given, [toolkit.begin, *written[:-1]])
    np.testing.assert_allclose(pair.log_probs, logs[np.arange(3), written], atol=2e-5)


def test_the_words_that_a_checkpoint_keeps_are_used(tmp_path: Path, capsys) -> None:
    """OpenNMT-py's, from version 3 on; a list that is named goes before it."""
    weights, to = OPENNMT.arrays("newer"), tmp_path / "model.seq2seq"
    path = saved(OPENNMT, weights, tmp_path)
    content = torch.load(path, weights_only=False)
    lists = {"src": OPENNMT.tokens[0], "tgt": OPENNMT.tokens[1], "src_feats": [["a"]]}
    content["vocab"] = lists | {"data_task": "seq2seq", "decoder_start_token": "<s>"}
    torch.save(content, path)
    assert convert.main([str(path), "--to", str(to), "--src-tokenizer", "space", "--trg-tokenizer", "space"]) == 0
    side = Translator.load(to).codec
    assert list(side.source.vocabulary.tokens[4:]) == OPENNMT.tokens[0][2:]
    assert list(side.target.vocabulary.tokens[4:]) == OPENNMT.tokens[1][4:]
    shorter = tmp_path / "shorter.txt"
    shorter.write_text("<unk>\n<blank>\ns0\n")
    again = [str(path), "--to", str(tmp_path / "b.seq2seq"), "--src-vocab", str(shorter)]
    assert convert.main(again) == 2
    assert "has 9 rows, the list of words 3" in capsys.readouterr().err


def of_torchtext(monkeypatch: pytest.MonkeyPatch) -> dict[str, type]:
    """Classes that have the names of torchtext's and OpenNMT-py's, which are gone when the file is read."""
    made: dict[str, type] = {}
    for place in ("torchtext.vocab.Vocab", "torchtext.data.field.Field", "onmt.inputters.text_dataset.TextMultiField"):
        room, name = place.rsplit(".", 1)
        made[name] = type(name, (), {"__module__": room, "unknown": lambda self: 0})
        for end in range(1, room.count(".") + 2):
            monkeypatch.setitem(sys.modules, ".".join(room.split(".")[:end]), ModuleType(room))
        monkeypatch.setattr(sys.modules[room], name, made[name], raising=False)
    return made


@pytest.mark.parametrize("form", ["several fields", "a field", "vocabularies"])
def test_the_fields_of_an_old_checkpoint_give_its_words(form: str, tmp_path: Path, capsys) -> None:
    """As OpenNMT-py had them from 1.0 on, before that, and at first; nothing of torchtext is needed."""
    weights, to = OPENNMT.arrays("brnn"), tmp_path / "model.seq2seq"
    path = saved(OPENNMT, weights, tmp_path)
    with pytest.MonkeyPatch.context() as known:
        kinds, vocab = of_torchtext(known), dict[str, Any]()
        for name, tokens in zip(("src", "tgt"), OPENNMT.tokens, strict=True):
            words, field, several = kinds["Vocab"](), kinds["Field"](), kinds["TextMultiField"]()
            stoi = defaultdict(words.unknown, {token: number for number, token in enumerate(tokens)})
            vars(words).update(itos=tokens, stoi=stoi, freqs=Counter(tokens))
            vars(field).update(vocab=words, tokenize=partial(str.split), lower=False, is_target=name == "tgt")
            vars(several).update(fields=[(name, field)])
            vocab[name] = {"several fields": several, "a field": [(name, field)], "vocabularies": words}[form]
        content = torch.load(path, weights_only=False)
        content["vocab"] = [*vocab.items()] if form == "vocabularies" else vocab
        torch.save(content, path)
    options = ["--src-tokenizer", "space", "--trg-tokenizer", "space"]
    assert convert.main([str(path), "--to", str(to), *options]) == 0, capsys.readouterr().err
    side = Translator.load(to).codec
    assert list(side.source.vocabulary.tokens[4:]) == OPENNMT.tokens[0][2:]
    assert list(side.target.vocabulary.tokens[4:]) == OPENNMT.tokens[1][4:]


@pytest.mark.parametrize(("toolkit", "tied"), [(FAIRSEQ, "decoder"), (FAIRSEQ, "all"), (JOEYNMT, "all")])
def test_a_table_that_is_shared_is_stored_once(toolkit: Toolkit, tied: str, tmp_path: Path, capsys) -> None:
    """Of embeddings as wide as the states; the conversion itself proves that the log-probabilities are the same."""
    own = {"tied": True} if toolkit is FAIRSEQ else toolkit.cases["luong"]
    wider, kind = {5: 6, 11: 12}, LAYOUTS[toolkit.layout]
    shapes = {
        name: (shape[0], *(wider.get(size, size) for size in shape[1:]))
        for name, shape in toolkit.shapes(**own).items()
    }
    rng = np.random.default_rng(0)
    weights = {name: rng.uniform(-0.8, 0.8, shape).astype(np.float32) for name, shape in shapes.items()}
    source, target = kind.source_table, kind.target_table  # type: ignore[attr-defined]
    weights |= {source: weights[target]} if tied == "all" else {}
    weights |= {"decoder.output_layer.weight": weights[target]} if toolkit is JOEYNMT else {}
    words = toolkit.tokens if tied == "decoder" else (toolkit.tokens[1],) * 2
    path, to = saved(toolkit, weights, tmp_path), tmp_path / "model.seq2seq"
    options = options_of(toolkit, tmp_path, words)
    assert convert.main([str(path), "--to", str(to), *options]) == 0, capsys.readouterr().err
    assert f"tie_weights {tied}" in capsys.readouterr().out
    translator = Translator.load(to)
    decoder, encoder = translator.model.decoder, translator.model.encoder
    assert decoder.embedding.weight is decoder.output.weight
    assert (encoder.embedding.weight is decoder.output.weight) == (tied == "all")
    tables = {convert.SOURCE, convert.TARGET, convert.OUTPUT} & set(model_file.read(to).weights)
    assert len(tables) == (1 if tied == "all" else 2)
    text = tmp_path / "text"
    text.write_text(f"{words[0][6]} {words[0][4]}\n")
    assert list(decode.translations(str(to), str(text))) == translator.translate(text.read_text().splitlines())


def test_without_words_the_option_is_named(tmp_path: Path, capsys) -> None:
    path = saved(JOEYNMT, JOEYNMT.arrays("luong"), tmp_path)
    assert convert.main([str(path), "--to", str(tmp_path / "model.seq2seq")]) == 2
    assert capsys.readouterr().err == "error: src_vocab is missing; expected --src-vocab FILE\n"


def test_a_dictionary_of_fairseq(tmp_path: Path) -> None:
    path = tmp_path / "dict.en.txt"
    path.write_text("the 120\n, 99\na b 7\n<s> 1 #fairseq:overwrite\n")
    tokens = read_tokens(str(path), LAYOUTS["fairseq-lstm"].tokens)
    assert tokens == ["<s>", "<pad>", "</s>", "<unk>", "the", ",", "a b", "<s>"]
    path.write_text("the 120\nalone\n")
    with pytest.raises(UserError, match=r"dict.en.txt: has a line 'alone'; expected a token and its count"):
        read_tokens(str(path), LAYOUTS["fairseq-lstm"].tokens)


def without(weights: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: array for name, array in weights.items() if name not in names}


def of_shapes(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    return {name: np.ones(shape, np.float32) for name, shape in shapes.items()}


BRNN, PLAIN, LUONG = OPENNMT.arrays("brnn"), FAIRSEQ.arrays("one direction"), JOEYNMT.arrays("luong")
ONE, DEEPER = np.ones((2, 2), np.float32), rnn_shapes("encoder.rnn", "lstm", 5, 3, 3, both=True)
TABLE = "encoder.embeddings.make_embedding.emb_luts.0.weight"
REFUSED: dict[str, tuple[Toolkit, dict[str, np.ndarray]]] = {
    "it has copy attention": (OPENNMT, BRNN | {"decoder.copy_attn.linear_in.weight": ONE}),
    "it has coverage": (OPENNMT, BRNN | {"decoder.attn.linear_cover.weight": ONE}),
    "it has a context gate": (OPENNMT, BRNN | {"decoder.context_gate.gate.weight": ONE}),
    "it has word features": (OPENNMT, BRNN | {"encoder.embeddings.make_embedding.emb_luts.1.weight": ONE}),
    "it has an array other, which this layout": (OPENNMT, BRNN | {"other": ONE}),
    "it lacks generator.weight": (OPENNMT, without(BRNN, "generator.0.weight", "generator.0.bias")),
    "it lacks encoder.rnn.bias_hh_l1": (OPENNMT, without(BRNN, "encoder.rnn.bias_hh_l1")),
    "it has 3 layers in the encoder, 2 in the decoder": (OPENNMT, BRNN | of_shapes(DEEPER)),
    "a bridge that mixes the states of its 3 layers": (OPENNMT, of_shapes(OPENNMT.shapes(bridge=True, layers=3))),
    "mlp attention without input feeding": (OPENNMT, of_shapes(OPENNMT.shapes(score="mlp", feeds=False))),
    "embeddings have 4 and 5 numbers": (OPENNMT, BRNN | {TABLE: np.ones((9, 4), np.float32)}),
    "an adaptive softmax": (FAIRSEQ, PLAIN | {"decoder.adaptive_softmax.head.weight": ONE}),
    "its encoder has 4 units, its decoder 6": (FAIRSEQ, of_shapes(FAIRSEQ.shapes(direction=4))),
    "its encoder has 4 units a direction, its decoder 6": (FAIRSEQ, of_shapes(FAIRSEQ.shapes(direction=4, both=True))),
    "it lacks decoder.attention.input_proj": (FAIRSEQ, without(PLAIN, "decoder.attention.input_proj.weight")),
    "expected --layout joeynmt-rnn-last or joeynmt-rnn-zero": (JOEYNMT, ZERO.arrays("zero")),
    "it has a bridge": (LAST, LUONG),
    "it has 2 layers in the encoder, 1 in the decoder": (JOEYNMT, of_shapes(JOEYNMT.shapes(encoder_layers=2))),
}  # fmt: skip


@pytest.mark.parametrize("line", REFUSED)
def test_what_cannot_be_had_is_refused_in_one_line(line: str, tmp_path: Path, capsys) -> None:
    toolkit, weights = REFUSED[line]
    path = saved(toolkit, weights, tmp_path)
    assert convert.main([str(path), "--to", str(tmp_path / "to.seq2seq"), *options_of(toolkit, tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {path}: ")
    assert line in said
    assert said.count("\n") == 1
    assert not (tmp_path / "to.seq2seq").exists()


SPOILT: dict[str, Any] = {
    "gone": lambda array: None,
    "flat": lambda array: array.reshape(-1),
    "nothing": lambda array: array[:0],
    "a number": lambda array: np.float32(1),
    "longer": lambda array: np.concatenate([array, array[:1]]),
    "wider": lambda array: np.concatenate([array, array], -1),
}


WHOLE = [
    (OPENNMT, "brnn"), (OPENNMT, "mlp"), (OPENNMT, "bridge"), (FAIRSEQ, "both"), (FAIRSEQ, "a layer behind"),
    (JOEYNMT, "luong"), (JOEYNMT, "bahdanau, GRU, three layers"),
]  # fmt: skip


@pytest.mark.parametrize("spoilt", SPOILT)
@pytest.mark.parametrize(("toolkit", "case"), WHOLE, ids=[f"{toolkit.layout}, {case}" for toolkit, case in WHOLE])
def test_no_array_can_be_another(toolkit: Toolkit, case: str, spoilt: str, tmp_path: Path, capsys) -> None:
    """Each in turn: every file is refused in one line, or is another whole model."""
    whole, options = toolkit.arrays(case), options_of(toolkit, tmp_path)
    for number, (name, array) in enumerate(whole.items()):
        weights, other = without(whole, name), SPOILT[spoilt](array)
        if other is not None and np.array_equal(other, array[0] if len(array) == 1 else array):
            continue  # it holds the same
        path, to = tmp_path / f"{number}", tmp_path / f"{number}.seq2seq"
        save(weights if other is None else weights | {name: np.asarray(other)}, path)
        code, said = convert.main([str(path), "--to", str(to), *options]), capsys.readouterr().err
        if code == 0:
            assert (spoilt, name) == ("gone", "decoder.attn.linear_in.weight"), name  # without it the score is dot
        else:
            assert said.count("\n") == 1
            assert said.startswith(("error: ", f"error: {path}: "))


@pytest.mark.parametrize(("toolkit", "name"), [
    (OPENNMT, "encoder.rnn.weight_hh_l0_reverse"), (FAIRSEQ, "decoder.attention.input_proj.weight"),
    (JOEYNMT, "decoder.att_vector_layer.weight"), (JOEYNMT, "decoder.bridge_layer.weight"),
])  # fmt: skip
def test_a_wrong_engine_is_found(toolkit: Toolkit, name: str, tmp_path: Path, monkeypatch, capsys) -> None:
    """The proof that each comparison can fail: one matrix of the engine's is another."""
    case = next(iter(toolkit.cases))
    weights, kind = toolkit.arrays(case), LAYOUTS[toolkit.layout]
    path, own = saved(toolkit, weights, tmp_path), kind.weights

    def turned(self: Any) -> dict[str, np.ndarray]:
        self.arrays = self.arrays | {name: self.arrays[name][::-1]}
        return own(self)

    monkeypatch.setattr(kind, "weights", turned)
    assert convert.main([str(path), "--to", str(tmp_path / "to.seq2seq"), *options_of(toolkit, tmp_path)]) == 2
    assert "expected a model of that layout" in capsys.readouterr().err
