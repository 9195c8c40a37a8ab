"""Broken and hostile files from outside: each is refused in one sentence that names it, soon, in
little memory, and nothing in it is run.

A change that leaves every weight as it was (a byte of padding, say) may pass; nothing else may.
"""

from __future__ import annotations

import io
import json
import math
import pickle
import random
import resource
import struct
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load, save

from circuits.roles import write_roles
from circuits.subject import Subject, load_subject
from models.checkpoint import content_hash, load_checkpoint, save_checkpoint
from models.graphs import GraphSet, load_validation_set, validation_set
from tests import planted
from tests.models.test_checkpoint import SETTINGS
from tests.planted import planted_model
from tests.toy import CLAIMS, facts, project, run
from verdicts.record import read_record

pytest_plugins = ["pytester"]
__all__ = ["project"]

SECONDS = 60.0  # of computing, not of waiting for a processor; each takes some milliseconds
MEBIBYTES = 400  # more than before, at the peak
ABSURD = [0, -1, 10**9, 10**30, 1.5, "8", None, True, [8], {}, float("1e400")]
Chance = random.Random
Damage = Callable[[bytes, Chance], bytes]


def refused(read: Callable[[], Any], path: Path) -> str | None:
    """The sentence with which a file is refused; `None` where it is read."""
    before, started = peak(), time.process_time()
    try:
        read()
        sentence = None
    except ValueError as error:
        sentence = str(error)
        assert len(sentence) < 1000, sentence[:1000]
        assert "\n" not in sentence, sentence
        assert str(path) in sentence, sentence
    assert time.process_time() - started < SECONDS
    assert peak() - before < MEBIBYTES * 2**20
    return sentence


def peak() -> int:
    """Bytes of memory that this process has had at most."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def flip(content: bytes, chance: Chance) -> bytes:
    """Some bytes replaced, anywhere or near the start, where formats keep what they believe."""
    changed = bytearray(content)
    end = len(content) if chance.random() < 0.5 else min(len(content), 200)
    for _ in range(chance.choice([1, 1, 2, 8, 64])):
        changed[chance.randrange(end)] = chance.randrange(256)
    return bytes(changed)


def cut(content: bytes, chance: Chance) -> bytes:
    return content[: chance.randrange(len(content))]


def extended(content: bytes, chance: Chance) -> bytes:
    return content + chance.randbytes(chance.choice([1, 100, 10_000]))


def without_a_part(content: bytes, chance: Chance) -> bytes:
    start = chance.randrange(len(content))
    return content[:start] + content[start + chance.randrange(1, 200) :]


def noise(content: bytes, chance: Chance) -> bytes:
    return chance.randbytes(chance.choice([0, 1, 8, 1000]))


def header_of_absurd_length(content: bytes, chance: Chance) -> bytes:
    return struct.pack("<Q", chance.choice([0, 2**20, 2**40, 2**63, 2**64 - 1])) + content[8:]


BYTES: list[Damage] = [flip, flip, cut, extended, without_a_part, noise]


def damaged_tensors(tensors: dict[str, torch.Tensor], chance: Chance) -> dict[str, torch.Tensor]:
    """A state dict with one tensor missing, renamed, transposed, of another dtype, with NaN or
    infinity, or too large."""
    name = chance.choice(sorted(tensors))
    tensor = tensors.pop(name)
    kind = chance.choice(
        [
            "missing",
            "renamed",
            "transposed",
            "dtype",
            "nan",
            "infinite",
            "longer",
            "more axes",
            "empty",
        ]
    )
    if kind == "renamed":
        tensors[
            chance.choice(
                [name + "x", name[1:], name.upper(), "", "blocks.9999.attn.W_Q", "../" + name]
            )
        ] = tensor
    elif kind == "transposed":
        tensors[name] = (
            tensor.mT.contiguous()
            if tensor.ndim > 1 and tensor.shape[-1] != tensor.shape[-2]
            else tensor[None]
        )
    elif kind == "dtype":
        tensors[name] = tensor.to(
            chance.choice([torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.float64])
        )
    elif kind in ("nan", "infinite"):
        tensors[name] = tensor.clone()
        tensors[name].view(-1)[chance.randrange(tensor.numel())] = (
            math.nan if kind == "nan" else -math.inf
        )
    elif kind == "longer":
        tensors[name] = torch.cat([tensor, tensor])
    elif kind == "more axes":
        tensors[name] = tensor.reshape(1, *tensor.shape)
    elif kind == "empty":
        tensors[name] = tensor[:0]
    return tensors


def absurd(values: Any, chance: Chance) -> Any:
    """A JSON value with one part of it, however deep, replaced, removed or added."""
    if not isinstance(values, (dict, list)) or not values or chance.random() < 0.2:
        return chance.choice([*ABSURD, "x" * 100_000, [[[]] * 300] * 300, -(2**70)])
    if isinstance(values, list):
        index = chance.randrange(len(values))
        return [*values[:index], absurd(values[index], chance), *values[index + 1 :]]
    key = chance.choice(sorted(values))
    how = chance.random()
    if how < 0.15:
        return {k: v for k, v in values.items() if k != key}
    if how < 0.25:
        return {**values, chance.choice(["extra", "", "__class__"]): 1}
    return {**values, key: absurd(values[key], chance)}


def deep(_: bytes, chance: Chance) -> bytes:
    return b"[" * chance.choice([1_000, 10_000, 100_000])


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graphs") / "val.npz"
    few = validation_set(count=24)
    np.savez_compressed(
        path, data=few.adjacency.numpy().astype(np.uint8), labels=few.labels.numpy()
    )
    return path


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    content_hash = save_checkpoint(
        tmp_path / "saved",
        planted_model(),
        recipe={"seed": 3, "train": {"epochs": 2}},
        metrics={"accuracy": 0.5},
    )
    write_roles(tmp_path / "saved" / "roles.json", planted.ROLES, content_hash=content_hash)
    return tmp_path / "saved"


@pytest.fixture
def author(tmp_path: Path) -> Path:
    cfg = planted.CONFIG
    settings = {
        **SETTINGS,
        "d_model": cfg.d_model,
        "d_head": cfg.d_head,
        "n_heads": cfg.n_heads,
        "n_layers": cfg.n_layers,
    }
    model = {
        name: t if ".mlp." not in name else _wide(name, t, 4 * cfg.d_model)
        for name, t in planted_model().state_dict().items()
    }
    torch.save(model, tmp_path / "author.pt")
    (tmp_path / "author.yaml").write_text(yaml.safe_dump(settings))
    load_checkpoint(tmp_path / "author.pt")
    return tmp_path / "author.pt"


def _wide(name: str, tensor: torch.Tensor, width: int) -> torch.Tensor:
    """An MLP of four times the residual stream, as the author's file implies."""
    shape = {
        "W_in": (tensor.shape[0], width),
        "b_in": (width,),
        "W_out": (width, tensor.shape[-1]),
        "b_out": tensor.shape,
    }
    return torch.zeros(*shape[name.rpartition(".")[2]])


def hundreds(seed: int, count: int = 100) -> list[Chance]:
    return [random.Random(f"{seed}/{index}") for index in range(count)]


SEEDS = pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
"""A hundred files each."""


def judged_or_refused(
    path: Path, graphs: Path, original: str, *, named: Path | None = None
) -> bool:
    """Whether it was refused; else it must be the very weights."""
    found: list[Subject] = []
    sentence = refused(lambda: found.append(load_subject(path, validation=graphs)), named or path)
    if sentence is None:
        assert found[0].content_hash == original
    return sentence is not None


@SEEDS
def test_two_hundred_damaged_safetensors(seed: int, checkpoint: Path, graphs: Path) -> None:
    file = checkpoint / "model.safetensors"
    whole, original = file.read_bytes(), load_checkpoint(checkpoint).content_hash
    refusals = 0
    for chance in hundreds(seed):
        file.write_bytes(chance.choice([*BYTES, header_of_absurd_length])(whole, chance))
        refusals += judged_or_refused(checkpoint, graphs, original)
    assert refusals > 90  # now and then a byte is replaced by itself


@SEEDS
def test_two_hundred_damaged_tensors(seed: int, checkpoint: Path, graphs: Path) -> None:
    """With a hash that fits them, so that it is not the hash that is refused."""
    file, config = (
        checkpoint / "model.safetensors",
        json.loads((checkpoint / "config.json").read_text()),
    )
    whole, original = file.read_bytes(), load_checkpoint(checkpoint).content_hash
    for chance in hundreds(seed):
        tensors = damaged_tensors(load(whole), chance)
        file.write_bytes(save(tensors))
        changed = {**config, "content_hash": content_hash(tensors)}
        (checkpoint / "config.json").write_text(json.dumps(changed))
        assert judged_or_refused(checkpoint, graphs, original)
        bare = checkpoint / "bare.safetensors"
        bare.write_bytes(save(tensors))
        assert judged_or_refused(bare, graphs, original)


@SEEDS
def test_two_hundred_damaged_configs(seed: int, checkpoint: Path, graphs: Path) -> None:
    file, original = checkpoint / "config.json", load_checkpoint(checkpoint).content_hash
    whole = file.read_bytes()
    for index, chance in enumerate(hundreds(seed)):
        if index % 2:
            file.write_text(json.dumps(absurd(json.loads(whole), chance)))
        else:
            file.write_bytes(chance.choice([*BYTES, deep])(whole, chance))
        judged_or_refused(checkpoint, graphs, original)


@SEEDS
def test_two_hundred_damaged_files_of_the_author(
    seed: int, author: Path, graphs: Path, tmp_path: Path
) -> None:
    settings = author.with_suffix(".yaml")
    whole, said, original = (
        author.read_bytes(),
        settings.read_bytes(),
        load_checkpoint(author).content_hash,
    )
    for index, chance in enumerate(hundreds(seed)):
        author.write_bytes(whole)
        settings.write_bytes(said)
        if index % 4 == 0:
            settings.write_text(yaml.safe_dump(absurd(yaml.safe_load(said), chance)))
        elif index % 4 == 1:
            settings.write_bytes(chance.choice([*BYTES, deep])(said, chance))
        elif index % 4 == 2:
            torch.save(
                damaged_tensors(torch.load(io.BytesIO(whole), weights_only=True), chance), author
            )
        else:
            author.write_bytes(chance.choice(BYTES)(whole, chance))
        judged_or_refused(author, graphs, original, named=tmp_path)


@SEEDS
def test_a_hundred_hostile_pickles_are_never_run(
    seed: int, author: Path, graphs: Path, tmp_path: Path
) -> None:
    whole, owned = author.read_bytes(), tmp_path / "owned"
    for chance in hundreds(seed):
        state: Any = torch.load(io.BytesIO(whole), weights_only=True)
        name, hostile = chance.choice(sorted(state)), Hostile(owned)
        value = chance.choice(
            [
                {**state, name: hostile},
                {**state, "extra": hostile},
                hostile,
                [hostile],
                {hostile.path: state},
            ]
        )
        form = chance.choice(["torch", "legacy", "bare", "protocol 4", "in a zip"])
        if form in ("torch", "legacy"):
            torch.save(value, author, _use_new_zipfile_serialization=form == "torch")
        elif form == "in a zip":
            with zipfile.ZipFile(author, "w") as archive:
                archive.writestr("archive/data.pkl", pickle.dumps(value))
                archive.writestr("archive/version", "3\n")
        else:
            author.write_bytes(pickle.dumps(value, protocol=4 if form == "protocol 4" else None))
        assert judged_or_refused(author, graphs, "")
        assert not owned.exists()


@pytest.mark.parametrize("declared", [2**31, 2**40, 1])
@pytest.mark.parametrize("name", ["author.pt", "val.npz"])
def test_archives_that_say_or_hide_how_much_they_unpack_to(
    name: str, declared: int, author: Path, graphs: Path, tmp_path: Path
) -> None:
    path = tmp_path / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in ("archive/data.pkl", "archive/version", "data.npy", "labels.npy"):
            archive.writestr(entry, bytes(2**22))
            archive.filelist[-1].file_size = declared
    read = {
        "author.pt": lambda: load_subject(path, validation=graphs),
        "val.npz": lambda: load_validation_set(path, n_vertices=10),
    }[name]
    sentence = str(refused(read, path))
    assert ("allowed" in sentence) == (declared > 1), sentence


def test_a_list_of_billions_in_few_bytes_is_refused(author: Path, graphs: Path) -> None:
    settings = author.with_suffix(".yaml")
    aliases = "".join(
        f"a{depth}: &a{depth} [{', '.join([f'*a{depth - 1}'] * 9)}]\n" for depth in range(1, 40)
    )
    settings.write_text(
        "a0: &a0 x\n" + aliases + settings.read_text().replace("n_heads: 2", "n_heads: *a39")
    )
    assert refused(lambda: load_subject(author, validation=graphs), settings)
    settings.write_text(settings.read_text().partition("attn_only")[0] + "n_heads: 2\n")
    assert refused(lambda: load_subject(author, validation=graphs), settings)


@pytest.mark.parametrize("name", ["config.json", "roles.json"])
def test_files_of_settings_that_are_far_too_long_are_not_read(
    name: str, checkpoint: Path, graphs: Path
) -> None:
    with (checkpoint / name).open("ab") as file:
        file.truncate(2**40)  # a file of nothing, which takes no room
    assert "allowed" in str(
        refused(lambda: load_subject(checkpoint, validation=graphs), checkpoint)
    )


def test_two_hundred_damaged_validation_sets(tmp_path: Path, graphs: Path) -> None:
    path, whole = tmp_path / "val.npz", graphs.read_bytes()
    original = load_validation_set(graphs, n_vertices=10).content_hash
    for index, chance in enumerate(hundreds(0, 200)):
        if index % 2:
            _spoil_arrays(path, dict(np.load(io.BytesIO(whole))), chance)
        else:
            path.write_bytes(chance.choice(BYTES)(whole, chance))
        found: list[GraphSet] = []
        if (
            refused(
                lambda found=found: found.append(load_validation_set(path, n_vertices=10)), path
            )
            is None
        ):  # type: ignore[misc]
            assert found[0].content_hash == original


def _spoil_arrays(path: Path, arrays: dict[str, Any], chance: Chance) -> None:
    data, labels = arrays["data"], arrays["labels"]
    graph, i, j = chance.randrange(24), chance.randrange(9), 9
    kind = chance.choice(
        ["edge", "label", "shape", "dtype", "missing", "objects", "huge", "empty", "nan", "header"]
    )
    if kind == "edge":
        data[graph, i, j] ^= 1
    elif kind == "label":
        labels[graph] ^= chance.choice([1, 2])
    elif kind == "shape":
        arrays["data"] = chance.choice(
            [data[:, :9, :9], data[:20], data[0], data[..., None], data[:, :9]]
        )
    elif kind == "dtype":
        arrays["data"] = data.astype(chance.choice(["complex128", "U1", "S1", "datetime64[s]"]))
    elif kind == "missing":
        del arrays[chance.choice(["data", "labels"])]
    elif kind == "objects":
        arrays["labels"] = np.array([Hostile(path.with_name("owned"))] * 24, dtype=object)
    elif kind == "huge":
        arrays["labels"] = np.zeros(chance.choice([23, 10**6]), dtype=np.int64)
    elif kind == "empty":
        arrays["data"], arrays["labels"] = data[:0], labels[:0]
    elif kind == "nan":
        arrays["data"] = np.where(np.arange(24)[:, None, None] == graph, np.nan, data)
    np.savez_compressed(path, **arrays)
    if kind == "header":  # of an array larger than the file
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header,
            {
                "descr": "|u1",
                "fortran_order": False,
                "shape": (chance.choice([10**5, 10**12]), 10, 10),
            },
        )
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("data.npy", header.getvalue() + bytes(1000))
            archive.writestr("labels.npy", header.getvalue() + bytes(1000))


def test_two_hundred_damaged_roles(checkpoint: Path, graphs: Path) -> None:
    path = checkpoint / "roles.json"
    whole, original = path.read_bytes(), load_checkpoint(checkpoint).content_hash
    for index, chance in enumerate(hundreds(0, 200)):
        if index % 2:
            path.write_text(json.dumps(absurd(json.loads(whole), chance)))
        else:
            path.write_bytes(chance.choice([*BYTES, deep])(whole, chance))
        judged_or_refused(checkpoint, graphs, original)


def test_a_damaged_registry_does_not_hide_behind_a_traceback(
    checkpoint: Path, graphs: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "registry" / "one" / "roles.json"
    broken.parent.mkdir(parents=True)
    for text in ("{", "[]", "null", '{"content_hash": 3}'):
        broken.write_text(text)
        sentence = refused(
            lambda: load_subject(
                checkpoint / "model.safetensors", validation=graphs, registry=tmp_path / "registry"
            ),
            tmp_path,
        )
        assert sentence is None or str(broken) in sentence


def test_two_hundred_damaged_ledgers_and_baselines(
    project: pytest.Pytester, tmp_path: Path
) -> None:
    """The same reader for both, and for records; which exit code they end with is the next test."""
    project.makepyfile(test_claims=CLAIMS)
    facts(project)
    run(project, "--claims-accept")
    path, whole = tmp_path / "ledger.json", (project.path / "toy.verdicts.json").read_bytes()
    for index, chance in enumerate(hundreds(0, 200)):
        if index % 2:
            path.write_text(json.dumps(absurd(json.loads(whole), chance)))
        else:
            path.write_bytes(chance.choice([*BYTES, deep])(whole, chance))
        refused(lambda: read_record(path), path)
    with path.open("ab") as file:
        file.truncate(2**40)
    assert "allowed" in str(refused(lambda: read_record(path), path))
