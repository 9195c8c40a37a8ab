from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from circuits import nulls
from circuits.attention import degrees
from circuits.nulls import degree_statistics, untrained_null
from circuits.residual import activation, correlation, degree_correlations, head_result, main_axis, r_squared, score_direction, through_mlp
from circuits.roles import Head
from models.config import ModelConfig
from models.graphs import random_graphs_over
from models.transformer import Transformer
from tests.planted import POINTER, READER, TARGET, planted_subject
from verdicts.nulls import NullTest, holm, null_complaints, with_corrected

SMALL = ModelConfig(n_heads=3, d_model=16, d_head=4, d_mlp=8)


def some_model(seed: int = 0, cfg: ModelConfig = SMALL) -> Transformer:
    return Transformer(cfg).initialise(torch.Generator().manual_seed(seed)).requires_grad_(False)


@pytest.fixture
def few_models(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """99 untrained models in place of 299, and none kept."""
    monkeypatch.setattr(nulls, "UNTRAINED_MODELS", 99)
    nulls._untrained.cache_clear()
    yield 99
    nulls._untrained.cache_clear()


# p-values


@pytest.mark.parametrize(("observed", "p"), [(5.5, 1 / 6), (5.0, 2 / 6), (0.5, 6 / 6), (2.5, 4 / 6), (math.nan, 6 / 6), (math.inf, 1 / 6)])
def test_p_is_one_more_than_those_that_reach_it_over_one_more_than_all(observed: float, p: float) -> None:
    assert NullTest.of(observed, [1.0, 2.0, 3.0, 4.0, 5.0], kind="draws").p == pytest.approx(p)


def test_p_values_of_chance_are_no_smaller_than_they_say() -> None:
    draws = torch.randn(2000, 20, generator=torch.Generator().manual_seed(0)).tolist()
    p = [NullTest.of(observed, null, kind="normal").p for observed, *null in draws]
    for level in (0.05, 0.1, 0.5):
        assert sum(value <= level for value in p) / len(p) == pytest.approx(level, abs=3 * math.sqrt(level * (1 - level) / 2000))


@pytest.mark.parametrize(("draws", "message"), [([], "must not be empty"), ([1.0, math.nan], "must be finite, got nan")])
def test_draws_that_cannot_be_ranked_are_refused(draws: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NullTest.of(1.0, draws, kind="rotations")


def test_holm_by_hand() -> None:
    """Sorted .01 .02 .03 .04 times 4 3 2 1 is .04 .06 .06 .04; each at least the one before."""
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_keeps_the_chance_of_any_false_rejection_below_the_level() -> None:
    p = torch.rand(4000, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64).tolist()
    rejected = sum(min(holm(row)) <= 0.05 for row in p) / len(p)
    assert 0.035 <= rejected <= 0.06


def claim(name: str, p: float | None, *, verdict: str = "holds", draws: int = 999) -> dict[str, Any]:
    null = {"kind": "rotations", "observed": 1.0, "draws": draws, "as_large": 0, "largest": 0.5, "p": p}
    return {"id": name, "verdict": verdict, "p": p, "p_corrected": None, "nulls": {} if p is None else {"score": null}}


def test_claims_without_a_null_do_not_count_towards_the_correction() -> None:
    claims = with_corrected([claim("a", 0.01), claim("b", None), claim("c", 0.04)])
    assert [c["p_corrected"] for c in claims] == [0.02, None, 0.04]
    assert list(null_complaints(claims)) == []


def test_a_claim_that_holds_and_is_not_told_from_chance_is_complained_of() -> None:
    claims = with_corrected([claim("a", 0.03), claim("b", 0.02), claim("c", 0.9, verdict="refuted")])
    assert [text.split(":")[0] for text in null_complaints(claims)] == [
        "a holds, but chance does as well",
        "b holds, but chance does as well",
    ]


def test_too_few_draws_to_ever_reject_are_complained_of() -> None:
    claims = with_corrected([claim("a", 1 / 40, draws=39), claim("b", 1 / 40, draws=39), claim("c", 0.9, verdict="refuted")])
    messages = list(null_complaints(claims))
    assert "a: score has 39 draws, but with 3 claims corrected together fewer than 59 can never reject at 0.05; draw more" in messages


# untrained models


def test_the_statistics_are_those_of_the_claims() -> None:
    """A second, batched computation against the measurements themselves."""
    model, chance = some_model(), torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=chance), alpha=0.3)
    graphs = random_graphs_over(10, range(5, 30), count=40, generator=chance)
    degree, reader, pointer, target = degrees(graphs), Head(0, 1), Head(1, 2), 4
    found = degree_statistics(model, graphs, readers=[reader], pointers=[pointer], targets=[target])
    result = head_result(model, graphs, reader)
    z = activation(model, graphs, "blocks.0.attn.hook_z", head=reader)
    inputs = {
        "v": activation(model, graphs, "blocks.0.attn.hook_v", head=reader), "z": z, "result": result,
        "through mlp": through_mlp(model, result), "query": activation(model, graphs, "blocks.1.attn.hook_q", head=pointer),
    }  # fmt: skip
    expected: dict[str, float] = {}
    for name, values in inputs.items():
        axis = main_axis(values, generator=chance)
        along = correlation(axis.coefficient, degree, generator=chance)
        assert along is not None
        expected |= {f"{name} share": axis.share.value, f"{name} correlation": along.value}
    resid = activation(model, graphs, "blocks.0.hook_resid_post")
    u = score_direction(model, graphs, pointer, target=target)
    expected["z explains"] = r_squared(z, degree, generator=chance).value
    expected["score direction correlation"] = degree_correlations((resid @ u)[..., None], degree).abs().item()
    expected["dimension correlation"] = degree_correlations(resid, degree).abs().max().item()
    expected["neuron correlation"] = degree_correlations(activation(model, graphs, "blocks.0.mlp.hook_post"), degree).abs().max().item()
    assert found == pytest.approx(expected, rel=1e-4)


def test_the_best_of_all_heads_is_the_best_of_each() -> None:
    model, graphs = some_model(), random_graphs_over(10, range(5, 30), count=40, generator=torch.Generator().manual_seed(3))
    heads = [(Head(0, index), Head(1, index)) for index in range(3)]
    together = degree_statistics(model, graphs, readers=[h for h, _ in heads], pointers=[h for _, h in heads], targets=range(10))
    apart = [degree_statistics(model, graphs, readers=[r], pointers=[p], targets=[t]) for r, p in heads for t in range(10)]
    assert together == pytest.approx({name: max(one[name] for one in apart) for name in together}, rel=1e-5)


def test_a_head_that_does_nothing_has_no_statistic() -> None:
    subject = planted_subject()
    found = degree_statistics(subject.model, subject.graphs.adjacency, readers=[READER], pointers=[POINTER], targets=[TARGET])
    assert found["z correlation"] == found["through mlp share"] == 0.0  # nothing is written
    assert found["score direction correlation"] == pytest.approx(1.0)
    assert found["query correlation"] == pytest.approx(1.0)


def test_the_null_is_of_chance_alone_and_what_was_planted_stands_out(few_models: int) -> None:
    subject = planted_subject()
    observed, draws = untrained_null(subject, "score direction correlation")
    assert observed == pytest.approx(1.0)
    assert len(draws) == few_models
    assert max(draws) < 0.99
    other, same = untrained_null(planted_subject(some_model(cfg=subject.model.cfg)), "score direction correlation")
    assert same == draws
    assert other != observed


@pytest.mark.usefixtures("few_models")
def test_untrained_models_are_exchangeable_with_their_null() -> None:
    """The rank of yet another untrained model among the draws is uniform."""
    draws = nulls._untrained(SMALL, range(15, 21), 0, 0, 1)
    graphs = nulls._graphs(10, range(15, 21), 0)
    heads = [[Head(layer, index) for index in range(3)] for layer in (0, 1)]
    others = [degree_statistics(some_model(seed), graphs, readers=heads[0], pointers=heads[1], targets=range(10)) for seed in range(60)]
    for name, null in draws.items():
        p = torch.tensor([NullTest.of(other[name], null, kind="untrained models").p for other in others])
        assert p.mean().item() == pytest.approx(0.5, abs=0.16), name  # four standard deviations


def test_attention_alone_has_no_neurons() -> None:
    cfg = ModelConfig(n_heads=3, d_model=16, d_head=4, d_mlp=0)
    graphs = random_graphs_over(10, range(5, 30), count=40, generator=torch.Generator().manual_seed(3))
    found = degree_statistics(some_model(cfg=cfg), graphs, readers=[Head(0, 0)], pointers=[], targets=[])
    assert "neuron correlation" not in found
    assert "query share" not in found
    assert found["through mlp share"] == pytest.approx(found["result share"])
