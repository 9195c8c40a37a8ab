"""Where the templates of the pages are, and what they can call."""

from __future__ import annotations

import functools

import jinja2

from verdicts.axes import has_axis, mark, measurement_axis
from verdicts.sentences import (
    banner,
    changed,
    comparison_summary,
    headline,
    smallest_seen,
    titles,
)
from verdicts.table import SIGNS, beside_chance, summary
from verdicts.wording import against, bound, counted, number, role, short_hash, shown


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
        "against": against,
        "banner": banner,
        "bound": bound,
        "changed": changed,
        "comparison_summary": comparison_summary,
        "counted": counted,
        "headline": headline,
        "number": number,
        "role": role,
        "short_hash": short_hash,
        "shown": shown,
        "smallest_seen": smallest_seen,
        "summary": summary,
        "titles": titles,
        "words": lambda name: str(name).replace("_", " "),
    }
    made.globals |= {
        "has_axis": has_axis,
        "mark": mark,
        "measurement_axis": measurement_axis,
        "signs": SIGNS,
    }
    return made
