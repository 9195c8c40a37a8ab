"""Train the model: `python train.py` writes weights/model.safetensors, in a minute or two on one
core."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from model import AttentionOnly, losses, save, sequences

BATCH, LEARNING_RATE = 64, 3e-3


def train(seed: int, steps: int) -> AttentionOnly:
    """A model of its own for every seed."""
    torch.manual_seed(seed)
    model, generator = AttentionOnly(), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for step in range(steps):
        batch = sequences(BATCH, generator)
        loss = losses(model, batch.tokens).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 250 == 0 or step == steps - 1:
            print(f"step {step:5}  loss {loss.item():.3f}", flush=True)
    return model


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "weights" / "model.safetensors"
    )
    options = parser.parse_args()
    save(train(options.seed, options.steps), options.out)
