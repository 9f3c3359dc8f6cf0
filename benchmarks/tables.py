"""Tables beside scikit-learn and Keras.

    python benchmarks/tables.py scores [--penguins=FILE] [--seeds=5]
    python benchmarks/tables.py speed --keras=PYTHON [--rows=1000000] [--columns=50] [--batch=256]

`scores`: breast_cancer, wine, diabetes and penguins over several splits, each of bigjax's networks
beside scikit-learn's on the same prepared training and test rows.

`speed`: rows a second of training one epoch and peak memory of a process, bigjax from a CSV file
and Keras' `fit` (with TensorFlow, in a Python of its own) on arrays in memory; the same network,
batch and optimizer, in turns. Needs keras and tensorflow in PYTHON.
"""

import argparse
import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
WIDTHS = (64, 32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_subparsers(dest="what", required=True)
    scores = what.add_parser("scores")
    scores.add_argument("--penguins", help="penguins.csv")
    scores.add_argument("--seeds", type=int, default=5)
    speed = what.add_parser("speed")
    speed.add_argument("--keras", required=True, metavar="PYTHON")
    for kind in (speed, what.add_parser("_bigjax"), what.add_parser("_keras")):
        kind.add_argument("--rows", type=int, default=1_000_000)
        kind.add_argument("--columns", type=int, default=50)
        kind.add_argument("--batch", type=int, default=256)
        kind.add_argument("--rounds", type=int, default=3)
        kind.add_argument("--dispatch", type=int, default=64)
        kind.add_argument("--folder")
    args = parser.parse_args()
    {"scores": show_scores, "speed": show_speed, "_bigjax": run_bigjax, "_keras": run_keras}[
        args.what
    ](args)


# --- scores ---


def show_scores(args: argparse.Namespace) -> None:
    sets = {name: ["--config.data.source=sklearn", f"--config.data.train={name}"] for name in (
        "breast_cancer", "wine", "diabetes")}  # fmt: skip
    if args.penguins:
        sets["penguins"] = [f"--config.data.train={args.penguins}", "--config.data.target=species"]
    sys.path.insert(0, str(ROOT))
    for name, overrides in sets.items():
        found: dict[str, list[float]] = {}
        for seed in range(args.seeds):
            for model, value in one_split(overrides, seed=seed).items():
                found.setdefault(model, []).append(value)
        measure = "R2" if name == "diabetes" else "accuracy"
        print(f"{name}: test {measure}, mean and standard deviation of {args.seeds} splits")
        for model, values in found.items():
            each = " ".join(f"{value:.4f}" for value in values)
            print(f"  {model:<28} {np.mean(values):.4f} ± {np.std(values):.4f}   {each}")


def one_split(overrides: list[str], *, seed: int) -> dict[str, float]:
    """Test accuracy or R2 of each model: bigjax's are trained as a user would, scikit-learn's on
    the same rows, to which dev is added, as these use it for nothing."""
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    from bigjax.config import values as configs
    from bigjax.data.tables.table_sources import TABLE_SOURCE, Columns, read_tables
    from bigjax.engine import settings

    given = configs.parse_overrides([*overrides, f"--config.data.split_seed={seed}"])
    config = configs.load("configs/table.py:linear", overrides=given, schema=settings.schema)
    with contextlib.redirect_stdout(io.StringIO()):
        tables = read_tables(config.of(TABLE_SOURCE), config.of(Columns))
    classes = tables.plan.target.classes

    def arrays(*splits: str) -> tuple[np.ndarray, np.ndarray]:
        some = [tables.splits[split] for split in splits]
        ids = np.concatenate([split.ids for split in some])
        whole = some[0].arrays
        ones = [np.eye(n)[whole.categories[ids, i]] for i, n in enumerate(tables.plan.num_codes)]
        return np.concatenate([whole.numbers[ids], *ones], axis=1), whole.target[ids]

    train, test = arrays("train", "dev"), arrays("test")
    found = {}
    for model, variant in (("mlp", "files"), ("linear, lbfgs", "linear")):
        found[f"bigjax {model}"] = train_bigjax(variant, overrides, seed=seed, num=len(train[1]),
                                                is_classes=bool(classes))  # fmt: skip
    linear = LogisticRegression(max_iter=10_000) if classes else Ridge(alpha=1.0)
    kind = MLPClassifier if classes else MLPRegressor
    perceptron = kind(hidden_layer_sizes=WIDTHS, max_iter=1000, random_state=seed)
    for model in (linear, perceptron):
        found[f"sklearn {type(model).__name__}"] = model.fit(*train).score(*test)
    return found


def train_bigjax(
    variant: str, overrides: list[str], *, seed: int, num: int, is_classes: bool
) -> float:
    """As main.py trains, but in this process."""
    from bigjax.config import values as configs
    from bigjax.engine import settings
    from bigjax.modes import train

    given = configs.parse_overrides([*overrides, f"--config.data.split_seed={seed}"])
    given |= {"seed": str(seed)}
    if variant == "linear":
        given["loss.l2"] = str(1 / (2 * num) if is_classes else 1 / num)
    file = f"{ROOT}/configs/table.py:{variant}"
    config = configs.load(file, overrides=given, schema=settings.schema)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        scores = train.train(config, workdir=folder)
    return scores["test/accuracy" if is_classes else "test/r2"]


# --- speed ---


def made_up(args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((args.rows, args.columns), np.float32)
    return x, (x[:, 0] * x[:, 1] + x[:, 2] > 0).astype(np.int32)


def show_speed(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        subprocess.run(
            [
                sys.executable,
                "-c",
                WRITE.format(rows=args.rows, columns=args.columns, folder=folder),
            ],
            check=True,
            cwd=ROOT,
        )
        size = os.path.getsize(f"{folder}/t.csv") / 2**20
        print(f"t.csv of {size:,.0f} MiB written in {time.perf_counter() - begin:.0f} s")
        rest = [f"--{key}={getattr(args, key)}" for key in ("rows", "columns", "batch", "dispatch")]
        rest += [f"--folder={folder}"]
        ratios = []
        for number in range(args.rounds):
            speeds = {}
            for name, python in (("bigjax", sys.executable), ("keras", args.keras)):
                env = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
                done = subprocess.run(
                    [python, __file__, f"_{name}", *rest],
                    cwd=ROOT, capture_output=True, text=True, env=env,
                )  # fmt: skip
                if done.returncode:
                    sys.exit(done.stderr)
                told = json.loads(done.stdout.splitlines()[-1])
                speeds[name] = told["rows_per_second"]
                print(f"round {number} {name:<7}", json.dumps(told), flush=True)
            ratios.append(speeds["bigjax"] / speeds["keras"])
        print(f"bigjax by keras: {np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


WRITE = """
import sys; sys.path.insert(0, "benchmarks")
import argparse, tables
x, y = tables.made_up(argparse.Namespace(rows={rows}, columns={columns}))
with open("{folder}/t.csv", "w") as file:
    file.write(",".join(f"c{{i}}" for i in range(x.shape[1])) + ",y\\n")
    for row, label in zip(x, y):
        file.write(",".join(map("{{:.6g}}".format, row.tolist())) + f",{{label}}\\n")
"""


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run_bigjax(args: argparse.Namespace) -> None:
    """One epoch from the file, as main.py runs it, without a dev split."""
    sys.path.insert(0, str(ROOT))
    from bigjax.config import values as configs
    from bigjax.data.tables.table_sources import TABLE_SOURCE, Columns, read_tables
    from bigjax.engine import settings
    from bigjax.modes import train

    overrides = {
        "data.train": f"{args.folder}/t.csv",
        "data.dev_fraction": "0",
        "data.test_fraction": "0",
        "num_epochs": "1",
        "model.widths": ",".join(map(str, WIDTHS)),
        "model.dropout": "0",
        "batch.rows": str(args.batch),
        "steps_per_dispatch": str(args.dispatch),
        "optim.weight_decay": "0",
        "optim.learning_rate": "1e-3",
        "log.every_steps": "512",
        "checkpoint.every_minutes": "none",
    }
    config = configs.load("configs/table.py", overrides=overrides, schema=settings.schema)
    begin = time.perf_counter()
    read_tables(config.of(TABLE_SOURCE), config.of(Columns))
    read = time.perf_counter() - begin
    with tempfile.TemporaryDirectory() as folder:
        train.train(config, workdir=folder)
        lines = map(json.loads, Path(folder, "metrics.jsonl").read_text().splitlines())
        speeds = [
            line["train/rows_per_second"] for line in lines if "train/rows_per_second" in line
        ]
    seconds = [512 * args.batch / speed for speed in speeds[:-1]]
    told = {
        "rows_per_second": round(512 * args.batch * len(seconds) / sum(seconds)),
        "peak_mib": round(peak_mib()),
        "reading_seconds": round(read, 1),
    }
    print(json.dumps(told))


def run_keras(args: argparse.Namespace) -> None:
    """One epoch of `fit` on arrays, after a few steps that compile."""
    import keras

    x, y = made_up(args)
    layers = [keras.layers.Dense(width, activation="relu") for width in WIDTHS]
    model = keras.Sequential([keras.Input((args.columns,)), *layers, keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    model.fit(x[: 20 * args.batch], y[: 20 * args.batch], batch_size=args.batch, verbose=0)
    begin = time.perf_counter()
    model.fit(x, y, batch_size=args.batch, epochs=1, verbose=0)
    seconds = time.perf_counter() - begin
    print(json.dumps({"rows_per_second": round(len(x) / seconds), "peak_mib": round(peak_mib())}))


if __name__ == "__main__":
    main()
