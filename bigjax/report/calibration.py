"""Owns the drawing of a reliability diagram: accuracy against confidence, as an SVG string.

Like `charts.py`, which draws everything else, it leaves colours and type to `report.css`.
"""

import html
from collections.abc import Sequence

from bigjax.report import charts

# Examples of a bin, their mean confidence and their accuracy; the last two None in an empty bin.
Bin = tuple[int, float | None, float | None]

_WIDTH, _HEIGHT = 350, 386
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 340, 52, 252  # the diagram's edges in pixels
_SHARE_TOP, _SHARE_BOTTOM = 290, 334  # those of the shares of examples below it
_TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def diagram(title: str, *, bins: Sequence[Bin], name: str = "") -> str:
    """One SVG string: a bar a bin, as high as its accuracy, across it a line at its confidence,
    and below how the examples spread over the bins.

    bins: of equal width, from confidence 0 to 1. Bars on the diagonal are a calibrated model.
    name: which of several this one is.
    """
    num_examples = sum(count for count, _, _ in bins)
    most = max(count for count, _, _ in bins) / max(1, num_examples)
    legend = '<tspan class="ink-0">■</tspan> accuracy   <tspan class="ink-1">▬</tspan> confidence'
    of = f"by confidence{name and ', '}{html.escape(name)}"
    drawn = "".join(
        _bar(found, place=i, num_bins=len(bins), num_examples=num_examples, most=most)
        for i, found in enumerate(bins)
        if found[0]
    )
    return (
        f'<svg class="reliability" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">'
        f"<title>{html.escape(title)}</title><desc>{_in_words(bins)}</desc>"
        f'<text class="name" x="0" y="14">Accuracy <tspan class="unit">{of}</tspan></text>'
        f'<text class="legend" x="0" y="33">{legend}</text>{_grid()}'
        f'<text class="share" x="{_LEFT}" y="{_SHARE_TOP - 6}">share of examples</text>'
        f'<text class="y" x="{_LEFT - 8}" y="{_SHARE_TOP + 4}">{most:.0%}</text>'
        f"{drawn}"
        f'<line class="base" x1="{_LEFT}" x2="{_RIGHT}" y1="{_SHARE_BOTTOM}" y2="{_SHARE_BOTTOM}"/>'
        f'<line class="ideal" x1="{_LEFT}" x2="{_RIGHT}" y1="{_BOTTOM}" y2="{_TOP}"/>'
        f'<text class="axis" x="{_RIGHT}" y="{_SHARE_BOTTOM + 36}">confidence</text></svg>'
    )


def _bar(found: Bin, *, place: int, num_bins: int, num_examples: int, most: float) -> str:
    """The bars of one bin, and what they say when pointed at."""
    count, confidence, accuracy = found
    width = (_RIGHT - _LEFT) / num_bins
    edges = f"{place / num_bins:.2f} to {(place + 1) / num_bins:.2f}"
    says = (
        f"confidence {edges}: {charts.figure(count)} examples, mean confidence "
        f"{confidence:.4f}, accuracy {accuracy:.4f}"
    )

    def rect(ink: str, *, top: float, bottom: float) -> str:
        return (
            f'<rect class="{ink}" x="{_LEFT + place * width + 0.5:.1f}" width="{width - 1:.1f}" '
            f'y="{top:.1f}" height="{bottom - top:.1f}"/>'
        )

    share = count / num_examples / most
    share_top = _SHARE_BOTTOM - share * (_SHARE_BOTTOM - _SHARE_TOP)
    return (
        f"<g><title>{says}</title>"
        + rect("ink-0", top=_height(accuracy), bottom=_BOTTOM)
        + rect("ink-1", top=_height(confidence) - 1.25, bottom=_height(confidence) + 1.25)
        + rect("spread", top=share_top, bottom=_SHARE_BOTTOM)
        + "</g>"
    )


def _height(share: float) -> float:
    return _BOTTOM - share * (_BOTTOM - _TOP)


def _grid() -> str:
    parts = []
    for value, label in zip(_TICKS, charts.tick_labels(_TICKS)):
        x, y = _LEFT + value * (_RIGHT - _LEFT), _height(value)
        kind = "rule" if value else "base"
        parts.append(f'<line class="{kind}" x1="{_LEFT}" x2="{_RIGHT}" y1="{y:g}" y2="{y:g}"/>')
        parts.append(f'<text class="y" x="{_LEFT - 8}" y="{y + 4:g}">{label}</text>')
        parts.append(f'<text class="x" x="{x:g}" y="{_SHARE_BOTTOM + 16}">{label}</text>')
    return "".join(parts)


def _in_words(bins: Sequence[Bin]) -> str:
    """What a reader who cannot see the diagram is told."""
    told = [
        f"{count} examples with mean confidence {confidence:.2f} have accuracy {accuracy:.2f}"
        for count, confidence, accuracy in bins
        if count
    ]
    return "; ".join(told) + "."
