"""What the README and the docs say can be called, can be called; their numbers are those of the
records."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import verdicts.plugin.options
from circuits.finder import find_roles
from circuits.roles import read_roles
from circuits.subject import load_subject
from circuits.variants import Variants
from claims.catalogue import all_claims
from claims.project import PROJECT, add_options
from models.checkpoint import load_checkpoint
from studies.__main__ import main
from tests.mutants import COPIED, MUTANTS
from verdicts.judge import Claim, judge
from verdicts.record import read_record
from verdicts.schema import Measurement, SubjectResult
from verdicts.table import render
from verdicts.variants import VariantRunner, control_complaints, gauge_complaints

ROOT = Path(__file__).parent.parent.parent
JUDGED = (2, 5, 6, 7)  # seeds of which the weights are kept, beside 1, which is `default`
README = (ROOT / "README.md").read_text(encoding="utf-8")


def page(name: str) -> str:
    """One page of the docs."""
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


def test_it_can_be_read_in_three_minutes() -> None:
    assert len(README.encode()) <= 10_000


PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(
            path
            for room in ("docs", "checkpoints", "examples", "packaging")
            for path in (ROOT / room).rglob("*.md")
        ),
    ]
)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_link_leads_nowhere(path: Path) -> None:
    for link, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", without_code(path)):
        if "://" in link:
            continue
        target = path.parent / link if link else path
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), f"{link}#{anchor}"


def without_code(path: Path) -> str:
    """The text of a page, but for its blocks of code."""
    return re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)


def anchors(path: Path) -> set[str]:
    """Of all headings of a page, as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", without_code(path), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def ledger(name: str) -> SubjectResult:
    """The one subject of a shipped ledger."""
    return read_record(ROOT / "checkpoints" / name / "verdicts.json").subjects[0]


def test_its_verdict_is_printed_so() -> None:
    subject = ledger("default")
    accepted = {claim.id: claim.verdict for claim in subject.claims}
    printed = "\n".join(line for line, _ in render(subject, accepted=accepted, project=PROJECT))
    (shown,) = re.findall(r"```\n(REFUTED.*?)```", README, flags=re.DOTALL)
    assert shown in printed


def test_its_findings_have_the_numbers_of_the_ledgers() -> None:
    measured = {
        name: {claim.id: claim.measurements for claim in ledger(name).claims}
        for name in ("transformer_2024-09-05_13-28-07", "default")
    }
    theirs, ours = measured.values()

    def value(of: Mapping[str, Mapping[str, Measurement]], claim: str, measure: str) -> float:
        found = of[claim][measure].number
        assert found is not None
        return float(found)

    offsets = [
        f"{value(one, 'position_subtracts_two_neighbours', 'mean_coefficient'):.2f}"
        for one in (theirs, ours)
    ]
    accuracy = value(theirs, "classifies_the_validation_set", "accuracy")
    without = value(theirs, "reader_is_necessary", "ablated_accuracy")
    lost = [100 * value(one, "pointer_is_dispensable", "accuracy_drop") for one in (theirs, ours)]
    held, read = (
        value(theirs, "the_pointer_needs_that_dimension", measure)
        for measure in ("attention_shift", "reading_direction_shift")
    )
    values = value(theirs, "reader_values_hold_degree", "degree_correlation")
    told = " ".join(README.split())
    for said in (
        f"is {offsets[0]} times that of a neighbour, ours {offsets[1]}".replace("-", "−"),
        f"accuracy falls from {accuracy:.3f} to {without:.3f}",
        f"loses {lost[0]:.1f} of a point. Ours has a pointer of another kind, and loses"
        f" {lost[1]:.0f} points",
        f"takes away {held:.3f} of the attention",
        f"that the pointer reads takes {read:.2f}",
        f"(r = {values:.2f})",
    ):
        assert said in told, said


def test_its_counts_are_those_of_the_ledgers() -> None:
    for name in ("default", "transformer_2024-09-05_13-28-07"):
        claims = read_record(ROOT / "checkpoints" / name / "verdicts.json").subjects[0].claims
        count = Counter(claim.verdict for claim in claims)
        above = sum(claim.verdict == "holds" and claim.above_chance == "yes" for claim in claims)
        claims_of = "" if name == "default" else f" of {len(claims)} claims"
        verb = "" if name == "default" else ","
        told = f"{count['holds']}{claims_of} hold{verb} and {count['refuted']} are"
        assert told in " ".join(README.split()), told
        cell = f"{count['holds']} ({count['refuted']} refuted, {count['unresolved']} unresolved)"
        assert cell in page("findings")
        assert f"| {above} |" in page("findings")


def test_the_two_tests_against_untrained_models_are_told_apart() -> None:
    """One untrained model as a control, and 3,000 to rank a claim among."""
    theirs = {claim.id: claim for claim in ledger("transformer_2024-09-05_13-28-07").claims}
    claims = {claim.id: claim.spared for claim in all_claims()}
    fresh, dealt = (
        [name for name, spared in claims.items() if control in spared]
        for control in ("fresh weights", "scrambled heads")
    )
    trials = [theirs[name].controls or {} for name in fresh]
    held = sum(trial["fresh weights"].verdict == "holds" for trial in trials)
    as_chance = [
        claim
        for claim in theirs.values()
        if claim.verdict == "holds" and claim.above_chance == "no"
    ]
    numbers = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    told = " ".join(page("controls-and-gauges").split())
    assert f"Fresh weights must break all claims but {numbers[len(fresh)]}." in told
    assert f"this matrix {numbers[held]} of them hold." in told
    assert f"Dealt heads must break all claims but {numbers[len(dealt)]}." in told
    assert f"checkpoint, {numbers[len(as_chance)]} are not told from these." in told
    assert f"model, {numbers[len(as_chance)]} are not told from those" in " ".join(README.split())


class Options:
    """What is added to a parser, by name."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def getgroup(self, *_: str) -> Options:
        return self

    def addoption(self, name: str, **_: object) -> None:
        self.names.add(name)

    def addini(self, *_: object, **__: object) -> None: ...


@pytest.mark.parametrize(
    ("heading", "add"),
    [
        ("## Of the library\n", verdicts.plugin.options.add_options),
        ("## Of this project\n", add_options),
    ],
)
def test_its_options_are_those_that_there_are(heading: str, add: Callable[[Any], None]) -> None:
    options = Options()
    add(options)
    section, _, _ = page("options").partition(heading)[2].partition("\n## ")
    assert set(re.findall(r"^\| `(--[a-z-]+)", section, flags=re.MULTILINE)) == options.names


def test_every_name_in_it_exists() -> None:
    """Cells like `circuits.queries.query_parts`, `key_parts`: a bare name belongs to the module
    named before it."""
    names = 0
    for row in re.findall(
        r"^\| (?:§|Unused|ablations).*\| (.*) \|$", page("notebook"), flags=re.MULTILINE
    ):
        module = None
        for name in re.findall(r"`((?:circuits|models)\.[\w.]+|[a-z_]+)(?:\(|`)", row):
            if "." in name:
                parent, _, leaf = name.rpartition(".")
                module = importlib.import_module(parent)
                assert hasattr(module, leaf) or importlib.import_module(name), name
            else:
                assert module is not None
                assert hasattr(module, name), name
            names += 1
    assert names > 20


def test_its_example_runs_and_gives_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = [
        block
        for block in re.findall(r"```python\n(.*?)```", page("notebook"), flags=re.DOTALL)
        if "one_path_scores(" in block
    ]
    monkeypatch.chdir(ROOT)
    *setup, first, second = example.splitlines()
    scope: dict[str, Any] = {}
    exec("\n".join(setup), scope)
    assert eval(first, scope)["embed->q"] == pytest.approx(0.913, abs=5e-4)
    best = eval(second, scope)
    assert (round(best.score, 3), best.paths) == (0.617, ("0.3->q", "embed->k"))


def test_its_claim_can_be_judged_and_can_fail() -> None:
    scope: dict[str, Any] = {}
    exec(_its_claim(), scope)
    claim = Claim.from_function(scope["test_isolated_vertices_attend_to_the_target"])
    bench = VariantRunner(Variants(), load_subject(ROOT / "checkpoints" / "default"))
    verdict = judge(
        claim, bench.variants.for_controls(load_subject(ROOT / "checkpoints" / "default"))
    )
    assert verdict.verdict == "holds"
    result = verdict.result()
    assert (
        list(control_complaints(claim, result, bench.controls(claim), bench.variants.controls))
        == []
    )
    assert list(gauge_complaints(result, bench.gauges(claim))) == []


@pytest.mark.long
def test_its_claim_pasted_passes_everything(tmp_path: Path) -> None:
    """In a copy of the project, in a file of its own: style, types, the claim's own run and the
    tests about claims."""
    for name in (*COPIED, "benchmarks"):  # mypy reads them, too
        source = ROOT / name
        ignored = shutil.ignore_patterns("__pycache__")
        (partial(shutil.copytree, ignore=ignored) if source.is_dir() else shutil.copy)(
            source, tmp_path / name
        )
    if (ROOT / ".mypy_cache").exists():  # what it knows of torch and numpy, a minute's work
        shutil.copytree(ROOT / ".mypy_cache", tmp_path / ".mypy_cache")
    (tmp_path / "claims" / "test_isolated.py").write_text(_its_claim(), encoding="utf-8")
    tests = [
        "tests/claims/test_judging_models.py",
        "tests/figures/test_page.py",
        "-k",
        "isolated or ledger or every_part",
    ]
    for command in (
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        ["pytest", "claims", "-k", "isolated", "--claims-controls", "--claims-gauge"],
        ["pytest", "-q", "-m", "not long", *tests],
    ):
        result = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]


def _its_claim() -> str:
    (example,) = [
        block
        for block in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
        if "isolated" in block
    ]
    assert example in page("add-a-claim")
    return example


def test_it_counts_the_planted_faults() -> None:
    assert f"`make mutants` plants {len(MUTANTS)} faults" in page("instrument")


def test_its_table_of_seeds_is_that_of_the_shipped_records(
    capsys: pytest.CaptureFixture[str],
) -> None:
    records = [
        ROOT / "checkpoints" / name / "verdicts.json"
        for name in ("default", *(f"seed-{seed}" for seed in JUDGED))
    ]
    beside = ROOT / "checkpoints" / "transformer_2024-09-05_13-28-07" / "verdicts.json"
    assert main(["table", *map(str, records), "--reference", str(beside)]) == 0
    table, _, _ = capsys.readouterr().out.partition("lowest, median")
    assert table.strip() in page("eight-seeds")


@pytest.mark.parametrize("name", ["default", *(f"seed-{seed}" for seed in JUDGED)])
def test_shipped_weights_are_those_of_their_roles_and_ledger(name: str) -> None:
    directory = ROOT / "checkpoints" / name
    checkpoint = load_checkpoint(directory)
    roles, _ = find_roles(checkpoint.model)
    ledger = read_record(directory / "verdicts.json").subjects[0]
    read = read_roles(
        directory / "roles.json", cfg=checkpoint.model.cfg, content_hash=checkpoint.content_hash
    )
    assert roles.to_dict() == read.to_dict() == ledger.roles
    assert ledger.content_hash == checkpoint.content_hash
