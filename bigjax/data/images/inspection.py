"""Owns what in labelled images deserves a look before training: images that repeat, leak or
contradict each other, classes that are rare or missing.

Pixels are compared as they are trained on, after resizing. Nearly equal are images whose difference
hashes (64 bits, over 8 x 9 greys) differ in at most two bits and whose greys differ little.
"""

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from bigjax.data.findings import (
    NUM_PLACES,
    Finding,
    conflicts,
    in_order,
    matches,
    pairs_of,
    repeats,
)
from bigjax.data.images.decoding import Images

FEW = 5  # of a class fewer than this are hardly learnt or scored
MAX_BYTES = 4 * 2**30  # of pixels in all; more would be decoded for minutes
_ROWS, _COLUMNS = 8, 9  # of greys; each is compared with its neighbour to the right
_MAX_BITS = 2
_MIN_RANGE = 8.0  # greys, of 255, that lie nearer together are of an image of one colour
_MAX_DIFFERENCE = 6.0  # greys, of 255, on average
_CHUNK = 512  # images at a time


class Keys(NamedTuple):
    """Of the images of a split: content int64 (N,), equal where pixels are; bits bool (N, 64), the
    difference hash; grey float32 (N, 8, 9), less its mean; flat bool (N,), of one colour."""

    content: np.ndarray
    bits: np.ndarray
    grey: np.ndarray
    flat: np.ndarray


def findings(splits: Mapping[str, Images]) -> list[Finding]:
    """What deserves a look, serious findings first."""
    found = [*_classes(splits), *_left_out(splits)]
    size = sum(len(images.labels) * int(np.prod(images.shape)) for images in splits.values())
    if size > MAX_BYTES:
        what = f"images not compared: their pixels are more than {MAX_BYTES / 2**30:.0f} GiB"
        return in_order([*found, Finding(what, sum(len(i.labels) for i in splits.values()))])
    keys = {split: _keys(images) for split, images in splits.items()}
    found += _overlaps(splits, keys)
    found += _conflicts(splits, keys)
    for split, images in splits.items():
        again, first = repeats(keys[split].content)
        name = lambda i, split=split, images=images: _place(split, images, i)  # noqa: E731
        places = pairs_of(again, first, name=name, other=name)
        found.append(Finding(f"{split}: images that were there before", len(again), places))
    return in_order(found)


def _place(split: str, images: Images, number: int) -> str:
    return f"{split} image {number + 1}" if images.name is None else images.name(number)


def _keys(images: Images) -> Keys:
    height, width, _ = images.shape
    rows, columns = _means(height, num=_ROWS), _means(width, num=_COLUMNS)
    content, greys = [], []
    for begin in range(0, len(images.labels), _CHUNK):
        pixels = images.pixels(np.arange(begin, min(begin + _CHUNK, len(images.labels))))
        digests = (hashlib.blake2b(image.tobytes(), digest_size=8).digest() for image in pixels)
        content += [int.from_bytes(digest, "little", signed=True) for digest in digests]
        greys.append(rows @ pixels.mean(axis=3, dtype=np.float32) @ columns.T)
    grey = np.concatenate(greys)
    return Keys(
        content=np.array(content, np.int64),
        bits=(grey[:, :, 1:] > grey[:, :, :-1]).reshape(len(grey), -1),
        grey=grey - grey.mean(axis=(1, 2), keepdims=True),
        flat=np.ptp(grey, axis=(1, 2)) < _MIN_RANGE,
    )


def _means(size: int, *, num: int) -> np.ndarray:
    """float32 (num, size): weights that take the mean of each of `num` equal parts of a side."""
    edges = np.linspace(0, size, num + 1)
    at = np.arange(size)
    inside = np.minimum(edges[1:, None], at + 1) - np.maximum(edges[:-1, None], at)
    return (np.maximum(inside, 0) * num / size).astype(np.float32)


def _overlaps(splits: Mapping[str, Images], keys: Mapping[str, Keys]) -> Iterator[Finding]:
    for one, split in itertools.combinations(splits, 2):
        names = {
            "name": lambda i, split=split: _place(split, splits[split], i),
            "other": lambda i, one=one: _place(one, splits[one], i),
        }
        same, others = matches(keys[split].content, among=keys[one].content)
        places = pairs_of(same, others, **names)
        yield Finding(f"{split}: images that {one} has too", len(same), places, serious=True)
        near, others = _near(keys[split], keys[one])
        fresh = ~np.isin(near, same)
        near, others = near[fresh], others[fresh]
        places = pairs_of(near, others, **names)
        yield Finding(f"{split}: images that {one} has nearly so", len(near), places, serious=True)


def _near(keys: Keys, others: Keys) -> tuple[np.ndarray, np.ndarray]:
    """The images that are nearly one of the others, and the first of those.

    Where at most two bits differ, two of four parts of 16 bits are equal: each pair of parts is
    looked up, and only what agrees there is compared.
    """
    of, among = np.flatnonzero(~keys.flat), np.flatnonzero(~others.flat)
    found: dict[int, int] = {}
    (parts, codes), (other_parts, other_codes) = (
        _packed(k.bits[ids]) for k, ids in ((keys, of), (others, among))
    )
    for a, b in itertools.combinations(range(4), 2):
        half = other_parts[:, a] << 16 | other_parts[:, b]
        order = np.argsort(half, kind="stable")
        codes_there = other_codes[order]
        wanted = parts[:, a] << 16 | parts[:, b]
        begins = np.searchsorted(half[order], wanted)
        ends = np.searchsorted(half[order], wanted, side="right")
        for i in np.flatnonzero(ends > begins).tolist():
            differ = np.bitwise_count(codes_there[begins[i] : ends[i]] ^ codes[i])
            candidates = among[order[begins[i] + np.flatnonzero(differ <= _MAX_BITS)]]
            away = np.abs(keys.grey[of[i]] - others.grey[candidates]).mean(axis=(1, 2))
            if (equal := candidates[away <= _MAX_DIFFERENCE]).size:
                found[int(of[i])] = min(int(equal[0]), found.get(int(of[i]), int(equal[0])))
    ids = np.array(sorted(found), np.int64)
    return ids, np.array([found[i] for i in ids.tolist()], np.int64)


def _packed(bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of bits (N, 64): four parts of 16 bits, int64 (N, 4), and all of them, uint64 (N,)."""
    packed = np.packbits(bits, axis=1)
    return packed.view(np.uint16).astype(np.int64), packed.view(np.uint64)[:, 0]


def _conflicts(splits: Mapping[str, Images], keys: Mapping[str, Keys]) -> Iterator[Finding]:
    """Over all splits, of which each contradiction counts once an image."""
    at = [(split, i) for split, images in splits.items() for i in range(len(images.labels))]
    content = np.concatenate([k.content for k in keys.values()])
    labels = np.concatenate([images.labels for images in splits.values()])
    names = next(iter(splits.values())).class_names
    found = list(conflicts(content, labels))
    places = []
    for pair in found[:NUM_PLACES]:
        one, other = (_place(at[i][0], splits[at[i][0]], at[i][1]) for i in pair)
        classes = " and ".join(names[labels[i]] for i in pair)
        places.append(f"{one} and {other}: {classes}")
    yield Finding("equal images of different classes", len(found), tuple(places), serious=True)


def _classes(splits: Mapping[str, Images]) -> Iterator[Finding]:
    for split, images in splits.items():
        counts = np.bincount(images.labels, minlength=len(images.class_names))
        missing = [images.class_names[i] for i in np.flatnonzero(counts == 0)]
        places = tuple(missing[:NUM_PLACES])
        yield Finding(f"{split}: classes without an image", len(missing), places, serious=True)
        rare = np.flatnonzero((counts > 0) & (counts < FEW))
        places = tuple(f"{images.class_names[i]} ({counts[i]})" for i in rare[:NUM_PLACES])
        yield Finding(f"{split}: classes of fewer than {FEW} images", len(rare), places)


def _left_out(splits: Mapping[str, Images]) -> Iterator[Finding]:
    for split, images in splits.items():
        kinds = sorted(images.left_out.items(), key=lambda kind: (-kind[1], kind[0]))
        places = (f"{n:,} {f'*{kind}' if kind else 'without a name ending'}" for kind, n in kinds)
        what = f"{split}: files of no kind that is read"
        first = tuple(itertools.islice(places, NUM_PLACES))
        yield Finding(what, sum(images.left_out.values()), first)
