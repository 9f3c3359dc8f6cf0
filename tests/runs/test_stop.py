"""Signals that ask a run to stop, at every moment of it: what is said, the exit code, and that the
same command goes on and ends as if there had been no signal. The signal is sent from inside the
run, so that no moment is missed however fast the machine is."""

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
from tiny_runs import (
    NUM_STEPS,
    SECONDS,
    assert_same_run,
    at_call,
    change_scorer,
    change_setup,
    config_in,
    output_of,
    run_main,
    start_main,
    train_in,
    wait_until,
)

from bigjax.checkpoints import manifest
from bigjax.errors import Stopped

pytestmark = pytest.mark.usefixtures("shared_builds")
SIGNALS = (signal.SIGTERM, signal.SIGINT)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that nothing happens to."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    train_in(workdir)
    return workdir


def test_who_is_told_of_an_evaluation_may_end_the_run_there_which_resumes_as_if_not(
    finished, tmp_path
):
    """The second evaluation is told of again, as its state was not yet saved."""
    told = []

    def end(step: int, score: float) -> None:
        told.append((step, score))
        if len(told) == 2:
            raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        train_in(tmp_path / "run", evaluated=end)
    assert not (tmp_path / "run" / "checkpoints" / str(told[1][0])).exists()
    train_in(tmp_path / "run", evaluated=lambda *found: told.append(found))
    assert_same_run(tmp_path / "run", finished)
    assert told[1] == told[2]
    lines = map(json.loads, (finished / "metrics.jsonl").read_text().splitlines())
    dev = [(line["step"], line) for line in lines if "dev/loss" in line]
    assert [step for step, _ in told[:1] + told[2:]] == [step for step, _ in dev]
    assert all(score in line.values() for (_, line), (_, score) in zip(dev, told[:1] + told[2:]))


# --- a first signal -------------------------------------------------------------------------------


def in_a_step(patch, act):
    change_setup(patch, lambda s: s._replace(compiled=at_call(s.compiled, number=13, act=act)))


def in_an_evaluation(patch, act):
    """The second one of dev, in the first of its two batches."""
    change_scorer(patch, lambda s: s._replace(eval_step=at_call(s.eval_step, number=3, act=act)))


def in_a_save(patch, act):
    """In the thread that finishes the third checkpoint."""
    patch.setattr(manifest, "write", at_call(manifest.write, number=3, act=act))


def in_the_last_evaluation(patch, act):
    """Before the last step's checkpoint is made."""
    change_scorer(patch, lambda s: s._replace(eval_step=at_call(s.eval_step, number=5, act=act)))


def in_the_final_scoring(patch, act):
    change_scorer(patch, lambda s: s._replace(eval_step=at_call(s.eval_step, number=7, act=act)))


@pytest.mark.parametrize(
    ("moment", "sent", "step"),
    [
        (in_a_step, signal.SIGTERM, 13),
        (in_a_step, signal.SIGINT, 13),
        (in_an_evaluation, signal.SIGTERM, 16),
        (in_a_save, signal.SIGINT, None),
        (in_the_last_evaluation, signal.SIGTERM, NUM_STEPS),
    ],
)
def test_a_signal_ends_the_step_and_saves_and_the_same_command_goes_on(
    finished, tmp_path, monkeypatch, capfd, moment, sent, step
):
    """step: at which it stops; after a save this depends on how far the loop has come meanwhile."""
    workdir = tmp_path / "run"
    error, printed = stopped_run(workdir, monkeypatch, capfd, moment=moment, sent=sent)
    said = re.fullmatch(
        r"stopped at step (\d+), saved \d+\.\d s after the signal; the same command resumes from "
        "there",
        str(error),
    )
    assert said and (int(said[1]) == step or step is None and 10 <= int(said[1]) <= NUM_STEPS)
    assert f"{sent.name}: finishing the step and saving; a second signal ends at once" in printed
    assert max(map(int, os.listdir(workdir / "checkpoints"))) == int(said[1])
    train_in(workdir)
    assert f"resuming at step {said[1]} of {NUM_STEPS};" in capfd.readouterr().out
    assert_same_run(workdir, finished)


def test_a_signal_in_the_final_scoring_ends_it_and_the_same_command_scores(
    finished, tmp_path, monkeypatch, capfd
):
    """With nothing to save: the run is trained."""
    workdir = tmp_path / "run"
    error, _ = stopped_run(
        workdir, monkeypatch, capfd, moment=in_the_final_scoring, sent=signal.SIGINT
    )
    assert str(error) == "stopped; training is saved, and the same command makes the scores"
    assert not (workdir / "results.json").exists()
    train_in(workdir)
    assert_same_run(workdir, finished)


def stopped_run(workdir: Path, monkeypatch, capfd, *, moment, sent) -> tuple[Stopped, str]:
    """The error that a run ends with that is sent a signal, and what it printed on stderr."""
    with monkeypatch.context() as patch:
        moment(patch, lambda: send_and_wait(sent))
        with pytest.raises(Stopped) as stopped:
            train_in(workdir)
    assert stopped.value.exit_code == 75
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler  # as it was before
    return stopped.value, capfd.readouterr().err


def send_and_wait(sent: signal.Signals) -> None:
    """Sends it to this process, and goes on when the thread that listens has had time to see it."""
    os.kill(os.getpid(), sent)
    time.sleep(0.3)


# --- signals that end a process at once -----------------------------------------------------------


# Compiles again and again until the signal ends it, so that it comes inside XLA for certain.
COMPILES_FOR_EVER = """
def compile_for_ever(lowered, *_, compile=jax.stages.Lowered.compile):
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
    while True:
        compile(lowered)
jax.stages.Lowered.compile = compile_for_ever
"""
# The twelfth step does not end, so only the second signal can have ended the process.
HANGS_IN_A_STEP = """
def build(config, build=train.build, calls=itertools.count(1)):
    setup = build(config)
    def step(*given):
        if next(calls) == 12:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
            time.sleep(600)
        return setup.compiled(*given)
    return setup._replace(compiled=step)
train.build = build
"""
TAKES_A_SECOND_A_STEP = """
def build(config, build=train.build):
    setup = build(config)
    step = lambda *given: (time.sleep(1), setup.compiled(*given))[1]
    return setup._replace(compiled=step)
train.build = build
"""


def test_whatever_signals_end_the_processes_of_a_run_the_same_command_ends_it(tmp_path):
    """One run in four processes: a signal while it compiles, two in a step, one from outside, and
    none; beside a run of one process."""
    workdir, whole = tmp_path / "run", tmp_path / "whole"
    config_in(tmp_path)

    code, printed = run_main(workdir, change=COMPILES_FOR_EVER)
    assert (code, printed[-1]) == (75, "SIGTERM: ended; the same command resumes")
    assert not (workdir / "checkpoints").exists()

    code, printed = run_main(workdir, change=HANGS_IN_A_STEP)
    assert code == 75 and printed[-2:] == [
        "SIGINT: finishing the step and saving; a second signal ends at once",
        "SIGINT: ended without saving; the last checkpoint is intact; the same command resumes",
    ]
    saved = max(int(name) for name in os.listdir(workdir / "checkpoints") if name.isdecimal())

    child = start_main(workdir, change=TAKES_A_SECOND_A_STEP)
    wait_until(lambda: f"step {saved + 1:>2}/" in output_of(workdir), child)
    child.send_signal(signal.SIGTERM)
    assert child.wait(SECONDS) == 75
    printed = output_of(workdir).splitlines()
    assert any(line.startswith(f"resuming at step {saved} of {NUM_STEPS};") for line in printed)
    assert re.fullmatch(r"stopped at step \d+, saved .* s after the signal; .*", printed[-1])

    assert run_main(workdir)[0] == 0
    assert run_main(whole)[0] == 0
    assert_same_run(workdir, whole)
