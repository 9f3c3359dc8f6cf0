"""Settings: every mistake a user can make in them is one line that says where it is and what was
meant, every value knows where it came from, and no setting is without effect."""

import ast
import dataclasses
import functools
import inspect
import json
import runpy
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from bigjax.config import choices, fields
from bigjax.config import values as configs
from bigjax.config.choices import Choice, IfNone
from bigjax.config.fields import REQUIRED, AtLeast, Between, Field
from bigjax.engine import schedules, settings
from bigjax.errors import UserError
from bigjax.tasks import TASKS

SHIPPED = str(ROOT / "configs" / "bert_ner.py")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Top:
    task: str
    seed: int = 0
    steps: int | None = None
    share: float = 0.5
    flag: bool = False
    mode: Literal["max", "min"] = "max"
    sizes: tuple[int, ...] = (1, 2)
    pair: tuple[str, float] = ("a", 1.0)
    rules: tuple[tuple[str, float], ...] = ((".*", 1.0),)
    folder: str | None = None
    number: Annotated[int | None, AtLeast(1), "how many"] = None
    paths: str | tuple[str, ...] = ""
    parts: Annotated[tuple[float, ...] | Literal["equal"], "shares", Between(0, 1)] = "equal"


def optimizer(
    params: str, *, schedule: Callable, learning_rate: float, **options: Any
) -> tuple[Any, ...]:
    """Takes a schedule from the program and a learning rate from the config."""
    return params, schedule, learning_rate, options


def fast(*, momentum: float = 0.0) -> str:
    return f"fast {momentum}"


def slow(*, decay: float = 0.9) -> str:
    return f"slow {decay}"


OPTIMIZER = Choice("name", {"fast": fast, "slow": slow}, "which one", default="fast")
schema = functools.partial(choices.schema_of, {"": [Top], "optim": [OPTIMIZER, optimizer]})


FILE = """\
import ml_collections

VARIANTS = ("small", "slower")


def get_config(variant="default"):
    config = ml_collections.ConfigDict()
    config.task = "tagging"
    config.seed = 3
    config.optim = {
        "learning_rate": 1e-3,
        "momentum": 0.9,
    }
    if variant != "default":
        globals()[variant](config)
    return config


def small(config):
    config.steps = 10
    config.seed = 4
    config.optim.learning_rate = 1


def slower(config):
    config.optim = {"name": "slow", "learning_rate": 0.1}
    config.seed = 3
"""


@pytest.fixture
def write(tmp_path) -> Callable[..., str]:
    """Writes FILE with some of its text replaced, and gives its path."""

    def write_file(*, old: str = "", new: str = "") -> str:
        assert old in FILE
        path = tmp_path / "tiny.py"
        path.write_text(FILE.replace(old, new, 1) if old else FILE, encoding="utf-8")
        return str(path)

    return write_file


def load(spec: str, *arguments: str) -> configs.Config:
    return configs.load(spec, overrides=configs.parse_overrides(arguments), schema=schema)


def message_of(call: Callable[[], Any]) -> str:
    with pytest.raises(UserError) as error:
        call()
    assert "\n" not in str(error.value), "one line"
    return str(error.value)


# --- values and where they come from ---


def test_a_setting_comes_from_an_override_or_the_variant_or_the_file_or_its_default(write):
    path = write()
    plain = load(path)
    assert plain.of(Top).task == "tagging"
    assert plain.of(Top).seed == 3
    assert plain.of(Top).share == 0.5
    assert plain.values["optim"] == {"name": "fast", "learning_rate": 1e-3, "momentum": 0.9}
    assert plain.origins["seed"] == plain.origins["optim.momentum"] == "file"
    assert plain.origins["share"] == plain.origins["optim.name"] == "default"

    small = load(f"{path}:small", "--config.optim.momentum=0.5", "--config.flag", "true")
    assert small.file == f"{path}:small"
    assert (small.of(Top).seed, small.origins["seed"]) == (4, "variant")
    assert (small.of(Top).steps, small.origins["steps"]) == (10, "variant")
    assert (small.of(Top).task, small.origins["task"]) == ("tagging", "file")
    assert (small.values["optim"]["momentum"], small.origins["optim.momentum"]) == (0.5, "override")
    assert (small.of(Top).flag, small.origins["flag"]) == (True, "override")
    learning_rate = small.values["optim"]["learning_rate"]
    assert (learning_rate, type(learning_rate)) == (1.0, float), "an int serves as a float"

    slower = load(f"{path}:slower")
    assert slower.values["optim"] == {"name": "slow", "learning_rate": 0.1, "decay": 0.9}
    assert slower.origins["seed"] == "file", "set again to what it was"


def test_a_choice_in_an_override_decides_which_keys_there_are(write):
    path = write(old='        "momentum": 0.9,\n')
    found = load(path, "--config.optim.name=slow", "--config.optim.decay=0.7")
    assert found.values["optim"] == {"name": "slow", "learning_rate": 1e-3, "decay": 0.7}


def test_flat_and_fields_name_every_setting_once(write):
    found = load(write())
    assert list(found.flat()) == list(found.origins) == list(found.fields())
    assert list(found.flat())[:3] == ["task", "seed", "steps"]
    assert found.flat()["optim.momentum"] == 0.9
    assert found.fields()["number"] == Field(int | None, None, AtLeast(1), "how many")
    assert found.fields()["task"] == Field(str, REQUIRED)
    assert found.fields()["optim.name"] == Field(Literal["fast", "slow"], "fast", None, "which one")


def test_a_taker_is_called_with_its_settings_and_what_the_program_adds(write):
    path = write(old='        "momentum": 0.9,\n')
    found = load(path, "--config.optim.name=slow", "--config.optim.decay=0.5")
    assert found.of(Top) == Top(task="tagging", seed=3)
    assert found.of(slow) == found.of(OPTIMIZER) == "slow 0.5"
    made = found.of(optimizer, params="p", schedule=len, b=1)
    assert made == ("p", len, 1e-3, {"b": 1})
    with pytest.raises(AssertionError, match="fast.* takes no section of this config"):
        found.of(fast)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("seed", "7", 7),
        ("seed", "-1", -1),
        ("seed", "1e3", 1000),
        ("seed", "1_000", 1000),
        ("steps", "1e3", 1000),
        ("steps", "none", None),
        ("steps", "None", None),
        ("share", "1", 1.0),
        ("share", "3e-5", 3e-5),
        ("share", "-0.5", -0.5),
        ("flag", "true", True),
        ("flag", "False", False),
        ("flag", "1", True),
        ("flag", "0", False),
        ("mode", "min", "min"),
        ("sizes", "3,4,5", None),
        ("sizes", "(3, 4, 5)", (3, 4, 5)),
        ("sizes", "[3, 4]", (3, 4)),
        ("sizes", "()", ()),
        ("sizes", "7", (7,)),
        ("pair", "('b', 2)", ("b", 2.0)),
        ("rules", "((\".*bias\", 0), ('.*', 1))", ((".*bias", 0.0), (".*", 1.0))),
        ("folder", "none", None),
        ("folder", "a=b, c", "a=b, c"),
        ("folder", "12", "12"),
        ("folder", "", ""),
        ("paths", "a,b", "a,b"),
        ("paths", "('a', 'b')", ("a", "b")),
        ("paths", "(a, b)", "(a, b)"),
        ("number", "1", 1),
        ("parts", "equal", "equal"),
        ("parts", "0,1", (0.0, 1.0)),
        ("task", "none", "none"),
    ],
)
def test_the_text_of_an_override_is_read_as_the_type_of_its_setting(write, key, text, value):
    if key == "sizes" and value is None:
        value = (3, 4, 5)
    found = load(write(), f"--config.{key}={text}").values[""][key]
    assert found == value
    assert type(found) is type(value)
    assert load(write(), f"--config.{key}", text).values[""][key] == value


def test_lists_in_a_file_serve_as_tuples(write):
    new = "config.sizes = [3, 4]\n    config.rules = [('.*bias', 0), ('.*', 1)]"
    found = load(write(old="config.seed = 3", new=new)).of(Top)
    assert found.sizes == (3, 4)
    assert found.rules == ((".*bias", 0.0), (".*", 1.0))


# --- the record of a run ---


def test_a_record_goes_through_json_and_gives_the_same_settings(write):
    first = load(f"{write()}:small", "--config.sizes=(5,)", "--config.folder=none")
    record = json.loads(json.dumps(first.record()))
    again = configs.from_record(record, path="run/config.json", overrides={}, schema=schema)
    assert again == first
    assert again.record() == first.record()


@given(
    seed=st.integers(-(2**40), 2**40),
    share=st.floats(allow_nan=False, allow_infinity=False),
    sizes=st.lists(st.integers(), max_size=4),
    folder=st.none() | st.text(),
    flag=st.booleans(),
)
def test_any_values_survive_a_record(seed, share, sizes, folder, flag):
    values = {"task": "t", "seed": seed, "share": share, "sizes": tuple(sizes), "folder": folder}
    values |= {"flag": flag, "optim.learning_rate": share}
    record = {"values": values, "origins": dict.fromkeys(values, "file"), "file": "x.py"}
    first = configs.from_record(record, path="config.json", overrides={}, schema=schema)
    text = json.loads(json.dumps(first.record()))
    assert configs.from_record(text, path="config.json", overrides={}, schema=schema) == first


def test_overrides_and_mistakes_in_a_record_are_told_apart_from_those_in_a_file(write):
    record = json.loads(json.dumps(load(write()).record()))
    read = functools.partial(configs.from_record, record, path="run/config.json", schema=schema)
    found = read(overrides={"seed": "9"})
    assert (found.of(Top).seed, found.origins["seed"]) == (9, "override")
    record["values"]["seed"] = "x"
    message = message_of(lambda: read(overrides={}))
    assert message == "run/config.json: config.seed='x' is str; expected int"


def test_a_record_keeps_the_defaults_of_its_run_where_they_are_still_read(write):
    record = json.loads(json.dumps(load(write(), "--config.seed=5").record()))
    record["values"] |= {"share": 0.25, "sizes": [7], "optim.decay": 0.5}
    record["origins"] |= {"optim.decay": "default"}  # of an optimizer that is not this one
    found = configs.from_record(record, path="config.json", overrides={}, schema=schema)
    assert (found.of(Top).share, found.of(Top).sizes, found.of(Top).seed) == (0.25, (7,), 5)
    assert (found.origins["share"], found.origins["seed"]) == ("default", "override")
    assert "decay" not in found.values["optim"]


def test_a_record_keeps_the_choice_of_its_run_where_the_default_is_another_now(write):
    record = json.loads(json.dumps(load(write()).record()))
    other = dataclasses.replace(OPTIMIZER, default="slow")
    now = functools.partial(choices.schema_of, {"": [Top], "optim": [other, optimizer]})
    found = configs.from_record(record, path="config.json", overrides={}, schema=now)
    assert found.of(other) == "fast 0.9"
    assert found.origins["optim.name"] == "default"


@pytest.mark.parametrize(
    "record",
    [
        {},
        [],
        {"values": [], "origins": {}, "file": "x"},
        {"values": {"seed": 1}, "origins": {}, "file": "x"},
        {"values": {"seed": 1}, "origins": {"seed": "file"}},
    ],
)
def test_a_damaged_record_is_told_with_its_file(record):
    message = message_of(
        lambda: configs.from_record(record, path="run/config.json", overrides={}, schema=schema)
    )
    assert message.startswith("run/config.json: is damaged")


# --- mistakes ---


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        # A misspelt key, with the line that spells it.
        ("config.seed = 3", "config.sede = 3", ":9: config.sede: nothing reads it (the section is "
         "for Top); did you mean 'seed'?"),
        ('"learning_rate": 1e-3', '"learnin_rate": 1e-3', ":11: config.optim.learnin_rate: nothing "
         "reads it (the section is for fast and optimizer); did you mean 'learning_rate'?"),
        ("config.optim = {", "config.optm = {", "config.optm.learning_rate: there is no such "
         "setting; did you mean 'optim.learning_rate'?"),
        # A key of another section, and one that only another choice reads.
        ("config.seed = 3", "config.momentum = 3", ":9: config.momentum: nothing reads it (the "
         "section is for Top); did you mean 'optim.momentum'?"),
        ('"momentum": 0.9', '"decay": 0.9', ":12: config.optim.decay: nothing reads it (the "
         "section is for fast and optimizer); it is a setting of optim.name='slow'"),
        # Nothing like it anywhere.
        ("config.seed = 3", "config.zzz = 3", ":9: config.zzz: nothing reads it (the section is "
         "for Top); valid: flag, folder, mode, "),
        ("config.seed = 3", "config.zzz = {'yyy': 3}", ":9: config.zzz.yyy: there is no such "
         "setting; sections: optim"),
        # A value of a wrong type, one outside its choices, and one that is missing.
        ("config.seed = 3", "config.seed = '3'", ":9: config.seed='3' is str; expected int"),
        ("config.seed = 3", "config.seed = True", ":9: config.seed=True is bool; expected int"),
        ("config.seed = 3", "config.seed = 3.0", ":9: config.seed=3.0 is float; expected int"),
        ("config.seed = 3", "config.flag = 1", ":9: config.flag=1 is int; expected bool"),
        ("config.seed = 3", "config.steps = 'x'", ":9: config.steps='x' is str; expected int or "
         "None"),
        ("config.seed = 3", "config.sizes = (1, 'x')", ":9: config.sizes=(1, 'x') is tuple; "
         "expected tuple[int, ...]"),
        ("config.seed = 3", "config.pair = ('x',)", ":9: config.pair=('x',) is tuple; expected "
         "tuple[str, float]"),
        ("config.seed = 3", "config.mode = 'maxx'", ":9: config.mode='maxx' is str; expected one "
         "of 'max', 'min'; did you mean 'max'?"),
        ('"learning_rate": 1e-3', '"name": "fas"', ":11: config.optim.name='fas': did you mean "
         "'fast'?"),
        ('"learning_rate": 1e-3', '"name": ["fast"]', ":11: config.optim.name=['fast']: did you "
         "mean 'fast'?"),
        # A number outside its limits.
        ("config.seed = 3", "config.number = 0", ":9: config.number=0: expected 1 or more, or "
         "None"),
        ("config.seed = 3", "config.parts = (0.5, 1.5)", ":9: config.parts=(0.5, 1.5): expected "
         "each number from 0 to 1, or 'equal'"),
        ("config.seed = 3", "config.share = float('nan')", ":9: config.share=nan: expected a "
         "finite number"),
        ('"learning_rate": 1e-3,', "", ": config.optim.learning_rate is not set; expected float "
         "(give it in the file or with --config.optim.learning_rate=VALUE)"),
        # Python errors, with the line that raised.
        ("config.seed = 3", "config.seed = sedes", ":9: NameError: name 'sedes' is not defined"),
        ("config.seed = 3", "config.seed = = 3", ":9: SyntaxError: invalid syntax"),
        ("import ml_collections", "import ml_colections", ":1: ModuleNotFoundError: No module "
         "named 'ml_colections'"),
        ("config.seed = 3", "raise ValueError('first\\nsecond')", ":9: ValueError: first"),
        # Not what a config file is.
        ("return config", "pass", ": get_config returned None; expected a ConfigDict"),
        ("def get_config", "def get_conf", ": no function get_config(variant)"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_file_is_told_with_its_place_and_what_was_meant(write, old, new, expected):
    path = write(old=old, new=new)
    message = message_of(lambda: load(path))
    assert message.startswith(path)
    assert expected in message


def test_the_place_of_a_mistake_is_in_the_section_and_in_the_function_that_ran(write):
    """Not merely the last line that has the word."""
    path = write(old='"learning_rate": 1e-3', new='"learning_rate": None')
    assert message_of(lambda: load(path)).startswith(f"{path}:11: config.optim.learning_rate=")
    assert load(f"{path}:small").flat()["optim.learning_rate"] == 1.0, "the variant sets it right"
    path = write(old="config.optim.learning_rate = 1", new="config.optim.update(momentum=None)")
    assert message_of(lambda: load(f"{path}:small")).startswith(f"{path}:22: config.optim.momentum")
    assert load(path).flat()["optim.momentum"] == 0.9
    path = write(old='"momentum": 0.9', new='"name": "fast"}; config.x = {"name": 1')
    assert message_of(lambda: load(path)).startswith(f"{path}:12: config.x.name: there is no such")
    new = "for name in ['sede']:\n        config[name] = 3"
    path = write(old="config.seed = 3", new=new)
    assert message_of(lambda: load(path)).startswith(f"{path}:1: config.sede: "), "not to be read"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--config.sede=1"], "--config.sede: nothing reads it (the section is for Top); did you "
         "mean 'seed'?"),
        (["--config.optim.share=1"], "--config.optim.share: nothing reads it (the section is for "
         "fast and optimizer); did you mean 'share'?"),
        (["--config.optim.schedule=x"], "--config.optim.schedule: nothing reads it"),
        (["--config.optim.name=slow"], ":12: config.optim.momentum: nothing reads it (the section "
         "is for slow and optimizer); it is a setting of optim.name='fast'"),
        (["--config.seed=x"], "--config.seed='x' is str; expected int"),
        (["--config.seed=1.5"], "--config.seed=1.5 is float; expected int"),
        (["--config.seed=none"], "--config.seed='none' is str; expected int"),
        (["--config.seed=True"], "--config.seed=True is bool; expected int"),
        (["--config.share=a\nb"], "--config.share='a\\nb' is str; expected float"),
        (["--config.share=1e999"], "--config.share=inf: expected a finite number"),
        (["--config.number=-1"], "--config.number=-1: expected 1 or more, or None"),
        (["--config.parts=equl"], "--config.parts='equl' is str; expected tuple[float, ...] or "
         "'equal'; did you mean 'equal'?"),
        (["--config.optim.name=slwo"], "--config.optim.name='slwo': did you mean 'slow'?"),
        (["--config.flag=yes"], "--config.flag='yes' is str; expected bool"),
        (["--config.mode=maximum"], "--config.mode='maximum' is str; expected one of 'max', 'min'"),
        (["--config.sizes=1,x"], "--config.sizes=('1', 'x') is tuple; expected tuple[int, ...]"),
        (["--config.seed"], "--config.seed: a value is missing; write --config.seed=VALUE"),
        (["--config.seed", "--config.flag=1"], "--config.seed: a value is missing"),
        (["--confg.seed=1"], "unknown argument '--confg.seed=1'; settings are given as"),
        (["seed=1"], "unknown argument 'seed=1'; settings are given as --config.KEY=VALUE"),
        (["--config.=1"], "unknown argument '--config.=1'"),
    ],
)  # fmt: skip
def test_a_mistake_on_the_command_line_is_told_as_it_was_typed(write, arguments, expected):
    assert expected in message_of(lambda: load(write(), *arguments))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tiny.py:smal", "tiny.py: there is no variant 'smal'; did you mean 'small'?"),
        ("tiny.py:xyz", "tiny.py: there is no variant 'xyz'; valid: slower, small"),
        ("tinny.py", "no such file in {folder}; did you mean 'tiny.py'?"),
        ("nowhere/tiny.py", "nowhere/tiny.py: there is no folder {folder}/nowhere"),
        ("notes.txt", "notes.txt: expected a Python file that ends in .py"),
    ],
)
def test_a_file_or_variant_that_is_not_there_is_told_with_the_nearest(
    write, tmp_path, name, expected
):
    write()
    (tmp_path / "notes.txt").write_text("config.seed = 3\n")
    assert expected.format(folder=tmp_path) in message_of(lambda: load(f"{tmp_path}/{name}"))


# --- choices ---


def limited(*, most: int = 3) -> None: ...


SECTIONS = {"": [Top], "new": [IfNone("folder", limited)], "optim": [OPTIMIZER]}


@pytest.mark.parametrize(
    ("given", "is_there"),
    [({}, True), ({"folder": None}, True), ({"folder": "None"}, True), ({"folder": "x"}, False)],
)
def test_a_function_may_take_a_section_only_where_another_setting_is_none(given, is_there):
    found = choices.schema_of(SECTIONS, {"": given})
    assert found["new"] == [limited] * is_there
    assert found["optim"] == [OPTIMIZER, fast]


def test_a_choice_without_a_default_has_to_be_made(write):
    which = Choice("which", {"a": fast, "b": slow}, "one of two")
    there = functools.partial(choices.schema_of, {"": [Top], "optim": [optimizer, which]})
    path = write(old='        "momentum": 0.9,\n')
    message = message_of(lambda: configs.load(path, overrides={}, schema=there))
    assert message == f"{path}: config.optim.which is not set; valid: a, b"


# --- the settings that are shipped ---


def shipped() -> list[str]:
    """Every variant of every config file."""
    found = []
    for path in sorted((ROOT / "configs").glob("*.py")):
        variants = runpy.run_path(str(path)).get("VARIANTS", ("",))
        found += [f"{path.relative_to(ROOT)}:{variant}".rstrip(":") for variant in variants]
    return found


@pytest.mark.parametrize("spec", shipped())
def test_every_shipped_variant_fits_the_settings_there_are(spec):
    found = configs.load(str(ROOT / spec), overrides={}, schema=settings.schema)
    again = json.loads(json.dumps(found.record()))
    expected = found._replace(space={})  # which no run has
    assert configs.from_record(again, path="", overrides={}, schema=settings.schema) == expected


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("task=tagging", "config.task='tagging': did you mean 'token_tagging'?"),
        ("optim.name=adamm", "config.optim.name='adamm': did you mean 'adam'?"),
        ("schedule.name=cosin", "config.schedule.name='cosin': did you mean 'cosine'?"),
        ("data.source=tdfs", "config.data.source='tdfs': did you mean 'tfds'?"),
        ("optim.momentum=0.9", "--config.optim.momentum: nothing reads it (the section is for "
         "adamw and Optimization); it is a setting of optim.name='sgd'"),
        ("model.learning_rate=1", "--config.model.learning_rate: nothing reads it (the section is "
         "for Compute and Head); did you mean 'optim.learning_rate'?"),
        ("model.num_layers=2", "--config.model.num_layers: nothing reads it (the section is for "
         "Compute and Head); "),
        ("model.dtype=bf16", "--config.model.dtype='bf16' is str; expected one of 'float32', "
         "'bfloat16'"),
    ],
)  # fmt: skip
def test_choices_of_the_shipped_settings_that_do_not_exist_are_told_with_the_nearest(
    argument, expected
):
    given_here = configs.parse_overrides([f"--config.{argument}"])
    message = message_of(
        lambda: configs.load(SHIPPED, overrides=given_here, schema=settings.schema)
    )
    assert expected in message


# --- no setting is without effect ---


class Reads(ast.NodeVisitor):
    """What a module reads of its settings.

    attributes: (class, attribute) of what is known to be of a class: `config.of(Class)`, what that
      was assigned to, and what is annotated so. "*" where it is handed on as a whole.
    keys: (section, key) where both are spelt.
    """

    def __init__(self) -> None:
        self.attributes: set[tuple[str | None, str]] = set()
        self.keys: set[tuple[str | None, str]] = set()
        self.classes: dict[str, set[str]] = {}  # of a variable's name

    def read(self, tree: ast.AST) -> None:
        """Names first, then what is read of them."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign):
                self._assign(node.targets[0], node.value)
            elif isinstance(node, (ast.arg, ast.AnnAssign)) and node.annotation:
                name = node.arg if isinstance(node, ast.arg) else last_name(node.target)
                self._add(name, last_name(node.annotation))
        self.visit(tree)
        self.classes = {}

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for one, its in zip(target.elts, value.elts):
                self._assign(one, its)
        elif class_of(value):
            self._add(last_name(target), class_of(value))

    def _add(self, name: str | None, cls: str | None) -> None:
        if name and cls:
            self.classes.setdefault(name, set()).add(cls)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        owners = {class_of(node.value)} | self.classes.get(last_name(node.value), set())
        self.attributes |= {(owner, node.attr) for owner in owners}
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        name = getattr(node.slice, "value", None)
        if isinstance(name, str) and isinstance(node.value, ast.Subscript):
            self.keys.add((getattr(node.value.slice, "value", None), name))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        # duration(config, "every", section="eval", ...) reads eval.every_steps, ...
        if getattr(node.func, "id", None) == "duration":
            what = node.args[1].value
            section = next(k.value.value for k in node.keywords if k.arg == "section")
            units = inspect.signature(schedules.in_steps).parameters
            self.keys |= {(section, f"{what}_{unit}") for unit in units}
        if last_name(node.func) == "asdict" and node.args:
            self.attributes.add((class_of(node.args[0]), "*"))
        self.generic_visit(node)


def last_name(node: ast.AST) -> str | None:
    """`sections.Run` as "Run"."""
    return getattr(node, "attr", None) or getattr(node, "id", None)


def class_of(node: ast.AST) -> str | None:
    """`config.of(sections.Run)` as "Run"."""
    is_of = isinstance(node, ast.Call) and last_name(node.func) == "of" and node.args
    return last_name(node.args[0]) if is_of else None


@pytest.fixture(scope="module")
def reads() -> Reads:
    found = Reads()
    for path in sorted((ROOT / "bigjax").rglob("*.py")):
        found.read(ast.parse(path.read_text(encoding="utf-8")))
    return found


def every_taker() -> list[tuple[str, Callable]]:
    """(section, function) for every choice that can be made."""
    found: dict[tuple[str, str], tuple[str, Callable]] = {}
    for task in TASKS.values():
        for section, takers in choices.with_more(settings.SHARED, task.SECTIONS).items():
            for taker in takers:
                some = taker.among.values() if isinstance(taker, Choice) else [taker]
                some = [each.taker if isinstance(each, IfNone) else each for each in some]
                found |= {(section, each.__module__ + each.__qualname__): (section, each)
                          for each in some}  # fmt: skip
    return list(found.values())


EVERY_TAKER = [pytest.param(s, f, id=f"{s or 'top'}-{f.__name__}") for s, f in every_taker()]
# Read by the table of tasks.
CHOICES = {("", "task")}


@pytest.mark.parametrize(("section", "taker"), EVERY_TAKER)
def test_every_setting_is_read_somewhere(reads, section, taker):
    used: set[str] = set()
    if dataclasses.is_dataclass(taker):
        used = {attribute for owner, attribute in reads.attributes if owner == taker.__name__}
    else:
        tree = ast.parse(inspect.getsource(taker))
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    unread = {
        name
        for name in fields.fields_of(taker)
        if not used & {name, "*"} and (section, name) not in reads.keys | CHOICES
    }
    assert not unread, f"{taker.__name__} takes what nothing reads"


@pytest.mark.parametrize("taker", [taker.values[1] for taker in EVERY_TAKER])
def test_every_setting_says_what_it_is_and_has_a_default_within_its_limits(taker):
    parameters = inspect.signature(taker).parameters.values()
    found = fields.fields_of(taker)
    given_by_the_program = {"only", "class_names"}
    own = {p.name for p in parameters if p.kind == p.KEYWORD_ONLY}
    assert own - given_by_the_program == set(found)
    assert inspect.getdoc(taker) and not inspect.getdoc(taker).startswith(taker.__name__)
    for name, field in found.items():
        assert field.help and "\n" not in field.help, name
        if field.default is not REQUIRED:
            same = fields.check(field.default, field, place=name)
            assert (same, type(same)) == (field.default, type(field.default)), name
