"""Owns what a column is, guessed from its values: numbers, truth values, dates, categories, or
nothing to learn from (the same in all rows, another in each, the number of the row)."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from bigjax.data.tables import cells
from bigjax.data.tables.cells import Cells
from bigjax.data.tables.raw_table import RawTable
from bigjax.errors import UserError, nearest

KINDS = ("number", "boolean", "category", "date", "drop")
MAX_CLASSES = 1000
MIN_ROWS = 20  # of which a column that differs in all of them is taken for their names
_ID_NAME = re.compile(r"(.*[_ ])?(id|index|uuid|guid|key)|unnamed: 0|row(_?num(ber)?)?", re.I)
_LIKE_A_NUMBER = re.compile(r"[+-]?\d[\d.,']*", re.ASCII)
_MOSTLY = 0.9  # the share of numbers from which on a text among them is a mistake


class Kind(NamedTuple):
    """name: one of KINDS. why: it is left out, or "". form: of dates."""

    name: str
    why: str = ""
    form: str = ""


def kinds(
    table: RawTable,
    rows: np.ndarray,
    *,
    form: Cells,
    given: Mapping[str, str],
    skip: Sequence[str],
) -> dict[str, Kind]:
    """Of each column but `skip`, from its values in the training `rows`.

    Raises:
      UserError: a name in `given` that is no column, a kind that is none or does not fit, a text
        among numbers.
    """
    for name, kind in given.items():
        if name not in table.columns:
            raise UserError(f"data.types: no column {name!r}; {nearest(name, table.columns)}")
        if kind not in KINDS:
            raise UserError(f"data.types: {name!r} is {kind!r}; {nearest(kind, KINDS)}")
    return {
        name: _given(table, name, form=form, kind=given[name])
        if name in given
        else _guess(table, name, rows, form=form)
        for name in table.columns
        if name not in skip
    }


def _given(table: RawTable, name: str, *, form: Cells, kind: str) -> Kind:
    if kind == "drop":
        return Kind("drop", "as asked")
    column = table.columns[name]
    if kind == "date":
        texts = column.as_texts(form).texts
        found = cells.date_format(texts)
        if found is None:
            raise UserError(
                f"{table.place}: column {name!r} does not hold dates of one form, such as "
                f"{texts[0] if texts else ''!r}; expected ISO 8601 or one of "
                f"{', '.join(cells.DATE_FORMATS[1:])}"
            )
        return Kind("date", form=found)
    if kind == "number" and column.codes is not None:
        _raise_text_among_numbers(table, name, form=form)
    if kind == "boolean":
        wrong = [text for text in column.as_texts(form).texts if cells.truth(text) is None]
        if wrong:
            where = _first(table, name, wrong[0], form=form)
            raise UserError(
                f"{where}: column {name!r}: {wrong[0][:40]!r} is no truth value; expected true or "
                "false, yes or no, 1 or 0"
            )
    return Kind(kind)


def _guess(table: RawTable, name: str, rows: np.ndarray, *, form: Cells) -> Kind:
    column = table.columns[name]
    if column.codes is None:
        return _of_numbers(name, column.numbers, column.numbers[rows])
    codes = column.codes[rows]
    counts = np.bincount(codes[codes >= 0], minlength=len(column.texts))
    texts = [column.texts[i] for i in np.flatnonzero(counts)]
    if not texts:
        return Kind("drop", "no value in training")
    if len(texts) == 1:
        return Kind("drop", f"constant: {texts[0][:40]}")
    numbers = [form.number(text) is not None for text in texts]
    share = counts[np.flatnonzero(counts)] @ numbers / counts.sum()
    if share == 1 or share >= _MOSTLY and sum(numbers) > MIN_ROWS:
        _raise_text_among_numbers(table, name, form=form)
    if len(texts) == 2 and all(cells.truth(text) is not None for text in column.texts):
        return Kind("boolean")
    date = cells.date_format(column.texts)
    if date is not None:
        return Kind("date", form=date)
    num_values = int(counts.sum())
    hint = ""
    if all(map(_LIKE_A_NUMBER.fullmatch, texts)):
        hint = f"; {texts[0]!r} would be a number with other data.decimal or data.thousands"
    if len(texts) == num_values >= MIN_ROWS:
        return Kind("drop", f"another text in every row{hint}")
    if len(texts) > max(50, num_values / 2):
        return Kind("drop", f"texts: {len(texts):,} different ones in {num_values:,} rows{hint}")
    return Kind("category")


def _of_numbers(name: str, whole: np.ndarray, values: np.ndarray) -> Kind:
    values = values[~np.isnan(values)]
    if not values.size:
        return Kind("drop", "no value in training")
    if values.min() == values.max():
        return Kind("drop", f"constant: {cells.canonical(values[0])}")
    counts = values.size >= MIN_ROWS and not np.isnan(whole).any()
    if counts and (whole == np.rint(whole)).all() and len(np.unique(whole)) == len(whole):
        if whole.max() - whole.min() == len(whole) - 1:
            return Kind("drop", "the number of the row")
        if _ID_NAME.fullmatch(name.strip()):
            return Kind("drop", "identifier: another number in every row")
    return Kind("number")


def target_kind(
    table: RawTable, name: str, *, predict: Literal["auto", "classes", "regression"], form: Cells
) -> str:
    """ "classes" or "regression".

    Raises:
      UserError: a target without values, of too many texts, or a regression of texts.
    """
    column = table.columns[name]
    present = ~column.is_missing
    where = f"{table.place}: the target {name!r}"
    if not present.any():
        raise UserError(f"{where} has no value; name another column with data.target")
    if column.codes is not None:
        if predict == "regression" or all(form.number(text) is not None for text in column.texts):
            _raise_text_among_numbers(table, name, form=form)
        numbers = [text for text in column.texts if form.number(text) is not None]
        if predict == "auto" and len(numbers) > max(MIN_ROWS, _MOSTLY * len(column.texts)):
            _raise_text_among_numbers(table, name, form=form)
        found, num = "classes", len(column.texts)
    else:
        values = np.unique(column.numbers[present])
        found, num = predict, len(values)
        if predict == "auto":
            whole = (values == np.rint(values)).all() and values[0] in (0, 1)
            counted = whole and values[-1] - values[0] == num - 1 and num <= 20
            found = "classes" if num == 2 or counted else "regression"
    if num < 2:
        raise UserError(f"{where} is the same in all rows; name another column with data.target")
    if found == "classes" and num > MAX_CLASSES:
        raise UserError(
            f"{where} has {num:,} different values, too many for classes (at most "
            f"{MAX_CLASSES:,}); name another column with data.target"
        )
    return found


def _raise_text_among_numbers(table: RawTable, name: str, *, form: Cells) -> None:
    column = table.columns[name]
    wrong = [text for text in column.texts if form.number(text) is None]
    if not wrong:
        return
    where = _first(table, name, wrong[0], form=form)
    raise UserError(
        f"{where}: column {name!r}: {wrong[0][:40]!r} is no number, as others in it are; correct "
        "it, add it to data.missing_values, or say that they are categories: "
        f"data.types=(({name!r}, 'category'),)"
    )


def _first(table: RawTable, name: str, text: str, *, form: Cells) -> str:
    """Where a text of a column stands first."""
    column = table.columns[name].as_texts(form)
    return table.where(int(np.argmax(column.codes == list(column.texts).index(text))))
