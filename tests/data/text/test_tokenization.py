"""Tokenizers: read from a folder as they should be, and learnt from a training split."""

import collections
import hashlib
import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bigjax.data.text import news, tokenization, windowing
from bigjax.errors import UserError


def test_truncation_and_padding_that_a_folder_asks_for_are_switched_off(tmp_path, tiny_bert):
    tokenizer = tokenization.load_tokenizer(tiny_bert)
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=30)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    loaded = tokenization.load_tokenizer(str(tmp_path))
    assert len(loaded.encode(["a"] * 9, is_pretokenized=True).ids) == 11


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no tokenizer.json and no vocab.txt"), ("{}", "cannot be read as a tokenizer")],
)
def test_a_folder_without_a_tokenizer_is_an_error_of_the_user(tmp_path, content, message):
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(UserError, match=message) as error:
        tokenization.load_tokenizer(str(tmp_path))
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


def slowly_learnt(words: list[str], *, num_pieces: int) -> list[str]:
    """Byte-pair encoding that counts every pair anew before each merge."""
    split = [[word[0], *("##" + letter for letter in word[1:])] for word in words]
    learnt = sorted({piece for pieces in split for piece in pieces})
    while len(learnt) < num_pieces:
        counts = collections.Counter(p for pieces in split for p in itertools.pairwise(pieces))
        if not counts:
            break
        left, right = min(counts, key=lambda pair: (-counts[pair], pair))
        merged = left + right.removeprefix("##")
        if merged not in learnt:
            learnt.append(merged)
        for pieces in split:
            at = 0
            while at < len(pieces) - 1:
                if (pieces[at], pieces[at + 1]) == (left, right):
                    pieces[at : at + 2] = [merged]
                at += 1
    return learnt


@given(
    st.lists(st.text("abcé", min_size=1, max_size=7), min_size=1, max_size=30),
    st.integers(32, 60),
)
@example(["aaaa", "aaa", "aa", "abab", "ababab"], 60)
def test_a_trained_vocabulary_is_that_of_plain_byte_pair_encoding(words, vocab_size):
    tokenizer = tokenization.train_wordpiece([words], vocab_size=vocab_size)
    vocab = tokenizer.get_vocab()
    in_order = sorted(vocab, key=vocab.get)
    assert in_order[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert in_order[5:] == slowly_learnt(words, num_pieces=vocab_size - 5)


def test_a_trained_tokenizer_knows_every_word_it_was_trained_on(tmp_path):
    sentences = news.read(num_train=200, num_dev=1, num_test=1)["train"].words
    tokenizer = tokenization.train_wordpiece(sentences, vocab_size=500)
    assert tokenizer.get_vocab_size() == 500
    windows = windowing.make_windows(sentences, tokenizer=tokenizer, row_length=32)
    assert windows.num_unknown_words == 0
    assert tokenizer.token_to_id("[UNK]") not in windows.tokens
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    loaded = tokenization.load_tokenizer(str(tmp_path))
    again = windowing.make_windows(sentences, tokenizer=loaded, row_length=32)
    np.testing.assert_array_equal(windows.tokens, again.tokens)
    np.testing.assert_array_equal(windows.words, again.words)


def test_more_letters_than_the_vocabulary_has_room_for_leave_the_rarest_unknown():
    words = [chr(0x4E00 + i) for i in range(60) for _ in range(60 - i)]
    tokenizer = tokenization.train_wordpiece([words], vocab_size=32)
    assert tokenizer.get_vocab_size() == 32
    known = tokenizer.encode(sorted(set(words)), is_pretokenized=True, add_special_tokens=False)
    assert [token != "[UNK]" for token in known.tokens] == [i < 27 for i in range(60)]


def test_a_vocabulary_too_small_for_any_word_is_an_error_of_the_user():
    with pytest.raises(UserError, match="text.vocab_size=5: expected 32 or more"):
        tokenization.train_wordpiece([["a"]], vocab_size=5)


def test_training_a_tokenizer_gives_the_same_one_in_every_process():
    program = (
        "import sys; from bigjax.data.text import news, tokenization; "
        "words = news.read(num_train=400, num_dev=1, num_test=1)['train'].words; "
        "sys.stdout.write(tokenization.train_wordpiece(words, vocab_size=1000).to_str())"
    )
    trained = [
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert len(json.loads(trained[0])["model"]["vocab"]) == 1000
    assert hashlib.sha256(trained[0]).hexdigest() == hashlib.sha256(trained[1]).hexdigest()


def test_what_a_tokenizer_does_not_know_is_looked_up_once(monkeypatch):
    """It takes longer than a short text."""
    tokenizer = tokenization.train_wordpiece([["a", "word"]], vocab_size=100)
    read, times = json.loads, []
    monkeypatch.setattr(tokenization.json, "loads", lambda text: times.append(1) or read(text))
    for _ in range(3):
        tokenization.encode_words(["a", "wordless"], tokenizer=tokenizer)
        tokenization.unknown_token(tokenizer)
        tokenization.mask_token(tokenizer)
    assert len(times) == 1
