"""Models of Nematus, dl4mt and Marian in the names, shapes and orders of their files: the same numbers, and words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seq2seq import convert
from seq2seq.conversion.layouts import LAYOUTS, recognised
from seq2seq.conversion.layouts.contract import Layout
from seq2seq.decoding.translator import Translator
from seq2seq.run.errors import UserError
from seq2seq.shipping import decode
from seq2seq.text.vocabulary import EOS_ID, SOS_ID

Arrays = dict[str, np.ndarray]
E, H, D = 5, 6, 12
SOURCE = {"eos": 0, "UNK": 1, **{f"s{number}": number + 2 for number in range(7)}}
TARGET = {"eos": 0, "UNK": 1, "yes": 2, "t1": 3, "null": 4, "t3": 5, "~": 6, "t5": 7}
# Shapes as the files have them; the tables are below.
NEMATUS: dict[str, tuple[int, ...]] = {
    **{f"encoder{way}_{part}": shape for way in ("", "_r") for part, shape in (
        ("W", (E, 2 * H)), ("b", (2 * H,)), ("U", (H, 2 * H)), ("Wx", (E, H)), ("bx", (H,)), ("Ux", (H, H)))},
    "ff_state_W": (D, H), "ff_state_b": (H,),
    "decoder_W": (E, 2 * H), "decoder_b": (2 * H,), "decoder_U": (H, 2 * H),
    "decoder_Wx": (E, H), "decoder_Ux": (H, H), "decoder_bx": (H,),
    "decoder_U_nl": (H, 2 * H), "decoder_b_nl": (2 * H,), "decoder_Ux_nl": (H, H), "decoder_bx_nl": (H,),
    "decoder_Wc": (D, 2 * H), "decoder_Wcx": (D, H), "decoder_W_comb_att": (H, D), "decoder_Wc_att": (D, D),
    "decoder_b_att": (D,), "decoder_U_att": (D, 1), "decoder_c_tt": (1,),
    "ff_logit_lstm_W": (H, E), "ff_logit_lstm_b": (E,), "ff_logit_prev_W": (E, E), "ff_logit_prev_b": (E,),
    "ff_logit_ctx_W": (D, E), "ff_logit_ctx_b": (E,), "ff_logit_b": (8,),
}  # fmt: skip
TABLES: dict[str, dict[str, tuple[int, ...]]] = {  # by what is tied
    "nothing": {"Wemb": (9, E), "Wemb_dec": (8, E), "ff_logit_W": (E, 8)},
    "decoder": {"Wemb": (9, E), "Wemb_dec": (8, E)},
    "embeddings": {"Wemb": (8, E), "ff_logit_W": (E, 8)},
    "all": {"Wemb": (8, E)},
}
S2S = {
    "Wemb": "encoder_Wemb", "Wemb_dec": "decoder_Wemb", "decoder_U_nl": "decoder_cell2_U",
    "decoder_b_nl": "decoder_cell2_b", "decoder_Ux_nl": "decoder_cell2_Ux", "decoder_bx_nl": "decoder_cell2_bx",
    "decoder_Wc": "decoder_cell2_W", "decoder_Wcx": "decoder_cell2_Wx", "ff_logit_prev_W": "decoder_ff_logit_l1_W0",
    "ff_logit_lstm_W": "decoder_ff_logit_l1_W1", "ff_logit_ctx_W": "decoder_ff_logit_l1_W2",
    "ff_logit_prev_b": "decoder_ff_logit_l1_b0", "ff_logit_lstm_b": "decoder_ff_logit_l1_b1",
    "ff_logit_ctx_b": "decoder_ff_logit_l1_b2", "ff_logit_W": "decoder_ff_logit_l2_W",
    "ff_logit_b": "decoder_ff_logit_l2_b", "ff_state_W": "decoder_ff_state_W", "ff_state_b": "decoder_ff_state_b",
    **{f"encoder_{part}": f"encoder_bi_{part}" for part in ("W", "Wx", "U", "Ux", "b", "bx")},
    **{f"encoder_r_{part}": f"encoder_bi_r_{part}" for part in ("W", "Wx", "U", "Ux", "b", "bx")},
    **{f"decoder_{part}": f"decoder_cell1_{part}" for part in ("W", "Wx", "U", "Ux", "b", "bx")},
}  # fmt: skip
YAML = """dec-cell: {cell}
dec-cell-base-depth: 2
dec-depth: 1
dim-emb: 5
dim-vocabs:
  - 9
  - 8
enc-cell: {cell}
enc-cell-depth: 1
enc-depth: 1
enc-type: bidirectional
layer-normalization: false
skip: false
type: {kind}
version: v1.7.6
"""


def nematus(tied: str = "nothing") -> Arrays:
    rng = np.random.default_rng(0)
    shapes = NEMATUS | TABLES[tied]
    found = {name: rng.uniform(-0.8, 0.8, shape).astype(np.float32) for name, shape in shapes.items()}
    return found | {"history_errs": np.array([3.5]), "uidx": np.array(7)}


def marian(kind: str = "s2s", tied: str = "nothing", **settings: Any) -> Arrays:
    """As Marian saves it: biases of one row, settings as bytes with a zero behind them."""
    made = {name: array for name, array in nematus(tied).items() if name not in ("history_errs", "uidx")}
    made = {name: array[None] if array.ndim == 1 else array for name, array in made.items()}
    made["decoder_c_tt"] = np.zeros((1, 0), np.float32)
    if kind == "s2s":
        del made["decoder_c_tt"]
        made = {S2S.get(name, name): array for name, array in made.items()}
    if tied in ("embeddings", "all") and kind == "s2s":
        made["Wemb"] = made.pop("encoder_Wemb")
    text = YAML.format(kind=kind, cell="gru-nematus" if kind == "nematus" else "gru")
    for name, value in settings.items():
        text = "".join(
            f"{name.replace('_', '-')}: {value}\n" if line.startswith(f"{name.replace('_', '-')}:") else line
            for line in text.splitlines(keepends=True)
        )
    return made | {"special:model.yml": np.frombuffer(text.encode() + b"\0", np.int8)}


def turned(arrays: Arrays) -> Arrays:
    """With a row for each word in the output layer."""
    return arrays | {"decoder_ff_logit_l2_Wt": np.ascontiguousarray(arrays.pop("decoder_ff_logit_l2_W").T)}


FILES = {
    **{f"nematus, tied {tied}": ("nematus", nematus(tied)) for tied in TABLES},
    **{f"marian s2s, tied {tied}": ("marian", marian("s2s", tied)) for tied in TABLES},
    "marian amun": ("marian", marian("amun")), "marian nematus": ("marian", marian("nematus", "decoder")),
    "marian from 1.9 on": ("marian", turned(marian())),
    "marian without settings": ("marian", {k: v for k, v in marian().items() if k != "special:model.yml"}),
}  # fmt: skip


def torch_log_probs(tied: str, source: list[int], target: list[int | None]) -> np.ndarray:
    """(T, V) by PyTorch's own cells; None is the token before the first, whose vector is zeros."""
    torch = pytest.importorskip("torch")
    a = {name: torch.from_numpy(array.astype(np.float64)) for name, array in nematus(tied).items()}

    def cell(w: str, u: str, b: str, bx_within: bool) -> Any:
        """A GRUCell of arrays such as decoder_W and decoder_Wx: gates r, z, n, where z is u."""
        wx, ux, bx = w + "x", u.replace("U", "Ux"), b.replace("_b", "_bx")
        made = torch.nn.GRUCell(len(a[w]), H).double()
        nothing = torch.zeros(H).double()
        with torch.no_grad():
            made.weight_ih.copy_(torch.cat([a[w].T, a[wx].T]))
            made.weight_hh.copy_(torch.cat([a[u].T, a[ux].T]))
            made.bias_ih.copy_(torch.cat([a[b], nothing if bx_within else a[bx]]))
            made.bias_hh.copy_(torch.cat([nothing, nothing, a[bx] if bx_within else nothing]))
        return lambda x, h: made(x[None], h[None])[0]

    def through(xs: Any, step: Any) -> list[Any]:
        h, found = torch.zeros(H).double(), []
        for x in xs:
            h = step(x, h)
            found.append(h)
        return found

    linear = torch.nn.functional.linear
    with torch.no_grad():
        xs = a["Wemb"][torch.tensor(source)]
        there = through(xs, cell("encoder_W", "encoder_U", "encoder_b", False))
        back = through(xs.flip(0), cell("encoder_r_W", "encoder_r_U", "encoder_r_b", False))[::-1]
        outputs = torch.stack([torch.cat(pair) for pair in zip(there, back, strict=True)])
        h = torch.tanh(linear(outputs.mean(0), a["ff_state_W"].T, a["ff_state_b"]))
        first = cell("decoder_W", "decoder_U", "decoder_b", False)
        second = cell("decoder_Wc", "decoder_U_nl", "decoder_b_nl", True)
        table = a.get("Wemb_dec", a["Wemb"])
        rows = []
        for token in target:
            embedded = torch.zeros(E).double() if token is None else table[token]
            h = first(embedded, h)
            inner = torch.tanh(linear(outputs, a["decoder_Wc_att"].T, a["decoder_b_att"]) + h @ a["decoder_W_comb_att"])
            context = torch.softmax(inner @ a["decoder_U_att"][:, 0] + a["decoder_c_tt"], 0) @ outputs
            h = second(context, h)
            read = (("lstm", h), ("prev", embedded), ("ctx", context))
            total = sum(linear(x, a[f"ff_logit_{part}_W"].T, a[f"ff_logit_{part}_b"]) for part, x in read)
            logits = torch.tanh(total) @ a.get("ff_logit_W", table.T) + a["ff_logit_b"]
            rows.append(torch.log_softmax(logits, 0).numpy())
    return np.array(rows)


@pytest.mark.parametrize("case", FILES)
def test_the_equations_of_a_layout_are_pytorchs(case: str) -> None:
    name, arrays = FILES[case]
    layout, settings = recognised(arrays)
    assert layout.name == name
    assert (settings["hidden_size"], settings["embedding_size"]) == (H, E)
    tied = case.split()[-1] if "tied" in case else "decoder" if case == "marian nematus" else "nothing"
    source, target = [3, 7, 2, 0], [5, 2, 1, 7]
    expected = torch_log_probs(tied, source, [None, *target])
    np.testing.assert_allclose(layout.log_probs(source, [-1, *target]), expected, atol=1e-12)


def written(folder: Path, arrays: Arrays, marian: bool = False) -> list[str]:
    """The file of the weights, and options that name dictionaries as each toolkit keeps them."""
    np.savez(folder / "model.npz", **arrays)
    paths = [folder / "model.npz"]
    for side, words in (("src", SOURCE), ("trg", TARGET)):
        count = len(arrays.get("Wemb", ())) if side == "src" and "Wemb" in arrays else len(words)
        kept = {word: number for word, number in words.items() if number < count}
        path = folder / f"{side}.{'yml' if marian else 'json'}"
        if marian:
            quoted = {"eos": "</s>", "UNK": "<unk>", "~": '"~"'}
            path.write_text("".join(f"{quoted.get(word, word)}: {number}\n" for word, number in kept.items()))
        else:
            path.write_text(json.dumps(kept, indent=2))
        paths.append(path)
    return [str(paths[0]), "--src-vocab", str(paths[1]), "--trg-vocab", str(paths[2]),
            "--src-tokenizer", "space", "--trg-tokenizer", "space", "--max-output-length", "30",
            "--to", str(folder / "model.seq2seq")]  # fmt: skip


def greedy(layout: Layout, source: list[int]) -> list[int]:
    """The words that the layout's own numbers find, at most 30."""
    ids, best = [-1], -1
    while best != 0 and len(ids) <= 30:
        best = int(layout.log_probs([*source, 0], ids)[-1].argmax())
        ids.append(best)
    return [token for token in ids[1:] if token != 0]


@pytest.mark.parametrize("case", FILES)
def test_it_translates_as_the_layout_says(case: str, tmp_path: Path, capsys) -> None:
    name, arrays = FILES[case]
    assert convert.main(written(tmp_path, arrays, name == "marian")) == 0, capsys.readouterr().err
    assert f"{name}, encoder bigru, decoder conditional-gru" in capsys.readouterr().out
    translator = Translator.load(tmp_path / "model.seq2seq")
    layout, _ = recognised(arrays)
    words = {number: word if word != "UNK" else "<unk>" for word, number in TARGET.items()}
    for source in ([3, 7, 2], [5], [7, 7, 4, 3]):
        sentence = " ".join(f"s{number - 2}" for number in source)
        expected = [words[token] for token in greedy(layout, source)]
        assert translator.translate([sentence])[0].split() == expected
    (pair,) = translator.score(["s1 s5 s0"], ["t5 yes ~"])
    own = layout.log_probs([3, 7, 2, 0], [-1, 7, 2, 6])
    np.testing.assert_allclose(pair.log_probs, [own[0, 7], own[1, 2], own[2, 6], own[3, 0]], atol=1e-5)
    decoder = translator.model.decoder
    assert decoder.embedding.weight.array[SOS_ID].tolist() == [0] * E
    shares = not {"ff_logit_W", "decoder_ff_logit_l2_W", "decoder_ff_logit_l2_Wt"} & set(arrays)
    assert (decoder.embedding.weight is decoder.output.weight) == shares
    table = arrays.get("Wemb_dec", arrays.get("decoder_Wemb", arrays.get("Wemb")))
    np.testing.assert_array_equal(decoder.embedding.weight.array[EOS_ID], table[0])


def test_what_is_converted_ships(tmp_path: Path) -> None:
    """The reader of plain NumPy gives such a source its one mark, and begins with zeros."""
    assert convert.main(written(tmp_path, marian("s2s", "decoder"), True)) == 0
    to, sentences = tmp_path / "model.seq2seq", ["s1 s5 s0", "s3", "s2 other s2 s6"]
    (tmp_path / "source").write_text("".join(f"{sentence}\n" for sentence in sentences))
    for beam in (1, 3):
        expected = Translator.load(to).translate(sentences, beam_size=beam)
        assert list(decode.translations(str(to), str(tmp_path / "source"), beam)) == expected


def test_a_wrong_engine_is_found(tmp_path: Path, monkeypatch, capsys) -> None:
    """The proof that the comparison can fail: the second cell's bias before the reset gate instead of behind it."""
    arrays, own = nematus(), LAYOUTS["nematus"]._cell
    monkeypatch.setattr(LAYOUTS["nematus"], "_cell", lambda self, names, inside: own(self, names, False))
    assert convert.main(written(tmp_path, arrays)) == 2
    assert "expected a model of that layout" in capsys.readouterr().err
    assert not (tmp_path / "model.seq2seq").exists()


OTHERS: dict[str, tuple[Arrays, str]] = {
    "layer normalisation": (nematus() | {"encoder_W_lnb": np.ones(12)}, "it has layer normalisation (encoder_W_lnb)"),
    "deep cells": (nematus() | {"decoder_U_nl_drt_1": np.ones((6, 12))}, "it has deep transition cells"),
    "layers": (nematus() | {"encoder_2_W": np.ones((6, 12))}, "it has more layers (encoder_2_W)"),
    "factors": (nematus() | {"Wemb1": np.ones((9, 5))}, "it has factors, or more sources (Wemb1)"),
    "another array": (nematus() | {"ff_nextout_W": np.ones(3)}, "it has something else (ff_nextout_W)"),
    "another shape": (nematus() | {"decoder_Wc": np.ones((12, 13))}, "decoder_Wc has shape (12, 13); expected (12,"),
    "an array less": ({k: v for k, v in nematus().items() if k != "decoder_bx"}, "it lacks decoder_bx;"),
    "no output": ({k: v for k, v in nematus().items() if k != "ff_logit_b"}, "it lacks ff_logit_b;"),
    "marian's layers": (marian() | {"encoder_l2_cell1_W": np.ones((6, 12))}, "it has more layers (encoder_l2_cell1_W)"),
    "marian's norms": (marian(layer_normalization="true"), "its layer-normalization is 'true'; expected false"),
    "marian's cells": (marian(enc_cell="lstm"), "its enc-cell is 'lstm'; expected gru or gru-nematus"),
    "marian's type": (marian(type="transformer"), "its type is 'transformer'; expected amun or nematus or s2s"),
    "marian's depth": (marian(dec_cell_base_depth="4"), "its dec-cell-base-depth is '4'; expected 2"),
    "marian's skips": (marian(skip="true"), "its skip is 'true'; expected false"),
}  # fmt: skip


@pytest.mark.parametrize("case", OTHERS)
def test_other_models_are_refused_in_one_line(case: str, tmp_path: Path, capsys) -> None:
    arrays, message = OTHERS[case]
    assert convert.main(written(tmp_path, {name: np.float32(array) if array.dtype == float else array
                                           for name, array in arrays.items()})) == 2  # fmt: skip
    said = capsys.readouterr().err
    assert said.startswith(f"error: {tmp_path / 'model.npz'}: {message}")
    assert said.count("\n") == 1
    assert not (tmp_path / "model.seq2seq").exists()


def test_dictionaries_of_other_lengths(tmp_path: Path, capsys) -> None:
    """A model may know less words than its dictionary has, or have rows that no word is of."""
    command = written(tmp_path, nematus())
    more = TARGET | {"rare": 8, "rarer": 9}
    (tmp_path / "trg.json").write_text(json.dumps(more))
    (tmp_path / "src.json").write_text(json.dumps({word: n for word, n in SOURCE.items() if n < 7}))
    assert convert.main(command) == 0, capsys.readouterr().err
    translator = Translator.load(tmp_path / "model.seq2seq")
    assert translator.codec.trg_vocabulary.tokens[4:] == ("yes", "t1", "null", "t3", "~", "t5")
    assert translator.codec.source.num_inputs == 4 + 7
    (known,) = translator.score(["s1 s4"], ["t5 rare"])
    own = recognised(nematus())[0].log_probs([3, 6, 0], [-1, 7, 1])
    np.testing.assert_allclose(known.log_probs, [own[0, 7], own[1, 1], own[2, 0]], atol=1e-5)


def test_a_list_of_words_is_one_too(tmp_path: Path, capsys) -> None:
    command = written(tmp_path, nematus())
    (tmp_path / "src.json").unlink()
    (tmp_path / "src.txt").write_text("".join(f"{word}\n" for word in SOURCE))
    command[2] = str(tmp_path / "src.txt")
    assert convert.main(command) == 0, capsys.readouterr().err


def test_the_layout_can_be_named(tmp_path: Path, capsys) -> None:
    assert convert.main([*written(tmp_path, nematus()), "--layout", "marian"]) == 2
    assert "are not of layout marian" in capsys.readouterr().err
    with pytest.raises(UserError, match="are not of layout nematus"):
        recognised({"encoder_Wemb": np.ones((3, 2), np.float32)}, "nematus")
