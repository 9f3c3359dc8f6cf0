"""Owns reading the tokenizer of a Hugging Face folder: its `tokenizer.json`, or, where there is
none, one built as transformers builds it from the older files of the same content. What is done
with a tokenizer belongs to `tokenization.py`.
"""

import functools
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

from bigjax.data.text import sentencepiece
from bigjax.errors import UserError

Vocab = list[tuple[str, float]]

JSON = "tokenizer.json"
SENTENCEPIECE = "sentencepiece.bpe.model"
# The names of all files that say something of a tokenizer.
FILES = (
    JSON, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.txt",
    "vocab.json", "merges.txt", SENTENCEPIECE,
)  # fmt: skip

# A model type's tokenizer, where nothing says which it is.
_CLASSES = {
    "bert": "BertTokenizer",
    "distilbert": "BertTokenizer",
    "electra": "BertTokenizer",
    "roberta": "RobertaTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "camembert": "CamembertTokenizer",
}
_SAME = {"DistilBertTokenizer": "BertTokenizer", "ElectraTokenizer": "BertTokenizer"}
_UNSAID = {None, "PreTrainedTokenizer", "TokenizersBackend"}
_BERT_NAMES = {
    "unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}  # fmt: skip
_ROBERTA_NAMES = {
    "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "sep_token": "</s>",
    "pad_token": "<pad>", "cls_token": "<s>", "mask_token": "<mask>",
}  # fmt: skip
_ORDER = (
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
)  # fmt: skip


def read(folder: str) -> Tokenizer:
    """The folder's tokenizer.

    Raises:
      UserError: neither a `tokenizer.json` nor the files to build one from, or one that cannot be
        read.
    """
    path = os.path.join(folder, JSON)
    if os.path.isfile(path):
        return _try(path, lambda: Tokenizer.from_file(path))
    config = _config(folder)
    name = _class(folder, config)
    xlm_roberta = functools.partial(_unigram, ids=_xlm_roberta_ids)
    camembert = functools.partial(_unigram, ids=_camembert_ids)
    builders = {
        "BertTokenizer": (_wordpiece, ("vocab.txt",), _BERT_NAMES),
        "RobertaTokenizer": (_byte_level, ("vocab.json", "merges.txt"), _ROBERTA_NAMES),
        "XLMRobertaTokenizer": (xlm_roberta, (SENTENCEPIECE,), _ROBERTA_NAMES),
        "CamembertTokenizer": (camembert, (SENTENCEPIECE,), _ROBERTA_NAMES),
    }
    advice = "transformers' AutoTokenizer.from_pretrained(...).save_pretrained(folder) writes one"
    if name not in builders:
        raise UserError(
            f"{folder}: no {JSON}, and a {name} cannot be built here, {', '.join(builders)} can; "
            + advice
        )
    build, files, names = builders[name]
    paths = [os.path.join(folder, file) for file in files]
    if not all(map(os.path.isfile, paths)):
        raise UserError(f"{folder}: no {JSON} and no {' and '.join(files)}; {advice}")
    names = {key: _text(config.get(key, value)) for key, value in names.items()}
    return _try(paths[0], lambda: build(*paths, config=config, names=names))


def _try(path: str, make: Any) -> Tokenizer:
    try:
        return make()
    except UserError:
        raise
    except Exception as error:  # the library raises bare Exception
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: cannot be read as a tokenizer: {reason}") from error


def _wordpiece(path: str, *, config: Mapping[str, Any], names: Mapping[str, str]) -> Tokenizer:
    """BERT's: cleaning, perhaps lower-casing, words and punctuation apart, the longest piece
    first."""
    with open(path, encoding="utf-8", newline="\n") as file:
        vocab = {line.rstrip("\r\n"): number for number, line in enumerate(file)}
    if names["unk_token"] not in vocab:
        raise UserError(f"{path}: does not hold the unknown token {names['unk_token']!r}")
    lowercase = config.get("do_lower_case", True)
    if "do_lower_case" not in config:
        _warn_of_case(path, vocab=vocab, special=set(names.values()))
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token=names["unk_token"]))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=config.get("tokenize_chinese_chars", True),
        strip_accents=config.get("strip_accents"),  # None: where it lower-cases
        lowercase=lowercase,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    _add_tokens(tokenizer, path=path, config=config, names=names)
    cls, sep = names["cls_token"], names["sep_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[f"{cls}:0", "$A:0", f"{sep}:0"],
        pair=[f"{cls}:0", "$A:0", f"{sep}:0", "$B:1", f"{sep}:1"],
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in (cls, sep)],
    )
    return tokenizer


def _warn_of_case(path: str, *, vocab: Mapping[str, int], special: set[str]) -> None:
    num_upper = sum(piece != piece.lower() for piece in vocab if piece not in special)
    if num_upper > len(vocab) // 100:
        print(
            f"warning: {path} holds {num_upper:,} pieces with capital letters, which are never "
            "used: words are lower-cased, as by transformers, since no tokenizer_config.json says "
            'otherwise; for a cased model write {"do_lower_case": false} into it',
            file=sys.stderr,
            flush=True,
        )


def _byte_level(
    vocab: str, merges: str, *, config: Mapping[str, Any], names: Mapping[str, str]
) -> Tokenizer:
    """RoBERTa's: byte-pair encoding of bytes."""
    prefix_space = config.get("add_prefix_space", False)
    # The empty names are those of pieces inside and at the end of a word, which it has not.
    model = models.BPE.from_file(
        vocab, merges, continuing_subword_prefix="", end_of_word_suffix="", fuse_unk=False
    )
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    _add_tokens(tokenizer, path=vocab, config=config, names=names)
    sep, cls = (
        (names[key], tokenizer.token_to_id(names[key])) for key in ("sep_token", "cls_token")
    )
    tokenizer.post_processor = processors.RobertaProcessing(
        sep, cls, config.get("trim_offsets", True), prefix_space
    )
    return tokenizer


def _unigram(
    path: str, *, config: Mapping[str, Any], names: Mapping[str, str], ids: Callable[..., Vocab]
) -> Tokenizer:
    """XLM-RoBERTa's and CamemBERT's: a unigram language model of SentencePiece.

    Args:
      ids: which piece has which id: (the model's pieces with their scores, names) -> all of them.
    """
    pieces, charsmap = sentencepiece.read_unigram(path)
    bos, eos = names["bos_token"], names["eos_token"]
    vocab = ids([(piece, score) for piece, score, _ in pieces], names)
    tokenizer = Tokenizer(models.Unigram(vocab, unk_id=3, byte_fallback=False))
    if charsmap:
        tokenizer.normalizer = normalizers.Precompiled(charsmap)
    scheme = "always" if config.get("add_prefix_space", True) else "never"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme),
        ]
    )
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme=scheme)
    own = [
        AddedToken(piece, normalized=False, special=kind == sentencepiece.CONTROL)
        for piece, _, kind in pieces
        if kind in (sentencepiece.CONTROL, sentencepiece.USER_DEFINED)
    ]
    _add_tokens(tokenizer, path=path, config=config, names=names, own=own)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[bos, "$A", eos],
        pair=[bos, "$A", eos, eos, "$B", eos],
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in (bos, eos)],
    )
    return tokenizer


def _xlm_roberta_ids(scores: Vocab, names: Mapping[str, str]) -> Vocab:
    """fairseq's own special tokens in the place of SentencePiece's unknown, begin and end."""
    first = [names[key] for key in ("bos_token", "pad_token", "eos_token", "unk_token")]
    return [*((name, 0.0) for name in first), *scores[3:], (names["mask_token"], 0.0)]


def _camembert_ids(scores: Vocab, names: Mapping[str, str]) -> Vocab:
    """fairseq's before all of SentencePiece's, of which the unknown one is never chosen."""
    pad, unk = (names["pad_token"], 0.0), (names["unk_token"], 0.0)
    first = [("<s>NOTUSED", 0.0), pad, ("</s>NOTUSED", 0.0), unk, ("<unk>NOTUSED", -100.0)]
    return [*first, *scores[1:], (names["mask_token"], 0.0)]


def _add_tokens(
    tokenizer: Tokenizer,
    *,
    path: str,
    config: Mapping[str, Any],
    names: Mapping[str, str],
    own: Sequence[AddedToken] = (),
) -> None:
    """Adds what the config adds to the vocabulary, and marks its special tokens as such.

    Raises:
      UserError: an added token that would not get the id that the config gives it.
    """
    added = {int(number): token for number, token in config["added_tokens_decoder"].items()}
    for number, token in sorted(added.items()):
        tokenizer.add_tokens([_added_token(token)])
        found = tokenizer.token_to_id(_text(token))
        if found != number:
            raise UserError(
                f"{os.path.dirname(path)}: the added token {_text(token)!r} should have the id "
                f"{number} and would get {found}; {os.path.basename(path)} is not of this model"
            )
    extra = config.get("extra_special_tokens") or config.get("additional_special_tokens") or []
    extra = extra.values() if isinstance(extra, dict) else extra
    known = set(map(_text, added.values()))
    special = dict.fromkeys([*(names[key] for key in _ORDER if key in names), *map(_text, extra)])
    tokenizer.add_tokens([AddedToken(text, special=True) for text in special if text not in known])
    tokenizer.add_tokens([token for token in own if token.content not in {*known, *special}])


def _added_token(token: Mapping[str, Any]) -> AddedToken:
    flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
    return AddedToken(token["content"], **{key: token[key] for key in flags if key in token})


def _text(token: Any) -> str:
    """A token's text: config files state it as it is, or with how it is matched."""
    return token["content"] if isinstance(token, dict) else str(token)


def _config(folder: str) -> dict[str, Any]:
    """What the folder's files say of its tokenizer, with `added_tokens_decoder` (id to token),
    which older ones state in files of their own."""
    config = _read_json(folder, "tokenizer_config.json")
    if "added_tokens_decoder" in config:
        return config
    config |= _read_json(folder, "special_tokens_map.json")
    special = {_text(value) for key, value in config.items() if key in _ORDER}
    special |= {*map(_text, config.get("additional_special_tokens") or [])}
    added = {
        number: {"content": text, "special": text in special, "normalized": text not in special}
        for text, number in _read_json(folder, "added_tokens.json").items()
    }
    return config | {"added_tokens_decoder": added}


def _class(folder: str, config: Mapping[str, Any]) -> str:
    """The name of transformers' class that the folder's tokenizer is of."""
    model = _read_json(folder, "config.json")
    for name in (config.get("tokenizer_class"), model.get("tokenizer_class")):
        name = name and name.removesuffix("Fast")
        if name not in _UNSAID:
            return _SAME.get(name, name)
    if model.get("model_type") in _CLASSES:
        return _CLASSES[model["model_type"]]
    there = {
        "vocab.json": "RobertaTokenizer",
        SENTENCEPIECE: "XLMRobertaTokenizer",
        "vocab.txt": "BertTokenizer",
    }
    found = [name for file, name in there.items() if os.path.isfile(os.path.join(folder, file))]
    return (found or ["BertTokenizer"])[0]


def _read_json(folder: str, name: str) -> dict[str, Any]:
    """{} where there is no such file."""
    path = os.path.join(folder, name)
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: holds a {type(found).__name__}, expected names and values")
    return found
