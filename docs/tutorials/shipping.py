"""Shipping a model: one file, a program of a few hundred lines that translates with it, and a page that needs neither.

    python docs/tutorials/shipping.py

docs/shipping.md says what is in these files, and what they are checked for.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import seq2seq
from seq2seq import export
from seq2seq.decoding.translator import Translator

# %% A model, small: it learns to say numbers in words
ONES = "zero one two three four five six seven eight nine".split()
folder = Path(tempfile.mkdtemp())
pairs = "".join(
    f"{n // 100} {n // 10 % 10} {n % 10}\t{ONES[n // 100]} {ONES[n // 10 % 10]} {ONES[n % 10]}\n" for n in range(1000)
)
(folder / "pairs.tsv").write_text(pairs, encoding="utf-8")
run = seq2seq.train_run(
    data=folder / "pairs.tsv", run_dir=folder / "run", src_tokenizer="space", trg_tokenizer="space", encoder="bigru",
    decoder="attention", cell="gru", embedding_size=16, hidden_size=32, num_layers=1, dropout=0.0, batch_size=32,
    lr=0.01, epochs=6, teacher_forcing_ratio=1.0, init_range=0.1, samples=0, quiet=True,
)  # fmt: skip
questions = ["7 2 5", "0 0 9", "4 4 1"]
expected = run.translate(questions, beam_size=3)
print(dict(zip(questions, expected, strict=True)))

# %% One file: weights, settings and words, with a digest of all of it. int8 keeps a scale for each row
for form in ("full", "f16", "int8"):
    file = folder / f"{form}.seq2seq"
    assert export.main([str(run.path), "--to", str(file), "--weights", form]) == 0
    assert Translator.load(file).translate(questions, beam_size=3) == expected

# %% A file that was changed is refused, whoever changed it
(folder / "changed.seq2seq").write_bytes((folder / "full.seq2seq").read_bytes()[:-1] + b"!")
try:
    Translator.load(folder / "changed.seq2seq")
except seq2seq.run.errors.UserError as error:
    print("refused:", str(error).replace(str(folder), "FOLDER"))

# %% decode.py is written beside a file that is asked for it. It needs NumPy alone, so it runs where nothing of this
# project is installed
file = folder / "shipped.seq2seq"
assert export.main([str(run.path), "--to", str(file), "--reader", str(folder / "decode.py")]) == 0
words = subprocess.run(
    [sys.executable, str(folder / "decode.py"), str(file), "--beam-size", "3"],
    input="".join(f"{question}\n" for question in questions), capture_output=True, text=True, check=True,
).stdout.splitlines()  # fmt: skip
assert words == expected
print(f"decode.py, {len((folder / 'decode.py').read_text().splitlines())} lines, finds the same words")

# %% And a page: weights and program inside, it asks nobody for anything
assert export.main([str(run.path), "--to", str(folder / "model.html"), "--weights", "int8"]) == 0
print(f"model.html: {(folder / 'model.html').stat().st_size:,} bytes, open it in a browser")
