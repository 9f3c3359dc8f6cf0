"""Memory and seconds from the start of a run to its first step, of a CoNLL file of a million
sentences.

    python benchmarks/start_up.py [--sentences=1000000] [--before=WORKTREE]

The command is the shipped `configs/bert_ner.py:files` with an encoder of one small layer, so that
what is measured is the data: one process on the CPU, which learns a vocabulary of 64 pieces, of
which a word takes about six. The file is made here in a temporary folder: sentences of 20 words,
which are made up of syllables and as frequent as in text (Zipf). Memory is the peak of the process
when its first line of metrics is there; seconds are by the clock and, as other programs may run, of
processor time. The same is measured of 1,000 sentences, which is what a run takes without its data,
and with --before all of it of another worktree of this repository, on the same files.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
WORDS_A_SENTENCE = 20
NUM_DISTINCT = 200_000
SYLLABLES = [first + vowel for first in "bcdfghklmnprstvz" for vowel in "aeiou"]
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


class Start(NamedTuple):
    """Of a run until its first step: its peak memory, the clock's seconds, the processor's."""

    gigabytes: float
    seconds: float
    cpu_seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sentences", type=int, default=1_000_000)
    parser.add_argument("--before", metavar="WORKTREE", help="another worktree, to compare with")
    flags = parser.parse_args()
    trees = {"now": ROOT} | ({} if flags.before is None else {"before": Path(flags.before)})
    print(f"sentences of {WORDS_A_SENTENCE} words  tree    peak memory   seconds  CPU seconds")
    for num in (1_000, flags.sentences):
        with tempfile.TemporaryDirectory() as folder:
            for split, size in (("train", num), ("dev", 100)):
                with open(Path(folder, split), "w", encoding="utf-8") as file:
                    file.writelines(corpus(size, seed=size))
            for name, tree in trees.items():
                found = start(tree, folder=Path(folder), name=name)
                print(
                    f"{num:>21,}  {name:<6}  {found.gigabytes:8.2f} GB  {found.seconds:8.1f}  "
                    f"{found.cpu_seconds:11.1f}",
                    flush=True,
                )


def corpus(num_sentences: int, *, seed: int) -> Iterator[str]:
    """CoNLL lines, a sentence at a time."""
    rng = np.random.default_rng(seed)
    syllables = np.random.default_rng(0).integers(len(SYLLABLES), size=(NUM_DISTINCT, 5)).tolist()
    words = ["".join(SYLLABLES[i] for i in found[: 1 + n % 5]) for n, found in enumerate(syllables)]
    for _ in range(num_sentences):
        # Of the density 1 / rank, up to the number of words.
        ranks = (NUM_DISTINCT ** rng.random(WORDS_A_SENTENCE)).astype(int) - 1
        tagged = rng.random(WORDS_A_SENTENCE) < 0.1
        kinds = (1 + 2 * rng.integers(2, size=WORDS_A_SENTENCE)) * tagged
        yield "".join(f"{words[i]} {TAGS[kind]}\n" for i, kind in zip(ranks, kinds)) + "\n"


def start(tree: Path, *, folder: Path, name: str) -> Start:
    """Of a run in a worktree, which is ended when it has done its first step."""
    workdir = folder / name
    flags = {
        "data.train": folder / "train",
        "data.dev": folder / "dev",
        "init.checkpoint": "none",
        "text.vocab_size": 64,
        "text.row_length": 128,
        "model.num_layers": 1,
        "model.hidden_size": 16,
        "model.num_heads": 2,
        "model.mlp_size": 32,
        "num_epochs": "none",
        "num_steps": 10_000,
        "log.every_steps": 1,
        "eval.every_epochs": "none",
    }
    command = [sys.executable, "main.py", "--config=configs/bert_ner.py:files"]
    command += [f"--workdir={workdir}", *(f"--config.{key}={x}" for key, x in flags.items())]
    began, metrics = time.monotonic(), workdir / "metrics.jsonl"
    with subprocess.Popen(command, cwd=tree, stdout=subprocess.DEVNULL) as process:
        while not (metrics.exists() and metrics.stat().st_size):
            if process.poll() is not None:
                sys.exit(f"the run in {tree} ended with code {process.returncode}")
            time.sleep(0.05)
        seconds = time.monotonic() - began
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        (peak,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
        # The name of the program, which may hold spaces, ends at the last parenthesis.
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        process.kill()
    cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return Start(int(peak.split()[1]) * 1024 / 1e9, seconds, cpu)


if __name__ == "__main__":
    main()
