"""Which parts write the answer, and which neurons follow degree (notebook, unused: neurons, logit
attribution, examples)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from circuits.attribution import logit_diff_directions, neuron_attribution
from circuits.examples import misclassified_graphs
from circuits.residual import activation, degree_correlations, largest_correlation
from circuits.statistics import bootstrap, only, ratio, share
from circuits.subject import Subject, answer
from claims.untrained import among_untrained
from models.graphs import Adjacency, random_graphs_over

if TYPE_CHECKING:
    from verdicts.expectations import Expect

MISCLASSIFIED = 100  # of each class
MAX_DRAWS = 100_000
PLANAR = 1


@pytest.mark.claim(
    source="Unused, neurons",
    evidence="estimated",
    parts={"first MLP"},
    spared={"scrambled heads": "the first MLP reads Embed itself, which no head touches"},
)
def test_layer_0_neurons_follow_degree(subject: Subject, expect: Expect) -> None:
    """Degree explains a third of the variance of some neuron of the first MLP."""
    subject.require_mlp()
    neurons = activation(subject.model, subject.graphs.adjacency, "blocks.0.mlp.hook_post")
    largest = largest_correlation(neurons, subject.degrees, generator=subject.generator("neurons"))
    expect(
        "largest_correlation",
        largest,
        at_least=0.6,
        because="degree explains a third of it",
        from_controls=True,
        note="no neuron is alive" if largest is None else None,
    )
    among_untrained(subject, expect, "neuron_correlation")
    of_stream = degree_correlations(subject.stream, subject.degrees)
    expect("largest_residual_correlation", of_stream.abs().max())


@pytest.mark.claim(
    source="Unused, logit attribution",
    evidence="estimated",
    parts={"last MLP"},
    gauge={"W_pos constant", "b_V"},
    companion="planar_and_non_planar_drive_opposite_attributions",
    spared={
        "scrambled heads": "the last MLP writes whatever answer the model gives, right or wrong"
    },
)
def test_last_mlp_writes_the_answer(subject: Subject, expect: Expect) -> None:
    """The difference between the logits of the label and of the other class comes mostly from the
    last MLP."""
    subject.require_mlp()
    found = subject.attribution
    expect("by_component", found.means())
    last = found.of_last_mlp
    per_graph = torch.stack([last, torch.stack(list(found.components.values())).sum(0)], dim=1)
    of_last = bootstrap(per_graph, ratio, generator=subject.generator("logit attribution"))
    expect("share", of_last, at_least=0.5, because="more than all other components together")
    among_untrained(subject, expect, "share_of_the_last_mlp")


@pytest.mark.claim(
    source="Unused, sets of examples",
    evidence="estimated",
    parts={"last MLP"},
    spared={
        "scrambled heads": "the last MLP writes whatever answer the model gives, right or wrong"
    },
)
def test_planar_and_non_planar_drive_opposite_attributions(
    subject: Subject, expect: Expect
) -> None:
    """What the last MLP adds to planar minus non-planar has the answer's sign in 9 of 10 graphs of
    each label and most wrong answers."""
    subject.require_mlp()
    subject.require_both_classes()
    generator = subject.generator("misclassified")

    def draw(count: int) -> Adjacency:
        return subject.label(
            random_graphs_over(
                subject.model.cfg.n_vertices, subject.edge_counts, count=count, generator=generator
            )
        )

    max_draws = MAX_DRAWS if subject.searching else MAX_DRAWS // 20
    wrong = misclassified_graphs(subject.model, draw, count=MISCLASSIFIED, max_draws=max_draws)
    of_wrong = _towards_planar(subject, wrong.adjacency), answer(subject.model, wrong.adjacency)
    # the label's logit against the other's is planar against non-planar, or the reverse
    planar = subject.graphs.labels == PLANAR
    last = subject.attribution.of_last_mlp
    of_graphs = torch.where(planar, last, -last), subject.logits
    sets = {
        "planar": (planar, of_graphs),
        "non_planar": (~planar, of_graphs),
        "misclassified_answered_planar": (wrong.labels != PLANAR, of_wrong),
        "misclassified_answered_non_planar": (wrong.labels == PLANAR, of_wrong),
    }
    for name, (chosen, (towards_planar, logits)) in sets.items():
        kind = f"{name.replace('_', ' ')} graphs"
        n_graphs = int(chosen.sum())
        expect.enough(kind, n_graphs, needed=4)
        mean = sign = None
        if n_graphs:
            added, answered = towards_planar[chosen], logits[chosen].argmax(-1) == PLANAR
            mean = bootstrap(added[:, None], only, generator=subject.generator(name))
            sign = share((added > 0) == answered)
            if name.startswith("misclassified"):
                # another model errs on other graphs
                mean, sign = mean.unpaired(), sign.unpaired()
        note = None if n_graphs else "no such graphs"
        expect(name, mean, note=note)
        at_least, because = (
            (0.5, "most of them") if name.startswith("misclassified") else (0.9, "nine in ten")
        )
        expect(
            f"{name}_sign",
            sign,
            at_least=at_least,
            because=f"{because}, as the statement says",
            note=note,
            among=kind,
        )
    among_untrained(subject, expect, "sign_of_the_last_mlp")


def _towards_planar(subject: Subject, graphs: Adjacency) -> Float[Tensor, " graph"]:
    """Planar minus non-planar logit that the neurons of the last MLP add."""
    directions = logit_diff_directions(
        subject.model, torch.full((len(graphs),), PLANAR, device=graphs.device)
    )
    return neuron_attribution(
        subject.model, graphs, directions, layer=subject.model.cfg.n_layers - 1
    ).sum(1)
