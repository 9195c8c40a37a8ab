"""The circuit as a drawing: components from the input up, and the paths into the pointer by what
each is worth."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from markupsafe import Markup

from circuits.coalitions import notebook_players
from circuits.components import path_names
from circuits.subject import Subject
from verdicts.drawing import short
from verdicts.schema import ClaimResult

_PATHS = {
    "reader": (
        "reader_q_composes_with_pointer",
        "reader_has_the_top_q_composition",
        "reader_query_meets_position_key",
    ),
    "embed->q": (
        "embed_and_helper_heads_also_q_compose",
        "embed_position_and_reader_make_the_query",
    ),
    "embed->k": ("key_paths_alone_do_not_reproduce_the_pattern",),
    "pos_embed->k": (
        "position_embedding_of_the_target_moves_the_column",
        "target_position_makes_the_key",
        "target_key_stands_out",
    ),
    "helper": ("embed_and_helper_heads_also_q_compose",),
    "embed->reader": (
        "degree_enters_through_the_query",
        "every_neighbour_adds_the_same_query_vector",
    ),
    "pos_embed->reader": (
        "position_subtracts_two_neighbours",
        "anchor_positions_enter_through_the_key",
    ),
}
_WIDTH, _HEIGHT = 340, 452
_INPUT, _FIRST, _MLP, _STREAM, _LAST, _LAST_MLP, _ANSWER = 420, 338, 262, 212, 120, 66, 22
_WIDEST = 13.0


def circuit_diagram(subject: Subject, claims: Mapping[str, ClaimResult]) -> Markup:
    """The drawing; the weights are the Shapley values of the record, which add up to what all paths
    together reproduce.

    A link carries in `data-claims` the claims about its node or path.
    """
    shapley = _shapley(claims)
    heads = subject.model.cfg.n_heads
    found = subject.roles.found
    reader, pointer = found.get("reader"), found.get("pointer")
    first = pointer.layer if pointer else subject.model.cfg.n_layers - 1
    pointer_x = _head_x(pointer.index, heads) if pointer else _WIDTH / 2
    about = claims_by_part(claims)
    parts = [*_paths(shapley, heads, str(reader), pointer_x if pointer else None)]
    if reader:
        reader_x = _head_x(reader.index, heads)
        for source, x, shift in (("embed->reader", 85, -4), ("pos_embed->reader", 255, 4)):
            parts.append(
                _link(
                    _PATHS[source],
                    f"{source.partition('->')[0]} to the reader",
                    _curve(x, _INPUT - 12, reader_x + shift, _FIRST + 13, 1.5),
                )
            )
    parts += [
        _box("Embed", 20, _INPUT - 12, 130, "Embed: neighbours", about.get("Embed", ())),
        _box("PosEmbed", 190, _INPUT - 12, 130, "PosEmbed: position", about.get("PosEmbed", ())),
        *_row(0, heads, {str(reader): "reader"} if reader else {}, about, _FIRST),
        (
            _box("MLP 0", 20, _MLP - 10, 300, "MLP of layer 0", about.get("first MLP", ()))
            if not subject.model.cfg.attn_only
            else Markup("")
        ),
        _box(
            "residual",
            20,
            _STREAM - 10,
            300,
            (
                f"residual stream, dimension {found['dimension']}"
                if "dimension" in found
                else "residual stream"
            ),
            about.get("dimension", ()),
        ),
        *_row(first, heads, {str(pointer): "pointer"} if pointer else {}, about, _LAST),
        (
            _box("last MLP", 20, _LAST_MLP - 10, 300, "last MLP", about.get("last MLP", ()))
            if not subject.model.cfg.attn_only
            else Markup("")
        ),
        _box("answer", 95, _ANSWER - 12, 150, "planar or not", about.get("whole model", ())),
        Markup('<path class="thin" d="M170 {}V{}M170 {}V{}"/>').format(
            _LAST - 13, _LAST_MLP + 14, _LAST_MLP - 10, _ANSWER + 12
        ),
    ]
    return Markup(
        '<svg class="circuit" viewBox="-32 0 {} {}" role="group" aria-label="the circuit">{}</svg>'
    ).format(_WIDTH + 40, _HEIGHT, Markup("").join(parts))


def _shapley(claims: Mapping[str, ClaimResult]) -> Mapping[str, float]:
    claim = claims.get("embed_and_helper_heads_also_q_compose")
    found = claim.measurements.get("shapley") if claim else None
    return found.value if found and isinstance(found.value, dict) else {}


def path_weights(claims: Mapping[str, ClaimResult], n_heads: int) -> dict[str, float] | None:
    """Shapley value of each path into the pointer, as the record has them, in the order of the
    players; `None` where it has none."""
    shapley = _shapley(claims)
    return {player: shapley[player] for player in notebook_players(n_heads)} if shapley else None


def _head_x(index: int, heads: int) -> float:
    return 20 + 300 * (index + 0.5) / heads


def _paths(
    shapley: Mapping[str, float], heads: int, reader: str, pointer_x: float | None
) -> Iterator[Markup]:
    """Paths into the pointer's query (left of it) and key (right); width is weight, dashes where it
    is negative."""
    if pointer_x is None:
        return
    top = max([abs(value) for value in shapley.values()], default=1.0) or 1.0
    query, key = pointer_x - 7, pointer_x + 7
    for name in path_names(heads):
        weight = shapley.get(f"{name}->q")
        about = _PATHS["reader" if name == reader else "embed->q" if name == "embed" else "helper"]
        if name == "embed":
            start = _Start(20, _INPUT + 6, beside=-12)
        else:
            start = _Start(_head_x(int(name.partition(".")[2]), heads), _FIRST - 13)
        yield _weighted(about, f"{name} into the query", start, query, weight, top, "into-query")
    yield _weighted(
        _PATHS["embed->k"],
        "embed into the key",
        _Start(20, _INPUT - 6, beside=6),
        key,
        shapley.get("embed->k"),
        top,
        "into-key",
    )
    yield _link(
        _PATHS["pos_embed->k"],
        "pos_embed into the key, the same on every graph",
        _Start(320, _INPUT, beside=334).curve(key, 1.5, "into-key fixed"),
    )


@dataclasses.dataclass(frozen=True)
class _Start:
    """Where a path into the pointer begins; one that begins below the heads passes `beside` them,
    so that it cannot be taken for one of theirs."""

    x: float
    y: float
    beside: float | None = None

    @property
    def label(self) -> tuple[float, float]:
        """Where its weight is written."""
        if self.beside is None:
            return round(self.x, 1), self.y - 4
        return self.beside, _FIRST - 12 if self.beside < 0 else _FIRST + 36

    def curve(self, end_x: float, width: float, kind: str) -> Markup:
        """The band up to the pointer."""
        end_y = _LAST + 13
        if self.beside is None:
            return _curve(self.x, self.y, end_x, end_y, width, kind)
        turn, middle = _FIRST + 40, (_FIRST + end_y) / 2
        path = Markup(
            '<path class="flow {}" stroke-width="{}"'
            ' d="M{x} {y}C{side} {y} {side} {y} {side} {turn}L{side} {past}'
            'C{side} {middle} {end} {middle} {end} {end_y}"/>'
        )
        return path.format(
            kind,
            round(width, 2),
            x=self.x,
            y=self.y,
            turn=turn,
            side=self.beside,
            past=_FIRST - 20,
            middle=middle,
            end=round(end_x, 1),
            end_y=end_y,
        )


def _weighted(
    about: tuple[str, ...],
    title: str,
    start: _Start,
    end_x: float,
    weight: float | None,
    top: float,
    side: str,
) -> Markup:
    if weight is None:
        return _link(about, title, start.curve(end_x, 1.0, side))
    width = max(_WIDEST * abs(weight) / top, 0.7)
    label = Markup('<text class="weight" x="{}" y="{}" text-anchor="middle">{}</text>').format(
        *start.label, short(round(weight, 2))
    )
    return _link(
        about,
        f"{title}: {short(round(weight, 4))}",
        start.curve(end_x, width, side) + label,
    )


def _curve(x: float, y: float, end_x: float, end_y: float, width: float, kind: str = "") -> Markup:
    middle = (y + end_y) / 2
    return Markup('<path class="flow {}" stroke-width="{}" d="M{} {}C{} {} {} {} {} {}"/>').format(
        kind,
        round(width, 2),
        round(x, 1),
        y,
        round(x, 1),
        middle,
        round(end_x, 1),
        middle,
        round(end_x, 1),
        end_y,
    )


def _link(about: tuple[str, ...], title: str, body: Markup) -> Markup:
    """A drawing that leads to the claims about it, or nowhere if there are none in the record."""
    if not about:
        return Markup("<g>{}<title>{}</title></g>").format(body, title)
    return Markup(
        '<a href="#claim-{}" data-claims="{}" aria-label="{}; claims about'
        ' it">{}<title>{}</title></a>'
    ).format(about[0], " ".join(about), title, body, title)


def _box(name: str, x: float, y: float, width: float, label: str, about: tuple[str, ...]) -> Markup:
    return _link(
        about,
        name,
        Markup(
            '<rect class="node" x="{}" y="{}" width="{}" height="24" rx="5"/><text x="{}" y="{}"'
            ' text-anchor="middle">{}</text>'
        ).format(x, y, width, x + width / 2, y + 16, label),
    )


def claims_by_part(claims: Mapping[str, ClaimResult]) -> dict[str, tuple[str, ...]]:
    """The claims of a record that say of each part that they are about it."""
    found: dict[str, tuple[str, ...]] = {}
    for id_, claim in claims.items():
        for part in claim.parts or ():
            found[part] = (*found.get(part, ()), id_)
    return found


def _row(
    layer: int,
    heads: int,
    roles: Mapping[str, str],
    about: Mapping[str, tuple[str, ...]],
    y: float,
) -> Iterator[Markup]:
    """The heads of one layer; one with a role stands out and says which."""
    width = min(300 / heads - 4, 34)
    for index in range(heads):
        x = _head_x(index, heads)
        name = f"{layer}.{index}"
        role = roles.get(name, "")
        text = (
            Markup('<text class="weight" x="{}" y="{}" text-anchor="middle">{}</text>').format(
                round(x, 1), y + 26, role
            )
            if role
            else ""
        )
        body = Markup(
            '<rect class="node {}" x="{}" y="{}" width="{}" height="26" rx="5"/><text x="{}" y="{}"'
            ' text-anchor="middle">{}</text>{}'
        ).format(
            "role" if role else "",
            round(x - width / 2, 1),
            y - 13,
            round(width, 1),
            round(x, 1),
            y + 4,
            name,
            text,
        )
        yield _link(
            about.get(role or "other heads", ()),
            f"head {name}{', the ' + role if role else ''}",
            body,
        )
