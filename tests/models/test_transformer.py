from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from transformer_lens.utilities import get_act_name

from claims.strategies import any_graph
from models.config import ModelConfig
from models.graphs import Adjacency, named_graph, random_graphs
from models.randomness import named_generator
from models.transformer import Transformer
from tests.naive import naive_logits

SMALL = ModelConfig(
    n_vertices=7, n_layers=3, n_heads=3, d_model=20, d_head=6, d_mlp=24, n_classes=4
)


def random_model(cfg: ModelConfig, dtype: torch.dtype = torch.float32) -> Transformer:
    """Initialised weights, and biases that are not zero, so that none can be forgotten."""
    model = Transformer(cfg).initialise(named_generator(3, "test"))
    generator = named_generator(4, "test")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    return model.to(dtype).requires_grad_(False)


@pytest.mark.parametrize("cfg", [ModelConfig(), SMALL, ModelConfig(n_layers=1, n_heads=1)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
@pytest.mark.parametrize("use_attn_result", [False, True])
def test_logits_equal_a_second_implementation(
    cfg: ModelConfig, dtype: torch.dtype, tolerance: float, use_attn_result: bool
) -> None:
    model = random_model(cfg, dtype)
    model.set_use_attn_result(use_attn_result)
    graphs = random_graphs(cfg.n_vertices, 9, count=32, generator=named_generator(0, "test")).to(
        dtype
    )
    expected = naive_logits(model.state_dict(), cfg, graphs)
    assert (model(graphs) - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize("cfg", [SMALL, ModelConfig(n_layers=1, n_heads=1), ModelConfig(d_mlp=0)])
def test_the_stream_for_inference_is_that_of_the_forward_pass(cfg: ModelConfig) -> None:
    model = random_model(cfg, torch.float64)
    graphs = random_graphs(cfg.n_vertices, 9, count=80, generator=named_generator(0, "test"))
    for layer in range(cfg.n_layers + 1):
        stream = model(graphs, stop_at_layer=layer)
        torch.testing.assert_close(model.entering(layer)(graphs), stream, rtol=1e-9, atol=1e-9)
        chance = named_generator(0, "map")
        weight = torch.randn(cfg.d_model, 3, generator=chance, dtype=torch.float64)
        bias = torch.randn(3, generator=chance, dtype=torch.float64)
        torch.testing.assert_close(
            model.reading(layer, weight, bias)(graphs), stream @ weight + bias, rtol=1e-9, atol=1e-9
        )


def test_a_graph_in_every_form_gives_the_same_logits() -> None:
    model = random_model(ModelConfig())
    petersen = nx.petersen_graph()
    array = nx.to_numpy_array(petersen)
    expected = model(named_graph("petersen"))
    forms = [
        petersen,
        array,
        array.astype(np.uint8),
        array[None],
        torch.tensor(array),
        torch.tensor(array)[None].bool(),
        array.tolist(),
    ]
    for form in [*forms, [petersen]]:
        torch.testing.assert_close(model(form), expected)
    assert model([petersen, nx.cycle_graph(10)]).shape == (2, 2)


def test_vertices_of_a_networkx_graph_keep_their_numbers() -> None:
    graph = nx.Graph()
    graph.add_edges_from([(9, 3), (3, 0)])
    graph.add_nodes_from(range(10))
    adjacency = torch.zeros(10, 10)
    for i, j in [(9, 3), (3, 0)]:
        adjacency[i, j] = adjacency[j, i] = 1
    model = random_model(ModelConfig())
    torch.testing.assert_close(model(graph), model(adjacency))


def test_hook_names_are_those_of_transformer_lens() -> None:
    model = random_model(SMALL)
    model.set_use_attn_result(True)
    _, cache = model.run_with_cache(named_graph("cycle", 7))
    names = ["embed", "pos_embed"]
    for layer in range(SMALL.n_layers):
        per_layer = [
            "resid_pre",
            "q",
            "k",
            "v",
            "attn_scores",
            "pattern",
            "z",
            "result",
            "attn_out",
            "resid_mid",
            "pre",
            "post",
            "mlp_out",
        ]
        names += [get_act_name(name, layer) for name in [*per_layer, "resid_post"]]
    assert set(cache.keys()) == {
        name if name.startswith("blocks") else f"hook_{name}" for name in names
    }
    torch.testing.assert_close(cache["result", 1].sum(2) + model.b_O[1], cache["attn_out", 1])
    torch.testing.assert_close(cache["pattern", 2].sum(-1), torch.ones(1, 3, 7))
    assert cache["q", 0].shape == (1, 7, 3, 6)


def test_result_is_refused_while_it_is_off() -> None:
    model = random_model(SMALL)
    graph = named_graph("cycle", 7)
    name = "blocks.0.attn.hook_result"
    with pytest.raises(ValueError, match=r"blocks.0.attn.hook_result.*set_use_attn_result"):
        model.run_with_cache(graph, names_filter=name)
    with pytest.raises(ValueError, match="set_use_attn_result"):
        model.run_with_hooks(graph, fwd_hooks=[(name, lambda value, hook: value)])
    model.set_use_attn_result(True)
    assert model.run_with_cache(graph, names_filter=[name])[1][name].shape == (1, 7, 3, 20)
    model.set_use_attn_result(False)
    with pytest.raises(ValueError, match="set_use_attn_result"):
        model.run_with_cache(graph, names_filter=[name])


def test_an_unknown_hook_name_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"blocks.0.hook_nothing"):
        random_model(SMALL).run_with_hooks(
            named_graph("cycle", 7),
            fwd_hooks=[("blocks.0.hook_nothing", lambda value, hook: value)],
        )


@pytest.mark.parametrize("layer", [0, 1, 3])
def test_stop_at_layer_gives_the_residual_stream_that_enters_it(layer: int) -> None:
    model = random_model(SMALL)
    graph = named_graph("star", 7)
    _, cache = model.run_with_cache(graph)
    expected = cache["resid_pre", layer] if layer < 3 else cache["resid_post", 2]
    torch.testing.assert_close(model(graph, stop_at_layer=layer), expected)
    with pytest.raises(ValueError, match="stop_at_layer must be from 0 to 3, got 4"):
        model(graph, stop_at_layer=4)


def test_initialisation_is_the_authors() -> None:
    model = Transformer(ModelConfig()).initialise(named_generator(0, "test"))
    assert model.W_pos.std().item() == pytest.approx(1.0, abs=0.05)
    assert model.W_E.abs().max().item() == pytest.approx(10**-0.5, rel=0.01)
    assert model.W_Q.std().item() == pytest.approx(0.8 / 128**0.5, rel=0.01)
    assert not model.b_Q.any()
    assert not model.b_U.any()


@settings(max_examples=25, deadline=None)
@given(any_graph(7))
def test_a_run_is_the_same_alone_and_in_a_batch(graph: Adjacency) -> None:
    model = random_model(SMALL, torch.float64)
    others = random_graphs(7, 8, count=5, generator=named_generator(0, "test"))
    torch.testing.assert_close(
        model(torch.cat([others, graph]).double())[5:],
        model(graph.double()),
        rtol=1e-12,
        atol=1e-12,
    )
