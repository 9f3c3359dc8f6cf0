"""Image classification on CIFAR-10, prepared by TensorFlow Datasets.

    python main.py --config=configs/cnn_cifar10.py[:VARIANT] --workdir=runs/NAME \
      --config.data.data_dir=PATH

PATH holds cifar10 as array_record (without it: where TFDS keeps its data); needs
`pip install 'bigjax[tfds]'`. The last 1,000 training images are dev, and the best step on dev is
what test is scored with.

| variant | network | test accuracy | time on two CPU cores |
| --- | --- | --- | --- |
| tutorial | TensorFlow's CNN tutorial: Adam, batch 32, 10 epochs | 0.7035 (3 seeds) | 5 minutes |
| fast | a small residual network, augmentation, 8 epochs | 0.825 (seed 0) | 8 minutes |
| resnet18 | ResNet-18 for CIFAR, 100 epochs; made for an accelerator | not measured | |

Times are estimates from the images/s measured on an idle machine.
"""

import ml_collections

VARIANTS = ("tutorial", "fast", "resnet18")


def get_config(variant="tutorial"):
    config = ml_collections.ConfigDict()
    config.task = "image_classification"
    config.seed = 0
    config.mesh = "data=-1"
    config.data = {
        "source": "tfds",
        "name": "cifar10",
        "data_dir": None,
        "train": "train[:49000]",
        "dev": "train[49000:]",
        "test": "test",
    }
    config.eval = {"every_epochs": 1.0, "final": "best", "batch_rows": 200}
    globals()[variant](config)
    return config


def tutorial(config):
    config.model = {"name": "small_cnn"}
    config.num_epochs = 10.0
    config.batch = {"rows": 32}
    config.optim = {"name": "adam", "learning_rate": 1e-3, "eps": 1e-7, "clip_norm": None}
    config.schedule = {"name": "constant"}
    config.log = {"every_steps": 200}


def fast(config):
    config.model = {"name": "fast_cnn"}
    config.augment = {"pad_crop": 2, "flip": True}
    config.num_epochs = 8.0
    config.batch = {"rows": 128}
    config.optim = {
        "name": "sgd",
        "momentum": 0.9,
        "nesterov": True,
        "learning_rate": 0.2,
        "weight_decay": 5e-4,
        "clip_norm": None,
    }
    config.schedule = {"name": "linear", "warmup_fraction": 0.25}
    config.loss = {"label_smoothing": 0.1}
    config.log = {"every_steps": 50}


def resnet18(config):
    config.model = {"name": "resnet18", "dtype": "bfloat16"}
    config.augment = {"pad_crop": 4, "flip": True, "cutout": 8}
    config.num_epochs = 100.0
    config.batch = {"rows": 512}
    config.optim = {
        "name": "sgd",
        "momentum": 0.9,
        "nesterov": True,
        "learning_rate": 0.4,
        "weight_decay": 5e-4,
        "clip_norm": None,
    }
    config.schedule = {"name": "cosine", "warmup_epochs": 5.0}
    config.loss = {"label_smoothing": 0.1}
    config.log = {"every_steps": 50}
