"""Records of seeds under a registration: what is kept of them, and that no prediction is changed
afterwards."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from models.config import read_recipe
from studies.__main__ import main
from studies.laws import RECORDS, REGISTERED, keep, read_registered, read_seeds, report
from studies.outcomes import by_device, of_every_seed, table_of_confirmed
from studies.registration import RegistrationError, read_registration
from studies.seeds import Target, run_study
from tests.processes import ROOT
from tests.records import subject_of
from tests.studies.test_seeds import STUDY, targets
from verdicts.record import RecordError, as_json, read_record, write_record
from verdicts.schema import SubjectResult

REGISTRATION = read_registration(REGISTERED)
LEDGER = ROOT / "checkpoints" / "default" / "verdicts.json"
ABOUT = {
    "training": {"seed": 8},
    "role_scores": json.loads((ROOT / "checkpoints" / "default" / "roles.json").read_text())[
        "scores"
    ],
    "registration": {"commit": "0" * 40, "sha256": REGISTRATION.sha256},
}


def record_of(tmp_path: Path, **about: Any) -> Path:
    record = read_record(LEDGER)
    subject = replace(record.subjects[0], about={**ABOUT, **about})
    write_record(tmp_path / "record.json", replace(record, subjects=(subject,)))
    return tmp_path / "record.json"


def test_what_is_kept_is_a_record_in_which_every_prediction_comes_out_the_same(
    tmp_path: Path,
) -> None:
    whole = record_of(tmp_path)
    keep(whole, REGISTRATION, tmp_path / "kept" / "seed-8.json")
    kept = read_record(tmp_path / "kept" / "seed-8.json")
    assert as_json(kept)["subjects"][0].keys() == as_json(read_record(whole))["subjects"][0].keys()
    assert kept.run == read_record(whole).run
    (before,), (after,) = read_record(whole).subjects, kept.subjects
    for prediction in REGISTRATION.predictions:
        if prediction.rate:
            assert prediction.met(before) == prediction.met(after)
    assert REGISTRATION.outcomes(
        read_seeds(tmp_path / "kept", REGISTRATION)
    ) == REGISTRATION.outcomes({8: before})


def test_a_record_of_a_part_is_not_kept(tmp_path: Path) -> None:
    path = record_of(tmp_path)
    record = read_record(path)
    write_record(path, replace(record, run=replace(record.run, partial="-k reader")))
    with pytest.raises(RecordError, match="of a part of the claims only"):
        keep(path, REGISTRATION, tmp_path / "seed-8.json")
    assert not (tmp_path / "seed-8.json").exists()


def test_a_record_for_other_predictions_is_refused(tmp_path: Path) -> None:
    keep(record_of(tmp_path), REGISTRATION, tmp_path / "seed-8.json")
    changed = tmp_path / "registered.toml"
    changed.write_text(
        REGISTERED.read_text().replace("rate = [0.65, 0.98]", "rate = [0.60, 0.98]"),
        encoding="utf-8",
    )
    with pytest.raises(RegistrationError, match=r"seed-8.json: was judged for other predictions"):
        read_seeds(tmp_path, read_registration(changed))
    assert list(read_seeds(tmp_path)) == [8]


def test_a_record_that_is_not_as_the_plan_says_is_refused(tmp_path: Path) -> None:
    keep(record_of(tmp_path), REGISTRATION, tmp_path / "seed-8.json")
    record = read_record(tmp_path / "seed-8.json")
    other = replace(record, run=replace(record.run, seed=5))
    write_record(tmp_path / "seed-8.json", other)
    with pytest.raises(RegistrationError, match="judged with --claims-seed 5, and the plan says 0"):
        read_seeds(tmp_path, REGISTRATION)
    write_record(tmp_path / "seed-8-old.json", record)
    with pytest.raises(RegistrationError, match=r"seed-8-old.json: is of seed 8; its name must be"):
        read_seeds(tmp_path)
    (tmp_path / "seed-8-old.json").unlink()
    write_record(tmp_path / "seed-8.json", record)
    (subject,) = record.subjects
    ninth = replace(
        subject, validation_set="sha256:others", about={**subject.about, "training": {"seed": 9}}
    )
    write_record(tmp_path / "seed-9.json", replace(record, subjects=(ninth,)))
    with pytest.raises(RegistrationError, match="were judged on 2 different sets"):
        read_seeds(tmp_path)
    silent = replace(ninth, about={"training": {"seed": 9}})
    write_record(tmp_path / "seed-9.json", replace(record, subjects=(silent,)))
    with pytest.raises(RegistrationError, match="does not say how it was trained"):
        read_seeds(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--first=0"], "is of seeds 8 to 39, not 0 to 0"),
        (["--first=39", "--count=2"], "is of seeds 8 to 39, not 39 to 40"),
        (["--first=8", "--claims-seed=5"], "is of --claims-seed 0, not 5"),
        (["--first=8", f"--validation-set={LEDGER}"], "is of the usual graphs"),
        (
            ["--first=8", "--config=checkpoints/small.toml"],
            "is of --config checkpoints/recipe.toml",
        ),
        (
            ["--first=8", "--keep=kept", "--claim=reader_is_necessary"],
            "--keep takes records of all",
        ),
    ],
)
def test_nobody_may_choose_after_the_predictions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    plan = ["--count=1", "--config=checkpoints/recipe.toml", f"--registered={REGISTERED}"]
    assert main(["seeds", f"--out={tmp_path / 'out'}", *plan, *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("about", [None, {"commit": "1" * 40, "sha256": "0" * 64}])
def test_a_seed_judged_before_its_predictions_is_refused(
    tmp_path: Path, about: dict[str, str] | None
) -> None:
    """Its record is neither used nor replaced."""
    with ThreadPoolExecutor(1) as executor:

        def run(registration: dict[str, str] | None) -> None:
            study = dataclasses.replace(STUDY, registration=registration)
            assert (
                run_study(study, targets(tmp_path, [0]), executor, report=lambda line: None)[1]
                == {}
            )

        run(about)
        before = Target.of_seed(tmp_path, 0).record.read_bytes()
        with pytest.raises(RegistrationError, match="was judged"):
            run(ABOUT["registration"])
    assert Target.of_seed(tmp_path, 0).record.read_bytes() == before


def test_the_command_line_counts_from_the_records(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(record_of(tmp_path), REGISTRATION, tmp_path / "recipe" / "seed-8.json")
    keep(
        record_of(tmp_path, training={"seed": 0}),
        REGISTRATION,
        tmp_path / "four-heads" / "seed-0.json",
    )
    (tmp_path / "record.json").unlink()
    assert main(["laws", "--records", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "27 predictions of seeds 8 to 39, 1 of 32 judged: 0 confirmed, 0 failed, 27 open." in out
    assert "`reader_is_necessary` | 1/1 | [0.03, 1.00] | 0.8 … 1 | open |" in out
    assert "`both_kinds_are_common` | 0/1 | [0.00, 0.97] | 0.2 … 0.8 | open |" in out
    assert "| prediction | predicted | recipe | four-heads |" in out
    assert "| `reader_is_necessary` | 0.8 … 1 | 1/1 [0.03, 1.00] | 1/1 [0.03, 1.00] |" in out
    assert (
        "| `query_holds_degree_minus_two` | 0/1 | [0.00, 0.97] |" in out
    )  # nothing was predicted of it
    assert main(["laws", "--records", str(tmp_path / "none")]) == 2
    assert "none: no such file or directory" in capsys.readouterr().err
    assert main(["laws", "--records", str(tmp_path / "recipe")]) == 2
    assert "has no directory recipe; name the one" in capsys.readouterr().err


def test_a_page_gets_the_tables_between_its_marks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(record_of(tmp_path), REGISTRATION, tmp_path / "records" / "recipe" / "seed-8.json")
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- laws -->\nold\n<!-- end of laws -->\nafter\n", encoding="utf-8")
    command = ["laws", f"--records={tmp_path / 'records'}", f"--into={page}"]
    assert main(command) == 0
    written = page.read_text(encoding="utf-8")
    assert written.startswith("before\n<!-- laws -->\n### Predicted")
    assert written.endswith("|\n<!-- end of laws -->\nafter\n")
    assert "\nold\n" not in written
    page.write_text("no marks", encoding="utf-8")
    assert main(command) == 2
    assert f"error: {page}: has no <!-- laws -->" in capsys.readouterr().err
    assert page.read_text(encoding="utf-8") == "no marks"


RECIPES = sorted(path.name for path in RECORDS.iterdir()) if RECORDS.exists() else []
SEEDS = sorted(RECORDS.glob("recipe/seed-*.json"))


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_records_are_of_the_recipe_that_they_say(recipe: str) -> None:
    model, train = read_recipe(ROOT / "checkpoints" / f"{recipe}.toml")
    seeds = read_seeds(RECORDS / recipe, REGISTRATION if recipe == "recipe" else None)
    assert seeds
    claims = read_record(LEDGER).subjects[0].claims
    judged = {claim.id for claim in claims if claim.evidence != "exhausted"}
    for seed, subject in seeds.items():
        training = subject.about["training"]
        assert (training["model"], training["train"]) == (model.to_dict(), train.to_dict()), seed
        assert len(training["curve"]["validation_accuracy"]) == train.epochs, seed
        assert {claim.id for claim in subject.claims} == judged, seed
        if recipe == "recipe":
            assert seed in REGISTRATION.seeds


def git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()


def _with_history() -> bool:
    try:
        return (
            git("rev-parse", "--is-shallow-repository") == "false"
            and Path(git("rev-parse", "--show-toplevel")) == ROOT
        )
    except (OSError, subprocess.CalledProcessError):
        return False


@pytest.mark.skipif(not _with_history(), reason="needs the history of the repository")
@pytest.mark.parametrize("path", SEEDS, ids=lambda path: path.stem)
def test_the_predictions_were_committed_before_the_seed_was_judged(path: Path) -> None:
    registered = read_record(path).subjects[0].about["registration"]
    then = subprocess.run(
        ["git", "show", f"{registered['commit']}:studies/registered.toml"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    assert then.stdout == REGISTERED.read_bytes()
    added = git(
        "log", "--diff-filter=A", "--format=%H", "--", str(path.relative_to(ROOT))
    ).splitlines()
    if added:  # or it is not committed yet
        first = git("rev-parse", f"{added[-1]}:{path.relative_to(ROOT)}")
        assert git("hash-object", str(path)) == first, "the record of a seed was replaced"
        subprocess.run(
            ["git", "merge-base", "--is-ancestor", registered["commit"], f"{added[-1]}~"],
            cwd=ROOT,
            check=True,
        )


def test_all_seeds_were_judged_by_the_same_sentences_and_bounds() -> None:
    """And by those of today: a claim that changed would be another claim under the same name."""
    ledger = read_record(LEDGER).subjects[0]
    today = {claim.id: claim for claim in ledger.claims}
    for seed, subject in read_seeds(RECORDS / "recipe").items():
        for claim in subject.claims:
            now = today[claim.id]
            assert claim.statement == now.statement, seed
            for name, measured in claim.measurements.items():
                bounds = [measured.at_least, measured.at_most]
                known = now.measurements.get(name)
                same = known is None or bounds == [known.at_least, known.at_most]
                assert same, (seed, claim.id, name)


def test_the_docs_have_the_tables_as_they_are_now() -> None:
    page = (ROOT / "docs" / "laws.md").read_text(encoding="utf-8")
    assert report(REGISTRATION, RECORDS) in page, "make it anew: make laws"
    confirmed = table_of_confirmed(REGISTRATION, read_registered(REGISTRATION, RECORDS))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "\n".join(confirmed) in readme, "make it anew: make laws"


def test_the_report_says_on_what_the_seeds_were_trained() -> None:
    """Eight seeds on each, and one role that all have on the one and none on the other."""
    (subject,) = read_record(LEDGER).subjects

    def trained_on(device: str, pointer: str | None) -> SubjectResult:
        about = {**ABOUT, "training": {"seed": 8, "metrics": {"device": device}}}
        return replace(subject, about=about, roles={**subject.roles, "pointer": pointer})

    seeds = [trained_on("cpu", "1.3") for _ in range(8)]
    assert by_device(REGISTRATION, dict(enumerate(seeds, 8))) == "Trained on cpu (8)."
    seeds += [trained_on("cuda", None) for _ in range(8)]
    assert by_device(REGISTRATION, dict(enumerate(seeds, 8))) == (
        "Trained on cpu (8), cuda (8). Of 26 rates that of `most_have_a_pointer` differs most"
        " between them: 8/8 on cpu, 0/8 on cuda (p = 0.00 by Fisher's exact test). So few seeds"
        " miss many differences."
    )
    before = dict(enumerate(seeds))
    assert by_device(REGISTRATION, before) == "Trained on cuda (8).", "those of the plan alone"


LITTLE = """
[plan]
recipe = "checkpoints/recipe.toml"
first_seed = 0
last_seed = 31
claims_seed = 0

[[prediction]]
id = "most_read"
where = [{ claim = "it_reads", verdict = "holds" }]
rate = [0.8, 1.0]
basis = "seen"

[[prediction]]
id = "it_never_writes"
where = [{ claim = "it_writes", verdict = "holds" }]
rate = [0.0, 0.2]
basis = "seen"

[[prediction]]
id = "half_read"
where = [{ claim = "it_reads", verdict = "holds" }]
rate = [0.4, 0.6]
basis = "seen"
"""


def test_what_is_confirmed_is_counted_where_it_is_true(tmp_path: Path) -> None:
    """What was predicted to be rare, where it is not so; what failed is left out."""
    path = tmp_path / "little.toml"
    path.write_text(LITTLE, encoding="utf-8")
    little = read_registration(path)

    def seed(reads: str, writes: str) -> SubjectResult:
        claims = {"it_reads": reads, "it_writes": writes}
        return subject_of(
            *(
                {"id": name, "statement": f"{name}.", "verdict": verdict, "measurements": {}}
                for name, verdict in claims.items()
            )
        )

    all_do = dict(enumerate([seed("holds", "absent")] * 31 + [seed("holds", "refuted")]))
    assert list(table_of_confirmed(little, all_do))[2:] == [
        "| 32/32 | [0.89, 1.00] | 0.8 … 1 | `most_read`, `it_never_writes` |"
    ]
    most_do = {**all_do, 31: seed("refuted", "holds")}
    assert list(table_of_confirmed(little, most_do))[2:] == [
        "| 31/32 | [0.84, 1.00] | 0.8 … 1 | `most_read`, `it_never_writes` |"
    ]
    all_show = "Every seed of every recipe shows: `most_read`, `it_never_writes`."
    assert of_every_seed(little, {"one": all_do, "other": {0: seed("holds", "absent")}}) == (
        all_show.replace("`it_never_writes`.", "`it_never_writes`, `half_read`.")
    )
    assert of_every_seed(little, {"one": all_do, "other": most_do}).endswith(": nothing of this.")


def test_the_command_writes_what_is_confirmed_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- confirmed -->\nold\n<!-- end of confirmed -->\nz\n")
    assert main(["laws", "--confirmed", f"--into={page}"]) == 0
    written = page.read_text(encoding="utf-8").splitlines()
    confirmed = table_of_confirmed(REGISTRATION, read_registered(REGISTRATION, RECORDS))
    assert written[2:-2] == list(confirmed)
    assert main(["laws", f"--into={page}"]) == 2, "it has no marks for all tables"
