"""The MLP that the notebook's author compares with: no attention and no positions, only which edges
there are."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from models.config import MLPConfig
from models.graphs import as_adjacency


class MLPBaseline(nn.Module):
    """Edges of a graph, as 0 and 1, to class logits through `n_layers` hidden layers of exact GELU.

    Weights are uninitialised until `initialise` or `models.checkpoint.load_mlp` fills them.
    """

    def __init__(self, cfg: MLPConfig) -> None:
        super().__init__()
        self.cfg = cfg
        shapes = cfg.parameter_shapes()
        self.W = nn.ParameterList(
            torch.empty(shapes[f"W.{layer}"]) for layer in range(cfg.n_layers)
        )
        self.b = nn.ParameterList(
            torch.empty(shapes[f"b.{layer}"]) for layer in range(cfg.n_layers)
        )
        self.W_U = nn.Parameter(torch.empty(shapes["W_U"]))
        self.b_U = nn.Parameter(torch.empty(shapes["b_U"]))

    def forward(self, graphs: object) -> Float[Tensor, "batch n_classes"]:
        """Logits of one graph or a batch, in any form that `as_adjacency` takes."""
        adjacency = as_adjacency(graphs, n_vertices=self.cfg.n_vertices).to(self.W_U)
        first, second = torch.triu_indices(
            self.cfg.n_vertices, self.cfg.n_vertices, 1, device=adjacency.device
        )
        hidden = adjacency[:, first, second]
        for weight, bias in zip(self.W, self.b, strict=True):
            hidden = F.gelu(F.linear(hidden, weight.T, bias))
        return F.linear(hidden, self.W_U.T, self.b_U)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> MLPBaseline:
        """W ~ N(0, 2/inputs), which keeps the variance through the layers; b = 0."""
        for name, parameter in self.named_parameters():
            if name.startswith("W"):
                parameter.normal_(std=math.sqrt(2 / parameter.shape[0]), generator=generator)
            else:
                parameter.zero_()
        return self
