"""The page with the model behind it: what it answers, to whom, and what it refuses."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from claims.serve import MAX_BYTES, PageServer
from claims.viewer import parse_graph, view
from models.graphs import balanced_set
from models.randomness import named_generator
from tests.pages import shipped, shipped_page
from verdicts.record import write_record

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def server() -> Iterator[PageServer]:
    with PageServer(shipped()[0], port=0) as served:
        served.page = shipped_page(served=True)
        thread = threading.Thread(target=served.serve_forever, daemon=True)
        thread.start()
        yield served
        served.shutdown()
        thread.join()


def ask(
    server: PageServer, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=20)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    found = answer.status, answer.headers.get_content_type(), answer.read()
    connection.close()
    return found


def post(server: PageServer, content: Any) -> tuple[int, Any]:
    status, kind, body = ask(server, "POST", "/graph", json.dumps(content).encode(), JSON)
    assert kind == "application/json"
    return status, json.loads(body)


def test_the_page_may_ask_its_server_alone(server: PageServer) -> None:
    status, kind, body = ask(server, "GET", "/")
    assert (status, kind) == (200, "text/html")
    assert body.decode() == shipped_page(served=True)
    assert b"connect-src 'self'" in body
    assert b'<html lang="en" data-served>' in body


def test_a_graph_typed_in_is_looked_at(server: PageServer) -> None:
    status, found = post(server, {"text": "0-1 1-2 2-0"})
    subject = shipped()[0]
    expected = view(subject.model, parse_graph("0-1 1-2 0-2", n_vertices=10), name="0-1 1-2 2-0", group="typed in")
    assert (status, found) == (200, json.loads(json.dumps(expected)))


def test_many_at_once_get_their_own_answers(server: PageServer) -> None:
    texts = [f"0-{i} {i}-9" for i in range(1, 9)] * 3
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda text: post(server, {"text": text}), texts))
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
    status, found = post(server, content)
    assert status == 400
    assert message in found["error"]


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("POST", "/graph", b"{", JSON, 400),
        ("POST", "/graph", b"[" * 5000, JSON, 400),
        ("POST", "/graph", b"\xff\xfe", JSON, 400),
        ("POST", "/graph", b'{"text": "0-1"}', {"Content-Type": "text/plain"}, 415),
        ("POST", "/graph", b'{"text": "0-1"}', {}, 415),
        ("POST", "/graph", b" " * (MAX_BYTES + 1), JSON, 413),
        ("POST", "/graph", None, {**JSON, "Content-Length": "-1"}, 413),
        ("POST", "/graph", None, {**JSON, "Content-Length": "9" * 400}, 413),
        ("POST", "/graph", None, {**JSON, "Content-Length": "²"}, 413),
        ("POST", "/", b"{}", JSON, 404),
        ("GET", "/etc/passwd", None, {}, 404),
        ("GET", "/../secret", None, {}, 404),
        ("GET", "/", None, {"Host": "evil.example:80"}, 403),
        ("POST", "/graph", b'{"text": "0-1"}', {**JSON, "Host": "evil.example"}, 403),
    ],
)
def test_what_is_not_asked_for_rightly_is_refused(
    server: PageServer, method: str, path: str, body: bytes | None, headers: dict[str, str], status: int
) -> None:
    found, kind, answer = ask(server, method, path, body, {key: value.encode("utf-8").decode("latin-1") for key, value in headers.items()})
    assert (found, kind) == (status, "application/json")
    assert json.loads(answer)["error"]
    assert post(server, {"text": "0-1"})[0] == 200, "it goes on serving"


def test_other_methods_are_refused(server: PageServer) -> None:
    assert ask(server, "PUT", "/graph")[0] == 501


def test_it_listens_on_loopback_only(server: PageServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert server.socket.getsockname()[0] == "127.0.0.1"


def test_who_says_nothing_does_not_keep_others_waiting(server: PageServer) -> None:
    with socket.create_connection(("127.0.0.1", server.server_address[1])) as silent:
        silent.sendall(b"POST /graph HTTP/1.1\r\n")
        assert post(server, {"text": "0-1"})[0] == 200


def test_the_command_serves_and_a_port_in_use_is_named(server: PageServer) -> None:
    command = [sys.executable, "-m", "claims", "serve", "--port", str(server.server_address[1])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert f"error: --port {server.server_address[1]}: Address already in use" in done.stderr


def test_the_page_is_served_until_it_is_stopped(tmp_path: Path) -> None:
    graphs = balanced_set(10, range(15, 21), count=48, generator=named_generator(0, "served"))
    np.savez(tmp_path / "few.npz", data=graphs.adjacency.numpy(), labels=graphs.labels.numpy())
    ledger = shipped()[1]
    write_record(tmp_path / "record.json", {**ledger, "subjects": [{**ledger["subjects"][0], "validation_set": graphs.content_hash}]})
    command = [sys.executable, "-m", "claims", "serve", "--port", "0", "--record", str(tmp_path / "record.json")]
    command += ["--validation-set", str(tmp_path / "few.npz")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("http://127.0.0.1:"), process.communicate()
    connection = http.client.HTTPConnection("127.0.0.1", int(line.split(":")[2].partition("/")[0]), timeout=20)
    connection.request("GET", "/")
    assert b"data-served" in connection.getresponse().read()
    connection.close()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors.strip() == "stopped"
