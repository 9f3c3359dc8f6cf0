"""Owns sentences of several files as one split, and splits that are made of one: a share for dev,
folds for cross-validation.

Which sentences go where depends on a hash of their words alone, so equal sentences stay together,
and neither the order of the files nor a seed changes it.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from bigjax.data.text.sentences import PRE_SPLIT, Origin, Sentences, Strings
from bigjax.errors import UserError


def join(parts: Sequence[Sentences]) -> Sentences:
    """The sentences of all parts, in order."""
    if len(parts) == 1:
        return parts[0]
    before = np.cumsum([0, *(len(part.origin.paths) for part in parts)])
    rules = {part.origin.rule for part in parts}
    origin = Origin(
        paths=tuple(path for part in parts for path in part.origin.paths),
        file=np.concatenate([p.origin.file + n for p, n in zip(parts, before)]).astype(np.int32),
        line=np.concatenate([part.origin.line for part in parts]),
        begin=np.concatenate([part.origin.begin for part in parts]),
        document=np.concatenate([part.origin.document for part in parts]),
        found=tuple(line for part in parts for line in part.origin.found),
        notes=tuple(note for part in parts for note in part.origin.notes),
        rule=max(rules, key=lambda rule: rule != PRE_SPLIT),
        columns={path: read for part in parts for path, read in part.origin.columns.items()},
    )
    return Sentences(
        words=Strings.of(words for part in parts for words in part.words),
        tags=Strings.of(tags for part in parts for tags in part.tags),
        where=f"{parts[0].where} and {len(parts) - 1} more",
        origin=origin,
    )


def take(sentences: Sentences, ids: np.ndarray, *, where: str) -> Sentences:
    """Those of the numbers `ids`, int64 (n,)."""
    origin = sentences.origin
    of_each = {name: getattr(origin, name) for name in ("file", "line", "begin", "document")}
    origin = origin._replace(**{name: x[ids] for name, x in of_each.items() if len(x)})
    pick = lambda values: Strings.of(values[i] for i in ids.tolist())  # noqa: E731
    return Sentences(pick(sentences.words), pick(sentences.tags), where, origin)


def hold_out(sentences: Sentences, *, fraction: float) -> tuple[Sentences, Sentences]:
    """The sentences without a share of them, and that share, each in the order of the source.

    UserError: the share, or what it leaves, is nothing.
    """
    place = _places(sentences)
    held = place < round(fraction * len(place))
    if held.all() or not held.any():
        raise UserError(
            f"data.dev_fraction={fraction} of the {len(held)} sentences of {sentences.where} is "
            f"{'all' if held.all() else 'none'} of them; expected a share that leaves some to "
            "both, 0 for no dev split, or a file as data.dev"
        )
    rest = take(sentences, np.flatnonzero(~held), where=sentences.where)
    where = f"{fraction:.0%} of {sentences.where}"
    return rest, take(sentences, np.flatnonzero(held), where=where)


def fold(sentences: Sentences, *, number: int, of: int) -> tuple[Sentences, Sentences]:
    """The sentences without fold `number` of `of`, and that fold, each in the order of the source.

    UserError: the fold, or what it leaves, is empty.
    """
    if not 0 <= number < of:
        raise UserError(f"data.fold={number}: expected 0 to {of - 1} of data.folds={of}")
    place = _places(sentences)
    held = place * of // len(place) == number
    if held.all() or not held.any():
        raise UserError(
            f"data.folds={of} of the {len(held)} sentences of {sentences.where} leaves fold "
            f"{number} with {held.sum()}; expected fewer folds"
        )
    rest = take(sentences, np.flatnonzero(~held), where=sentences.where)
    where = f"fold {number} of {of} of {sentences.where}"
    return rest, take(sentences, np.flatnonzero(held), where=where)


def _places(sentences: Sentences) -> np.ndarray:
    """For each sentence its place in the order by the hash of its words, int64 (S,)."""
    return places(np.array([_key(words) for words in sentences.words], np.uint64))


def places(keys: np.ndarray) -> np.ndarray:
    """For each of the hashes uint64 (N,) its place in their order, int64 (N,); equal ones have that
    of the first of them."""
    return np.searchsorted(np.sort(keys), keys)


def _key(words: Sequence[str]) -> int:
    digest = hashlib.blake2b("\x1f".join(words).encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "little")
