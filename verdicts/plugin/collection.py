"""Every claim for every subject, and what is expected of each."""

from __future__ import annotations

import inspect
import unittest
from typing import cast

import pytest

from verdicts.judge import Claim, ClaimNotHeld
from verdicts.plugin.run import Run
from verdicts.plugin.subjects import JudgedSubject, labels, obtain_subjects
from verdicts.project import Project
from verdicts.schema import Description
from verdicts.variants import CONTROL, VARIANTS, VariantRunner, Variants, require_known


def _is_claim(node: pytest.Item) -> bool:
    return node.get_closest_marker("claim") is not None


def _case_of(item: pytest.Function) -> str:
    """What tells the claims of one function apart: its own parameters, the subject left out."""
    own = {name: value for name, value in item.callspec.params.items() if name != "subject"}
    return ", ".join(f"{name}={value}" for name, value in sorted(own.items()))


def subject_of(item: pytest.Function) -> JudgedSubject:
    return cast(JudgedSubject, item.callspec.params["subject"])


def claim_of(item: pytest.Function, project: Project) -> Claim:
    """The claim that a test makes; its fixtures have no value yet."""
    if inspect.isclass(item.cls) and issubclass(item.cls, unittest.TestCase):
        raise ValueError(
            f"{item.nodeid}: a claim cannot be a method of a unittest.TestCase, which takes no"
            " subject"
        )
    return Claim.from_function(item.obj, project).given({}, case=_case_of(item))


class Collection:
    """Subjects are obtained once, and what is collected is they."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Every claim is judged on every subject: they are obtained once, and what is collected is
        they."""
        if not _is_claim(metafunc.definition) or "subject" not in metafunc.fixturenames:
            return
        if not self.run.subjects and self.run.refused is None:
            try:
                self.run.subjects = obtain_subjects(self.run.config)
            except ValueError as error:
                self.run.refused = str(error)
        names = labels([Description.of(subject) for subject in self.run.subjects])
        ids = list(names.values()) if len(names) > 1 else [pytest.HIDDEN_PARAM] * len(names)
        metafunc.parametrize("subject", self.run.subjects, ids=ids, scope="session")

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        self.run.collected += bool(self.run.subjects) and _is_claim(item)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        functions = [
            item for item in items if isinstance(item, pytest.Function) and _is_claim(item)
        ]
        if not functions:
            self.run.refused = None
            return
        try:
            if self.run.refused is not None:
                raise ValueError(self.run.refused)
            claims = {item: claim_of(item, self.run.project) for item in functions}
            seen: dict[tuple[str, str], str] = {}
            for item, claim in claims.items():
                place = item.nodeid.partition("[")[0]
                known = seen.setdefault(
                    (claim.id, Description.of(subject_of(item)).content_hash), place
                )
                if known != place:
                    raise ValueError(f"two claims are called {claim.id}: in {known} and {place}")
            for judged in self.run.subjects:
                self.run.prepare(judged)
            self.run.require_known_claims(claim.id for claim in claims.values())
            if self.run.config.getoption("claims_controls") or self.run.config.getoption(
                "claims_gauge"
            ):
                variants = self._variants()
                for claim in claims.values():
                    require_known(claim, variants)
                self.run.runners = {
                    Description.of(judged).content_hash: VariantRunner(variants, judged)
                    for judged in self.run.subjects
                }
        except ValueError as error:
            self.run.refused = str(error)
            if not hasattr(self.run.config, "workerinput"):
                self.run.refused = None  # pytest itself says it
                raise pytest.UsageError(str(error)) from None
            self.run.config.workeroutput["claims_refused"] = self.run.refused  # type: ignore[attr-defined]
            items.clear()  # an error here would be a crash of the worker
            return
        for item, claim in claims.items():
            self._expect_what_the_ledger_accepts(item, claim, subject_of(item))

    def _variants(self) -> Variants:
        option = (
            "--claims-controls"
            if self.run.config.getoption("claims_controls")
            else "--claims-gauge"
        )
        variants = self.run.config.hook.pytest_claims_variants()
        if variants is None:
            raise ValueError(
                f"{option} needs controls and gauges: write in conftest.py def"
                " pytest_claims_variants(): return … (what it needs is verdicts.variants.Variants)"
            )
        lacking = [name for name in VARIANTS if not hasattr(variants, name)]
        if lacking:
            raise ValueError(
                f"pytest_claims_variants returned a {type(variants).__name__} without"
                f" {', '.join(lacking)}"
            )
        for control in variants.controls:
            if lacking := [name for name in CONTROL if not hasattr(control, name)]:
                raise ValueError(
                    f"pytest_claims_variants().controls has a {type(control).__name__} without"
                    f" {', '.join(lacking)}"
                )
        return cast(Variants, variants)

    def _expect_what_the_ledger_accepts(
        self, item: pytest.Function, claim: Claim, judged: JudgedSubject
    ) -> None:
        verdict = self.run.accepted(Description.of(judged).content_hash).get(claim.id, "holds")
        if verdict == "holds" or self.run.config.getoption("claims_accept"):
            return
        if self.run.baseline is not None:
            item.add_marker(
                pytest.mark.xfail(
                    raises=ClaimNotHeld, strict=False, reason=f"{verdict} in the baseline"
                )
            )
        else:
            reason = (
                f"the ledger accepts this claim as {verdict}; where that has changed, run with"
                " --claims-accept"
            )
            item.add_marker(pytest.mark.xfail(raises=ClaimNotHeld, strict=True, reason=reason))
