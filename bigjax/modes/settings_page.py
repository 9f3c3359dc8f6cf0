"""Owns docs/settings.md, the page of every setting there is, made from the settings themselves:

python -m bigjax.modes.settings_page > docs/settings.md
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bigjax.config.choices import Choice, IfNone, Sections, Taker, dotted
from bigjax.config.fields import REQUIRED, Field, describe, fields_of
from bigjax.engine.settings import SHARED
from bigjax.tasks import TASKS

INTRODUCTION = """\
# Settings

<!-- Made by: python -m bigjax.modes.settings_page > docs/settings.md -->

A config file sets them (`config.optim.learning_rate = 3e-5`, see `configs/`), and the command line
overrides it (`--config.optim.learning_rate=3e-5`). What is set nowhere has its default. A key that
nothing reads, a value of another type and a number outside its limits are errors before anything
runs. `python main.py --mode=check --config=FILE` lists the settings of a run, with where each
comes from.

On the command line None is `none`, a tuple is `1,2` or `(1,2)`, and `1e3` is a whole number too.
Keys under a heading such as `data.source='conll'` exist only where that is the choice. A dash means
that any value of the type will do.

Words: an *update* (or step) changes the parameters once, by one *batch*. A batch is made of *rows*,
each an image, or text cut into *tokens* (words or parts of them). *dev* is the data by which
checkpoints are compared, *test* what is scored at the end."""


def page(shared: Sections, tasks: Mapping[str, Sections]) -> str:
    """The page, Markdown."""
    blocks = [INTRODUCTION, "## Of every task", *_sections(shared)]
    for task, sections in tasks.items():
        blocks += [f"## Of `task='{task}'`", *_sections(sections)]
    return "\n\n".join(blocks) + "\n"


def _sections(sections: Sections) -> Iterator[str]:
    for section, takers in sections.items():
        yield f"### `{section}`" if section else "### The top level"
        plain = [taker for taker in takers if not isinstance(taker, (Choice, IfNone))]
        yield from map(_about, plain)
        choices = [taker for taker in takers if isinstance(taker, Choice)]
        fields = {choice.name: choice.field for choice in choices}
        for taker in plain:
            fields |= fields_of(taker)
        yield _table(fields, section)
        for choice in choices:
            yield from _options(choice, section)
        for taker in takers:
            if isinstance(taker, IfNone):
                yield f"Only where `{taker.key}` is None. {_about(taker.taker)}"
                yield _table(fields_of(taker.taker), section)


def _options(choice: Choice[Any], section: str) -> Iterator[str]:
    """What each value of a choice is, and the keys that come with it; values that are the same
    function together."""
    key = dotted(section, choice.name)
    names: dict[Taker, list[str]] = {}
    for name, taker in choice.among.items():
        names.setdefault(taker, []).append(name)
    for taker, same in names.items():
        values = " or ".join(f"`{key}={name!r}`" for name in same)
        yield f"#### {values}"
        yield _about(taker)
        own = {k: field for k, field in fields_of(taker).items() if k != choice.name}
        if own:
            yield _table(own, section)


def _about(taker: Taker) -> str:
    """The first paragraph of a docstring."""
    return " ".join((inspect.getdoc(taker) or "").split("\n\n")[0].split())


def _table(fields: Mapping[str, Field], section: str) -> str:
    rows = [("key", "type", "default", "limits", "what it is"), ("---",) * 5]
    for key, field in fields.items():
        default = "has to be given" if field.default is REQUIRED else f"`{field.default!r}`"
        limits = str(field.limits or "-")
        kind = describe(field.kind).replace("one of ", "")
        rows.append((f"`{dotted(section, key)}`", f"`{kind}`", default, limits, field.help))
    return "\n".join(_row(cells) for cells in rows)


def _row(cells: Sequence[str]) -> str:
    escaped = [cell.replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(escaped)} |"


if __name__ == "__main__":
    print(page(SHARED, {name: task.SECTIONS for name, task in sorted(TASKS.items())}), end="")
