"""Owns what the service counts: requests and batches, and what is predicted beside what was on dev,
so that a change of the world can be alarmed on."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from bigjax.tasks.task import Observed

FILE = "monitoring.json"  # in the run folder: what was seen on dev
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


class Monitor:
    """The metrics of one service."""

    def __init__(self, *, waiting: Any):
        self._registry = CollectorRegistry()
        counter = self._of(Counter)
        self._requests = counter("bigjax_requests", "Requests to /predict", ["status"])
        self._inputs = counter("bigjax_inputs", "Inputs that were answered")
        self._predictions = counter("bigjax_predictions", "What was predicted", ["label"])
        self._scores = counter("bigjax_prediction_scores", "Sum of the scores of predictions")
        self._words = counter("bigjax_words", "Parts of inputs, such as words")
        self._unknown = counter("bigjax_unknown_words", "Those that the model does not know")
        self._seconds = self._of(Histogram)(
            "bigjax_request_seconds", "From a request to its answer", buckets=_SECONDS
        )
        self._together = self._of(Histogram)(
            "bigjax_batch_inputs", "Inputs computed at once", buckets=_SIZES
        )
        self._lengths = self._of(Histogram)(
            "bigjax_input_words", "Parts of each input", buckets=_SIZES
        )
        self._of(Gauge)("bigjax_waiting_inputs", "Inputs that wait").set_function(waiting)

    def _of(self, kind: Any) -> Any:
        return lambda *given, **more: kind(*given, registry=self._registry, **more)

    def request(self, status: int, *, seconds: float) -> None:
        self._requests.labels(str(status)).inc()
        self._seconds.observe(seconds)

    def batch(self, num: int) -> None:
        self._together.observe(num)

    def observe(self, found: Observed) -> None:
        self._inputs.inc(len(found.lengths))
        for label, num in found.labels.items():
            self._predictions.labels(label).inc(num)
        self._scores.inc(found.score_sum)
        self._words.inc(sum(found.lengths))
        self._unknown.inc(found.num_unknown)
        for length in found.lengths:
            self._lengths.observe(length)

    def expect(self, dev: Mapping[str, Any]) -> None:
        """Puts dev's numbers beside, for rules of alarms."""
        gauge = self._of(Gauge)
        share = gauge("bigjax_dev_predictions_per_input", "On dev: predictions an input", ["label"])
        for label, value in dev["predictions_per_input"].items():
            share.labels(label).set(value)
        gauge("bigjax_dev_mean_score", "On dev: mean score").set(dev["mean_score"])
        gauge("bigjax_dev_unknown_share", "On dev: unknown words").set(dev["unknown_share"])
        gauge("bigjax_dev_mean_words", "On dev: words an input").set(dev["mean_words"])

    def text(self) -> bytes:
        return generate_latest(self._registry)


def summary(found: Sequence[Observed]) -> dict[str, Any]:
    """Of dev, as it is kept in the run folder."""
    num = sum(len(one.lengths) for one in found)
    words = sum(sum(one.lengths) for one in found)
    labels: dict[str, int] = {}
    for one in found:
        for label, count in one.labels.items():
            labels[label] = labels.get(label, 0) + count
    total = sum(labels.values())
    return {
        "inputs": num,
        "predictions_per_input": {label: n / max(1, num) for label, n in sorted(labels.items())},
        "mean_score": sum(one.score_sum for one in found) / max(1, total),
        "unknown_share": sum(one.num_unknown for one in found) / max(1, words),
        "mean_words": words / max(1, num),
    }


def read(folder: str, *, identity: str) -> dict[str, Any] | None:
    """What is kept, of the model of this identity."""
    try:
        with open(os.path.join(folder, FILE), encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("model") == identity else None


def write(folder: str, found: Mapping[str, Any]) -> None:
    path = os.path.join(folder, FILE)
    with open(path + ".tmp", "w", encoding="utf-8") as file:
        json.dump(found, file, indent=1, ensure_ascii=False)
    os.replace(path + ".tmp", path)
