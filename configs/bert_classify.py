"""Text classification (sentiment, intent, topic) with a BERT encoder.

    python main.py --config=configs/bert_classify.py[:VARIANT] --workdir=runs/NAME

Scores are test accuracy of seed 0, on two CPU cores.

| variant | data | start | score |
| --- | --- | --- | --- |
| default | embedded news by topic, 1,000 sentences, 7 classes | minilm | 0.943 |
| scratch | the same, 5,000 sentences | random weights, own vocabulary | |
| files | the user's CSV, TSV, JSONL, or folder of classes | minilm | |
| banking77 | BANKING77: 10,003 questions to a bank, 77 intents | minilm | 0.933 |
| tfds | a data set prepared by TFDS, such as glue/sst2 | minilm | |

files needs --config.data.train=FILE, and may have --config.data.dev=FILE (else a share of train)
and --config.data.test=FILE; banking77 needs train and test, and has no dev; tfds needs
--config.data.name=NAME, data prepared as array_record in --config.data.data_dir=PATH, and
`pip install 'bigjax[tfds]'`. Texts of any number of classes: --config.loss.kind=multi.
docs/classify.md has more.
Every variant can start elsewhere: --config.init.checkpoint=RUN_OR_HUGGING_FACE_FOLDER_OR_NAME.
"""

import ml_collections

VARIANTS = ("default", "scratch", "files", "banking77", "tfds")


def get_config(variant="default"):
    config = ml_collections.ConfigDict()
    config.task = "text_classification"
    config.seed = 0
    config.num_epochs = 6.0
    config.mesh = "data=-1"
    config.init = {"checkpoint": "minilm"}
    config.data = {"source": "news"}
    config.text = {"row_length": 64}
    config.model = {"pooling": "mean", "dropout": 0.1, "attention_dropout": 0.1}
    config.batch = {"examples": 32, "accumulate": 1}
    config.optim = {
        "name": "adamw",
        "learning_rate": 2e-4,
        "weight_decay": 0.01,
        "clip_norm": 1.0,
    }
    config.schedule = {"name": "linear", "warmup_fraction": 0.1}
    config.loss = {"kind": "single", "label_smoothing": 0.0}
    config.eval = {"every_epochs": 1.0, "final": "best"}
    config.log = {"every_steps": 10}
    if variant != "default":
        globals()[variant](config)
    return config


def scratch(config):
    config.init.checkpoint = None
    config.data.num_train = 5000
    config.text.vocab_size = 8192
    config.model.update({"num_layers": 4, "hidden_size": 256, "num_heads": 4, "mlp_size": 1024})
    config.optim.learning_rate = 5e-4


def files(config):
    config.data = {"source": "files", "train": "", "dev": None, "test": None}
    config.num_epochs = 4.0


def banking77(config):
    files(config)
    config.data.dev_fraction = 0.0
    config.num_epochs = 5.0
    config.model.dtype = "bfloat16"
    config.batch.examples = 64
    config.optim.learning_rate = 4e-4
    config.eval.final = "latest"


def tfds(config):
    config.data = {"source": "tfds", "name": "", "data_dir": None}
    config.num_epochs = 3.0
