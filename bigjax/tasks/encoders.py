"""Owns the encoder that tasks on text share, before it has a head: where its tokenizer, sizes and
parameters come from, and what a run folder keeps of it.

The network is `models/bert.py`'s, names of others' parameters are `models/huggingface.py`'s. What
is read into rows, and the head, belong to the tasks. A run of one of them is a start for any other.
"""

import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np

from bigjax.config.fields import AtLeast
from bigjax.config.sections import Batch, Init, Run
from bigjax.config.values import Config
from bigjax.data.dataset import rows_a_batch
from bigjax.data.text import packing, tokenization
from bigjax.data.text.packing import Packing
from bigjax.data.text.windowing import Windows
from bigjax.errors import UserError
from bigjax.models import bert, huggingface, origins
from bigjax.models.origins import Origin

# In the run folder: the encoder's sizes, and which of `huggingface.FAMILIES` it is of.
TOKENIZER_FILE, ENCODER_FILE, FAMILY_FILE = "tokenizer.json", "encoder.json", "family.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rows:
    """How text is laid into the rows of a batch."""

    row_length: Annotated[
        int,
        AtLeast(10),
        "tokens in a row, which holds several texts; a longer one is split into overlapping "
        "windows, or in masked-language modelling into pieces that do not overlap",
    ] = 64
    packed: Annotated[
        bool,
        "several texts share a row of training; False: each has rows of its own, as private "
        "training asks for",
    ] = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Of an encoder that starts from random weights."""

    vocab_size: Annotated[
        int, AtLeast(32), "entries of the WordPiece vocabulary trained on the training split"
    ] = 8192


@dataclasses.dataclass(frozen=True, kw_only=True)
class NewEncoder:
    """The sizes of an encoder that starts from random weights."""

    num_layers: Annotated[int, AtLeast(1), "Transformer layers"] = 4
    hidden_size: Annotated[int, AtLeast(1), "features of a token, a multiple of num_heads"] = 256
    num_heads: Annotated[int, AtLeast(1), "attention heads in a layer"] = 4
    mlp_size: Annotated[int, AtLeast(1), "features inside a layer's feed-forward part"] = 1024
    max_positions: Annotated[int, AtLeast(1), "the longest row_length that is possible"] = 512


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kept:
    """Of an encoder that starts from given parameters."""

    layers: Annotated[
        tuple[int, ...] | None,
        AtLeast(0),
        "which of its layers are taken, from 0, in this order, such as 0,2,5 for a small student; "
        "None: all",
    ] = None


class Encoder(NamedTuple):
    """What there is of an encoder beside its parameters.

    tokenizer: cuts words. family: which of `huggingface.FAMILIES` it is of.
    origin: the Hugging Face folder that holds its parameters; None where they start at random or
      are those of a run, which the checkpoints read.
    layers: which layers of these parameters are its own, in order; None: all.
    """

    tokenizer: Any
    sizes: bert.Sizes
    family: str
    origin: Origin | None = None
    layers: tuple[int, ...] | None = None

    @property
    def longest(self) -> int:
        """The most tokens that it has positions for."""
        return self.sizes.max_positions - self.sizes.position_offset


def start(config: Config, words: Iterable[Sequence[str]]) -> Encoder:
    """The encoder that `init.checkpoint` names: that of a run of any task on text, or of a Hugging
    Face folder or hub name; or a new one, whose vocabulary is learnt from `words` of training.

    Raises:
      UserError: nothing there, or nothing that can be read; sizes that do not fit each other.
    """
    checkpoint, layers = config.of(Init).checkpoint, config.of(Kept).layers
    if checkpoint is None:
        if layers is not None:
            raise UserError(f"init.layers={layers}: goes with init.checkpoint, which has layers")
        return _new(config, words)
    run = origins.run_of(checkpoint)
    # A run's parameters are read by `methods/given.py`, as those of any task.
    whole = _of_folder(origins.find_folder(checkpoint)) if run is None else _of_run(run)
    if layers is None:
        return whole
    num = whole.sizes.num_layers
    if not layers or max(layers) >= num:
        raise UserError(f"init.layers={layers}: expected one or more of 0 to {num - 1}")
    sizes = dataclasses.replace(whole.sizes, num_layers=len(layers))
    return whole._replace(sizes=sizes, layers=layers)


def load(folder: str) -> Encoder:
    """The encoder of a finished run, or of a Hugging Face folder that is used as one.

    Raises:
      UserError: files that cannot be read.
    """
    if os.path.exists(os.path.join(folder, ENCODER_FILE)):
        return _of_run(folder)
    return _of_folder(Origin(folder, folder))


def files(encoder: Encoder) -> dict[str, str]:
    """Name -> content of what a run folder keeps of it."""
    record = dataclasses.asdict(encoder.sizes)
    # Without what is None: the file of a run from before there was such a size is the same.
    record = {name: x for name, x in record.items() if x is not None}
    return {
        TOKENIZER_FILE: encoder.tokenizer.to_str(pretty=True),
        ENCODER_FILE: json.dumps(record, indent=1) + "\n",
        FAMILY_FILE: json.dumps({"model_type": encoder.family}) + "\n",
    }


def read_params(encoder: Encoder, *, scan_layers: bool) -> dict[str, Any]:
    """The parameters in its `origin`, float32 numpy; layers in one array each if `scan_layers`."""
    assert encoder.origin is not None
    folder, sizes = encoder.origin.folder, encoder.sizes
    if encoder.layers is not None:
        sizes = huggingface.read_sizes(folder)
    params = huggingface.read_params(folder, sizes=sizes)
    return laid_out(params, encoder=encoder, scan_layers=scan_layers)


def laid_out(params: Mapping[str, Any], *, encoder: Encoder, scan_layers: bool) -> dict[str, Any]:
    """Params of the layers that `encoder` has, in one array each or not, as `scan_layers` says."""
    if encoder.layers is not None:
        params = _kept(params, layers=encoder.layers)
    if scan_layers and "layers" not in params:
        return huggingface.stack_layers(dict(params), num_layers=encoder.sizes.num_layers)
    if not scan_layers and "layers" in params:
        return huggingface.unstack_layers(dict(params), num_layers=encoder.sizes.num_layers)
    return dict(params)


def _kept(params: Mapping[str, Any], *, layers: tuple[int, ...]) -> dict[str, Any]:
    if "layers" in params:
        stacked = jax.tree.map(lambda x: x[list(layers)], params["layers"])
        return {**params, "layers": stacked}
    rest = {name: tree for name, tree in params.items() if not name.startswith("layer_")}
    return rest | {f"layer_{i}": params[f"layer_{number}"] for i, number in enumerate(layers)}


def without_head(params: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The encoder alone, of a run of another task, and the note that says so."""
    return {"encoder": params["encoder"]}, "its head is not taken, it is of another task"


# --- rows ---


def row_length(config: Config, *, sizes: bert.Sizes) -> int:
    """`text.row_length`; UserError where the model has no position for so many tokens."""
    found, most = config.of(Rows).row_length, sizes.max_positions - sizes.position_offset
    if found > most:
        raise UserError(
            f"text.row_length={found} is more than the {most} positions that the model knows; "
            "choose a shorter row: longer sentences are split into windows"
        )
    return found


def with_rows_that_fit(config: Config, *, sizes: bert.Sizes) -> Config:
    """The settings for a model that was trained with other ones: rows no longer than it knows."""
    most = sizes.max_positions - sizes.position_offset
    text = config.values["text"]
    short = {**text, "row_length": min(most, text["row_length"])}
    return config._replace(values={**config.values, "text": short})


def check_ids(splits: Iterable[Windows], *, sizes: bert.Sizes) -> None:
    """UserError where a token is none of the vocabulary's."""
    largest = max((int(windows.tokens.max()) for windows in splits), default=0)
    if largest >= sizes.vocab_size:
        raise UserError(
            f"init.checkpoint: tokenizer.json gives id {largest}, and config.json's vocab_size is "
            f"{sizes.vocab_size}: they do not belong together"
        )


def shared(config: Config) -> tuple[str, ...]:
    """As `Data.shared`."""
    if config.of(Init).checkpoint is not None:
        return ()
    return (
        "the vocabulary is made of the training text; start from an encoder that has one: "
        "--config.init.checkpoint=NAME",
    )


class Training(NamedTuple):
    """The rows of training. rows: row numbers (n,) -> the numbers of each row's windows."""

    plan: Packing
    rows: Callable[[np.ndarray], list[np.ndarray]]
    batch_rows: int


def in_training(plan: Packing, config: Config) -> Training:
    """plan: of the windows of the training split."""
    if not config.of(Rows).packed:
        plan = one_a_row(plan.lengths, row_length=plan.row_length)
    batch_rows = rows_a_batch(
        config.of(Batch),
        num_examples=len(plan.lengths),
        num_rows=plan.num_rows,
        row_length=plan.row_length,
    )
    return Training(plan, packing.epochs(plan, seed=config.of(Run).seed), batch_rows)


def one_a_row(lengths: np.ndarray, *, row_length: int) -> Packing:
    """The plan of rows with a window in each, as others batch."""
    places = np.arange(len(lengths) + 1, dtype=np.int64)
    return Packing(places, places[:-1], np.asarray(lengths, np.int32), row_length)


# --- where it comes from ---


def _new(config: Config, words: Iterable[Sequence[str]]) -> Encoder:
    tokenizer = tokenization.train_wordpiece(words, vocab_size=config.of(Vocabulary).vocab_size)
    sizes = bert.Sizes(
        vocab_size=tokenizer.get_vocab_size(), **dataclasses.asdict(config.of(NewEncoder))
    )
    if sizes.hidden_size % sizes.num_heads:
        raise UserError(
            f"model.hidden_size={sizes.hidden_size} does not divide into "
            f"model.num_heads={sizes.num_heads} heads"
        )
    return Encoder(tokenizer, sizes, huggingface.model_type_of(sizes))


def _of_run(run: str) -> Encoder:
    sizes = read_file(os.path.join(run, ENCODER_FILE), lambda text: bert.Sizes(**json.loads(text)))
    return Encoder(tokenization.load_tokenizer(run), sizes, _read_family(run, sizes=sizes))


def _of_folder(origin: Origin) -> Encoder:
    sizes = huggingface.read_sizes(origin.folder)
    family = huggingface.read_model_type(origin.folder)
    return Encoder(tokenization.load_tokenizer(origin.folder), sizes, family, origin)


def _read_family(folder: str, *, sizes: bert.Sizes) -> str:
    """Which of `huggingface.FAMILIES` the encoder of a run is of; earlier runs did not keep it."""
    path = os.path.join(folder, FAMILY_FILE)
    if not os.path.exists(path):
        return huggingface.model_type_of(sizes)

    def parsed(text: str) -> str:
        family = json.loads(text)["model_type"]
        huggingface.FAMILIES[family]
        return family

    return read_file(path, parsed)


def read_file(path: str, parsed: Callable[[str], Any]) -> Any:
    """What `parsed` makes of the content of a file of a run of a task on text.

    Raises:
      UserError: it is not there, or is not what `parsed` expects.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return parsed(file.read())
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{path}: cannot be read ({error}); expected that of a run of a task on text"
        ) from error
