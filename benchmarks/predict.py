"""Owns the speed of prediction beside PyTorch: one Hugging Face folder, the same sentences, from a
file to a file, the systems in turn.

    python benchmarks/predict.py --model=FOLDER --data_dir=PATH --pytorch=PYTHON_WITH_TORCH

FOLDER has a head that tags tokens (`--mode=export --format=huggingface` makes one of a run); the
sentences are WikiANN's test split, prepared by TFDS in PATH, or lines {"tokens": [...]} of --input.
Systems: `transformers`' token-classification pipeline at its default batch size and at
--batch_sizes, PyTorch in batches sorted by length by hand, and bigjax with decode.kind='argmax',
which is what those do, and with Viterbi, its default. Models are loaded before, and each turn of
each system begins with some sentences whose time does not count; reading and writing count. Also
the median latency of one short text at a time.

Prints a table: sentences/s, the median over rounds of how much faster bigjax is, and the share of
sentences with equal entities.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from bigjax.data.text import tfds_text
from bigjax.data.text.tags import conlleval_spans, spans
from bigjax.inference import inputs, predictor
from bigjax.inference.inputs import Reading
from bigjax.tasks.task import JSONL

HERE = os.path.dirname(os.path.abspath(__file__))
WARM_UP = 200  # sentences


class Bigjax:
    """Loaded once, with argmax and with Viterbi."""

    def __init__(self, folder):
        self.loaded = {
            kind: predictor.load(folder, overrides={"decode.kind": kind})
            for kind in ("argmax", "viterbi")
        }

    def seconds(self, kind, source, out):
        model = self.loaded[kind]
        begin = time.perf_counter()
        given = inputs.read(source, takes="text", reading=Reading())
        prepared = (model.task.use.prepare(one.value) for one in given)
        with open(out, "w", encoding="utf-8") as file:
            for piece, answers in model.answer(predictor.pieces(prepared, takes="text")):
                file.writelines(map(JSONL.line, piece.inputs, answers))
        return time.perf_counter() - begin

    def latency(self, source):
        model, times = self.loaded["viterbi"], []
        for one in inputs.read(source, takes="text", reading=Reading()):
            text = " ".join(one.value["tokens"])
            begin = time.perf_counter()
            model(text)
            times.append(time.perf_counter() - begin)
        return 1000 * statistics.median(times)


class PyTorch:
    """A process of another Python that has loaded the same folder."""

    def __init__(self, python, folder):
        program = os.path.join(HERE, "pytorch_predict.py")
        self.process = subprocess.Popen(
            [python, program, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout.readline() == "ready\n"

    def seconds(self, system, source, out):
        self.process.stdin.write(f"{system}\t{source}\t{out}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


def write_sentences(data_dir, path, *, num):
    found = tfds_text.read(
        "wikiann/en", data_dir=data_dir, splits={"test": f"test[:{num}]"}, tokens="tokens",
        tags="tags",
    )["test"]  # fmt: skip
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps({"tokens": words}) + "\n" for words in found.words)


def lines_of(path):
    with open(path, encoding="utf-8") as file:
        return file.readlines()


def entities_in(path):
    """Of each sentence its entities as (first word, one past the last, type), or, of a text, as
    (start, end, type) in characters."""
    for line in lines_of(path):
        record = json.loads(line)
        if "entities" in record:
            text = {(e["start"], e["end"], e["type"]) for e in record["entities"]}
        else:
            text = None
        words = {"strict": set(), "lenient": set()}
        if "tags" in record:
            words = {"strict": set(spans(record["tags"])),
                     "lenient": set(conlleval_spans(record["tags"]))}  # fmt: skip
        yield text, words


def equal(ours, theirs, *, by):
    pairs = list(zip(entities_in(ours), entities_in(theirs), strict=True))
    same = [a[0] == b[0] if by == "text" else a[1][by] == b[1][by] for a, b in pairs]
    return sum(same) / len(same)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--pytorch", required=True)
    parser.add_argument("--data_dir")
    parser.add_argument("--input")
    parser.add_argument("--num", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch_sizes", default="8,32")
    flags = parser.parse_args()
    folder = tempfile.mkdtemp()
    source = flags.input or os.path.join(folder, "sentences.jsonl")
    if flags.input is None:
        write_sentences(flags.data_dir, source, num=flags.num)
    lines = lines_of(source)
    num = len(lines)
    first = os.path.join(folder, "first.jsonl")
    with open(first, "w", encoding="utf-8") as file:
        file.writelines(lines[:WARM_UP])
    ours, theirs = Bigjax(flags.model), PyTorch(flags.pytorch, flags.model)
    pipelines = ["pipeline", *(f"pipeline-{size}" for size in flags.batch_sizes.split(","))]
    systems = [*(("bigjax", kind) for kind in ours.loaded), ("torch", "sorted")]
    systems += [("torch", name) for name in pipelines]
    out = {name: os.path.join(folder, f"{name}.jsonl") for _, name in systems}
    seconds = {name: [] for _, name in systems}
    for number in range(flags.rounds + 1):  # the first compiles
        for side, name in systems:
            run = ours.seconds if side == "bigjax" else theirs.seconds
            time.sleep(1)  # threads of the system before it may wait in a loop for a while
            run(name, first, out[name])  # what was not used for a while is slower at first
            taken = run(name, source, out[name])
            if number:
                seconds[name].append(taken)
        print(f"round {number} of {flags.rounds}", file=sys.stderr)
    print(f"{num:,} sentences, {flags.rounds} rounds in turn, one left out before them\n")
    print("| system | sentences/s | bigjax (argmax) is faster by, median (range) | equal |")
    print("| --- | --- | --- | --- |")
    for _, name in systems:
        ratios = [b / a for a, b in zip(seconds["argmax"], seconds[name])]
        how = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        by = "text" if name.startswith("pipeline") else "strict"
        same = equal(out["argmax"], out[name], by=by)
        rate = num / statistics.median(seconds[name])
        print(f"| {name} | {rate:.0f} | {how} | {same:.2%} |")
    short = os.path.join(folder, "short.jsonl")
    with open(short, "w", encoding="utf-8") as file:
        file.writelines([x for x in lines if len(json.loads(x)["tokens"]) < 13][:200])
    both = [(ours.latency(short), theirs.seconds("latency", short, "-")) for _ in range(3)]
    a, b = (statistics.median(values) for values in zip(*both))
    print(
        f"\nmedian latency of one text of at most 12 words: bigjax {a:.1f} ms, pipeline {b:.1f} ms"
    )


if __name__ == "__main__":
    main()
