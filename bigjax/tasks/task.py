"""Owns what a task is: four small records of pure functions, and what its entry in the table is.

The engine, the loop and the report know a task by these alone. A new task is a folder of its own
that fills them in, and nothing elsewhere learns of it; docs/add_a_task.md makes one step by step.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import jax
import numpy as np

from bigjax.config.choices import Sections
from bigjax.config.values import Config
from bigjax.data.dataset import Batch, Dataset
from bigjax.data.findings import Finding
from bigjax.scores.intervals import Parts
from bigjax.scores.metrics import Mean
from bigjax.tasks.portable import Portable

Variables = Mapping[str, Any]  # {"params": ..., and the model's other collections}
Outputs = dict[str, Any]  # arrays (B, ...) of a batch, or (R, ...) of all rows in order
Sums = dict[str, Mean]


class Pretrained(NamedTuple):
    """params: numpy; what is absent from them keeps its random start. source: where they come from.
    note: what else is to be said of them, "" for nothing. model_state: the model's other
    collections. matched: what is to be said where they have been compared with the model already.
    """

    params: Mapping[str, Any]
    source: str
    note: str = ""
    model_state: Mapping[str, Any] = {}  # noqa: RUF012 - read only
    matched: str | None = None


class Model(NamedTuple):
    """What is trained. Every function is pure; a batch is a dict of arrays (B, ...) in which a row
    of zeros counts nowhere.

    init: key -> variables; traceable. Which mesh axes split a parameter stands in the box of
      `nn.with_partitioning` that its layer made; a plain one is split by none.
    apply: (variables, batch, key) -> (outputs, model_state). Outputs are arrays (B, ...) that
      decoding needs, such as logits; labels are not looked at. `key` draws what is random in
      training; None computes as evaluation and prediction do. model_state: the new values of the
      collections other than params.
    train_sums: (outputs, batch) -> sums; the mean `sums["loss"]` is what training minimises.
    eval_sums: (outputs, batch) -> sums over a batch of evaluation.
    layer_depths: params -> tree of depths (int or array), for layer-wise learning rates.
    pretrained: () -> where parameters come from, or None to start at random.
    adopt: (params, numpy; the folder of the run of this task that they are of) -> (params as this
      model has them, notes on what could not be kept as it was), or None where they always fit.
    frozen: () -> variables that the model reads and nothing trains, such as a teacher's, or None.
      `apply` finds them in `variables["frozen"]`. They are neither donated nor saved: a checkpoint
      keeps their hashes.
    embedding_size: features of a word's embedding, where `apply` adds `batch["embedding_delta"]`,
      float32 (B, L, features), to the embeddings of tokens, and `batch["segments"]`, int32 (B, L),
      numbers the texts of a row from 1; None: it does not.
    chunk_rows: rows that a CPU should compute at once, so that activations stay in its cache; only
      for a model whose rows do not depend on each other. None: all.
    """

    init: Callable[[jax.Array], Variables]
    apply: Callable[[Variables, Mapping[str, jax.Array], jax.Array | None], tuple[Outputs, Any]]
    train_sums: Callable[[Outputs, Mapping[str, jax.Array]], Sums]
    eval_sums: Callable[[Outputs, Mapping[str, jax.Array]], Sums]
    layer_depths: Callable[[Any], Any]
    pretrained: Callable[[], Pretrained] | None = None
    adopt: Callable[[Mapping[str, Any], str], tuple[Mapping[str, Any], str]] | None = None
    frozen: Callable[[], Variables] | None = None
    embedding_size: int | None = None
    chunk_rows: int | None = None


class Data(NamedTuple):
    """What it is trained on and scored with.

    train: the training set; None where a finished run is only used.
    evals: split -> data set. "dev" decides which checkpoint is best, "test" is what the report is
      about.
    counts: batch -> named sums over it, for throughput ("sentences", "tokens").
    report: () -> rows (name, value), for `--mode=check` and the report's data card.
    warnings: lines on what of the data is hardly meant, for the start of training; they are among
      the rows of the report too.
    shared: reasons why one example has a part in what others teach the model, each with what to do
      about it: statistics of columns, or a vocabulary, that are made of the training data.
    findings: () -> what in the data deserves a look. It may take a while, and is asked for once: by
      `--mode=check`, or at the end of training for the report.
    column: (name) -> for each example of train what its file says in that column, or under that
      key; raises UserError where there is none. None: no example has such.
    """

    train: Dataset | None
    evals: Mapping[str, Dataset]
    counts: Callable[[Mapping[str, jax.Array]], dict[str, jax.Array]]
    report: Callable[[], list[tuple[str, str]]]
    warnings: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    findings: Callable[[], Sequence[Finding]] = tuple
    column: Callable[[str], Sequence[str]] | None = None


class Score(NamedTuple):
    """A score that the task declares.

    name: as in scalars ("entity_f1").
    title: what people read ("Entity F1").
    label: what a line of the terminal calls it; None: no line shows it.
    higher_is_better: what "best" means.
    """

    name: str
    title: str
    label: str | None = None
    higher_is_better: bool = True


class Scores(NamedTuple):
    """What a finished pass over a split came to.

    scalars: name of a score to its value.
    sections: parts of the report, in its order (the kinds are in report/sections.py).
    parts: of scores that are ratios of sums over the split's examples, in their order: they get
      intervals, and two runs can be compared by them.
    wrong: () -> the examples that are not all right, each an item of a section of the report that
      is of `wrong_kind`, and its number in the split, from 0, as "example".
    """

    scalars: dict[str, float]
    sections: list[dict[str, Any]]
    parts: Mapping[str, Parts] = {}  # noqa: RUF012 - read only
    wrong: Callable[[], Sequence[Mapping[str, Any]]] = tuple
    wrong_kind: str = ""


class Calibrating(NamedTuple):
    """How a model's probabilities are made to mean what they say, once it is trained. Outputs are
    those of all rows of a split in order, numpy.

    fit: (split, outputs) -> what corrects them, a dict that JSON can hold; asked for dev.
    apply: (outputs, that dict) -> outputs whose probabilities are corrected; what is predicted by
      them is the same.
    declared: the scores of `score`, which no evaluation during training has.
    score: (split, outputs, corrected outputs, or None where there was no dev to fit to) -> Scores:
      what confidence is worth, before and after.
    """

    fit: Callable[[str, Mapping[str, np.ndarray]], dict[str, Any]]
    apply: Callable[[Mapping[str, np.ndarray], Mapping[str, Any]], Outputs]
    declared: tuple[Score, ...]
    score: Callable[[str, Mapping[str, np.ndarray], Mapping[str, np.ndarray] | None], Scores]


class Scoring(NamedTuple):
    """Which scores there are, and how a finished pass comes to them.

    declared: every score of a split, as `eval_sums` and `score` name them.
    headline: those to show first; the first of them is what "best" goes by unless the config says.
    score: (split, outputs of all its rows in order, numpy) -> Scores.
    calibrating: None where there is no confidence to be had.
    explain: (split, data set -> the model's outputs of all its rows in order, numpy) -> more
      sections of the report, such as how much each input matters; asked for once, at the end.
    """

    declared: tuple[Score, ...]
    headline: tuple[str, ...]
    score: Callable[[str, Mapping[str, np.ndarray]], Scores]
    calibrating: Calibrating | None = None
    explain: Callable[[str, Callable[[Dataset], Outputs]], list[dict[str, Any]]] | None = None


class Encoded(NamedTuple):
    """Prepared inputs, ready for the model.

    rows: them as a data set without labels.
    decode: outputs of all its rows in order -> an answer for each input, in order: a dict that JSON
      can hold.
    """

    rows: Dataset
    decode: Callable[[Mapping[str, np.ndarray]], list[dict[str, Any]]]


class Format(NamedTuple):
    """How answers are written.

    line: (prepared input, its answer) -> the text of it, with its line ends.
    header: the same of the first, for what goes before it; None: nothing does.
    """

    line: Callable[[Any, Mapping[str, Any]], str]
    header: Callable[[Any, Mapping[str, Any]], str] | None = None


def _json_line(_: Any, answer: Mapping[str, Any]) -> str:
    return json.dumps(answer, ensure_ascii=False) + "\n"


JSONL = Format(_json_line)


def csv_row(values: Sequence[Any]) -> str:
    """A line of CSV, with its end."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue()


class Observed(NamedTuple):
    """What is counted of answers, to see whether the world is still that of dev.

    labels: how often each was predicted. score_sum: of the scores of these. lengths: of each input,
    such as its words. num_unknown: of these, those that the model does not know.
    """

    labels: Mapping[str, int]
    score_sum: float
    lengths: Sequence[int]
    num_unknown: int


class Question(NamedTuple):
    """What a trained model said of an input, put so that it can be asked why.

    said: for people ("PER", "cat").
    batch: rows whose labels are what was said: `eval_sums` has its log-probability as a loss.
    varied: the array of the batch whose numbers are asked about; value: it, float32 (R, ...).
    baseline: the same of an input that says nothing.
    show: what each number of it adds to the log-probability, float64 (R, ...) -> what people see: a
      dict for `report/attributions.py`.
    """

    said: str
    batch: Batch
    varied: str
    value: np.ndarray
    baseline: np.ndarray
    show: Callable[[np.ndarray], dict[str, Any]]


class Use(NamedTuple):
    """What makes a trained model usable without its training data.

    files: name -> content of what the run folder keeps for `load` (tokenizer, names of tags).
    encode: prepared inputs, one or more -> Encoded.
    takes: what an input is: a text, an image, or a row of a table (a dict of columns). It decides
      which files can be read (`inference/inputs.py`).
    endings: of names of files, to the kind (`inference/inputs.py`) that they are read as, where it
      is not the usual one; "" for any other ending, and for standard input.
    prepare: an input as a person gives it -> the same as `encode` takes it. UserError, without
      saying where, for one that cannot be answered.
    formats: name -> how answers can be written; the first is what a file without a known ending
      gets. "terminal" is for people.
    model_files: those of `files` in which models may differ that are combined (their sizes).
    of_training: those of `files` that are about its training, and no part of the model.
    average: (outputs of one model, of another, ...) for the same rows -> outputs whose
      probabilities are the mean of theirs; None where models cannot be combined so.
    observe: (prepared inputs, their answers) -> Observed, for `--mode=serve`.
    given: split -> its inputs as a person gives them, for what is observed on dev.
    portable: () -> what of it can leave the program, for `--mode=export`; UserError, with the
      reason, where nothing can.
    questions: (prepared input, its answer, variables) -> what of the answer can be asked why, for
      `inference/attribution.py`; None where nothing can.
    arrays: name -> () -> arrays by name, of safetensors files that the run folder keeps besides.
    """

    files: Mapping[str, str]
    encode: Callable[[Sequence[Any]], Encoded]
    takes: Literal["text", "image", "row"] = "row"
    endings: Mapping[str, str] = {}  # noqa: RUF012 - read only
    prepare: Callable[[Any], Any] = lambda given: given
    formats: Mapping[str, Format] = {"jsonl": JSONL}  # noqa: RUF012 - read only
    model_files: tuple[str, ...] = ()
    of_training: tuple[str, ...] = ()
    average: Callable[[Sequence[Outputs]], Outputs] | None = None
    observe: Callable[[Sequence[Any], Sequence[Mapping[str, Any]]], Observed] | None = None
    given: Callable[[str], Sequence[Any]] | None = None
    portable: Callable[[], Portable] | None = None
    questions: Callable[[Any, Mapping[str, Any], Variables], Iterable[Question]] | None = None
    arrays: Mapping[str, Callable[[], Mapping[str, np.ndarray]]] = {}  # noqa: RUF012 - read only


class Task(NamedTuple):
    name: str
    model: Model
    data: Data
    scoring: Scoring
    use: Use


def told_apart(one: Task, other: Task) -> list[str]:
    """The files in which two models of a task differ, so that their answers mean other things."""
    files, others = one.use.files, other.use.files
    free = (*one.use.model_files, *one.use.of_training)
    names = (name for name in {**files, **others} if name not in free)
    return [name for name in names if files.get(name) != others.get(name)]


class Entry(Protocol):
    """What the table of tasks holds for a name: a module, or anything with these functions."""

    SECTIONS: Sections
    """What takes the sections of the config that only this task has. An entry that can use a
    Hugging Face folder as if it were a run has HEADS too: the ends of the names of their models."""

    def make(self, config: Config) -> Task:
        """The task as it is trained: reads the data; UserError where it cannot be read."""

    def load(self, config: Config, folder: str, *, splits: Sequence[str]) -> Task:
        """The task of the finished run in `folder`, from its files and the data of `splits` alone;
        `data.train` is None. What is not among the run's data is left out of `splits`."""


__all__ = [
    "JSONL", "Batch", "Calibrating", "Data", "Dataset", "Encoded", "Entry", "Finding", "Format",
    "Model", "Observed", "Outputs", "Parts", "Pretrained", "Question", "Score", "Scores", "Scoring",
    "Sums", "Task", "Use", "Variables", "csv_row", "told_apart",
]  # fmt: skip
