"""W&B and MLflow beside the other writers: the same numbers, and a run that does not notice when
one fails, hangs or is away."""

import json
import math
import struct
import threading
from collections import defaultdict
from pathlib import Path

import pytest

from bigjax.errors import UserError
from bigjax.run_folder import trackers
from bigjax.run_folder.trackers import Tracker, trackers_of
from bigjax.run_folder.writers import JsonLines, Writers

HPARAMS = {"seed": 3, "optim.learning_rate": 1e-3, "rules": ((".*", 1.0),), "folder": None}
HPARAMS |= {f"many.key_{i}": i for i in range(250)}


class Failing:
    """A tracker that raises at every call."""

    def __getattr__(self, name):
        raise RuntimeError(f"no {name} here\nand a second line")


class Keeping:
    def __init__(self):
        self.seen = []

    def write_scalars(self, step, scalars):
        self.seen.append((step, scalars))

    def close(self):
        self.seen.append("closed")


def scalars_of(step: int) -> dict[str, float]:
    return {"train/loss": 1 / (step + 1), "train/learning_rate": 1e-3 * step}


def write_run(writer: Writers, steps: range) -> None:
    """As the loop does: two groups at one step, and at the end scores of an earlier one."""
    for step in steps:
        writer.write_scalars(step, scalars_of(step))
        if step % 2 == 0:
            writer.write_scalars(step, {"dev/f1": step / 10, "dev/auc": math.nan})
    writer.write_scalars(steps.stop - 2, {"test/f1": 0.75})
    writer.flush()
    writer.close()


def both_runs(name: str, folder: Path) -> dict[str, dict[int, float | None]]:
    """A run that is killed after step 6 and resumes at 4; the numbers of metrics.jsonl."""
    path = str(folder / "metrics.jsonl")

    def trackers(folder: Path) -> list[Tracker]:
        return trackers_of([name], workdir=str(folder), hparams=HPARAMS)

    first = Writers([JsonLines(path, resume_at=0), *trackers(folder)])
    for step in range(7):
        first.write_scalars(step, scalars_of(step))
        if step % 2 == 0:
            first.write_scalars(step, {"dev/f1": step / 10, "dev/auc": math.nan})
    first.close()
    if name == "mlflow":  # what was not yet written when it was killed
        with open(path, "a") as file:
            file.write(json.dumps({"step": 3, "train/late": 0.5}) + "\n")
    again = Writers([JsonLines(path, resume_at=4), *trackers(folder)])
    write_run(again, range(5, 10))
    expected = defaultdict(dict)
    for line in map(json.loads, Path(path).read_text().splitlines()):
        step = line.pop("step")
        for key, value in line.items():
            expected[key][step] = value
    return dict(expected)


def test_a_tracker_gets_every_number_in_order_in_a_thread_of_its_own():
    kept = Keeping()
    threads = []

    def make():
        threads.append(threading.current_thread())
        return kept

    write_run(Writers([Tracker("x", make)]), range(4))
    assert [call[0] for call in kept.seen[:-1]] == [0, 0, 1, 2, 2, 3, 2]
    assert kept.seen[-1] == "closed" and threads != [threading.main_thread()]


@pytest.mark.parametrize("fails", ["when it is made", "at every call"])
def test_a_tracker_that_fails_is_told_of_once_and_changes_nothing(fails, tmp_path, capfd):
    def make():
        if fails == "when it is made":
            raise OSError(28, "No space left on device")
        return Failing()

    for name, beside in (("with", [Tracker("wandb", make)]), ("without", [])):
        lines = JsonLines(str(tmp_path / name), resume_at=0)
        write_run(Writers([*beside, lines]), range(20))
    assert (tmp_path / "with").read_bytes() == (tmp_path / "without").read_bytes()
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1
    assert err.startswith("warning: log.trackers: wandb failed (")
    assert err.endswith("; the run goes on without it\n")


def test_a_tracker_that_hangs_holds_up_only_the_end_of_a_run_and_not_for_long(monkeypatch, capfd):
    monkeypatch.setattr(trackers, "CLOSE_SECONDS", 0.2)
    release = threading.Event()
    write_run(Writers([Tracker("mlflow", lambda: release.wait() and Keeping())]), range(20))
    assert capfd.readouterr().err == (
        "warning: log.trackers: mlflow had not written everything 0 s after the end\n"
    )
    release.set()


def test_a_tracker_that_never_began_before_a_kill_gets_what_it_missed_and_nothing_twice(
    tmp_path, monkeypatch
):
    path = str(tmp_path / "metrics.jsonl")
    write_run(Writers([JsonLines(path, resume_at=0)]), range(4))
    seen = []
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(trackers, "_MAKE", {"wandb": lambda begin: seen.append(begin) or Keeping()})
    again = JsonLines(path, resume_at=2)
    (one,) = trackers_of(["wandb"], workdir=str(tmp_path), hparams=HPARAMS)
    again.write_scalars(3, {"train/loss": 0.5})
    again.close()
    one.close()
    assert seen[0].hparams == HPARAMS
    assert [step for step, _ in seen[0].written] == [0, 0, 1, 2, 2, 2], "not what comes later"
    assert math.isnan(seen[0].written[1][1]["dev/auc"])


def test_a_package_that_is_not_there_is_told_before_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)  # noqa: ARG005
    with pytest.raises(UserError, match=r"needs the package 'wandb': pip install 'bigjax\[wandb\]"):
        trackers_of(["wandb"], workdir=str(tmp_path), hparams={})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # its own, of its dependencies
def test_mlflow_holds_the_numbers_of_metrics_jsonl_also_of_a_resumed_run(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="needs pip install 'bigjax[mlflow]'")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    expected = both_runs("mlflow", tmp_path)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("bigjax")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED" and run.info.run_name == tmp_path.name
    assert run.data.params == {name: str(value) for name, value in HPARAMS.items()}
    assert set(run.data.metrics) == set(expected)
    for name, by_step in expected.items():
        history = client.get_metric_history(run.info.run_id, name)
        assert len(history) == len(by_step), "nothing is there twice"
        found = {m.step: None if math.isnan(m.value) else m.value for m in history}
        assert found == by_step, name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_wandb_offline_holds_the_numbers_of_metrics_jsonl_also_of_a_resumed_run(
    tmp_path, monkeypatch
):
    pytest.importorskip("wandb", reason="needs pip install 'bigjax[wandb]'")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    expected = both_runs("wandb", tmp_path)
    found, ids, config = defaultdict(dict), set(), {}
    for path in sorted(tmp_path.glob("wandb/offline-run-*/*.wandb")):
        for record in wandb_records(path):
            if record.HasField("run"):
                ids.add(record.run.run_id)
                config |= {item.key: item.value_json for item in record.run.config.update}
            if record.HasField("config"):
                config |= {item.key: item.value_json for item in record.config.update}
            if record.HasField("history"):
                items = {
                    "/".join(item.nested_key) or item.key: json.loads(item.value_json)
                    for item in record.history.item
                }
                for name in set(items) & set(expected):
                    value = items[name]
                    is_nan = isinstance(value, str) or value is None or math.isnan(value)
                    found[name][items["step"]] = None if is_nan else value
    assert found == expected
    assert len(ids) == 1, "a resumed run goes on with the same run"
    assert json.loads(config["optim.learning_rate"]) == 1e-3


def wandb_records(path: Path):
    """The records of a .wandb file: LevelDB's log format behind a header of seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, whole = path.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        size, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(whole)
            whole = b""
