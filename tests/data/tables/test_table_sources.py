"""From a file to splits: what columns are taken for, what becomes of them, and what is wrong."""

import numpy as np
import pytest
from sklearn import preprocessing

from bigjax.data.tables import inspection, plan, splitting, table_sources
from bigjax.data.tables.cells import Cells
from bigjax.data.tables.raw_table import of_arrays
from bigjax.data.tables.table_sources import Columns, csv_files, read_tables, sklearn_table
from bigjax.errors import UserError

NUM_ROWS = 60


def made_up(*, num=NUM_ROWS, seed=0) -> str:
    """A file with a column of each kind."""
    rng = np.random.default_rng(seed)
    lines = ["id,size,shade,wet,day,always,note,code,price"]
    for i in range(num):
        size = "" if i % 7 == 3 else f"{rng.normal(5, 2):.4f}"
        shade, wet = rng.choice(["red", "green", "blue"]), rng.choice(["yes", "no"])
        day = f"2024-{rng.integers(1, 13):02}-{rng.integers(1, 28):02}"
        lines.append(f"{i},{size},{shade},{wet},{day},7,note {i},{rng.integers(99)},{rng.normal()}")
    return "\n".join(lines) + "\n"


def written(tmp_path, text, name="t.csv") -> str:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def tables_of(tmp_path, text=None, *, only=table_sources.ALL, known=None, files=None, **columns):
    path = written(tmp_path, made_up() if text is None else text)
    source = csv_files(train=path, **(files or {}))
    return read_tables(source, Columns(**columns), only=only, known=known)


def test_columns_are_taken_for_what_they_are(tmp_path):
    found = tables_of(tmp_path).plan
    assert {c.name: c.kind for c in found.columns} == {
        "size": "number", "shade": "category", "wet": "boolean", "day": "date", "code": "number",
    }  # fmt: skip
    assert found.left_out == {
        "id": "the number of the row",
        "always": "constant: 7",
        "note": "another text in every row",
    }
    assert found.target.name == "price" and not found.target.classes
    names = [feature.name for feature in found.features]
    assert names == ["size", "wet", "day: month", "day: day", "day: weekday", "code"]


def test_what_columns_are_can_be_said(tmp_path):
    types = (("code", "category"), ("id", "number"), ("size", "drop"), ("day", "category"))
    found = tables_of(tmp_path, types=types, drop=("wet",), target="shade").plan
    kinds = {c.name: c.kind for c in found.columns}
    assert kinds == {"id": "number", "day": "category", "code": "category", "price": "number"}
    assert found.left_out["size"] == found.left_out["wet"] == "as asked"
    assert found.target.classes == ("blue", "green", "red")


@pytest.mark.parametrize("scale", ["standard", "minmax", "none"])
def test_numbers_are_scaled_by_the_training_rows_alone_as_scikit_learn_does(tmp_path, scale):
    found = tables_of(tmp_path, scale=scale)
    train = found.splits["train"]
    plain = tables_of(tmp_path, scale="none").splits["train"].arrays.numbers.astype(np.float64)
    scaler = {
        "standard": preprocessing.StandardScaler(),
        "minmax": preprocessing.MinMaxScaler(),
        "none": preprocessing.FunctionTransformer(),
    }[scale]
    expected = scaler.fit(plain[train.ids]).transform(plain)
    np.testing.assert_allclose(train.arrays.numbers, expected, atol=1e-5)


@pytest.mark.parametrize("missing", ["mean", "median", "indicator", "drop"])
def test_missing_numbers_are_filled_or_their_rows_left_out(tmp_path, missing):
    found = tables_of(tmp_path, missing=missing, scale="none")
    raw = np.array([line.split(",")[1] for line in made_up().splitlines()[1:]])
    lacks = raw == ""
    train = found.splits["train"]
    size = found.splits["train"].arrays.numbers[:, 0]
    if missing == "drop":
        kept = np.concatenate([split.ids for split in found.splits.values()])
        assert sorted(kept) == np.flatnonzero(~lacks).tolist()
        assert (f"{train.place}: rows left out", f"{lacks.sum()} lack column 'size'") in found.found
        return
    known = raw[train.ids[~lacks[train.ids]]].astype(float)
    fill = np.median(known) if missing == "median" else known.mean()
    np.testing.assert_allclose(size[lacks], fill, rtol=1e-6)
    np.testing.assert_allclose(size[~lacks], raw[~lacks].astype(float), rtol=1e-6)
    if missing == "indicator":
        np.testing.assert_array_equal(train.arrays.numbers[:, 1], lacks)


@pytest.mark.parametrize("missing", ["mean", "indicator", "drop"])
def test_a_single_row_becomes_what_it_becomes_in_the_table(tmp_path, missing):
    found = tables_of(tmp_path, missing=missing)
    lines = made_up().splitlines()
    names = lines[0].split(",")
    for split in found.splits.values():
        rows = [
            plan.row_of(found.plan, dict(zip(names, lines[1 + i].split(",")))) for i in split.ids
        ]
        numbers, categories = plan.arrays_of(found.plan, rows)
        np.testing.assert_array_equal(numbers, split.arrays.numbers[split.ids])
        np.testing.assert_array_equal(categories, split.arrays.categories[split.ids])


def test_a_plan_is_the_same_after_json(tmp_path):
    for columns in ({}, {"target": "shade", "missing": "indicator"}):
        found = tables_of(tmp_path, **columns).plan
        assert plan.from_json(plan.to_json(found)) == found


def test_a_finished_run_reads_only_what_it_is_asked_for_and_finds_the_same_rows(tmp_path):
    made = tables_of(tmp_path)
    again = tables_of(tmp_path, only=("dev", "test"), known=made.plan)
    assert list(again.splits) == ["dev", "test"]
    for name, split in again.splits.items():
        assert split.fingerprint() == made.splits[name].fingerprint()


def test_which_rows_are_held_out_depends_on_what_they_hold_and_not_on_their_order(tmp_path):
    header, *lines = made_up().splitlines()
    rows_of = lambda text, lines: {  # noqa: E731
        name: {lines[i] for i in split.ids}
        for name, split in tables_of(tmp_path, text, types=(("id", "number"),)).splits.items()
    }
    found = rows_of("\n".join([header, *lines]), lines)
    back = lines[::-1]
    assert rows_of("\n".join([header, *back]), back) == found
    assert {name: len(rows) for name, rows in found.items()} == {"train": 42, "dev": 6, "test": 12}


def test_equal_rows_are_in_the_same_split_and_another_seed_takes_others():
    values = np.repeat(np.arange(20), 5)
    table = of_arrays("t", {"a": values, "b": np.arange(100)})
    split = lambda seed: splitting.carve(  # noqa: E731
        np.arange(100),
        splitting.row_keys(table, skip=("b",), seed=seed),
        fractions={"dev": 0.2, "test": 0.2},
        place="t",
    )
    parts = split(0)
    sets = [set(values[ids]) for ids in parts.values()]
    assert sum(map(len, sets)) == 20 and sum(map(len, parts.values())) == 100
    assert set(split(1)["test"]) != set(parts["test"])


def test_so_many_equal_rows_that_a_split_would_be_too_large_are_parted():
    keys = np.repeat(np.array([5, 7], np.uint64), 50)
    parts = splitting.carve(np.arange(100), keys, fractions={"dev": 0.1, "test": 0.2}, place="t")
    assert {name: len(ids) for name, ids in parts.items()} == {"dev": 10, "test": 20, "train": 70}
    assert len(np.unique(np.concatenate(list(parts.values())))) == 100


@pytest.mark.parametrize(
    ("target", "predict", "classes"),
    [
        (["a", "b", "a"], "auto", ("a", "b")),
        (["yes", "no", "yes"], "auto", ("no", "yes")),
        (["10", "9", "10"], "auto", ("9", "10")),
        (["1", "2", "3"], "auto", ("1", "2", "3")),
        (["1", "2", "4"], "auto", ()),
        (["1", "2", "4"], "classes", ("1", "2", "4")),
        (["0", "1", "2"], "regression", ()),
        (["0.5", "1.5", "2"], "auto", ()),
    ],
)
def test_the_target_decides_the_head_unless_it_is_said(tmp_path, target, predict, classes):
    rows = "".join(f"{i * i},{target[i % 3]}\n" for i in range(60))
    found = tables_of(tmp_path, "x,y\n" + rows, predict=predict).plan
    assert found.target.classes == classes
    assert sum(found.target.counts) == (42 if classes else 0)


def test_regression_targets_are_scaled_by_the_training_rows(tmp_path):
    found = tables_of(tmp_path)
    target = found.splits["train"].target
    assert target.mean() == pytest.approx(0, abs=1e-6) and target.std() == pytest.approx(1)


def test_categories_that_training_has_not_seen_have_a_code_of_their_own(tmp_path):
    found = tables_of(tmp_path).plan
    given = dict.fromkeys(("size", "wet", "day", "code"))
    codes = [plan.row_of(found, {**given, "shade": s}).codes for s in ("blue", "pink", None)]
    assert codes == [(1,), (0,), (0,)]
    assert found.num_codes == (4,)


GOOD = "a,b,y\n" + "".join(f"{i},{i % 3}.5,{i % 2}\n" for i in range(30))


@pytest.mark.parametrize(
    ("text", "columns", "says"),
    [
        (GOOD + "x1,2,1\n", {}, "t.csv:32: column 'a': 'x1' is no number, as others in it are"),
        (GOOD, {"target": "z"}, "data.target='z' is no column of .*t.csv; valid: a, b, y"),
        (GOOD, {"drop": ("c",)}, "data.drop: no column 'c'"),
        (GOOD, {"types": (("c", "number"),)}, "data.types: no column 'c'"),
        (GOOD, {"types": (("a", "numbers"),)}, "did you mean 'number'"),
        (GOOD, {"types": (("a", "date"),)}, "does not hold dates"),
        (GOOD, {"types": (("b", "boolean"),)}, "'0.5' is no truth value"),
        (GOOD, {"target": "b", "drop": ("b",)}, "is among data.drop"),
        (GOOD, {"drop": ("a", "b")}, "no column is left to learn from"),
        (GOOD, {"dev_fraction": 0.6, "test_fraction": 0.6}, "expected a sum below 1"),
        ("a,y\n1,1\n2,1\n", {}, "target 'y' is the same in all rows"),
        ("a,y\n1,NA\n2,NA\n", {}, "target 'y' has no value"),
        ("a,y\n1,0\n2,1\n", {}, "is left for dev and test"),
        ("1.5,2\n2.5,3\n", {}, "t.csv:1: '1.5' is no name of a column; .* data.header=false"),
        ("a,y\n1,2\n1\n", {}, "t.csv:3: expected 2 cells"),
        (GOOD, {"target": "a", "types": (("a", "drop"),)}, "is the target"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(tmp_path, text, columns, says):
    with pytest.raises(UserError, match=says) as caught:
        tables_of(tmp_path, text, **columns)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("dev", "says"),
    [
        ("a,b\n1,2\n", "dev.csv: no column 'y'"),
        ("a,y\n1,1\n", "dev.csv: no column 'b'"),
        ("a,b,y\n1,x,1\n", "dev.csv:2: column 'b': 'x' is no number"),
        ("a,b,y\n1,2,7\n", "dev.csv:2: class '7' of 'y' is not in training"),
        ("a,b,y\n1,2,\n", "no row is left for dev"),
    ],
)
def test_a_file_that_does_not_fit_training_is_one_line(tmp_path, dev, says):
    text = GOOD.replace("a,b,y\n0", "a,b,y\n100")  # not the numbers of the rows
    files = {"dev": written(tmp_path, dev, "dev.csv")}
    with pytest.raises(UserError, match=says):
        tables_of(tmp_path, text, files=files)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"b": "x"}, "column 'b': 'x' is no number"),
        ({"a": 1}, "no column 'b', which the model needs"),
    ],
)
def test_a_row_that_cannot_be_predicted_says_why_but_not_where(row, says):
    table = of_arrays("t", {"b": np.arange(40) % 9, "y": np.arange(40) % 2})
    source = table_sources.Source(lambda split: (table, Cells()), ("train",))  # noqa: ARG005
    found = read_tables(source, Columns()).plan
    with pytest.raises(UserError, match=f"^{says}"):
        plan.row_of(found, row)


@pytest.mark.parametrize(
    ("sample", "decimal"),
    [("1,5;2\n-3,25;4", ","), ("1,5;2.5\n3;4", "."), ("15;2\n3;4", "."), ("1.5;2\n3;4", ".")],
)
def test_a_decimal_comma_is_found_where_cells_are_not_parted_by_it(tmp_path, sample, decimal):
    lines = sample.split("\n") * 15
    text = "a;b;y\n" + "".join(f"{line};{i % 2}\n" for i, line in enumerate(lines))
    assert tables_of(tmp_path, text).plan.cells.decimal == decimal


def test_numbers_with_grouped_digits_are_numbers_on_request_and_hinted_at_without(tmp_path):
    text = "a;b;y\n" + "".join(f"{i}.{i + 100},5;{i % 7};{i % 2}\n" for i in range(1, 40))
    assert "data.thousands" in tables_of(tmp_path, text).plan.left_out["a"]
    found = tables_of(tmp_path, text, files={"thousands": "."}, scale="none")
    assert found.splits["train"].arrays.numbers[0, 0] == 1101.5


def test_the_tables_of_scikit_learn_are_there_without_a_file():
    found = read_tables(sklearn_table(train="wine"), Columns())
    assert found.plan.target.classes == ("class_0", "class_1", "class_2")
    assert sum(len(split.ids) for split in found.splits.values()) == 178


def test_rows_that_are_twice_there_and_rows_that_contradict_each_other_are_found(tmp_path):
    rows = [(1, 5, 0), (1, 5, 0), (2, 6, 0), (2, 6, 1), (3, 7, 1), (4, 9, 0)]
    text = "a,b,y\n" + "".join(f"{a},{b},{y}\n" for a, b, y in rows)
    dev = written(tmp_path, "a,b,y\n3,7,1\n3,8,1\n", "dev.csv")
    found = tables_of(tmp_path, text, files={"dev": dev}, test_fraction=0.0)
    told = {f.what: (f.count, f.serious) for f in inspection.findings(found)}
    assert told == {
        "rows of dev that are in train too": (1, True),
        "rows of train that are there before": (2, False),
        "equal rows of train with another class": (1, False),
    }


@pytest.mark.parametrize("missing", ["mean", "drop"])
def test_what_training_rows_have_in_a_column_also_where_rows_are_left_out(missing, tmp_path):
    ids = [["", 7, 1234567890123457, 1234567890123456][i % 4] for i in range(80)]
    rows = [f"{who},{'' if i % 7 == 3 else i / 8},{'ab'[i % 2]}\n" for i, who in enumerate(ids)]
    path = written(tmp_path, "who,x,y\n" + "".join(rows))
    source = csv_files(train=path)
    train = read_tables(source, Columns(target="y", drop=("who",), missing=missing)).splits["train"]
    found = table_sources.train_column(source, train, "who")
    assert len(found) == len(train.ids) and len(set(found)) == 4
    number = {"": ""}
    for i, value in zip(train.ids.tolist(), found, strict=True):
        assert number.setdefault(ids[i], value) == value


def test_numbers_that_are_rounded_tell_nobody_apart(tmp_path):
    rows = [f"{2**60 + i % 3},{i / 8},{'ab'[i % 2]}\n" for i in range(40)]
    source = csv_files(train=written(tmp_path, "who,x,y\n" + "".join(rows)))
    train = read_tables(source, Columns(target="y", drop=("who",))).splits["train"]
    with pytest.raises(
        UserError, match=r"t\.csv:\d+: 'who' is about 1.15.* from 2\^53 on are round"
    ):
        table_sources.train_column(source, train, "who")
