"""Folders of image files and the digits: what becomes of them, and what is wrong with them."""

import hashlib
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bigjax.data.images import decoding, image_sources
from bigjax.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


def write(path: Path, *, seed: int = 0, size: tuple[int, int] = (10, 12)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def animals(tmp_path) -> Path:
    """train (two classes, every kind of file, nested) and test (one of the classes)."""
    for i, suffix in enumerate([*SUFFIXES, ".PNG", ".JPG"] * 2):
        write(tmp_path / "train" / ("cat" if i < 7 else "dog") / f"{i}{suffix}", seed=i)
    write(tmp_path / "train" / "dog" / "old" / "deep" / "z.png", seed=90, size=(40, 9))
    for i in range(3):
        write(tmp_path / "test" / "dog" / f"{i}.png", seed=100 + i)
    return tmp_path


def folder(root: Path, **options):
    options = {"train": str(root / "train"), "dev_fraction": 0.0, "image_size": 8, **options}
    return image_sources.image_folder(**options)


def folder_error(root: Path, **options) -> str:
    with pytest.raises(UserError) as caught:
        folder(root, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- folder ---


def test_a_folder_gives_its_images_in_the_order_of_their_names_with_the_class_of_their_folder(
    animals,
):
    found = folder(animals, test=str(animals / "test"))
    assert list(found) == ["train", "test"]
    train = found["train"]
    assert train.class_names == ("cat", "dog")
    assert train.shape == (8, 8, 3) and train.where == str(animals / "train")
    paths = [path for path in (animals / "train").rglob("*") if path.is_file()]
    paths.sort(key=lambda path: (path.parts[-2] == "dog" or "old" in path.parts, path.as_posix()))
    assert len(paths) == 15
    expected = [decoding.decode(path.read_bytes(), image_size=8, channels=3) for path in paths]
    np.testing.assert_array_equal(train.pixels(np.arange(15)), expected)
    assert train.labels.tolist() == [int("dog" in path.parts) for path in paths]
    assert found["test"].labels.tolist() == [1, 1, 1], "by the classes of train"
    assert found["test"].class_names == ("cat", "dog")


def test_files_of_other_kinds_and_hidden_ones_are_ignored(animals):
    plain = folder(animals)["train"]
    for name in (".DS_Store", "cat/.DS_Store", "cat/Thumbs.db", "dog/notes.txt", "dog/.hidden.png"):
        (animals / "train" / name).write_bytes(b"something")
    write(animals / "train" / ".cache" / "a.png")
    write(animals / "train" / "cat" / ".thumbnails" / "a.png")
    assert folder(animals)["train"].fingerprint == plain.fingerprint


def test_the_fingerprint_is_of_files_and_class_names_not_of_paths(animals, tmp_path):
    before = folder(animals)["train"].fingerprint
    paths = sorted(path for path in (animals / "train").rglob("*") if path.is_file())
    elsewhere = tmp_path / "elsewhere"
    (animals / "train").rename(elsewhere)
    assert folder(animals, train=str(elsewhere))["train"].fingerprint == before
    (elsewhere / "cat").rename(elsewhere / "cow")
    assert folder(animals, train=str(elsewhere))["train"].fingerprint != before
    (elsewhere / "cow").rename(elsewhere / "cat")
    changed = elsewhere / paths[0].relative_to(animals / "train")
    changed.write_bytes(changed.read_bytes() + b"x")
    assert folder(animals, train=str(elsewhere))["train"].fingerprint != before


def test_files_are_read_once_where_they_fit_in_the_cache_and_when_asked_for_where_not(animals):
    cached, on_demand = (folder(animals, cache_gib=gib)["train"] for gib in (4.0, 0.0))
    every = np.arange(15)
    before = cached.pixels(every)
    np.testing.assert_array_equal(on_demand.pixels(every), before)
    lost = animals / "train" / "cat" / "3.webp"
    lost.unlink()
    np.testing.assert_array_equal(cached.pixels(every), before)
    with pytest.raises(UserError, match=f"{lost}: the file cannot be read: No such file"):
        on_demand.pixels(every)


@pytest.mark.parametrize("cache_gib", [4.0, 0.0])
def test_unreadable_images_are_all_found_and_named_at_the_start(animals, cache_gib):
    spoilt = [animals / "train" / name for name in ("cat/0.png", "cat/1.jpg", "dog/7.png")]
    for path in spoilt:
        path.write_bytes(path.read_bytes()[:-40])
    write(animals / "test" / "dog" / "x.png").write_bytes(b"no image")
    message = folder_error(animals, cache_gib=cache_gib, test=str(animals / "test"))
    assert message.startswith(f"4 of 19 images cannot be used: {spoilt[0]}: ")
    assert all(str(path) in message for path in spoilt)
    assert message.endswith("; ...")


def test_a_file_that_may_not_be_read_is_an_error_that_names_it(animals):
    locked = animals / "train" / "cat" / "0.png"
    locked.chmod(0)
    if os.access(locked, os.R_OK):
        locked.unlink()  # the superuser may read everything: a link to nothing will do
        locked.symlink_to(animals / "nowhere.png")
        assert len(folder(animals)["train"].labels) == 14, "it is no file"
    else:
        assert f"{locked}: the file cannot be read: Permission" in folder_error(animals)


def test_mistakes_in_the_layout_are_errors_that_say_what_was_expected(animals):
    train = animals / "train"
    layout = "expected FOLDER/CLASS/IMAGE, with images named *.png, *.jpg, *.jpeg, *.webp, *.bmp"
    assert folder_error(animals, train="").startswith(
        "data.train is empty: give a folder with --co"
    )
    missing = str(animals / "trian")
    assert (
        folder_error(animals, train=missing) == f"data.train={missing!r} does not exist; {layout}"
    )
    file = str(train / "cat" / "0.png")
    assert folder_error(animals, test=file) == f"data.test={file!r} is not a folder; {layout}"
    message = folder_error(animals, train=str(train / "cat"))
    assert message == f"{train / 'cat'} holds images and no class folders ('0.png'); {layout}"
    message = folder_error(animals, train=str(animals / "test"))
    assert message == f"{animals / 'test'} holds 1 class folders, expected two or more; {layout}"
    write(train / "stray.png")
    message = folder_error(animals)
    assert message == f"{train} holds images beside its class folders ('stray.png'); {layout}"
    (train / "stray.png").unlink()
    (train / "empty").mkdir()
    (train / "empty" / "notes.txt").write_text("none")
    message = folder_error(animals)
    assert message == f"{train}: class folder 'empty' holds no image; {layout}"
    (train / "empty" / "notes.txt").unlink()
    (train / "empty").rmdir()
    nothing = animals / "nothing"
    nothing.mkdir()
    for setting, number in (("train", "two"), ("dev", "one")):
        message = folder_error(animals, **{setting: str(nothing)})
        assert message == f"{nothing} holds 0 class folders, expected {number} or more; {layout}"
    write(animals / "test" / "dogs" / "a.png")
    message = folder_error(animals, test=str(animals / "test"))
    assert message.endswith(": class 'dogs' is not one of data.train; did you mean 'dog'?")


# --- a dev split of its own ---


def many(root: Path, *, counts: dict[str, int]) -> Path:
    for number, (name, count) in enumerate(counts.items()):
        for i in range(count):
            write(root / "train" / name / f"{i}.png", seed=1000 * number + i, size=(2, 2))
    return root


def test_a_share_of_each_class_is_held_out_where_there_is_no_dev(tmp_path):
    many(tmp_path, counts={"a": 50, "bb": 30, "ccc": 20, "dddd": 1})
    whole, parts = folder(tmp_path)["train"], folder(tmp_path, dev_fraction=0.1)
    assert list(parts) == ["train", "dev"]
    assert np.bincount(parts["dev"].labels, minlength=4).tolist() == [5, 3, 2, 0]
    assert np.bincount(parts["train"].labels).tolist() == [45, 27, 18, 1]
    assert all((np.diff(part.labels) >= 0).all() for part in parts.values()), "still in order"
    together = [
        (label, image.tobytes())
        for part in parts.values()
        for label, image in zip(part.labels, part.pixels(np.arange(len(part.labels))))
    ]
    expected = list(zip(whole.labels, map(np.ndarray.tobytes, whole.pixels(np.arange(101)))))
    assert sorted(together) == sorted(expected)


def test_what_is_held_out_depends_on_names_alone(tmp_path):
    root = many(tmp_path, counts={"a": 30, "b": 30})
    before = folder(root, dev_fraction=0.2, cache_gib=0.0)
    read = lambda: image_sources._read_folder(str(root / "train"), setting="data.train")  # noqa: E731
    held_out = image_sources._hold_out(read(), fraction=0.2)[1].files
    first = [
        min(
            (hashlib.sha256(f"{name}/{i}.png".encode()).digest()[:8][::-1], f"{name}/{i}.png")
            for i in range(30)
        )[1]
        for name in "ab"
    ]
    assert set(first) <= set(held_out), "in each class those whose hash is smallest"
    for i in range(30):
        write(root / "train" / "a" / f"{i}.png", seed=500 + i, size=(3, 3))
    assert image_sources._hold_out(read(), fraction=0.2)[1].files == held_out
    assert len(held_out) == len(before["dev"].labels) == 12


def test_a_dev_folder_takes_the_place_of_a_share_and_a_share_of_nothing_is_an_error(animals):
    found = folder(animals, dev=str(animals / "test"), dev_fraction=0.5)
    assert {split: len(part.labels) for split, part in found.items()} == {"train": 15, "dev": 3}
    message = folder_error(animals, dev_fraction=0.01)
    assert message.startswith("data.dev_fraction=0.01 of the 15 images of ")
    for fraction in (-0.1, 0.6):
        message = f"data.dev_fraction={fraction}: expected 0 to 0.5"
        assert folder_error(animals, dev_fraction=fraction) == message


@given(st.lists(st.integers(0, 4), min_size=1, max_size=200), st.randoms(use_true_random=False))
def test_every_beginning_of_the_order_holds_each_class_in_proportion(labels, random):
    labels = np.array(labels)
    keys = np.array([random.getrandbits(64) for _ in labels], np.uint64)
    order = image_sources._stratified_order(labels, keys=keys)
    assert sorted(order.tolist()) == list(range(len(labels)))
    num_classes = len(set(labels.tolist()))
    for length in range(len(labels) + 1):
        for label in set(labels.tolist()):
            share = length * (labels == label).mean()
            assert abs((labels[order[:length]] == label).sum() - share) <= num_classes / 2 + 0.5


# --- digits ---


@pytest.fixture(scope="module")
def digits():
    return image_sources.digits()


def test_the_digits_are_all_those_of_scikit_learn_each_in_one_split(digits):
    from sklearn.datasets import load_digits

    values, labels = load_digits(return_X_y=True)
    expected = [(label, np.round(x * 255 / 16).tolist()) for x, label in zip(values, labels)]
    found = [
        (label, image.reshape(-1).tolist())
        for part in digits.values()
        for label, image in zip(part.labels, part.pixels(np.arange(len(part.labels))))
    ]
    assert sorted(found) == sorted(expected)
    sizes = {split: len(part.labels) for split, part in digits.items()}
    assert sizes == {"train": 1347, "dev": 150, "test": 300}
    for split, part in digits.items():
        assert (part.shape, part.class_names) == ((8, 8, 1), tuple("0123456789"))
        assert part.where == f"digits:{split}"
        counts = np.bincount(part.labels)
        assert (np.abs(counts - len(part.labels) * np.bincount(labels) / 1797) < 2).all()


def test_the_split_of_the_digits_is_the_same_every_time_and_another_for_another_seed(digits):
    again = image_sources.digits()
    other = image_sources.digits(seed=1)
    small = image_sources.digits(num_dev=10, num_test=20)
    for split in ("train", "dev", "test"):
        assert again[split].fingerprint == digits[split].fingerprint != other[split].fingerprint
    assert [len(small[split].labels) for split in ("train", "dev", "test")] == [1767, 10, 20]


@pytest.mark.parametrize(("num_dev", "num_test"), [(0, 300), (150, 0), (1000, 797), (-1, 5)])
def test_more_digits_held_out_than_there_are_is_an_error_of_the_user(num_dev, num_test):
    with pytest.raises(UserError, match=f"data.num_dev={num_dev} and data.num_test={num_test}: "):
        image_sources.digits(num_dev=num_dev, num_test=num_test)


def test_a_missing_scikit_learn_is_an_error_that_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(UserError, match=r"needs scikit-learn: pip install 'bigjax\[digits\]'$"):
        image_sources.digits()
