"""Owns the golden files of older Hugging Face folders: tokenizers without `tokenizer.json`, as
`transformers` builds them, and weights as PyTorch itself writes them.

Needs torch, transformers, tokenizers and sentencepiece; nothing here is imported by a test. With
the same versions it gives the same files, but for the names that `*.stream.bin` have inside, which
are addresses:

    python tests/golden/make_folder_goldens.py

Written beside this file:

- `tokenizers/`: `vocab.txt`, `vocab.json` and `merges.txt`, `sentencepiece.bpe.model`, and
  `golden.json`: for each of several folders made of them its files and the ids of WORDS.
- `torch/`: `kinds.zip.bin` and `kinds.stream.bin`, tensors of every type and stride in both of
  PyTorch's layouts, `kinds.json` with what they hold, and the weights of `tiny_bert` as one file of
  either layout and as two shards.
"""

import contextlib
import json
import shutil
import sys
import tempfile
from collections import OrderedDict
from pathlib import Path

import sentencepiece
import tokenizers
import torch
import transformers
from safetensors.torch import load_file

HERE = Path(__file__).parent
COMMAND = "python tests/golden/make_folder_goldens.py"

# Accents composed and decomposed, scripts with and without case, letters that lower-casing or
# stripping changes in number, characters of no width, punctuation, numbers, what no vocabulary has.
_TEXT = """
    the The THE walking walked New-York O'Neil U.S.A. can't e-mail @user #tag http://a.b/c?d=e
    café Café CAFÉ cafe\u0301 Zoë naïve Ångström A\u030angstro\u0308m señor Übermut Straße STRASSE
    İstanbul ıslak IŞIK Đặng Nguyễn Łódź façade œuvre Æther ĳs ǅungla ﬁnance ﬂow K\u0301 x\u0327y
    Москва москва Ёлка йод Київ Ελλάδα ΟΔΥΣΣΕΎΣ ὀδός ᾳ Երևան თბილისი ᏣᎳᎩ ꭰꭱ
    東京 北京市 東京タワー カタカナ ｶﾀｶﾅ ひらがな が か\u3099 ㍿ 한국어 한국 \u1112\u1161\u11ab 㐀㐁
    \U00020000\U00020001 漢字kanji中 abc中文def 々〆 ， 。 「東」 ！ ～
    العربية الْعَرَبِيَّة محمّد فارسی שָׁלוֹם שלום हिन्दी हिंदी தமிழ் ไทย ภาษา ລາວ မြန်မာ ខ្មែរ አማርኛ
    ＡＢＣ ａｂｃ １２３ ① ½ ² ℃ ™ № 𝔘𝔫𝔦 𝟙𝟚 ₁₂ Ⅷ … — – “x” ‘y’ «z» ¿qué? ¡olé! § ¶ † €1,250.75 £5 ¥7
    3.14159 1,000,000 -40% +1 50/50 a_b __init__ C++ .NET ... !!! ??!! (a) [b] {c} <d> a|b a\\b ^ `
    \U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea ☃ ♥\ufe0f ✈ ∑ ∞ ≠ ←
    \u200d \ufeff a\u200bb soft\u00adhyphen \u0301 \u202eabc \ue000 \ufffd a\ufffdb x\u0007y
    supercalifragilisticexpialidocious aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
"""
WORDS = _TEXT.split()
WORDS += ["10\u00a0000", "a b", " ", "\u3000", "\u2028", "a\x85b", "a\x00b", "x" * 101]


def main() -> None:
    transformers.logging.set_verbosity_error()
    folder = HERE / "tokenizers"
    folder.mkdir(exist_ok=True)
    write_vocabularies(folder)
    golden = {"words": WORDS, "folders": [encoded(folder, *case) for case in CASES]}
    golden["provenance"] = {
        "command": COMMAND,
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
        "sentencepiece": sentencepiece.__version__,
    }
    write_json(folder / "golden.json", record=golden)
    (HERE / "torch").mkdir(exist_ok=True)
    write_kinds(HERE / "torch")
    write_tiny_bert(HERE / "torch")


WORDPIECE, BYTES, PIECES = (
    ("vocab.txt",),
    ("vocab.json", "merges.txt"),
    ("sentencepiece.bpe.model",),
)
BERT = {"tokenizer_class": "BertTokenizer"}
ADDED = {
    "1": {"content": "[UNK]", "special": True},
    "5": {"content": "[NAME]", "special": False, "single_word": True, "normalized": False},
}
# What is in the folder: a name, the files, and the content of others.
CASES = (
    ("bert, nothing said", WORDPIECE, {"config.json": {"model_type": "bert"}}),
    ("bert, cased", WORDPIECE, {"tokenizer_config.json": BERT | {"do_lower_case": False}}),
    (
        "electra, lower case and accents kept",
        WORDPIECE,
        {
            "tokenizer_config.json": {
                "tokenizer_class": "ElectraTokenizerFast",
                "do_lower_case": True,
                "strip_accents": False,
            }
        },
    ),
    (
        "distilbert, accents stripped, case and Chinese words kept",
        WORDPIECE,
        {
            "tokenizer_config.json": {
                "tokenizer_class": "DistilBertTokenizer",
                "do_lower_case": False,
                "strip_accents": True,
                "tokenize_chinese_chars": False,
            }
        },
    ),
    (
        "bert, with added tokens and other names",
        WORDPIECE,
        {
            "tokenizer_config.json": BERT | {"added_tokens_decoder": ADDED, "cls_token": "[BEGIN]"},
        },
    ),
    (
        "bert, with added tokens in files of their own",
        WORDPIECE,
        {
            "config.json": {"model_type": "bert"},
            "special_tokens_map.json": {
                "sep_token": {"content": "[END]", "lstrip": False, "normalized": True},
                "additional_special_tokens": ["[E1]"],
            },
            "added_tokens.json": {"[E1]": -2, "walkings": -1},  # from the vocabulary's end
        },
    ),
    ("roberta", BYTES, {"config.json": {"model_type": "roberta"}}),
    (
        "roberta, prefix space stated",
        BYTES,
        {
            "tokenizer_config.json": {
                "tokenizer_class": "RobertaTokenizer",
                "add_prefix_space": True,
                "trim_offsets": False,
            }
        },
    ),
    ("xlm-roberta", PIECES, {"config.json": {"model_type": "xlm-roberta"}}),
    ("camembert", PIECES, {"config.json": {"model_type": "camembert"}}),
)


def write_vocabularies(folder: Path) -> None:
    pieces = dict.fromkeys(
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[NAME]", "[BEGIN]", "[END]"]
    )
    normal = tokenizers.normalizers.BertNormalizer
    forms = [normal(lowercase=False), normal(lowercase=True), normal(strip_accents=True)]
    for number, word in enumerate(WORDS[:-1]):
        for form in [str, *(n.normalize_str for n in forms)]:
            for part in form(word).split():
                pieces |= dict.fromkeys([part[:1], *("##" + letter for letter in part[1:])])
                if number % 3 == 0 and len(part) < 20:
                    pieces |= dict.fromkeys([part[: len(part) // 2 + 1], "##" + part[-2:]])
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")

    learner = tokenizers.Tokenizer(tokenizers.models.BPE())
    learner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    learner.train_from_iterator([" ".join(WORDS)] * 2, trainer=trainer)
    learner.model.save(str(folder))

    # A few rules in the place of NFKC, whose table would be a quarter of a megabyte.
    rules = {"ﬁ": "fi", "ＡＢ": "AB", "Ｃ": "C", "e\u0301": "é", "\u200d": ""}
    rules |= {"\u00a0": " ", "\u3000": " ", "＜": "<", "＞": ">"}
    codes = lambda x: " ".join(f"{ord(letter):X}" for letter in x)  # noqa: E731
    # The names of its files stand in the model: the same wherever it is made.
    with tempfile.TemporaryDirectory() as temporary, contextlib.chdir(temporary):
        Path("text").write_text("\n".join(WORDS[:-8] * 3), encoding="utf-8")
        lines = [f"{codes(old)}\t{codes(new)}\n" for old, new in sorted(rules.items())]
        Path("rules.tsv").write_text("".join(lines), encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            input="text",
            model_prefix="model",
            vocab_size=330,
            character_coverage=0.98,
            normalization_rule_tsv="rules.tsv",
            minloglevel=2,
        )
        shutil.copy("model.model", folder / "sentencepiece.bpe.model")


def encoded(folder: Path, name: str, files: tuple[str, ...], others: dict[str, dict]) -> dict:
    """The record of a folder: its files, the ids of each of WORDS alone, and of the special tokens
    before and behind a sentence."""
    if "added_tokens.json" in others:
        end = sum(1 for _ in (folder / "vocab.txt").open(encoding="utf-8", newline="\n"))
        others["added_tokens.json"] = {"[E1]": end, "walkings": end + 1}
    with tempfile.TemporaryDirectory() as temporary:
        for file in files:
            shutil.copy(folder / file, temporary)
        for file, content in others.items():
            Path(temporary, file).write_text(json.dumps(content))
        spaced = {"add_prefix_space": True} if files == BYTES else {}
        tokenizer = transformers.AutoTokenizer.from_pretrained(temporary, **spaced)
        encode = lambda words, special: tokenizer(  # noqa: E731
            words, is_split_into_words=True, add_special_tokens=special
        )["input_ids"]
        return {
            "name": name,
            "files": files,
            "others": others,
            "ids": [encode([word], False) for word in WORDS],
            "sentence": encode(WORDS[:3], True),
        }


def write_kinds(folder: Path) -> None:
    whole = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    tensors = {
        "float32": whole / 8,
        "transposed": whole.T,
        "part": whole[1:3, ::2],  # shares its storage with the one above
        "expanded": torch.tensor([2.5]).expand(3, 2),
        "parameter": torch.nn.Parameter(torch.tensor([0.1, -0.0, float("inf")])),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(7),
        "bool": torch.tensor([True, False]),
    }
    types = ["float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8"]
    tensors |= {name: torch.tensor([3, 100, 1]).to(getattr(torch, name)) for name in types}
    record = {
        name: {
            "dtype": str(x.dtype).removeprefix("torch."),
            "shape": list(x.shape),
            "values": x.detach().double().flatten().tolist(),
        }
        for name, x in tensors.items()
    }
    write_json(folder / "kinds.json", record=record)
    save(tensors, folder / "kinds.zip.bin")
    save(tensors, folder / "kinds.stream.bin", zipped=False)


def write_tiny_bert(folder: Path) -> None:
    """As older PyTorch models are: with the buffer of positions, and in the stream with the names
    that the norms have in TensorFlow."""
    tensors = load_file(HERE / "tiny_bert" / "model.safetensors")
    tensors["bert.embeddings.position_ids"] = torch.arange(40)[None]
    save(tensors, folder / "tiny_bert.zip.bin")
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("Norm.bias", "Norm.beta"): x
        for name, x in tensors.items()
    }
    save(old, folder / "tiny_bert.stream.bin", zipped=False)
    names = sorted(tensors)
    parts = {"first": names[: len(names) // 2], "second": names[len(names) // 2 :]}
    for part, of_part in parts.items():
        save({name: tensors[name] for name in of_part}, folder / f"tiny_bert.{part}.bin")


def save(tensors: dict[str, torch.Tensor], path: Path, *, zipped: bool = True) -> None:
    state = OrderedDict(tensors)
    state._metadata = OrderedDict({"": {"version": 1}})  # as `state_dict()` has
    torch.save(state, path, _use_new_zipfile_serialization=zipped)


def write_json(path: Path, *, record: dict) -> None:
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in record.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    sys.exit(main())
