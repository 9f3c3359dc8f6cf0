"""Rows of CSV files: what parts cells, line numbers, and what is wrong with a file."""

import csv
import io

import hypothesis
import pytest
from hypothesis import strategies

from bigjax.data.tables import csv_rows
from bigjax.errors import UserError


def rows_of(content: bytes, **arguments) -> list:
    return list(csv_rows.read_rows(io.BytesIO(content), name="t.csv", **arguments))


CELLS = strategies.text(strategies.sampled_from('ab1.,;\t|"\n\r é'), max_size=5)
TABLES = strategies.integers(2, 5).flatmap(
    lambda n: strategies.lists(strategies.tuples(*[CELLS] * n), min_size=1, max_size=6)
)


@pytest.mark.parametrize("delimiter", csv_rows.DELIMITERS)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@hypothesis.given(table=TABLES)
def test_what_python_writes_is_read_as_it_was_with_the_line_each_row_begins_on(
    table, delimiter, end
):
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    names = [f"column {i}" for i in range(len(table[0]))]
    writer.writerow(names)
    expected = []
    for row in table:
        text = file.getvalue()
        line = len(io.StringIO(text, newline="").readlines()) + 1
        expected.append((line, dict(zip(names, row))))
        writer.writerow(row)
    found = rows_of(b"\xef\xbb\xbf" + file.getvalue().encode(), delimiter=delimiter)
    assert found == expected


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("a,b\n1,2\n", ","),
        ("a;b\n1,5;2,5\n", ";"),
        ("a\tb,c\td\n1\t2\t3\n", "\t"),
        ("a|b\n1|2\n", "|"),
        ('a,b\n"1;2;3","x;y;z"\n', ","),
        ("name\nx\n", ","),
    ],
)
def test_what_parts_the_cells_is_found(text, delimiter):
    assert csv_rows.guess_delimiter(text) == delimiter


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "t.csv: is empty"),
        (b"\n\n", "t.csv: is empty"),
        (b"a,b\n1,2\n3\n", "t.csv:3: expected 2 cells as in the header, found 1 in '3'"),
        (b'a,b\n"1\n2",3\n4,5,6\n', "t.csv:4: expected 2 cells as in the header, found 3"),
        (b"a,b,a\n1,2,3\n", "t.csv:1: a: twice in the header"),
        (b"a,,b\n1,2,3\n", "t.csv:1: column 2 of 3 has no name"),
        (b'a,b\n1,"2\n', "t.csv:2: not a row of CSV"),
        (b'a,b\n1,"2"x\n', "t.csv:2: not a row of CSV"),
        (b"a,b\n1,\xff\n", "t.csv:2: byte 0xff is not UTF-8"),
        (b"a,b\n1,\0\n", "t.csv:2: holds a zero byte"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_its_place(content, says):
    with pytest.raises(UserError) as caught:
        rows_of(content)
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)


def test_the_rows_after_a_bad_one_can_still_be_read():
    rows = csv_rows.read_rows(io.BytesIO(b"a,b\n1,2\n3\n4,5\n"), name="t.csv")
    assert next(rows) == (2, {"a": "1", "b": "2"})
    with pytest.raises(UserError):
        next(rows)
    assert list(rows) == [(4, {"a": "4", "b": "5"})]


def test_a_file_without_a_header_has_numbered_columns():
    assert rows_of(b"1,2\n", header=False) == [(1, {"column_1": "1", "column_2": "2"})]


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(UserError, match="none.csv: cannot be read"):
        csv_rows.read_rows("none.csv")


def test_the_line_by_which_excel_says_what_parts_cells_is_no_header():
    assert rows_of(b"sep=;\r\na;b\r\n1,5;2\r\n") == [(3, {"a": "1,5", "b": "2"})]


def test_other_encodings_are_read_when_they_are_named():
    text = "a,b\né,ü\n"
    for encoding in ("latin-1", "utf-16"):
        assert rows_of(text.encode(encoding), encoding=encoding) == [(2, {"a": "é", "b": "ü"})]
    with pytest.raises(UserError, match="there is no such encoding"):
        csv_rows.read_rows(__file__, encoding="no-such")
