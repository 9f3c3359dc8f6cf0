"""The embedded corpus: test names are new, memory does not solve it, noise is as asked for."""

import collections
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from seqeval.metrics import f1_score

from bigjax.data.text import news, news_names
from bigjax.data.text.sentences import Sentences
from bigjax.errors import UserError

GENERIC = frozenset(news_names.GENERIC.split())
TOPIC_RULES = [topic + part for topic in news_names.TOPICS for part in ("", "_headline", "_quote")]


@pytest.fixture(scope="module")
def corpus() -> dict[str, Sentences]:
    return news.read(num_train=5000, num_dev=1000, num_test=2000)


def entities(words: list[str], tags: list[str]) -> list[tuple[int, int, str]]:
    """(start, end, type) by joining each B- with the I- that follow it."""
    starts = [i for i, tag in enumerate(tags) if tag.startswith("B-")]
    found = []
    for start in starts:
        end = start + 1
        while end < len(words) and tags[end].startswith("I-"):
            end += 1
        found.append((start, end, tags[start][2:]))
    return found


def surfaces(sentences: Sentences) -> dict[str, set[str]]:
    """The lower-case surface of every entity, and the types it occurs with."""
    types = collections.defaultdict(set)
    for words, tags in zip(sentences.words, sentences.tags):
        for start, end, kind in entities(words, tags):
            types[" ".join(words[start:end]).lower()].add(kind)
    return types


def literal_words(symbol: str) -> set[str]:
    """Every plain word that the rules can put into an expansion of `symbol`."""
    words = set()
    for line in news_names.RULES.get(symbol, "").strip().splitlines():
        for token in line.partition(" | ")[2].split() or line.split():
            if token.startswith("$"):
                words |= literal_words(token[1:])
            else:
                words.add(token.lower())
    return words


# --- the split of the names -----------------------------------------------------------------------


@pytest.mark.parametrize("held_out", ["dev", "test"])
def test_no_held_out_entity_occurs_in_training(corpus, held_out):
    assert not surfaces(corpus[held_out]).keys() & surfaces(corpus["train"]).keys()
    assert len(surfaces(corpus[held_out])) > 500


@pytest.mark.parametrize("held_out", ["dev", "test"])
def test_no_telling_word_of_a_held_out_entity_occurs_in_a_training_entity(corpus, held_out):
    """A word tells unless it is in GENERIC or an initial: "Okafor", but not "Bank" of "Bank of"."""
    words = {
        split: {word for surface in surfaces(corpus[split]) for word in surface.split()}
        for split in ("train", held_out)
    }
    shared = words["train"] & words[held_out]
    initials = set(news_names.WORDS["initial"].lower().split())
    assert not shared - GENERIC - initials


def test_generic_words_are_no_names_and_cover_all_that_rules_of_entities_spell_out():
    names = [name.lower() for names in news_names.NAMES.values() for name in names.split()]
    assert not GENERIC & set(names)
    for symbols in news_names.ENTITIES.values():
        for symbol in symbols.split():
            assert literal_words(symbol) <= GENERIC


def test_every_list_of_names_is_dealt_out_in_about_the_same_shares():
    for symbol, names in news_names.NAMES.items():
        spaced = [name.replace("_", " ") for name in names.split()]
        pools = collections.Counter(news.name_pool(name) for name in spaced)
        size = sum(pools.values())
        assert abs(pools["train"] / size - 0.6) < 0.12, symbol
        assert abs(pools["test"] / size - 0.25) < 0.12, symbol
        assert pools["dev"] >= 2, symbol


def test_every_symbol_is_defined_and_used():
    defined = {*news_names.NAMES, *news_names.WORDS, *news_names.RULES}
    forms = [news_names.FORMS.replace("TOPIC", topic) for topic in news_names.TOPICS]
    text = "\n".join([*news_names.RULES.values(), *forms])
    used = set(re.findall(r"\$([a-z_]+)", text)) | {"sentence"}
    assert used == defined | {f"{topic}_sentence" for topic in news_names.TOPICS}


# --- what the corpus holds ------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["train", "test"])
def test_some_surfaces_are_a_person_an_organisation_and_a_place(corpus, split):
    words = collections.defaultdict(set)
    for surface, kinds in surfaces(corpus[split]).items():
        for word in surface.split():
            words[word] |= kinds & {"PER", "ORG", "LOC"}
    assert sum(len(kinds) == 3 for word, kinds in words.items() if word not in GENERIC) >= 15
    # ... and as a whole surface, with nothing beside it to tell.
    assert sum(len(kinds) > 1 for kinds in surfaces(corpus[split]).values()) >= 15


@pytest.mark.parametrize("split", ["train", "test"])
def test_some_names_are_also_plain_words(corpus, split):
    named = {word for surface in surfaces(corpus[split]) for word in surface.split()} - GENERIC
    plain = {
        word.lower()
        for words, tags in zip(corpus[split].words, corpus[split].tags)
        for word, tag in zip(words, tags)
        if tag == "O" and word.isalpha()
    }
    assert len(named & plain) >= 30


def test_lengths_run_from_headlines_to_round_ups_of_several_windows(corpus):
    lengths = np.array([len(words) for words in corpus["train"].words])
    assert 15 <= lengths.mean() <= 22
    assert np.mean(lengths <= 5) > 0.02
    assert np.mean(lengths >= 60) > 0.003
    assert lengths.max() > 100


def test_sentences_are_tidy_and_tags_well_formed(corpus):
    for sentences in corpus.values():
        assert len(sentences.words) == len(sentences.tags)
        for words, tags in zip(sentences.words, sentences.tags):
            text = " ".join(words)
            assert text
            assert text.split() == words
            assert len(words) == len(tags)
            assert not re.search(r"\^|[$][a-z]|_|#| , [,.;:?)]", text), text
            for word, tag, following in zip(words, tags, words[1:]):
                if word.lower() == "a" and tag == "O":
                    assert not re.match("[aio]|e(?!u)|8", following.lower()), text
            for before, tag in zip(["O", *tags], tags):
                assert tag == "O" or tag[:2] == "B-" or before[1:] == tag[1:] and before != "O"
    kinds = {kind for kinds in surfaces(corpus["test"]).values() for kind in kinds}
    assert kinds == set(news.TYPES) == {"PER", "ORG", "LOC", "MISC"}


def test_headlines_in_capitals_and_lower_case_wire_text_occur(corpus):
    texts = [" ".join(words) for words in corpus["test"].words]
    assert np.mean([text.isupper() for text in texts]) > 0.03
    assert np.mean([text.islower() for text in texts]) > 0.03


@pytest.mark.parametrize("topic", news_names.TOPICS)
def test_each_topic_has_eighty_templates(topic):
    templates = {
        line.strip()
        for part in ("", "_headline")
        for line in news_names.RULES[topic + part].strip().splitlines()
    }
    assert len(templates) >= 80


def test_a_seventh_of_the_templates_is_kept_out_of_training(corpus):
    """Each template that has three plain words in a row like no other is looked for by them."""
    everything = "\n".join(news_names.RULES.values())
    texts = {
        split: "\n".join(" ".join(words).lower() for words in sentences.words)
        for split, sentences in corpus.items()
    }
    seen = {"train": [], "test": []}
    for rule in TOPIC_RULES:
        for number, line in enumerate(news_names.RULES[rule].strip().splitlines()):
            runs = re.findall(r"(?<![$:#\w])[a-z]{2,}(?: [a-z]{2,}){2,}(?![\w-])", line)
            runs = [run for run in runs if everything.count(run) == 1]
            if runs:
                seen["train"].append((number % 7 == 3, runs[0] in texts["train"]))
                seen["test"].append((number % 7 == 3, runs[0] in texts["test"]))
    held_out = [found for kept, found in seen["train"] if kept]
    others = [found for kept, found in seen["train"] if not kept]
    assert len(held_out) > 50
    assert 0.11 < len(held_out) / len(seen["train"]) < 0.17
    assert not any(held_out)
    assert np.mean(others) > 0.95
    assert np.mean([found for kept, found in seen["test"] if kept]) > 0.8


# --- determinism ----------------------------------------------------------------------------------


def test_a_smaller_corpus_is_a_prefix_of_a_larger_one(corpus):
    small = news.read(num_train=30, num_dev=20, num_test=0)
    for split, size in (("train", 30), ("dev", 20), ("test", 0)):
        assert small[split].words == corpus[split].words[:size]
        assert small[split].tags == corpus[split].tags[:size]


def test_another_process_with_another_hash_seed_writes_the_same_corpus():
    code = (
        "from bigjax.data.text import news; d = news.read(num_train=50, num_dev=50, num_test=50,"
        " label_noise=0.3); print(*[s.fingerprint() for s in d.values()])"
    )
    here = news.read(num_train=50, num_dev=50, num_test=50, label_noise=0.3)
    there = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.split() == [sentences.fingerprint() for sentences in here.values()]


def test_seeds_and_splits_differ():
    one = news.read(num_train=50, num_dev=50, num_test=50)
    two = news.read(num_train=50, num_dev=50, num_test=50, seed=1)
    prints = {s.fingerprint() for corpus in (one, two) for s in corpus.values()}
    assert len(prints) == 6
    assert [s.where for s in one.values()] == [
        "embedded news:train", "embedded news:dev", "embedded news:test",
    ]  # fmt: skip


# --- memory does not solve it ---------------------------------------------------------------------


def most_frequent_tags(train: Sentences) -> dict[str, str]:
    counts = collections.defaultdict(collections.Counter)
    for words, tags in zip(train.words, train.tags):
        for word, tag in zip(words, tags):
            counts[word.lower()][tag] += 1
    return {word: tags.most_common(1)[0][0] for word, tags in counts.items()}


def test_memorising_the_tag_of_each_word_scores_below_070(corpus):
    known = most_frequent_tags(corpus["train"])
    guesses = [[known.get(word.lower(), "O") for word in words] for words in corpus["test"].words]
    assert f1_score(corpus["test"].tags, guesses) < 0.7


def test_taking_unseen_capitalised_words_for_the_most_frequent_type_scores_below_070(corpus):
    known = most_frequent_tags(corpus["train"])
    spans = [entities(w, t) for w, t in zip(corpus["train"].words, corpus["train"].tags)]
    kinds = collections.Counter(kind for found in spans for _, _, kind in found)
    scores = {}
    for kind in kinds:
        guesses = []
        for words in corpus["test"].words:
            guess = []
            for word in words:
                inside = bool(guess) and guess[-1].endswith(kind)
                unseen = f"I-{kind}" if inside else f"B-{kind}"
                guess.append(known.get(word.lower(), unseen if word[0].isupper() else "O"))
            guesses.append(guess)
        scores[kind] = f1_score(corpus["test"].tags, guesses)
    # The most frequent type is what the rule names; no other type may serve it better either.
    assert 0.1 < scores[kinds.most_common(1)[0][0]] < 0.7
    assert max(scores.values()) < 0.7


# --- noise ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_label_noise_corrupts_its_share_of_the_training_entities_and_nothing_else(corpus, share):
    noisy = news.read(num_train=5000, num_dev=100, num_test=100, label_noise=share)
    assert noisy["train"].words == corpus["train"].words
    assert noisy["dev"].tags == corpus["dev"].tags[:100]
    assert noisy["test"].tags == corpus["test"].tags[:100]
    total = kept = 0
    for words, clean, tags in zip(noisy["train"].words, corpus["train"].tags, noisy["train"].tags):
        total += len(entities(words, clean))
        kept += len(set(entities(words, clean)) & set(entities(words, tags)))
    # Four standard deviations of a binomial share.
    assert abs(1 - kept / total - share) < 4 * (share * (1 - share) / total) ** 0.5


def test_full_label_noise_leaves_no_entity_and_breaks_them_in_all_three_ways(corpus):
    noisy = news.read(num_train=2000, num_dev=0, num_test=0, label_noise=1.0)["train"]
    ways = collections.Counter()
    for words, clean, tags in zip(noisy.words, corpus["train"].tags, noisy.tags):
        assert all(
            tag[0] != "I" or before[1:] == tag[1:] for before, tag in zip(["O", *tags], tags)
        )
        found = entities(words, tags)
        for start, end, kind in entities(words, clean):
            over = [(s, e, k) for s, e, k in found if s < end and start < e]
            assert (start, end, kind) not in over
            if (start, end) in [(s, e) for s, e, _ in over]:
                ways["type"] += 1
            elif any(k == kind for _, _, k in over):
                ways["boundary"] += 1
            elif not over:
                ways["dropped"] += 1
    total = sum(ways.values())
    assert all(0.25 < ways[way] / total < 0.42 for way in ("type", "boundary", "dropped"))


def test_more_noise_leaves_the_corrupted_entities_corrupted(corpus):
    few = news.read(num_train=1000, num_dev=0, num_test=0, label_noise=0.1)["train"]
    many = news.read(num_train=1000, num_dev=0, num_test=0, label_noise=0.4)["train"]
    for words, clean, some, more in zip(few.words, corpus["train"].tags, few.tags, many.tags):
        gold = set(entities(words, clean))
        assert gold - set(entities(words, some)) <= gold - set(entities(words, more))


@pytest.mark.parametrize("noise", [-0.1, 1.01, float("nan")])
def test_noise_outside_zero_to_one_is_a_user_error(noise):
    with pytest.raises(UserError, match="label_noise is .*; expected .* from 0"):
        news.read(label_noise=noise)


@pytest.mark.parametrize("size", ["num_train", "num_dev", "num_test"])
def test_a_negative_size_is_a_user_error(size):
    with pytest.raises(UserError, match=f"{size} is -1; expected"):
        news.read(**{size: -1})
