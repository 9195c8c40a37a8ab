"""Path patching into the query and the key of a layer-1 head, exact and fast (notebook §1.2).

A configuration is a set of paths from {Embed, every head of layer 0} to the query and another to
the key, through the layer-0 MLP; all other components keep their corrupted output. Patching the
query leaves the key alone and the reverse, so 2^c queries and 2^c keys serve all 2^(2c)
configurations; and the MLP sees base + Σ Δ, so its input needs one precomputed Δ W_in per
component. Sets are bit masks: bit 0 is Embed, bit 1 + h is head 0.h.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from tqdm import tqdm

from circuits.components import Reading
from circuits.roles import Absent, Head, require_layer_1
from models.first_attention import FirstAttention
from models.graphs import Adjacency
from models.kernels import affine, softmax
from models.transformer import Transformer

Metric = Callable[
    [Float[Tensor, "*config query key"], Float[Tensor, "*target query key"]],
    Float[Tensor, "*config"],
]
"""Distance of each patched pattern from the clean one; must accept strided views."""

Corrupted = Float[Tensor, "one_or_all vertex sender"]
Affine = tuple[Tensor, Tensor]
"""Weight [rows, columns] and bias [columns]."""

MAX_HEADS = 12  # 8,192 sets of components of one side; each head more is twice as many
_SETS_AT_A_TIME = 512  # of one graph or spread over several: 10 MB of MLP activations
_GRAPHS_AT_A_TIME = 16  # where each has all its sets by itself: 3 MB of what components bring
_PATTERNS_AT_A_TIME = 8192  # 3 MB: stays in the cache
_BATCH = 128


class TooManySets(Absent, ValueError):
    """A layer has so many heads that their sets cannot all be patched."""


class NothingToRestore(Absent, ValueError):
    """A pattern that the corrupted graph does not change: whatever is patched, it stays as it
    is."""


def frobenius(
    patched: Float[Tensor, "*config query key"], clean: Float[Tensor, "*target query key"]
) -> Float[Tensor, "*config"]:
    """‖A_patched − A_clean‖_F."""
    return torch.linalg.vector_norm(patched - clean, dim=(-2, -1))


@dataclasses.dataclass(frozen=True)
class PatchScores:
    """Distances of the patched patterns from the clean ones, per graph, for query sets × key
    sets."""

    numerator: Float[Tensor, "graph query_set key_set"]
    denominator: Float[Tensor, " graph"]
    """Distance of the corrupted pattern from the clean one."""

    @property
    def per_graph(self) -> Float[Tensor, "graph query_set key_set"]:
        """The notebook's score of each graph: 1 is no improvement, 0 perfect."""
        return self.numerator / self.denominator[:, None, None]

    @property
    def score(self) -> Float[Tensor, "query_set key_set"]:
        """Mean over graphs of the ratios, as in the notebook."""
        return self.per_graph.double().mean(0)

    @property
    def ratio_of_means(self) -> Float[Tensor, "query_set key_set"]:
        """Mean numerator over mean denominator: no single graph weighs more for being nearly clean
        already."""
        return self.numerator.double().mean(0) / self.denominator.double().mean()


Block = tuple[Sequence[int], Sequence[int]]
"""Query sets and key sets, of which every pair is patched."""


@torch.no_grad()
def path_patching(
    model: Transformer,
    clean: Adjacency,
    corrupted: Corrupted,
    *,
    head: Head,
    blocks: Sequence[Block],
    metric: Metric = frobenius,
    progress: bool = False,
    leave_out: bool = False,
) -> list[PatchScores]:
    """Scores of all pairs of query set and key set of each block; `corrupted` is one graph or one
    for each clean graph.

    `ValueError` for a head outside layer 1, a set of unknown components, a graph paired with
    itself, or a pair whose clean and corrupted patterns coincide (its score would be 0/0). With
    `leave_out` such pairs are left out, and `NothingToRestore` says that fewer than two others are
    there.
    """
    _require_blocks(model, clean, corrupted, head, blocks)
    if leave_out:
        clean, corrupted = _unlike(clean, corrupted)
    _require_unlike(clean, corrupted)
    sides = _Sides.of(model, clean, corrupted, head)
    patterns_clean, patterns_corrupted = sides.patterns()
    denominator = metric(patterns_corrupted, patterns_clean)
    changed = denominator > 0
    if not changed.all() and not leave_out:
        graph = int((~changed).nonzero()[0])
        raise NothingToRestore(
            f"clean graph {graph}: its pattern is that of its corrupted graph, so there is nothing"
            " to restore"
        )
    if not changed.all():
        _require_some(changed)
        sides = sides.of_graphs(changed)
        clean, patterns_clean, denominator = (
            clean[changed.to(clean.device)],
            patterns_clean[changed],
            denominator[changed],
        )
    numerators = [
        clean.new_empty(len(clean), len(queries), len(keys), dtype=denominator.dtype)
        for queries, keys in blocks
    ]
    sets = _Sets.of(blocks, n_components=1 + model.cfg.n_heads)
    query_row, key_row = sets.query_row, sets.key_row
    rows = [
        (
            torch.tensor([query_row[mask] for mask in queries]),
            torch.tensor([key_row[mask] for mask in keys]),
        )
        for queries, keys in blocks
    ]
    step = max(1, _SETS_AT_A_TIME // len(sets.masks))
    few = _few(blocks)
    narrow = step == 1 and sum(map(len, few)) * clean.shape[1] < 2 * model.cfg.d_head
    if narrow:
        step = _GRAPHS_AT_A_TIME
    for start in tqdm(
        range(0, len(clean), step),
        disable=not progress,
        desc="path patching",
        unit="graph",
        unit_scale=step,
    ):
        graphs = slice(start, start + step)
        target, read = patterns_clean[graphs], _Read.of(sides.of_graphs(graphs))
        if narrow:
            found = _narrow_distances(read, sets, few, rows, target, metric)
        else:
            q, k = read.queries_and_keys(sets)
            found = [_distances(q[:, some], k[:, others], target, metric) for some, others in rows]
        for numerator, distances in zip(numerators, found, strict=True):
            numerator[graphs] = distances.to(numerator.device)
    return [PatchScores(numerator, denominator.to(clean.device)) for numerator in numerators]


@torch.no_grad()
def patched_patterns(
    model: Transformer,
    clean: Adjacency,
    corrupted: Corrupted,
    *,
    head: Head,
    configurations: Sequence[tuple[int, int]],
) -> Float[Tensor, "graph configuration query key"]:
    """Pattern of the head under each configuration, a query set and a key set: what `path_patching`
    scores, for few graphs to look at.

    Nothing patched is the corrupted pattern, everything the clean one.
    """
    blocks = [([query], [key]) for query, key in configurations]
    _require_blocks(model, clean, corrupted, head, blocks)
    _require_unlike(clean, corrupted)
    sides, sets = (
        _Sides.of(model, clean, corrupted, head),
        _Sets.of(blocks, n_components=1 + model.cfg.n_heads),
    )
    q, k = _Read.of(sides).queries_and_keys(sets)
    q = q[:, [sets.query_row[query] for query, _ in configurations]]
    k = k[:, [sets.key_row[key] for _, key in configurations]]
    return softmax(q @ k.mT / math.sqrt(q.shape[-1])).to(clean.device)


def _require_blocks(
    model: Transformer, clean: Adjacency, corrupted: Corrupted, head: Head, blocks: Sequence[Block]
) -> None:
    require_layer_1(head)
    top = 2 ** (1 + model.cfg.n_heads)
    for mask in (mask for block in blocks for side in block for mask in side):
        if not 0 <= mask < top:
            raise ValueError(
                f"blocks: a set of components is a mask from 0 to {top - 1}, got {mask}"
            )
    if len(corrupted) not in (1, len(clean)):
        raise ValueError(
            f"corrupted must be one graph or {len(clean)}, one for each clean graph; got"
            f" {len(corrupted)}"
        )


def _require_unlike(clean: Adjacency, corrupted: Corrupted) -> None:
    same = (clean == corrupted).flatten(1).all(1)
    if same.any():
        raise NothingToRestore(
            f"clean graph {int(same.nonzero()[0])} is paired with itself as its corrupted graph"
        )


def _unlike(
    clean: Adjacency, corrupted: Corrupted
) -> tuple[Float[Tensor, "kept vertex sender"], Float[Tensor, "one_or_kept vertex sender"]]:
    """The pairs of two graphs that are not the same: on few vertices some are."""
    unlike = (clean != corrupted).flatten(1).any(1)
    _require_some(unlike)
    return clean[unlike], corrupted if len(corrupted) == 1 else corrupted[unlike]


def _require_some(kept: Bool[Tensor, " graph"]) -> None:
    if kept.sum() < 2:
        raise NothingToRestore(
            f"fewer than 2 of {len(kept)} graphs have a pattern that its corrupted graph changes"
        )


@dataclasses.dataclass(frozen=True)
class _Sets:
    """All sets of components in an order in which those for a query, and those for a key, stand
    together: no row is copied."""

    masks: list[int]
    n_query: int
    n_key: int
    bits: Int[Tensor, "set component"]

    @classmethod
    def of(cls, blocks: Sequence[Block], *, n_components: int) -> _Sets:
        queries, keys = ({mask for block in blocks for mask in block[side]} for side in (0, 1))
        masks = [*sorted(queries - keys), *sorted(queries & keys), *sorted(keys - queries)]
        bits = torch.tensor(masks)[:, None] >> torch.arange(n_components) & 1
        return cls(
            masks, len(queries), len(keys), torch.cat([bits, torch.ones_like(bits[:, :1])], dim=1)
        )

    @property
    def query_row(self) -> dict[int, int]:
        """Place of a mask among the queries: the first `n_query`."""
        return {mask: row for row, mask in enumerate(self.masks[: self.n_query])}

    @property
    def key_row(self) -> dict[int, int]:
        """Place of a mask among the keys: the last `n_key`."""
        return {mask: row for row, mask in enumerate(self.masks[-self.n_key :])}


@dataclasses.dataclass(frozen=True)
class _Sides:
    """What the corrupted run and the change of each component bring to the MLP's input and,
    directly, to query and key.

    The corrupted run counts as one more component, after the others, that is in every set. Query
    and key stand side by side. Of a head there is kept what its pattern mixes, not its result,
    which is wider.
    """

    embed: Float[Tensor, "graph vertex sender"]
    heads: Float[Tensor, "graph vertex head two_n_vertices"]
    mid: Float[Tensor, "one_or_all vertex d_model"]
    into_resid_mid: Float[Tensor, "feature d_model"]
    into_mlp: tuple[Reading, Affine]
    direct: tuple[Reading, Affine]
    """What reads the components, and the same of the corrupted run with its bias."""
    through_mlp: Float[Tensor, "d_mlp two_d_head"]

    @classmethod
    def of(cls, model: Transformer, clean: Adjacency, corrupted: Corrupted, head: Head) -> _Sides:
        """Two forward passes through the attention of layer 0, one for each side."""
        mlp, attention = model.mlp(0), model.attention(1)
        clean, corrupted = clean.to(model.W_E), corrupted.to(model.W_E)
        weight = torch.cat([attention.W_Q[head.index], attention.W_K[head.index]], dim=1)
        bias = torch.cat([attention.b_Q[head.index], attention.b_K[head.index]])
        first = FirstAttention.of(model)
        mixed, into_corrupted = (
            torch.cat(list(map(first.mixtures, graphs.split(_BATCH))))
            for graphs in (clean, corrupted)
        )
        return cls(
            embed=clean - corrupted,
            heads=mixed - into_corrupted,
            mid=first.resid_mid(corrupted),
            into_resid_mid=first.into_resid_mid,
            into_mlp=(Reading.of(model, first, mlp.W_in), (mlp.W_in, mlp.b_in)),
            direct=(Reading.of(model, first, weight), (weight, mlp.b_out @ weight + bias)),
            through_mlp=mlp.W_out @ weight,
        )

    def of_graphs(self, graphs: slice | Bool[Tensor, " graph"]) -> _Sides:
        """Of some graphs."""
        mid = self.mid if len(self.mid) == 1 else self.mid[graphs]
        return dataclasses.replace(
            self, embed=self.embed[graphs], heads=self.heads[graphs], mid=mid
        )

    def patterns(self) -> tuple[Float[Tensor, "graph query key"], Float[Tensor, "graph query key"]]:
        """Clean and corrupted patterns of the head."""
        patterns = []
        for start in range(0, len(self.embed), _BATCH):
            some = self.of_graphs(slice(start, start + _BATCH))
            change = affine(torch.cat([some.heads.flatten(2), some.embed], -1), self.into_resid_mid)
            both = torch.stack([some.mid + change, some.mid + torch.zeros_like(change)])
            post = F.gelu(affine(both, *self.into_mlp[1]))
            read = affine(both, *self.direct[1]) + affine(post, self.through_mlp)
            q, k = read.chunk(2, dim=-1)
            patterns.append(softmax(q @ k.mT / math.sqrt(q.shape[-1])))
        clean, corrupted = torch.cat(patterns, dim=1)
        return clean, corrupted

    def by_component(
        self, reading: Reading, stream: Affine
    ) -> Float[Tensor, "component graph vertex width"]:
        """What an affine map reads of each component; its bias is the corrupted run's, for that is
        in every set."""
        read = reading.read(self.embed, self.heads, more=1)
        read[-1] = affine(self.mid, *stream)
        return read


@dataclasses.dataclass(frozen=True)
class _Read:
    """What query and key read of each component of some graphs: with the MLP's input of the
    components of a set patched, and so with all that follows."""

    pre: Float[Tensor, "component graph vertex d_mlp"]
    direct: Float[Tensor, "component graph vertex two_d_head"]
    through_mlp: Float[Tensor, "d_mlp two_d_head"]

    @classmethod
    def of(cls, sides: _Sides) -> _Read:
        return cls(
            sides.by_component(*sides.into_mlp),
            sides.by_component(*sides.direct),
            sides.through_mlp,
        )

    def graph(self, index: int) -> _Read:
        """Of one of the graphs."""
        one = slice(index, index + 1)
        return dataclasses.replace(self, pre=self.pre[:, one], direct=self.direct[:, one])

    def with_sets(
        self,
        bits: Int[Tensor, "set component"],
        reading: Float[Tensor, "two_d_head column"] | None = None,
    ) -> Float[Tensor, "set graph vertex column"]:
        """Query and key side by side, with the components of each set patched; or what a matrix
        reads of them, in as many columns of work."""
        direct, after = self.direct, self.through_mlp
        if reading is not None:
            direct, after = direct @ reading, after @ reading
        chosen = bits.to(self.pre)
        pre, by_itself = (
            affine(chosen, part.flatten(1)).view(len(chosen), *part.shape[1:])
            for part in (self.pre, direct)
        )
        return affine(torch.ops.aten.gelu_(pre), after) + by_itself

    def queries_and_keys(
        self, sets: _Sets
    ) -> tuple[
        Float[Tensor, "graph query_set vertex d_head"], Float[Tensor, "graph key_set vertex d_head"]
    ]:
        """Query and key of the head, with the components of each set patched."""
        q, k = self.with_sets(sets.bits).transpose(0, 1).chunk(2, dim=-1)
        return q[:, : sets.n_query], k[:, -sets.n_key :]


def _distances(
    q: Float[Tensor, "graph query_set vertex d_head"],
    k: Float[Tensor, "graph key_set vertex d_head"],
    clean: Float[Tensor, "graph query key"],
    metric: Metric,
) -> Float[Tensor, "graph query_set key_set"]:
    """Distance from the clean pattern for every pair; keys lead, so that softmax runs along long
    rows."""
    keys = (k / math.sqrt(k.shape[-1])).flatten(1, 2).mT
    distances = []
    step = max(1, _PATTERNS_AT_A_TIME // (len(q) * k.shape[1]))
    for part in q.split(step, dim=1):
        scores = (
            (part.flatten(1, 2) @ keys).unflatten(2, k.shape[1:3]).unflatten(1, part.shape[1:3])
        )
        distances.append(_distance(scores.permute(4, 0, 1, 3, 2), clean, metric))
    return torch.cat(distances, dim=1)


def _distance(
    scores: Float[Tensor, "key graph query_set key_set query"],
    clean: Float[Tensor, "graph query key"],
    metric: Metric,
) -> Float[Tensor, "graph query_set key_set"]:
    pattern = scores.clone(memory_format=torch.contiguous_format)  # key leads; query comes last
    pattern -= pattern.amax(0, keepdim=True)
    pattern.exp_()
    pattern /= pattern.sum(0, keepdim=True)
    return metric(pattern.permute(1, 2, 3, 4, 0), clean[:, None, None])


def _few(blocks: Sequence[Block]) -> list[Sequence[int]]:
    """The shorter side of each block; the keys where both are as long."""
    return [min(keys, queries, key=len) for queries, keys in blocks]


def _narrow_distances(
    read: _Read,
    sets: _Sets,
    few: Sequence[Sequence[int]],
    rows: Sequence[tuple[Tensor, Tensor]],
    clean: Float[Tensor, "graph query key"],
    metric: Metric,
) -> list[Float[Tensor, "graph query_set key_set"]]:
    """Distances where each block has few sets on one side: the many queries are only read by their
    products with the few keys, and the reverse."""
    masks = sorted({mask for side in few for mask in side})
    few_sets = _Sets.of([(masks, masks)], n_components=sets.bits.shape[1] - 1)
    q, k = read.queries_and_keys(few_sets)
    into_query = [len(keys) <= len(queries) for queries, keys in rows]
    readings = []
    for of_query, side in zip(into_query, few, strict=True):
        other = (k if of_query else q)[:, [masks.index(mask) for mask in side]].flatten(1, 2).mT
        both = [other / math.sqrt(other.shape[1]), torch.zeros_like(other)]
        readings.append(torch.cat(both if of_query else both[::-1], dim=1))
    widths = [reading.shape[-1] for reading in readings]
    found: list[list[Tensor]] = [[] for _ in rows]
    for graph, reading in enumerate(torch.cat(readings, dim=-1)):
        scores = read.graph(graph).with_sets(sets.bits, reading)[:, 0].split(widths, dim=-1)
        for of_query, (queries, keys), part, kept in zip(
            into_query, rows, scores, found, strict=True
        ):
            by_vertex = part.unflatten(-1, (-1, clean.shape[-1]))  # set, vertex, few, other vertex
            if of_query:
                key_leads = by_vertex[: sets.n_query][queries].permute(3, 0, 2, 1)
            else:
                key_leads = by_vertex[-sets.n_key :][keys].permute(1, 2, 0, 3)
            kept.append(_distance(key_leads[:, None], clean[[graph]], metric))
    return [torch.cat(distances) for distances in found]


def every_set(n_heads: int) -> Int[Tensor, " set"]:
    """All masks of components."""
    if n_heads > MAX_HEADS:
        raise TooManySets(
            f"n_heads must be at most {MAX_HEADS} to patch every set of components, got {n_heads}"
        )
    return torch.arange(2 ** (1 + n_heads))
