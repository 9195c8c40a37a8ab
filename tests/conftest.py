from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

# as on CI, wherever CI is not set: no example is timed, each run draws the same, and none is kept
settings.load_profile("ci")


@pytest.fixture(scope="module")
def few_untrained_models() -> Iterator[None]:
    """For tests of verdicts, none of which rests on a p-value: 299 untrained models take a quarter of a minute."""
    import circuits.nulls

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(circuits.nulls, "UNTRAINED_MODELS", 19)
        yield
    circuits.nulls._untrained.cache_clear()
