import math
import random
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigjax.report import charts
from bigjax.report.charts import Series

SVG = "{http://www.w3.org/2000/svg}"


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(
        svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    )


def texts(svg: str, kind: str) -> list[str]:
    found = parsed(svg).iter(f"{SVG}text")
    return ["".join(node.itertext()) for node in found if node.get("class") == kind]


def line(points: list, **options) -> str:
    return charts.lines("Loss", series=[Series("train", points, 0)], **options)


ranges = st.tuples(
    st.floats(-1e6, 1e6), st.floats(1e-3, 1), st.sampled_from([1e-9, 1e-4, 1.0, 1e3, 1e12])
)


@given(ranges, st.integers(2, 8))
def test_ticks_are_even_and_round_and_hold_the_range(drawn, count):
    start, width, scale = drawn
    low, high = (start % 1) * scale, (start % 1 + width) * scale
    found = charts.ticks(low, high=high, count=count)
    step = found[1] - found[0]
    leading = step / 10 ** math.floor(math.log10(step) + 1e-6)
    assert min(abs(leading - m) for m in (1, 2, 5)) < 1e-4
    assert found == pytest.approx([found[0] + i * step for i in range(len(found))])
    assert found[0] <= low + 1e-6 * step and high - 1e-6 * step <= found[-1]
    assert found[0] > low - step and found[-1] < high + step
    assert count / 2.5 <= len(found) - 1 <= count + 2


def test_ticks_are_exact_decimals():
    assert charts.ticks(0.0, high=0.6, count=6) == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert charts.ticks(3.0, high=298.0, count=4) == [0, 100, 200, 300]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0, 0.5, 1.0], ["0", "0.5", "1.0"]),
        ([-2, 0, 2], ["-2", "0", "2"]),
        ([0, 1000, 2000], ["0", "1,000", "2,000"]),
        ([0, 5000, 10000], ["0", "5k", "10k"]),
        ([2e11, 2.5e11, 3e11], ["200G", "250G", "300G"]),
        ([0, 2e-5, 4e-5], ["0", "2e-5", "4e-5"]),
        ([0, 5e-5, 1e-4], ["0", "0.5e-4", "1.0e-4"]),
        ([7], ["7"]),
    ],
)
def test_ticks_are_labelled_in_one_form(values, labels):
    assert charts.tick_labels(values) == labels


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12345, "12,345"),
        (0.0, "0"),
        (0.95, "0.9500"),
        (3.21456, "3.2146"),
        (-0.5, "-0.5000"),
        (0.005123, "0.005123"),
        (5e-05, "5.00e-5"),
        (61.5, "61.50"),
        (999.97, "1,000"),
        (1827.4, "1,827"),
        (9999.7, "10k"),
        (12345.0, "12.35k"),
        (2.1e11, "210G"),
        (3e20, "3e+05P"),
        (math.nan, "n/a"),
        (-math.inf, "n/a"),
    ],
)
def test_a_figure_is_short(value, text):
    assert charts.figure(value) == text


@given(st.integers(0, 10**6), st.integers(1, 300), st.integers(8, 60))
def test_thinning_keeps_order_ends_and_extremes(seed, num_points, limit):
    draw = random.Random(seed)
    values = [draw.choice([draw.gauss(0, 1), 0.0]) for _ in range(num_points)]
    points = list(enumerate(values))
    kept = charts.decimate(points, limit=limit)
    assert len(kept) <= limit
    assert kept == sorted(set(kept) & set(points))
    assert kept[0] == points[0] and kept[-1] == points[-1]
    assert min(y for _, y in kept) == min(values) and max(y for _, y in kept) == max(values)
    if len(points) <= limit:
        assert kept == points


@given(st.integers(0, 9_999), st.sampled_from([-1.0, 1.0]))
def test_thinning_never_loses_a_spike(place, size):
    points = [(i, size if i == place else 0.0) for i in range(10_000)]
    assert (place, size) in charts.decimate(points, limit=400)


def test_a_chart_of_many_points_is_small():
    svg = line([(i, math.sin(i)) for i in range(50_000)])
    assert len(re.search(r'points="([^"]*)"', svg)[1].split()) <= charts.MAX_POINTS
    assert len(svg) < 15_000


def test_a_chart_without_points_is_left_out():
    assert line([]) == ""
    assert line([(1, math.nan), (2, math.inf)]) == ""


def test_points_that_are_not_finite_are_skipped():
    assert 'data-read="1 2.0000;3 4.0000"' in line([(1, 2.0), (2, math.nan), (3, 4.0)])


@pytest.mark.parametrize("points", [[(7, 0.5)], [(0, 0.0)], [(1, -3.0)], [(5, 2.0), (9, 2.0)]])
def test_one_point_or_one_value_makes_a_whole_chart(points):
    svg = line(points)
    plot = [c for c in parsed(svg).iter(f"{SVG}circle") if c.get("class") == "ink-0"]
    assert len(plot) == len(points)
    for circle in plot:
        assert 0 <= float(circle.get("cx")) <= 350 and 52 <= float(circle.get("cy")) <= 202
    assert len(texts(svg, "y")) >= 3 and len(texts(svg, "x")) >= 2


def test_points_stand_where_the_ticks_say():
    points = [(0, 0.0), (100, 0.5), (150, 0.75), (200, 1.0)]
    svg = parsed(line(points))
    placed = [
        tuple(map(float, at.split(",")))
        for at in next(svg.iter(f"{SVG}polyline")).get("points").split()
    ]
    x_of, y_of = {}, {}
    for text in svg.iter(f"{SVG}text"):
        if text.get("class") == "x":
            x_of[float(text.text)] = float(text.get("x"))
        if text.get("class") == "y":
            y_of[float(text.text)] = float(text.get("y")) - 4
    for (x, y), (px, py) in zip(points, placed):
        low, high = max(t for t in x_of if t <= x), min(t for t in x_of if t >= x)
        share = (x - low) / (high - low) if high > low else 0
        assert px == pytest.approx(x_of[low] + share * (x_of[high] - x_of[low]), abs=0.11)
        low, high = max(t for t in y_of if t <= y), min(t for t in y_of if t >= y)
        share = (y - low) / (high - low) if high > low else 0
        assert py == pytest.approx(y_of[low] + share * (y_of[high] - y_of[low]), abs=0.11)


def test_the_value_axis_holds_what_it_is_told_to():
    points = [(i, 0.9 + 0.01 * i) for i in range(5)]
    assert texts(line(points), "y")[0] == "0.90"
    assert texts(line(points, include=(0.0, 1.0)), "y")[0] == "0"


def test_step_ticks_are_whole_numbers():
    for last in (1, 2, 3, 7):
        labels = texts(line([(i, float(i)) for i in range(last + 1)]), "x")
        assert all(label.isdigit() for label in labels) and len(labels) >= 2


def test_a_chart_says_what_it_shows_and_escapes_it():
    series = [Series("<b>", [(1, 1.0), (2, 0.5)], 0), Series("dev", [(2, 0.7)], 1)]
    svg = charts.lines("A & <script>", series=series, unit="<i>")
    root = parsed(svg)
    assert root.find(f"{SVG}title").text == "A & <script> by step"
    assert "<b>: from 1.0000 to 0.5000" in root.find(f"{SVG}desc").text
    assert texts(svg, "name") == ["A & <script> <i>"]
    assert "<b> 0.5000" in texts(svg, "legend")[0] and "dev 0.7000" in texts(svg, "legend")[0]
    assert "<script" not in svg and "<b>" not in svg


def test_a_legend_of_many_curves_goes_on_in_lines_above_the_plot():
    names = ["train", "dev", "test", "corrupted images", "sketches", "a very long name" * 4]
    series = [Series(name, [(1, 0.5), (2, 0.25)], i) for i, name in enumerate(names)]
    svg = parsed(charts.lines("Loss", series=series))
    _, top, _, height = map(float, svg.get("viewBox").split())
    rows = [t for t in svg.iter(f"{SVG}text") if t.get("class") == "legend"]
    told = "   ".join("".join(row.itertext()) for row in rows)
    assert told == "   ".join(f"● {name} 0.2500" for name in names)
    title = next(t for t in svg.iter(f"{SVG}text") if t.get("class") == "name")
    heights = [float(text.get("y")) for text in (title, *rows)]
    assert len(rows) > 2 and heights == sorted(set(heights))
    assert heights[0] >= top + 14 and heights[-1] == 33 and top + height == 236
    assert all(len("".join(row.itertext())) <= 58 for row in rows[:-1])
    assert len(texts(charts.lines("Loss", series=series[:3]), "legend")) == 1


def test_a_confusion_matrix_has_gold_in_rows_and_predictions_in_columns():
    labels, counts = ["O", "LOC", "<PER>"], [[41850, 120, 61], [88, 1043, 0], [0, 0, 0]]
    svg = charts.confusion("Words", labels=labels, counts=counts)
    cells = [t for t in parsed(svg).iter(f"{SVG}text") if t.get("class").startswith("count")]
    by_place = sorted(cells, key=lambda t: (float(t.get("y")), float(t.get("x"))))
    flat = [count for row in counts for count in row]
    assert [int(t.text.replace(",", "")) for t in by_place] == flat
    rows = [t for t in parsed(svg).iter(f"{SVG}text") if t.get("class") == "row"]
    assert [t.text for t in sorted(rows, key=lambda t: float(t.get("y")))] == labels
    assert "<PER>" not in svg


def test_the_shade_of_a_cell_is_its_share_of_the_row():
    svg = charts.confusion("Words", labels=["a", "b"], counts=[[3, 1], [2, 2]])
    shades = {(p.get("class"), p.get("fill-opacity")) for p in parsed(svg).iter(f"{SVG}path")}
    share = {"right": [0.75, 0.5], "wrong": [0.25 / 0.5, 0.5 / 0.5]}
    assert shades == {(hue, f"{0.06 + 0.54 * x:.2f}") for hue, xs in share.items() for x in xs}


def test_a_confusion_matrix_of_many_labels_has_shades_for_numbers():
    num = 100
    counts = [[(7 * i + j) % 5 for j in range(num)] for i in range(num)]
    svg = charts.confusion("Words", labels=[f"class {i}" for i in range(num)], counts=counts)
    assert not texts(svg, "count")
    drawn = sum(path.get("d").count("M") for path in parsed(svg).iter(f"{SVG}path"))
    assert drawn == sum(count > 0 for row in counts for count in row)
    assert len(svg) < 230_000


def test_long_labels_are_cut_and_turned():
    svg = charts.confusion("Words", labels=["x" * 40, "y"], counts=[[1, 0], [0, 1]])
    assert texts(svg, "row") == ["x" * 17 + "…", "y"]
    assert "rotate(-90" in svg


def test_one_label_makes_a_matrix():
    assert texts(charts.confusion("Words", labels=["O"], counts=[[5]]), "count") == ["5"]
