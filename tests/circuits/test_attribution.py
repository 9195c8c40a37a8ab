"""Logit attribution, neurons, sets of examples and what planarity ignores: identities and second
ways."""

from __future__ import annotations

from collections.abc import Callable

import networkx as nx
import pytest
import torch
from hypothesis import given, settings

from circuits.attribution import (
    by_layer,
    logit_attribution,
    logit_diff_directions,
    mean_neuron_activations,
    neuron_attribution,
    pooled_activations,
)
from circuits.examples import misclassified_graphs
from circuits.reduction import one_edge_to_degree_two, pruned_degree
from claims.strategies import any_graph
from models.config import ModelConfig
from models.graphs import Adjacency, as_adjacency, is_planar, random_graphs_over
from models.randomness import named_generator
from models.transformer import Transformer
from tests.circuits.test_measurements import CFG, random_model, some_graphs
from tests.planted import planted_model


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("d_mlp", [16, 0])
def test_components_and_biases_add_up_to_the_logit_difference(n_classes: int, d_mlp: int) -> None:
    model = random_model(ModelConfig(**{**CFG.to_dict(), "n_classes": n_classes, "d_mlp": d_mlp}))
    graphs = some_graphs(6).double()
    labels = torch.randint(0, n_classes, (len(graphs),), generator=named_generator(0, "labels"))
    found = logit_attribution(model, graphs, logit_diff_directions(model, labels))
    logits = model(graphs) - model.b_U
    own = logits.gather(1, labels[:, None])[:, 0]
    expected = own - (logits.sum(1) - own) / (n_classes - 1)
    torch.testing.assert_close(sum(found.components.values()) + found.biases, expected)
    heads = {"0.0", "0.1", "0.2", "1.0", "1.1", "1.2"}
    assert set(found.components) == {"embed", "pos_embed"} | heads | (
        {"mlp_0", "mlp_1"} if d_mlp else set()
    )
    assert sum(by_layer(found.means()).values()) == pytest.approx(sum(found.means().values()))
    assert by_layer(found.means())["attn_1"] == pytest.approx(
        sum(found.means()[f"1.{h}"] for h in range(3))
    )


def test_each_component_is_its_hooked_output_along_the_direction() -> None:
    model, graphs = random_model(), some_graphs(6).double()
    model.set_use_attn_result(True)
    _, cache = model.run_with_cache(graphs)
    directions = logit_diff_directions(model, torch.ones(len(graphs), dtype=torch.long))
    found = logit_attribution(model, graphs, directions).components
    direction = model.W_U[:, 1] - model.W_U[:, 0]
    torch.testing.assert_close(found["embed"], cache["embed"].mean(1) @ direction)
    torch.testing.assert_close(found["1.2"], cache["result", 1][:, :, 2].mean(1) @ direction)
    torch.testing.assert_close(
        found["mlp_0"], (cache["mlp_out", 0].mean(1) - model.mlp(0).b_out) @ direction
    )
    neurons = neuron_attribution(model, graphs, directions, layer=0)
    torch.testing.assert_close(neurons, cache["post", 0].mean(1) * (model.mlp(0).W_out @ direction))
    torch.testing.assert_close(
        mean_neuron_activations(model, graphs, layer=1), cache["post", 1].mean(0)
    )
    torch.testing.assert_close(
        pooled_activations(model, graphs, ["blocks.1.attn.hook_z"])["blocks.1.attn.hook_z"],
        cache["z", 1].mean(1),
    )


def test_a_label_that_is_no_class_is_named() -> None:
    with pytest.raises(ValueError, match=r"labels must be from 0 to 1, got 2"):
        logit_diff_directions(planted_model(), torch.tensor([0, 2]))


# sets of examples


def always_planar() -> Transformer:
    model = planted_model()
    model.b_U[1] = 1.0
    return model


def drawing(edge_counts: range) -> Callable[[int], Adjacency]:
    generator = named_generator(0, "misclassified")
    return lambda count: random_graphs_over(10, edge_counts, count=count, generator=generator)


def test_misclassified_graphs_are_those_that_the_model_gets_wrong() -> None:
    found = misclassified_graphs(always_planar(), drawing(range(15, 21)), count=30, max_draws=3000)
    assert found.labels.tolist() == [0] * 30  # all non-planar, for all are called planar
    assert not is_planar(found.adjacency).any()
    again = misclassified_graphs(always_planar(), drawing(range(15, 21)), count=30, max_draws=3000)
    torch.testing.assert_close(again.adjacency, found.adjacency)


def test_the_search_for_misclassified_graphs_is_bounded() -> None:
    drawn = []
    draw = drawing(range(3, 4))  # every graph of three edges is planar, and is called so
    found = misclassified_graphs(
        always_planar(), lambda count: drawn.append(count) or draw(count), count=5, max_draws=1500
    )
    assert len(found.labels) == 0
    assert sum(drawn) == 1500
    with pytest.raises(ValueError, match="max_draws"):
        misclassified_graphs(always_planar(), draw, count=5, max_draws=0)


# what planarity ignores


@settings(max_examples=60)
@given(graph=any_graph(10))
def test_pruning_and_triangles_are_those_of_networkx(graph: Adjacency) -> None:
    g = nx.from_numpy_array(graph[0].numpy())
    leaves = [v for v in g if g.degree(v) <= 1]
    core = g.subgraph(set(g) - set(leaves))
    pruned = pruned_degree(graph)[0].tolist()
    chosen, in_triangle = (mask[0].tolist() for mask in one_edge_to_degree_two(graph))
    for v in g:
        neighbours = list(g[v])
        assert pruned[v] == sum(u in core for u in neighbours)
        twos = [u for u in neighbours if g.degree(u) == 2]
        assert chosen[v] == (
            len(neighbours) == 3 and not set(neighbours) & set(leaves) and len(twos) == 1
        )
        if chosen[v]:
            (two,) = twos
            (other,) = set(g[two]) - {v}
            assert in_triangle[v] == g.has_edge(v, other)


def test_a_vertex_that_a_triangle_makes_superfluous() -> None:
    graph = as_adjacency(
        nx.Graph([(0, 1), (1, 2), (2, 0), (0, 3), (3, 4), (3, 5), (2, 4), (2, 5), (4, 5)]),
        n_vertices=6,
    )
    chosen, in_triangle = one_edge_to_degree_two(graph)
    assert chosen[0].nonzero()[:, 0].tolist() == [0]
    assert in_triangle[0, 0]
