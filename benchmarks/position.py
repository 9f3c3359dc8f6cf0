"""How long a run of ten million sentences takes to find its place at step 1,000,000.

    python benchmarks/position.py [--sentences=10000000] [--step=1000000]

The lengths of sentences are drawn at random; rows of 64 tokens, 32 rows an update. Nothing of the
input is saved and no batch is skipped through: there is the plan of an epoch's rows, which a run
makes whenever it starts, and then the place, which is what resuming adds. Memory is the peak of the
process.
"""

import argparse
import resource
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bigjax.data.text import packing  # noqa: E402

ROW_LENGTH, BATCH_ROWS = 64, 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sentences", type=int, default=10_000_000)
    parser.add_argument("--step", type=int, default=1_000_000)
    flags = parser.parse_args()
    lengths = np.random.default_rng(0).lognormal(2.9, 0.6, flags.sentences)
    lengths = np.clip(lengths, 1, ROW_LENGTH).astype(np.int32)
    before = peak()
    began = time.perf_counter()
    plan = packing.plan(lengths, row_length=ROW_LENGTH)
    rows = packing.epochs(plan, seed=0)
    planned = time.perf_counter()
    first = rows(flags.step * BATCH_ROWS + np.arange(BATCH_ROWS))
    placed = time.perf_counter()
    rows((flags.step + 1) * BATCH_ROWS + np.arange(BATCH_ROWS))
    again = time.perf_counter()
    print(f"{flags.sentences:,} sentences in {plan.num_rows:,} rows, {plan.fill:.1%} full")
    print(f"plan of an epoch: {planned - began:.2f} s")
    epoch = flags.step * BATCH_ROWS // plan.num_rows
    print(
        f"batch {flags.step:,}, in epoch {epoch}, of {sum(map(len, first))} sentences: "
        f"{placed - planned:.2f} s; the next one: {1000 * (again - placed):.1f} ms"
    )
    print(f"memory, peak: {peak():.2f} GiB, of which {before:.2f} before the plan")


def peak() -> float:
    """Of this process, in GiB. The kernel's own line, where it writes one: `getrusage` counts what
    the process that started this one held."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            (line,) = (line for line in file if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 2**20
    except (OSError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
