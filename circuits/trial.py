"""One model beside the parts that may play each role: the found ones of a trained model, or every
one of an untrained model.

The parts of a trained model were found by looking. So what stands beside it is the best of an
untrained one: of its heads, its positions, its neurons and dimensions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens import ActivationCache

from circuits.attention import Pattern, degree_contrast, degrees
from circuits.directions import anchor_gaps, score_per_neighbour
from circuits.finder import finding_graphs
from circuits.patching import PatchScores, every_set, path_patching
from circuits.reduction import one_edge_to_degree_two
from circuits.residual import degree_correlations
from circuits.roles import Head, Roles
from models.graphs import (
    BOTH_CLASSES_FROM,
    Adjacency,
    GraphSet,
    balanced_set,
    is_planar,
    random_graphs_over,
    without_low_degree,
)
from models.randomness import named_generator
from models.transformer import Transformer

GRAPHS = 96  # eight of each class at each of six numbers of edges
_FEW = 8
_DRAWN = 2000


@dataclasses.dataclass(frozen=True)
class Sample:
    """The graphs of a trial: the same for every model that is compared."""

    balanced: GraphSet
    """96 graphs with the usual numbers of edges, as many planar as not."""
    wide: Float[Tensor, "wide vertex sender"]
    """96 graphs of 0 to 3n − 6 edges."""
    finding: Float[Tensor, "finding vertex sender"]
    """A tenth of the graphs on which roles are sought."""
    triangles: Float[Tensor, "triangle vertex sender"]
    """Those of 2,000 graphs with the usual numbers of edges that have a vertex of degree 3 whose
    one edge to degree 2 is in a triangle."""

    @classmethod
    def of(cls, n_vertices: int, edge_counts: range, seed: int) -> Sample:
        """The graphs that a seed makes."""
        generator = named_generator(seed, "graphs for untrained models")
        if n_vertices < BOTH_CLASSES_FROM:
            graphs = random_graphs_over(n_vertices, edge_counts, count=GRAPHS, generator=generator)
            balanced = GraphSet(graphs, is_planar(graphs).long())
        else:
            balanced = balanced_set(n_vertices, edge_counts, count=GRAPHS, generator=generator)
        widest = range(min(max(3 * n_vertices - 6, 1), n_vertices * (n_vertices - 1) // 2) + 1)
        wide = random_graphs_over(n_vertices, widest, count=GRAPHS, generator=generator)
        drawn = random_graphs_over(n_vertices, edge_counts, count=_DRAWN, generator=generator)
        chosen, in_triangle = one_edge_to_degree_two(drawn)
        triangles = drawn[(chosen & in_triangle).any(1)]
        return cls(balanced, wide, finding_graphs(n_vertices, per_edge_count=4), triangles)

    def map(self, change: Callable[[Adjacency], Adjacency]) -> Sample:
        """The sample with each of its graphs changed, their vertices renamed say."""
        balanced = GraphSet(change(self.balanced.adjacency), self.balanced.labels)
        return Sample(balanced, change(self.wide), change(self.finding), change(self.triangles))


@dataclasses.dataclass(frozen=True)
class Parts:
    """The parts that may play each role; empty where none can."""

    readers: Mapping[Head, tuple[int, ...]]
    """Heads of layer 0 with their anchors."""
    pointers: Sequence[Head]
    """Heads after layer 0."""
    targets: Sequence[int]
    dimension: int | None
    """Dimension of the residual stream after layer 0; `None` for the one that follows degree best.
    """

    @classmethod
    def of(cls, roles: Roles, model: Transformer) -> Parts:
        """Those that were found."""
        found = roles.found
        reader, pointer, target = found.get("reader"), found.get("pointer"), found.get("target")
        readers = (
            {}
            if reader is None or reader.layer != 0
            else {reader: tuple(found.get("anchors") or _anchors(model, reader))}
        )
        pointers = [] if pointer is None or pointer.layer == 0 else [pointer]
        return cls(
            readers,
            pointers,
            range(model.cfg.n_vertices) if target is None else [target],
            found.get("dimension"),
        )

    @classmethod
    def all(cls, model: Transformer) -> Parts:
        """Every head and position; the anchors of a head as the finder chooses them."""
        heads = range(model.cfg.n_heads)
        readers = {Head(0, index): _anchors(model, Head(0, index)) for index in heads}
        pointers = [Head(layer, index) for layer in range(1, model.cfg.n_layers) for index in heads]
        return cls(readers, pointers, range(model.cfg.n_vertices), None)


def _anchors(model: Transformer, head: Head) -> tuple[int, ...]:
    gaps = anchor_gaps(score_per_neighbour(model, head))
    return max(gaps, key=lambda positions: gaps[positions])


class Trial:
    """What statistics share of one model on the graphs of a sample, computed once."""

    def __init__(self, model: Transformer, sample: Sample, parts: Parts) -> None:
        self.model = model
        self.parts = parts
        self.labels = sample.balanced.labels
        self.graphs = sample.balanced.adjacency
        self.wide = sample.wide
        self.finding = sample.finding
        self.triangles = sample.triangles
        self.few = self.graphs[:: len(self.graphs) // _FEW]
        """Eight of the graphs, for what is costly."""
        self._patched: dict[Head, tuple[PatchScores, PatchScores]] = {}

    @cached_property
    def degree(self) -> Int[Tensor, "graph vertex"]:
        """Degrees of the vertices of the balanced graphs."""
        return degrees(self.graphs)

    @cached_property
    def logits(self) -> Float[Tensor, "graph n_classes"]:
        """Answers on the balanced graphs."""
        return self.model(self.graphs)

    @cached_property
    def right(self) -> Float[Tensor, " graph"]:
        """1 where the answer is the label."""
        return (self.logits.argmax(-1) == self.labels).double()

    @cached_property
    def cache(self) -> ActivationCache:
        """Activations of all heads, and of the neurons of layer 0, on the balanced graphs."""
        layers = range(self.model.cfg.n_layers)
        heads = [
            f"blocks.{layer}.attn.hook_{letter}"
            for layer in layers
            for letter in ("q", "k", "v", "z", "pattern")
        ]
        mlp = [] if self.model.cfg.attn_only else ["blocks.0.mlp.hook_post"]
        _, cache = self.model.run_with_cache(
            self.graphs, names_filter=[*heads, *mlp, "blocks.0.hook_resid_post"]
        )
        return cache

    @property
    def resid(self) -> Float[Tensor, "graph vertex d_model"]:
        """The residual stream after layer 0."""
        return self.cache["blocks.0.hook_resid_post"]

    @cached_property
    def dimension(self) -> int:
        """The dimension, or the one that follows degree best."""
        if self.parts.dimension is not None:
            return self.parts.dimension
        return int(degree_correlations(self.resid, self.degree).abs().argmax())

    def of_head(self, name: str, head: Head) -> Float[Tensor, "graph vertex width"]:
        """A head's query, key, value or z: the hook's name is `hook_q`, …"""
        return self.cache[f"blocks.{head.layer}.attn.hook_{name}"][:, :, head.index]

    def pattern(self, head: Head) -> Pattern:
        """Attention pattern of a head."""
        return self.cache[f"blocks.{head.layer}.attn.hook_pattern"][:, head.index]

    def patched(self, head: Head) -> tuple[PatchScores, PatchScores]:
        """Scores on eight graphs: every set of paths into the pointer's query with nothing or Embed
        into its key, and the reverse.

        The corrupted graph is that of the claims.
        """
        if head not in self._patched:
            sets = every_set(self.model.cfg.n_heads).tolist()
            corrupted = without_low_degree(self.graphs.shape[1]).to(self.graphs)
            queries, keys = path_patching(
                self.model,
                self.few,
                corrupted,
                head=head,
                blocks=[(sets, [0, 1]), ([0], sets)],
                leave_out=True,
            )
            self._patched[head] = queries, keys
        return self._patched[head]

    @property
    def composing(self) -> list[Head]:
        """The pointers that are one MLP away from layer 0."""
        return [head for head in self.parts.pointers if head.layer == 1]

    def target(self, head: Head) -> int:
        """The target that the finder would choose for a pointer, among those that may be it."""
        targets = list(self.parts.targets)
        return targets[int(degree_contrast(self.pattern(head), self.degree)[targets].argmax())]
