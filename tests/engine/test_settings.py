"""The settings there are: the limits of numbers, which functions take a section, and the page."""

import dataclasses
import re
import types
from typing import Annotated

import pytest
from conftest import ROOT

from bigjax.config import values
from bigjax.config.choices import Choice, IfNone
from bigjax.config.fields import AtLeast, Between
from bigjax.engine import settings
from bigjax.errors import UserError
from bigjax.modes import settings_page
from bigjax.tasks import TASKS

FILE = str(ROOT / "configs" / "bert_ner.py")


def load(**overrides: str) -> values.Config:
    return values.load(FILE, overrides=overrides, schema=settings.schema)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("log.every_steps", "0", "1 or more"),
        ("optim.learning_rate", "-1e-5", "0 or more"),
        ("optim.clip_norm", "0", "1e-12 or more, or None"),
        ("model.dropout", "1.5", "from 0 to 0.99"),
        ("batch.accumulate", "0", "1 or more, or 'auto'"),
        ("ema_decay", "1.01", "from 0 to 1, or None"),
        ("seed", "4294967296", "from 0 to 4294967295"),
        ("watchdog.peer_seconds", "4", "5 or more"),
        ("num_epochs", "1e999", "a finite number"),
    ],
)
def test_a_number_outside_its_limits_is_refused_as_it_was_typed(
    key: str, value: str, expected: str
) -> None:
    pattern = rf"^--config\.{re.escape(key)}=.*: expected {re.escape(expected)}$"
    with pytest.raises(UserError, match=pattern):
        load(**{key: value})


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"checkpoint.keep_best": "0"}, "config.checkpoint.keep_best=0 keeps no best checkpoint"),
        ({"checkpoint.keep_best": "0", "eval.final": "latest"}, None),
        ({"eval.metric": "loss"}, None),
    ],
)
def test_settings_that_do_not_go_together_are_refused(overrides, expected) -> None:
    found = load(**overrides)
    if expected is None:
        settings.check_together(found)
        return
    with pytest.raises(UserError, match=expected):
        settings.check_together(found)


def test_a_task_from_outside_the_package_brings_its_own_sections(monkeypatch, tmp_path) -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Toy:
        size: int = 3

    monkeypatch.setitem(TASKS, "toy", types.SimpleNamespace(SECTIONS={"toy": [Toy]}))
    file = tmp_path / "toy.py"
    file.write_text(
        "import ml_collections\n\n\ndef get_config():\n"
        "    return ml_collections.ConfigDict({'task': 'toy', 'optim': {'learning_rate': 1}})\n"
    )
    found = values.load(str(file), overrides={"toy.size": "5"}, schema=settings.schema)
    assert found.of(Toy) == Toy(size=5)
    with pytest.raises(UserError, match="toy.size='x' is str; expected int"):
        values.load(str(file), overrides={"toy.size": "x"}, schema=settings.schema)


def test_the_page_of_all_settings_is_up_to_date() -> None:
    page = settings_page.page(
        settings.SHARED, {name: task.SECTIONS for name, task in sorted(TASKS.items())}
    )
    committed = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert committed == page, (
        "docs/settings.md is not what the settings are; run "
        "python -m bigjax.modes.settings_page > docs/settings.md"
    )


def test_the_page_names_every_setting_with_type_default_limits_and_help() -> None:
    def small(*, ratio: Annotated[float, Between(0, 1), "a | b"] = 0.5) -> None:
        """A small one.

        And more.
        """

    def large(*, name: str, sizes: Annotated[tuple[int, ...], AtLeast(1), "of it"]) -> None:
        """A large one."""

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Common:
        """What all have."""

        flag: Annotated[bool, "yes or no"] = False

    def fresh(*, count: Annotated[int | None, "how many"] = None) -> None:
        """A fresh one."""

    kind = Choice("name", {"s": small, "l": large, "xl": large}, "which", default="s")
    page = settings_page.page({}, {"toy": {"part": [Common, kind, IfNone("a.b", fresh)]}})
    lines = page[page.index("## Of `task='toy'`") :].splitlines()
    head = ["| key | type | default | limits | what it is |", "| --- | --- | --- | --- | --- |"]
    assert [line for line in lines if line] == [
        "## Of `task='toy'`",
        "### `part`",
        "What all have.",
        *head,
        "| `part.name` | `'s', 'l', 'xl'` | `'s'` | - | which |",
        "| `part.flag` | `bool` | `False` | - | yes or no |",
        "#### `part.name='s'`",
        "A small one.",
        *head,
        r"| `part.ratio` | `float` | `0.5` | from 0 to 1 | a \| b |",
        "#### `part.name='l'` or `part.name='xl'`",
        "A large one.",
        *head,
        "| `part.sizes` | `tuple[int, ...]` | has to be given | 1 or more | of it |",
        "Only where `a.b` is None. A fresh one.",
        *head,
        "| `part.count` | `int or None` | `None` | - | how many |",
    ]


@pytest.mark.parametrize(
    ("key", "value", "near"),
    [
        ("task", "token_taging", "token_tagging"),
        ("optim.name", "lamp", "lamb"),
        ("schedule.name", "cosin", "cosine"),
        ("data.source", "new", "news"),
    ],
)
def test_an_unknown_choice_names_the_nearest(key: str, value: str, near: str) -> None:
    with pytest.raises(UserError, match=near):
        values.load(FILE, overrides={key: value}, schema=settings.schema)
