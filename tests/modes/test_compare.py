"""`--mode=compare`: runs are compared from their folders alone, and those that do not compare are
refused with what differs."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from bigjax.errors import UserError
from bigjax.modes import run as modes
from bigjax.modes.compare import compare
from bigjax.modes.flags import Flags
from bigjax.run_folder import examples
from bigjax.run_folder.examples import Examples
from bigjax.scores import intervals
from bigjax.scores.intervals import Parts

NUM_EXAMPLES = 200
RNG = np.random.Generator(np.random.Philox(0))
EASE = RNG.random(NUM_EXAMPLES)


def fake_run(
    folder: Path,
    *,
    threshold: float,
    rate: float = 1e-3,
    task: str = "token_tagging",
    fingerprint: str = "abc",
    split: str = "test",
    data: str = "a.conll",
) -> Path:
    """A run that has all examples right that are easier than a threshold."""
    folder.mkdir(parents=True)
    right = threshold > EASE
    parts = {"good": Parts.of(right, np.ones(NUM_EXAMPLES))}
    wrong = {
        int(i): {
            "words": ["Ann", "saw", f"<b>x{i}</b>"], "gold": [[0, 1, "PER"]], "predicted": [],
            "caption": f"sentence {i + 1}", "example": int(i),
        }
        for i in np.flatnonzero(~right)
    }  # fmt: skip
    found = Examples(parts, wrong, "tagged_text", 10, fingerprint)
    examples.write(str(folder), split=split, examples=found)
    values = {"optim.learning_rate": rate, "seed": 0, "data.test": data}
    score = intervals.value(parts["good"])
    files = {
        "config.json": {"values": values, "origins": dict.fromkeys(values, "file"), "file": "c.py"},
        "environment.json": {"packages": {"jax": "1"}, "git_commit": "f00", "devices": ["cpu:0"]},
        "results.json": {
            "task": task, "title": "t", "scores": {f"{split}/good": score, f"{split}/loss": None},
            "intervals": {f"{split}/good": list(intervals.interval(parts["good"]))},
            "titles": {"good": "Goodness"}, "headline": [f"{split}/good"], "step": 10,
            "sections": [],
        },
    }  # fmt: skip
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    lines = [{"step": s, "dev/good": s / 10, "train/loss": 1 / s} for s in range(1, 11)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def run_compare(*folders: Path, out: Path) -> str:
    compare([str(folder) for folder in folders], workdir=str(out))
    return (out / "compare.html").read_text()


def test_what_is_said_is_what_the_paired_bootstrap_finds(tmp_path, capsys):
    a, b = fake_run(tmp_path / "a", threshold=0.8), fake_run(tmp_path / "b", threshold=0.9)
    run_compare(a, b, out=tmp_path)
    ones = np.ones(NUM_EXAMPLES)
    first, second = (Parts.of(threshold > EASE, ones) for threshold in (0.8, 0.9))
    paired = intervals.paired(second, first)
    said = capsys.readouterr().out.splitlines()[0]
    assert said.startswith("b is better than a: Goodness (test) ")
    numbers = [float(x) for x in re.findall(r"[-+]?\d\.\d{4}", said)]
    expected = [intervals.value(second), intervals.value(first), *paired[:3]]
    assert numbers == [round(x, 4) for x in expected]
    assert paired.p_value < 0.001 and said.endswith("p below 0.001)")


def test_of_runs_that_differ_by_little_it_is_said_that_it_may_be_chance(tmp_path, capsys):
    a, b = fake_run(tmp_path / "a", threshold=0.8), fake_run(tmp_path / "b", threshold=0.805)
    run_compare(a, b, out=tmp_path / "out")
    assert capsys.readouterr().out.startswith("b and a may differ by chance alone: Goodness (test)")


def test_the_page_shows_settings_curves_and_the_examples_that_only_one_has_right(tmp_path):
    a = fake_run(tmp_path / "a", threshold=0.8)
    b = fake_run(tmp_path / "b", threshold=0.9, rate=2e-3)
    page = run_compare(a, b, out=tmp_path)
    only_b = np.flatnonzero((EASE >= 0.8) & (EASE < 0.9))
    assert "b right, a wrong" in page and "a right, b wrong" in page
    assert f"{len(only_b)} of 200 examples; what is shown as predicted is a&#x27;s" in page
    assert f"on {(EASE >= 0.9).sum()}." in page and "0 of 200 examples" in page
    assert all(f"sentence {i + 1}<" in page for i in only_b[:25])
    assert "<b>x" not in page, "words of a data set are not to be trusted"
    what_differs = page.split("<h2>What differs</h2>")[1].split("</section>")[0]
    assert re.findall(r'<th scope="row">([^<]*)', what_differs) == ["optim.learning_rate"]
    assert "0.001" in what_differs and "0.002" in what_differs
    assert page.count('<svg class="chart"') == 2 and "Goodness" in page


def test_a_third_run_is_compared_with_the_first_too(tmp_path, capsys):
    runs = [fake_run(tmp_path / n, threshold=t) for n, t in (("a", 0.9), ("b", 0.5), ("c", 0.9))]
    page = run_compare(*runs, out=tmp_path)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("b is worse than a: ")
    assert said[1].startswith("c and a may differ by chance alone: ") and "p 1.000" in said[1]
    assert page.count("right, ") == 8  # a title and a link for each of four


def test_runs_of_the_same_name_go_by_their_paths(tmp_path):
    a = fake_run(tmp_path / "x" / "run", threshold=0.8)
    b = fake_run(tmp_path / "y" / "run", threshold=0.9)
    assert f"{b} right, {a} wrong" in run_compare(a, b, out=tmp_path)


def test_runs_that_do_not_compare_are_refused_with_what_differs(tmp_path):
    a = fake_run(tmp_path / "a", threshold=0.8)
    b = fake_run(tmp_path / "b", threshold=0.8, task="image_classification")
    c = fake_run(tmp_path / "c", threshold=0.8, fingerprint="other", data="c.conll")
    d = fake_run(tmp_path / "d", threshold=0.8, split="dev")
    e = fake_run(tmp_path / "e", threshold=0.8)
    (e / "examples" / "test.npz").unlink()
    (tmp_path / "empty").mkdir()
    (tmp_path / "seeds").mkdir()
    (tmp_path / "seeds" / "seeds.json").write_text("{}")
    for folders, expected in (
        ([a, b], f"{a} is a run of token_tagging and {b} one of image_classification: they do not"),
        ([a, c], f"{a} and {c} were scored on other data: their test has 200 and 200 examples that "
         "are not the same; data.test: 'a.conll' and 'c.conll'; score both on one: --mode=eval"),
        ([a, d], f"no split was scored in all of the runs: {a} test; {d} dev"),
        ([a, e], f"{e}: does not hold what each example came to"),
        ([a, tmp_path / "no"], f"{tmp_path / 'no'}: there is no such folder"),
        ([a, tmp_path / "empty"], f"{tmp_path / 'empty' / 'config.json'}: no such file; expected"),
        ([a, tmp_path / "seeds"], f"{tmp_path / 'seeds'}: holds a run for each of several seeds"),
        ([a], "expected two or more folders of runs, each once"),
        ([a, a], "expected two or more folders of runs, each once"),
    ):  # fmt: skip
        with pytest.raises(UserError) as error:
            run_compare(*folders, out=tmp_path / "out")
        assert expected in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "out").exists(), "nothing is written for what is refused"


@pytest.mark.parametrize(
    ("flags", "overrides", "expected"),
    [
        (Flags("compare"), [], "--mode=compare needs --runs=A,B,..."),
        (Flags("compare", runs="a,b"), ["--config.seed=1"], "leave out --config.seed"),
        (Flags(runs="a,b"), [], "--runs goes with --mode=compare"),
        (Flags("compare", runs="a", seeds="1"), [], "--seeds goes with --mode=train, not with"),
    ],
)
def test_flags_that_do_not_go_together_are_one_line(tmp_path, flags, overrides, expected):
    with pytest.raises(UserError) as error:
        modes.run(flags._replace(workdir=str(tmp_path)), overrides=overrides)
    assert expected in str(error.value)
