"""Training speed of the `tutorial` network: bigjax beside PyTorch and Keras on the same images.

    python benchmarks/image_classification.py --data_dir=PREPARED_TFDS --rows=32 \
      --pytorch=PYTHON --keras=PYTHON

The loops take turns (A B C A B C ...) in processes that wait without using a core, so that all meet
the same machine, and the ratios are of neighbours in time. bigjax runs its own input pipeline and
train step; PyTorch has its images in memory and channels last, with fused Adam; Keras (TensorFlow
backend) runs `fit` on arrays, as the tutorial does. All train the same network with Adam in float32
on images of 32 by 32. Each Python needs its own package alone: torch; tensorflow and keras.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
WARMUP = 10


def main() -> None:
    flags = _flags()
    if flags.worker:
        _work(flags)
        return
    pythons = {"bigjax": sys.executable, "pytorch": flags.pytorch, "keras": flags.keras}
    names = [name for name, python in pythons.items() if python]
    with tempfile.TemporaryDirectory() as folder:
        workers = {}
        for name in names:
            out = Path(folder) / name
            out.touch()
            command = [pythons[name], __file__, *sys.argv[1:], f"--worker={name}", f"--out={out}"]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)
            workers[name] = (process, out)
            _answer(process, out, number=0)  # built and warm
        print(f"batch of {flags.rows}, {flags.updates} updates a turn, images/s")
        print(f"{'round':>5}" + "".join(f"  {name:>8}" for name in names))
        speeds = []
        for number in range(1, flags.rounds + 1):
            turn = {}
            for name, (process, out) in workers.items():
                process.stdin.write("go\n")
                process.stdin.flush()
                seconds = _answer(process, out, number=number)
                turn[name] = flags.updates * flags.rows / seconds
            speeds.append(turn)
            print(f"{number:>5}" + "".join(f"  {turn[n]:8.0f}" for n in names), flush=True)
        for process, _ in workers.values():
            process.stdin.close()
            process.wait()
    for name in names[1:]:
        ratios = sorted(turn["bigjax"] / turn[name] for turn in speeds)
        print(
            f"bigjax / {name}: median {statistics.median(ratios):.2f}, "
            f"from {ratios[0]:.2f} to {ratios[-1]:.2f} over {len(ratios)} rounds"
        )


def _answer(process: subprocess.Popen, out: Path, *, number: int) -> float:
    while True:
        lines = out.read_text().split("\n")
        if len(lines) - 1 > number:
            return json.loads(lines[number])
        if process.poll() is not None:
            sys.exit(f"a worker ended: {process.args}")
        time.sleep(0.05)


def _work(flags: argparse.Namespace) -> None:
    """Answers each line of stdin with the seconds that `--updates` updates took."""
    make = {"bigjax": _bigjax, "pytorch": _pytorch, "keras": _keras}[flags.worker]
    run = make(flags)
    run(WARMUP)
    with open(flags.out, "a") as out:
        print(0, file=out, flush=True)
        for _ in sys.stdin:
            begin = time.perf_counter()
            run(flags.updates)
            print(time.perf_counter() - begin, file=out, flush=True)


def _bigjax(flags: argparse.Namespace) -> Callable[[int], None]:
    sys.path.insert(0, str(HERE.parent))
    import jax

    from bigjax.config import values
    from bigjax.data.pipeline import Prefetch
    from bigjax.engine import build, settings
    from bigjax.loop import starting_points

    overrides = {
        "data.data_dir": flags.data_dir,
        "batch.rows": str(flags.rows),
        "num_steps": str(WARMUP + flags.updates * flags.rounds),
        "num_epochs": "None",
    }
    file = os.path.relpath(HERE.parent / "configs" / "cnn_cifar10.py")
    found = values.load(f"{file}:tutorial", overrides=overrides, schema=settings.schema)
    built = build.build(found)
    held: dict[str, Any] = {"state": starting_points.new_state(built)[0]}
    one_by_one = (range(step, step + 1) for step in range(built.total_steps))
    batches = iter(Prefetch(built.put, one_by_one))

    def run(updates: int) -> None:
        for _ in range(updates):
            held["state"], scalars = built.train_step(held["state"], next(batches))
        jax.block_until_ready(scalars)

    return run


def _pytorch(flags: argparse.Namespace) -> Callable[[int], None]:
    import torch
    from torch import nn

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    layers = []
    for channels, features in ((3, 32), (32, 64), (64, 64)):
        layers += [nn.Conv2d(channels, features, 3), nn.ReLU(), nn.MaxPool2d(2)]
    head = [nn.Flatten(), nn.Linear(1024, 64), nn.ReLU(), nn.Linear(64, 10)]
    model = nn.Sequential(*layers[:-1], *head).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7, fused=True)
    loss_of = nn.CrossEntropyLoss()
    pixels, labels = (torch.from_numpy(x) for x in _images(flags))
    pixels = pixels.permute(0, 3, 1, 2)  # of NHWC memory: channels last

    def run(updates: int) -> None:
        for ids in torch.randint(0, len(labels), (updates, flags.rows)):
            x = pixels[ids].to(torch.float32, memory_format=torch.channels_last) / 127.5 - 1.0
            optimizer.zero_grad(set_to_none=True)
            loss_of(model(x), labels[ids]).backward()
            optimizer.step()

    return run


def _keras(flags: argparse.Namespace) -> Callable[[int], None]:
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    from keras import layers

    convolutions = []
    for features in (32, 64, 64):
        convolutions += [layers.Conv2D(features, 3, activation="relu"), layers.MaxPooling2D(2)]
    head = [layers.Flatten(), layers.Dense(64, activation="relu"), layers.Dense(10)]
    model = keras.Sequential([keras.Input((32, 32, 3)), *convolutions[:-1], *head])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="adam", loss=loss)
    pixels, labels = _images(flags)
    pixels = pixels[: flags.rows * flags.updates].astype(np.float32) / 127.5 - 1.0
    labels = labels[: len(pixels)]

    def run(updates: int) -> None:
        rows = flags.rows * updates
        model.fit(pixels[:rows], labels[:rows], batch_size=flags.rows, epochs=1, verbose=0)

    return run


def _images(flags: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Pixels uint8 (N, 32, 32, 3) and labels int64 (N,): noise, as speed does not depend on it."""
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (max(10_000, flags.rows * flags.updates), 32, 32, 3), np.uint8)
    return pixels, draw.integers(0, 10, len(pixels))


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", required=True, help="TFDS data with cifar10")
    parser.add_argument("--rows", type=int, default=32, help="of a batch")
    parser.add_argument("--updates", type=int, default=200, help="of a turn")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--pytorch", help="a Python that has torch")
    parser.add_argument("--keras", help="a Python that has tensorflow and keras")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
