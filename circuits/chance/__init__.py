"""The statistics by which a claim is compared with untrained models: one number of a model, larger
further from chance.

The first line of each docstring is its definition, as `circuits/untrained.json` holds it. Each is
the largest over the parts that may play the roles (`Parts`); one of a trained model is measured on
the same graphs as those of untrained models.
"""

# each enters its statistics
from circuits.chance import behaviour, composition, degree, pattern, query, reader  # noqa: F401
from circuits.chance.statistic import STATISTICS, definition, measure

__all__ = ["STATISTICS", "definition", "measure"]
