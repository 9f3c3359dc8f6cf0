"""Owns what `main.py` can be asked for: flags as they were given, to the mode that they name."""

import os
import sys
from collections.abc import Mapping, Sequence

from bigjax.config import values as configs
from bigjax.config.sections import Watching
from bigjax.config.values import Config
from bigjax.engine import settings
from bigjax.errors import UserError
from bigjax.modes import evaluate, search, train, verify_resume
from bigjax.modes.check import check
from bigjax.processes import distributed
from bigjax.processes.distributed import Processes
from bigjax.processes.watchdog import Watchdog
from bigjax.run_folder import folder


def run(
    mode: str,
    *,
    config: str | None,
    workdir: str | None,
    overrides: Sequence[str],
    allow_config_change: bool = False,
    strict: bool = False,
    processes: Processes = Processes(),  # noqa: B008 - immutable
) -> None:
    """Runs `mode` with the flags as they were given.

    Raises:
      UserError: a flag that is missing or does not go with the mode, and all other bad input.
    """
    given = configs.parse_overrides(overrides)
    if mode != "check" and not workdir:
        raise UserError(f"--mode={mode} needs --workdir=DIR, the folder of the run")
    if strict and mode != "check":
        raise UserError(f"--strict goes with --mode=check, not with --mode={mode}")
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
        if mode == "train":
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
