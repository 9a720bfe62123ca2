"""What the commands that use a run say of what cannot be had: no translation, no data, several where one is wanted."""

from __future__ import annotations

import pytest

from seq2seq import Translator
from seq2seq.run.errors import UserError


def test_constraints_that_no_output_fits_are_told(train, run, corpus) -> None:
    folder = train("run", "--max-steps", 1)
    asked = ["--no-repeat-ngram-size", 1, "--min-output-length", 30, "--max-output-length", 40, "--beam-size", 2]
    for command in (["translate", folder, "--input", corpus], ["evaluate", folder, "--split", "valid"]):
        result = run(*command, *asked)
        assert result.code == 0
        assert "have no translation: what is asked for, or a NaN of the model, left no token" in result.err
        assert "no translation" not in run(*command).err


def test_a_model_file_does_not_guess_where_its_data_lie(train, run, refused, corpus, tmp_path) -> None:
    folder, model = train("run", "--max-steps", 1), tmp_path / "model.seq2seq"
    assert run("export", folder, "--to", model).code == 0
    refused(f"{model}: a model file does not know where its data lie; expected --test with files", "evaluate", model)
    assert run("evaluate", model, "--test", corpus).code == 0


def test_one_translation_of_each_sentence_is_no_list(train) -> None:
    translator = Translator.load(train("run", "--max-steps", 1))
    with pytest.raises(UserError, match=r"translate: n_best is given; expected Translator\.search"):
        translator.translate(["1 2"], beam_size=2, n_best=2)
