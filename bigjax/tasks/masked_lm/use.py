"""Owns a trained model in use: texts with mask tokens as rows, and what it would put there."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bigjax.data.dataset import Batch, Dataset
from bigjax.data.text import packing, windowing
from bigjax.data.text.json_records import TEXT_KEYS, WORD_KEYS
from bigjax.data.text.segmenting import Piece
from bigjax.errors import UserError
from bigjax.tasks.masked_lm import pieces
from bigjax.tasks.masked_lm.pieces import Tokens
from bigjax.tasks.task import JSONL, Encoded, Format, Outputs

ALIAS = "[MASK]"  # is understood whatever the tokenizer calls its mask token


class Prepared(NamedTuple):
    """A text parted at its mask tokens: what is between them. start: the character of its document
    with which it begins; None where it is a whole one. mask: how the token is spelt in it. more:
    what else stood in its record, which its answer keeps."""

    parts: tuple[str, ...]
    start: int | None
    mask: str
    more: Mapping[str, Any]

    def __len__(self) -> int:
        return sum(map(len, self.parts)) + len(self.mask) * (len(self.parts) - 1)


def prepare(given: Any, *, mask: str) -> Prepared:
    """A text, a sentence of a document, a list of words, or a record with one of them.

    Raises:
      UserError: none of these.
    """
    more: Mapping[str, Any] = {}
    if isinstance(given, Mapping):
        names = (*WORD_KEYS, *TEXT_KEYS)
        found = next((name for name in names if given.get(name) is not None), None)
        if found is None:
            keys = ", ".join(map(repr, list(given)[:8])) or "nothing"
            raise UserError(f"expected 'text' in the record, found {keys}")
        # What the answer says itself.
        more = {k: v for k, v in given.items() if k not in (found, "text", "filled", "masks")}
        given = given[found]
    if isinstance(given, list) and all(isinstance(word, str) for word in given):
        given = " ".join(given)
    start = given.start if isinstance(given, Piece) else None
    text = given.text if isinstance(given, Piece) else given
    if not isinstance(text, str):
        raise UserError(f"expected a text, found {type(given).__name__} {str(given)[:60]!r}")
    spelt = mask if mask in text or ALIAS not in text else ALIAS
    return Prepared(tuple(text.split(spelt)), start, spelt, more)


def encode(
    given: Sequence[Prepared], *, tokenizer: Any, mask_id: int, row_length: int, batch_rows: int
) -> Encoded:
    """Texts as rows, and back: an answer has the `text`, the text `filled` with the likeliest
    words, and its `masks`: {start, end, words: [{word, score}]}, with start and end in characters
    of the text, or of the document that it is a sentence of."""
    texts = _tokens(given, tokenizer=tokenizer, mask_id=mask_id)
    windows = pieces.cut(texts, tokenizer=tokenizer, row_length=row_length)
    # Numbers of masks in the place of those of words, and one row's worth for no token at all.
    is_mask = windows.tokens == mask_id
    windows = windows._replace(words=np.where(is_mask, np.cumsum(is_mask) - 1, -1))
    lengths = windows.lengths
    short = packing.short_row(int(lengths.sum()))
    plan = packing.plan(lengths, row_length=min(short, row_length))
    rows = packing.once(plan)
    filled = windowing.fill_rows(
        windows, rows(np.arange(plan.num_rows)), row_length=plan.row_length
    )
    most = max(1, int((filled["words"] >= 0).sum(1).max()))
    num_slots = 1 << (most - 1).bit_length()  # few sizes, each of which is compiled

    def make_rows(numbers: np.ndarray) -> Batch:
        found = windowing.fill_rows(windows, rows(numbers), row_length=plan.row_length)
        masks = found.pop("words") >= 0
        order = np.argsort(~masks, axis=1, kind="stable")[:, :num_slots].astype(np.int32)
        mask = np.take_along_axis(masks, order, axis=1)
        return found | {"slots": np.where(mask, order, 0), "mask": mask}

    def decode(outputs: Outputs) -> list[dict[str, Any]]:
        number = filled["words"][filled["words"] >= 0]
        used = np.arange(outputs["best"].shape[1])[None] < (filled["words"] >= 0).sum(1)[:, None]
        best, scores = (np.empty_like(outputs[name][used]) for name in ("best", "log_prob"))
        best[number], scores[number] = outputs["best"][used], outputs["log_prob"][used]
        words = ([_spelling(tokenizer, i) for i in ids] for ids in best.tolist())
        found = zip(words, np.exp(scores).tolist())
        return [_answer(one, itertools.islice(found, len(one.parts) - 1)) for one in given]

    dataset = Dataset(
        make_rows,
        examples=lambda numbers: [windows.sentences[ids] for ids in rows(numbers)],
        batch_rows=batch_rows,
        num_rows=plan.num_rows,
        num_examples=len(given),
        fill=plan.fill,
        fingerprint="",
    )
    return Encoded(dataset, decode)


def _tokens(given: Sequence[Prepared], *, tokenizer: Any, mask_id: int) -> list[Tokens]:
    """The tokens of each text, mask tokens among them."""
    flat = [_readable(part) for one in given for part in one.parts]
    found = pieces.tokens_of(flat, tokenizer=tokenizer)
    texts = []
    for one in given:
        ids, words, num_words = [], [], 0
        for i in range(len(one.parts)):
            if i:
                ids.append(np.array([mask_id]))
                words.append(np.array([num_words]))
                num_words += 1
            part = next(found)
            ids.append(part.ids)
            words.append(part.words + num_words)
            num_words += int(part.words[-1]) + 1 if len(part.ids) else 0
        texts.append(Tokens(np.concatenate(ids), np.concatenate(words)))
    if not any(len(text.ids) for text in texts):  # something has to be computed
        texts.append(Tokens(np.array([mask_id]), np.array([0])))
    return texts


def _readable(text: str) -> str:
    """Half a character, which no tokenizer takes, as the sign for what is unreadable."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _spelling(tokenizer: Any, token: int) -> str:
    """A token as people read it; WordPiece's "##" says that it goes on with the word before."""
    return tokenizer.decode([token], skip_special_tokens=False).strip()


def _answer(one: Prepared, found: Any) -> dict[str, Any]:
    shift, at, filled, masks = one.start or 0, 0, one.parts[0], []
    for (words, scores), before, after in zip(found, one.parts, one.parts[1:]):
        at += len(before)
        masks.append(
            {
                "start": shift + at,
                "end": shift + at + len(one.mask),
                "words": [
                    {"word": word, "score": round(score, 4)} for word, score in zip(words, scores)
                ],
            }
        )
        at += len(one.mask)
        goes_on = words[0].startswith("##")
        filled = (filled.rstrip() + words[0][2:] if goes_on else filled + words[0]) + after
    answer: dict[str, Any] = {**one.more, "text": one.mask.join(one.parts)}
    if one.start is not None:
        answer |= {"start": one.start, "end": one.start + len(one)}
    return answer | {"filled": filled, "masks": masks}


def _shown(_: Any, answer: Mapping[str, Any]) -> str:
    """The text, and under it what could stand at each mask token, the likeliest first."""
    clean = lambda text: "".join(c if c.isprintable() else " " for c in text)  # noqa: E731
    lines = [clean(answer["text"])]
    for mask in answer["masks"]:
        words = "  ".join(f"{clean(w['word'])} {w['score']:.2f}" for w in mask["words"])
        lines.append(f"    {words}")
    return "\n".join(lines) + "\n"


FORMATS = {"jsonl": JSONL, "terminal": Format(_shown)}
