"""Times decoding: sentences of random scores to tags and to scored entities, on one core.

    python benchmarks/decoding.py [--sentences=20000] [--words=20] [--types=4]

Random scores are the worst there is for Viterbi with a linear head: hardly a sentence is legal as
it is, while of a trained model most are, and cost an argmax. And there are 13 entities a sentence.
Microseconds of a core (a busy Xeon's) for a sentence of 20 words with 9 tags, the best of three:

| head | argmax | Viterbi | scores of entities |
| --- | --- | --- | --- |
| linear | 0.5 | 7.0 | 23 |
| crf | 22 | 5.6 | 45 |
"""

import argparse
import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from bigjax.tasks.token_tagging import decoding


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sentences", type=int, default=20_000)
    parser.add_argument("--words", type=int, default=20)
    parser.add_argument("--types", type=int, default=4)
    flags = parser.parse_args()
    tags = ["O", *(f"{prefix}-{i}" for i in range(flags.types) for prefix in "BI")]
    rng = np.random.default_rng(0)
    offsets = np.arange(flags.sentences + 1) * flags.words
    logits = rng.normal(size=(offsets[-1], len(tags))).astype(np.float32)
    learned = rng.normal(size=(len(tags) + 2, len(tags))).astype(np.float32)
    print(f"{flags.sentences:,} sentences of {flags.words} words, {len(tags)} tags")
    for head, transitions in (("linear", None), ("crf", learned)):
        given = {"transitions": transitions, "tags": tags}
        decode = functools.partial(decoding.decode, logits, offsets, **given)
        for kind in ("argmax", "viterbi"):
            seconds, found = best(functools.partial(decode, kind=kind))
            say(f"{head}, {kind}", seconds, flags.sentences)
        score = functools.partial(decoding.entity_scores, logits, offsets, found, **given)
        seconds, _ = best(functools.partial(score, how="product"))
        say(f"{head}, scores of entities", seconds, flags.sentences)


def best(call: Callable[[], object]) -> tuple[float, object]:
    """The least time of three calls, and what they return."""
    times = []
    for _ in range(3):
        began = time.process_time()
        found = call()
        times.append(time.process_time() - began)
    return min(times), found


def say(what: str, seconds: float, num_sentences: int) -> None:
    print(f"{what:30} {1e6 * seconds / num_sentences:7.1f} microseconds a sentence")


if __name__ == "__main__":
    main()
