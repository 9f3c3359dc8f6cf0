"""Owns what a tagger's confidence is worth: its temperature, and how often entities of some score
are right. The scores themselves are `decoding.py`'s."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bigjax.data.text.tags import has_spans, spans
from bigjax.scores import class_scores, temperature
from bigjax.tasks.classes import calibration_section, fitted, tempered
from bigjax.tasks.task import Calibrating, Score, Scores
from bigjax.tasks.token_tagging import decoding
from bigjax.tasks.token_tagging.rows import Split, by_word
from bigjax.tasks.token_tagging.settings import Decoding

Outputs = Mapping[str, np.ndarray]


def calibrating(splits: Mapping[str, Split], *, tags: Sequence[str], how: Decoding) -> Calibrating:
    """A temperature, by the likelihood of words, or with a CRF of sentences; and what it does to
    the scores of predicted entities, or of the words' tags where these mark none."""
    things = "entities" if has_spans(tags) else "words"
    declared = (
        Score("calibration_error", f"Calibration error of {things}", higher_is_better=False),
        Score("calibrated_error", "Calibration error with temperature", higher_is_better=False),
    )

    def fit(split: str, outputs: Outputs) -> dict[str, Any]:
        return fitted(_loss(splits[split], outputs, tags=tags))

    def score(split: str, outputs: Outputs, corrected: Outputs | None) -> Scores:
        predicted = _predicted(splits[split], outputs, tags=tags, how=how)
        before, after = (
            of and _reliability(splits[split], of, predicted, tags=tags, how=how)
            for of in (outputs, corrected)
        )
        if np.isnan(before.error):  # nothing is predicted
            return Scores({}, [])
        scalars = {"calibration_error": before.error, "calibrated_error": (after or before).error}
        confidence = {
            "words": "the probability of the predicted tag",
            "entities": "the score that prediction gives them",
        }[things]
        section = calibration_section(before, things=things, after=after, confidence=confidence)
        return Scores(scalars, [section])

    return Calibrating(fit, tempered, declared, score)


def _loss(split: Split, outputs: Outputs, *, tags: Sequence[str]) -> temperature.Loss:
    logits, transitions = by_word(split, outputs), decoding.transitions_of(outputs)
    if transitions is None:
        return temperature.softmax_loss(logits, labels=split.labels)

    def loss(at: float) -> float:
        divided = (temperature.divided(of, at) for of in (logits, transitions))
        scaled, between = divided
        offsets = split.sentences.words.offsets
        return float(
            decoding.losses(scaled, offsets, split.labels, transitions=between, tags=tags).sum()
        )

    return loss


def _predicted(split: Split, outputs: Outputs, *, tags: Sequence[str], how: Decoding) -> np.ndarray:
    return decoding.decode(
        by_word(split, outputs),
        split.sentences.words.offsets,
        transitions=decoding.transitions_of(outputs),
        tags=tags,
        kind=how.kind,
    )


def _reliability(
    split: Split, outputs: Outputs, predicted: np.ndarray, *, tags: Sequence[str], how: Decoding
) -> class_scores.Calibration:
    """Of predicted entities, each right where exactly it is gold; or of words."""
    logits = by_word(split, outputs)
    if not has_spans(tags):
        confidence = class_scores.softmax(logits)[np.arange(len(predicted)), predicted]
        return class_scores.reliability(confidence, correct=predicted == split.labels)
    found = decoding.entity_scores(
        logits,
        split.sentences.words.offsets,
        predicted,
        transitions=decoding.transitions_of(outputs),
        tags=tags,
        how=how.score,
    )
    each = [
        (entity.score, tuple(entity[:3]) in gold)
        for of_sentence, gold in zip(found, map(set, map(spans, split.sentences.tags)))
        for entity in of_sentence
    ]
    confidence, correct = np.array(each, np.float64).reshape(-1, 2).T
    return class_scores.reliability(confidence, correct=correct)
