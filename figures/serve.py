"""The page with the model behind it, for graphs typed in: on this machine alone."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from circuits.subject import Subject
from figures.port import HOST, port_named
from figures.viewer import parse_graph, view

NAMES = (HOST, "localhost")
MAX_BYTES = 10_000
MAX_CONNECTIONS = 64
SECONDS = 30.0  # from a connection to the last byte of the answer
HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "frame-ancestors 'none'"),
    ("Cache-Control", "no-store"),
    ("Connection", "close"),  # so that a deadline for a connection is one for a request
]


class PageServer(uvicorn.Server):
    """Serves a page at `/`, and at `/graph` what the viewer shows of a graph, `{"text": …}`."""

    def __init__(
        self,
        subject: Subject,
        page: str,
        listener: socket.socket,
        *,
        seconds: float = SECONDS,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        self.listener = listener
        self.ready = ready
        self.worker = ThreadPoolExecutor(1)
        super().__init__(
            uvicorn.Config(
                application(subject, page, self.worker),
                http=_connection(seconds),
                ws="none",
                loop="asyncio",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                log_level="error",  # whoever looks at the page sees what it answers
                access_log=False,
                proxy_headers=False,
                server_header=False,
                headers=HEADERS,
            )
        )

    @property
    def address(self) -> str:
        """Where to point a browser."""
        return f"http://{HOST}:{self.listener.getsockname()[1]}/"

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer until Ctrl-C or `should_exit`; `ready` is called once whoever asks is answered."""
        with port_named(self.listener.getsockname()[1]):
            self.listener.listen()
        with self.worker:  # no interpreter is taken down under a model that runs
            super().run([self.listener])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer, and say so: from here on Ctrl-C ends what `run` does in good order."""
        await super().startup(sockets)
        self.ready()


def _connection(seconds: float) -> type[H11Protocol]:
    class Connection(H11Protocol):
        """Lasts so many seconds at most; cut where there are too many, and at the end."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.deadline = self.loop.call_later(seconds, transport.abort)
            if len(self.connections) > MAX_CONNECTIONS:
                transport.abort()

        def connection_lost(self, exc: Exception | None) -> None:
            self.deadline.cancel()
            super().connection_lost(exc)

        def shutdown(self) -> None:
            self.transport.abort()  # Ctrl-C waits for nobody who sends or reads slowly

    return Connection


def application(subject: Subject, page: str, worker: Executor) -> Starlette:
    """What is answered; the model runs in the worker, so that the loop is free for others."""
    content = page.encode()
    turn = asyncio.Lock()  # a model with hooks on it serves one run

    def look_at(text: str) -> dict[str, Any]:
        n_vertices = subject.model.cfg.n_vertices
        graph = parse_graph(text, n_vertices=n_vertices).to(subject.graphs.adjacency)
        return view(subject.model, graph, name=text.strip()[:60] or "no edges", group="typed in")

    async def show(request: Request) -> Response:
        return HTMLResponse(content)

    async def graph(request: Request) -> Response:
        text = await _read(request)
        async with turn:
            if await request.is_disconnected():  # nor does Ctrl-C wait for graphs in a queue
                raise ClientDisconnect
            try:
                found = await asyncio.get_running_loop().run_in_executor(worker, look_at, text)
            except ValueError as error:
                raise HTTPException(400, str(error)) from None
        return JSONResponse(found)

    return Starlette(
        routes=[Route("/", show), Route("/graph", graph, methods=["POST"])],
        middleware=[Middleware(_addressed_here)],
        exception_handlers={HTTPException: _refused, ClientDisconnect: _gone},
    )


async def _read(request: Request) -> str:
    """The text of the graph that is sent."""
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # so that no other site's form can send one
        raise HTTPException(415, "a graph is sent as application/json")
    too_long = HTTPException(413, f"a graph is sent in at most {MAX_BYTES} bytes")
    if int(request.headers.get("Content-Length", "0")) > MAX_BYTES:  # digits: h11 has seen to it
        raise too_long
    body = bytearray()
    async for part in request.stream():  # of a length that need not have been told
        body += part
        if len(body) > MAX_BYTES:
            raise too_long
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError):
        sent = None
    if not isinstance(sent, dict) or not isinstance(sent.get("text"), str):
        raise HTTPException(400, 'a graph is sent as {"text": "0-1 1-2"}')
    return sent["text"]


def _addressed_here(app: ASGIApp) -> ASGIApp:
    """Refuse what is addressed to another name, which a page from elsewhere may point at us."""

    async def checked(scope: Scope, receive: Receive, send: Send) -> None:
        host = Headers(scope=scope).get("Host", "").partition(":")[0].lower()
        sentence = f"this page is served at {' and '.join(NAMES)} only, not at {host[:60]!r}"
        answer = app if host in NAMES else JSONResponse({"error": sentence}, 403)
        await answer(scope, receive, send)

    return checked


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    place = repr(request.url.path[:60])
    sentences = {
        404: f"there is nothing at {place}; the page is at /",
        405: f"{request.method[:20]} is not answered at {place}",
    }
    sentence = sentences.get(error.status_code, error.detail)
    return JSONResponse({"error": sentence}, error.status_code, error.headers)


async def _gone(request: Request, error: Exception) -> Response:
    """Nothing to say where a client went away before it was answered."""
    return Response()
