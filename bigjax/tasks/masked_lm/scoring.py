"""Owns what a finished pass over held-out text comes to: scores, what was guessed worst, and the
report on the data itself."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bigjax.data.dataset import Dataset
from bigjax.data.findings import Finding, in_order, matches, repeats
from bigjax.scores.intervals import Parts
from bigjax.tasks.masked_lm import documents
from bigjax.tasks.masked_lm.masking import Masking
from bigjax.tasks.masked_lm.pieces import Split
from bigjax.tasks.task import Score, Scores

DECLARED = (
    Score("loss", "Loss", "loss", higher_is_better=False),
    Score("perplexity", "Perplexity", "perplexity", higher_is_better=False),
    Score("masked_accuracy", "Masked accuracy", "accuracy"),
)
HEADLINE = ("perplexity", "masked_accuracy", "loss")
NUM_MISSED = 20


def score(
    split: Split, outputs: Mapping[str, np.ndarray], *, dataset: Dataset, tokenizer: Any,
    mask_id: int,
) -> Scores:  # fmt: skip
    """outputs: log_prob float32 and best int32 (R, S) of all rows in order."""
    batch = dataset.rows(np.arange(dataset.num_rows))
    used = batch["mask"]
    asked, best = batch["asked"][used], outputs["best"][used]
    loss = -outputs["log_prob"][used].astype(np.float64)
    seen = np.take_along_axis(batch["tokens"], batch["slots"], axis=1)[used]
    right = best == asked
    document = _documents(batch, dataset=dataset)
    num = len(split.documents.texts)
    parts = Parts.of(
        np.bincount(document, weights=right, minlength=num),
        np.bincount(document, minlength=num),
    )
    kinds = {
        "the mask token": seen == mask_id,
        "another token": (seen != mask_id) & (seen != asked),
        "the token itself": seen == asked,
    }
    table = {
        "kind": "table",
        "title": "By what the model saw",
        "columns": ["saw", "tokens", "accuracy", "perplexity"],
        "rows": [
            [name, int(of.sum()), float(right[of].mean()), float(np.exp(loss[of].mean()))]
            for name, of in kinds.items()
            if of.any()
        ],
    }
    mean = float(loss.mean()) if len(loss) else float("nan")
    return Scores(
        {"perplexity": float(np.exp(mean))},
        [table, _missed(asked, right=right, loss=loss, best=best, tokenizer=tokenizer)],
        {"masked_accuracy": parts},
    )


def _documents(batch: Mapping[str, np.ndarray], *, dataset: Dataset) -> np.ndarray:
    """int64, of each used slot the document that it is in."""
    row, slot = np.nonzero(batch["mask"])
    segment = batch["segments"][row, batch["slots"][row, slot]]
    examples = dataset.examples(np.arange(dataset.num_rows))
    first = np.cumsum([0, *map(len, examples)])
    return np.concatenate([*examples, np.zeros(0, np.int64)])[first[row] + segment - 1]


def _missed(
    asked: np.ndarray, *, right: np.ndarray, loss: np.ndarray, best: np.ndarray, tokenizer: Any
) -> dict[str, Any]:
    """The tokens on which most of the loss lies."""
    total = np.bincount(asked, weights=loss)
    rows = []
    for token in np.argsort(-total, kind="stable")[:NUM_MISSED].tolist():
        of = asked == token
        if not of.any():
            break
        instead = np.bincount(best[of & ~right]) if (of & ~right).any() else None
        rows.append(
            [
                tokenizer.id_to_token(token),
                int(of.sum()),
                float(right[of].mean()),
                float(total[token] / total.sum()),
                "" if instead is None else tokenizer.id_to_token(int(instead.argmax())),
            ]
        )
    return {
        "kind": "table",
        "title": "Tokens that cost most",
        "columns": ["token", "times", "accuracy", "share of the loss", "mostly taken for"],
        "rows": rows,
    }


def data_report(splits: Mapping[str, Split], *, masking: Masking) -> list[tuple[str, str]]:
    """Rows (name, value) that say what the data is and what became of it."""
    together = ", whole words" if masking.is_whole else ""
    stays = 1 - masking.masked - masking.random
    rows = [
        (
            "hidden",
            f"{masking.share:.1%} of the tokens{together}; {masking.masked:.0%} of them as the "
            f"mask token, {masking.random:.0%} as a random one, {stays:.0%} as they are",
        )
    ]
    for name, split in splits.items():
        texts, windows = split.documents.texts, split.windows
        special = int((windows.words < 0).sum())
        num_words = int(windows.words.max()) + 1
        left_out = split.documents.num_blank + split.num_empty
        rows += [
            (name, split.documents.where),
            (
                f"{name}: size",
                f"{len(texts):,} documents, {sum(map(len, texts)):,} characters, "
                f"{len(windows.tokens) - special:,} tokens"
                + (f"; {left_out:,} without text left out" if left_out else ""),
            ),
            (f"{name}: pieces", f"{len(windows.sentences):,}, of whole words"),
            (
                f"{name}: rows",
                f"{split.packing.num_rows:,} of {split.packing.row_length} tokens, "
                f"{split.packing.fill:.1%} filled, at most "
                f"{masking.num_slots(split.packing.row_length)} hidden in each",
            ),
            (
                f"{name}: unknown",
                f"{windows.num_unknown_words:,} words "
                f"({windows.num_unknown_words / num_words:.2%}) are not known to the tokenizer",
            ),
        ]
    return rows


def findings(splits: Mapping[str, Split]) -> list[Finding]:
    """Documents that are there twice, and those of dev and test that are in train."""
    keys = {
        name: np.array([documents.key(text) for text in split.documents.texts], np.uint64)
        for name, split in splits.items()
    }
    found = []
    for name, own in keys.items():
        again, first = repeats(own)
        places = _pairs(again, first, split=splits[name], names=(name, name))
        found.append(Finding(f"documents of {name} that are there before", len(again), places))
        if name != "train" and "train" in keys:
            here, there = matches(own, among=keys["train"])
            places = _pairs(here, there, split=splits[name], names=(name, "train"))
            what = f"documents of {name} that are in train too"
            found.append(Finding(what, len(here), places, serious=True))
    return in_order(found)


def _pairs(
    here: np.ndarray, there: np.ndarray, *, split: Split, names: tuple[str, str]
) -> tuple[str, ...]:
    return tuple(
        f"{names[0]} document {a + 1} = {names[1]} document {b + 1}: "
        f"{' '.join(split.documents.texts[a].split())[:60]}"
        for a, b in zip(here[:5].tolist(), there[:5].tolist())
    )
