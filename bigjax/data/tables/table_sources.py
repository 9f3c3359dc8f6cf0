"""Owns where tables come from, the settings of each source, and the way from a file to the splits
of a task: who is in which, the plan of the columns, and what is made of the rows by it.

The settings of a source are its function's keyword arguments; those of every source are `Columns`.
"""

import dataclasses
import functools
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Literal, NamedTuple

import numpy as np

from bigjax.config.choices import Choice
from bigjax.config.fields import AtLeast, Between
from bigjax.data.tables import cells, fitting, kinds, plan, raw_table, splitting
from bigjax.data.tables.cells import Cells
from bigjax.data.tables.fitting import Scale
from bigjax.data.tables.plan import Arrays, Missing, Plan
from bigjax.data.tables.raw_table import RawTable
from bigjax.errors import UserError, first_of, nearest
from bigjax.processes import distributed

ALL = ("train", "dev", "test")


class Source(NamedTuple):
    """read: the name of a split -> its table, and how its cells are written. splits: those that it
    has by itself; the others are parts of train."""

    read: Callable[[str], tuple[RawTable, Cells]]
    splits: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Columns:
    """What becomes of the columns, and which rows are dev and test."""

    target: Annotated[str | None, "the column to predict; None: the last"] = None
    drop: Annotated[tuple[str, ...], "columns that are left out"] = ()
    types: Annotated[
        tuple[tuple[str, str], ...],
        "what columns are, where the guess is wrong: pairs (column, 'number', 'boolean', "
        "'category', 'date' or 'drop')",
    ] = ()
    predict: Annotated[
        Literal["auto", "classes", "regression"],
        "what the target is; 'auto': classes where it is text, of two values, or counts from 0 or "
        "1 to at most 20, else a regression",
    ] = "auto"
    missing: Annotated[
        Missing,
        "where a value is missing: 'drop' the row; the 'mean' or 'median' of training instead (a "
        "category of its own among categories); 'indicator': the mean, and a column that says so",
    ] = "mean"
    scale: Annotated[
        Scale,
        "numbers by the training rows: 'standard': mean 0 and standard deviation 1, 'minmax': from "
        "0 to 1, 'none': as they are",
    ] = "standard"
    dev_fraction: Annotated[
        float, Between(0, 0.9), "share of the training rows that is dev where there is no file"
    ] = 0.1
    test_fraction: Annotated[float, Between(0, 0.9), "the same of test"] = 0.2
    split_seed: Annotated[int, AtLeast(0), "which rows those are; equal rows stay together"] = 0


def csv_files(
    *,
    train: Annotated[str, "the file of training: CSV, TSV, or where it ends in .parquet, that"],
    dev: Annotated[str | None, "such a file for dev; None: a share of train"] = None,
    test: Annotated[str | None, "such a file for test; None: a share of train"] = None,
    delimiter: Annotated[
        str | None, "what parts the cells; None: the comma, semicolon, tab or bar that fits"
    ] = None,
    header: Annotated[bool, "whether the first line names the columns"] = True,
    encoding: Annotated[str, "of the files"] = "utf-8",
    decimal: Annotated[
        Literal["auto", ".", ","],
        "what parts decimals; 'auto': a comma where cells are not parted by commas and numbers "
        "have them, else a point",
    ] = "auto",
    thousands: Annotated[
        str | None, "what groups the digits of numbers, such as ','; None: nothing does"
    ] = None,
    missing_values: Annotated[tuple[str, ...], "cells that hold no value"] = cells.MISSING,
) -> Source:
    """The user's own table, a row a line under a header."""
    paths = {"train": train, "dev": dev, "test": test}
    if not train:
        raise UserError("data.train is empty: give a file with --config.data.train=FILE")
    if decimal == "auto" and thousands in (",", "."):
        decimal = "." if thousands == "," else ","
    if thousands is not None and thousands == decimal:
        raise UserError(
            f"data.thousands={thousands!r} is what parts decimals, too; expected the other of "
            "point and comma"
        )

    def form(sample: Sequence[str], parted_by: str) -> Cells:
        found = decimal
        if decimal == "auto":
            found = "," if parted_by != "," and _has_commas(sample) else "."
        return Cells(found, thousands, missing_values)

    def read(split: str) -> tuple[RawTable, Cells]:
        return raw_table.read(
            paths[split], cells=form, delimiter=delimiter, header=header, encoding=encoding
        )

    return Source(read, tuple(split for split in ALL if paths[split] is not None))


def sklearn_table(
    *,
    train: Annotated[
        Literal["breast_cancer", "wine", "iris", "diabetes", "digits"],
        "which; dev and test are shares of it: 569 tumours, 178 wines, 150 flowers, 442 patients "
        "(a regression), 1,797 drawn digits",
    ],
) -> Source:
    """A table that scikit-learn brings along: no file, no network."""
    try:
        from sklearn import datasets
    except ModuleNotFoundError as error:
        missing = "data.source='sklearn' needs scikit-learn"
        raise UserError(f"{missing}: pip install 'bigjax[digits]'") from error

    def read(split: str) -> tuple[RawTable, Cells]:  # noqa: ARG001 - it has but one
        found = getattr(datasets, f"load_{train}")()
        target = found.target
        if train not in ("diabetes", "digits"):
            target = np.array(found.target_names)[target]
        columns = dict(zip(found.feature_names, found.data.T)) | {"target": target}
        return raw_table.of_arrays(f"sklearn:{train}", columns), Cells()

    return Source(read, ("train",))


TABLE_SOURCES: dict[str, Callable[..., Source]] = {"csv": csv_files, "sklearn": sklearn_table}
TABLE_SOURCE = Choice("source", TABLE_SOURCES, "where the table comes from")


class Split(NamedTuple):
    """Rows of a table: arrays of all of it, and which are in the split. lines: of the file, of each
    row of the arrays."""

    arrays: Arrays
    ids: np.ndarray
    place: str
    lines: np.ndarray

    @property
    def target(self) -> np.ndarray:
        return self.arrays.target[self.ids]

    def where(self, number: int) -> str:
        return f"{self.place}:{self.lines[self.ids[number]]}"

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for part in np.array_split(self.ids, max(1, len(self.ids) // 100_000)):
            for array in self.arrays[:3]:
                digest.update(np.ascontiguousarray(array[part]))
        return digest.hexdigest()


class Tables(NamedTuple):
    """found: rows (name, value) on how files were read."""

    plan: Plan
    splits: dict[str, Split]
    found: list[tuple[str, str]]


def read_tables(
    source: Source, columns: Columns, *, only: Sequence[str] = ALL, known: Plan | None = None
) -> Tables:
    """The splits of a table, and the plan of its columns: made from the training rows, or `known`
    where a finished run is used.

    Raises:
      UserError: what cannot be read, does not fit the settings or the plan; a split without rows.
    """
    carved = {
        split: fraction
        for split, fraction in (("dev", columns.dev_fraction), ("test", columns.test_fraction))
        if split not in source.splits and fraction
    }
    splits: dict[str, Split] = {}
    found: list[tuple[str, str]] = []

    def add(table: RawTable, parts: dict[str, np.ndarray]) -> None:
        num_rows = f"{len(table.lines):,} rows, {table.found}"
        found.append((table.place, num_rows))
        arrays = plan.apply(known, table)
        for split, ids in parts.items():
            if split in only:
                kept = ids[arrays.keep[ids]]
                splits[split] = Split(arrays, kept, table.place, table.lines)
                if not len(kept):
                    why = "; ".join(f"{n:,} lack {what}" for what, n in arrays.why.items())
                    raise UserError(f"{table.place}: no row is left for {split} ({why or 'none'})")
        lacking = ", ".join(f"{count:,} lack {what}" for what, count in arrays.why.items())
        if lacking:
            found.append((f"{table.place}: rows left out", lacking))

    if known is None or any(split in only for split in carved):
        table, form = source.read("train")
        target, skip = _target_and_dropped(table, columns, known=known)
        goal = kinds.target_kind(table, target, predict=columns.predict, form=form)
        keys = splitting.row_keys(table, skip=skip, seed=columns.split_seed)
        present = np.flatnonzero(~table.columns[target].is_missing)
        parts = splitting.carve(present, keys[present], fractions=carved, place=table.place)
        if known is None:
            rows = parts["train"]
            known = _fitted(table, columns, rows, target=(target, goal), skip=skip, form=form)
            if distributed.number() == 0:
                print(f"read {table.place}: {len(table.lines):,} rows; {_told(known)}", flush=True)
        add(table, parts)
    for split in source.splits[1:]:
        if split in only:
            table, _ = source.read(split)
            add(table, {split: np.arange(len(table.lines))})
    assert known is not None
    return Tables(known, {split: splits[split] for split in ALL if split in splits}, found)


def train_column(source: Source, train: Split, name: str) -> list[str]:
    """What the rows of `train` have in a column, also one that is left out; reads it again.

    Raises:
      UserError: there is no such column; numbers of it that are too large to be told apart.
    """
    table, _ = source.read("train")
    if name not in table.columns:
        raise UserError(f"{table.place}: has no {name!r}; {nearest(name, list(table.columns))}")
    column = table.columns[name]
    if column.codes is not None:
        return [column.texts[i] if i >= 0 else "" for i in column.codes[train.ids].tolist()]
    numbers = column.numbers[train.ids]
    large = np.flatnonzero(np.abs(numbers) >= 2**53)
    if len(large):
        raise UserError(
            f"{train.where(large[0])}: {name!r} is about {numbers[large[0]]:.17g}, and whole "
            "numbers from 2^53 on are rounded; write what only names something as text: 'p123'"
        )
    return ["" if np.isnan(x) else repr(x + 0.0) for x in numbers.tolist()]  # no -0.0


def _fitted(
    table: RawTable,
    columns: Columns,
    rows: np.ndarray,
    *,
    target: tuple[str, str],
    skip: Sequence[str],
    form: Cells,
) -> Plan:
    """target: its name and its kind."""
    given = dict(columns.types)
    found = kinds.kinds(table, rows, form=form, given=given, skip=skip)
    if columns.missing == "drop":
        used = [table.columns[name] for name, kind in found.items() if kind.name != "drop"]
        lacks = functools.reduce(np.logical_or, (c.is_missing for c in used), False)
        rows = rows[~np.broadcast_to(lacks, len(table.lines))[rows]]
        if not len(rows):
            raise UserError(f"{table.place}: every row lacks some value; see data.missing")
    made = fitting.fit(
        table,
        rows,
        kinds=found,
        target=target[0],
        target_kind=target[1],
        form=form,
        missing=columns.missing,
        scale=columns.scale,
    )
    asked = {name: "as asked" for name in skip if name != target[0]}
    return made._replace(left_out=made.left_out | asked)


def _target_and_dropped(
    table: RawTable, columns: Columns, *, known: Plan | None
) -> tuple[str, tuple[str, ...]]:
    """The target, and the columns that are not looked at, it among them."""
    names = list(table.columns)
    for name in columns.drop:
        if name not in names:
            raise UserError(
                f"data.drop: no column {name!r} in {table.place}; {nearest(name, names)}"
            )
    left = [name for name in names if name not in columns.drop]
    target = known.target.name if known else columns.target
    if target is None:
        if not left:
            raise UserError(f"data.drop leaves no column of {table.place}")
        target = left[-1]
    if target not in left:
        where = "is among data.drop" if target in names else f"is no column of {table.place}"
        raise UserError(f"data.target={target!r} {where}; {nearest(target, left)}")
    if target in dict(columns.types):
        raise UserError(f"data.types: {target!r} is the target; say what it is with data.predict")
    return target, (*columns.drop, target)


def _told(plan: Plan) -> str:
    """What columns were taken for, in one line."""
    names: dict[str, list[str]] = {}
    for column in plan.columns:
        names.setdefault(column.kind, []).append(column.name)
    goal = f"{len(plan.target.classes)} classes" if plan.target.classes else "a number"
    told = [f"target {plan.target.name} ({goal})"]
    told += [f"{kind}: {len(some)} ({first_of(some)})" for kind, some in names.items()]
    out = [f"{name} ({why})" for name, why in plan.left_out.items()]
    return "; ".join([*told, f"left out: {first_of(out)}"] if out else told)


def _has_commas(sample: Iterable[str]) -> bool:
    """Whether numbers have a comma before their decimals, and none a point."""
    found = {
        sign
        for cell in sample
        for sign in (",", ".")
        if re.fullmatch(rf"\s*[+-]?\d+\{sign}\d+\s*", cell, re.ASCII)
    }
    return found == {","}
