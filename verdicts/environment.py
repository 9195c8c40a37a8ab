"""Where the templates of the pages are, and what they can call."""

from __future__ import annotations

import functools

import jinja2

from verdicts.axes import has_axis, measurement_axis
from verdicts.compare import changed, comparison_summary, headline, smallest_seen
from verdicts.table import beside_chance, bound, number, shown


@functools.cache
def environment() -> jinja2.Environment:
    """One for all pages: what a record says is escaped, and a name that is missing is an error."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("verdicts"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "beside_chance": beside_chance,
        "bound": bound,
        "changed": changed,
        "comparison_summary": comparison_summary,
        "headline": headline,
        "number": number,
        "shown": shown,
        "smallest_seen": smallest_seen,
        "words": lambda name: str(name).replace("_", " "),
    }
    made.globals |= {"has_axis": has_axis, "measurement_axis": measurement_axis}
    return made
