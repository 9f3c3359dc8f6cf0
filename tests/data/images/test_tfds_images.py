"""Datasets of images built here and CIFAR-10, read without TensorFlow, and the ways that goes
wrong."""

import io
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bigjax.data.images import decoding, image_sources, tfds_images
from bigjax.errors import UserError

tfds = pytest.importorskip("tensorflow_datasets", reason="needs pip install 'bigjax[tfds]'")
pytest.importorskip("array_record", reason="needs pip install 'bigjax[tfds]'")

NAMES = ["cat", "dog", "owl"]


def png(*shape: int, seed: int = 0) -> io.BytesIO:
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    stream.seek(0)
    return stream


def pixels_of(index: int) -> np.ndarray:
    return np.asarray(Image.open(png(6, 5, 3, seed=index)))


class TinyImages(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
            "grey": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
            "wide": tfds.features.Image(
                shape=(None, None, 1), dtype=np.uint16, encoding_format="png"
            ),
            "label": tfds.features.ClassLabel(names=NAMES),
            "number": np.int64,
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
        )

    def _split_generators(self, _):
        return {
            "train": ((i, self.example(i)) for i in range(11)),
            "test": ((i, self.example(100 + i)) for i in range(3)),
            "shapes": ((i, self.example(i, shape=(6, 5 + i, 3))) for i in range(4)),
            "unlabelled": ((i, self.example(i, label=-1)) for i in range(2)),
        }

    def _generate_examples(self):
        raise NotImplementedError

    def example(self, seed, *, shape=(6, 5, 3), label=None):
        return {
            "image": png(*shape, seed=seed),
            "grey": png(7, 4, seed=seed),
            "wide": png(7, 4, seed=seed),
            "label": seed % 3 if label is None else label,
            "number": seed,
        }


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    tfds.disable_progress_bar()
    root = tmp_path_factory.mktemp("prepared")
    TinyImages(data_dir=root, file_format="array_record").download_and_prepare()
    return root


def read(data_dir: Path, **options):
    options = {"name": "tiny_images", "data_dir": str(data_dir), **options}
    return image_sources.prepared_tfds_images(**options)


@pytest.mark.parametrize("cache_gib", [4.0, 0.0])
def test_images_labels_and_class_names_are_those_that_were_written(data_dir, cache_gib):
    found = read(data_dir, train="train[:8]", dev="train[8:]", cache_gib=cache_gib)
    assert list(found) == ["train", "dev", "test"]
    numbers = {"train": range(8), "dev": range(8, 11), "test": range(100, 103)}
    for split, part in found.items():
        expected = [pixels_of(i) for i in numbers[split]]
        np.testing.assert_array_equal(part.pixels(np.arange(len(expected))), expected)
        assert part.labels.tolist() == [i % 3 for i in numbers[split]]
        assert (part.class_names, part.shape) == (tuple(NAMES), (6, 5, 3))
    assert found["dev"].where == "tiny_images:train[8:]"
    np.testing.assert_array_equal(
        found["train"].pixels(np.array([7, 0, 7])), [pixels_of(i) for i in (7, 0, 7)]
    )


def test_a_split_that_is_not_wanted_is_left_out_and_images_may_be_resized(data_dir):
    found = read(data_dir, train="shapes", test=None, image_size=4)
    assert list(found) == ["train"]
    assert found["train"].pixels(np.arange(4)).shape == (4, 4, 4, 3)


def test_images_are_grey_where_the_dataset_says_so(data_dir):
    found = read(data_dir, image="grey")["train"]
    assert found.shape == (7, 4, 1)
    expected = np.asarray(Image.open(png(7, 4, seed=3)))
    np.testing.assert_array_equal(found.pixels(np.array([3]))[0, ..., 0], expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "tiny_image"}, "looked in .*/tiny_image, did you mean 'tiny_images'?"),
        ({"dev": "validation"}, "tiny_images:validation: no split 'validation'; valid: shapes, "),
        ({"dev": "train[90:]"}, "cannot be read .*slice .90:11. incompat"),
        ({"dev": "train[:0]"}, "tiny_images:train.:0. has no image; expected one or more"),
        ({"image": "img"}, "tiny_images has no feature 'img'; did you mean 'image'?"),
        ({"image": "label"}, "feature 'label' is ClassLabel.*; expected Image of uint8"),
        ({"image": "wide"}, "feature 'wide' is Image.*uint16.*; expected Image of uint8"),
        ({"label": "labels"}, "tiny_images has no feature 'labels'; did you mean 'label'?"),
        ({"label": "number"}, "feature 'number' is .*int64.*; expected ClassLabel"),
        ({"test": "unlabelled"}, "unlabelled: record 0 has class -1; expected 0 to 2"),
        (
            {"test": "shapes"},
            "3 of 15 images cannot be used: tiny_images:shapes record 1: is 6x6 and the first "
            "image 6x5; set data.image_size; tiny_images:shapes record 2: .*data.image_size$",
        ),
    ],
)
def test_a_mistake_is_an_error_that_names_it(data_dir, options, message):
    with pytest.raises(UserError) as caught:
        read(data_dir, **options)
    assert "\n" not in str(caught.value)
    assert re.search(message.replace("?", r"\?"), str(caught.value))


def test_a_record_without_an_image_or_a_class_is_an_error_that_names_it():
    from tensorflow_datasets.proto import tf_example_pb2

    example = tf_example_pb2.Example()
    example.features.feature["label"].int64_list.value.append(1)
    records = tfds_images.tfds.Records(1, lambda _: [example.SerializeToString()])
    options = {"image": "image", "label": "label", "class_names": ("a", "b"), "channels": 3}
    encoded = tfds_images._encoded(records, where="there", **options)
    with pytest.raises(UserError, match="there: record 0 has 0 images and 1 classes; expected one"):
        decoding.load({"train": encoded}, image_size=8, cache_gib=4.0)


# --- CIFAR-10 ---


@pytest.fixture(scope="module")
def cifar10(shared_data):
    if not (shared_data / "tfds" / "cifar10").is_dir():
        pytest.skip("CIFAR-10 is not prepared in ../shared/data/tfds")
    start = time.process_time()
    found = read(
        shared_data / "tfds", name="cifar10", train="train[:20%]", dev="train[98%:]", test="test"
    )
    return found, time.process_time() - start


def test_cifar10_is_read_whole_with_as_many_images_of_each_class(cifar10):
    found, _ = cifar10
    assert {split: len(part.labels) for split, part in found.items()} == {
        "train": 10_000,
        "dev": 1_000,
        "test": 10_000,
    }
    test = found["test"]
    assert np.bincount(test.labels).tolist() == [1000] * 10
    assert test.class_names[:3] == ("airplane", "automobile", "bird")
    assert test.shape == (32, 32, 3)
    # About the numbers that everyone normalises with, which are those of train without JPEG.
    pixels = test.pixels(np.arange(0, 10_000, 4)) / 255
    np.testing.assert_allclose(pixels.mean(axis=(0, 1, 2)), [0.494, 0.485, 0.450], atol=4e-3)
    np.testing.assert_allclose(pixels.std(axis=(0, 1, 2)), [0.247, 0.243, 0.262], atol=4e-3)


def test_cifar10_equals_what_tfds_itself_decodes(cifar10, shared_data):
    found, _ = cifar10
    source = tfds.data_source("cifar10", split="test", data_dir=shared_data / "tfds")
    ids = np.arange(0, 10_000, 200)
    for i, pixels in zip(ids.tolist(), found["test"].pixels(ids)):
        record = source[i]
        # Another decoder of JPEG may round otherwise.
        assert np.abs(pixels.astype(int) - record["image"]).max() <= 3
        assert found["test"].labels[i] == record["label"]


def test_twenty_thousand_images_take_some_seconds(cifar10):
    _, seconds = cifar10
    assert seconds < 15.0  # 4 here; room for slow and busy machines


def test_tensorflow_is_not_imported(cifar10, data_dir):
    assert len(cifar10) == 2 and read(data_dir)
    assert "tensorflow" not in sys.modules
