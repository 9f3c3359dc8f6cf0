"""Owns how a plan is made: the statistics, categories and classes of the training rows."""

from collections.abc import Mapping
from typing import Literal

import numpy as np

from bigjax.data.tables import cells
from bigjax.data.tables.cells import Cells
from bigjax.data.tables.kinds import Kind
from bigjax.data.tables.plan import (
    ColumnPlan,
    Feature,
    Missing,
    Plan,
    Target,
    codes_of,
    parts_of,
)
from bigjax.data.tables.raw_table import Column, RawTable
from bigjax.errors import UserError

Scale = Literal["standard", "minmax", "none"]


def fit(
    table: RawTable,
    rows: np.ndarray,
    *,
    kinds: Mapping[str, Kind],
    target: str,
    target_kind: str,
    form: Cells,
    missing: Missing,
    scale: Scale,
) -> Plan:
    """The plan for a table, from its training rows.

    Raises:
      UserError: no column is left to learn from.
    """
    left_out = {name: kind.why for name, kind in kinds.items() if kind.name == "drop"}
    columns = []
    for name, kind in kinds.items():
        if kind.name == "drop":
            continue
        column = table.columns[name]
        if kind.name == "category":
            columns.append(ColumnPlan(name, "category", (), _categories(column, rows, form=form)))
            continue
        parts = parts_of(table, ColumnPlan(name, kind.name, form=kind.form), form=form)
        shown = [f"{name}: {part}" for part in cells.PARTS] if kind.name == "date" else [name]
        features = [
            _feature(shown[i], i, values[rows], missing=missing, scale=scale)
            for i, values in enumerate(parts)
        ]
        found = tuple(feature for feature in features if feature is not None)
        if found and missing == "indicator" and np.isnan(parts[0][rows]).any():
            found += (Feature(f"{name} is missing", indicator=True),)
        if not found:
            left_out[name] = "the same in all rows of training"
            continue
        columns.append(ColumnPlan(name, kind.name, found, form=kind.form))
    if not columns:
        why = "; ".join(f"{name}: {reason}" for name, reason in list(left_out.items())[:3])
        raise UserError(f"{table.place}: no column is left to learn from ({why})")
    goal = _target(table, rows, name=target, kind=target_kind, form=form)
    return Plan(tuple(columns), goal, left_out, form, missing)


def _feature(
    name: str, part: int, values: np.ndarray, *, missing: Missing, scale: Scale
) -> Feature | None:
    """None where all values are the same."""
    known = values[~np.isnan(values)]
    if not known.size or known.min() == known.max():
        return None
    # Rounded, as another machine may add up in another order.
    fill = _rounded(np.median(known) if missing == "median" else known.mean())
    values = np.where(np.isnan(values), fill, values)
    if scale == "none":
        return Feature(name, part, fill)
    if scale == "minmax":
        low, high = float(values.min()), float(values.max())
        return Feature(name, part, fill, low, _nonzero(high - low))
    return Feature(name, part, fill, _rounded(values.mean()), _nonzero(_rounded(values.std())))


def _target(table: RawTable, rows: np.ndarray, *, name: str, kind: str, form: Cells) -> Target:
    column = table.columns[name]
    if kind == "classes":
        classes = class_names(column, form=form)
        ids, _ = codes_of(column, classes, form=form)
        counts = np.bincount(ids[rows], minlength=len(classes))
        return Target(name, classes, tuple(counts.tolist()))
    (values,) = parts_of(table, ColumnPlan(name, "number"), form=form)
    values = values[rows]
    return Target(name, center=_rounded(values.mean()), scale=_nonzero(_rounded(values.std())))


def class_names(column: Column, *, form: Cells) -> tuple[str, ...]:
    """In the order of numbers where all are, false before true, else of the alphabet."""
    column = column.as_texts(form)
    used = np.unique(column.codes[column.codes >= 0])
    names = {form.category(column.texts[i]) for i in used}
    numbers = {name: form.number(name) for name in names}
    truths = {name: cells.truth(name) for name in names}
    for order in (numbers, truths):
        if None not in order.values() and len(set(order.values())) == len(names):
            return tuple(sorted(names, key=order.get))
    return tuple(sorted(names))


def _categories(column: Column, rows: np.ndarray, *, form: Cells) -> tuple[str, ...]:
    column = column.as_texts(form)
    used = np.unique(column.codes[rows])
    return tuple(sorted({form.category(column.texts[i]) if i >= 0 else "" for i in used}))


def _rounded(value: float) -> float:
    return float(f"{value:.12g}")


def _nonzero(value: float) -> float:
    return value if value > 0 else 1.0
