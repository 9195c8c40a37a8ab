"""A few of the graphs that a model gets wrong, as one picture."""

from __future__ import annotations

from pathlib import Path

import networkx as nx
from markupsafe import Markup

from claims.census import WRONG
from figures.layout import layout
from models.graphs import certificate

OF_EACH = 3
_SIDE, _EDGE, _ROW = 250, 28, 310
_CAPTION = {
    True: "planar; the answer is non-planar",
    False: "non-planar, for it holds what is dashed; the answer is planar",
}
_STYLE = (
    "text{font:11px sans-serif;text-anchor:middle;fill:#1a1d21}"
    ".head{font-weight:bold;font-size:13px}.code{font-family:monospace}"
    "line{stroke:#5b6570;stroke-width:1.5}line.held{stroke:#b35806;stroke-width:3;"
    "stroke-dasharray:6 3}circle{fill:#f7fbff;stroke:#2171b5}"
)


def picture(directory: Path) -> Markup:
    """The first of each class in the file of a census, those with the fewest edges: planar ones
    above, non-planar ones below with a subdivision of K₅ or K₃,₃."""
    lines = (directory / WRONG).read_text(encoding="ascii").splitlines()
    rows = [line.split("\t") for line in lines]
    body = []
    for at, planar in enumerate((True, False)):
        chosen = [text for text, label, _ in rows if (label == "1") is planar][:OF_EACH]
        top = at * _ROW
        body.append(
            Markup('<text class="head" x="{}" y="{}">{}</text>').format(
                _SIDE * OF_EACH / 2, top + 22, _CAPTION[planar]
            )
        )
        body += [_graph(text, _SIDE * place, top + 34) for place, text in enumerate(chosen)]
    width, height = _SIDE * OF_EACH, 2 * _ROW
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}"'
        ' height="{1}"><style>{2}</style><rect width="{0}" height="{1}" fill="#fff"/>{3}</svg>\n'
    ).format(width, height, Markup(_STYLE), Markup("").join(body))


def _graph(graph6: str, left: float, top: float) -> Markup:
    graph: nx.Graph[int] = nx.from_graph6_bytes(graph6.encode())
    points = _EDGE + (_SIDE - 2 * _EDGE) * layout(graph)
    x, y = (points[:, axis].round(1) + start for axis, start in enumerate((left, top)))
    proof = certificate(graph, n_vertices=len(graph))
    held = set() if isinstance(proof, nx.PlanarEmbedding) else {frozenset(e) for e in proof.edges}
    edges = [
        Markup('<line{} x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(
            Markup(' class="held"' if frozenset((i, j)) in held else ""), x[i], y[i], x[j], y[j]
        )
        for i, j in sorted(graph.edges)
    ]
    vertices = [
        Markup(
            '<circle cx="{0:.1f}" cy="{1:.1f}" r="11"/><text x="{0:.1f}" y="{1:.1f}" dy="4">{2}'
            "</text>"
        ).format(x[v], y[v], v)
        for v in range(len(graph))
    ]
    name = Markup('<text class="code" x="{}" y="{}">{}</text>').format(
        left + _SIDE / 2, top + _SIDE + 10, graph6
    )
    return Markup("").join([*edges, *vertices, name])
