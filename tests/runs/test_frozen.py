"""Runs whose model reads what nothing trains: it is not saved, its hashes are, and a run goes on
beside the same one alone."""

import json
import re
import types

import numpy as np
import pytest
from conftest import ROOT
from tiny_runs import one_device

from bigjax.checkpoints import manifest
from bigjax.config import values as configs
from bigjax.engine import settings, sharding
from bigjax.errors import UserError
from bigjax.modes import evaluate, train
from bigjax.tasks import TASKS

PAGE = (ROOT / "docs" / "add_a_task.md").read_text(encoding="utf-8")
CONFIG = """
import ml_collections


def get_config():
    config = ml_collections.ConfigDict()
    config.task = "taught"
    config.num_steps = 6
    config.batch = {"rows": 20}
    config.optim = {"name": "adam", "learning_rate": 1e-2}
    config.eval = {"every_steps": 3}
    return config
"""


def taught(circles, *, teacher: np.ndarray) -> types.SimpleNamespace:
    """The task of the documentation, whose logits are moved by a frozen teacher."""

    def with_teacher(task):
        model = task.model

        def apply(variables, batch, key):
            outputs, state = model.apply(variables, batch, key)
            return {
                "logits": outputs["logits"] + batch["x"] @ variables["frozen"]["teacher"]
            }, state

        frozen = lambda: {"teacher": teacher}  # noqa: E731
        return task._replace(model=model._replace(apply=apply, frozen=frozen))

    return types.SimpleNamespace(
        SECTIONS=circles.SECTIONS,
        make=lambda config: with_teacher(circles.make(config)),
        load=lambda config, folder, *, splits: with_teacher(
            circles.load(config, folder, splits=splits)
        ),
    )


@pytest.fixture(scope="module")
def circles():
    code = re.search(r"`circles\.py`\n\n```python\n(.*?)```", PAGE, re.DOTALL)[1]
    module = types.ModuleType("circles")
    exec(code, module.__dict__)  # noqa: S102 - the page's own code, which another test runs too
    return module


@pytest.fixture
def train_beside(circles, tmp_path, monkeypatch):
    """Trains, or resumes, beside a teacher; the scores and the run's folder."""
    file = tmp_path / "taught.py"
    file.write_text(CONFIG, encoding="utf-8")
    monkeypatch.setattr(sharding, "make_mesh", one_device)

    def run(teacher: np.ndarray, mode=train.train, **overrides: str):
        monkeypatch.setitem(TASKS, "taught", taught(circles, teacher=teacher))
        config = configs.load(str(file), overrides=overrides, schema=settings.schema)
        return mode(config, workdir=str(tmp_path / "run")), tmp_path / "run"

    return run


TEACHER = np.array([[1.0, -1.0], [0.5, 2.0]], np.float32)


def test_what_is_frozen_is_not_saved_but_its_hash_is(train_beside):
    _, workdir = train_beside(TEACHER)
    found = manifest.read(str(workdir / "checkpoints" / "6"))
    assert not [name for name in found.arrays if "teacher" in name]
    assert list(found.facts["frozen"]) == ["teacher"]
    assert re.fullmatch("[0-9a-f]{16}", found.facts["frozen"]["teacher"])


def test_a_run_goes_on_beside_the_same_and_is_refused_beside_another(train_beside):
    scores, workdir = train_beside(TEACHER)
    assert train_beside(TEACHER, evaluate.score_run)[0] == scores
    for mode in (train.train, evaluate.score_run):
        with pytest.raises(UserError, match="was trained beside other frozen variables: teacher"):
            train_beside(TEACHER + 1, mode)
    longer, _ = train_beside(TEACHER, allow_longer, num_steps="9")
    assert set(longer) == set(scores)
    assert json.loads((workdir / "results.json").read_text())["step"] in (3, 6, 9)


def allow_longer(config, *, workdir):
    return train.train(config, workdir=workdir, allow_config_change=True)


def test_the_teacher_is_read(train_beside, tmp_path):
    """Else the tests above would prove nothing."""
    scores, workdir = train_beside(TEACHER)
    workdir.rename(tmp_path / "other")
    assert train_beside(0 * TEACHER)[0]["dev/loss"] != scores["dev/loss"]
