"""What a run leaves for its page beside the record: all that the project draws, and its words."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Literal

import msgspec
from markupsafe import Markup
from msgspec.structs import replace

from verdicts.files import write_bytes
from verdicts.page import PageExtras, render_page
from verdicts.project import PLAIN, Project
from verdicts.record import MAX_BYTES, RecordError, read_whole_record
from verdicts.schema import Record
from verdicts.wording import short_hash


class Words(msgspec.Struct, frozen=True):
    """How a project speaks, as far as its page does."""

    subject: str
    data: str
    parts: tuple[str, ...]
    evidence: dict[str, str]
    cited: dict[str, str]
    """From each source of a claim or figure to the words that cite it."""
    contents: str = PLAIN.contents  # a bundle from before there was this word has the plain one

    def project(self) -> Project:
        """A project that speaks so, and knows of no other sources."""
        return Project(
            subject=self.subject,
            data=self.data,
            contents=self.contents,
            parts=self.parts,
            cite=lambda source: self.cited.get(source, source),
            evidence=self.evidence,
            must_count=frozenset(),
        )


class Bundle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the page of one subject shows beside its claims. It is markup: trust it as a page."""

    bundle_version: Literal[1]
    content_hash: str
    validation_set: str | None
    seed: int
    words: Words
    extras: PageExtras

    def with_its_subject_first(self, record: Record, *, source: Path) -> Record:
        """The record; `RecordError` where nothing in it is what was drawn."""
        subjects = sorted(record.subjects, key=lambda one: one.content_hash != self.content_hash)
        first, seed = subjects[0], record.run.seed
        if first.content_hash != self.content_hash:
            raise RecordError(
                f"{source}: was drawn of {short_hash(self.content_hash)}, and the record is of"
                f" {', '.join(one.name for one in subjects)}, {short_hash(first.content_hash)}"
            )
        data = first.validation_set or None
        if (data, seed) != (self.validation_set, self.seed):
            raise RecordError(
                f"{source}: was drawn on the data {self.validation_set} with seed {self.seed}, and"
                f" the record is on {data} with seed {seed}"
            )
        return replace(record, subjects=tuple(subjects))


def write_bundle(path: Path, record: Record, extras: PageExtras, *, project: Project) -> None:
    """The bundle of the record's first subject, as compressed JSON; the same each time."""
    subject = record.subjects[0]
    sources = {claim.source for one in record.subjects for claim in one.claims}
    sources |= {figure.source for figure in extras.figures}
    bundle = Bundle(
        bundle_version=1,
        content_hash=subject.content_hash,
        validation_set=subject.validation_set or None,
        seed=record.run.seed,
        words=Words(
            subject=project.subject,
            data=project.data,
            contents=project.contents,
            parts=project.parts,
            evidence=dict(project.evidence),
            cited={source: project.cite(source) for source in sorted(sources)},
        ),
        extras=extras,
    )
    write_bytes(path, gzip.compress(msgspec.json.encode(bundle, enc_hook=str), mtime=0))


def read_bundle(path: Path) -> Bundle:
    """The bundle in a file; `RecordError` says where it is none."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(path.read_bytes())) as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ValueError(f"it holds more than the {MAX_BYTES} bytes allowed")
        return msgspec.json.decode(data, type=Bundle, dec_hook=_markup)
    except (OSError, EOFError, ValueError, RecursionError) as error:
        raise RecordError(f"{path}: not a readable bundle: {error}") from None


def _markup(kind: type, value: object) -> Markup:
    assert kind is Markup
    if not isinstance(value, str):
        raise TypeError(f"Expected `str`, got `{type(value).__name__}`")
    return Markup(value)


def page_of_record(
    path: Path, bundle: Path | None = None, *, project: Project = PLAIN, lacking: str = ""
) -> str:
    """The page of a record in a file. Nothing is measured: what is drawn, and the project's words,
    are the bundle's; without one the page has the claims alone and says that it is `lacking`."""
    record = read_whole_record(path)
    if bundle is None:
        return render_page(record, project=project, lacking=lacking)
    found = read_bundle(bundle)
    return render_page(
        found.with_its_subject_first(record, source=bundle),
        found.extras,
        project=found.words.project(),
    )
