"""What a project's conftest tells the plugin."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from verdicts.plugin.subjects import JudgedSubject
from verdicts.project import Case, Project
from verdicts.schema import SubjectResult
from verdicts.variants import Variants

if TYPE_CHECKING:
    from verdicts.page import PageExtras


class ClaimsHooks:
    """Hooks that a project's conftest implements; only `pytest_claims_subjects` must be there."""

    @pytest.hookspec(firstresult=True)
    def pytest_claims_project(self) -> Project:  # type: ignore[empty-body]
        """What the project calls things, and which kinds of evidence it has.

        ```python
        def pytest_claims_project():
            return Project(subject="model", contents="weights", cases="sentences")
        ```
        """

    @pytest.hookspec(firstresult=True)
    def pytest_claims_subjects(self, config: pytest.Config) -> list[JudgedSubject]:  # type: ignore[empty-body]
        """The subjects of this run, each judged on every claim; `ValueError` for what cannot be
        judged.

        It is called once a process, at the first claim that is collected, and never where there
        is none.

        ```python
        def pytest_claims_subjects(config):
            seed = config.getoption("claims_seed")
            return [Model(path, seed=seed) for path in config.getoption("weights")]
        ```
        """

    @pytest.hookspec(firstresult=True)
    def pytest_claims_variants(self) -> Variants:  # type: ignore[empty-body]
        """Controls and gauges of the project, for the options `--claims-controls` and
        `--claims-gauge`.

        ```python
        class Mine:
            controls, gauges = (FreshWeights(),), ("rotation",)
            ...

        def pytest_claims_variants():
            return Mine()
        ```
        """

    @pytest.hookspec(firstresult=True)
    def pytest_claims_retrained(
        self, subject: JudgedSubject, baseline: SubjectResult, source: Path
    ) -> str | None:
        """Why the subject is another training of the recipe of the baseline, in words; `None` where
        it is not. `source` is the file of the baseline.

        ```python
        def pytest_claims_retrained(subject, baseline, source):
            then, now = baseline.about, subject.describe()["about"]
            if then["recipe"] == now["recipe"] and then["seed"] != now["seed"]:
                return f"seed {now['seed']} of the recipe of which the baseline is {then['seed']}"
        ```
        """

    @pytest.hookspec(firstresult=True)
    def pytest_claims_laws(self) -> Mapping[str, float]:  # type: ignore[empty-body]
        """The claims that are expected to hold of every training, each with the rate at which it
        does: what gates where a subject was trained anew.

        ```python
        def pytest_claims_laws():
            return {"it_learns": 1.0, "it_is_even": 0.97}
        ```
        """

    @pytest.hookspec(firstresult=True)
    def pytest_claims_case(self, subject: JudgedSubject, case: int) -> Case:  # type: ignore[empty-body]
        """What one case is called, counted from 0 as the data has them, and perhaps a picture of
        it: a comparison shows the first that came out otherwise.

        ```python
        def pytest_claims_case(subject, case):
            return Case(subject.sentences[case])
        ```
        """

    @pytest.hookspec(firstresult=True)
    def pytest_claims_page_extras(
        self, subject: JudgedSubject, result: SubjectResult
    ) -> PageExtras | None:
        """What the page shows of a subject beside its claims; `result` is what the record says
        of it.

        ```python
        def pytest_claims_page_extras(subject, result):
            curve = lines({"loss": subject.losses}, x="step", y="loss")
            loss = Figure("loss", "The loss", "It falls.", curve, source="2", claims=("it_learns",))
            return PageExtras(figures=(loss,))
        ```
        """
