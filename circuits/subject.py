"""The subject of claims: a model with its roles, its validation graphs, and what it does on them,
computed once."""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuits.ablation import ABLATIONS, HeadAblations, logits_of
from circuits.attention import HeadActivations, Pattern, degrees, head_activations
from circuits.attribution import Attribution, logit_attribution, logit_diff_directions
from circuits.finder import find_roles
from circuits.patching import PatchScores, every_set, path_patching
from circuits.queries import ApproximateParts, approximate_parts
from circuits.roles import Absent, Head, Roles, read_object, read_roles
from circuits.trial import Parts, Trial
from circuits.untrained import drawn_for
from models.checkpoint import Checkpoint, load_checkpoint
from models.config import TrainConfig
from models.graphs import (
    Adjacency,
    GraphSet,
    edge_counts_of,
    load_validation_set,
    usual_edge_counts,
    validation_set,
    without_low_degree,
)
from models.randomness import named_generator
from models.transformer import Transformer

_BATCH = 128  # stays in the cache
_FEWEST_DRAWN = 100
_T = TypeVar("_T")
REGISTRY = Path(__file__).parent.parent / "checkpoints"
"""Directories of known checkpoints, each with `roles.json`."""


def _shared(compute: Callable[[Subject], _T]) -> Callable[[Subject], _T]:
    """What reads no role, computed once for all subjects that `with_head` makes."""

    @functools.wraps(compute)
    def kept(subject: Subject) -> _T:
        if compute not in subject._kept:
            subject._kept[compute] = compute(subject)
        value: _T = subject._kept[compute]
        return value

    return kept


@dataclasses.dataclass(frozen=True)
class Subject:
    """A model under test. Nothing that it holds is ever changed; what is computed from it is
    kept."""

    name: str
    content_hash: str
    model: Transformer
    roles: Roles
    graphs: GraphSet
    edge_counts: range
    """Numbers of edges that the model was trained on; of the validation graphs, where no recipe
    says."""
    seed: int
    directory: Path
    """Directory of the checkpoint's `roles.json` and `verdicts.json`."""
    searching: bool = True
    """Whether searched claims search; controls and gauges look at the validation graphs alone."""
    vertex_order: Int[Tensor, " vertex"] | None = None
    """How the vertices of the validation graphs were renamed, where they were."""
    drawn_step: int = 1
    """How many times fewer graphs `drawn` asks for."""
    _kept: dict[Any, Any] = dataclasses.field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def generator(self, name: str) -> torch.Generator:
        """Chance for one named sample of one claim: depends on the run's seed and the name
        alone."""
        return named_generator(self.seed, name)

    def drawn(self, count: int) -> int:
        """How many graphs a claim draws that draws `count` of a whole subject: a hundred at the
        least, if it draws so many."""
        return min(count, max(_FEWEST_DRAWN, count // self.drawn_step))

    def label(self, adjacency: Adjacency) -> Adjacency:
        """Graphs that a claim makes itself, with their vertices renamed as those of the validation
        graphs were."""
        adjacency = adjacency.to(self.graphs.adjacency)
        return (
            adjacency
            if self.vertex_order is None
            else adjacency[:, self.vertex_order][:, :, self.vertex_order]
        )

    @property
    def unlabelled(self) -> Adjacency:
        """The validation graphs before their vertices were renamed: `label` undone."""
        if self.vertex_order is None:
            return self.graphs.adjacency
        back = self.vertex_order.argsort()
        return self.graphs.adjacency[:, back][:, :, back]

    def every(self, step: int, *, dtype: torch.dtype | None = None) -> Subject:
        """Every so many validation graphs, in another precision if asked, without searches: for
        controls and gauges."""
        graphs = GraphSet(self.graphs.adjacency[::step].to(dtype=dtype), self.graphs.labels[::step])
        model = copy.deepcopy(self.model).to(dtype=dtype) if dtype is not None else self.model
        return dataclasses.replace(self, model=model, graphs=graphs, searching=False)

    def with_head(self, role: str, head: Head) -> Subject:
        """The subject with another head in a role; what depends on no role is computed once for
        both."""
        other = dataclasses.replace(
            self,
            name=f"{self.name}, {role} {head}",
            roles=Roles({**self.roles.found, role: head}, self.roles.reasons),
        )
        vars(other)["_kept"] = self._kept
        return other

    def of_head(self, head: Head) -> HeadActivations:
        """Query, key, value, pattern and z of a head on the validation graphs."""
        if head not in self._kept:
            stream = self.stream if head.layer == 1 else self._entering(head.layer)
            self._kept[head] = head_activations(self.model, stream, head)
        return self._kept[head]

    def pattern(self, head: Head) -> Pattern:
        """Attention pattern of a head on the validation graphs."""
        return self.of_head(head).pattern

    @property
    @_shared
    def stream(self) -> Float[Tensor, "batch vertex d_model"]:
        """x₁, the residual stream after layer 0, on the validation graphs."""
        return self._entering(1)

    @torch.no_grad()
    def _entering(self, layer: int) -> Float[Tensor, "batch vertex d_model"]:
        batches = self.graphs.adjacency.split(_BATCH)
        return torch.cat(list(map(self.model.entering(layer), batches)))

    @property
    @_shared
    def ablations(self) -> HeadAblations:
        """The heads put out of use on the validation graphs, one at a time."""
        return HeadAblations(self.model, self.graphs.adjacency)

    @property
    @_shared
    def right_without(self) -> dict[Head, Bool[Tensor, " batch"]]:
        """Whether the answer on each validation graph is its label with each head held at its
        mean."""
        right = self.ablations.logits(*self._every_head).argmax(-1) == self.graphs.labels
        return dict(zip(self._every_head, right, strict=True))

    @property
    @_shared
    def accuracy_by_ablation(self) -> Float[Tensor, "ablation head"]:
        """Accuracy on `G/4` without each head, by each of `ABLATIONS`."""
        quarter, labels = self.ablations.every(4), self.graphs.labels[::4]

        def right(ablation: str) -> Bool[Tensor, "head batch"]:
            generator = self.generator(f"ablation by {ablation}")
            logits = quarter.logits(*self._every_head, ablation=ablation, generator=generator)
            return logits.argmax(-1) == labels

        return torch.stack([right(ablation).double().mean(-1) for ablation in ABLATIONS])

    @property
    def _every_head(self) -> list[Head]:
        cfg = self.model.cfg
        return [Head(layer, index) for layer in range(cfg.n_layers) for index in range(cfg.n_heads)]

    @cached_property
    def patched(self) -> tuple[PatchScores, PatchScores]:
        """Scores on `G/4` when the corrupted graph has no vertex of low degree: every set of paths
        into the pointer's query with nothing or Embed into its key, and every set into its key
        alone."""
        sets = every_set(self.model.cfg.n_heads).tolist()
        queries, keys = path_patching(
            self.model,
            self.quarter,
            self.label(without_low_degree(self.model.cfg.n_vertices)),
            head=self.roles.pointer,
            blocks=[(sets, [0, 1]), ([0], sets)],
            leave_out=True,
        )
        return queries, keys

    @cached_property
    def pointer_parts(self) -> tuple[ApproximateParts, ApproximateParts]:
        """Query and key of the pointer by component, each sent through the MLP alone."""
        return approximate_parts(self.model, self.graphs.adjacency, self.roles.pointer)

    @property
    @_shared
    def in_float64(self) -> Transformer:
        """The same model in double precision on the CPU, for what is proved."""
        return copy.deepcopy(self.model).cpu().double()

    @property
    @_shared
    def quarter(self) -> Adjacency:
        """Every fourth validation graph, for what is too costly on all."""
        return self.graphs.adjacency[::4]

    @property
    @_shared
    def degrees(self) -> Int[Tensor, "batch vertex"]:
        """Degrees of the vertices of the validation graphs."""
        return degrees(self.graphs.adjacency)

    @property
    @_shared
    def logits(self) -> Float[Tensor, "batch n_classes"]:
        """Logits on the validation graphs."""
        return answer(self.model, self.graphs.adjacency)

    @property
    @_shared
    def attribution(self) -> Attribution:
        """What each component adds to the logit of the label against the other's, on the validation
        graphs."""
        directions = logit_diff_directions(self.model, self.graphs.labels)
        return logit_attribution(self.model, self.graphs.adjacency, directions)

    @property
    @_shared
    def right(self) -> Bool[Tensor, " batch"]:
        """Whether the answer on each validation graph is its label."""
        return self.logits.argmax(-1) == self.graphs.labels

    def require_both_classes(self) -> None:
        """`Absent` where all validation graphs are of one class, for then whoever always says so is
        always right."""
        if len(self.graphs.labels.unique()) < 2:
            kind = "planar" if self.graphs.labels[0] else "non-planar"
            n = self.model.cfg.n_vertices
            raise Absent(
                f"nothing to tell apart: all {len(self.graphs)} validation graphs, of {n} vertices,"
                f" are {kind}"
            )

    def require_degree(self, degree: int) -> None:
        """`Absent` where no graph has so many vertices that one of them could have that degree."""
        if (n := self.model.cfg.n_vertices) <= degree:
            raise Absent(f"no vertex of degree {degree}: a graph of {n} vertices has none")

    def require_mlp(self) -> None:
        """`Absent` for a model of attention only."""
        if self.model.cfg.attn_only:
            raise Absent("no MLP: the model is attention only")

    @cached_property
    def trial(self) -> Trial | None:
        """The model beside its roles, on the graphs of the untrained models of its architecture;
        `None` where none were drawn."""
        draws = drawn_for(self.model.cfg)
        return (
            None
            if draws is None
            else Trial(self.model, draws.sample.map(self.label), Parts.of(self.roles, self.model))
        )

    @property
    def ledger_path(self) -> Path:
        """Where the accepted verdicts are kept."""
        return self.directory / "verdicts.json"

    @property
    def device(self) -> str:
        """`cpu` or `cuda`."""
        return self.graphs.adjacency.device.type

    def describe(self) -> dict[str, Any]:
        """Name, content hash, roles and hash of the validation set, as a record holds them."""
        return {
            "name": self.name,
            "content_hash": self.content_hash,
            "roles": self.roles.to_dict(),
            "validation_set": self.graphs.content_hash,
        }


@torch.no_grad()
def answer(
    model: Transformer, adjacency: Float[Tensor, "batch vertex sender"]
) -> Float[Tensor, "batch n_classes"]:
    """Logits of many graphs, a batch at a time."""
    last = model.cfg.n_layers - 1
    entering, logits = model.entering(last), []
    for batch in adjacency.split(_BATCH):
        resid = entering(batch)
        logits.append(logits_of(model, resid + model.attention(last)(resid)))
    return torch.cat(logits).to(adjacency.device)


def load_subject(
    path: Path | str,
    *,
    validation: Path | None = None,
    seed: int = 0,
    device: str = "cpu",
    registry: Path = REGISTRY,
) -> Subject:
    """The checkpoint at `path` with its roles (read, or found where none are written) and
    validation graphs.

    `registry` is a directory of directories with `roles.json`, where a checkpoint without one
    beside it is looked up by its content hash. `ValueError` names what cannot be used.
    """
    checkpoint = load_checkpoint(path, device=device)
    cfg = checkpoint.model.cfg
    if cfg.n_classes != 2:
        raise ValueError(f"{path}: has {cfg.n_classes} classes; planarity claims need 2")
    home = directory_of(checkpoint, registry)
    if (home / "roles.json").exists():
        roles = read_roles(home / "roles.json", cfg=cfg, content_hash=checkpoint.content_hash)
    else:
        roles, _ = find_roles(checkpoint.model)
    edge_counts = trained_on(checkpoint)
    if validation is not None:
        graphs = load_validation_set(validation, n_vertices=cfg.n_vertices)
        edge_counts = edge_counts or edge_counts_of(graphs)
    else:
        edge_counts = edge_counts or usual_edge_counts(cfg.n_vertices)
        graphs = validation_set(cfg.n_vertices, edge_counts)
    graphs = GraphSet(graphs.adjacency.to(device), graphs.labels.to(device))
    return Subject(
        checkpoint.name,
        checkpoint.content_hash,
        checkpoint.model,
        roles,
        graphs,
        edge_counts,
        seed,
        home,
    )


def trained_on(checkpoint: Checkpoint) -> range | None:
    """The numbers of edges that its recipe names; `None` where it names none. `ValueError` for a
    recipe that cannot be."""
    recipe, source = checkpoint.recipe.get("train", {}), f"{checkpoint.path}: recipe"
    if not isinstance(recipe, dict):
        raise ValueError(f"{source}: train must be an object, got {type(recipe).__name__}")
    edge_counts = TrainConfig.from_dict(recipe, source=source).edge_counts
    if not {"min_edges", "max_edges"} <= set(recipe):
        return None
    most = math.comb(n := checkpoint.model.cfg.n_vertices, 2)
    if edge_counts[-1] > most:
        raise ValueError(
            f"{source}: max_edges must be at most {most}, for {n} vertices, got {edge_counts[-1]}"
        )
    return edge_counts


def directory_of(checkpoint: Checkpoint, registry: Path = REGISTRY) -> Path:
    """Where its `roles.json` is: the directory itself; for a file the registered one of its hash,
    or that of its name beside it."""
    if checkpoint.path.is_dir():
        return checkpoint.path
    for known in sorted(registry.glob("*/roles.json")):
        if read_object(known).get("content_hash") == checkpoint.content_hash:
            return known.parent
    return checkpoint.path.with_suffix("")
