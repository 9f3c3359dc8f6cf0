"""What adversarial training costs: CPU time of an update of the default job with each kind, over
that of one without, the kinds in turn in one process.

    python benchmarks/adversarial_cost.py [--rounds=5] [--config.SECTION.KEY=VALUE ...]
"""

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
KINDS = ("none", "fgm", "freelb")
NUM_UPDATES = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    flags, rest = parser.parse_known_args()
    overrides = dict(one.removeprefix("--config.").split("=", 1) for one in rest)
    runs = {kind: _Run(overrides | {"adversarial.kind": kind}) for kind in KINDS}
    for run in runs.values():
        run.seconds()
    rounds = [{kind: run.seconds() for kind, run in runs.items()} for _ in range(flags.rounds)]
    print(f"none: {statistics.median(found['none'] for found in rounds):.3f} s of CPU an update")
    for kind in KINDS[1:]:
        ratios = sorted(found[kind] / found["none"] for found in rounds)
        middle = statistics.median(ratios)
        print(f"{kind}: {middle:.2f} times that ({ratios[0]:.2f} to {ratios[-1]:.2f})")


class _Run:
    def __init__(self, overrides: dict[str, str]):
        from bigjax.config import values
        from bigjax.engine import build, settings
        from bigjax.loop import starting_points

        file = f"{ROOT}/configs/bert_ner.py"
        config = values.load(file, overrides=overrides, schema=settings.schema)
        self._setup = build.build(config)
        self._state, _ = starting_points.new_state(self._setup)
        self._batch: Any = self._setup.put(range(1))

    def seconds(self) -> float:
        begin = time.process_time()
        for _ in range(NUM_UPDATES):
            self._state, _ = self._setup.train_step(self._state, self._batch)
        self._state.step.block_until_ready()
        return (time.process_time() - begin) / NUM_UPDATES


if __name__ == "__main__":
    main()
