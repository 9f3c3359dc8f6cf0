"""The report, from a run folder that looks like a real one."""

import base64
import hashlib
import json
import math
import random
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bigjax.errors import UserError
from bigjax.report import page

TYPES = ["LOC", "MISC", "ORG", "PER"]
LONG = """
The agreement that the ministers of the Northern Council signed in Reykjavík on Tuesday after two
weeks of talks , which had twice been broken off and once moved from Oslo to Tromsø because of a
strike at the airport , gives the fishing towns of Lofoten and the harbour board of Ålesund a say in
how the quotas are shared , a point that Ingrid Halvorsen of the Coast Party had made her own since
the spring , and obliges the Bank of Norway to publish , each quarter , what the fleet owes , what
it earns , and how much of it flies the flag of Panama or Liberia .
"""
SHORT = "Anna Lindqvist of Volvo Cars met the mayor of Göteborg in New York City ."
PAYLOAD = "<script>alert('x')</script>\"&<img src=http://example.com/x>"


def fake_metrics(num_steps: int) -> list[dict]:
    draw = random.Random(0)
    lines = []
    for step in range(1, num_steps + 1):
        t = step / num_steps
        loss = 0.05 + 1.7 * math.exp(-7 * t) + draw.gauss(0, 0.05) * (0.3 + math.exp(-5 * t))
        line = {
            "step": step,
            "train/loss": max(loss, 0.004),
            "train/learning_rate": 5e-5 * min(10 * t, (1 - t) / 0.9),
            "train/grad_norm": 1 + 6 * math.exp(-5 * t) + abs(draw.gauss(0, 0.6)),
            "train/sentences_per_second": 0.4 if step == 1 else 61 + draw.gauss(0, 2),
            "train/tokens_per_second": 12.0 if step == 1 else 1830 + draw.gauss(0, 60),
            "train/fill": 0.93 + draw.gauss(0, 0.015),
            "train/input_wait": abs(draw.gauss(0.004, 0.002)),
            "train/flops_per_second": 2.1e11 + draw.gauss(0, 4e9),
        }
        if step % max(1, num_steps // 10) == 0:
            line["dev/loss"] = 0.13 + 1.2 * math.exp(-8 * t)
            for name, top in (("f1", 0.91), ("precision", 0.9), ("recall", 0.92)):
                line[f"dev/entity_{name}"] = top * (1 - math.exp(-9 * t)) + draw.gauss(0, 0.004)
        lines.append(line)
    return lines


def span(start: int, end: int, type: str) -> list:
    return [start, end, type]


def fake_results() -> dict:
    item = {
        "words": SHORT.split(),
        "gold": [span(0, 2, "PER"), span(3, 5, "ORG"), span(9, 10, "LOC"), span(11, 14, "LOC")],
        "predicted": [span(0, 2, "PER"), span(3, 4, "ORG"), span(7, 8, "PER"), span(11, 14, "ORG")],
        "caption": "dev sentence 12, loss 3.2",
    }
    long = {
        "words": LONG.split(),
        "gold": [span(7, 9, "ORG"), span(11, 12, "LOC"), span(30, 31, "LOC"), span(32, 33, "LOC")],
        "predicted": [span(6, 9, "ORG"), span(11, 12, "LOC"), span(30, 31, "PER")],
        "caption": "dev sentence 804, loss 7.9",
    }
    rows = [
        [t, 0.91 - i / 50, 0.93 - i / 40, 0.92 - i / 45, 1200 - 210 * i]
        for i, t in enumerate(TYPES)
    ]
    counts = [
        [41850, 120, 96, 210, 61],
        [88, 1043, 21, 64, 9],
        [70, 18, 611, 33, 12],
        [140, 71, 40, 902, 17],
        [35, 4, 6, 0, 1110],
    ]
    return {
        "task": "token_tagging",
        "title": "BERT base on WikiANN, Swedish",
        "scores": {
            "test/entity_f1": 0.9123,
            "test/entity_precision": 0.9081,
            "test/entity_recall": 0.9166,
            "dev/entity_f1": 0.9151,
            "dev/entity_precision": 0.9120,
            "dev/entity_recall": 0.9183,
            "dev/loss": 0.1301,
        },
        "headline": ["test/entity_f1", "test/entity_precision", "test/entity_recall"],
        "step": 300,
        "sections": [
            {
                "kind": "facts",
                "title": "Data",
                "rows": [
                    ["source", "WikiANN, Swedish, version 1.0.0"],
                    ["train sentences", 20000],
                    ["longest_sentence", 127],
                    ["tags", ["O", *(f"{p}-{t}" for t in TYPES[:3] for p in "BI")]],
                    ["sentences by split", {"train": 20000, "dev": 10000, "test": 10000}],
                    ["removed", None],
                ],
            },
            {
                "kind": "table",
                "title": "Scores by entity type",
                "note": "On test; a span counts where both its boundaries and its type are right.",
                "columns": ["type", "precision", "recall", "F1", "support"],
                "rows": rows,
            },
            {
                "kind": "confusion",
                "title": "Words, gold by predicted",
                "labels": ["O", *TYPES],
                "counts": counts,
            },
            {
                "kind": "tagged_text",
                "title": "Worst errors",
                "note": "The ten sentences of dev with the highest loss.",
                "items": [long, *(item for _ in range(9))],
            },
        ],
    }


def fake_config() -> dict:
    values = {
        "task": "token_tagging",
        "seed": 0,
        "num_train_steps": 300,
        "model.name": "bert",
        "model.pretrained": "gs://bucket/some/long/path/to/a/checkpoint/bert_base_multilingual_cased",
        "model.dropout_rate": 0.1,
        "optim.learning_rate": 5e-5,
        "optim.warmup_steps": 30,
        "optim.rules": [["embeddings/.*", 0.0], [".*bias", 0.0]],
        "data.source": "tfds:wikiann/sv",
        "data.batch_size": 32,
        "data.max_length": 128,
        "eval.every_steps": 30,
        "eval.best": None,
        "mesh.data": -1,
    }
    origins = dict.fromkeys(values, "file")
    origins |= {"data.source": "variant", "optim.learning_rate": "override", "mesh.data": "default"}
    return {"values": values, "origins": origins, "file": "configs/bert_ner.py:wikiann"}


def fake_environment() -> dict:
    return {
        "python": "3.11.9",
        "packages": {"jax": "0.10.2", "flax": "0.12.8", "optax": "0.2.8", "numpy": "2.3.1"},
        "git_commit": "3f1c9a7d0b5e4a6f8c2d1e0f9a8b7c6d5e4f3a2b",
        "devices": [f"tpu:{i}" for i in range(16)],
        "platform": "Linux x86_64",
        "command": "python main.py --config=configs/bert_ner.py:wikiann --workdir=runs/a",
        "data_fingerprint": {
            "train": "9f86d081884c7d659a2feaa0c55ad015" * 2,
            "dev": "60303ae2" * 8,
        },
    }


def fake_run(
    folder: Path,
    *,
    num_steps: int = 300,
    results: dict | None = None,
    config: dict | None = None,
    environment: dict | None = None,
) -> str:
    folder.mkdir(exist_ok=True)
    lines = "".join(json.dumps(line) + "\n" for line in fake_metrics(num_steps))
    (folder / "metrics.jsonl").write_text(lines)
    (folder / "results.json").write_text(json.dumps(results or fake_results()))
    (folder / "config.json").write_text(json.dumps(config or fake_config()))
    (folder / "environment.json").write_text(json.dumps(environment or fake_environment()))
    return str(folder)


class Page(HTMLParser):
    """What a browser would load, and where its links go."""

    VOID = ("meta", "link", "br", "img", "input", "col")

    def __init__(self, source: str):
        super().__init__()
        self.tags, self.addresses, self.ids, self.headings, self.data = [], [], [], [], []
        self._open = []
        self.feed(source)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        loads = ("src", "href", "xlink:href", "srcset", "data", "action", "poster", "background")
        for name, value in attrs:
            assert not name.startswith("on") and name != "style", (tag, name)
            if name in loads:
                self.addresses.append(value)
            if name == "id":
                self.ids.append(value)
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.data.append(data)
        if self._open and self._open[-1] == "h2":
            self.headings.append(data)


def written(workdir: str) -> str:
    return Path(page.write(workdir)).read_text(encoding="utf-8")


def with_metrics(folder: Path, text: str) -> str:
    workdir = fake_run(folder, num_steps=10)
    (folder / "metrics.jsonl").write_text(text)
    return workdir


def reads(page: str) -> list[str]:
    """The points of the page's curves, in their order."""
    return re.findall(r'data-read="([^"]*)"', page)


def spoilt(value, bad: str):
    """`value` with `bad` after every string in it, keys of rows and scores too."""
    if isinstance(value, str):
        return value + bad
    if isinstance(value, list):
        return [spoilt(inner, bad) for inner in value]
    if isinstance(value, dict):
        return {name: spoilt(inner, bad) for name, inner in value.items()}
    return value


def test_a_report_is_one_file_in_the_run_folder(tmp_path):
    workdir = fake_run(tmp_path / "run")
    before = set(Path(workdir).iterdir())
    path = page.write(workdir)
    assert set(Path(workdir).iterdir()) - before == {Path(path)}
    assert Path(path).name == "report.html"
    first = Path(path).read_bytes()
    assert page.write(workdir) == path and Path(path).read_bytes() == first


def test_a_report_asks_for_nothing_outside_itself(tmp_path):
    source = written(fake_run(tmp_path / "run"))
    page = Page(source)
    assert {a for a in page.addresses if not a.startswith("#")} == {"data:,"}
    assert not re.search(r"https?:|@import|url\(|@font-face|fetch\(|import\(", source)
    assert "default-src 'none'" in source
    assert page.tags.count("script") == 1 and "iframe" not in page.tags


def test_the_security_policy_allows_the_style_and_the_script_of_the_page(tmp_path):
    source = written(fake_run(tmp_path / "run"))
    for kind in ("style", "script"):
        body = re.search(f"<{kind}>(.*?)</{kind}>", source, re.S)[1]
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in source


def test_sections_come_in_order_and_the_page_links_to_each(tmp_path):
    page = Page(written(fake_run(tmp_path / "run")))
    assert page.headings == [
        "Training curves",
        "Scores",
        "Data",
        "Scores by entity type",
        "Words, gold by predicted",
        "Worst errors",
        "Throughput",
        "Configuration",
        "Environment",
    ]
    assert len(set(page.ids)) == len(page.ids)
    assert [a[1:] for a in page.addresses if a.startswith("#")] == page.ids


def test_the_curves_are_loss_rate_evaluation_then_the_rest(tmp_path):
    source = written(fake_run(tmp_path / "run"))
    assert re.findall(r"<title>(.*?) by step</title>", source) == [
        "Loss",
        "Learning rate",
        "Entity F1",
        "Entity precision",
        "Entity recall",
        "Gradient norm",
        "Sentences",
        "Tokens",
        "FLOP",
        "Batch fill",
        "Input wait",
    ]
    loss = source[source.index("<title>Loss by step") :].split("</svg>")[0]
    assert loss.count("<polyline") == 2 and "train: from" in loss and "dev: from" in loss


def test_headline_scores_are_the_big_figures(tmp_path):
    head = written(fake_run(tmp_path / "run")).split("</header>")[0]
    assert re.findall(r"<dt>(.*?)</dt><dd>(\S+) <small>(.*?)</small>", head) == [
        ("Entity F1", "0.9123", "on test"),
        ("Entity precision", "0.9081", "on test"),
        ("Entity recall", "0.9166", "on test"),
    ]
    assert "after 300 steps" in head and "configs/bert_ner.py:wikiann" in head


def test_a_score_has_its_interval_behind_it_where_there_is_one(tmp_path):
    results = fake_results()
    results["intervals"] = {"test/entity_f1": [0.9012, 0.9228], "dev/entity_f1": [0.905, 0.926]}
    source = written(fake_run(tmp_path / "run", results=results))
    assert "<small>on test, 0.901–0.923</small>" in source.split("</header>")[0]
    assert '0.9123 <small class="between">0.901–0.923</small></td>' in source
    assert '0.9151 <small class="between">0.905–0.926</small></td>' in source
    assert source.count('class="between"') == 2 and "95% interval" in source


def test_every_text_of_the_run_folder_is_escaped(tmp_path):
    config, environment, results = (
        fake_config(),
        fake_environment(),
        spoilt(fake_results(), PAYLOAD),
    )
    for section in results["sections"]:
        section["kind"] = section["kind"].removesuffix(PAYLOAD)
    scores = results["scores"]
    results["scores"] = {name + PAYLOAD: value for name, value in scores.items()}
    config = {
        "values": {k + PAYLOAD: spoilt(v, PAYLOAD) for k, v in config["values"].items()},
        "origins": {k + PAYLOAD: v + PAYLOAD for k, v in config["origins"].items()},
        "file": config["file"] + PAYLOAD,
    }
    environment = {k + PAYLOAD: spoilt(v, PAYLOAD) for k, v in environment.items()}
    workdir = fake_run(
        tmp_path / "run", num_steps=5, results=results, config=config, environment=environment
    )
    line = json.dumps({"step": 1, f"train{PAYLOAD}/loss{PAYLOAD}": 1.0, f"dev/x{PAYLOAD}": 2.0})
    Path(workdir, "metrics.jsonl").write_text(line + "\n")
    source = written(workdir)
    page = Page(source)
    assert page.tags.count("script") == 1 and "img" not in page.tags
    assert source.count("<script") == 1 and "<img" not in source
    assert "".join(page.data).count("<script>alert('x')") > 200


def test_a_word_that_is_markup_is_shown_as_it_is(tmp_path):
    results = fake_results()
    item = {"words": ["a", "<script>"], "gold": [[1, 2, "</b>"]], "predicted": [], "caption": "c"}
    results["sections"] = [{"kind": "tagged_text", "title": "Worst", "items": [item]}]
    source = written(fake_run(tmp_path / "run", results=results))
    assert "&lt;script&gt;" in source and "&lt;/b&gt; missed" in source


def test_later_lines_of_a_step_supersede_earlier_ones_key_by_key(tmp_path):
    workdir = with_metrics(
        tmp_path / "run",
        '{"step": 1, "train/loss": 9.0, "dev/loss": 8.0}\n'
        '{"step": 2, "train/loss": 7.0}\n'
        '{"step": 3, "train/loss": 6.0}\n'
        '{"step": 2, "train/loss": 5.0}\n'
        '{"step": 1, "train/loss": 4.0}\n'
        '{"step": 3, "train/loss": null}\n',
    )
    assert reads(written(workdir)) == ["1 4.0000;2 5.0000", "1 8.0000"]


@pytest.mark.parametrize("tail", ['{"st', '{"step": 3, "train/loss": 0.', "{", '{"step": 3, "\xc3'])
def test_a_last_line_that_was_cut_off_is_passed_over(tmp_path, tail):
    text = '{"step": 1, "train/loss": 2.0}\n\n{"step": 2, "train/loss": 1.0}\n' + tail
    workdir = with_metrics(tmp_path / "run", "")
    Path(workdir, "metrics.jsonl").write_bytes(text.encode("latin-1"))
    assert reads(written(workdir)) == ["1 2.0000;2 1.0000"]


@pytest.mark.parametrize("line", ['{"step": 2, "tra', "[1, 2]", "7", '{"train/loss": 1.0}'])
def test_a_damaged_line_elsewhere_is_named(tmp_path, line):
    workdir = with_metrics(tmp_path / "run", f'{{"step": 1}}\n{line}\n{{"step": 3}}\n')
    with pytest.raises(UserError, match=r"metrics\.jsonl:2: expected a JSON object") as error:
        page.write(workdir)
    assert "\n" not in str(error.value) and line in str(error.value)


def test_points_come_in_order_of_step(tmp_path):
    text = "".join(f'{{"step": {step}, "dev/loss": {step}.5}}\n' for step in (3, 1, 2))
    assert reads(written(with_metrics(tmp_path / "run", text))) == ["1 1.5000;2 2.5000;3 3.5000"]


def test_values_that_are_not_finite_leave_gaps(tmp_path):
    workdir = with_metrics(
        tmp_path / "run",
        '{"step": 1, "train/loss": null, "dev/loss": NaN}\n'
        '{"step": 2, "train/loss": Infinity}\n'
        '{"step": 3, "train/loss": 1.5}\n',
    )
    assert reads(written(workdir)) == ["3 1.5000"]


def test_a_run_that_was_only_evaluated_has_no_curves(tmp_path):
    headings = Page(written(with_metrics(tmp_path / "run", ""))).headings
    assert headings[0] == "Scores" and not {"Training curves", "Throughput"} & set(headings)


def test_throughput_is_told_by_its_medians(tmp_path):
    lines = [{"step": i, "train/tokens_per_second": v} for i, v in enumerate([1.0, 900.0, 1100.0])]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    source = written(with_metrics(tmp_path / "run", text))
    assert "<dt>Tokens</dt><dd>900.0 <small>per second</small></dd>" in source


def test_a_metric_that_nobody_foresaw_has_its_chart(tmp_path):
    workdir = with_metrics(
        tmp_path / "run", '{"step": 1, "dev/top_5_accuracy": 0.5, "bare": 1.0}\n'
    )
    titles = re.findall(r"<title>(.*?) by step</title>", written(workdir))
    assert titles == ["Top 5 accuracy", "Bare"]


def test_every_split_has_a_colour_of_its_own_in_all_charts(tmp_path):
    groups = ["train", "sketches", "test", "blurred", "dev", "dark"]
    lines = [{"step": 1, "train/loss": 1.0, "sketches/loss": 0.8}, {"step": 2, "dark/f1": 0.1}]
    lines += [{"step": 3 + s} | {f"{g}/f1": 0.5 for g in groups[s:]} for s in range(6)]
    workdir = with_metrics(tmp_path, "".join(json.dumps(line) + "\n" for line in lines))
    svgs = re.findall(r'<svg class="chart".*?</svg>', written(workdir))
    colours = [dict(re.findall(r'"ink-(.)">●</tspan> (\w+)', svg)) for svg in svgs]
    assert sorted(colours[1].values()) == sorted(groups) and len(colours[1]) == 6
    assert colours[0] == {c: g for c, g in colours[1].items() if g in ("train", "sketches")}


def test_the_config_tells_where_each_value_came_from(tmp_path):
    source = written(fake_run(tmp_path / "run"))
    rows = re.findall(
        r'<tr class="(\w+)"><th scope="row"><code>(.*?)</code></th><td><code>(.*?)</code></td>'
        r'<td class="from">(\w+)</td>',
        source,
    )
    assert len(rows) == len(fake_config()["values"])
    assert ("override", "learning_rate", "5e-05", "override") in rows
    assert ("file", "best", "None", "file") in rows
    assert ("default", "data", "-1", "default") in rows
    assert re.findall(r"<caption>(\w+)</caption>", source) == [
        "run", "model", "optim", "data", "eval", "mesh",
    ]  # fmt: skip
    assert "12 from file" in source and "1 from override" in source


def test_config_and_environment_may_be_missing(tmp_path):
    workdir = fake_run(tmp_path / "run")
    for name in ("config.json", "environment.json"):
        Path(workdir, name).unlink()
    headings = Page(written(workdir)).headings
    assert headings[-1] == "Throughput"


@pytest.mark.parametrize("name", ["metrics.jsonl", "results.json"])
def test_a_folder_that_is_no_run_is_the_users_to_mend(tmp_path, name):
    workdir = fake_run(tmp_path / "run", num_steps=3)
    Path(workdir, name).unlink()
    with pytest.raises(UserError, match=f"{name}: not found.*run training or evaluation"):
        page.write(workdir)


@pytest.mark.parametrize("name", ["results.json", "config.json", "environment.json"])
def test_a_damaged_file_is_named(tmp_path, name):
    workdir = fake_run(tmp_path / "run", num_steps=3)
    Path(workdir, name).write_text('{"task": ')
    with pytest.raises(UserError, match=f"{name}: expected JSON"):
        page.write(workdir)


def test_a_report_of_a_long_run_stays_small(tmp_path):
    path = page.write(fake_run(tmp_path / "run", num_steps=4000))
    assert Path(path).stat().st_size < 300_000


def test_text_that_utf8_cannot_hold_does_not_stop_the_report(tmp_path):
    results = fake_results() | {"title": "half a pair: \ud83d"}
    assert "half a pair: ?" in written(fake_run(tmp_path / "run", results=results))


def test_what_of_the_data_deserves_a_look_is_a_table_after_what_it_is(tmp_path):
    folder = Path(fake_run(tmp_path / "run"))
    findings = [
        {"what": "dev: leak", "count": 1234, "places": [f"a:7 {PAYLOAD}", "a:9"], "serious": True},
        {"what": "train: odd", "count": 2, "places": [], "serious": False},
    ]
    report = {"rows": [["dev: size", "9 sentences"]], "findings": findings}
    (folder / "data_report.json").write_text(json.dumps(report))
    source = written(str(folder))
    data = re.search(r"<h2>Data</h2>(?:(?!<section).)*dev: leak.*?</section>", source, re.S)[0]
    texts = re.sub("<[^>]*>", " ", data).split()
    assert PAYLOAD not in source
    assert texts.index("sentences") < texts.index("leak") < texts.index("odd")
    assert "1,234" in texts and texts.count("serious") == 1 and "a:9" in texts


def test_the_report_on_the_data_of_an_earlier_version_is_shown(tmp_path):
    folder = Path(fake_run(tmp_path / "run"))
    (folder / "data_report.json").write_text(json.dumps([["dev: size", "9 sentences"]]))
    assert "9 sentences" in written(str(folder))
