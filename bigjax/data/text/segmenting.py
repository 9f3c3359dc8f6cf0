"""Owns where the sentences of running text are, also of a text that comes in pieces.

What is a word belongs to `cutting.py`. Tokens of training are mostly sentences, and short rows are
cheap, so a text is given to the model sentence by sentence.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import NamedTuple

MAX_LENGTH = 10_000  # characters of a sentence
_MAX_BLANKS = 1_000  # a longer run of blanks ends any sentence
_CLOSING = "\"'”’»)\\]}›」』】）］｣"
# What may end a sentence: stops and closing marks before blanks; stops of scripts that have no
# blanks; an empty line.
_BOUNDARY = re.compile(
    rf"[.!?…‽؟۔।॥]{{1,8}}[{_CLOSING}]{{0,8}}\s{{1,{_MAX_BLANKS}}}"
    rf"|[。！？｡︒]{{1,8}}[{_CLOSING}]{{0,8}}\s{{0,{_MAX_BLANKS}}}"
    rf"|(?:\r\n|[\r\n])[^\S\r\n]{{0,{_MAX_BLANKS}}}[\r\n]\s{{0,{_MAX_BLANKS}}}"
    rf"|\s{{{_MAX_BLANKS}}}"
)
_LINE_END = re.compile(r"\r\n|[\r\n]")
_AHEAD = 3 * _MAX_BLANKS  # more characters than a boundary has
# Before a full stop: one letter ("J. Smith", "U.S."), or an abbreviation that something follows.
_ABBREVIATED = re.compile(
    r"(?:^|[\s(\[\"'“‘.-])(?:[^\W\d_]|mrs?|ms|dr|prof|st|sr|jr|gen|col|sgt|capt|lt|rev|hon|gov|sen|rep"
    r"|pres|nos?|figs?|eqs?|sec|ch|vol|pp|eds?|vs|cf|al|approx|resp|inc|ltd|corp|co|bros|dept|univ"
    r"|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|bzw|ca|nr|str|usw|mio|mrd|evtl|ggf|vgl|abb"
    r"|mme|mlle|art|sra?)\.$",
    re.IGNORECASE,
)


class Piece(NamedTuple):
    """A sentence of a text, which begins at character `start` of it."""

    start: int
    text: str


def segment(blocks: Iterable[str]) -> Iterator[Piece]:
    """The sentences of a text, without the blanks around them, in order. The text comes in blocks
    of any size, which have no influence on the result, and no more of it is kept than a sentence.

    A sentence ends at an empty line; at stops (. ! ? and those of other scripts) and the closing
    marks behind them, where blanks follow and then no lower-case letter, unless the full stop
    belongs to a single letter or a usual abbreviation; at the stops of scripts without blanks; at
    1,000 blanks; and after 10,000 characters at the latest, at the last blank before that, where
    there is one. A single line end is a blank like any other.
    """
    text, base = "", 0  # `text` begins at character `base`
    for block in blocks:
        text += block
        if len(text) > MAX_LENGTH + 2 * _AHEAD:
            found, used = _split(text, is_end=False)
            yield from (Piece(base + start, sentence) for start, sentence in found)
            text, base = text[used:], base + used
    found, _ = _split(text, is_end=True)
    yield from (Piece(base + start, sentence) for start, sentence in found)


def _split(text: str, *, is_end: bool) -> tuple[list[Piece], int]:
    """The sentences whose end is certain whatever follows `text`, and where the rest begins."""
    found: list[Piece] = []
    start = _without_blanks(text, 0)
    certain = len(text) if is_end else len(text) - MAX_LENGTH - _AHEAD
    while start < len(text) and (start <= certain or is_end):
        end, following = _end_of_sentence(text, start)
        found.append(Piece(start, text[start:end].rstrip()))
        start = _without_blanks(text, following)
    return found, start


def _without_blanks(text: str, start: int) -> int:
    return re.compile(r"\s*").match(text, start).end()


def _end_of_sentence(text: str, start: int) -> tuple[int, int]:
    """Where the sentence that begins at `start` ends, and where what follows it begins."""
    limit = start + MAX_LENGTH
    for match in _BOUNDARY.finditer(text, start):
        if match.start() > limit:
            break
        if _ends_sentence(match.group(), text, start=start, end=match.end()):
            return match.end(), match.end()
    if len(text) <= limit:
        return len(text), len(text)
    blanks = [blank.end() for blank in re.finditer(r"\s", text[start:limit])]
    cut = start + blanks[-1] if blanks else limit
    while not blanks and cut > limit - 50 and unicodedata.category(text[cut])[0] == "M":
        cut -= 1  # a letter keeps its marks
    return cut, cut


def _ends_sentence(boundary: str, text: str, *, start: int, end: int) -> bool:
    mark = boundary.rstrip()
    if len(_LINE_END.findall(boundary, len(mark))) > 1 or len(boundary) >= _MAX_BLANKS:
        return True
    if not mark:
        return False
    if mark[0] in "。！？｡︒":
        return True
    if end < len(text) and text[end].islower():
        return False
    stop = end - len(boundary) + 1
    return not (mark == "." and _ABBREVIATED.search(text[max(start, stop - 12) : stop]))
