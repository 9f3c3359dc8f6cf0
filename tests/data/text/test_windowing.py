"""Words to sub-words to rows: aligned as transformers aligns them, and not a word lost."""

import itertools
import json

import numpy as np
import pytest
import tokenizers
from conftest import GOLDEN
from hypothesis import example, given
from hypothesis import strategies as st

from bigjax.data.text import tokenization, windowing
from bigjax.data.text.sentences import Strings
from bigjax.errors import UserError

TINY = ("tiny_bert", "tiny_distilbert", "tiny_electra", "tiny_roberta")
ODD_WORDS = (["[SEP]", "[CLS]", "<s>", "\u200d", "\ufeff"], [" ", "☃", "東京都", "e\u0301", "-"])


def window(windows: windowing.Windows, number: int) -> tuple[list[int], list[int]]:
    """The tokens of a window, and the words they label."""
    span = slice(windows.offsets[number], windows.offsets[number + 1])
    return windows.tokens[span].tolist(), windows.words[span].tolist()


def expected_window(
    ids: list[int], word_ids: list[int | None], *, num_words: int, unknown: int
) -> tuple[list[int], list[int]]:
    """Tokens and labelled words from the ids of a whole sentence and the word of each id; a word
    without any id is the unknown token."""
    by_word = [[t for t, w in zip(ids, word_ids) if w == word] for word in range(num_words)]
    inner = [at for at, w in enumerate(word_ids) if w is not None]
    first, last = (inner[0], inner[-1]) if inner else (1, 0)
    tokens, words = list(ids[:first]), [-1] * first
    for word, found in enumerate(by_word):
        tokens += found or [unknown]
        words += [word] + [-1] * (len(found or [unknown]) - 1)
    return tokens + ids[last + 1 :], words + [-1] * len(ids[last + 1 :])


@pytest.mark.parametrize("name", TINY)
def test_sub_words_and_their_words_are_those_of_transformers(name):
    golden = json.loads((GOLDEN / name / "golden.json").read_text(encoding="utf-8"))
    tokenizer = tokenization.load_tokenizer(str(GOLDEN / name))
    windows = windowing.make_windows(
        Strings.of(golden["words"]), tokenizer=tokenizer, row_length=40
    )
    unknown = tokenizer.token_to_id("<unk>" if name == "tiny_roberta" else "[UNK]")
    num_unknown = sum(
        len(set(range(len(words))) - set(word_ids))  # dropped, and there stands the unknown token
        + len({word for word, i in zip(word_ids, ids) if i == unknown and word is not None})
        for words, word_ids, ids in zip(golden["words"], golden["word_ids"], golden["input_ids"])
    )
    assert windows.num_unknown_words == num_unknown == (0 if name == "tiny_roberta" else 2)
    assert windows.sentences.tolist() == [0, 1]
    first_word = 0
    for number, words in enumerate(golden["words"]):
        real = sum(golden["attention_mask"][number])
        ids, rows = golden["input_ids"][number][:real], golden["word_ids"][number][:real]
        expected = expected_window(ids, rows, num_words=len(words), unknown=unknown)
        tokens, labelled = window(windows, number)
        assert tokens == expected[0]
        assert [w if w < 0 else w - first_word for w in labelled] == expected[1]
        first_word += len(words)


@pytest.mark.parametrize("name", TINY)
@given(words=st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=8))
@example(words=ODD_WORDS[0])
@example(words=ODD_WORDS[1])
def test_words_encoded_one_by_one_are_those_of_the_whole_sentence(name, words):
    tokenizer = tokenization.load_tokenizer(str(GOLDEN / name))
    unknown = tokenizer.token_to_id("<unk>" if name == "tiny_roberta" else "[UNK]")
    tokenizer.encode_special_tokens = True  # a word that reads like one is none
    whole = tokenizer.encode(words, is_pretokenized=True)
    expected = expected_window(whole.ids, whole.word_ids, num_words=len(words), unknown=unknown)
    windows = windowing.make_windows(Strings.of([words]), tokenizer=tokenizer, row_length=512)
    if any(found is not None for found in whole.word_ids):
        assert window(windows, 0) == expected
    assert [w for w in windows.words.tolist() if w >= 0] == list(range(len(words)))


def test_words_that_the_tokenizer_drops_become_the_unknown_token_and_are_still_predicted(tiny_bert):
    tokenizer = tokenization.load_tokenizer(tiny_bert)
    sentences = [["\u200d", "\u200d"], ["saw", "\u200d", "a"], ["\x00"]]
    windows = windowing.make_windows(Strings.of(sentences), tokenizer=tokenizer, row_length=16)
    cls, sep, unk = (tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]", "[UNK]"))
    saw, a = tokenizer.token_to_id("saw"), tokenizer.token_to_id("a")
    assert window(windows, 0) == ([cls, unk, unk, sep], [-1, 0, 1, -1])
    assert window(windows, 1) == ([cls, saw, unk, a, sep], [-1, 2, 3, 4, -1])
    assert window(windows, 2) == ([cls, unk, sep], [-1, 5, -1])
    assert windows.num_unknown_words == 4


# --- windows ---


def numbered(sizes: list[list[int]]) -> tuple[list[list[str]], tokenizers.Tokenizer]:
    """Sentences of words of the given numbers of sub-words, and a tokenizer for which sub-word i
    has the id i: "0-1", "2", "3-4-5", ... It adds two special tokens before and one behind."""
    total = sum(map(sum, sizes))
    special = {"<unk>": total, "<s>": total + 1, "</s>": total + 2}
    vocab = {str(i): i for i in range(total)} | special
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocab, unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split("-", "removed")
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> <s> $A </s>", special_tokens=[("<s>", total + 1), ("</s>", total + 2)]
    )
    numbers = itertools.count()
    sentences = [
        ["-".join(str(next(numbers)) for _ in range(size)) for size in words] for words in sizes
    ]
    return sentences, tokenizer


def context(place: int, *, begin: int, end: int, length: int) -> float:
    """How many sub-words of the sentence stand between a place and the nearer edge of its window;
    an edge of the sentence hides nothing."""
    left = place - begin if begin > 0 else np.inf
    right = end - 1 - place if end < length else np.inf
    return min(left, right)


@given(
    sizes=st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=60), min_size=1, max_size=4),
    row_length=st.integers(11, 60),
)
@example(sizes=[[1] * 200], row_length=11)
@example(sizes=[[40, 1, 1, 40]], row_length=12)
def test_every_word_is_owned_once_by_the_window_in_which_it_has_the_most_context(sizes, row_length):
    sentences, tokenizer = numbered(sizes)
    windows = windowing.make_windows(
        Strings.of(sentences), tokenizer=tokenizer, row_length=row_length
    )
    assert windows.lengths.max() <= row_length
    assert windows.num_unknown_words == 0
    owned = [word for word in windows.words.tolist() if word >= 0]
    assert sorted(owned) == list(range(sum(map(len, sizes)))), "each word exactly once"
    assert owned == sorted(owned), "in order"

    first_piece = np.cumsum([0, *(size for words in sizes for size in words)])
    sentence_pieces = np.cumsum([0, *map(sum, sizes)])
    for sentence, (start, stop) in enumerate(itertools.pairwise(sentence_pieces.tolist())):
        spans = {}
        for number in np.flatnonzero(windows.sentences == sentence).tolist():
            tokens, words = window(windows, number)
            inner = [token - start for token in tokens[2:-1]]
            assert inner == list(range(inner[0], inner[-1] + 1)), "a stretch of the sentence"
            spans[number] = (inner[0], inner[-1] + 1, words[2:-1])
        length = stop - start
        covered = {place for begin, end, _ in spans.values() for place in range(begin, end)}
        assert covered == set(range(length)), "nothing is cut off"
        if length <= row_length - 3:
            assert len(spans) == 1
        for begin, end, words in spans.values():
            for place, word in enumerate(words, begin):
                if word >= 0:
                    assert place + start == first_piece[word], "labelled at its first sub-word"
                    best = max(
                        context(place, begin=b, end=e, length=length)
                        for b, e, _ in spans.values()
                        if b <= place < e
                    )
                    assert context(place, begin=begin, end=end, length=length) == best
                    assert best >= ((row_length - 3) // 2 - 1) // 2, "windows overlap by half"


@pytest.mark.parametrize("row_length", [0, 3, 9])
def test_a_row_too_short_for_words_is_an_error_of_the_user(tiny_bert, row_length):
    tokenizer = tokenization.load_tokenizer(tiny_bert)
    with pytest.raises(UserError, match=f"text.row_length={row_length} leaves .* expected 16"):
        windowing.make_windows(Strings.of([["a"]]), tokenizer=tokenizer, row_length=row_length)


def test_a_split_without_sentences_is_an_error_of_the_user(tiny_bert):
    with pytest.raises(UserError, match="a split of the data set is empty"):
        windowing.make_windows(
            Strings.of([]), tokenizer=tokenization.load_tokenizer(tiny_bert), row_length=16
        )


# --- rows ---


@given(st.data())
def test_the_arrays_of_rows_are_those_of_a_plain_loop(data):
    sizes = data.draw(st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=12), min_size=1))
    sentences, tokenizer = numbered(sizes)
    windows = windowing.make_windows(Strings.of(sentences), tokenizer=tokenizer, row_length=16)
    row_length = 48
    drawn = st.lists(st.integers(0, len(windows.lengths) - 1), max_size=3)  # 3 of 16 fit
    examples = data.draw(st.lists(drawn, min_size=1, max_size=5))

    expected = {
        name: np.zeros((len(examples), row_length), int)
        for name in ("tokens", "segments", "positions", "words")
    }
    expected["words"] -= 1
    expected["starts"] = np.zeros(len(examples), int)
    for row, numbers in enumerate(examples):
        column = 0
        for segment, number in enumerate(numbers, start=1):
            is_first = number == 0 or windows.sentences[number - 1] != windows.sentences[number]
            expected["starts"][row] += is_first
            for position, (token, word) in enumerate(zip(*window(windows, number))):
                expected["tokens"][row, column] = token
                expected["segments"][row, column] = segment
                expected["positions"][row, column] = position
                expected["words"][row, column] = word
                column += 1

    found = windowing.fill_rows(
        windows, [np.array(numbers, np.int64) for numbers in examples], row_length=row_length
    )
    assert set(found) == set(expected)
    for name, array in found.items():
        assert array.dtype == np.int32
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
