"""Command line: `python -m models train --out DIR --seed N`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from models.arguments import Commands, chosen_device, imports, main_of, require_directory


def add_commands(commands: Commands) -> None:
    """`train`."""
    train = commands.add_parser(
        "train",
        help="train a transformer to tell planar graphs from others",
        description="Train one seed. Stopped at any moment, the same command goes on where it was.",
    )
    train.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where the checkpoint goes"
    )
    train.add_argument(
        "--seed", type=int, required=True, metavar="N", help="seed of weights, data and order"
    )
    train.add_argument(
        "--config",
        type=Path,
        metavar="FILE.toml",
        help="recipe with [model] and [train]; default: the author's",
    )
    train.add_argument(
        "--device",
        default="auto",
        choices=["auto", "cpu", "cuda"],
        help="default: cuda where there is one",
    )
    train.add_argument(
        "--keep-every",
        type=int,
        metavar="K",
        help="keep the weights of every K-th epoch, too, in DIR/epochs",
    )
    train.set_defaults(run=_train, resumes="out")


def _train(options: argparse.Namespace) -> None:
    if options.seed < 0:
        raise ValueError(f"--seed must be 0 or more, got {options.seed}")
    if options.keep_every is not None and options.keep_every < 1:
        raise ValueError(f"--keep-every must be 1 or more, got {options.keep_every}")
    from models.config import ModelConfig, TrainConfig, read_recipe

    recipe = read_recipe(options.config) if options.config else (ModelConfig(), TrainConfig())
    require_directory(options.out, option="--out")

    with imports():  # after all that can be looked at without torch
        import torch

        from models.training import train

    device = torch.device(chosen_device(options.device))
    model_config, train_config = recipe
    train(
        options.out,
        seed=options.seed,
        model_config=model_config,
        train_config=train_config,
        device=device,
        keep_every=options.keep_every,
    )
    print(f"trained: {options.out}")


main = main_of(add_commands, prog="python -m models", description="The model under test.")

if __name__ == "__main__":
    sys.exit(main())
