"""Owns saving the train state with Orbax, restoring it verified, and which checkpoints are kept.

A checkpoint is the state and facts about the run so far; nothing of the input is in it, because the
next batch follows from (data, seed, step). `checkpoints/STEP/` holds the arrays in `state/`, which
are Orbax's, and `checkpoint.json`, which is `manifest.py`'s. It is written under the name
`STEP.partial` and renamed when all of it is on the disk; only then are older ones removed. So a
folder that is called STEP is whole, whenever the process is killed. When to save belongs to the
loop.
"""

import contextlib
import errno
import math
import os
import shutil
import threading
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from bigjax.checkpoints import manifest
from bigjax.checkpoints.hashes import by_name, content_hashes, file_hashes
from bigjax.checkpoints.manifest import DamagedCheckpoint, Facts, Manifest
from bigjax.checkpoints.restore import first_line, read_state
from bigjax.errors import UserError
from bigjax.trees import leaf_names

PARTIAL, DAMAGED = ".partial", ".damaged"
# Of the arrays on disk. In small chunks they are compressed, and read into other shardings, several
# at a time: a GB is saved in 2.6 s rather than 8.9, and read by 8 devices in 1.6 rather than 9.8.
_CHUNK_BYTES = 2**23


class Checkpoints:
    """The checkpoints of one run folder: the latest ones, and those of the best scores.

    Every process of a run calls every method, in the same order.
    """

    def __init__(self, workdir: str, *, keep_latest: int, keep_best: int):
        self._folder = os.path.abspath(os.path.join(workdir, "checkpoints"))
        self._is_made = os.path.isdir(self._folder)
        self._keep_latest, self._keep_best = max(1, keep_latest), keep_best
        self._writer = ocp.AsyncCheckpointer(ocp.StandardCheckpointHandler())
        self._thread: threading.Thread | None = None
        self._failed: tuple[int, Exception] | None = None

    def save(self, state: Any, *, step: int, facts: Facts, score: float | None) -> None:
        """Starts to save; returns when the state is copied to the host, so it may be donated.

        The same step of the same run is the same state: of one that is there already, only facts
        and score are replaced.

        Args:
          score: what "best" compares, higher is better; None or nan: this one is never best, or,
            if it is there already, is as good as it was.
        Raises:
          UserError: this one or the one before could not be saved.
        """
        self.wait()
        score = None if score is None or math.isnan(score) else float(score)
        if step in self.steps() and self._replace_facts(step, facts=facts, score=score):
            return
        partial = self._path(step) + PARTIAL
        hashes = content_hashes(state)  # queued ahead of the update that overwrites the state
        chunks = jax.tree.map(lambda _: ocp.SaveArgs(chunk_byte_size=_CHUNK_BYTES), state)
        try:
            if jax.process_index() == 0:
                self._remove_leftovers()
                if not self._is_made:
                    os.makedirs(self._folder, exist_ok=True)
                    self._is_made = True
                os.mkdir(partial)  # that the folder is gone by now is an error
                self._refuse_if_full(state)
            _meet("a folder for the checkpoint")
            self._writer.save(
                os.path.join(partial, "state"), args=ocp.args.StandardSave(state, save_args=chunks)
            )
        except Exception as error:  # Orbax raises every type
            shutil.rmtree(partial, ignore_errors=True)
            raise self._not_saved(step, error) from error
        described = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state)
        self._thread = threading.Thread(
            target=self._finish,
            name=f"finish checkpoint {step}",
            args=(described, hashes),
            kwargs={"step": step, "facts": facts, "score": score},
        )
        self._thread.start()

    def steps(self) -> list[int]:
        """Those that are saved; one that is still being written is not among them."""
        return manifest.steps(self._folder)

    def restore(self, step: int, *, like: Any) -> tuple[Any, Facts]:
        """The state of a step, verified, straight onto the shardings of `like` (a tree of shapes).

        Raises:
          DamagedCheckpoint: a file, or what was read from them, is not what was saved.
          UserError: there is no such checkpoint; its arrays are not those of this config's model
            and optimizer; or it is whole and yet cannot be read.
        """
        self.wait()  # for the step itself, if it is still being written
        return read_state(self._path(step), like=like)

    def restore_newest(self, *, like: Any) -> tuple[Any, Facts, list[str]]:
        """State and facts of the newest checkpoint that is whole, and a message for each newer one
        that is not. Those are kept under other names, so that their steps can be saved again.

        Raises:
          UserError: as `restore` does, or none is whole, in which case none is renamed.
        """
        self.wait()
        damaged: dict[int, str] = {}
        for step in reversed(self.steps()):
            try:
                state, facts = self.restore(step, like=like)
            except DamagedCheckpoint as error:
                damaged[step] = error.problem
                continue
            messages = [
                f"checkpoint {bad} is damaged: {problem}; using that of step {step}; the damaged "
                f"one is kept as {self._set_aside(bad)}"
                for bad, problem in damaged.items()
            ]
            return state, facts, messages
        if not damaged:
            raise UserError(
                f"{self._folder}: no checkpoint; train first, or give another --workdir"
            )
        listed = "; ".join(f"{step}: {problem}" for step, problem in damaged.items())
        raise UserError(
            f"{self._folder}: every checkpoint is damaged ({listed}); restore one from a copy, or "
            "start over in another --workdir"
        )

    def wait(self) -> None:
        """Until what is being saved is on the disk; raises UserError if it could not be saved."""
        if self._thread is None:
            return
        self._thread.join()
        self._thread = None
        failed, self._failed = self._failed, None
        if jax.process_count() > 1:
            anywhere = multihost_utils.process_allgather(np.asarray(failed is not None)).any()
            if anywhere and failed is None:
                raise UserError("another process could not save the checkpoint; see its message")
        if failed is not None:
            step, error = failed
            raise self._not_saved(step, error) from error

    def close(self) -> None:
        try:
            self.wait()
        finally:
            self._writer.close()

    def _path(self, step: int) -> str:
        return os.path.join(self._folder, str(step))

    def _finish(self, described: Any, hashes: list[jax.Array], **about: Any) -> None:
        """Makes a checkpoint of what Orbax writes. Runs in a thread of its own, in every process;
        the first alone touches names."""
        step = about["step"]
        partial = self._path(step) + PARTIAL
        try:
            self._writer.wait_until_finished()  # in all processes
            if jax.process_index() == 0:
                contents = by_name(described, hashes=hashes)
                arrays = {
                    name: (str(x.dtype), tuple(x.shape), contents[name])
                    for name, x in zip(leaf_names(described), jax.tree.leaves(described))
                }
                _flush_all(partial)
                files = file_hashes(partial)
                made = Manifest(arrays=arrays, files=files, **about)
                manifest.write(partial, manifest=made)
                os.rename(partial, self._path(step))
                manifest.flush(self._folder)
                self._prune()
        except Exception as error:
            shutil.rmtree(partial, ignore_errors=True)
            self._failed = step, error

    def _prune(self) -> None:
        """Removes what is neither among the latest nor among the best: the better score, and of
        equal ones the earlier step. One that cannot be read counts as neither, and stays."""
        scores = {step: found.score for step, found in self._readable().items()}
        ranked = sorted((-score, step) for step, score in scores.items() if score is not None)
        best = [step for _, step in ranked[: self._keep_best]]
        latest = sorted(scores)[-self._keep_latest :]
        for step in set(scores) - {*best, *latest}:
            # Renamed first: killed half-way, what is left does not look like a checkpoint.
            os.rename(self._path(step), self._path(step) + PARTIAL)
            shutil.rmtree(self._path(step) + PARTIAL)

    def _readable(self) -> dict[int, Manifest]:
        """What is said of each checkpoint; without those of which nothing can be believed."""
        found = {}
        for step in self.steps():
            with contextlib.suppress(UserError):
                found[step] = manifest.read(self._path(step))
        return found

    def _replace_facts(self, step: int, *, facts: Facts, score: float | None) -> bool:
        """Whether there was a checkpoint to replace them in; a damaged one is put aside."""
        try:
            found = manifest.read(self._path(step))
        except DamagedCheckpoint:
            self._set_aside(step)
            return False
        try:
            if jax.process_index() == 0:
                score = found.score if score is None else score
                manifest.write(self._path(step), manifest=found._replace(facts=facts, score=score))
                self._prune()
        except OSError as error:
            raise self._not_saved(step, error) from error
        _meet("the facts of a checkpoint")
        return True

    def _set_aside(self, step: int) -> str:
        """Renames a damaged checkpoint; returns its path from the run's folder."""
        target, number = self._path(step) + DAMAGED, 1
        while os.path.exists(target):
            number += 1
            target = f"{self._path(step)}{DAMAGED}.{number}"
        _meet("the name of a damaged checkpoint")
        if jax.process_index() == 0:
            try:
                os.rename(self._path(step), target)
            except OSError as error:
                raise UserError(
                    f"{self._path(step)} is damaged and cannot be renamed ({error.strerror}); "
                    "rename it yourself to resume from the one before"
                ) from error
        _meet("a damaged checkpoint renamed")
        return os.path.join("checkpoints", os.path.basename(target))

    def _remove_leftovers(self) -> None:
        """What a process that was killed was writing or removing. The folder is this process's."""
        if os.path.isdir(self._folder):
            for name in os.listdir(self._folder):
                if name.endswith(PARTIAL):
                    shutil.rmtree(os.path.join(self._folder, name))

    def _refuse_if_full(self, state: Any) -> None:
        """Sees early, and without the tracebacks of Orbax's threads, that the disk is too small for
        one more like the last; for the first one, compressed by an unknown rate, for all bytes."""
        needed = sum(x.nbytes for x in jax.tree.leaves(state))
        if readable := self._readable():
            needed = sum(size for size, _ in readable[max(readable)].files.values())
        total, _, free = shutil.disk_usage(self._folder)
        if total and free < needed:
            raise OSError(
                errno.ENOSPC,
                f"no space left on device ({free / 1e6:,.0f} MB free, {needed / 1e6:,.0f} needed)",
            )

    def _not_saved(self, step: int, error: Exception) -> UserError:
        workdir = os.path.dirname(self._folder)
        if not os.path.isdir(workdir):
            return UserError(
                f"--workdir={workdir} is gone, it was removed or renamed during the run: the "
                f"checkpoint of step {step} was not saved; resume with the --workdir it has now, "
                "or start over"
            )
        if step in self.steps():
            return UserError(
                f"{_reason(error)}: checkpoint {step} in {self._folder} is saved, but its facts "
                "could not be replaced, or older ones removed; fix that and run the same command "
                "again to resume"
            )
        latest = max(self._readable(), default=None)
        intact = "there is none before it" if latest is None else f"that of step {latest} is intact"
        return UserError(
            f"{_reason(error)}: the checkpoint of step {step} was not saved in {self._folder}; "
            f"{intact}; fix that and run the same command again to resume"
        )


def _flush_all(folder: str) -> None:
    """Waits until every file and name below a folder is on the disk."""
    for parent, _, names in os.walk(folder):
        for name in names:
            manifest.flush(os.path.join(parent, name))
        manifest.flush(parent)


def _meet(where: str) -> None:
    """Waits for the other processes, if any."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(where)


def _reason(error: Exception) -> str:
    """What went wrong, in words of one line. A full disk has other words in each library."""
    if isinstance(error, OSError) and error.strerror:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return error.strerror[0].lower() + error.strerror[1:] if full else error.strerror
    if "No space left" in str(error) or "RESOURCE_EXHAUSTED" in str(error):
        return "no space left on device"
    return first_line(error)
