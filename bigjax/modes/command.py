"""Owns the command line: flags, and what an error of the user's looks like.

`main.py` calls it, and so does a program of your own that adds a task, see docs/add_a_task.md.
Nothing heavy is imported before the flags are known.
"""

import argparse
import io
import os
import sys

from bigjax.modes.flags import MODES, Flags, add_flags

HELP = """\
examples:
  python main.py --config=configs/bert_ner.py --workdir=runs/ner        train, or resume
  python main.py --config=configs/bert_ner.py:wikiann --workdir=runs/w  a variant of the file
  ... --config.optim.learning_rate=3e-5                                 override a setting
  ... --mode=check                                                      look before training
  python main.py --mode=evaluate --workdir=runs/ner                     score a finished run
  python main.py --mode=search --config=FILE --workdir=runs/search      try settings
  python main.py --mode=predict --workdir=runs/ner --input=book.txt     use it
settings: in the config file and docs/settings.md; a misspelt or unread one is an error.
exit codes: 0 done; 2 bad input (one line says what); 3 the loss is not finite; 4 verify_resume
found a difference; 75 stopped by SIGTERM or SIGINT and saved, 76 another process of the run is
gone or hangs: after either the same command resumes. A process that fails ends the others with
its code."""


def main(arguments: list[str]) -> int:
    """Runs what `arguments` ask for; returns the exit code."""
    flags, rest = parse(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # the name of a file may hold what is no text
            stream.reconfigure(errors="backslashreplace")

    if flags.devices is not None:
        _use_fake_devices(flags.devices)

    from bigjax.errors import UserError

    try:
        from bigjax.modes.run import Processes, run

        run(
            flags_of(flags),
            overrides=rest,
            processes=Processes(
                flags.distributed,
                flags.coordinator,
                flags.num_processes,
                flags.process_id,
                flags.heartbeat_seconds,
            ),
        )
    except UserError as error:
        if flags.traceback:
            raise
        print(f"{error.prefix}{error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; the same command resumes from the last checkpoint", file=sys.stderr)
        return 130
    return 0


def parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The flags, and what is none, which should be settings."""
    return _parser(_mode(arguments)).parse_known_args(arguments)


def flags_of(parsed: argparse.Namespace) -> Flags:
    given = vars(parsed)
    return Flags(**{name: given[name] for name in Flags._fields})


def _use_fake_devices(num_devices: int) -> None:
    """Before JAX is imported, or at least before it is used."""
    if num_devices < 1:
        _usage_error(f"--devices={num_devices}: expected 1 or more")
    os.environ["JAX_PLATFORMS"] = "cpu"
    fake = f"--xla_force_host_platform_device_count={num_devices}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {fake}".strip()
    if "jax" in sys.modules:
        sys.modules["jax"].config.update("jax_platforms", "cpu")


def _parser(mode: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="main.py",
        usage="main.py --config=FILE[:VARIANT] --workdir=DIR [--mode=MODE] [--config.NAME=VALUE]",
        description="Train Flax models from a laptop to a TPU pod, and use what was trained.",
        epilog=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.error = _usage_error
    parser.add_argument("--config", metavar="FILE[:VARIANT]", help="the config file")
    parser.add_argument("--workdir", metavar="DIR", help="the folder of the run")
    parser.add_argument(
        "--mode",
        default="train",
        choices=MODES,
        metavar="MODE",
        help=f"{', '.join(MODES)}; --mode=MODE --help says more",
    )
    parser.add_argument(
        "--devices",
        type=int,
        metavar="N",
        help="as if there were N devices (fake ones, of the CPU); with --mode=check, what such a "
        "mesh would take",
    )
    parser.add_argument("--traceback", action="store_true", help="show where an error comes from")
    add_flags(parser, mode=mode)
    several = parser.add_argument_group("several processes (see docs/launch.md)")
    several.add_argument(
        "--distributed",
        default="auto",
        choices=["auto", "on", "off"],
        help="auto: where these flags, SLURM or Open MPI say so; on: let JAX find the cluster",
    )
    several.add_argument("--coordinator", metavar="HOST:PORT", help="of process 0")
    several.add_argument("--num_processes", type=int, metavar="N")
    several.add_argument("--process_id", type=int, metavar="I")
    several.add_argument(
        "--heartbeat_seconds",
        type=int,
        default=100,
        metavar="S",
        help="after which JAX ends processes that have lost another (default 100); more than "
        "--config.watchdog.peer_seconds, which names it",
    )
    return parser


def _mode(arguments: list[str]) -> str:
    """The mode, for its help alone."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.error = _usage_error
    first.add_argument("--mode", default="train")
    found = first.parse_known_args(arguments)[0].mode
    return found if found in MODES else "train"


def _usage_error(message: str) -> None:
    print(f"error: {message}; --help lists the flags", file=sys.stderr)
    raise SystemExit(2)
