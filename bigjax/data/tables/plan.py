"""Owns what becomes of each column: the numbers a network sees, the codes of categories, the
target; kept as JSON, and applied to a table or to single rows alike. It is made by `fitting.py`."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from bigjax.data.tables import cells
from bigjax.data.tables.cells import Cells
from bigjax.data.tables.raw_table import Column, RawTable
from bigjax.errors import UserError, nearest

Missing = Literal["drop", "mean", "median", "indicator"]


class Feature(NamedTuple):
    """One number that the network sees: ((the part of the column, or `fill`) - center) / scale; or
    with `indicator` whether the column is missing, as 1 or 0.

    part: of a date, an index of `cells.PARTS`; else 0.
    """

    name: str
    part: int = 0
    fill: float = 0.0
    center: float = 0.0
    scale: float = 1.0
    indicator: bool = False

    def of(self, values: np.ndarray) -> np.ndarray:
        """float32 (N,) of values float64 (N,), nan where missing."""
        if self.indicator:
            return np.isnan(values).astype(np.float32)
        found = np.where(np.isnan(values), self.fill, values)
        found -= self.center
        found /= self.scale
        return found.astype(np.float32)


class ColumnPlan(NamedTuple):
    """kind: one of `kinds.KINDS`. features: what becomes of it; () of a category. categories: their
    names, "" where missing is one; code 0 is for all others. form: of dates."""

    name: str
    kind: str
    features: tuple[Feature, ...] = ()
    categories: tuple[str, ...] = ()
    form: str = ""

    @property
    def num_parts(self) -> int:
        return len(cells.PARTS) if self.kind == "date" else 1


class Target(NamedTuple):
    """classes: their names, () of a regression, whose target is (value - center) / scale.
    counts: rows of training of each class."""

    name: str
    classes: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    center: float = 0.0
    scale: float = 1.0


class Plan(NamedTuple):
    """left_out: column -> why."""

    columns: tuple[ColumnPlan, ...]
    target: Target
    left_out: dict[str, str]
    cells: Cells
    missing: Missing

    @property
    def features(self) -> tuple[Feature, ...]:
        return tuple(feature for column in self.columns for feature in column.features)

    @property
    def num_codes(self) -> tuple[int, ...]:
        """How many codes each column of categories has."""
        return tuple(len(c.categories) + 1 for c in self.columns if c.kind == "category")


def parts_of(table: RawTable, column: ColumnPlan, *, form: Cells) -> list[np.ndarray]:
    """The parts of a column of numbers, truth values or dates, float64 (N,), nan where missing.

    Raises:
      UserError: it is not there or not of its kind; with file:line.
    """
    raw = raw_column(table, column.name)
    if column.kind == "number" and raw.codes is None:
        return [raw.numbers]
    raw = raw.as_texts(form)
    values = np.full((len(raw.texts) + 1, column.num_parts), np.nan)
    for i, text in enumerate(raw.texts):
        found = _value(column, text, form=form)
        if found is None and (raw.codes == i).any():
            row = int(np.argmax(raw.codes == i))
            raise UserError(f"{table.where(row)}: {_no(column, text)}")
        values[i] = np.nan if found is None else found
    return list(values[raw.codes].T)  # the last row, of code -1, is nan


def raw_column(table: RawTable, name: str) -> Column:
    """UserError where the table has none of this name."""
    if name not in table.columns:
        near = nearest(name, table.columns)
        raise UserError(f"{table.place}: no column {name!r}, which training has; {near}")
    return table.columns[name]


def codes_of(column: Column, names: Sequence[str], *, form: Cells) -> tuple[np.ndarray, list[str]]:
    """Places in `names` of a column's texts, int32 (N,), -1 for none; and those texts."""
    column = column.as_texts(form)
    at = {name: i for i, name in enumerate(names)}
    places = [at.get(form.category(text), -1) for text in column.texts]
    table = np.array([*places, at.get("", -1)], np.int32)
    used = set(np.unique(column.codes).tolist())
    unknown = [text for i, text in enumerate(column.texts) if places[i] < 0 and i in used]
    return table[column.codes], unknown


class Arrays(NamedTuple):
    """What becomes of a table: numbers float32 (N, F), categories int32 (N, M), target int32 (N,)
    class ids or float32 (N,) scaled; keep bool (N,): rows that have all that is needed; why: what
    the others lack -> how many."""

    numbers: np.ndarray
    categories: np.ndarray
    target: np.ndarray
    keep: np.ndarray
    why: dict[str, int]


def apply(plan: Plan, table: RawTable) -> Arrays:
    """Arrays of a table, whose columns are let go one by one.

    Raises:
      UserError: a column that is missing or holds what it did not in training.
    """
    num_rows = len(table.lines)
    numbers = np.zeros((num_rows, len(plan.features)), np.float32)
    codes = np.zeros((num_rows, len(plan.num_codes)), np.int32)
    target = _targets(plan, table)
    lacking = {f"the target {plan.target.name!r}": table.columns[plan.target.name].is_missing}
    at = at_code = 0
    for column in plan.columns:
        raw = raw_column(table, column.name)
        if plan.missing == "drop":
            lacking[f"column {column.name!r}"] = raw.is_missing
        if column.kind == "category":
            codes[:, at_code] = 1 + codes_of(raw, column.categories, form=plan.cells)[0]
            at_code += 1
            continue
        parts = parts_of(table, column, form=plan.cells)
        for feature in column.features:
            numbers[:, at] = feature.of(parts[feature.part])
            at += 1
        del raw, parts, table.columns[column.name]
    keep = ~np.any(list(lacking.values()), axis=0)
    why = {name: int(found.sum()) for name, found in lacking.items() if found.any()}
    return Arrays(numbers, codes, target, keep, why)


def _targets(plan: Plan, table: RawTable) -> np.ndarray:
    goal, form = plan.target, plan.cells
    raw = raw_column(table, goal.name)
    if not goal.classes:
        (values,) = parts_of(table, ColumnPlan(goal.name, "number"), form=form)
        return Feature("", 0, goal.center, goal.center, goal.scale).of(values)
    ids, unknown = codes_of(raw, goal.classes, form=form)
    if unknown:
        column = raw.as_texts(form)
        row = int(np.argmax(column.codes == list(column.texts).index(unknown[0])))
        raise UserError(
            f"{table.where(row)}: class {unknown[0][:40]!r} of {goal.name!r} is not in training; "
            f"{nearest(unknown[0], goal.classes)}"
        )
    return np.maximum(ids, 0)


# --- a row ---


class Row(NamedTuple):
    """A row that can be predicted. given: as it came. numbers: of each column's parts, in order.
    codes: of its categories."""

    given: Mapping[str, Any]
    numbers: tuple[tuple[float, ...], ...]
    codes: tuple[int, ...]


def row_of(plan: Plan, given: Mapping[str, Any]) -> Row:
    """A row from its columns: texts as in a file, numbers, truth values, None. Others than the
    plan's are left alone.

    Raises:
      UserError: a column that is not there, or not of its kind; a missing value, where training
        dropped such rows. It does not say where the row is.
    """
    numbers, codes = [], []
    for column in plan.columns:
        if column.name not in given:
            near = nearest(column.name, given)
            raise UserError(f"no column {column.name!r}, which the model needs; {near}")
        text = plan.cells.text(given[column.name])
        if text is None and plan.missing == "drop":
            raise UserError(f"column {column.name!r} is missing, and training dropped such rows")
        if column.kind == "category":
            name = "" if text is None else plan.cells.category(text)
            places = {category: i for i, category in enumerate(column.categories)}
            codes.append(1 + places.get(name, -1))
            continue
        values: tuple[float, ...] | None = (np.nan,) * column.num_parts
        if text is not None:
            values = _value(column, text, form=plan.cells)
            if values is None:
                raise UserError(_no(column, text))
        numbers.append(values)
    return Row(given, tuple(numbers), tuple(codes))


def arrays_of(plan: Plan, rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
    """numbers float32 (N, F) and categories int32 (N, M) of prepared rows."""
    numbers = np.zeros((len(rows), len(plan.features)), np.float32)
    codes = np.array([row.codes for row in rows], np.int32).reshape(len(rows), -1)
    at = 0
    for i, column in enumerate(c for c in plan.columns if c.kind != "category"):
        parts = np.array([row.numbers[i] for row in rows], np.float64)
        for feature in column.features:
            numbers[:, at] = feature.of(parts[:, feature.part])
            at += 1
    return numbers, codes


def _value(column: ColumnPlan, text: str, *, form: Cells) -> tuple[float, ...] | None:
    """The parts of a text of a column; None where it is not of its kind."""
    if column.kind == "date":
        return cells.date_parts(text, column.form)
    found = form.number(text) if column.kind == "number" else cells.truth(text)
    return None if found is None else (float(found),)


def _no(column: ColumnPlan, text: str) -> str:
    kinds = {"number": "number", "boolean": "truth value", "date": f"date ({column.form})"}
    return f"column {column.name!r}: {text[:40]!r} is no {kinds[column.kind]}"


# --- JSON ---


def to_json(plan: Plan) -> str:
    columns = [
        {**column._asdict(), "features": [feature._asdict() for feature in column.features]}
        for column in plan.columns
    ]
    found = {
        "columns": columns,
        "target": plan.target._asdict(),
        "left_out": plan.left_out,
        "cells": plan.cells._asdict(),
        "missing": plan.missing,
    }
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def from_json(text: str) -> Plan:
    """Raises ValueError, KeyError or TypeError where it is not what `to_json` makes."""
    found = json.loads(text)

    def column(value: dict[str, Any]) -> ColumnPlan:
        features = tuple(Feature(**feature) for feature in value["features"])
        categories = tuple(value["categories"])
        return ColumnPlan(**{**value, "features": features, "categories": categories})

    goal = found["target"]
    goal |= {"classes": tuple(goal["classes"]), "counts": tuple(goal["counts"])}
    form = Cells(**{**found["cells"], "missing": tuple(found["cells"]["missing"])})
    return Plan(
        tuple(map(column, found["columns"])), Target(**goal), found["left_out"], form,
        found["missing"],
    )  # fmt: skip
