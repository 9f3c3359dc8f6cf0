"""Owns image classification: one class for every image, from a convolutional network.

Reading and augmenting belong to `data/images/`, the trained function to `model.py`, what a finished
pass over a split comes to (scores, tables, worst errors) to `scoring.py`.
"""

import functools
import os
from collections.abc import Mapping, Sequence

import flax.linen as nn
import numpy as np

from bigjax.config import sections
from bigjax.config.sections import Evaluation, Run
from bigjax.config.values import Config
from bigjax.data import dataset, shuffling
from bigjax.data.dataset import Batch, Dataset
from bigjax.data.images import augment, inspection
from bigjax.data.images.decoding import Images
from bigjax.data.images.image_sources import IMAGE_SOURCE
from bigjax.errors import UserError
from bigjax.models import cnn
from bigjax.tasks.classes import adopt_head, calibrating, class_weights, shared_weights
from bigjax.tasks.image_classification import explaining, scoring, settings, use
from bigjax.tasks.image_classification.model import make_model
from bigjax.tasks.image_classification.portable import portable
from bigjax.tasks.image_classification.settings import Loss
from bigjax.tasks.task import Data, Model, Scoring, Task, Use

SECTIONS = settings.SECTIONS
CLASSES_FILE = "classes.txt"  # in the run folder, a class a line
SHAPE_FILE = "image_shape.txt"  # height, width, channels


def make(config: Config) -> Task:
    """The task of a checked config: reads the data.

    Raises:
      UserError: data that cannot be read or do not fit the model.
    """
    splits = config.of(IMAGE_SOURCE)
    train = splits["train"]
    weights_K = class_weights(
        config.of(Loss).class_weights, labels=train.labels, class_names=train.class_names
    )
    model = _model(config, class_names=train.class_names, shape=train.shape, weights_K=weights_K)
    return _task(config, model, splits, class_names=train.class_names, shape=train.shape)


def load(config: Config, folder: str, *, splits: Sequence[str]) -> Task:
    """The task of the finished run in `folder`, which reads only the data of `splits`.

    Raises:
      UserError: files of the run, or data, that cannot be read or have other classes.
    """
    class_names = tuple(_lines(folder, CLASSES_FILE))
    shape = tuple(map(int, _lines(folder, SHAPE_FILE)))
    found = config.of(IMAGE_SOURCE, only=splits, class_names=class_names) if splits else {}
    for images in found.values():
        if images.shape != shape or images.class_names != class_names:
            raise UserError(
                f"{images.where}: images {images.shape} of {len(images.class_names)} classes; the "
                f"run in {folder} was trained on {shape} of {len(class_names)}"
            )
    model = _model(config, class_names=class_names, shape=shape, weights_K=None)
    return _task(config, model, found, class_names=class_names, shape=shape)


def _model(
    config: Config,
    *,
    class_names: Sequence[str],
    shape: tuple[int, ...],
    weights_K: np.ndarray | None,
) -> Model:
    return make_model(
        _network(config, class_names=class_names),
        shape=shape,
        smoothing=config.of(Loss).label_smoothing,
        weights_K=weights_K,
        adopt=lambda params, folder: adopt_head(
            params, theirs=_lines(folder, CLASSES_FILE), ours=class_names, things="classes"
        ),
    )


def _network(config: Config, *, class_names: Sequence[str]) -> nn.Module:
    return config.of(cnn.NETWORK)(num_classes=len(class_names))


def _task(
    config: Config,
    model: Model,
    splits: Mapping[str, Images],
    *,
    class_names: tuple[str, ...],
    shape: tuple[int, ...],
) -> Task:
    batch_rows = config.of(Evaluation).batch_rows
    image_size = config.flat().get("data.image_size")
    return Task(
        name="image_classification",
        model=model,
        data=Data(
            train=_train_set(config, splits["train"]) if "train" in splits else None,
            evals={
                name: _eval_set(images, batch_rows=batch_rows)
                for name, images in splits.items()
                if name != "train"
            },
            counts=lambda batch: {"images": batch["mask"].sum()},
            report=lambda: scoring.data_report(splits),
            warnings=scoring.warnings(splits),
            shared=_shared(config),
            findings=lambda: inspection.findings(splits),
        ),
        scoring=Scoring(
            declared=scoring.declared(class_names),
            headline=scoring.HEADLINE,
            score=lambda split, outputs: scoring.score(splits[split], outputs),
            calibrating=calibrating(
                {name: images.labels for name, images in splits.items()}, things="images"
            ),
        ),
        use=Use(
            files={
                CLASSES_FILE: "\n".join(class_names) + "\n",
                SHAPE_FILE: "\n".join(map(str, shape)) + "\n",
            },
            encode=functools.partial(use.encode, class_names=class_names, batch_rows=batch_rows),
            takes="image",
            prepare=functools.partial(use.prepare, shape=shape, image_size=image_size),
            formats=use.FORMATS,
            average=use.average,
            portable=lambda: portable(
                _network(config, class_names=class_names),
                class_names=class_names,
                shape=shape,
                image_size=image_size,
                splits=splits,
            ),
            questions=functools.partial(explaining.questions, class_names=class_names),
        ),
    )


def _shared(config: Config) -> tuple[str, ...]:
    policy = config.of(augment.Augmentation)
    mixed = [name for name in ("mixup_alpha", "cutmix_alpha") if getattr(policy, name)]
    reasons = [f"augment.{name} mixes an image with others; set it to 0" for name in mixed]
    return (*reasons, *shared_weights(config.of(Loss).class_weights))


def _train_set(config: Config, images: Images) -> Dataset:
    policy = config.of(augment.Augmentation)
    seed, num_images = config.of(Run).seed, len(images.labels)
    order = shuffling.shuffled(num_images, seed=seed)
    batch_rows = dataset.rows_a_batch(
        config.of(sections.Batch), num_examples=num_images, num_rows=num_images
    )

    def make_rows(numbers: np.ndarray) -> Batch:
        batch = _augmented(images, order(numbers), keys=augment.keys(numbers, seed=seed), by=policy)
        batch["mask"] = np.ones(len(numbers), bool)
        if policy.mixup_alpha or policy.cutmix_alpha:
            mixing = augment.mixing(
                numbers, seed=seed, batch_rows=batch_rows, shape=images.shape, policy=policy
            )
            keys = augment.keys(mixing.partner, seed=seed)
            partners = _augmented(images, order(mixing.partner), keys=keys, by=policy)
            batch |= {f"partner_{name}": value for name, value in partners.items()}
            batch |= {"lam": mixing.lam, "box": mixing.box}
        return batch

    return dataset.by_index(
        make_rows,
        order=order,
        num_examples=num_images,
        batch_rows=batch_rows,
        fingerprint=images.fingerprint,
    )


def _augmented(
    images: Images, ids: np.ndarray, *, keys: np.ndarray, by: augment.Augmentation
) -> Batch:
    pixels = augment.augment(images.pixels(ids), keys=keys, policy=by)
    return {"image": pixels, "label": images.labels[ids]}


def _eval_set(images: Images, *, batch_rows: int) -> Dataset:
    return dataset.each_once(
        lambda ids: {"image": images.pixels(ids), "label": images.labels[ids]},
        num_examples=len(images.labels),
        batch_rows=batch_rows,
        fingerprint=images.fingerprint,
    )


def _lines(folder: str, name: str) -> list[str]:
    path = os.path.join(folder, name)
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read().removesuffix("\n").split("\n")
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); expected the folder of a run of image "
            "classification"
        ) from error
