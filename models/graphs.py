"""Graphs as adjacency tensors: reading them, naming them, drawing them at random, labelling them
planar or not."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache, cached_property
from pathlib import Path

import networkx as nx
import numpy as np
import rustworkx as rx
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from models.randomness import named_generator
from models.refusal import in_one_line

Adjacency = Float[Tensor, "batch vertex sender"]

VALIDATION_SEED = 20240905
MAX_VALIDATION_BYTES = 2**30
BOTH_CLASSES_FROM = 6
"""Vertices from which on some number of edges has planar and non-planar graphs: of fewer, only K5
is not planar."""
# of graphs with as many edges: with ten vertices that is 15 to 20 edges, as the author chose
RARER_CLASS = 0.07
_GROWN = 2000
_CHUNK_PAIRS = (
    1_000_000  # vertex pairs drawn at a time: some 20 MB, whatever the number of vertices
)


@dataclasses.dataclass(frozen=True)
class GraphSet:
    """Graphs `[batch, vertex, sender]` with their labels `[batch]`: 1 planar, 0 not."""

    adjacency: Adjacency
    labels: Int[Tensor, " batch"]

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the adjacency matrices, by which records tell sets apart."""
        content = self.adjacency.cpu().to(torch.uint8).numpy().tobytes()
        return f"sha256:{hashlib.sha256(content).hexdigest()}"


def as_adjacency(graphs: object, *, n_vertices: int) -> Adjacency:
    """A batch of adjacency matrices from a networkx graph, an array or a tensor, or a sequence of
    graphs.

    A single graph becomes a batch of one. Vertices of a networkx graph that are 0 … n − 1 keep
    their numbers; others are numbered in the graph's own order. `ValueError` names the graph and
    the entry that is not of a simple graph.
    """
    if isinstance(graphs, nx.Graph):
        nodes = list(graphs)
        order = range(len(nodes)) if set(nodes) == set(range(len(nodes))) else nodes
        array = nx.to_numpy_array(graphs, nodelist=list(order), weight=None)  # type: ignore[call-overload]
        tensor = torch.from_numpy(array).float()
    elif isinstance(graphs, Tensor):
        tensor = graphs
    elif isinstance(graphs, np.ndarray):
        if graphs.dtype.kind not in "buif":
            raise ValueError(f"graphs must be an array of numbers, got dtype {graphs.dtype}")
        tensor = torch.from_numpy(np.ascontiguousarray(graphs))
    elif isinstance(graphs, Sequence) and not isinstance(graphs, (str, bytes)):
        if not graphs:
            raise ValueError("graphs must hold at least one graph, got an empty sequence")
        if isinstance(graphs[0], (nx.Graph, np.ndarray, Tensor)):
            return torch.cat([as_adjacency(graph, n_vertices=n_vertices) for graph in graphs])
        try:
            tensor = torch.tensor(graphs)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"graphs must be graphs or nested lists of numbers: {in_one_line(error)}"
            ) from None
    else:
        raise ValueError(
            "graphs must be a networkx graph, an array, a tensor or a sequence, got"
            f" {type(graphs).__name__}"
        )
    if tensor.ndim not in (2, 3) or tensor.shape[-2] != tensor.shape[-1]:
        raise ValueError(
            "graphs must be square matrices [vertex, vertex] or a batch of them, got shape"
            f" {list(tensor.shape)}"
        )
    if tensor.ndim == 2:
        tensor = tensor.unsqueeze(0)
    if tensor.shape[1] != n_vertices:
        raise ValueError(
            f"graphs must have n_vertices = {n_vertices} vertices, got {tensor.shape[1]}"
        )
    if tensor.shape[0] == 0:
        raise ValueError("graphs must hold at least one graph, got a batch of none")
    if tensor.is_complex():
        raise ValueError(f"graphs must be real numbers, got dtype {tensor.dtype}")
    _require_simple(tensor)
    return tensor if tensor.is_floating_point() else tensor.float()


def _require_simple(matrices: Tensor) -> None:
    binary = (matrices == 0) | (matrices == 1)
    if not binary.all():
        batch, row, column = (~binary).nonzero()[0].tolist()
        value = matrices[batch, row, column].item()
        raise ValueError(
            f"graph {batch}: entry [{row}, {column}] is {value}, but an adjacency matrix holds only"
            " 0 and 1"
        )
    if not torch.equal(matrices, matrices.mT):
        batch, row, column = (matrices != matrices.mT).nonzero()[0].tolist()
        raise ValueError(
            f"graph {batch}: entry [{row}, {column}] is {matrices[batch, row, column].item():g} but"
            f" entry [{column}, {row}] is {matrices[batch, column, row].item():g}; an adjacency"
            " matrix is symmetric"
        )
    loops = matrices.diagonal(dim1=1, dim2=2)
    if loops.any():
        batch, vertex = loops.nonzero()[0].tolist()
        raise ValueError(
            f"graph {batch}: entry [{vertex}, {vertex}] is 1, but a vertex has no edge to itself"
        )


def vertex_pairs(n_vertices: int) -> Int[Tensor, "2 pair"]:
    """The n(n − 1)/2 pairs i < j in lexicographic order: the order of edges everywhere here."""
    return torch.triu_indices(n_vertices, n_vertices, offset=1)


def from_edge_bits(bits: Bool[Tensor, "batch pair"], *, n_vertices: int) -> Adjacency:
    """Adjacency matrices of the graphs whose edges are the pairs set in `bits`, in the order of
    `vertex_pairs`."""
    rows, columns = vertex_pairs(n_vertices)
    adjacency = torch.zeros(len(bits), n_vertices, n_vertices)
    adjacency[:, rows, columns] = bits.float()
    return adjacency + adjacency.mT


def edge_bits(adjacency: Adjacency) -> Bool[Tensor, "batch pair"]:
    """The inverse of `from_edge_bits`."""
    rows, columns = vertex_pairs(adjacency.shape[-1])
    return adjacency[:, rows, columns] > 0


def edge_list(adjacency: Float[Tensor, "vertex sender"]) -> list[tuple[int, int]]:
    """Edges (i, j) with i < j of one graph, sorted."""
    return [(i, j) for i, j in adjacency.triu(1).nonzero().tolist()]


def graph6(adjacency: Float[Tensor, "vertex sender"]) -> str:
    """One graph in graph6, the format of nauty and networkx."""
    return (
        nx.to_graph6_bytes(nx.from_numpy_array(adjacency.cpu().numpy()), header=False)
        .decode()
        .strip()
    )


def named_graph(name: str, n_vertices: int = 10) -> Float[Tensor, "1 vertex sender"]:
    """`petersen`, `cycle`, `complete`, `empty` or `star` on so many vertices."""
    makers = {
        "petersen": lambda: nx.petersen_graph(),
        "cycle": lambda: nx.cycle_graph(n_vertices),
        "complete": lambda: nx.complete_graph(n_vertices),
        "empty": lambda: nx.empty_graph(n_vertices),
        "star": lambda: nx.star_graph(n_vertices - 1),
    }
    if name not in makers:
        raise ValueError(f"name must be one of {', '.join(makers)}, got {name!r}")
    if name == "petersen" and n_vertices != 10:
        raise ValueError(f"n_vertices must be 10 for the Petersen graph, got {n_vertices}")
    if name == "cycle" and n_vertices < 3:
        raise ValueError(f"n_vertices must be at least 3 for a cycle, got {n_vertices}")
    return as_adjacency(makers[name](), n_vertices=n_vertices)


def without_low_degree(n_vertices: int) -> Adjacency:
    """A graph without a vertex of low degree: the Petersen graph, or where there are not ten
    vertices a 4-regular circulant."""
    return (
        named_graph("petersen")
        if n_vertices == 10
        else as_adjacency(nx.circulant_graph(n_vertices, [1, 2]), n_vertices=n_vertices)
    )


def random_graphs(
    n_vertices: int, n_edges: int, *, count: int, generator: torch.Generator
) -> Adjacency:
    """`count` independent graphs of G(n, m): each set of `n_edges` edges is equally likely."""
    n_pairs = math.comb(n_vertices, 2)
    if not 0 <= n_edges <= n_pairs:
        raise ValueError(
            f"n_edges must be from 0 to {n_pairs} for {n_vertices} vertices, got {n_edges}"
        )
    chosen = torch.rand(count, n_pairs, generator=generator).argsort(dim=1)[:, :n_edges]
    bits = torch.zeros(count, n_pairs, dtype=torch.bool).scatter_(1, chosen, True)
    return from_edge_bits(bits, n_vertices=n_vertices)


def random_graphs_over(
    n_vertices: int, edge_counts: range, *, count: int, generator: torch.Generator
) -> Adjacency:
    """`count` independent graphs: a number of edges uniform over the range, then G(n, m)."""
    n_pairs = math.comb(n_vertices, 2)
    if edge_counts.step != 1 or not 0 <= edge_counts.start < edge_counts.stop <= n_pairs + 1:
        raise ValueError(
            f"edge_counts must be a range within 0 … {n_pairs} for {n_vertices} vertices, got"
            f" {edge_counts}"
        )
    edges = torch.randint(edge_counts.start, edge_counts.stop, (count,), generator=generator)
    order = torch.rand(count, n_pairs, generator=generator).argsort(dim=1)
    rank = order.argsort(dim=1)  # each pair's place in the order: the first `edges` of them are in
    return from_edge_bits(rank < edges[:, None], n_vertices=n_vertices)


def relabel(adjacency: Adjacency, generator: torch.Generator) -> Adjacency:
    """Each graph with its vertices renamed by a permutation of its own."""
    batch, n, _ = adjacency.shape
    order = torch.rand(batch, n, generator=generator).argsort(dim=1)
    graph = torch.arange(batch)[:, None, None]
    return adjacency[graph, order[:, :, None], order[:, None, :]]


def is_planar(adjacency: Adjacency) -> Bool[Tensor, " batch"]:
    """Planarity of each graph, by rustworkx (6 µs a graph of ten vertices)."""
    matrices = adjacency.cpu().to(torch.float64).numpy()
    return torch.tensor(
        [rx.is_planar(rx.PyGraph.from_adjacency_matrix(matrix)) for matrix in matrices]
    )


def certificate(graph: object, *, n_vertices: int) -> nx.PlanarEmbedding[int] | nx.Graph[int]:
    """Proof of the label by networkx: a planar embedding, or a Kuratowski subgraph of a non-planar
    graph."""
    matrix = as_adjacency(graph, n_vertices=n_vertices)[0]
    _, proof = nx.check_planarity(nx.from_numpy_array(matrix.cpu().numpy()), counterexample=True)
    return proof


def balanced_set(
    n_vertices: int,
    edge_counts: Sequence[int],
    *,
    count: int,
    generator: torch.Generator,
    exclude: GraphSet | None = None,
) -> GraphSet:
    """`count` graphs in random order, as many of each class at each number of edges, none of them
    in `exclude`.

    Given its class and number of edges each graph is uniform over labelled graphs. Where `count`
    does not divide evenly, the first cells get one more. `ValueError` names the number of edges at
    which a class cannot be had.
    """
    edge_counts = list(edge_counts)
    if not edge_counts:
        raise ValueError("edge_counts must name at least one number of edges, got none")
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    cells = [(m, label) for m in edge_counts for label in (1, 0)]
    sizes = {cell: count // len(cells) + (i < count % len(cells)) for i, cell in enumerate(cells)}
    excluded = set() if exclude is None else set(_keys(exclude.adjacency))
    parts, labels = [], []
    for m in edge_counts:
        wanted = {label: sizes[m, label] for label in (1, 0)}
        for label, graphs in _draw_classes(
            n_vertices, m, wanted, generator=generator, excluded=excluded
        ).items():
            parts.append(graphs)
            labels.append(torch.full((len(graphs),), label))
    order = torch.randperm(count, generator=generator)
    return GraphSet(torch.cat(parts)[order], torch.cat(labels)[order])


def _draw_classes(
    n_vertices: int,
    m: int,
    wanted: dict[int, int],
    *,
    generator: torch.Generator,
    excluded: set[bytes],
) -> dict[int, Adjacency]:
    """So many graphs of each label at m edges, by rejection, in a bounded number of draws."""
    budget = 100_000 + 500 * max(wanted.values())
    found: dict[int, list[Adjacency]] = {label: [] for label in wanted}
    have = dict.fromkeys(wanted, 0)
    drawn = 0
    while any(have[label] < wanted[label] for label in wanted):
        if drawn >= budget:
            raise ValueError(
                f"m = {m}: in {drawn} graphs of G({n_vertices}, {m}) there were {have[1]} planar"
                f" ones ({wanted[1]} wanted) and {have[0]} non-planar ones ({wanted[0]} wanted)"
            )
        count = min(_CHUNK_PAIRS // math.comb(n_vertices, 2) + 1, 4 * sum(wanted.values()) + 64)
        graphs = random_graphs(n_vertices, m, count=count, generator=generator)
        drawn += len(graphs)
        if excluded:
            graphs = graphs[torch.tensor([key not in excluded for key in _keys(graphs)])]
        planar = is_planar(graphs)
        for label in wanted:
            missing = wanted[label] - have[label]
            chosen = graphs[planar == bool(label)][:missing]
            found[label].append(chosen)
            have[label] += len(chosen)
    return {label: torch.cat(parts) for label, parts in found.items()}


def _keys(adjacency: Adjacency) -> Iterator[bytes]:
    """One hashable key per labelled graph."""
    return (row.tobytes() for row in np.packbits(edge_bits(adjacency.cpu()).numpy(), axis=1))


def count_isomorphic(graphs: Adjacency, reference: Float[Tensor, "other vertex sender"]) -> int:
    """How many of `graphs` are isomorphic to some graph of `reference`."""
    classes: dict[bytes, list[rx.PyGraph]] = {}
    for key, matrix in zip(_walk_invariants(reference), reference.double().numpy(), strict=True):
        classes.setdefault(key, []).append(rx.PyGraph.from_adjacency_matrix(matrix))
    count = 0
    for key, matrix in zip(_walk_invariants(graphs), graphs.double().numpy(), strict=True):
        if key in classes:
            graph = rx.PyGraph.from_adjacency_matrix(matrix)
            count += any(rx.is_isomorphic(graph, other) for other in classes[key])
    return count


def _walk_invariants(adjacency: Adjacency) -> list[bytes]:
    """A key that isomorphic graphs share: per vertex, how many walks of 1 to 6 steps start and how
    many return."""
    power = matrix = adjacency.double()
    profile = torch.zeros(adjacency.shape[:2], dtype=torch.float64)
    for step in range(1, 7):
        if step > 1:
            power = power @ matrix
        # odd multipliers mix the counts into one exact number below 2^53 per vertex: a hash,
        # refined by the exact test
        profile = (profile * 1_000_003 + power.sum(-1) * 8191 + power.diagonal(dim1=1, dim2=2)) % (
            2**31 - 1
        )
    return [row.tobytes() for row in profile.sort(dim=1).values.numpy()]


@cache  # the same for all checkpoints of a run, and nothing changes it
def validation_set(
    n_vertices: int = 10, edge_counts: range = range(15, 21), *, count: int = 4992
) -> GraphSet:
    """The project's own validation set: balanced at each number of edges, from a fixed seed, in
    random order.

    With fewer than six vertices nothing can be balanced: then it is uniform over the numbers of
    edges.
    """
    generator = named_generator(VALIDATION_SEED, "validation set")
    if n_vertices < BOTH_CLASSES_FROM:
        graphs = random_graphs_over(n_vertices, edge_counts, count=count, generator=generator)
        return GraphSet(graphs, is_planar(graphs).long())
    return balanced_set(n_vertices, edge_counts, count=count, generator=generator)


@cache
def usual_edge_counts(n_vertices: int) -> range:
    """The numbers of edges at which 7 % of uniform graphs or more are planar, and 7 % or more are
    not.

    Where no number of edges has graphs of both classes, all numbers at which there is a planar
    graph. Edges are added to 2,000 empty graphs, each in an order of its own: one that is
    non-planar stays so.
    """
    n_pairs = math.comb(n_vertices, 2)
    if n_vertices < BOTH_CLASSES_FROM:
        return range(min(n_pairs, max(3 * n_vertices - 6, 1)) + 1)
    generator = named_generator(VALIDATION_SEED, "graphs that grow")
    planar_up_to = torch.cat(
        [
            _planar_up_to(
                torch.rand(min(size, _GROWN - start), n_pairs, generator=generator).argsort(dim=1),
                n_vertices,
            )
            for size in [_CHUNK_PAIRS // n_pairs + 1]
            for start in range(0, _GROWN, size)
        ]
    )
    planar = [(planar_up_to >= m).double().mean().item() for m in range(n_pairs + 1)]
    both = [m for m, share in enumerate(planar) if RARER_CLASS <= share <= 1 - RARER_CLASS]
    return range(both[0], both[-1] + 1)


def _planar_up_to(order: Int[Tensor, "batch pair"], n_vertices: int) -> Int[Tensor, " batch"]:
    """How many of the pairs can be joined one after another before the graph is no longer planar,
    by bisection."""
    rank = order.argsort(dim=1)
    low = torch.zeros(len(order), dtype=torch.long)
    high = torch.full_like(low, min(3 * n_vertices - 6, order.shape[1]))  # no planar graph has more
    while (low < high).any():
        middle = (low + high + 1) // 2
        planar = is_planar(from_edge_bits(rank < middle[:, None], n_vertices=n_vertices))
        low, high = torch.where(planar, middle, low), torch.where(planar, high, middle - 1)
    return low


def edge_counts_of(graphs: GraphSet) -> range:
    """From the fewest edges of a graph of the set to the most."""
    counts = edge_count_table(graphs)
    return range(min(counts), max(counts) + 1)


def load_validation_set(path: Path, *, n_vertices: int) -> GraphSet:
    """Graphs and labels from an `.npz` with `data [n, v, v]` and `labels [n]`; `ValueError` names
    what is wrong.

    Every label is checked against rustworkx: a set with wrong labels would judge the labels, not
    the model.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > MAX_VALIDATION_BYTES:
            raise ValueError(
                f"{path}: unpacks to {size} bytes, more than the {MAX_VALIDATION_BYTES} allowed"
            )
        with np.load(path, allow_pickle=False) as arrays:
            missing = {"data", "labels"} - set(arrays)
            if missing:
                raise ValueError(
                    f"{path}: has no array {sorted(missing)[0]!r}; it must hold data [n, v, v] and"
                    " labels [n]"
                )
            data, labels = arrays["data"], arrays["labels"]
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except Exception as error:  # bytes from outside make zipfile and numpy raise almost anything
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path}: not a readable .npz file: {in_one_line(error)}") from None
    if labels.ndim != 1 or labels.dtype.kind not in "buif" or len(labels) != len(data):
        raise ValueError(
            f"{path}: labels must be [{len(data)}] numbers, one per graph, got {labels.dtype}"
            f" {list(labels.shape)}"
        )
    try:
        adjacency = as_adjacency(data, n_vertices=n_vertices).float()
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    wrong = np.flatnonzero(is_planar(adjacency).numpy() != labels)
    if len(wrong):
        graph = int(wrong[0])
        raise ValueError(
            f"{path}: {len(wrong)} labels are wrong; the first is that of graph {graph}, which is"
            f" {labels[graph]:g} though the graph is"
            f" {'non-planar' if labels[graph] == 1 else 'planar'} (1 means planar)"
        )
    return GraphSet(adjacency, torch.from_numpy(labels.astype(np.int64)))


def edge_count_table(graphs: GraphSet) -> dict[int, int]:
    """Number of graphs at each number of edges."""
    return dict(sorted(Counter((graphs.adjacency.sum((1, 2)) / 2).int().tolist()).items()))
