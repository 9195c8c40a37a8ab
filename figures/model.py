"""Figures of the whole model: OV circuits, neurons, logit attribution, by set of graphs (notebook,
unused)."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from circuits.attribution import (
    by_layer,
    logit_diff_directions,
    mean_neuron_activations,
    neuron_attribution,
)
from circuits.composition import full_ov_circuit, ov_circuit
from circuits.residual import activation, degree_correlations
from circuits.roles import Head
from figures.scene import Scene, array, largest, matrix, panels, stacked
from models.graphs import Adjacency
from verdicts.drawing import Axis, bars, heatmap
from verdicts.page import Figure
from verdicts.plots import lines

_ANSWER = "planar_and_non_planar_drive_opposite_attributions"


def ov_circuits(scene: Scene) -> Iterator[Figure]:
    """W_V W_O of every head, and what each neighbour adds to the logits by way of it."""
    model = scene.subject.model
    heads = [
        Head(layer, index)
        for layer in range(model.cfg.n_layers)
        for index in range(model.cfg.n_heads)
    ]
    products = {head: ov_circuit(model, head) for head in heads}
    matrices = {head: factored.A @ factored.B for head, factored in products.items()}
    top = (
        torch.cat([product.abs().flatten() for product in matrices.values()]).quantile(0.999).item()
    )
    side = Axis("residual dimension")
    drawn = {
        scene.role_of(head): matrix(product, rows=Axis("in"), columns=Axis("out"), limit=top)
        for head, product in matrices.items()
    }
    home = (
        "reader_output_carries_degree_in_one_direction"
        if scene.subject.roles.found.get("reader")
        else "classifies_the_validation_set"
    )
    yield Figure(
        "figure-ov",
        "OV circuits of all heads",
        f"W_V W_O, {side.name} by {side.name}; one scale for all, the largest 0.1 % beyond it.",
        panels(drawn),
        "OV circuit",
        (home,),
    )
    full = {scene.role_of(head): full_ov_circuit(model, head) for head in heads}
    answers = {
        name: (factored.A @ factored.B)[:, 1] - (factored.A @ factored.B)[:, 0]
        for name, factored in full.items()
    }
    yield Figure(
        "figure-full-ov",
        "What a neighbour adds to the answer by way of each head",
        "W_E W_V W_O W_U, planar minus non-planar: a head by rows, the neighbour by columns.",
        heatmap(
            [array(row) for row in answers.values()],
            rows=Axis("head", list(answers)),
            columns=scene.positions,
            unit="logits",
            signed=True,
        ),
        "OV circuit",
        ("last_mlp_writes_the_answer",),
    )


def neurons(scene: Scene) -> Iterator[Figure]:
    """Correlation of neurons with degree, mean activations, and what neurons add to the answer, by
    set of graphs."""
    subject, cfg = scene.subject, scene.subject.model.cfg
    if cfg.attn_only:
        return
    first = activation(subject.model, subject.graphs.adjacency, "blocks.0.mlp.hook_post")
    correlations = degree_correlations(first, subject.degrees)
    best = int(correlations.abs().argmax())
    yield Figure(
        "figure-neuron-correlation",
        "Correlation of the first MLP's neurons with degree",
        "After GELU, over the validation set; 0 for a dead neuron.",
        lines({"r": array(correlations)}, x="neuron", y="r", marked={best: f"neuron {best}"}),
        "Unused, neurons",
        ("layer_0_neurons_follow_degree",),
    )
    sets = _sets(scene)
    for layer in range(cfg.n_layers):
        means = {
            name: mean_neuron_activations(subject.model, graphs, layer=layer)
            for name, graphs in sets.items()
        }
        top = largest(*means.values())
        drawn = {
            f"{name} ({len(sets[name])})": heatmap(
                array(mean),
                rows=scene.positions,
                columns=Axis("neuron"),
                unit="",
                signed=True,
                limit=top,
            )
            for name, mean in means.items()
        }
        home = "layer_0_neurons_follow_degree" if layer == 0 else _ANSWER
        yield Figure(
            f"figure-neurons-{layer}",
            f"Mean activations of the neurons of MLP {layer}",
            "After GELU, means over each set of graphs; one scale for all sets.",
            stacked(drawn),
            "Unused, neurons",
            (home,),
        )
    last = cfg.n_layers - 1
    drawn = {}
    for name, graphs in sets.items():
        directions = logit_diff_directions(
            subject.model, torch.ones(len(graphs), dtype=torch.long, device=graphs.device)
        )
        added = neuron_attribution(subject.model, graphs, directions, layer=last).mean(0)
        drawn[f"{name} ({len(graphs)})"] = lines(
            {"logits": array(added)}, x=f"neuron of MLP {last}", y="planar − non-planar"
        )
    yield Figure(
        "figure-neuron-attribution",
        f"What each neuron of MLP {last} adds to the answer",
        "Planar minus non-planar logit, mean over each set of graphs.",
        stacked(drawn),
        "Unused, sets of examples",
        (_ANSWER,),
    )


def _sets(scene: Scene) -> dict[str, Adjacency]:
    """Every fourth validation graph by label, and misclassified graphs of either kind; a set
    without graphs is left out."""
    subject, wrong = scene.subject, scene.misclassified
    graphs, labels = subject.quarter, subject.graphs.labels[::4]
    sets = {
        "planar": graphs[labels == 1],
        "non-planar": graphs[labels == 0],
        "wrongly called planar": wrong.adjacency[wrong.labels == 0],
        "wrongly called non-planar": wrong.adjacency[wrong.labels == 1],
    }
    return {name: chosen for name, chosen in sets.items() if len(chosen)}


def attribution(scene: Scene) -> Iterator[Figure]:
    """The logit difference by component and by layer."""
    means = scene.measured("last_mlp_writes_the_answer", "by_component")
    if means:
        unit = "logits, label − other"
        drawn = {
            "by component": bars(means, name="component", unit=unit),
            "by layer": bars(by_layer(means), name="layer", unit=unit),
        }
        yield Figure(
            "figure-attribution",
            "What each component adds to the right answer",
            "Logit of the label minus the other, means over the validation set; biases left out.",
            stacked(drawn),
            "Unused, logit attribution",
            ("last_mlp_writes_the_answer", _ANSWER),
        )


FIGURES = (ov_circuits, neurons, attribution)
