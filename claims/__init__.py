"""The claims of the notebook, one family a file: a failure here means that the claim is false of
the checkpoint."""
