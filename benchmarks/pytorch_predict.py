"""Owns the PyTorch side of `predict.py`: a Hugging Face folder tags the sentences of a file and
writes JSON lines, by the pipeline of `transformers`, or by hand in batches sorted by length.

A program that answers lines on standard input: a file to read and one to write, with the system to
use; it prints seconds, or, for "latency", the median milliseconds of one text at a time. Needs
torch and transformers, which bigjax itself never does.
"""

import json
import statistics
import sys
import time

import torch
import transformers


def sentences_in(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line)["tokens"] for line in file]


def written(path, records):
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def by_pipeline(pipe, texts, *, batch_size):
    """Entities of texts as {type, start, end, text, score}."""
    options = {"batch_size": batch_size} if batch_size else {}
    for found in pipe(texts, **options):
        yield [
            {"type": e["entity_group"], "start": e["start"], "end": e["end"], "text": e["word"],
             "score": float(e["score"])}
            for e in found
        ]  # fmt: skip


@torch.inference_mode()
def sorted_by_length(model, tokenizer, sentences, *, batch_size=32):
    """The most probable tag of each word, from its first sub-word, in batches of like lengths."""
    encoded = tokenizer(sentences, is_split_into_words=True, truncation=False)
    lengths = [len(ids) for ids in encoded["input_ids"]]
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    tags = [None] * len(sentences)
    for begin in range(0, len(order), batch_size):
        ids = order[begin : begin + batch_size]
        batch = tokenizer.pad(
            {"input_ids": [encoded["input_ids"][i] for i in ids]}, return_tensors="pt"
        )
        best = model(**batch).logits.argmax(-1).tolist()
        for i, row in zip(ids, best):
            words = encoded.word_ids(i)
            firsts = [
                at for at, word in enumerate(words) if word is not None and word != words[at - 1]
            ]
            tags[i] = [model.config.id2label[row[at]] for at in firsts]
    return tags


def main():
    folder = sys.argv[1]
    transformers.logging.set_verbosity_error()
    torch.set_flush_denormal(True)
    model = transformers.AutoModelForTokenClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    pipe = transformers.pipeline(
        "token-classification", model=model, tokenizer=tokenizer, aggregation_strategy="first",
        device=-1,
    )  # fmt: skip
    print("ready", flush=True)
    for line in sys.stdin:
        system, source, out = line.rstrip("\n").split("\t")
        begin = time.perf_counter()
        sentences = sentences_in(source)
        if system == "latency":
            times = []
            for words in sentences:
                start = time.perf_counter()
                pipe(" ".join(words))
                times.append(time.perf_counter() - start)
            print(1000 * statistics.median(times), flush=True)
            continue
        if system == "sorted":
            tags = sorted_by_length(model, tokenizer, sentences)
            records = [{"tokens": words, "tags": t} for words, t in zip(sentences, tags)]
        else:
            texts = [" ".join(words) for words in sentences]
            size = None if system == "pipeline" else int(system.removeprefix("pipeline-"))
            found = by_pipeline(pipe, texts, batch_size=size)
            records = [{"text": text, "entities": e} for text, e in zip(texts, found)]
        written(out, records)
        print(time.perf_counter() - begin, flush=True)


if __name__ == "__main__":
    main()
