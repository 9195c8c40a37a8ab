"""The subject: a hooked transformer on graphs, its data, its training and its checkpoints."""
