"""CSV files with something wrong in them: one line that says so, or the right table."""

import csv
import io
import random

import numpy as np
import pytest

from bigjax.data.tables import raw_table
from bigjax.data.tables.cells import MISSING, Cells
from bigjax.data.tables.csv_rows import CsvRows
from bigjax.data.tables.table_sources import Columns, csv_files, read_tables
from bigjax.errors import UserError

PIECES = [
    b'"', b'""', b",", b";", b"\t", b"\n", b"\r\n", b"\r", b"\0", b"\xff", b"\xef\xbb\xbf", b" ",
    b"1e999", b"NaN", b"inf", b"-", b"1_0", b"0x1f", b"9" * 400, b"NA", b"x", "\u00e9".encode(),
    "\u0661".encode(), b"2024-02-30", b"true", b"\n\n", b'"a\nb"', b"1,5", b"\x1a", b"\x0c",
]  # fmt: skip


def base(rng: random.Random) -> bytes:
    lines = ["size,shade,wet,day,count,price"]
    for _ in range(rng.randint(20, 60)):
        shade, wet = rng.choice(["red", "green", '"dark, ""blue"""', ""]), rng.choice(["yes", "no"])
        size = rng.choice([f"{rng.gauss(0, 1):.4g}", "NA", "1e-3"])
        day = f"2024-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
        lines.append(f"{size},{shade},{wet},{day},{rng.randint(0, 9)},{rng.gauss(9, 3):.3f}")
    return ("\n".join(lines) + "\n").encode()


def mutated(content: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(content) + 1)
        lines = content.split(b"\n")
        kind = rng.randrange(9)
        if kind <= 2:
            content = content[:at] + rng.choice(PIECES) + content[at:]
        elif kind == 3:
            content = content[:at] + bytes([rng.randrange(256)]) + content[at + 1 :]
        elif kind == 4:
            content = content[:at] + content[at + rng.randint(1, 30) :]
        elif kind == 5:
            content = content[: rng.choice([at, len(content) // 2, 40])]
        elif kind == 6:
            rng.shuffle(lines)
            content = b"\n".join(lines)
        elif kind == 7:
            content = content.replace(b",", rng.choice([b";", b"\t", b"|", b", "]))
        else:
            content = content.replace(b"\n", rng.choice([b"\r\n", b"\r", b"\n\n"]))
    return content


def cells_of(table: raw_table.RawTable) -> dict[str, list]:
    """Of each column its numbers, or its texts; None where missing."""
    found = {}
    for name, column in table.columns.items():
        if column.codes is None:
            found[name] = [None if np.isnan(x) else float(x) for x in column.numbers]
        else:
            found[name] = [column.texts[c] if c >= 0 else None for c in column.codes]
    return found


def reference(content: bytes, *, delimiter: str) -> dict[str, list[str]]:
    """The columns of a file, the slow and obvious way."""
    text = content.decode("utf-8-sig")
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row]
    rows = [row for row in rows if len(row) > 1 or row[0].strip()]
    assert len({len(row) for row in rows}) == 1, "rows of unequal length came through"
    names = [name.strip() or "Unnamed: 0" for name in rows[0]]
    return dict(zip(names, zip(*rows[1:])))


def assert_equal(found: list, cells: tuple[str, ...]) -> None:
    """A column beside its cells: each as a number, or a text that is equal as one."""
    assert len(found) == len(cells)
    form = Cells()
    for value, cell in zip(found, map(str.strip, cells)):
        if value is None:
            assert cell == "" or cell in MISSING or cell.lower() == "nan", cell
        elif isinstance(value, float):
            assert value == float(cell), cell
        else:
            assert value == cell or form.number(value) == pytest.approx(form.number(cell)), cell


def check(content: bytes, path) -> str:
    """ "error" or "table" of a file; fails where it is read as something else."""
    path.write_bytes(content)
    told = "table"
    try:
        table, _ = raw_table.read(path, cells=lambda *_: Cells())
        rows = CsvRows(path)
        rows.close()
        expected = reference(content, delimiter=rows.dialect.delimiter)
        found = cells_of(table)
        assert list(found) == list(expected)
        for name in found:
            assert_equal(found[name], expected[name])
        read_tables(csv_files(train=str(path)), Columns())
    except UserError as error:
        assert "\n" not in str(error) and len(str(error)) < 500, str(error)
        assert str(path) in str(error) or str(error).startswith("data."), str(error)
        told = "error"
    return told


@pytest.mark.parametrize(
    "num", [150, pytest.param(3000, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_a_mutated_file_is_one_line_or_the_right_table(tmp_path, num):
    told = []
    for seed in range(num):
        rng = random.Random(seed)
        content = mutated(base(rng), rng)
        try:
            told.append(check(content, tmp_path / "t.csv"))
        except BaseException as error:
            raise AssertionError(f"seed {seed}: {content[:300]!r}") from error
    assert 0.2 < told.count("error") / num < 0.9
