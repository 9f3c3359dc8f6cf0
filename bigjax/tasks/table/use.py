"""Owns the use of a trained model on rows: from dicts of columns to predictions, and how these are
written: the columns as they came, and the prediction's behind them."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bigjax.data import dataset
from bigjax.data.tables import plan as plans
from bigjax.data.tables.plan import Plan, Row
from bigjax.scores import class_scores
from bigjax.tasks.task import JSONL, Encoded, Format, Outputs, Use, csv_row

COLUMNS_FILE = "columns.json"
MAX_LISTED = 20  # classes whose probabilities are written, a column each


def use_of(plan: Plan, *, batch_rows: int) -> Use:
    return Use(
        files={COLUMNS_FILE: plans.to_json(plan)},
        encode=functools.partial(_encode, plan=plan, batch_rows=batch_rows),
        takes="row",
        prepare=functools.partial(_prepare, plan),
        formats={"csv": Format(_csv_line, _csv_header), "jsonl": JSONL},
        average=_average,
    )


def _prepare(plan: Plan, given: Any) -> Row:
    """UserError for a row that cannot be predicted."""
    return given if isinstance(given, Row) else plans.row_of(plan, given)


def _encode(rows: Sequence[Row], *, plan: Plan, batch_rows: int) -> Encoded:
    numbers, categories = plans.arrays_of(plan, rows)
    made = dataset.each_once(
        lambda ids: {"numbers": numbers[ids], "categories": categories[ids]},
        num_examples=len(rows),
        batch_rows=batch_rows,
        fingerprint="",
    )
    return Encoded(made, functools.partial(_decode, plan=plan))


def _decode(outputs: Outputs, *, plan: Plan) -> list[dict[str, Any]]:
    goal = plan.target
    if not goal.classes:
        values = outputs["value"].astype(np.float64) * goal.scale + goal.center
        return [{"prediction": float(value)} for value in values]
    probabilities = class_scores.softmax(outputs["logits"])
    best = probabilities.argmax(axis=1)
    answers = []
    for p, i in zip(probabilities, best):
        answer: dict[str, Any] = {"prediction": goal.classes[i], "score": float(p[i])}
        if len(goal.classes) <= MAX_LISTED:
            answer["probabilities"] = dict(zip(goal.classes, p.tolist()))
        answers.append(answer)
    return answers


def _average(outputs: Sequence[Outputs]) -> Outputs:
    """Probabilities, or values, of several models."""
    if "value" in outputs[0]:
        return {"value": np.mean([found["value"] for found in outputs], axis=0)}
    return {"logits": class_scores.mean_logits([found["logits"] for found in outputs])}


def _csv_header(row: Row, answer: Mapping[str, Any]) -> str:
    return csv_row([*row.given, *_flat(answer)])


def _csv_line(row: Row, answer: Mapping[str, Any]) -> str:
    return csv_row([*row.given.values(), *_flat(answer).values()])


def _flat(answer: Mapping[str, Any]) -> dict[str, Any]:
    flat = {name: value for name, value in answer.items() if name != "probabilities"}
    named = answer.get("probabilities", {})
    return flat | {f"probability {name}": value for name, value in named.items()}
