"""Image classification on a folder of your own images.

    python main.py --config=configs/cnn_folder.py --workdir=runs/own --config.data.train=FOLDER

FOLDER/CLASS/*.png (or whatever else Pillow reads), of any size: each image is resized so that its
shorter side has data.image_size pixels, and cut to the square in its middle. dev and test folders
of the same form are given with --config.data.dev=FOLDER --config.data.test=FOLDER; without dev a
tenth of train is held out. An image that cannot be read is an error that names it.
"""

import ml_collections


def get_config():
    config = ml_collections.ConfigDict()
    config.task = "image_classification"
    config.seed = 0
    config.num_epochs = 20.0
    config.mesh = "data=-1"
    config.data = {"source": "folder", "train": "", "dev": None, "test": None, "image_size": 64}
    config.augment = {"pad_crop": 4, "flip": True}
    config.model = {"name": "fast_cnn"}
    config.batch = {"rows": 64}
    config.optim = {
        "name": "sgd",
        "momentum": 0.9,
        "nesterov": True,
        "learning_rate": 0.1,
        "weight_decay": 5e-4,
        "clip_norm": None,
    }
    config.schedule = {"name": "linear", "warmup_fraction": 0.25}
    config.loss = {"label_smoothing": 0.1}
    config.eval = {"every_epochs": 1.0, "final": "best", "batch_rows": 100}
    config.log = {"every_steps": 10}
    return config
