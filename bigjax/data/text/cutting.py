"""Owns the rule by which text becomes words, and the tags of these words from annotated spans.

The rule has a name, which a run keeps: what is predicted has to be cut as training was.
"""

import bisect
import functools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

RULE = "unicode-1"
Misaligned = Literal["error", "expand", "drop"]

# Scripts that are written without blanks, as ranges of code points: Thai, Lao, Tibetan, Myanmar,
# Khmer, Tai Le, New Tai Lue, Tai Tham, kana, Bopomofo, Han, Yi, Javanese, Tai Viet, and the planes
# of historic kana and Han.
_WITHOUT_BLANKS = (
    (0x0E00, 0x0FFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x1950, 0x19DF), (0x1A20, 0x1AAF),
    (0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3021, 0x3029), (0x3031, 0x312F), (0x31A0, 0x31BF),
    (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0xA4CF), (0xA980, 0xA9DF), (0xA9E0, 0xA9FF),
    (0xAA60, 0xAADF), (0xF900, 0xFAFF), (0xFF66, 0xFF9D), (0x1AFF0, 0x1B16F), (0x20000, 0x3FFFF),
)  # fmt: skip
# Format characters that belong to the word they stand in: soft hyphen, the two joiners, word
# joiner, and the tags of flags. Others (direction marks, zero-width space) are blank.
_JOINING = "\u00ad\u200c\u200d\u2060" + "".join(map(chr, range(0xE0020, 0xE0080)))


def cut(text: str) -> list[tuple[int, int]]:
    """The words of a text, as [start, end) in characters, by the rule "unicode-1":

    - Blank is what Unicode calls white space, control (Cc) or format (Cf), but the characters that
      join: soft hyphen, zero-width joiner and non-joiner, word joiner, the tags of flags. Blank
      characters are in no word and every other character is in exactly one.
    - Letters (L) and numbers (N) that stand together are one word, with the marks (M) and joining
      characters among and behind them: "naïve", "B2B", "can" and "t" of "can't".
    - A letter of a script that is written without blanks (Han, kana, Thai, Lao, Khmer, Myanmar,
      Tibetan, ...) is a word by itself, with the marks and joining characters behind it.
    - Any other character (punctuation, symbols, what Unicode has not assigned) is a word by itself,
      also with marks behind it.

    General categories are those of Unicode as the running Python has it
    (`unicodedata.unidata_version`).
    """
    pattern = _ascii_words() if text.isascii() else _words()
    return [match.span() for match in pattern.finditer(text)]


class Span(NamedTuple):
    """An annotated piece of a text: [start, end) in characters, and its type."""

    start: int
    end: int
    kind: str


class Tagged(NamedTuple):
    """words and tags (IOB2) of a text. What was met: trimmed and repeated are counts of spans,
    misaligned and wrong say what is wrong with each; of `wrong` ones there are no tags."""

    words: list[str]
    tags: list[str]
    trimmed: int
    repeated: int
    misaligned: list[str]
    wrong: list[str]


def tag_words(text: str, spans: Iterable[Span], *, misaligned: Misaligned) -> Tagged:
    """The words of a text by `cut`, tagged by spans in any order.

    Blank edges of a span are trimmed. A span that starts or ends inside a word is listed, and
    grows to whole words unless `misaligned` is "drop". Two that share a word are listed as wrong,
    and so is one that holds only blanks or does not lie in the text. One that is there twice
    counts once.
    """
    cuts = cut(text)
    starts, ends = [start for start, _ in cuts], [end for _, end in cuts]
    words = [text[start:end] for start, end in cuts]
    tags, owner = ["O"] * len(cuts), {}
    trimmed = repeated = 0
    odd: list[str] = []
    wrong: list[str] = []
    seen: set[Span] = set()
    for span in sorted(spans):
        if span in seen:
            repeated += 1
            continue
        seen.add(span)
        if not 0 <= span.start < span.end <= len(text):
            wrong.append(f"{_shown(span, text)} does not lie in the {len(text)} characters")
            continue
        first = bisect.bisect_right(ends, span.start)
        last = bisect.bisect_left(starts, span.end)  # one past it
        if first >= last:
            wrong.append(f"{_shown(span, text)} holds no word")
            continue
        start, end = max(span.start, starts[first]), min(span.end, ends[last - 1])
        trimmed += (start, end) != (span.start, span.end)
        if (start, end) != (starts[first], ends[last - 1]):
            cut_words = text[starts[first] : ends[last - 1]]
            odd.append(f"{_shown(span, text)} starts or ends inside a word of {cut_words[:60]!r}")
            if misaligned == "drop":
                continue
        other = next((owner[i] for i in range(first, last) if i in owner), None)
        if other is not None:
            how = "overlap" if span.start < other.end else "lie in one word"
            wrong.append(f"{_shown(other, text)} and {_shown(span, text)} {how}")
            continue
        owner.update(dict.fromkeys(range(first, last), span))
        tags[first:last] = [f"B-{span.kind}"] + [f"I-{span.kind}"] * (last - first - 1)
    return Tagged(words, tags, trimmed, repeated, odd, wrong)


def _shown(span: Span, text: str) -> str:
    return f"{span.kind} {text[max(0, span.start) : span.end][:40]!r} ({span.start}, {span.end})"


# --- the rule as regular expressions ---


@functools.cache
def _ascii_words() -> re.Pattern[str]:
    return re.compile(r"[A-Za-z0-9]+|[!-~]")


@functools.cache
def _words() -> re.Pattern[str]:
    """Made from the categories of all characters, which takes a tenth of a second, once."""
    of_kind: dict[str, list[int]] = {"alone": [], "run": [], "behind": [], "blank": []}
    joining = set(map(ord, _JOINING))
    without_blanks = {code for first, last in _WITHOUT_BLANKS for code in range(first, last + 1)}
    # The planes between are not assigned, those behind are private: "any other character".
    for code in (*range(0x40000), *range(0xE0000, 0xE1000)):
        character = chr(code)
        category = unicodedata.category(character)
        if category[0] == "M" or code in joining:
            of_kind["behind"].append(code)
        elif character.isspace() or category in ("Cc", "Cf"):
            of_kind["blank"].append(code)
        elif category[0] == "L":
            of_kind["alone" if code in without_blanks else "run"].append(code)
        elif category[0] == "N":
            of_kind["run"].append(code)
    alone, run, behind, blank = (_ranges(of_kind[kind]) for kind in of_kind)
    return re.compile(f"[{run}][{run}{behind}]*|[{alone}][{behind}]*|[^{blank}][{behind}]*")


def _ranges(codes: Sequence[int]) -> str:
    """The inside of a character class of sorted code points."""
    parts, first = [], codes[0]
    for code, following in zip(codes, [*codes[1:], -1]):
        if following != code + 1:
            parts.append(f"\\U{first:08x}-\\U{code:08x}")
            first = following
    return "".join(parts)
