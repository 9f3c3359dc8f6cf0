"""`--mode=verify_resume`, the short form of `benchmarks/reliability.py`: that runs which are killed
again and again end as those that are not, and that any difference is found and named."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import ROOT, module_at
from saved_states import make_state
from tiny_runs import config_in, load, start_changed

from bigjax.checkpoints.save import Checkpoints
from bigjax.errors import UserError
from bigjax.modes import verify_resume as verify_mode
from bigjax.modes.verify_resume import NotTheSame

SECONDS = 900  # after which a process that should have ended fails its test


def verify_resume(task: str, *flags: str, folder: Path) -> tuple[int, str]:
    """Runs it on the harness's config of a task; the exit code, and all that was printed."""
    config, overrides = module_at(ROOT / "benchmarks" / "reliability.py").CONFIGS[task]
    command = [sys.executable, "main.py", "--mode=verify_resume", f"--config={config}"]
    command += [f"--workdir={folder}/run", *(f"--config.{k}={v}" for k, v in overrides.items())]
    environment = {key: value for key, value in os.environ.items() if key != "XLA_FLAGS"}
    ended = subprocess.run(
        [*command, *flags],
        cwd=ROOT,
        env=environment | {"XDG_CACHE_HOME": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
    )
    return ended.returncode, ended.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "task", ["token tagging", "image classification", "masked language", "text classification"]
)
def test_a_run_that_is_killed_ends_bitwise_as_one_that_is_not(task, tmp_path):
    """Packed rows, dropout and accumulation; batch statistics, augmentation, mixup and averages. Of
    seed 0 the first two moments to kill it lie in a save."""
    kills = ("--config.verify.num_steps=24", "--config.verify.num_kills=2")
    code, printed = verify_resume(task, *kills, "--config.eval.every_steps=8", folder=tmp_path)
    assert code == 0, printed
    assert re.search(r"^2 kills, [12] of them during a save$", printed, re.MULTILINE), printed
    assert "the same: examples of batches, 24 lines" in printed
    assert "the same: params, " in printed and "the same: opt_state, " in printed
    assert ("the same: ema, " in printed) == (task == "image classification")
    assert ("the same: model_state, " in printed) == (task == "image classification")
    assert printed.splitlines()[-1].startswith("BITWISE THE SAME: ")


# A pause before each step and in each save, so that there is time to kill it.
PACED = """
from bigjax.checkpoints import save
from bigjax.run_folder import ledger
def paced(self, step, add=ledger.Ledger.add):
    time.sleep(0.03)
    add(self, step)
def hashed(folder, hashes=save.file_hashes):
    time.sleep(0.1)
    return hashes(folder)
ledger.Ledger.add, save.file_hashes = paced, hashed
"""


def test_a_small_run_that_is_killed_in_a_save_ends_bitwise_as_one_that_is_not(
    tmp_path, monkeypatch, capsys
):
    """Of processes that start warm."""

    def spawn(command, *, workdir):
        output = Path(workdir) / "output.txt"
        return start_changed(*command, f"--workdir={workdir}", change=PACED, output=output)

    monkeypatch.setattr(verify_mode, "_spawn", spawn)
    file = config_in(tmp_path)
    config = load(file, {"verify.num_steps": "24", "verify.num_kills": "1"})
    verify_mode.verify_resume(config, command=[f"--config={file}"], workdir=str(tmp_path / "run"))
    printed = capsys.readouterr().out
    assert "1 kills, 1 of them during a save" in printed
    assert "the same: examples of batches, 24 lines" in printed
    assert printed.splitlines()[-1].startswith("BITWISE THE SAME: ")


# --- what is compared -----------------------------------------------------------------------------

# Stands in for training: the folder of a run is that of one made beforehand.
COPIES = """
import os, shutil, sys
workdir = sys.argv[-1].removeprefix("--workdir=")
made = os.path.join(sys.argv[1], os.path.basename(workdir))
shutil.copytree(made, workdir, dirs_exist_ok=True)
"""


@pytest.fixture
def made(tmp_path) -> Path:
    """A folder with two runs of three steps that are the same but for their speed."""
    for number, name in enumerate(("straight", "killed")):
        workdir = tmp_path / "made" / name
        workdir.mkdir(parents=True)
        batches = [{"step": step, "examples": 4, "sha256": f"{step:064x}"} for step in range(3)]
        metrics = [
            {"step": step, "train/loss": 1 / step, "train/images_per_second": 1.0 + number}
            for step in (1, 2, 3)
        ]
        write_lines(workdir / "batches.jsonl", batches)
        write_lines(workdir / "metrics.jsonl", metrics)
        save(workdir, make_state(3))
    return tmp_path / "made"


def write_lines(path: Path, lines: list[dict]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def save(workdir: Path, state) -> None:
    shutil.rmtree(workdir / "checkpoints", ignore_errors=True)
    checkpoints = Checkpoints(str(workdir), keep_latest=1, keep_best=0)
    checkpoints.save(state, step=3, facts={}, score=None)
    checkpoints.close()


def compare(made: Path, *, num_kills: int = 1) -> None:
    """verify_resume of runs that end at once, as those in `made`."""
    given = {"verify.num_steps": "3", "verify.num_kills": str(num_kills)}
    config = load(config_in(made.parent), given)
    command = [sys.executable, "-c", COPIES, str(made)]
    verify_mode.verify_resume(config, command=command, workdir=str(made.parent / "verified"))


def test_runs_that_end_before_they_are_killed_are_compared_and_the_kills_counted(made, capsys):
    compare(made, num_kills=3)
    printed = capsys.readouterr().out
    assert "the run ended after 0 kills; more would need more steps" in printed
    assert "0 kills, 0 of them during a save" in printed
    assert "the same: metrics, 3 lines" in printed  # though not of the same speed
    assert printed.splitlines()[-1].startswith("BITWISE THE SAME: ")


def test_without_kills_two_runs_are_compared(made, capsys):
    compare(made, num_kills=0)
    assert capsys.readouterr().out.splitlines()[-1].startswith("BITWISE THE SAME: ")


def other_examples(workdir: Path) -> None:
    lines = read_lines(workdir / "batches.jsonl")
    lines[1]["sha256"] = "f" * 64
    write_lines(workdir / "batches.jsonl", lines)


def one_batch_less(workdir: Path) -> None:
    write_lines(workdir / "batches.jsonl", read_lines(workdir / "batches.jsonl")[:-1])


def another_loss(workdir: Path) -> None:
    lines = read_lines(workdir / "metrics.jsonl")
    lines[2]["train/loss"] = np.nextafter(lines[2]["train/loss"], 1)
    write_lines(workdir / "metrics.jsonl", lines)


def another_bias(workdir: Path) -> None:
    state = make_state(3)
    bias = state.params["b"]["bias"]
    moved = {"b": {"bias": jax.device_put(bias.at[2].add(0.125), bias.sharding)}}
    save(workdir, state._replace(params=state.params | moved))


def one_array_less(workdir: Path) -> None:
    state = make_state(3)
    save(workdir, state._replace(params={"a": state.params["a"]}))


@pytest.mark.parametrize(
    ("tamper", "expected"),
    [
        (other_examples, r"examples of batches at step 1: \{.*\}, \{.*fff.*\}$"),
        (one_batch_less, "examples of batches: 3 lines and 2$"),
        (another_loss, r"metrics at step 3: \{.*\}, \{.*\}; on a GPU, XLA_FLAGS="),
        (another_bias, r"1 of \d+ arrays, first params/b/bias; the largest difference of a "
         r"parameter is 0\.125, in b/bias; on a GPU, XLA_FLAGS="),
        (one_array_less, r"1 of \d+ arrays, first params/b/bias; "),
    ],
)  # fmt: skip
def test_any_difference_is_named_and_ends_with_a_code_of_its_own(made, capsys, tamper, expected):
    tamper(made / "killed")
    with pytest.raises(NotTheSame, match=f"^NOT THE SAME: {expected}") as error:
        compare(made)
    assert "\n" not in str(error.value) and error.value.exit_code == 4
    assert "BITWISE" not in capsys.readouterr().out


def test_what_an_earlier_comparison_left_is_not_compared(made, capsys):
    stale = made.parent / "verified" / "killed"
    shutil.copytree(made / "killed", stale)
    other_examples(stale)
    (stale / "checkpoints" / "9").mkdir()
    compare(made)
    assert capsys.readouterr().out.splitlines()[-1].startswith("BITWISE THE SAME: ")


def test_a_run_that_fails_is_told_with_its_last_line_and_where_its_output_is(tmp_path):
    command = [sys.executable, "-c", "import sys; print('one'); sys.exit('error: two')"]
    config = load(config_in(tmp_path), {"verify.num_steps": "3", "verify.num_kills": "1"})
    with pytest.raises(UserError) as error:
        verify_mode.verify_resume(config, command=command, workdir=str(tmp_path))
    output = tmp_path / "straight" / "output.txt"
    assert str(error.value) == f"a run ended with exit code 1: two (its output: {output})"
    assert error.value.exit_code == 2
