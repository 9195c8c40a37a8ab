"""The page with the model behind it, for graphs typed in: on this machine alone."""

from __future__ import annotations

import json
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from circuits.subject import Subject
from claims.viewer import parse_graph, view

HOST = "127.0.0.1"
MAX_BYTES = 10_000
SECONDS = 10  # a client that says nothing for so long is dropped


class PageServer(ThreadingHTTPServer):
    """Serves one page at `/`, and at `/graph` what the viewer shows of a graph given as `{"text": …}`; loopback only."""

    daemon_threads = True

    def __init__(self, subject: Subject, *, port: int) -> None:
        self.page = ""
        self.subject = subject
        self.one_at_a_time = threading.Lock()  # a model with hooks on it serves one run
        super().__init__((HOST, port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing to say where a client went away before it was answered."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    @property
    def address(self) -> str:
        """Where to point a browser."""
        return f"http://{HOST}:{self.server_address[1]}/"

    def look_at(self, text: str) -> dict[str, Any]:
        """What the viewer draws of the graph that a text describes; `ValueError` where it describes none."""
        graph = parse_graph(text, n_vertices=self.subject.model.cfg.n_vertices).to(self.subject.graphs.adjacency)
        with self.one_at_a_time:
            return view(self.subject.model, graph, name=text.strip()[:60] or "no edges", group="typed in")


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    timeout = SECONDS

    def do_GET(self) -> None:
        if self._from_elsewhere():
            return
        if self.path == "/":
            self._answer(HTTPStatus.OK, "text/html; charset=utf-8", self.server.page.encode())
        else:
            self._refuse(HTTPStatus.NOT_FOUND, f"there is nothing at {self.path[:60]!r}; the page is at /")

    def do_POST(self) -> None:
        if self._from_elsewhere():
            return
        length = self.headers.get("Content-Length", "")
        if self.path != "/graph":
            self._refuse(HTTPStatus.NOT_FOUND, f"there is nothing at {self.path[:60]!r}; graphs are sent to /graph")
        elif self.headers.get_content_type() != "application/json":  # so that no other site's form can send one
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a graph is sent as application/json")
        elif not length.isascii() or not length.isdigit() or int(length[:9]) > MAX_BYTES:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a graph is sent in at most {MAX_BYTES} bytes, and their number is told")
        else:
            self._graph(self.rfile.read(int(length)))

    def _graph(self, body: bytes) -> None:
        try:
            sent = json.loads(body)
        except (ValueError, RecursionError):
            sent = None
        if not isinstance(sent, dict) or not isinstance(sent.get("text"), str):
            self._refuse(HTTPStatus.BAD_REQUEST, 'a graph is sent as {"text": "0-1 1-2"}')
            return
        try:
            found = self.server.look_at(sent["text"])
        except ValueError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
            return
        self._answer(HTTPStatus.OK, "application/json", json.dumps(found).encode())

    def _from_elsewhere(self) -> bool:
        """Refuse what was addressed to another name, which a page from elsewhere may have pointed at this machine."""
        if self.headers.get("Host", "").partition(":")[0] in (HOST, "localhost"):
            return False
        self._refuse(HTTPStatus.FORBIDDEN, f"this page is served at {self.server.address} only")
        return True

    def _refuse(self, status: HTTPStatus, sentence: str) -> None:
        self.close_connection = True  # what was sent may still be unread
        self._answer(status, "application/json", json.dumps({"error": sentence}).encode())

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind), ("Content-Length", str(len(body))), ("X-Content-Type-Options", "nosniff"),
            ("Content-Security-Policy", "frame-ancestors 'none'"), ("Cache-Control", "no-store"),
        ):  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: whoever looks at the page sees what it answers."""
