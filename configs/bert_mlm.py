"""Masked-language modelling: a text encoder learns from plain text, for any task on text.

    python main.py --config=configs/bert_mlm.py[:VARIANT] --workdir=runs/NAME

| variant | text | start |
| --- | --- | --- |
| default | embedded corpus, 5,000 sentences | minilm |
| scratch | the same | random weights, own vocabulary |
| files | the user's files | minilm |
| tfds | prepared by TFDS | minilm |

Measured of files alone: on BC2GM's 12,574 sentences (data.documents=lines, num_epochs=2, bfloat16)
a held-out perplexity of 64.2, in 12 minutes of a CPU core with AMX (docs/performance.md).

files needs --config.data.train=FILE: plain text whose documents are parted by blank lines (or
--config.data.documents=lines), or JSON lines; tfds needs --config.data.name=NAME, prepared as
array_record (docs/mlm.md). Every variant can start elsewhere:
--config.init.checkpoint=HUGGING_FACE_FOLDER_OR_NAME. What comes of it is a start for the other
tasks: --config=configs/bert_ner.py --config.init.checkpoint=runs/NAME.
"""

import ml_collections

VARIANTS = ("default", "scratch", "files", "tfds")


def get_config(variant="default"):
    config = ml_collections.ConfigDict()
    config.task = "masked_lm"
    config.seed = 0
    config.num_epochs = 3.0
    config.mesh = "data=-1"
    config.init = {"checkpoint": "minilm"}
    config.data = {"source": "news"}
    config.text = {"row_length": 64}
    config.hide = {"share": 0.15}
    config.model = {"dropout": 0.1, "attention_dropout": 0.1, "dtype": "float32"}
    config.batch = {"rows": 32, "accumulate": 1}
    config.optim = {
        "name": "adamw",
        "learning_rate": 5e-4,
        "weight_decay": 0.01,
        "clip_norm": 1.0,
    }
    config.schedule = {"name": "linear", "warmup_fraction": 0.1}
    config.eval = {"every_epochs": 1.0}
    config.log = {"every_steps": 10}
    if variant != "default":
        globals()[variant](config)
    return config


def scratch(config):
    config.init.checkpoint = None
    config.text.vocab_size = 8192
    config.model.update({"num_layers": 4, "hidden_size": 256, "num_heads": 4, "mlp_size": 1024})
    config.num_epochs = 10.0


def files(config):
    config.data = {"source": "files", "train": "", "dev": None, "test": None}


def tfds(config):
    config.data = {"source": "tfds", "name": "", "data_dir": None}
