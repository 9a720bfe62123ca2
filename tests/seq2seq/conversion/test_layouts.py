"""Models of the tutorials, made by PyTorch as their authors make them: the same numbers and words here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minigrad import save
from seq2seq import convert
from seq2seq.conversion.files import read_arrays
from seq2seq.conversion.layouts import LAYOUTS, recognised
from seq2seq.conversion.layouts.tutorials import TutorialAttention
from seq2seq.conversion.words import NEVER, Words
from seq2seq.decoding.translator import Translator
from seq2seq.run.errors import UserError

TUTORIALS = "tutorial-lstm", "tutorial-gru-context", "tutorial-attention"
SOURCE = ["<unk>", "<pad>", "<sos>", "<eos>", *(f"s{number}" for number in range(7))]
TARGET = ["t0", "t1", "</s>", "t2", "<s>", "t3", "t4", "<pad>", "t5"]  # in an order of its own, without <unk>


def shapes(layout: str, layers: int = 2) -> dict[str, tuple[int, ...]]:
    """Of the tutorials' state_dict; E = 5, H = 6."""
    if layout == "tutorial-attention":
        return TutorialAttention.shapes(len(SOURCE), len(TARGET), 5, 6)
    gates, context = (4, 0) if layout == "tutorial-lstm" else (3, 6)
    layers = layers if layout == "tutorial-lstm" else 1
    found: dict[str, tuple[int, ...]] = {}
    for part, words, more in (("encoder", SOURCE, 0), ("decoder", TARGET, context)):
        found[f"{part}.embedding.weight"] = (len(words), 5)
        for layer in range(layers):
            width = 6 if layer else 5 + more
            found |= {f"{part}.rnn.weight_ih_l{layer}": (gates * 6, width)}
            found |= {f"{part}.rnn.weight_hh_l{layer}": (gates * 6, 6)}
            found |= {f"{part}.rnn.bias_{kind}_l{layer}": (gates * 6,) for kind in ("ih", "hh")}
    width = 6 if layout == "tutorial-lstm" else 5 + 2 * 6
    return found | {"decoder.fc_out.weight": (len(TARGET), width), "decoder.fc_out.bias": (len(TARGET),)}


def arrays(layout: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.uniform(-0.8, 0.8, shape).astype(np.float32) for name, shape in shapes(layout).items()}


@pytest.fixture
def lists(tmp_path: Path) -> list[str]:
    """Options that name both lists of words."""
    (tmp_path / "src.txt").write_text("\n".join(SOURCE) + "\n")
    (tmp_path / "trg.json").write_text(str(TARGET).replace("'", '"'))
    return ["--src-vocab", str(tmp_path / "src.txt"), "--trg-vocab", str(tmp_path / "trg.json"),
            "--src-tokenizer", "space", "--trg-tokenizer", "space"]  # fmt: skip


def torch_log_probs(layout: str, weights: dict[str, np.ndarray], source: list[int], target: list[int]) -> np.ndarray:
    """(T, V) by PyTorch's own modules, put together as the tutorials do."""
    torch = pytest.importorskip("torch")
    if layout == "tutorial-attention":
        return torch_log_probs_with_attention(weights, source, target)
    of = {name: torch.from_numpy(array) for name, array in weights.items()}
    kind, context = (torch.nn.LSTM, 0) if layout == "tutorial-lstm" else (torch.nn.GRU, 6)
    depth = sum(name.startswith("encoder.rnn.weight_ih") for name in weights)
    encoder, decoder = kind(5, 6, depth), kind(5 + context, 6, depth)
    for part, rnn in (("encoder", encoder), ("decoder", decoder)):
        rnn.load_state_dict({key.split(".")[2]: of[key] for key in weights if key.startswith(f"{part}.rnn")})
    with torch.no_grad():
        _, state = encoder(of["encoder.embedding.weight"][torch.tensor(source)][:, None])
        embedded = of["decoder.embedding.weight"][torch.tensor(target)][:, None]
        if context:
            beside = state[-1:].expand(len(target), 1, 6)
            y, _ = decoder(torch.cat([embedded, beside], 2), state)
            y = torch.cat([embedded, y, beside], 2)
        else:
            y, _ = decoder(embedded, state)
        logits = y[:, 0] @ of["decoder.fc_out.weight"].T + of["decoder.fc_out.bias"]
        return torch.log_softmax(logits, 1).numpy()


def torch_log_probs_with_attention(weights: dict[str, np.ndarray], source: list[int], target: list[int]) -> np.ndarray:
    """The same of their third model, a step at a time."""
    torch = pytest.importorskip("torch")
    of = {name: torch.from_numpy(array) for name, array in weights.items()}
    encoder, decoder = torch.nn.GRU(5, 6, bidirectional=True), torch.nn.GRU(2 * 6 + 5, 6)
    for part, rnn in (("encoder", encoder), ("decoder", decoder)):
        rnn.load_state_dict({key.split(".")[2]: of[key] for key in weights if key.startswith(f"{part}.rnn")})

    def linear(name: str, x: Any) -> Any:
        return torch.nn.functional.linear(x, of[f"{name}.weight"], of.get(f"{name}.bias"))

    with torch.no_grad():
        outputs, hidden = encoder(of["encoder.embedding.weight"][torch.tensor(source)][:, None])
        hidden, found = torch.tanh(linear("encoder.fc", torch.cat([hidden[-2], hidden[-1]], 1))), []
        for token in target:
            both = torch.cat([hidden[None].repeat(len(source), 1, 1), outputs], 2)
            energy = torch.tanh(linear("decoder.attention.attn_fc", both))
            context = (torch.softmax(linear("decoder.attention.v_fc", energy), 0) * outputs).sum(0)
            embedded = of["decoder.embedding.weight"][[token]]
            _, (hidden,) = decoder(torch.cat([embedded, context], 1)[None], hidden[None])
            found.append(linear("decoder.fc_out", torch.cat([hidden, context, embedded], 1))[0])
        return torch.log_softmax(torch.stack(found), 1).numpy()


@pytest.mark.parametrize("name", TUTORIALS)
def test_the_equations_of_a_layout_are_pytorchs(name: str) -> None:
    layout, settings = recognised(arrays(name))
    assert layout.name == name
    assert (settings["hidden_size"], settings["embedding_size"]) == (6, 5)
    source, target = [2, 5, 9, 4, 3], [4, 0, 5, 8]
    expected = torch_log_probs(name, layout.arrays, source, target)
    np.testing.assert_allclose(layout.log_probs(source, target), expected, atol=1e-5)


@pytest.mark.parametrize("name", TUTORIALS)
@pytest.mark.parametrize("form", ["archive", "legacy", "safetensors", "checkpoint"])
def test_it_translates_as_the_layout_says(name: str, form: str, tmp_path: Path, lists: list[str], capsys) -> None:
    weights, path = arrays(name), tmp_path / "weights"
    if form == "safetensors":
        save(weights, path)
    else:
        torch = pytest.importorskip("torch")
        tensors = {key: torch.from_numpy(array) for key, array in weights.items()}
        held = {"epoch": 3, "model_state_dict": tensors, "best": torch.tensor(0.5)} if form == "checkpoint" else tensors
        torch.save(held, path, _use_new_zipfile_serialization=form != "legacy")
    to = tmp_path / "model.seq2seq"
    assert convert.main([str(path), "--to", str(to), *lists]) == 0
    assert f"{name}, encoder" in capsys.readouterr().out
    translator = Translator.load(to)
    layout, _ = recognised(weights)
    for source in ([5, 9, 4], [10, 4], [6]):
        ids, best = [4], -1
        while best != 2 and len(ids) < 30:  # greedy, in the layout's own numbers
            best = int(layout.log_probs([2, *source, 3], ids)[-1].argmax())
            ids.append(best)
        words = [TARGET[index] for index in ids[1:] if index not in (2, 4, 7)]
        sentence = " ".join(SOURCE[index] for index in source)
        assert translator.translate([sentence])[0].split()[: len(words)] == words
    (pair,) = translator.score(["s1 s5 s0"], ["t5 t0"])
    own = layout.log_probs([2, 5, 9, 4, 3], [4, 8, 0])
    np.testing.assert_allclose(pair.log_probs, [own[0, 8], own[1, 0], own[2, 2]], atol=1e-5)


def test_former_names_and_reversed_sources(tmp_path: Path, lists: list[str]) -> None:
    weights = {name.replace("fc_out", "out"): array for name, array in arrays("tutorial-lstm").items()}
    save(weights, tmp_path / "weights")
    to = tmp_path / "model.seq2seq"
    assert convert.main([str(tmp_path / "weights"), "--to", str(to), *lists, "--reverse-source"]) == 0
    layout, _ = recognised(weights)
    (pair,) = Translator.load(to).score(["s1 s5 s0"], ["t5"])
    own = layout.log_probs([2, 4, 9, 5, 3], [4, 8])
    np.testing.assert_allclose(pair.log_probs, [own[0, 8], own[1, 2]], atol=1e-5)


def test_attention_of_former_names_and_of_two_sizes(tmp_path: Path, lists: list[str], capsys) -> None:
    weights = {name.replace("_fc.", "."): array for name, array in arrays("tutorial-attention").items()}
    save(weights, tmp_path / "weights")
    to = tmp_path / "model.seq2seq"
    assert convert.main([str(tmp_path / "weights"), "--to", str(to), *lists]) == 0
    assert "plain_output True" in capsys.readouterr().out
    weights["decoder.rnn.weight_hh_l0"] = np.ones((21, 7), np.float32)
    with pytest.raises(UserError, match="states have 6 numbers in the encoder and 7 in the decoder; expected as many"):
        recognised(weights)
    weights["decoder.rnn.weight_hh_l0"], weights["encoder.fc.bias"] = np.ones((18, 6), np.float32), np.ones(5)
    with pytest.raises(UserError, match="are not known"):
        recognised(weights)


def test_a_wrong_engine_is_found(tmp_path: Path, lists: list[str], monkeypatch, capsys) -> None:
    """The proof that the comparison can fail: gates in another order."""
    weights = arrays("tutorial-lstm")
    save(weights, tmp_path / "weights")
    swapped = np.r_[6:12, 0:6, 12:24]
    name = "decoder.rnn.weight_hh_l1"
    monkeypatch.setattr(LAYOUTS["tutorial-lstm"], "weights", lambda self: self.arrays | {name: weights[name][swapped]})
    assert convert.main([str(tmp_path / "weights"), "--to", str(tmp_path / "model.seq2seq"), *lists]) == 2
    assert "expected a model of that layout" in capsys.readouterr().err
    assert not (tmp_path / "model.seq2seq").exists()


def test_a_mark_that_the_file_lacks_is_never_written() -> None:
    words = Words(TARGET, "trg")
    table = np.arange(len(TARGET) * 2.0).reshape(-1, 2)
    np.testing.assert_array_equal(words.rows(table, "x")[:5], [[0, 0], [14, 15], [8, 9], [4, 5], [0, 1]])
    assert words.rows(table[:, 0], "x", NEVER)[0] == NEVER
    assert words.file_ids([2, 4, 3]) == [4, 0, 2]


BAD = {
    "an array is missing": lambda weights: weights.pop("decoder.rnn.bias_hh_l1"),
    "an array too many": lambda weights: weights.update(other=np.ones(2, np.float32)),
    "other widths": lambda weights: weights.update({"decoder.fc_out.weight": np.ones((9, 7), np.float32)}),
    "other rows": lambda weights: weights.update({"encoder.embedding.weight": np.ones((10, 5), np.float32)}),
}


@pytest.mark.parametrize("fault", BAD)
def test_other_weights_are_refused_in_one_line(fault: str, tmp_path: Path, lists: list[str], capsys) -> None:
    weights = arrays("tutorial-lstm")
    BAD[fault](weights)
    save(weights, tmp_path / "weights")
    assert convert.main([str(tmp_path / "weights"), "--to", str(tmp_path / "model.seq2seq"), *lists]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {tmp_path / 'weights'}: ")
    assert said.count("\n") == 1
    assert "known (tutorial-lstm, tutorial-gru-context" in said or "has 10 rows, the list of words 11" in said


def test_lists_of_words(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"trg: has no <eos>; expected it among the tokens, as <eos> or </s>"):
        Words(["<sos>", "a"], "trg")
    with pytest.raises(UserError, match=r"trg: tokens repeat \['a'\]"):
        Words(["<sos>", "<eos>", "a", "a"], "trg")
    with pytest.raises(UserError, match="trg: has no words; expected some beside the marks"):
        Words(["<sos>", "<eos>", "<unk>"], "trg")


def test_what_holds_no_weights(tmp_path: Path) -> None:
    for number, content in enumerate(({"a": 1}, {"ids": np.arange(3)}, [np.ones(2, np.float32)])):
        save(content, tmp_path / f"{number}")
        with pytest.raises(UserError, match="holds no arrays by name"):
            read_arrays(tmp_path / f"{number}")
