"""What smaller models cost and gain: size, speed and score of a finished run, the same in 8 bits,
and others beside it (pruned, distilled), in one table.

    python benchmarks/smaller.py RUN [NAME=RUN ...]

Speed is words (or rows) a second of CPU time of one process, through the whole of prediction, on
the first test inputs; the score is the task's first on test, or on dev where there is no test.
"""

import argparse
import time
import zlib

import jax
import numpy as np

from bigjax.engine.scorer import build_scorer
from bigjax.inference import opening, predictor
from bigjax.loop.evaluate import evaluate

NUM_INPUTS = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("run", help="the finished run that the others are compared with")
    parser.add_argument("others", nargs="*", metavar="NAME=RUN")
    args = parser.parse_args()
    rows = [("as trained", args.run, {}), ("8 bits", args.run, {"quantize.weights": "int8"})]
    for given in args.others:
        name, _, run = given.partition("=")
        rows += [(name, run, {}), (f"{name}, 8 bits", run, {"quantize.weights": "int8"})]
    print("| model | parameters | zeros | MiB | MiB packed | items/CPU-s | score | points lost |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    first = None
    for name, run, overrides in rows:
        found = measured(run, overrides)
        first = found["score"] if first is None else first
        lost = 100 * (first - found["score"])
        print(
            f"| {name} | {found['num']:,} | {found['zeros']:.0%} | {found['bytes'] / 2**20:.1f} "
            f"| {found['packed'] / 2**20:.1f} | {found['speed']:,.0f} | {found['score']:.4f} "
            f"| {lost:+.2f} |",
            flush=True,
        )


def measured(run: str, overrides: dict[str, str]) -> dict[str, float]:
    opened = opening.open_trained(run, overrides=overrides)
    scorer = build_scorer(opened.config, folder=run, splits=("dev", "test"))
    variables, _ = opening.variables_of(scorer, opened)
    leaves = [np.asarray(x) for x in jax.tree.leaves(variables["params"])]
    split = "test" if "test" in scorer.task.data.evals else "dev"
    scores = evaluate(scorer, split=split, variables=variables, between=lambda: None).scalars
    weights = [x for x in leaves if x.ndim > 1 and min(x.shape[-2:]) > 1]
    return {
        "num": sum(x.size for x in weights),
        "zeros": sum((x == 0).sum() for x in weights) / sum(x.size for x in weights),
        "bytes": sum(x.nbytes for x in leaves),
        "packed": sum(len(zlib.compress(x.tobytes(), 1)) for x in leaves),
        "score": scores[scorer.task.scoring.headline[0]],
        "speed": _speed(run, overrides, inputs=scorer.task.use.given(split)[:NUM_INPUTS]),
    }


def _speed(run: str, overrides: dict[str, str], *, inputs: list) -> float:
    model = predictor.load(run, overrides=overrides)
    model(inputs)  # compiles
    start = time.process_time()
    model(inputs)
    seconds = time.process_time() - start
    return sum(len(one) if isinstance(one, list) else 1 for one in inputs) / seconds


if __name__ == "__main__":
    main()
