"""Images that repeat, leak or contradict each other, and classes that are rare, with places."""

import numpy as np
import pytest

from bigjax.data.images import decoding, inspection

RNG = np.random.default_rng(0)
SIDE = 24


def pictures(num: int) -> np.ndarray:
    """Blobs: unlike noise, they have something at the scale of a difference hash."""
    coarse = RNG.integers(0, 256, (num, 8, 8, 3), dtype=np.uint8)
    return coarse.repeat(SIDE // 8, axis=1).repeat(SIDE // 8, axis=2)


def split(pixels, labels=None) -> decoding.Images:
    labels = np.arange(len(pixels)) % 2 if labels is None else np.array(labels)
    return decoding.in_memory(pixels, labels=labels, class_names=("cat", "dog"), where="made up")


def look(**splits: decoding.Images) -> dict[str, tuple]:
    return {found.what: tuple(found[1:]) for found in inspection.findings(splits)}


TRAIN = pictures(12)


def test_images_that_are_all_different_have_no_finding():
    assert look(train=split(TRAIN), dev=split(pictures(12))) == {}


def test_equal_images_are_told_within_a_split_and_are_serious_across():
    dev = pictures(12)
    dev[4], dev[6] = TRAIN[2], dev[2]
    assert look(train=split(TRAIN), dev=split(dev)) == {
        "dev: images that train has too": (1, ("dev image 5 = train image 3",), True),
        "dev: images that were there before": (1, ("dev image 7 = dev image 3",), False),
    }


@pytest.mark.parametrize(
    "change",
    [
        lambda pixels: np.clip(pixels.astype(int) + RNG.integers(-3, 4, pixels.shape), 0, 255),
        lambda pixels: np.where(np.indices(pixels.shape)[:2].sum(0) < 2, 255, pixels),
        lambda pixels: pixels // 8 * 8 + 4,
        lambda pixels: np.clip(pixels.astype(int) + 5, 0, 255),
    ],
    ids=["noise", "a mark in a corner", "coarse colours", "brighter"],
)
def test_a_slightly_changed_copy_in_another_split_is_serious(change):
    test = pictures(12)
    test[9] = change(TRAIN[5]).astype(np.uint8)
    assert look(train=split(TRAIN), test=split(test)) == {
        "test: images that train has nearly so": (1, ("test image 10 = train image 6",), True)
    }


def test_images_of_one_colour_are_not_nearly_equal():
    flat = np.stack([np.full((SIDE, SIDE, 3), value, np.uint8) for value in range(100, 112)])
    flat[:, 0, 0] += 1
    assert look(train=split(flat[:6]), dev=split(flat[6:])) == {
        f"{name}: classes of fewer than 5 images": (2, ("cat (3)", "dog (3)"), False)
        for name in ("train", "dev")
    }


def test_equal_images_of_different_classes_are_serious():
    dev = pictures(12)
    dev[4] = TRAIN[3]
    found = look(train=split(TRAIN), dev=split(dev))
    assert found["equal images of different classes"] == (
        1,
        ("train image 4 and dev image 5: dog and cat",),
        True,
    )


def test_a_class_without_an_image_is_serious():
    found = look(train=split(TRAIN), dev=split(pictures(6), [0] * 6))
    assert found == {"dev: classes without an image": (1, ("dog",), True)}


def test_images_are_called_by_the_names_of_their_files_and_others_are_counted():
    train = split(np.concatenate([TRAIN, TRAIN[:1]]))
    train = train._replace(name=lambda i: f"cats/{i}.png", left_out={".txt": 3, "": 1})
    assert look(train=train) == {
        "train: images that were there before": (1, ("cats/12.png = cats/0.png",), False),
        "train: files of no kind that is read": (4, ("3 *.txt", "1 without a name ending"), False),
    }


@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 30, 3), (8, 9, 1), (33, 7, 3)])
def test_greys_are_means_of_equal_parts_whatever_the_size(shape):
    height, width, _ = shape
    pixels = RNG.integers(0, 256, (2, *shape), dtype=np.uint8)
    found = inspection._keys(split(pixels)).grey
    # Each pixel made 72 x 72 times as large, every part is a whole number of pixels.
    large = pixels.mean(axis=3).repeat(72, axis=1).repeat(72, axis=2)
    means = large.reshape(2, 8, 9 * height, 9, 8 * width).mean(axis=(2, 4))
    np.testing.assert_allclose(found, means - means.mean(axis=(1, 2), keepdims=True), atol=1e-3)


def test_more_pixels_than_are_decoded_again_are_said_not_to_be_compared(monkeypatch):
    monkeypatch.setattr(inspection, "MAX_BYTES", 1000)
    assert look(train=split(TRAIN)) == {
        "images not compared: their pixels are more than 0 GiB": (12, (), False)
    }
