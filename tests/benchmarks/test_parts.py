"""A part of a model or a search is one file: no other one names it, or one of its options, but for a reason."""

from __future__ import annotations

import parts
import pytest

DEFAULT = "the default of a setting, or a preset of a data set"
WORD = "the word means something else there"
CELL = "a recurrent cell of this name"
LAYER = "a layer of another toolkit"
BASE = "a part that is a kind of it"
FOR_ALL = "an option of any part that wants it; the model does what it says"
TOKENS = "targets are ids of text, whatever the source is"
FORMER = "public functions, older than the registered parts"
REPORT = "what a scoring says of the search"
SERVED = "what is served is text"
IDS = "the ids that are kept in files depend on it, or cannot be had with it"
READING = "how files are read, which is the same for all who read some"
ASKED = "a key of requests, within the limits of the server"
GOING_ON = "may be another one when a run goes on"

EVALUATE, SETTINGS, API = "seq2seq/evaluate.py", "seq2seq/decoding/settings.py", "seq2seq/api.py"
CONFIG, MASKS = "seq2seq/run/config.py", "seq2seq/models/masks.py"
STORED, EXPLAINING = "seq2seq/text/stored.py", "seq2seq/analysis/explaining.py"
FORMS, CORPUS, PLOT = "seq2seq/sources/forms.py", "seq2seq/sources/corpus.py", "seq2seq/plot.py"
KERAS = "seq2seq/conversion/keras_files.py"
CELLS, SCORES, RUNS = "seq2seq/models/cells.py", "seq2seq/models/attention.py", "seq2seq/decoding/runs.py"
ATTENTION, CONTEXT = (f"seq2seq/models/decoders/{name}.py" for name in ("attention", "gru_context"))

# What is named in other files than its own, and why.
KNOWN: dict[str, dict[str, str]] = {
    "source text": {
        "seq2seq/data.py": FORMER, "seq2seq/sources/__init__.py": FORMER, "seq2seq/gradcheck.py": TOKENS,
        "seq2seq/training/warm_up.py": TOKENS, CONFIG: DEFAULT, SETTINGS: WORD, "seq2seq/run/options.py": WORD,
        FORMS: WORD, "seq2seq/pages/svg.py": WORD, "seq2seq/inspection/page.py": WORD,
        "seq2seq/serving/answers.py": WORD, "seq2seq/serving/app.py": SERVED, "seq2seq/serve.py": SERVED,
        STORED: TOKENS,
    },
    "source vectors": {CONFIG: WORD, PLOT: WORD},
    "encoder cho-gru": {CELLS: CELL, CONTEXT: CELL},
    "encoder gru": {CELLS: CELL, ATTENTION: CELL, CONTEXT: CELL},
    "encoder lstm": {CELLS: CELL, ATTENTION: CELL, CONFIG: DEFAULT, KERAS: LAYER},
    "decoder lstm": {CELLS: CELL, ATTENTION: CELL, CONFIG: DEFAULT, KERAS: LAYER},
    "decoder attention": {
        "seq2seq/models/decoders/luong.py": BASE, "seq2seq/models/decoders/pointer_generator.py": BASE, PLOT: WORD,
    },
    "strategy beam": {
        SETTINGS: DEFAULT, "seq2seq/decoding/search.py": FORMER, EVALUATE: REPORT,
        "seq2seq/decoding/strategies/diverse_beam.py": BASE,
        EXPLAINING: "a beam is drawn",
    },
    "strategy exact": {EVALUATE: REPORT},
    "strategy greedy": {
        SETTINGS: "a beam of one", "seq2seq/decoding/search.py": FORMER,
        "seq2seq/decoding/translator.py": "a greedy translation comes token by token",
    },
    "option activation": {KERAS: LAYER},
    "option no_unk": {"seq2seq/serving/schema.py": "a field of a request"},
    "option reverse_source": {CONFIG: DEFAULT, "seq2seq/convert.py": "weights of another framework may read so"},
    "option source_marks": {"seq2seq/convert.py": "weights of another framework read other marks"},
    "option embedding_size": {CONFIG: DEFAULT},
    "option hidden_size": {CONFIG: DEFAULT},
    "option num_layers": {CONFIG: DEFAULT, "seq2seq/analysis/gates.py": "the gates of every layer are drawn"},
    "option data_format": {FORMS: READING, CORPUS: READING, RUNS: READING},
    "option header": {FORMS: READING, "seq2seq/sources/load.py": READING, "seq2seq/run/config_file.py": READING},
    "option src_column": {FORMS: READING},
    "option trg_column": {FORMS: READING},
    "option swap": {FORMS: READING, CORPUS: READING},
    "option truncate_source": {"seq2seq/text/codec.py": "what is added to a run is cut likewise", STORED: IDS},
    "option noise_drop": {"seq2seq/run/config_file.py": GOING_ON, STORED: IDS},
    "option noise_shuffle": {"seq2seq/run/config_file.py": GOING_ON, STORED: IDS},
    "option task": {STORED: IDS},
    "option dropout": {CONFIG: DEFAULT},
    "option variational_dropout": {MASKS: FOR_ALL, "seq2seq/run/devices.py": "no CUDA graph holds it"},
    "option recurrent_dropout": {MASKS: FOR_ALL},
    "option cell": {SCORES: WORD},
    "option coverage": {SCORES: WORD},
    "option attention": {SCORES: WORD, PLOT: WORD, "seq2seq/analysis/report.py": WORD},
    "option beam_size": {
        SETTINGS: "greedy where it is 1", RUNS: REPORT, EVALUATE: REPORT, API: REPORT,
        "seq2seq/serving/schema.py": ASKED, EXPLAINING: "a beam is drawn",
    },
    "option length_penalty": {
        RUNS: REPORT, EVALUATE: REPORT, API: REPORT, "seq2seq/serving/schema.py": ASKED,
    },
    "option exact_steps": {EVALUATE: REPORT},
}  # fmt: skip


def test_every_part_and_option_is_in_one_file_and_others_name_it_for_a_reason() -> None:
    found = {each.name: each for each in parts.touched()}
    assert {"decoder lstm", "constraint no-unk", "option dropout"} < found.keys()
    assert [name for name, each in found.items() if not (parts.ROOT / each.own).is_file()] == []
    named = {name: set(each.besides) for name, each in found.items() if each.besides}
    assert named == {name: set(files) for name, files in KNOWN.items()}


@pytest.mark.parametrize(
    ("program", "counts"),
    [
        ("if config.decoder == 'mine': pass", True),
        ("from parts import Mine", True),
        ("import parts\nparts.Mine()", True),
        ("config.mine", True),
        ("self.mine = nn.mine()", False),
        ('"""What is mine."""\nx = 1  # mine', False),
    ],
)
def test_what_names_a_part(program: str, counts: bool) -> None:
    texts, identifiers = parts.words(program)
    assert bool({"mine"} & texts | {"mine", "Mine"} & identifiers) == counts


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    parts.main([])
    assert "| encoder transformer | seq2seq/models/encoders/transformer.py | - |\n" in capsys.readouterr().out
