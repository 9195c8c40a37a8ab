"""nauty's programs: every graph up to isomorphism, which are planar, and their symmetries."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("geng", "planarg", "countg", "labelg")


@dataclasses.dataclass(frozen=True)
class Nauty:
    """nauty in a directory, or on the `PATH`; under Debian its programs are called `nauty-geng` and
    so on. Graphs go in and out as lines of graph6."""

    directory: Path | None = None

    def require(self) -> None:
        """`ValueError` where one of its programs is not there."""
        for name in PROGRAMS:
            self._program(name)

    def _program(self, name: str) -> str:
        path = None if self.directory is None else str(self.directory)
        for candidate in (f"nauty-{name}", name):
            if found := shutil.which(candidate, path=path):
                return found
        place = "on the PATH" if self.directory is None else f"in --nauty={self.directory}"
        raise ValueError(
            f"nauty's {name} is not {place}: install Debian's package nauty, or say with"
            " --nauty=DIR where it is"
        )

    def version(self) -> str:
        """As geng says it."""
        return self._run("geng", "--version").decode().strip()

    def graphs(
        self, n_vertices: int, n_edges: int, *, part: int, parts: int, at_a_time: int
    ) -> Iterator[bytes]:
        """One part of all graphs with so many vertices and edges, one of each isomorphism class, so
        many at a time; the parts together are all of them, and always the same."""
        command = [
            self._program("geng"),
            "-q",
            str(n_vertices),
            f"{n_edges}:{n_edges}",
            f"{part}/{parts}",
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            try:
                while lines := b"".join(itertools.islice(process.stdout, at_a_time)):
                    yield lines
            finally:
                process.kill()  # where nobody wants the rest

    def planar(self, lines: bytes) -> bytes:
        """Those of the graphs that are planar, in their order."""
        return self._run("planarg", "-q", lines=lines)

    def group_sizes(self, lines: bytes) -> list[int]:
        """How many automorphisms each graph has."""
        found = self._run("countg", "-V", "--a", "-2q", lines=lines).splitlines()
        return [int(float(line.rpartition(b":")[2])) for line in found]

    def canonical(self, lines: bytes) -> list[bytes]:
        """Each graph in the labelling that all graphs isomorphic to it share."""
        return self._run("labelg", "-qg", lines=lines).splitlines()

    def _run(self, name: str, *options: str, lines: bytes = b"") -> bytes:
        done = subprocess.run(
            [self._program(name), *options], input=lines, capture_output=True, check=False
        )
        if done.returncode:
            said = " ".join(done.stderr.decode(errors="replace").split())[:200]
            raise ValueError(f"nauty's {name} failed: {said}")
        return done.stdout
