"""All claims of this package, for what judges them without pytest."""

from __future__ import annotations

import importlib
import pkgutil

import claims
from claims.project import PROJECT
from verdicts.judge import Claim


def all_claims() -> list[Claim]:
    """Every claim in `claims/test_*.py`, by the order of file and place."""
    names = sorted(
        module.name
        for module in pkgutil.iter_modules(claims.__path__)
        if module.name.startswith("test_")
    )
    modules = [importlib.import_module(f"claims.{name}") for name in names]
    return [
        Claim.from_function(function, PROJECT)
        for module in modules
        for name, function in vars(module).items()
        if name.startswith("test_")
    ]
