"""Owns the task of tables: a class or a number for each row, from its columns.

Reading belongs to `data/tables/`, the trained function to `model.py`, what a finished pass comes to
to `scoring.py`, what is told beside it to `explain.py`, predictions to `use.py`.
"""

import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bigjax.config import sections
from bigjax.config.sections import Evaluation, Run
from bigjax.config.values import Config
from bigjax.data import dataset, shuffling
from bigjax.data.dataset import Batch, Dataset
from bigjax.data.tables import inspection
from bigjax.data.tables import plan as plans
from bigjax.data.tables.plan import Plan
from bigjax.data.tables.table_sources import (
    TABLE_SOURCE,
    Columns,
    Split,
    Tables,
    read_tables,
    train_column,
)
from bigjax.errors import UserError
from bigjax.models.mlp import TABLE_NETWORK
from bigjax.tasks.classes import adopt_head, calibrating, class_weights
from bigjax.tasks.table import explain, scoring, settings
from bigjax.tasks.table.model import make_model
from bigjax.tasks.table.portable import portable
from bigjax.tasks.table.settings import Loss
from bigjax.tasks.table.use import COLUMNS_FILE, use_of
from bigjax.tasks.task import Calibrating, Data, Model, Scoring, Task

SECTIONS = settings.SECTIONS


def make(config: Config) -> Task:
    """The task of a checked config: reads the data.

    Raises:
      UserError: data that cannot be read, or settings that do not fit them.
    """
    tables = read_tables(config.of(TABLE_SOURCE), config.of(Columns))
    plan, loss = tables.plan, config.of(Loss)
    weights_K = None
    if plan.target.classes:
        labels = tables.splits["train"].target
        names = plan.target.classes
        weights_K = class_weights(loss.class_weights, labels=labels, class_names=names)
    _check_loss(loss, plan)
    return _task(config, tables, weights_K=weights_K)


def load(config: Config, folder: str, *, splits: Sequence[str]) -> Task:
    """The task of the finished run in `folder`, which reads only the data of `splits`.

    Raises:
      UserError: files of the run, or data, that cannot be read or do not fit the run's.
    """
    plan = _plan_in(folder)
    tables = Tables(plan, {}, [])
    if splits:
        tables = read_tables(config.of(TABLE_SOURCE), config.of(Columns), only=splits, known=plan)
    return _task(config, tables, weights_K=None)


def _task(config: Config, tables: Tables, *, weights_K: np.ndarray | None) -> Task:
    plan, splits = tables.plan, tables.splits
    batch_rows = config.of(Evaluation).batch_rows
    model = _model(config, plan, weights_K=weights_K)
    return Task(
        name="table",
        model=model,
        data=Data(
            train=_train_set(config, splits["train"]) if "train" in splits else None,
            evals={
                name: explain.rows_of(found, batch_rows=batch_rows, fingerprint=found.fingerprint())
                for name, found in splits.items()
                if name != "train"
            },
            counts=lambda batch: {"rows": batch["mask"].sum()},
            report=lambda: scoring.data_report(tables),
            shared=("what a column's kind and scale are is read off the training rows",),
            warnings=scoring.warnings(plan) if "train" in splits else (),
            findings=lambda: inspection.findings(tables),
            column=lambda name: train_column(config.of(TABLE_SOURCE), splits["train"], name),
        ),
        scoring=Scoring(
            declared=scoring.declared(plan.target),
            headline=scoring.headline(plan.target),
            score=lambda split, outputs: scoring.score(splits[split], outputs, target=plan.target),
            calibrating=_calibrating(splits) if plan.target.classes else None,
            explain=functools.partial(explain.explain, splits, plan=plan, batch_rows=batch_rows),
        ),
        use=use_of(plan, batch_rows=batch_rows)._replace(
            portable=lambda: portable(model, plan=plan, splits=splits, file=COLUMNS_FILE)
        ),
    )


def _calibrating(splits: Mapping[str, Split]) -> Calibrating:
    return calibrating({name: split.target for name, split in splits.items()}, things="rows")


def _model(config: Config, plan: Plan, *, weights_K: np.ndarray | None) -> Model:
    return make_model(
        config.of(TABLE_NETWORK),
        plan=plan,
        loss=config.of(Loss),
        weights_K=weights_K,
        adopt=functools.partial(_adopt, plan=plan),
    )


def _train_set(config: Config, split: Split) -> Dataset:
    num_rows = len(split.ids)
    order = shuffling.shuffled(num_rows, seed=config.of(Run).seed)
    batch_rows = dataset.rows_a_batch(
        config.of(sections.Batch), num_examples=num_rows, num_rows=num_rows
    )

    def rows(numbers: np.ndarray) -> Batch:
        batch = explain.batch_of(split, order(numbers))
        return batch | {"mask": np.ones(len(numbers), bool)}

    return dataset.by_index(
        rows,
        order=order,
        num_examples=num_rows,
        batch_rows=batch_rows,
        fingerprint=split.fingerprint(),
    )


def _check_loss(loss: Loss, plan: Plan) -> None:
    """Raises UserError for a setting that this target has no use for."""
    is_classes = bool(plan.target.classes)
    wrong = {
        "error": is_classes and loss.error != "squared",
        "label_smoothing": not is_classes and loss.label_smoothing != 0,
        "class_weights": not is_classes and loss.class_weights is not None,
    }
    for key, found in wrong.items():
        if found:
            what = "classes" if is_classes else "a number"
            raise UserError(
                f"config.loss.{key}={getattr(loss, key)!r}: the target {plan.target.name!r} is "
                f"{what}, for which nothing reads it; leave it out, or say what the target is with "
                "data.predict"
            )


def _adopt(params: Mapping[str, Any], folder: str, *, plan: Plan) -> tuple[Mapping[str, Any], str]:
    """Parameters of another run, where its columns are these; its head, where its classes are."""
    other = _plan_in(folder)
    if [c.name for c in other.columns] != [c.name for c in plan.columns] or (
        other.num_codes != plan.num_codes
    ):
        return {}, "nothing is taken, it has other columns"
    ours, theirs = plan.target.classes, other.target.classes
    if ours == theirs:
        return params, ""
    if min(len(ours), len(theirs)) > 2:
        return adopt_head(params, theirs=theirs, ours=ours, things="classes")
    rest = {name: tree for name, tree in params.items() if name != "head"}
    return rest, "its head is not taken, it has another target"


def _plan_in(folder: str) -> Plan:
    path = os.path.join(folder, COLUMNS_FILE)
    try:
        with open(path, encoding="utf-8") as file:
            return plans.from_json(file.read())
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); expected the folder of a run on a table"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: is damaged ({error}); train again") from error
