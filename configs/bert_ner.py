"""Named-entity recognition with a BERT encoder.

Each variant is run as `python main.py --config=configs/bert_ner.py:VARIANT --workdir=runs/NAME`.
"""

import ml_collections

VARIANTS = ("default", "scratch", "wikiann", "conll2003", "files")


def get_config(variant="default"):
    config = ml_collections.ConfigDict()
    config.task = "token_tagging"
    config.seed = 0
    config.num_epochs = 3.0
    config.mesh = "data=-1"
    config.init = {"checkpoint": "minilm"}
    config.data = {"source": "news"}
    config.text = {"row_length": 64}
    config.model = {"dropout": 0.1, "attention_dropout": 0.1, "dtype": "float32"}
    config.batch = {"examples": 32, "accumulate": 1}
    config.optim = {
        "name": "adamw",
        "learning_rate": 1e-4,
        "weight_decay": 0.01,
        "clip_norm": 1.0,
    }
    config.schedule = {"name": "linear", "warmup_fraction": 0.1}
    config.loss = {"label_smoothing": 0.0}
    config.eval = {"every_epochs": 0.5, "final": "best"}
    config.checkpoint = {"keep_latest": 1, "keep_best": 1}
    config.log = {"every_steps": 10}
    if variant != "default":
        globals()[variant](config)
    return config


def scratch(config):
    config.init.checkpoint = None
    config.text.vocab_size = 8192
    config.model.update({"num_layers": 4, "hidden_size": 256, "num_heads": 4, "mlp_size": 1024})
    config.num_epochs = 6.0
    config.optim.learning_rate = 5e-4


def wikiann(config):
    config.data = {"source": "tfds", "name": "wikiann/en", "data_dir": None}
    config.optim.learning_rate = 5e-5


def conll2003(config):
    config.data = {"source": "tfds", "name": "conll2003", "data_dir": None, "tags": "ner"}
    config.optim.learning_rate = 5e-5


def files(config):
    config.data = {"source": "conll", "train": "", "dev": "", "test": None}
    config.optim.learning_rate = 5e-5
