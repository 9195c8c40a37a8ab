"""The page of the hooks is that of the hooks, the marker and the types that there are, and its
examples can be pasted."""

from __future__ import annotations

import ast
import inspect

import pytest

from tests.hooks_page import HOOKS, MARKER, OTHERS, PAGE, text
from verdicts.judge import Claim


def test_it_says_of_each_hook_what_its_docstring_says() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert text() in page, "write it anew: python -m tests.hooks_page"
    assert len(HOOKS) == 7
    assert all(page.count(f"### {name}\n") == 1 for name in HOOKS)


@pytest.mark.parametrize("name", HOOKS)
def test_each_has_an_example_that_takes_what_it_is_given(name: str) -> None:
    _, fence, example = (inspect.getdoc(HOOKS[name]) or "").partition("```python\n")
    assert fence, "no example"
    (function,) = (
        node
        for node in ast.parse(example.partition("```")[0]).body
        if isinstance(node, ast.FunctionDef)
    )
    assert function.name == name
    given = set(inspect.signature(HOOKS[name]).parameters)
    assert {argument.arg for argument in function.args.args} <= given


def test_it_explains_all_that_the_marker_takes() -> None:
    @pytest.mark.claim(unheard_of=True)
    def test_wrong() -> None: ...

    with pytest.raises(ValueError, match="and takes") as refused:
        Claim.from_function(test_wrong)
    _, _, takes = str(refused.value).partition("takes ")
    assert takes.partition(";")[0] == ", ".join(MARKER)
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"\n| `{name}=` | " in page for name in MARKER)


def test_it_can_be_read_without_the_site() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert "\n:::" not in page
    assert all(f"\n### {other.__name__}\n" in page for other in OTHERS)
    assert "| `cite` |" in page
    assert "| `under_gauge(subject, gauge)` |" in page
    assert "    kept: bool = False,\n" in page
