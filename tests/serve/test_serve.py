"""The service over HTTP with a model that is a function: what is answered, what is refused and why,
what waits and is computed together, and what is counted."""

import asyncio
import json
import threading
import time
from types import SimpleNamespace

import httpx
import pytest

from bigjax.errors import UserError
from bigjax.serve import app, bodies, monitor, openapi
from bigjax.serve.batching import Batcher, Full, Late
from bigjax.serve.bodies import Limits, Refused
from bigjax.tasks.task import Observed

LIMITS = Limits(body=2000, inputs=3, size=50, seconds=5.0)
JSON = {"content-type": "application/json"}


def prepare(given):
    if given == "bad":
        raise UserError("cannot be answered")
    return given


def observe(inputs, answers):
    return Observed({"A": len(answers)}, 0.5 * len(answers), [len(one) for one in inputs], 1)


def make(*, takes="text", answer=None, ready=True, limits=LIMITS, most_waiting=10):
    use = SimpleNamespace(takes=takes, prepare=prepare, observe=observe)
    counted = monitor.Monitor(waiting=lambda: 0)
    batcher = Batcher(
        answer or (lambda inputs: [{"given": str(one)} for one in inputs]),
        most_waiting=most_waiting,
        most_together=64,
        seen=counted.batch,
    )
    service = app.Service(use, batcher, counted, limits, lambda: ready, "1")
    return app.make(service), counted


def ask(made, method="POST", path="/predict", **given):
    async def once():
        transport = httpx.ASGITransport(app=made)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.request(method, path, **given)

    return asyncio.run(once())


ANSWERED = {
    "a text": ("text", {"text": "one"}, ["one"]),
    "several texts": ("text", {"texts": ["one", "two"]}, ["one", "two"]),
    "words": ("text", {"tokens": ["a", "b"]}, ["['a', 'b']"]),
    "half a character": ("text", {"text": "\ud800"}, ["\ud800"]),
    "a row": ("row", {"row": {"a": 1}}, ["{'a': 1}"]),
    "several rows": ("row", {"rows": [{}, {"b": "x"}]}, ["{}", "{'b': 'x'}"]),
}


@pytest.mark.parametrize("case", ANSWERED)
def test_each_form_of_a_body_is_answered_in_order(case):
    takes, body, expected = ANSWERED[case]
    found = ask(make(takes=takes)[0], content=json.dumps(body), headers=JSON)
    assert found.status_code == 200
    assert found.json() == {"answers": [{"given": one} for one in expected]}


REFUSED = {
    "no JSON": ("{", 400, "not JSON"),
    "no UTF-8": (b"\xff", 400, "not UTF-8"),
    "nested": ("[" * 100_000, 413, "bytes"),
    "deep": ("[" * 1900, 400, "not JSON|nested"),
    "a list": ("[]", 400, "expected a JSON object, found a list"),
    "nothing": ("{}", 400, "exactly one of the keys 'text', 'texts', 'tokens'; found none"),
    "two keys": ('{"text": "", "texts": []}', 400, "exactly one"),
    "another key": ('{"txt": ""}', 400, "found 'txt'"),
    "a number": ('{"text": 1}', 400, "'text': expected a string, found a number"),
    "null": ('{"text": null}', 400, "found null"),
    "an empty list": ('{"texts": []}', 400, "a list of one or more"),
    "a mixed list": ('{"texts": ["a", 1]}', 400, "each a string"),
    "words that are none": ('{"tokens": [["a"]]}', 400, "a list of words"),
    "too many": ('{"texts": ["a","a","a","a"]}', 413, "4 inputs; expected 3 at most"),
    "too long": (json.dumps({"text": "a" * 51}), 413, "51 characters; expected 50 at most"),
    "no number of JSON": ('{"text": NaN}', 400, "NaN is no number"),
    "what the model refuses": ('{"texts": ["a", "bad"]}', 400, "input 2: cannot be answered"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_body_gets_one_clear_reason(case):
    body, status, reason = REFUSED[case]
    with pytest.raises(Refused, match=reason) as refused:
        body = body if isinstance(body, bytes) else body.encode()
        if len(body) > LIMITS.body:
            raise Refused(413, "bytes")  # as test_a_body_that_is_too_long has it
        given = bodies.read(body, kind="application/json", takes="text", limits=LIMITS)
        bodies.prepare(given, by=prepare)
    assert refused.value.status == status and "\n" not in refused.value.reason


def test_a_body_that_is_too_long_or_of_another_type_or_way_is_refused():
    made, _ = make()
    assert ask(made, content=b"a" * 2001, headers=JSON).status_code == 413
    assert ask(made, content=b"text=a").status_code == 415
    assert ask(made, "GET").status_code == 405
    nowhere = ask(made, "GET", "/nowhere")
    assert nowhere.status_code == 404 and nowhere.json() == {"error": "Not Found"}
    images, _ = make(takes="image")
    assert ask(images, content=b"{}", headers=JSON).status_code == 415
    octets = {"content-type": "application/octet-stream"}
    assert ask(images, content=b"", headers=octets).status_code == 400
    assert ask(images, content=b"abc", headers=octets).json()["answers"] == [{"given": "b'abc'"}]


def test_what_waits_too_long_or_has_no_room_is_told_when_to_ask_again():
    release = threading.Event()

    def answer(inputs):
        release.wait(5)
        return inputs

    made, _ = make(answer=answer, limits=LIMITS._replace(seconds=0.2))
    late = ask(made, content=b'{"text": "a"}', headers=JSON)
    release.set()
    assert late.status_code == 503 and late.headers["retry-after"] == "1"
    starting = ask(make(ready=False)[0], content=b'{"text": "a"}', headers=JSON)
    assert starting.status_code == 503
    assert ask(make(ready=False)[0], "GET", "/readyz").status_code == 503
    assert ask(make(ready=False)[0], "GET", "/healthz").status_code == 200


def test_requests_that_wait_at_the_same_time_are_computed_together():
    sizes, busy, release = [], threading.Event(), threading.Event()

    def answer(inputs):
        busy.set()
        release.wait(5)
        return [one * 2 for one in inputs]

    batcher = Batcher(answer, most_waiting=5, most_together=4, seen=sizes.append)
    first = batcher.submit([1], seconds=9)
    busy.wait(5)
    others = [batcher.submit([i, i], seconds=9) for i in (2, 3)]
    with pytest.raises(Full):
        batcher.submit([1, 1], seconds=9)
    late = batcher.submit([4], seconds=-1)
    release.set()
    assert first.result(5) == [2] and [one.result(5) for one in others] == [[4, 4], [6, 6]]
    with pytest.raises(Late):
        late.result(5)
    assert sizes == [1, 4]
    batcher.close()
    with pytest.raises(Full):
        batcher.submit([1], seconds=9)


def test_one_that_fails_fails_alone():
    def answer(inputs):
        if "x" in inputs:
            raise UserError("x")
        return inputs

    gate = threading.Event()
    batcher = Batcher(lambda i: (gate.wait(5), answer(i))[1], most_waiting=9, most_together=9)
    found = [batcher.submit([one], seconds=9) for one in ("a", "x", "b")]
    gate.set()
    assert found[0].result(5) == ["a"] and found[2].result(5) == ["b"]
    with pytest.raises(UserError):
        found[1].result(5)


def test_closing_answers_what_waits():
    batcher = Batcher(lambda i: (time.sleep(0.05), i)[1], most_waiting=99, most_together=1)
    found = [batcher.submit([i], seconds=9) for i in range(5)]
    batcher.close()
    assert [one.result(0) for one in found] == [[i] for i in range(5)]


def test_metrics_count_requests_and_predictions_beside_those_of_dev():
    made, counted = make()
    counted.expect(monitor.summary([Observed({"A": 3}, 2.4, [5, 7], 1)]))
    ask(made, content=b'{"texts": ["abc", "de"]}', headers=JSON)
    ask(made, content=b"{", headers=JSON)
    text = ask(made, "GET", "/metrics").text
    for line in (
        'bigjax_requests_total{status="200"} 1.0',
        'bigjax_requests_total{status="400"} 1.0',
        "bigjax_inputs_total 2.0",
        'bigjax_predictions_total{label="A"} 2.0',
        "bigjax_prediction_scores_total 1.0",
        "bigjax_words_total 5.0",
        "bigjax_unknown_words_total 1.0",
        'bigjax_dev_predictions_per_input{label="A"} 1.5',
        "bigjax_dev_mean_words 6.0",
        "bigjax_dev_mean_score 0.8",
    ):
        assert line in text.replace("0.7999999999999999", "0.8"), line


def test_dev_is_kept_for_the_model_that_it_is_of(tmp_path):
    monitor.write(str(tmp_path), {"model": "a", "inputs": 1})
    assert monitor.read(str(tmp_path), identity="a") == {"model": "a", "inputs": 1}
    assert monitor.read(str(tmp_path), identity="b") is None
    (tmp_path / monitor.FILE).write_text("{")
    assert monitor.read(str(tmp_path), identity="a") is None


@pytest.mark.parametrize("takes", ["text", "row", "image"])
def test_the_description_is_openapi(takes):
    validator = pytest.importorskip("openapi_spec_validator", reason="needs openapi-spec-validator")
    validator.validate(openapi.document(takes=takes, limits=LIMITS, version="1"))


def test_the_page_needs_nothing_from_elsewhere():
    made, _ = make()
    page = ask(made, "GET", "/")
    assert page.status_code == 200 and 'data-takes="text"' in page.text
    assert "default-src 'self'" in page.headers["content-security-policy"]
    parts = [page, ask(made, "GET", "/page.js"), ask(made, "GET", "/page.css")]
    assert all(part.status_code == 200 and "://" not in part.text for part in parts)
