"""Ranges of a search: what can be written, in a file or on the command line, and that the rest is
one line with its place."""

from pathlib import Path

import pytest

from bigjax.config import values as configs
from bigjax.config.ranges import Range
from bigjax.engine import settings
from bigjax.errors import UserError

FILE = """\
import ml_collections


def get_config():
    config = ml_collections.ConfigDict()
    config.task = "image_classification"
    config.num_steps = 3
    config.data = {"source": "digits"}
    config.model = {"name": "fast_cnn"}
    config.optim = {"name": "adam", "learning_rate": 1e-3}
    config.search = {}
    config.search.space = {
        "optim": {"learning_rate": ("log", 1e-5, 1), "name": ("choice", "adam", "lion")},
        "augment": {"pad_crop": ("uniform", 0, 2)},
        "model": {
            "widths": ("choice", (8, 16), (16, 32)),
        },
    }
    return config
"""


@pytest.fixture
def load(tmp_path: Path):
    def load_file(*arguments: str, old: str = "", new: str = "") -> configs.Config:
        assert old in FILE
        path = tmp_path / "c.py"
        path.write_text(FILE.replace(old, new, 1) if old else FILE)
        given = configs.parse_overrides(arguments)
        return configs.load(str(path), overrides=given, schema=settings.schema)

    return load_file


def test_ranges_take_the_types_of_their_settings(load):
    assert dict(load().space) == {
        "augment.pad_crop": Range("uniform", (0, 2), is_whole=True),
        "model.widths": Range("choice", ((8, 16), (16, 32))),
        "optim.learning_rate": Range("log", (1e-5, 1.0)),
        "optim.name": Range("choice", ("adam", "lion")),
    }


def test_the_command_line_adds_changes_and_removes_ranges(load):
    space = load(
        "--config.search.space.optim.learning_rate=none",
        "--config.search.space.augment.pad_crop=choice,0,4",
        "--config.search.space.optim.clip_norm=choice,none,1.0",
        "--config.search.space.model.widths=('choice', (1, 2))",
        "--config.search.space.seed=uniform,0,1e3",
        "--config.search.space.batch.rows=choice,16",
    ).space
    assert dict(space) == {
        "augment.pad_crop": Range("choice", (0, 4)),
        "batch.rows": Range("choice", (16,)),
        "model.widths": Range("choice", ((1, 2),)),
        "optim.clip_norm": Range("choice", (None, 1.0)),
        "optim.name": Range("choice", ("adam", "lion")),
        "seed": Range("uniform", (0, 1000), is_whole=True),
    }


def test_a_run_knows_nothing_of_the_space(load):
    config = load()
    assert not [key for key in config.flat() if key.startswith("search.space")]
    assert "space" not in config.record()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"learning_rate": ("log"', '"learnin_rate": ("log"', ":13: config.search.space.optim."
         "learnin_rate: nothing reads it (the section is for adamw and Optimization); did you mean "
         "'learning_rate'?"),
        ('"widths": (', '"depth": (', ":16: config.search.space.model.depth: nothing reads it"),
        ('"augment": {"pad_crop"', '"augmen": {"pad_crop"', ":14: config.search.space.augmen."
         "pad_crop: there is no such setting; did you mean 'augment.pad_crop'?"),
        ("(8, 16), (16, 32)", "(8, 16), (16, 'x')", ":16: config.search.space.model.widths=(16, "
         "'x') is tuple; expected tuple[int, ...]"),
        ("0, 2)", "0, 2.5)", "pad_crop=2.5 is float; expected int"),
        ("0, 2)", "2, 2)", "expected two numbers, ('uniform', LOW, HIGH), LOW below HIGH"),
        ("0, 2)", "0)", "expected two numbers, ('uniform', LOW, HIGH), LOW below HIGH"),
        ("0, 2)", "-1, 2)", "pad_crop=-1: expected 0 or more"),
        ('("log", 1e-5', '("log", 0', "expected LOW above 0, as it is drawn evenly in the log"),
        ('("log", 1e-5', '("logg", 1e-5', "there is no range 'logg'; did you mean 'log'?"),
        ('("log", 1e-5, 1)', "(1e-5, 1)", "expected ('log', LOW, HIGH), ('uniform', LOW, HIGH) or"),
        ('("log", 1e-5, 1)', "1e-5", "learning_rate=1e-05: expected ('log', LOW, HIGH)"),
        ('"adam", "lion")', '"adam", "adam")', "expected one value or more, each once"),
        ('"adam", "lion")', '"adam", "lino")', "did you mean 'lion'?"),
        ('("choice", "adam", "lion")', '("choice",)', "expected one value or more, each once"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_range_is_one_line_with_its_place(load, old, new, expected):
    with pytest.raises(UserError) as error:
        load(old=old, new=new)
    message = str(error.value)
    assert expected in message and "c.py:1" in message and "\n" not in message


@pytest.mark.parametrize("key", ["task", "search.seed"])
def test_what_all_trials_share_cannot_be_searched(load, key):
    with pytest.raises(UserError, match=f"search.space.{key}: it is the same in all trials"):
        load(f"--config.search.space.{key}=choice,1,2")


def test_a_space_that_is_no_mapping_says_how_it_is_written(load):
    with pytest.raises(UserError, match="expected a range for each setting, such as --config.sea"):
        load("--config.search.space=log,1,2")
