"""Owns the PyTorch side of `text_classification.py`: the same fine-tuning by `transformers`, each
batch padded to its longest text. Needs torch and transformers, which bigjax itself never does.

    python pytorch_classify.py --data rows.npz --model_dir MODEL --pooling mean --out times.jsonl
    python pytorch_classify.py --data rows.npz --model_dir MODEL --pooling mean --seed 0 --score

`rows.npz` is what `text_classification.py` writes: tokens of the training texts in the order in
which bigjax sees them, and of the test texts. With --score it trains to the end and prints the
test accuracy; else it waits for lines "go N" on standard input, as `pytorch_loops.py` does.
"""

import argparse
import itertools
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
import transformers
from pytorch_loops import MAX_NORM, adamw


class MeanPooled(torch.nn.Module):
    """The mean of the last hidden states, dropout, and a linear layer."""

    def __init__(self, model_dir, num_classes):
        super().__init__()
        self.encoder = transformers.AutoModel.from_pretrained(
            model_dir, dtype=torch.float32, add_pooling_layer=False
        )
        self.dropout = torch.nn.Dropout(0.1)
        self.classifier = torch.nn.Linear(self.encoder.config.hidden_size, num_classes)
        self.classifier.weight.data.normal_(0, 0.02)
        self.classifier.bias.data.zero_()

    def forward(self, input_ids, attention_mask):
        found = self.encoder(input_ids=input_ids, attention_mask=attention_mask)
        mask = attention_mask[..., None].to(torch.float32)
        mean = (found.last_hidden_state * mask).sum(1) / mask.sum(1)
        return self.classifier(self.dropout(mean))


class FirstToken(torch.nn.Module):
    """transformers' own class: the pooler over the first token."""

    def __init__(self, model_dir, num_classes):
        super().__init__()
        self.model = transformers.AutoModelForSequenceClassification.from_pretrained(
            model_dir, num_labels=num_classes, dtype=torch.float32
        )

    def forward(self, **inputs):
        return self.model(**inputs).logits


def padded(tokens, offsets, take):
    first, end = offsets[take], offsets[take + 1]
    position = np.arange(int((end - first).max()))
    mask = position < (end - first)[:, None]
    ids = np.where(mask, tokens[np.minimum(first[:, None] + position, end[:, None] - 1)], 0)
    return {
        "input_ids": torch.from_numpy(ids.astype(np.int64)),
        "attention_mask": torch.from_numpy(mask.astype(np.int64)),
    }


def training(model, data, flags):
    """An iterator: each `next` is one update, (loss, texts)."""
    ends = np.cumsum(data["batch_sizes"])
    batches = np.split(np.arange(len(data["labels"])), ends[:-1])
    optimizer, schedule = adamw(model, learning_rate=flags.lr, num_updates=len(batches))
    labels = torch.from_numpy(data["labels"].astype(np.int64))
    bfloat16 = flags.dtype == "bfloat16"
    for take in itertools.cycle(batches):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            logits = model(**padded(data["tokens"], data["offsets"], take))
        loss = torch.nn.functional.cross_entropy(logits.float(), labels[take])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        yield loss.item(), len(take)


@torch.inference_mode()
def accuracy(model, data):
    model.eval()
    lengths = np.diff(data["test_offsets"])
    right = 0
    for take in np.array_split(np.argsort(lengths, kind="stable"), max(1, len(lengths) // 64)):
        logits = model(**padded(data["test_tokens"], data["test_offsets"], take))
        right += int((logits.argmax(-1).numpy() == data["test_labels"][take]).sum())
    return right / len(lengths)


def timed(updates, num):
    begin = time.perf_counter()
    done = list(itertools.islice(updates, num))
    losses, sizes = zip(*done)
    return {
        "seconds": time.perf_counter() - begin, "texts": sum(sizes), "losses": losses,
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model_dir", required=True)
    parser.add_argument("--pooling", choices=["mean", "cls"], required=True)
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--score", action="store_true")
    flags = parser.parse_args()
    torch.set_flush_denormal(True)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(flags.seed)
    transformers.logging.set_verbosity_error()
    with np.load(flags.data) as found:
        data = dict(found)
    num_classes = int(max(data["labels"].max(), data["test_labels"].max())) + 1
    model = {"mean": MeanPooled, "cls": FirstToken}[flags.pooling](flags.model_dir, num_classes)
    updates = training(model.train(), data, flags)
    if flags.score:
        for number, size in enumerate(data["batch_sizes"], 1):
            loss, _ = next(updates)
            if number % 50 == 0:
                print(f"update {number}/{len(data['batch_sizes'])} of {size} loss {loss:.4f}",
                      flush=True)  # fmt: skip
        print(f"seed {flags.seed}: test accuracy {accuracy(model, data):.4f}", flush=True)
        return
    with flags.out.open("a") as out:
        print(json.dumps(timed(updates, 5)), file=out, flush=True)
        for line in sys.stdin:
            if line.startswith("stop"):
                return
            print(json.dumps(timed(updates, int(line.split()[1]))), file=out, flush=True)


if __name__ == "__main__":
    main()
