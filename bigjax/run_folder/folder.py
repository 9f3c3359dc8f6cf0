"""Owns the files that say what a run is: `config.json`, `environment.json`, `results.json`, and
what the task keeps. What is in a report belongs to `report.py`, checkpoints to `checkpoint.py`."""

import contextlib
import errno
import importlib.metadata
import json
import math
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
from safetensors.numpy import save

from bigjax.config.values import Config
from bigjax.errors import UserError
from bigjax.processes import distributed
from bigjax.run_folder import examples
from bigjax.scores.intervals import interval
from bigjax.tasks.task import Finding, Scores, Task

PACKAGES = (
    "bigjax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "tokenizers",
    "safetensors", "ml_collections", "tensorboardX", "tensorflow-datasets",
)  # fmt: skip

# Settings that do not change what is trained: a run may resume with others. Data is compared by
# what it holds, and a run with a checkpoint does not look where it once started from.
HARMLESS = (
    "log.", "checkpoint.", "eval.every_", "eval.final", "eval.batch_rows", "mesh",
    "steps_per_dispatch", "batch.accumulate", "batch.device_memory_gib", "data.",
    "init.resume_from", "verify.", "watchdog.", "decode.", "search.",
)  # fmt: skip


# What the disk or its file system, rather than the program, answers.
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE}


def create(workdir: str) -> None:
    """Raises UserError where the folder cannot be made or written to."""
    try:
        os.path.abspath(workdir).encode()
        os.makedirs(workdir, exist_ok=True)
        probe = os.path.join(workdir, ".writable")
        with open(probe, "w", encoding="utf-8"):
            pass
        os.remove(probe)
    except UnicodeEncodeError as error:  # checkpoints are written by libraries that know no other
        raise UserError(
            f"--workdir={workdir}: its path is not UTF-8; give a folder whose name is"
        ) from error
    except OSError as error:
        raise UserError(
            f"--workdir={workdir}: cannot be written to ({error.strerror}); give a folder of yours"
        ) from error


@contextlib.contextmanager
def disk_errors_told(workdir: str) -> Iterator[None]:
    """Raises UserError where the disk fails, or is full, while a run writes to `workdir`, or where
    the folder itself is gone."""
    try:
        yield
    except OSError as error:
        if not os.path.isdir(workdir):
            raise UserError(
                f"--workdir={workdir} is gone, it was removed or renamed during the run: resume "
                "with the --workdir it has now, or start over"
            ) from error
        if error.errno not in _DISK_ERRORS:
            raise
        raise UserError(
            f"--workdir={workdir}: {error.filename or 'its files'} cannot be written to "
            f"({error.strerror}); what was saved is intact; fix that and run the same command "
            "again to resume"
        ) from error


def write_start(
    workdir: str,
    *,
    config: Config,
    task: Task,
    source: str | None,
    fixed: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Everything that is known before the first step.

    Args:
      source: where the parameters come from; None where a run is resumed, which keeps what it was.
      fixed: what of the machine's choices shapes the numbers of this run, for `refuse_changes`.
    """
    _write_json(workdir, "config.json", config.record())
    for name, arrays in task.use.arrays.items():
        if source is not None or not os.path.exists(os.path.join(workdir, name)):
            write_arrays(workdir, name, arrays())
    if source is None:
        source = _read_json(workdir, "environment.json").get("init_checkpoint")
    facts = environment() | {
        "init_checkpoint": source,
        "data_fingerprint": fingerprints(task),
        "fixed": dict(fixed),
    }
    _write_json(workdir, "environment.json", facts)
    write_data_report(workdir, task=task, findings=())
    for name, content in task.use.files.items():
        write_text(workdir, name, content)


def write_derived(workdir: str, *, origin: str, task: Task, source: str) -> None:
    """What is known of a run whose parameters were not trained but made of those of others: it has
    the settings and the data of the run in `origin`, and no history.

    Args:
      source: what they were made of.
    """
    for name in ("config.json", "data_report.json"):
        _write_json(workdir, name, _read_json(origin, name))
    was = _read_json(origin, "environment.json")
    kept = {key: was[key] for key in ("data_fingerprint", "fixed") if key in was}
    _write_json(workdir, "environment.json", environment() | {"init_checkpoint": source} | kept)
    for name, content in {**task.use.files, "metrics.jsonl": ""}.items():
        write_text(workdir, name, content)


def write_data_report(workdir: str, *, task: Task, findings: Sequence[Finding]) -> None:
    """What the data is, and what of it deserves a look."""
    report = {
        "rows": [list(row) for row in task.data.report()],
        "findings": [{**found._asdict(), "places": list(found.places)} for found in findings],
    }
    _write_json(workdir, "data_report.json", report)


def refuse_changes(
    workdir: str, *, config: Config, task: Task, fixed: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """Raises UserError where the run in `workdir` was made with other settings or other data;
    lists what differs, with the old and the new value. Where data comes from is no difference, what
    it holds is."""
    old = _field(workdir, "config.json", "values")
    new = json.loads(json.dumps(config.flat()))
    keys = [key for key in {**old, **new} if not key.startswith(HARMLESS)]
    splits = _changed_data(workdir, task)
    if splits:
        keys += [key for key in {**old, **new} if key.startswith("data.")]
    # A setting that is newer than the run has its default: what the run did when there was none.
    known = [key for key in keys if key in old or config.origins[key] != "default"]
    changed = [key for key in known if old.get(key) != new.get(key)]
    differ = [f"{key}: {old.get(key)!r} -> {new.get(key)!r}" for key in changed]
    differ += [f"the content of {split}" for split in splits]
    was = _read_json(workdir, "environment.json").get("fixed", {})
    names = [name for name in fixed if was.get(name, fixed[name]) != fixed[name]]
    differ += [f"{name}: {was[name]!r} -> {fixed[name]!r}" for name in names]
    if differ:
        lengthened = any(key.startswith(("num_", "schedule.")) for key in changed)
        schedule = " (the learning rate then follows the new schedule)" if lengthened else ""
        raise UserError(
            f"--workdir={workdir} holds a run with other settings ({'; '.join(differ)}); use "
            "another --workdir, undo the change to resume that run, or resume it with the change: "
            f"--allow_config_change{schedule}"
        )
    check_files(workdir, task=task)


def refuse_other_data(workdir: str, *, task: Task) -> None:
    """Raises UserError where the run in `workdir` was trained on other data, or its tokenizer or
    tags were others: what was learnt has no meaning then."""
    if "train" in _changed_data(workdir, task):
        raise UserError(
            f"--workdir={workdir} holds a run that was trained on other data; in another --workdir "
            f"--config.init.resume_from={workdir} starts from its state"
        )
    check_files(workdir, task=task)


def check_files(workdir: str, *, task: Task) -> None:
    """Raises UserError where the tokenizer or the tags of the run in `workdir` are not this task's:
    its parameters would then be read with other meanings."""
    for name, content in task.use.files.items():
        path = os.path.join(workdir, name)
        if os.path.exists(path):
            with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
                if file.read() != content:
                    raise UserError(
                        f"{path}: is not what this config, checkpoint and data make now; undo "
                        "their change, or use another --workdir"
                    )


def read_config_record(workdir: str) -> dict[str, Any]:
    """What `write_start` kept of the settings; UserError where there is no run."""
    return _read_json(workdir, "config.json")


def compare_processes(config: Config) -> None:
    """Raises UserError in every process of the run where one of them runs other code, packages or
    settings, or has another number of devices."""
    if distributed.num_processes() == 1:
        return
    versions = {f"the version of {name}": _version(name) for name in PACKAGES}
    settings = {f"config.{key}": value for key, value in config.flat().items()}
    own = {
        "its number of devices": jax.local_device_count(),
        "the code's git commit": _git_commit(),
    }
    distributed.compare({**own, **versions, **settings}, what="code and settings")


def compare_data(task: Task) -> None:
    """Raises UserError in every process of the run where one of them reads other data."""
    data = {f"the content of {split}": digest for split, digest in fingerprints(task).items()}
    distributed.compare(data, what="data")


def say_where_data_differs(workdir: str, *, task: Task) -> None:
    """Says on the terminal which splits are not what they were when the run in `workdir` began."""
    changed = _changed_data(workdir, task)
    if changed and distributed.is_first():
        print(f"note: {', '.join(changed)} is not the data that the run was scored with before")


def flat_scores(scores: Mapping[str, Scores]) -> dict[str, float]:
    """All scores as "split/name"."""
    return {
        f"{split}/{name}": value
        for split, found in scores.items()
        for name, value in found.scalars.items()
    }


def intervals_of(scores: Mapping[str, Scores]) -> dict[str, tuple[float, float]]:
    """The 95% intervals of those scores that have one, as "split/name"."""
    found = {
        f"{split}/{name}": interval(parts)
        for split, of_split in scores.items()
        for name, parts in of_split.parts.items()
    }
    return {name: (low, high) for name, (low, high) in found.items() if math.isfinite(low)}


def reported_split(scores: Mapping[str, Scores]) -> str | None:
    """The one whose sections the report has; None where nothing was scored."""
    return "test" if "test" in scores else next(iter(scores), None)


def write_results(
    workdir: str,
    *,
    task: Task,
    scores: Mapping[str, Scores],
    intervals: Mapping[str, tuple[float, float]],
    step: int,
) -> None:
    """Writes `results.json`, and what each example came to."""
    flat = flat_scores(scores)
    split = reported_split(scores)
    sections = [] if split is None else scores[split].sections
    headline = [f"{split}/{name}" for name in task.scoring.headline]
    calibrating = task.scoring.calibrating
    declared = [*task.scoring.declared, *(calibrating.declared if calibrating else ())]
    results = {
        "task": task.name,
        "title": f"{os.path.basename(os.path.abspath(workdir))}: {task.name.replace('_', ' ')}",
        # JSON has no nan: a score that is not defined, such as the ROC-AUC of a single class.
        "scores": {name: value if math.isfinite(value) else None for name, value in flat.items()},
        "intervals": intervals,
        "titles": {score.name: score.title for score in declared},
        "headline": [name for name in headline if name in flat],
        "step": step,
        "sections": [{**found, "title": f"{found['title']} ({split})"} for found in sections],
    }
    _write_json(workdir, "results.json", results)
    for split, found in scores.items():
        wrong = {item["example"]: item for item in found.wrong()}
        about = (found.wrong_kind, step, task.data.evals[split].fingerprint)
        kept = examples.Examples(found.parts, wrong, *about)
        examples.write(workdir, split=split, examples=kept)


def environment() -> dict[str, Any]:
    """Package versions, git commit of the code, devices, command."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES if _version(name)},
        "git_commit": _git_commit(),
        "devices": [
            f"{device.platform}:{device.id} {device.device_kind}" for device in jax.devices()
        ],
        "num_cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "command": shlex.join(["python", *sys.argv]),
    }


def _changed_data(workdir: str, task: Task) -> list[str]:
    """The splits whose content is not what it was when the run in `workdir` began."""
    was = _field(workdir, "environment.json", "data_fingerprint")
    return [split for split, now in fingerprints(task).items() if was.get(split, now) != now]


def fingerprints(task: Task) -> dict[str, str]:
    """Split -> a hash of what it holds."""
    splits = {"train": task.data.train, **task.data.evals}
    return {name: data.fingerprint for name, data in splits.items() if data is not None}


def _field(workdir: str, name: str, key: str) -> dict[str, Any]:
    value = _read_json(workdir, name)
    if not isinstance(value, dict) or not isinstance(value.get(key), dict):
        path = os.path.join(workdir, name)
        raise UserError(f"{path}: is damaged (no {key!r}); use another --workdir")
    return value[key]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """The commit of the code that runs, with "+" where files differ from it; None outside git."""
    root = str(Path(__file__).resolve().parents[2])

    def git(*args: str) -> str:
        return subprocess.run(
            ["git", "-C", root, *args], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        if not os.path.exists(os.path.join(root, ".git")):
            return None
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _read_json(workdir: str, name: str) -> dict[str, Any]:
    path = os.path.join(workdir, name)
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except OSError:
        raise UserError(f"{path}: no such file; --workdir should be the folder of a run") from None
    except ValueError as error:
        raise UserError(f"{path}: is damaged ({error}); use another --workdir") from error


def _write_json(workdir: str, name: str, value: Any) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    # A byte of a file's name that is no text is a lone surrogate, which JSON can spell.
    write_text(workdir, name, text.encode(errors="backslashreplace").decode())


def write_text(workdir: str, name: str, content: str) -> None:
    """Writes a file of the folder, whole or not at all."""
    path = os.path.join(workdir, name)
    with open(path + ".tmp", "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(content)
    os.replace(path + ".tmp", path)


def write_arrays(workdir: str, name: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a safetensors file of the folder, whole or not at all."""
    path = os.path.join(workdir, name)
    content = save(dict(arrays))  # `save_file` hides the file from others
    with open(path + ".tmp", "wb") as file:
        file.write(content)
    os.replace(path + ".tmp", path)
