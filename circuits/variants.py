"""Everything that a run with controls or gauges needs of a subject, in one place."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch

from circuits.controls import CONTROLS, Control, other_heads
from circuits.gauge import GAUGES, under_gauge
from circuits.subject import Subject

CONTROL_PART, GAUGE_PART = (
    4,
    16,
)  # every so many graphs: a control breaks a claim on fewer, and a gauge is exact on any
# graphs of a part, if there are as many: there must be some of each kind, and a quarter of them to
# resample
FEWEST = 64


@dataclasses.dataclass(frozen=True)
class Variants:
    """Broken and equivalent copies of subjects."""

    controls: tuple[Control, ...] = CONTROLS
    gauges: tuple[str, ...] = tuple(GAUGES)

    def for_controls(self, subject: Subject) -> Subject:
        """A quarter of the graphs, or more of a small set, searches off."""
        return subject.every(_step(subject, CONTROL_PART))

    def for_gauges(self, subject: Subject) -> Subject:
        """A sixteenth of the graphs, or more of a small set, in double precision, where what
        differs is not rounding; and of those that claims draw themselves."""
        part = subject.every(_step(subject, GAUGE_PART), dtype=torch.float64)
        return dataclasses.replace(part, drawn_step=GAUGE_PART)

    def under_gauge(self, subject: Subject, gauge: str) -> Subject:
        """The subject with its weights changed and its function not."""
        return under_gauge(subject, gauge)

    def other_parts(self, subject: Subject, about: str) -> Mapping[str, Subject]:
        """The subject with each other head of the layer in the role that a claim is about."""
        return other_heads(subject, about)


def _step(subject: Subject, step: int) -> int:
    return max(1, min(step, len(subject.graphs) // FEWEST))
