"""Owns `--mode=verify_resume`: proof, on the user's machine and config, that a run which is killed
again and again ends as one that never was.

Runs are processes of their own, killed with SIGKILL; this one only watches their files.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from bigjax.checkpoints import manifest, restore
from bigjax.config.sections import Run, Verification
from bigjax.config.values import Config
from bigjax.errors import UserError

POLL_SECONDS = 0.002
STARTING, STEPPING, SAVING = "while starting", "between saves", "during a save"
GPU_HINT = "on a GPU, XLA_FLAGS=--xla_gpu_deterministic_ops=true makes a run repeatable"
TIMING = ("_per_second", "/input_wait")  # what a metrics line says of speed


class NotTheSame(UserError):
    """A killed run did not end as the uninterrupted one."""

    exit_code = 4
    prefix = ""


class Kill(NamedTuple):
    """What a run was doing when it was killed, and at which step it was."""

    doing: str
    step: int


def verify_resume(config: Config, *, command: Sequence[str], workdir: str) -> None:
    """Trains `verify.num_steps` steps twice, once straight through and once with
    `verify.num_kills` kills, and compares what is left behind; prints a verdict.

    Args:
      command: of a run, without --workdir; the program, the config and its overrides.
      workdir: holds the two runs, in `straight` and `killed`; both are made afresh.

    Raises:
      NotTheSame: says what differs first.
      UserError: the config does not train at all.
    """
    run, wanted = config.of(Run), config.of(Verification)
    num_steps, num_kills = wanted.num_steps, wanted.num_kills
    straight, killed = (os.path.join(workdir, name) for name in ("straight", "killed"))
    overrides = [
        f"--config.num_steps={num_steps}",
        "--config.num_epochs=None",
        "--config.num_examples=None",
        f"--config.checkpoint.every_steps={max(1, num_steps // 20)}",
        "--config.log.batches=True",
        f"--config.log.every_steps={run.steps_per_dispatch}",
    ]
    for folder in (straight, killed):
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
    _say(f"straight through: {num_steps} steps in {straight}")
    _finish(_spawn([*command, *overrides], workdir=straight), workdir=straight)
    draw = random.Random(run.seed)
    kills: list[Kill] = []
    while len(kills) < num_kills:
        process = _spawn([*command, *overrides], workdir=killed)
        aims = _aim(killed, num_steps=num_steps, kills_left=num_kills - len(kills), draw=draw)
        kill = _kill_when(process, aims, workdir=killed)
        if kill is None:  # it ended before its time came
            _say(f"the run ended after {len(kills)} kills; more would need more steps")
            break
        kills.append(kill)
        _say(f"kill {len(kills):>3} of {num_kills}: at step {kill.step}, {kill.doing}")
    _finish(_spawn([*command, *overrides], workdir=killed), workdir=killed)
    in_save = sum(kill.doing == SAVING for kill in kills)
    _say(f"{len(kills)} kills, {in_save} of them during a save")
    _compare(straight, killed)


def _aim(
    workdir: str, *, num_steps: int, kills_left: int, draw: random.Random
) -> Iterator[str | None]:
    """Asked again and again during the run: what it is doing when the moment to kill it has
    come, else None. Four moments of ten lie in a save, one in the start, the others anywhere.
    """
    kind = draw.choices([SAVING, STEPPING, STARTING], weights=[4, 5, 1])[0]
    delay = draw.random()
    first = step_of(workdir)
    ahead = max(1, 2 * (num_steps - first) // (kills_left + 1))
    target = first + draw.randint(1, ahead)
    begun = time.monotonic()
    reached = None
    while True:
        now = time.monotonic()
        if kind == STARTING:
            yield STARTING if now - begun > 8 * delay else None
            continue
        step, is_saving = step_of(workdir), _is_saving(workdir)
        if kind == SAVING and reached is not None and not is_saving and step < num_steps:
            reached, delay = None, delay / 2  # that save was over sooner: earlier in the next one
        if reached is None and step >= target and (kind == STEPPING or is_saving):
            reached = now
        if reached is not None and now - reached > delay * 0.05:
            yield SAVING if is_saving else STEPPING
        else:
            yield None


def _kill_when(
    process: subprocess.Popen, aims: Iterator[str | None], *, workdir: str
) -> Kill | None:
    for doing in aims:
        if process.poll() is not None:
            _check_exit(process, workdir=workdir)
            return None
        if doing is not None:
            step = step_of(workdir)
            process.send_signal(signal.SIGKILL)
            process.wait()
            return Kill(doing, step)
        time.sleep(POLL_SECONDS)
    raise AssertionError("an aim never ends")


def step_of(workdir: str) -> int:
    """How many batches the run in `workdir` has taken, by its ledger."""
    try:
        with open(os.path.join(workdir, "batches.jsonl"), "rb") as file:
            return file.read().count(b"\n")
    except FileNotFoundError:
        return 0


def _is_saving(workdir: str) -> bool:
    try:
        names = os.listdir(os.path.join(workdir, "checkpoints"))
    except FileNotFoundError:
        return False
    return any(name.endswith(".partial") for name in names)


def _spawn(command: Sequence[str], *, workdir: str) -> subprocess.Popen:
    with open(os.path.join(workdir, "output.txt"), "ab") as output:
        return subprocess.Popen(
            [*command, f"--workdir={workdir}"], stdout=output, stderr=subprocess.STDOUT
        )


def _finish(process: subprocess.Popen, *, workdir: str) -> None:
    process.wait()
    _check_exit(process, workdir=workdir)


def _check_exit(process: subprocess.Popen, *, workdir: str) -> None:
    if process.returncode:
        path = os.path.join(workdir, "output.txt")
        with open(path, encoding="utf-8", errors="replace") as file:
            last = (file.read().strip().splitlines() or ["nothing"])[-1]
        raise UserError(
            f"a run ended with exit code {process.returncode}: {last.removeprefix('error: ')} "
            f"(its output: {path})"
        )


def _compare(straight: str, killed: str) -> None:
    """Prints what is the same; raises NotTheSame for what is not."""
    for name, what, hint in (
        ("batches.jsonl", "examples of batches", ""),
        ("metrics.jsonl", "metrics", f"; {GPU_HINT}"),
    ):
        lines, others = (_lines(os.path.join(folder, name)) for folder in (straight, killed))
        for line, other in zip(lines, others):
            if line != other:
                raise NotTheSame(
                    f"NOT THE SAME: {what} at step {line['step']}: {line}, {other}{hint}"
                )
        if len(lines) != len(others):
            raise NotTheSame(f"NOT THE SAME: {what}: {len(lines)} lines and {len(others)}")
        _say(f"the same: {what}, {len(lines)} lines")
    folders = [_last_checkpoint(folder) for folder in (straight, killed)]
    found, others = (manifest.read(folder).arrays for folder in folders)
    differ = [name for name in {**found, **others} if found.get(name) != others.get(name)]
    if differ:
        raise NotTheSame(
            f"NOT THE SAME: {len(differ)} of {len(found)} arrays, first {differ[0]}; "
            f"{restore.largest_difference(*folders)}; {GPU_HINT}"
        )
    for part in dict.fromkeys(name.split("/")[0] for name in found):
        hashes = [digest for name, (*_, digest) in found.items() if name.split("/")[0] == part]
        total = sum(int(digest, 16) * (2 * i + 1) for i, digest in enumerate(hashes)) % 2**64
        _say(f"the same: {part}, {len(hashes)} arrays, hash {total:016x}")
    _say("BITWISE THE SAME: killed or not, this config ends in the same run on this machine")


def _last_checkpoint(workdir: str) -> str:
    folder = os.path.join(workdir, "checkpoints")
    return os.path.join(folder, str(manifest.steps(folder)[-1]))


def _lines(path: str) -> list[dict[str, Any]]:
    with open(path, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    return [{k: v for k, v in line.items() if not k.endswith(TIMING)} for line in lines]


def _say(line: str) -> None:
    print(line, file=sys.stdout, flush=True)
