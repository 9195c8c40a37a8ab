"""What censuses show: how often a model is wrong, and whether several are wrong about the same
graphs."""

from __future__ import annotations

from collections.abc import Iterator

from claims.census import Census, Tally


def table(census: Census) -> Iterator[str]:
    """A census by number of edges, in Markdown."""
    yield "| edges | graphs | planar, wrong | non-planar, wrong | right | of labelled graphs |"
    yield "|---|---|---|---|---|---|"
    for edges in census.settings.edge_counts:
        yield _row(str(edges), census, census.of(edges=edges))
    yield _row("all", census, census.tallies)


def _row(name: str, census: Census, tallies: list[Tally]) -> str:
    by_class = {
        planar: [tally for tally in tallies if tally.planar is planar] for planar in (True, False)
    }
    wrong = [
        f"{sum(tally.graphs for tally in some if tally.wrong_in):,} of"
        f" {sum(tally.graphs for tally in some):,}"
        for some in by_class.values()
    ]
    graphs = sum(tally.graphs for tally in tallies)
    shares = [census.accuracy(tallies, labelled=labelled) for labelled in (False, True)]
    cells = [name, f"{graphs:,}", *wrong, *(f"{share:.4%}" for share in shares)]
    return f"| {' | '.join(cells)} |"
