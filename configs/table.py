"""A class or a number for each row of a table: your CSV file, or one that scikit-learn has.

    python main.py --config=configs/table.py --workdir=runs/NAME \\
      --config.data.train=FILE.csv --config.data.target=COLUMN
    python main.py --config=configs/table.py:VARIANT --workdir=runs/NAME

| variant | what it is |
| --- | --- |
| files | the default: the user's CSV, TSV or Parquet; classes or a number, by what the target is |
| linear | the same, by linear or logistic regression to convergence (L-BFGS) |
| classify | scikit-learn's breast_cancer; --config.data.train=wine, iris or digits |
| regress | scikit-learn's diabetes |
| mnist | drawn digits, pixels as columns, SGD, layers of 256, 128 and 10 features |

--config.data.source=sklearn --config.data.train=wine is such a table under files and linear too,
and --config.data.source=csv a file under the others.
Needs `pip install 'bigjax[digits]'` (scikit-learn) but for files. docs/tables.md has more.
"""

import ml_collections

VARIANTS = ("files", "linear", "classify", "regress", "mnist")


def get_config(variant="files"):
    config = ml_collections.ConfigDict()
    config.task = "table"
    config.seed = 0
    config.num_epochs = 60.0
    config.mesh = "data=-1"
    config.steps_per_dispatch = 16
    config.data = {"source": "csv", "train": ""}
    config.model = {"name": "mlp"}
    config.batch = {"rows": 64}
    config.optim = {
        "name": "adamw",
        "learning_rate": 3e-3,
        "weight_decay": 1e-2,
        "clip_norm": None,
    }
    config.schedule = {"name": "cosine", "warmup_fraction": 0.05}
    config.eval = {"every_epochs": 5.0, "metric": "loss", "final": "best", "batch_rows": 1024}
    config.log = {"every_steps": 50}
    if variant != "files":
        globals()[variant](config)
    return config


def classify(config):
    config.data = {"source": "sklearn", "train": "breast_cancer"}


def regress(config):
    config.data = {"source": "sklearn", "train": "diabetes"}
    config.model.widths = (32,)


def mnist(config):
    config.data = {"source": "sklearn", "train": "digits", "scale": "minmax"}
    config.model = {"name": "mlp", "widths": (256, 128), "dropout": 0.2}
    config.loss = {"label_smoothing": 0.1}
    config.eval.metric = "accuracy"
    config.optim = {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "clip_norm": None}


def linear(config):
    config.model = {"name": "linear"}
    config.num_epochs = 200.0
    config.steps_per_dispatch = 1
    config.batch = {"rows": 1_000_000_000}  # as many as there are
    config.loss = {"l2": 1e-3}
    config.optim = {"name": "lbfgs", "learning_rate": 1.0, "clip_norm": None}
    config.schedule = {"name": "constant"}
    config.eval = {"every_epochs": 20.0, "final": "latest", "batch_rows": 1024}
