import math
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigjax.report import sections


class Read(HTMLParser):
    """Texts of a section: of its cells by row, and of its marked sentence by character."""

    def __init__(self, source: str):
        super().__init__()
        self.rows, self.verdicts, self.labels, self.characters = [], [], [], []
        self._open = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        kind = dict(attrs).get("class", "")
        self._open.append((tag, kind))
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")
        if tag == "mark":
            self.verdicts.append(kind)

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag

    def handle_data(self, data):
        tags = [tag for tag, _ in self._open]
        if "td" in tags or "th" in tags:
            self.rows[-1][-1] += data
        elif "b" in tags:
            self.labels.append(data)
        elif "figcaption" not in tags:
            lines = self._open[-1][1].split() if "mark" in tags else []
            self.characters += [(c, "g" in lines, "p" in lines) for c in data]


def sentence(words: list[str], gold: list, predicted: list) -> Read:
    item = {"words": words, "gold": gold, "predicted": predicted, "caption": "dev 1, loss 3.2"}
    html = sections.render({"kind": "tagged_text", "title": "Worst", "items": [item]})
    return Read(html[html.index("<figure") :])


def test_facts_have_a_name_and_a_value_a_row():
    rows = [
        ["source", "WikiANN <sv>"],
        ["train_sentences", 20000],
        ["share", 0.125],
        ["lower case", False],
        ["removed", None],
        ["tags", ["O", "B-PER"]],
        ["by split", {"train": 3, "dev": 2}],
        ["devices", [f"tpu:{i}" for i in range(64)]],
    ]
    html = sections.render({"kind": "facts", "title": "Data", "rows": rows})
    assert Read(html).rows == [
        ["source", "WikiANN <sv>"],
        ["train sentences", "20,000"],
        ["share", "0.1250"],
        ["lower case", "no"],
        ["removed", "–"],
        ["tags", "O, B-PER"],
        ["by split", "train 3 dev 2"],
        ["devices", "tpu:0 to tpu:63 (64)"],
    ]
    assert "WikiANN &lt;sv&gt;" in html


def test_no_facts_are_no_table():
    assert sections.facts({"rows": []}) == ""


def test_a_table_has_its_columns_rows_and_note():
    section = {
        "kind": "table",
        "title": "By type",
        "note": "Strict & exact.",
        "columns": ["type", "F1", "support", "rate"],
        "rows": [
            ["<PER>", 0.0, 12, 1234.5],
            ["LOC", 0.98765, 3, math.nan],
            ["all", None, 15, None],
        ],
    }
    html = sections.render(section)
    assert Read(html).rows == [
        ["type", "F1", "support", "rate"],
        ["<PER>", "0.0000", "12", "1,234"],
        ["LOC", "0.9877", "3", "n/a"],
        ["all", "–", "15", "–"],
    ]
    assert html.count('scope="col"') == 4 and html.count('scope="row"') == 3
    assert html.count('<th scope="col" class="number"') == 3
    assert "Strict &amp; exact." in html and "<PER>" not in html


def test_a_cell_with_an_interval_is_a_number():
    cells = [
        {"value": 0.5, "low": 0.25, "high": 0.7512},
        {"value": None, "low": None, "high": None},
    ]
    rows = [["PER", cells[0]], ["LOC", cells[1]], ["all", 0.98765]]
    html = sections.render({"kind": "table", "title": "", "columns": ["type", "F1"], "rows": rows})
    assert Read(html).rows[1:] == [["PER", "0.5000 0.250–0.751"], ["LOC", "–"], ["all", "0.9877"]]
    assert html.count('<td class="number">') == 3


def test_a_confusion_section_lists_its_most_frequent_confusions():
    counts = [[90, 8, 2], [0, 50, 0], [12, 0, 4]]
    section = {"kind": "confusion", "title": "Words", "labels": ["O", "LOC", "PER"]}
    html = sections.render(section | {"counts": counts})
    assert Read(html[html.index("<table") : html.index("</table>") + 8]).rows == [
        ["gold", "predicted", "count", "share of gold"],
        ["PER", "O", "12", "0.7500"],
        ["O", "LOC", "8", "0.0800"],
        ["O", "PER", "2", "0.0200"],
    ]
    assert "<svg" in html and all(f">{count}</text>" in html for row in counts for count in row)


def test_a_confusion_section_of_too_many_labels_is_its_list_alone():
    num = 300
    counts = [[i * (j == (i + 1) % num) for j in range(num)] for i in range(num)]
    section = {"kind": "confusion", "title": "Classes", "labels": [f"c{i}" for i in range(num)]}
    html = sections.render(section | {"counts": counts})
    assert "<svg" not in html
    assert Read(html).rows[1] == ["c299", "c0", "299", "1.0000"] and len(Read(html).rows) == 11


def test_a_matrix_without_errors_has_no_list():
    section = {"kind": "confusion", "title": "Words", "labels": ["a", "b"]}
    html = sections.render(section | {"counts": [[1, 0], [0, 2]]})
    assert "<svg" in html and "<table" not in html


@pytest.mark.parametrize(
    ("gold", "predicted", "verdict", "label"),
    [
        ([[0, 2, "PER"]], [[0, 2, "PER"]], "correct", "PER"),
        ([[0, 2, "PER"]], [], "missed", "PER missed"),
        ([], [[1, 3, "ORG"]], "spurious", "ORG spurious"),
        ([[0, 2, "PER"]], [[0, 2, "ORG"]], "wrong", "PER → ORG"),
        ([[0, 2, "PER"]], [[0, 3, "PER"]], "wrong", "PER boundary"),
        ([[0, 2, "PER"]], [[1, 3, "ORG"]], "wrong", "PER → ORG, boundary"),
        ([[0, 3, "PER"]], [[0, 1, "PER"], [2, 3, "PER"]], "wrong", "PER boundary"),
        ([[0, 3, "PER"]], [[0, 1, "LOC"], [1, 3, "PER"]], "wrong", "PER → LOC, PER, boundary"),
    ],
)
def test_each_outcome_has_its_mark_and_its_words(gold, predicted, verdict, label):
    read = sentence(["New", "York", "City", "."], gold, predicted)
    assert read.verdicts == [verdict]
    assert read.labels == [label]


def test_an_item_counts_its_outcomes():
    item = {
        "words": list("abcdef"),
        "gold": [[0, 1, "PER"], [2, 3, "PER"], [4, 5, "LOC"]],
        "predicted": [[0, 1, "PER"], [4, 6, "LOC"]],
        "caption": "dev 7 <loss>",
    }
    html = sections.render(
        {"kind": "tagged_text", "title": "Worst", "note": "Ten & more.", "items": [item]}
    )
    assert "<span>dev 7 &lt;loss&gt;</span><span>1 correct, 1 missed, 1 wrong</span>" in html
    assert "Ten &amp; more." in html


def test_neighbouring_spans_stay_two_and_a_span_stays_one():
    read = sentence(["a", "b", "c"], [[0, 1, "X"], [1, 3, "X"]], [[0, 3, "X"]])
    assert read.characters[:5] == [
        ("a", True, True),
        (" ", False, True),
        ("b", True, True),
        (" ", True, True),
        ("c", True, True),
    ]


def test_spans_that_touch_are_judged_apart():
    read = sentence(["a", "b", "c"], [[0, 1, "X"], [1, 3, "Y"]], [[0, 1, "X"], [1, 2, "Y"]])
    assert read.verdicts == ["correct", "wrong"]
    assert read.labels == ["X", "Y boundary"]


@st.composite
def tagged(draw) -> tuple[list[str], list, list]:
    words = draw(st.lists(st.sampled_from(["a", "<b>", "&amp;", "née", "</p>"]), max_size=12))

    def side() -> list:
        spans, at = [], 0
        while at < len(words):
            at += draw(st.integers(0, 3))
            end = at + draw(st.integers(1, 3))
            if end > len(words):
                break
            spans.append([at, end, draw(st.sampled_from(["PER", "LOC"]))])
            at = end
        return spans

    return words, side(), side()


@given(tagged())
def test_every_word_is_there_once_with_a_line_for_each_span_it_is_in(drawn):
    words, gold, predicted = drawn
    expected = [
        (character, *(any(s <= i < e for s, e, _ in side) for side in (gold, predicted)))
        for i, word in enumerate(words)
        for character in word
    ]
    read = sentence(words, gold, predicted).characters
    assert [c for c in read if not c[0].isspace()] == expected


def image(**changes) -> dict:
    item = {"png": "iVBORw0K+/=", "width": 32, "height": 32, "number": 1204}
    return item | {"gold": "cat", "predicted": "dog", "confidence": 0.98765} | changes


def pictures(*items: dict) -> str:
    return sections.render({"kind": "images", "title": "Mistakes", "note": "Two.", "items": items})


def test_an_image_is_in_the_page_with_what_it_is_and_was_taken_for():
    html = pictures(image(), image(gold="<fox>", predicted='"owl"', number=7))
    assert html.count("<figure>") == html.count("<img ") == 2 and "Two." in html
    assert 'src="data:image/png;base64,iVBORw0K+/="' in html
    assert "0.9877 · image 1,204" in html and "image 7" in html
    assert 'alt="image 7, gold &lt;fox&gt;, predicted &quot;owl&quot;"' in html
    assert "<fox>" not in html


@pytest.mark.parametrize(
    ("size", "shown"),
    [((8, 8), (128, 128)), ((28, 28), (112, 112)), ((32, 20), (128, 80)), ((90, 130), (90, 130))],
)
def test_small_images_are_scaled_up_by_whole_numbers(size, shown):
    html = pictures(image(width=size[0], height=size[1]))
    assert f'width="{shown[0]}" height="{shown[1]}"' in html


def test_a_reliability_section_is_its_note_and_its_diagrams():
    bins = [[0, None, None], [10, 0.9, 0.8]]
    section = {
        "kind": "reliability",
        "title": "Calibration",
        "note": "Error <1.",
        "diagrams": [["as <trained>", bins], ["with its temperature", bins]],
    }
    html = sections.render(section)
    assert html.startswith('<p class="note">Error &lt;1.</p><div class="matrix"><svg class="reliab')
    assert html.count("10 examples, mean confidence 0.9000, accuracy 0.8000") == 2
    assert "by confidence, as &lt;trained&gt;<" in html
    assert "by confidence, with its temperature<" in html


def test_the_reliability_section_of_an_earlier_version_is_shown():
    section = {"kind": "reliability", "title": "Calibration", "bins": [[10, 0.9, 0.8]]}
    assert "by confidence</tspan>" in sections.render(section)


def test_a_kind_of_section_that_nothing_renders_is_a_bug():
    with pytest.raises(AssertionError, match="'sound', known: .*'confusion'"):
        sections.render({"kind": "sound", "title": "Noise"})
