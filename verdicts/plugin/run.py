"""What one run knows, and what is expected of its subjects: the parts of the plugin share it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from verdicts.compare import baseline_for, compare
from verdicts.lock import hold
from verdicts.nulls import with_corrected
from verdicts.plugin.options import selections
from verdicts.plugin.subjects import JudgedSubject
from verdicts.project import PLAIN, Project
from verdicts.record import RecordError, make_record, read_whole_record
from verdicts.schema import ClaimResult, Description, Record, SubjectResult
from verdicts.variants import VariantRunner


@dataclasses.dataclass
class Results:
    """What came of one subject so far, and its place among those of the run."""

    subject: Description
    device: str
    place: int
    claims: list[ClaimResult] = dataclasses.field(default_factory=list)


class Run:
    """Its subjects, their ledgers, and the verdicts as they come in."""

    def __init__(self, config: pytest.Config, baseline: Record | None) -> None:
        self.config = config
        self.baseline = baseline
        self.baselines: dict[str, SubjectResult] = {}
        """What each subject is compared with, by its content hash."""
        self.subjects: Sequence[JudgedSubject] = ()
        self.runners: dict[str, VariantRunner] = {}
        """Broken and equivalent copies of each subject, by its content hash, where they were asked
        for."""
        self.ledgers: dict[str, Record] = {}
        self.complaints: list[str] = []
        """What is wrong with the claims of the run taken together."""
        self.messages: list[str] = []
        """What was written where, and why not."""
        self.broken_files = 0
        """Files that could not be collected."""
        self.refused: str | None = None
        """Why nothing can be judged; under xdist a worker finds out, and tells."""
        self.collected = 0
        """Claims times subjects, before any was deselected."""
        self.partial: str | None = None
        """Why claims are missing, at the end of a run that did not judge all that it collected."""
        self.results: dict[str, Results] = {}
        """What came of each subject, by content hash, from reports: the same under xdist."""
        self.known: dict[str, dict[str, str]] = {}
        """Verdicts that the baseline or ledger expects, by content hash and claim, from reports as
        well."""

    @functools.cached_property
    def project(self) -> Project:
        """The words of the project."""
        return self.config.hook.pytest_claims_project() or PLAIN

    def prepare(self, judged: JudgedSubject) -> None:
        """What is expected of a subject, and its ledger for this run alone where it is to be
        written."""
        if self.config.getoption("claims_accept"):
            try:
                lock = hold(judged.ledger_path, what="is being written")
            except OSError as error:
                raise ValueError(
                    f"--claims-accept: {judged.ledger_path}: cannot be written: {error.strerror}"
                ) from None
            self.config.add_cleanup(lock.release)
        self._read_ledger(judged)
        if self.baseline is not None:
            about = Description.of(judged)
            source = self.config.getoption("claims_baseline")
            self.baselines[about.content_hash] = baseline_for(self.baseline, about, source=source)

    def _read_ledger(self, judged: JudgedSubject) -> None:
        description = Description.of(judged)
        if not judged.ledger_path.exists():
            return
        ledger = read_whole_record(judged.ledger_path)
        if ledger.subjects[0].content_hash != description.content_hash:
            raise RecordError(
                f"{judged.ledger_path}: is of other weights: {ledger.subjects[0].content_hash},"
                f" not {description.content_hash}"
            )
        self.ledgers[description.content_hash] = ledger

    def accepted(self, content_hash: str) -> dict[str, str]:
        """Verdicts by claim of the baseline, or else of the ledger; none where there is neither."""
        expected = self.baselines.get(content_hash)
        if expected is None and content_hash in self.ledgers:
            expected = self.ledgers[content_hash].subjects[0]
        return {} if expected is None else {claim.id: claim.verdict for claim in expected.claims}

    def record(self) -> Record | None:
        """The record of the run so far; `None` where no claim was judged."""
        if not self.results:
            return None
        # in the order of the subjects and of the claims' ids; xdist reports in any
        in_order = sorted(self.results.values(), key=lambda results: results.place)
        subjects = []
        for results in in_order:
            claims = sorted(results.claims, key=lambda claim: claim.id)
            result = results.subject.judged(with_corrected(claims))
            if (
                self.baseline is not None
            ):  # and not self.baselines: under xdist only the workers load the subjects
                baseline = baseline_for(
                    self.baseline, result, source=self.config.getoption("claims_baseline")
                )
                comparison = compare(baseline, result, whole=not selections(self.config))
                result = replace(result, comparison=comparison)
            subjects.append(result)
        device = next(iter(self.results.values())).device
        return make_record(
            subjects, seed=self.config.getoption("claims_seed"), device=device, partial=self.partial
        )
