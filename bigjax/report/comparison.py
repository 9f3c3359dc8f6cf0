"""Owns the page of a comparison of runs, and the line that sums it up. What is compared belongs to
`modes/compare.py`."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bigjax.report import runs, sections
from bigjax.report.document import document, figures
from bigjax.report.runs import Run
from bigjax.report.sections import escape
from bigjax.scores.intervals import Paired

NUM_SHOWN = 25  # examples of a kind


class Difference(NamedTuple):
    """Of one score. scores, intervals: the first run's and the other's; an interval is (low, high)
    or None. paired: the other's less the first's."""

    name: str
    title: str
    scores: Sequence[float]
    intervals: Sequence[Sequence[float] | None]
    paired: Paired


class Versus(NamedTuple):
    """A run against the first one. differences: the headline's first.
    only_first_right: examples that the first has all right and this one not, as items of a section
      of `kind`, with what this one predicted. only_other_right: the reverse.
    """

    name: str
    differences: Sequence[Difference]
    only_first_right: Sequence[Mapping[str, Any]]
    only_other_right: Sequence[Mapping[str, Any]]
    num_both_wrong: int
    num_examples: int
    kind: str


def verdict(versus: Versus, *, first: Run) -> str:
    """Who is better, in a sentence."""
    if not versus.differences:
        return f"{versus.name} and {first.name} have no score in common that compares"
    _, title, scores, _, paired = versus.differences[0]
    low, high = paired.low, paired.high
    told = (
        f"{title} {scores[1]:.4f} against {scores[0]:.4f}: {paired.difference:+.4f} "
        f"(95%: {low:+.4f} to {high:+.4f}, p {_p(paired.p_value)})"
    )
    if paired.p_value < 0.05:
        better = "better" if paired.difference > 0 else "worse"
        return f"{versus.name} is {better} than {first.name}: {told}"
    return f"{versus.name} and {first.name} may differ by chance alone: {told}"


def page(
    found: Sequence[Run],
    *,
    versus: Sequence[Versus],
    split: str,
    settings: Sequence[tuple[str, Sequence[Any]]],
) -> str:
    """The page, HTML.

    Args:
      settings: name, and the value of each run, of what differs between them.
    """
    first = found[0]
    headline = next((n for n in first.results["headline"] if n.startswith(f"{split}/")), None)
    big = [
        (run.name, sections.text(run.results["scores"].get(headline)), "")
        for run in found
        if headline is not None
    ]
    score = runs.title_of(headline, first) if headline else ""
    title = f"{len(found)} runs compared"
    told = "".join(f"<p>{escape(verdict(one, first=first))}.</p>" for one in versus)
    header = (
        f'<p class="task">{escape(first.results["task"].replace("_", " ").capitalize())}</p>'
        f'<h1>{title}</h1><p class="meta">{escape(score)}</p>{figures(big)}'
    )
    blocks = [("Is there a difference?", told + "".join(_differences(v, first) for v in versus))]
    blocks.append(("What differs", _settings(settings, found)))
    blocks.append(("Curves", runs.curves(found)))
    for one in versus:
        blocks += _examples(one, first, several=len(versus) > 1)
    blocks.append(("Every score", _scores(found)))
    return document([(name, body) for name, body in blocks if body], header=header, title=title)


def _differences(versus: Versus, first: Run) -> str:
    rows = []
    for one in versus.differences:
        cells = [_cell(x, within) for x, within in zip(one.scores, one.intervals)]
        low, high = one.paired.low, one.paired.high
        difference = f"{one.paired.difference:+.4f} ({low:+.4f} to {high:+.4f})"
        rows.append([one.title, *cells, difference, _p(one.paired.p_value)])
    if not rows:
        return ""
    note = (
        f"{versus.name} against {first.name}, on the same {versus.num_examples:,} examples. Behind "
        "a score and a difference: 95% intervals by a (paired) bootstrap over the examples. p: how "
        "often a difference as large would come about if it did not matter which run is which. All "
        "this is of these two trained models: another seed may move a score as far (--seeds)."
    )
    columns = ["score", first.name, versus.name, "difference", "p"]
    return sections.table({"columns": columns, "rows": rows, "note": note})


def _settings(settings: Sequence[tuple[str, Sequence[Any]]], found: Sequence[Run]) -> str:
    if not settings:
        return '<p class="note">Nothing: the same settings, code, packages and devices.</p>'
    rows = [[name, *(_value(value) for value in of)] for name, of in settings]
    return sections.table({"columns": ["", *(run.name for run in found)], "rows": rows})


def _value(value: Any) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _examples(versus: Versus, first: Run, *, several: bool) -> list[tuple[str, str]]:
    blocks = []
    for right, wrong, items in (
        (first.name, versus.name, versus.only_first_right),
        (versus.name, first.name, versus.only_other_right),
    ):
        beside = f", of {versus.name}" if several and versus.name not in (right, wrong) else ""
        note = f"{len(items):,} of {versus.num_examples:,} examples{beside}; "
        note += (
            f"what is shown as predicted is {wrong}'s. Both are wrong, each in its way or in the "
        )
        note += f"same, on {versus.num_both_wrong:,}."
        if len(items) > NUM_SHOWN:
            note += f" The first {NUM_SHOWN} are shown."
        section = {"kind": versus.kind, "items": list(items[:NUM_SHOWN]), "note": note}
        drawn = sections.render(section) if items else f'<p class="note">{escape(note)}</p>'
        blocks.append((f"{right} right, {wrong} wrong", drawn))
    return blocks


def _scores(found: Sequence[Run]) -> str:
    names = dict.fromkeys(name for run in found for name in run.results["scores"])
    rows = [
        [
            runs.title_of(name, found[0]),
            *(
                _cell(run.results["scores"].get(name), run.results.get("intervals", {}).get(name))
                for run in found
            ),
        ]
        for name in names
    ]
    return sections.table({"columns": ["score", *(run.name for run in found)], "rows": rows})


def _cell(value: float | None, within: Sequence[float] | None) -> Any:
    if value is None or within is None:
        return value
    return {"value": value, "low": within[0], "high": within[1]}


def _p(value: float) -> str:
    return "below 0.001" if value < 0.001 else f"{value:.3f}"
