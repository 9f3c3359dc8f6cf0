"""Owns what scores of tags come to: the tags that are predicted, how sure each entity is, and the
loss of each sentence; on the host, in float64, over whole sentences, exactly.

Evaluation and prediction both ask here, so they agree on every entity. Throughout, `logits_WT` are
float (num_words, T) in the order of the text, sentence i is the words `offsets[i]` to before
`offsets[i + 1]`, and `transitions` are None for a linear head, or a CRF's learned scores,
float32 (T + 2, T) as in `models/crf.py`.

Sentences of about the same length are computed together. Suffixes: N place in the sentence, G
sentences of such a group, T tags, W words, S as in `models/crf.py`, E entities.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from bigjax.data.text.schemes import may_follow
from bigjax.data.text.tags import entity_type, has_spans

FORBIDDEN = -1e30  # finite, so that no difference is nan
_CELLS = 2**20  # numbers (N, T, G) held at once, and (T, T, G) below: 8 MB, 2 MB


class Entity(NamedTuple):
    """A span of a sentence, as `data/text/tags.py: spans` has it, and its score, 0 to 1."""

    start: int
    end: int
    kind: str
    score: float


@functools.lru_cache(maxsize=16)
def _allowed(tags: tuple[str, ...]) -> np.ndarray:
    if not has_spans(tags):
        return np.ones((len(tags) + 2, len(tags)), bool)
    # A model of elsewhere may have I-X and no B-X at all: then nothing says where an entity begins.
    free = {tag for tag in tags if tag[0] == "I" and "B" + tag[1:] not in tags}
    follows = lambda before, tag: tag in free or may_follow(before, tag, scheme="iob2")  # noqa: E731
    rows = [[follows(before, tag) for tag in tags] for before in (*tags, "O")]
    return np.array([*rows, [True] * len(tags)])


def allowed(tags: Sequence[str]) -> np.ndarray:
    """Which tag may stand after which, bool (S, T): of IOB2 an I-X only after B-X and I-X, so that
    none begins a sentence; of tags that mark no spans, all."""
    return _allowed(tuple(tags))


def transitions_of(outputs: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """A CRF's scores, of the model's outputs for any rows; None where the head is linear."""
    return outputs["transitions"][0] if "transitions" in outputs else None


def decode(
    logits_WT: np.ndarray,
    offsets: np.ndarray,
    *,
    transitions: np.ndarray | None,
    tags: Sequence[str],
    kind: Literal["viterbi", "argmax"],
) -> np.ndarray:
    """The predicted tag of each word, int64 (num_words,).

    "viterbi": of the sequences that are legal the most probable one (Viterbi 1967), by the product
    of the words' softmaxes, or by the CRF. "argmax": the most probable tag of each word alone, by
    its softmax, or by the CRF's marginals; together they need not be legal. Of equals the first in
    the order of `tags` is taken, from a sentence's last word to its first.
    """
    if transitions is None:
        best_W = logits_WT.argmax(axis=1)
        if kind == "argmax":
            return best_W
        # What is legal and the best of each word is the best of all; most sentences are.
        which = _broken(best_W, offsets, tags=tags)
    else:
        best_W, which = np.zeros(len(logits_WT), np.int64), np.arange(len(offsets) - 1)
    scores_ST = scores(transitions, tags)
    for group in _groups(logits_WT, offsets, which=which):
        if kind == "argmax":
            forward, backward = _forward(group, scores_ST), _backward(group, scores_ST)
            best_NG = (forward + backward).argmax(axis=1)
        else:
            best_NG = _viterbi(group, scores_ST)
        best_W[group.words_NG[group.is_word_NG]] = best_NG[group.is_word_NG]
    return best_W


def entity_scores(
    logits_WT: np.ndarray,
    offsets: np.ndarray,
    predicted: np.ndarray,
    *,
    transitions: np.ndarray | None,
    tags: Sequence[str],
    how: Literal["product", "minimum"],
) -> list[list[Entity]]:
    """The entities of each sentence and how sure they are.

    Of a linear head: the product, or for `how="minimum"` the least, of the softmax of the tags of
    its words. Of a CRF, whatever `how` says: the probability, over all legal sequences, of exactly
    this span with exactly this type, so also that it does not go on (forward-backward).

    Args:
      predicted: what `decode` returned.
    """
    found = spans_of(predicted, offsets, tags=tags)
    if transitions is None:
        scores_E = _linear_scores(logits_WT, predicted, found, how=how)
    else:
        scores_E = _crf_scores(logits_WT, offsets, predicted, found, transitions, tags)
    kinds = [entity_type(tag) for tag in tags]
    entities: list[list[Entity]] = [[] for _ in range(len(offsets) - 1)]
    first = offsets[found.sentences]
    columns = (found.sentences, found.begins - first, found.ends - first, found.tags, scores_E)
    for sentence, start, end, tag, score in zip(*(column.tolist() for column in columns)):
        entities[sentence].append(Entity(start, end, kinds[tag], score))
    return entities


def losses(
    logits_WT: np.ndarray,
    offsets: np.ndarray,
    labels: np.ndarray,
    *,
    transitions: np.ndarray | None,
    tags: Sequence[str],
) -> np.ndarray:
    """The negative log-likelihood of the gold tags of each sentence, float64 (num_sentences,)."""
    found = np.zeros(len(offsets) - 1)
    scores_ST = None if transitions is None else scores(transitions, tags)
    for group in _groups(logits_WT, offsets, which=np.arange(len(offsets) - 1)):
        labels_NG = labels[group.words_NG]
        columns = np.arange(len(group.sentences))
        of_gold_NG = np.take_along_axis(group.emissions_NTG, labels_NG[:, None], axis=1)[:, 0]
        gold_G = of_gold_NG.sum(axis=0, where=group.is_word_NG)
        total_G = np.zeros(len(columns))
        if scores_ST is not None:
            gold_G += scores_ST[-2, labels_NG[0]]
            gold_G += scores_ST[-1, labels_NG[group.lengths_G - 1, columns]]
            steps_NG = scores_ST[labels_NG[:-1], labels_NG[1:]]
            gold_G += steps_NG.sum(axis=0, where=group.is_word_NG[1:])
            total_G = _total(_forward(group, scores_ST), group, scores_ST)
        found[group.sentences] = total_G - gold_G
    return found


# --- groups of sentences --------------------------------------------------------------------------


class _Group(NamedTuple):
    """Sentences, the longest first: so those that have a place n are the first `counts_N[n]`.

    sentences, lengths_G: their numbers and lengths. words_NG: the number of each word, the last
    again where a sentence has ended. is_word_NG: where it has not.
    emissions_NTG: log-probabilities of the words' softmaxes.
    """

    sentences: np.ndarray
    lengths_G: np.ndarray
    counts_N: list[int]
    words_NG: np.ndarray
    is_word_NG: np.ndarray
    emissions_NTG: np.ndarray


def _groups(logits_WT: np.ndarray, offsets: np.ndarray, *, which: np.ndarray) -> Iterator[_Group]:
    """The sentences `which` that have words, in groups of bounded size; a single sentence is one
    however long it is."""
    lengths = np.diff(offsets)[which]
    order = np.argsort(-lengths, kind="stable")
    which, lengths = which[order], lengths[order]
    num_tags, begin, end = logits_WT.shape[1], 0, int((lengths > 0).sum())
    while begin < end:
        longest = int(lengths[begin])
        size = max(1, min(_CELLS // (longest * num_tags), _CELLS // 4 // num_tags**2))
        part = slice(begin, min(begin + size, end))
        begin = part.stop
        places_N, lengths_G = np.arange(longest), lengths[part]
        is_word_NG = places_N[:, None] < lengths_G
        words_NG = offsets[which[part]] + np.minimum(places_N[:, None], lengths_G - 1)
        emissions_NTG = np.ascontiguousarray(logits_WT[words_NG].transpose(0, 2, 1), np.float64)
        emissions_NTG -= _log_sum_exp(emissions_NTG, axis=1)[:, None]
        counts_N = is_word_NG.sum(axis=1).tolist()
        yield _Group(which[part], lengths_G, counts_N, words_NG, is_word_NG, emissions_NTG)


def scores(transitions: np.ndarray | None, tags: Sequence[str]) -> np.ndarray:
    """float64 (S, T)."""
    legal_ST = allowed(tags)
    learned_ST = 0.0 if transitions is None else transitions.astype(np.float64)
    return np.where(legal_ST, learned_ST, FORBIDDEN)


def _broken(best_W: np.ndarray, offsets: np.ndarray, *, tags: Sequence[str]) -> np.ndarray:
    """The sentences whose tags are not legal."""
    before_W = np.r_[0, best_W[:-1]]
    before_W[offsets[:-1][np.diff(offsets) > 0]] = len(tags)
    wrong = np.flatnonzero(~allowed(tags)[before_W, best_W])
    return np.unique(np.searchsorted(offsets, wrong, side="right") - 1)


# --- over sequences -------------------------------------------------------------------------------


def _viterbi(group: _Group, scores_ST: np.ndarray) -> np.ndarray:
    """The best tags (N, G), by max and not by sum, then back along the choices."""
    between_TT, start_T, end_T = scores_ST[:-2], scores_ST[-2], scores_ST[-1]
    best_NTG = group.emissions_NTG.copy()
    best_NTG[0] += start_T[:, None]
    for n, count in enumerate(group.counts_N[1:], 1):
        before_TG = best_NTG[n - 1, :, :count]
        best_NTG[n, :, :count] += (before_TG[:, None] + between_TT[:, :, None]).max(axis=0)
    path_NG = np.zeros(group.words_NG.shape, np.int64)
    onward = 0  # sentences that have a word after place n
    for n in range(len(path_NG) - 1, -1, -1):
        count = group.counts_N[n]
        if onward:
            ways_TG = best_NTG[n, :, :onward] + between_TT[:, path_NG[n + 1, :onward]]
            path_NG[n, :onward] = ways_TG.argmax(axis=0)
        if count > onward:
            ways_TG = best_NTG[n, :, onward:count] + end_T[:, None]
            path_NG[n, onward:count] = ways_TG.argmax(axis=0)
        onward = count
    return path_NG


def _forward(group: _Group, scores_ST: np.ndarray) -> np.ndarray:
    """(N, T, G): the log of the summed weight of all beginnings that end in a tag, which counts."""
    between_TT = scores_ST[:-2]
    forward_NTG = group.emissions_NTG.copy()
    forward_NTG[0] += scores_ST[-2][:, None]
    for n, count in enumerate(group.counts_N[1:], 1):
        ways_TTG = forward_NTG[n - 1, :, None, :count] + between_TT[:, :, None]
        forward_NTG[n, :, :count] += _log_sum_exp(ways_TTG, axis=0)
    return forward_NTG


def _backward(group: _Group, scores_ST: np.ndarray) -> np.ndarray:
    """(N, T, G): that of all that can follow a tag, which does not count itself."""
    between_TT, end_T = scores_ST[:-2], scores_ST[-1]
    backward_NTG = np.zeros_like(group.emissions_NTG)
    onward = 0
    for n in range(len(backward_NTG) - 1, -1, -1):
        if onward:
            after_TG = backward_NTG[n + 1, :, :onward] + group.emissions_NTG[n + 1, :, :onward]
            ways_TTG = between_TT.T[:, :, None] + after_TG[:, None]
            backward_NTG[n, :, :onward] = _log_sum_exp(ways_TTG, axis=0)
        backward_NTG[n, :, onward:] = end_T[:, None]
        onward = group.counts_N[n]
    return backward_NTG


def _total(forward_NTG: np.ndarray, group: _Group, scores_ST: np.ndarray) -> np.ndarray:
    """(G,): the log of the summed weight of all sequences."""
    last_GT = forward_NTG[group.lengths_G - 1, :, np.arange(len(group.sentences))]
    return _log_sum_exp(last_GT + scores_ST[-1], axis=1)


def _log_sum_exp(values: np.ndarray, *, axis: int) -> np.ndarray:
    most = values.max(axis=axis, keepdims=True)
    return np.log(np.exp(values - most).sum(axis=axis)) + most.squeeze(axis)


# --- entities -------------------------------------------------------------------------------------


class Spans(NamedTuple):
    """Of each entity its sentence, its first word and one past its last, counted over the split,
    and the tag of its first word, all int64 (E,)."""

    sentences: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    tags: np.ndarray


def spans_of(predicted: np.ndarray, offsets: np.ndarray, *, tags: Sequence[str]) -> Spans:
    """As `data/text/tags.py: spans` of each sentence; none where tags mark no spans. An I- whose B-
    is not among the tags begins an entity too."""
    none = np.zeros(0, np.int64)
    if not has_spans(tags) or not len(predicted):
        return Spans(none, none, none, none)
    inside = np.array([tag[0] == "I" for tag in tags])
    names = [tag[1:] if tag != "O" else None for tag in tags]
    kinds = np.array([names.index(name) for name in names])
    goes_on = inside[predicted] & np.r_[False, kinds[predicted[1:]] == kinds[predicted[:-1]]]
    goes_on[offsets[:-1][np.diff(offsets) > 0]] = False
    begins = np.flatnonzero(~goes_on)
    ends = np.r_[begins[1:], len(predicted)]
    opens = np.array([tag[0] == "B" or "B" + tag[1:] not in tags for tag in tags])
    opens &= np.array(tags) != "O"
    is_entity = opens[predicted[begins]]
    begins, ends = begins[is_entity], ends[is_entity]
    sentences = np.searchsorted(offsets, begins, side="right") - 1
    return Spans(sentences, begins, ends, predicted[begins])


def _linear_scores(
    logits_WT: np.ndarray, predicted: np.ndarray, found: Spans, *, how: str
) -> np.ndarray:
    words, firsts = _words_of(found)
    if not len(words):
        return np.zeros(0)
    values_WT = logits_WT[words].astype(np.float64)
    logs = values_WT[np.arange(len(words)), predicted[words]] - _log_sum_exp(values_WT, axis=1)
    together = np.minimum if how == "minimum" else np.add
    return np.exp(together.reduceat(logs, firsts))


def _crf_scores(
    logits_WT: np.ndarray,
    offsets: np.ndarray,
    predicted: np.ndarray,
    found: Spans,
    transitions: np.ndarray,
    tags: Sequence[str],
) -> np.ndarray:
    scores_ST, scores_E = scores(transitions, tags), np.zeros(len(found.begins))
    number = {tag: i for i, tag in enumerate(tags)}
    inside = np.array([number.get("I" + tag[1:], 0) for tag in tags])  # what would go on with it
    for group in _groups(logits_WT, offsets, which=np.unique(found.sentences)):
        place_of = np.full(len(offsets) - 1, -1)
        place_of[group.sentences] = np.arange(len(group.sentences))
        own = np.flatnonzero(place_of[found.sentences] >= 0)
        some = Spans(*(column[own] for column in found))
        at_E = place_of[some.sentences]
        begins_E, ends_E = (x - offsets[some.sentences] for x in (some.begins, some.ends))
        forward, backward = _forward(group, scores_ST), _backward(group, scores_ST)

        words, firsts = _words_of(some)
        entity = np.repeat(np.arange(len(own)), some.ends - some.begins)
        place = words - offsets[some.sentences[entity]]
        steps = group.emissions_NTG[place, predicted[words], at_E[entity]]
        steps += scores_ST[predicted[words - 1], predicted[words]]
        steps[firsts] = forward[begins_E, some.tags, at_E]
        last = predicted[some.ends - 1]
        is_end_E = ends_E == group.lengths_G[at_E]
        next_E = np.minimum(ends_E, group.lengths_G[at_E] - 1)
        ways_ET = scores_ST[last] + (group.emissions_NTG + backward)[next_E, :, at_E]
        ways_ET[np.arange(len(own)), inside[last]] = FORBIDDEN
        leaves_E = np.where(is_end_E, scores_ST[-1, last], _log_sum_exp(ways_ET, axis=1))
        logs = np.add.reduceat(steps, firsts) + leaves_E
        logs -= _total(forward, group, scores_ST)[at_E]
        scores_E[own] = np.exp(np.minimum(logs, 0.0))
    return scores_E


def _words_of(found: Spans) -> tuple[np.ndarray, np.ndarray]:
    """The words of all entities one after the other, and where among them each entity begins."""
    sizes = found.ends - found.begins
    firsts = np.cumsum(sizes) - sizes
    return np.arange(sizes.sum()) + np.repeat(found.begins - firsts, sizes), firsts
