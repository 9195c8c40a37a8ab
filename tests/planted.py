"""A transformer with weights written by hand, in which every measurement's answer is known."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from circuits.roles import Head, Roles
from circuits.subject import Subject
from models.config import ModelConfig
from models.graphs import validation_set
from models.transformer import Transformer

N = 10
CONFIG = ModelConfig(n_vertices=N, n_layers=2, n_heads=2, d_model=16, d_head=4, d_mlp=8)
DEGREE, POSITION = 0, 1  # residual dimensions: 0 holds degree, 1 … 10 the position as one-hot
READER, ANCHORS = Head(0, 1), (3, 6)
POINTER, TARGET = Head(1, 0), 2
SLOPE = 0.8  # score per neighbour at the anchors
SHARPNESS = 20.0  # of the pointer's cutoff, per neighbour
ROLES = Roles(
    {
        "reader": READER,
        "anchors": ANCHORS,
        "pointer": POINTER,
        "target": TARGET,
        "dimension": DEGREE,
    }
)


def planted_model(
    dtype: torch.dtype = torch.float32,
    *,
    cfg: ModelConfig = CONFIG,
    reader_head: Head = READER,
    pointer_head: Head = POINTER,
) -> Transformer:
    """Reader 0.1 scores SLOPE·(d − 2) at {3, 6} and 0 elsewhere; pointer 1.0 scores SHARPNESS·(2.5
    − d) at 2; all else is zero.

    W_E is a unit vector in dimension 0 for every row, so a vertex of degree d holds d there;
    nothing writes to the residual stream after that, so x₁ is the embedding. Other sizes and heads
    do as well.
    """
    model = Transformer(cfg).to(dtype)
    root, n = math.sqrt(cfg.d_head), cfg.n_vertices
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.W_E[:, DEGREE] = 1.0
        model.W_pos[:, POSITION : POSITION + n] = torch.eye(n)
        reader, pointer = model.attention(reader_head.layer), model.attention(pointer_head.layer)
        reader.W_Q[reader_head.index, DEGREE, 0] = 1.0
        reader.W_Q[reader_head.index, POSITION : POSITION + n, 0] = -2.0
        for anchor in ANCHORS:
            reader.W_K[reader_head.index, POSITION + anchor, 0] = SLOPE * root
        pointer.W_Q[pointer_head.index, DEGREE, 0] = -SHARPNESS
        pointer.b_Q[pointer_head.index, 0] = 2.5 * SHARPNESS
        pointer.W_K[pointer_head.index, POSITION + TARGET, 0] = root
    return model.requires_grad_(False).eval()


def planted_subject(model: Transformer | None = None, *, count: int = 240) -> Subject:
    """The planted model, or another in its place, with the planted roles on a small validation
    set."""
    graphs = validation_set(count=count)
    return Subject(
        "planted",
        "sha256:planted",
        model or planted_model(),
        ROLES,
        graphs,
        range(15, 21),
        0,
        Path("unused"),
    )


def anchor_attention(degree: float) -> float:
    """What the reader gives the two anchors together at that degree."""
    weight = 2 * math.exp(SLOPE * (degree - 2))
    return weight / (weight + N - 2)
