"""Owns tags: the schemes that mark spans, their conversion to IOB2, and the spans that tags mean.

Inside bigjax tags are IOB2 or plain classes of words, such as parts of speech. Where they stand in
a file belongs to its reader, the counts of found entities to `scores/entities.py`.
"""

import functools
import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from bigjax.data.text.sentences import Sentences
from bigjax.errors import UserError, nearest
from bigjax.scores.entities import Span

# The letters that each scheme puts before "-TYPE", and what a letter means in BIOES.
SCHEMES = {
    "iob2": "BI",
    "iob1": "BI",
    "bioes": "BIES",
    "bilou": "BILU",
    "bmewo": "BMEW",
    "bmes": "BMES",
}
_ROLES = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S", "W": "S"}
_MARKED = re.compile(f"([{''.join(_ROLES)}])(?:-(.+))?")


class Fault(NamedTuple):
    """A tag that its scheme does not have, or not where it stands.

    index: of the tag in its sentence.
    """

    sentence: int
    index: int
    message: str


# --- IOB2 -----------------------------------------------------------------------------------------


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
    of_split = [{tag for tags in sentences.tags for tag in tags} for sentences in splits]
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


# --- every scheme ---------------------------------------------------------------------------------


def known_scheme(scheme: str, *, besides: Iterable[str] = ()) -> str:
    """The name of a scheme in lower case; UserError where it is neither one nor one `besides`."""
    valid = (*besides, *SCHEMES)
    if scheme.lower() not in valid:
        raise UserError(f"no tagging scheme {scheme!r}; {nearest(scheme.lower(), valid)}")
    return scheme.lower()


def to_iob2(tags: Sequence[str], *, scheme: str) -> list[str]:
    """The tags of one sentence in IOB2; those of scheme "none" as they are.

    "iob1" is read as conlleval does: I- begins an entity where none of its type goes on, B- always
    does. The other schemes are strict: UserError at the first tag that cannot stand where it does.
    """
    scheme = known_scheme(scheme, besides=["none"])
    if scheme == "none":
        return list(tags)
    converted = [_step(before, tag, scheme=scheme) for before, tag in _pairs(tags)]
    if None in converted:
        fault = next(faults([tags], scheme=scheme))
        raise UserError(f"tag {fault.index + 1} of {len(tags)}: {fault.message}")
    return converted[:-1]


def may_follow(before: str, tag: str, *, scheme: str) -> bool:
    """Whether `tag` may stand right after `before` in a scheme of `SCHEMES`; a sentence stands
    between two "O"."""
    return _step(before, tag, scheme=scheme) is not None


def recognise(sentences: Sequence[Sequence[str]]) -> str | None:
    """The scheme of a whole file: the first that it is valid in, else the first that has all its
    prefixes, or None where no scheme has them all; "none" where the tags are plain.

    They are plain if none begins with "B-" or "I-" and some are outside all schemes ("NN", "PRON"),
    or if they are single letters with neither "B" nor "I" among them.
    """
    pairs = set().union(*map(_pairs, sentences))  # few, and all that validity depends on
    tags = {tag for _, tag in pairs}
    if not any(tag.startswith(("B-", "I-")) for tag in tags):
        unmarked = any(tag != "O" and not _MARKED.fullmatch(tag) for tag in tags)
        if unmarked or not any("-" in tag or tag in ("B", "I") for tag in tags):
            return "none"
    # In IOB1 a B- stands only where an I- would go on with the entity before it.
    parting = all(
        may_follow(before, "I" + tag[1:], scheme="iob2") for before, tag in pairs if tag[0] == "B"
    )
    possible = [scheme for scheme in SCHEMES if all(_parse(tag, scheme)[0] for tag in tags)]
    valid = (
        scheme
        for scheme in possible
        if all(may_follow(*pair, scheme=scheme) for pair in pairs) and (scheme != "iob1" or parting)
    )
    return next(valid, possible[0] if possible else None)


def faults(sentences: Sequence[Sequence[str]], *, scheme: str | None) -> Iterator[Fault]:
    """What does not fit `scheme`, in order; for None, the first tag that no scheme has together
    with those before it, which there must be."""
    if scheme is None:
        yield _first_misfit(sentences)
        return
    for sentence, tags in enumerate(sentences):
        for index, (before, tag) in enumerate(_pairs(tags)):
            if not may_follow(before, tag, scheme=scheme):
                message = _explain(before, tag, scheme=scheme, is_end=index == len(tags))
                yield Fault(sentence, min(index, len(tags) - 1), message)


def _first_misfit(sentences: Sequence[Sequence[str]]) -> Fault:
    possible = list(SCHEMES)
    for sentence, tags in enumerate(sentences):
        for index, tag in enumerate(tags):
            possible = [scheme for scheme in possible if _parse(tag, scheme)[0]]
            if not possible:
                known = ", ".join(
                    f"{name.upper()} ({letters})" for name, letters in SCHEMES.items()
                )
                message = f"tag {tag!r} is in no scheme that has the tags before it; expected one"
                hint = "or give scheme='none' for plain tags"
                return Fault(sentence, index, f"{message} of {known}, {hint}")
    raise AssertionError("every tag fits")


def _explain(before: str, tag: str, *, scheme: str, is_end: bool) -> str:
    if _parse(tag, scheme)[0] is None:
        expected = " or ".join(f"{letter}-TYPE" for letter in SCHEMES[scheme])
        return f"tag {tag!r} is not in {scheme.upper()}; expected O or {expected}"
    if is_end:
        return f"tag {before!r} cannot end a sentence in {scheme.upper()}"
    hint = "; scheme='iob1' would begin an entity with it" if scheme == "iob2" else ""
    return f"tag {tag!r} cannot come after {before!r} in {scheme.upper()}{hint}"


def _pairs(tags: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Each tag with the one before it; the sentence stands between two "O"."""
    return itertools.pairwise(("O", *tags, "O"))


@functools.lru_cache(maxsize=1 << 16)
def _step(before: str, tag: str, *, scheme: str) -> str | None:
    """`tag` in IOB2, or None where `scheme` does not have it, or not right after `before`."""
    (before_role, before_kind), (role, kind) = _parse(before, scheme), _parse(tag, scheme)
    if role is None or before_role is None:
        return None
    is_open = before_role in ("B", "I")
    goes_on = is_open and before_kind == kind
    if scheme == "iob1":
        allowed, begins = True, role == "B" or not goes_on
    elif scheme == "iob2":
        allowed, begins = role != "I" or goes_on, role == "B"
    else:
        allowed, begins = goes_on if role in ("I", "E") else not is_open, role in ("B", "S")
    if not allowed:
        return None
    return tag if role == "O" else ("B" if begins else "I") + tag[1:]


def _parse(tag: str, scheme: str) -> tuple[str | None, str | None]:
    """Role ("O" or one of BIES) and type of a tag; the role is None where the scheme lacks it."""
    if tag == "O":
        return "O", None
    match = _MARKED.fullmatch(tag)
    if match is None or match[1] not in SCHEMES[scheme]:
        return None, None
    return _ROLES[match[1]], match[2]
