"""Owns the record that every source of labelled images produces, and the decoding of image files
into it.

Where images come from belongs to `image_sources.py` and `tfds_images.py`, random changes of them
to `augment.py`.
"""

import concurrent.futures
import functools
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from bigjax.errors import UserError

Shape = tuple[int, int, int]
_FREQUENT = ("JPEG", "PNG", "WEBP", "BMP")  # formats, which are tried first
# Those that Pillow recognises and cannot read, or has another program read.
_ONLY_RECOGNISED = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
_ORIENTATION = 0x0112  # EXIF 2.32, section 4.6.4
_NUM_NAMED = 3  # how many of the images that cannot be read an error names


class Images(NamedTuple):
    """Labelled images of one split, by number.

    pixels: ids int64 (n,), in any order, repeats allowed -> uint8 (n, H, W, C) in that order.
      Safe to call from several threads.
    labels: int32 (num,), positions in `class_names`.
    shape: (H, W, C).
    where: the place the images come from, for messages ("cifar10:train").
    fingerprint: sha256 (hex) of images as stored, labels and class names, not of paths.
    left_out: how many files beside the images are none, by the ends of their names (".txt").
    name: id -> what messages call the image; None: by its number.
    """

    pixels: Callable[[np.ndarray], np.ndarray]
    labels: np.ndarray
    class_names: tuple[str, ...]
    shape: Shape
    where: str
    fingerprint: str
    left_out: Mapping[str, int] = MappingProxyType({})
    name: Callable[[int], str] | None = None


class Encoded(NamedTuple):
    """Images of one split as they are stored, for `load`.

    read: ids int64 (n,) -> n pairs of an image file (its content or its path) and its label.
      Thread-safe; may raise UserError.
    name: id -> what messages call the image.
    num: how many there are.
    channels: 3 for RGB, 1 for grey; what is stored otherwise is converted.
    left_out: as in `Images`.
    """

    read: Callable[[np.ndarray], Iterable[tuple[bytes | Path, int]]]
    name: Callable[[int], str]
    num: int
    class_names: tuple[str, ...]
    channels: int
    where: str
    left_out: Mapping[str, int] = MappingProxyType({})


def in_memory(
    pixels: np.ndarray, *, labels: np.ndarray, class_names: Sequence[str], where: str
) -> Images:
    """Images that are pixels already: uint8 (num, H, W, C) and int32 (num,)."""
    assert pixels.dtype == np.uint8 and pixels.ndim == 4 and len(pixels) == len(labels)
    labels, class_names = np.asarray(labels, np.int32), tuple(class_names)
    content = [hashlib.sha256(image.tobytes()).digest() for image in pixels]
    fingerprint = _fingerprint(content, labels=labels, class_names=class_names)
    return Images(pixels.__getitem__, labels, class_names, pixels.shape[1:], where, fingerprint)


def load(
    splits: Mapping[str, Encoded], *, image_size: int | None, cache_gib: float
) -> dict[str, Images]:
    """The images of all splits, decoded here and never again where the pixels of all of them fit in
    `cache_gib` GiB, else whenever they are asked for. The result is the same.

    Every image is read once here in any case, for the fingerprint and to find damaged ones.

    Args:
      image_size: see `decode`. None leaves images as they are, so all must have one shape.
    Raises:
      UserError: names the images that cannot be decoded or have another shape, the first few of
        them and how many there are; splits of different shapes, or an empty one; a setting out of
        range.
    """
    if image_size is not None and image_size < 1:
        raise UserError(f"data.image_size={image_size}: expected 1 or more pixels")
    if cache_gib < 0:
        raise UserError(f"data.cache_gib={cache_gib}: expected 0 or more GiB")
    shapes = {split: _shape(encoded, image_size) for split, encoded in splits.items()}
    num_bytes = sum(e.num * int(np.prod(shapes[split])) for split, e in splits.items())
    fits = num_bytes <= cache_gib * 2**30
    loaded, problems = {}, []
    for split, encoded in splits.items():
        array = np.empty((encoded.num, *shapes[split]), np.uint8) if fits else None
        first_look = _first_look(encoded, shape=shapes[split], image_size=image_size, out=array)
        problems += first_look.problems
        on_demand = functools.partial(
            _decode_many, encoded=encoded, shape=shapes[split], image_size=image_size
        )
        loaded[split] = Images(
            pixels=on_demand if array is None else array.__getitem__,
            labels=first_look.labels,
            class_names=encoded.class_names,
            shape=shapes[split],
            where=encoded.where,
            fingerprint=_fingerprint(
                first_look.content, labels=first_look.labels, class_names=encoded.class_names
            ),
            left_out=encoded.left_out,
            name=encoded.name,
        )
    if problems:
        total = sum(encoded.num for encoded in splits.values())
        more = ["..."] if len(problems) > _NUM_NAMED else []
        raise UserError(
            f"{len(problems)} of {total} images cannot be used: "
            + "; ".join(problems[:_NUM_NAMED] + more)
        )
    if len(set(shapes.values())) > 1:
        found = ", ".join(f"{s} {shape[0]}x{shape[1]}" for s, shape in shapes.items())
        raise UserError(f"images of the splits differ in size ({found}); set data.image_size")
    return loaded


@functools.cache
def formats() -> Mapping[str, str]:
    """The formats of images that the installed Pillow reads, by the ends of names (".png")."""
    from PIL import Image

    known = Image.registered_extensions()
    readable = set(Image.OPEN) - _ONLY_RECOGNISED
    return MappingProxyType({end: name for end, name in known.items() if name in readable})


def decode(stored: bytes, *, image_size: int | None, channels: int) -> np.ndarray:
    """The pixels of an image file, upright as its EXIF orientation says: uint8 (H, W, channels).

    Colours become RGB or grey; alpha is dropped; of several pictures the first is taken.
    image_size: the shorter side is resized to it (bicubic, over all the pixels that a new one
    covers) and the centre is cut out as a square.

    Raises:
      ValueError: with Pillow's reason on one line; not an image, or a damaged one.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(stored), formats=_in_order()) as image:
            if image_size is not None:
                # A large JPEG is decoded at 1/2, 1/4 or 1/8 of its size, twice what is needed.
                image.draft(None, (2 * image_size, 2 * image_size))
            image.load()
            if image.getexif().get(_ORIENTATION, 1) != 1:
                ImageOps.exif_transpose(image, in_place=True)
            image = _convert(image, mode="RGB" if channels == 3 else "L")
            if image_size is not None:
                image = ImageOps.fit(image, (image_size, image_size), Image.Resampling.BICUBIC)
            found = np.frombuffer(image.tobytes(), np.uint8)
            return found.reshape(image.height, image.width, channels)
    except UnidentifiedImageError as error:  # its own message is an address in memory
        raise ValueError("is no image of a format that Pillow reads") from error
    except Exception as error:  # for a damaged file OSError, SyntaxError, struct.error and others
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error


@functools.cache
def _in_order() -> tuple[str, ...]:
    return tuple(dict.fromkeys([*_FREQUENT, *sorted(formats().values())]))


def _convert(image: Any, *, mode: str) -> Any:
    if image.mode == mode:
        return image
    has_16_bits = image.mode == "I" and image.format in ("PNG", "PPM")
    if image.mode in ("I", "F") and not has_16_bits:  # Pillow would clip them to 0 to 255
        raise ValueError("holds numbers of 32 bits; convert it to 8 or 16 bits a channel")
    if has_16_bits or image.mode.startswith("I;16"):  # clipped to 8 bits all would be white
        from PIL import Image

        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode == "P":  # its transparency may be a list, which only RGBA can take
        image = image.convert("RGBA")
    return image.convert(mode)


class _FirstLook(NamedTuple):
    labels: np.ndarray  # int32 (num,)
    content: list[bytes]  # sha256 of each image as stored
    problems: list[str]


def _first_look(
    encoded: Encoded, *, shape: Shape, image_size: int | None, out: np.ndarray | None
) -> _FirstLook:
    """Reads every image once, into `out` where there is one."""
    # Where pixels are thrown away, a small size decodes to the end of a file all the same.
    size = 1 if out is None and image_size is not None else image_size
    expected = (1, 1, encoded.channels) if size != image_size else shape
    labels = np.zeros(encoded.num, np.int32)

    def look(ids: np.ndarray) -> tuple[list[bytes], list[str]]:
        content, problems = [], []
        for i, (stored, label) in zip(ids.tolist(), encoded.read(ids)):
            labels[i] = label
            try:
                file = _file(stored)
                content.append(hashlib.sha256(file).digest())
                image = decode(file, image_size=size, channels=encoded.channels)
                _check_shape(image, expected=expected)
            except ValueError as error:
                problems.append(f"{encoded.name(i)}: {error}")
            else:
                if out is not None:
                    out[i] = image
        return content, problems

    parts = list(_pool().map(look, _chunks(np.arange(encoded.num), size=256)))
    content = [digest for part, _ in parts for digest in part]
    return _FirstLook(labels, content, [problem for _, part in parts for problem in part])


def _decode_many(
    ids: np.ndarray, *, encoded: Encoded, shape: Shape, image_size: int | None
) -> np.ndarray:
    pixels = np.empty((len(ids), *shape), np.uint8)

    def fill(places: np.ndarray) -> None:
        for place, i, (stored, _) in zip(places, ids[places].tolist(), encoded.read(ids[places])):
            try:
                image = decode(_file(stored), image_size=image_size, channels=encoded.channels)
                _check_shape(image, expected=shape)
            except ValueError as error:  # it was whole when the run began
                raise UserError(f"{encoded.name(i)}: {error}") from error
            pixels[place] = image

    for _ in _pool().map(fill, _chunks(np.arange(len(ids)), size=16)):
        pass  # raises what a thread raised
    return pixels


@functools.cache
def _pool() -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(thread_name_prefix="decode")


def _chunks(ids: np.ndarray, *, size: int) -> list[np.ndarray]:
    return [ids[start : start + size] for start in range(0, len(ids), size)]


def _file(stored: bytes | Path) -> bytes:
    if isinstance(stored, bytes):
        return stored
    try:
        return stored.read_bytes()
    except OSError as error:
        raise ValueError(f"the file cannot be read: {error.strerror}") from error


def _shape(encoded: Encoded, image_size: int | None) -> Shape:
    """The given size, else that of the first image that can be decoded."""
    if not encoded.num:
        raise UserError(f"{encoded.where} has no image; expected one or more")
    if image_size is not None:
        return image_size, image_size, encoded.channels
    for i in range(encoded.num):
        [(stored, _)] = encoded.read(np.array([i]))
        try:
            return decode(_file(stored), image_size=None, channels=encoded.channels).shape
        except ValueError:
            continue  # the first look at all images will report it
    return 1, 1, encoded.channels


def _check_shape(image: np.ndarray, *, expected: Shape) -> None:
    if image.shape != expected:
        found, first = (f"{height}x{width}" for height, width, _ in (image.shape, expected))
        raise ValueError(f"is {found} and the first image {first}; set data.image_size")


def _fingerprint(
    content: Sequence[bytes], *, labels: np.ndarray, class_names: tuple[str, ...]
) -> str:
    digest = hashlib.sha256(json.dumps([len(content), class_names]).encode())
    digest.update(labels.astype("<i4").tobytes())
    digest.update(b"".join(content))
    return digest.hexdigest()
