"""What a run in CI leaves where people look: outputs, annotations, the step summary, and one
comment on the pull request.

Python's own library alone: it must speak also where nothing could be installed.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path
from typing import Any

VERDICTS = ("holds", "refuted", "unresolved", "absent", "error")
MAX_COMMENT = 65_000  # characters; GitHub refuses more than 65,536
_WAIT = 30  # seconds for an answer


def main() -> None:
    """Each by itself: one that fails takes none of the others with it."""
    out = Path(os.environ["RUNNER_TEMP"]) / "circuit-claims"
    said = _said(out / "claims.md")
    _append("GITHUB_OUTPUT", _outputs(out / "claims.json"))
    _append("GITHUB_STEP_SUMMARY", said)
    for line in _annotations(out / "claims.xml"):
        print(line)
    pull = _pull_request()
    if os.environ["COMMENT"] == "true" and pull is not None:
        try:
            _comment(pull, said)
        except (urllib.error.URLError, TimeoutError) as error:
            # a pull request from a fork has a token that may not write
            print(f"::warning::no comment could be written: {_one_line(str(error))}")


def _said(markdown: Path) -> str:
    """The summary of the run, or that there is none."""
    if markdown.exists():
        return markdown.read_text(encoding="utf-8")
    return (
        "> ❌ The run ended before any claim was judged;"
        f" [its log]({os.environ['GITHUB_SERVER_URL']}/{os.environ['GITHUB_REPOSITORY']}"
        f"/actions/runs/{os.environ['GITHUB_RUN_ID']}) says why.\n"
    )


def _outputs(record: Path) -> str:
    """How many claims have each verdict, over all subjects; nothing where there is no record."""
    if not record.exists():
        return ""
    subjects = json.loads(record.read_text(encoding="utf-8"))["subjects"]
    count = Counter(claim["verdict"] for subject in subjects for claim in subject["claims"])
    return "".join(f"{verdict}={count[verdict]}\n" for verdict in VERDICTS)


def _annotations(junit: Path) -> list[str]:
    """A workflow command for each claim that failed, at its place in the file."""
    if not junit.exists():
        return []
    lines = []
    for case in ElementTree.parse(junit).iter("testcase"):
        failed = case.find("failure")
        failed = case.find("error") if failed is None else failed
        if failed is not None:
            # JUnit counts lines from 0, GitHub from 1
            place = f"file={case.get('file')},line={int(case.get('line', 0)) + 1}"
            lines.append(
                f"::error {place},title={_property(case.get('name', ''))}"
                f"::{_one_line(failed.get('message', ''))}"
            )
    return lines


def _one_line(text: str) -> str:
    """As a workflow command takes it."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _one_line(text).replace(":", "%3A").replace(",", "%2C")


def _append(variable: str, text: str) -> None:
    with open(os.environ[variable], "a", encoding="utf-8") as file:
        file.write(text)


def _pull_request() -> int | None:
    """Its number, where the run is about one."""
    event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
    return event.get("pull_request", {}).get("number")


def _comment(pull: int, said: str) -> None:
    """One comment for each checkpoint: what is there is put right, and what two runs at once wrote
    twice is taken away."""
    marker = f"<!-- circuit-claims {os.environ['CHECKPOINT']} -->"
    body = _cut(f"{marker}\n{said}")
    of_pull = f"issues/{pull}/comments"
    ours = _ours(of_pull, marker)
    if not ours:
        _call("POST", of_pull, {"body": body})
        ours = _ours(of_pull, marker)
    first, *others = ours
    _call("PATCH", f"issues/comments/{first}", {"body": body})
    for one in others:
        _call("DELETE", f"issues/comments/{one}")


def _ours(of_pull: str, marker: str) -> list[int]:
    """Comments that begin with the marker, the oldest first."""
    found: list[int] = []
    page = 1
    while comments := _call("GET", f"{of_pull}?per_page=100&page={page}"):
        found += [
            one["id"]
            for one in comments
            # of an app, as this is: what a person wrote could be changed by that person afterwards
            if one["user"]["type"] == "Bot" and (one["body"] or "").startswith(marker)
        ]
        page += 1
    return sorted(found)


def _cut(text: str) -> str:
    """At a whole line, below what a comment holds."""
    if len(text) <= MAX_COMMENT:
        return text
    kept = text[:MAX_COMMENT].rpartition("\n")[0]
    return f"{kept}\n\n*The rest is left out; the summary of the run has it.*\n"


def _call(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    request = urllib.request.Request(
        f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}/{path}",
        data=None if body is None else json.dumps(body).encode(),
        method=method,
        headers={
            "Authorization": f"Bearer {os.environ['GITHUB_TOKEN']}",
            "Accept": "application/vnd.github+json",
            "Content-Type": "application/json",
        },
    )
    with urllib.request.urlopen(request, timeout=_WAIT) as answer:
        text = answer.read()
    return json.loads(text) if text else None


if __name__ == "__main__":
    main()
