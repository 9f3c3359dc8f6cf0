"""Owns `--mode=compare`: whether runs differ in more than chance, in what, and on which examples.

It reads the folders of the runs alone: no data, no model.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bigjax.errors import UserError
from bigjax.report import comparison, runs
from bigjax.report.comparison import Difference, Versus
from bigjax.report.runs import Run
from bigjax.run_folder import examples, folder
from bigjax.run_folder.examples import Examples
from bigjax.scores import intervals

NAME = "compare.html"


class _Scored(NamedTuple):
    run: Run
    examples: Examples


def compare(folders: Sequence[str], *, workdir: str) -> None:
    """Compares each run with the first; says who is better, and writes `compare.html`.

    Raises:
      UserError: fewer than two runs, one that has not come to its end, or runs that do not compare.
    """
    if len(folders) < 2 or len({os.path.realpath(path) for path in folders}) < len(folders):
        raise UserError(
            f"--runs={','.join(folders)}: expected two or more folders of runs, each once"
        )
    found = runs.read(folders)
    split = _same_split(found)
    first, *others = [_Scored(run, _examples(run, split)) for run in found]
    for other in others:
        _refuse_other_data(first, other, split=split)
    versus = [_versus(first, other, split=split) for other in others]
    folder.create(workdir)
    page = comparison.page(found, versus=versus, split=split, settings=_differing(found))
    folder.write_text(workdir, NAME, page)
    for one in versus:
        print(comparison.verdict(one, first=found[0]))
    print(f"report: {os.path.join(workdir, NAME)}", flush=True)


def _same_split(found: Sequence[Run]) -> str:
    """The split to compare by: test, where all have it."""
    first = found[0]
    for other in found[1:]:
        tasks = [run.results["task"] for run in (first, other)]
        if tasks[0] != tasks[1]:
            raise UserError(
                f"{first.folder} is a run of {tasks[0]} and {other.folder} one of {tasks[1]}: they "
                "do not compare"
            )
    shared = [
        split
        for split in examples.splits(first.folder)
        if all(split in examples.splits(run.folder) for run in found)
    ]
    if shared:
        return shared[-1]
    for run in found:
        if not examples.splits(run.folder):
            raise UserError(
                f"{run.folder}: does not hold what each example came to, being from before that "
                f"was kept, or having no split to score; --mode=evaluate --workdir={run.folder} "
                "writes it"
            )
    scored = [f"{run.folder} {', '.join(examples.splits(run.folder))}" for run in found]
    raise UserError(f"no split was scored in all of the runs: {'; '.join(scored)}")


def _examples(run: Run, split: str) -> Examples:
    found = examples.read(run.folder, split=split)
    assert found is not None, (run.folder, split)
    return found


def _refuse_other_data(first: _Scored, other: _Scored, *, split: str) -> None:
    if first.examples.fingerprint == other.examples.fingerprint:
        return
    sizes = [_num_examples(one.examples) for one in (first, other)]
    from_where = [
        f"{key}: {first.run.settings.get(key)!r} and {other.run.settings.get(key)!r}"
        for key in {**first.run.settings, **other.run.settings}
        if key.startswith("data.") and first.run.settings.get(key) != other.run.settings.get(key)
    ]
    why = f"; {'; '.join(from_where)}" if from_where else ""
    raise UserError(
        f"{first.run.folder} and {other.run.folder} were scored on other data: their {split} has "
        f"{sizes[0]:,} and {sizes[1]:,} examples that are not the same{why}; score both on one: "
        "--mode=evaluate --workdir=RUN --config.data..."
    )


def _num_examples(found: Examples) -> int:
    return max((len(parts.kind) for parts in found.parts.values()), default=0)


def _versus(first: _Scored, other: _Scored, *, split: str) -> Versus:
    differences = []
    for name, parts in other.examples.parts.items():
        if name not in first.examples.parts:
            continue
        paired = intervals.paired(parts, first.examples.parts[name])
        scores = [intervals.value(p) for p in (first.examples.parts[name], parts)]
        within = [
            one.run.results.get("intervals", {}).get(f"{split}/{name}") for one in (first, other)
        ]
        title = runs.title_of(f"{split}/{name}", other.run)
        differences.append(Difference(name, title, scores, within, paired))
    order = [name.rpartition("/")[2] for name in other.run.results["headline"]]
    rank = {name: i for i, name in enumerate(order)}
    differences.sort(key=lambda one: rank.get(one.name, len(rank)))
    wrong = [one.examples.wrong for one in (first, other)]
    return Versus(
        name=other.run.name,
        differences=differences,
        only_first_right=[item for number, item in wrong[1].items() if number not in wrong[0]],
        only_other_right=[item for number, item in wrong[0].items() if number not in wrong[1]],
        num_both_wrong=len(wrong[0].keys() & wrong[1].keys()),
        num_examples=_num_examples(first.examples),
        kind=other.examples.kind,
    )


def _differing(found: Sequence[Run]) -> list[tuple[str, list[Any]]]:
    """Settings, and what of the code and the machine, that are not the same in all: name, and what
    each has."""
    described: list[Mapping[str, Any]] = [{**run.settings, **_machine(run)} for run in found]
    names = dict.fromkeys(name for one in described for name in one)
    values = {name: [one.get(name) for one in described] for name in names}
    return [(name, of) for name, of in values.items() if any(value != of[0] for value in of)]


def _machine(run: Run) -> dict[str, Any]:
    was = run.environment
    known = {f"package {name}": version for name, version in was.get("packages", {}).items()}
    known |= {"code": was.get("git_commit"), "Python": was.get("python")}
    known["devices"] = ", ".join(was.get("devices", []))
    known["started from"] = was.get("init_checkpoint")
    known["data of train"] = was.get("data_fingerprint", {}).get("train")
    return known
