"""Owns two drawings of what settings did to a score, as SVG: parallel coordinates, and bars.

Like `charts.py`, which draws everything else, it leaves colours and type to `style.css`.
"""

import html
from collections.abc import Sequence
from typing import NamedTuple

_GAP, _LEFT, _RIGHT = 128, 64, 64  # between two axes, and before the first and after the last
_TOP, _BOTTOM, _HEIGHT = 48, 300, 316
_LETTERS = 16  # of a name above an axis
_BAR, _BAR_LEFT, _BAR_WIDTH = 24, 190, 180


class Axis(NamedTuple):
    """name: above it. marks: (place, from 0 at the bottom to 1, and what stands there)."""

    name: str
    marks: Sequence[tuple[float, str]]


class Line(NamedTuple):
    """places: on each axis; None ends the line there. strength: of the colour, from 0 to 1.
    is_best: drawn last, in another colour. says: when pointed at."""

    places: Sequence[float | None]
    strength: float
    is_best: bool
    says: str


def parallel(title: str, *, axes: Sequence[Axis], lines: Sequence[Line]) -> str:
    """An axis a setting, and a line for each of what was tried; one SVG string."""
    width = _LEFT + _GAP * (len(axes) - 1) + _RIGHT
    ordered = sorted(lines, key=lambda line: (line.is_best, line.strength))
    return (
        f'<svg class="parallel" viewBox="0 0 {width} {_HEIGHT}" width="{width}" '
        f'height="{_HEIGHT}" role="img"><title>{html.escape(title)}</title>'
        f"<desc>{html.escape('; '.join(line.says for line in reversed(ordered[-3:])))}.</desc>"
        + "".join(_axis(axis, x=_x(i)) for i, axis in enumerate(axes))
        + "".join(map(_line, ordered))
        + "".join(_texts(axis, x=_x(i)) for i, axis in enumerate(axes))
        + "</svg>"
    )


def bars(title: str, *, rows: Sequence[tuple[str, float]]) -> str:
    """A bar a row, of a share from 0 to 1 that stands behind it."""
    width, height = _BAR_LEFT + _BAR_WIDTH + 50, _BAR * len(rows)
    drawn = ""
    for i, (name, share) in enumerate(rows):
        y, size = i * _BAR, max(1.0, share * _BAR_WIDTH)
        drawn += (
            f'<text class="row" x="{_BAR_LEFT - 10}" y="{y + 16}">{html.escape(_cut(name, 28))}'
            f'</text><rect class="ink-0" x="{_BAR_LEFT}" y="{y + 4}" width="{size:.1f}" '
            f'height="{_BAR - 8}"/><text x="{_BAR_LEFT + size + 8:.1f}" y="{y + 16}">{share:.0%}'
            "</text>"
        )
    return (
        f'<svg class="bars" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img"><title>{html.escape(title)}</title>{drawn}</svg>'
    )


def _axis(axis: Axis, *, x: float) -> str:
    ticks = "".join(
        f'<line x1="{x - 4:g}" x2="{x + 4:g}" y1="{_y(at):.1f}" y2="{_y(at):.1f}"/>'
        for at, _ in axis.marks
    )
    return f'<line x1="{x:g}" x2="{x:g}" y1="{_TOP}" y2="{_BOTTOM}"/>{ticks}'


def _texts(axis: Axis, *, x: float) -> str:
    """Over the lines, with a rim of the page's colour, so that they stay legible."""
    section, _, name = axis.name.rpartition(".")
    marks = "".join(
        f'<text class="mark" x="{x + 8:g}" y="{_y(at) + 4:.1f}">{html.escape(_cut(label, 14))}'
        "</text>"
        for at, label in axis.marks
    )
    return (
        f'<text class="section" x="{x:g}" y="14">{html.escape(section)}</text>'
        f'<text class="name" x="{x:g}" y="30">{html.escape(_cut(name, _LETTERS))}</text>{marks}'
    )


def _line(line: Line) -> str:
    points = [
        f"{_x(i):g},{_y(place):.1f}" for i, place in enumerate(line.places) if place is not None
    ]
    kind = "tried best" if line.is_best else "tried"
    return (
        f'<polyline class="{kind}" stroke-opacity="{0.25 + 0.6 * line.strength:.2f}" '
        f'points="{" ".join(points)}"><title>{html.escape(line.says)}</title></polyline>'
    )


def _x(number: int) -> float:
    return _LEFT + _GAP * number


def _y(place: float) -> float:
    return _BOTTOM - place * (_BOTTOM - _TOP)


def _cut(text: str, size: int) -> str:
    return text if len(text) <= size else text[: size - 1] + "…"
