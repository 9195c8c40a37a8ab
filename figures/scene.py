"""What every figure starts from, and how they are put together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from torch import Tensor

from circuits.attention import degrees
from circuits.examples import misclassified_graphs
from circuits.roles import Head
from circuits.subject import Subject
from models.graphs import Adjacency, GraphSet, random_graphs_over
from verdicts.drawing import Axis, heatmap
from verdicts.schema import ClaimResult

POSITION = "position"


@dataclasses.dataclass(frozen=True)
class Scene:
    """A subject, its claims as the record holds them, and one graph of it to look at."""

    subject: Subject
    claims: Mapping[str, ClaimResult]
    graph: Adjacency

    def measured(self, claim: str, name: str) -> Any:
        """A value of the record; `None` where it has none."""
        found = self.claims[claim].measurements.get(name) if claim in self.claims else None
        return None if found is None else found.value

    @cached_property
    def misclassified(self) -> GraphSet:
        """Up to 100 graphs of each class that the model gets wrong, out of 10,000 of the edge
        counts that it was trained on."""
        subject, generator = self.subject, self.subject.generator("misclassified")

        def draw(count: int) -> Adjacency:
            return subject.label(
                random_graphs_over(
                    subject.model.cfg.n_vertices,
                    subject.edge_counts,
                    count=count,
                    generator=generator,
                )
            )

        return misclassified_graphs(subject.model, draw, count=100, max_draws=10_000)

    @cached_property
    def vertices(self) -> Axis:
        """The vertices of the graph with their degrees."""
        return Axis(
            "vertex, degree",
            [
                f"{vertex}, {degree}"
                for vertex, degree in enumerate(degrees(self.graph)[0].tolist())
            ],
        )

    @property
    def positions(self) -> Axis:
        """All positions."""
        return Axis(
            POSITION, [str(position) for position in range(self.subject.model.cfg.n_vertices)]
        )

    @cached_property
    def about_the_graph(self) -> str:
        """In words, which graph it is."""
        return (
            f"On the validation graph of {int(self.graph.sum() / 2)} edges that the viewer starts"
            " with."
        )

    def role_of(self, head: Head) -> str:
        """`0.2, the reader`."""
        role = next(
            (name for name in ("reader", "pointer") if self.subject.roles.found.get(name) == head),
            None,
        )
        return f"{head}, the {role}" if role else str(head)


def array(tensor: Tensor) -> NDArray[np.float64]:
    """As drawings take it."""
    return tensor.detach().cpu().double().numpy()


def matrix(values: Tensor, *, rows: Axis, columns: Axis, limit: float | None = None) -> Markup:
    """A heat map of weights or activations, which are signed and have no unit."""
    return heatmap(array(values), rows=rows, columns=columns, unit="", signed=True, limit=limit)


def panels(drawings: Mapping[str, Markup]) -> Markup:
    """Several drawings with their titles, side by side where there is room."""
    items = (
        Markup("<div><h5>{}</h5>{}</div>").format(title, drawing)
        for title, drawing in drawings.items()
    )
    return Markup('<div class="panels">{}</div>').format(Markup("").join(items))


def stacked(drawings: Mapping[str, Markup]) -> Markup:
    """Several wide drawings with their titles, below one another."""
    return Markup("").join(
        Markup("<h5>{}</h5>{}").format(title, drawing) for title, drawing in drawings.items()
    )


def largest(*tensors: Tensor) -> float:
    """The scale that figures to be compared share: the largest absolute value in any of them."""
    return max(tensor.abs().max().item() for tensor in tensors)
