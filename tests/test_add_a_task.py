"""The toy task of docs/add_a_task.md, run as the page says: it is outside the package, and no other
file knows of it."""

import json
import os
import re
import shlex
import subprocess
import sys

import pytest
from conftest import ROOT

PAGE = (ROOT / "docs" / "add_a_task.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The page's files."""
    found = tmp_path_factory.mktemp("circles")
    blocks = re.findall(
        r"^## [^\n]*`(\w+\.py)`\n\n```python\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE
    )
    assert [name for name, _ in blocks] == ["circles.py", "circles_config.py", "circles_main.py"]
    for name, code in blocks:
        (found / name).write_text(code, encoding="utf-8")
    return found


@pytest.fixture(scope="module")
def printed(folder) -> list[str]:
    """What each command of the page prints."""
    commands = re.search(r"<!-- run -->\n```bash\n(.*?)```", PAGE, re.DOTALL)[1].splitlines()
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    environment |= {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder)}
    found = []
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "python"
        ended = subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        found.append(ended.stdout)
    return found


def test_it_trains_and_says_its_scores(printed):
    lines = printed[0].splitlines()
    assert re.search(r"dev    loss 0\.\d{4}  accuracy 0\.\d{4}$", printed[0], re.MULTILINE)
    assert re.search(r"train  loss .* points/s \d+ ", printed[0])
    accuracy = float(re.search(r"dev/accuracy (0\.\d+)", lines[-2])[1])
    assert accuracy > 0.95


def test_it_is_scored_again_from_the_run_folder(folder, printed):
    trained, scored = (re.search(r"dev/accuracy (\S+)", text)[1] for text in printed[:2])
    assert trained == scored
    assert "starting" not in printed[1]
    results = json.loads((folder / "runs/circles/results.json").read_text())
    assert set(results["scores"]) == {"dev/loss", "dev/accuracy", "dev/worst_side"}


def test_its_scores_are_in_the_report_as_it_names_them(folder, printed):  # noqa: ARG001
    report = (folder / "runs/circles/report.html").read_text(encoding="utf-8")
    assert "Accuracy of the worse side" in report
    assert "By side (dev)" in report and "2000 points" in report


def test_it_can_be_checked_for_devices_that_are_not_there(printed):
    assert "data=4" in printed[2] and "data.num_train" in printed[2]


def test_nothing_in_the_package_knows_it():
    for path in (ROOT / "bigjax").rglob("*.py"):
        assert "circles" not in path.read_text(encoding="utf-8"), path
