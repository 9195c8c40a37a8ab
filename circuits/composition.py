"""How strongly the output of one component can reach the input of another: products of weights
alone (notebook, unused §1.3, OV).

The score of two matrices is ‖A B‖_F / (‖A‖_F ‖B‖_F), from 0 to 1. Head biases are out; through the
MLP means f(y) = y + MLP₀(y) on the rows of A, with b_in and b_out.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens import FactoredMatrix

from circuits.residual import through_mlp
from circuits.roles import Head, require_layer_1
from models.config import ModelConfig
from models.transformer import Transformer

SIDES = ("Q", "K", "V")
_ROTATIONS_AT_A_TIME = 250
_NEGLIGIBLE = 1e-5  # of the largest singular value: below it is rounding in float32


def ov_circuit(model: Transformer, head: Head) -> FactoredMatrix:
    """W_V W_O of one head, [d_model, d_model] of rank d_head."""
    attention = model.attention(head.layer)
    return FactoredMatrix(attention.W_V[head.index], attention.W_O[head.index])


def full_ov_circuit(model: Transformer, head: Head) -> FactoredMatrix:
    """W_E W_V W_O W_U: what each neighbour adds to the logits by way of one head, [n_vertices,
    n_classes]."""
    return model.W_E @ ov_circuit(model, head) @ model.W_U


def qk_circuit(model: Transformer, head: Head) -> FactoredMatrix:
    """W_Q W_Kᵀ of one head, [d_model, d_model] of rank d_head."""
    attention = model.attention(head.layer)
    return FactoredMatrix(attention.W_Q[head.index], attention.W_K[head.index].mT)


def composition_score(
    output: Float[Tensor, "*out rows d_model"], reads: Float[Tensor, "*in d_model columns"]
) -> Float[Tensor, "*both"]:
    """‖output · reads‖_F over the product of their norms."""
    norm = torch.linalg.matrix_norm
    return norm(output @ reads) / (norm(output) * norm(reads))


def output_matrices(model: Transformer, *, mlp: bool) -> dict[str, Float[Tensor, "rows d_model"]]:
    """What Embed, PosEmbed and each head of layer 0 can write: W_E, W_pos and W_V W_O, through the
    MLP if so asked."""
    heads = {
        f"0.{index}": _product(ov_circuit(model, Head(0, index)))
        for index in range(model.cfg.n_heads)
    }
    written = {"embed": model.W_E, "pos_embed": model.W_pos, **heads}
    return {name: through_mlp(model, matrix) if mlp else matrix for name, matrix in written.items()}


def input_matrix(model: Transformer, head: Head, side: str) -> Float[Tensor, "d_model d_model"]:
    """What the query (`Q`), key (`K`) or value (`V`) side of a layer-1 head reads: W_Q W_Kᵀ, its
    transpose, W_V W_O."""
    require_layer_1(head)
    if side not in SIDES:
        raise ValueError(f"side must be one of {', '.join(SIDES)}, got {side!r}")
    if side == "V":
        return _product(ov_circuit(model, head))
    W_QK = _product(qk_circuit(model, head))
    return W_QK if side == "Q" else W_QK.mT


def _product(factored: FactoredMatrix) -> Float[Tensor, "rows columns"]:
    return factored.A @ factored.B


@torch.no_grad()
def composition_scores(
    model: Transformer, *, side: str, mlp: bool
) -> dict[str, Float[Tensor, " head"]]:
    """Score of Embed, PosEmbed and every head of layer 0 with every head of layer 1: the notebook's
    three tables."""
    reads = torch.stack(
        [input_matrix(model, Head(1, index), side) for index in range(model.cfg.n_heads)]
    )
    return {
        name: composition_score(output, reads)
        for name, output in output_matrices(model, mlp=mlp).items()
    }


@torch.no_grad()
def kaiming_composition_scores(
    cfg: ModelConfig, *, samples: int, generator: torch.Generator
) -> Float[Tensor, " sample"]:
    """The notebook's baseline: scores of pairs of products whose factors of these shapes are
    Kaiming-uniform, a = √5.

    It keeps the ranks and nothing else of the weights; `rotated_composition_scores` keeps both
    spectra.
    """
    factors = torch.empty(4, samples, cfg.d_model, cfg.d_head, dtype=torch.float64).uniform_(
        -1, 1, generator=generator
    )
    return composition_score(
        factors[0] @ factors[1].mT, factors[2] @ factors[3].mT
    )  # the factors' scale cancels


@torch.no_grad()
def rotated_composition_scores(
    output: Float[Tensor, "rows d_model"],
    reads: Float[Tensor, "d_model columns"],
    *,
    samples: int,
    generator: torch.Generator,
) -> Float[Tensor, " sample"]:
    """Scores of the same two matrices with a random rotation between them: the null that keeps both
    spectra.

    Only the singular values matter: between two bases of singular vectors a random rotation is a
    random rotation.
    """
    left, right = (torch.linalg.svdvals(matrix.double().cpu()) for matrix in (output, reads))
    right = right[right > right[0] * _NEGLIGIBLE]
    size = left.norm() * right.norm()
    scores = []
    for start in range(0, samples, _ROTATIONS_AT_A_TIME):
        count = min(_ROTATIONS_AT_A_TIME, samples - start)
        frames = torch.linalg.qr(
            torch.randn(
                count, output.shape[1], len(right), generator=generator, dtype=torch.float64
            )
        ).Q
        scores.append(
            torch.linalg.matrix_norm(left[:, None] * frames[:, : len(left)] * right) / size
        )
    return torch.cat(scores)
