"""Saving with Orbax: atomic wherever it is cut off, bitwise on any mesh, and which are kept."""

import ast
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
import warm
from jax.sharding import PartitionSpec as P
from saved_states import (
    FACTS,
    WHOLE,
    assert_bitwise_equal,
    assert_newest,
    like,
    make_state,
    names_in,
    open_in,
    save_all,
)

from bigjax.checkpoints import manifest, save
from bigjax.checkpoints.manifest import DamagedCheckpoint
from bigjax.checkpoints.save import Checkpoints
from bigjax.errors import UserError

SECONDS = 120  # after which a process that should have ended fails its test


# --- saving and restoring -------------------------------------------------------------------------


def test_what_is_restored_is_bitwise_what_was_saved(tmp_path):
    state, facts = make_state(7), {"best_score": 0.123456789, "best_step": 5, "without_better": 2}
    first = open_in(tmp_path)
    first.save(state, step=7, facts=facts, score=0.5)
    first.close()
    second = open_in(tmp_path)
    assert second.steps()[-1] == 7
    restored, found = second.restore(7, like=like(state))
    second.close()
    assert_bitwise_equal(restored, state)
    assert found == facts


MESHES = [("one", WHOLE), ("data=2,fsdp=4", P("fsdp")), ("fsdp=2,tensor=4", P("fsdp", "tensor"))]


@pytest.mark.parametrize(("mesh", "axes"), MESHES)
@pytest.mark.parametrize(("old_mesh", "old_axes"), [("one", WHOLE), ("fsdp=8", P("fsdp"))])
def test_a_state_is_restored_straight_onto_another_mesh(tmp_path, mesh, axes, old_mesh, old_axes):
    saved = make_state(3, mesh=old_mesh, axes=old_axes)
    checkpoints = open_in(tmp_path)
    checkpoints.save(saved, step=3, facts=FACTS, score=None)
    wanted = make_state(3, mesh=mesh, axes=axes)
    restored, _ = checkpoints.restore(3, like=like(wanted))
    checkpoints.close()
    assert_bitwise_equal(restored, saved)
    for found, expected in zip(jax.tree.leaves(restored), jax.tree.leaves(wanted)):
        assert found.sharding == expected.sharding


def test_a_state_may_be_donated_as_soon_as_save_returns(tmp_path):
    """The next update overwrites it while it is still being hashed and written."""
    expected, state = make_state(1), make_state(1)
    overwrite = jax.jit(lambda s: jax.tree.map(lambda x: x * 0 - 1, s), donate_argnums=0)
    checkpoints = open_in(tmp_path)
    checkpoints.save(state, step=1, facts=FACTS, score=None)
    overwritten = jax.block_until_ready(overwrite(state))
    restored, _ = checkpoints.restore(1, like=like(expected))
    checkpoints.close()
    assert_bitwise_equal(restored, expected)
    assert int(overwritten.step) == -1


def test_of_a_step_that_is_there_only_facts_and_score_are_replaced(tmp_path):
    save_all(tmp_path, {1: 0.5})
    other = make_state(1)._replace(step=jnp.int32(99))
    checkpoints = open_in(tmp_path)
    checkpoints.save(other, step=1, facts=FACTS | {"best_step": 1}, score=0.7)
    restored, facts = checkpoints.restore(1, like=like(make_state(1)))
    assert_bitwise_equal(restored, make_state(1))
    assert facts == FACTS | {"best_step": 1}
    folder = str(tmp_path / "checkpoints" / "1")
    assert manifest.read(folder).score == 0.7
    checkpoints.save(other, step=1, facts=FACTS, score=None)
    assert manifest.read(folder)[1:3] == (FACTS, 0.7)
    checkpoints.close()


def test_a_score_that_comes_later_makes_a_checkpoint_the_best(tmp_path):
    save_all(tmp_path, {1: 0.5, 2: None}, keep_latest=2)
    save_all(tmp_path, {2: 0.9}, keep_latest=1)
    assert names_in(tmp_path) == ["2"]


def test_a_damaged_checkpoint_of_the_same_step_is_put_aside_and_saved_anew(tmp_path):
    save_all(tmp_path, {1: 0.5})
    (tmp_path / "checkpoints" / "1" / "checkpoint.json").unlink()
    save_all(tmp_path, {1: 0.5})
    assert names_in(tmp_path) == ["1", "1.damaged"]
    assert assert_newest(tmp_path, 1) == []


# --- what is kept ---------------------------------------------------------------------------------


def test_without_any_checkpoint_there_is_no_latest(tmp_path):
    checkpoints = open_in(tmp_path)
    assert checkpoints.steps() == []
    with pytest.raises(UserError, match="checkpoints: no checkpoint; train first"):
        checkpoints.restore_newest(like=like(make_state(1)))
    with pytest.raises(UserError, match="checkpoints/1: no such checkpoint"):
        checkpoints.restore(1, like=like(make_state(1)))
    checkpoints.close()
    assert not list(tmp_path.iterdir())


KEPT = {
    "the best and the latest": ({1: 0.1, 2: 0.9, 3: 0.3, 4: 0.2}, 1, 1, ["2", "4"]),
    "the latest may be the best": ({1: 0.1, 2: 0.2}, 1, 1, ["2"]),
    "of equal scores the earlier": ({1: 0.1, 2: 0.5, 3: 0.5, 4: 0.5, 5: 0.1}, 1, 1, ["2", "5"]),
    "several": ({1: 0.4, 2: 0.9, 3: 0.8, 4: 0.1, 5: 0.2, 6: 0.3}, 2, 2, ["2", "3", "5", "6"]),
    "without a score never the best": ({1: None, 2: 0.1, 3: None, 4: None}, 1, 1, ["2", "4"]),
    "nan is never the best": ({1: 0.1, 2: float("nan"), 3: None}, 1, 1, ["1", "3"]),
    "the latest alone": ({1: 0.9, 2: 0.1, 3: 0.2}, 1, 0, ["3"]),
    "negative scores": ({1: -3.0, 2: -1.0, 3: -2.0}, 1, 1, ["2", "3"]),
    "latest by number": ({9: None, 10: None}, 1, 1, ["10"]),
}


@pytest.mark.parametrize("case", KEPT)
def test_kept_are(tmp_path, case):
    scores, keep_latest, keep_best, expected = KEPT[case]
    save_all(tmp_path, scores, keep_latest=keep_latest, keep_best=keep_best)
    assert names_in(tmp_path) == expected


def test_the_best_of_before_is_still_kept_after_reopening(tmp_path):
    save_all(tmp_path, {1: 0.2, 2: 0.9, 3: 0.1})
    save_all(tmp_path, {4: 0.5, 5: 0.9, 6: None})
    assert names_in(tmp_path) == ["2", "6"]


def test_a_better_one_after_reopening_takes_its_place(tmp_path):
    save_all(tmp_path, {1: 0.2, 2: 0.5})
    save_all(tmp_path, {3: 0.6, 4: 0.1})
    assert names_in(tmp_path) == ["3", "4"]


def test_what_is_damaged_is_never_removed_and_takes_no_place(tmp_path):
    save_all(tmp_path, {1: None, 2: None}, keep_latest=2)
    (tmp_path / "checkpoints" / "2" / "checkpoint.json").write_bytes(b"{}")
    save_all(tmp_path, {3: None, 4: None}, keep_latest=2)
    assert names_in(tmp_path) == ["2", "3", "4"]


# --- cut off --------------------------------------------------------------------------------------

# What the finishing of a save calls next, and the newest step on the disk at that moment.
STAGES = {
    "before anything is flushed": (save, "_flush_all", 1),
    "before files are hashed": (save, "file_hashes", 1),
    "before the manifest is written": (manifest, "write", 1),
    "before the manifest has its name": (os, "replace", 1),
    "before the checkpoint has its name": (os, "rename", 1),
    "before older ones are looked at": (Checkpoints, "_prune", 2),
    "while an older one is removed": (shutil, "rmtree", 2),
}


def cut_off(monkeypatch, owner: Any, name: str, *, before: Callable[[], None]) -> None:
    """The first call of `owner.name` by the thread that finishes a save fails."""
    original, done = getattr(owner, name), []

    def fail(*args, **kwargs):
        if done or not threading.current_thread().name.startswith("finish checkpoint"):
            return original(*args, **kwargs)
        done.append(True)
        before()
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(owner, name, fail)


@pytest.mark.parametrize("stage", STAGES)
def test_cut_off_anywhere_a_whole_checkpoint_is_there_and_the_run_goes_on(
    tmp_path, monkeypatch, stage
):
    """By an error, which is told, and by a kill, of which the copy is what it leaves behind."""
    owner, name, newest = STAGES[stage]
    workdir, killed = tmp_path / "run", tmp_path / "killed"
    save_all(workdir, {1: None})

    def keep_copy() -> None:
        shutil.copytree(workdir, killed)
        if name == "rmtree":  # half-way
            (killed / "checkpoints" / "1.partial" / "checkpoint.json").unlink()

    with monkeypatch.context() as patch:
        cut_off(patch, owner, name, before=keep_copy)
        expected = {1: "checkpoint of step 2 was not saved in .*; that of step 1 is intact"}
        message = expected.get(newest, "checkpoint 2 in .* is saved, but its facts could not be")
        with pytest.raises(UserError, match="^.*Input/output error: .*" + message) as error:
            save_all(workdir, {2: None})
    assert "\n" not in str(error.value)
    assert newest == 2 or names_in(workdir) == ["1"]
    for folder in (workdir, killed):
        assert assert_newest(folder, newest) == []
        save_all(folder, {2: None, 3: None})
        assert names_in(folder) == ["3"]


def test_an_error_while_orbax_writes_is_told_by_the_next_save(tmp_path, monkeypatch):
    def fail(*_):
        raise ValueError("RESOURCE_EXHAUSTED: writing\nmore")

    save_all(tmp_path, {1: None})
    checkpoints = open_in(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(ocp.AsyncCheckpointer, "wait_until_finished", fail)
        patch.setattr(ocp.AsyncCheckpointer, "save", lambda *_, **__: None)
        checkpoints.save(make_state(2), step=2, facts=FACTS, score=None)
        expected = "^no space left on device: the checkpoint of step 2 was not saved in "
        with pytest.raises(UserError, match=expected):
            checkpoints.save(make_state(3), step=3, facts=FACTS, score=None)
    checkpoints.save(make_state(3), step=3, facts=FACTS, score=None)
    checkpoints.close()
    assert names_in(tmp_path) == ["3"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_too_small_for_one_more_is_told_before_anything_is_written(small_disk):
    save_all(small_disk, {1: None})
    with open(small_disk / "other", "wb") as file, pytest.raises(OSError, match="No space left"):
        while True:
            os.write(file.fileno(), bytes(4096))
    expected = (
        r"^no space left on device \(0 MB free, 0 needed\): the checkpoint of step 2 was not saved "
        "in .*; that of step 1 is intact; fix that and run the same command again to resume$"
    )
    with pytest.raises(UserError, match=expected):
        save_all(small_disk, {2: None})
    assert names_in(small_disk) == ["1"]
    assert assert_newest(small_disk, 1) == []
    (small_disk / "other").unlink()
    save_all(small_disk, {2: None})
    assert assert_newest(small_disk, 2) == []


FILLS_THE_DISK = """
import sys
import pathlib, jax.numpy as jnp, numpy as np, saved_states as saving
from bigjax.errors import UserError
noise = np.random.default_rng(0).integers(0, 2**32, 2**19, dtype=np.uint32)
big = saving.make_state(2)._replace(ema={"noise": jnp.asarray(noise)})
checkpoints = saving.open_in(sys.argv[1])
checkpoints.save(big, step=2, facts=saving.FACTS, score=None)
try:
    checkpoints.wait()
except UserError as error:
    names = saving.names_in(pathlib.Path(sys.argv[1]))
    checkpoints.save(saving.make_state(3), step=3, facts=saving.FACTS, score=None)
    checkpoints.close()
    print([*names, str(error)])
"""


def test_a_disk_that_becomes_full_is_told_and_leaves_the_checkpoint_before_it_intact(
    small_disk, tmp_path
):
    """Two MiB that cannot be compressed after a checkpoint of some KiB; in a process of its own, as
    the threads of Orbax that fail print tracebacks, some of them later."""
    save_all(small_disk, {1: None})
    said, errors = tmp_path / "output", tmp_path / "errors"
    folder = str(small_disk)
    child = warm.start(folder, program=FILLS_THE_DISK, output=said, errors=errors, env=os.environ)
    assert child.wait(SECONDS) == 0, errors.read_text()
    names, message = ast.literal_eval(said.read_text())
    assert names == "1"
    expected = (
        "no space left on device: .* of step 2 was not saved in .*; that of step 1 is intact.*"
    )
    assert re.fullmatch(expected, message)
    assert assert_newest(small_disk, 3) == []


SAVES_FOR_EVER = """
import itertools, sys
import saved_states as saving
checkpoints = saving.open_in(sys.argv[1])
for step in itertools.count(1):
    checkpoints.save(saving.make_state(step), step=step, facts=saving.FACTS, score=None)
"""


def test_a_process_that_is_killed_while_it_saves_leaves_a_whole_checkpoint(tmp_path):
    workdir = str(tmp_path)
    child = warm.start(workdir, program=SAVES_FOR_EVER, output=tmp_path / "output", env=os.environ)
    try:
        deadline = time.monotonic() + SECONDS
        while not any(name.endswith(".partial") for name in later_names_in(tmp_path)):
            assert child.poll() is None and time.monotonic() < deadline
            time.sleep(0.001)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    newest = max(int(name) for name in names_in(tmp_path) if name.isdecimal())
    assert assert_newest(tmp_path, newest) == []
    save_all(tmp_path, {newest + 1: None})
    assert names_in(tmp_path) == [str(newest + 1)]


def later_names_in(workdir) -> list[str]:
    """Those of the checkpoints after a first whole one; [] while there is none."""
    names = names_in(workdir) if (workdir / "checkpoints").exists() else []
    return names if any(name.isdecimal() for name in names) else []


# --- damaged --------------------------------------------------------------------------------------


def files_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def flip_a_byte(path: Path, *, seed: int = 0) -> None:
    rng, content = np.random.default_rng(seed), bytearray(path.read_bytes())
    content[rng.integers(len(content))] ^= rng.integers(1, 256)
    path.write_bytes(content)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


DAMAGE = {
    "truncated": (
        truncate,
        r"is truncated \([\d,]+ of [\d,]+ bytes\)|has other bytes than were saved",
    ),
    "deleted": (Path.unlink, "is missing"),
    "one byte flipped": (flip_a_byte, "has other bytes than were saved"),
}


@pytest.fixture(scope="module")
def two_saved(tmp_path_factory):
    """Checkpoints 1 and 2; not to be written to."""
    workdir = tmp_path_factory.mktemp("two")
    save_all(workdir, {1: None, 2: None}, keep_latest=2)
    return workdir


@pytest.mark.parametrize("damage", DAMAGE)
def test_any_damaged_file_is_named_and_the_checkpoint_before_is_used(two_saved, tmp_path, damage):
    change, words = DAMAGE[damage]
    files = files_of(two_saved / "checkpoints" / "2")
    assert len(files) > 10
    for number, name in enumerate(files):
        workdir = Path(shutil.copytree(two_saved, tmp_path / str(number)))
        change(workdir / "checkpoints" / "2" / name)
        (message,) = assert_newest(workdir, 1)
        assert re.fullmatch(
            f"checkpoint 2 is damaged: {re.escape(name)} ({words}); using that of step 1; the "
            "damaged one is kept as checkpoints/2.damaged",
            message,
        )
        assert names_in(workdir) == ["1", "2.damaged"]


def test_of_200_flipped_bytes_none_goes_undetected(two_saved, tmp_path):
    """Over all files in turn; a checkpoint that is read as if it were whole fails the test."""
    workdir = Path(shutil.copytree(two_saved, tmp_path / "run"))
    folder, checkpoints = workdir / "checkpoints" / "2", open_in(workdir)
    files = files_of(folder)
    for trial in range(200):
        path = folder / files[trial % len(files)]
        kept = path.read_bytes()
        flip_a_byte(path, seed=trial)
        with pytest.raises(DamagedCheckpoint, match=re.escape(files[trial % len(files)])):
            checkpoints.restore(2, like=like(make_state(2)))
        path.write_bytes(kept)
    assert_bitwise_equal(checkpoints.restore(2, like=like(make_state(2)))[0], make_state(2))
    checkpoints.close()


def test_where_every_checkpoint_is_damaged_the_run_stops_each_time(two_saved, tmp_path):
    """None is put aside: the next start would find none, and start over unasked."""
    workdir = Path(shutil.copytree(two_saved, tmp_path / "run"))
    truncate(workdir / "checkpoints" / "1" / "state" / "_METADATA")
    shutil.rmtree(workdir / "checkpoints" / "2" / "state")
    expected = r"every checkpoint is damaged \(2: state/.* is missing and \d+ more; 1: state/_META"
    checkpoints = open_in(workdir)
    for _ in range(2):
        with pytest.raises(UserError, match=expected) as error:
            checkpoints.restore_newest(like=like(make_state(1)))
        assert "\n" not in str(error.value)
    checkpoints.close()
    assert names_in(workdir) == ["1", "2"]


def test_every_damaged_checkpoint_is_kept_under_a_name_of_its_own(two_saved, tmp_path):
    workdir = Path(shutil.copytree(two_saved, tmp_path / "run"))
    (workdir / "checkpoints" / "9").mkdir()
    for expected in ("2.damaged", "2.damaged.2", "2.damaged.3"):
        truncate(workdir / "checkpoints" / "2" / "state" / "_METADATA")
        messages = assert_newest(workdir, 1)
        assert messages[-1].endswith(f"kept as checkpoints/{expected}")
        save_all(workdir, {2: None}, keep_latest=2)
    names = ["1", "2", "2.damaged", "2.damaged.2", "2.damaged.3", "9.damaged"]
    assert names_in(workdir) == names


def test_an_old_layout_is_refused_in_words_and_left_alone(tmp_path):
    folder = str(tmp_path / "checkpoints")
    with ocp.CheckpointManager(folder) as manager:
        manager.save(1, args=ocp.args.Composite(state=ocp.args.StandardSave(make_state(1))))
    checkpoints = open_in(tmp_path)
    expected = (
        "checkpoints/1: an old checkpoint, .* which cannot be verified; resume with the version"
    )
    with pytest.raises(UserError, match=expected) as error:
        checkpoints.restore_newest(like=like(make_state(1)))
    checkpoints.close()
    assert not isinstance(error.value, DamagedCheckpoint)
    assert names_in(tmp_path) == ["1"]


def test_what_cannot_be_read_though_it_is_whole_is_not_called_damaged(
    two_saved, tmp_path, monkeypatch
):
    def fail(*_, **__):
        raise Exception("OUT_OF_RANGE: Error reading 0.0\nin the file\n" + 1000 * "x")

    workdir = Path(shutil.copytree(two_saved, tmp_path / "run"))
    checkpoints = open_in(workdir)
    monkeypatch.setattr(ocp.Checkpointer, "restore", fail)
    expected = (
        r"^checkpoint 2 in .* is whole, but cannot be read \(OUT_OF_RANGE: Error reading 0.0\)"
    )
    with pytest.raises(UserError, match=expected) as error:
        checkpoints.restore_newest(like=like(make_state(1)))
    checkpoints.close()
    assert "\n" not in str(error.value) and not isinstance(error.value, DamagedCheckpoint)
    assert names_in(workdir) == ["1", "2"]
