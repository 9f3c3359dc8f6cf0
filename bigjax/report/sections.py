"""Owns how a section of a report looks: one function a kind, from what `results.json` says to HTML.

Leaves reading the run folder and the order of things to `report.py`, drawing to `charts.py` and
`reliability.py`, looks to `report.css`. Words of a data set are not to be trusted: every text goes
through `escape`.
"""

import html
from collections import Counter
from itertools import groupby

from bigjax.report import calibration, charts, plots

_IMAGE_SIDE = 128  # pixels on the page; smaller images are scaled up to at most this

_KEY = (
    '<p class="key"><mark class="correct"><span class="g p">correct</span></mark>'
    '<mark class="missed"><span class="g">missed</span></mark>'
    '<mark class="spurious"><span class="p">spurious</span></mark>'
    '<mark class="wrong"><span class="g p">wrong type or boundary</span> <b>gold → predicted</b>'
    "</mark><span>line above: gold; line below: predicted</span></p>"
)


def render(section: dict) -> str:
    """The HTML of a section of `results.json`, without its title.

    By `section["kind"]`: "facts" has rows of [name, value]; "table" has columns, rows, and a cell
    may be a score with its interval, {value, low, high}; "confusion" has labels and counts [C, C],
    rows gold and columns predicted; "tagged_text" has items of words, gold and predicted spans
    [start, end, type] (in words, end exclusive) and a caption; "images" has items of png (base64),
    width and height, or none of these, gold, predicted, confidence and number; "reliability" has
    diagrams of a name and bins of equal width, [count, confidence, accuracy]; "curves" has the
    names of its axes x and y, and series of name and points [x, y], or dots, and perhaps a
    reference line of points and the range [[low, high], [low, high]] of the axes; "bars" has rows
    [name, value, deviation] and a unit. Each may have a note.
    """
    kind = section["kind"]
    assert kind in _KINDS, f"section kind {kind!r}, known: {sorted(_KINDS)}"
    return _KINDS[kind](section)


def text(value: object) -> str:
    """A value of a JSON file as safe HTML."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return charts.figure(value)
    if isinstance(value, dict):
        pairs = ((escape(str(name)), text(inner)) for name, inner in value.items())
        return " ".join(f'<span class="pair"><b>{name}</b> {inner}</span>' for name, inner in pairs)
    if isinstance(value, list) and len(value) > 8:
        return f"{text(value[0])} to {text(value[-1])} ({len(value)})"
    if isinstance(value, list):
        return ", ".join(map(text, value))
    return escape(str(value))


def escape(raw: str) -> str:
    """Safe in an element and in a quoted attribute."""
    return html.escape(raw, quote=True)


def facts(section: dict) -> str:
    """Rows of a name and its value, "" where there is none."""
    rows = "".join(
        f'<tr><th scope="row">{escape(str(name).replace("_", " "))}</th><td>{text(value)}</td></tr>'
        for name, value in section["rows"]
    )
    return f'<table class="facts"><tbody>{rows}</tbody></table>' if rows else ""


def table(section: dict) -> str:
    """A table; a column that holds only numbers is set to the right, shares to four decimals."""
    columns, rows = section["columns"], section["rows"]
    assert all(len(row) == len(columns) for row in rows), (columns, rows)
    kinds = [
        ' class="number"' if all(_is_number(row[i]) for row in rows) else ""
        for i in range(len(columns))
    ]
    head = "".join(f'<th scope="col"{k}>{escape(name)}</th>' for k, name in zip(kinds, columns))
    texts = [_column([row[i] for row in rows]) for i in range(len(columns))]
    body = ""
    for row in zip(*texts):
        cells = [f"<td{k}>{cell}</td>" for k, cell in zip(kinds, row)]
        if not kinds[0]:
            cells[0] = f'<th scope="row">{row[0]}</th>'
        body += f"<tr>{''.join(cells)}</tr>"
    return (
        f'{_note(section)}<div class="box"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _is_number(cell: object) -> bool:
    """Whether it is one, or a score with its interval, or nothing."""
    return isinstance(cell, int | float | None) or (isinstance(cell, dict) and "low" in cell)


def _column(values: list) -> list[str]:
    """A column's texts, of one form where all its floats are shares."""
    scored = [v if isinstance(v, dict) and "low" in v else {"value": v} for v in values]
    plain = [cell["value"] for cell in scored]
    floats = [value for value in plain if isinstance(value, float)]
    shares = all(0 <= value <= 1 for value in floats) and max(floats, default=0.0) >= 0.01
    texts = [f"{v:.4f}" if shares and isinstance(v, float) else text(v) for v in plain]
    ranges = [between(cell.get("low"), cell.get("high")) for cell in scored]
    return [told + within for told, within in zip(texts, ranges)]


def between(low: float | None, high: float | None) -> str:
    """A score's interval, to stand behind it; "" where there is none."""
    if low is None or high is None:
        return ""
    return f' <small class="between">{low:.3f}–{high:.3f}</small>'


def _confusion(section: dict) -> str:
    """The matrix, unless it has too many labels to read, and its ten most frequent confusions."""
    labels, counts = section["labels"], section["counts"]
    assert [len(row) for row in counts] == [len(labels)] * len(labels), "not a square matrix"
    wrong = [
        [labels[i], labels[j], count, count / sum(row)]
        for i, row in enumerate(counts)
        for j, count in enumerate(row)
        if count and i != j
    ]
    wrong.sort(key=lambda row: -row[2])
    drawn = ""
    if 0 < len(labels) <= 100:
        svg = charts.confusion(section["title"], labels=labels, counts=counts)
        drawn = f'<div class="box">{svg}</div>'
    listed = ""
    if wrong:
        first = table(
            {"columns": ["gold", "predicted", "count", "share of gold"], "rows": wrong[:10]}
        )
        listed = f"<div><h3>Most frequent confusions</h3>{first}</div>"
    return f'{_note(section)}<div class="matrix">{drawn}{listed}</div>'


def _tagged_text(section: dict) -> str:
    items = ""
    for item in section["items"]:
        body, verdicts = _marked(item["words"], gold=item["gold"], predicted=item["predicted"])
        tally = ", ".join(f"{n} {verdict}" for verdict, n in sorted(verdicts.items()))
        items += (
            f'<figure class="item"><figcaption><span>{escape(item["caption"])}</span>'
            f'<span>{tally}</span></figcaption><p class="words" dir="auto">{body}</p></figure>'
        )
    return f"{_note(section)}{_KEY}{items}"


def _images(section: dict) -> str:
    """What they are and what they were taken for, with pictures but where there is none."""
    items = ""
    for item in section["items"]:
        gold, predicted = escape(item["gold"]), escape(item["predicted"])
        items += (
            f"<figure>{_picture(item)}<figcaption>"
            f'<span class="gold">{gold}</span> <span class="predicted">→ {predicted}</span> '
            f"<small>{charts.figure(item['confidence'])} · image {item['number']:,}</small>"
            "</figcaption></figure>"
        )
    return f'{_note(section)}<div class="images">{items}</div>'


def _picture(item: dict) -> str:
    if "png" not in item:
        return ""
    width, height = item["width"], item["height"]
    scale = max(1, _IMAGE_SIDE // max(width, height))  # whole, so that all pixels are of a size
    gold, predicted = escape(item["gold"]), escape(item["predicted"])
    return (
        f'<img src="data:image/png;base64,{escape(item["png"])}" '
        f'width="{scale * width}" height="{scale * height}" '
        f'alt="image {item["number"]:,}, gold {gold}, predicted {predicted}">'
    )


def _reliability(section: dict) -> str:
    if "bins" in section:  # of a run from before there was a temperature
        section = {**section, "diagrams": [["", section["bins"]]]}
    drawn = "".join(
        calibration.diagram(section["title"], name=name, bins=bins)
        for name, bins in section["diagrams"]
    )
    return f'{_note(section)}<div class="matrix">{drawn}</div>'


def _curves(section: dict) -> str:
    drawn = plots.curves(
        section["title"],
        x_name=section["x"],
        y_name=section["y"],
        series=[(one["name"], one["points"]) for one in section.get("series", [])],
        dots=section.get("dots", []),
        reference=section.get("reference", []),
        ranges=section.get("range"),
    )
    return f"{_note(section)}{drawn}"


def _bars(section: dict) -> str:
    return _note(section) + plots.bars(section["title"], rows=section["rows"], unit=section["unit"])


def _marked(words: list[str], *, gold: list, predicted: list) -> tuple[str, Counter]:
    """The sentence with each group of overlapping spans marked, and how many there are of each
    verdict. A span is [start, end, type], end exclusive, in words."""
    spans = sorted([*map(tuple, gold), *map(tuple, predicted)])
    groups = []  # [start, end) of each group of overlapping spans
    for start, end, _ in spans:
        assert 0 <= start < end <= len(words), (start, end, len(words))
        if groups and start < groups[-1][1]:
            groups[-1][1] = max(end, groups[-1][1])
        else:
            groups.append([start, end])
    parts, done, verdicts = [], 0, Counter()
    for start, end in groups:
        parts += map(escape, words[done:start])
        inside = [[tuple(s) for s in side if start <= s[0] < end] for side in (gold, predicted)]
        verdict, label = _verdict(*map(set, inside))
        verdicts[verdict] += 1
        lined = _lined(words, start=start, end=end, sides=inside)
        parts.append(f'<mark class="{verdict}">{lined}&nbsp;<b>{escape(label)}</b></mark>')
        done = end
    return " ".join([*parts, *map(escape, words[done:])]), verdicts


def _verdict(gold: set[tuple], predicted: set[tuple]) -> tuple[str, str]:
    """What became of a group of overlapping spans, as a class of the style and in words."""
    types = [", ".join(dict.fromkeys(s[2] for s in sorted(side))) for side in (gold, predicted)]
    if gold == predicted:
        return "correct", types[0]
    if not predicted:
        return "missed", f"{types[0]} missed"
    if not gold:
        return "spurious", f"{types[1]} spurious"
    edges = [{s[:2] for s in side} for side in (gold, predicted)]
    boundary = "" if edges[0] == edges[1] else " boundary"
    if types[0] == types[1]:
        return "wrong", types[0] + boundary
    return "wrong", f"{types[0]} → {types[1]}{boundary and ',' + boundary}"


def _lined(words: list[str], *, start: int, end: int, sides: list[list[tuple]]) -> str:
    """Words `start:end`, each run with a line above where gold and below where predicted.

    The space after a word belongs to a span that continues, so that its line does not break, and to
    none at a span's end, so that two neighbouring spans stay two.
    """
    units, before = [], (None, None)
    for i in range(start, end):
        here = tuple(next((s for s in side if s[0] <= i < s[1]), None) for side in sides)
        if i > start:
            units.append((tuple(s if s == b else None for s, b in zip(here, before)), " "))
        units.append((here, words[i]))
        before = here
    lined = ""
    for (gold, predicted), run in groupby(units, key=lambda unit: unit[0]):
        lines = " ".join(name for name, span in (("g", gold), ("p", predicted)) if span)
        lined += f'<span class="{lines}">{escape("".join(part for _, part in run))}</span>'
    return lined


def _note(section: dict) -> str:
    return f'<p class="note">{escape(section["note"])}</p>' if section.get("note") else ""


_KINDS = {
    "facts": facts,
    "table": table,
    "confusion": _confusion,
    "tagged_text": _tagged_text,
    "images": _images,
    "reliability": _reliability,
    "curves": _curves,
    "bars": _bars,
}
