"""Owns tags as they are inside bigjax, IOB2 or plain classes of words such as parts of speech, and
the spans that IOB2 means.

How files write them belongs to `schemes.py`, the counts of found entities to `scores/entities.py`.
"""

from collections.abc import Collection, Sequence

from bigjax.data.text.sentences import Sentences
from bigjax.errors import UserError
from bigjax.scores.entities import Span


def spans(tags: Sequence[str]) -> list[Span]:
    """The entities of IOB2 tags, read strictly: B-X begins one and each I-X right after goes on
    with it; an I- that goes on with nothing of its type belongs to none.

    As seqeval reads them with mode="strict", scheme=IOB2. Bare "B" and "I" have the type "_".
    UserError for a tag that is not O, B or I (plain tags, such as parts of speech, have no spans).
    """
    return _spans(tags, openers="B")


def conlleval_spans(tags: Sequence[str]) -> list[Span]:
    """The entities of tags as the conlleval script of CoNLL-2000 reads them: like `spans`, but an
    I- that goes on with nothing of its type begins an entity. So does seqeval by default."""
    return _spans(tags, openers="BI")


def span_tags(kind: str, *, length: int) -> list[str]:
    """The tags of one entity, `length` > 0 words long."""
    return [f"B-{kind}"] + [f"I-{kind}"] * (length - 1)


def entity_type(tag: str) -> str:
    """The type that a B- or I- tag names; "_" where it names none."""
    return tag[2:] or "_"


def has_spans(tags: Collection[str]) -> bool:
    """Whether the tags mark spans (IOB2), and not one class a word (POS)."""
    return all(tag in ("O", "B", "I") or tag[:2] in ("B-", "I-") for tag in tags)


def tag_names(splits: Sequence[Sentences]) -> list[str]:
    """Every tag a model may predict, in a fixed order: "O" first, then B- and I- of each type; tags
    that are not IOB2 (POS) in alphabetical order. UserError where splits differ in kind."""
    of_split = [set(sentences.tags.distinct) for sentences in splits]
    found = set().union(*of_split)
    if not has_spans(found):
        for sentences, tags in zip(splits, of_split):
            if tags != {"O"} and has_spans(tags):
                plain = min(tag for tag in found if not has_spans({tag}))
                raise UserError(
                    f"{sentences.where} marks spans (B-, I-), and another split has plain tags "
                    f"such as {plain!r}; check data.tag_column and data.scheme"
                )
        return sorted(found)
    kinds = sorted({tag[1:] for tag in found if tag != "O"})  # "-PER"; "" where types are unnamed
    return ["O"] + [prefix + kind for kind in kinds for prefix in "BI"]


def _spans(tags: Sequence[str], *, openers: str) -> list[Span]:
    found: list[Span] = []
    start, going_on = 0, None  # going_on: the tag that lengthens the open span
    for i, tag in enumerate(tags):
        if tag == going_on:
            continue
        if going_on is not None:
            found.append((start, i, entity_type(going_on)))
            going_on = None
        if tag == "O":
            continue
        if tag[:2] not in ("B-", "I-", "B", "I"):
            raise UserError(f"entities need tags 'O', 'B-TYPE' and 'I-TYPE', but one is {tag!r}")
        if tag[0] in openers:
            start, going_on = i, "I" + tag[1:]
    if going_on is not None:
        found.append((start, len(tags), entity_type(going_on)))
    return found
