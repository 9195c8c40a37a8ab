"""Which earlier components make the pointer's pattern, and by which side (notebook §1.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx as nx
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from circuits.ablation import swap_partners
from circuits.coalitions import (
    best_by_size,
    notebook_coalitions,
    notebook_players,
    shapley_values,
)
from circuits.patching import PatchScores, path_patching
from circuits.roles import Absent, require_layer_0
from circuits.statistics import (
    bootstrap,
    highest,
    lowest,
    only,
    ratio,
    second_highest,
    share,
    smallest_rank_correlation,
)
from circuits.subject import Subject
from claims.untrained import among_untrained
from models.graphs import Adjacency, as_adjacency, without_low_degree

if TYPE_CHECKING:
    from verdicts.expectations import Expect

GATING_CORRUPTIONS = ("petersen", "complete_bipartite", "three_regular", "another_graph")


def single_paths(
    subject: Subject, corrupted: Adjacency
) -> tuple[Float[Tensor, "graph path"], Float[Tensor, " graph"]]:
    """Distances of the 18 single paths (query first) from the clean pattern, and of the corrupted
    pattern, on `G/4`."""
    singles = [1 << c for c in range(1 + subject.model.cfg.n_heads)]
    scores = _patch(subject, corrupted, [(singles, [0]), ([0], singles)])
    return (
        torch.cat([scores[0].numerator[:, :, 0], scores[1].numerator[:, 0, :]], dim=1),
        scores[0].denominator,
    )


def _patch(
    subject: Subject, corrupted: Adjacency, blocks: list[tuple[list[int], list[int]]]
) -> list[PatchScores]:
    pointer = subject.roles.pointer
    return path_patching(
        subject.model, subject.quarter, corrupted, head=pointer, blocks=blocks, leave_out=True
    )


def _petersen(subject: Subject) -> Adjacency:
    return subject.label(without_low_degree(subject.model.cfg.n_vertices))


def _behind(
    per_graph: Float[Tensor, "graph quantity"], reader: int
) -> Float[Tensor, "path graph 2"]:
    """How far each other path stays behind the reader on each graph, and the distance that there is
    to go: the last column."""
    others = [path for path in range(per_graph.shape[1] - 1) if path != reader]
    behind = per_graph[:, others] - per_graph[:, [reader]]
    return torch.stack([behind, per_graph[:, -1:].expand_as(behind)], dim=-1).transpose(0, 1)


@pytest.mark.claim(
    source="1.2",
    evidence="causal",
    about="pointer",
    spared={
        "scrambled heads": (
            "a pattern that no longer follows degree has nothing that a path into the key could"
            " improve"
        )
    },
    at_chance=(
        "in some untrained models no path does anything: what is learnt is that those into the"
        " query do"
    ),
)
def test_key_paths_alone_do_not_reproduce_the_pattern(subject: Subject, expect: Expect) -> None:
    """No set of paths into the pointer's key alone improves its pattern by more than a tenth."""
    _, scores = subject.patched
    of_sets = scores.per_graph[:, 0, 1:]
    best = lowest(of_sets.T[..., None], only, generator=subject.generator("key sets"))
    expect(
        "best_key_only_score",
        best,
        at_least=0.9,
        because="1 is no improvement; a tenth is the most the statement allows",
    )
    among_untrained(subject, expect, "key_paths_change_little")


@pytest.mark.claim(
    source="1.2",
    evidence="causal",
    parts={"reader", "pointer"},
    about="reader",
    broken_by={"negated reader"},
)
def test_reader_q_composes_with_pointer(subject: Subject, expect: Expect) -> None:
    """The path from the reader to the pointer's query is the single path that reproduces most of
    its pattern, whatever the corruption."""
    require_layer_0(subject.roles.reader)
    reader = 1 + subject.roles.reader.index
    scores = {}
    for name, corrupted in _corruptions(subject).items():
        distance, denominator = single_paths(subject, corrupted)
        per_graph = torch.cat([distance, denominator[:, None]], dim=1)
        others = [path for path in range(distance.shape[1]) if path != reader]
        scores[name] = (distance / denominator[:, None]).mean(0)
        if name == "petersen":
            expect("reader_score", scores[name][reader])
            expect("runner_up_score", scores[name][others].min())
            means = per_graph.mean(0)
            expect(
                "reader_score_ratio_of_means",
                bootstrap(
                    per_graph[:, [reader, -1]], ratio, generator=subject.generator("reader score")
                ),
                at_most=0.8,
                because="reproduces a fifth of the pattern at the least",
            )
            expect("runner_up_score_ratio_of_means", means[others].min() / means[-1])
        if name in GATING_CORRUPTIONS:
            lead = lowest(
                _behind(per_graph, reader), ratio, generator=subject.generator(f"lead, {name}")
            )
            expect(
                f"lead_{name}",
                lead,
                at_least=0.0,
                because="the reader's score is the lowest of the 18",
            )
    expect(
        "reader_rank_by_corruption",
        {name: int((row < row[reader]).sum()) + 1 for name, row in scores.items()},
    )
    order = smallest_rank_correlation(torch.stack(list(scores.values())))
    expect("order_over_corruptions", order, note="all scores are equal" if order is None else None)
    among_untrained(subject, expect, "reader_path_lead")


def _corruptions(subject: Subject) -> dict[str, Adjacency]:
    """Ten inputs to patch into: the first of each kind gates, the others show whether the order of
    the paths is stable."""
    n, quarter = subject.model.cfg.n_vertices, subject.quarter
    corruptions = {
        "petersen": _petersen(subject),
        "complete_bipartite": subject.label(
            as_adjacency(nx.complete_bipartite_graph(n // 2, n - n // 2), n_vertices=n)
        ),
    }
    for seed in range(5):
        regular = as_adjacency(nx.random_regular_graph(3 + n % 2, n, seed=seed), n_vertices=n)
        corruptions["three_regular" if seed == 0 else f"three_regular_{seed}"] = subject.label(
            regular
        )
    for part in (2, 3, 4):
        corruptions["another_graph" if part == 2 else f"another_graph_{part}"] = quarter.roll(
            -(len(quarter) // part), dims=0
        )
    return corruptions


@pytest.mark.claim(
    source="1.2",
    evidence="causal",
    parts={"Embed", "other heads", "pointer"},
    about="pointer",
    spared={
        "fresh weights": (
            "of an untrained model's paths Embed adds most as well, and every head a little"
        ),
        "scrambled heads": "so it is of paths by heads that do not fit together",
    },
    at_chance="which heads help, and by how much, is what retrained models are compared by",
)
def test_embed_and_helper_heads_also_q_compose(subject: Subject, expect: Expect) -> None:
    """Embed adds most to what the reader brings to the pointer's query, and two more heads add to
    it."""
    n_heads = subject.model.cfg.n_heads
    require_layer_0(subject.roles.reader)
    if n_heads < 3:
        raise Absent(f"no two more heads: layer 0 has {n_heads}, with the reader")
    scores, _ = subject.patched
    coalitions = notebook_coalitions(scores.per_graph)
    best = best_by_size(coalitions.double().mean(0))
    expect("best_score_by_size", {mask.bit_count(): score for mask, score in best})
    added = shapley_values(1 - coalitions)
    expect("shapley", dict(zip(notebook_players(n_heads), added.mean(0).tolist(), strict=True)))
    reader = 1 + subject.roles.reader.index
    helpers = [1 + head for head in range(n_heads) if 1 + head != reader]

    by_helper = added[:, helpers].T[..., None]
    expect(
        "embed_lead",
        lowest(
            added[:, 0][None, :, None] - by_helper, only, generator=subject.generator("embed lead")
        ),
        at_least=0.0,
        because="Embed adds more than any head but the reader",
    )
    expect(
        "second_helper_shapley",
        second_highest(by_helper, only, generator=subject.generator("second helper")),
        at_least=0.0,
        because="the second of the other heads adds to it",
    )
    among_untrained(subject, expect, "second_helper")


@pytest.mark.claim(
    source="1.2",
    evidence="causal",
    parts={"PosEmbed", "pointer"},
    about="pointer",
    broken_by={"exchanged target"},
    at_chance=(
        "W_pos is large at initialisation, too: what is learnt is which position makes a column"
    ),
)
def test_position_embedding_of_the_target_moves_the_column(
    subject: Subject, expect: Expect
) -> None:
    """Swapping two rows of W_pos on the direct path to the pointer's key swaps two columns of its
    pattern, to 29 % of the change."""
    partners = swap_partners(
        subject.model, subject.quarter, subject.roles.pointer, target=subject.roles.target
    )
    for name, measure, bound in (
        ("swap_error", "size", 0.17),
        ("swap_error_relative", "change", 0.29),
    ):
        errors = torch.stack(
            [swapped.error / getattr(swapped, measure) for swapped in partners.values()]
        )
        expect(
            name,
            highest(errors[..., None], only, generator=subject.generator(name)),
            at_most=bound,
            because=(
                f"at the worst partner {bound:.0%} of the"
                f" {'pattern' if measure == 'size' else 'change'} is left, at the most"
            ),
        )
        shares = {
            j: swapped.error.mean() / getattr(swapped, measure).mean()
            for j, swapped in partners.items()
        }
        expect(f"{name}_by_partner", shares)
    among_untrained(subject, expect, "swapped_columns")


@pytest.mark.claim(
    source="1.2",
    evidence="estimated",
    about="pointer",
    gauge={"b_K", "head basis"},
    companion="position_embedding_of_the_target_moves_the_column",
    broken_by={"exchanged target"},
)
def test_target_key_stands_out(subject: Subject, expect: Expect) -> None:
    """The pointer's key is on average half as large again at the target as anywhere else, and
    largest there in four graphs of five."""
    target = subject.roles.target
    norms = subject.of_head(subject.roles.pointer).k.norm(dim=-1)
    others = [j for j in range(norms.shape[1]) if j != target]
    beside = torch.stack(
        [norms[:, [target]].expand(-1, len(others)), norms[:, others]], dim=-1
    ).transpose(0, 1)
    expect(
        "key_norm_ratio",
        lowest(beside, ratio, generator=subject.generator("key norms of the pointer")),
        at_least=1.5,
        because="half as large again as the next",
        from_controls=True,
    )
    expect(
        "largest_at_the_target",
        share(norms.argmax(1) == target),
        at_least=0.8,
        because="in four graphs of five",
    )
    among_untrained(subject, expect, "target_key_norm")
