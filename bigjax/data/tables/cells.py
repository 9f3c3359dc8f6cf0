"""Owns what a cell of a table says: a number, a truth value, a date, nothing, or a text."""

import datetime
import math
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

MISSING = ("", "NA", "N/A", "n/a", "nan", "NaN", "NAN", "null", "NULL", "None", "?")
TRUE, FALSE = {"true", "yes", "t", "y", "1"}, {"false", "no", "f", "n", "0"}
# Tried in this order; "iso" is everything of ISO 8601.
DATE_FORMATS = ("iso", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d", "%d-%m-%Y", "%d %b %Y")
_TIMES = ("", " %H:%M", " %H:%M:%S")
PARTS = ("year", "month", "day", "weekday", "hour", "minute")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_LIKE_A_DATE = re.compile(r"\d{1,4}[-./ ](\d{1,2}|[A-Za-z]{3})[-./ ]\d{1,4}|\d{4}-\d{2}", re.ASCII)


class Cells(NamedTuple):
    """How cells are written.

    decimal: what parts the decimals of a number. thousands: what groups its digits; None: nothing.
    missing: texts that stand for no value.
    """

    decimal: str = "."
    thousands: str | None = None
    missing: tuple[str, ...] = MISSING

    @property
    def is_plain(self) -> bool:
        return self.decimal == "." and self.thousands is None

    def number(self, text: str) -> float | None:
        """A finite number; None where the text is none. Under a decimal comma without thousands a
        point is one too, as programs write it."""
        if self.thousands is not None:
            text = text.replace(self.thousands, "")
        if self.decimal != ".":
            text = text.replace(self.decimal, ".")
        text = text.strip()
        if not _NUMBER.fullmatch(text):
            return None
        value = float(text)
        return value if math.isfinite(value) else None

    def text(self, value: Any) -> str | None:
        """A cell of a file, or a value of a program, as its text; None where it is missing."""
        if value is None or isinstance(value, float) and math.isnan(value):
            return None
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, (int, float)):
            return self.written(value)
        text = str(value).strip()
        return None if not text or text in self.missing else text

    def written(self, value: float) -> str:
        """A number as a file of this kind would have it."""
        return canonical(value).replace(".", self.decimal)

    def category(self, text: str) -> str:
        """A text as the name of a category: equal numbers have equal names."""
        value = self.number(text)
        return text if value is None else canonical(value)


def canonical(value: float) -> str:
    return f"{value:.15g}"


def truth(text: str) -> bool | None:
    """Of a truth value; None where the text is none."""
    lower = text.lower()
    return True if lower in TRUE else False if lower in FALSE else None


def date_format(texts: Iterable[str]) -> str | None:
    """The first of the formats that all texts are dates in, if any."""
    texts = list(texts)
    if not texts or not all(map(_LIKE_A_DATE.match, texts[:100])):
        return None
    for form in DATE_FORMATS:
        for time in _TIMES if form != "iso" else ("",):
            if all(date_parts(text, form + time) is not None for text in texts):
                return form + time
    return None


def date_parts(text: str, form: str) -> tuple[float, ...] | None:
    """The numbers that `PARTS` names; None where the text is no date of this format."""
    parse: Callable[[str], datetime.datetime] = datetime.datetime.fromisoformat
    if form != "iso":
        parse = lambda text: datetime.datetime.strptime(text, form)  # noqa: E731
    try:
        found = parse(text)
    except ValueError:
        return None
    day = (found.year, found.month, found.day, found.weekday())
    return tuple(map(float, (*day, found.hour, found.minute)))
