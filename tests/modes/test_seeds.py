"""`--seeds`: a run for each, that is not done twice, and mean and spread of what they came to."""

import json
import statistics
from pathlib import Path

import pytest
from test_compare import fake_run

from bigjax.config import values as configs
from bigjax.engine import settings
from bigjax.errors import UserError
from bigjax.modes import seeds as mode

CONFIG = Path(__file__).parents[2] / "configs" / "cnn_digits.py"
SCORES = {0: 0.75, 1: 0.8, 2: 0.9}


@pytest.fixture
def trained(monkeypatch):
    """The seeds that were trained, in order; training costs nothing."""
    found = []

    def train(config, *, workdir, allow_config_change, progress):  # noqa: ARG001
        seed = config.flat()["seed"]
        if seed == 13:
            raise UserError("stopped")
        found.append(seed)
        fake_run(Path(workdir), threshold=SCORES[seed])
        record = config.record() | {"file": "c.py"}
        Path(workdir, "config.json").write_text(json.dumps(record))

    monkeypatch.setattr(mode, "train", train)
    return found


def run(workdir: Path, seeds: list[int], **changes: str) -> None:
    config = configs.load(str(CONFIG), overrides=changes, schema=settings.schema)
    mode.train_seeds(
        config,
        seeds=seeds,
        workdir=str(workdir),
        allow_config_change=False,
        progress=lambda step: None,  # noqa: ARG005
    )


def test_each_seed_is_a_run_of_its_own_and_is_trained_once(trained, tmp_path):
    with pytest.raises(UserError, match="stopped"):
        run(tmp_path, [0, 1, 13])
    run(tmp_path, [0, 1, 2])
    assert trained == [0, 1, 2]
    for seed in range(3):
        record = json.loads((tmp_path / f"seed-{seed}" / "config.json").read_text())
        assert record["values"]["seed"] == seed and record["origins"]["seed"] == "override"
    run(tmp_path, [0, 1, 2])
    assert trained == [0, 1, 2]


def test_a_finished_run_with_other_settings_is_given_to_training_to_judge(trained, tmp_path):
    run(tmp_path, [0])
    with pytest.raises(FileExistsError):  # of the stand-in: training would say what differs
        run(tmp_path, [0], **{"optim.learning_rate": "0.1"})
    assert trained == [0, 0]


def test_mean_and_spread_are_those_of_the_sample(trained, tmp_path, capsys):  # noqa: ARG001
    run(tmp_path, [2, 0, 1])
    found = json.loads((tmp_path / "seeds.json").read_text())
    scores = found["scores"]["test/good"]
    assert found["seeds"] == [2, 0, 1] and list(found["scores"]) == ["test/good"]
    assert scores["mean"] == statistics.mean(scores["values"])
    assert scores["std"] == statistics.stdev(scores["values"])
    line = f"test/good {scores['mean']:.4f} ± {scores['std']:.4f} (mean and standard deviation of 3"
    assert line in capsys.readouterr().out
    page = (tmp_path / "seeds.html").read_text()
    assert all(text in page for text in ("3 seeds", "seed-2", "Goodness (test)", "±"))
    assert page.count('<svg class="chart"') == 2


def test_one_seed_has_no_spread(trained, tmp_path, capsys):  # noqa: ARG001
    run(tmp_path, [0])
    assert json.loads((tmp_path / "seeds.json").read_text())["scores"]["test/good"]["std"] is None
    assert "±" not in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "1,", "a", "1,2,1", "-1", "1.5", "4294967296", "1;2"])
def test_what_are_no_seeds_is_one_line(text):
    with pytest.raises(UserError, match=f"--seeds={text}: "):
        mode.parse(text)


def test_seeds_are_read_as_written():
    assert mode.parse("0, 7,4294967295") == [0, 7, 4294967295]


def test_the_folder_of_a_run_is_not_one_of_seeds(trained, tmp_path):  # noqa: ARG001
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="holds a run; --seeds needs a folder of its own"):
        run(tmp_path, [0])
