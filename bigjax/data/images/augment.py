"""Owns random changes of training images, each a function of (seed, number of the row) alone.

Random bits are a counter hash (`random_keys.py`), so no change depends on which rows are made
together, by how many processes or in what order. Mixing images with each other happens in the
training step: here only its numbers are drawn. Which row is which image belongs to `pipeline.py`.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple

import numpy as np

from bigjax.config.fields import AtLeast, Between
from bigjax.data.random_keys import keys, uniform
from bigjax.errors import UserError

GREY = 128  # fills what a change leaves open: about the mean of natural images


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random changes of training images."""

    pad_crop: Annotated[
        int,
        AtLeast(0),
        "pixels of reflected border, from which the old size is cut at random; 0: none",
    ] = 0
    flip: Annotated[bool, "mirrors half of the images left to right"] = False
    cutout: Annotated[
        int,
        AtLeast(0),
        "side of a grey square put anywhere on the image, in pixels (DeVries & Taylor 2017); 0: "
        "none",
    ] = 0
    randaugment_layers: Annotated[
        int, AtLeast(0), "how many of 14 changes each image gets (Cubuk et al. 2020); 0: none"
    ] = 0
    randaugment_magnitude: Annotated[float, Between(0, 30), "how strong each of them is"] = 9.0
    mixup_alpha: Annotated[
        float,
        AtLeast(0),
        "mixes pairs of images, in shares drawn from Beta(alpha, alpha) (Zhang et al. 2018); 0: "
        "never",
    ] = 0.0
    cutmix_alpha: Annotated[
        float,
        AtLeast(0),
        "puts a box of one image into another, its area drawn as above (Yun et al. 2019); 0: "
        "never. With both, each step draws one",
    ] = 0.0


class Mixing(NamedTuple):
    """How each row is mixed with another of its global batch.

    Where the box is empty: pixels = lam * own + (1 - lam) * partner's, which is mixup. Else those
    in the box are the partner's and the others the row's own, which is cutmix. In both the loss is
    lam * (loss for the own label) + (1 - lam) * (loss for the partner's).

    partner: int64 (n,), numbers of rows; a bijection of the batch without fixed points.
    lam: float32 (n,), one value in each step.
    box: int32 (n, 4), (y0, y1, x0, x1) with y1 and x1 outside.
    """

    partner: np.ndarray
    lam: np.ndarray
    box: np.ndarray


def augment(pixels: np.ndarray, *, keys: np.ndarray, policy: Augmentation) -> np.ndarray:
    """Images uint8 (n, H, W, C), C 1 or 3, changed at random: image i as keys[i] says.

    Raises:
      UserError: `pad_crop` does not fit the images.
    """
    if policy.pad_crop or policy.flip:
        pixels = _crop_and_flip(pixels, keys=keys, policy=policy)
    if policy.randaugment_layers:
        pixels = _randaugment(pixels, keys=keys, policy=policy)
    if policy.cutout:
        pixels = _cutout(pixels, keys=keys, side=policy.cutout)
    return pixels


def mixing(
    numbers: np.ndarray,
    *,
    seed: int,
    batch_rows: int,
    shape: tuple[int, int, int],
    policy: Augmentation,
) -> Mixing:
    """How the rows (n,) are mixed: a function of (seed, step), step being number // batch_rows.

    shape: (H, W, C) of an image. A step in which nothing is mixed has lam 1 and empty boxes; a
    batch of one row is its own partner.
    """
    steps, places = np.divmod(np.asarray(numbers, np.int64), batch_rows)
    partner = np.empty(len(numbers), np.int64)
    lam = np.empty(len(numbers), np.float32)
    box = np.empty((len(numbers), 4), np.int32)
    for step in np.unique(steps).tolist():
        rows = steps == step
        shift, lam[rows], box[rows] = _mixing_of_step(
            keys(np.array([step]), seed=seed), batch_rows=batch_rows, shape=shape, policy=policy
        )
        partner[rows] = step * batch_rows + (places[rows] + shift) % batch_rows
    return Mixing(partner, lam, box)


# --- random bits ---


def _integers(keys: np.ndarray, name: str, *, below: int) -> np.ndarray:
    return (uniform(keys, name) * below).astype(np.int64)


# --- crop, flip, cutout: a batch at once ---


def _crop_and_flip(pixels: np.ndarray, *, keys: np.ndarray, policy: Augmentation) -> np.ndarray:
    """Each pixel is looked up where it comes from, so nothing is padded and one copy is made."""
    num, height, width, channels = pixels.shape
    border = policy.pad_crop
    if border >= min(height, width):
        raise UserError(
            f"augment.pad_crop={border} reflects more than there is of images of {height}x{width}; "
            f"expected 0 to {min(height, width) - 1}"
        )
    y = _integers(keys, "crop y", below=2 * border + 1)[:, None] - border + np.arange(height)
    x = _integers(keys, "crop x", below=2 * border + 1)[:, None] - border + np.arange(width)
    if policy.flip:
        x = np.where(_integers(keys, "flip", below=2)[:, None] == 1, x[:, ::-1], x)
    rows = np.arange(num)[:, None] * height + _reflect(y, size=height)
    places = rows[:, :, None] * width + _reflect(x, size=width)[:, None, :]
    # mode="clip" spares the check of every place; all are inside.
    found = pixels.reshape(-1, channels).take(places.reshape(-1), axis=0, mode="clip")
    return found.reshape(pixels.shape)


def _reflect(places: np.ndarray, *, size: int) -> np.ndarray:
    """Places outside 0..size-1 mirrored at the outermost pixel, which is not repeated."""
    return size - 1 - np.abs(size - 1 - np.abs(places))


def _cutout(pixels: np.ndarray, *, keys: np.ndarray, side: int) -> np.ndarray:
    height, width = pixels.shape[1:3]
    tops = _integers(keys, "cutout y", below=height) - side // 2
    lefts = _integers(keys, "cutout x", below=width) - side // 2
    pixels = pixels.copy()
    for image, top, left in zip(pixels, tops.tolist(), lefts.tolist()):
        image[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)] = GREY
    return pixels


# --- RandAugment: an image at a time ---


def _randaugment(pixels: np.ndarray, *, keys: np.ndarray, policy: Augmentation) -> np.ndarray:
    from PIL import Image

    changes = list(_CHANGES.values())
    layers = [
        (
            _integers(keys, f"randaugment {layer}", below=len(changes)).tolist(),
            (1 - 2 * _integers(keys, f"randaugment sign {layer}", below=2)).tolist(),
        )
        for layer in range(policy.randaugment_layers)
    ]
    found = np.empty_like(pixels)
    for i, image in enumerate(pixels):
        changed = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        for choices, signs in layers:
            change = changes[choices[i]]
            changed = change(changed, policy.randaugment_magnitude / 30, signs[i])
        found[i] = np.asarray(changed).reshape(image.shape)
    return found


def _affine(image: Any, coefficients: tuple[float, ...]) -> Any:
    """Pixel (x, y) becomes what is at (ax + by + c, dx + ey + f), centred."""
    from PIL import Image

    a, b, c, d, e, f = coefficients
    x, y = image.width / 2, image.height / 2
    centred = (a, b, c + x - a * x - b * y, d, e, f + y - d * x - e * y)
    kind, method = Image.Transform.AFFINE, Image.Resampling.BILINEAR
    fill = GREY if image.mode == "L" else (GREY,) * 3
    return image.transform(image.size, kind, centred, resample=method, fillcolor=fill)


def _rotate(image: Any, strength: float, sign: int) -> Any:
    angle = sign * strength * math.pi / 6
    cos, sin = math.cos(angle), math.sin(angle)
    return _affine(image, (cos, sin, 0, -sin, cos, 0))


def _enhance(name: str) -> Callable[[Any, float, int], Any]:
    def change(image: Any, strength: float, sign: int) -> Any:
        from PIL import ImageEnhance

        return getattr(ImageEnhance, name)(image).enhance(1 + sign * strength * 0.9)

    return change


def _point(name: str, *arguments: Callable[[float], int]) -> Callable[[Any, float, int], Any]:
    def change(image: Any, strength: float, sign: int) -> Any:  # noqa: ARG001 - it has no sign
        from PIL import ImageOps

        return getattr(ImageOps, name)(image, *(argument(strength) for argument in arguments))

    return change


# Name to (image, strength from 0 to 1, sign) -> image. The most that each does is that of the
# authors' search space (Cubuk et al. 2019, table 6): 30 degrees, a shear of 0.3, 45 % of the side,
# a factor of 0.1 or 1.9, 4 bits, a threshold of 0.
_CHANGES: Mapping[str, Callable[[Any, float, int], Any]] = MappingProxyType(
    {
        "identity": lambda image, strength, sign: image,  # noqa: ARG005
        "auto contrast": _point("autocontrast"),
        "equalize": _point("equalize"),
        "rotate": _rotate,
        "solarize": _point("solarize", lambda strength: round(256 * (1 - strength))),
        "color": _enhance("Color"),
        "posterize": _point("posterize", lambda strength: 8 - round(4 * strength)),
        "contrast": _enhance("Contrast"),
        "brightness": _enhance("Brightness"),
        "sharpness": _enhance("Sharpness"),
        "shear x": lambda image, s, sign: _affine(image, (1, sign * s * 0.3, 0, 0, 1, 0)),
        "shear y": lambda image, s, sign: _affine(image, (1, 0, 0, sign * s * 0.3, 1, 0)),
        "translate x": lambda i, s, sign: _affine(i, (1, 0, sign * s * 0.45 * i.width, 0, 1, 0)),
        "translate y": lambda i, s, sign: _affine(i, (1, 0, 0, 0, 1, sign * s * 0.45 * i.height)),
    }
)


# --- mixing: numbers of one step ---


def _mixing_of_step(
    key: np.ndarray, *, batch_rows: int, shape: tuple[int, int, int], policy: Augmentation
) -> tuple[int, float, tuple[int, int, int, int]]:
    """(places to the partner, lam, box) of the step with the given key uint64 (1,)."""
    draw = lambda name: float(uniform(key, name)[0])  # noqa: E731
    nothing = (0, 0, 0, 0)
    shift = 1 + int(draw("partner") * (batch_rows - 1)) if batch_rows > 1 else 0
    mixup, cutmix = policy.mixup_alpha, policy.cutmix_alpha
    if not mixup and not cutmix:
        return shift, 1.0, nothing
    is_cutmix = not mixup or (cutmix > 0 and draw("cutmix") < 0.5)
    lam = _symmetric_beta(cutmix if is_cutmix else mixup, draw("beta u"), draw("beta v"))
    if not is_cutmix:
        return shift, lam, nothing
    height, width, _ = shape
    box = (
        *_side(draw("box y"), share=math.sqrt(1 - lam), size=height),
        *_side(draw("box x"), share=math.sqrt(1 - lam), size=width),
    )
    area = (box[1] - box[0]) * (box[3] - box[2])
    return shift, 1 - area / (height * width), box if area else nothing


def _side(uniform: float, *, share: float, size: int) -> tuple[int, int]:
    """Where a box with its centre at a random pixel begins and ends, cut to the image."""
    length, centre = int(size * share), int(uniform * size)
    return max(centre - length // 2, 0), min(centre - length // 2 + length, size)


def _symmetric_beta(alpha: float, u: float, v: float) -> float:
    """A draw of Beta(alpha, alpha) from two uniform numbers in [0, 1), exact for every alpha > 0.

    T = sqrt(2 alpha (u^(-1/alpha) - 1)) cos(2 pi v) is Student's t with 2 alpha degrees of freedom
    (Bailey 1994), and (1 + T / sqrt(2 alpha + T^2)) / 2 is the draw (Devroye 1996).
    """
    power = math.exp(math.log(1 - u) / alpha)  # 1 - u is in (0, 1]; may come to 0
    cos = math.cos(2 * math.pi * v)
    square = (1 - power) * cos * cos
    return (1 + math.copysign(math.sqrt(square / (power + square)), cos)) / 2
