"""One validation graph by its name, with a drawing for the page and one for Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from circuits.subject import Subject
    from verdicts.project import Case

_SIZE, _EDGE = 300, 20  # of the drawing and of its margin, in pixels


def pytest_claims_case(subject: Subject, case: int) -> Case:
    """The graph6 of a validation graph, drawn without crossings where it has a drawing without."""
    import networkx as nx
    from markupsafe import Markup

    from figures.layout import layout
    from models.graphs import edge_list, graph6
    from verdicts.project import Case

    adjacency = subject.graphs.adjacency[case].cpu()
    edges = edge_list(adjacency)
    points = layout(nx.from_numpy_array(adjacency.numpy()))
    at = (_EDGE + (_SIZE - 2 * _EDGE) * points).round(1).tolist()
    lines = [
        f'<line class="edge" x1="{at[i][0]}" y1="{at[i][1]}" x2="{at[j][0]}" y2="{at[j][1]}"/>'
        for i, j in edges
    ]
    dots = [f'<circle cx="{x}" cy="{y}" r="6" fill="currentColor"/>' for x, y in at]
    svg = Markup(
        f'<svg class="small drawing" viewBox="0 0 {_SIZE} {_SIZE}" role="img" aria-label="{{}}">'
        f"{''.join(lines + dots)}</svg>"
    ).format(f"graph with edges {edges}")
    mermaid = "graph TD\n" + "\n".join(f"{i}(({i})) --- {j}(({j}))" for i, j in edges)
    return Case(graph6(adjacency), svg, mermaid)
