"""Owns what the command line knows besides settings: modes and their flags.

What a mode does is its own file's; nothing heavy is imported here.
"""

import argparse
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

MODES = {
    "train": "or resume; the default",
    "evaluate": "score a finished run, or a Hugging Face folder",
    "check": "look at settings, data, memory before training",
    "predict": "answer texts, images, tables with what was trained",
    "serve": "answer over HTTP",
    "export": "a run for other programs: Hugging Face, StableHLO, ONNX",
    "compare": "runs: settings, scores, whether they differ by more than chance",
    "average": "a run whose parameters are the mean of those of several",
    "search": "try settings, each as a run of its own",
    "explain": "what in a text or an image made the model say what it says",
    "verify_resume": "prove on this machine that a killed run ends as one that was not",
}


class Flags(NamedTuple):
    """What was given. `FLAGS` says what each is."""

    mode: str = "train"
    config: str | None = None
    workdir: str | None = None
    allow_config_change: bool = False
    strict: bool = False
    input: str | None = None
    output: str | None = None
    format: str | None = None
    lines: bool = False
    input_format: str = "auto"
    skip_bad: bool = False
    min_score: float | None = None
    seeds: str | None = None
    runs: str | None = None
    quantize: str | None = None
    max_loss: float = 0.5
    runtime: str | None = None
    license: str = "unknown"
    host: str = "127.0.0.1"
    port: int = 8000
    most_waiting: int = 256
    most_inputs: int = 64
    most_characters: int = 50_000
    most_bytes: int = 2**20
    timeout: float = 30.0
    drain_seconds: int = 25


class Flag(NamedTuple):
    """A flag that only some modes look at: with any other it is an error, and its help is that of
    `--mode=MODE --help`."""

    name: str
    modes: tuple[str, ...]
    help: str
    options: Mapping[str, Any] = MappingProxyType({})


_SET = {"action": "store_true"}
_INT = {"metavar": "N", "type": int}
FLAGS = (
    Flag(
        "allow_config_change",
        ("train",),
        "resume a run though settings that change training differ from its own",
        _SET,
    ),
    Flag("strict", ("check",), "exit code 2 for serious data flaws", _SET),
    Flag(
        "input",
        ("predict", "explain"),
        "what to answer: a text, .jsonl, .conll, .csv, images or a folder of them; several parted "
        "by commas, a pattern, or - for standard input; with --mode=explain also a text itself",
        {"metavar": "FILE"},
    ),
    Flag(
        "output",
        ("predict", "evaluate", "export", "explain"),
        "where the answers go, or the results of what is no run, else the terminal; the folder of "
        "an export; the page (.html) of an explanation",
        {"metavar": "PATH"},
    ),
    Flag(
        "format",
        ("predict", "export"),
        "of the answers: jsonl, conll, csv or terminal; else by the end of the output's name; of "
        "an export: huggingface, peft, stablehlo or onnx",
        {"metavar": "NAME"},
    ),
    Flag("lines", ("predict", "explain"), "each line of a text file is a text of its own", _SET),
    Flag(
        "input_format",
        ("predict", "explain"),
        "text, lines, jsonl, conll, csv, words (of a CSV) or images, where the name does not tell",
        {
            "metavar": "NAME",
            "choices": ["auto", "text", "lines", "jsonl", "conll", "csv", "words", "images"],
        },
    ),
    Flag(
        "skip_bad",
        ("predict", "explain"),
        "leave out inputs that cannot be read, and name them",
        _SET,
    ),
    Flag(
        "min_score",
        ("predict", "explain"),
        "leave out entities that are less sure, 0 to 1",
        {"metavar": "P", "type": float},
    ),
    Flag(
        "seeds",
        ("train",),
        "a run for each seed in a folder of its own, mean and spread: 0,1,2",
        {"metavar": "N,N,..."},
    ),
    Flag(
        "quantize",
        ("export",),
        "of onnx and stablehlo: matrices in 8 bits; what it costs on dev is measured",
        {"choices": ["int8"]},
    ),
    Flag(
        "max_loss",
        ("export",),
        "points of the first score on dev that this may cost (0.5)",
        {"metavar": "POINTS", "type": float},
    ),
    Flag(
        "runtime",
        ("export",),
        "the Python in which the export is verified; else BIGJAX_RUNTIME, or this one",
        {"metavar": "PYTHON"},
    ),
    Flag("license", ("export",), "of the model, for its card", {"metavar": "NAME"}),
    Flag("host", ("serve",), "the address to listen at (127.0.0.1)", {"metavar": "ADDRESS"}),
    Flag("port", ("serve",), "and its port (8000); 0: any that is free", _INT),
    Flag("most_waiting", ("serve",), "inputs that may wait; more are told 503 (256)", _INT),
    Flag("most_inputs", ("serve",), "inputs of a request (64)", _INT),
    Flag("most_characters", ("serve",), "characters of a request's texts (50000)", _INT),
    Flag("most_bytes", ("serve",), "bytes of a request's body (1048576)", _INT),
    Flag(
        "timeout",
        ("serve",),
        "seconds until a request is answered or told 503 (30)",
        {"metavar": "S", "type": float},
    ),
    Flag("drain_seconds", ("serve",), "that requests get to end in after SIGTERM (25)", _INT),
    Flag(
        "runs",
        ("compare", "average"),
        "the folders of the runs; of an average also RUN@STEP",
        {"metavar": "DIR,DIR,..."},
    ),
)


def add_flags(parser: argparse.ArgumentParser, *, mode: str) -> None:
    """All flags, of which those that `mode` does not look at are left out of the help."""
    group = parser.add_argument_group(f"--mode={mode}")
    for flag in FLAGS:
        help = flag.help if mode in flag.modes else argparse.SUPPRESS
        default = Flags._field_defaults[flag.name]
        group.add_argument(f"--{flag.name}", default=default, help=help, **flag.options)


def misplaced(flags: Flags) -> Flag | None:
    """A flag that was given and that the mode does not look at."""
    for flag in FLAGS:
        given = getattr(flags, flag.name) != Flags._field_defaults[flag.name]
        if given and flags.mode not in flag.modes:
            return flag
    return None
