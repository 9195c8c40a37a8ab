"""What is said of many checkpoints: laws of the task, accidents of a seed, and the life of a
circuit."""
