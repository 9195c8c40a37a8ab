"""What one run knows, and what is expected of its subjects: the parts of the plugin share it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest
from markupsafe import Markup
from msgspec.structs import replace

from verdicts.acknowledged import Acknowledgement, read_acknowledged, require_known
from verdicts.cases import CasesOfSubject, unpack
from verdicts.compare import baseline_for, compare
from verdicts.gates import Gate, mode_of
from verdicts.lock import hold_file
from verdicts.nulls import with_corrected
from verdicts.packing import Packed
from verdicts.paired import Change, Key
from verdicts.plugin.options import acknowledged_of, drift_of, selections
from verdicts.plugin.pairing import cases_of_baseline, compared_in_pairs, said_of_pairs
from verdicts.plugin.subjects import JudgedSubject
from verdicts.project import PLAIN, Project
from verdicts.record import RecordError, make_record, read_whole_record
from verdicts.schema import (
    CasesFile,
    ClaimResult,
    Comparison,
    Description,
    Mode,
    Record,
    ShownCase,
    SubjectResult,
)
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
        self.without_their_ledger: set[str] = set()
        """Subjects beside which the ledger of another lies, by content hash."""
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
        self.seen: dict[str, dict[Key, Packed]] = {}
        """What was seen case by case, by content hash, from reports as well."""
        self.gates: dict[str, Gate] = {}
        """Which question is asked of each subject, by content hash, from reports as well."""
        self.drift = drift_of(config)
        self.acknowledged: Sequence[Acknowledgement] = ()
        self.baseline_cases: dict[str, tuple[CasesOfSubject, str]] = {}
        """What the baseline saw, by content hash, and why it is not all."""
        self.cases: CasesFile | None = None
        """Name and hash of the file of cases that this run wrote."""
        self.shown: dict[str, tuple[ShownCase, ...]] = {}
        """The first cases of each subject that came out otherwise, as the project names them."""
        self.drawings: dict[int, Markup] = {}
        """What the project draws of them."""
        self._compared: dict[str, tuple[dict[Key, Change], str]] = {}

    def read_what_the_gate_needs(self) -> None:
        """Acknowledgements and cases of the baseline; `RecordError` for what cannot be used."""
        if self.baseline is None:
            return
        if (path := acknowledged_of(self.config)) is not None:
            self.acknowledged = read_acknowledged(path)
        if hasattr(self.config, "workerinput"):
            return  # what is compared is compared where all results are
        source, named = (
            self.config.getoption(name) for name in ("claims_baseline", "claims_baseline_cases")
        )
        for subject in self.baseline.subjects:
            self.baseline_cases[subject.content_hash] = cases_of_baseline(
                subject, self.baseline, source=source, named=named
            )

    @property
    def keeps_cases(self) -> bool:
        """Whether what is seen case by case is of use."""
        return self.baseline is not None or self.config.getoption("claims_cases") is not None

    @functools.cached_property
    def project(self) -> Project:
        """The words of the project."""
        return self.config.hook.pytest_claims_project() or PLAIN

    def prepare(self, judged: JudgedSubject) -> None:
        """What is expected of a subject, and its ledger for this run alone where it is to be
        written."""
        if self.config.getoption("claims_accept"):
            held = contextlib.ExitStack()
            try:
                held.enter_context(hold_file(judged.ledger_path))
            except OSError as error:
                raise ValueError(
                    f"--claims-accept: {judged.ledger_path}: cannot be written: {error.strerror}"
                ) from None
            self.config.add_cleanup(held.close)
        self._read_ledger(judged)
        if self.baseline is not None:
            about = Description.of(judged)
            source = self.config.getoption("claims_baseline")
            found = baseline_for(self.baseline, about, source=source)
            self.baselines[about.content_hash] = found
            self.gates[about.content_hash] = self._gate(judged, found)

    def require_known_claims(self, judged: Iterable[str]) -> None:
        """`RecordError` for an acknowledgement of a claim that neither run nor baseline has."""
        if self.baseline is not None and not selections(self.config):
            then = (claim.id for one in self.baselines.values() for claim in one.claims)
            source = acknowledged_of(self.config)
            assert source is not None or not self.acknowledged
            require_known(self.acknowledged, [*judged, *then], source=source or Path())

    def _gate(self, judged: JudgedSubject, baseline: SubjectResult) -> Gate:
        """Which question is asked of a subject: it is named, or follows from hash and recipe."""
        same = Description.of(judged).content_hash == baseline.content_hash
        retrained = None
        if not same:
            retrained = self.config.hook.pytest_claims_retrained(
                subject=judged, baseline=baseline, source=self.config.getoption("claims_baseline")
            )
        mode, why = mode_of(
            self.config.getoption("claims_gate"), same_contents=same, retrained=retrained
        )
        laws = self.config.hook.pytest_claims_laws() if mode == "retrained" else None
        return self.gate(mode, why, laws or {})

    def gate(self, mode: Mode, why: str, laws: Mapping[str, float]) -> Gate:
        """The gate of this run for that question."""
        return Gate(
            mode,
            why,
            laws=laws,
            acknowledged=self.acknowledged,
            drift=self.drift,
            cases=self.project.cases,
            contents=self.project.contents,
        )

    def _read_ledger(self, judged: JudgedSubject) -> None:
        """What is expected, unless a baseline says that or the ledger is to be written anew."""
        description = Description.of(judged)
        if not judged.ledger_path.exists() or self.baseline is not None:
            return
        ledger = read_whole_record(judged.ledger_path)
        if ledger.subjects[0].content_hash != description.content_hash:
            self.without_their_ledger.add(description.content_hash)
            if self.config.getoption("claims_accept"):
                return
            raise RecordError(
                f"{judged.ledger_path}: is of other {self.project.contents}:"
                f" {ledger.subjects[0].content_hash}, not {description.content_hash}; compare with"
                " them by"
                f" --claims-baseline={judged.ledger_path}, or put these in their place by"
                " --claims-accept"
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
                result = replace(result, comparison=self._compared_with(baseline, result))
            subjects.append(result)
        device = next(iter(self.results.values())).device
        return make_record(
            subjects,
            seed=self.config.getoption("claims_seed"),
            device=device,
            partial=self.partial,
            cases=self.cases,
        )

    def _compared_with(self, baseline: SubjectResult, result: SubjectResult) -> Comparison:
        name = result.content_hash
        if name not in self._compared:
            before, missing = self.baseline_cases[baseline.content_hash]
            changes, gating = compared_in_pairs(baseline, result, before, self.cases_of(name))
            self._compared[name] = changes, said_of_pairs(len(changes), gating, missing)
        changes, pairs = self._compared[name]
        gate = dataclasses.replace(self.gates[name], changes=changes, pairs=pairs)
        comparison = compare(baseline, result, whole=not selections(self.config), gate=gate)
        shown = self.shown.get(name, ())
        answers = tuple(replace(one, shown=shown) for one in comparison.answers)
        return replace(comparison, answers=answers)

    def cases_of(self, content_hash: str) -> CasesOfSubject:
        """What was seen of a subject case by case, as numbers."""
        return {key: unpack(packed) for key, packed in self.seen.get(content_hash, {}).items()}
