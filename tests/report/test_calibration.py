from xml.etree import ElementTree

import pytest

from bigjax.report import calibration

SVG = "{http://www.w3.org/2000/svg}"
BINS = [(0, None, None), (30, 0.4, 0.2), (0, None, None), (70, 0.9, 1.0)]


def bars(svg: str) -> list[ElementTree.Element]:
    root = ElementTree.fromstring(svg.replace("<svg ", f'<svg xmlns="{SVG[1:-1]}" ', 1))
    return list(root.iter(f"{SVG}g"))


def edges(bar: ElementTree.Element, kind: str) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the one part of a bar that is of this kind."""
    (rect,) = [part for part in bar.iter(f"{SVG}rect") if part.get("class") == kind]
    x, y, width, height = (float(rect.get(name)) for name in ("x", "y", "width", "height"))
    return x, y, x + width, y + height


def test_only_bins_with_examples_are_drawn_and_each_says_what_it_is():
    found = bars(calibration.diagram("Calibration", bins=BINS))
    assert [bar.find(f"{SVG}title").text for bar in found] == [
        "confidence 0.25 to 0.50: 30 examples, mean confidence 0.4000, accuracy 0.2000",
        "confidence 0.75 to 1.00: 70 examples, mean confidence 0.9000, accuracy 1.0000",
    ]


def test_bars_stand_where_the_axes_say():
    low, high = bars(calibration.diagram("Calibration", bins=BINS))
    left, right, top, bottom = 50, 340, 52, 252
    for bar, start, confidence, accuracy in ((low, 0.25, 0.4, 0.2), (high, 0.75, 0.9, 1.0)):
        x0, y0, x1, y1 = edges(bar, "ink-0")
        assert x0 == pytest.approx(left + start * (right - left), abs=1)
        assert x1 == pytest.approx(left + (start + 0.25) * (right - left), abs=1)
        assert y1 == pytest.approx(bottom, abs=0.11)
        assert y0 == pytest.approx(bottom - accuracy * (bottom - top), abs=0.11)
        _, line_top, _, line_bottom = edges(bar, "ink-1")
        middle = bottom - confidence * (bottom - top)
        assert (line_top + line_bottom) / 2 == pytest.approx(middle, abs=0.11)


def test_the_fullest_bin_fills_the_panel_of_shares():
    svg = calibration.diagram("Calibration", bins=BINS)
    heights = [y1 - y0 for _, y0, _, y1 in (edges(bar, "spread") for bar in bars(svg))]
    assert heights == pytest.approx([44 * 30 / 70, 44], abs=0.11)
    assert ">70%</text>" in svg


def test_the_diagram_is_told_in_words_and_escapes_its_title():
    svg = calibration.diagram("<b>", bins=BINS)
    assert "<title>&lt;b&gt;</title>" in svg and "<b>" not in svg
    assert "30 examples with mean confidence 0.40 have accuracy 0.20; 70 examples" in svg


def test_no_examples_make_an_empty_diagram():
    svg = calibration.diagram("Calibration", bins=[(0, None, None)] * 15)
    assert bars(svg) == [] and ">0%</text>" in svg
