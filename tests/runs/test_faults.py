"""What can go wrong around a run, as whole runs: what the user is told, that what was saved stays,
and that the run then ends as if nothing had happened. The table is in `docs/reliability.md`; faults
of a single file, and of the disk during a save, are in `test_save.py`, signals in
`test_stop.py`, kills in `test_verify_resume.py`."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT
from tiny_runs import (
    NUM_STEPS,
    assert_same_run,
    at_call,
    change_setup,
    config_in,
    one_device_environment,
    run_main,
    train_in,
)

from bigjax.errors import UserError
from bigjax.loop import loop
from bigjax.modes import train
from bigjax.run_folder import writers
from bigjax.run_folder.lock import Lock

pytestmark = pytest.mark.usefixtures("shared_builds")
HALF = 13  # the step at which a run is broken off; its last checkpoint is of step 10


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that nothing happens to."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    train_in(workdir)
    return workdir


@pytest.fixture(scope="module")
def broken_off(tmp_path_factory):
    """A run that ended in the middle, with checkpoints of steps 8 and 10."""
    workdir = tmp_path_factory.mktemp("broken") / "run"

    def interrupt():
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        during_a_step(patch, interrupt)
        with pytest.raises(KeyboardInterrupt):
            train_in(workdir)
    return workdir


@pytest.fixture
def half(broken_off, tmp_path):
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(broken_off, tmp_path / "run"))


def during_a_step(patch, act) -> None:
    """Lets something happen at the update after step HALF."""
    step = lambda s: s._replace(compiled=at_call(s.compiled, number=HALF + 1, act=act))  # noqa: E731
    change_setup(patch, step)


def error_of(workdir: Path) -> str:
    """The one line that a run ends with."""
    with pytest.raises(UserError) as error:
        train_in(workdir)
    assert "\n" not in str(error.value) and error.value.exit_code == 2
    return str(error.value)


def checkpoints_in(workdir: Path) -> list[str]:
    return sorted(os.listdir(workdir / "checkpoints"))


def test_every_fault_of_the_table_has_a_test_of_that_name():
    rows = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8").splitlines()
    named, file = 0, None
    for row in rows:
        for name in re.findall(r"`(test_\w+(?:\.py)?)`", row):
            if name.endswith(".py"):
                (path,) = (ROOT / "tests").rglob(name)
                file = path.read_text(encoding="utf-8")
            else:
                assert f"def {name}(" in file, name
                named += 1
    assert named > 20


# --- files ----------------------------------------------------------------------------------------

TAILS = {
    "cut off": b'{"step": 14, "train/lo',
    "of zeros, as a power cut leaves them": bytes(4096),
    "garbled": bytes(np.random.default_rng(0).integers(0, 256, 4096, np.uint8)) + b"\n",
    "of other objects": b'[1, 2]\n{"stop": 14}\n{"step": "fourteen"}\n17\n\n',
}


@pytest.mark.parametrize("tail", TAILS)
def test_whatever_stands_at_the_end_of_the_records_the_run_goes_on(half, finished, tail):
    for name in ("metrics.jsonl", "batches.jsonl"):
        with open(half / name, "ab") as file:
            file.write(TAILS[tail])
    train_in(half)
    assert_same_run(half, finished)


def flip_a_byte(workdir: Path, step: int) -> None:
    """In the largest file of a checkpoint, which holds arrays."""
    files = [path for path in (workdir / "checkpoints" / str(step)).rglob("*") if path.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)


def test_a_damaged_checkpoint_is_told_and_the_one_before_ends_in_the_same_run(
    half, finished, capsys
):
    flip_a_byte(half, 10)
    train_in(half)
    printed = capsys.readouterr()
    assert re.search(
        r"^warning: checkpoint 10 is damaged: \S+ has other bytes than were saved; using that of "
        r"step 8; the damaged one is kept as checkpoints/10\.damaged$",
        printed.err,
        re.MULTILINE,
    )
    assert printed.out.startswith(f"resuming at step 8 of {NUM_STEPS};")
    assert_same_run(half, finished)


def test_where_all_are_damaged_one_line_says_so_and_nothing_is_renamed(half):
    for step in (8, 10):
        flip_a_byte(half, step)
    message = error_of(half)
    assert re.match(r".*every checkpoint is damaged \(10: .*; 8: .*\); restore one", message)
    assert message.endswith("start over in another --workdir")
    assert checkpoints_in(half) == ["10", "8"]


@pytest.mark.parametrize("content", ["", '{"values": ', "[]", '{"values": 3}', None])
@pytest.mark.parametrize("name", ["config.json", "environment.json"])
def test_what_says_which_run_it_is_is_missed_in_one_line(half, name, content):
    """Without it nobody can tell whether settings and data are the run's own."""
    if content is None:
        (half / name).unlink()
    else:
        (half / name).write_text(content)
    message = error_of(half)
    told = "no such file" if content is None else "is damaged"
    assert message.startswith(f"{half / name}: {told}")
    assert "--workdir" in message
    assert checkpoints_in(half) == ["10", "8"]


def test_a_damaged_record_of_the_settings_is_written_anew_where_that_is_asked_for(half, finished):
    (half / "config.json").write_text("{")
    with pytest.MonkeyPatch.context() as patch:
        going_on = lambda config, *, workdir: ask(config, workdir=workdir, allow_config_change=True)  # noqa: E731
        ask = train.train
        patch.setattr(train, "train", going_on)
        train_in(half)
    record = json.loads((half / "config.json").read_text())
    assert record["values"] == json.loads((finished / "config.json").read_text())["values"]
    assert_same_run(half, finished)


def test_damaged_results_are_written_anew_by_the_same_command(finished, tmp_path):
    workdir = Path(shutil.copytree(finished, tmp_path / "run"))
    (workdir / "results.json").write_text('{"task": ')
    (workdir / "report.html").write_text("<html")
    train_in(workdir)
    assert_same_run(workdir, finished)
    assert (workdir / "report.html").read_text(encoding="utf-8").rstrip().endswith("</html>")


# --- the folder and its disk ----------------------------------------------------------------------


def test_a_second_run_in_a_folder_is_refused_and_touches_nothing(half):
    before = {path: path.read_bytes() for path in half.rglob("*") if path.is_file()}
    with Lock(str(half)):
        message = error_of(half)
    assert message.startswith(f"--workdir={half} is in use by process {os.getpid()} on ")
    del before[half / ".lock"]
    assert {path: path.read_bytes() for path in before} == before


GONE = "--workdir={} is gone, it was removed or renamed during the run: the checkpoint of step"


def test_a_folder_that_is_removed_during_the_run_is_told_and_not_made_anew(tmp_path, monkeypatch):
    workdir = tmp_path / "run"
    during_a_step(monkeypatch, lambda: shutil.rmtree(saved(workdir)))
    assert error_of(workdir).startswith(GONE.format(workdir))
    assert not workdir.exists()


def test_a_folder_that_is_renamed_during_the_run_goes_on_under_its_new_name(
    finished, tmp_path, monkeypatch
):
    workdir, renamed = tmp_path / "run", tmp_path / "renamed"
    with monkeypatch.context() as patch:
        during_a_step(patch, lambda: saved(workdir).rename(renamed))
        assert error_of(workdir).startswith(GONE.format(workdir))
    assert not workdir.exists()
    train_in(renamed)
    assert_same_run(renamed, finished)


def saved(workdir: Path) -> Path:
    """The folder of a run, when it has finished saving step 10."""
    deadline = time.monotonic() + 60
    while checkpoints_in(workdir) != ["10", "8"]:  # and that of step 5 is removed
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return workdir


@pytest.mark.parametrize("number", [errno.EROFS, errno.EIO, errno.ENOSPC])
def test_a_disk_that_fails_is_one_line_and_the_run_goes_on_when_it_is_mended(
    finished, tmp_path, monkeypatch, number
):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    workdir = tmp_path / "run"
    with monkeypatch.context() as patch:
        during_a_step(patch, lambda: patch.setattr(writers.JsonLines, "write_scalars", fail))
        message = error_of(workdir)
    assert message == (
        f"--workdir={workdir}: its files cannot be written to ({os.strerror(number)}); what was "
        "saved is intact; fix that and run the same command again to resume"
    )
    train_in(workdir)
    assert_same_run(workdir, finished)


def test_a_file_that_cannot_write_its_rest_keeps_no_other_open():
    """Python 3.13 reports each that is left, after the one line that says it."""

    def full():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    closed = []
    session = loop.Session(
        setup=None,
        scorer=None,
        workdir="",
        checkpoints=SimpleNamespace(close=lambda: closed.append("checkpoints")),
        stop=None,
        writer=SimpleNamespace(close=full),
        ledger=SimpleNamespace(close=lambda: closed.append("ledger")),
        progress=None,
    )
    with pytest.raises(OSError, match="No space left"), loop.closing(session):
        full()
    assert closed == ["checkpoints", "ledger"]


@pytest.fixture
def disk(tmp_path):
    """The folder of a file system of 32 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mount(folder, options="size=32m"):
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def mount(folder: Path, *, options: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("inside", ["", "run"])
def test_a_folder_that_may_only_be_read_is_told_before_anything_is_read(disk, monkeypatch, inside):
    assert mount(disk, options="remount,ro")
    monkeypatch.setattr(train, "build", None)  # which reads the data
    with pytest.raises(UserError) as error:
        train.train(None, workdir=str(disk / inside))
    assert re.fullmatch(
        r"--workdir=\S+: cannot be written to \(Read-only file system\); give a folder of yours",
        str(error.value),
    )


def test_a_disk_that_is_full_ends_the_run_with_one_line_and_it_goes_on(disk, tmp_path):
    """Before the next save, as its program would have it: metrics and event files fail first."""
    workdir, whole = tmp_path / "run", tmp_path / "whole"
    config_in(tmp_path)
    (disk / "run").mkdir()
    workdir.symlink_to(disk / "run")  # what is printed goes to a disk with room
    code, printed = run_main(workdir, change=FILLS_THE_DISK)
    assert code == 2, printed
    assert printed[-1] == (
        f"error: --workdir={workdir}: its files cannot be written to (No space left on device); "
        "what was saved is intact; fix that and run the same command again to resume"
    )
    (disk / "other").unlink()
    for run in (workdir, whole):
        assert run_main(run)[0] == 0
    assert_same_run(workdir, whole)


# Leaves nothing but what is left of the last page of each file, which its next lines fill.
FILLS_THE_DISK = """
def build(config, build=train.build, calls=itertools.count(1)):
    setup = build(config)
    def step(*given):
        if next(calls) == 8:
            workdir = sys.argv[-1].removeprefix("--workdir=")
            while not os.path.exists(os.path.join(workdir, "checkpoints", "5")):
                time.sleep(0.01)
            other = os.path.join(os.path.dirname(os.path.realpath(workdir)), "other")
            with open(other, "wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(4096))
                except OSError:
                    pass
            loop.is_due = lambda every, step: every == 1  # no save until then
        return setup.compiled(*given)
    return setup._replace(compiled=step)
train.build = build
"""


# --- the clock and the compiler's cache -----------------------------------------------------------


def test_a_clock_that_goes_backwards_changes_nothing(finished, tmp_path, monkeypatch):
    """By an hour each time that anyone asks for it."""
    calls = iter(range(10**9))
    began = time.time()
    monkeypatch.setattr(time, "time", lambda: began - 3600.0 * next(calls))
    train_in(tmp_path / "run", {"checkpoint.every_minutes": "1"})
    assert next(calls) > 0
    assert_same_run(tmp_path / "run", finished)


def test_a_damaged_cache_of_compiled_programs_is_compiled_anew(tmp_path):
    """As a process leaves it that is killed while it writes there."""
    workdir, whole = tmp_path / "run", tmp_path / "whole"
    config_in(tmp_path)
    environment = one_device_environment() | {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",  # all programs
    }
    assert run_main(whole, env=environment)[0] == 0
    programs = list((tmp_path / "compiled").rglob("*-cache"))
    assert programs
    for path in programs:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert run_main(workdir, env=environment)[0] == 0
    assert_same_run(workdir, whole)


# --- a large data set -----------------------------------------------------------------------------


def test_step_1_000_000_of_ten_million_sentences_is_found_in_less_than_a_gibibyte():
    program = [sys.executable, str(ROOT / "benchmarks" / "position.py")]
    printed = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    assert re.search(r"^10,000,000 sentences in \d,\d{3},\d{3} rows, 9\d\.\d% full$", printed, re.M)
    assert re.search(r"^batch 1,000,000, in epoch \d+, of \d\d+ sentences: ", printed, re.M)
    assert float(re.search(r"^memory, peak: (\S+) GiB", printed, re.M)[1]) < 1
