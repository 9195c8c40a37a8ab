"""What the page shows of this model beside its claims: the circuit, the attention viewer, the
notebook's figures, counterexamples."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2
import torch
from markupsafe import Markup

from circuits.roles import AbsentRole
from circuits.subject import REGISTRY, Subject
from figures import model, pointer, reader
from figures.diagram import circuit_diagram, path_weights
from figures.scene import Scene
from figures.viewer import graphs_to_view
from verdicts.drawing import bars
from verdicts.page import Figure, PageExtras, Panel
from verdicts.record import read_record
from verdicts.schema import ClaimResult, SubjectResult


@torch.no_grad()
def page_extras(
    subject: Subject, result: SubjectResult, *, registry: Path = REGISTRY
) -> PageExtras:
    """Everything that the page of a subject shows beside the claims; `result` is what its record
    says of it.

    The seeds that it stands beside are the checkpoints of the registry that were trained here.
    """
    claims = {claim.id: claim for claim in result.claims}
    scene = Scene(subject, claims, _graph_to_start_with(subject))
    views = list(graphs_to_view(subject, claims, scene.misclassified))
    weights = path_weights(claims, subject.model.cfg.n_heads)
    marked = f"{subject.roles.found.get('reader')}->q"
    drawn = (
        bars(weights, name="path", unit="Shapley value", marked=[marked], second=["embed->k"])
        if weights
        else ""
    )
    circuit = _render(
        "circuit.html", drawing=circuit_diagram(subject, claims), weights=weights, bars=drawn
    )
    counted, beside = _registered(registry)
    return PageExtras(
        figures=tuple(_figures(scene)),
        panels=(
            Panel("circuit", "Circuit", circuit),
            Panel("viewer", "Attention", _viewer(subject, scene, views)),
        ),
        counterexamples=_counterexamples(claims, views),
        counted=counted,
        beside=beside,
        style=_render("circuit.css") + _render("viewer.css"),
        script=_render("viewer.js"),
    )


def _figures(scene: Scene) -> Iterator[Figure]:
    """Every figure whose parts this model has."""
    for draw in (*reader.FIGURES, *pointer.FIGURES, *model.FIGURES):
        try:
            yield from draw(scene)
        except AbsentRole:
            continue  # the claims beside it say which, and why


def _graph_to_start_with(subject: Subject) -> torch.Tensor:
    """A validation graph with vertices of many degrees: the first of those in the middle of the
    edge counts."""
    edges = subject.graphs.adjacency.sum((1, 2)) / 2
    return subject.graphs.adjacency[(edges == edges.median()).nonzero()[0]]


def _viewer(subject: Subject, scene: Scene, views: list[dict[str, Any]]) -> Markup:
    roles = subject.roles.to_dict()
    middle = f"{int(scene.graph.sum() / 2)} edges"
    first = next(
        index
        for index, shown in enumerate(views)
        if shown["group"] == "random" and shown["name"].startswith(middle)
    )
    start = roles["pointer"] or roles["reader"] or "0.0"
    return _render(
        "viewer.html", data={"graphs": views, "roles": roles, "start": start, "first": first}
    )


def _counterexamples(
    claims: Mapping[str, ClaimResult], views: list[dict[str, Any]]
) -> dict[str, Markup]:
    """Each claim's counterexample, drawn, by claim."""
    found = [id_ for id_, claim in claims.items() if claim.counterexample is not None]
    shown = [view for view in views if view["group"] == "counterexamples"]
    return {
        id_: _render(
            "counterexample.html",
            view=view,
            statement=claims[id_].statement,
            found=claims[id_].counterexample,
        )
        for id_, view in zip(found, shown, strict=True)
    }


def _registered(registry: Path) -> tuple[dict[str, SubjectResult], dict[str, SubjectResult]]:
    """Ledgers of known checkpoints by name: those with a recipe of ours, one for each seed, and the
    others."""
    counted: dict[str, SubjectResult] = {}
    beside: dict[str, SubjectResult] = {}
    for path in sorted(registry.glob("*/verdicts.json")):
        subject = read_record(path).subjects[0]
        group = counted if (path.parent / "config.json").exists() else beside
        group[subject.name] = subject
    return counted, beside


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("figures"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )


def _render(name: str, **values: Any) -> Markup:
    return Markup(_environment().get_template(name).render(**values))
