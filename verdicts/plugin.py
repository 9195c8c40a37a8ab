"""The pytest plugin: its hooks, its options and the fixtures of a claim."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from verdicts.options import add_options, check_options
from verdicts.project import Project
from verdicts.record import RecordError, read_whole_record
from verdicts.session import ClaimsSession
from verdicts.subjects import JudgedSubject
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
            return Project(subject="model", data="validation set", cases="sentences")
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
    def pytest_claims_page_extras(
        self, subject: JudgedSubject, result: dict[str, Any]
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


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(ClaimsHooks)


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "claim(source, evidence, …): a claim; source says who states it, evidence of which kind it"
        " is (exact, proved, searched, estimated or causal, if the project has no others)",
    )
    check_options(config)
    try:
        path = config.getoption("claims_baseline")
        baseline = None if path is None else read_whole_record(path)
    except RecordError as error:
        raise pytest.UsageError(f"--claims-baseline={error}") from None
    config.pluginmanager.register(ClaimsSession(config, baseline), "claims-session")


@pytest.fixture
def subject(request: pytest.FixtureRequest) -> JudgedSubject:
    """What a claim is about: a claim gets it by parametrisation, one subject at a time."""
    return pytest.fail(
        f"{request.node.name} asks for the fixture 'subject', which claims alone get; "
        "mark it with @pytest.mark.claim(source=…, evidence=…), or give your fixture another name",
        pytrace=False,
    )


@pytest.fixture
def expect() -> None:
    """Placeholder for the recorder: `judge` makes a fresh one for each claim that it judges."""
