"""The hooks as plain Markdown, for docs/hooks.md as it is read without the site:
`python -m tests.hooks_page` writes them anew."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from studies.laws import insert
from verdicts.expectations import Expect
from verdicts.judge import judge
from verdicts.page import Figure, PageExtras, Panel
from verdicts.plugin.hooks import ClaimsHooks
from verdicts.plugin.subjects import JudgedSubject
from verdicts.project import Case, Project
from verdicts.statistics import Estimate, PerCase
from verdicts.variants import Control, Variants

PAGE = Path(__file__).parent.parent / "docs" / "hooks.md"
HOOKS = {name: hook for name, hook in vars(ClaimsHooks).items() if name.startswith("pytest_")}
OTHERS = (
    Project,
    Case,
    JudgedSubject,
    Variants,
    Control,
    PageExtras,
    Figure,
    Panel,
    Expect,
    Estimate,
    PerCase,
    judge,
)
"""What the hooks return and are given, and what a claim meets."""


def table() -> Iterator[str]:
    """A line for each hook, and for each type beside them."""
    yield "| hook | what it says |"
    yield "|---|---|"
    for name, hook in HOOKS.items():
        yield f"| [`{name}`](#{name}) | {_first(hook)} |"
    yield ""
    yield "What they take and return, and what a claim meets:"
    yield ""
    yield "| | what it is |"
    yield "|---|---|"
    for other in OTHERS:
        yield f"| `from {other.__module__} import {other.__name__}` | {_first(other)} |"


def each() -> Iterator[str]:
    """Of each hook its arguments, all that there is to say, and an example."""
    for name, hook in HOOKS.items():
        arguments = list(inspect.signature(hook).parameters)[1:]
        returns = inspect.signature(hook).return_annotation
        yield f"### {name}"
        yield ""
        yield f"`{name}({', '.join(arguments)}) -> {returns}`"
        yield ""
        yield inspect.getdoc(hook) or ""
        yield ""


def text() -> str:
    """All of it."""
    return "\n".join(["", *table(), "", "## One by one", "", *each()])


def _first(documented: Callable[..., object]) -> str:
    """The first paragraph of its docstring."""
    paragraph, _, _ = (inspect.getdoc(documented) or "").partition("\n\n")
    return " ".join(paragraph.split())


def main() -> int:
    insert(text(), PAGE, name="hooks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
