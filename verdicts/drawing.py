"""Drawings for a page, in HTML: heat maps, bars, tables. They draw numbers and compute none.

Colours of cells are blue for non-negative values, and blue through white to orange around zero for
signed ones: told apart by colour-blind eyes.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from verdicts.wording import number

WIDTH = 340
_SEQUENTIAL = ("#f7fbff", "#c6dbef", "#6baed6", "#2171b5", "#08306b")
_DIVERGING = ("#053061", "#4393c3", "#f7f7f7", "#e08214", "#7f3b08")
_LEVELS = 255  # the last entry of a palette is transparent: no value
_MAX_READ_OUT = 1500  # cells whose numbers stand in the page
_MAX_LABELS = 16


@dataclasses.dataclass(frozen=True)
class Axis:
    """What runs along one side of a drawing: its name (with the unit), and what each place is
    called where they are few."""

    name: str
    labels: Sequence[str] | None = None


@dataclasses.dataclass(frozen=True)
class Scale:
    """From values to the length of a drawing, `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def over(
        cls, values: Iterable[float], start: float, end: float, *, margin: float = 0.0
    ) -> Scale:
        """The scale that all finite values fit on, with a share of the range beside them."""
        finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
        low, high = min(finite), max(finite)
        room = (high - low) * margin or (abs(high) or 1.0) * 0.1 * (low == high)
        return cls(low - room, high + room, start, end)

    def __call__(self, value: float) -> float:
        """Where a value stands; at the edge where it is beyond."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)

    def ticks(self, count: int = 4) -> list[float]:
        """About so many round numbers on the scale."""
        step = 10 ** math.floor(math.log10((self.high - self.low) / count))
        step *= next(
            factor
            for factor in (1, 2, 5, 10)
            if (self.high - self.low) / (step * factor) <= count + 1
        )
        first = math.ceil(self.low / step - 1e-9)
        return [tick * step for tick in range(first, math.floor(self.high / step + 1e-9) + 1)]


def short(value: float) -> str:
    """A tick's number: no more digits than it needs."""
    return f"{value:.6g}".replace("-", "−")


def _palette(colours: Sequence[str]) -> list[int]:
    stops = np.array(
        [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in colours], dtype=float
    )
    places = np.linspace(0, len(stops) - 1, _LEVELS)
    channels = [np.interp(places, range(len(stops)), stops[:, channel]) for channel in range(3)]
    return [*np.stack(channels, axis=1).round().astype(int).flatten().tolist(), 0, 0, 0]


def _png(values: NDArray[np.float64], low: float, high: float, colours: Sequence[str]) -> str:
    levels = ((values - low) / (high - low) * (_LEVELS - 1)).clip(0, _LEVELS - 1)
    image = Image.fromarray(
        np.where(np.isnan(values), _LEVELS, levels.round()).astype(np.uint8), mode=None
    )
    image.putpalette(_palette(colours))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True, transparency=_LEVELS)
    return base64.b64encode(buffer.getvalue()).decode()


def heatmap(
    values: ArrayLike,
    *,
    rows: Axis,
    columns: Axis,
    unit: str,
    signed: bool = False,
    limit: float | None = None,
) -> Markup:
    """A matrix as coloured cells, row 0 on top; NaN is empty.

    The scale goes from 0, or −limit where values are signed, to `limit`, by default the largest
    absolute value.
    """
    matrix = np.asarray(values, dtype=float)
    if matrix.ndim != 2 or not matrix.size:
        raise ValueError(
            f"values must be a matrix of at least one cell, got shape {list(matrix.shape)}"
        )
    top = limit or float(np.nan_to_num(np.abs(matrix)).max()) or 1.0
    low, colours = (-top, _DIVERGING) if signed else (0.0, _SEQUENTIAL)
    alt = (
        f"{matrix.shape[0]} × {matrix.shape[1]} cells, {rows.name} by {columns.name}, from"
        f" {number(low)} to {number(top)} {unit}"
    )
    named = all(
        axis.labels is None or len(axis.labels) == size
        for axis, size in zip((rows, columns), matrix.shape, strict=True)
    )
    readable = (
        named and matrix.size <= _MAX_READ_OUT
    )  # the cells of a tiled matrix go by the names of their blocks
    cells = (
        json.dumps(
            [
                [None if math.isnan(cell) else float(f"{cell:.3g}") for cell in row]
                for row in matrix.tolist()
            ]
        )
        if readable
        else ""
    )
    return Markup(
        '<div class="heat"{data}><div class="heat-y">{y}</div>{row_labels}<img alt="{alt}"'
        ' src="data:image/png;base64,{png}" style="height:{height}px">{column_labels}<div'
        ' class="heat-x">{x}</div><div class="key"><span>{low}</span><i'
        ' class="{kind}"></i><span>{high}{unit}</span></div></div>'
    ).format(
        data=(
            Markup(' data-cells="{}" data-rows="{}" data-columns="{}" tabindex="0"').format(
                cells,
                json.dumps([rows.name, *(rows.labels or [])]),
                json.dumps([columns.name, *(columns.labels or [])]),
            )
            if readable
            else ""
        ),
        y=rows.name,
        x=columns.name,
        alt=alt,
        png=_png(matrix, low, top, colours),
        row_labels=_labels(rows, matrix.shape[0], "rows"),
        column_labels=_labels(columns, matrix.shape[1], "columns"),
        height=round(min(max(matrix.shape[0] * 15, 60), 300)),
        kind="diverging" if signed else "sequential",
        low=short(float(f"{low:.3g}")),
        high=short(float(f"{top:.3g}")),
        unit=f" {unit}" if unit else "",
    )


def _labels(axis: Axis, size: int, kind: str) -> Markup:
    names = axis.labels if axis.labels is not None and len(axis.labels) <= _MAX_LABELS else None
    ends = names is None and size > _MAX_LABELS
    shown = names or (["0", str(size - 1)] if ends else [str(place) for place in range(size)])
    spans = Markup("").join(Markup("<span>{}</span>").format(name) for name in shown)
    return Markup('<div class="heat-{}{}" aria-hidden="true">{}</div>').format(
        kind, " ends" if ends else "", spans
    )


def tile(blocks: Sequence[Sequence[ArrayLike]]) -> NDArray[np.float64]:
    """Matrices of one shape in rows, as one with empty lines between them."""
    lines = []
    for row in blocks:
        parts: list[NDArray[np.float64]] = []
        for block in row:
            matrix = np.asarray(block, dtype=float)
            parts += [matrix, np.full((len(matrix), 1), np.nan)]
        line = np.concatenate(parts[:-1], axis=1)
        lines += [line, np.full((1, line.shape[1]), np.nan)]
    return np.concatenate(lines[:-1])


def bars(
    values: Mapping[str, float],
    *,
    name: str,
    unit: str,
    marked: Iterable[str] = (),
    second: Iterable[str] = (),
) -> Markup:
    """One bar for each value with its number, from zero; those of `marked` stand out, those of
    `second` are of another kind and have the second colour."""
    scale = Scale.over([0.0, *values.values()], 0, 100)
    kinds = {"marked": set(marked), "second": set(second)}
    lines = []
    for label, value in values.items():
        left, right = sorted((scale(0.0), scale(value)))
        lines.append(
            Markup(
                '<tr{mark}><th scope="row">{label}</th><td class="bar"><i'
                ' style="left:{left}%;width:{width}%"></i></td><td>{value}</td></tr>'
            ).format(
                mark=Markup(' class="{}"').format(
                    " ".join(kind for kind, labels in kinds.items() if label in labels)
                ),
                label=label,
                left=left,
                width=round(right - left, 2),
                value=short(float(f"{value:.3g}")),
            )
        )
    return Markup(
        '<table class="bars"><thead><tr><th scope="col">{}</th><th scope="col"'
        ' colspan="2">{}</th></tr></thead>{}</table>'
    ).format(name, unit, Markup("").join(lines))


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Markup:
    """A plain table."""
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(cell) for cell in header)
    body = Markup("").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(Markup("<td>{}</td>").format(cell) for cell in row)
        )
        for row in rows
    )
    return Markup(
        '<div class="scrolls" tabindex="0"><table><thead><tr>{}</tr></thead>{}</table></div>'
    ).format(head, body)
