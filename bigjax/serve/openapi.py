"""Owns the description of the service for other programs (OpenAPI 3.1)."""

from typing import Any

from bigjax.serve import bodies
from bigjax.serve.bodies import Limits


def document(*, takes: str, limits: Limits, version: str) -> dict[str, Any]:
    """What `/openapi.json` gives."""
    reason = _json({"type": "object", "required": ["error"], "properties": {"error": _STRING}})
    answers = {"type": "array", "items": {"type": "object"}}
    answered = {"type": "object", "required": ["answers"], "properties": {"answers": answers}}
    refused = {
        "400": "the body is not what is expected",
        "408": "the body came too slowly",
        "413": "the body, or what it holds, is too large",
        "415": "the body is of another type",
        "503": "too much waits, or the service is ending; Retry-After says when to ask again",
    }
    predict = {
        "summary": "Answers inputs, in order",
        "operationId": "predict",
        "requestBody": {"required": True, "content": _content(takes, limits)},
        "responses": {
            "200": {"description": "an answer for each input", "content": _json(answered)},
            **{code: {"description": why, "content": reason} for code, why in refused.items()},
        },
    }
    probe = {"200": {"description": "yes"}, "503": {"description": "no"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "bigjax", "version": version},
        "paths": {
            "/predict": {"post": predict},
            "/healthz": {"get": {"summary": "Whether it lives", "responses": probe}},
            "/readyz": {"get": {"summary": "Whether it takes requests", "responses": probe}},
            "/metrics": {
                "get": {
                    "summary": "Numbers for Prometheus",
                    "responses": {"200": {"description": "text"}},
                }
            },
        },
    }


_STRING = {"type": "string"}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _content(takes: str, limits: Limits) -> dict[str, Any]:
    if takes == "image":
        return {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    one = _STRING if takes == "text" else {"type": "object"}
    several = {"type": "array", "items": one, "minItems": 1, "maxItems": limits.inputs}
    forms = {bodies.ONE[takes]: one, bodies.SEVERAL[takes]: several}
    if takes == "text":
        forms[bodies.TOKENS] = {"type": "array", "items": _STRING, "minItems": 1}
    return _json(
        {
            "oneOf": [
                {
                    "type": "object",
                    "required": [key],
                    "properties": {key: schema},
                    "additionalProperties": False,
                }
                for key, schema in forms.items()
            ]
        }
    )
