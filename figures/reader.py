"""Figures of the reader: its attention, its query and key by part, its values and what it writes
(notebook §1.3, §2.1, §2.2)."""

from __future__ import annotations

from collections.abc import Iterator

from circuits.attention import head_keys, head_pattern
from circuits.bounds import MAX_VERTICES, anchor_scores
from circuits.queries import key_parts, part_norms, query_parts, score_terms
from circuits.residual import activation, head_result, through_mlp
from figures.scene import Scene, array, largest, matrix, stacked
from verdicts.drawing import Axis, bars, heatmap, tile
from verdicts.page import Figure
from verdicts.plots import ranges

_PARTS = {"embed": "Embed", "pos_embed": "PosEmbed"}
_HEAD = Axis("dimension of the head")
_MODEL = Axis("residual dimension")


def attention(scene: Scene) -> Iterator[Figure]:
    """The pattern on one graph, and what is certain of it for every graph."""
    subject, reader = scene.subject, scene.subject.roles.reader
    pattern = array(head_pattern(subject.model, scene.graph, reader)[0])
    yield Figure(
        "figure-reader-pattern",
        "The reader's pattern",
        scene.about_the_graph,
        heatmap(
            pattern,
            rows=scene.vertices,
            columns=scene.positions,
            unit="of the row's attention",
            limit=1.0,
        ),
        "1.3",
        ("low_degree_vertices_attend_evenly", "adding_an_edge_raises_anchor_attention"),
    )
    intervals = scene.measured("anchor_attention_grows_with_degree", "intervals")
    if intervals:
        yield Figure(
            "figure-certified-attention",
            "Attention to the anchors, certified",
            "Whatever the graph, the reader's summed attention to the anchors lies in the interval"
            " of the vertex's degree.",
            ranges(
                {d: (i["low"], i["high"]) for d, i in intervals.items()},
                x="degree",
                y="attention to the anchors",
            ),
            "1.3",
            ("anchor_attention_grows_with_degree",),
        )


def anchor_score(scene: Scene) -> Iterator[Figure]:
    """The score at the anchors per degree, over all neighbourhoods."""
    subject = scene.subject
    reader, anchors = subject.roles.reader, subject.roles.anchors
    if subject.model.cfg.n_vertices > MAX_VERTICES:
        return
    scores = anchor_scores(subject.in_float64, reader, anchors)
    by_degree = {str(d): scores.score[scores.degree == d] for d in scores.degree.unique().tolist()}
    yield Figure(
        "figure-anchor-scores",
        "Score at the anchors by degree",
        "Least to greatest over every position and neighbourhood: attention score at the anchors,"
        " centred over keys.",
        ranges(
            {d: (s.min().item(), s.max().item()) for d, s in by_degree.items()},
            x="degree",
            y="score (nats)",
        ),
        "2.1",
        ("anchor_scores_change_sign_above_degree_two",),
    )


def parts(scene: Scene) -> Iterator[Figure]:
    """Query and key by part, and the four terms of the score."""
    subject, reader, graphs = (
        scene.subject,
        scene.subject.roles.reader,
        scene.subject.graphs.adjacency,
    )
    norms = [part_norms(parts(subject.model, graphs, reader)) for parts in (query_parts, key_parts)]
    top = max(largest(*side.values()) for side in norms)
    rows = Axis("part", list(_PARTS.values()))
    drawn = {
        name: heatmap(
            [array(side[part]) for part in _PARTS],
            rows=rows,
            columns=scene.positions,
            unit="mean norm",
            limit=top,
        )
        for name, side in zip(("query", "key"), norms, strict=True)
    }
    yield Figure(
        "figure-reader-norms",
        "Norms of the parts of the reader's query and key",
        "Means over the validation set, biases left out; one scale for both.",
        stacked(drawn),
        "1.3",
        ("degree_enters_through_the_query", "anchor_positions_enter_through_the_key"),
    )
    terms = score_terms(
        query_parts(subject.model, scene.graph, reader),
        key_parts(subject.model, scene.graph, reader),
    )
    grid = [[array(terms[query, key][0]) for key in _PARTS] for query in _PARTS]
    yield Figure(
        "figure-score-terms",
        "The four terms of the reader's score",
        f"{scene.about_the_graph} Each block is a term: query part by rows, key part by columns,"
        " vertices within; biases left out.",
        heatmap(
            tile(grid),
            rows=Axis("query part", list(_PARTS.values())),
            columns=Axis("key part", list(_PARTS.values())),
            unit="nats",
            signed=True,
        ),
        "1.3",
        ("embed_query_meets_position_key", "position_query_lowers_anchor_scores"),
    )


def weights(scene: Scene) -> Iterator[Figure]:
    """W_E, W_pos and what the reader's W_Q, W_K make of them, with query and key on one graph."""
    model, reader = scene.subject.model, scene.subject.roles.reader
    block = model.attention(0)
    W_Q, W_K = block.W_Q[reader.index], block.W_K[reader.index]
    neighbours, positions = model.W_E @ W_Q, model.W_pos @ W_Q
    top = largest(neighbours, positions)
    rows = scene.positions
    yield Figure(
        "figure-neighbour-queries",
        "What a neighbour adds to the reader's query",
        "Each row of W_E W_Q is one neighbour: all rows alike is one direction, v.",
        stacked(
            {
                "W_E": matrix(model.W_E, rows=rows, columns=_MODEL),
                "W_Q": matrix(W_Q, rows=_MODEL, columns=_HEAD),
                "W_E W_Q": matrix(neighbours, rows=rows, columns=_HEAD, limit=top),
            }
        ),
        "2.1",
        ("every_neighbour_adds_the_same_query_vector",),
    )
    yield Figure(
        "figure-position-queries",
        "What a position adds to the reader's query",
        "On the scale of W_E W_Q: the opposite sign, and some twice as much.",
        stacked(
            {
                "W_pos": matrix(model.W_pos, rows=rows, columns=_MODEL),
                "W_pos W_Q": matrix(positions, rows=rows, columns=_HEAD, limit=top),
            }
        ),
        "2.1",
        ("position_subtracts_two_neighbours",),
    )
    query = activation(model, scene.graph, "blocks.0.attn.hook_q", head=reader)[0]
    yield Figure(
        "figure-reader-query",
        "The reader's query",
        f"{scene.about_the_graph} q = resid W_Q + b_Q: degree − 2 along v.",
        matrix(query, rows=scene.vertices, columns=_HEAD),
        "2.1",
        ("query_holds_degree_minus_two",),
    )
    by_neighbour, by_position = model.W_E @ W_K, model.W_pos @ W_K
    top = largest(by_neighbour, by_position)
    yield Figure(
        "figure-reader-keys",
        "The reader's key",
        "W_E W_K and W_pos W_K on one scale; the key on the graph that the viewer starts with.",
        stacked(
            {
                "W_K": matrix(W_K, rows=_MODEL, columns=_HEAD),
                "W_E W_K": matrix(by_neighbour, rows=rows, columns=_HEAD, limit=top),
                "W_pos W_K": matrix(by_position, rows=rows, columns=_HEAD, limit=top),
                "k": matrix(
                    head_keys(model, scene.graph, reader)[0], rows=scene.vertices, columns=_HEAD
                ),
            }
        ),
        "2.1",
        ("key_comes_mostly_from_position", "anchor_keys_point_along_the_degree_direction"),
    )
    per_neighbour = scene.measured(
        "anchor_keys_point_along_the_degree_direction", "score_per_neighbour"
    )
    if per_neighbour:
        anchors = [str(anchor) for anchor in scene.subject.roles.found.get("anchors") or ()]
        yield Figure(
            "figure-score-per-neighbour",
            "What one more neighbour adds to the score at each position",
            "row of W_pos W_K · v / √d_head; the anchors stand out.",
            bars(
                {str(j): value for j, value in enumerate(per_neighbour)},
                name="position",
                unit="nats per neighbour",
                marked=anchors,
            ),
            "2.1",
            ("anchor_keys_point_along_the_degree_direction",),
        )


def values(scene: Scene) -> Iterator[Figure]:
    """v, z and result of the reader on one graph, and that after the MLP."""
    model, reader, graph = scene.subject.model, scene.subject.roles.reader, scene.graph
    W_V = model.attention(0).W_V[reader.index]
    rows = scene.positions
    v, z = (
        activation(model, graph, f"blocks.0.attn.hook_{letter}", head=reader)[0] for letter in "vz"
    )
    top = largest(model.W_E @ W_V, model.W_pos @ W_V)
    yield Figure(
        "figure-reader-values",
        "The reader's values",
        "W_E W_V and W_pos W_V on one scale; v on the graph that the viewer starts with.",
        stacked(
            {
                "W_V": matrix(W_V, rows=_MODEL, columns=_HEAD),
                "W_E W_V": matrix(model.W_E @ W_V, rows=rows, columns=_HEAD, limit=top),
                "W_pos W_V": matrix(model.W_pos @ W_V, rows=rows, columns=_HEAD, limit=top),
                "v": matrix(v, rows=scene.vertices, columns=_HEAD),
            }
        ),
        "2.2",
        ("reader_values_share_one_direction", "reader_values_hold_degree"),
    )
    yield Figure(
        "figure-reader-z",
        "z, the pattern applied to v",
        scene.about_the_graph,
        matrix(z, rows=scene.vertices, columns=_HEAD),
        "2.2",
        ("reader_z_holds_degree", "reader_z_determines_degree"),
    )
    result = head_result(model, graph, reader)[0]
    yield Figure(
        "figure-reader-result",
        "What the reader writes",
        scene.about_the_graph,
        matrix(result, rows=scene.vertices, columns=_MODEL),
        "2.2",
        ("reader_output_carries_degree_in_one_direction",),
    )
    drawn = {
        "f(result) = result + MLP₀(result), as if nothing else were there": heatmap(
            array(through_mlp(model, result)),
            rows=scene.vertices,
            columns=_MODEL,
            unit="",
            signed=True,
        ),
        "x₁, the whole residual stream after layer 0": heatmap(
            array(activation(model, graph, "blocks.0.hook_resid_post")[0]),
            rows=scene.vertices,
            columns=_MODEL,
            unit="",
            signed=True,
        ),
    }
    yield Figure(
        "figure-through-mlp",
        "After the MLP",
        scene.about_the_graph,
        stacked(drawn),
        "2.2",
        ("mlp_keeps_the_readers_direction", "one_residual_dimension_carries_degree"),
    )


FIGURES = (attention, anchor_score, parts, weights, values)
