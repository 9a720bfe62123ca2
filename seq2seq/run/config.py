"""The settings of a run: one frozen dataclass, and a preset per data set.

The settings below are those of every run, with the defaults of the PyTorch tutorials' model; the source, the encoder
and the decoder that it names bring options of their own (``seq2seq.run.registry``). Where settings come from stands in
``seq2seq.run.settings``, how a run keeps them in ``seq2seq.run.config_file``.
"""

from __future__ import annotations

import dataclasses
import functools
import typing
from typing import Any, Literal, TypeVar

from seq2seq.run import registry
from seq2seq.run.errors import UserError
from seq2seq.run.messages import shown
from seq2seq.run.options import convert
from seq2seq.run.parser import suggestion

Value = TypeVar("Value")


def changeable(default: Value, lasts: bool = True) -> Value:
    """A setting of which a run may go on with another value.

    Args:
        lasts: whether later continuations go by it too (the manifest keeps it then), or this one alone.
    """
    kept: Value = dataclasses.field(default=default, metadata={"changeable": "lasts" if lasts else "now"})
    return kept


@dataclasses.dataclass(frozen=True, init=False)
class Config:
    """Every setting of a training run, given by name; those that are left out have their defaults.

    The comments are the help texts of the command line. ``options`` are those of the source, the encoder and the
    decoder, which are read like the fields. With those that are ``changeable`` a run may go on otherwise than it began.

    Raises:
        UserError: an unknown source, encoder or decoder, or an option that they do not have.
    """

    # numbers, multi30k, spa-eng, scan, cmudict, or files: CORPUS.tsv (.csv, .jsonl, .txt), SRC,TRG, a folder or .zip, -
    data: str = "numbers"
    # folder that holds the public data sets; by default they are downloaded and checked
    data_dir: str | None = changeable(None, lasts=False)
    # further training pairs, in the form of --data FILES; those with a source of valid or test are left out
    add_data: str | None = changeable(None)
    # a run, or a model file, whose weights, tokenizers and known words are the start of this one
    init_from: str | None = None
    # source and target language codes; by default those of the data set
    src_language: str | None = None
    trg_language: str | None = None
    # validation and test files for --data FILES, in the same form; by default a part is held out of the training data
    valid: str | None = None
    test: str | None = None
    # word, space, char or sentencepiece; by default what suits the data set
    src_tokenizer: str | None = None
    trg_tokenizer: str | None = None
    # lower-case all text
    lower: bool | None = None
    # words seen less often become <unk>
    min_freq: int | None = None
    # keep at most this many words (for sentencepiece: its vocabulary size)
    max_vocab_size: int | None = None
    # one vocabulary for both sides, and with sentencepiece one model
    share_vocab: bool = False
    # what sentencepiece learns: bpe, or unigram
    subword_model: Literal["bpe", "unigram"] = "bpe"
    # of unigram: draw the subwords of the training text anew in each epoch, by their probability to the power of this
    subword_alpha: float | None = None
    # of so many likeliest splits of a sentence; by default of all
    subword_nbest: int | None = None
    # of bpe: draw them anew in each epoch, each merge being left out with this probability
    bpe_dropout: float = 0.0
    # leave out training pairs with more tokens than this on one side
    max_length: int | None = changeable(None)
    # folder for the ids of the training pairs, for corpora larger than memory; by default they are kept in memory
    data_cache: str | None = changeable(None, lasts=False)
    # shuffle so many neighbouring pairs at a time, and the order of these blocks; 0 shuffles all pairs together
    shuffle_block: int = 0

    # the kind of source
    source: str = "text"
    # what reads the source
    encoder: str = "lstm"
    # what writes the target
    decoder: str = "lstm"
    # layers that share their weights: none, decoder (its embedding and output layer), or all (the source's too)
    tie_weights: Literal["none", "decoder", "all"] = "none"
    # weights start in U(-init_range, init_range), unless a part draws its own
    init_range: float = 0.08

    # passes over the training data
    epochs: int = changeable(10)
    # stop after this many steps in all
    max_steps: int | None = changeable(None)
    # instead: train for this long in all, such as 20m or 1h30m; epochs and the schedule are planned for it
    budget: str | None = changeable(None, lasts=False)
    # sentences in a batch
    batch_size: int = changeable(128)
    # instead: positions in a training batch, those of padding and the marks of both sides counted
    batch_tokens: int | None = changeable(None)
    # batches whose gradients add up to one update
    accumulate: int = changeable(1)
    # what makes updates of gradients: adam, adamw (whose weight decay is apart from the gradient), or sgd
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    # learning rate; with a warm-up or a schedule the highest one
    lr: float = changeable(1e-3)
    # the rate after its warm-up: constant, cosine, inverse-sqrt, step (lower every so many updates), exponential (the
    # same without steps), or plateau (lower when validations get no better)
    lr_schedule: Literal["constant", "cosine", "inverse-sqrt", "step", "exponential", "plateau"] = changeable(
        "constant"
    )
    # first updates, over which the rate rises in a straight line
    warmup_steps: int = changeable(0)
    # updates after which a cosine is down, by default all of the run as it is started; of step and exponential those
    # over which the rate falls by lr_factor
    lr_steps: int | None = changeable(None)
    # a cosine ends at this rate, and step, exponential and plateau go no lower
    min_lr: float = changeable(0.0)
    # the rate is multiplied by this at a plateau, and over lr_steps updates of step and exponential
    lr_factor: float = changeable(0.5)
    # validations in a row that may be no better before that is a plateau
    lr_patience: int = changeable(0)
    # share of the former update that is kept in the next one, for sgd
    momentum: float = changeable(0.0)
    # decay of the first moment, for adam and adamw
    adam_beta1: float = changeable(0.9)
    # decay of the second one
    adam_beta2: float = changeable(0.999)
    # what is added to the root of the second one, by which the first is divided
    adam_eps: float = changeable(1e-8)
    # every update also shrinks the weights: for adam and sgd as an L2 penalty, for adamw apart from the gradient
    weight_decay: float = changeable(0.0)
    # parameters that it leaves as they are: none, vectors (biases, and scales of layer norm), or vectors-and-embeddings
    exclude_from_weight_decay: Literal["none", "vectors", "vectors-and-embeddings"] = "none"
    # gradients are clipped to this global norm
    clip_norm: float = changeable(1.0)
    # probability, step by step, that the decoder is given the right word instead of its own; with a decay the first one
    teacher_forcing_ratio: float = changeable(0.5)
    # how that probability falls from update to update: constant, linear, exponential or inverse-sigmoid
    forcing_decay: Literal["constant", "linear", "exponential", "inverse-sigmoid"] = changeable("constant")
    # it falls no lower
    forcing_end: float = changeable(0.0)
    # updates that decide how fast it falls
    forcing_steps: int | None = changeable(None)
    # probability that a source word is read as <unk> in training
    src_word_dropout: float = changeable(0.0)
    # the same for a word of the target that the decoder is given
    trg_word_dropout: float = changeable(0.0)
    # probability that a word's vector is zeroed wherever it stands in a batch, on each side (Gal and Ghahramani, 2016)
    embedding_dropout: float = changeable(0.0)
    # probability that a number is zeroed of those that the output layer reads
    output_dropout: float = changeable(0.0)
    # share of the target probability that is spread over all words (Szegedy et al., 2016)
    label_smoothing: float = changeable(0.0)
    # share of the former mean in a mean of the weights over the updates, which is validated and kept; 0 keeps none
    ema_decay: float = 0.0
    # figure of a validation that chooses the best checkpoint: val_loss, ppl_forced, ppl_free, or a metric such as bleu
    best_metric: str = "val_loss"
    # end after so many validations in a row that were no better
    patience: int | None = changeable(None)
    # validation sentences that are translated, printed and kept after each epoch; 0 for none
    samples: int = changeable(5, lasts=False)
    # write the figures as TensorBoard reads them, too (pip install '.[track]')
    tensorboard: bool = changeable(False, lasts=False)
    # keep the weights of so many of the best epochs, for python -m seq2seq.average
    keep_best: int = 1
    # translations end after this many tokens; by default the longest training target plus a half
    max_output_length: int | None = None

    # all that is drawn is a function of this number
    seed: int = 1234
    # where the run is kept; by default runs/DATA-N with the next free N
    run_dir: str | None = changeable(None, lasts=False)
    # go on with the run in --run-dir exactly where it stopped
    resume: bool = changeable(False, lasts=False)
    # check everything, read the data, tell memory and time, and write nothing
    dry_run: bool = changeable(False, lasts=False)
    # save the last checkpoint also every so many steps (it is always saved after an epoch and at Ctrl-C)
    save_every: int | None = changeable(None, lasts=False)
    # where to compute: cpu, or cuda for an NVIDIA GPU
    device: Literal["cpu", "cuda"] = changeable("cpu", lasts=False)
    # of the arithmetic; bf16 and tf32 (that one on cuda): of products alone, the rest stays in fp32
    precision: Literal["fp32", "tf32", "bf16", "fp64"] = "fp32"
    # processor threads; by default all
    threads: int | None = changeable(None, lasts=False)

    options: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __init__(self, **settings: Any) -> None:
        base = {field.name: field for field in BASE}
        for name, field in base.items():
            object.__setattr__(self, name, settings.pop(name, field.default))
        options = registry.options_of({kind: getattr(self, kind) for kind in registry.PACKAGES})
        given = settings.pop("options", {}) | settings
        for name in given:
            _require_option(name, options, self)
        object.__setattr__(self, "options", options | given)

    def __getattr__(self, name: str) -> Any:
        """An option of the run's source, encoder or decoder, as if it were a field."""
        try:
            return self.__dict__["options"][name]
        except KeyError:
            raise AttributeError(f"Config has no setting {name}") from None

    @property
    def languages(self) -> tuple[str | None, str | None]:
        """The codes of source and target that are asked for."""
        return self.src_language, self.trg_language

    def as_dict(self) -> dict[str, Any]:
        """All settings by name, the options among them."""
        return {field.name: getattr(self, field.name) for field in BASE} | self.options


BASE = tuple(field for field in dataclasses.fields(Config) if field.name != "options")
# Of those that may change: all, and those that later continuations go by too.
CHANGEABLE = tuple(field.name for field in BASE if "changeable" in field.metadata)
LASTING = tuple(field.name for field in BASE if field.metadata.get("changeable") == "lasts")
registry.reserve({field.name for field in BASE} | {"as_dict", "languages", "options"})


def _require_option(name: str, options: dict[str, Any], config: Config) -> None:
    """UserError unless the parts of the run have an option of this name."""
    if name in options:
        return
    owners = list(registry.owners(name))
    if not owners:
        raise TypeError(f"Config has no setting {name}")
    chosen = ", ".join(f"{kind} {getattr(config, kind)}" for kind in registry.PACKAGES)
    raise UserError(f"{name} is an option of {' and '.join(owners)}; this run has {chosen}")


def field_types() -> dict[str, Any]:
    """The type of every setting there is: those of each run, and the options of all registered parts."""
    return _base_types() | {name: registry.type_of(field) for name, field in registry.options().items()}


def field_type(name: str) -> Any:
    """The type of one of them; None where there is no such setting."""
    if name in _base_types():
        return _base_types()[name]
    field = registry.find_option(name)
    return None if field is None else registry.type_of(field)


@functools.cache
def _base_types() -> dict[str, Any]:
    """Read once: it runs the annotations, and nothing may run while a stored config is read."""
    return {name: hint for name, hint in typing.get_type_hints(Config).items() if name != "options"}


def may_change() -> tuple[str, ...]:
    """Every setting that may change when a run goes on: those above, and of the options of parts those that say so."""
    return (*CHANGEABLE, *(name for name, field in registry.options().items() if field.metadata["changeable"]))


# Of named data sets; a recipe with the name of one takes its place (``seq2seq.run.recipes.presets``).
PRESETS: dict[str, dict[str, Any]] = {
    "numbers": {
        "embedding_size": 64, "hidden_size": 256, "num_layers": 1, "dropout": 0.0, "reverse_source": True,
        "teacher_forcing_ratio": 1.0, "epochs": 5, "batch_size": 64, "lr": 2e-3,
    },
    "spa-eng": {"teacher_forcing_ratio": 1.0, "epochs": 12},
}  # fmt: skip


def setting(name: str, value: Any) -> Any:
    """A setting's value in its type, from the text of a command line or from a file; UserError names the setting."""
    hint = field_type(name)
    if hint is None:
        near = suggestion(name, field_types()) or "python -m seq2seq.train --help lists them all"
        raise UserError(f"{shown(name)} is no setting; {near}")
    if typing.get_origin(hint) is Literal:
        return convert(name, value, (), typing.get_args(hint))
    converted = convert(name, value, typing.get_args(hint) or (hint,))
    if name in registry.PACKAGES:
        registry.part(name, converted)
    return converted
