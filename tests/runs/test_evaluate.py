"""Scoring a finished run needs its folder and the data that is scored: no training data, no weights
that it began with, and no update to be compiled."""

import json
import shutil

import pytest
from finished import write_conll
from tiny_runs import one_device

from bigjax.config import values as configs
from bigjax.engine import settings, sharding, step
from bigjax.errors import UserError
from bigjax.modes import evaluate
from bigjax.run_folder import calibration


@pytest.fixture(scope="module")
def run(finished_run):
    return finished_run


def config_of(workdir, **overrides: str) -> configs.Config:
    """As `--mode=evaluate` without --config has it."""
    path = str(workdir / "config.json")
    given = {key.replace("__", "."): value for key, value in overrides.items()}
    record = json.loads((workdir / "config.json").read_text())
    return configs.from_record(record, path=path, overrides=given, schema=settings.schema)


@pytest.fixture
def no_update(monkeypatch):
    """An update that is made is an error."""
    monkeypatch.setattr(sharding, "make_mesh", one_device)
    monkeypatch.setattr(step, "make_train_step", pytest.fail)


@pytest.mark.usefixtures("no_update")
def test_a_run_is_scored_again_from_its_folder_alone(run):
    workdir, _, scores = run
    names = ("results.json", "calibration.json", "examples/dev.npz", "examples/test.npz")
    written = [(workdir / name).read_bytes() for name in names]
    assert evaluate.score_run(config_of(workdir), workdir=str(workdir)) == scores
    assert [(workdir / name).read_bytes() for name in names] == written
    assert (workdir / "report.html").exists()


@pytest.mark.usefixtures("no_update")
def test_the_latest_parameters_are_scored_where_they_are_asked_for(run):
    workdir, _, scores = run
    assert scores["dev/loss"] > 0
    latest = config_of(workdir, eval__final="latest")
    found = evaluate.score_run(latest, workdir=str(workdir))
    assert json.loads((workdir / "results.json").read_text())["step"] == 9
    assert set(found) == set(scores)


@pytest.mark.usefixtures("no_update")
def test_other_data_is_scored_and_said_to_be_other(run, tmp_path, capsys):
    workdir, _, scores = run
    other = write_conll(tmp_path / "other.conll", num_sentences=23)
    found = evaluate.score_run(config_of(workdir, data__test=other), workdir=str(workdir))
    assert "note: test is not the data that the run was scored with" in capsys.readouterr().out
    assert found["dev/loss"] == scores["dev/loss"] and found["test/loss"] != scores["test/loss"]


@pytest.mark.usefixtures("no_update")
def test_a_run_of_before_is_scored_and_gets_its_temperature(run, tmp_path):
    workdir, _, scores = run
    copy = shutil.copytree(workdir, tmp_path / "run")
    kept = calibration.read(str(copy))
    (copy / "calibration.json").unlink()
    shutil.rmtree(copy / "examples")
    assert calibration.read(str(copy)) is None
    assert evaluate.score_run(config_of(copy), workdir=str(copy)) == scores
    assert calibration.read(str(copy)) == kept


@pytest.mark.usefixtures("no_update")
def test_without_dev_the_temperature_that_there_is_stands(run, tmp_path, monkeypatch):
    workdir, _, scores = run
    monkeypatch.setattr(evaluate, "SPLITS", ("test",))
    copy = shutil.copytree(workdir, tmp_path / "run")
    found = evaluate.score_run(config_of(copy), workdir=str(copy))
    assert found == {name: x for name, x in scores.items() if name.startswith("test/")}
    (copy / "calibration.json").unlink()
    evaluate.score_run(config_of(copy), workdir=str(copy))
    assert not (copy / "calibration.json").exists()
    (copy / "calibration.json").write_text("[]")
    with pytest.raises(UserError, match=r"calibration\.json: is damaged .*--mode=evaluate"):
        evaluate.score_run(config_of(copy), workdir=str(copy))


@pytest.mark.usefixtures("no_update")
def test_a_best_checkpoint_that_is_gone_is_one_line(run, tmp_path):
    workdir, *_ = run
    copy = shutil.copytree(workdir, tmp_path / "copy")
    newest = max((copy / "checkpoints").iterdir(), key=lambda path: int(path.name))
    best = json.loads((newest / "checkpoint.json").read_text())["facts"]["best_step"]
    if best == int(newest.name):
        pytest.skip("the best is the newest")
    shutil.rmtree(copy / "checkpoints" / str(best))
    with pytest.raises(UserError, match=f"best checkpoint, of step {best}, is not there"):
        evaluate.score_run(config_of(copy), workdir=str(copy))


@pytest.mark.usefixtures("no_update")
def test_a_folder_without_a_checkpoint_is_one_line(run, tmp_path):
    workdir, *_ = run
    copy = shutil.copytree(workdir, tmp_path / "copy", ignore=lambda *_: ["checkpoints"])
    with pytest.raises(UserError, match="no checkpoint to evaluate; train first"):
        evaluate.score_run(config_of(copy), workdir=str(copy))
