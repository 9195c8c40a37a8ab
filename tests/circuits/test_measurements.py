"""Each measurement on planted weights, where the answer is known, and against a second way to get
it."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
import torch
from hypothesis import given, settings

from circuits.attention import (
    attention_log_odds,
    cutoff_degree,
    degree_contrast,
    degrees,
    entropy_share,
    head_pattern,
    head_scores,
    mean_by_degree,
    mean_over,
    smallest_rise,
)
from circuits.bounds import (
    anchor_attention,
    anchor_score_extremes,
    anchor_scores,
    every_query,
    neighbourhoods,
    query_offset,
)
from circuits.directions import (
    anchor_gaps,
    anchor_key_norm_ratio,
    degree_direction,
    key_norm_ratio,
    neighbour_queries,
    positional_keys,
    positional_offset,
    profile,
    score_per_neighbour,
)
from circuits.queries import (
    centred_mean_square,
    key_parts,
    positional_scores,
    query_parts,
    score_terms,
)
from circuits.roles import Head
from claims.strategies import any_graph
from models.config import ModelConfig
from models.graphs import Adjacency, random_graphs
from models.randomness import named_generator
from models.transformer import Transformer
from tests import planted
from tests.planted import ANCHORS, POINTER, READER, SLOPE, TARGET, planted_model

CFG = ModelConfig(n_vertices=6, n_layers=2, n_heads=3, d_model=12, d_head=4, d_mlp=16)


def random_model(cfg: ModelConfig = CFG) -> Transformer:
    """Random weights and biases in double precision: nothing is zero, nothing is symmetric."""
    model = Transformer(cfg).double()
    generator = named_generator(5, "weights")
    for parameter in model.parameters():
        parameter.data = 0.5 * torch.randn(
            parameter.shape, generator=generator, dtype=torch.float64
        )
    return model.requires_grad_(False)


def some_graphs(n: int = 10, count: int = 40) -> Adjacency:
    generator = named_generator(0, "graphs")
    return torch.cat(
        [
            random_graphs(n, m, count=count // 4, generator=generator)
            for m in (n // 2, n, n + 2, 2 * n)
        ]
    )


# patterns


@pytest.mark.parametrize("head", [Head(0, 2), Head(1, 0)])
def test_head_pattern_is_the_hooked_one(head: Head) -> None:
    model, graphs = random_model(), some_graphs(6).double()
    _, cache = model.run_with_cache(graphs)
    torch.testing.assert_close(
        head_pattern(model, graphs, head), cache["pattern", head.layer][:, head.index]
    )
    a = cache["pattern", head.layer][:, head.index, :, 4]
    torch.testing.assert_close(
        attention_log_odds(head_scores(model, graphs, head), position=4).sigmoid(), a
    )


def test_attention_of_the_planted_heads() -> None:
    model, graphs = planted_model(), some_graphs()
    degree = degrees(graphs)
    expected = torch.tensor([planted.anchor_attention(d) for d in range(10)])[degree]
    torch.testing.assert_close(
        head_pattern(model, graphs, READER)[..., list(ANCHORS)].sum(-1), expected
    )
    log_odds = attention_log_odds(head_scores(model, graphs, POINTER), position=TARGET)
    torch.testing.assert_close(log_odds, planted.SHARPNESS * (2.5 - degree) - math.log(9))


def test_means_over_vertices_by_degree_and_the_cutoff() -> None:
    degree = torch.tensor([[1, 2, 3, 3], [1, 1, 2, 5]])
    values = torch.tensor([[1.0, 0.7, 0.3, 0.2], [0.9, 0.8, 0.6, 0.0]])
    assert mean_by_degree(values, degree) == pytest.approx({1: 0.9, 2: 0.65, 3: 0.25, 5: 0.0})
    assert mean_over(
        values, degree <= 2, generator=named_generator(0, "mean")
    ).value == pytest.approx(4.0 / 5)
    cutoff = cutoff_degree(values, degree, generator=named_generator(0, "cutoff"))
    assert cutoff is not None
    assert cutoff.value == pytest.approx(2 + (0.65 - 0.5) / (0.65 - 0.25))
    assert cutoff_degree(values / 4, degree, generator=named_generator(0, "cutoff")) is None
    with pytest.raises(ValueError, match="at least one vertex"):
        mean_over(values, degree > 7, generator=named_generator(0, "mean"))


def test_the_cutoff_is_the_first_crossing_and_spans_degrees_that_do_not_occur() -> None:
    degree = torch.tensor([[0, 2, 6, 7, 8, 9]]).repeat(30, 1)
    values = torch.tensor([[0.4, 0.9, 0.1, 0.0, 0.8, 0.2]]).repeat(30, 1)
    cutoff = cutoff_degree(values, degree, generator=named_generator(0, "cutoff"))
    assert cutoff is not None
    assert (cutoff.value, cutoff.low, cutoff.high) == pytest.approx((4.0, 4.0, 4.0))


def test_degree_contrast_of_the_planted_pointer_is_at_the_target() -> None:
    graphs = some_graphs()
    contrast = degree_contrast(head_pattern(planted_model(), graphs, POINTER), degrees(graphs))
    assert contrast.argmax() == TARGET
    assert contrast[TARGET] == pytest.approx(1.0, abs=1e-3)
    with pytest.raises(ValueError, match="of ≥ 4, got 20 and 0"):
        degree_contrast(torch.full((2, 10, 10), 0.1), torch.ones(2, 10, dtype=torch.long))


def test_entropy_share_is_one_where_even_and_zero_on_one_position() -> None:
    pattern = torch.tensor([[[0.25] * 4, [1.0, 0, 0, 0], [0.5, 0.5, 0, 0]]])
    torch.testing.assert_close(entropy_share(pattern), torch.tensor([[1.0, 0.0, 0.5]]))


def test_smallest_rise_is_that_of_running_every_larger_graph() -> None:
    model, graphs, head = random_model(), some_graphs(6, 12).double(), Head(0, 1)
    rises = smallest_rise(model, graphs, head, positions=(1, 4), max_degree=3)
    for graph, row in zip(graphs, rises, strict=True):
        before = head_pattern(model, graph[None], head)[0][:, [1, 4]].sum(-1)
        for i in range(6):
            expected = math.inf
            for j in range(6):
                if i != j and not graph[i, j] and graph[i].sum() <= 3:
                    larger = graph.clone()
                    larger[i, j] = larger[j, i] = 1
                    after = head_pattern(model, larger[None], head)[0, i, [1, 4]].sum()
                    expected = min(expected, (after - before[i]).item())
            assert row[i].item() == pytest.approx(expected, abs=1e-12)


def test_smallest_rise_of_the_planted_reader() -> None:
    graphs = some_graphs()
    rises = smallest_rise(planted_model(), graphs, READER, positions=ANCHORS, max_degree=5)
    degree = degrees(graphs)
    eligible = degree <= 5
    by_degree = torch.tensor(
        [planted.anchor_attention(d + 1) - planted.anchor_attention(d) for d in range(10)]
    )
    torch.testing.assert_close(rises[eligible], by_degree[degree][eligible], atol=1e-6, rtol=1e-5)
    assert rises[~eligible].isinf().all()


# queries, keys, scores


def test_parts_of_query_and_key_add_up() -> None:
    model, graphs, head = random_model(), some_graphs(6).double(), Head(0, 1)
    _, cache = model.run_with_cache(graphs)
    query, key = query_parts(model, graphs, head), key_parts(model, graphs, head)
    torch.testing.assert_close(
        query["embed"] + query["pos_embed"] + model.b_Q[0, 1], cache["q", 0][:, :, 1]
    )
    torch.testing.assert_close(
        key["embed"] + key["pos_embed"] + model.b_K[0, 1], cache["k", 0][:, :, 1]
    )
    with pytest.raises(ValueError, match=r"layer 0.*got 1.1"):
        query_parts(model, graphs, Head(1, 1))


def test_score_terms_add_up_to_the_scores_without_biases() -> None:
    model, graphs, head = random_model(), some_graphs(6).double(), Head(0, 2)
    model.attention(0).b_Q.zero_()
    model.attention(0).b_K.zero_()
    _, cache = model.run_with_cache(graphs)
    terms = score_terms(query_parts(model, graphs, head), key_parts(model, graphs, head))
    assert list(terms) == [
        ("embed", "embed"),
        ("embed", "pos_embed"),
        ("pos_embed", "embed"),
        ("pos_embed", "pos_embed"),
    ]
    torch.testing.assert_close(sum(terms.values()), cache["attn_scores", 0][:, 2])
    torch.testing.assert_close(terms["pos_embed", "pos_embed"][0], positional_scores(model, head))


def test_score_terms_of_the_planted_reader() -> None:
    model, graphs = planted_model(), some_graphs()
    terms = score_terms(query_parts(model, graphs, READER), key_parts(model, graphs, READER))
    at_anchors = torch.zeros(10)
    at_anchors[list(ANCHORS)] = SLOPE
    torch.testing.assert_close(terms["embed", "pos_embed"], degrees(graphs)[..., None] * at_anchors)
    torch.testing.assert_close(terms["pos_embed", "pos_embed"], -2 * at_anchors.expand(1, 10, 10))
    assert not terms["embed", "embed"].any()
    # two of ten keys at s, centred: mean square s² · 0.2 · 0.8
    assert centred_mean_square(terms["pos_embed", "pos_embed"]).item() == pytest.approx(
        (2 * SLOPE) ** 2 * 0.16
    )


# directions


def test_directions_of_the_planted_reader() -> None:
    model = planted_model()
    v = degree_direction(model, READER)
    assert v.tolist() == [1, 0, 0, 0]
    torch.testing.assert_close(neighbour_queries(model, READER), v.expand(10, 4))
    offset = positional_offset(model, READER)
    torch.testing.assert_close(offset.coefficient, torch.full((10,), -2.0))
    torch.testing.assert_close(offset.cosine, torch.full((10,), -1.0))
    assert positional_keys(model, READER).cosine.tolist() == pytest.approx(
        [1.0 if j in ANCHORS else 0.0 for j in range(10)]
    )
    scores = score_per_neighbour(model, READER)
    assert scores.tolist() == pytest.approx([SLOPE if j in ANCHORS else 0.0 for j in range(10)])
    gaps = anchor_gaps(scores)
    assert max(gaps, key=lambda positions: gaps[positions]) == ANCHORS
    assert gaps[ANCHORS] == pytest.approx(SLOPE)


def test_a_profile_has_signs_lengths_and_angles() -> None:
    result = profile(torch.tensor([[2.0, 0.0], [-1.0, 1.0], [0.0, 3.0]]), torch.tensor([2.0, 0.0]))
    assert result.coefficient.tolist() == pytest.approx([1.0, -0.5, 0.0])
    assert result.cosine.tolist() == pytest.approx([1.0, -(0.5**0.5), 0.0])


def test_norm_ratios() -> None:
    model = planted_model()
    assert math.isinf(
        key_norm_ratio(model, READER)
    )  # the planted key holds nothing of the embedding
    W_K = model.attention(0).W_K[READER.index]
    W_K[planted.DEGREE, 1] = 0.4
    W_K[planted.POSITION + 5, 2] = 0.5
    assert key_norm_ratio(model, READER) == pytest.approx((2 * 2 * SLOPE + 0.5) / 10 / 0.4)
    assert anchor_key_norm_ratio(model, READER, ANCHORS) == pytest.approx(2 * SLOPE / 0.5)


# bounds for every graph


def test_neighbourhoods_are_all_of_them_once() -> None:
    rows = neighbourhoods(5)
    assert rows.shape == (5, 16, 5)
    for vertex in range(5):
        assert len({tuple(row) for row in rows[vertex].tolist()}) == 16
        assert not rows[vertex][:, vertex].any()
    with pytest.raises(
        ValueError, match="n_vertices must be at most 16 to exhaust neighbourhoods, got 17"
    ):
        neighbourhoods(17)


def test_bounds_of_the_planted_reader_are_exact() -> None:
    model = planted_model()
    for d, interval in anchor_attention(model, READER, ANCHORS).items():
        assert (interval.low, interval.high) == pytest.approx((planted.anchor_attention(d),) * 2)
    offset = query_offset(model, READER)
    assert (offset.low, offset.high) == pytest.approx((-2.0, -2.0))
    scores = anchor_scores(model, READER, ANCHORS)
    # SLOPE (d − 2) at two of ten keys, centred: times 0.8
    assert scores.largest(up_to=2) == pytest.approx(0.0, abs=1e-12)
    assert scores.smallest(from_=3) == pytest.approx(0.8 * SLOPE)
    assert scores.crossing_degree() == pytest.approx(2.0)


@settings(max_examples=60, deadline=None)
@given(any_graph(6))
def test_what_the_model_does_lies_inside_its_bounds(graph: Adjacency) -> None:
    model, head, anchors = random_model(), Head(0, 1), (2, 5)
    intervals = anchor_attention(model, head, anchors)
    attention = head_pattern(model, graph.double(), head)[0][:, list(anchors)].sum(-1)
    for value, d in zip(attention.tolist(), degrees(graph)[0].tolist(), strict=True):
        assert intervals[d].low - 1e-12 <= value <= intervals[d].high + 1e-12


def test_the_bounds_are_those_of_trying_every_graph() -> None:
    """On four vertices all 64 graphs can be run: the query's offset is attained, the attention's
    bounds hold and are close."""
    cfg = ModelConfig(n_vertices=4, n_layers=1, n_heads=2, d_model=6, d_head=3, d_mlp=4)
    model, head, anchors = random_model(cfg), Head(0, 1), (1,)
    graphs = torch.cat([torch.zeros(64, 4, 4)]).double()
    for code in range(64):
        for bit, (i, j) in enumerate([(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]):
            graphs[code, i, j] = graphs[code, j, i] = code >> bit & 1
    _, cache = model.run_with_cache(graphs)
    q, v, degree = cache["q", 0][:, :, 1], degree_direction(model, head), degrees(graphs)
    read = q @ v / (v @ v) - degree
    offset = query_offset(model, head)
    assert (offset.low, offset.high) == pytest.approx((read.min().item(), read.max().item()))
    attention = cache["pattern", 0][:, 1, :, 1]
    for d, interval in anchor_attention(model, head, anchors).items():
        seen = attention[degree == d]
        assert interval.low <= seen.min() + 1e-12
        assert seen.max() - 1e-12 <= interval.high
        assert interval.high - interval.low <= 3 * (seen.max() - seen.min()) + 1e-9


def test_every_query_is_a_row_the_model_makes() -> None:
    model, head = random_model(), Head(0, 2)
    graphs = some_graphs(6, 8).double()
    _, cache = model.run_with_cache(graphs)
    rows, queries = neighbourhoods(6), every_query(model, head)
    for b, i in ((0, 0), (3, 5), (7, 2)):
        case = int((rows[i] == graphs[b, i]).all(1).nonzero()[0])
        torch.testing.assert_close(queries[i, case], cache["q", 0][b, i, 2])


@pytest.mark.parametrize("n", [13, 14])
def test_bounds_of_many_vertices_hold_what_the_model_does(n: int) -> None:
    model, head, anchors = random_model(dataclasses.replace(CFG, n_vertices=n)), Head(0, 1), (2, 5)
    graphs = some_graphs(n, 200).double()
    attention, degree = (
        head_pattern(model, graphs, head)[..., list(anchors)].sum(-1),
        degrees(graphs),
    )
    for d, interval in anchor_attention(model, head, anchors).items():
        seen = attention[degree == d]
        assert ((interval.low - 1e-12 <= seen) & (seen <= interval.high + 1e-12)).all()


def test_extremes_of_the_score_at_the_anchors_are_those_of_all_graphs() -> None:
    """Each of 1,024 graphs run through the model, and the graphs shown have the values that they
    are shown for."""
    n, head, anchors = 5, Head(0, 1), (1, 3)
    model = random_model(dataclasses.replace(CFG, n_vertices=n)).double()
    pairs = list(itertools.combinations(range(n), 2))
    graphs = torch.zeros(2 ** len(pairs), n, n, dtype=torch.float64)
    for number, graph in enumerate(graphs):
        for place, (i, j) in enumerate(pairs):
            graph[i, j] = graph[j, i] = number >> place & 1

    def centred(graphs: torch.Tensor) -> torch.Tensor:
        scores = head_scores(model, graphs, head)
        return (scores - scores.mean(-1, keepdim=True))[..., list(anchors)].mean(-1)

    seen, degree = centred(graphs), degrees(graphs)
    for d, extremes in anchor_score_extremes(model, head, anchors).items():
        least, greatest = extremes.least, extremes.greatest
        assert least.value == pytest.approx(seen[degree == d].min().item(), abs=1e-12)
        assert greatest.value == pytest.approx(seen[degree == d].max().item(), abs=1e-12)
        for one in (least, greatest):
            assert degrees(one.graph)[0, one.vertex] == d
            assert centred(one.graph)[0, one.vertex].item() == pytest.approx(one.value, abs=1e-12)


def test_certified_intervals_are_those_of_the_definition_written_as_loops() -> None:
    """lo_j and hi_j over the neighbourhoods of j that agree on the edge ij, j = i at its own; then
    softmax bounds."""
    n, head, anchors = 4, Head(0, 1), (1, 3)
    model = random_model(ModelConfig(**{**CFG.to_dict(), "n_vertices": n}))
    attention = model.attention(0)

    def projected(letter: str, vertex: int, neighbours: tuple[int, ...]) -> torch.Tensor:
        x = model.W_E[list(neighbours)].sum(0) + model.W_pos[vertex]
        return x @ getattr(attention, f"W_{letter}")[1] + getattr(attention, f"b_{letter}")[1]

    def subsets(vertex: int) -> list[tuple[int, ...]]:
        others = [j for j in range(n) if j != vertex]
        return [chosen for size in range(n) for chosen in itertools.combinations(others, size)]

    low, high = dict.fromkeys(range(n), math.inf), dict.fromkeys(range(n), -math.inf)
    for i in range(n):
        for mine in subsets(i):
            q = projected("Q", i, mine) / math.sqrt(CFG.d_head)
            scores = [
                [
                    q @ projected("K", j, theirs)
                    for theirs in ([mine] if j == i else subsets(j))
                    if j == i or (i in theirs) == (j in mine)
                ]
                for j in range(n)
            ]
            lo, hi = [min(row).exp() for row in scores], [max(row).exp() for row in scores]
            rest = [j for j in range(n) if j not in anchors]
            least = sum(lo[j] for j in anchors) / (
                sum(lo[j] for j in anchors) + sum(hi[j] for j in rest)
            )
            greatest = sum(hi[j] for j in anchors) / (
                sum(hi[j] for j in anchors) + sum(lo[j] for j in rest)
            )
            low[len(mine)], high[len(mine)] = (
                min(low[len(mine)], float(least)),
                max(high[len(mine)], float(greatest)),
            )
    for degree, interval in anchor_attention(model, head, anchors).items():
        assert (interval.low, interval.high) == pytest.approx((low[degree], high[degree]))


def test_the_anchor_key_norm_ratio_is_that_of_the_weakest_anchor() -> None:
    model = random_model()
    norms = (model.W_pos @ model.W_K[0, 2]).norm(dim=-1)
    order = norms.argsort(descending=True).tolist()
    expected = (
        norms[order[1]] / norms[order[2]]
    )  # the two largest are anchors: the smaller of them over the next
    assert anchor_key_norm_ratio(model, Head(0, 2), tuple(sorted(order[:2]))) == pytest.approx(
        expected.item()
    )
