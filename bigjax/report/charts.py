"""Owns the drawing of numbers: from plain numbers to SVG strings, and a number's short text.

Leaves colours and type to `report.css` (a drawing only names classes) and leaves what is drawn, and
where, to `report.py`. Every function is pure. Axes are always linear.
"""

import html
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

Point = tuple[float, float]


class Series(NamedTuple):
    """One curve: its name, its points in order of x, and which of the style's colours it wears."""

    name: str
    points: Sequence[Point]
    colour: int


class _Axis(NamedTuple):
    """Values `low..high` laid out on pixels `start..end`."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


NUM_COLOURS = 6  # of curves, in the style
MAX_POINTS = 400  # of one curve: more than the pixels of a chart can show
MAX_DOTTED = 30  # a curve of at most so many points shows each of them
MAX_NUMBERED = 24  # a confusion matrix of at most so many labels has its counts in its cells
_WIDTH, _HEIGHT = 350, 236
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 340, 52, 202  # the plot's edges in pixels
_LINE, _LINE_LETTERS = 16, 54  # a legend's lines: their height in pixels, and what fits into one
_SUFFIXES = ("", "k", "M", "G", "T", "P")

# Moving over a chart shows the nearest point of each curve in the legend. The pixels come from the
# curve itself and the text from `data-read`; without scripts the legend keeps the last values.
HOVER_SCRIPT = """
for (const chart of document.querySelectorAll("svg.chart")) {
  const find = name => Array.from(chart.querySelectorAll(name));
  const [cursor] = find(".cursor"), [step] = find(".step"), values = find(".value");
  const dots = find(".dot"), texts = values.map(value => value.textContent);
  const curves = find(".curve").map(curve => (
    {points: Array.from(curve.points), read: curve.dataset.read.split(";")}));
  const show = event => {
    const box = chart.getBoundingClientRect();
    const x = (event.clientX - box.left) * chart.viewBox.baseVal.width / box.width;
    let best = Infinity;
    curves.forEach(({points, read}, i) => {
      let near = 0;
      points.forEach((point, j) => {
        if (Math.abs(point.x - x) < Math.abs(points[near].x - x)) near = j; });
      const {x: px, y: py} = points[near], [at, value] = read[near].split(" ");
      dots[i].setAttribute("cx", px); dots[i].setAttribute("cy", py);
      values[i].textContent = value;
      if (Math.abs(px - x) < best) {
        best = Math.abs(px - x);
        cursor.setAttribute("x1", px); cursor.setAttribute("x2", px);
        step.textContent = "step " + at;
      }
    });
    chart.classList.add("reading");
  };
  chart.addEventListener("pointermove", show);
  chart.addEventListener("pointerdown", show);
  chart.addEventListener("pointerleave", () => {
    chart.classList.remove("reading");
    step.textContent = "step";
    values.forEach((value, i) => { value.textContent = texts[i]; });
  });
}
"""


def lines(
    title: str, *, series: Sequence[Series], unit: str = "", include: Sequence[float] = ()
) -> str:
    """A chart of curves over training steps, one SVG string.

    Points whose y is not finite are skipped, long curves are thinned to `MAX_POINTS`. The value
    axis holds every point and the values of `include`, and zero where zero is near. Returns "" when
    there is no point to draw.
    """
    curves = [
        s._replace(points=decimate([p for p in s.points if math.isfinite(p[1])], limit=MAX_POINTS))
        for s in series
    ]
    curves = [s for s in curves if s.points]
    if not curves:
        return ""
    steps = [x for s in curves for x, _ in s.points]
    y_low, y_high = _span([*(y for s in curves for _, y in s.points), *include])
    y_ticks = ticks(y_low, high=y_high, count=4)
    from_zero = len(set(steps)) == 1 or min(steps) <= 0.3 * max(steps)
    x_low, x_high = (0, max(1, *steps)) if from_zero else _span(steps)
    x_ticks = ticks(x_low, high=x_high, count=5)
    x_ticks = [t for t in x_ticks if t == int(t) and x_low <= t <= x_high]
    x_axis = _Axis(x_low, x_high, _LEFT, _RIGHT)
    y_axis = _Axis(y_ticks[0], y_ticks[-1], _BOTTOM, _TOP)
    legend = _legend(curves)
    top = _LINE * (1 - len(legend))  # a legend of many lines pushes the title up
    unit_text = f' <tspan class="unit">{html.escape(unit)}</tspan>' if unit else ""
    return (
        f'<svg class="chart" viewBox="0 {top} {_WIDTH} {_HEIGHT - top}" role="img">'
        f"<title>{html.escape(title)} by step</title><desc>{html.escape(_in_words(curves))}</desc>"
        f'<text class="name" x="0" y="{top + 14}">{html.escape(title)}{unit_text}</text>'
        + "".join(
            f'<text class="legend" x="0" y="{top + 33 + _LINE * i}">{line}</text>'
            for i, line in enumerate(legend)
        )
        + _grid(x_axis, x_ticks=x_ticks, y_axis=y_axis, y_ticks=y_ticks)
        + f'<text class="step" x="{_RIGHT}" y="{_HEIGHT - 2}">step</text>'
        + f'<line class="cursor" y1="{_TOP}" y2="{_BOTTOM}"/>'
        + "".join(_curve(s, x_axis=x_axis, y_axis=y_axis) for s in curves)
        + "</svg>"
    )


def confusion(title: str, *, labels: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """A heat map of `counts` (rows gold, columns predicted), one SVG string of its natural width.

    A right cell's shade is its share of the row. A wrong one has another hue, and its shade is its
    share of the row against the largest such share, so that the errors of a good model show too.
    The counts stand in the cells of up to `MAX_NUMBERED` labels.
    """
    numbered = len(labels) <= MAX_NUMBERED
    digits = max(len(figure(count)) for row in counts for count in row)
    cell_w, cell_h = (max(46, 8 * digits + 14), 36) if numbered else (14, 14)
    names = [label if len(label) <= 18 else label[:17] + "…" for label in labels]
    longest = max(len(name) for name in names)
    upright = longest * 7.5 > cell_w
    left, top = 24 + 7.5 * longest, 30 + (7.5 * longest if upright else 14)
    shares = [[count / max(1, sum(row)) for count in row] for row in counts]
    errors = [share for i, row in enumerate(shares) for j, share in enumerate(row) if i != j]
    worst = max([*errors, 0]) or 1.0
    paths, texts = defaultdict(list), []
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            x, y = left + j * cell_w, top + i * cell_h
            if count:
                # 0.6 at most, so that one colour of ink stays readable on every shade.
                shade = 0.06 + 0.54 * shares[i][j] / (1 if i == j else worst)
                cell = f"M{x + 0.5:g} {y + 0.5:g}h{cell_w - 1}v{cell_h - 1}h-{cell_w - 1}z"
                paths["right" if i == j else "wrong", f"{shade:.2f}"].append(cell)
            if numbered:
                ink = "count" if count else "count none"
                at = f'x="{x + cell_w / 2:g}" y="{y + cell_h / 2 + 4:g}"'
                texts.append(f'<text class="{ink}" {at}>{figure(count)}</text>')
    for i, name in enumerate(names):
        middle_x, middle_y = left + (i + 0.5) * cell_w, top + (i + 0.5) * cell_h + 4
        turn = f' transform="rotate(-90 {middle_x + 4:g} {top - 8:g})"' if upright else ""
        column = f'class="{"up" if upright else "column"}" x="{middle_x + 4 * upright:g}"'
        texts.append(f'<text {column} y="{top - 8:g}"{turn}>{html.escape(name)}</text>')
        row = f'class="row" x="{left - 8:g}" y="{middle_y:g}"'
        texts.append(f"<text {row}>{html.escape(name)}</text>")
    width, height = left + len(labels) * cell_w + 1, top + len(labels) * cell_h + 1
    return (
        f'<svg class="confusion{"" if numbered else " small"}" width="{width:g}" '
        f'height="{height:g}" viewBox="0 0 {width:g} {height:g}" role="img">'
        f"<title>{html.escape(title)}</title>"
        f"<desc>{len(labels)} labels; rows are gold, columns are predicted. Right cells are shaded "
        "by their share of the row, wrong ones against the largest such share.</desc>"
        f'<text class="axis" x="{left:g}" y="11">predicted →</text>'
        f'<text class="axis gold" x="{left - 8:g}" y="{top - 8:g}">gold ↓</text>'
        + "".join(
            f'<path class="{hue}" fill-opacity="{shade}" d="{"".join(cells)}"/>'
            for (hue, shade), cells in paths.items()
        )
        + "".join(texts)
        + "</svg>"
    )


def decimate(points: Sequence[Point], *, limit: int) -> list[Point]:
    """At most `limit` of `points`, in order: the ends, and each bucket's lowest and highest y, so
    that no spike is lost."""
    if len(points) <= limit:
        return list(points)
    num_inner, num_buckets = len(points) - 2, (limit - 2) // 2
    kept = [0]
    for i in range(num_buckets):
        bucket = range(1 + i * num_inner // num_buckets, 1 + (i + 1) * num_inner // num_buckets)
        lowest = min(bucket, key=lambda j: points[j][1])
        highest = max(bucket, key=lambda j: points[j][1])
        kept += sorted({lowest, highest})
    return [points[j] for j in [*kept, len(points) - 1]]


def ticks(low: float, *, high: float, count: int) -> list[float]:
    """About `count` round values, evenly spaced by 1, 2 or 5 times a power of ten, from at or below
    `low` to at or above `high` (`low < high`)."""
    assert low < high, (low, high)
    exponent = math.floor(math.log10((high - low) / count))
    rough = (high - low) / count * (1 - 1e-9)
    step = next(m * 10.0**exponent for m in (1, 2, 5, 10) if m * 10.0**exponent >= rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    # Rounding takes 3 * 0.1 to 0.3.
    return [round(i * step, max(0, -exponent)) for i in range(first, last + 1)]


def tick_labels(values: Sequence[float]) -> list[str]:
    """The texts of evenly spaced ticks, all in one form: 0.5, 20k or 5e-5."""
    biggest = max(abs(value) for value in values)
    power, suffix = 0, ""
    if biggest >= 1e4:
        group = min(len(_SUFFIXES) - 1, int(math.log10(biggest) / 3 + 1e-9))
        power, suffix = 3 * group, _SUFFIXES[group]
    elif 0 < biggest < 1e-3:
        power = math.floor(math.log10(biggest) + 1e-9)
        suffix = f"e{power}"
    scaled = [value / 10.0**power for value in values]
    gap = scaled[1] - scaled[0] if len(scaled) > 1 else 1.0
    decimals = max(0, math.ceil(-math.log10(gap) - 1e-9))
    return [f"{value:,.{decimals}f}{suffix}" if value else "0" for value in scaled]


def figure(value: float) -> str:
    """A number's short text: an int in full (12,345), a float to about four digits (0.9512, 12.35k,
    5.00e-5), "n/a" where it is not finite."""
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return "n/a"
    size = abs(value)
    if size == 0:
        return "0"
    if size < 1e-3:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    if size < 10:
        return f"{value:.4f}" if size >= 0.01 else f"{value:.4g}"
    if size < 9999.5:
        return f"{value:#,.4g}".rstrip(".")
    group = min(len(_SUFFIXES) - 1, int(math.log10(size) / 3 + 1e-9))
    return f"{value / 1000.0**group:.4g}{_SUFFIXES[group]}"


def _span(values: Sequence[float]) -> tuple[float, float]:
    """The range an axis shows: the values', down to zero where zero is near, and never empty."""
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        pad = abs(low) / 2 or 1.0
        return low - pad, high + pad
    return (0.0 if 0 < low <= 0.4 * high else low), high


def _grid(
    x_axis: _Axis, *, x_ticks: Sequence[float], y_axis: _Axis, y_ticks: Sequence[float]
) -> str:
    parts = []
    for value, label in zip(y_ticks, tick_labels(y_ticks)):
        y = y_axis.place(value)
        kind = "base" if value == y_axis.low else "rule"
        parts.append(f'<line class="{kind}" x1="{_LEFT}" x2="{_RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="y" x="{_LEFT - 8}" y="{y + 4:.1f}">{label}</text>')
    for value, label in zip(x_ticks, tick_labels(x_ticks)):
        x = x_axis.place(value)
        parts.append(f'<text class="x" x="{x:.1f}" y="{_BOTTOM + 16}">{label}</text>')
    return "".join(parts)


def _legend(curves: Sequence[Series]) -> list[str]:
    """The lines of the legend: each curve's colour, name and last value."""
    rows, room = [], 0
    for s in curves:
        value = figure(float(s.points[-1][1]))
        size = len(s.name) + len(value) + 6
        if size > room:
            rows.append([])
            room = _LINE_LETTERS
        room -= size
        rows[-1].append(
            f'<tspan class="ink-{s.colour}">●</tspan> {html.escape(s.name)} '
            f'<tspan class="value">{value}</tspan>'
        )
    return ["   ".join(row) for row in rows]


def _curve(series: Series, *, x_axis: _Axis, y_axis: _Axis) -> str:
    placed = [f"{x_axis.place(x):.1f},{y_axis.place(y):.1f}" for x, y in series.points]
    read = ";".join(f"{x:,} {figure(float(y))}" for x, y in series.points)
    dots = ""
    if len(placed) <= MAX_DOTTED:
        dots = "".join(
            '<circle class="ink-{}" r="2.5" cx="{}" cy="{}"/>'.format(series.colour, *at.split(","))
            for at in placed
        )
    return (
        f'<polyline class="curve line-{series.colour}" points="{" ".join(placed)}" '
        f'data-read="{read}"/>{dots}<circle class="dot ink-{series.colour}" r="4"/>'
    )


def _in_words(curves: Sequence[Series]) -> str:
    """What a reader who cannot see the curves is told."""
    parts = []
    for s in curves:
        values = [float(y) for _, y in s.points]
        parts.append(
            f"{s.name}: from {figure(values[0])} to {figure(values[-1])}, "
            f"lowest {figure(min(values))}, highest {figure(max(values))}"
        )
    return "; ".join(parts) + "."
