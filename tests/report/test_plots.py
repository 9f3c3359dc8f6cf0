"""Drawings of one quantity against another: points lie where they should, and texts are safe."""

import re

import pytest

from bigjax.report import plots, sections

AXES = {"x_name": "recall <x>", "y_name": "precision"}


def points_in(svg: str) -> list[list[tuple[float, float]]]:
    lines = re.findall(r'<polyline class="curve[^"]*" points="([^"]*)"', svg)
    return [[tuple(map(float, p.split(","))) for p in line.split()] for line in lines]


def test_a_curve_goes_from_corner_to_corner_of_its_range():
    svg = plots.curves(
        "ROC", **AXES, series=[("a <b>", [(0, 0), (0.5, 0.5), (1, 1)])], ranges=[(0, 1), (0, 1)]
    )
    ((low, middle, high),) = points_in(svg)
    assert low[0] < middle[0] < high[0] and low[1] > middle[1] > high[1]
    assert middle == pytest.approx([(low[i] + high[i]) / 2 for i in (0, 1)], abs=0.1)
    assert "a &lt;b&gt;" in svg and "recall &lt;x&gt;" in svg and "<b>" not in svg


def test_dots_and_the_line_of_reference_share_the_axes():
    svg = plots.curves("true", **AXES, dots=[(1.0, 2.0)], reference=[(1.0, 2.0), (3.0, 4.0)])
    dot = re.search(r'<circle class="cloud" r="2.5" cx="([\d.]+)" cy="([\d.]+)"', svg).groups()
    ideal = re.search(r'class="ideal" points="([\d.]+),([\d.]+) ', svg).groups()
    assert dot == ideal


@pytest.mark.parametrize("dots", [[(1.0, 1.0)], [(0.0, 0.0), (0.0, 0.0)], [(-5e9, 1e-9), (3, 0)]])
def test_any_cloud_can_be_drawn(dots):
    assert "nan" not in plots.curves("t", **AXES, dots=dots)


def test_nothing_to_draw_is_no_drawing():
    assert plots.curves("t", **AXES) == ""


def test_bars_are_as_long_as_their_values_and_a_negative_one_goes_the_other_way():
    rows = [["big", 0.4, 0.0], ["half <b>", 0.2, 0.1], ["worse", -0.1, 0.0], ["none", 0.0, 0.0]]
    svg = plots.bars("t", rows=rows, unit="drop")
    bars = [
        (float(x), float(width))
        for x, width in re.findall(r'<rect x="([\d.]+)" y="\d+" width="([\d.]+)"', svg)
    ]
    assert bars[0][1] == pytest.approx(2 * bars[1][1], abs=0.2)
    assert bars[2][0] + bars[2][1] == pytest.approx(bars[0][0], abs=0.2)
    assert "half &lt;b&gt;" in svg
    assert "nan" not in plots.bars("t", rows=[["all zero", 0.0, 0.0]], unit="drop")


def test_sections_of_these_kinds_are_rendered():
    curve = {"kind": "curves", "title": "t", "x": "a", "y": "b", "dots": [[0, 1]], "note": "so"}
    bars = {"kind": "bars", "title": "t", "rows": [["a", 1.0, 0.1]], "unit": "u", "note": "so"}
    for section in (curve, bars):
        html = sections.render(section)
        assert html.startswith('<p class="note">so</p><svg class="plot"')
