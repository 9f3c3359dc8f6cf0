"""Owns what `main.py` can be asked for: which mode runs, with which settings and flags."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence

from bigjax.config import values as configs
from bigjax.config.sections import Watching
from bigjax.config.values import Config
from bigjax.engine import settings
from bigjax.errors import UserError
from bigjax.inference import opening
from bigjax.modes import (
    average,
    compare,
    evaluate,
    explain,
    export,
    predict,
    search,
    seeds,
    serve,
    train,
    verify_resume,
)
from bigjax.modes.check import check
from bigjax.modes.flags import Flags, misplaced
from bigjax.processes import distributed
from bigjax.processes.distributed import Processes
from bigjax.processes.watchdog import Watchdog
from bigjax.run_folder import folder
from bigjax.serve.bodies import Limits


def run(
    flags: Flags,
    *,
    overrides: Sequence[str] = (),
    processes: Processes = Processes(),  # noqa: B008 - immutable
) -> None:
    """Runs the mode with the flags and the settings after --config as they were given.

    Raises:
      UserError: a flag that is missing or does not go with the mode, and all other bad input.
    """
    given = configs.parse_overrides(overrides)
    if (flag := misplaced(flags)) is not None:
        modes = " or ".join(f"--mode={mode}" for mode in flag.modes)
        raise UserError(f"--{flag.name} goes with {modes}, not with --mode={flags.mode}")
    if flags.mode != "check" and not flags.workdir:
        what = "the page" if flags.mode == "compare" else "the run"
        raise UserError(f"--mode={flags.mode} needs --workdir=DIR, the folder of {what}")
    if flags.mode in ALONE:
        ALONE[flags.mode](flags, given)
        return
    distributed.join(processes)
    with Watchdog() as watchdog:
        found = _load(flags, given)
        times = found.of(Watching)
        watchdog.set_times(
            stack_seconds=times.stack_seconds,
            peer_seconds=times.peer_seconds,
            hang_seconds=times.hang_seconds,
        )
        folder.compare_processes(found)
        TOGETHER[flags.mode](found, flags, watchdog)


def _train(config: Config, flags: Flags, watchdog: Watchdog) -> None:
    if flags.seeds is not None:
        seeds.train_seeds(
            config,
            seeds=seeds.parse(flags.seeds),
            workdir=flags.workdir,
            allow_config_change=flags.allow_config_change,
            progress=watchdog.progress,
        )
        return
    train.train(
        config,
        workdir=flags.workdir,
        allow_config_change=flags.allow_config_change,
        progress=watchdog.progress,
    )


def _evaluate(config: Config, flags: Flags, watchdog: Watchdog) -> None:
    if opening.is_run(flags.workdir):
        evaluate.score_run(config, workdir=flags.workdir, progress=watchdog.progress)
    else:
        evaluate.score_folder(
            config, place=flags.workdir, output=flags.output, progress=watchdog.progress
        )


def _search(config: Config, flags: Flags, watchdog: Watchdog) -> None:
    search.search(config, workdir=flags.workdir, progress=watchdog.progress)


def _check(config: Config, flags: Flags, _: Watchdog) -> None:
    check(config, strict=flags.strict)


def _verify_resume(flags: Flags, given: Mapping[str, str]) -> None:
    found = _load(flags, given)
    command = [sys.executable, os.path.abspath(sys.argv[0]), f"--config={flags.config}"]
    command += [f"--config.{key}={value}" for key, value in given.items()]
    verify_resume.verify_resume(found, command=command, workdir=flags.workdir)


def _compare(flags: Flags, given: Mapping[str, str]) -> None:
    compare.compare(_runs(flags, given), workdir=flags.workdir)


def _average(flags: Flags, given: Mapping[str, str]) -> None:
    average.average(_runs(flags, given), workdir=flags.workdir)


def _runs(flags: Flags, given: Mapping[str, str]) -> list[str]:
    if flags.runs is None:
        raise UserError(f"--mode={flags.mode} needs --runs=A,B,..., folders of finished runs")
    _refuse_settings(flags, given)
    return [folder for folder in flags.runs.split(",") if folder]


def _refuse_settings(flags: Flags, given: Mapping[str, str]) -> None:
    found = [f"--config={flags.config}"] if flags.config else [f"--config.{key}" for key in given]
    if found:
        raise UserError(f"--mode={flags.mode} reads the runs' own settings; leave out {found[0]}")


def _predict(flags: Flags, given: Mapping[str, str]) -> None:
    predict.predict(flags.workdir, asked=_asked(flags), overrides=_of_use(flags, given))


def _explain(flags: Flags, given: Mapping[str, str]) -> None:
    explain.explain(flags.workdir, asked=_asked(flags), overrides=_of_use(flags, given))


def _asked(flags: Flags) -> predict.Asked:
    return predict.Asked(
        flags.input,
        flags.output,
        flags.format,
        "lines" if flags.lines else flags.input_format,
        flags.skip_bad,
    )


def _of_use(flags: Flags, given: Mapping[str, str]) -> Mapping[str, str]:
    """The overrides of a run's settings, where it is used."""
    if flags.config is not None:
        raise UserError(
            f"--config does not go with --mode={flags.mode}: the settings are those of the run; "
            "--config.NAME=VALUE overrides one"
        )
    if flags.min_score is None:
        return given
    return {**given, "decode.min_score": str(flags.min_score)}


def _export(flags: Flags, given: Mapping[str, str]) -> None:
    if flags.config is not None:
        raise UserError(
            "--config does not go with --mode=export: the settings are those of the run; "
            "--config.NAME=VALUE overrides one"
        )
    python = flags.runtime or os.environ.get("BIGJAX_RUNTIME") or sys.executable
    asked = export.Asked(
        flags.output, flags.format, flags.quantize, flags.max_loss, python, flags.license
    )
    export.export(flags.workdir, asked=asked, overrides=given)


def _serve(flags: Flags, given: Mapping[str, str]) -> None:
    if flags.config is not None:
        raise UserError("--config does not go with --mode=serve: the settings are those of the run")
    limits = Limits(flags.most_bytes, flags.most_inputs, flags.most_characters, flags.timeout)
    asked = serve.Asked(flags.host, flags.port, flags.most_waiting, limits, flags.drain_seconds)
    for name, value in {**limits._asdict(), "most_waiting": flags.most_waiting}.items():
        if not value > 0:
            raise UserError(f"--mode=serve: {name}={value}: expected more than 0")
    serve.serve(flags.workdir, asked=asked, overrides=given)


# Modes of one process, and those that several processes run together.
ALONE: Mapping[str, Callable[[Flags, Mapping[str, str]], None]] = {
    "average": _average,
    "compare": _compare,
    "export": _export,
    "predict": _predict,
    "explain": _explain,
    "serve": _serve,
    "verify_resume": _verify_resume,
}
TOGETHER: Mapping[str, Callable[[Config, Flags, Watchdog], None]] = {
    "train": _train,
    "evaluate": _evaluate,
    "check": _check,
    "search": _search,
}


def _load(flags: Flags, overrides: Mapping[str, str]) -> Config:
    """The settings of the file, or for --mode=evaluate without one, of the run."""
    if flags.config is None and flags.mode == "evaluate":
        if os.path.isdir(flags.workdir) and not opening.is_run(flags.workdir):
            raise UserError(
                f"--workdir={flags.workdir} is no run; a Hugging Face folder is scored with the "
                "data of --config=FILE, and its results go to --output=DIR"
            )
        record = folder.read_config_record(flags.workdir)
        path = os.path.join(flags.workdir, "config.json")
        found = configs.from_record(record, path=path, overrides=overrides, schema=settings.schema)
    elif flags.config is None:
        raise UserError("--config=FILE[:VARIANT] is missing, for example configs/bert_ner.py")
    else:
        found = configs.load(flags.config, overrides=overrides, schema=settings.schema)
    settings.check_together(found)
    return found
