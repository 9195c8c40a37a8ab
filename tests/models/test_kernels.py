"""What `models.kernels` computes is what torch does, to rounding."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from models.checkpoint import load_checkpoint
from models.graphs import validation_set
from models.kernels import affine, head_mixtures, head_scores, softmax
from models.randomness import named_generator
from tests.naive import naive_logits
from tests.project.test_architecture import ROOT

ROWS = (1, 63, 64, 200)


def random(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = named_generator(0, f"kernels {shape}")
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_affine_map_is_that_of_torch(rows: int, dtype: torch.dtype) -> None:
    """Whole weights, transposed ones, and part of a matrix; with a bias and without."""
    x, weight, bias = random(2, rows, 24, dtype=dtype), random(24, 40, dtype=dtype), random(40)
    nothing = random(rows, 0, dtype=dtype)
    with torch.no_grad():
        assert not affine(nothing, nothing[:0].T.reshape(0, 3)).any()  # an MLP without neurons
    weights = [weight, weight.T.contiguous().T, random(24, 80, dtype=dtype)[:, 40:]]
    for part in weights:
        for b in (None, bias.to(dtype)):
            expected = F.linear(x, part.T, b)
            with torch.no_grad():
                torch.testing.assert_close(affine(x, part, b), expected)
                torch.testing.assert_close(affine(x[:, ::2], part, b), expected[:, ::2])


def test_a_softmax_is_that_of_torch_at_any_size() -> None:
    scores = random(5, 7, 10) * torch.tensor([1e-3, 1.0, 50.0, 7e3, 1e30])[:, None, None]
    scores[0, 0, 0] = -torch.inf
    with torch.no_grad():
        torch.testing.assert_close(softmax(scores), scores.softmax(-1))
        for some in (scores[:2, 1:], scores[:0], torch.full((2, 3), 59.0)):
            torch.testing.assert_close(softmax(some), some.softmax(-1))
        assert softmax(torch.full((1, 3), torch.nan)).isnan().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_attention_without_gradients_is_that_with_them(dtype: torch.dtype) -> None:
    q, k, v = (random(6, 5, 3, width, dtype=dtype) for width in (8, 8, 4))
    expected = head_scores(q, k + 1)
    z = head_mixtures(expected, v)
    with torch.no_grad():
        torch.testing.assert_close(head_scores(q, k + 1), expected)
        torch.testing.assert_close(head_mixtures(expected, v), z)


def test_gradients_are_those_of_torch() -> None:
    x, weight, bias = random(100, 8), random(8, 6), random(6)
    gradients = []
    for way in (
        lambda w, b: softmax(affine(x, w, b)),
        lambda w, b: F.linear(x, w.T, b).softmax(-1),
    ):
        w, b = weight.clone().requires_grad_(), bias.clone().requires_grad_()
        way(w, b)[:, 0].sum().backward()
        assert w.grad is not None
        assert b.grad is not None
        gradients.append((w.grad, b.grad))
    torch.testing.assert_close(*gradients)


def test_the_model_gives_the_naive_logits() -> None:
    model = load_checkpoint(ROOT / "checkpoints" / "default").model
    graphs = validation_set().adjacency[:128]
    with torch.no_grad():
        expected = naive_logits(model.state_dict(), model.cfg, graphs)
        torch.testing.assert_close(model(graphs), expected, atol=1e-4, rtol=1e-5)
