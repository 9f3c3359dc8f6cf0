"""Image files become pixels: upright, cut and resized without aliasing, none of them skipped."""

import concurrent.futures
import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bigjax.data.images import decoding
from bigjax.errors import UserError

EVERYTHING = 4.0
NOTHING = 0.0


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def file_of(image, *, kind: str = "PNG", **options) -> bytes:
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def encoded(files: list[bytes | Path], *, labels=None, class_names=("a", "b"), where="there"):
    labels = [i % 2 for i in range(len(files))] if labels is None else labels
    return decoding.Encoded(
        read=lambda ids: [(files[i], labels[i]) for i in ids],
        name=lambda i: f"{where} number {i}",
        num=len(files),
        class_names=tuple(class_names),
        channels=3,
        where=where,
    )


def load_one(files, *, image_size: int | None = 8, cache_gib: float = EVERYTHING, **options):
    splits = {"train": encoded(files, **options)}
    return decoding.load(splits, image_size=image_size, cache_gib=cache_gib)["train"]


def load_error(files, **options) -> str:
    with pytest.raises(UserError) as caught:
        load_one(files, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- one image ---


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP"])
def test_a_file_without_loss_gives_the_pixels_that_were_written(kind):
    pixels = noise(9, 13, 3)
    stored = file_of(pixels, kind=kind, **({"lossless": True} if kind == "WEBP" else {}))
    found = decoding.decode(stored, image_size=None, channels=3)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, pixels)


def test_a_jpeg_gives_what_pillow_decodes():
    stored = file_of(noise(16, 24, 3), kind="JPEG")
    expected = np.asarray(Image.open(io.BytesIO(stored)))
    np.testing.assert_array_equal(decoding.decode(stored, image_size=None, channels=3), expected)


def test_other_kinds_of_colour_become_rgb_or_grey():
    grey, colour, alpha = noise(5, 7), noise(5, 7, 3, seed=1), noise(5, 7, seed=2)
    in_rgb = np.repeat(grey[..., None], 3, axis=-1)
    with_alpha = Image.fromarray(np.dstack([colour, alpha]))
    palette = Image.fromarray(grey % 4).convert("P")
    palette.putpalette([value for entry in colour[0, :4].tolist() for value in entry])
    bits = Image.fromarray((grey > 99).astype(np.uint8) * 255).convert("1")
    wide = Image.fromarray(grey.astype(np.uint16) * 256 + 17)
    of_palette = colour[0][grey % 4]
    decode = lambda image, **options: decoding.decode(  # noqa: E731
        file_of(image, **options), image_size=None, channels=3
    )
    np.testing.assert_array_equal(decode(grey), in_rgb)
    np.testing.assert_array_equal(decode(with_alpha), colour, err_msg="alpha is dropped")
    np.testing.assert_array_equal(decode(palette), of_palette)
    np.testing.assert_array_equal(decode(palette, transparency=bytes([0, 9, 255])), of_palette)
    np.testing.assert_array_equal(decode(bits)[..., 0], np.where(grey > 99, 255, 0))
    np.testing.assert_array_equal(decode(wide), in_rgb, err_msg="the upper 8 of 16 bits")
    assert decode(Image.fromarray(colour).convert("CMYK"), kind="JPEG").shape == (5, 7, 3)
    to_grey = decoding.decode(file_of(colour), image_size=None, channels=1)
    expected = np.round(colour @ [0.299, 0.587, 0.114])
    assert to_grey.shape == (5, 7, 1)
    np.testing.assert_allclose(to_grey[..., 0], expected, atol=1)


def test_of_an_animation_and_of_several_pages_the_first_picture_is_taken():
    first, second = (Image.fromarray(noise(5, 7, seed=i) % 8 * 30) for i in range(2))
    expected = np.repeat(np.asarray(first)[..., None], 3, axis=-1)
    for kind in ("GIF", "TIFF", "PNG", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        stored = file_of(first, kind=kind, save_all=True, append_images=[second], **options)
        found = decoding.decode(stored, image_size=None, channels=3)
        np.testing.assert_array_equal(found, expected, err_msg=kind)


def test_numbers_of_16_bits_keep_their_upper_8_and_those_of_32_are_refused():
    """Pillow would clip both to 255, which makes most images white."""
    wide = noise(5, 7).astype(np.int32) * 256 + 17
    for kind in ("TIFF", "PPM", "PNG"):
        stored = file_of(Image.fromarray(wide.astype(np.uint16)), kind=kind)
        found = decoding.decode(stored, image_size=None, channels=3)
        np.testing.assert_array_equal(found[..., 0], noise(5, 7), err_msg=kind)
    for pixels in (wide, wide.astype(np.float32)):
        stored = file_of(Image.fromarray(pixels), kind="TIFF")
        with pytest.raises(ValueError, match="holds numbers of 32 bits; convert it to 8 or 16"):
            decoding.decode(stored, image_size=None, channels=3)


def test_formats_are_those_that_pillow_reads_without_another_program():
    found = decoding.formats()
    assert {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"} <= set(found)
    assert not {".eps", ".ps", ".pdf", ".h5", ".mpg", ".txt", ""} & set(found)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_an_image_is_turned_upright_as_its_exif_orientation_says(kind, orientation):
    upright = np.zeros((16, 24, 3), np.uint8)
    upright[:8, :8], upright[8:, :8], upright[:8, 16:] = (200, 0, 0), (0, 200, 0), (0, 0, 200)
    # How a camera held in each of the eight ways stores it: EXIF 2.32, section 4.6.4.
    stored = [
        upright,
        upright[:, ::-1],
        upright[::-1, ::-1],
        upright[::-1],
        upright.transpose(1, 0, 2),
        np.rot90(upright, 1),
        upright[::-1, ::-1].transpose(1, 0, 2),
        np.rot90(upright, -1),
    ][orientation - 1]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    file = file_of(np.ascontiguousarray(stored), kind=kind, exif=exif, **options)
    found = decoding.decode(file, image_size=None, channels=3)
    assert found.shape == upright.shape
    np.testing.assert_allclose(found.astype(int), upright, atol=12 if kind == "JPEG" else 0)


def slow_resize(line: np.ndarray, *, size: int) -> np.ndarray:
    """Bicubic (a = -1/2) along axis 0, the kernel as wide as a new pixel where that is larger."""
    scale = len(line) / size
    support = 2 * max(scale, 1)
    found = []
    for i in range(size):
        centre = (i + 0.5) * scale
        weights = np.zeros(len(line))
        for j in range(len(line)):
            x = abs((j + 0.5 - centre) / max(scale, 1))
            if abs(j + 0.5 - centre) < support:
                inner = 1.5 * x**3 - 2.5 * x**2 + 1
                outer = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
                weights[j] = inner if x < 1 else outer if x < 2 else 0
        found.append(np.tensordot(weights / weights.sum(), line, axes=1))
    return np.array(found)


@pytest.mark.parametrize(("height", "width"), [(48, 96), (96, 48), (24, 48), (72, 72), (24, 24)])
def test_the_shorter_side_is_resized_without_aliasing_and_the_centre_is_cut_out(height, width):
    size = 24 if height != 24 or width != 48 else 36  # the third is enlarged
    pixels = noise(height, width, 3) // 2 + 64  # away from 0 and 255, where Pillow would clip twice
    found = decoding.decode(file_of(pixels), image_size=size, channels=3)
    scale = size / min(height, width)
    rows = slow_resize(pixels.astype(float), size=round(height * scale))
    both = slow_resize(rows.transpose(1, 0, 2), size=round(width * scale)).transpose(1, 0, 2)
    top, left = (both.shape[0] - size) // 2, (both.shape[1] - size) // 2
    expected = both[top : top + size, left : left + size]
    assert found.shape == (size, size, 3)
    np.testing.assert_allclose(found, expected, atol=1.5)  # Pillow rounds between the directions


def test_a_large_jpeg_is_decoded_small_and_looks_as_if_it_were_not():
    detailed = np.asarray(Image.fromarray(noise(150, 200, 3)).resize((800, 600), 3))
    stored = file_of(detailed, kind="JPEG", quality=95)
    found = decoding.decode(stored, image_size=64, channels=3).astype(int)
    whole = Image.open(io.BytesIO(stored)).crop((100, 0, 700, 600)).resize((64, 64), 3)
    assert np.abs(found - np.asarray(whole)).mean() < 2.0  # 0.7; 8 if decoded at 64 at once


# --- a split ---


@given(st.data(), st.integers(1, 40), st.sampled_from([None, 4]))
def test_pixels_are_those_of_the_ids_in_any_order_whether_cached_or_not(data, num, image_size):
    ids = np.array(data.draw(st.lists(st.integers(0, num - 1), max_size=60)), np.int64)
    files = [file_of(noise(6, 6, 3, seed=i)) for i in range(num)]
    cached, on_demand = (
        load_one(files, image_size=image_size, cache_gib=gib) for gib in (EVERYTHING, NOTHING)
    )
    expected = [decoding.decode(files[i], image_size=image_size, channels=3) for i in ids]
    for found in (cached, on_demand):
        assert found.shape == ((6, 6, 3) if image_size is None else (4, 4, 3))
        pixels = found.pixels(ids)
        assert pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels, np.array(expected).reshape(-1, *found.shape))
        assert found.labels.tolist() == [i % 2 for i in range(num)]
        assert found.labels.dtype == np.int32
        assert (found.class_names, found.where) == (("a", "b"), "there")
    assert cached.fingerprint == on_demand.fingerprint


def test_many_threads_may_ask_at_once():
    files = [file_of(noise(8, 8, 3, seed=i)) for i in range(100)]
    found = load_one(files, cache_gib=NOTHING)
    wanted = [np.random.default_rng(i).permutation(100) for i in range(12)]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        together = list(pool.map(found.pixels, wanted))
    for ids, pixels in zip(wanted, together):
        np.testing.assert_array_equal(pixels, np.stack([noise(8, 8, 3, seed=i) for i in ids]))


def test_what_fits_in_the_budget_is_decoded_once_and_what_does_not_whenever_it_is_asked_for():
    files = [file_of(noise(8, 8, 3, seed=i)) for i in range(20)]
    bytes_of_both_splits = 2 * 20 * 8 * 8 * 3
    for spare, reads_a_pass in ((0, 0), (-1, 20)):
        read_ids: list[int] = []

        def read(ids, read_ids=read_ids):
            read_ids.extend(ids.tolist())
            return [(files[i], 0) for i in ids]

        split = encoded(files)._replace(read=read)
        budget = (bytes_of_both_splits + spare) / 2**30
        found = decoding.load({"a": split, "b": split}, image_size=8, cache_gib=budget)
        assert sorted(read_ids) == sorted([*range(20)] * 2), "one look at each image"
        for _ in range(2):
            found["a"].pixels(np.arange(20))
        assert len(read_ids) == 40 + 2 * reads_a_pass


def test_a_change_to_what_is_returned_does_not_change_the_cache():
    found = load_one([file_of(noise(8, 8, 3))])
    found.pixels(np.array([0]))[:] = 0
    np.testing.assert_array_equal(found.pixels(np.array([0]))[0], noise(8, 8, 3))


# --- what is wrong with files ---


def damaged() -> dict[str, bytes]:
    whole = file_of(noise(40, 40, 3), kind="JPEG")
    png = file_of(noise(40, 40, 3))
    spoilt = bytearray(png)
    spoilt[len(png) // 2] ^= 0xFF
    return {
        "truncated JPEG": whole[: len(whole) // 2],
        "truncated PNG": png[: len(png) // 2],
        "a flipped byte": bytes(spoilt),
        "empty": b"",
        "text": b"not an image at all",
        "header only": png[:20],
    }


@pytest.mark.parametrize("cache_gib", [EVERYTHING, NOTHING])
@pytest.mark.parametrize("image_size", [8, None])
@pytest.mark.parametrize("kind", damaged())
def test_a_damaged_image_is_an_error_that_names_it(kind, image_size, cache_gib):
    good = file_of(noise(40, 40, 3))
    for place in (0, 1):
        files = [good, good]
        files.insert(place, damaged()[kind])
        message = load_error(files, image_size=image_size, cache_gib=cache_gib)
        assert message.startswith(f"1 of 3 images cannot be used: there number {place}: ")
        assert " at 0x" not in message


@pytest.mark.parametrize("cache_gib", [EVERYTHING, NOTHING])
def test_all_damaged_images_of_all_splits_are_found_and_the_first_few_named(cache_gib, tmp_path):
    good, bad = file_of(noise(8, 8, 3)), b"bad"
    splits = {
        "train": encoded([bad, good] * 300),
        "dev": encoded([good, tmp_path / "missing.png"], where="elsewhere"),
    }
    with pytest.raises(UserError) as caught:
        decoding.load(splits, image_size=8, cache_gib=cache_gib)
    message = str(caught.value)
    assert message.startswith("301 of 602 images cannot be used: there number 0: is no image of")
    assert message.endswith("; ...")
    assert "there number 4: " in message and "there number 6" not in message
    with pytest.raises(UserError, match="elsewhere number 1: the file cannot be read: No such fil"):
        decoding.load({"dev": splits["dev"]}, image_size=8, cache_gib=cache_gib)


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_bytes(b"oh"), "resize"])
def test_a_file_that_is_damaged_during_the_run_is_an_error_that_names_it(tmp_path, spoil):
    paths = [tmp_path / f"{i}.png" for i in range(40)]
    for path in paths:
        path.write_bytes(file_of(noise(8, 8, 3)))
    found = load_one(paths, image_size=None, cache_gib=NOTHING)
    assert found.pixels(np.arange(40)).shape == (40, 8, 8, 3)
    if spoil == "resize":
        paths[33].write_bytes(file_of(noise(9, 9, 3)))
    else:
        spoil(paths[33])
    with pytest.raises(UserError, match="^there number 33: "):
        found.pixels(np.arange(40))
    assert found.pixels(np.arange(33)).shape == (33, 8, 8, 3)


@pytest.mark.parametrize("cache_gib", [EVERYTHING, NOTHING])
def test_images_of_several_shapes_need_a_size(cache_gib):
    files = [file_of(noise(8, 8, 3)), file_of(noise(9, 7, 3))]
    message = load_error(files, image_size=None, cache_gib=cache_gib)
    expected = "there number 1: is 9x7 and the first image 8x8; set data.image_size"
    assert message == f"1 of 2 images cannot be used: {expected}"
    assert load_one(files, image_size=8, cache_gib=cache_gib).shape == (8, 8, 3)
    splits = {"train": encoded(files[:1]), "test": encoded(files[1:])}
    with pytest.raises(UserError, match=r"differ in size \(train 8x8, test 9x7\); set data.image"):
        decoding.load(splits, image_size=None, cache_gib=cache_gib)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 0}, "data.image_size=0: expected 1 or more"),
        ({"cache_gib": -1.0}, "data.cache_gib=-1.0: expected 0 or more"),
        ({"files": []}, "there has no image"),
        ({"files": [], "image_size": None}, "there has no image"),
    ],
)
def test_a_setting_out_of_range_or_an_empty_split_is_an_error_of_the_user(options, message):
    assert message in load_error(**{"files": [file_of(noise(8, 8, 3))], **options})


# --- fingerprint ---


def test_the_fingerprint_is_of_images_labels_and_class_names():
    files = [file_of(noise(8, 8, 3, seed=i)) for i in range(3)]
    plain = load_one(files).fingerprint
    names = json.dumps([3, ["a", "b"]]).encode()
    labels = np.array([0, 1, 0], "<i4").tobytes()
    content = b"".join(hashlib.sha256(file).digest() for file in files)
    assert plain == hashlib.sha256(names + labels + content).hexdigest()
    others = [
        load_one(files[::-1]),
        load_one(files[:2]),
        load_one([*files[:2], file_of(noise(8, 8, 3, seed=9))]),
        load_one(files, labels=[0, 1, 1]),
        load_one(files, class_names=("a", "c")),
    ]
    assert len({plain, *(other.fingerprint for other in others)}) == 6
    assert load_one(files, where="another place").fingerprint == plain


def test_pixels_that_are_in_memory_already_are_a_split_too():
    pixels = noise(5, 4, 6, 1)
    make = lambda pixels: decoding.in_memory(  # noqa: E731
        pixels, labels=np.arange(5), class_names=list("abcde"), where="here"
    )
    found = make(pixels)
    np.testing.assert_array_equal(found.pixels(np.array([3, 0, 3])), pixels[[3, 0, 3]])
    assert (found.shape, found.class_names, found.where) == ((4, 6, 1), tuple("abcde"), "here")
    assert found.labels.dtype == np.int32
    changed = pixels.copy()
    changed[4, 3, 5, 0] ^= 1
    assert make(changed).fingerprint != found.fingerprint == make(pixels.copy()).fingerprint


def test_what_decodes_images_is_not_imported_before_an_image_is_decoded():
    program = """
import sys
from bigjax.data.images import augment
from bigjax.data.images import image_sources
from bigjax.data.images import decoding
assert not {"PIL", "sklearn", "tensorflow_datasets"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
