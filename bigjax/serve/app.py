"""Owns the HTTP service: its paths, and what becomes of a request.

What a body may be belongs to `bodies.py`, what is computed together to `batching.py`.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from importlib import resources
from typing import Any, NamedTuple

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from bigjax.errors import UserError
from bigjax.serve import bodies, openapi
from bigjax.serve.batching import Batcher, Full, Late
from bigjax.serve.bodies import Limits, Refused
from bigjax.serve.monitor import Monitor
from bigjax.tasks.task import Use

_PAGE = {"/": ("page.html", "text/html"), "/page.js": ("page.js", "text/javascript")}
_PAGE["/page.css"] = ("page.css", "text/css")
_SAFE = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


class Service(NamedTuple):
    """is_ready: () -> whether requests are taken."""

    use: Use
    batcher: Batcher
    monitor: Monitor
    limits: Limits
    is_ready: Callable[[], bool]
    version: str


def make(service: Service, *, started: Callable[[], None] = lambda: None) -> Starlette:
    """The application. started: called when it begins to serve."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        started()
        yield

    async def predict(request: Request) -> Response:
        begin = time.monotonic()
        response = await _answered(service, request, begin=begin)
        service.monitor.request(response.status_code, seconds=time.monotonic() - begin)
        return response

    async def ready(_: Request) -> Response:
        is_ready = service.is_ready()
        return _json({"ready": is_ready}, status=200 if is_ready else 503)

    async def alive(_: Request) -> Response:
        return _json({"alive": True})

    async def metrics(_: Request) -> Response:
        return Response(service.monitor.text(), media_type="text/plain; version=0.0.4")

    about = openapi.document(
        takes=service.use.takes, limits=service.limits, version=service.version
    )

    async def described(_: Request) -> Response:
        return _json(about)

    routes = [
        Route("/predict", predict, methods=["POST"]),
        Route("/healthz", alive),
        Route("/readyz", ready),
        Route("/metrics", metrics),
        Route("/openapi.json", described),
        *(Route(path, _file(*file, takes=service.use.takes)) for path, file in _PAGE.items()),
    ]
    return Starlette(
        routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _http_error}
    )


async def _answered(service: Service, request: Request, *, begin: float) -> Response:
    limits = service.limits
    try:
        if not service.is_ready():
            raise Full("the service is starting or ending")
        body = await asyncio.wait_for(_body(request, most=limits.body), limits.seconds)
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        given = bodies.read(body, kind=kind, takes=service.use.takes, limits=limits)
        # In a thread: text is cut into words, images are decoded.
        prepared = await run_in_threadpool(bodies.prepare, given, by=service.use.prepare)
        left = limits.seconds - (time.monotonic() - begin)
        found = service.batcher.submit(prepared, seconds=left)
        answers = await asyncio.wait_for(asyncio.wrap_future(found), max(left, 0.001))
    except Refused as refused:
        return _json({"error": refused.reason}, status=refused.status)
    except UserError as error:  # what the model itself refuses
        return _json({"error": str(error)}, status=400)
    except (Full, Late, TimeoutError) as error:
        if isinstance(error, TimeoutError) and "body" not in locals():
            return _json({"error": f"no body within {limits.seconds:g} s"}, status=408)
        reason = str(error) or f"no answer within {limits.seconds:g} s"
        return _json({"error": reason}, status=503, headers={"Retry-After": "1"})
    except ClientDisconnect:
        return _json({"error": "the connection was closed"}, status=400)
    if service.use.observe is not None:
        service.monitor.observe(service.use.observe(prepared, answers))
    return _json({"answers": answers})


async def _body(request: Request, *, most: int) -> bytes:
    """Raises Refused (413) as soon as it is too long."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise Refused(413, f"the body has more than {most} bytes: ask several times")
        parts.append(part)
    return b"".join(parts)


def _file(name: str, kind: str, *, takes: str) -> Any:
    text = resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
    content = text.replace("TAKES", takes)

    async def endpoint(_: Request) -> Response:
        return Response(content, media_type=kind, headers=_SAFE)

    return endpoint


async def _http_error(_: Request, error: HTTPException) -> Response:
    return _json({"error": error.detail}, status=error.status_code, headers=error.headers)


def _json(value: Any, *, status: int = 200, headers: Any = None) -> Response:
    # ASCII: half a character, which JSON can spell, is none in UTF-8.
    content = json.dumps(value, allow_nan=False)
    return Response(content, status_code=status, media_type="application/json", headers=headers)
