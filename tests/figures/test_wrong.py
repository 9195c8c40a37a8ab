"""The picture of graphs that a model gets wrong."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import networkx as nx
import pytest

from claims.census import WRONG
from figures.__main__ import main

SVG = "{http://www.w3.org/2000/svg}"


def line(graph: nx.Graph[int], planar: bool) -> str:
    return f"{nx.to_graph6_bytes(graph, header=False).decode().strip()}\t{int(planar)}\t1\n"


@pytest.fixture
def drawn(tmp_path: Path) -> ElementTree.Element:
    lines = [
        line(nx.complete_bipartite_graph(3, 3), False),
        *(line(nx.cycle_graph(n), True) for n in (5, 6, 7, 8)),
    ]
    (tmp_path / WRONG).write_text("".join(lines))
    assert main(["wrong", str(tmp_path), f"--out={tmp_path / 'out.svg'}"]) == 0
    return ElementTree.parse(tmp_path / "out.svg").getroot()


def test_the_first_of_each_class_are_drawn_with_what_is_in_the_way(
    drawn: ElementTree.Element,
) -> None:
    edges = drawn.findall(f"{SVG}line")
    assert len(edges) == 5 + 6 + 7 + 9
    assert sum(edge.get("class") == "held" for edge in edges) == 9
    assert len(drawn.findall(f"{SVG}circle")) == 5 + 6 + 7 + 6
    named = [text.text for text in drawn.findall(f"{SVG}text") if text.get("class") == "code"]
    cycles = [
        nx.to_graph6_bytes(nx.cycle_graph(n), header=False).decode().strip() for n in (5, 6, 7)
    ]
    bipartite = nx.complete_bipartite_graph(3, 3)
    assert named == [*cycles, nx.to_graph6_bytes(bipartite, header=False).decode().strip()]
    width, height = (float(drawn.get(side, 0)) for side in ("width", "height"))
    for circle in drawn.findall(f"{SVG}circle"):
        assert 11 <= float(circle.get("cx", 0)) <= width - 11
        assert 11 <= float(circle.get("cy", 0)) <= height - 11


def test_what_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["wrong", str(tmp_path / "none"), f"--out={tmp_path / 'out.svg'}"]) == 2
    assert "no such file or directory" in capsys.readouterr().err
