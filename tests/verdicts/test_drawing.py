"""What is drawn is what was given: pixels, places on axes, and their words."""

from __future__ import annotations

import base64
import io
import json
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.records import measured, trial_of
from verdicts.axes import has_axis, measurement_axis
from verdicts.drawing import Axis, Scale, bars, heatmap, table, tile
from verdicts.plots import histogram, lines, ranges

ROWS, COLUMNS = Axis("row"), Axis("column")


def pixels(drawing: str) -> np.ndarray:
    found = re.search(r'base64,([^"]+)"', drawing)
    assert found is not None
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(found[1]))))


def test_the_cells_of_a_heat_map_run_from_zero_to_the_limit() -> None:
    drawn = pixels(
        heatmap([[0.0, 0.25], [0.5, 1.0]], rows=ROWS, columns=COLUMNS, unit="", limit=1.0)
    )
    assert drawn.tolist() == [[0, 64], [127, 254]]


def test_a_signed_heat_map_is_white_at_zero_and_even_around_it() -> None:
    drawing = heatmap(
        [[-2.0, 0.0, 2.0, math.nan]], rows=ROWS, columns=COLUMNS, unit="", signed=True
    )
    image = Image.open(io.BytesIO(base64.b64decode(re.search(r'base64,([^"]+)"', drawing)[1])))  # type: ignore[index]
    assert np.asarray(image).tolist() == [[0, 127, 254, 255]]
    colours = np.asarray(image.convert("RGBA"))[0]
    assert colours[1].tolist() == [247, 247, 247, 255]
    assert colours[3][3] == 0, "no value is no colour"
    assert colours[0][2] > colours[0][0], "blue below zero"
    assert colours[2][0] > colours[2][2], "orange above"


def test_numbers_beyond_the_limit_take_the_colour_at_it() -> None:
    assert pixels(
        heatmap([[9.0, -9.0]], rows=ROWS, columns=COLUMNS, unit="", signed=True, limit=1.0)
    ).tolist() == [[254, 0]]


def test_a_heat_map_says_what_it_shows() -> None:
    drawing = heatmap([[0.0, 0.12345]], rows=Axis("head", ["0.1"]), columns=COLUMNS, unit="logits")
    assert 'alt="1 × 2 cells, head by column, from 0 to 0.1235 logits"' in drawing
    assert "<span>0.123 logits</span>" in drawing
    cells = re.search(r'data-cells="([^"]+)"', drawing)
    assert cells is not None
    assert json.loads(cells[1]) == [[0.0, 0.123]]


def test_cells_that_go_by_other_names_are_not_read_out() -> None:
    two = Axis("part", ["a", "b"])
    assert "data-cells" not in heatmap(
        tile([[np.ones((2, 2))] * 2] * 2), rows=two, columns=two, unit=""
    )
    assert "data-cells" not in heatmap(np.ones((100, 100)), rows=ROWS, columns=COLUMNS, unit="")


@pytest.mark.parametrize("values", [[], [1.0], [[[1.0]]]])
def test_what_is_no_matrix_is_refused(values: object) -> None:
    with pytest.raises(
        ValueError, match=r"values must be a matrix of at least one cell, got shape \["
    ):
        heatmap(values, rows=ROWS, columns=COLUMNS, unit="")  # type: ignore[arg-type]


def test_tiles_stand_in_rows_with_lines_between() -> None:
    whole = tile(
        [[np.full((2, 1), 1), np.full((2, 1), 2)], [np.full((2, 1), 3), np.full((2, 1), 4)]]
    )
    expected = [[1, None, 2], [1, None, 2], [None] * 3, [3, None, 4], [3, None, 4]]
    assert [
        [None if math.isnan(cell) else cell for cell in row] for row in whole.tolist()
    ] == expected


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8))
def test_a_scale_holds_its_values_and_its_ticks(values: list[float]) -> None:
    scale = Scale.over(values, 10, 90, margin=0.1)
    assert all(10 <= scale(value) <= 90 for value in values)
    ticks = scale.ticks()
    assert 1 <= len(ticks) <= 7
    assert all(
        scale.low - 1e-6 * abs(scale.low) <= tick <= scale.high + 1e-6 * abs(scale.high)
        for tick in ticks
    )


def test_bars_start_at_zero() -> None:
    drawing = bars({"a": 1.0, "b": -1.0, "c": 0.5}, name="path", unit="score", marked=["c"])
    assert re.findall(r"left:([\d.]+)%;width:([\d.]+)%", drawing) == [
        ("50.0", "50.0"),
        ("0.0", "50.0"),
        ("50.0", "25.0"),
    ]
    assert re.findall(r'class="marked"><th scope="row">(\w)', drawing) == ["c"]
    assert re.findall(r"<td>([^<]+)</td></tr>", drawing) == ["1", "−1", "0.5"]


def test_lines_pass_through_their_values() -> None:
    drawing = lines({"r": [0.0, 1.0, -1.0]}, x="place", y="r", marked={1: "here"})
    points = re.search(r'points="([^"]+)"', drawing)
    assert points is not None
    (x0, y0), (x1, y1), (x2, y2) = (
        tuple(map(float, point.split(","))) for point in points[1].split()
    )
    assert x0 < x1 < x2
    assert y1 < y0 < y2, "up is more"
    assert (y1 + y2) / 2 == pytest.approx(y0, abs=0.02)
    assert f'<circle class="mark" cx="{x1}" cy="{y1}"' in drawing


def test_ranges_reach_from_low_to_high() -> None:
    drawing = ranges({"0": (0.0, 0.5), "1": (0.5, 1.0)}, x="degree", y="attention")
    bounds = [
        (float(y), float(y) + float(height))
        for y, height in re.findall(r'width="14" y="([\d.]+)" height="([\d.]+)"', drawing)
    ]
    assert bounds[0][0] == pytest.approx(bounds[1][1])
    assert "0 0 to 0.5, 1 0.5 to 1" in drawing


def test_a_histogram_counts_every_draw() -> None:
    drawing = histogram([0.0] * 3 + [1.0], {"ours": 2.0}, x="score", bins=4)
    heights = [
        float(height) for height in re.findall(r'class="range"[^>]* height="([\d.]+)"', drawing)
    ]
    assert heights[0] == pytest.approx(3 * heights[1], abs=0.1)
    assert "ours 2" in drawing


def test_text_from_outside_is_text() -> None:
    bad = "<script>alert(1)</script>"
    drawings = [
        heatmap([[1.0]], rows=Axis(bad, [bad]), columns=Axis(bad), unit=bad),
        bars({bad: 1.0}, name=bad, unit=bad),
        table([bad], [[bad]]),
        lines({bad: [1.0, 2.0]}, x=bad, y=bad, marked={0: bad}),
        ranges({bad: (0.0, 1.0)}, x=bad, y=bad),
        histogram([1.0, 2.0], {bad: 1.0}, x=bad),
        measurement_axis(bad, measured(1.0), {bad: trial_of(m=1.0)}, key="m"),
    ]
    assert not any("<script" in drawing for drawing in drawings)


# the axis of a measurement


def places(drawing: str, pattern: str) -> list[float]:
    return [float(place) for place in re.findall(pattern, drawing)]


def test_an_axis_has_value_interval_bound_and_controls_in_order() -> None:
    trials = {"fresh weights": trial_of(m=0.1), "other": trial_of()}
    drawing = measurement_axis("m", measured(0.8, low=0.7, high=0.9), trials, key="m")
    (value,) = places(drawing, r'circle class="value" cx="([\d.]+)"')
    ((low, high),) = re.findall(r'class="interval" d="M([\d.]+) \d+H([\d.]+)', drawing)
    (bound,) = places(drawing, r'class="bound" x1="([\d.]+)"')
    (control,) = places(drawing, r'class="control" d="M([\d.]+)')
    assert control < bound < float(low) < value < float(high)
    ((start, width),) = re.findall(r'class="allowed" x="([\d.]+)" width="([\d.]+)"', drawing)
    assert float(start) == bound
    assert float(start) + float(width) == 340, "all above the bound is allowed"
    assert "fresh weights: 0.1" in drawing
    assert 'aria-label="m: 0.8 [0.7, 0.9], must be ≥ 0.5; 1 control"' in drawing


def test_what_misses_its_bound_has_another_shape() -> None:
    drawing = measurement_axis("m", measured(0.2, outcome="refuted"), {}, key="m")
    assert 'class="value missed"' in drawing
    assert "<circle" not in drawing


def test_a_control_far_beyond_stands_at_the_edge() -> None:
    drawing = measurement_axis(
        "m",
        measured(0.8),
        {"far": trial_of(m=1e9), "near": trial_of(m=0.4)},
        key="m",
    )
    assert re.findall(r'class="control" d="(M322.0 35l5 3l-5 3|M[\d.]+ 34v8)"', drawing)
    assert drawing.count('class="control"') == 2
    assert max(places(drawing, r'<text x="([\d.]+)"')) <= 340


@pytest.mark.parametrize(("changes", "expected"), [({}, True), ({"at_least": None}, False)])
def test_only_bounded_numbers_have_an_axis(changes: dict[str, None], expected: bool) -> None:
    assert has_axis(measured(0.8, **changes)) is expected
    assert not has_axis(measured({"a": 1.0}))
