"""Owns what `main.py` can be asked for: flags as they were given, to the mode that they name."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bigjax.config import values as configs
from bigjax.config.sections import Watching
from bigjax.config.values import Config
from bigjax.engine import settings
from bigjax.errors import UserError
from bigjax.modes import compare, evaluate, search, seeds, train, verify_resume
from bigjax.modes.check import check
from bigjax.processes import distributed
from bigjax.processes.distributed import Processes
from bigjax.processes.watchdog import Watchdog
from bigjax.run_folder import folder


class Several(NamedTuple):
    """Flags of what is about several runs, as given."""

    seeds: str | None = None
    runs: str | None = None


def run(
    mode: str,
    *,
    config: str | None,
    workdir: str | None,
    overrides: Sequence[str],
    allow_config_change: bool = False,
    strict: bool = False,
    several: Several = Several(),  # noqa: B008 - immutable
    processes: Processes = Processes(),  # noqa: B008 - immutable
) -> None:
    """Runs `mode` with the flags as they were given.

    Raises:
      UserError: a flag that is missing or does not go with the mode, and all other bad input.
    """
    given = configs.parse_overrides(overrides)
    _check_flags(mode, workdir=workdir, strict=strict, several=several)
    if mode == "compare":
        _compare(several.runs, workdir=workdir, config=config, overrides=overrides)
        return
    if mode == "verify_resume":
        found = _load(mode, config=config, workdir=workdir, overrides=given)
        command = [sys.executable, os.path.abspath(sys.argv[0])]
        command += [f"--config={config}", *overrides]
        verify_resume.verify_resume(found, command=command, workdir=workdir)
        return
    distributed.join(processes)
    with Watchdog() as watchdog:
        found = _load(mode, config=config, workdir=workdir, overrides=given)
        times = found.of(Watching)
        watchdog.set_times(
            stack_seconds=times.stack_seconds,
            peer_seconds=times.peer_seconds,
            hang_seconds=times.hang_seconds,
        )
        folder.compare_processes(found)
        if several.seeds is not None:
            seeds.train_seeds(
                found,
                seeds=seeds.parse(several.seeds),
                workdir=workdir,
                allow_config_change=allow_config_change,
                progress=watchdog.progress,
            )
        elif mode == "train":
            train.train(
                found,
                workdir=workdir,
                allow_config_change=allow_config_change,
                progress=watchdog.progress,
            )
        elif mode == "search":
            search.search(found, workdir=workdir, progress=watchdog.progress)
        elif mode == "evaluate":
            evaluate.score_run(found, workdir=workdir, progress=watchdog.progress)
        else:
            check(found, strict=strict)


def _check_flags(mode: str, *, workdir: str | None, strict: bool, several: Several) -> None:
    if mode != "check" and not workdir:
        what = "the page" if mode == "compare" else "the run"
        raise UserError(f"--mode={mode} needs --workdir=DIR, the folder of {what}")
    for flag, is_given, of in (
        ("strict", strict, "check"),
        ("seeds", several.seeds is not None, "train"),
        ("runs", several.runs is not None, "compare"),
    ):
        if is_given and mode != of:
            raise UserError(f"--{flag} goes with --mode={of}, not with --mode={mode}")


def _compare(
    runs: str | None, *, workdir: str, config: str | None, overrides: Sequence[str]
) -> None:
    if runs is None:
        raise UserError("--mode=compare needs --runs=A,B,..., folders of finished runs")
    given = [f"--config={config}"] if config else [*overrides]
    if given:
        raise UserError(f"--mode=compare reads the runs' own settings; leave out {given[0]}")
    compare.compare([folder for folder in runs.split(",") if folder], workdir=workdir)


def _load(
    mode: str, *, config: str | None, workdir: str | None, overrides: Mapping[str, str]
) -> Config:
    """The settings of the file, or for --mode=evaluate without one, of the run."""
    if config is None and mode == "evaluate":
        record = folder.read_config_record(workdir)
        path = os.path.join(workdir, "config.json")
        found = configs.from_record(record, path=path, overrides=overrides, schema=settings.schema)
    elif config is None:
        raise UserError("--config=FILE[:VARIANT] is missing, for example configs/bert_ner.py")
    else:
        found = configs.load(config, overrides=overrides, schema=settings.schema)
    settings.check_together(found)
    return found
