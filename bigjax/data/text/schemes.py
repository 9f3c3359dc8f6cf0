"""Owns tags as annotation tools write them: which scheme a file follows and how it spells it, what
breaks the scheme, and the tags in IOB2.

Spelt may be "B-PER", "b-per", "B_PER" or "PER-B"; or "B", "I" and "O" alone; or "PER" and "O".
Reading files belongs to their formats, the entities of IOB2 tags to `tags.py`.
"""

import functools
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, get_args

from bigjax.errors import UserError, nearest

# The letters that each scheme puts before "-TYPE", and what a letter means in BIOES.
_LETTERS = {
    "iob2": "BI",
    "iob1": "BI",
    "bioes": "BIES",
    "bilou": "BILU",
    "bmewo": "BMEW",
    "bmes": "BMES",
}
_ROLES = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S", "W": "S"}
_ANY = "".join(_ROLES)
_MARKED = re.compile(f"([{_ANY}])(?:-(.+))?")
Scheme = Literal["auto", "none", "io", "iob1", "iob2", "bioes", "bilou", "bmewo", "bmes"]
SCHEMES = get_args(Scheme)

# Tags that no scheme for entities has: a file with one of them holds parts of speech, however
# frequent its "O" may be.
_PARTS_OF_SPEECH = frozenset(
    ["ADJ", "ADP", "DET", "NOUN", "PROPN", "PUNCT", "VERB", "DT", "IN", "JJ", "NN", "NNP", "VB"]
)


class Spelling(NamedTuple):
    """example: for messages. outside: the tags of words in no entity. pattern: matches one tag as
    written; its groups "letter" and "kind" are the prefix and the type."""

    example: str
    outside: str
    pattern: re.Pattern[str]


_SPELLINGS = (
    Spelling("B-TYPE", "O", re.compile(f"(?P<letter>[{_ANY}])(?:-(?P<kind>.+))?")),
    Spelling("b-type", "oO", re.compile(f"(?P<letter>[{_ANY.lower()}])(?:-(?P<kind>.+))?")),
    Spelling("B_TYPE", "O", re.compile(f"(?P<letter>[{_ANY}])_(?P<kind>.+)")),
    Spelling("b_type", "oO", re.compile(f"(?P<letter>[{_ANY.lower()}])_(?P<kind>.+)")),
    Spelling("TYPE-B", "O", re.compile(f"(?P<kind>.+)-(?P<letter>[{_ANY}])")),
    Spelling("TYPE_B", "O", re.compile(f"(?P<kind>.+)_(?P<letter>[{_ANY}])")),
)
_USUAL = _SPELLINGS[0]


class Slip(NamedTuple):
    """A tag that breaks the scheme: the number of its sentence, its place there, what is wrong."""

    sentence: int
    index: int
    message: str


class Iob2(NamedTuple):
    """tags: of each sentence, in IOB2, or plain where `scheme` is "none".
    scheme, spelling: what was followed, and how it is spelt, as `Spelling.example`.
    slips: where it was not followed, in order; the tags are what conlleval would see there.
    """

    tags: list[list[str]]
    scheme: str
    spelling: str
    slips: list[Slip]


def to_iob2(sentences: Sequence[Sequence[str]], *, scheme: str = "auto") -> Iob2:
    """The tags of a whole file in IOB2.

    scheme: "iob1", "iob2", "bioes", "bilou", "bmewo", "bmes"; "io", in which a tag is a type or "O"
    and neighbours of one type are one entity; "none" leaves plain tags, such as parts of speech, as
    they are; "auto" looks at all tags. Capitals may be used too.

    - A file is plain if no tag begins with "B-" or "I-" in any spelling, and some are outside all
      schemes ("NN"), or if its tags are single letters with neither "B" nor "I" among them.
    - It is IO if it would be plain, but "O" is more frequent than any other tag, some are longer
      than a letter, and none is a well-known part of speech.
    - Any other file follows the first scheme that all its tags are legal in: IOB2 before IOB1,
      which has "B-" only to part two neighbours of one type. Where none is, it is that with the
      fewest tags of other schemes, and the slips say where it is broken.

    A slip is read as the conlleval script of CoNLL-2000 reads it: an "I-" with nothing of its type
    before it begins an entity, and a tag of no scheme is an entity without a type.

    UserError: no such scheme.
    """
    scheme = scheme.lower()
    if scheme not in SCHEMES:
        raise UserError(f"no tagging scheme {scheme!r}; {nearest(scheme, SCHEMES)}")
    counts = Counter(itertools.chain.from_iterable(sentences))
    spelling = _spelling(counts)
    if scheme == "auto" and spelling is _USUAL and _is_plain(counts):
        scheme = "io" if _is_io(counts) else "none"
    if scheme == "none":
        return Iob2([list(tags) for tags in sentences], "none", "", [])
    if scheme == "io":
        return Iob2(_converted(sentences, step=_io_step), "io", "TYPE", [])
    names = {tag: _usual(tag, spelling) for tag in counts}
    if spelling is not _USUAL:
        sentences = [[names[tag] for tag in tags] for tags in sentences]
    pairs = set().union(*map(_pairs, sentences))  # few, and all that validity depends on
    if scheme == "auto":
        scheme = _followed(pairs, counts=Counter({names[tag]: n for tag, n in counts.items()}))
    written = {usual: tag for tag, usual in names.items()}
    slips = list(_slips(sentences, pairs, scheme=scheme, written=written))
    step = functools.partial(_step, scheme=scheme)
    lenient = functools.partial(_lenient_step, scheme=scheme)
    tags = _converted(sentences, step=lenient if slips else step)
    return Iob2(tags, scheme, spelling.example, slips)


def may_follow(before: str, tag: str, *, scheme: str) -> bool:
    """Whether `tag` may stand right after `before` in a scheme ("iob2", ...), both spelt as in
    "B-TYPE"; a sentence stands between two "O"."""
    return _step(before, tag, scheme=scheme) is not None


# --- recognition ---


def _spelling(counts: Mapping[str, int]) -> Spelling:
    """The usual one unless no tag begins with "B-" or "I-" in it, and nine of ten words in entities
    are spelt in another, of which the one with the most is taken."""
    if any(tag.startswith(("B-", "I-")) for tag in counts):
        return _USUAL
    shares = {}
    for spelling in _SPELLINGS[1:]:
        found = {
            tag: spelling.pattern.fullmatch(tag) for tag in counts if tag not in spelling.outside
        }
        letters = {match["letter"].upper() for match in found.values() if match}
        matching = sum(counts[tag] for tag, match in found.items() if match)
        if letters & {"B", "I"} and matching >= 0.9 * sum(counts[tag] for tag in found):
            shares[spelling] = matching
    return max(shares, key=shares.__getitem__, default=_USUAL)


def _usual(tag: str, spelling: Spelling) -> str:
    """A tag in the usual spelling; one that is not in `spelling` stays."""
    if tag in spelling.outside:
        return "O"
    match = spelling.pattern.fullmatch(tag)
    if match is None:
        return tag
    return match["letter"].upper() + ("" if match["kind"] is None else f"-{match['kind']}")


def _is_plain(counts: Mapping[str, int]) -> bool:
    if any(tag.startswith(("B-", "I-")) for tag in counts):
        return False
    unmarked = any(tag != "O" and not _MARKED.fullmatch(tag) for tag in counts)
    return unmarked or not any("-" in tag or tag in ("B", "I") for tag in counts)


def _is_io(counts: Mapping[str, int]) -> bool:
    kinds = [tag for tag in counts if tag != "O"]
    if "O" not in counts or not any(len(tag) > 1 for tag in kinds):
        return False
    most = max(counts[tag] for tag in kinds)
    return counts["O"] > most and not _PARTS_OF_SPEECH.intersection(kinds)


def _followed(pairs: set[tuple[str, str]], *, counts: Mapping[str, int]) -> str:
    # In IOB1 a B- stands only where an I- would go on with the entity before it.
    parting = all(
        _step(before, "I" + tag[1:], scheme="iob2")
        for before, tag in pairs
        if tag[0] == "B" and _parse(tag, "iob2")[0] and _parse(before, "iob2")[0]
    )
    foreign = {
        scheme: sum(n for tag, n in counts.items() if _parse(tag, scheme)[0] is None)
        for scheme in _LETTERS
        if scheme != "iob1" or parting
    }
    fewest = min(foreign.values())
    possible = [scheme for scheme, number in foreign.items() if number == fewest]
    legal = (
        scheme
        for scheme in possible
        if all(
            _step(*pair, scheme=scheme)
            for pair in pairs
            if all(_parse(tag, scheme)[0] is not None for tag in pair)
        )
    )
    return next(legal, possible[0])


# --- slips ---


def _slips(
    sentences: Sequence[Sequence[str]],
    pairs: set[tuple[str, str]],
    *,
    scheme: str,
    written: Mapping[str, str],
) -> Iterator[Slip]:
    wrong = {pair for pair in pairs if not _step(*pair, scheme=scheme)}
    if not wrong:
        return
    for sentence, tags in enumerate(sentences):
        for index, (before, tag) in enumerate(_pairs(tags)):
            if (before, tag) not in wrong:
                continue
            is_end = index == len(tags)
            if _parse(before, scheme)[0] is None and (
                is_end or _step("O", tag, scheme=scheme) is not None
            ):
                continue  # the tag before has been told, and it alone is wrong
            message = _explain(before, tag, scheme=scheme, is_end=is_end, written=written)
            yield Slip(sentence, min(index, len(tags) - 1), message)


def _explain(
    before: str, tag: str, *, scheme: str, is_end: bool, written: Mapping[str, str]
) -> str:
    shown, shown_before = (repr(written.get(name, name)) for name in (tag, before))
    if _parse(tag, scheme)[0] is None:
        expected = " or ".join(f"{letter}-TYPE" for letter in _LETTERS[scheme])
        return f"tag {shown} is not in {scheme.upper()}; expected O or {expected}"
    if is_end:
        return f"tag {shown_before} cannot end a sentence in {scheme.upper()}"
    return f"tag {shown} cannot come after {shown_before} in {scheme.upper()}"


# --- conversion ---

Step = Callable[[str, str], str | None]


def _pairs(tags: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Each tag with the one before it; the sentence stands between two "O"."""
    return itertools.pairwise(("O", *tags, "O"))


def _converted(sentences: Sequence[Sequence[str]], *, step: Step) -> list[list[str]]:
    step = functools.cache(step)
    return [[step(*pair) for pair in itertools.pairwise(("O", *tags))] for tags in sentences]


def _io_step(before: str, tag: str) -> str:
    if tag == "O":
        return tag
    return f"{'I' if tag == before else 'B'}-{tag}"


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


def _lenient_step(before: str, tag: str, *, scheme: str) -> str:
    """As `_step`, and where that has no answer as conlleval: an entity begins where its type is not
    that of the entity before, or nothing is open."""
    found = _step(before, tag, scheme=scheme)
    if found is not None:
        return found
    (before_role, before_kind), (role, kind) = _loosely(before), _loosely(tag)
    if role == "O":
        return "O"
    goes_on = before_role in ("B", "I") and before_kind == kind and role in ("I", "E")
    return ("I" if goes_on else "B") + (f"-{kind}" if kind else "")


def _loosely(tag: str) -> tuple[str, str | None]:
    """Role and type of a tag of any scheme, as conlleval takes it apart; one of none at all is the
    inside of an entity that has no type."""
    role, kind = _parse(tag, scheme=None)
    return ("I", None) if role is None else (role, kind)


@functools.lru_cache(maxsize=1 << 16)
def _parse(tag: str, scheme: str | None) -> tuple[str | None, str | None]:
    """Role ("O" or one of BIES) and type of a tag; the role is None where the scheme lacks it."""
    if tag == "O":
        return "O", None
    match = _MARKED.fullmatch(tag)
    if match is None or match[1] not in (_ANY if scheme is None else _LETTERS[scheme]):
        return None, None
    return _ROLES[match[1]], match[2]
