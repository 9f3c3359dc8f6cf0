"""Step time, MFU and memory of training on the devices at hand, for one or several dispatch sizes.

    python benchmarks/step_time.py tagger                 # BERT-base, bfloat16, rows of 128 tokens
    python benchmarks/step_time.py resnet50               # 224 x 224 pixels, bfloat16
    python benchmarks/step_time.py small --dispatch 1 4 16 64
        [--rows=N] [--updates=30] [--rounds=5] [--mesh=data=-1] [--peak_tflops=989]
        [--config.SECTION.KEY=VALUE ...]

Batches are placed before the clock starts, so this is the step and not the input. Dispatch sizes
take turns, round by round, in one process. MFU is the model's FLOPs (bigjax/flops.py) over the peak
of the devices, known for a few kinds, dense and in bfloat16. Memory is what the device says it had
in use at most, of which XLA's plan for the step is the part that is compiled.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
# FLOP/s of a device, dense bfloat16, by `device_kind`; vendors' figures.
PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "TPU v5 lite": 197e12, "TPU v4": 275e12}
BERT_BASE = {
    "model.num_layers": "12",
    "model.hidden_size": "768",
    "model.num_heads": "12",
    "model.mlp_size": "3072",
    "model.dtype": "bfloat16",
    "text.row_length": "128",
    "batch.examples": "none",
}


def main() -> None:
    flags, overrides = _flags()
    import jax

    from bigjax.config import values
    from bigjax.engine import cost, settings

    with tempfile.TemporaryDirectory() as folder:
        file, given = _config(flags.model, folder=Path(folder))
        given |= {"mesh": flags.mesh, "batch.rows": str(flags.rows)} | overrides
        runs = []
        for size in flags.dispatch:
            sized = given | {"steps_per_dispatch": str(size)}
            found = values.load(str(file), overrides=sized, schema=settings.schema)
            runs.append(_Run(found, size=size, num_updates=flags.updates))
    kind = jax.devices()[0].device_kind
    setup = runs[0].setup
    print(f"{flags.model} on {jax.device_count()} x {kind}, mesh {flags.mesh}, {flags.rows} rows")
    print(f"{setup.flops:.4g} FLOPs an update, {setup.num_microbatches} part(s)")
    for _ in range(flags.rounds):
        for run in runs:
            run.turn()
    peak = flags.peak_tflops and flags.peak_tflops * 1e12
    peak = peak or next((value for name, value in PEAKS.items() if name in kind), None)
    print("dispatch  ms a step      from        to   TFLOP/s     MFU  GiB planned  GiB at most")
    for run in runs:
        seconds = statistics.median(run.seconds)
        speed = run.setup.flops / seconds
        mfu = f"{speed / (peak * jax.device_count()):.1%}" if peak else "-"
        stats = jax.local_devices()[0].memory_stats() or {}
        most = f"{stats['peak_bytes_in_use'] / 2**30:.2f}" if stats else "-"
        planned = cost.peak_memory(run.setup.compiled) or 0
        print(
            f"{run.size:>8}  {seconds * 1e3:>9.3f}  {min(run.seconds) * 1e3:>8.3f}  "
            f"{max(run.seconds) * 1e3:>8.3f}  {speed / 1e12:>8.2f}  {mfu:>6}  "
            f"{planned / 2**30:>11.2f}  {most:>11}"
        )


class _Run:
    """A run that has done its first updates, with batches at hand for one turn."""

    def __init__(self, found: Any, *, size: int, num_updates: int):
        import jax

        from bigjax.engine import build
        from bigjax.loop import starting_points

        self.setup, self.size = build.build(found), size
        self._state, _ = starting_points.new_state(self.setup)
        self._calls = -(-num_updates // size)
        steps = range(size)
        self._batches = [self.setup.put(steps) for _ in range(min(self._calls, 4))]
        self.seconds: list[float] = []
        self.turn()  # compiled, and warm
        self.seconds.clear()
        jax.block_until_ready(self._state)

    def turn(self) -> None:
        import jax

        from bigjax.processes.dispatch import in_order

        began = time.perf_counter()
        for number in range(self._calls):
            batch = self._batches[number % len(self._batches)]
            self._state, scalars = self.setup.train_step(self._state, batch)
            in_order(scalars)
        jax.block_until_ready(scalars)
        self.seconds.append((time.perf_counter() - began) / (self._calls * self.size))


def _config(model: str, *, folder: Path) -> tuple[str, dict[str, str]]:
    if model == "tagger":
        return f"{ROOT}/configs/bert_ner.py:scratch", dict(BERT_BASE)
    if model == "small":
        return f"{ROOT}/configs/cnn_digits.py", {}
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(20):
        path = folder / f"class_{number % 10}" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (224, 224, 3), np.uint8)).save(path)
    return f"{ROOT}/configs/cnn_folder.py", {
        "data.train": str(folder),
        "data.image_size": "224",
        "model.name": "resnet50",
        "model.stem": "imagenet",
        "model.dtype": "bfloat16",
        "augment.pad_crop": "0",
    }


def _flags() -> tuple[argparse.Namespace, dict[str, str]]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", choices=("tagger", "resnet50", "small"))
    parser.add_argument("--rows", type=int, help="default 256; of the small model 32")
    parser.add_argument("--dispatch", type=int, nargs="+", default=[1], metavar="STEPS")
    parser.add_argument("--updates", type=int, default=30, help="of a turn")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mesh", default="data=-1")
    parser.add_argument("--peak_tflops", type=float, help="of a device")
    flags, rest = parser.parse_known_args()
    flags.rows = flags.rows or (32 if flags.model == "small" else 256)
    unknown = [flag for flag in rest if not flag.startswith("--config.") or "=" not in flag]
    if unknown:
        parser.error(f"unknown: {' '.join(unknown)}")
    pairs = (flag.removeprefix("--config.").split("=", 1) for flag in rest)
    return flags, dict(pairs)


if __name__ == "__main__":
    main()
