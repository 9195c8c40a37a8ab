from __future__ import annotations

from hypothesis import settings

# as on CI, wherever CI is not set: no example is timed, each run draws the same, and none is kept
settings.load_profile("ci")
