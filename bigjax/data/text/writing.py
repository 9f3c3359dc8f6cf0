"""Owns tagged sentences as files again: CoNLL columns, and JSON lines with offsets. What is written
is read back equal by `recognise.py`."""

import json
import re
from collections.abc import Iterator

from bigjax.data.text.cutting import RULE
from bigjax.data.text.sentences import Sentences
from bigjax.data.text.tags import has_spans, spans
from bigjax.errors import UserError


def conll_lines(sentences: Sentences) -> Iterator[str]:
    """A word and its tag a line, parted by a tab, and an empty line after each sentence.

    UserError: a word that a column file cannot hold: with a tab or a line end, blank, with blanks
    at its edges, or one that begins a document.
    """
    for words, tags in zip(sentences.words, sentences.tags, strict=True):
        for word, tag in zip(words, tags, strict=True):
            if word != word.strip(" ") or re.search(r"[\t\r\n]|(^|\s)-DOCSTART-|^\s*$", word):
                where = f"{sentences.where}: the word {word!r}"
                raise UserError(f"{where} does not fit into a column file; write JSON lines")
            yield f"{word}\t{tag}\n"
        yield "\n"


def jsonl_lines(sentences: Sentences) -> Iterator[str]:
    """An object a sentence, a line each: its words parted by blanks as `text`, and its entities as
    `spans` [{start, end, label}] with offsets in characters.

    Where the text does not tell the words, because they were not cut by `cutting.py`, or the spans
    do not tell the tags, because these are plain, they are there too (`tokens`, `tags`).
    """
    kinds = {tag for tags in sentences.tags for tag in tags}
    whole = sentences.origin.rule == RULE and has_spans(kinds)
    for words, tags in zip(sentences.words, sentences.tags, strict=True):
        record = {"text": " ".join(words)}
        if has_spans(kinds):
            starts = [0]
            for word in words:
                starts.append(starts[-1] + len(word) + 1)
            record["spans"] = [
                {"start": starts[first], "end": starts[end] - 1, "label": kind}
                for first, end, kind in spans(tags)
            ]
        if not whole:
            record |= {"tokens": list(words), "tags": list(tags)}
        yield json.dumps(record, ensure_ascii=False) + "\n"
