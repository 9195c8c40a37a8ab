"""The pytest plugin. Its parts share one `Run`: what is collected, judged, written and shown."""

from __future__ import annotations

import pytest

from verdicts.plugin.collection import Collection
from verdicts.plugin.hooks import ClaimsHooks
from verdicts.plugin.judging import Judging
from verdicts.plugin.options import add_options, check_options
from verdicts.plugin.reporting import Reporting
from verdicts.plugin.run import Run
from verdicts.plugin.subjects import JudgedSubject
from verdicts.plugin.writing import Writing
from verdicts.record import RecordError, read_whole_record


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
    run = Run(config, baseline)
    try:
        run.read_what_the_gate_needs()
    except RecordError as error:
        raise pytest.UsageError(str(error)) from None
    for part in (Collection(run), Judging(run), Writing(run), Reporting(run)):
        config.pluginmanager.register(part, f"claims-{type(part).__name__.lower()}")


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
