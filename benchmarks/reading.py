"""Seconds and peak memory to read a million words in each format.

    python benchmarks/reading.py [--words=1000000]

Each format is read in a process of its own: the seconds of a core that reading takes, without the
imports, and by how much the process grew at its largest. Python 3.11, a core of a busy Xeon:

| format | file, MiB | seconds | peak memory, MiB |
| --- | --- | --- | --- |
| CoNLL columns | 6.5 | 1.00 | 126 |
| CoNLL-U, UPOS | 38.6 | 1.42 | 188 |
| CSV | 9.1 | 2.45 | 119 |
| JSONL, tokens with tags | 13.3 | 1.61 | 122 |
| JSONL, text with spans | 9.3 | 1.77 | 117 |
| Label Studio | 22.2 | 2.09 | 119 |
"""

import argparse
import csv
import json
import multiprocessing
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bigjax.data.text import recognise, writing  # noqa: E402
from bigjax.data.text.cutting import RULE  # noqa: E402
from bigjax.data.text.sentences import Origin, Sentences  # noqa: E402

WORDS_A_SENTENCE = 20


def made_up(num_words: int) -> Sentences:
    """Sentences of words with the frequencies of a text (Zipf), a tenth of them in entities."""
    rng = random.Random(0)
    vocabulary = [f"w{i:x}" for i in range(50_000)]
    weights = [1 / (i + 1) for i in range(len(vocabulary))]
    flat = rng.choices(vocabulary, weights, k=num_words)
    kinds = rng.choices(["O", "B-PER", "B-LOC", "B-ORG"], [27, 1, 1, 1], k=num_words)
    cut = range(0, num_words, WORDS_A_SENTENCE)
    return Sentences(
        words=[flat[i : i + WORDS_A_SENTENCE] for i in cut],
        tags=[kinds[i : i + WORDS_A_SENTENCE] for i in cut],
        where="made up",
        origin=Origin(rule=RULE),
    )


def write_columns(sentences: Sentences, path: Path) -> None:
    path.write_text("".join(writing.conll_lines(sentences)))


def write_conllu(sentences: Sentences, path: Path) -> None:
    with open(path, "w") as file:
        for words, tags in zip(sentences.words, sentences.tags):
            file.write("# sent_id = 1\n")
            for number, (word, tag) in enumerate(zip(words, tags), 1):
                file.write(f"{number}\t{word}\t{word}\tNOUN\tNN\t_\t0\troot\t_\tEntity={tag}\n")
            file.write("\n")


def write_csv(sentences: Sentences, path: Path) -> None:
    with open(path, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["Sentence #", "Word", "Tag"])
        for number, (words, tags) in enumerate(zip(sentences.words, sentences.tags), 1):
            for at, pair in enumerate(zip(words, tags)):
                rows.writerow(["" if at else f"Sentence: {number}", *pair])


def write_tokens(sentences: Sentences, path: Path) -> None:
    with open(path, "w") as file:
        for words, tags in zip(sentences.words, sentences.tags):
            file.write(json.dumps({"tokens": words, "tags": tags}) + "\n")


def write_spans(sentences: Sentences, path: Path) -> None:
    path.write_text("".join(writing.jsonl_lines(sentences)))


def write_label_studio(sentences: Sentences, path: Path) -> None:
    tasks = []
    for line in writing.jsonl_lines(sentences):
        record = json.loads(line)
        results = [
            {
                "type": "labels",
                "value": {"start": span["start"], "end": span["end"], "labels": [span["label"]]},
            }
            for span in record["spans"]
        ]
        task = {"data": {"text": record["text"]}, "annotations": [{"result": results}]}
        tasks.append(task)
    path.write_text(json.dumps(tasks, indent=1))


WRITERS: dict[str, Callable[[Sentences, Path], None]] = {
    "CoNLL columns": write_columns,
    "CoNLL-U, UPOS": write_conllu,
    "CSV": write_csv,
    "JSONL, tokens with tags": write_tokens,
    "JSONL, text with spans": write_spans,
    "Label Studio": write_label_studio,
}


def measure(path: Path) -> tuple[float, float, int]:
    """Seconds of this process, MiB it grew by at its largest, and how many words there were."""
    before, start = peak(), time.process_time()
    found = recognise.read(path)
    return time.process_time() - start, peak() - before, sum(map(len, found.words))


def peak() -> float:
    """Of this process, in MiB. The kernel's own line, where it writes one: `getrusage` counts what
    the process that started this one held."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            (line,) = (line for line in file if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 2**10
    except (OSError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--words", type=int, default=1_000_000)
    num_words = parser.parse_args().words
    sentences = made_up(num_words)
    print(f"{num_words:,} words\n\n| format | file, MiB | seconds | peak memory, MiB |")
    print("| --- | --- | --- | --- |")
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        for name, write in WRITERS.items():
            path = Path(folder) / "file"
            write(sentences, path)
            with context.Pool(1) as pool:
                seconds, grown, found = pool.apply(measure, [path])
            assert found == num_words, (name, found)
            size = path.stat().st_size / 2**20
            print(f"| {name} | {size:.1f} | {seconds:.2f} | {grown:.0f} |", flush=True)


if __name__ == "__main__":
    main()
