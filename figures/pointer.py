"""Figures of the pointer: its pattern, what is patched into it, its parts, what it reads (notebook
§1.1, §1.2, §2.2, Unused)."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from circuits.attention import head_pattern
from circuits.coalitions import best_sets, by_path
from circuits.components import components
from circuits.composition import (
    SIDES,
    composition_scores,
    input_matrix,
    output_matrices,
    rotated_composition_scores,
)
from circuits.patching import patched_patterns
from circuits.queries import approximate_key_parts, approximate_query_parts, part_norms, score_terms
from circuits.residual import (
    activation,
    degree_correlations,
    head_result,
    signature_cosines,
    through_mlp,
)
from circuits.roles import Head
from figures.scene import Scene, array, largest, matrix, panels, stacked
from models.graphs import without_low_degree
from verdicts.drawing import Axis, bars, heatmap, table, tile
from verdicts.page import Figure
from verdicts.plots import histogram, lines

_HEAD = Axis("dimension of the head")
_MODEL = Axis("residual dimension")
_ROTATIONS = 999
_NAMES = {"embed": "Embed", "pos_embed": "PosEmbed"}


def attention(scene: Scene) -> Iterator[Figure]:
    """The pattern on one graph, and attention to the target by degree."""
    subject, pointer = scene.subject, scene.subject.roles.pointer
    pattern = array(head_pattern(subject.model, scene.graph, pointer)[0])
    yield Figure(
        "figure-pointer-pattern",
        "The pointer's pattern",
        scene.about_the_graph,
        heatmap(
            pattern,
            rows=scene.vertices,
            columns=scene.positions,
            unit="of the row's attention",
            limit=1.0,
        ),
        "1.1",
        (
            "low_degree_vertices_attend_to_the_target",
            "they_do_so_beyond_the_training_range",
            "high_degree_vertices_ignore_the_target",
        ),
    )
    by_degree = scene.measured("attention_switches_off_above_degree_two", "attention_by_degree")
    if by_degree:
        yield Figure(
            "figure-attention-by-degree",
            "Attention to the target by degree",
            "Means over all vertices of the validation set of each degree.",
            bars(by_degree, name="degree", unit="mean attention"),
            "1.1",
            ("attention_switches_off_above_degree_two", "high_degree_vertices_ignore_the_target"),
        )


def patching(scene: Scene) -> Iterator[Figure]:
    """The notebook's two tables, and clean, corrupted and patched patterns."""
    subject, pointer = scene.subject, scene.subject.roles.pointer
    corrupted = subject.label(without_low_degree(subject.model.cfg.n_vertices))
    queries, keys = (scores.score for scores in subject.patched)
    singles = [1 << component for component in range(1 + subject.model.cfg.n_heads)]
    single = by_path(queries[singles, 0], keys[0, singles])
    reader = subject.roles.reader
    yield Figure(
        "figure-one-path",
        "One path patched",
        "Score of each path alone, from every fourth validation graph into one without low degrees:"
        " 1 brings nothing back, 0 everything.",
        bars(single, name="path", unit="score", marked=[f"{reader}->q"]),
        "1.2",
        ("reader_q_composes_with_pointer", "key_paths_alone_do_not_reproduce_the_pattern"),
    )
    best = best_sets(queries)
    yield Figure(
        "figure-best-by-size",
        "The best set of each number of paths",
        "Out of the notebook's configurations: score 1 brings nothing of the clean pattern back, 0"
        " everything.",
        table(
            ["paths", "score", "which"],
            [[size, f"{found.score:.3f}", ", ".join(found.paths)] for size, found in best.items()],
        ),
        "1.2",
        ("embed_and_helper_heads_also_q_compose",),
    )
    everything, only = 2 ** (1 + subject.model.cfg.n_heads) - 1, 1 << 1 + reader.index
    names = {
        "clean": (everything, everything),
        "corrupted": (0, 0),
        f"{reader} into the query": (only, 0),
        f"Embed and {reader} into the query": (only | 1, 0),
        "all into the query": (everything, 0),
        "all into the key": (0, everything),
    }
    patterns = patched_patterns(
        subject.model, scene.graph, corrupted, head=pointer, configurations=list(names.values())
    )[0]
    drawn = {
        name: heatmap(
            array(pattern), rows=scene.positions, columns=scene.positions, unit="", limit=1.0
        )
        for name, pattern in zip(names, patterns, strict=True)
    }
    yield Figure(
        "figure-patched-patterns",
        "The pointer's pattern, clean, corrupted and patched",
        f"{scene.about_the_graph} Rows attend to columns; one scale for all.",
        panels(drawn),
        "1.2",
        ("reader_q_composes_with_pointer", "key_paths_alone_do_not_reproduce_the_pattern"),
    )
    swaps = scene.measured(
        "position_embedding_of_the_target_moves_the_column", "swap_error_relative_by_partner"
    )
    if swaps:
        yield Figure(
            "figure-swaps",
            "Swapping the target's position embedding with another's",
            "Error of the pattern against one whose columns are swapped, over the change that"
            " swapping them makes: 0 is a perfect swap.",
            bars(swaps, name="swapped with", unit="relative error"),
            "1.2",
            ("position_embedding_of_the_target_moves_the_column",),
        )


def parts(scene: Scene) -> Iterator[Figure]:
    """Query and key by component, each sent through the MLP alone, the scores of every pair, and
    what the parts leave out."""
    subject, pointer, graphs = scene.subject, scene.subject.roles.pointer, scene.subject.quarter
    query, key = (
        part_norms(parts(subject.model, graphs, pointer).parts)
        for parts in (approximate_query_parts, approximate_key_parts)
    )
    names = Axis("component", [_NAMES.get(name, name) for name in query])
    top = max(largest(*query.values()), largest(*key.values()))
    for side, norms, claim in (
        ("query", query, "embed_position_and_reader_make_the_query"),
        ("key", key, "target_position_makes_the_key"),
    ):
        norm_rows = [
            array(part.expand(len(scene.positions.labels or []))) for part in norms.values()
        ]
        yield Figure(
            f"figure-pointer-{side}-norms",
            f"Norms of the parts of the pointer's {side}",
            "Means over every fourth validation graph, each component sent through the MLP alone;"
            " the same scale for query and key.",
            heatmap(norm_rows, rows=names, columns=scene.positions, unit="mean norm", limit=top),
            "Unused 1.2",
            (claim, "target_key_stands_out") if side == "key" else (claim,),
        )
    alone = [
        approximate(subject.model, scene.graph, pointer).parts
        for approximate in (approximate_query_parts, approximate_key_parts)
    ]
    terms = score_terms(*alone)
    grid = tile([[array(terms[q, k][0]) for k in alone[1]] for q in alone[0]])
    yield Figure(
        "figure-score-grid",
        "The pointer's score, component by component",
        f"{scene.about_the_graph} Each block is one pair: query part by rows, key part by columns,"
        " vertices within; biases left out.",
        heatmap(
            grid,
            rows=Axis("query part", names.labels),
            columns=Axis("key part", names.labels),
            unit="nats",
            signed=True,
        ),
        "Unused 1.2",
        ("reader_query_meets_position_key",),
    )
    stream = activation(subject.model, scene.graph, "blocks.0.hook_resid_post")[0]
    by_part = through_mlp(
        subject.model,
        torch.cat([components(subject.model, scene.graph)[:, 0], subject.model.W_pos[None]]),
    ).sum(0)
    top = largest(stream, by_part, stream - by_part)
    drawn = {
        title: matrix(values, rows=scene.vertices, columns=_MODEL, limit=top)
        for title, values in {
            "x₁": stream,
            "sum of f(component)": by_part,
            "difference": stream - by_part,
        }.items()
    }
    yield Figure(
        "figure-remainder",
        "What the parts leave out",
        f"{scene.about_the_graph} The MLP makes more of the components together than of each"
        " alone.",
        stacked(drawn),
        "Unused 1.2",
        ("embed_position_and_reader_make_the_query",),
    )


def dimension(scene: Scene) -> Iterator[Figure]:
    """What the pointer's W_Q reads, and which dimensions follow degree."""
    subject, pointer = scene.subject, scene.subject.roles.pointer
    W_Q = subject.model.attention(pointer.layer).W_Q[pointer.index]
    special = subject.roles.found.get("dimension")
    marked = {} if special is None else {special: f"dimension {special}"}
    yield Figure(
        "figure-pointer-W_Q",
        "The pointer's W_Q",
        "Transposed, and the norm of each of its rows: how strongly each residual dimension is"
        " read.",
        stacked(
            {
                "W_Q": matrix(W_Q.mT, rows=_HEAD, columns=_MODEL),
                "norms": lines(
                    {"row norm": array(W_Q.norm(dim=1))},
                    x="residual dimension",
                    y="norm of the row",
                    marked=marked,
                ),
            }
        ),
        "2.2",
        (
            "pointer_query_reads_that_dimension",
            "that_dimension_suffices_for_the_pointer",
            "the_pointer_needs_that_dimension",
        ),
    )
    query = activation(
        subject.model, scene.graph, f"blocks.{pointer.layer}.attn.hook_q", head=pointer
    )[0]
    yield Figure(
        "figure-pointer-query",
        "The pointer's query",
        scene.about_the_graph,
        matrix(query, rows=scene.vertices, columns=_HEAD),
        "2.2",
        ("pointer_query_encodes_degree",),
    )


def degree_by_dimension(scene: Scene) -> Iterator[Figure]:
    """Correlation with degree and the notebook's signature cosine of every residual dimension."""
    subject = scene.subject
    stream = activation(subject.model, subject.graphs.adjacency, "blocks.0.hook_resid_post")
    special = subject.roles.found.get("dimension")
    marked = {} if special is None else {special: f"dimension {special}"}
    drawn = {
        "correlation with degree": lines(
            {"r": array(degree_correlations(stream, subject.degrees))},
            x="residual dimension",
            y="r",
            marked=marked,
        )
    }
    if subject.roles.found.get("reader"):
        signature = signature_cosines(
            head_result(subject.model, subject.graphs.adjacency, subject.roles.reader), stream
        )
        drawn["the notebook's signature cosine, uncentred"] = lines(
            {"cosine": array(signature)}, x="residual dimension", y="cosine", marked=marked
        )
    yield Figure(
        "figure-dimensions",
        "Which residual dimensions follow degree",
        "After layer 0, over the validation set.",
        stacked(drawn),
        "2.2",
        ("one_residual_dimension_carries_degree", "pointer_reads_degree_along_its_score_direction"),
    )


def composition(scene: Scene) -> Iterator[Figure]:
    """Composition scores of all components with all heads of layer 1, and the reader's among random
    rotations."""
    subject = scene.subject
    if subject.model.cfg.n_layers < 2:
        return
    scores = {side: composition_scores(subject.model, side=side, mlp=True) for side in SIDES}
    top = max(largest(*by_component.values()) for by_component in scores.values())
    heads = Axis("head of layer 1")
    drawn = {
        f"{side}-composition": heatmap(
            [array(row) for row in by_component.values()],
            rows=Axis("component", [_NAMES.get(name, name) for name in by_component]),
            columns=heads,
            unit="",
            limit=top,
        )
        for side, by_component in scores.items()
    }
    home = ("reader_has_the_top_q_composition",)
    yield Figure(
        "figure-composition",
        "Composition scores",
        "Through the MLP: f(W_OV), f(W_E), f(W_pos). One scale for all.",
        panels(drawn),
        "Unused 1.3",
        home,
    )
    reader, pointer = str(subject.roles.reader), subject.roles.pointer
    null = rotated_composition_scores(
        output_matrices(subject.model, mlp=True)[reader],
        input_matrix(subject.model, pointer, "Q"),
        samples=_ROTATIONS,
        generator=subject.generator("rotations between reader and pointer"),
    )
    yield Figure(
        "figure-composition-null",
        "The reader's score among random rotations",
        f"{_ROTATIONS} random rotations between the same two matrices keep both spectra.",
        histogram(
            array(null),
            {f"{reader} with {pointer}": scores["Q"][reader][pointer.index].item()},
            x="Q-composition score",
        ),
        "Unused 1.3",
        home,
    )


def ablation(scene: Scene) -> Iterator[Figure]:
    """Accuracy without each head."""
    by_head = scene.measured("reader_is_necessary", "by_head")
    if by_head:
        found = scene.subject.roles.found
        marked = [str(found[role]) for role in ("reader", "pointer") if found.get(role)]
        named = {scene.role_of(Head.parse(name)): value for name, value in by_head.items()}
        yield Figure(
            "figure-ablation",
            "Accuracy without each head",
            "Each held at its mean over the validation set, at every position.",
            bars(
                named,
                name="head",
                unit="accuracy",
                marked=[scene.role_of(Head.parse(name)) for name in marked],
            ),
            "2.2",
            ("reader_is_necessary", "pointer_is_dispensable"),
        )


FIGURES = (attention, patching, parts, dimension, degree_by_dimension, composition, ablation)
