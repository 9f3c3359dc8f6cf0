"""Owns the drawing of one quantity against another, and of a value for each of some names, as SVG
strings: ROC curves, predicted against true, importances.

Like `charts.py`, which draws curves over training steps, it leaves colours and type to `style.css`.
"""

import html
import math
from collections.abc import Sequence

from bigjax.report import charts
from bigjax.report.charts import Point

_WIDTH, _HEIGHT = 480, 400
_LEFT, _RIGHT, _BOTTOM = 62, 466, 346  # the plot's edges in pixels; the legend is above its top
_LINE = 17  # a legend's
_BAR, _BAR_LEFT, _BAR_RIGHT = 24, 190, 400
_LETTERS = 26  # of a bar's name


def curves(
    title: str,
    *,
    x_name: str,
    y_name: str,
    series: Sequence[tuple[str, Sequence[Point]]] = (),
    dots: Sequence[Point] = (),
    reference: Sequence[Point] = (),
    ranges: Sequence[tuple[float, float]] | None = None,
) -> str:
    """Curves, each with its name, a cloud of dots, and a dashed line for reference; "" where there
    is nothing to draw.

    Args:
      ranges: of x and of y; None: what holds everything.
    """
    points = [point for _, curve in series for point in curve] + [*dots]
    if not points:
        return ""
    held = [*points, *reference]
    if ranges is None:
        ranges = [_around([point[i] for point in held]) for i in (0, 1)]
    top = 30 + _LINE * len(series)
    x_ticks, y_ticks = (charts.ticks(low, high=high, count=5) for low, high in ranges)
    x_axis = _Scale(x_ticks[0], x_ticks[-1], _LEFT, _RIGHT)
    y_axis = _Scale(y_ticks[0], y_ticks[-1], _BOTTOM, top)
    place = lambda point: (x_axis(point[0]), y_axis(point[1]))  # noqa: E731
    legend = "".join(
        f'<text x="{_LEFT}" y="{30 + _LINE * i}"><tspan class="ink-{i % charts.NUM_COLOURS}">●'
        f'</tspan> <tspan class="value">{html.escape(name)}</tspan></text>'
        for i, (name, _) in enumerate(series)
    )
    drawn = "".join(
        f'<polyline class="curve line-{i % charts.NUM_COLOURS}" points="{_path(curve, place)}"/>'
        for i, (_, curve) in enumerate(series)
    )
    cloud = "".join(
        '<circle class="cloud" r="2.5" cx="{:.1f}" cy="{:.1f}"/>'.format(*place(point))
        for point in dots
    )
    ideal = f'<polyline class="ideal" points="{_path(reference, place)}"/>' if reference else ""
    return (
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">'
        f"<title>{html.escape(title)}</title>"
        f"<desc>{html.escape(_in_words(x_name, y_name, series, dots))}</desc>"
        f'<text class="name" x="0" y="12">{html.escape(y_name)}</text>{legend}'
        + _grid(x_axis, y_axis, x_ticks=x_ticks, y_ticks=y_ticks)
        + f'{ideal}{cloud}{drawn}<text class="axis name" x="{(_LEFT + _RIGHT) / 2:g}" '
        f'y="{_BOTTOM + 40}">{html.escape(x_name)}</text></svg>'
    )


def bars(title: str, *, rows: Sequence[tuple[str, float, float]], unit: str) -> str:
    """A bar a row, of a value from 0, with a line of its deviation each way; one SVG string."""
    values = [abs(value) + deviation for _, value, deviation in rows]
    most = max([value for value in values if math.isfinite(value)], default=0) or 1.0
    least = min(0.0, *(value - deviation for _, value, deviation in rows)) if rows else 0.0
    axis = _Scale(least, most, _BAR_LEFT, _BAR_RIGHT)
    drawn = ""
    for i, (name, value, deviation) in enumerate(rows):
        y, ends = _BAR * i + 22, sorted((axis(0), axis(value)))
        short = name if len(name) <= _LETTERS else name[: _LETTERS - 1] + "…"
        drawn += (
            f'<text class="row" x="{_BAR_LEFT - 10}" y="{y + 16}">{html.escape(short)}</text>'
            f'<rect x="{ends[0]:.1f}" y="{y + 5}" width="{max(0.5, ends[1] - ends[0]):.1f}" '
            f'height="{_BAR - 10}"/><line class="spread" x1="{axis(value - deviation):.1f}" '
            f'x2="{axis(value + deviation):.1f}" y1="{y + _BAR / 2:g}" y2="{y + _BAR / 2:g}"/>'
            f'<text class="value" x="{_BAR_RIGHT + 10}" y="{y + 16}">{charts.figure(float(value))}'
            "</text>"
        )
    height = _BAR * len(rows) + 26
    return (
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {height}" role="img">'
        f"<title>{html.escape(title)}</title>"
        f'<text class="name" x="{_BAR_LEFT}" y="12">{html.escape(unit)}</text>{drawn}</svg>'
    )


class _Scale:
    """Values `low` to `high` on pixels `start` to `end`."""

    def __init__(self, low: float, high: float, start: float, end: float):
        self.low, self._high, self._start, self._end = low, high, start, end

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self._high - self.low)
        return self._start + share * (self._end - self._start)


def _around(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        pad = abs(low) / 2 or 1.0
        return low - pad, high + pad
    return low, high


def _path(points: Sequence[Point], place: object) -> str:
    return " ".join("{:.1f},{:.1f}".format(*place(point)) for point in points)


def _grid(
    x_axis: _Scale, y_axis: _Scale, *, x_ticks: Sequence[float], y_ticks: Sequence[float]
) -> str:
    parts = []
    for value, label in zip(y_ticks, charts.tick_labels(y_ticks)):
        y, kind = y_axis(value), "base" if value == y_axis.low else "rule"
        parts.append(f'<line class="{kind}" x1="{_LEFT}" x2="{_RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="y" x="{_LEFT - 8}" y="{y + 4:.1f}">{label}</text>')
    for value, label in zip(x_ticks, charts.tick_labels(x_ticks)):
        parts.append(f'<text class="x" x="{x_axis(value):.1f}" y="{_BOTTOM + 18}">{label}</text>')
    return "".join(parts)


def _in_words(
    x_name: str, y_name: str, series: Sequence[tuple[str, Sequence[Point]]], dots: Sequence[Point]
) -> str:
    """What a reader who cannot see the plot is told."""
    told = [f"{name}: {len(points)} points" for name, points in series]
    told += [f"{len(dots)} dots"] if dots else []
    return f"{y_name} against {x_name}; {'; '.join(told)}."
