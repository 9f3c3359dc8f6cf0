"""Part-of-speech tagging with a BERT encoder.

    python main.py --config=configs/bert_pos.py --workdir=runs/NAME \\
      --config.data.train=TRAIN.conllu --config.data.dev=DEV.conllu --config.data.test=TEST.conllu

Files are CoNLL-U, whose UPOS is learnt unless --config.data.tag_column=xpos (or another column, or
a key of MISC) says otherwise, or any other that configs/bert_ner.py:files takes. Without
--config.data.dev a tenth of the training sentences is dev.

Accuracy is of test, of seed 0; the time is of two CPU cores (AVX-512, float32).

| data | start | test accuracy | time |
| --- | --- | --- | --- |
| UD English EWT, trained on its dev file (2,001 sentences) alone | minilm | 0.952 | 4 minutes |
"""

import ml_collections


def get_config():
    config = ml_collections.ConfigDict()
    config.task = "token_tagging"
    config.seed = 0
    config.num_epochs = 6.0
    config.mesh = "data=-1"
    config.init = {"checkpoint": "minilm"}
    config.data = {"source": "files", "train": "", "dev": None, "test": None}
    config.text = {"row_length": 64}
    config.model = {"dropout": 0.1, "attention_dropout": 0.1, "dtype": "float32"}
    config.batch = {"examples": 32, "accumulate": 1}
    config.optim = {
        "name": "adamw",
        "learning_rate": 3e-4,
        "weight_decay": 0.01,
        "clip_norm": 1.0,
    }
    config.schedule = {"name": "linear", "warmup_fraction": 0.1}
    config.loss = {"label_smoothing": 0.0}
    config.eval = {"every_epochs": 1.0, "final": "best"}
    config.log = {"every_steps": 10}
    return config
