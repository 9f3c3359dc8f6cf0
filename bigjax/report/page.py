"""Owns the report of a run: `report.html`, made from the files of the run folder and nothing else.

What it reads: `metrics.jsonl` and `results.json`, and where present `config.json`,
`environment.json` and `data_report.json`. Left to others: reading them to `files.py`, the frame of
the page to `document.py`, the HTML of a section and the escaping of text to `sections.py`, drawing
to `charts.py`, and what the task's sections say to whoever wrote `results.json`.
"""

import os
import statistics
from collections import Counter, defaultdict
from pathlib import Path

from bigjax.errors import UserError
from bigjax.report import charts, files, sections
from bigjax.report.document import document, figures
from bigjax.report.sections import escape

_INTERVALS = (
    "Behind a score: its 95% interval, by a bootstrap over the examples of the split. It says what "
    "other examples of the kind would do to the score, not another seed of training."
)
_COLOURS = {"train": 0, "dev": 1, "test": 2}


def write(workdir: str) -> str:
    """Writes `report.html` into the run folder `workdir` and returns its path.

    Raises `UserError` where `metrics.jsonl` or `results.json` is missing, or a file is damaged
    beyond the cut-off last line that a killed run leaves in `metrics.jsonl`.
    """
    folder = Path(workdir)
    for name in ("metrics.jsonl", "results.json"):
        if not (folder / name).is_file():
            raise UserError(
                f"{folder / name}: not found, and a report needs it; expected the folder of a run: "
                "run training or evaluation first, or correct the folder's name"
            )
    metrics = files.read_metrics(folder / "metrics.jsonl")
    results = files.read_json(folder / "results.json")
    config, environment = (files.read_json(folder / f"{n}.json") for n in ("config", "environment"))
    titles = results.get("titles", {})
    curves, scores = _curves(metrics, titles=titles), _scores(results, titles=titles)
    blocks = [("Training curves", curves), ("Scores", scores)]
    blocks += [(section["title"], sections.render(section)) for section in results["sections"]]
    blocks += [
        ("Data", _data(files.read_json(folder / "data_report.json"))),
        ("Throughput", _throughput(metrics)),
        ("Configuration", _config(config)),
        ("Environment", sections.facts({"rows": list(environment.items())})),
    ]
    page = document(
        [(title, body) for title, body in blocks if body],
        header=_header(results, config=config),
        title=results["title"],
    )
    path = folder / "report.html"
    # A lone surrogate, which JSON can spell and UTF-8 cannot, becomes "?".
    path.write_text(page, encoding="utf-8", errors="replace")
    return os.fspath(path)


def _header(results: dict, *, config: dict) -> str:
    facts = [f"<code>{escape(config['file'])}</code>"] if config else []
    facts.append(f"after {sections.text(results['step'])} steps")
    titles, headline = results.get("titles", {}), []
    for name in results["headline"]:
        group, _, quantity = name.rpartition("/")
        title, _ = files.title_of(quantity, titles=titles)
        low, high = results.get("intervals", {}).get(name, (None, None))
        of = f"on {group}" + ("" if low is None else f", {low:.3f}–{high:.3f}")
        headline.append((title, sections.text(results["scores"][name]), of))
    return (
        f'<p class="task">{escape(results["task"].replace("_", " ").capitalize())}</p>'
        f'<h1>{escape(results["title"])}</h1><p class="meta">{" · ".join(facts)}</p>'
        + figures(headline)
    )


def _curves(metrics: dict[str, list[charts.Point]], *, titles: dict[str, str]) -> str:
    """Loss, learning rate, each metric of an evaluation, then the rest; the groups of one quantity
    share a chart."""
    quantities = defaultdict(dict)
    for name, points in metrics.items():
        group, _, quantity = name.rpartition("/")
        if not files.is_speed(quantity):
            quantities[quantity][group] = points

    def rank(quantity: str) -> int:
        first = ["loss", "learning_rate"]
        if quantity in first:
            return first.index(quantity)
        return 2 if set(quantities[quantity]) - {"train"} else 3

    drawn, colours = [], _colours(metrics)
    for quantity in sorted(quantities, key=rank):
        groups = quantities[quantity]
        series = [charts.Series(g, points, colours[g]) for g, points in groups.items()]
        name, unit = files.title_of(quantity, titles=titles)
        drawn.append(charts.lines(name, series=series, unit=unit))
    return f'<div class="charts">{"".join(drawn)}</div>' if drawn else ""


def _colours(metrics: dict[str, list[charts.Point]]) -> dict[str, int]:
    """A colour for each group (split), the same in every chart: the usual ones have their own."""
    groups = dict.fromkeys(name.rpartition("/")[0] for name in metrics)
    others = [group for group in groups if group not in _COLOURS]
    free = [i for i in range(charts.NUM_COLOURS) if i not in _COLOURS.values()]
    return _COLOURS | {group: free[i % len(free)] for i, group in enumerate(others)}


def _throughput(metrics: dict[str, list[charts.Point]]) -> str:
    """Medians, which the first steps' compilation does not move, and the curves they are of."""
    medians, drawn = [], []
    found = {name.removeprefix("train/"): x for name, x in metrics.items() if name[:6] == "train/"}
    for quantity, points in sorted(found.items(), key=lambda item: item[0] in files.SHARES):
        if files.is_speed(quantity):
            name, unit = files.title_of(quantity)
            median = float(statistics.median(value for _, value in points))
            medians.append((name, charts.figure(median), unit))
            series = [charts.Series("train", points, _COLOURS["train"])]
            include = files.SHARES.get(quantity, (0.0,))
            drawn.append(charts.lines(name, series=series, unit=unit, include=include))
    if not drawn:
        return ""
    return (
        '<p class="note">Medians over the logged steps.</p>'
        f'{figures(medians)}<div class="charts">{"".join(drawn)}</div>'
    )


def _scores(results: dict, *, titles: dict[str, str]) -> str:
    """Every score with its interval, a row a quantity and a column a split."""
    scores, intervals = results["scores"], results.get("intervals", {})
    table = defaultdict(dict)
    for name, value in scores.items():
        group, _, quantity = name.rpartition("/")
        low, high = intervals.get(name, (None, None))
        cell = value if low is None else {"value": value, "low": low, "high": high}
        table[files.title_of(quantity, titles=titles)[0]][group] = cell
    groups = list(dict.fromkeys(name.rpartition("/")[0] for name in scores))
    rows = [[quantity, *(by.get(group) for group in groups)] for quantity, by in table.items()]
    if not rows:
        return ""
    note = _INTERVALS if intervals else ""
    return sections.table({"columns": ["score", *groups], "rows": rows, "note": note})


def _data(report: dict | list) -> str:
    """What the data is, and what of it deserves a look, serious findings first."""
    if isinstance(report, list):  # of a run from before there were findings
        report = {"rows": report}
    facts = sections.facts({"rows": report.get("rows", [])})
    rows = "".join(
        f'<tr><th scope="row">{escape(found["what"])}</th>'
        f'<td class="number">{sections.text(found["count"])}</td>'
        f"<td>{'serious' if found['serious'] else ''}</td>"
        f"<td>{'<br>'.join(map(escape, found['places']))}</td></tr>"
        for found in report.get("findings", [])
    )
    if not rows:
        return facts
    names = ("what deserves a look", "count", "", "where, at most five")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    return (
        f'{facts}<div class="box"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _config(config: dict) -> str:
    """Every setting by section, with where its value came from; overrides stand out."""
    if not config:
        return ""
    groups = defaultdict(list)
    for name, value in config["values"].items():
        group, _, key = name.rpartition(".")
        origin = config["origins"][name]
        groups[group or "run"].append(
            f'<tr class="{escape(origin)}"><th scope="row"><code>{escape(key)}</code></th>'
            f"<td><code>{escape(value if isinstance(value, str) else repr(value))}</code></td>"
            f'<td class="from">{escape(origin)}</td></tr>'
        )
    tables = "".join(
        f'<table class="settings"><caption>{escape(group)}</caption>'
        '<colgroup><col class="key-column"><col><col class="from-column"></colgroup><thead><tr>'
        '<th scope="col">setting</th><th scope="col">value</th><th scope="col">from</th></tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table>"
        for group, rows in groups.items()
    )
    tally = Counter(config["origins"][name] for name in config["values"])
    told = ", ".join(f"{n} from {escape(origin)}" for origin, n in tally.most_common())
    return f'<p class="note">{told}.</p><div class="groups">{tables}</div>'
