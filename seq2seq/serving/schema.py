"""What the JSON API takes and gives, with the limits of the server in it: OpenAPI shows them, pydantic keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from seq2seq.decoding.translator import Translator
from seq2seq.run.errors import UserError
from seq2seq.serving.limits import Limits

_STRICT = ConfigDict(extra="forbid", strict=True, protected_namespaces=())


class Found(BaseModel):
    """One translation of a sentence. Numbers that are none, as after NaN in a model, are null."""

    text: str
    score: float | None = Field(description="what translations are ranked by")
    log_prob: float | None = Field(description="natural logarithm of its probability")
    tokens: list[str]
    alignment: list[list[float]] | None = Field(
        None, description="how much each token looked at each token of the source, where that was asked for"
    )


class Translations(BaseModel):
    """The answer to a request for translations, sentence by sentence."""

    model: str
    translations: list[str] = Field(description="the best of each")
    source_tokens: list[list[str]] = Field(description="what the model reads of each")
    hypotheses: list[list[Found]] = Field(description="the n_best of each, best first")


class ModelFacts(BaseModel):
    """A model that is served."""

    name: str
    source_language: str | None
    target_language: str | None
    encoder: str
    decoder: str
    parameters: int
    precision: str
    max_output_length: int
    attends: bool = Field(description="whether it can say how it looked at the source")


class Models(BaseModel):
    """All of them; the first is taken where a request names none."""

    models: list[ModelFacts]
    max_characters: int
    max_sentences: int
    max_beam_size: int


class Health(BaseModel):
    """Whether requests are taken."""

    status: str


class Refusal(BaseModel):
    """Every error."""

    error: str


def requests(names: Sequence[str], limits: Limits) -> tuple[type[BaseModel], type[BaseModel]]:
    """What /stream takes, and what /translate does.

    Args:
        names: of the models, of which the first is the default.
    """
    sentences: Any = list[Annotated[str, Field(max_length=limits.max_characters)]]
    one_of: Any = Literal[tuple(names)]
    most = limits.max_beam_size
    shared: dict[str, Any] = {
        "sentences": (sentences, Field(min_length=1, max_length=limits.max_sentences)),
        "model": (one_of, Field(names[0])),
        "max_output_length": (int | None, Field(None, ge=1, description="cut translations after so many tokens")),
        "no_unk": (bool, Field(False, description="no translation holds <unk>")),
        "replace_unk": (bool, Field(False, description="<unk> becomes the source token most looked at")),
        "alignment": (bool, Field(False, description="say how each token looked at the source")),
    }
    of_search: dict[str, Any] = {
        "beam_size": (int, Field(1, ge=1, le=most, description="hypotheses kept at each step; 1 is greedy")),
        "length_penalty": (
            float,
            Field(1.0, ge=0, le=10, description="exponent of the length that divides a score"),
        ),
        "n_best": (int, Field(1, ge=1, le=most, description="translations of each sentence")),
    }
    streamed = create_model("StreamRequest", __config__=_STRICT, **shared)
    return streamed, create_model("TranslateRequest", __base__=streamed, **of_search)


def facts(name: str, translator: Translator) -> ModelFacts:
    """What is told of a model; no path."""
    config, codec = translator.settings, translator.codec
    return ModelFacts(
        name=name, source_language=config.src_language, target_language=config.trg_language,
        encoder=config.encoder, decoder=config.decoder,
        parameters=sum(parameter.numel() for parameter in translator.model.parameters()),
        precision=translator.precision, max_output_length=codec.max_output_length, attends=_attends(translator),
    )  # fmt: skip


def _attends(translator: Translator) -> bool:
    """Found by asking it: what a decoder can tell depends on its options, and on those that translate with it."""
    try:
        translator.stream(["a"], lambda number, found: None, alignment=True, max_output_length=1)
    except UserError:
        return False
    return True
