"""The hooks, the marker of a claim and the types beside them as plain Markdown, for docs/hooks.md
as it is read without the site: `python -m tests.hooks_page` writes them anew."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import griffe

from studies.pages import insert
from verdicts.expectations import Expect
from verdicts.judge import Claim, judge
from verdicts.page import Figure, PageExtras, Panel
from verdicts.plugin.hooks import ClaimsHooks
from verdicts.plugin.subjects import JudgedSubject
from verdicts.project import Case, Project
from verdicts.statistics import Estimate, PerCase, clopper_pearson
from verdicts.variants import Control, Variants

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "hooks.md"
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
    clopper_pearson,
    judge,
)
"""What the hooks return and are given, and what a claim meets."""
CALLS = ("__call__", "enough", "null", "not_asked", "unmoved", "show_counterexample")
"""What a claim calls of `expect`."""
WIDTH = 100
MARKER = tuple(
    field.name
    for field in dataclasses.fields(Claim)
    if field.name not in ("id", "statement", "function", "project")
)
"""What `@pytest.mark.claim` takes; the rest of a claim is its function and the project."""


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
        name = other.__name__
        called = f"from {other.__module__} import {name}"
        yield f"| [`{called}`](#{name.lower()}) | {_first(other)} |"


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


def marker() -> Iterator[str]:
    """A line for each argument of the marker; `ValueError` for one that nobody explains."""
    claim = _parsed(Claim)
    yield "| argument | type | what it says |"
    yield "|---|---|---|"
    for name in MARKER:
        field = claim.members[name]
        if not (said := _said(field)):
            raise ValueError(f"verdicts.judge.Claim.{name} has no docstring for {PAGE.name}")
        assert isinstance(field, griffe.Attribute)
        yield f"| `{name}=` | `{_in_words(field.annotation)}` | {said} |"


def types() -> Iterator[str]:
    """Of each type its fields and methods, of each function how it is called."""
    for other in OTHERS:
        parsed = _parsed(other)
        yield f"### {parsed.name}"
        yield ""
        yield f"`from {other.__module__} import {parsed.name}`"
        yield ""
        yield inspect.getdoc(other) or ""
        yield ""
        if isinstance(parsed, griffe.Function):
            yield from _call(parsed.name, parsed)
        elif other is Expect:
            for name in CALLS:
                method = parsed.members[name]
                assert isinstance(method, griffe.Function)
                yield from _call("expect" if name == "__call__" else f"expect.{name}", method)
                yield method.docstring.value if method.docstring else ""
                yield ""
        else:
            yield from _members(parsed)


def _members(parsed: griffe.Object) -> Iterator[str]:
    yield "| | type | what it is |"
    yield "|---|---|---|"
    for name, member in parsed.members.items():
        if name.startswith("_"):
            continue
        if isinstance(member, griffe.Function):
            given = ", ".join(one.name for one in member.parameters if one.name != "self")
            name, kind = f"{name}({given})", str(member.returns)
        else:
            assert isinstance(member, griffe.Attribute)
            default = "" if member.value is None else f" = {member.value}"
            if "dataclasses." in default:
                default = " = …"
            kind = f"{_in_words(member.annotation)}{default}"
        yield f"| `{name}` | `{kind}` | {_said(member)} |"
    yield ""


def _call(name: str, function: griffe.Function) -> Iterator[str]:
    """How it is called, an argument a line where they do not fit on one."""
    given, seen = [], False
    for one in function.parameters:
        if one.name == "self":
            continue
        if one.kind is griffe.ParameterKind.keyword_only and not seen:
            given.append("*")
            seen = True
        stars = "*" if one.kind is griffe.ParameterKind.var_positional else ""
        stars = "**" if one.kind is griffe.ParameterKind.var_keyword else stars
        default = "" if one.default is None or stars else f" = {one.default}"
        given.append(f"{stars}{one.name}: {one.annotation}{default}")
    line = f"{name}({', '.join(given)}) -> {function.returns}"
    yield "```python"
    yield (
        line
        if len(line) <= WIDTH
        else "\n".join([f"{name}(", *(f"    {one}," for one in given), f") -> {function.returns}"])
    )
    yield "```"
    yield ""


def text() -> str:
    """All of it."""
    return "\n".join(
        [
            "",
            *table(),
            "",
            "## The marker of a claim",
            "",
            "`@pytest.mark.claim(source=…, evidence=…)` needs these two, and takes:",
            "",
            *marker(),
            "",
            "## Hook by hook",
            "",
            *each(),
            "## Type by type",
            "",
            *types(),
        ]
    )


def _first(documented: Callable[..., object]) -> str:
    """The first paragraph of its docstring."""
    paragraph, _, _ = (inspect.getdoc(documented) or "").partition("\n\n")
    return " ".join(paragraph.split())


def _parsed(named: Callable[..., object]) -> griffe.Object:
    """As it stands in the source, where fields have docstrings, too."""
    found = griffe.load(f"{named.__module__}.{named.__name__}", search_paths=[ROOT])
    assert isinstance(found, griffe.Object)
    return found


def _in_words(annotation: object) -> str:
    """A type without the bar, which ends a cell: GitHub wants it escaped, the site does not."""
    return str(annotation).replace(" | ", " or ")


def _said(member: griffe.Object | griffe.Alias) -> str:
    """Its docstring in one line."""
    return " ".join(member.docstring.value.split()) if member.docstring else ""


def main() -> int:
    insert(text(), PAGE, name="hooks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
