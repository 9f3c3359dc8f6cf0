"""What an update costs with a method and without: parameters, memory, operations, and CPU time of
updates in turns (A B A B ...), in one process.

    python benchmarks/methods.py configs/bert_ner.py:files --config.data.train=FILE \\
        --with lora.rank=8 --with distill.teacher=RUN

Every --with is one variant: settings, several with commas between them. The first line is the
config as it is. Time is of the process's CPU time, medians over rounds, and of ratios to the first.
"""

import argparse
import statistics
import time

import jax

from bigjax.config import values as configs
from bigjax.engine import build, cost, settings
from bigjax.loop import starting_points

ROUNDS, UPDATES = 5, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("config", help="FILE[:VARIANT]")
    parser.add_argument("--with", dest="variants", action="append", default=[], metavar="K=V,...")
    args, rest = parser.parse_known_args()
    shared = configs.parse_overrides(rest)
    setups = {"as it is": {}}
    setups |= {one: dict(pair.split("=", 1) for pair in one.split(",")) for one in args.variants}
    runs = {name: _Run(args.config, shared | more) for name, more in setups.items()}
    seconds = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            seconds[name].append(run.updates())
    first = seconds["as it is"]
    print(
        "| variant | trained | state, MiB | peak of an update, MiB | GFLOP | CPU-s | of the first |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, run in runs.items():
        ratio = statistics.median(own / other for own, other in zip(seconds[name], first))
        state = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(run.setup.state))
        print(
            f"| {name} | {build.num_params(run.setup.state):,} | {state / 2**20:.1f} "
            f"| {cost.peak_memory(run.setup.compiled) / 2**20:.1f} | {run.setup.flops / 1e9:.1f} "
            f"| {statistics.median(seconds[name]):.2f} | {ratio:.2f} |"
        )


class _Run:
    """A training of which `updates` does some."""

    def __init__(self, config: str, overrides: dict[str, str]):
        loaded = configs.load(config, overrides=overrides, schema=settings.schema)
        self.setup = build.build(loaded)
        self.state, _ = starting_points.new_state(self.setup)
        self.step = 0
        self.updates()  # the first is slower

    def updates(self) -> float:
        """CPU seconds of an update, over `UPDATES` of them."""
        batches = [self.setup.put(range(self.step + i, self.step + i + 1)) for i in range(UPDATES)]
        start = time.process_time()
        for batch in batches:
            self.state, _ = self.setup.train_step(self.state, batch)
        jax.block_until_ready(self.state)
        self.step += UPDATES
        return (time.process_time() - start) / UPDATES


if __name__ == "__main__":
    main()
