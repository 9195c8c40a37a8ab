"""How long things take beside the naive way, in one run: `make bench`."""
