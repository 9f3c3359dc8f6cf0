"""Owns the embedded default corpus: English news sentences with PER, ORG, LOC and MISC, drawn from
a grammar, and the noise a user may put on its training labels.

The grammar and the names are data and belong to `news_names.py`, which explains their notation;
turning words into model inputs belongs to `text.py`.

Two things make the corpus a test of reading and not of memory. Each name belongs to one split
only, so no name of the test sentences was ever seen in training; and many a name is also another
type's name or a plain word ("Lincoln", "Reading", "May"), so that only its context tells. A seventh
of the sentence templates is kept for dev and test. Labels follow the habits of CoNLL-2003 (a city
that stands for its government is LOC, for its team ORG; nationalities, events and works are MISC).
"""

import collections
import functools
import itertools
import random
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from bigjax.data.text import news_names
from bigjax.data.text.sentences import Sentences, collect, with_classes
from bigjax.data.text.tags import span_tags, spans
from bigjax.errors import UserError

TYPES = tuple(news_names.ENTITIES)

# The shares in which each list of names is dealt out to the splits.
_SHARES = {"train": 0.6, "test": 0.25, "dev": 0.15}
# Every seventh template of a topic is left out of training, counted from the fourth.
_HELD_OUT_EVERY, _HELD_OUT_FROM = 7, 3

_TYPE_OF = {
    symbol: kind for kind, symbols in news_names.ENTITIES.items() for symbol in symbols.split()
}
_GENERIC = frozenset(news_names.GENERIC.split())

_NUMBER = re.compile(r"([^#]*)#(\d+)-(\d+)(.*)")
# What "a" becomes "an" before: "eighteen", "hour", but not "European", "one-off", "Ukrainian".
_VOWEL_SOUND = re.compile(r"(?!eu|on(e|ce)|u[gkr]|uni|us)[aeiou]|8|1[18](?!\d)|hour", re.IGNORECASE)
_SENTENCE_ENDS = frozenset((".", '"', "?", ")"))
_AFTER_NO_COMMA = frozenset((",", ".", ";", ":", ")", "?"))


class _Symbol(NamedTuple):
    name: str
    slot: str


class _Number(NamedTuple):
    before: str
    low: int
    high: int
    after: str


_Production = tuple[str | _Symbol | _Number, ...]


class _Draft(NamedTuple):
    """A sentence being written; `chosen` keeps what is to come again, or must not."""

    random: Callable[[], float]
    words: list[str]
    tags: list[str]
    chosen: dict


def read(
    *,
    num_train: int = 5000,
    num_dev: int = 500,
    num_test: int = 1000,
    seed: int = 0,
    label_noise: float = 0.0,
) -> dict[str, Sentences]:
    """The embedded corpus: the splits "train", "dev" and "test".

    A sentence is a pure function of (seed, split, index), so a smaller corpus is a prefix of a
    larger one. `label_noise` is the share of the training entities whose label is corrupted: given
    another type, a shifted boundary or dropped, each as likely. It leaves the sentences as they
    are, and the entities corrupted at one level are also corrupted, alike, at every higher one as
    long as no neighbour stands in the way.

    Raises UserError for a negative size or for noise outside [0, 1].
    """
    sizes = {"train": num_train, "dev": num_dev, "test": num_test}
    for split, size in sizes.items():
        if size < 0:
            raise UserError(f"news corpus: num_{split} is {size}; expected 0 sentences or more")
    if not 0 <= label_noise <= 1:
        raise UserError(
            f"news corpus: label_noise is {label_noise}; expected the share of training entities to"
            " corrupt, from 0 (clean) to 1 (all)"
        )

    def written(split: str) -> Iterator[tuple[list[str], list[str]]]:
        for index in range(sizes[split]):
            words, tags = _write(seed=seed, split=split, index=index)
            if split == "train" and label_noise > 0:
                stream = random.Random(f"{seed}/label noise/{index}")
                tags = _corrupt(tags, draw=stream.random, share=label_noise)
            yield words, tags

    return {split: collect(written(split), where=f"embedded news:{split}") for split in sizes}


def read_topics(
    *, num_train: int = 1000, num_dev: int = 500, num_test: int = 2000, seed: int = 0
) -> dict[str, Sentences]:
    """Sentences of the embedded corpus that are about one topic, each with that as its only tag:
    the first of them, so a smaller corpus is a prefix of a larger one.

    A split has sentence forms and names that training has not, and few words tell a topic by
    themselves: counting words of a thousand sentences gets four of five right.

    Raises UserError for a negative size.
    """
    sizes = {"train": num_train, "dev": num_dev, "test": num_test}

    def written(split: str) -> Iterator[tuple[list[str], list[str]]]:
        numbers = (i for i in itertools.count() if _topic(seed=seed, split=split, index=i))
        for index in itertools.islice(numbers, sizes[split]):
            words, _ = _write(seed=seed, split=split, index=index)
            yield words, [_topic(seed=seed, split=split, index=index)]

    for split, size in sizes.items():
        if size < 0:
            raise UserError(f"news corpus: num_{split} is {size}; expected 0 sentences or more")
    return {
        split: with_classes(written(split), where=f"embedded news by topic:{split}")
        for split in sizes
    }


def name_pool(name: str) -> str:
    """The split a name belongs to. Names that share a telling word lie in the same split."""
    return _pools()[_telling_words(name)[0]]


# --- the grammar of one split ---------------------------------------------------------------------


@functools.cache
def _grammar(split: str) -> dict[str, tuple[_Production, ...]]:
    """For each symbol its productions in `split`; a production of weight n is there n times."""
    grammar = {}
    for symbol in news_names.NAMES:
        kept = (name for name in _names(symbol) if name_pool(name) == split)
        grammar[symbol] = tuple(tuple(name.split()) for name in kept)
        assert grammar[symbol], f"no {symbol} left for {split}"
    for symbol, words in news_names.WORDS.items():
        grammar[symbol] = tuple(tuple(word.split("_")) for word in words.split())
    rules = dict(news_names.RULES)
    templates = set()
    for topic in news_names.TOPICS:
        rules[f"{topic}_sentence"] = news_names.FORMS.replace("TOPIC", topic)
        templates |= {topic, f"{topic}_headline", f"{topic}_quote"}
    for symbol, text in rules.items():
        lines = [line.strip() for line in text.strip().splitlines()]
        if symbol in templates and split == "train":
            del lines[_HELD_OUT_FROM::_HELD_OUT_EVERY]
        grammar[symbol] = tuple(production for line in lines for production in _parse(line))
    return grammar


def _parse(line: str) -> list[_Production]:
    weight, bar, body = line.partition(" | ")
    if not bar:
        weight, body = "1", line
    return [tuple(_parse_token(token) for token in body.split())] * int(weight)


def _parse_token(token: str) -> str | _Symbol | _Number:
    if token.startswith("$") and len(token) > 1:
        name, _, slot = token[1:].partition(":")
        return _Symbol(name, slot)
    number = _NUMBER.fullmatch(token)
    if number:
        before, low, high, after = number.groups()
        return _Number(before, int(low), int(high), after)
    return token


@functools.cache
def _pools() -> dict[str, str]:
    """The split of each telling word, one for all words that names join, directly or in a chain.

    They are dealt by the highest-averages rule (D'Hondt), so that every list of names is parted in
    the same shares and neighbours in a list go different ways.
    """
    lists = [_names(symbol) for symbol in news_names.NAMES]
    family: dict[str, set[str]] = {}
    for name in itertools.chain(*lists):
        words = _telling_words(name)
        joined = set(words).union(*(family.get(word, ()) for word in words))
        family.update(dict.fromkeys(joined, joined))
    pools: dict[str, str] = {}
    # Short lists first: they have the least room to make up for what another list has dealt.
    for names in sorted(lists, key=len):
        heads = dict.fromkeys(min(family[_telling_words(name)[0]]) for name in names)
        dealt = collections.Counter(pools[head] for head in heads if head in pools)
        for head in heads:
            if head not in pools:
                split = min(_SHARES, key=lambda split: (dealt[split] + 1) / _SHARES[split])
                pools.update(dict.fromkeys(family[head], split))
                dealt[split] += 1
    return pools


def _names(symbol: str) -> list[str]:
    return [name.replace("_", " ") for name in news_names.NAMES[symbol].split()]


def _telling_words(name: str) -> list[str]:
    """The lower-case words of `name` that identify it, or all of it where none does."""
    words = name.lower().split()
    return [word for word in words if word not in _GENERIC] or [" ".join(words)]


def _topic(*, seed: int, split: str, index: int) -> str:
    """What a sentence is about, as the first of its random numbers decides; "" for lists of
    results, prices and the like, which may be of several."""
    draft = _Draft(random.Random(f"{seed}/{split}/{index}").random, [], [], {})
    (symbol,) = _choose("sentence", slot="", options=_grammar(split)["sentence"], draft=draft)
    topic = symbol.name.removesuffix("_sentence")
    return topic if topic in news_names.TOPICS else ""


# --- one sentence ---------------------------------------------------------------------------------


def _write(*, seed: int, split: str, index: int) -> tuple[list[str], list[str]]:
    # Of `random`, only seeding from a string and `random()` are promised to stay the same in every
    # version of Python, so nothing else of it is used.
    draft = _Draft(random.Random(f"{seed}/{split}/{index}").random, [], [], {})
    _expand("sentence", slot="", grammar=_grammar(split), draft=draft)
    return _finish(draft)


def _expand(symbol: str, *, slot: str, grammar: dict, draft: _Draft) -> None:
    start = len(draft.words)
    for item in _choose(symbol, slot=slot, options=grammar[symbol], draft=draft):
        if isinstance(item, _Symbol):
            _expand(item.name, slot=item.slot or slot, grammar=grammar, draft=draft)
            continue
        if isinstance(item, _Number):
            value = item.low + int(draft.random() * (item.high - item.low + 1))
            item = f"{item.before}{value}{item.after}"
        draft.words.append(item)
        draft.tags.append("O")
    if symbol in _TYPE_OF:
        # Over the tags of any entity inside: of nested entities the outermost counts.
        draft.tags[start:] = span_tags(_TYPE_OF[symbol], length=len(draft.words) - start)


def _choose(symbol: str, *, slot: str, options: tuple, draft: _Draft) -> _Production:
    """A random production, or the one `slot` holds; names and clauses come once a sentence."""
    if slot and (symbol, slot) in draft.chosen:
        return draft.chosen[symbol, slot]
    choice = options[int(draft.random() * len(options))]
    if symbol in news_names.NAMES or symbol in news_names.TOPICS:
        for _ in range(9):
            if (symbol, choice) not in draft.chosen:
                break
            choice = options[int(draft.random() * len(options))]
        draft.chosen[symbol, choice] = choice
    if slot:
        draft.chosen[symbol, slot] = choice
    return choice


def _finish(draft: _Draft) -> tuple[list[str], list[str]]:
    """Obey the marks `^` and `^^`, set commas and articles right, choose upper or lower case."""
    words, tags = [], []
    mark = ""
    for word, tag, following in zip(draft.words, draft.tags, [*draft.words[1:], "."], strict=True):
        if word in ("^", "^^"):
            mark = word
            continue
        if word == "," and tag == "O" and following in _AFTER_NO_COMMA:
            continue
        if word == "," and mark == "^^":
            mark = ""
        if word == "a" and tag == "O" and _VOWEL_SOUND.match(following):
            word = "an"
        if mark == "^^":
            word = word.upper()
        elif mark == "^":
            word, mark = word[0].upper() + word[1:], ""
        words.append(word)
        tags.append(tag)
    style = draft.random()
    upper, lower = (0.03, 0.09) if words[-1] in _SENTENCE_ENDS else (0.3, 0.36)
    if style < upper:
        words = [word.upper() for word in words]
    elif style < lower:
        words = [word.lower() for word in words]
    return words, tags


# --- noise on the labels --------------------------------------------------------------------------


def _corrupt(tags: list[str], *, draw: Callable[[], float], share: float) -> list[str]:
    """`tags` with each entity corrupted with probability `share`."""
    entities = spans(tags)
    noisy = ["O"] * len(tags)
    floor = 0
    ceilings = [*(start for start, _, _ in entities[1:]), len(tags)]
    for (start, end, kind), ceiling in zip(entities, ceilings):
        # Always three draws, so that the stream does not depend on the share.
        corrupted, manner, which = draw() < share, draw(), draw()
        if corrupted and manner < 1 / 3:
            continue
        if corrupted:
            moved = [
                (a, b)
                for a, b in ((start - 1, end), (start + 1, end), (start, end - 1), (start, end + 1))
                if floor <= a < b <= ceiling
            ]
            if manner < 2 / 3 and moved:
                start, end = moved[int(which * len(moved))]
            else:
                others = [other for other in TYPES if other != kind]
                kind = others[int(which * len(others))]
        noisy[start:end] = span_tags(kind, length=end - start)
        floor = end
    return noisy
