"""Owns the scores of parts of a split: by the length of the sentence, by whether training has seen
the entity, by its length, and by the document and the file it is from.

Of training only hashes of its entities are kept with a run: enough to know one again, and no text.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from bigjax.data.text.tags import entity_type, has_spans
from bigjax.errors import UserError
from bigjax.scores import entities
from bigjax.scores.entities import Entities
from bigjax.scores.intervals import Parts
from bigjax.tasks.classes import with_interval
from bigjax.tasks.token_tagging import decoding
from bigjax.tasks.token_tagging.rows import Split

FILE = "train_entities.txt"  # in the run folder: of each entity's words a hash, and its types
MAX_PLACES = 10  # documents and files that are listed, those of the lowest F1

_SENTENCES = ((1, 9), (10, 19), (20, 29), (30, 49), (50, None))  # words, the last included
_ENTITIES = ((1, 1), (2, 2), (3, 3), (4, None))


def kept(train: Split, *, tags: Sequence[str]) -> str | None:
    """What a run keeps of the entities of training, a line each; None where tags mark none."""
    if not has_spans(tags):
        return None
    found = decoding.spans_of(train.labels, train.sentences.words.offsets, tags=tags)
    words, types = train.sentences.words, {}
    for begin, end, tag in zip(found.begins.tolist(), found.ends.tolist(), found.tags.tolist()):
        types.setdefault((*words.ids[begin:end].tolist(),), set()).add(tag)
    kinds = [entity_type(tag) for tag in tags]
    lines = [
        f"{_hash([words.distinct[i] for i in ids])} {','.join(sorted(kinds[tag] for tag in of))}\n"
        for ids, of in types.items()
    ]
    return "".join(sorted(lines))


def read(folder: str) -> str | None:
    """None in a run of before it was kept, and where tags mark no entities.

    Raises:
      UserError: a file that cannot be read.
    """
    path = os.path.join(folder, FILE)
    if not os.path.exists(path):
        return None
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); remove it to score without") from error


def entity_table(
    split: Split, gold: Entities, found: Entities, *, seen: str | None
) -> dict[str, Any]:
    """Scores of each part that has entities, gold or predicted.

    seen: what `kept` gave; None where it is not known.
    """
    by = [
        *_by_sentence_length(split, (gold, found)),
        *(_by_seen(split, (gold, found), seen=seen) if seen is not None else ()),
        *_by_length((gold, found)),
        *_by_document(split, (gold, found)),
        *_by_file(split, (gold, found)),
    ]
    rows = [_row(name, gold, found, masks, split=split) for name, masks in by]
    note = "Each entity, gold or predicted, is in one part of a kind"
    if seen is not None:
        note += "; seen: training has an entity of exactly its words"
    return {
        "kind": "table",
        "title": "Scores of parts",
        "columns": ["part", "gold entities", "precision", "recall", "F1"],
        "rows": list(filter(None, rows)),
        "note": f"{note}.",
    }


def word_table(split: Split, predicted: np.ndarray) -> dict[str, Any]:
    """The accuracy of words by the length of their sentence."""
    lengths, rows = split.sentences.words.lengths, []
    right = np.add.reduceat(
        predicted == split.labels, split.sentences.words.offsets[:-1], dtype=np.int64
    )
    for low, high in _SENTENCES:
        inside = _between(lengths, low, high)
        if inside.any():
            num_words, num_right = lengths[inside], right[inside]
            accuracy = float(num_right.sum() / num_words.sum())
            cell = with_interval(accuracy, Parts.of(num_right, num_words))
            rows.append([f"sentences of {_range(low, high)} words", int(num_words.sum()), cell])
    return {
        "kind": "table",
        "title": "Scores of parts",
        "columns": ["part", "words", "accuracy"],
        "rows": rows,
    }


Masks = tuple[np.ndarray, np.ndarray]  # which of the gold and which of the predicted entities


def _row(
    name: str, gold: Entities, found: Entities, masks: Masks, *, split: Split
) -> list[Any] | None:
    """None where nothing is in the part."""
    gold, found = gold.where(masks[0]), found.where(masks[1])
    num_gold, num_found, correct = len(gold.kind), len(found.kind), int(gold.shared.sum())
    if not num_gold + num_found:
        return None
    parts = entities.f1_parts(gold, found, num_sentences=len(split.sentences.words))
    return [
        name,
        num_gold,
        correct / num_found if num_found else None,
        correct / num_gold if num_gold else None,
        with_interval(2 * correct / (num_gold + num_found), parts),
    ]


def _by_sentence_length(
    split: Split, sides: tuple[Entities, Entities]
) -> Iterator[tuple[str, Masks]]:
    lengths = split.sentences.words.lengths
    for low, high in _SENTENCES:
        masks = (_between(lengths[side.sentence], low, high) for side in sides)
        yield f"sentences of {_range(low, high)} words", tuple(masks)


def _by_length(sides: tuple[Entities, Entities]) -> Iterator[tuple[str, Masks]]:
    for low, high in _ENTITIES:
        words = "1 word" if high == 1 else f"{_range(low, high)} words"
        masks = (_between(side.end - side.begin, low, high) for side in sides)
        yield f"entities of {words}", tuple(masks)


def _by_seen(
    split: Split, sides: tuple[Entities, Entities], *, seen: str
) -> Iterator[tuple[str, Masks]]:
    lines = (line.split(" ") for line in seen.splitlines())
    types_of = {found: types.split(",") for found, types in lines}
    words = split.sentences.words

    def of(side: Entities, is_in: Callable[[Sequence[str], str], bool]) -> np.ndarray:
        places = zip(side.sentence.tolist(), side.begin.tolist(), side.end.tolist())
        hashes = [_hash(words[sentence][begin:end]) for sentence, begin, end in places]
        pairs = zip(hashes, side.kind.tolist())
        return np.array([is_in(types_of.get(found, ()), kind) for found, kind in pairs], bool)

    for name, is_in in (
        ("entities seen in training", lambda types, kind: kind in types),
        ("seen, but only as another type", lambda types, kind: bool(types) and kind not in types),
        ("entities not seen in training", lambda types, kind: not types),  # noqa: ARG005
    ):
        yield name, tuple(of(side, is_in) for side in sides)


def _by_document(split: Split, sides: tuple[Entities, Entities]) -> Iterator[tuple[str, Masks]]:
    origin = split.sentences.origin
    if not origin.document.any():
        return
    of_sentence = (origin.file.astype(np.int64) << 32) + origin.document
    for first, masks in _worst(of_sentence, sides):
        where, line = os.path.basename(origin.paths[origin.file[first]]), origin.line[first]
        yield f"document from {where}:{line}", masks


def _by_file(split: Split, sides: tuple[Entities, Entities]) -> Iterator[tuple[str, Masks]]:
    origin = split.sentences.origin
    for first, masks in _worst(origin.file, sides):
        yield f"file {os.path.basename(origin.paths[origin.file[first]])}", masks


def _worst(
    of_sentence: np.ndarray, sides: tuple[Entities, Entities]
) -> Iterator[tuple[int, Masks]]:
    """The groups of sentences of equal numbers with the lowest F1: the first sentence of each, and
    which entities are in it. Nothing where all are one group."""
    _, first, group = np.unique(of_sentence, return_index=True, return_inverse=True)
    if len(first) < 2:
        return
    gold, found = sides

    def count(sentences: np.ndarray) -> np.ndarray:
        return np.bincount(group[sentences], minlength=len(first))

    total = count(gold.sentence) + count(found.sentence)
    f1 = 2 * count(gold.sentence[gold.shared]) / np.maximum(total, 1)
    listed = [number for number in np.argsort(f1, kind="stable") if total[number]]
    for number in listed[:MAX_PLACES]:
        yield int(first[number]), tuple(group[side.sentence] == number for side in sides)


def _between(values: np.ndarray, low: int, high: int | None) -> np.ndarray:
    return (values >= low) & (values <= high) if high is not None else values >= low


def _range(low: int, high: int | None) -> str:
    return f"{low} or more" if high is None else f"{low}" if low == high else f"{low} to {high}"


def _hash(words: Sequence[str]) -> str:
    text = " ".join(words).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=6).hexdigest()
