"""The page with the model behind it: what it answers, to whom, and what it refuses."""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

import figures.serve
from figures.port import HOST, reserve
from figures.serve import MAX_BYTES, MAX_CONNECTIONS, PageServer
from figures.viewer import parse_graph, view
from models.graphs import balanced_set
from models.randomness import named_generator
from tests.forks import PATIENCE, Program
from tests.pages import shipped, shipped_page, untrained_subject
from tests.served import serving
from verdicts.record import write_record

ROOT = Path(__file__).parent.parent.parent
JSON = {"Content-Type": "application/json"}
TOO_LONG = b" " * (MAX_BYTES + 1)
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /graph HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
HALF = {"headers": POST, "body": POST + b"Content-Length: 9999\r\n\r\n"}

Place = tuple[str, int]


@pytest.fixture(scope="module")
def server() -> Iterator[PageServer]:
    with serving(shipped()[0], shipped_page(served=True)) as served:
        yield served


def place(server: PageServer) -> Place:
    return server.listener.getsockname()


def ask(
    at: Place,
    method: str,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
) -> tuple[int, Message, bytes]:
    """All is sent at once, so that a refusal finds nobody who is still sending."""
    length = {"Content-Length": str(len(body))} if body else {}
    fields = {"Host": f"{HOST}:{at[1]}", **length, **(headers or {})}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    with socket.create_connection(at, timeout=PATIENCE) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        answer = http.client.HTTPResponse(connection, method=method)
        answer.begin()
        return answer.status, answer.headers, answer.read()


def post(at: Place, content: Any) -> tuple[int, Any]:
    status, headers, body = ask(at, "POST", "/graph", json.dumps(content).encode(), JSON)
    assert headers.get_content_type() == "application/json"
    return status, json.loads(body)


def wait_until(happened: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_page_may_ask_its_server_alone(server: PageServer) -> None:
    status, headers, body = ask(place(server), "GET", "/")
    assert (status, headers.get_content_type()) == (200, "text/html")
    assert body.decode() == shipped_page(served=True)
    assert b"connect-src 'self'" in body
    assert b'<html lang="en" data-served>' in body


def test_a_query_is_of_no_account(server: PageServer) -> None:
    status, _, body = ask(place(server), "GET", "/?x=1")
    assert (status, body.decode()) == (200, shipped_page(served=True))


def test_a_graph_typed_in_is_looked_at(server: PageServer) -> None:
    status, found = post(place(server), {"text": "0-1 1-2 2-0"})
    subject = shipped()[0]
    expected = view(
        subject.model,
        parse_graph("0-1 1-2 0-2", n_vertices=10),
        name="0-1 1-2 2-0",
        group="typed in",
    )
    assert (status, found) == (200, json.loads(json.dumps(expected)))


def test_many_at_once_get_their_own_answers(server: PageServer) -> None:
    texts = [f"0-{i} {i}-9" for i in range(1, 9)] * 3
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda text: post(place(server), {"text": text}), texts))
    assert [found["edges"] for _, found in answers] == [[[0, i], [i, 9]] for i in range(1, 9)] * 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"text": "0-99"}, "edge 0-99: an edge joins two different vertices from 0 to 9"),
        ({"text": 5}, 'a graph is sent as {"text": "0-1 1-2"}'),
        ({}, 'a graph is sent as {"text"'),
        ([1], 'a graph is sent as {"text"'),
        ({"text": "<script>"}, "is neither a list of edges"),
    ],
)
def test_bad_input_gets_a_sentence(server: PageServer, content: Any, message: str) -> None:
    status, found = post(place(server), content)
    assert status == 400
    assert message in found["error"]


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("POST", "/graph", b"{", JSON, 400),
        ("POST", "/graph", b"[" * 5000, JSON, 400),
        ("POST", "/graph", b"\xff\xfe", JSON, 400),
        ("POST", "/graph", b'{"text": "\\ud800"}', JSON, 400),
        ("POST", "/graph", b"", JSON, 400),
        ("POST", "/graph", b'{"text": "0-1"}', {"Content-Type": "text/plain"}, 415),
        ("POST", "/graph", b'{"text": "0-1"}', {}, 415),
        ("POST", "/graph", TOO_LONG, JSON, 413),
        ("POST", "/graph", b"", {**JSON, "Content-Length": str(MAX_BYTES + 1)}, 413),
        ("POST", "/graph", b"", {**JSON, "Content-Length": "0000000000200000014"}, 413),
        ("POST", "/none", b"{}", JSON, 404),
        ("GET", "/etc/passwd", b"", {}, 404),
        ("GET", "/../secret", b"", {}, 404),
        ("GET", "/", b"", {"Host": "evil.example:80"}, 403),
        ("GET", "/", b"", {"Host": ""}, 403),
        ("GET", "/none", b"", {"Host": "evil.example"}, 403),
        ("POST", "/graph", b'{"text": "0-1"}', {**JSON, "Host": "evil.example"}, 403),
    ],
)
def test_what_is_not_asked_for_rightly_is_refused(
    server: PageServer, method: str, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    found, told, answer = ask(place(server), method, path, body, headers)
    assert (found, told.get_content_type()) == (status, "application/json")
    assert json.loads(answer)["error"]
    assert post(place(server), {"text": "0-1"})[0] == 200, "it goes on serving"


@pytest.mark.parametrize("length", ["-1", "9" * 400, "²", "1, 2", ""])
def test_a_length_that_is_none_is_refused(server: PageServer, length: str) -> None:
    status = ask(place(server), "POST", "/graph", headers={**JSON, "Content-Length": length})[0]
    assert status in (400, 413)


@pytest.mark.parametrize(("size", "status"), [(MAX_BYTES, 200), (MAX_BYTES + 1, 413)])
def test_a_limit_holds_without_a_length(server: PageServer, size: int, status: int) -> None:
    content = b'{"text": "0-1"}'.ljust(size)
    chunks = [content[at : at + 1000] for at in range(0, size, 1000)]
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in [*chunks, b""])
    with socket.create_connection(place(server), timeout=PATIENCE) as connection:
        connection.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n" + body)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == status


@pytest.mark.parametrize(
    "told",
    [b"Transfer-Encoding: chunked\r\n\r\n8000000\r\n", b"Content-Length: 134217728\r\n\r\n"],
)
def test_what_is_too_long_is_not_read_to_its_end(server: PageServer, told: bytes) -> None:
    with socket.create_connection(place(server), timeout=PATIENCE) as endless:
        endless.sendall(POST + told)
        with pytest.raises(ConnectionError):
            endless.sendall(b" " * 0x8000000)  # more than any buffer takes
    assert post(place(server), {"text": "0-1"})[0] == 200


@pytest.mark.parametrize("path", ["/", "/?x=1", "/none"])
def test_head_tells_what_get_would(server: PageServer, path: str) -> None:
    status, headers, body = ask(place(server), "HEAD", path)
    expected = ask(place(server), "GET", path)
    assert (status, body) == (expected[0], b"")
    for name in ("Content-Type", "Content-Length", "Cache-Control"):
        assert headers[name] == expected[1][name]
    assert int(headers["Content-Length"]) == len(expected[2])


@pytest.mark.parametrize("method", ["PUT", "OPTIONS", "DELETE", "PATCH", "NONSENSE"])
@pytest.mark.parametrize(("path", "allowed"), [("/?x=1", "GET, HEAD"), ("/graph", "POST")])
def test_others_are_refused(server: PageServer, method: str, path: str, allowed: str) -> None:
    status, headers, body = ask(place(server), method, path, b"{}", JSON)
    assert (status, sorted(headers["Allow"].split(", "))) == (405, allowed.split(", "))
    assert method in json.loads(body)["error"]


@pytest.mark.parametrize(("path", "host"), [("/", HOST), ("/none", HOST), ("/", "evil.example")])
def test_answers_are_not_kept_or_framed(server: PageServer, path: str, host: str) -> None:
    headers = ask(place(server), "GET", path, headers={"Host": host})[1]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert headers["Cache-Control"] == "no-store"


def test_it_listens_on_loopback_only(server: PageServer) -> None:
    assert place(server)[0] == "127.0.0.1"


def test_who_says_nothing_does_not_keep_others_waiting(server: PageServer) -> None:
    with socket.create_connection(place(server)) as silent:
        silent.sendall(b"POST /graph HTTP/1.1\r\n")
        assert post(place(server), {"text": "0-1"})[0] == 200


@pytest.mark.parametrize("part", HALF)
def test_a_byte_now_and_then_keeps_no_connection(part: str) -> None:
    with (
        serving(untrained_subject(), "the page", seconds=1) as served,
        socket.create_connection(place(served)) as slow,
    ):
        slow.sendall(HALF[part])
        slow.settimeout(0.25)
        for _ in range(int(4 * PATIENCE)):
            try:
                slow.sendall(b"x")
                if slow.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail("a byte buys more time")


def test_who_does_not_read_the_answer_is_dropped() -> None:
    with (
        serving(untrained_subject(), " " * 50_000_000, seconds=1) as served,
        socket.create_connection(place(served), timeout=PATIENCE) as deaf,
    ):
        deaf.sendall(GET)
        with contextlib.suppress(ConnectionError):
            deaf.recv(1)
        wait_until(lambda: not served.server_state.connections)


def test_two_hundred_at_once_keep_nobody_out_for_long() -> None:
    with serving(untrained_subject(), "the page") as served:
        with contextlib.ExitStack() as stack:
            connections = [socket.create_connection(place(served)) for _ in range(200)]
            kept = set(map(stack.enter_context, connections))
            while len(kept) > MAX_CONNECTIONS:
                dropped = select.select(kept, [], [], PATIENCE)[0]
                assert dropped
                kept.difference_update(dropped)
            assert len(kept) == MAX_CONNECTIONS
            with pytest.raises((ConnectionError, http.client.HTTPException)):
                ask(place(served), "GET", "/")
        wait_until(lambda: not served.server_state.connections)
        assert ask(place(served), "GET", "/")[0] == 200


def test_nothing_is_said_of_who_went_away(
    server: PageServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.create_connection(place(server)) as gone:
        gone.sendall(HALF["body"])
        wait_until(lambda: server.server_state.tasks)
    wait_until(lambda: not server.server_state.tasks)
    assert post(place(server), {"text": "0-1"})[0] == 200
    assert caplog.records == []


def test_the_model_does_not_run_for_who_went_away(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at, go_on = [], threading.Event()

    def slow_view(*given: Any, name: str, group: str) -> dict[str, Any]:
        looked_at.append(name)
        assert go_on.wait(PATIENCE)
        return {}

    monkeypatch.setattr(figures.serve, "view", slow_view)
    with serving(untrained_subject(), "the page") as served, ThreadPoolExecutor(1) as pool:
        state = served.server_state
        first = pool.submit(post, place(served), {"text": "0-1"})
        wait_until(lambda: looked_at)
        body = b'{"text": "1-2"}'
        with socket.create_connection(place(served)) as gone:
            gone.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            wait_until(lambda: len(state.tasks) == 2)
            assert ask(place(served), "HEAD", "/")[0] == 200, "others are answered"
        wait_until(lambda: len(state.connections) == 1)
        go_on.set()
        assert first.result() == (200, {})
        wait_until(lambda: not state.tasks)
    assert looked_at == ["0-1"]


def test_a_port_that_may_not_be_bound_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(listener: socket.socket, at: Place) -> None:  # as it is for who is not root
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(socket.socket, "bind", refused)
    with pytest.raises(OSError, match=r"^--port 80: Permission denied$"):
        reserve(80)


def test_a_port_taken_while_the_page_was_drawn_is_named() -> None:
    def start(port: int) -> None:
        with reserve(port) as second:
            server = PageServer(untrained_subject(), "the page", second)
            first.listen()
            server.run()

    with reserve(0) as first, pytest.raises(OSError, match=r"^--port \d+: Address already in use$"):
        start(first.getsockname()[1])


def test_help_does_not_wait_for_the_server() -> None:
    probe = (
        "import atexit, runpy, sys\n"
        "heavy = {'torch', 'starlette', 'uvicorn'}\n"
        "atexit.register(lambda: print('imported', heavy & set(sys.modules)))\n"
        "sys.argv[1:] = ['serve', '--help']\n"
        "runpy.run_module('figures', run_name='__main__')"
    )
    command = [sys.executable, "-c", probe]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("imported set()\n")


@contextlib.contextmanager
def started(*arguments: str) -> Iterator[tuple[Program, Place]]:
    """A process that serves, and where."""
    with Program(*arguments) as program:
        line = program.output.readline()
        assert line.startswith(f"http://{HOST}:"), program.interrupted()
        yield program, (HOST, int(line.split(":")[2].partition("/")[0]))


def repeated(count: int) -> list[Any]:
    """The first few in `make test`, and twenty in the long suite."""
    return [pytest.param(n, marks=[pytest.mark.long] if n >= count else []) for n in range(20)]


def test_the_page_is_served_until_it_is_stopped(tmp_path: Path) -> None:
    graphs = balanced_set(10, range(15, 21), count=48, generator=named_generator(0, "served"))
    few, record = tmp_path / "few.npz", tmp_path / "record.json"
    np.savez(few, data=graphs.adjacency.numpy(), labels=graphs.labels.numpy())
    ledger = shipped()[1]
    subject = replace(ledger.subjects[0], validation_set=graphs.content_hash)
    write_record(record, replace(ledger, subjects=(subject,)))
    options = ["--port", "0", "--record", str(record), "--validation-set", str(few)]
    command = [sys.executable, "-m", "figures", "serve", *options]  # no fork: as it is typed
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith(f"http://{HOST}:"), process.communicate()
        at = (HOST, int(line.split(":")[2].partition("/")[0]))
        status, _, body = ask(at, "GET", "/")
        assert (status, b"data-served" in body) == (200, True)
        assert post(at, {"text": "0-1"})[0] == 200
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)
        assert (process.returncode, errors) == (130, "\nstopped\n")


@pytest.mark.parametrize("order", repeated(2))
def test_an_interrupt_stops_it_however_it_was_started(order: int) -> None:
    how = ["interrupt-ignored"] if order % 2 else []  # as a shell starts what it puts behind
    with started("tests.served", *how) as (program, at):
        status, _, body = ask(at, "GET", "/")
        assert (status, int(body)) == (200, errno.ECONNREFUSED), "none is answered before"
        assert program.interrupted() == (130, "\nstopped\n")


@pytest.mark.parametrize("order", repeated(1))
def test_an_interrupt_stops_it_whatever_is_in_flight(order: int) -> None:
    answered = threading.Semaphore(0)

    def keep_asking() -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            while post(at, {"text": "0-1 1-2 2-3 3-4 4-5 5-6 6-0 0-3 1-5"})[0] == 200:
                answered.release()

    with started("tests.served") as (program, at), contextlib.ExitStack() as stack:
        for begun in (b"", GET, *HALF.values()):
            stack.enter_context(socket.create_connection(at)).sendall(begun)
        clients = stack.enter_context(ThreadPoolExecutor(6))
        busy = [clients.submit(keep_asking) for _ in range(6)]
        for _ in range(6 + order):
            assert answered.acquire(timeout=PATIENCE)
        assert program.interrupted() == (130, "\nstopped\n")
        for client in busy:
            client.result()
