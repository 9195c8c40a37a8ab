"""Graphs to look at: where their vertices are drawn, what is in the way of planarity, and what
every head makes of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import networkx as nx
import torch

from circuits.attention import degrees
from circuits.subject import Subject
from figures.layout import layout
from models.graphs import (
    Adjacency,
    GraphSet,
    as_adjacency,
    certificate,
    edge_list,
    graph6,
    named_graph,
)
from models.transformer import Transformer
from verdicts.schema import ClaimResult

MAX_TEXT = 2000
_NAMED = ("petersen", "cycle", "complete", "empty", "star")
_MISCLASSIFIED = 3  # of each class
_EDGES = re.compile(r"[\d\s,;()\-–]*")
_PAIR = re.compile(r"(\d+)\s*[-–,]\s*(\d+)")


def parse_graph(text: str, *, n_vertices: int) -> Adjacency:
    """One graph from edges (`0-1 1-2`, `0,1; 1,2`) or from graph6; `ValueError` says what is wrong
    with it."""
    text = text.strip()
    if len(text) > MAX_TEXT:
        raise ValueError(
            f"the graph must be written in at most {MAX_TEXT} characters, got {len(text)}"
        )
    if _EDGES.fullmatch(text):
        return _from_edges(text, n_vertices)
    try:
        graph = nx.from_graph6_bytes(text.encode("ascii"))
    except (nx.NetworkXError, ValueError, IndexError):
        raise ValueError(
            f"{text[:40]!r} is neither a list of edges, like 0-1 1-2, nor graph6"
        ) from None
    if graph.number_of_nodes() != n_vertices:
        raise ValueError(
            f"the graph must have {n_vertices} vertices, got graph6 of {graph.number_of_nodes()}"
        )
    return as_adjacency(graph, n_vertices=n_vertices)


def _from_edges(text: str, n_vertices: int) -> Adjacency:
    rest = _PAIR.sub("", text)
    if re.search(r"\d", rest):
        raise ValueError(
            f"edges are written like 0-1 1-2; {rest.strip(' ,;()')[:40]!r} is not part of one"
        )
    graph = nx.empty_graph(n_vertices)
    for first, second in _PAIR.findall(text):
        i, j = int(first), int(second)
        if i == j or max(i, j) >= n_vertices:
            raise ValueError(
                f"edge {first}-{second}: an edge joins two different vertices from 0 to"
                f" {n_vertices - 1}"
            )
        graph.add_edge(i, j)
    return as_adjacency(graph, n_vertices=n_vertices)


@torch.no_grad()
def view(
    model: Transformer,
    graph: Adjacency,
    *,
    name: str,
    group: str,
    vertex: int | None = None,
    note: str = "",
) -> dict[str, Any]:
    """Everything that the viewer draws of one graph, as JSON; attention in thousandths,
    `patterns[layer][head][query][key]`."""
    n = model.cfg.n_vertices
    names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(model.cfg.n_layers)]
    logits, cache = model.run_with_cache(graph, names_filter=names)
    drawn = nx.from_numpy_array(graph[0].cpu().numpy())
    proof = certificate(graph, n_vertices=n)
    planar = isinstance(proof, nx.PlanarEmbedding)
    return {
        "name": name,
        "group": group,
        "note": note,
        "vertex": vertex,
        "graph6": graph6(graph[0]),
        "edges": edge_list(graph[0]),
        "degrees": degrees(graph)[0].tolist(),
        "points": layout(drawn).round(3).tolist(),
        "planar": planar,
        "obstruction": [] if planar else sorted(sorted(edge) for edge in proof.edges),
        "kind": None if planar else _kind(proof),
        "planar_probability": f"{logits.softmax(-1)[0, 1].item():.4f}",
        "patterns": [(1000 * cache[hook][0]).round().int().tolist() for hook in names],
    }


def _kind(obstruction: nx.Graph[int]) -> str:
    """Which of the two a Kuratowski subgraph is a subdivision of."""
    return "K₅" if max(degree for _, degree in obstruction.degree) == 4 else "K₃,₃"


def graphs_to_view(
    subject: Subject, claims: Mapping[str, ClaimResult], misclassified: GraphSet
) -> Iterator[dict[str, Any]]:
    """Counterexamples of the claims (as the record holds them), random, misclassified and named
    graphs."""
    model, n = subject.model, subject.model.cfg.n_vertices
    for id_, claim in claims.items():
        if (found := claim.counterexample) is not None:
            graph = parse_graph(found["graph6"], n_vertices=n).to(subject.graphs.adjacency)
            facts = [item for item in found.items() if item[0] not in ("graph6", "edges")]
            yield view(
                model,
                graph,
                name=id_.replace("_", " "),
                group="counterexamples",
                vertex=found.get("vertex"),
                note=", ".join(f"{name} {fact}" for name, fact in facts),
            )
    edges = subject.graphs.adjacency.sum((1, 2)) / 2
    for m in edges.unique().int().tolist():
        first = int((edges == m).nonzero()[0])
        yield view(
            model,
            subject.graphs.adjacency[[first]],
            name=f"{m} edges, validation graph {first}",
            group="random",
        )
    for label, truth in ((0, "non-planar, called planar"), (1, "planar, called non-planar")):
        for order, graph in enumerate(
            misclassified.adjacency[misclassified.labels == label][:_MISCLASSIFIED]
        ):
            yield view(model, graph[None], name=f"{truth} ({order + 1})", group="misclassified")
    for name in _NAMED:
        if name != "petersen" or n == 10:
            yield view(model, subject.label(named_graph(name, n)), name=name, group="named")
