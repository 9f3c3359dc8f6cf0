"""Owns the report of a run: `report.html`, made from the files of the run folder and nothing else.

What it reads: `metrics.jsonl` and `results.json`, and where present `config.json`,
`environment.json` and `data_report.json`. The page is one file that opens offline: its style and
script are inline, and its content security policy forbids every request. Left to others: the HTML
of a section and the escaping of text to `sections.py`, drawing to `charts.py`, looks to
`style.css`, and what the task's sections say to whoever wrote `results.json`.
"""

import base64
import hashlib
import json
import math
import os
import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from bigjax.errors import UserError
from bigjax.report import charts, sections
from bigjax.report.sections import escape

# Titles and units of what every run logs; a task declares those of its scores. A name that is in
# neither is shown as it reads.
_QUANTITIES = {
    "learning_rate": ("Learning rate", ""),
    "grad_norm": ("Gradient norm", ""),
    "flops_per_second": ("FLOP", "per second"),
    "fill": ("Batch fill", "share of positions"),
    "input_wait": ("Input wait", "share of time"),
}
_RATE = "_per_second"
_INTERVALS = (
    "Behind a score: its 95% interval, by a bootstrap over the examples of the split. It says what "
    "other examples of the kind would do to the score, not another seed of training."
)
_SHARES = {"fill": (0.0, 1.0), "input_wait": (0.0,)}  # with the values their axes always hold
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
    metrics = _read_metrics(folder / "metrics.jsonl")
    results = _read_json(folder / "results.json")
    config, environment = (_read_json(folder / f"{n}.json") for n in ("config", "environment"))
    titles = results.get("titles", {})
    curves, scores = _curves(metrics, titles=titles), _scores(results, titles=titles)
    blocks = [("Training curves", curves), ("Scores", scores)]
    blocks += [(section["title"], sections.render(section)) for section in results["sections"]]
    blocks += [
        ("Data", _data(_read_json(folder / "data_report.json"))),
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


def _read_metrics(path: Path) -> dict[str, list[charts.Point]]:
    """Each metric's (step, value) points in order of step; a later line's value stands."""
    lines = path.read_bytes().splitlines()
    values = defaultdict(dict)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            step = record.pop("step")
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            if number == len(lines):
                break  # the run was killed while it wrote this line
            shown = line[:60].decode(errors="replace")
            raise UserError(
                f'{path}:{number}: expected a JSON object with a "step", got {shown!r}; '
                "delete that line"
            ) from error
        for name, value in record.items():
            values[name][step] = math.nan if value is None else value
    points = {
        name: [(step, y) for step, y in sorted(by_step.items()) if math.isfinite(y)]
        for name, by_step in values.items()
    }
    return {name: kept for name, kept in points.items() if kept}


def _read_json(path: Path) -> dict:
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(
            f"{path}: expected JSON, got {error}; run evaluation to write it again"
        ) from error


def document(blocks: list[tuple[str, str]], *, header: str, title: str) -> str:
    """A whole page of blocks (title, HTML), its style and script inline."""
    style = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
    digests = {
        kind: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for kind, text in (("style", style), ("script", charts.HOVER_SCRIPT))
    }
    policy = "default-src 'none'; img-src data:; " + "; ".join(
        f"{kind}-src 'sha256-{digest}'" for kind, digest in digests.items()
    )
    links = "".join(f'<a href="#s{i}">{escape(name)}</a>' for i, (name, _) in enumerate(blocks))
    body = "\n".join(
        f'<section id="s{i}"><h2>{escape(name)}</h2>\n{inner}</section>'
        for i, (name, inner) in enumerate(blocks)
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>{style}</style>
</head>
<body>
<header>{header}<nav aria-label="Sections">{links}</nav></header>
<main>
{body}
</main>
<script>{charts.HOVER_SCRIPT}</script>
</body>
</html>
"""


def _header(results: dict, *, config: dict) -> str:
    facts = [f"<code>{escape(config['file'])}</code>"] if config else []
    facts.append(f"after {sections.text(results['step'])} steps")
    titles, headline = results.get("titles", {}), []
    for name in results["headline"]:
        group, _, quantity = name.rpartition("/")
        title, _ = _name(quantity, titles=titles)
        low, high = results.get("intervals", {}).get(name, (None, None))
        of = f"on {group}" + ("" if low is None else f", {low:.3f}–{high:.3f}")
        headline.append((title, sections.text(results["scores"][name]), of))
    return (
        f'<p class="task">{escape(results["task"].replace("_", " ").capitalize())}</p>'
        f'<h1>{escape(results["title"])}</h1><p class="meta">{" · ".join(facts)}</p>'
        + figures(headline)
    )


def figures(named: list[tuple[str, str, str]]) -> str:
    """Big figures: name, number (safe already) and what it is of."""
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{number} <small>{escape(of)}</small></dd></div>"
        for name, number, of in named
    )
    return f'<dl class="figures">{items}</dl>'


def _curves(metrics: dict[str, list[charts.Point]], *, titles: dict[str, str]) -> str:
    """Loss, learning rate, each metric of an evaluation, then the rest; the groups of one quantity
    share a chart."""
    quantities = defaultdict(dict)
    for name, points in metrics.items():
        group, _, quantity = name.rpartition("/")
        if not _is_speed(quantity):
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
        name, unit = _name(quantity, titles=titles)
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
    for quantity, points in sorted(found.items(), key=lambda item: item[0] in _SHARES):
        if _is_speed(quantity):
            name, unit = _name(quantity)
            median = float(statistics.median(value for _, value in points))
            medians.append((name, charts.figure(median), unit))
            series = [charts.Series("train", points, _COLOURS["train"])]
            include = _SHARES.get(quantity, (0.0,))
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
        table[_name(quantity, titles=titles)[0]][group] = cell
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


def _is_speed(quantity: str) -> bool:
    """Whether it measures speed and not learning."""
    return quantity.endswith(_RATE) or quantity in _SHARES


def _name(quantity: str, *, titles: Mapping[str, str] = MappingProxyType({})) -> tuple[str, str]:
    """A logged quantity's title and unit."""
    if quantity in titles:
        return titles[quantity], ""
    words = quantity.removesuffix(_RATE).replace("_", " ").replace("f1", "F1")
    unit = "per second" if quantity.endswith(_RATE) else ""
    return _QUANTITIES.get(quantity, (words[:1].upper() + words[1:], unit))
