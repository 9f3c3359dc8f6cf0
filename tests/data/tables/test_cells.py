"""What a cell of a table says."""

import datetime

import hypothesis
import pytest
from hypothesis import strategies

from bigjax.data.tables import cells
from bigjax.data.tables.cells import Cells

COMMA = Cells(decimal=",", thousands=".")


@pytest.mark.parametrize(
    ("form", "text", "value"),
    [
        (Cells(), "1.5", 1.5),
        (Cells(), " -2e3 ", -2000.0),
        (Cells(), "+.5", 0.5),
        (Cells(), "1,5", None),
        (Cells(), "1_000", None),
        (Cells(), "inf", None),
        (Cells(), "1e999", None),
        (Cells(), "0x10", None),
        (Cells(), "١", None),
        (Cells(), "", None),
        (Cells(thousands=","), "1,234,567.5", 1234567.5),
        (COMMA, "1.234,5", 1234.5),
        (Cells(decimal=","), "2.5", 2.5),
        (Cells(decimal=","), "2,5", 2.5),
    ],
)
def test_numbers_are_read_as_they_are_written(form, text, value):
    assert form.number(text) == value


@hypothesis.given(strategies.floats(allow_nan=False, allow_infinity=False))
def test_a_number_of_a_program_is_the_same_as_in_a_file(value):
    for form in (Cells(), Cells(decimal=",")):
        assert form.number(form.text(value)) == pytest.approx(value, rel=1e-14)


def test_what_is_missing_is_none_and_what_a_program_gives_is_a_text():
    form = Cells()
    assert [form.text(x) for x in (None, float("nan"), "", " NA ", "?")] == [None] * 5
    assert [form.text(x) for x in (True, 3, 2.5, " a ")] == ["true", "3", "2.5", "a"]


def test_equal_numbers_are_one_category():
    assert {Cells().category(text) for text in ("1", "1.0", "01", "1e0")} == {"1"}
    assert Cells().category("a1") == "a1"


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("2024-02-29", "iso"),
        ("2024-02-29T13:45", "iso"),
        ("2024-02-29 13:45:10.5+02:00", "iso"),
        ("29.02.2024", "%d.%m.%Y"),
        ("02/29/2024", "%m/%d/%Y"),
        ("29/02/2024 13:45", "%d/%m/%Y %H:%M"),
    ],
)
def test_dates_become_their_parts(text, form):
    assert cells.date_format([text, text]) == form
    parts = dict(zip(cells.PARTS, cells.date_parts(text, form)))
    assert (parts["year"], parts["month"], parts["day"]) == (2024, 2, 29)
    assert parts["weekday"] == datetime.date(2024, 2, 29).weekday()
    assert (parts["hour"], parts["minute"]) == ((13, 45) if "13" in text else (0, 0))


def test_one_text_that_is_no_date_makes_a_column_none_of_dates():
    assert cells.date_format(["2024-01-01", "2024-13-01"]) is None
    assert cells.date_format(["red", "blue"]) is None
    assert cells.date_format([]) is None


def test_all_dates_of_a_column_decide_which_number_is_the_month():
    assert cells.date_format(["01/02/2024", "13/02/2024"]) == "%d/%m/%Y"
    assert cells.date_format(["01/02/2024", "02/13/2024"]) == "%m/%d/%Y"
