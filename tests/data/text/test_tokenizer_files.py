"""Tokenizers built from the files that older Hugging Face folders hold, against the ids that
transformers gives (see `golden/make_folder_goldens.py`)."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import GOLDEN
from tokenizers import Regex, normalizers, pre_tokenizers

from bigjax.data.text import tokenization, tokenizer_files
from bigjax.errors import UserError

TOKENIZERS = GOLDEN / "tokenizers"
RECORD = json.loads((TOKENIZERS / "golden.json").read_text(encoding="utf-8"))
FOLDERS = {folder["name"]: folder for folder in RECORD["folders"]}


def folder_of(to: Path, *, files: list[str], others: dict[str, dict]) -> str:
    to.mkdir()
    for file in files:
        shutil.copy(TOKENIZERS / file, to)
    for file, content in others.items():
        (to / file).write_text(json.dumps(content), encoding="utf-8")
    return str(to)


def golden_folder(to: Path, name: str, **others: dict) -> str:
    found = FOLDERS[name]
    return folder_of(to, files=found["files"], others=found["others"] | others)


@pytest.mark.parametrize("name", FOLDERS)
def test_ids_are_those_of_transformers(tmp_path, name):
    tokenizer = tokenization.load_tokenizer(golden_folder(tmp_path / "model", name))
    found = tokenization.encode_words(RECORD["words"], tokenizer=tokenizer)
    different = {
        word: (ids, expected)
        for word, ids, expected in zip(RECORD["words"], found, FOLDERS[name]["ids"], strict=True)
        if ids != expected
    }
    assert not different
    before, behind = tokenization.special_tokens(tokenizer)
    assert [*before, *sum(found[:3], []), *behind] == FOLDERS[name]["sentence"]


@pytest.mark.parametrize("name", FOLDERS)
def test_what_a_run_keeps_of_it_is_the_same_tokenizer(tmp_path, name):
    tokenizer = tokenization.load_tokenizer(golden_folder(tmp_path / "model", name))
    (tmp_path / "run").mkdir()
    tokenizer.save(str(tmp_path / "run" / "tokenizer.json"))
    again = tokenization.load_tokenizer(str(tmp_path / "run"))
    found = tokenization.encode_words(RECORD["words"], tokenizer=again)
    assert found == FOLDERS[name]["ids"]


def test_the_words_reach_most_of_what_a_vocabulary_holds():
    """Else equal ids would prove little."""
    for name, folder in FOLDERS.items():
        unknown = 3 if "roberta" in name or name == "camembert" else 1
        known = [ids for ids in folder["ids"] if unknown not in ids]
        assert len(known) > 0.8 * len(RECORD["words"])
        assert len({i for ids in known for i in ids}) > 200, name


# --- which tokenizer a folder has -----------------------------------------------------------------


BYTES = ["vocab.json", "merges.txt"]
WHICH = {
    "class of config.json": (["vocab.txt"], {"config.json": {"tokenizer_class": "BertTokenizer"}}),
    "no class in v5": (
        BYTES,
        {
            "tokenizer_config.json": {"tokenizer_class": "TokenizersBackend"},
            "config.json": {"model_type": "roberta"},
        },
    ),
    "class before model type": (
        BYTES,
        {
            "tokenizer_config.json": {"tokenizer_class": "RobertaTokenizerFast"},
            "config.json": {"model_type": "bert"},
        },
    ),
    "WordPiece's file alone": (["vocab.txt"], {}),
    "BPE's files alone": (BYTES, {}),
    "SentencePiece's file alone": (["sentencepiece.bpe.model"], {}),
}


@pytest.mark.parametrize("case", WHICH)
def test_a_folder_says_which_tokenizer_it_has_in_several_ways(tmp_path, case):
    files, others = WHICH[case]
    tokenizer = tokenization.load_tokenizer(folder_of(tmp_path / "m", files=files, others=others))
    models = {"vocab.txt": "WordPiece", "vocab.json": "BPE", "sentencepiece.bpe.model": "Unigram"}
    assert json.loads(tokenizer.to_str())["model"]["type"] == models[files[0]]


def test_tokenizer_json_comes_before_older_files(tiny_bert, tmp_path):
    folder = Path(shutil.copytree(tiny_bert, tmp_path / "model"))
    (folder / "vocab.txt").write_text("not looked at")
    assert tokenization.load_tokenizer(str(folder)).get_vocab_size() == 54


# --- capital letters ------------------------------------------------------------------------------


def test_a_cased_vocabulary_that_nothing_says_is_cased_is_a_warning(tmp_path, capsys):
    tokenization.load_tokenizer(golden_folder(tmp_path / "said", "bert, cased"))
    assert capsys.readouterr().err == ""
    tokenization.load_tokenizer(golden_folder(tmp_path / "unsaid", "bert, nothing said"))
    said = capsys.readouterr().err
    assert said.startswith(f"warning: {tmp_path}/unsaid/vocab.txt holds ")
    assert 'write {"do_lower_case": false} into it' in said and said.count("\n") == 1


# --- folders that are wrong -----------------------------------------------------------------------


def one_line(folder: str) -> str:
    with pytest.raises(UserError) as error:
        tokenizer_files.read(folder)
    message = str(error.value)
    assert message.startswith(folder) and "\n" not in message
    return message


@pytest.mark.parametrize(
    ("model_type", "files"),
    [
        ("bert", "vocab.txt"),
        ("roberta", "vocab.json and merges.txt"),
        ("camembert", "sentencepiece.bpe.model"),
    ],
)
def test_a_folder_without_a_tokenizer_is_told_which_files_it_lacks(tmp_path, model_type, files):
    config = {"config.json": {"model_type": model_type}}
    folder = folder_of(tmp_path / "model", files=[], others=config)
    message = one_line(folder)
    assert f"no tokenizer.json and no {files}; " in message
    assert "save_pretrained(folder) writes one" in message


@pytest.mark.parametrize(
    "name", ["BertJapaneseTokenizer", "PhobertTokenizer", "HerbertTokenizerFast"]
)
def test_a_tokenizer_that_cuts_words_otherwise_is_refused_by_its_name(tmp_path, name):
    config = {"tokenizer_config.json": {"tokenizer_class": name}}
    message = one_line(folder_of(tmp_path / "m", files=["vocab.txt", *BYTES], others=config))
    assert f"a {name.removesuffix('Fast')} cannot be built here, BertTokenizer, " in message


def test_an_added_token_of_another_id_is_an_error_that_names_both(tmp_path):
    config = {"added_tokens_decoder": {"9999": {"content": "[NEW]", "special": True}}}
    folder = golden_folder(
        tmp_path / "m", "bert, nothing said", **{"tokenizer_config.json": config}
    )
    message = one_line(folder)
    assert "the added token '[NEW]' should have the id 9999 and would get " in message


DAMAGED = {
    "no unknown token": ("bert, cased", "vocab.txt", lambda _: b"[CLS]\n", "the unknown token"),
    "no text": ("bert, cased", "vocab.txt", lambda _: b"\xff\xfe[UNK]\n", "can't decode byte"),
    "half a vocabulary": ("roberta", "vocab.json", lambda x: x[:99], "vocab.json: cannot be read"),
    "no pairs": ("roberta", "merges.txt", lambda x: x + b"one\n", "vocab.json: cannot be read"),
    "half a model": ("camembert", "sentencepiece.bpe.model", lambda x: x[:999], "cut off"),
    "no pieces": ("camembert", "sentencepiece.bpe.model", lambda _: b"", "of SentencePiece"),
    "another": ("camembert", "sentencepiece.bpe.model", lambda _: b"<html>", "of SentencePiece"),
    "half a config": ("bert, cased", "tokenizer_config.json", lambda x: x[:9], "cannot be read"),
    "no config": ("bert, cased", "tokenizer_config.json", lambda _: b"[]", "holds a list"),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_one_line(tmp_path, case):
    name, file, damage, expected = DAMAGED[case]
    folder = golden_folder(tmp_path / "model", name)
    path = Path(folder, file)
    path.write_bytes(damage(path.read_bytes()))
    assert expected in one_line(folder)


def test_a_model_of_sentencepiece_that_is_not_unigram_is_one_line(tmp_path):
    folder = golden_folder(tmp_path / "model", "xlm-roberta")
    path = Path(folder, "sentencepiece.bpe.model")
    bpe = b"\x12\x02\x18\x02"  # field 2, the trainer's, of two bytes: its field 3 is 2
    path.write_bytes(path.read_bytes() + bpe)
    assert "of type 2, expected 1 (unigram)" in one_line(folder)


# --- special tokens in a text ---------------------------------------------------------------------


SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<s>", "</s>", "<pad>", "<unk>", "<mask>"]
SPECIAL += [
    "<s>NOTUSED",
    "[BEGIN]",
    "[END]",
    "[E1]",
    "a[SEP]b",
    "x</s>",
    "＜ｓ＞",
    "<s></s>",
    "[SEP][SEP]",
]


@pytest.mark.parametrize("name", FOLDERS)
def test_a_word_that_reads_like_a_special_token_never_is_one(tmp_path, name):
    tokenizer = tokenization.load_tokenizer(golden_folder(tmp_path / "model", name))
    added = tokenizer.get_added_tokens_decoder()
    special = {i for i, token in added.items() if token.special}
    assert len(special) >= 5
    special -= {tokenization.unknown_token(tokenizer)}
    words = [*SPECIAL, *(token.content for token in added.values() if token.special)]
    for word, ids in zip(words, tokenization.encode_words(words, tokenizer=tokenizer)):
        assert ids and special.isdisjoint(ids), word


def test_it_gets_the_pieces_that_its_letters_have(tmp_path):
    expected = {
        "bert, cased": ["<", "s", "[UNK]"],  # it stands in the vocabulary inside a word alone
        "roberta": ["Ġ<", "s", ">"],
        "xlm-roberta": ["▁", "<", "s", ">"],
    }
    for name, pieces in expected.items():
        tokenizer = tokenization.load_tokenizer(golden_folder(tmp_path / name, name))
        (ids,) = tokenization.encode_words(["<s>"], tokenizer=tokenizer)
        assert [tokenizer.id_to_token(i) for i in ids] == pieces


def test_other_words_beside_it_keep_their_ids(tmp_path):
    for name in FOLDERS:
        tokenizer = tokenization.load_tokenizer(golden_folder(tmp_path / name, name))
        words = [w for pair in zip(RECORD["words"], SPECIAL * 9, strict=False) for w in pair]
        found = tokenization.encode_words(words, tokenizer=tokenizer)[::2]
        assert found == FOLDERS[name]["ids"][: len(found)]


def test_a_token_that_was_added_and_is_not_special_is_still_found(tmp_path):
    name = "bert, with added tokens and other names"
    tokenizer = tokenization.load_tokenizer(golden_folder(tmp_path / "model", name))
    found = tokenization.encode_words(["[NAME]", "[BEGIN]"], tokenizer=tokenizer)
    assert found[0] == [tokenizer.token_to_id("[NAME]")]
    assert tokenizer.token_to_id("[BEGIN]") not in found[1]


# --- the space before a word ----------------------------------------------------------------------


BYTE_LEVEL = pre_tokenizers.ByteLevel(add_prefix_space=False)
PARTS = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
SEQUENCES = {
    "itself": BYTE_LEVEL,
    "alone in a sequence": pre_tokenizers.Sequence([BYTE_LEVEL]),
    "after digits": pre_tokenizers.Sequence([pre_tokenizers.Digits(True), BYTE_LEVEL]),
    "after a regex": pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(r" ?[^\s\d]+|\d{1,2}"), behavior="isolated"), PARTS]
    ),
    "in a sequence of a sequence": pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(), pre_tokenizers.Sequence([BYTE_LEVEL])]
    ),
    "after spaces are cut away": pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), BYTE_LEVEL]
    ),
}


@pytest.mark.parametrize("normalizer", [None, normalizers.NFC()], ids=["", "normalised"])
@pytest.mark.parametrize("case", SEQUENCES)
def test_a_byte_level_word_has_the_ids_that_it_has_within_a_text(tmp_path, case, normalizer):
    plain = tokenizer_files.read(golden_folder(tmp_path / "model", "roberta"))
    plain.pre_tokenizer = SEQUENCES[case]
    if normalizer:
        plain.normalizer = normalizer
    words = ["walking", "New-York", "a1b22", "can't", "2024", "Zoë", "東京", "e\u0301t"]
    text = plain.encode(" " + " ".join(words), add_special_tokens=False).ids
    folder = tmp_path / "saved"
    folder.mkdir()
    plain.save(str(folder / "tokenizer.json"))
    for _ in range(3):  # as a run is started from, and a run from that
        tokenizer = tokenization.load_tokenizer(str(folder))
        assert sum(tokenization.encode_words(words, tokenizer=tokenizer), []) == text
        tokenizer.save(str(folder / "tokenizer.json"))
