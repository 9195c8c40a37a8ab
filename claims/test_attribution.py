"""Which parts write the answer, and which neurons follow degree (notebook, unused: neurons, logit attribution, examples)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from circuits.attribution import logit_attribution, logit_diff_directions, neuron_attribution
from circuits.examples import misclassified_graphs
from circuits.nulls import untrained_null
from circuits.residual import activation, degree_correlations, largest_correlation
from circuits.statistics import bootstrap, only, ratio
from circuits.subject import Subject
from models.graphs import Adjacency, random_graphs_over

if TYPE_CHECKING:
    from verdicts.expectations import Expect

MISCLASSIFIED = 100  # of each class
MAX_DRAWS = 100_000
PLANAR = 1


@pytest.mark.claim(
    source="Unused, neurons",
    evidence="estimated",
    spared={"scrambled heads": "the first MLP reads Embed itself, which no head touches"},
)
def test_layer_0_neurons_follow_degree(subject: Subject, expect: Expect) -> None:
    """Some neuron of the first MLP follows degree."""
    subject.require_mlp()
    graphs = subject.graphs.adjacency
    neurons = activation(subject.model, graphs, "blocks.0.mlp.hook_post")
    largest = largest_correlation(neurons, subject.degrees, generator=subject.generator("neurons"))
    expect(
        "largest_correlation", largest, at_least=0.6, because="degree explains a third of it; none in 48 untrained models reaches 0.41",
        from_controls=True,
        note="no neuron is alive" if largest is None else None,
    )  # fmt: skip
    if largest is not None:
        draws = untrained_null(subject, "neuron correlation")
        expect.null("neuron correlation", *draws, kind="untrained models (the best neuron of each)")
    resid = activation(subject.model, graphs, "blocks.0.hook_resid_post")
    expect("largest_residual_correlation", degree_correlations(resid, subject.degrees).abs().max())


@pytest.mark.claim(
    source="Unused, logit attribution",
    evidence="estimated",
    gauge={"W_pos constant", "b_V"},
    companion="planar_and_non_planar_drive_opposite_attributions",
    spared={"scrambled heads": "the last MLP writes whatever answer the model gives, right or wrong"},
)
def test_last_mlp_writes_the_answer(subject: Subject, expect: Expect) -> None:
    """The difference between the logits of the label and of the other class comes mostly from the last MLP."""
    subject.require_mlp()
    directions = logit_diff_directions(subject.model, subject.graphs.labels)
    found = logit_attribution(subject.model, subject.graphs.adjacency, directions)
    expect("by_component", found.means())
    last = found.components[f"mlp_{subject.model.cfg.n_layers - 1}"]
    per_graph = torch.stack([last, torch.stack(list(found.components.values())).sum(0)], dim=1)
    share = bootstrap(per_graph, ratio, generator=subject.generator("logit attribution"))
    expect("share", share, at_least=0.5, because="more than all other components together")


@pytest.mark.claim(source="Unused, sets of examples", evidence="estimated")
def test_planar_and_non_planar_drive_opposite_attributions(subject: Subject, expect: Expect) -> None:
    """What the last MLP adds to planar minus non-planar has the sign of the answer, right or wrong."""
    subject.require_mlp()
    subject.require_both_classes()
    graphs = subject.graphs
    generator = subject.generator("misclassified")

    def draw(count: int) -> Adjacency:
        return subject.label(random_graphs_over(subject.model.cfg.n_vertices, subject.edge_counts, count=count, generator=generator))

    max_draws = MAX_DRAWS if subject.searching else MAX_DRAWS // 20
    wrong = misclassified_graphs(subject.model, draw, count=MISCLASSIFIED, max_draws=max_draws)
    sets = {
        "planar": (graphs.adjacency[graphs.labels == PLANAR], True),
        "non_planar": (graphs.adjacency[graphs.labels != PLANAR], False),
        "misclassified_answered_planar": (wrong.adjacency[wrong.labels != PLANAR], True),
        "misclassified_answered_non_planar": (wrong.adjacency[wrong.labels == PLANAR], False),
    }
    for name, (chosen, answered_planar) in sets.items():
        kind = f"{name.replace('_', ' ')} graphs"
        expect.enough(kind, len(chosen), needed=4)
        difference = None
        if len(chosen) >= 2:
            towards_planar = _towards_planar(subject, chosen)
            difference = bootstrap(towards_planar[:, None], only, generator=subject.generator(name))
        at_least, at_most = (0.0, None) if answered_planar else (None, 0.0)
        note = None if difference else "too few such graphs"
        expect(
            name, difference, at_least=at_least, at_most=at_most, because="the sign of the answer", note=note, among=kind
        )  # fmt: skip


def _towards_planar(subject: Subject, graphs: Adjacency) -> Float[Tensor, " graph"]:
    """Planar minus non-planar logit that the neurons of the last MLP add."""
    directions = logit_diff_directions(subject.model, torch.full((len(graphs),), PLANAR, device=graphs.device))
    return neuron_attribution(subject.model, graphs, directions, layer=subject.model.cfg.n_layers - 1).sum(1)
