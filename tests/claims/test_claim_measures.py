"""What claims compute themselves, beyond what `circuits` measures for them, against a second way to
get it."""

from __future__ import annotations

from pathlib import Path

import networkx
import pytest
import torch

from circuits.attention import head_scores
from circuits.queries import positional_scores, query_parts
from circuits.roles import Head, Roles
from circuits.subject import Subject
from models.config import ModelConfig
from models.graphs import as_adjacency, validation_set
from models.randomness import named_generator
from models.transformer import Transformer
from tests.claims.test_judging_models import CLAIMS
from verdicts.judge import judge

READER, ANCHORS = Head(0, 2), (3, 6)


@pytest.fixture(scope="module")
def untrained() -> Subject:
    model = (
        Transformer(ModelConfig()).initialise(named_generator(0, "untrained")).requires_grad_(False)
    )
    roles = Roles(
        {"reader": READER, "anchors": ANCHORS, "pointer": Head(1, 6), "target": 2, "dimension": 68}
    )
    return Subject(
        "untrained",
        "sha256:untrained",
        model,
        roles,
        validation_set(count=120),
        range(15, 21),
        0,
        Path("unused"),
    )


def measured(subject: Subject, id: str, name: str) -> float:
    (claim,) = [claim for claim in CLAIMS if claim.id == id]
    value = judge(claim, subject).expect.measurements[name].value
    assert isinstance(value, float)
    return value


def test_spreads_over_positions_are_sample_deviations(untrained: Subject) -> None:
    rows = positional_scores(untrained.model, READER)[:, list(ANCHORS)].mean(-1).double()
    deviation = ((rows - rows.mean()).square().sum() / (len(rows) - 1)).sqrt()
    expected = (deviation / rows.mean().abs()).item()
    assert measured(untrained, "position_query_lowers_anchor_scores", "variation") == pytest.approx(
        expected, rel=1e-4
    )
    norms = (
        query_parts(untrained.model, untrained.graphs.adjacency, READER)["embed"]
        .norm(dim=-1)
        .mean(0)
        .double()
    )
    deviation = ((norms - norms.mean()).square().sum() / (len(norms) - 1)).sqrt()
    expected = (deviation / norms.mean()).item()
    assert measured(
        untrained, "degree_enters_through_the_query", "query_norm_variation"
    ) == pytest.approx(expected, rel=1e-4)


def test_agreement_counts_vertices_with_and_without_their_leaves(untrained: Subject) -> None:
    marked = untrained.pattern(Head(1, 6))[..., 2] > 0.5
    degree = untrained.graphs.adjacency.sum(-1)
    leaves = torch.einsum("gij,gj->gi", untrained.graphs.adjacency, (degree <= 1).float())
    claim = "pointer_marks_vertices_that_planarity_ignores"
    assert measured(untrained, claim, "agreement_degree") == pytest.approx(
        (marked == (degree <= 2)).double().mean().item(), rel=1e-4
    )
    pruned = (marked == (degree - leaves <= 2)).double().mean().item()
    assert measured(untrained, claim, "agreement_pruned") == pytest.approx(pruned, rel=1e-4)


def test_a_score_on_the_wrong_side_is_shown_on_a_graph_that_has_it(untrained: Subject) -> None:
    (claim,) = [one for one in CLAIMS if one.id == "anchor_scores_change_sign_above_degree_two"]
    verdict = judge(claim, untrained)
    found = verdict.expect.counterexample
    assert verdict.verdict == "refuted"
    assert found is not None
    graph = as_adjacency(networkx.from_graph6_bytes(found["graph6"].encode()), n_vertices=10)
    scores = head_scores(untrained.in_float64, graph.double(), READER)[0, found["vertex"]]
    score = (scores - scores.mean())[list(ANCHORS)].mean().item()
    right = -score if graph[0, found["vertex"]].sum() <= 2 else score
    assert right == pytest.approx(found["value"], abs=1e-5)
    assert right < 0
