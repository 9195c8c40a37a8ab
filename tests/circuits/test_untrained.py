"""Untrained models: the statistics that claims are compared by, the file that keeps them, and what
cites it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from circuits import finder, untrained
from circuits.__main__ import main
from circuits.ablation import HeadAblations, swap_partners
from circuits.attention import head_pattern
from circuits.bounds import anchor_attention, anchor_score_extremes
from circuits.chance import STATISTICS, definition, measure
from circuits.composition import composition_scores
from circuits.residual import (
    activation,
    correlation,
    degree_correlations,
    head_result,
    main_axis,
    r_squared,
    score_direction,
    through_mlp,
)
from circuits.roles import Head, Roles
from circuits.trial import Parts, Sample, Trial
from circuits.untrained import Entry, Quantile, drawn_for, quantile, read_untrained, statistics_of
from models.checkpoint import save_checkpoint
from models.config import ModelConfig
from models.randomness import named_generator
from models.transformer import Transformer
from tests.claims.test_judging_models import CLAIMS
from tests.planted import planted_subject
from tests.processes import one_thread
from verdicts.judge import judge

ROOT = Path(__file__).parent.parent.parent
SMALL = ModelConfig(n_heads=3, d_model=16, d_head=4, d_mlp=8)
SAMPLE = Sample.of(10, range(15, 21), 0)
READER, POINTER, TARGET = Head(0, 1), Head(1, 2), 4


@pytest.fixture(scope="module")
def model() -> Transformer:
    """Nothing that is known of its weights: biases are not zero."""
    chance = torch.Generator().manual_seed(2)
    some = Transformer(SMALL).initialise(torch.Generator().manual_seed(0)).requires_grad_(False)
    for parameter in some.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=chance), alpha=0.3)
    return some


@pytest.fixture(scope="module")
def trial(model: Transformer) -> Trial:
    found = {
        "reader": READER,
        "anchors": (3, 6),
        "pointer": POINTER,
        "target": TARGET,
        "dimension": 7,
    }
    return Trial(model, SAMPLE, Parts.of(Roles(found), model))


def test_the_statistics_are_those_of_the_claims(model: Transformer, trial: Trial) -> None:
    """A second computation against the measurements themselves."""
    graphs, degree, chance = trial.graphs, trial.degree, torch.Generator().manual_seed(1)
    result = head_result(model, graphs, READER)
    z = activation(model, graphs, "blocks.0.attn.hook_z", head=READER)
    inputs = {
        ("value_share", "value_correlation"): activation(
            model, graphs, "blocks.0.attn.hook_v", head=READER
        ),
        ("z_share", "z_correlation"): z,
        ("output_share", "output_correlation"): result,
        ("output_share_after_the_mlp", "output_correlation_after_the_mlp"): through_mlp(
            model, result
        ),
        ("query_share", "query_correlation"): activation(
            model, graphs, "blocks.1.attn.hook_q", head=POINTER
        ),
    }
    expected: dict[str, float] = {}
    for (share, along_name), values in inputs.items():
        axis = main_axis(values, generator=chance)
        along = correlation(axis.coefficient, degree, generator=chance)
        assert along is not None
        expected |= {share: axis.share.value, along_name: along.value}
    resid = activation(model, graphs, "blocks.0.hook_resid_post")
    u = score_direction(model, graphs, POINTER, target=TARGET)
    expected["z_explains_degree"] = r_squared(z, degree, generator=chance).value
    expected["score_direction_correlation"] = (
        degree_correlations((resid @ u)[..., None], degree).abs().item()
    )
    expected["dimension_correlation"] = degree_correlations(resid, degree).abs().max().item()
    neurons = activation(model, graphs, "blocks.0.mlp.hook_post")
    expected["neuron_correlation"] = degree_correlations(neurons, degree).abs().max().item()
    attention = head_pattern(model, graphs, POINTER)[..., TARGET]
    expected["low_degree_attention"] = attention[degree <= 2].min().item()
    expected["little_high_degree_attention"] = -attention[degree >= 4].mean().item()
    expected["fall_above_degree_two"] = (
        attention[degree == 2].mean() - attention[degree == 3].mean()
    ).item()
    right = (model(graphs).argmax(-1) == trial.labels).double().mean().item()
    without = (
        (HeadAblations(model, graphs).logits(READER)[0].argmax(-1) == trial.labels)
        .double()
        .mean()
        .item()
    )
    expected |= {"accuracy": right, "accuracy_lost_without_the_reader": right - without}
    intervals = anchor_attention(model, READER, (3, 6))
    expected["gap_between_degrees"] = min(
        intervals[d + 1].low - intervals[d].high for d in range(6)
    )
    scores = anchor_score_extremes(model, READER, (3, 6))
    expected["score_sign_at_the_anchors"] = min(
        -max(scores[d].greatest.value for d in range(3)),
        min(scores[d].least.value for d in range(3, 10)),
    )
    composed = {
        name: by_head[2].item()
        for name, by_head in composition_scores(model, side="Q", mlp=True).items()
    }
    expected["composition_lead"] = composed["0.1"] - max(
        score for name, score in composed.items() if name != "0.1"
    )
    swaps = swap_partners(model, trial.few, POINTER, target=TARGET).values()
    expected["swapped_columns"] = 1 - max(
        (swap.error / swap.change).mean().item() for swap in swaps
    )
    assert {name: measure(name, trial) for name in expected} == pytest.approx(
        expected, rel=1e-4, abs=1e-6
    )


def test_the_best_of_all_parts_is_the_best_of_each(model: Transformer) -> None:
    every = Parts.all(model)
    alone = [
        Trial(model, SAMPLE, Parts({reader: anchors}, [pointer], [target], None))
        for reader, anchors in every.readers.items()
        for pointer in every.pointers
        for target in every.targets
    ]
    together = Trial(model, SAMPLE, every)
    names = [
        "neighbour_cosine",
        "z_share",
        "low_degree_attention",
        "target_key_norm",
        "dimension_suffices",
        "position_key_part",
    ]
    for name in names:
        best = max(value for one in alone if (value := measure(name, one)) is not None)
        assert measure(name, together) == pytest.approx(best, rel=1e-5), name


def test_what_was_planted_stands_out() -> None:
    subject = planted_subject()
    planted = Trial(subject.model, SAMPLE, Parts.of(subject.roles, subject.model))
    fresh = (
        Transformer(subject.model.cfg).initialise(named_generator(3, "fresh")).requires_grad_(False)
    )
    untrained_one = Trial(fresh, SAMPLE, Parts.all(fresh))
    for name in ("score_direction_correlation", "query_correlation", "low_degree_attention"):
        of_planted, of_untrained = measure(name, planted), measure(name, untrained_one)
        assert of_planted is not None
        assert of_untrained is not None
        assert of_planted > of_untrained


def test_attention_alone_has_no_neurons_and_one_layer_no_pointer() -> None:
    attention_only = statistics_of(
        0, ModelConfig(n_heads=3, d_model=16, d_head=4, d_mlp=0), range(15, 21), 0
    )
    assert attention_only["neuron_correlation"] is None
    assert attention_only["z_share"] is not None
    one_layer = statistics_of(
        0, ModelConfig(n_heads=3, d_model=16, d_head=4, d_mlp=8, n_layers=1), range(15, 21), 0
    )
    assert one_layer["low_degree_attention"] is None
    assert one_layer["accuracy"] is not None


# the file


def test_ranks_are_exact_at_the_top_and_never_too_small_below() -> None:
    draws = torch.rand(1000, generator=torch.Generator().manual_seed(0)).tolist()
    quantiles = tuple(Quantile(level, *quantile(draws, level)) for level in (0.25, 0.5, 0.9))
    entry = Entry("x", 1000, quantiles, tuple(sorted(draws, reverse=True)[:50]))
    assert len(entry) == 1000
    assert entry.largest == max(draws)
    for observed in (*draws[:200], -1.0, 2.0):
        exact = sum(draw >= observed for draw in draws)
        found = entry.as_large(observed)
        assert found == exact if exact <= 50 else found >= exact
    assert entry.as_large(-1.0) == 1000


@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
def test_the_limits_of_a_quantile_hold_it(level: float) -> None:
    generator = torch.Generator().manual_seed(1)
    held = 0
    for _ in range(400):
        _, low, high = quantile(torch.rand(600, generator=generator).tolist(), level)
        held += low <= level <= high
    assert held / 400 >= 0.93


def drawn(out: Path, like: Path, *, models: int) -> dict[str, object]:
    assert (
        main(
            [
                "untrained",
                "--like",
                str(like),
                "--models",
                str(models),
                "--jobs",
                "1",
                "--out",
                str(out),
            ]
        )
        == 0
    )
    return json.loads(out.read_text(encoding="utf-8"))


def test_the_command_goes_on_where_it_was_and_makes_the_same_file(
    tmp_path: Path, model: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path / "small", model)
    whole = drawn(tmp_path / "whole.json", tmp_path / "small", models=4)
    (kept,) = whole["architectures"]  # type: ignore[misc]
    assert (kept["models"], kept["model"], kept["edge_counts"]) == (4, SMALL.to_dict(), [15, 20])
    assert kept["statistics"]["z_share"]["definition"] == definition("z_share")
    beside = tmp_path / ".cut"
    beside.mkdir()
    with one_thread():  # as in the command: what is rounded may depend on their number
        lines = [
            json.dumps([index, statistics_of(index, SMALL, range(15, 21), 0)]) for index in (2, 0)
        ]
    name = untrained._signature(SMALL, range(15, 21), 0)
    (beside / f"{name}.jsonl").write_text("\n".join(lines) + '\n[1, {"accu', encoding="utf-8")
    assert drawn(tmp_path / "cut.json", tmp_path / "small", models=4) == whole
    assert not beside.exists()
    other = Transformer(ModelConfig(**{**SMALL.to_dict(), "n_heads": 2})).initialise(
        torch.Generator().manual_seed(0)
    )
    save_checkpoint(tmp_path / "other", other)
    both = drawn(tmp_path / "cut.json", tmp_path / "other", models=2)
    assert [one["model"]["n_heads"] for one in both["architectures"]] == [3, 2]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "0"], "--models must be at least 1, got 0"),
        (["--jobs", "-1"], "--jobs must be at least 1, got -1"),
        (["--like", "nowhere"], "nowhere: no such file or directory"),
        (["--out", "tests"], "--out=tests: is a directory"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["untrained", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_the_shipped_file_is_what_the_command_makes() -> None:
    kept = json.loads(untrained.UNTRAINED.read_text(encoding="utf-8"))["architectures"]
    assert [one["models"] for one in kept] == [untrained.MODELS]
    statistics = kept[0]["statistics"]
    assert {name: entry["definition"] for name, entry in statistics.items()} == {
        name: definition(name) for name in STATISTICS
    }
    again = statistics_of(0, ModelConfig(), range(15, 21), 0)
    assert again == pytest.approx(
        {name: entry["first_models"][0] for name, entry in statistics.items()}, rel=1e-3, abs=1e-5
    )
    draws = drawn_for(ModelConfig())
    assert draws is read_untrained()[0]


# what cites it


def _source() -> str:
    return "\n".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "claims").glob("test_*.py")
    )


def _cited(text: str) -> set[str]:
    calls = re.findall(r"among_untrained\(\s*subject,\s*expect,\s*([^)]*)\)", text)
    return {name for call in calls for name in re.findall(r'"(\w+)"', call)}


def test_every_entry_is_cited_and_every_citation_exists() -> None:
    finder = (ROOT / "circuits" / "finder.py").read_text(encoding="utf-8")
    cited = _cited(_source()) | set(re.findall(r"untrained\.json: (\w+)", finder))
    assert cited == set(STATISTICS)


def test_no_claim_counts_untrained_models_in_prose() -> None:
    assert not re.findall(
        r"\d+ (?:fresh |untrained )(?:models|heads)|(?:two|eight|all) untrained", _source()
    )


def test_an_architecture_that_was_not_drawn_is_not_asked() -> None:
    subject = planted_subject()
    assert drawn_for(subject.model.cfg) is None
    (claim,) = [claim for claim in CLAIMS if claim.id == "classifies_the_validation_set"]
    result = judge(claim, subject).result()
    assert result.above_chance == "not asked"
    assert result.nulls == {}
    assert "no untrained models of this architecture" in str(result.not_asked)


def test_no_untrained_model_reaches_a_floor_of_the_finder() -> None:
    draws = drawn_for(ModelConfig())
    assert draws is not None
    floors = {
        "reader_score": finder.READER_FLOOR,
        "anchor_gap": finder.ANCHOR_FLOOR,
        "pointer_contrast": finder.POINTER_FLOOR,
        "dimension_correlation": finder.DIMENSION_FLOOR,
    }
    for name, floor in floors.items():
        assert draws.entries[name].quantiles[-1].high < floor, name
