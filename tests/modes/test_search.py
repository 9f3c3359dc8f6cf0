"""`--mode=search`: one that is killed anywhere ends as one that is not, several processes share
its trials, and whatever cannot be trained is said."""

import contextlib
import itertools
import math
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from bigjax.config import values as configs
from bigjax.engine import settings
from bigjax.errors import Stopped, UserError
from bigjax.loop.nonfinite import NonFiniteError
from bigjax.modes import search as mode
from bigjax.run_folder.lock import Lock
from bigjax.search.study import Study
from bigjax.tasks.task import Score

optuna = pytest.importorskip("optuna", reason="needs pip install 'bigjax[search]'")

NUM_TRIALS = 8
FILE = """\
import ml_collections


def get_config():
    config = ml_collections.ConfigDict()
    config.task = "image_classification"
    config.num_steps = 40
    config.data = {"source": "digits"}
    config.model = {"name": "small_cnn"}
    config.schedule = {"name": "cosine"}
    config.optim = {"name": "adam", "learning_rate": 1e-3}
    config.search = {
        "num_trials": 8,
        "pruning_after": 1,
        "space": {
            "optim": {"learning_rate": ("log", 1e-5, 1e-1)},
            "batch": {"rows": ("choice", 16, 32)},
        },
    }
    return config
"""


class Killed(BaseException):
    """The end of a process, as far as a test of one process can tell."""


class World:
    """What stands for training: four evaluations, each saved; a run resumes after the last."""

    def __init__(self):
        self.steps = self.left = None  # calls made, and those until the kill
        self.trained: list[tuple[str, int]] = []

    def tick(self):
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed
        self.steps = (self.steps or 0) + 1

    def train(self, config, *, workdir, progress, evaluated):  # noqa: ARG002
        inside = Path(workdir) / "checkpoints"
        flat = config.flat()
        rate, rows = flat["optim.learning_rate"], flat["batch.rows"]
        if rate > 0.05:
            raise NonFiniteError("step 3: not finite: the loss")
        final = 1 - abs(math.log10(rate) + 3) * rows / 100
        saved = [int(path.name) for path in inside.glob("*")]
        for step in range(max(saved, default=0) + 10, 50, 10):
            self.tick()
            self.trained.append((Path(workdir).name, step))
            evaluated(step, final * step / 40)
            self.tick()
            (inside / str(step)).mkdir(parents=True)
        with open(f"{workdir}/report.html", "w") as file:
            file.write("x")
        return {"dev/good": final}


@pytest.fixture
def world(monkeypatch):
    """A search whose runs cost nothing, and which can be killed before and after all it writes."""
    world = World()
    task = SimpleNamespace(
        make=lambda config: SimpleNamespace(data=SimpleNamespace(train=None, evals={}))  # noqa: ARG005
    )
    monkeypatch.setattr(mode, "TASKS", {"image_classification": task})
    monkeypatch.setattr(mode, "best_score", lambda *_: Score("good", "Goodness"))
    monkeypatch.setattr(mode, "train", world.train)
    monkeypatch.setattr(mode.jax, "clear_caches", lambda: None)
    for name in ("add", "report", "finish"):
        inner = getattr(Study, name)

        def ticking(self, *args, inner=inner, **kwargs):
            world.tick()
            inner(self, *args, **kwargs)
            world.tick()

        monkeypatch.setattr(Study, name, ticking)
    return world


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "c.py"
    path.write_text(FILE)

    def load(*arguments: str) -> configs.Config:
        given = configs.parse_overrides(arguments)
        return configs.load(str(path), overrides=given, schema=settings.schema)

    return load


def run(config, workdir: Path):
    """The trials of a search that runs to its end."""
    mode.search(config, workdir=str(workdir), progress=lambda step: None)  # noqa: ARG005
    return trials_in(config, workdir)


def trials_in(config, workdir: Path):
    with contextlib.closing(mode._begin(config, workdir=str(workdir)).study) as study:
        return study.trials()


@pytest.mark.parametrize("gap", [19, pytest.param(1, marks=pytest.mark.slow)])
def test_a_search_killed_anywhere_has_the_same_trials_and_the_same_best(
    world, config, tmp_path, gap
):
    settings = config("--config.search.study=s")
    expected = run(settings, tmp_path / "straight")
    assert len(expected) == NUM_TRIALS
    assert {trial.state for trial in expected} == {"trained", "pruned", "failed"}
    num_moments, best = world.steps, (tmp_path / "straight" / "best.py").read_text()
    assert num_moments > 60
    for moment in range(0, num_moments, gap):
        workdir = tmp_path / str(moment)
        for left in itertools.count(moment, 17):  # and again, later
            world.left = left
            try:
                found = run(settings, workdir)
                break
            except Killed:
                continue
        assert found == expected, moment
        assert (workdir / "best.py").read_text() == best
    world.left = None


def test_a_trial_that_was_killed_resumes_from_its_checkpoint(world, config, tmp_path):
    world.left = 6  # add, its end; the first two evaluations: one saved
    with pytest.raises(Killed):
        run(config(), tmp_path / "s")
    world.left = None
    run(config(), tmp_path / "s")
    assert [step for name, step in world.trained if name == "0000"][:3] == [10, 20, 30]


def test_a_trial_of_a_living_process_is_left_to_it_and_one_of_a_dead_one_is_taken(
    world, config, tmp_path, capsys
):
    world.left = 3
    with pytest.raises(Killed):
        run(config(), tmp_path / "s")
    world.left = None
    with Lock(str(tmp_path / "s" / "trials" / "0000"), name=mode.CLAIM):
        found = run(config(), tmp_path / "s")
        assert [trial.state == "running" for trial in found] == [True] + [False] * 7
        assert "1 still in other processes" in capsys.readouterr().out
    assert all(trial.is_finished for trial in run(config(), tmp_path / "s"))


def test_only_the_best_trial_keeps_its_checkpoints_unless_all_shall(world, config, tmp_path):  # noqa: ARG001
    found = run(config(), tmp_path / "s")
    kept = [path.parent.name for path in (tmp_path / "s").glob("trials/*/checkpoints")]
    best = max((t for t in found if t.state == "trained"), key=lambda t: t.score)
    assert kept == [f"{best.number:04d}"]
    found = run(config("--config.search.keep=all"), tmp_path / "all")
    assert len(list((tmp_path / "all").glob("trials/*/checkpoints"))) == sum(
        trial.state != "failed" for trial in found
    )


def test_the_best_config_is_a_file_that_gives_the_settings_of_the_best_trial(
    world, config, tmp_path  # noqa: ARG001
):  # fmt: skip
    found = run(config(), tmp_path / "s")
    best = max((t for t in found if t.state == "trained"), key=lambda t: t.score)
    loaded = configs.load(str(tmp_path / "s" / "best.py"), overrides={}, schema=settings.schema)
    base = {k: v for k, v in config().flat().items() if not k.startswith("search.")}
    now = {k: v for k, v in loaded.flat().items() if not k.startswith("search.")}
    assert now == base | dict(best.settings)
    assert runpy.run_path(str(tmp_path / "s" / "best.py"))["get_config"]().batch


def test_a_trial_that_fails_says_why_and_the_search_goes_on(world, config, tmp_path, capsys):  # noqa: ARG001
    found = run(config(), tmp_path / "s")
    failed = [trial for trial in found if trial.state == "failed"]
    assert failed and {trial.note for trial in failed} == {"step 3: not finite: the loss"}
    assert "failed: step 3: not finite: the loss; best so far" in capsys.readouterr().out
    assert "step 3: not finite" in (tmp_path / "s" / "search.html").read_text()


def test_a_full_disk_ends_the_search_and_not_the_trial(world, config, tmp_path, monkeypatch):
    def full(*_, **__):
        raise UserError("the disk is full") from OSError(28, "No space left")

    with monkeypatch.context() as patch:
        patch.setattr(mode, "train", full)
        with pytest.raises(UserError, match="the disk is full"):
            run(config(), tmp_path / "s")
    assert [trial.state for trial in trials_in(config(), tmp_path / "s")] == ["running"]
    assert run(config(), tmp_path / "s") == run(config(), tmp_path / "other")
    assert world.trained


def test_a_signal_ends_the_search_and_the_trial_stays(world, config, tmp_path, monkeypatch):  # noqa: ARG001
    def stop(*_, **__):
        raise Stopped("stopped at step 3")

    with monkeypatch.context() as patch:
        patch.setattr(mode, "train", stop)
        with pytest.raises(Stopped):
            run(config(), tmp_path / "s")
    assert [trial.state for trial in trials_in(config(), tmp_path / "s")] == ["running"]


def test_settings_that_do_not_go_together_fail_their_trial_alone(
    world, config, tmp_path, monkeypatch
):
    def picky(config, **kwargs):
        if config.flat()["batch.rows"] == 16:
            raise UserError("config.batch.rows=16: one device too many")
        return world.train(config, **kwargs)

    monkeypatch.setattr(mode, "train", picky)
    found = run(config(), tmp_path / "s")
    assert {t.state == "failed" for t in found if t.settings["batch.rows"] == 16} == {True}
    with pytest.raises(UserError, match="no trial could be trained; the first: config.batch.rows"):
        run(config("--config.search.space.batch.rows=choice,16"), tmp_path / "none")


def test_a_search_may_get_longer_but_not_different(world, config, tmp_path):  # noqa: ARG001
    short = run(config("--config.search.num_trials=3"), tmp_path / "s")
    with pytest.raises(UserError, match=r"optim.weight_decay: 0.0 -> 0.1.*use another --workdir"):
        run(config("--config.optim.weight_decay=0.1"), tmp_path / "s")
    with pytest.raises(
        UserError, match=r"search.space.batch.rows: \['choice', \[16, 32\], False\]"
    ):
        run(config("--config.search.space.batch.rows=choice,16"), tmp_path / "s")
    longer = run(config(), tmp_path / "s")
    assert longer[:3] == short and longer == run(config(), tmp_path / "s2")


def test_a_grid_is_as_long_as_it_is(world, config, tmp_path):  # noqa: ARG001
    grid = ["--config.search.method=grid", "--config.search.num_trials=none"]
    rates = "--config.search.space.optim.learning_rate=choice,1e-3,1e-2"
    found = run(config(*grid, rates), tmp_path / "s")
    assert [tuple(t.settings.values()) for t in found] == [
        (16, 1e-3), (16, 1e-2), (32, 1e-3), (32, 1e-2),
    ]  # fmt: skip


def test_a_database_holds_the_study_as_a_file_does(world, config, tmp_path):  # noqa: ARG001
    where = f"--config.search.storage=sqlite:///{tmp_path}/study.db"
    assert run(config(where), tmp_path / "db") == run(config(), tmp_path / "file")
    with pytest.raises(UserError, match="search.storage=no://where: cannot be opened"):
        run(config("--config.search.storage=no://where"), tmp_path / "x")


def test_half_a_line_at_the_end_of_the_study_is_no_line(world, config, tmp_path):  # noqa: ARG001
    expected = run(config("--config.search.num_trials=3"), tmp_path / "s")
    with open(tmp_path / "s" / "study.log", "a") as file:
        file.write('{"op_code":')
    assert run(config(), tmp_path / "s")[:3] == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--config.search.space.optim.learning_rate=none",
          "--config.search.space.batch.rows=none"], "there is nothing to search"),
        (["--config.search.method=grid"], "search.space.optim.learning_rate is no ('choice'"),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_is_one_line(world, config, tmp_path, arguments, expected):  # noqa: ARG001
    with pytest.raises(UserError) as error:
        run(config(*arguments), tmp_path / "s")
    assert expected in str(error.value)


def test_the_folder_of_a_run_is_not_one_of_a_search(world, config, tmp_path):  # noqa: ARG001
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="holds a run; a search needs a folder of its own"):
        run(config(), tmp_path)
