"""Named-entity recognition with a BERT encoder.

    python main.py --config=configs/bert_ner.py[:VARIANT] --workdir=runs/NAME

Scores are strict entity F1 on test, of seed 0; times are of two CPU cores (AVX-512, float32),
without installation; those of wikiann and files are estimates from the measured sentences/s.

| variant | data | start | test F1 | time |
| --- | --- | --- | --- | --- |
| default | embedded corpus, 5,000 sentences | minilm | 0.970 | 4 minutes |
| scratch | the same | random weights, own vocabulary | 0.408 | 5 minutes |
| wikiann | WikiANN English, 20,000 sentences | minilm | 0.774 | 15 minutes |
| conll2003 | CoNLL-2003 | minilm | not measured: the data is not free | |
| files, on WNUT-17 | the user's files | minilm | 0.417 | 5 minutes |

wikiann and conll2003 need `pip install 'bigjax[tfds]'` and data prepared as array_record in
--config.data.data_dir=PATH (without it: where TFDS keeps its data). files needs
--config.data.train=FILE, and may have --config.data.dev=FILE (else a share of train) and
--config.data.test=FILE: columns, CoNLL-U, CSV, JSONL, Label Studio (docs/data.md).
Every variant can start elsewhere: --config.init.checkpoint=HUGGING_FACE_FOLDER_OR_NAME. Encoders of
the size of BERT-base and up want a smaller optim.learning_rate, such as 3e-5.
"""

import ml_collections

VARIANTS = ("default", "scratch", "wikiann", "conll2003", "files")


def get_config(variant="default"):
    config = ml_collections.ConfigDict()
    config.task = "token_tagging"
    config.seed = 0
    config.num_epochs = 2.0
    config.mesh = "data=-1"
    config.init = {"checkpoint": "minilm"}
    config.data = {"source": "news"}
    config.text = {"row_length": 64}
    config.model = {"dropout": 0.1, "attention_dropout": 0.1, "dtype": "float32"}
    config.batch = {"examples": 32, "accumulate": 1}
    config.optim = {
        "name": "adamw",
        "learning_rate": 2e-4,
        "weight_decay": 0.01,
        "clip_norm": 1.0,
    }
    config.schedule = {"name": "linear", "warmup_fraction": 0.1}
    config.loss = {"label_smoothing": 0.0}
    config.eval = {"every_epochs": 0.5, "final": "best"}
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
    config.num_epochs = 3.0
    config.eval.every_epochs = 1.0
    config.optim.learning_rate = 5e-5


def conll2003(config):
    config.data = {"source": "tfds", "name": "conll2003", "data_dir": None, "tags": "ner"}
    config.num_epochs = 3.0
    config.eval.every_epochs = 1.0
    config.optim.learning_rate = 5e-5


def files(config):
    config.data = {"source": "files", "train": "", "dev": None, "test": None}
    config.num_epochs = 3.0
