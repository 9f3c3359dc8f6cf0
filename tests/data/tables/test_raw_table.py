"""Files as columns, in chunks that are numbers or texts."""

import numpy as np
import pytest

from bigjax.data.tables import raw_table
from bigjax.data.tables.cells import Cells
from bigjax.errors import UserError


def read(tmp_path, text, **options):
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    form = options.pop("form", Cells())
    table, _ = raw_table.read(path, cells=lambda sample, parted_by: form, **options)  # noqa: ARG005
    return table


def texts_of(column) -> list:
    return [column.texts[code] if code >= 0 else None for code in column.codes]


def test_columns_are_numbers_or_texts_and_rows_have_their_lines(tmp_path):
    table = read(tmp_path, 'a,b,c\n1,x,"2\n3"\n\nNA, y ,\n2.5,,z\n')
    np.testing.assert_array_equal(table.columns["a"].numbers, [1, np.nan, 2.5])
    assert texts_of(table.columns["b"]) == ["x", "y", None]
    assert texts_of(table.columns["c"]) == ["2\n3", None, "z"]
    assert [table.where(i) for i in range(3)] == [f"{tmp_path}/t.csv:{n}" for n in (2, 5, 6)]


def test_chunks_of_numbers_before_a_text_become_texts_too(tmp_path, monkeypatch):
    monkeypatch.setattr(raw_table, "CHUNK_ROWS", 2)
    table = read(tmp_path, "a,b\n1,1\n2.0,1\nNA,1\nx,1\n3,1\n")
    assert table.columns["a"].numbers is None
    assert texts_of(table.columns["a"]) == ["1", "2", None, "x", "3"]
    np.testing.assert_array_equal(table.columns["b"].numbers, np.ones(5))


def test_numbers_with_a_decimal_comma_are_numbers(tmp_path):
    table = read(tmp_path, "a;b\n1.234,5;x\n-0,5;y\n", form=Cells(decimal=",", thousands="."))
    np.testing.assert_array_equal(table.columns["a"].numbers, [1234.5, -0.5])


def test_numbers_as_texts_and_back_are_the_same():
    form = Cells(decimal=",")
    numbers = np.array([1.5, np.nan, -2, 1.5])
    column = raw_table.Column(numbers=numbers).as_texts(form)
    back = [np.nan if text is None else form.number(text) for text in texts_of(column)]
    np.testing.assert_array_equal(back, numbers)


@pytest.mark.parametrize(
    ("text", "says"),
    [("a,b\n", "has a header and no row"), ("a\n1\n", ":1: one column alone, 'a'")],
)
def test_a_file_without_anything_to_learn_from_is_one_line(tmp_path, text, says):
    with pytest.raises(UserError, match=says):
        read(tmp_path, text)


def test_parquet_is_read_as_the_same_table_is_from_csv(tmp_path):
    arrow = pytest.importorskip("pyarrow", reason="needs pip install 'bigjax[parquet]'")
    from pyarrow import parquet

    columns = {"n": [1.5, None, 3.0], "t": ["x", None, "y"], "b": [True, False, None]}
    parquet.write_table(arrow.table(columns), tmp_path / "t.parquet")
    table, _ = raw_table.read(tmp_path / "t.parquet", cells=lambda *_: Cells())
    np.testing.assert_array_equal(table.columns["n"].numbers, [1.5, np.nan, 3])
    np.testing.assert_array_equal(table.columns["b"].numbers, [1, 0, np.nan])
    assert texts_of(table.columns["t"]) == ["x", None, "y"]


def test_parquet_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(UserError, match="bigjax\\[parquet\\]"):
        raw_table.read(tmp_path / "t.parquet", cells=lambda *_: Cells())


def test_whole_numbers_of_parquet_that_are_too_large_are_rounded_as_those_of_csv_are(tmp_path):
    arrow = pytest.importorskip("pyarrow", reason="needs pip install 'bigjax[parquet]'")
    from pyarrow import parquet

    parquet.write_table(arrow.table({"x": [2**53 + 1, None], "y": [1, 2]}), tmp_path / "t.parquet")
    table, _ = raw_table.read(tmp_path / "t.parquet", cells=lambda *_: Cells())
    np.testing.assert_array_equal(table.columns["x"].numbers, [2.0**53, np.nan])
