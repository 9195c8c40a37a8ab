"""The action for pull requests: its shell steps, run as GitHub runs them, against a stand-in for
its API on this machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.toy import CLAIMS, CONFTEST

ROOT = Path(__file__).parent.parent.parent
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
SHELL = [step for step in ACTION["runs"]["steps"] if "run" in step]


class Comments(ThreadingHTTPServer):
    """The comments of one pull request, as GitHub's API lists, writes and deletes them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Api)
        self.comments: dict[int, dict[str, Any]] = {}
        self.refusing = False
        self.beside: str | None = None  # what another run writes at the same time as we do

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def add(self, body: str, *, by: str = "Bot") -> int:
        number = len(self.comments) + 100
        self.comments[number] = {"id": number, "body": body, "user": {"type": by}}
        return number

    @property
    def bodies(self) -> list[str]:
        return [comment["body"] for comment in self.comments.values()]


class _Api(BaseHTTPRequestHandler):
    server: Comments

    def _answer(self, value: object = None, status: int = 200) -> None:
        self.send_response(status)
        self.end_headers()
        if value is not None:
            self.wfile.write(json.dumps(value).encode())

    def _body(self) -> str:
        text = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["body"]
        assert len(text) <= 65_536
        return str(text)

    def do_GET(self) -> None:
        assert self.headers["Authorization"] == "Bearer secret"
        page = int(self.path.rpartition("page=")[2])
        assert self.path.startswith("/repos/us/model/issues/7/comments?per_page=100&")
        self._answer(list(self.server.comments.values())[100 * (page - 1) : 100 * page])

    def do_POST(self) -> None:
        if self.server.refusing:
            self._body()
            self._answer({"message": "Resource not accessible by integration"}, 403)
            return
        assert self.path == "/repos/us/model/issues/7/comments"
        if self.server.beside is not None:
            self.server.add(self.server.beside)
        self._answer({"id": self.server.add(self._body())}, 201)

    def do_PATCH(self) -> None:
        self.server.comments[int(self.path.rpartition("/")[2])]["body"] = self._body()
        self._answer({})

    def do_DELETE(self) -> None:
        del self.server.comments[int(self.path.rpartition("/")[2])]
        self._answer(status=204)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def api() -> Iterator[Comments]:
    with Comments() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Job:
    """A job of a workflow that uses the action, with `toy.json` in its workspace."""

    def __init__(self, place: Path, api: Comments) -> None:
        self.place, self.workspace, self.action = place, place / "workspace", place / "action"
        for directory in (self.workspace, self.action / "claims", self.action / ".venv" / "bin"):
            directory.mkdir(parents=True)
        (self.action / "packaging").symlink_to(ROOT / "packaging")
        (self.action / "Makefile").write_text(".venv/installed:\n\ttouch $@\n")
        (self.action / "claims" / "test_toy.py").write_text(CLAIMS)
        (self.action / "claims" / "conftest.py").write_text(
            CONFTEST.replace('or ["toy.json"]', f"or [{str(self.workspace / 'toy.json')!r}]")
        )
        (self.action / "pytest.ini").write_text(
            "[pytest]\naddopts = -p no:cacheprovider -p no:jaxtyping -p no:hypothesispytest\n"
        )
        python = self.action / ".venv" / "bin" / "python"
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
        self.facts()
        for name in ("output", "summary"):
            (place / name).touch()
        (place / "event.json").write_text(json.dumps({"pull_request": {"number": 7}}))
        (place / "temp").mkdir()
        self.environment = {
            "GITHUB_ACTION_PATH": self.action,
            "GITHUB_WORKSPACE": self.workspace,
            "GITHUB_OUTPUT": place / "output",
            "GITHUB_STEP_SUMMARY": place / "summary",
            "GITHUB_EVENT_PATH": place / "event.json",
            "GITHUB_REPOSITORY": "us/model",
            "GITHUB_API_URL": api.address,
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_RUN_ID": "12",
            "RUNNER_TEMP": place / "temp",
            "PYTHONPATH": ROOT,
        }

    def facts(self, **values: Any) -> None:
        made = {"hash": "sha256:a", "set": "sha256:v", "x": 11, "y": 0, **values}
        (self.workspace / "toy.json").write_text(json.dumps(made))

    def run(self, **inputs: str) -> tuple[int, str]:
        """The shell steps; after one that fails, those alone that always run. The first status that
        is not 0, and what was printed."""
        given = {name: one.get("default", "") for name, one in ACTION["inputs"].items()}
        given |= {"token": "secret"} | {key.replace("_", "-"): v for key, v in inputs.items()}
        failed, printed = 0, ""
        for step in SHELL:
            if failed and step.get("if") != "always()":
                continue
            own = {
                name: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda m: given[m[1]], value)
                for name, value in step.get("env", {}).items()
            }
            result = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
                cwd=self.workspace,
                env={**os.environ, **{k: str(v) for k, v in self.environment.items()}, **own},
                capture_output=True,
                text=True,
            )
            failed = failed or result.returncode
            printed += result.stdout + result.stderr
        return failed, printed

    def said(self, name: str) -> str:
        return (self.place / name).read_text(encoding="utf-8")


@pytest.fixture
def job(tmp_path: Path, api: Comments) -> Job:
    return Job(tmp_path, api)


def test_a_run_says_what_holds_and_comments_once(job: Job, api: Comments) -> None:
    assert job.run()[0] == 0
    assert job.said("output") == "holds=2\nrefuted=0\nunresolved=0\nabsent=0\nerror=0\n"
    (body,) = api.bodies
    assert body.startswith("<!-- circuit-claims  -->\n## toy: 2 hold")
    assert body.partition("\n")[2] == job.said("summary")
    kept = sorted(path.name for path in (job.place / "temp" / "circuit-claims").iterdir())
    assert kept == ["claims.html", "claims.json", "claims.md", "claims.npz", "claims.xml"]


def test_what_is_lost_since_the_baseline_fails_and_is_marked_at_its_line(
    job: Job, api: Comments
) -> None:
    job.run()
    record = job.place / "temp" / "circuit-claims" / "claims.json"
    record.rename(job.workspace / "before.json")
    job.facts(hash="sha256:b", x=9)
    status, printed = job.run(checkpoint="toy.json", baseline="before.json")
    line = CLAIMS.splitlines().index('@pytest.mark.claim(source="1", evidence="exact")') + 1
    assert status == 1
    assert re.search(
        rf"^::error file=claims/test_toy\.py,line={line},title=test_x_is_large::.*lost since the"
        r" baseline; refuted: x is 9",
        printed,
        flags=re.MULTILINE,
    )
    assert "**lost**: `x_is_large`" in job.said("summary")
    assert "refuted=1" in job.said("output")


def test_later_runs_update_the_comment_that_is_there(job: Job, api: Comments) -> None:
    for number in range(150):  # it is found among many, on the second page
        api.add(f"a word {number}", by="User")
    ours = api.add("<!-- circuit-claims  -->\nof yesterday")
    theirs = api.add("<!-- circuit-claims  -->\nby somebody who would like it to be so", by="User")
    job.run()
    assert len(api.comments) == 152
    assert "2 hold" in api.comments[ours]["body"]
    assert "would like" in api.comments[theirs]["body"]


def test_another_checkpoint_has_a_comment_of_its_own(job: Job, api: Comments) -> None:
    job.run()
    job.run(checkpoint="toy.json")
    assert [body.partition("\n")[0] for body in api.bodies] == [
        "<!-- circuit-claims  -->",
        "<!-- circuit-claims toy.json -->",
    ]


def test_two_runs_at_once_leave_one_comment(job: Job, api: Comments) -> None:
    api.beside = "<!-- circuit-claims  -->\nof the other run"
    job.run()
    (body,) = api.bodies
    assert "2 hold" in body


def test_a_run_that_breaks_says_so(job: Job, api: Comments) -> None:
    job.facts(x=None)
    status, _ = job.run()
    assert status != 0
    (body,) = api.bodies
    assert "ended before any claim was judged" in body
    assert "https://github.com/us/model/actions/runs/12" in body
    assert job.said("output") == ""


def test_a_comment_is_never_too_long(job: Job, api: Comments) -> None:
    claims = "".join(
        CLAIMS[CLAIMS.index("@pytest") :]
        .partition('@pytest.mark.claim(source="2"')[0]
        .replace("x_is_large", f"x_is_large_{number}")
        .replace("x is large.", f"x is large, {'very ' * 30} large.")
        for number in range(400)
    )
    (job.action / "claims" / "test_toy.py").write_text(f"import pytest\n\n{claims}")
    job.run(page="false")
    (body,) = api.bodies
    assert len(body) <= 65_536
    assert body.endswith("the summary of the run has it.*\n")
    assert len(job.said("summary")) > 65_536


@pytest.mark.parametrize("refused", ["comment", "no pull request", "forbidden"])
def test_no_comment_where_there_can_be_none(job: Job, api: Comments, refused: str) -> None:
    if refused == "no pull request":
        (job.place / "event.json").write_text("{}")
    api.refusing = refused == "forbidden"
    status, printed = job.run(comment="false" if refused == "comment" else "true")
    assert (status, api.comments) == (0, {})
    assert ("::warning::no comment could be written: HTTP Error 403" in printed) == api.refusing
