"""What a user may ask of a search, on the command line and in Python, and what is told where it cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from seq2seq import evaluate, translate
from seq2seq.decoding import settings
from seq2seq.decoding.constraints.length import LeastLength
from seq2seq.decoding.contract import Constraint, Hypothesis, Strategy
from seq2seq.decoding.unknown import replace_unknown
from seq2seq.models import option, register
from seq2seq.run import registry
from seq2seq.run.errors import UserError, UserTypeError
from seq2seq.run.options import RANGES

OPTIONS = registry.options(registry.SEARCH_PACKAGES)


def test_a_beam_of_one_is_greedy() -> None:
    assert settings.decoding().strategy.name == "greedy"
    assert settings.decoding(beam_size=2).strategy.name == "beam"
    assert settings.decoding(strategy="beam", beam_size=1, length_penalty=0.3).strategy.name == "greedy"


def test_options_reach_their_parts() -> None:
    found = settings.decoding("sample", temperature=2, top_k=np.int64(3), n_best=7, min_output_length=4, seed=9)
    assert (found.strategy.options.temperature, found.strategy.options.top_k) == (2.0, 3)
    assert (found.n_best, found.seed) == (7, 9)
    assert [(type(one), one.options.min_output_length) for one in found.constraints] == [(LeastLength, 4)]
    assert settings.decoding(no_unk=False, no_repeat_ngram_size=0).constraints == ()


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"strategy": "bean"}, UserError, r"strategy is 'bean'; did you mean beam\?"),
    ({"strategy": 3}, UserTypeError, "strategy is 3; expected text"),
    ({"strategy": ""}, UserError, "strategy is ''; expected text that is not empty"),
    ({"strategy": "greedy", "n_best": 2}, UserError, "n_best is 2; expected 1 with strategy greedy"),
    ({"strategy": "greedy", "beam_size": 2}, UserError, "beam_size is an option of strategy beam, "),
    ({"temperature": 0.5}, UserError, "temperature is an option of strategy sample; this search has strategy beam"),
    ({"strategy": "exact", "length_penalty": 0.5}, UserError, "length_penalty is an option of strategy beam, "),
    ({"strategy": "sample", "temperature": 0}, UserError, "temperature is 0.0; expected 0.001 to 1000"),
    ({"strategy": "sample", "top_p": 1.5}, UserError, "top_p is 1.5; expected 0 to 1"),
    ({"beam_size": 2, "length_penalty_form": "x"}, UserError, "length_penalty_form is 'x'; expected power or wu"),
    ({"no_unk": 1}, UserTypeError, "no_unk is 1; expected True or False"),
    ({"alignment": "yes"}, UserTypeError, "alignment is 'yes'; expected True or False"),
    ({"no_repeat_ngrams": 2}, UserTypeError, "search: there is no argument no_repeat_ngrams; did you mean no_re"),
    ({"xyzzy": 2}, UserTypeError, "search: there is no argument xyzzy; expected one of "),
    ({"prefixes": "a"}, UserTypeError, "prefixes: got one string; expected a list of texts"),
    ({"forbidden_words": ["a", 1]}, UserTypeError, "forbidden_words: text 2 is 1; expected strings"),
    ({"max_output_length": 0}, UserError, "max_output_length is 0; expected 1 to 100000"),
    ({"max_length_ratio": 0.0}, UserError, "max_length_ratio is 0.0; expected 0.01 to 1000"),
    ({"beam_size": 4, "strategy": "diverse-beam", "diversity_groups": 3}, UserError, "diversity_groups is 3; "),
]  # fmt: skip


@pytest.mark.parametrize(("given", "kind", "message"), WRONG, ids=range(len(WRONG)))
def test_what_cannot_be_is_one_line(given: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=f"^{message}") as error:
        settings.decoding(**given)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("command", [translate, evaluate], ids=["translate", "evaluate"])
def test_commands_have_every_option_with_its_default_and_range(command: Any) -> None:
    parser = command.build_parser()
    text = " ".join(parser.format_help().split())
    defaults = vars(parser.parse_args(["run"]))
    for name, field in OPTIONS.items():
        assert defaults[name] == field.default
        assert field.metadata["help"] in text
        assert name not in RANGES or f"({RANGES[name]}; default: {field.default})" in text
    asked = settings.asked(
        parser.parse_args(["run", "--strategy", "sample", "--top-k", "5", "--forbidden-words", "a b"])
    )
    assert (asked["strategy"], asked["top_k"], asked["forbidden_words"]) == ("sample", 5, ["a", "b"])
    settings.decoding(**settings.asked(parser.parse_args(["run"])))


# --- parts of one's own -----------------------------------------------------------------------------------------------
@pytest.fixture
def forgetting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is registered is forgotten after the test."""
    registry.names("strategy")
    monkeypatch.setattr(registry, "_parts", {kind: dict(parts) for kind, parts in registry._parts.items()})
    for name in list(RANGES):
        monkeypatch.setitem(RANGES, name, RANGES[name])
    monkeypatch.setitem(RANGES, "mine", RANGES["n_best"])


@pytest.mark.usefixtures("forgetting")
def test_a_strategy_and_a_constraint_of_ones_own_are_known_to_every_command() -> None:
    from dataclasses import make_dataclass

    options = make_dataclass("Options", [("mine", int, option(3, "a number of mine", 1, 9))], frozen=True)
    register("strategy", "backwards")(type("Backwards", (Strategy,), {"Options": options}))
    found = settings.decoding("backwards", mine=4)
    assert (found.strategy.name, found.strategy.options.mine) == ("backwards", 4)
    assert translate.build_parser().parse_args(["run", "--mine", "5"]).mine == 5
    with pytest.raises(UserError, match="mine is an option of strategy backwards; this search has strategy beam"):
        settings.decoding(mine=4)
    with pytest.raises(UserError, match="mine is 10; expected 1 to 9"):
        settings.decoding("backwards", mine=10)
    other = make_dataclass("Options", [("ours", bool, option(False, "a choice"))], frozen=True)
    register("constraint", "no-ours")(type("NoOurs", (Constraint,), {"Options": other}))
    assert [one.name for one in settings.decoding(ours=True).constraints] == ["no-ours"]


@pytest.mark.usefixtures("forgetting")
@pytest.mark.parametrize(
    ("kind", "name"), [("strategy", "hidden_size"), ("decoder", "temperature"), ("constraint", "lr")]
)
def test_options_of_models_and_of_searches_have_names_of_their_own(kind: str, name: str) -> None:
    from dataclasses import make_dataclass

    options = make_dataclass("Options", [(name, int, option(3, "a number of mine", 1, 9))], frozen=True)
    with pytest.raises(ValueError, match=f"{kind} mine has an option {name}; that name means something else already"):
        register(kind, "mine")(type("Mine", (), {"Options": options}))


# --- <unk> ------------------------------------------------------------------------------------------------------------
def test_unk_becomes_the_source_token_that_was_looked_at_most() -> None:
    alignment = np.array([[0.1, 0.7, 0.2], [0.4, 0.4, 0.2], [0.0, 0.1, 0.9]])
    hypothesis = Hypothesis((0, 0, 5), -1.0, -1.0, alignment)
    assert replace_unknown(["<unk>", "<unk>", "x"], hypothesis, ["a", "b", "c"]) == ["b", "a", "x"]
    with pytest.raises(UserError, match="replace_unk: the alignment is none; expected one with the 3 source tokens"):
        replace_unknown(["<unk>"], Hypothesis((0,), -1.0, -1.0), ["a", "b", "c"])
    with pytest.raises(UserError, match="replace_unk: the alignment is one with 3 positions; expected one with the 2"):
        replace_unknown(["<unk>", "<unk>", "x"], hypothesis, ["a", "b"])
